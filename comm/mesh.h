// The mesh: how the ranks of the world divide the work, as five axes and the groups made from them.
//
// The one idea: a rank is a point of a box. Along each axis the ranks split something else:
//   dp_replicate  copies of the sharded model, each with data of its own (HSDP)
//   dp_shard      rows of every weight, and data
//   ep            the experts of a mixture, and data
//   cp            the tokens of each sequence
//   tp            each matrix product
// tp is the fastest axis: neighbours in rank are neighbours in the machine, and tp talks most.
//   rank = (((r * dp_shard + n) * ep + e) * cp + c) * tp + t
#ifndef AXL_COMM_MESH_H
#define AXL_COMM_MESH_H

#include "comm/comm.h"

typedef enum axl_axis {
    AXL_DP_REPLICATE,
    AXL_DP_SHARD,
    AXL_EP,
    AXL_CP,
    AXL_TP,
    AXL_N_AXES
} axl_axis;

// The comms of a mesh, as indices of axl_mesh.comms: who counts and reports goes through them.
typedef enum axl_group {
    AXL_GROUP_WORLD,
    AXL_GROUP_AXIS, // + axis
    AXL_GROUP_BATCH = AXL_GROUP_AXIS + AXL_N_AXES,
    AXL_GROUP_LOSS,
    AXL_GROUP_DENSE,
    AXL_GROUP_EXPERT,
    AXL_GROUP_TP_SHARE, // ranks that hold the same key heads
    AXL_N_GROUPS
} axl_group;

typedef struct axl_mesh {
    int size[AXL_N_AXES], coord[AXL_N_AXES];
    axl_comm *axis[AXL_N_AXES];    // owned: the ranks that differ from this one in that axis only
    axl_comm *world;               // borrowed
    axl_comm *batch;               // owned: dp_replicate x dp_shard x ep: who has other data
    axl_comm *loss;                // owned: all but tp: whose tokens are summed
    axl_comm *dense;               // owned: dp_shard x ep x cp: who shards a weight
    axl_comm *expert;              // owned: dp_shard x cp: who shards an expert's weight
    axl_comm *tp_share;            // owned; NULL until axl_mesh_tp_share made it
    int n_shared;                  // parts that tp_share was made for
    axl_comm *comms[AXL_N_GROUPS]; // borrowed: all of the above by axl_group
} axl_mesh;

const char *axl_axis_name(axl_axis axis);    // "dp_replicate", ... borrowed
const char *axl_group_name(axl_group group); // "dense", ...: what its comm is called; borrowed

// Splits world. size[i] >= 1; AXL_E_CONFIG when their product is not the number of ranks. Collective on
// world. Destroy with axl_mesh_destroy (Collective, NULL-safe) before the world goes.
axl_status axl_mesh_create(axl_comm *world, const int size[AXL_N_AXES], axl_mesh **out);
void axl_mesh_destroy(axl_mesh *m);

// The ranks of tp that share one of n equal parts of something that tp splits into fewer parts than ranks
// (key and value heads). n divides tp and is the same in every call. Borrowed; NULL when the mesh is imagined.
// Collective on the tp axis.
axl_status axl_mesh_tp_share(axl_mesh *m, int n, axl_comm **out);

// A mesh as rank would see it, without communicators (all NULL): for plans of machines that are not here.
// The product of the sizes is not limited. Local.
void axl_mesh_imagine(const int size[AXL_N_AXES], int64_t rank, axl_mesh *out);

// How many ranks differ in data; in the rows of a weight; in the rows of an expert's weight. And this rank's
// place among them.
int axl_mesh_n_batches(const axl_mesh *m);
int axl_mesh_batch_rank(const axl_mesh *m);
int axl_mesh_n_dense(const axl_mesh *m);
int axl_mesh_dense_rank(const axl_mesh *m);
int axl_mesh_n_expert(const axl_mesh *m);
int axl_mesh_expert_rank(const axl_mesh *m);

// Seconds that this rank waited for communication since the counters' reset, over all comms. Local.
double axl_mesh_exposed_seconds(const axl_mesh *m);
void axl_mesh_counters_reset(axl_mesh *m);

#endif
