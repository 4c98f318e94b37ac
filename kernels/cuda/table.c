// The table of the CUDA backend; an entry that is not there yet is NULL.
#include "kernels/cuda/cuda_entries.h"

const axl_kernels axl_kernels_cuda = {
    .name = "cuda",
    .add = axl_cuda_add,
    .norm_fwd = axl_cuda_norm_fwd,
};
