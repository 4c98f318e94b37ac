// Stands in for this program's own attention kernels where a test is about who gets a call: ref does it, as late work of
// the stream.
#include "kernels/cuda/attention_tile.cuh"

extern "C" void emu_push_work(cudaStream_t s, void (*work)(void *), void *data);
extern "C" axl_device *own_device; // ref
extern "C" int64_t own_calls;

static void forward(void *a)
{
    (void)own_device->kernels->attn_fwd(own_device->compute, static_cast<axl_attn_args *>(a));
    delete static_cast<axl_attn_args *>(a);
}

static void backward(void *b)
{
    (void)own_device->kernels->attn_bwd(own_device->compute, static_cast<axl_attn_bwd_args *>(b));
    delete static_cast<axl_attn_bwd_args *>(b);
}

bool axl_cuda_attn_is_tiled(const axl_stream *, const axl_attn_args *)
{
    return false;
}

bool axl_cuda_attn_bwd_is_tiled(const axl_stream *, const axl_attn_bwd_args *)
{
    return false;
}

bool axl_cuda_attn_bwd_is_wgmma(const axl_stream *, const axl_attn_bwd_args *)
{
    return false;
}

axl_status axl_cuda_attn_bwd_wgmma(axl_stream *, const axl_attn_bwd_args *)
{
    return AXL_E_BUG;
}

bool axl_cuda_attn_fwd_is_wgmma(const axl_stream *, const axl_attn_args *)
{
    return false;
}

axl_status axl_cuda_attn_fwd_wgmma(axl_stream *, const axl_attn_args *)
{
    return AXL_E_BUG;
}

axl_status axl_cuda_attn_fwd_tiled(axl_stream *, const axl_attn_args *)
{
    return AXL_E_BUG;
}

axl_status axl_cuda_attn_bwd_tiled(axl_stream *, const axl_attn_bwd_args *)
{
    return AXL_E_BUG;
}

axl_status axl_cuda_attn_fwd_plain(axl_stream *s, const axl_attn_args *a)
{
    own_calls++;
    emu_push_work(axl_cuda_stream(s), forward, new axl_attn_args(*a));
    return AXL_OK;
}

axl_status axl_cuda_attn_bwd_plain(axl_stream *s, const axl_attn_bwd_args *b)
{
    own_calls++;
    emu_push_work(axl_cuda_stream(s), backward, new axl_attn_bwd_args(*b));
    return AXL_OK;
}
