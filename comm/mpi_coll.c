// The collectives over MPI messages. The hard part is to keep messages, additions and several
// collectives in flight at once without a deadlock. So every collective is cut into chunks; a task
// has a few lanes; a lane carries one chunk at a time through the steps of its algorithm (post
// messages, wait, compute); lanes take the chunks of the task in order. The oldest unfinished chunk
// is then always under way on every rank, whatever the others do, and while one lane adds, the
// messages of the others travel. Chunks are told apart by tags that are drawn in program order.
//
// Which algorithm: "direct" sends every part straight to the rank that needs it, in one step. It moves
// as few bytes as a ring and waits less, and is best while all pairs of ranks are equally near: one
// host, or one rank a host. When hosts hold several ranks of several hosts, direct would carry every
// part over the network once a rank instead of once a host, and the ring over neighbours is used. BF16
// is summed directly even then, because a ring would round the partial sum at every hop, and so is all
// when the order of sums may not depend on hosts: a ring does not add in the order of the tree.
#include "comm/mpi_transport.h"

#include "src/base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { N_LANES = 4 };

#define STAGING_BYTES ((int64_t)256 << 10) // of a lane at least: a few of them stay in L2
#define STAGING_PAIR                                                                               \
    ((int64_t)512 << 10) // of two ranks: 256 KiB are 0.8 of its speed, 1 MiB leaves L2
#define STAGING_MOST ((int64_t)1 << 20)   // and at most, while parts keep their least size
#define PART_BYTES   ((int64_t)128 << 10) // a staged part of one rank, where there is room
#define PART_LEAST   ((int64_t)16 << 10)  // and never less
#define COPY_BYTES   ((int64_t)4 << 20)   // a chunk of what is only moved
#define SMALL_BYTES  ((int64_t)8 << 10)   // an all_reduce up to this goes whole to everyone

typedef struct lane {
    const axl_coll *coll; // NULL: idle
    int64_t at, n;        // the chunk: elements of coll
    int tag, step;
    int n_requests;
    MPI_Request *requests; // [2 * size], owned
    char *staging;         // [staging_bytes], owned; NULL until a reduction needs it
    const void **parts;    // [size], owned: the summands of a reduction
} lane;

typedef struct task_state {
    lane lanes[N_LANES];
    size_t coll; // the next chunk to take
    int64_t chunk;
} task_state;

struct axl_algo {
    int (*n_steps)(const axl_comm *c, const lane *l);
    axl_status (*post)(axl_comm *c, lane *l);
    void (*finish)(axl_comm *c, lane *l); // NULL: nothing to compute
    bool staged;
};

// ---- messages

