// Matrix product by three loops.
#ifdef AXL_REF

static void AXL_REF(gemm)(const axl_gemm_args *args)
{
    const axl_gemm_args a = *args;
    const elem *A = a.a, *B = a.b, *bias = a.bias;
    const int64_t row_a = a.trans_a ? 1 : a.lda, step_a = a.trans_a ? a.lda : 1;
    const int64_t row_b = a.trans_b ? 1 : a.ldb, step_b = a.trans_b ? a.ldb : 1;

    for (int64_t i = 0; i < a.m; i++) {
        for (int64_t j = 0; j < a.n; j++) {
            real sum = 0;
            for (int64_t p = 0; p < a.k; p++)
                sum += load(A[i * row_a + p * step_a]) * load(B[p * row_b + j * step_b]);
            sum *= (real)a.alpha;
            if (a.accumulate)
                sum += (real)axl_ref_get(a.c, i * a.ldc + j, a.dtype_c);
            if (bias != NULL)
                sum += load(bias[j]);
            axl_ref_put(a.c, i * a.ldc + j, a.dtype_c, (double)sum, false);
        }
    }
}

#else

#include "kernels/ref/ref.h"

#define AXL_REF_FILE "kernels/ref/gemm.c"
#include "kernels/ref/each_dtype.h"

axl_status axl_ref_gemm(axl_stream *s, const axl_gemm_args *a)
{
    AXL_REF_DISPATCH(gemm, a->dtype);
}

#endif
