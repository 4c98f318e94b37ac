// Cross entropy over a vocabulary: one pass over the logits forward, one backward.
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/vmath.h"

#include <math.h>

#define BLOCK (16 * VF) // logits looked at together; they stay in the first cache

// The sum of e^(z - top), top being the running maximum of each lane. A lane is rescaled once a block, not once
// an element. Blocks are summed by themselves and joined with the rounding error carried along: added one by
// one the many small terms of a large vocabulary would vanish beside the few large ones.
static float row_lse(const float *z, int64_t vocab)
{
    const float lowest = -3e38f;
    vf top = vf_set(lowest), sum = vf_set(0.0f), lost = vf_set(0.0f);

    for (int64_t begin = 0; begin < vocab; begin += BLOCK) {
        const int64_t end = begin + BLOCK < vocab ? begin + BLOCK : vocab;
        const vf old_top = top;
        vf part = vf_set(0.0f), last = vf_set(lowest);
        int64_t c = begin;
        for (; c + VF <= end; c += VF)
            top = vf_max(vf_load_f32(z + c), top);
        if (c < end) {
            last = vf_select(vi_iota() < vi_set((int32_t)(end - c)),
                             vf_load_n(z, c, end - c, false), last);
            top = vf_max(last, top);
        }
        for (c = begin; c + VF <= end; c += VF)
            part += vf_exp(vf_load_f32(z + c) - top);
        if (c < end)
            part +=
                vf_select(vi_iota() < vi_set((int32_t)(end - c)), vf_exp(last - top), vf_set(0.0f));
        const vf factor = vf_exp(old_top - top), before = sum * factor;
        part -= lost * factor;
        sum = before + part;
        lost = (sum - before) - part;
    }
    const float all = vf_max_lane(top);
    return all + logf(vf_sum(sum * vf_exp(top - all)));
}

axl_status AXL_CPU(ce_fwd)(axl_stream *s, const axl_ce_args *a)
{
    float *lse = a->lse, *logp = a->logp;

    if (a->dtype != AXL_F32)
        return axl_kernels_ref.ce_fwd(s, a);
    AXL_PARALLEL_FOR(s, a->rows * a->vocab)
    for (int64_t r = 0; r < a->rows; r++) {
        const float *z = (const float *)a->logits + r * a->ld;
        const int64_t label = a->labels[r] - a->label0;
        const bool here = a->labels[r] >= 0 && label >= 0 && label < a->vocab;
        lse[r] = row_lse(z, a->vocab);
        logp[r] = here ? z[label] - lse[r] : 0.0f;
        if (a->target != NULL)
            ((float *)a->target)[r] = here ? z[label] : 0.0f;
    }
    return AXL_OK;
}

AXL_INLINE void bwd_row(const axl_ce_bwd_args *a, int64_t r, bool bf16)
{
    const float *z = (const float *)a->logits + r * a->ld;
    uint8_t *out = (uint8_t *)a->dlogits + (size_t)(r * a->ld_out) * (bf16 ? 2 : 4);
    const int64_t label = a->labels[r] - a->label0, vocab = a->vocab;
    const int64_t n_labels = a->n_labels > 0 ? a->n_labels : vocab;
    const bool here = label >= 0 && label < vocab;
    const float grad = ((const float *)a->grad)[r], lse = ((const float *)a->lse)[r];
    int64_t c = 0;

    if (a->labels[r] < 0 || a->labels[r] >= n_labels || grad == 0.0f) {
        for (; c < vocab; c += VF)
            vf_store_n(out, c, vf_set(0.0f), vocab - c < VF ? vocab - c : VF, bf16);
        return;
    }
    // before dlogits covers logits
    const float at_label = here ? grad * (1.0f - expf(z[label] - lse)) : 0.0f;
    for (; c + VF <= vocab; c += VF)
        vf_store(out, c, -grad * vf_exp(vf_load_f32(z + c) - lse), bf16);
    if (c < vocab)
        vf_store_n(out, c, -grad * vf_exp(vf_load_n(z, c, vocab - c, false) - lse), vocab - c,
                   bf16);
    if (!here)
        return;
    if (bf16)
        ((axl_bf16 *)out)[label] = axl_f32_to_bf16(at_label);
    else
        ((float *)out)[label] = at_label;
}

axl_status AXL_CPU(ce_bwd)(axl_stream *s, const axl_ce_bwd_args *a)
{
    if (a->dtype != AXL_F32 || (a->dtype_out != AXL_F32 && a->dtype_out != AXL_BF16))
        return axl_kernels_ref.ce_bwd(s, a);
    AXL_PARALLEL_FOR(s, a->rows * a->vocab)
    for (int64_t r = 0; r < a->rows; r++) {
        if (a->dtype_out == AXL_BF16)
            bwd_row(a, r, true);
        else
            bwd_row(a, r, false);
    }
    return AXL_OK;
}
