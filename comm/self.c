// The transport of one rank: every collective is at most a copy. It exists so that nothing above asks
// whether there are other ranks.
#include "comm/transport.h"

#include <stdlib.h>
#include <string.h>

static void scatter(const axl_coll *coll)
{
    for (int64_t at = 0; at < coll->count;) {
        const axl_comm_shard to = axl_coll_shard(coll, at, coll->count - at);
        const void *from = (const char *)coll->src + (size_t)at * coll->elem;
        axl_reduce_sum(&from, 1, coll->dtype, to.count, to.sum, to.accumulate);
        at += to.count;
    }
}

static void run(const axl_coll *coll)
{
    const size_t bytes = (size_t)coll->count * coll->elem;

    if (bytes == 0) // nothing, also when there are no buffers
        return;
    if (coll->op == AXL_COMM_ALL_TO_ALL)
        memmove((char *)coll->dst + coll->parts->recv_at,
                (const char *)coll->src + coll->parts->send_at, bytes);
    if (coll->op == AXL_COMM_REDUCE_SCATTER)
        scatter(coll);
    else if (coll->op == AXL_COMM_ALL_GATHER || coll->op == AXL_COMM_SEND_RECV)
        memmove(coll->dst, coll->src, bytes);
}

static axl_status self_poll(axl_comm_task *t, bool *done)
{
    for (size_t i = 0; i < t->n_colls; i++)
        run(&t->colls[i]);
    *done = true;
    return AXL_OK;
}

static void self_plan(axl_comm *c, axl_coll *coll)
{
    (void)c;
    (void)coll;
}

static void self_task_fini(axl_comm_task *t)
{
    (void)t;
}

static axl_status self_split(axl_comm *parent, int color, int key, axl_comm *child, bool *member)
{
    (void)parent;
    (void)key;
    *member = color >= 0;
    axl_self_init(child);
    return AXL_OK;
}

static void self_destroy(axl_comm *c)
{
    (void)c;
}

static axl_status self_barrier(axl_comm *c)
{
    (void)c;
    return AXL_OK;
}

static axl_status self_bcast(axl_comm *c, void *bytes, int64_t n, int root)
{
    (void)c;
    (void)bytes;
    (void)n;
    (void)root;
    return AXL_OK;
}

static axl_status self_gather(axl_comm *c, const void *bytes, int64_t n, axl_str *out,
                              int64_t *sizes)
{
    (void)c;
    if (sizes != NULL)
        sizes[0] = n;
    return axl_str_append(out, bytes, (size_t)n);
}

static axl_status self_all_gather(axl_comm *c, const void *mine, void *all, int64_t n)
{
    (void)c;
    memcpy(all, mine, (size_t)n);
    return AXL_OK;
}

static void self_abort(axl_comm *c, int exit_code)
{
    (void)c;
    exit(exit_code);
}

static void self_finalize(void) {}

static axl_status self_library(axl_str *out)
{
    return axl_str_puts(out, "none");
}

const axl_transport axl_transport_self = {
    .name = "self",
    .library = self_library,
    .split = self_split,
    .destroy = self_destroy,
    .plan = self_plan,
    .poll = self_poll,
    .task_fini = self_task_fini,
    .barrier = self_barrier,
    .bcast = self_bcast,
    .gather = self_gather,
    .all_gather = self_all_gather,
    .abort = self_abort,
    .finalize = self_finalize,
};

void axl_self_init(axl_comm *c)
{
    c->transport = &axl_transport_self;
    c->rank = c->local_rank = 0;
    c->size = c->local_size = c->n_hosts = 1;
}
