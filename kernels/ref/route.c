// The router of a mixture of experts, and the order of token copies by expert.
#ifdef AXL_REF

// The expert that follows `last` in the order of falling logits, then rising index; -1: none is left, or
// only NaN.
static int32_t AXL_REF(next_expert)(const elem *z, int32_t n_experts, int32_t last)
{
    int32_t best = -1;

    for (int32_t e = 0; e < n_experts; e++) {
        const real x = load(z[e]), limit = last >= 0 ? load(z[last]) : (real)INFINITY;
        if (!(x < limit || (x == limit && e > last)))
            continue;
        if (best < 0 || x > load(z[best]))
            best = e;
    }
    return best;
}

static void AXL_REF(route_fwd)(const axl_route_args *a)
{
    for (int64_t t = 0; t < a->n_tokens; t++) {
        const elem *z = (const elem *)a->logits + t * a->n_experts;
        int32_t *ids = a->ids + t * a->top_k, last = -1;
        real *weights = (real *)a->weights + t * a->top_k, top = -(real)INFINITY, sum = 0, kept = 0;
        for (int32_t e = 0; e < a->n_experts; e++)
            top = R(fmax)(top, load(z[e]));
        for (int32_t e = 0; e < a->n_experts; e++)
            sum += R(exp)(load(z[e]) - top);
        const real lse = top + R(log)(sum);
        ((real *)a->lse)[t] = lse;
        for (int32_t e = 0; e < a->n_experts && a->prob_sum != NULL; e++)
            ((real *)a->prob_sum)[e] += R(exp)(load(z[e]) - lse);
        for (int32_t j = 0; j < a->top_k; j++) {
            const int32_t next = AXL_REF(next_expert)(z, a->n_experts, last);
            last = ids[j] = next >= 0 ? next : j; // NaN: any id that exists will do
            weights[j] = R(exp)(load(z[ids[j]]) - lse);
            kept += weights[j];
        }
        for (int32_t j = 0; j < a->top_k && a->renormalize; j++)
            weights[j] /= kept;
    }
}

// The gradients of the chosen probabilities, and their products' sum with these probabilities.
static real AXL_REF(chosen_bwd)(const axl_route_bwd_args *a, const elem *z, real lse, int64_t t,
                                real *p, real *dp)
{
    const real *dw = (const real *)a->dweights + t * a->top_k;
    real kept = 0, mean = 0, sum = 0;

    for (int32_t j = 0; j < a->top_k; j++) {
        p[j] = R(exp)(load(z[a->ids[t * a->top_k + j]]) - lse);
        kept += p[j];
        mean += p[j] * dw[j];
    }
    for (int32_t j = 0; j < a->top_k; j++) {
        dp[j] = a->renormalize ? (dw[j] - mean / kept) / kept : dw[j];
        sum += p[j] * dp[j];
    }
    return sum;
}

static void AXL_REF(route_bwd)(const axl_route_bwd_args *a)
{
    const real *dprobs = a->dprobs;
    real p[AXL_MAX_TOP_K], dp[AXL_MAX_TOP_K];

    for (int64_t t = 0; t < a->n_tokens; t++) {
        const elem *z = (const elem *)a->logits + t * a->n_experts;
        elem *dz = (elem *)a->dlogits + t * a->n_experts;
        const int32_t *ids = a->ids + t * a->top_k;
        const real lse = ((const real *)a->lse)[t];
        real sum = AXL_REF(chosen_bwd)(a, z, lse, t, p, dp);
        for (int32_t e = 0; e < a->n_experts && dprobs != NULL; e++)
            sum += R(exp)(load(z[e]) - lse) * dprobs[e];
        for (int32_t e = 0; e < a->n_experts; e++)
            dz[e] = store(R(exp)(load(z[e]) - lse) * ((dprobs != NULL ? dprobs[e] : 0) - sum));
        for (int32_t j = 0; j < a->top_k; j++)
            dz[ids[j]] = store(p[j] * (dp[j] + (dprobs != NULL ? dprobs[ids[j]] : 0) - sum));
    }
}

#else

#include "kernels/ref/ref.h"

#define AXL_REF_FILE "kernels/ref/route.c"
#include "kernels/ref/each_dtype.h"

axl_status axl_ref_route_fwd(axl_stream *s, const axl_route_args *a)
{
    AXL_REF_DISPATCH(route_fwd, a->dtype);
}

axl_status axl_ref_route_bwd(axl_stream *s, const axl_route_bwd_args *a)
{
    AXL_REF_DISPATCH(route_bwd, a->dtype);
}

axl_status axl_ref_route_sort(axl_stream *s, const axl_route_sort_args *a)
{
    int32_t begin = 0;

    (void)s;
    for (int32_t e = 0; e < a->n_experts; e++)
        a->counts[e] = 0;
    for (int64_t c = 0; c < a->n_copies; c++)
        a->counts[a->ids[c]]++;
    for (int32_t e = 0; e < a->n_experts; e++) { // counts become the next free place of each expert
        const int32_t n = a->counts[e];
        a->counts[e] = begin;
        begin += n;
    }
    for (int64_t c = 0; c < a->n_copies; c++) {
        const int32_t place = a->counts[a->ids[c]]++;
        a->places[c] = place;
        a->copies[place] = (int32_t)c;
        a->tokens[place] = (int32_t)c / a->top_k;
    }
    for (int32_t e = a->n_experts - 1; e > 0; e--) // each holds its end: back to counts
        a->counts[e] -= a->counts[e - 1];
    return AXL_OK;
}

#endif
