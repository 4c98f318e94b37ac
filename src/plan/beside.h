// Memory of a device beside tensors: what the backend and the collectives take themselves, and estimates of what the
// driver and libraries keep. Hosts have none of it: their processes are measured (axl_cluster.process).
#ifndef AXL_PLAN_BESIDE_H
#define AXL_PLAN_BESIDE_H

#include "src/model/work.h"
#include "src/plan/cluster.h"

typedef enum axl_beside_class {
    // to the byte what the run counts
    AXL_BESIDE_WORKSPACE, // of kernels, lent to cuBLASLt and cuDNN
    AXL_BESIDE_SUMS,      // where parts of sums over ranks land
    // estimates
    AXL_BESIDE_CUDNN, // attention's gradient on chips where cuDNN makes it, when the workspace is too small
    AXL_BESIDE_GRAPHS, // of the driver, at most
    AXL_BESIDE_NCCL,   // buffers of communicators
    AXL_BESIDE_N
} axl_beside_class;

enum { AXL_BESIDE_ESTIMATES = AXL_BESIDE_CUDNN }; // the first of them

typedef struct axl_beside {
    size_t bytes[AXL_BESIDE_N];
    int n_communicators; // that carry anything in a step
    int64_t
        n_peers; // connections to ranks of the same node that take parts of sums, rows, keys; of all communicators
    int n_between;     // communicators over several nodes
    int64_t n_kernels; // of graphs
} axl_beside;

// w has its plans (axl_work_imagine); mesh: of the job. Local.
void axl_beside_of(const axl_cluster *c, const axl_arch *arch, const axl_work_options *o,
                   const int mesh[AXL_N_AXES], int64_t graph_kernels, axl_beside *out);

// "kernels_workspace", ... of the JSON.
const char *axl_beside_key(axl_beside_class c);

size_t axl_beside_total(const axl_beside *b);

#endif
