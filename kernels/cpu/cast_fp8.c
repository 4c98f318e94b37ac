// Numbers as e4m3 with scales: a row is read twice, the second time from the cache.
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd_fp8.h"
#include "kernels/low.h"

AXL_INLINE void cast_row(const axl_cast_fp8_args *a, int64_t r, float scale, bool bf16)
{
    const int64_t end = (r + 1) * a->cols;
    const vf to_unit = vf_set(1.0f / scale); // a power of two: exact
    int64_t i = r * a->cols;

    for (; i + VF <= end; i += VF)
        vf_to_e4m3(a->dst + i, vf_load(a->src, i, bf16) * to_unit);
    if (i < end) {
        uint8_t last[VF];
        vf_to_e4m3(last, vf_load_n(a->src, i, end - i, bf16) * to_unit);
        memcpy(a->dst + i, last, (size_t)(end - i));
    }
}

AXL_INLINE void cast_rows(axl_stream *s, const axl_cast_fp8_args *a, bool bf16)
{
    AXL_PARALLEL_FOR(s, a->rows * a->cols)
    for (int64_t r = 0; r < a->rows; r++) {
        if (a->amax == NULL)
            a->scale[r] = axl_fp8_scale(largest_of(a->src, r * a->cols, (r + 1) * a->cols, bf16));
        cast_row(a, r, a->amax != NULL ? *a->scale : a->scale[r], bf16);
    }
}

axl_status AXL_CPU(cast_fp8)(axl_stream *s, const axl_cast_fp8_args *a)
{
    if (a->dtype != AXL_F32 && a->dtype != AXL_BF16)
        return axl_kernels_ref.cast_fp8(s, a);
    if (a->amax != NULL)
        *a->scale = axl_fp8_scale(*a->amax);
    if (a->dtype == AXL_BF16)
        cast_rows(s, a, true);
    else
        cast_rows(s, a, false);
    return AXL_OK;
}
