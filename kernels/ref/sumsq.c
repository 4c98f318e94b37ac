// The sum of squares, in f64.
#ifdef AXL_REF

static void AXL_REF(sumsq)(const axl_sumsq_args *a)
{
    double sum = 0;

    for (int64_t i = 0; i < a->n; i++) {
        double x = (double)load(((const elem *)a->x)[i]);
        sum += x * x;
    }
    *a->out += sum;
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
