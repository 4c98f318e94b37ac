// out = alpha * a + beta * b.
#ifdef AXL_REF

static void AXL_REF(add)(const axl_add_args *a)
{
    const elem *x = a->a, *y = a->b;
    elem *out = a->out;

    for (int64_t i = 0; i < a->n; i++) {
        real sum = (real)a->alpha * load(x[i]);
        out[i] = store(y != NULL ? sum + (real)a->beta * load(y[i]) : sum);
    }
}

#else

#include "kernels/ref/ref.h"

#define AXL_REF_FILE "kernels/ref/add.c"
#include "kernels/ref/each_dtype.h"

axl_status axl_ref_add(axl_stream *s, const axl_add_args *a)
{
    AXL_REF_DISPATCH(add, a->dtype);
}

#endif
