// Sums of a token's expert outputs, and what their weights' gradients need.
#ifdef AXL_REF

static void AXL_REF(combine)(const axl_combine_args *a)
{
    const elem *rows = a->rows;

    for (int64_t t = 0; t < a->n_tokens; t++) {
        const int32_t *places = a->places + t * a->top_k;
        const real *weights = (const real *)a->weights + (a->weights != NULL ? t * a->top_k : 0);
        elem *out = (elem *)a->out + t * a->cols;
        for (int64_t c = 0; c < a->cols; c++) {
            real sum = 0;
            for (int32_t j = 0; j < a->top_k; j++)
                sum += (a->weights != NULL ? weights[j] : (real)1) *
                       load(rows[places[j] * a->cols + c]);
            out[c] = store(a->accumulate ? load(out[c]) + sum : sum);
        }
    }
}

static void AXL_REF(combine_bwd)(const axl_combine_bwd_args *a)
{
    for (int64_t i = 0; i < a->n_rows; i++) {
        elem *h = (elem *)a->h + i * a->cols, *dh = (elem *)a->dh + i * a->cols;
        const real weight = ((const real *)a->weights)[i];
        real sum = 0;
        for (int64_t c = 0; c < a->cols; c++) {
            sum += load(h[c]) * load(dh[c]);
            h[c] = store(weight * load(h[c]));
            dh[c] = store(weight * load(dh[c]));
        }
        ((real *)a->dweights)[i] = sum;
    }
}

#else

#include "kernels/ref/ref.h"

#define AXL_REF_FILE "kernels/ref/combine.c"
#include "kernels/ref/each_dtype.h"

axl_status axl_ref_combine(axl_stream *s, const axl_combine_args *a)
{
    AXL_REF_DISPATCH(combine, a->dtype);
}

axl_status axl_ref_combine_bwd(axl_stream *s, const axl_combine_bwd_args *a)
{
    AXL_REF_DISPATCH(combine_bwd, a->dtype);
}

#endif
