// Collectives over NCCL. What only moves is the library's own collective, or its sends and receives. What adds is not: the
// library adds in an order of its own, which changes with its version, the number of ranks and the machine. Here sums over
// ranks are one fixed tree (transport.h), so parts are exchanged as they are and a kernel adds them, bit for bit as MPI's
// transport does, for the bytes of a ring.
//
// The hard part is that exchange and sum overlap: parts land in one half of a fixed memory while a stream of its own adds
// those of the other. On several hosts with several ranks each, parts are first added within a host, then between hosts: the
// network carries what the library's ring would, and the order is still the tree, whose blocks are the hosts.
#include "comm/nccl.h"

#include "kernels/kernels.h"
#include "src/base/mem.h"

#include <stdlib.h>
#include <string.h>

#define SMALL_BYTES ((int64_t)8 << 10) // an all_reduce up to this goes whole to everyone
enum { ALIGN = 16, HALVES = 2 };       // bytes that kernels read at once

// Elements at .. at + n of every part of a sum, and where they land.
typedef struct piece {
    const axl_coll *coll;
    int64_t at, n, stride; // elements; from part to part in the landing
    bool whole; // of an all_reduce whose parts are all of buf: every rank adds for itself
    char *landing;
} piece;

// Kept with the device (axl_device.kept).
typedef struct landing {
    axl_comm_root *root; // borrowed
    axl_device *device;  // borrowed
    char *memory;        // [HALVES][half], owned, of the device
    size_t half;         // bytes
    axl_stream *sums;    // owned
    axl_event summed[HALVES];
    piece *pieces;                   // [n_pieces], owned
    size_t n_pieces, capacity, used; // used: bytes of the present half
    int now;                         // the present half
    axl_sum_parts_args launch;       // the sums that wait to be launched together
    axl_sum_parts_item *items;       // [launch.n_items], owned
    size_t item_capacity;
} landing;

// One axl_nccl_run.
typedef struct run {
    axl_comm *c;
    axl_nccl *n;
    axl_nccl_handle h;
    axl_stream *s;
    axl_nccl_stream native;
    landing *l;
} run;

#define AXL_NCCL(r, call_, name) AXL_TRY(axl_nccl_check((r)->n, (r)->h, (r)->n->call.call_, name))

// ---- the landing

static void landing_fini(void *kept)
{
    landing *l = kept;
    const axl_device_ops *ops = l->device->ops;

    axl_flight_forget(&l->root->flight); // the record looks at the device
    ops->stream_destroy(l->sums);
    axl_nccl_give(l->root, l->device, l->memory, HALVES * l->half);
    free(l->pieces);
    free(l->items);
    l->device->lost = NULL;
    l->device->kept = NULL;
    l->device->kept_fini = NULL;
    free(l);
}

// Every device with a landing may wait for other ranks.
static axl_status look(axl_device *device)
{
    const landing *l = device->kept;

    return axl_nccl_look(l->root);
}

axl_status axl_nccl_landing_create(axl_comm_root *root, axl_device *device)
{
    axl_status status = AXL_OK;
    landing *l = NULL;
    void *memory = NULL;

    if (device->kept != NULL)
        goto out;
    AXL_TRY(axl_calloc(1, sizeof *l, "sums over ranks", &l));
    l->root = root;
    l->device = device;
    l->half = root->landing_bytes / HALVES / ALIGN * ALIGN;
    device->kept = l;
    device->kept_fini = landing_fini;
    device->lost = look;
    AXL_TRY(device->ops->stream_create(device, "sums", &l->sums));
    AXL_TRY(axl_nccl_take(root, device, HALVES * l->half, "sums over ranks", &memory));
    l->memory = memory;

out:
    return status;
}

size_t axl_comm_device_bytes(const axl_device *device)
{
    const landing *l = device->kept;

    return l != NULL ? HALVES * l->half : 0;
}

void *axl_nccl_landing(const axl_device *device, size_t *bytes)
{
    const landing *l = device->kept;

    *bytes = axl_comm_device_bytes(device);
    return l != NULL ? l->memory : NULL;
}

