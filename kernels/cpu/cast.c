// Conversion between element types.
#include "kernels/cpu/parallel.h"

#include <string.h>

#define BLOCK 4096 // elements a thread takes at a time

// Weights pass here, so even subnormal numbers come through exactly.
static void cast_to_bf16(const float *src, axl_bf16 *dst, int64_t n)
{
    int64_t i = 0;

    for (; i + VF <= n; i += VF) {
#ifdef __AVX512F__
        _mm256_storeu_si256((__m256i_u *)(dst + i), vf_to_bf16_exact(vf_load_f32(src + i)));
#else
        _mm_storeu_si128((__m128i_u *)(dst + i), vf_to_bf16_exact(vf_load_f32(src + i)));
#endif
    }
    for (; i < n; i++)
        dst[i] = axl_f32_to_bf16(src[i]);
}

static void cast_from_bf16(const axl_bf16 *src, float *dst, int64_t n)
{
    int64_t i = 0;

    for (; i + VF <= n; i += VF)
        vf_store_f32(dst + i, vf_load(src, i, true));
    for (; i < n; i++)
        dst[i] = axl_bf16_to_f32(src[i]);
}

axl_status AXL_CPU(cast)(axl_stream *s, const axl_cast_args *a)
{
    const bool narrow = a->src_dtype == AXL_F32 && a->dst_dtype == AXL_BF16;
    const bool widen = a->src_dtype == AXL_BF16 && a->dst_dtype == AXL_F32;

    if (a->src_dtype == a->dst_dtype) {
        memmove(a->dst, a->src, (size_t)a->n * axl_dtype_size(a->src_dtype));
        return AXL_OK;
    }
    if (!narrow && !widen)
        return axl_kernels_ref.cast(s, a);
    AXL_PARALLEL_FOR(s, a->n)
    for (int64_t begin = 0; begin < a->n; begin += BLOCK) {
        int64_t n = a->n - begin < BLOCK ? a->n - begin : BLOCK;
        if (narrow)
            cast_to_bf16((const float *)a->src + begin, (axl_bf16 *)a->dst + begin, n);
        else
            cast_from_bf16((const axl_bf16 *)a->src + begin, (float *)a->dst + begin, n);
    }
    return AXL_OK;
}
