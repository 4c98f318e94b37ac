// The rotation of rotary position embedding.
#include "kernels/cpu/parallel.h"

// Splits 2 VF neighbours into the even and the odd ones, and back.
#ifdef __AVX512F__
#define EVENS                                                                                      \
    (vi)                                                                                           \
    {                                                                                              \
        0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30                                  \
    }
#define ODDS                                                                                       \
    (vi)                                                                                           \
    {                                                                                              \
        1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31                                  \
    }
#define LOWS                                                                                       \
    (vi)                                                                                           \
    {                                                                                              \
        0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23                                     \
    }
#define HIGHS                                                                                      \
    (vi)                                                                                           \
    {                                                                                              \
        8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31                               \
    }
#else
#define EVENS                                                                                      \
    (vi)                                                                                           \
    {                                                                                              \
        0, 2, 4, 6, 8, 10, 12, 14                                                                  \
    }
#define ODDS                                                                                       \
    (vi)                                                                                           \
    {                                                                                              \
        1, 3, 5, 7, 9, 11, 13, 15                                                                  \
    }
#define LOWS                                                                                       \
    (vi)                                                                                           \
    {                                                                                              \
        0, 8, 1, 9, 2, 10, 3, 11                                                                   \
    }
#define HIGHS                                                                                      \
    (vi)                                                                                           \
    {                                                                                              \
        4, 12, 5, 13, 6, 14, 7, 15                                                                 \
    }
#endif

// One head: x and out are its first elements.
AXL_INLINE void rotate_half(const axl_rope_args *a, const uint8_t *x, uint8_t *out,
                            const float *cos_row, const float *sin_row, bool bf16)
{
    const int64_t half = a->half;
    const float sign = a->inverse ? -1.0f : 1.0f;

    for (int64_t i = 0; i < half; i += VF) {
        const int64_t n = half - i < VF ? half - i : VF;
        vf c = vf_load_n(cos_row, i, n, false), s = sign * vf_load_n(sin_row, i, n, false);
        vf x1 = vf_load_n(x, i, n, bf16), x2 = vf_load_n(x, half + i, n, bf16);
        vf_store_n(out, i, x1 * c - x2 * s, n, bf16);
        vf_store_n(out, half + i, x2 * c + x1 * s, n, bf16);
    }
}

AXL_INLINE void rotate_pairs(const axl_rope_args *a, const uint8_t *x, uint8_t *out,
                             const float *cos_row, const float *sin_row, bool bf16)
{
    const int64_t half = a->half;
    const float sign = a->inverse ? -1.0f : 1.0f;

    for (int64_t i = 0; i < half; i += VF) {
        const int64_t n = half - i < VF ? half - i : VF;
        const int64_t n_low = 2 * n < VF ? 2 * n : VF, n_high = 2 * n - n_low;
        vf c = vf_load_n(cos_row, i, n, false), s = sign * vf_load_n(sin_row, i, n, false);
        vf low = vf_load_n(x, 2 * i, n_low, bf16), high = vf_set(0.0f);
        if (n_high > 0)
            high = vf_load_n(x, 2 * i + VF, n_high, bf16);
        vf x1 = vf_shuffle(low, high, EVENS), x2 = vf_shuffle(low, high, ODDS);
        vf y1 = x1 * c - x2 * s, y2 = x2 * c + x1 * s;
        vf_store_n(out, 2 * i, vf_shuffle(y1, y2, LOWS), n_low, bf16);
        if (n_high > 0)
            vf_store_n(out, 2 * i + VF, vf_shuffle(y1, y2, HIGHS), n_high, bf16);
    }
}

AXL_INLINE void rotate_token(const axl_rope_args *a, int64_t t, bool bf16)
{
    const int64_t size = bf16 ? 2 : 4, rest = a->head_dim - 2 * a->half;
    const float *cos_row = a->cos + t * a->half, *sin_row = a->sin + t * a->half;

    for (int64_t h = 0; h < a->n_heads; h++) {
        const int64_t offset = (t * a->n_heads + h) * a->head_dim * size;
        const uint8_t *x = (const uint8_t *)a->x + offset;
        uint8_t *out = (uint8_t *)a->out + offset;
        if (a->pairing == AXL_ROPE_HALF)
            rotate_half(a, x, out, cos_row, sin_row, bf16);
        else
            rotate_pairs(a, x, out, cos_row, sin_row, bf16);
        if (x != out && rest > 0)
            __builtin_memcpy(out + 2 * a->half * size, x + 2 * a->half * size,
                             (size_t)(rest * size));
    }
}

axl_status AXL_CPU(rope)(axl_stream *s, const axl_rope_args *a)
{
    if (a->dtype != AXL_F32 && a->dtype != AXL_BF16)
        return axl_kernels_ref.rope(s, a);
    AXL_PARALLEL_FOR(s, a->n_tokens * a->n_heads * a->head_dim)
    for (int64_t t = 0; t < a->n_tokens; t++) {
        if (a->dtype == AXL_BF16)
            rotate_token(a, t, true);
        else
            rotate_token(a, t, false);
    }
    return AXL_OK;
}
