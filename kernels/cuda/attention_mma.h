// The tiled kernels by mma.sync, for who wants them by themselves beside what attn_fwd and attn_bwd choose
// (attention.cu): the benchmark, and the cases on a GPU.
#ifndef AXL_KERNELS_CUDA_ATTENTION_MMA_H
#define AXL_KERNELS_CUDA_ATTENTION_MMA_H

#include "kernels/cuda/cuda_backend.h"

// What they take: bf16, head_dim 64, 96, 128 or 256, rows of 16-byte alignment. False: not this call.
bool axl_cuda_attn_is_tiled(const axl_stream *s, const axl_attn_args *a);
bool axl_cuda_attn_bwd_is_tiled(const axl_stream *s, const axl_attn_bwd_args *b);

axl_status axl_cuda_attn_fwd_tiled(axl_stream *s, const axl_attn_args *a);
axl_status axl_cuda_attn_bwd_tiled(axl_stream *s, const axl_attn_bwd_args *b);

#endif
