// Tiled attention, forward, of bf16; and which calls are tiled.
#include "kernels/cuda/attention_fwd.cuh"

bool axl_cuda_attn_is_tiled(const axl_stream *s, const axl_attn_args *a)
{
    const int d = a->head_dim;
    const int64_t tiles = attn_most_tiles(a, false, 64) + attn_most_tiles(a, true, 64);

    return a->dtype == AXL_BF16 && a->v_head_dim == d &&
           (d == 64 || d == 96 || d == 128 || d == 256) && a->scale > 0.0f && a->n_seqs > 0 &&
           attn_aligned(a->q, a->ldq) && attn_aligned(a->k, a->ldk) && attn_aligned(a->v, a->ldv) &&
           attn_aligned(a->out, a->ldo) &&
           2 * sizeof(attn_work) + 256 + sizeof(int2) * (size_t)tiles <= s->device->workspace_bytes;
}

axl_status axl_cuda_attn_fwd_tiled(axl_stream *s, const axl_attn_args *a)
{
    return run_width<attn_bf16_math>(s, a);
}
