// A cluster as the plan sees it: one kind of device, nodes of equal size, links inside and between them, and how good
// the software on it is. Read from YAML (configs/clusters/), where every number stands with its source.
//
// The one idea: a rate is a peak that a data sheet names, times the fraction of it that measurements reach. Both are in
// the file, so a reader can disagree with either.
#ifndef AXL_PLAN_CLUSTER_H
#define AXL_PLAN_CLUSTER_H

#include "src/base/dtype.h"
#include "src/base/status.h"
#include "src/base/str.h"

#include <stdbool.h>
#include <stdint.h>

// A link as one rank sees it. Bytes a second are those that leave a rank (bus bandwidth, one direction).
typedef struct axl_link {
    double bytes_per_second; // peak: inside, of a rank; between, of all adapters of a node together
    double achievable;       // fraction of it that large collectives reach
    double latency;          // seconds of one hop
} axl_link;

typedef struct axl_cluster {
    char name[64];
    // the device of one rank
    double memory;  // bytes that a process may take of it
    double process; // bytes of it that go to the runtime: a GPU's context; of a host the program
    // estimates of what libraries and the driver keep (beside.h), bytes
    double nccl_communicator; // of one that carries anything
    double nccl_peer;    // more for each rank of the same node that it sends to or receives from
    double nccl_between; // more when its ranks are on several nodes
    double graph_kernel; // of a CUDA graph, each kernel
    double host_memory;  // of a node's host, which ranks may pin; 0: not known
    double host_link;    // bytes/s of copies between a device and pinned memory, in one direction
    double host_rate;    // bytes/s that a node's host updates weights with
    bool is_host;        // the device's memory is the host's: buffers of the loader count, too
    double peak_f32, peak_bf16, peak_fp8; // FLOP/s of dense products; 0: it cannot
    double peak_tf32;             // of f32 products whose factors are rounded to TF32; 0: it cannot
    bool library_attention_grads; // cuDNN makes attention's gradient (axl_chip)
    bool library_fp8;             // cuBLASLt makes this program's products of e4m3 (axl_chip)
    double clock; // sustained under the power limit, as a fraction of the clock of the peaks
    double gemm, gemm_fp8; // fractions of peak times clock that large products reach
    double attention_forward, attention_backward; // the same of bf16 (f32), for attention kernels
    double memory_rate, memory_achievable;        // bytes/s, and the fraction that kernels reach
    double kernel_seconds;                        // overhead of one kernel
    // nodes
    double node_ranks; // ranks on one
    axl_link inside, between;
    // software; the defaults are this program's own kernels
    double overlap; // fraction of the traffic beside kernels that costs them nothing
    double
        elementwise_passes; // bytes that norms, activations and sums move, over those of fused kernels
    double
        rerun_products;  // fraction of a layer's products that selective checkpointing makes again
    double fp8_products; // 1: products of the layers are made in fp8
    double sequence_parallel; // 1: norms and sums work on 1 / tp of the tokens
    double whole_logits;      // 1: logits of all rows at once, not chunk by chunk
    double async_tp;          // 1: sums over tp run beside the products
} axl_cluster;

// Reads `name`: one of the ready-made clusters, else a path: a cluster file, or what `axl-dist doctor
// --json` printed, which begins with a brace.
// AXL_E_CONFIG lists every fault with file:line:column; a name that is neither gets the ready-made ones and the
// nearest. Local.
axl_status axl_cluster_read(const char *name, axl_cluster *out);

// FLOP/s of products of this dtype, which MFU counts against. tf32: factors of f32 products may be rounded.
double axl_cluster_peak(const axl_cluster *c, axl_dtype dtype, bool tf32);

// From text; name stands for it in messages.
axl_status axl_cluster_parse(const char *text, size_t n, const char *name, axl_cluster *out);

// From the report of axl-dist doctor --json. AXL_E_INPUT.
axl_status axl_cluster_from_doctor(const char *text, size_t n, const char *name, axl_cluster *out);

#endif
