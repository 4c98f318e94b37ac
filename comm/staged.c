// Collectives of a device whose memory MPI cannot reach: what is read goes to host memory first, what is written
// comes from there. Slow, because nothing overlaps: the host waits for the stream, for the ranks, and for the way
// back. A device of its own collectives (comm over NCCL) does not come here. Ranks do not wait for each other in a
// circle, because all of them make their collectives in one order.
//
// A communicator of one rank needs no staging: its sums and copies are the device's.
#include "comm/transport.h"

#include "kernels/kernels.h"
#include "src/base/log.h"
#include "src/base/mem.h"

#include <stdlib.h>
#include <string.h>

// The buffers of a collective, in bytes from its src and dst, and where they lie in the staging.
typedef struct extent {
    size_t src, dst;
    bool inside;    // src is this rank's place in dst
    bool reads_dst; // as a whole, before the collective
    size_t src_at, dst_at;
} extent;

static size_t largest(size_t a, size_t b)
{
    return a > b ? a : b;
}

static extent extent_of(const axl_comm *c, const axl_coll *coll)
{
    const size_t bytes = (size_t)coll->count * coll->elem, size = (size_t)c->size;
    extent e = {0};

    switch (coll->op) {
    case AXL_COMM_ALL_GATHER:
        e.dst = bytes * size;
        e.inside = coll->src == (const char *)coll->dst + (size_t)c->rank * bytes;
        e.src = bytes;
        break;
    case AXL_COMM_REDUCE_SCATTER: // a part for each rank
        e.src = (size_t)(coll->stride * (c->size - 1) + coll->count) * coll->elem;
        e.dst = (size_t)coll->count * sizeof(float);
        break;
    case AXL_COMM_SEND_RECV:
        e.src = bytes;
        e.dst = (size_t)coll->recv_count;
        break;
    case AXL_COMM_ALL_TO_ALL:
        for (int r = 0; r < c->size; r++) {
            const axl_part *p = &coll->parts[r];
            e.src = largest(e.src, p->send > 0 ? (size_t)(p->send_at + p->send) : 0);
            e.dst = largest(e.dst, p->recv > 0 ? (size_t)(p->recv_at + p->recv) : 0);
        }
        break;
    default: // all_reduce and broadcast, in place
        e.dst = bytes;
        e.reads_dst = true;
    }
    return e;
}

// ---- one rank

// shards (+)= src of dtype, f32.
static axl_status add_alone(const axl_coll *coll, axl_stream *s)
{
    axl_status status = AXL_OK;

    for (int64_t at = 0; at < coll->count;) {
        const axl_comm_shard to = axl_coll_shard(coll, at, coll->count - at);
        const axl_sum_parts_item item = {.own = (const char *)coll->src + (size_t)at * coll->elem,
                                         .n = to.count,
                                         .out = to.sum,
                                         .accumulate = to.accumulate};
        const axl_sum_parts_args a = {
            .items = &item, .n_items = 1, .n_parts = 1, .dtype = coll->dtype, .out_dtype = AXL_F32};
        AXL_TRY(s->device->kernels->sum_parts(s, &a));
        at += to.count;
    }
out:
    return status;
}

static axl_status run_alone(const axl_coll *coll, axl_stream *s)
{
    const axl_device_ops *ops = s->device->ops;
    const size_t bytes = (size_t)coll->count * coll->elem;

    if (bytes == 0)
        return AXL_OK;
    switch (coll->op) {
    case AXL_COMM_REDUCE_SCATTER:
        return add_alone(coll, s);
    case AXL_COMM_ALL_TO_ALL:
        return ops->copy(s, (char *)coll->dst + coll->parts->recv_at,
                         (const char *)coll->src + coll->parts->send_at, bytes);
    case AXL_COMM_ALL_GATHER:
    case AXL_COMM_SEND_RECV:
        return coll->src == coll->dst ? AXL_OK : ops->copy(s, coll->dst, coll->src, bytes);
    default:
        return AXL_OK;
    }
}

// ---- several ranks

// A reduce_scatter's shards between their places on the device and the staging, where they lie side by side. up: from there.
static axl_status copy_shards(const axl_coll *coll, char *staging, bool up, axl_stream *s)
{
    axl_status status = AXL_OK;

    for (size_t i = 0; i < coll->n_shards; i++) {
        const axl_comm_shard *to = &coll->shards[i];
        const size_t bytes = (size_t)to->count * sizeof(float);
        if (up)
            AXL_TRY(s->device->ops->copy(s, to->sum, staging, bytes));
        else if (to->accumulate)
            AXL_TRY(s->device->ops->copy(s, staging, to->sum, bytes));
        staging += bytes;
    }
out:
    return status;
}

