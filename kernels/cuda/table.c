// The table of the CUDA backend; an entry that is not there yet is NULL.
#include "kernels/cuda/cuda_entries.h"

const axl_kernels axl_kernels_cuda = {
    .name = "cuda",
    .add = axl_cuda_add,
    .attn_bwd = axl_cuda_attn_bwd,
    .attn_delta = axl_cuda_attn_delta,
    .attn_fwd = axl_cuda_attn_fwd,
    .attn_merge = axl_cuda_attn_merge,
    .attn_sinks_bwd = axl_cuda_attn_sinks_bwd,
    .attn_sinks_fwd = axl_cuda_attn_sinks_fwd,
    .norm_fwd = axl_cuda_norm_fwd,
};
