// Joining results of attention over disjoint sets of keys: another call's, or a sink's.
#ifdef AXL_REF

static real AXL_REF(log_add)(real a, real b)
{
    const real top = R(fmax)(a, b);
    return top + R(log1p)(R(exp)(-R(fabs)(a - b)));
}

static void AXL_REF(attn_merge)(const axl_attn_merge_args *a)
{
    for (int64_t h = 0; h < a->n_heads; h++)
        for (int64_t t = 0; t < a->n_tokens; t++) {
            real *lse = (real *)a->lse + h * a->n_tokens + t;
            const real part_lse = ((const real *)a->part_lse)[h * a->n_tokens + t];
            real *out = (real *)a->out + t * a->ldo + h * a->v_head_dim;
            const elem *part = (const elem *)a->part_out + t * a->ld_part + h * a->v_head_dim;
            if (part_lse == -(real)INFINITY)
                continue; // also when lse is: their difference is no number
            const real w = 1 / (1 + R(exp)(*lse - part_lse));
            for (int64_t d = 0; d < a->v_head_dim; d++)
                out[d] -= w * (out[d] - load(part[d]));
            *lse = AXL_REF(log_add)(*lse, part_lse);
        }
}

static void AXL_REF(attn_sinks_fwd)(const axl_attn_sinks_args *a)
{
    for (int64_t h = 0; h < a->n_heads; h++)
        for (int64_t t = 0; t < a->n_tokens; t++) {
            const real sink = load(((const elem *)a->sinks)[h]);
            real *lse = (real *)a->lse + h * a->n_tokens + t;
            const real keep = 1 / (1 + R(exp)(sink - *lse));
            const int64_t at = t * a->ldo + h * a->v_head_dim;
            for (int64_t d = 0; d < a->v_head_dim; d++)
                axl_ref_put(a->out, at + d, a->dtype_out,
                            (double)(keep * (real)axl_ref_get(a->out, at + d, a->dtype_out)),
                            false);
            *lse = AXL_REF(log_add)(*lse, sink);
        }
}

static void AXL_REF(attn_sinks_bwd)(const axl_attn_sinks_bwd_args *a)
{
    for (int64_t h = 0; h < a->n_heads; h++) {
        const real sink = load(((const elem *)a->sinks)[h]);
        real sum = 0;
        for (int64_t i = h * a->n_tokens; i < (h + 1) * a->n_tokens; i++)
            sum -= R(exp)(sink - ((const real *)a->lse)[i]) * ((const real *)a->delta)[i];
        real *to = (real *)a->dsinks + h;
        *to = a->accumulate ? *to + sum : sum;
    }
}

#else

#include "kernels/ref/ref.h"

#define AXL_REF_FILE "kernels/ref/attention_merge.c"
#include "kernels/ref/each_dtype.h"

axl_status axl_ref_attn_merge(axl_stream *s, const axl_attn_merge_args *a)
{
    AXL_REF_DISPATCH(attn_merge, a->dtype);
}

axl_status axl_ref_attn_sinks_fwd(axl_stream *s, const axl_attn_sinks_args *a)
{
    AXL_REF_DISPATCH(attn_sinks_fwd, a->dtype);
}

axl_status axl_ref_attn_sinks_bwd(axl_stream *s, const axl_attn_sinks_bwd_args *a)
{
    AXL_REF_DISPATCH(attn_sinks_bwd, a->dtype);
}

#endif
