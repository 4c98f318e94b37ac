// Latency is counted for hierarchical algorithms: gathers and reductions go once round the nodes and once round the
// ranks of a node, sums go up and down a tree.
#include "src/plan/network.h"

#include <math.h>

unsigned axl_network_axes(axl_group group)
{
    const unsigned shard = AXL_AXIS_BIT(AXL_DP_SHARD), cp = AXL_AXIS_BIT(AXL_CP),
                   ep = AXL_AXIS_BIT(AXL_EP);

    if (group >= AXL_GROUP_AXIS && group < AXL_GROUP_BATCH)
        return AXL_AXIS_BIT(group - AXL_GROUP_AXIS);
    switch (group) {
    case AXL_GROUP_DENSE:
        return shard | ep | cp;
    case AXL_GROUP_EXPERT:
        return shard | cp;
    case AXL_GROUP_TP_SHARE: // a part of tp; its sums are small
        return AXL_AXIS_BIT(AXL_TP);
    default:
        return 0;
    }
}

int64_t axl_network_ranks(const axl_mesh *m, unsigned axes)
{
    int64_t n = 1;

    for (int i = 0; i < AXL_N_AXES; i++)
        n *= (axes & AXL_AXIS_BIT(i)) != 0 ? m->size[i] : 1;
    return n;
}

int64_t axl_network_local(const axl_cluster *c, const axl_mesh *m, unsigned axes)
{
    const int64_t node = (int64_t)c->node_ranks;
    int64_t stride = 1, local = 1;

    for (int i = AXL_N_AXES - 1; i >= 0; i--) {
        const int64_t room = node / stride > 1 ? node / stride : 1;
        if ((axes & AXL_AXIS_BIT(i)) != 0)
            local *= m->size[i] < room ? m->size[i] : room;
        stride *= m->size[i];
    }
    return local;
}

// Ranks of the run on one node.
static double node_ranks(const axl_cluster *c, const axl_mesh *m)
{
    const double all = (double)axl_network_ranks(m, ~0u);

    return all < c->node_ranks ? all : c->node_ranks;
}

double axl_network_sent_seconds(const axl_cluster *c, const axl_mesh *m, unsigned axes,
                                double bytes, double steps)
{
    const int64_t n = axl_network_ranks(m, axes), local = axl_network_local(c, m, axes);
    const double inside = c->inside.bytes_per_second * c->inside.achievable;
    const double share = (double)local / node_ranks(c, m);
    const double between = c->between.bytes_per_second * c->between.achievable * share;

    if (n == 1)
        return 0.0;
    if (local >= n)
        return bytes / inside + steps * c->inside.latency;
    return bytes / (between < inside ? between : inside) + steps * c->between.latency;
}

double axl_network_seconds(const axl_cluster *c, const axl_mesh *m, unsigned axes, axl_comm_op op,
                           double payload)
{
    const int64_t n = axl_network_ranks(m, axes);
    const double local = (double)axl_network_local(c, m, axes), nodes = (double)n / local;
    const double sent = (double)axl_comm_sent_bytes(op, n, (int64_t)payload);
    double latency = (local - 1.0) * c->inside.latency + (nodes - 1.0) * c->between.latency;

    if (n == 1)
        return 0.0;
    if (op == AXL_COMM_ALL_REDUCE)
        latency =
            2.0 * (ceil(log2(local)) * c->inside.latency + ceil(log2(nodes)) * c->between.latency);
    return axl_network_sent_seconds(c, m, axes, sent, 0.0) + latency;
}
