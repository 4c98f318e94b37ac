// The gemm library behind three calls. C = alpha op(A) op(B) (+ C); C is f32; bias is not looked at.
#ifndef AXL_KERNELS_CPU_GEMM_LIBRARY_H
#define AXL_KERNELS_CPU_GEMM_LIBRARY_H

#include "kernels/kernels.h"

// A and B are f32. AXL_E_DEVICE.
axl_status axl_cpu_library_f32(const axl_gemm_args *g, int n_threads);

// A and B are bf16. Only where axl_cpu_library_prefers_bf16 says so. AXL_E_DEVICE.
axl_status axl_cpu_library_bf16(const axl_gemm_args *g, int n_threads);

// Whether a bf16 product is faster by the library's own bf16 than by conversion to f32.
bool axl_cpu_library_prefers_bf16(const axl_gemm_args *g);

#endif
