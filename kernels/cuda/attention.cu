// Attention's entries: which kernels a call gets.
#include "kernels/cuda/attention.cuh"

extern "C" axl_status axl_cuda_attn_fwd(axl_stream *s, const axl_attn_args *a)
{
    return axl_cuda_attn_fwd_plain(s, a);
}

extern "C" axl_status axl_cuda_attn_bwd(axl_stream *s, const axl_attn_bwd_args *b)
{
    return axl_cuda_attn_bwd_plain(s, b);
}
