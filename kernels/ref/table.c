// The reference table, and what its kernels share.
#include "kernels/ref/ref.h"

axl_status axl_ref_no_dtype(const char *entry, axl_dtype dtype)
{
    return axl_error_set(AXL_E_UNSUPPORTED, __FILE__, __LINE__, "%s has no %s kernel", entry,
                         axl_dtype_name(dtype));
}

double axl_ref_get(const void *p, int64_t i, axl_dtype dtype)
{
    switch (dtype) {
    case AXL_F64:
        return ((const double *)p)[i];
    case AXL_BF16:
        return (double)axl_bf16_to_f32(((const axl_bf16 *)p)[i]);
    default:
        return (double)((const float *)p)[i];
    }
}

void axl_ref_put(void *p, int64_t i, axl_dtype dtype, double value, bool add)
{
    if (dtype == AXL_F64) {
        double *d = p;
        d[i] = add ? d[i] + value : value;
        return;
    }
    float sum = (float)value;
    if (add)
        sum += (float)axl_ref_get(p, i, dtype);
    if (dtype == AXL_BF16)
        ((axl_bf16 *)p)[i] = axl_f32_to_bf16(sum);
    else
        ((float *)p)[i] = sum;
}

const axl_kernels axl_kernels_ref = {.name = "ref",
#define AXL_REF_ROW(entry, args) .entry = axl_ref_##entry,
                                     AXL_KERNEL_LIST(AXL_REF_ROW)
#undef AXL_REF_ROW
};
