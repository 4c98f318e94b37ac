// Eager attention by tiles: which calls, and the calls.
#ifndef AXL_KERNELS_CUDA_ATTENTION_EAGER_CUH
#define AXL_KERNELS_CUDA_ATTENTION_EAGER_CUH

#include "kernels/cuda/attention.cuh"

// probs: where the rows of probabilities begin.
bool axl_cuda_attn_eager_is_tiled(const axl_stream *s, const axl_attn_args *a, const void *probs);
axl_status axl_cuda_attn_eager_fwd_tiled(axl_stream *s, const axl_attn_eager_args *e);
// The calls of axl_cuda_attn_bwd_is_tiled, too.
axl_status axl_cuda_attn_eager_bwd_tiled(axl_stream *s, const axl_attn_eager_bwd_args *e);

#endif