static axl_status to_host(const axl_comm *c, const axl_coll *coll, const extent *e, char *staging,
                          axl_stream *s)
{
    axl_status status = AXL_OK;
    const axl_device_ops *ops = s->device->ops;
    char *src = staging + e->src_at;

    for (int r = 0; r < c->size && coll->op == AXL_COMM_ALL_TO_ALL; r++) {
        const axl_part *p = &coll->parts[r];
        AXL_TRY(
            ops->copy(s, src + p->send_at, (const char *)coll->src + p->send_at, (size_t)p->send));
    }
    if (coll->op != AXL_COMM_ALL_TO_ALL)
        AXL_TRY(ops->copy(s, src, coll->src, e->src));
    AXL_TRY(copy_shards(coll, staging + e->dst_at, false, s));
    if (e->reads_dst)
        AXL_TRY(ops->copy(s, staging + e->dst_at, coll->dst, e->dst));
out:
    return status;
}

// What lies between the parts of an all_to_all stays as it is.
static axl_status to_device(const axl_comm *c, const axl_coll *coll, const extent *e, char *staging,
                            axl_stream *s)
{
    axl_status status = AXL_OK;
    const axl_device_ops *ops = s->device->ops;
    char *dst = staging + e->dst_at;

    for (int r = 0; r < c->size && coll->op == AXL_COMM_ALL_TO_ALL; r++) {
        const axl_part *p = &coll->parts[r];
        AXL_TRY(ops->copy(s, (char *)coll->dst + p->recv_at, dst + p->recv_at, (size_t)p->recv));
    }
    AXL_TRY(copy_shards(coll, dst, true, s));
    if (coll->op != AXL_COMM_ALL_TO_ALL && coll->op != AXL_COMM_REDUCE_SCATTER)
        AXL_TRY(ops->copy(s, coll->dst, dst, e->dst));
out:
    return status;
}

// Gives each collective its place in the staging; returns the bytes of all.
static size_t place(const axl_comm_task *t, extent *extents)
{
    size_t at = 0;

    for (size_t i = 0; i < t->n_colls; i++) {
        extent *e = &extents[i];
        *e = extent_of(t->comm, &t->colls[i]);
        e->dst_at = at;
        at += axl_align_up(e->dst);
        e->src_at = e->inside ? e->dst_at + (size_t)t->comm->rank * e->src : at;
        at += e->inside ? 0 : axl_align_up(e->src);
    }
    return at;
}

// The collective's buffers are now those of the staging.
static void redirect(axl_comm_task *t, axl_coll *coll, const extent *e, char *staging)
{
    float *sum = (float *)(void *)(staging + e->dst_at);

    coll->src = staging + e->src_at;
    coll->dst = staging + e->dst_at;
    for (size_t i = 0; i < coll->n_shards; i++) {
        axl_comm_shard *to = &t->shards[coll->first_shard + i];
        to->sum = sum;
        sum += to->count;
    }
}

static void say_once(axl_comm *c)
{
    if (c->rank == 0 && !c->root->staged)
        axl_warn("collectives of this device go through host memory and MPI: slow, for tests%s%s",
                 c->root->no_nccl[0] != '\0' ? "; NCCL is not used: " : "", c->root->no_nccl);
    c->root->staged = true;
}

static axl_status run_staged(axl_comm_task *t, axl_comm_wait wait)
{
    axl_status status = AXL_OK;
    axl_stream *s = t->stream;
    extent *extents = NULL;        // [n_colls]
    axl_coll *before = NULL;       // [n_colls], as the device has them
    axl_comm_shard *shards = NULL; // [n_shards], the same
    void *memory = NULL;
    char *staging = NULL;

    say_once(t->comm);
    AXL_TRY(axl_calloc(t->n_colls, sizeof *extents, "a staged collective", &extents));
    AXL_TRY(axl_calloc(t->n_colls, sizeof *before, "a staged collective", &before));
    AXL_TRY(axl_calloc(t->n_shards, sizeof *shards, "a staged collective", &shards));
    if (t->n_shards > 0)
        memcpy(shards, t->shards, t->n_shards * sizeof *shards);
    AXL_TRY(axl_device_staging(s->device, place(t, extents), &memory));
    staging = memory;
    for (size_t i = 0; i < t->n_colls; i++) {
        before[i] = t->colls[i];
        before[i].shards = shards + before[i].first_shard;
        AXL_TRY(to_host(t->comm, &before[i], &extents[i], staging, s));
        redirect(t, &t->colls[i], &extents[i], staging);
    }
    AXL_TRY(s->device->ops->synchronize(s));
    AXL_TRY(wait(t));
    for (size_t i = 0; i < t->n_colls; i++)
        AXL_TRY(to_device(t->comm, &before[i], &extents[i], staging, s));
    AXL_TRY(s->device->ops->synchronize(s)); // the staging is used again

out:
    free(extents);
    free(before);
    free(shards);
    return status;
}

axl_status axl_comm_stage(axl_comm_task *t, axl_comm_wait wait)
{
    axl_status status = AXL_OK;

    if (t->comm->size > 1) {
        AXL_TRY(run_staged(t, wait));
        goto out;
    }
    for (size_t i = 0; i < t->n_colls; i++)
        AXL_TRY(run_alone(&t->colls[i], t->stream));

out:
    return status;
}
