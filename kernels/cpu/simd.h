// One vector of floats, whatever the level: the same kernel source is compiled once a level with other
// flags, and this header is all that differs.
//
// vf holds VF floats; the operators of C work on it. Loads and stores take the dtype as a constant, so
// that an inlined kernel has no branch: bf16 becomes f32 on the way in and is rounded on the way out.
// The _n forms touch n < VF elements; the missing ones read as 0.
#ifndef AXL_KERNELS_CPU_SIMD_H
#define AXL_KERNELS_CPU_SIMD_H

#include "src/base/dtype.h"

#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>

// AXL_CPU(x) is this level's name of x.
#define AXL_CPU_PASTE_(level, name) axl_cpu_##level##_##name
#define AXL_CPU_PASTE(level, name)  AXL_CPU_PASTE_(level, name)
#define AXL_CPU(name)               AXL_CPU_PASTE(AXL_CPU_LEVEL, name)

#define AXL_INLINE static inline __attribute__((always_inline))

#ifdef __AVX512F__
#define VF       ((int64_t)16)
#define VF_BYTES 64
typedef __mmask16 vmask;
#else
#define VF       ((int64_t)8)
#define VF_BYTES 32
typedef __m256i vmask;
#endif
typedef float vf __attribute__((vector_size(VF_BYTES)));
typedef int32_t vi __attribute__((vector_size(VF_BYTES)));

AXL_INLINE vf vf_set(float x)
{
#ifdef __AVX512F__
    return (vf)_mm512_set1_ps(x);
#else
    return (vf)_mm256_set1_ps(x);
#endif
}

AXL_INLINE vi vi_set(int32_t x)
{
#ifdef __AVX512F__
    return (vi)_mm512_set1_epi32(x);
#else
    return (vi)_mm256_set1_epi32(x);
#endif
}

