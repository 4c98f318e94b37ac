// Joining results of attention over disjoint sets of keys: another call's, or a sink's.
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/vmath.h"

#include <math.h>

static float log_add(float a, float b)
{
    return fmaxf(a, b) + log1pf(expf(-fabsf(a - b)));
}

axl_status AXL_CPU(attn_merge)(axl_stream *s, const axl_attn_merge_args *a)
{
    const bool bf16 = a->dtype == AXL_BF16;
    const int64_t dv = a->v_head_dim;

    if (a->dtype != AXL_F32 && !bf16)
        return axl_kernels_ref.attn_merge(s, a);
    AXL_PARALLEL_FOR(s, a->n_tokens * a->n_heads * dv)
    for (int64_t t = 0; t < a->n_tokens; t++)
        for (int64_t h = 0; h < a->n_heads; h++) {
            float *lse = (float *)a->lse + h * a->n_tokens + t;
            const float part_lse = ((const float *)a->part_lse)[h * a->n_tokens + t];
            if (part_lse == -INFINITY)
                continue; // also when lse is: their difference is no number
            const vf w = vf_set(1.0f / (1.0f + expf(*lse - part_lse)));
            for (int64_t c = 0; c < dv; c += VF) {
                const int64_t n = dv - c < VF ? dv - c : VF, at = t * a->ldo + h * dv + c;
                const vf part = vf_load_n(a->part_out, t * a->ld_part + h * dv + c, n, bf16);
                const vf out = vf_load_n(a->out, at, n, false);
                vf_store_n(a->out, at, vf_fnma(w, out - part, out), n, false);
            }
            *lse = log_add(*lse, part_lse);
        }
    return AXL_OK;
}

axl_status AXL_CPU(attn_sinks_fwd)(axl_stream *s, const axl_attn_sinks_args *a)
{
    const bool bf16 = a->dtype_out == AXL_BF16;
    const int64_t dv = a->v_head_dim;

    if (a->dtype != AXL_F32 && a->dtype != AXL_BF16)
        return axl_kernels_ref.attn_sinks_fwd(s, a);
    AXL_PARALLEL_FOR(s, a->n_tokens * a->n_heads * dv)
    for (int64_t t = 0; t < a->n_tokens; t++)
        for (int64_t h = 0; h < a->n_heads; h++) {
            const float sink = a->dtype == AXL_BF16
                                   ? axl_bf16_to_f32(((const axl_bf16 *)a->sinks)[h])
                                   : ((const float *)a->sinks)[h];
            float *lse = (float *)a->lse + h * a->n_tokens + t;
            const vf keep = vf_set(1.0f / (1.0f + expf(sink - *lse)));
            for (int64_t c = 0; c < dv; c += VF) {
                const int64_t n = dv - c < VF ? dv - c : VF, at = t * a->ldo + h * dv + c;
                vf_store_n(a->out, at, keep * vf_load_n(a->out, at, n, bf16), n, bf16);
            }
            *lse = log_add(*lse, sink);
        }
    return AXL_OK;
}

axl_status AXL_CPU(attn_sinks_bwd)(axl_stream *s, const axl_attn_sinks_bwd_args *a)
{
    if (a->dtype != AXL_F32 && a->dtype != AXL_BF16)
        return axl_kernels_ref.attn_sinks_bwd(s, a);
    AXL_PARALLEL_FOR(s, a->n_tokens * a->n_heads)
    for (int64_t h = 0; h < a->n_heads; h++) {
        const float sink = a->dtype == AXL_BF16 ? axl_bf16_to_f32(((const axl_bf16 *)a->sinks)[h])
                                                : ((const float *)a->sinks)[h];
        float *to = (float *)a->dsinks + h;
        vf sum = vf_set(0.0f);
        for (int64_t t = 0; t < a->n_tokens; t += VF) {
            const int64_t n = a->n_tokens - t < VF ? a->n_tokens - t : VF;
            const int64_t at = h * a->n_tokens + t;
            const vf p = vf_exp(sink - vf_load_n(a->lse, at, n, false));
            sum = vf_fnma(p, vf_load_n(a->delta, at, n, false), sum); // delta is 0 beyond the end
        }
        *to = a->accumulate ? *to + vf_sum(sum) : vf_sum(sum);
    }
    return AXL_OK;
}
