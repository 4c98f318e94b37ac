// What stands between comm.h and a transport: the communicator, a collective, and the task that runs
// a group of them. Private to comm/.
#ifndef AXL_COMM_TRANSPORT_H
#define AXL_COMM_TRANSPORT_H

#include "comm/comm.h"
#include "comm/flight.h"

#include <pthread.h>

typedef struct axl_algo axl_algo; // the transport's

// What a rank of an all_to_all exchanges with another, in bytes.
typedef struct axl_part {
    int64_t send_at, send, recv_at, recv;
} axl_part;

// One collective, as called.
typedef struct axl_coll {
    axl_comm_op op;
    const void *src; // shard, full, or NULL (in place)
    void *dst;       // not of a reduce_scatter
    int64_t count;   // elements of a shard (all_gather, reduce_scatter), else of the buffer (sent)
    axl_dtype dtype;
    size_t elem; // bytes of an element
    axl_reduce_op reduce;
    // reduce_scatter
    int64_t stride;               // elements of src from rank to rank
    const axl_comm_shard *shards; // [n_shards] where sums go; in the task, set when it is launched
    size_t n_shards, first_shard; // its place there
    int peer;                     // root of a broadcast, to whom send_recv sends
    // send_recv and all_to_all, in bytes
    int from;              // whom send_recv receives from
    int64_t recv_count;    // send_recv
    int64_t own;           // of count, for the rank itself
    const axl_part *parts; // [size] of all_to_all; in the task, set when it is launched
    size_t first_part;     // its place there
    // set by the transport's plan
    const axl_algo *algo;    // NULL: nothing travels
    int64_t chunk, n_chunks; // elements a chunk; the transport's units of work
    int tag;                 // of its first chunk
} axl_coll;

// What goes between this rank and `rank` in a send_recv or an all_to_all.
static inline axl_part axl_coll_part(const axl_coll *coll, int rank)
{
    axl_part part = {0};

    if (coll->op == AXL_COMM_ALL_TO_ALL)
        return coll->parts[rank];
    part.send = rank == coll->peer ? coll->count : 0;
    part.recv = rank == coll->from ? coll->recv_count : 0;
    return part;
}

// Where elements at .. at + n of a reduce_scatter's part go, as far as they go to one array.
static inline axl_comm_shard axl_coll_shard(const axl_coll *coll, int64_t at, int64_t n)
{
    const axl_comm_shard *to = coll->shards;

    for (; at >= to->count; to++)
        at -= to->count;
    return (axl_comm_shard){.sum = to->sum + at,
                            .count = to->count - at < n ? to->count - at : n,
                            .accumulate = to->accumulate};
}

// A queued group of collectives. Pooled by its communicator, so that a step allocates nothing once
// the pool is warm.
typedef struct axl_comm_task {
    axl_task base; // first: the stream sees only this
    axl_comm *comm;
    axl_coll *colls; // [capacity], owned
    size_t n_colls, capacity;
    axl_part *parts; // [part_capacity], owned: those of all all_to_all of the group
    size_t n_parts, part_capacity;
    axl_comm_shard *shards; // [shard_capacity], owned: those of all reduce_scatters of the group
    size_t n_shards, shard_capacity;
    void *state; // owned by the transport; NULL until the first run
    bool started;
    bool queued;        // on a stream; else the caller waits
    axl_stream *stream; // of the group
    struct axl_comm_task *next_free;
} axl_comm_task;

typedef struct axl_transport {
    const char *name;
    axl_status (*library)(axl_str *out);
    axl_status (*split)(axl_comm *parent, int color, int key, axl_comm *child, bool *member);
    void (*destroy)(axl_comm *c);
    // Cuts a collective into chunks and gives it tags; called in program order.
    void (*plan)(axl_comm *c, axl_coll *coll);
    // Moves a task on without blocking.
    axl_status (*poll)(axl_comm_task *t, bool *done);
    void (*task_fini)(axl_comm_task *t); // frees t->state
    axl_status (*barrier)(axl_comm *c);
    axl_status (*bcast)(axl_comm *c, void *bytes, int64_t n, int root);
    axl_status (*gather)(axl_comm *c, const void *bytes, int64_t n, axl_str *out, int64_t *sizes);
    // all [size * n] bytes from each rank's mine [n]
    axl_status (*all_gather)(axl_comm *c, const void *mine, void *all, int64_t n);
    void (*abort)(axl_comm *c, int exit_code);
    void (*finalize)(void);
} axl_transport;

