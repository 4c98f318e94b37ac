// Vectors of floats from and to bf16; a part of simd.h, which includes it.
#ifndef AXL_KERNELS_CPU_SIMD_BF16_H
#define AXL_KERNELS_CPU_SIMD_BF16_H

// The 16-bit halves as whole f32 bits.
#ifdef __AVX512F__
AXL_INLINE vf vf_from_bf16(__m256i h)
{
    return (vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16);
}
#else
AXL_INLINE vf vf_from_bf16(__m128i h)
{
    return (vf)_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16);
}
#endif

// Rounds to nearest even, exactly as axl_f32_to_bf16; the result stands in the low 16 bits of each lane.
AXL_INLINE vi vf_round_bf16(vf x)
{
    vi bits = (vi)x;
    vi rounded = bits + 0x7fff + ((bits >> 16) & 1);
    vi is_nan = (bits & 0x7fffffff) > 0x7f800000;
    bits = ((bits | 0x400000) & is_nan) | (rounded & ~is_nan);
    return (bits >> 16) & 0xffff;
}

#ifdef __AVX512F__
AXL_INLINE __m256i vf_to_bf16_exact(vf x)
{
    return _mm512_cvtepi32_epi16((__m512i)vf_round_bf16(x));
}
#else
AXL_INLINE __m128i vf_to_bf16_exact(vf x)
{
    __m256i v = (__m256i)vf_round_bf16(x);
    return _mm_packus_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
}
#endif

// As the exact one; the processor's own instruction may take subnormal numbers as 0.
#ifdef __AVX512BF16__
AXL_INLINE __m256i vf_to_bf16(vf x)
{
    return (__m256i)_mm512_cvtneps_pbh((__m512)x);
}
#elif defined(__AVX512F__)
AXL_INLINE __m256i vf_to_bf16(vf x)
{
    return vf_to_bf16_exact(x);
}
#else
AXL_INLINE __m128i vf_to_bf16(vf x)
{
    return vf_to_bf16_exact(x);
}
#endif

#endif