static int64_t largest(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

// Few ranks get long parts, because each costs a handshake, and with more ranks than cores a turn of the
// scheduler; many ranks get short ones, because every task keeps this memory.
static int64_t staging_bytes(const axl_comm *c)
{
    const int64_t n = c->size - 1, wanted = PART_BYTES * n;

    if (n == 1)
        return STAGING_PAIR;
    return largest(largest(STAGING_BYTES, PART_LEAST * n),
                   wanted < STAGING_MOST ? wanted : STAGING_MOST);
}

static axl_status post_send(axl_comm *c, lane *l, const void *p, int64_t n, int to)
{
    axl_status status = AXL_OK;
    const mpi_state *m = c->impl;

    if (n > 0)
        AXL_MPI(MPI_Isend(p, (int)(n * (int64_t)l->coll->elem), MPI_BYTE, to, l->tag, m->queued,
                          &l->requests[l->n_requests++]));

out:
    return status;
}

static axl_status post_recv(axl_comm *c, lane *l, void *p, int64_t n, int from)
{
    axl_status status = AXL_OK;
    const mpi_state *m = c->impl;

    if (n > 0)
        AXL_MPI(MPI_Irecv(p, (int)(n * (int64_t)l->coll->elem), MPI_BYTE, from, l->tag, m->queued,
                          &l->requests[l->n_requests++]));

out:
    return status;
}

static int wrap(const axl_comm *c, int rank)
{
    return ((rank % c->size) + c->size) % c->size;
}

// The chunk's elements of a buffer that begins `first` elements before them.
static const char *src_at(const lane *l, int64_t first)
{
    return (const char *)l->coll->src + (size_t)(first + l->at) * l->coll->elem;
}

static char *dst_at(const lane *l, int64_t first)
{
    return (char *)l->coll->dst + (size_t)(first + l->at) * l->coll->elem;
}

static char *staged(const lane *l, int64_t first)
{
    return l->staging + (size_t)first * l->coll->elem;
}

// ---- all_gather

static void copy_own(axl_comm *c, lane *l)
{
    char *own = dst_at(l, c->rank * l->coll->count);

    if (own != src_at(l, 0))
        memcpy(own, src_at(l, 0), (size_t)l->n * l->coll->elem);
}

static int one_step(const axl_comm *c, const lane *l)
{
    (void)c;
    (void)l;
    return 1;
}

static int ring_steps(const axl_comm *c, const lane *l)
{
    (void)l;
    return c->size - 1;
}

static int two_steps(const axl_comm *c, const lane *l)
{
    (void)c;
    (void)l;
    return 2;
}

static axl_status gather_direct(axl_comm *c, lane *l)
{
    axl_status status = AXL_OK;

    for (int d = 1; d < c->size; d++) {
        const int from = wrap(c, c->rank - d);
        AXL_TRY(post_recv(c, l, dst_at(l, from * l->coll->count), l->n, from));
    }
    for (int d = 1; d < c->size; d++)
        AXL_TRY(post_send(c, l, src_at(l, 0), l->n, wrap(c, c->rank + d)));
    copy_own(c, l);

out:
    return status;
}

// In step k a rank passes on the shard that came in step k - 1.
static axl_status gather_ring(axl_comm *c, lane *l)
{
    axl_status status = AXL_OK;
    const int out_part = wrap(c, c->rank - l->step), in_part = wrap(c, c->rank - l->step - 1);

    if (l->step == 0)
        copy_own(c, l);
    AXL_TRY(post_recv(c, l, dst_at(l, in_part * l->coll->count), l->n, wrap(c, c->rank - 1)));
    AXL_TRY(post_send(c, l, dst_at(l, out_part * l->coll->count), l->n, wrap(c, c->rank + 1)));

out:
    return status;
}

// ---- reduce_scatter

static axl_status scatter_direct(axl_comm *c, lane *l)
{
    axl_status status = AXL_OK;

    for (int d = 1; d < c->size; d++)
        AXL_TRY(post_recv(c, l, staged(l, (d - 1) * l->n), l->n, wrap(c, c->rank - d)));
    for (int d = 1; d < c->size; d++) {
        const int to = wrap(c, c->rank + d);
        AXL_TRY(post_send(c, l, src_at(l, to * l->coll->stride), l->n, to));
    }

out:
    return status;
}

// Lists the summands in rank order, whatever the order of arrival: own here, the others staged, n elements each; all
// from their element `at` on.
static void list_parts(axl_comm *c, lane *l, const char *own, int64_t n, int64_t at)
{
    for (int d = 1; d < c->size; d++)
        l->parts[wrap(c, c->rank - d)] = staged(l, (d - 1) * n + at);
    l->parts[c->rank] = own + (size_t)at * l->coll->elem;
}

static void scatter_direct_sum(axl_comm *c, lane *l)
{
    for (int64_t at = 0; at < l->n;) {
        const axl_comm_shard to = axl_coll_shard(l->coll, l->at + at, l->n - at);
        list_parts(c, l, src_at(l, c->rank * l->coll->stride), l->n, at);
        axl_reduce_sum(l->parts, c->size, l->coll->dtype, to.count, to.sum, to.accumulate);
        at += to.count;
    }
}

// The partial sum of a shard starts at the rank after its owner and travels once around. Two staged
// places take turns: one is sent while the other receives.
static axl_status scatter_ring(axl_comm *c, lane *l)
{
    axl_status status = AXL_OK;
    const int out_part = wrap(c, c->rank - 1 - l->step);
    const void *partial = l->step == 0 ? (const void *)src_at(l, out_part * l->coll->stride)
                                       : staged(l, (l->step + 1) % 2 * l->n);

    AXL_TRY(post_recv(c, l, staged(l, l->step % 2 * l->n), l->n, wrap(c, c->rank - 1)));
    AXL_TRY(post_send(c, l, partial, l->n, wrap(c, c->rank + 1)));

out:
    return status;
}

static void scatter_ring_sum(axl_comm *c, lane *l)
{
    const int in_part = wrap(c, c->rank - 2 - l->step);
    float *came = (float *)(void *)staged(l, l->step % 2 * l->n);
    const bool last = l->step == c->size - 2;

    for (int64_t at = 0; at < l->n;) {
        const axl_comm_shard to = last ? axl_coll_shard(l->coll, l->at + at, l->n - at)
                                       : (axl_comm_shard){.sum = came, .count = l->n};
        l->parts[0] = came + at;
        l->parts[1] = src_at(l, in_part * l->coll->stride + at);
        axl_reduce_sum(l->parts, 2, AXL_F32, to.count, to.sum, to.accumulate);
        at += to.count;
    }
}

// ---- all_reduce: the chunk is cut into one slice a rank, reduced there, and gathered again

static int64_t slice_begin(const axl_comm *c, const lane *l, int rank)
{
    const int64_t per = (l->n + c->size - 1) / c->size;
    return rank * per < l->n ? rank * per : l->n;
}

static int64_t slice_size(const axl_comm *c, const lane *l, int rank)
{
    return slice_begin(c, l, rank + 1) - slice_begin(c, l, rank);
}

static axl_status reduce_sliced(axl_comm *c, lane *l)
{
    axl_status status = AXL_OK;
    const int64_t mine = slice_size(c, l, c->rank);

    for (int d = 1; d < c->size; d++) {
        const int from = wrap(c, c->rank - d);
        if (l->step == 0)
            AXL_TRY(post_recv(c, l, staged(l, (d - 1) * mine), mine, from));
        else
            AXL_TRY(
                post_recv(c, l, dst_at(l, slice_begin(c, l, from)), slice_size(c, l, from), from));
    }
    for (int d = 1; d < c->size; d++) {
        const int to = wrap(c, c->rank + d), part = l->step == 0 ? to : c->rank;
        AXL_TRY(post_send(c, l, dst_at(l, slice_begin(c, l, part)), slice_size(c, l, part), to));
    }

out:
    return status;
}

static void reduce_sliced_sum(axl_comm *c, lane *l)
{
    const int64_t mine = slice_size(c, l, c->rank);
    char *own = dst_at(l, slice_begin(c, l, c->rank));

    if (l->step != 0)
        return;
    list_parts(c, l, own, mine, 0);
    axl_reduce_any(l->parts, c->size, l->coll->dtype, l->coll->reduce, mine, own);
}

static axl_status reduce_whole(axl_comm *c, lane *l)
{
    axl_status status = AXL_OK;

    for (int d = 1; d < c->size; d++)
        AXL_TRY(post_recv(c, l, staged(l, (d - 1) * l->n), l->n, wrap(c, c->rank - d)));
    for (int d = 1; d < c->size; d++)
        AXL_TRY(post_send(c, l, dst_at(l, 0), l->n, wrap(c, c->rank + d)));

out:
    return status;
}

static void reduce_whole_sum(axl_comm *c, lane *l)
{
    list_parts(c, l, dst_at(l, 0), l->n, 0);
    axl_reduce_any(l->parts, c->size, l->coll->dtype, l->coll->reduce, l->n, dst_at(l, 0));
}

// ---- broadcast

// A chain from the root: receive a chunk, then pass it on.
static axl_status broadcast_chain(axl_comm *c, lane *l)
{
    axl_status status = AXL_OK;
    const int place = wrap(c, c->rank - l->coll->peer);

    if (l->step == 0 && place > 0)
        AXL_TRY(post_recv(c, l, dst_at(l, 0), l->n, wrap(c, c->rank - 1)));
    if (l->step == 1 && place < c->size - 1)
        AXL_TRY(post_send(c, l, dst_at(l, 0), l->n, wrap(c, c->rank + 1)));

out:
    return status;
}

// ---- exchanges: each pair of ranks has its own count
//
// Counts differ by pair, so a cut into numbered chunks would give ranks different numbers of tags. An
// exchange is one chunk with one tag instead; its step k sends and receives piece k of every pair. MPI
// keeps the pieces of a pair in order, and a rank that is behind finds what it needs already sent.

static int exchange_steps(const axl_comm *c, const lane *l)
{
    const int64_t piece = c->root->message_bytes;
    int64_t longest = 1;

    for (int d = 1; d < c->size; d++) {
        const axl_part part = axl_coll_part(l->coll, wrap(c, c->rank + d));
        longest = part.send > longest ? part.send : longest;
        longest = part.recv > longest ? part.recv : longest;
    }
    return (int)((longest + piece - 1) / piece);
}

static int64_t piece_size(const axl_comm *c, int64_t bytes, int64_t begin)
{
    const int64_t rest = bytes - begin;
    return rest < c->root->message_bytes ? rest : c->root->message_bytes;
}

static axl_status exchange(axl_comm *c, lane *l)
{
    axl_status status = AXL_OK;
    const axl_coll *coll = l->coll;
    const int64_t begin = l->step * c->root->message_bytes;
    const axl_part own = axl_coll_part(coll, c->rank);

    for (int d = 1; d < c->size; d++) {
        const int from = wrap(c, c->rank - d);
        const axl_part part = axl_coll_part(coll, from);
        const int64_t n = piece_size(c, part.recv, begin);
        if (n > 0)
            AXL_TRY(post_recv(c, l, (char *)coll->dst + part.recv_at + begin, n, from));
    }
    for (int d = 1; d < c->size; d++) {
        const int to = wrap(c, c->rank + d);
        const axl_part part = axl_coll_part(coll, to);
        const int64_t n = piece_size(c, part.send, begin);
        if (n > 0)
            AXL_TRY(post_send(c, l, (const char *)coll->src + part.send_at + begin, n, to));
    }
    if (l->step == 0 && own.send > 0)
        memcpy((char *)coll->dst + own.recv_at, (const char *)coll->src + own.send_at,
               (size_t)own.send);

out:
    return status;
}

// ---- the choice

static const axl_algo algo_gather_direct = {one_step, gather_direct, NULL, false};
static const axl_algo algo_gather_ring = {ring_steps, gather_ring, NULL, false};
static const axl_algo algo_scatter_direct = {one_step, scatter_direct, scatter_direct_sum, true};
static const axl_algo algo_scatter_ring = {ring_steps, scatter_ring, scatter_ring_sum, true};
static const axl_algo algo_reduce_sliced = {two_steps, reduce_sliced, reduce_sliced_sum, true};
static const axl_algo algo_reduce_whole = {one_step, reduce_whole, reduce_whole_sum, true};
static const axl_algo algo_broadcast = {two_steps, broadcast_chain, NULL, false};
static const axl_algo algo_exchange = {exchange_steps, exchange, NULL, false};

static const axl_algo *choose(const axl_comm *c, const axl_coll *coll)
{
    const bool ring = c->n_hosts > 1 && c->n_hosts < c->size;
    const int64_t bytes = coll->count * (int64_t)coll->elem;

    switch (coll->op) {
    case AXL_COMM_ALL_GATHER:
        return ring ? &algo_gather_ring : &algo_gather_direct;
    case AXL_COMM_REDUCE_SCATTER:
        return ring && coll->dtype == AXL_F32 && !c->root->fixed_order ? &algo_scatter_ring
                                                                       : &algo_scatter_direct;
    case AXL_COMM_ALL_REDUCE:
        return bytes <= SMALL_BYTES ? &algo_reduce_whole : &algo_reduce_sliced;
    case AXL_COMM_BROADCAST:
        return &algo_broadcast;
    default:
        return &algo_exchange;
    }
}

void axl_mpi_plan(axl_comm *c, axl_coll *coll)
{
    mpi_state *m = c->impl;
    const int64_t others = c->size > 1 ? c->size - 1 : 1; // mpirun may start one rank
    const int64_t part = staging_bytes(c) / others / (int64_t)coll->elem;

    coll->algo = choose(c, coll);
    if (!coll->algo->staged)
        coll->chunk = COPY_BYTES / (int64_t)coll->elem;
    else if (coll->algo == &algo_reduce_sliced)
        coll->chunk = part * c->size;
    else
        coll->chunk =
            coll->algo == &algo_scatter_ring ? staging_bytes(c) / 4 / (int64_t)coll->elem : part;
    coll->n_chunks = (coll->count + coll->chunk - 1) / coll->chunk;
    if (coll->algo == &algo_exchange)
        coll->n_chunks = 1; // whatever this rank's counts: tags are drawn alike everywhere
    coll->tag = m->tag;
    m->tag = (int)((m->tag + coll->n_chunks) % m->tag_limit);
}

// ---- lanes

static axl_status lane_prepare(axl_comm *c, lane *l)
{
    axl_status status = AXL_OK;
    const size_t n = (size_t)c->size;

    if (l->requests == NULL)
        AXL_TRY(axl_calloc(2 * n, sizeof(MPI_Request), "messages", &l->requests));
    if (l->parts == NULL)
        AXL_TRY(axl_calloc(n, sizeof *l->parts, "summands", &l->parts));
    if (l->coll->algo->staged && l->staging == NULL)
        AXL_TRY(axl_calloc((size_t)staging_bytes(c), 1, "staging of reductions", &l->staging));

out:
    return status;
}

// Gives an idle lane the next chunk of the task, if there is one.
static axl_status lane_take(axl_comm_task *t, task_state *x, lane *l)
{
    axl_status status = AXL_OK;
    const mpi_state *m = t->comm->impl;

    while (x->coll < t->n_colls && x->chunk == t->colls[x->coll].n_chunks) {
        x->coll++;
        x->chunk = 0;
    }
    if (x->coll == t->n_colls)
        goto out;
    l->coll = &t->colls[x->coll];
    l->at = x->chunk * l->coll->chunk;
    l->n = l->coll->count - l->at < l->coll->chunk ? l->coll->count - l->at : l->coll->chunk;
    l->tag = (int)((l->coll->tag + x->chunk) % m->tag_limit);
    l->step = 0;
    l->n_requests = 0;
    x->chunk++;
    AXL_TRY(lane_prepare(t->comm, l));
    AXL_TRY(l->coll->algo->post(t->comm, l));

out:
    return status;
}

static axl_status lane_advance(axl_comm *c, lane *l)
{
    axl_status status = AXL_OK;
    const axl_algo *algo = l->coll->algo;
    int done = 0;

    AXL_MPI(MPI_Testall(l->n_requests, l->requests, &done, MPI_STATUSES_IGNORE));
    if (!done)
        goto out;
    if (algo->finish != NULL)
        algo->finish(c, l);
    l->step++;
    l->n_requests = 0;
    if (l->step == algo->n_steps(c, l))
        l->coll = NULL;
    else
        AXL_TRY(algo->post(c, l));

out:
    return status;
}

axl_status axl_mpi_poll(axl_comm_task *t, bool *done)
{
    axl_status status = AXL_OK;
    task_state *x = t->state;
    bool busy = false;

    if (x == NULL) {
        AXL_TRY(axl_calloc(1, sizeof *x, "the state of a collective", &x));
        t->state = x;
    }
    if (!t->started) {
        t->started = true;
        x->coll = 0;
        x->chunk = 0;
    }
    for (int i = 0; i < N_LANES; i++) {
        lane *l = &x->lanes[i];
        if (l->coll != NULL)
            AXL_TRY(lane_advance(t->comm, l));
        if (l->coll == NULL)
            AXL_TRY(lane_take(t, x, l));
        busy = busy || l->coll != NULL;
    }
    *done = !busy;

out:
    return status;
}

void axl_mpi_task_fini(axl_comm_task *t)
{
    task_state *x = t->state;

    if (x == NULL)
        return;
    for (int i = 0; i < N_LANES; i++) {
        free(x->lanes[i].requests);
        free((void *)x->lanes[i].parts);
        free(x->lanes[i].staging);
    }
    free(x);
    t->state = NULL;
}
