// The router: a few passes over each token's row of logits, which stays in the first cache.
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/vmath.h"

#include <math.h>

AXL_INLINE float logit(const void *z, int64_t i, bool bf16)
{
    return bf16 ? axl_bf16_to_f32(((const axl_bf16 *)z)[i]) : ((const float *)z)[i];
}

// VF logits from i on; beyond n they read as -inf.
AXL_INLINE vf load_logits(const void *z, int64_t i, int64_t n, bool bf16)
{
    if (n - i >= VF)
        return vf_load(z, i, bf16);
    return vf_select(vi_iota() < vi_set((int32_t)(n - i)), vf_load_n(z, i, n - i, bf16),
                     vf_set(-INFINITY));
}

AXL_INLINE float row_lse(const void *z, int64_t row, int64_t n, bool bf16)
{
    vf top = vf_set(-INFINITY), sum = vf_set(0.0f);

    for (int64_t e = 0; e < n; e += VF)
        top = vf_max(load_logits(z, row + e, row + n, bf16), top);
    const float all = vf_max_lane(top);
    for (int64_t e = 0; e < n; e += VF)
        sum += vf_exp(load_logits(z, row + e, row + n, bf16) - all);
    return all + logf(vf_sum(sum));
}

// The expert that follows `last` in the order of falling logits, then rising index; -1: none is left, or
// only NaN. Each lane keeps its first largest; the lanes are compared at the end.
AXL_INLINE int32_t next_expert(const void *z, int64_t row, int32_t n, int32_t last, bool bf16)
{
    const float limit = last >= 0 ? logit(z, row + last, bf16) : INFINITY;
    vf best = vf_set(0.0f);
    vi at = vi_set(-1);
    int32_t first = -1;

    for (int32_t e = 0; e < n; e += (int32_t)VF) {
        const vf x = load_logits(z, row + e, row + n, bf16);
        const vi index = vi_iota() + e;
        const vi left = ((x < limit) | ((x == limit) & (index > last))) & (index < n);
        const vi better = left & ((at < 0) | (x > best));
        best = vf_select(better, x, best);
        at = (better & index) | (~better & at);
    }
    for (int i = 0; i < VF; i++) {
        if (at[i] < 0)
            continue;
        if (first < 0 || best[i] > best[first] || (best[i] == best[first] && at[i] < at[first]))
            first = i;
    }
    return first >= 0 ? at[first] : -1;
}

AXL_INLINE void fwd_row(const axl_route_args *a, int64_t t, float *sums, bool bf16)
{
    const int32_t n = a->n_experts;
    const int64_t row = t * n;
    const float lse = row_lse(a->logits, row, n, bf16);
    int32_t *ids = a->ids + t * a->top_k, last = -1;
    float *weights = (float *)a->weights + t * a->top_k, kept = 0.0f;

    ((float *)a->lse)[t] = lse;
    for (int64_t e = 0; e < n && sums != NULL; e += VF) {
        const int64_t left = n - e < VF ? n - e : VF;
        const vf p = vf_exp(load_logits(a->logits, row + e, row + n, bf16) - lse);
        vf_store_n(sums, e, vf_load_n(sums, e, left, false) + p, left, false);
    }
    for (int32_t j = 0; j < a->top_k; j++) {
        const int32_t next = next_expert(a->logits, row, n, last, bf16);
        last = ids[j] = next >= 0 ? next : j; // NaN: any id that exists will do
        weights[j] = expf(logit(a->logits, row + ids[j], bf16) - lse);
        kept += weights[j];
    }
    for (int32_t j = 0; j < a->top_k && a->renormalize; j++)
        weights[j] /= kept;
}

// Adds the blocks' sums of probabilities, [n_blocks, E], in order.
static void join_sums(const axl_route_args *a, const float *parts, int64_t n_blocks)
{
    float *sum = a->prob_sum;

    for (int64_t b = 0; b < n_blocks; b++)
        for (int32_t e = 0; e < a->n_experts; e++)
            sum[e] += parts[b * a->n_experts + e];
}

