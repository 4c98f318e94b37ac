// Product of e4m3 matrices by three loops.
#include "kernels/low.h"
#include "kernels/ref/ref.h"

static double dot(const axl_gemm_fp8_args *a, int64_t i, int64_t j)
{
    const int64_t step = a->trans_b ? 1 : a->n, first = a->trans_b ? j * a->k : j;
    double wide = 0;
    float sum = 0;

    for (int64_t p = 0; p < a->k; p++) {
        const float x = axl_e4m3_to_f32(a->a[i * a->k + p]);
        const float y = axl_e4m3_to_f32(a->b[first + p * step]);
        sum += x * y;
        wide += (double)x * (double)y;
    }
    return a->dtype == AXL_F64 ? wide : (double)sum;
}

axl_status axl_ref_gemm_fp8(axl_stream *s, const axl_gemm_fp8_args *a)
{
    (void)s;
    if (a->dtype != AXL_F32 && a->dtype != AXL_BF16 && a->dtype != AXL_F64)
        return axl_ref_no_dtype("gemm_fp8", a->dtype);
    for (int64_t i = 0; i < a->m; i++)
        for (int64_t j = 0; j < a->n; j++) {
            const int64_t at = i * a->n + j;
            double sum = dot(a, i, j) * (double)a->scale_a[i] * (double)*a->scale_b;
            if (a->accumulate)
                sum += axl_ref_get(a->c, at, a->dtype);
            if (a->bias != NULL)
                sum += axl_ref_get(a->bias, j, a->dtype);
            axl_ref_put(a->c, at, a->dtype, sum, false);
        }
    return AXL_OK;
}