axl_stream *axl_nccl_sums(const axl_device *device)
{
    const landing *l = device->kept;

    return l->sums;
}

// ---- groups of the library's calls

static axl_status begin(run *r)
{
    (void)pthread_mutex_lock(&r->n->lock);
    return axl_nccl_check(r->n, r->h, r->n->call.group_start(), "ncclGroupStart");
}

// status: of what was called between. The library's group is closed whatever it was.
static axl_status end(run *r, axl_status status)
{
    const axl_nccl_result code = r->n->call.group_end();
    const axl_status second = axl_nccl_check(r->n, r->h, code, "ncclGroupEnd");

    (void)pthread_mutex_unlock(&r->n->lock);
    if (status != AXL_OK || second != AXL_OK)
        return status != AXL_OK ? status : second;
    // Connections are made by the first call that needs them; the stream has nothing until then.
    return code == AXL_NCCL_IN_PROGRESS ? axl_nccl_settle(r->c, r->h, "connect", 0) : AXL_OK;
}

static axl_status send(const run *r, const void *from, int64_t bytes, int to)
{
    axl_status status = AXL_OK;

    if (bytes > 0)
        AXL_NCCL(r, send(from, (size_t)bytes, AXL_NCCL_UINT8, to, r->h, r->native), "ncclSend");
out:
    return status;
}

static axl_status receive(const run *r, void *to, int64_t bytes, int from)
{
    axl_status status = AXL_OK;

    if (bytes > 0)
        AXL_NCCL(r, recv(to, (size_t)bytes, AXL_NCCL_UINT8, from, r->h, r->native), "ncclRecv");
out:
    return status;
}

static axl_status gather(const run *r, const void *from, void *to, int64_t bytes)
{
    axl_status status = AXL_OK;

    if (bytes > 0)
        AXL_NCCL(r, all_gather(from, to, (size_t)bytes, AXL_NCCL_UINT8, r->h, r->native),
                 "ncclAllGather");
out:
    return status;
}

// ---- what only moves

// Pairs in turn, as all ranks do: the next rank first.
static axl_status exchange(const run *r, const axl_coll *coll)
{
    axl_status status = AXL_OK;
    const int size = r->c->size, rank = r->c->rank;

    for (int d = 1; d < size; d++) {
        const int to = (rank + d) % size, from = (rank + size - d) % size;
        const axl_part out_part = axl_coll_part(coll, to), in_part = axl_coll_part(coll, from);
        AXL_TRY(send(r, (const char *)coll->src + out_part.send_at, out_part.send, to));
        AXL_TRY(receive(r, (char *)coll->dst + in_part.recv_at, in_part.recv, from));
    }

out:
    return status;
}

static axl_status move(const run *r, const axl_coll *coll)
{
    axl_status status = AXL_OK;
    const int64_t bytes = coll->count * (int64_t)coll->elem;

    switch (coll->op) {
    case AXL_COMM_ALL_GATHER:
        return gather(r, coll->src, coll->dst, bytes);
    case AXL_COMM_BROADCAST:
        if (bytes > 0)
            AXL_NCCL(r,
                     broadcast(coll->dst, coll->dst, (size_t)bytes, AXL_NCCL_UINT8, coll->peer,
                               r->h, r->native),
                     "ncclBroadcast");
        break;
    case AXL_COMM_SEND_RECV:
    case AXL_COMM_ALL_TO_ALL:
        return exchange(r, coll);
    default: // sums
        break;
    }

out:
    return status;
}

static bool adds(const axl_coll *coll)
{
    return coll->op == AXL_COMM_REDUCE_SCATTER || coll->op == AXL_COMM_ALL_REDUCE;
}

// What a rank sends to itself is a copy.
static axl_status copy_own(const run *r, const axl_coll *coll)
{
    axl_status status = AXL_OK;

    if (coll->own > 0) {
        const axl_part own = axl_coll_part(coll, r->c->rank);
        AXL_TRY(r->s->device->ops->copy(r->s, (char *)coll->dst + own.recv_at,
                                        (const char *)coll->src + own.send_at, (size_t)coll->own));
    }

out:
    return status;
}

