// The gradient of a bias: sums of columns.
#ifdef AXL_REF

static void AXL_REF(bias_bwd)(const axl_bias_bwd_args *a)
{
    real *db = a->db;

    for (int64_t c = 0; c < a->cols; c++) {
        real sum = 0;
        for (int64_t r = 0; r < a->rows; r++)
            sum += load(((const elem *)a->dout)[r * a->cols + c]);
        db[c] = a->accumulate ? db[c] + sum : sum;
    }
}

#else

#include "kernels/ref/ref.h"

#define AXL_REF_FILE "kernels/ref/bias.c"
#include "kernels/ref/each_dtype.h"

axl_status axl_ref_bias_bwd(axl_stream *s, const axl_bias_bwd_args *a)
{
    AXL_REF_DISPATCH(bias_bwd, a->dtype);
}

#endif
