// Sums of a token's expert outputs, and what their weights' gradients need: passes over memory.
#include "kernels/cpu/parallel.h"

AXL_INLINE vf load_part(const void *p, int64_t i, int64_t n, bool bf16)
{
    return n == VF ? vf_load(p, i, bf16) : vf_load_n(p, i, n, bf16);
}

AXL_INLINE void store_part(void *p, int64_t i, vf x, int64_t n, bool bf16)
{
    if (n == VF)
        vf_store(p, i, x, bf16);
    else
        vf_store_n(p, i, x, n, bf16);
}

AXL_INLINE void combine_row(const axl_combine_args *a, int64_t t, bool bf16)
{
    const int32_t *places = a->places + t * a->top_k;
    const float *weights = a->weights != NULL ? (const float *)a->weights + t * a->top_k : NULL;

    for (int64_t c = 0; c < a->cols; c += VF) {
        const int64_t n = a->cols - c < VF ? a->cols - c : VF;
        vf sum = vf_set(0.0f);
        for (int32_t j = 0; j < a->top_k; j++) {
            const vf x = load_part(a->rows, places[j] * a->cols + c, n, bf16);
            sum = vf_fma(vf_set(weights != NULL ? weights[j] : 1.0f), x, sum);
        }
        if (a->accumulate)
            sum = load_part(a->out, t * a->cols + c, n, bf16) + sum;
        store_part(a->out, t * a->cols + c, sum, n, bf16);
    }
}

axl_status AXL_CPU(combine)(axl_stream *s, const axl_combine_args *a)
{
    if (a->dtype != AXL_F32 && a->dtype != AXL_BF16)
        return axl_kernels_ref.combine(s, a);
    AXL_PARALLEL_FOR(s, a->n_tokens * a->cols * a->top_k)
    for (int64_t t = 0; t < a->n_tokens; t++) {
        if (a->dtype == AXL_BF16)
            combine_row(a, t, true);
        else
            combine_row(a, t, false);
    }
    return AXL_OK;
}

AXL_INLINE void combine_bwd_row(const axl_combine_bwd_args *a, int64_t i, bool bf16)
{
    const vf weight = vf_set(((const float *)a->weights)[i]);
    vf sum = vf_set(0.0f);

    for (int64_t c = 0; c < a->cols; c += VF) {
        const int64_t n = a->cols - c < VF ? a->cols - c : VF, at = i * a->cols + c;
        const vf h = load_part(a->h, at, n, bf16), dh = load_part(a->dh, at, n, bf16);
        sum = vf_fma(h, dh, sum);
        store_part(a->h, at, weight * h, n, bf16);
        store_part(a->dh, at, weight * dh, n, bf16);
    }
    ((float *)a->dweights)[i] = vf_sum(sum);
}

axl_status AXL_CPU(combine_bwd)(axl_stream *s, const axl_combine_bwd_args *a)
{
    if (a->dtype != AXL_F32 && a->dtype != AXL_BF16)
        return axl_kernels_ref.combine_bwd(s, a);
    AXL_PARALLEL_FOR(s, a->n_rows * a->cols)
    for (int64_t i = 0; i < a->n_rows; i++) {
        if (a->dtype == AXL_BF16)
            combine_bwd_row(a, i, true);
        else
            combine_bwd_row(a, i, false);
    }
    return AXL_OK;
}