static axl_status move_all(run *r, const axl_comm_task *t)
{
    axl_status status = AXL_OK;
    bool any = false;

    for (size_t i = 0; i < t->n_colls; i++)
        any = any || !adds(&t->colls[i]);
    if (!any)
        goto out;
    status = begin(r);
    for (size_t i = 0; i < t->n_colls && status == AXL_OK; i++)
        status = move(r, &t->colls[i]);
    AXL_TRY(end(r, status));
    for (size_t i = 0; i < t->n_colls; i++)
        AXL_TRY(copy_own(r, &t->colls[i]));

out:
    return status;
}

// ---- sums: what the parts of a collective are

// Elements of a part: a shard, or a rank's slice of an all_reduce, as long as kernels read it by vectors.
static int64_t part_count(const axl_comm *c, const axl_coll *coll)
{
    const int64_t whole = ALIGN / (int64_t)coll->elem;

    if (coll->op == AXL_COMM_REDUCE_SCATTER)
        return coll->count;
    if (coll->count * (int64_t)coll->elem <= SMALL_BYTES)
        return 0;
    return coll->count / c->size / whole * whole;
}

// This rank's elements of the part that is added by `rank`.
static const char *source(const axl_comm *c, const axl_coll *coll, int rank, int64_t at)
{
    const bool scatter = coll->op == AXL_COMM_REDUCE_SCATTER;
    const int64_t stride = scatter ? coll->stride : part_count(c, coll);

    return (const char *)(scatter ? coll->src : coll->dst) +
           (rank * stride + at) * (int64_t)coll->elem;
}

// Whether parts are added within hosts first, which sends less between them. By rows of bf16 too: their sums travel as
// f32, which is more than they are, but only once a host.
static bool by_hosts(const axl_comm *c, const axl_coll *coll)
{
    const bool sums = coll->op == AXL_COMM_REDUCE_SCATTER ||
                      (coll->reduce == AXL_REDUCE_SUM && coll->dtype == AXL_F32);

    return sums && c->nccl->block > 1 && c->nccl->block < c->size;
}

// Bytes of the landing for an element of a piece.
static int64_t landing_bytes(const axl_comm *c, const piece *p)
{
    const int64_t elem = (int64_t)p->coll->elem, f32 = (int64_t)sizeof(float);
    const int64_t near = c->nccl->block, hosts = near > 0 ? c->size / near : 0;

    if (p->whole)
        return c->size * elem;
    if (by_hosts(c, p->coll)) // what neighbours send, the sums of this host, those of the others
        return (near - 1) * hosts * elem + (2 * hosts - 1) * f32;
    return (c->size - 1) * elem;
}

static int64_t round_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

// ---- sums: exchange and addition of the pieces of one half

// Parts for neighbours in rank on this host: of each all hosts' parts with its place.
static axl_status exchange_near(const run *r, const piece *p)
{
    axl_status status = AXL_OK;
    const axl_coll *coll = p->coll;
    const int near = r->c->nccl->block, hosts = r->c->size / near, rank = r->c->rank,
              mine = rank % near;
    const int64_t elem = (int64_t)coll->elem;
    char *to = p->landing;

    for (int q = 0; q < near; q++) {
        const int peer = rank / near * near + q;
        if (q == mine)
            continue;
        for (int h = 0; h < hosts; h++) {
            const char *from = source(r->c, coll, h * near + q, p->at);
            AXL_TRY(send(r, from, p->n * elem, peer));
            AXL_TRY(receive(r, to, p->n * elem, peer));
            to += p->stride * elem;
        }
    }

out:
    return status;
}

// This host's sums, [hosts][stride] f32, lie behind what the neighbours sent; the other hosts' behind them.
static char *host_sums(const axl_comm *c, const piece *p)
{
    const int near = c->nccl->block, hosts = c->size / near;

    return p->landing + (int64_t)(near - 1) * hosts * p->stride * (int64_t)p->coll->elem;
}

