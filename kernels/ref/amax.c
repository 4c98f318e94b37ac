// The largest magnitude of an array.
#include "kernels/ref/ref.h"

axl_status axl_ref_amax(axl_stream *s, const axl_amax_args *a)
{
    (void)s;
    if (a->dtype != AXL_F32 && a->dtype != AXL_BF16 && a->dtype != AXL_F64)
        return axl_ref_no_dtype("amax", a->dtype);
    for (int64_t i = 0; i < a->n; i++) {
        const float x = fabsf((float)axl_ref_get(a->x, i, a->dtype));
        if (!isnan(*a->out) && !(x <= *a->out))
            *a->out = x;
    }
    return AXL_OK;
}
