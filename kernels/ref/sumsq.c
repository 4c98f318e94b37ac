// Sums of squares of rows, in f64.
#ifdef AXL_REF

static void AXL_REF(sumsq)(const axl_sumsq_args *a)
{
    for (int64_t r = 0; r < a->n_rows; r++) {
        double sum = 0;
        for (int64_t i = 0; i < a->n; i++) {
            double x = (double)load(((const elem *)a->x)[r * a->n + i]);
            sum += x * x;
        }
        a->out[r] += sum;
    }
}

#else

#include "kernels/ref/ref.h"

#define AXL_REF_FILE "kernels/ref/sumsq.c"
#include "kernels/ref/each_dtype.h"

axl_status axl_ref_sumsq(axl_stream *s, const axl_sumsq_args *a)
{
    AXL_REF_DISPATCH(sumsq, a->dtype);
}

#endif