static axl_status exchange_far(const run *r, const piece *p)
{
    axl_status status = AXL_OK;
    const int near = r->c->nccl->block, hosts = r->c->size / near, rank = r->c->rank;
    const int64_t f32 = (int64_t)sizeof(float);
    const char *sums = host_sums(r->c, p);
    char *to = host_sums(r->c, p) + hosts * p->stride * f32;

    for (int h = 0; h < hosts; h++) {
        const int peer = h * near + rank % near;
        if (peer == rank)
            continue;
        AXL_TRY(send(r, sums + h * p->stride * f32, p->n * f32, peer));
        AXL_TRY(receive(r, to, p->n * f32, peer));
        to += p->stride * f32;
    }

out:
    return status;
}

static axl_status exchange_parts(const run *r, const piece *p)
{
    axl_status status = AXL_OK;
    const axl_coll *coll = p->coll;
    const int64_t elem = (int64_t)coll->elem;
    char *to = p->landing;

    if (p->whole)
        return gather(r, (const char *)coll->dst + p->at * elem, p->landing, p->n * elem);
    if (by_hosts(r->c, coll))
        return exchange_near(r, p);
    for (int peer = 0; peer < r->c->size; peer++) {
        if (peer == r->c->rank)
            continue;
        AXL_TRY(send(r, source(r->c, coll, peer, p->at), p->n * elem, peer));
        AXL_TRY(receive(r, to, p->n * elem, peer));
        to += p->stride * elem;
    }

out:
    return status;
}

// ---- sums: launches

static axl_status launch_sums(run *r)
{
    landing *l = r->l;
    axl_sum_parts_args a = l->launch;

    l->launch.n_items = 0;
    a.items = l->items;
    return a.n_items == 0 ? AXL_OK : r->s->device->kernels->sum_parts(l->sums, &a);
}

// What is to be added alike, whatever the arrays, is one launch.
static axl_status add_sum(run *r, const axl_sum_parts_args *how, const axl_sum_parts_item *item)
{
    axl_status status = AXL_OK;
    landing *l = r->l;
    const axl_sum_parts_args *open = &l->launch;

    if (open->n_parts != how->n_parts || open->own_index != how->own_index || open->op != how->op ||
        open->dtype != how->dtype || open->out_dtype != how->out_dtype) {
        AXL_TRY(launch_sums(r));
        l->launch = *how;
    }
    const size_t n = (size_t)open->n_items;
    AXL_TRY(axl_grow(&l->items, &l->item_capacity, n + 1, sizeof *item, "sums over ranks"));
    l->items[n] = *item;
    l->launch.n_items++;

out:
    return status;
}

// Where the sum of a piece goes, from its element `at` on as far as it is one array.
static axl_sum_parts_item place_of(const axl_comm *c, const piece *p, int64_t at)
{
    const axl_coll *coll = p->coll;
    const int64_t first = p->at + at + (p->whole ? 0 : c->rank * part_count(c, coll));

    if (coll->op == AXL_COMM_REDUCE_SCATTER) {
        const axl_comm_shard to = axl_coll_shard(coll, p->at + at, p->n - at);
        return (axl_sum_parts_item){.out = to.sum, .n = to.count, .accumulate = to.accumulate};
    }
    return (axl_sum_parts_item){.out = (char *)coll->dst + first * (int64_t)coll->elem,
                                .n = p->n - at}; // over the own part
}

// The end of a piece's way. parts and own: of its first element; own NULL: parts has all.
static axl_status sum_piece(run *r, const piece *p, axl_sum_parts_args how, const char *parts,
                            const char *own)
{
    axl_status status = AXL_OK;
    const axl_coll *coll = p->coll;
    const size_t elem = axl_dtype_size(how.dtype);

    how.op = coll->reduce;
    how.out_dtype = coll->op == AXL_COMM_REDUCE_SCATTER ? AXL_F32 : coll->dtype;
    for (int64_t at = 0; at < p->n;) {
        axl_sum_parts_item item = place_of(r->c, p, at);
        item.parts = parts + (size_t)at * elem;
        item.stride = p->stride;
        item.own = own != NULL ? own + (size_t)at * elem : NULL;
        AXL_TRY(add_sum(r, &how, &item));
        at += item.n;
    }

out:
    return status;
}

