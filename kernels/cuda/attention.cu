// Attention's entries: which kernels a call gets.
#include "kernels/cuda/attention_tile.cuh"

extern "C" axl_status axl_cuda_attn_fwd(axl_stream *s, const axl_attn_args *a)
{
    return axl_cuda_attn_is_tiled(s, a) ? axl_cuda_attn_fwd_tiled(s, a)
                                        : axl_cuda_attn_fwd_plain(s, a);
}

extern "C" axl_status axl_cuda_attn_bwd(axl_stream *s, const axl_attn_bwd_args *b)
{
    return axl_cuda_attn_bwd_is_tiled(s, b) ? axl_cuda_attn_bwd_tiled(s, b)
                                            : axl_cuda_attn_bwd_plain(s, b);
}
