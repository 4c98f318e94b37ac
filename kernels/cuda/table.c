// The table of the CUDA backend; an entry that is not there yet is NULL.
#include "kernels/cuda/cuda_entries.h"

const axl_kernels axl_kernels_cuda = {
    .name = "cuda",
    .adamw = axl_cuda_adamw,
    .add = axl_cuda_add,
    .bias_bwd = axl_cuda_bias_bwd,
    .cast = axl_cuda_cast,
    .ce_bwd = axl_cuda_ce_bwd,
    .ce_fwd = axl_cuda_ce_fwd,
    .ce_merge = axl_cuda_ce_merge,
    .combine = axl_cuda_combine,
    .combine_bwd = axl_cuda_combine_bwd,
    .embed_bwd = axl_cuda_embed_bwd,
    .embed_fwd = axl_cuda_embed_fwd,
    .glu_bwd = axl_cuda_glu_bwd,
    .glu_fwd = axl_cuda_glu_fwd,
    .norm_bwd = axl_cuda_norm_bwd,
    .norm_fwd = axl_cuda_norm_fwd,
    .rope = axl_cuda_rope,
    .rope_table = axl_cuda_rope_table,
    .route_bwd = axl_cuda_route_bwd,
    .route_fwd = axl_cuda_route_fwd,
    .route_sort = axl_cuda_route_sort,
    .rows_add = axl_cuda_rows_add,
    .rows_gather = axl_cuda_rows_gather,
    .sumsq = axl_cuda_sumsq,
};