// 0, 1, 2, ...
AXL_INLINE vi vi_iota(void)
{
#ifdef __AVX512F__
    return (vi){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
#else
    return (vi){0, 1, 2, 3, 4, 5, 6, 7};
#endif
}

AXL_INLINE vmask vmask_first(int64_t n)
{
#ifdef __AVX512F__
    return (__mmask16)((1u << n) - 1u);
#else
    return (__m256i)(vi_iota() < vi_set((int32_t)n));
#endif
}

AXL_INLINE vf vf_load_f32(const float *p)
{
#ifdef __AVX512F__
    return (vf)_mm512_loadu_ps(p);
#else
    return (vf)_mm256_loadu_ps(p);
#endif
}

AXL_INLINE void vf_store_f32(float *p, vf x)
{
#ifdef __AVX512F__
    _mm512_storeu_ps(p, (__m512)x);
#else
    _mm256_storeu_ps(p, (__m256)x);
#endif
}

#include "kernels/cpu/simd_bf16.h"

// Elements i .. of an array of f32 or bf16.
AXL_INLINE vf vf_load(const void *p, int64_t i, bool bf16)
{
    if (!bf16)
        return vf_load_f32((const float *)p + i);
    const axl_bf16 *h = (const axl_bf16 *)p + i;
#ifdef __AVX512F__
    return vf_from_bf16(_mm256_loadu_si256((const __m256i_u *)h));
#else
    return vf_from_bf16(_mm_loadu_si128((const __m128i_u *)h));
#endif
}

AXL_INLINE void vf_store(void *p, int64_t i, vf x, bool bf16)
{
    if (!bf16) {
        vf_store_f32((float *)p + i, x);
        return;
    }
    axl_bf16 *h = (axl_bf16 *)p + i;
#ifdef __AVX512F__
    _mm256_storeu_si256((__m256i_u *)h, vf_to_bf16(x));
#else
    _mm_storeu_si128((__m128i_u *)h, vf_to_bf16(x));
#endif
}

AXL_INLINE vf vf_load_n(const void *p, int64_t i, int64_t n, bool bf16)
{
#ifdef __AVX512F__
    if (!bf16)
        return (vf)_mm512_maskz_loadu_ps(vmask_first(n), (const float *)p + i);
    return vf_from_bf16(_mm256_maskz_loadu_epi16(vmask_first(n), (const axl_bf16 *)p + i));
#else
    if (!bf16)
        return (vf)_mm256_maskload_ps((const float *)p + i, vmask_first(n));
    axl_bf16 h[VF] = {0};
    for (int64_t j = 0; j < n; j++)
        h[j] = ((const axl_bf16 *)p)[i + j];
    return vf_load(h, 0, true);
#endif
}

AXL_INLINE void vf_store_n(void *p, int64_t i, vf x, int64_t n, bool bf16)
{
#ifdef __AVX512F__
    if (bf16)
        _mm256_mask_storeu_epi16((axl_bf16 *)p + i, vmask_first(n), vf_to_bf16(x));
    else
        _mm512_mask_storeu_ps((float *)p + i, vmask_first(n), (__m512)x);
#else
    if (!bf16) {
        _mm256_maskstore_ps((float *)p + i, vmask_first(n), (__m256)x);
        return;
    }
    axl_bf16 h[VF];
    vf_store(h, 0, x, true);
    for (int64_t j = 0; j < n; j++)
        ((axl_bf16 *)p)[i + j] = h[j];
#endif
}

// x as it would be read back after a store.
AXL_INLINE vf vf_rounded(vf x, bool bf16)
{
    return bf16 ? vf_from_bf16(vf_to_bf16(x)) : x;
}

AXL_INLINE vf vf_fma(vf a, vf b, vf c)
{
#ifdef __AVX512F__
    return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#else
    return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#endif
}

// c - a * b
AXL_INLINE vf vf_fnma(vf a, vf b, vf c)
{
#ifdef __AVX512F__
    return (vf)_mm512_fnmadd_ps((__m512)a, (__m512)b, (__m512)c);
#else
    return (vf)_mm256_fnmadd_ps((__m256)a, (__m256)b, (__m256)c);
#endif
}

// b where a is NaN, as the processor does.
AXL_INLINE vf vf_max(vf a, vf b)
{
#ifdef __AVX512F__
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#else
    return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#endif
}

AXL_INLINE vf vf_min(vf a, vf b)
{
#ifdef __AVX512F__
    return (vf)_mm512_min_ps((__m512)a, (__m512)b);
#else
    return (vf)_mm256_min_ps((__m256)a, (__m256)b);
#endif
}

AXL_INLINE vf vf_sqrt(vf a)
{
#ifdef __AVX512F__
    return (vf)_mm512_sqrt_ps((__m512)a);
#else
    return (vf)_mm256_sqrt_ps((__m256)a);
#endif
}

AXL_INLINE vf vf_round(vf a)
{
#ifdef __AVX512F__
    return (vf)_mm512_roundscale_ps((__m512)a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
    return (vf)_mm256_round_ps((__m256)a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#endif
}

AXL_INLINE vf vf_abs(vf a)
{
    return (vf)((vi)a & 0x7fffffff);
}

// yes where the mask (all bits or none) is set, else no.
AXL_INLINE vf vf_select(vi mask, vf yes, vf no)
{
    return (vf)((mask & (vi)yes) | (~mask & (vi)no));
}

// Lanes of a (0 .. VF - 1) and of b (VF .. 2 VF - 1) by index.
AXL_INLINE vf vf_shuffle(vf a, vf b, vi index)
{
#ifdef __AVX512F__
    return (vf)_mm512_permutex2var_ps((__m512)a, (__m512i)index, (__m512)b);
#else
    vf x = (vf)_mm256_permutevar8x32_ps((__m256)a, (__m256i)index);
    vf y = (vf)_mm256_permutevar8x32_ps((__m256)b, (__m256i)index);
    return vf_select(index >= 8, y, x);
#endif
}

// The sum of the lanes, always in the same order.
AXL_INLINE float vf_sum(vf a)
{
#ifdef __AVX512F__
    return _mm512_reduce_add_ps((__m512)a);
#else
    __m128 h = _mm_add_ps(_mm256_castps256_ps128((__m256)a), _mm256_extractf128_ps((__m256)a, 1));
    h = _mm_add_ps(h, _mm_movehl_ps(h, h));
    return _mm_cvtss_f32(_mm_add_ss(h, _mm_movehdup_ps(h)));
#endif
}

AXL_INLINE float vf_max_lane(vf a)
{
#ifdef __AVX512F__
    return _mm512_reduce_max_ps((__m512)a);
#else
    __m128 h = _mm_max_ps(_mm256_castps256_ps128((__m256)a), _mm256_extractf128_ps((__m256)a, 1));
    h = _mm_max_ps(h, _mm_movehl_ps(h, h));
    return _mm_cvtss_f32(_mm_max_ss(h, _mm_movehdup_ps(h)));
#endif
}

// f * 2^n for whole n; 0 far below the range, infinity above.
AXL_INLINE vf vf_scale2(vf f, vf n)
{
#ifdef __AVX512F__
    return (vf)_mm512_scalef_ps((__m512)f, (__m512)n);
#else
    // In two steps, so that neither factor leaves the range of exponents.
    n = vf_min(vf_max(n, vf_set(-252.0f)), vf_set(254.0f));
    vi whole = (vi)_mm256_cvtps_epi32((__m256)n), half = whole >> 1;
    return f * (vf)((half + 127) << 23) * (vf)((whole - half + 127) << 23);
#endif
}

#endif
