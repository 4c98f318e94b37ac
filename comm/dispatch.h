// Sending token rows to the ranks that hold their experts, and back.
//
// Experts 0 .. n_experts - 1 lie in equal blocks on the ranks of ep. A rank's rows are sorted by expert, hence by
// rank; each rank has memory for `capacity` arriving rows. The one idea: all ranks know all counts, so each
// can tell what arrives where, and if more rows go to a rank than it has memory for, all go on for another round:
// the rows that arrive at a rank, ordered by source and expert, are cut into windows of `capacity`. Nothing is
// dropped, and however uneven the counts are, no memory beyond the capacity is used.
#ifndef AXL_COMM_DISPATCH_H
#define AXL_COMM_DISPATCH_H

#include "comm/comm.h"

typedef struct axl_dispatch {
    axl_comm *comm;                  // borrowed
    int n_ranks, n_experts, n_local; // n_local experts on each rank
    axl_device *device;              // borrowed: whose copies fill counts; NULL: imagined
    int32_t *counts; // [n_ranks, n_experts], owned: copies at each rank for each expert
    int32_t *kept;   // [n_layers, n_ranks, n_experts], owned: of each layer's last exchange
    int n_layers;
    int64_t capacity, n_rounds; // of the present exchange
    // the present round; rows of this rank's sorted copies, and of the arriving ones
    int64_t *send_at, *send_count; // [n_ranks], owned
    int64_t *recv_at, *recv_count; // [n_ranks], owned
    int64_t *begin;                // [n_groups + 1], owned: arriving rows by source and expert
    int32_t *matrix;               // [n_groups], owned: which local expert each group is for
    int n_groups;                  // n_ranks * n_local
    int64_t n_rows;                // that arrive
    // since axl_dispatch_reset: rows that left for and came from other ranks, counts that were gathered, and how many
    // times the mean the busiest expert of any exchange got
    int64_t sent_rows, received_rows, n_exchanges;
    double max_over_mean;
} axl_dispatch;

// AXL_E_CONFIG when n_experts is no multiple of the ranks. comm and device are borrowed. Local.
axl_status axl_dispatch_create(axl_comm *comm, axl_device *device, int n_experts, int n_layers,
                               axl_dispatch **out);
// The same without ranks, to count bytes: for plans of machines that are not here.
axl_status axl_dispatch_imagine(int n_ranks, int n_experts, axl_dispatch **out);
void axl_dispatch_destroy(axl_dispatch *d); // NULL-safe

void axl_dispatch_reset(axl_dispatch *d); // NULL-safe

// Gathers all ranks' counts for a layer and finds the number of rounds, at least 1.
//   counts [n_experts] int32, device: this rank's copies for each expert
//   all    [n_ranks, n_experts] int32, device: overwritten
//   capacity  rows that may arrive at a rank in a round, the same on all ranks
// Collective on comm. The host waits for it.
axl_status axl_dispatch_begin(axl_dispatch *d, int layer, const int32_t *counts, int32_t *all,
                              int64_t capacity, axl_stream *s);
// The same exchange once more, for backward: its counts are known, and nobody waits. Local.
void axl_dispatch_again(axl_dispatch *d, int layer, int64_t capacity);

// Sets the fields of round i, 0 <= i < n_rounds. Local.
void axl_dispatch_round(axl_dispatch *d, int64_t i);

// Sends this round's rows of row_bytes bytes to their experts, and back to where they came from. home holds this
// rank's copies, sorted by expert; rows those that arrived, [capacity]. On one rank home may be rows, and then
// nothing moves. Collective on comm.
axl_status axl_dispatch_send(axl_dispatch *d, const void *home, void *rows, int64_t row_bytes,
                             axl_stream *s);
axl_status axl_dispatch_return(axl_dispatch *d, const void *rows, void *home, int64_t row_bytes,
                               axl_stream *s);

// Arriving rows to plan memory for, where each of n_ranks has n_copies: on one rank all of them, else a quarter more
// than the mean.
int64_t axl_dispatch_capacity(int64_t n_copies, int n_ranks);

// Where each rank has n_copies: rows that leave a rank, and as many that come from others, when the experts are
// evenly chosen; at most leave; at most come.
int64_t axl_dispatch_expected_rows(int64_t n_copies, int n_ranks);
int64_t axl_dispatch_most_rows(int64_t n_copies, int n_ranks);
int64_t axl_dispatch_most_received(int64_t n_copies, int n_ranks);

// Bytes of counts that a rank sends for one exchange.
int64_t axl_dispatch_count_bytes(const axl_dispatch *d);

#endif
