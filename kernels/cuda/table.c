// The table of the CUDA backend; an entry that is not there yet is NULL.
#include "kernels/cuda/cuda_entries.h"

const axl_kernels axl_kernels_cuda = {
    .name = "cuda",
    .adamw = axl_cuda_adamw,
    .add = axl_cuda_add,
    .cast = axl_cuda_cast,
    .norm_fwd = axl_cuda_norm_fwd,
    .rows_add = axl_cuda_rows_add,
    .rows_gather = axl_cuda_rows_gather,
};
