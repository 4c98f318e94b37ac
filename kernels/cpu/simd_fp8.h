// Vectors of floats from and to e4m3, exactly as kernels/low.h has it.
#ifndef AXL_KERNELS_CPU_SIMD_FP8_H
#define AXL_KERNELS_CPU_SIMD_FP8_H

#include "kernels/cpu/simd.h"

AXL_INLINE vf vf_from_e4m3(const uint8_t *q)
{
#ifdef __AVX512F__
    const vi bits = (vi)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i_u *)q));
#else
    const vi bits = (vi)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i_u *)q));
#endif
    const vi size = bits & 0x7f;
    const vf x = (vf)(size << 20) * vf_set(0x1p120f);
    const vi is_nan = size == 0x7f;
    return (vf)((vi)x | (is_nan & 0x7fc00000) | (bits >> 7 << 31));
}

// What is beyond 448 becomes 448.
AXL_INLINE void vf_to_e4m3(uint8_t *q, vf x)
{
    const vi sign = (vi)x >> 24 & 0x80;
    const vf size = vf_abs(x);
    const vi bits = (vi)size;
    const vi above = ((bits + 0x7ffff + (bits >> 20 & 1)) >> 20) - (120 << 3);
    const vi beyond = above > 0x7e, normal = (beyond & 0x7e) | (~beyond & above);
    const vi small = (vi)(size + vf_set(0x1.8p14f)) - (vi)vf_set(0x1.8p14f); // steps of 2^-9
    const vi is_small = (vi)(size < vf_set(0x1p-6f)), is_nan = bits > 0x7f800000;
    const vi code =
        (is_nan & 0x7f) | (~is_nan & (sign | (is_small & small) | (~is_small & normal)));
#ifdef __AVX512F__
    _mm_storeu_si128((__m128i_u *)q, _mm512_cvtepi32_epi8((__m512i)code));
#else
    const __m256i v = (__m256i)code;
    const __m128i h = _mm_packus_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    _mm_storel_epi64((__m128i_u *)q, _mm_packus_epi16(h, h));
#endif
}

// The magnitude bits of the largest |x| so far: NaN, as whole numbers, is above all.
AXL_INLINE vi vi_max_size(vi most, vf x)
{
    const vi size = (vi)x & 0x7fffffff;
#ifdef __AVX512F__
    return (vi)_mm512_max_epi32((__m512i)most, (__m512i)size);
#else
    return (vi)_mm256_max_epi32((__m256i)most, (__m256i)size);
#endif
}

AXL_INLINE float vi_largest(vi most)
{
    int32_t bits = 0;
    float x;

    for (int i = 0; i < VF; i++)
        bits = most[i] > bits ? most[i] : bits;
    memcpy(&x, &bits, sizeof x);
    return x;
}

AXL_INLINE float largest_of(const void *x, int64_t begin, int64_t end, bool bf16)
{
    vi most = vi_set(0);
    int64_t i = begin;

    for (; i + VF <= end; i += VF)
        most = vi_max_size(most, vf_load(x, i, bf16));
    if (i < end)
        most = vi_max_size(most, vf_load_n(x, i, end - i, bf16));
    return vi_largest(most);
}

#endif
