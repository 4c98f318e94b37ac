// bfloat16 of the emulation: the storage type, and conversions that round to nearest even.
#ifndef AXL_CUDA_EMU_BF16_H
#define AXL_CUDA_EMU_BF16_H

#include <cuda_runtime.h>

#include <cstring>

struct __nv_bfloat16 {
    unsigned short bits;
};
struct alignas(4) __nv_bfloat162 {
    __nv_bfloat16 x, y;
};

static inline float __bfloat162float(__nv_bfloat16 v)
{
    unsigned bits = (unsigned)v.bits << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline __nv_bfloat16 __float2bfloat16_rn(float f)
{
    unsigned bits;
    memcpy(&bits, &f, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return {0x7fff}; // CUDA's NaN
    return {(unsigned short)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

static inline __nv_bfloat16 __float2bfloat16(float f)
{
    return __float2bfloat16_rn(f);
}

static inline __nv_bfloat162 __floats2bfloat162_rn(float a, float b)
{
    return {__float2bfloat16_rn(a), __float2bfloat16_rn(b)};
}

static inline float __low2float(__nv_bfloat162 v)
{
    return __bfloat162float(v.x);
}

static inline float __high2float(__nv_bfloat162 v)
{
    return __bfloat162float(v.y);
}

#endif
