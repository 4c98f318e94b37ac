// Numbers as e4m3 with scales.
#include "kernels/low.h"
#include "kernels/ref/ref.h"

static float row_amax(const axl_cast_fp8_args *a, int64_t r)
{
    float most = 0.0f;

    for (int64_t c = 0; c < a->cols; c++) {
        const float x = fabsf((float)axl_ref_get(a->src, r * a->cols + c, a->dtype));
        if (!isnan(most) && !(x <= most))
            most = x;
    }
    return most;
}

axl_status axl_ref_cast_fp8(axl_stream *s, const axl_cast_fp8_args *a)
{
    (void)s;
    if (a->dtype != AXL_F32 && a->dtype != AXL_BF16 && a->dtype != AXL_F64)
        return axl_ref_no_dtype("cast_fp8", a->dtype);
    if (a->amax != NULL)
        *a->scale = axl_fp8_scale(*a->amax);
    for (int64_t r = 0; r < a->rows; r++) {
        if (a->amax == NULL)
            a->scale[r] = axl_fp8_scale(row_amax(a, r));
        const float scale = a->amax != NULL ? *a->scale : a->scale[r];
        for (int64_t i = r * a->cols; i < (r + 1) * a->cols; i++)
            a->dst[i] = axl_e4m3_from_f32((float)axl_ref_get(a->src, i, a->dtype) / scale);
    }
    return AXL_OK;
}
