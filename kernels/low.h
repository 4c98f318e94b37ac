// Rounding of floats to narrower formats, the results still held as floats.
#ifndef AXL_KERNELS_LOW_H
#define AXL_KERNELS_LOW_H

#include <math.h>
#include <stdint.h>
#include <string.h>

// A format by what rounding to it needs: normal numbers lose `drop` bits, numbers below `least` are multiples of
// one step, which adding and taking away `magic` rounds to; what is larger than `most` becomes that.
typedef struct axl_low_format {
    int drop;
    float least, magic, most;
} axl_low_format;

#define AXL_LOW_FP16 ((axl_low_format){13, 0x1p-14f, 0x1.8p-1f, 65504.0f})
#define AXL_LOW_E4M3 ((axl_low_format){20, 0x1p-6f, 0x1.8p14f, 448.0f})

// The nearest number of the format, ties to even; NaN stays NaN.
static inline float axl_low_round(float x, axl_low_format f)
{
    uint32_t bits;

    if (isnan(x))
        return x;
    if (fabsf(x) < f.least)
        return (x + f.magic) - f.magic;
    memcpy(&bits, &x, sizeof bits);
    bits += (1u << (f.drop - 1)) - 1u + ((bits >> f.drop) & 1u);
    bits &= ~((1u << f.drop) - 1u);
    memcpy(&x, &bits, sizeof bits);
    return fminf(fmaxf(x, -f.most), f.most);
}

// The bits of x as e4m3: sign, 4 bits of exponent with bias 7, 3 of mantissa; NaN is 0x7f.
static inline uint8_t axl_e4m3_from_f32(float x)
{
    const float y = axl_low_round(x, AXL_LOW_E4M3);
    uint32_t bits;

    memcpy(&bits, &y, sizeof bits);
    const uint32_t sign = signbit(x) != 0 ? 0x80u : 0u, size = bits & 0x7fffffffu;
    if (isnan(y))
        return 0x7f;
    if (fabsf(y) < AXL_LOW_E4M3.least) // a multiple of 2^-9
        return (uint8_t)(sign | (uint32_t)(fabsf(y) * 512.0f));
    return (uint8_t)(sign | ((size >> 20) - (120u << 3)));
}

static inline float axl_e4m3_to_f32(uint8_t q)
{
    // as bits of an f32 the exponent is 120 too small, for numbers below the normal ones too
    const uint32_t bits = (q & 0x7fu) == 0x7fu ? 0x7fc00000u : (uint32_t)(q & 0x7f) << 20;
    float x;

    memcpy(&x, &bits, sizeof x);
    x *= 0x1p120f;
    return (q & 0x80) != 0 ? -x : x;
}

// The scale of e4m3 numbers whose originals are at most amax (kernels/fp8.h): a power of two.
static inline float axl_fp8_scale(float amax)
{
    const float most = amax < 1e-12f ? 1e-12f : amax; // nothing but zeros has a scale, too
    uint32_t bits;
    float scale;

    memcpy(&bits, &most, sizeof bits);
    if (bits >= 0x7f800000u)
        return NAN;
    bits = ((bits + 0x1fffffu) >> 23) -
           8u; // 448 is 1.75 * 2^8: a larger mantissa takes the next power
    bits <<= 23;
    memcpy(&scale, &bits, sizeof scale);
    return scale;
}

#endif
