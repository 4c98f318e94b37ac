// RMS and layer normalisation of rows.
#ifdef AXL_REF

static void AXL_REF(norm_fwd)(const axl_norm_args *a)
{
    const elem *w = a->w, *b = a->b;
    const real n = (real)a->cols;

    for (int64_t r = 0; r < a->rows; r++) {
        const elem *x = (const elem *)a->x + r * a->cols;
        elem *out = (elem *)a->out + r * a->cols;
        real mean = 0, square = 0;
        if (a->kind == AXL_NORM_LAYER) {
            for (int64_t c = 0; c < a->cols; c++)
                mean += load(x[c]);
            mean /= n;
        }
        for (int64_t c = 0; c < a->cols; c++)
            square += (load(x[c]) - mean) * (load(x[c]) - mean);
        const real rstd = 1 / R(sqrt)(square / n + (real)a->eps);
        for (int64_t c = 0; c < a->cols; c++) {
            real hat = (load(x[c]) - mean) * rstd, weight = w != NULL ? load(w[c]) : 1;
            if (a->kind == AXL_NORM_RMS)
                out[c] = store(weight * load(store(hat))); // as Llama rounds
            else if (a->kind == AXL_NORM_RMS1P)
                out[c] = store((1 + (w != NULL ? weight : (real)0)) * hat);
            else
                out[c] = store(weight * hat + (b != NULL ? load(b[c]) : 0));
        }
        ((real *)a->rstd)[r] = rstd;
        if (a->mean != NULL)
            ((real *)a->mean)[r] = mean;
    }
}

// The factor that multiplies the normalised value in column c.
static real AXL_REF(norm_weight)(const axl_norm_bwd_args *a, int64_t c)
{
    real w = a->w != NULL ? load(((const elem *)a->w)[c]) : (real)(a->kind != AXL_NORM_RMS1P);
    return a->kind == AXL_NORM_RMS1P ? 1 + w : w;
}

// The rounding of the normalised value has derivative one.
static void AXL_REF(norm_bwd)(const axl_norm_bwd_args *a)
{
    const real n = (real)a->cols;
    real *dw = a->dw, *db = a->db;

    for (int64_t c = 0; c < a->cols && !a->accumulate_dw; c++) {
        if (dw != NULL)
            dw[c] = 0;
        if (db != NULL)
            db[c] = 0;
    }
    for (int64_t r = 0; r < a->rows; r++) {
        const elem *x = (const elem *)a->x + r * a->cols,
                   *dout = (const elem *)a->dout + r * a->cols;
        elem *dx = (elem *)a->dx + r * a->cols;
        const real rstd = ((const real *)a->rstd)[r];
        const real mean = a->kind == AXL_NORM_LAYER ? ((const real *)a->mean)[r] : 0;
        real g_hat = 0, g_sum = 0;
        for (int64_t c = 0; c < a->cols; c++) {
            real hat = (load(x[c]) - mean) * rstd, g = AXL_REF(norm_weight)(a, c) * load(dout[c]);
            g_hat += g * hat;
            g_sum += g;
            if (dw != NULL)
                dw[c] += load(dout[c]) * hat;
            if (db != NULL)
                db[c] += load(dout[c]);
        }
        if (a->kind != AXL_NORM_LAYER)
            g_sum = 0; // the mean of x is not taken away
        for (int64_t c = 0; c < a->cols; c++) {
            real hat = (load(x[c]) - mean) * rstd, g = AXL_REF(norm_weight)(a, c) * load(dout[c]);
            real d = rstd * (g - (g_sum + hat * g_hat) / n);
            dx[c] = store(a->accumulate_dx ? load(dx[c]) + d : d);
        }
    }
}

#else

#include "kernels/ref/ref.h"

#define AXL_REF_FILE "kernels/ref/norm.c"
#include "kernels/ref/each_dtype.h"

axl_status axl_ref_norm_fwd(axl_stream *s, const axl_norm_args *a)
{
    AXL_REF_DISPATCH(norm_fwd, a->dtype);
}

axl_status axl_ref_norm_bwd(axl_stream *s, const axl_norm_bwd_args *a)
{
    AXL_REF_DISPATCH(norm_bwd, a->dtype);
}

#endif
