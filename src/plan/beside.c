// Counting them. The communicators are those through which a step sends anything: NCCL connects ranks of a
// communicator, and takes memory for it, when it first carries something.
#include "src/plan/beside.h"

#include "kernels/gpu_memory.h"
#include "src/plan/network.h"

// Groups that carry something in a step when they have more than one rank. Parts of sums, rows for experts and keys are
// sends and receives (docs/internals/nccl.md), which connect all pairs; weights and sums are gathered in rings.
static const struct {
    axl_group group;
    bool experts; // only with experts
} groups[] = {
    {AXL_GROUP_DENSE, false},
    {AXL_GROUP_EXPERT, true},
    {AXL_GROUP_AXIS + AXL_DP_REPLICATE, false},
    {AXL_GROUP_AXIS + AXL_EP, true},
    {AXL_GROUP_AXIS + AXL_CP, false},
    {AXL_GROUP_AXIS + AXL_TP, false},
};

static void add_communicator(int64_t ranks, int64_t local, axl_beside *b)
{
    if (ranks < 2)
        return;
    b->n_communicators++;
    b->n_peers += local - 1;
    b->n_between += ranks > local;
}

static void count_communicators(const axl_cluster *c, const axl_arch *arch, const axl_mesh *m,
                                axl_beside *b)
{
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        const unsigned axes = axl_network_axes(groups[i].group);
        if (!groups[i].experts || arch->moe.n_experts > 0)
            add_communicator(axl_network_ranks(m, axes), axl_network_local(c, m, axes), b);
    }
    if (m->size[AXL_TP] > arch->n_kv_heads) { // ranks that hold the same key head
        const int64_t n = m->size[AXL_TP] / arch->n_kv_heads, node = (int64_t)c->node_ranks;
        add_communicator(n, n < node ? n : node, b);
    }
}

static size_t cudnn_bytes(const axl_cluster *c, const axl_arch *arch, const axl_work_options *o,
                          const axl_mesh *m)
{
    const int tp = m->size[AXL_TP], kv = arch->n_kv_heads > tp ? arch->n_kv_heads / tp : 1;
    const size_t bytes =
        axl_gpu_attention_bytes(o->n_tokens, arch->n_heads / tp, kv, arch->head_dim);

    return c->library_attention_grads && arch->attention.library && o->train &&
                   o->dtype == AXL_BF16 && m->size[AXL_CP] == 1 &&
                   bytes > AXL_GPU_WORKSPACE_BYTES && bytes <= AXL_GPU_LIBRARY_BYTES
               ? bytes
               : 0;
}

void axl_beside_of(const axl_cluster *c, const axl_arch *arch, const axl_work_options *o,
                   const int mesh[AXL_N_AXES], int64_t graph_kernels, axl_beside *out)
{
    axl_mesh m;
    axl_beside b = {.n_kernels = graph_kernels};

    *out = (axl_beside){0};
    if (c->is_host)
        return;
    axl_mesh_imagine(mesh, 0, &m);
    count_communicators(c, arch, &m, &b);
    b.bytes[AXL_BESIDE_WORKSPACE] = AXL_GPU_WORKSPACE_BYTES;
    b.bytes[AXL_BESIDE_SUMS] = axl_network_ranks(&m, ~0u) > 1 ? AXL_COMM_DEVICE_BYTES : 0;
    b.bytes[AXL_BESIDE_CUDNN] = cudnn_bytes(c, arch, o, &m);
    b.bytes[AXL_BESIDE_GRAPHS] = (size_t)((double)graph_kernels * c->graph_kernel);
    b.bytes[AXL_BESIDE_NCCL] =
        (size_t)(b.n_communicators * c->nccl_communicator + (double)b.n_peers * c->nccl_peer +
                 b.n_between * c->nccl_between);
    *out = b;
}

const char *axl_beside_key(axl_beside_class c)
{
    static const char *const keys[AXL_BESIDE_N] = {"kernels_workspace", "sums_over_ranks", "cudnn",
                                                   "cuda_graphs", "nccl"};

    return keys[c];
}

size_t axl_beside_total(const axl_beside *b)
{
    size_t sum = 0;

    for (int i = 0; i < AXL_BESIDE_N; i++)
        sum += b->bytes[i];
    return sum;
}
