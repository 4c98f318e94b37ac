// Splitting the world. A group is named by the axes in which its ranks differ; its color is the rank's
// place in all the others, and the order within is that of world ranks.
#include "comm/mesh.h"

#include "src/base/mem.h"

#include <stdlib.h>

#define BIT(axis) (1u << (axis))

static const char *const axis_names[AXL_N_AXES] = {
    [AXL_DP_REPLICATE] = "dp_replicate",
    [AXL_DP_SHARD] = "dp_shard",
    [AXL_EP] = "ep",
    [AXL_CP] = "cp",
    [AXL_TP] = "tp",
};

const char *axl_axis_name(axl_axis axis)
{
    return (unsigned)axis < AXL_N_AXES ? axis_names[axis] : "unknown";
}

const char *axl_group_name(axl_group group)
{
    static const char *const names[AXL_N_GROUPS] = {
        [AXL_GROUP_WORLD] = "world",   [AXL_GROUP_BATCH] = "batch",
        [AXL_GROUP_LOSS] = "loss",     [AXL_GROUP_DENSE] = "dense",
        [AXL_GROUP_EXPERT] = "expert", [AXL_GROUP_TP_SHARE] = "tp_share",
    };

    if (group >= AXL_GROUP_AXIS && group < AXL_GROUP_BATCH)
        return axl_axis_name((axl_axis)(group - AXL_GROUP_AXIS));
    return (unsigned)group < AXL_N_GROUPS ? names[group] : "unknown";
}

void axl_mesh_imagine(const int size[AXL_N_AXES], int64_t rank, axl_mesh *out)
{
    *out = (axl_mesh){0};
    for (int i = AXL_N_AXES - 1; i >= 0; i--) {
        out->size[i] = size[i];
        out->coord[i] = (int)(rank % size[i]);
        rank /= size[i];
    }
}

int axl_mesh_n_batches(const axl_mesh *m)
{
    return m->size[AXL_DP_REPLICATE] * m->size[AXL_DP_SHARD] * m->size[AXL_EP];
}

int axl_mesh_batch_rank(const axl_mesh *m)
{
    return (m->coord[AXL_DP_REPLICATE] * m->size[AXL_DP_SHARD] + m->coord[AXL_DP_SHARD]) *
               m->size[AXL_EP] +
           m->coord[AXL_EP];
}

int axl_mesh_n_dense(const axl_mesh *m)
{
    return m->size[AXL_DP_SHARD] * m->size[AXL_EP] * m->size[AXL_CP];
}

int axl_mesh_dense_rank(const axl_mesh *m)
{
    return (m->coord[AXL_DP_SHARD] * m->size[AXL_EP] + m->coord[AXL_EP]) * m->size[AXL_CP] +
           m->coord[AXL_CP];
}

int axl_mesh_n_expert(const axl_mesh *m)
{
    return m->size[AXL_DP_SHARD] * m->size[AXL_CP];
}

int axl_mesh_expert_rank(const axl_mesh *m)
{
    return m->coord[AXL_DP_SHARD] * m->size[AXL_CP] + m->coord[AXL_CP];
}

// The comm of the ranks that differ in these axes only; remembered among all.
static axl_status make(axl_mesh *m, axl_group group, unsigned axes, axl_comm **out)
{
    axl_status status = AXL_OK;
    int color = 0;

    for (int i = 0; i < AXL_N_AXES; i++)
        if ((axes & BIT(i)) == 0)
            color = color * m->size[i] + m->coord[i];
    AXL_TRY(axl_comm_split(m->world, color, axl_comm_rank(m->world), axl_group_name(group), out));
    m->comms[group] = *out;

out:
    return status;
}