// What all communicators of a process share.
typedef struct axl_comm_root {
    axl_device *device; // whose streams waits move on; borrowed, set by the first queued collective
    bool threads;
    int64_t spin_rounds;   // of a wait before each further one gives the core away
    _Atomic double yields; // axl_now() when the present wait began to do so
    int64_t message_bytes; // send_recv and all_to_all cut what is longer
    bool fixed_order;      // axl_comm_fix_order
    axl_flight flight;
    struct axl_watch *watch; // owned; NULL: nobody watches
    bool staged;             // it was said that collectives are
    struct axl_nccl *nccl;   // owned; NULL: no device asked for it (nccl.h)
    char no_nccl[160];       // why GPUs do without it; "": they do not
    size_t landing_bytes;    // device memory of sums over ranks
} axl_comm_root;

struct axl_comm {
    const axl_transport *transport;
    axl_comm_root *root; // owned by the world
    char *name;          // owned
    const char *axis;    // the name in the flight record; borrowed
    int rank, size, local_rank, local_size;
    int n_hosts;               // over which the ranks spread; decides between algorithms
    axl_comm_task *group;      // open group or NULL; owned
    pthread_mutex_t pool_lock; // a progress thread gives tasks back
    axl_comm_task *free;       // pool
    axl_part *parts;           // [part_capacity], owned: an all_to_all's on its way into a task
    size_t part_capacity;
    axl_comm_counter counters[AXL_COMM_N_OPS];
    void *impl;                 // owned by the transport
    struct axl_nccl_comm *nccl; // owned; NULL: a device without host_memory is staged
};

extern const axl_transport axl_transport_self;
extern const axl_transport axl_transport_mpi;

// mpi.c: starts MPI and fills world (transport, ranks, impl).
axl_status axl_mpi_init(int *argc, char ***argv, axl_comm *world);

// watch.c: frees a stopped watch. Its connections last until MPI has ended, so that no goodbye is lost.
void axl_watch_destroy(struct axl_watch *w);
bool axl_watch_looks(const struct axl_watch *w); // it is there, and has not been stopped; NULL-safe

// self.c: a communicator of one rank.
void axl_self_init(axl_comm *c);

// staged.c: a task on a stream of a device without host_memory, from its first copy to its last. wait runs the task to
// its end, once all its buffers are the host's. The caller's events make the stream wait for what is sent.
typedef axl_status (*axl_comm_wait)(axl_comm_task *t);
axl_status axl_comm_stage(axl_comm_task *t, axl_comm_wait wait);

// comm.c: one round of waiting: moves the streams on and, when the wait is not short, lets others run.
axl_status axl_comm_idle(axl_comm *c, int64_t round);

// reduce.c. The order of all sums over ranks is one fixed binary tree: ranks 0 and 1, 2 and 3, ... are added
// in pairs, then pairs of pairs, and so on: ((0+1)+(2+3))+((4+5)+(6+7)). When n_src is no power of two
// the largest aligned blocks of a power of two stand side by side and are joined from the small end:
// for 7, (0..3) + ((4+5) + 6). So the sum over 16 ranks is the tree of the sums over any aligned blocks
// of 2, 4 or 8 of them, and a rank that holds such a block can add it up by itself, as a binary counter does
// (sharding/unit.c): what is summed does not depend on how many ranks share it.
//
// dst [n] f32 = the tree of n_src arrays src[k] [n] of dtype F32 or BF16 (widened first); with accumulate
// dst = old dst + that sum, rounded once more. dst may be one of them.
void axl_reduce_sum(const void *const *src, int n_src, axl_dtype dtype, int64_t n, float *dst,
                    bool accumulate);
// dst [n] of dtype = the tree of src[k] by op; dst may be one of them. dtype F32, F64, I64, or BF16
// (computed in f32 and rounded once, at the root).
void axl_reduce_any(const void *const *src, int n_src, axl_dtype dtype, axl_reduce_op op, int64_t n,
                    void *dst);

#endif
