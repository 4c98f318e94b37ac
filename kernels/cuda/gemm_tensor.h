// Products of bf16 on the tensor cores by this program's own kernel (gemm_tensor.cu).
//
// Which products it takes depends on the shape and on alignment alone, and how it tiles them changes no bit of a
// result: a row of C is the same whatever other rows are in the call.
#ifndef AXL_KERNELS_CUDA_GEMM_TENSOR_H
#define AXL_KERNELS_CUDA_GEMM_TENSOR_H

#include "kernels/cuda/cuda_backend.h"

// bf16, rows of A and B that begin at multiples of 16 bytes, not both transposed. False: the plain kernel's.
bool axl_cuda_gemm_is_tensor(const axl_gemm_args *a);
bool axl_cuda_grouped_is_tensor(const axl_gemm_grouped_args *a);

// Only where the answer is true.
axl_status axl_cuda_gemm_tensor(axl_stream *s, const axl_gemm_args *a);
axl_status axl_cuda_grouped_tensor(axl_stream *s, const axl_gemm_grouped_args *a);

#endif
