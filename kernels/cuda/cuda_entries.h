// The entries of the kernel table that the CUDA backend has, a line each; each stands in the .cu file of its name.
#ifndef AXL_KERNELS_CUDA_CUDA_ENTRIES_H
#define AXL_KERNELS_CUDA_CUDA_ENTRIES_H

#include "kernels/cuda/cuda_backend.h"

axl_status axl_cuda_add(axl_stream *s, const axl_add_args *a);
axl_status axl_cuda_attn_bwd(axl_stream *s, const axl_attn_bwd_args *b);
axl_status axl_cuda_attn_delta(axl_stream *s, const axl_attn_delta_args *a);
axl_status axl_cuda_attn_fwd(axl_stream *s, const axl_attn_args *a);
axl_status axl_cuda_attn_merge(axl_stream *s, const axl_attn_merge_args *a);
axl_status axl_cuda_attn_sinks_bwd(axl_stream *s, const axl_attn_sinks_bwd_args *a);
axl_status axl_cuda_attn_sinks_fwd(axl_stream *s, const axl_attn_sinks_args *a);
axl_status axl_cuda_gemm(axl_stream *s, const axl_gemm_args *a);
axl_status axl_cuda_norm_fwd(axl_stream *s, const axl_norm_args *a);

#endif
