// Attention's entries: which of three ways a call goes. By shape, device and library alone, so that a call always gets
// the same kernel: cuDNN's where it was asked for and takes the call (attention_cudnn.c), tiles on the tensor cores (by
// warpgroups where the chip has their products), or the plain kernels, which take everything.
#include "kernels/cuda/attention_tile.cuh"

extern "C" {
#include "kernels/cuda/attention_cudnn.h"
}

extern "C" axl_status axl_cuda_attn_fwd(axl_stream *s, const axl_attn_args *a)
{
    bool done = false;
    axl_status status = axl_cuda_attn_cudnn_fwd(s, a, &done);

    if (status != AXL_OK || done)
        return status;
    return axl_cuda_attn_fwd_is_wgmma(s, a) ? axl_cuda_attn_fwd_wgmma(s, a)
           : axl_cuda_attn_is_tiled(s, a)   ? axl_cuda_attn_fwd_tiled(s, a)
                                            : axl_cuda_attn_fwd_plain(s, a);
}

extern "C" axl_status axl_cuda_attn_bwd(axl_stream *s, const axl_attn_bwd_args *b)
{
    bool done = false;
    axl_status status = axl_cuda_attn_cudnn_bwd(s, b, &done);

    if (status != AXL_OK || done)
        return status;
    return axl_cuda_attn_bwd_is_wgmma(s, b)   ? axl_cuda_attn_bwd_wgmma(s, b)
           : axl_cuda_attn_bwd_is_tiled(s, b) ? axl_cuda_attn_bwd_tiled(s, b)
                                              : axl_cuda_attn_bwd_plain(s, b);
}
