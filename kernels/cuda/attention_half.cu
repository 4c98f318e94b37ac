// Tiled attention, forward, in fp16: attention_fwd.cuh with fragments that are converted before they are multiplied.
#include "kernels/cuda/attention_fwd.cuh"

axl_status axl_cuda_attn_half_tiled(axl_stream *s, const axl_attn_args *a)
{
    return run_width<attn_f16_math>(s, a);
}
