// Cross entropy over a vocabulary. Logits are of the statistics dtype, so there is no bf16 copy to read.
#ifdef AXL_REF

static void AXL_REF(ce_fwd)(const axl_ce_args *a)
{
    for (int64_t r = 0; r < a->rows; r++) {
        const real *z = (const real *)a->logits + r * a->ld;
        const int64_t label = a->labels[r] - a->label0;
        const bool here = a->labels[r] >= 0 && label >= 0 && label < a->vocab;
        real top = -(real)INFINITY;
        // In f32 the many small terms would vanish beside the few large ones: over a vocabulary of
        // 49,152 that lost 1.3e-4 of every log-probability.
        double sum = 0;
        for (int64_t c = 0; c < a->vocab; c++)
            top = R(fmax)(top, z[c]);
        for (int64_t c = 0; c < a->vocab; c++)
            sum += (double)R(exp)(z[c] - top);
        const real lse = top + (real)log(sum);
        ((real *)a->lse)[r] = lse;
        ((real *)a->logp)[r] = here ? z[label] - lse : (real)0;
        if (a->target != NULL)
            ((real *)a->target)[r] = here ? z[label] : (real)0;
    }
}

static void AXL_REF(ce_merge)(const axl_ce_merge_args *a)
{
    const real *top = a->top, *target = a->target;
    real *sum = a->sum, *lse = a->lse, *logp = a->logp;

    for (int64_t r = 0; r < a->rows; r++) {
        if (a->finish) {
            lse[r] = top[r] + R(log)(sum[r]);
            logp[r] = target[r] - lse[r];
        } else {
            sum[r] = R(exp)(lse[r] - top[r]);
        }
    }
}

static void AXL_REF(ce_bwd)(const axl_ce_bwd_args *a)
{
    for (int64_t r = 0; r < a->rows; r++) {
        const real *z = (const real *)a->logits + r * a->ld;
        const int64_t label = a->labels[r] - a->label0;
        const int64_t n_labels = a->n_labels > 0 ? a->n_labels : a->vocab;
        const real grad = ((const real *)a->grad)[r], lse = ((const real *)a->lse)[r];
        const bool live = a->labels[r] >= 0 && a->labels[r] < n_labels && grad != 0;
        for (int64_t c = 0; c < a->vocab; c++) {
            real d = live ? grad * ((real)(c == label) - R(exp)(z[c] - lse)) : (real)0;
            axl_ref_put(a->dlogits, r * a->ld_out + c, a->dtype_out, (double)d, false);
        }
    }
}

#else

#include "kernels/ref/ref.h"

#define AXL_REF_FILE "kernels/ref/ce.c"
#include "kernels/ref/each_dtype.h"

axl_status axl_ref_ce_fwd(axl_stream *s, const axl_ce_args *a)
{
    AXL_REF_DISPATCH(ce_fwd, a->dtype);
}

axl_status axl_ref_ce_merge(axl_stream *s, const axl_ce_merge_args *a)
{
    AXL_REF_DISPATCH(ce_merge, a->dtype);
}

axl_status axl_ref_ce_bwd(axl_stream *s, const axl_ce_bwd_args *a)
{
    AXL_REF_DISPATCH(ce_bwd, a->dtype);
}

#endif
