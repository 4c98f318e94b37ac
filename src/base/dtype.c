// Element types. Half precision is converted by arithmetic on the exponent so that subnormals need
// no table.
#include "src/base/dtype.h"

#include <math.h>

static const struct {
    const char *name;
    size_t size;
} dtypes[AXL_N_DTYPES] = {
    [AXL_F32] = {"F32", 4},   [AXL_BF16] = {"BF16", 2},       [AXL_F16] = {"F16", 2},
    [AXL_F64] = {"F64", 8},   [AXL_I64] = {"I64", 8},         [AXL_I32] = {"I32", 4},
    [AXL_I16] = {"I16", 2},   [AXL_I8] = {"I8", 1},           [AXL_U8] = {"U8", 1},
    [AXL_BOOL] = {"BOOL", 1}, [AXL_F8_E4M3] = {"F8_E4M3", 1}, [AXL_F8_E5M2] = {"F8_E5M2", 1},
};

size_t axl_dtype_size(axl_dtype dtype)
{
    return dtypes[dtype].size;
}

const char *axl_dtype_name(axl_dtype dtype)
{
    return (unsigned)dtype < AXL_N_DTYPES ? dtypes[dtype].name : "?";
}

int axl_dtype_from_name(const char *name)
{
    for (int i = 0; i < AXL_N_DTYPES; i++)
        if (strcmp(dtypes[i].name, name) == 0)
            return i;
    return -1;
}

float axl_f16_to_f32(uint16_t x)
{
    uint32_t sign = (uint32_t)(x & 0x8000u) << 16;
    uint32_t exponent = (x >> 10) & 0x1fu;
    uint32_t mantissa = x & 0x3ffu;
    uint32_t bits;
    float f;

    if (exponent == 0) {
        f = (float)mantissa * 0x1p-24f;
        return sign != 0 ? -f : f;
    }
    bits = exponent == 31 ? (sign | 0x7f800000u | (mantissa << 13))
                          : (sign | ((exponent + 112) << 23) | (mantissa << 13));
    memcpy(&f, &bits, sizeof f);
    return f;
}

uint16_t axl_f32_to_f16(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    uint16_t sign = (uint16_t)((bits >> 16) & 0x8000u);
    float a = fabsf(f);

    if (isnan(f))
        return (uint16_t)(sign | 0x7e00u);
    if (a >= 65520.0f)
        return (uint16_t)(sign | 0x7c00u);
    if (a < 0x1p-14f) // subnormal: the nearest multiple of 2^-24, ties to even
        return (uint16_t)(sign | (uint16_t)nearbyintf(a * 0x1p24f));
    bits &= 0x7fffffffu;
    bits += 0xfffu + ((bits >> 13) & 1u);
    return (uint16_t)(sign | (uint16_t)((bits >> 13) - (112u << 10)));
}

int axl_convert_to_f32(const void *src, axl_dtype src_dtype, float *dst, size_t n)
{
    const uint16_t *h = src;
    const double *d = src;

    switch (src_dtype) {
    case AXL_F32:
        memcpy(dst, src, n * sizeof *dst);
        return 0;
    case AXL_BF16:
        for (size_t i = 0; i < n; i++)
            dst[i] = axl_bf16_to_f32(h[i]);
        return 0;
    case AXL_F16:
        for (size_t i = 0; i < n; i++)
            dst[i] = axl_f16_to_f32(h[i]);
        return 0;
    case AXL_F64:
        for (size_t i = 0; i < n; i++)
            dst[i] = (float)d[i];
        return 0;
    default:
        return -1;
    }
}

int axl_convert_from_f32(const float *src, void *dst, axl_dtype dst_dtype, size_t n)
{
    uint16_t *h = dst;
    double *d = dst;

    switch (dst_dtype) {
    case AXL_F32:
        memcpy(dst, src, n * sizeof *src);
        return 0;
    case AXL_BF16:
        for (size_t i = 0; i < n; i++)
            h[i] = axl_f32_to_bf16(src[i]);
        return 0;
    case AXL_F16:
        for (size_t i = 0; i < n; i++)
            h[i] = axl_f32_to_f16(src[i]);
        return 0;
    case AXL_F64:
        for (size_t i = 0; i < n; i++)
            d[i] = (double)src[i];
        return 0;
    default:
        return -1;
    }
}