static axl_status sum_direct(run *r, const piece *p)
{
    const axl_coll *coll = p->coll;
    const axl_sum_parts_args how = {
        .n_parts = r->c->size, .own_index = r->c->rank, .dtype = coll->dtype};

    return sum_piece(r, p, how, p->landing,
                     p->whole ? NULL : source(r->c, coll, r->c->rank, p->at));
}

// The sums of this host, one for each host's rank with this place.
static axl_status sum_near(run *r, const piece *p)
{
    axl_status status = AXL_OK;
    const axl_coll *coll = p->coll;
    const int near = r->c->nccl->block, hosts = r->c->size / near, mine = r->c->rank % near;
    const int64_t elem = (int64_t)coll->elem;
    const axl_sum_parts_args how = {
        .n_parts = near, .own_index = mine, .dtype = coll->dtype, .out_dtype = AXL_F32};

    for (int h = 0; h < hosts; h++) {
        const axl_sum_parts_item item = {.parts = p->landing + h * p->stride * elem,
                                         .stride = hosts * p->stride,
                                         .own = source(r->c, coll, h * near + mine, p->at),
                                         .n = p->n,
                                         .out = host_sums(r->c, p) +
                                                h * p->stride * (int64_t)sizeof(float)};
        AXL_TRY(add_sum(r, &how, &item));
    }

out:
    return status;
}

static axl_status sum_far(run *r, const piece *p)
{
    const int near = r->c->nccl->block, hosts = r->c->size / near, host = r->c->rank / near;
    const int64_t f32 = (int64_t)sizeof(float);
    const char *sums = host_sums(r->c, p);
    const axl_sum_parts_args how = {.n_parts = hosts, .own_index = host, .dtype = AXL_F32};

    return sum_piece(r, p, how, sums + hosts * p->stride * f32, sums + host * p->stride * f32);
}

// All pieces: their exchange as one group on the stream, then their sums behind it on the stream of sums. far: of those
// that are added by hosts, between hosts.
static axl_status pass(run *r, bool far)
{
    axl_status status = AXL_OK;
    landing *l = r->l;
    const axl_device_ops *ops = l->device->ops;
    axl_event arrived;

    AXL_TRY(ops->wait(r->s, &l->summed[l->now])); // what lies there has been added
    status = begin(r);
    for (size_t i = 0; i < l->n_pieces && status == AXL_OK; i++) {
        const piece *p = &l->pieces[i];
        if (!far)
            status = exchange_parts(r, p);
        else if (by_hosts(r->c, p->coll) && !p->whole)
            status = exchange_far(r, p);
    }
    AXL_TRY(end(r, status));
    AXL_TRY(ops->record(r->s, &arrived));
    AXL_TRY(ops->wait(l->sums, &arrived));
    for (size_t i = 0; i < l->n_pieces; i++) {
        const piece *p = &l->pieces[i];
        const bool hosts = by_hosts(r->c, p->coll) && !p->whole;
        if (!far)
            AXL_TRY(hosts ? sum_near(r, p) : sum_direct(r, p));
        else if (hosts)
            AXL_TRY(sum_far(r, p));
    }
    AXL_TRY(launch_sums(r));
    AXL_TRY(ops->record(l->sums, &l->summed[l->now]));

out:
    return status;
}

static axl_status flush(run *r)
{
    axl_status status = AXL_OK;
    landing *l = r->l;
    bool far = false;

    if (l->n_pieces == 0)
        goto out;
    for (size_t i = 0; i < l->n_pieces; i++)
        far = far || (by_hosts(r->c, l->pieces[i].coll) && !l->pieces[i].whole);
    AXL_TRY(pass(r, false));
    if (far)
        AXL_TRY(pass(r, true));

out:
    l->n_pieces = 0;
    l->used = 0;
    l->now = (l->now + 1) % HALVES;
    return status;
}

