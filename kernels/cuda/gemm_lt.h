// gemm and gemm_fp8 by cuBLASLt.
#ifndef AXL_KERNELS_CUDA_GEMM_LT_H
#define AXL_KERNELS_CUDA_GEMM_LT_H

#include "kernels/cuda/cuda_backend.h"

// The table's gemm: by cuBLASLt where the library is there and takes the types, else by axl_cuda_gemm. F32 is
// multiplied as F32, or as TF32 if the device was asked for it.
axl_status axl_cuda_gemm_lt(axl_stream *s, const axl_gemm_args *a);

// The table's gemm_fp8: by cuBLASLt where it has scales of rows (sm_90, from 12.9 on), else by axl_cuda_gemm_fp8.
axl_status axl_cuda_gemm_fp8_lt(axl_stream *s, const axl_gemm_fp8_args *a);

#endif
