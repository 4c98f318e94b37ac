// What ring attention keeps: memory, the lists of rows that travel, and how a turn's rows are exchanged.
// Private to comm/ (ring.c and ring_attention.c).
#ifndef AXL_COMM_RING_H
#define AXL_COMM_RING_H

#include "comm/ring_attention.h"

// One turn: with the ranks at distances first .. last - 1 rows are exchanged (from rank - d to here, from here
// to rank + d), of some key heads.
typedef struct axl_ring_turn {
    int first, last; // distances; none when equal
    int32_t kv0, n_kv;
    bool own;     // own keys are met in this turn
    bool opening; // no turn before has met these heads
} axl_ring_turn;

// What travels in layers of one window. Lists are places in the ring's lists.
typedef struct axl_ring_plan {
    int32_t window;
    int64_t cu;        // [ranks + 1][n_seqs + 1] of the keys by source; at the end of all together
    int64_t positions; // of those keys, sources in rank order, own rows between
    int64_t rows;      // own rows to be sent, destinations in rank order
    int64_t *n_in, *in_at;   // [ranks] keys from a rank, and before them; own: all own rows
    int64_t *n_out, *out_at; // [ranks] rows for a rank, and before them; own: 0
    int32_t *longest;        // [ranks + 1] the longest sequence of keys, as cu
} axl_ring_plan;

// Parts of the device memory, in bytes from its start. Those of forward and backward overlap.
typedef struct axl_ring_memory {
    size_t lists;
    size_t kv_out[2], kv_in[2];     // rows of K and V in flight, by turn
    size_t out, part_out, part_lse; // forward: F32 sums, and a turn's result
    size_t dq, dk, dv;              // backward: F32 sums of BF16 gradients
    size_t dkv_out[2], dkv_in[2];   // partial dK and dV in flight, by turn
    size_t total;
} axl_ring_memory;

struct axl_ring {
    axl_ring_options o; // windows is the ring's own
    int32_t *windows;   // [o.n_windows], owned
    axl_comm *comm;     // borrowed
    axl_device *device; // borrowed
    int rank, n_ranks;
    axl_ring_memory at;
    char *memory;   // [at.total] on the device, owned
    int32_t *lists; // [n_lists] on the host (host_alloc), owned; as on the device
    int64_t n_lists, n_used;
    axl_event listed;     // after which lists may be written again
    axl_ring_plan *plans; // [n_windows], owned
    int64_t *counts;      // owned: the plans' counts, then the four arrays of an exchange
    int32_t *longest;     // owned: the plans'
    // of the layout
    int32_t n_seqs, longest_q;
    int64_t n_rows;
    int64_t local_cu, local_positions; // in lists
    axl_event kv_ready[2], dkv_ready[2];
};

// Whether results of turns are merged: several ranks, by distance.
bool axl_ring_merges(const axl_ring_options *o);
int axl_ring_n_turns(const axl_ring *r, int32_t n_kv_heads);
axl_ring_turn axl_ring_turn_of(const axl_ring *r, int32_t n_kv_heads, int i);

// The list at a place, on the device.
const int32_t *axl_ring_list(const axl_ring *r, int64_t at);
void *axl_ring_at(const axl_ring *r, size_t offset);

// Where a rank's rows lie in a turn's buffers of incoming keys and of outgoing rows.
int64_t axl_ring_in_at(const axl_ring_plan *p, const axl_ring_turn *t, int src);
int64_t axl_ring_out_at(const axl_ring_plan *p, const axl_ring_turn *t, int dst);

// Queues a turn's exchange behind what the compute stream has done so far: keys (back: their gradients, the
// other way), rows of row_bytes. *ready passes when both buffers may be touched again.
axl_status axl_ring_exchange(axl_ring *r, const axl_ring_plan *p, const axl_ring_turn *t, bool back,
                             const void *send, void *recv, int64_t row_bytes, axl_event *ready);
// Makes the compute stream wait for it; what the host waits is counted as exposed.
axl_status axl_ring_await(axl_ring *r, const axl_ring_turn *t, const axl_event *ready);

#endif