// Cuts elements at .. at + n of the parts into what fits; a piece that would be a crumb waits for the next half.
static axl_status add_pieces(run *r, const axl_coll *coll, bool whole, int64_t at, int64_t n)
{
    axl_status status = AXL_OK;
    landing *l = r->l;
    const int64_t vector = ALIGN; // elements: a multiple of a vector of any type

    while (n > 0) {
        piece p = {.coll = coll, .at = at, .n = n, .whole = whole};
        const int64_t each = landing_bytes(r->c, &p);
        const int64_t fits = ((int64_t)(l->half - l->used) / each) / vector * vector;
        if (fits < n && l->n_pieces > 0) {
            AXL_TRY(flush(r));
            continue;
        }
        AXL_REQUIRE(fits > 0, AXL_E_BUG, "axis %s: sums over %d ranks do not fit their memory",
                    r->c->name, r->c->size);
        p.n = fits < n ? fits : n;
        p.stride = whole ? p.n : round_up(p.n, vector);
        p.landing = l->memory + (size_t)l->now * l->half + l->used;
        l->used += (size_t)round_up(p.stride * each, ALIGN);
        AXL_TRY(axl_grow(&l->pieces, &l->capacity, l->n_pieces + 1, sizeof p, "parts of sums"));
        l->pieces[l->n_pieces++] = p;
        at += p.n;
        n -= p.n;
    }

out:
    return status;
}

static axl_status add_coll(run *r, const axl_coll *coll)
{
    axl_status status = AXL_OK;
    const int64_t per = part_count(r->c, coll);

    if (per > 0)
        AXL_TRY(add_pieces(r, coll, false, 0, per));
    if (coll->op == AXL_COMM_ALL_REDUCE) // what is left over, or all of a small one
        AXL_TRY(add_pieces(r, coll, true, per * r->c->size, coll->count - per * r->c->size));

out:
    return status;
}

// The slices of all_reduce, each added by one rank, go to all.
static axl_status gather_slices(run *r, const axl_comm_task *t)
{
    axl_status status = begin(r);

    for (size_t i = 0; i < t->n_colls && status == AXL_OK; i++) {
        const axl_coll *coll = &t->colls[i];
        const int64_t bytes = part_count(r->c, coll) * (int64_t)coll->elem;
        if (coll->op == AXL_COMM_ALL_REDUCE)
            status = gather(r, (const char *)coll->dst + r->c->rank * bytes, coll->dst, bytes);
    }
    return end(r, status);
}

static axl_status add_all(run *r, const axl_comm_task *t)
{
    axl_status status = AXL_OK;
    const axl_device_ops *ops = r->s->device->ops;
    bool any = false, slices = false;

    for (size_t i = 0; i < t->n_colls; i++) {
        const axl_coll *coll = &t->colls[i];
        any = any || adds(coll);
        slices = slices || (coll->op == AXL_COMM_ALL_REDUCE && part_count(r->c, coll) > 0);
        if (adds(coll))
            AXL_TRY(add_coll(r, coll));
    }
    if (!any)
        goto out;
    AXL_TRY(flush(r));
    for (int i = 0; i < HALVES; i++)
        AXL_TRY(ops->wait(r->s, &r->l->summed[i]));
    if (slices)
        AXL_TRY(gather_slices(r, t));

out:
    return status;
}

axl_status axl_nccl_run(axl_comm_task *t)
{
    axl_status status = AXL_OK;
    axl_comm *c = t->comm;
    run r = {.c = c,
             .n = c->root->nccl,
             .h = c->nccl->handle,
             .s = t->stream,
             .native = t->stream->device->ops->native(t->stream),
             .l = t->stream->device->kept};

    AXL_REQUIRE(r.l != NULL, AXL_E_BUG, "axis %s: a device that axl_comm_use_device does not know",
                c->name);
    AXL_TRY(move_all(&r, t));
    AXL_TRY(add_all(&r, t));

out:
    return status;
}
