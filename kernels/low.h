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

#endif