static axl_status check_sizes(const axl_comm *world, const int size[AXL_N_AXES])
{
    axl_status status = AXL_OK;
    int64_t product = 1;

    for (int i = 0; i < AXL_N_AXES; i++) {
        AXL_REQUIRE(size[i] >= 1, AXL_E_CONFIG, "the mesh has %d ranks along %s", size[i],
                    axis_names[i]);
        product *= size[i];
    }
    AXL_REQUIRE(product == axl_comm_size(world), AXL_E_CONFIG,
                "the mesh %d x %d x %d x %d x %d (dp_replicate, dp_shard, ep, cp, tp) needs %lld "
                "ranks, there are %d",
                size[0], size[1], size[2], size[3], size[4], (long long)product,
                axl_comm_size(world));

out:
    return status;
}

axl_status axl_mesh_create(axl_comm *world, const int size[AXL_N_AXES], axl_mesh **out)
{
    axl_status status = AXL_OK;
    axl_mesh *m = NULL;
    const unsigned data = BIT(AXL_DP_REPLICATE) | BIT(AXL_DP_SHARD) | BIT(AXL_EP);

    AXL_TRY(check_sizes(world, size));
    AXL_TRY(axl_calloc(1, sizeof *m, "the mesh", &m));
    axl_mesh_imagine(size, axl_comm_rank(world), m);
    m->world = world;
    m->comms[AXL_GROUP_WORLD] = world;
    for (int i = 0; i < AXL_N_AXES; i++)
        AXL_TRY(make(m, (axl_group)(AXL_GROUP_AXIS + i), BIT(i), &m->axis[i]));
    AXL_TRY(make(m, AXL_GROUP_BATCH, data, &m->batch));
    AXL_TRY(make(m, AXL_GROUP_LOSS, data | BIT(AXL_CP), &m->loss));
    AXL_TRY(make(m, AXL_GROUP_DENSE, BIT(AXL_DP_SHARD) | BIT(AXL_EP) | BIT(AXL_CP), &m->dense));
    AXL_TRY(make(m, AXL_GROUP_EXPERT, BIT(AXL_DP_SHARD) | BIT(AXL_CP), &m->expert));
    *out = m;
    m = NULL;

out:
    axl_mesh_destroy(m);
    return status;
}

void axl_mesh_destroy(axl_mesh *m)
{
    if (m == NULL)
        return;
    for (int i = AXL_GROUP_WORLD + 1; i < AXL_N_GROUPS; i++)
        axl_comm_destroy(m->comms[i]);
    free(m);
}

axl_status axl_mesh_tp_share(axl_mesh *m, int n, axl_comm **out)
{
    axl_status status = AXL_OK;
    const int tp = m->size[AXL_TP];

    *out = NULL;
    AXL_REQUIRE(n >= 1 && tp % n == 0 && (m->tp_share == NULL || m->n_shared == n), AXL_E_BUG,
                "tp %d cannot share %d parts", tp, n);
    if (m->world != NULL && m->tp_share == NULL) {
        AXL_TRY(axl_comm_split(m->axis[AXL_TP], m->coord[AXL_TP] / (tp / n), m->coord[AXL_TP],
                               "tp_share", &m->tp_share));
        m->comms[AXL_GROUP_TP_SHARE] = m->tp_share;
        m->n_shared = n;
    }
    *out = m->tp_share;

out:
    return status;
}

double axl_mesh_exposed_seconds(const axl_mesh *m)
{
    axl_comm_counter counters[AXL_COMM_N_OPS];
    double total = 0.0;

    for (int i = 0; i < AXL_N_GROUPS; i++) {
        if (m->comms[i] == NULL)
            continue;
        axl_comm_counters_read(m->comms[i], counters);
        for (int op = 0; op < AXL_COMM_N_OPS; op++)
            total += counters[op].exposed_seconds;
    }
    return total;
}

void axl_mesh_counters_reset(axl_mesh *m)
{
    for (int i = 0; i < AXL_N_GROUPS; i++)
        if (m->comms[i] != NULL)
            axl_comm_counters_reset(m->comms[i]);
}