axl_status AXL_CPU(route_fwd)(axl_stream *s, const axl_route_args *a)
{
    const int64_t block = axl_row_block(a->n_tokens, (int64_t)a->n_experts * 4);
    const int64_t n_blocks = (a->n_tokens + block - 1) / block;
    float *parts = a->prob_sum != NULL ? s->device->workspace : NULL;

    if (a->dtype != AXL_F32 && a->dtype != AXL_BF16)
        return axl_kernels_ref.route_fwd(s, a);
    AXL_PARALLEL_FOR(s, a->n_tokens * a->n_experts * a->top_k)
    for (int64_t b = 0; b < n_blocks; b++) {
        const int64_t end = (b + 1) * block < a->n_tokens ? (b + 1) * block : a->n_tokens;
        float *sums = parts != NULL ? parts + b * a->n_experts : NULL;
        for (int32_t e = 0; e < a->n_experts && sums != NULL; e++)
            sums[e] = 0.0f;
        for (int64_t t = b * block; t < end; t++) {
            if (a->dtype == AXL_BF16)
                fwd_row(a, t, sums, true);
            else
                fwd_row(a, t, sums, false);
        }
    }
    if (parts != NULL)
        join_sums(a, parts, n_blocks);
    return AXL_OK;
}

// The gradients of the chosen probabilities, and their products' sum with these probabilities.
AXL_INLINE float chosen_bwd(const axl_route_bwd_args *a, int64_t t, float *p, float *dp, bool bf16)
{
    const float *dw = (const float *)a->dweights + t * a->top_k;
    const float lse = ((const float *)a->lse)[t];
    float kept = 0.0f, mean = 0.0f, sum = 0.0f;

    for (int32_t j = 0; j < a->top_k; j++) {
        p[j] = expf(logit(a->logits, t * a->n_experts + a->ids[t * a->top_k + j], bf16) - lse);
        kept += p[j];
        mean += p[j] * dw[j];
    }
    for (int32_t j = 0; j < a->top_k; j++) {
        dp[j] = a->renormalize ? (dw[j] - mean / kept) / kept : dw[j];
        sum += p[j] * dp[j];
    }
    return sum;
}

AXL_INLINE void bwd_row(const axl_route_bwd_args *a, int64_t t, bool bf16)
{
    const float *dprobs = a->dprobs;
    const int64_t n = a->n_experts, row = t * n;
    const float lse = ((const float *)a->lse)[t];
    float p[AXL_MAX_TOP_K], dp[AXL_MAX_TOP_K];
    float sum = chosen_bwd(a, t, p, dp, bf16);
    vf all = vf_set(0.0f);

    for (int64_t e = 0; e < n && dprobs != NULL; e += VF)
        all += vf_exp(load_logits(a->logits, row + e, row + n, bf16) - lse) *
               vf_load_n(dprobs, e, n - e < VF ? n - e : VF, false);
    sum += vf_sum(all);
    for (int64_t e = 0; e < n; e += VF) { // dlogits may be logits: each vector is read first
        const int64_t left = n - e < VF ? n - e : VF;
        const vf q = vf_exp(load_logits(a->logits, row + e, row + n, bf16) - lse);
        const vf g = dprobs != NULL ? vf_load_n(dprobs, e, left, false) : vf_set(0.0f);
        vf_store_n(a->dlogits, row + e, q * (g - sum), left, bf16);
    }
    for (int32_t j = 0; j < a->top_k; j++) {
        const int32_t e = a->ids[t * a->top_k + j];
        const float d = p[j] * (dp[j] + (dprobs != NULL ? dprobs[e] : 0.0f) - sum);
        if (bf16)
            ((axl_bf16 *)a->dlogits)[row + e] = axl_f32_to_bf16(d);
        else
            ((float *)a->dlogits)[row + e] = d;
    }
}

axl_status AXL_CPU(route_bwd)(axl_stream *s, const axl_route_bwd_args *a)
{
    if (a->dtype != AXL_F32 && a->dtype != AXL_BF16)
        return axl_kernels_ref.route_bwd(s, a);
    AXL_PARALLEL_FOR(s, a->n_tokens * a->n_experts * 4)
    for (int64_t t = 0; t < a->n_tokens; t++) {
        if (a->dtype == AXL_BF16)
            bwd_row(a, t, true);
        else
            bwd_row(a, t, false);
    }
    return AXL_OK;
}
