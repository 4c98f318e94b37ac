// Element types, their sizes and names, and scalar conversions.
//
// Names are those of the safetensors format ("F32", "BF16", ...). Conversions to 16 bits round to
// nearest even; NaN stays NaN.
#ifndef AXL_BASE_DTYPE_H
#define AXL_BASE_DTYPE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef enum axl_dtype {
    AXL_F32,
    AXL_BF16,
    AXL_F16,
    AXL_F64,
    AXL_I64,
    AXL_I32,
    AXL_I16,
    AXL_I8,
    AXL_U8,
    AXL_BOOL,
    AXL_F8_E4M3,
    AXL_F8_E5M2,
    AXL_N_DTYPES
} axl_dtype;

typedef uint16_t axl_bf16; // the upper half of an IEEE single

// Bytes of one element.
size_t axl_dtype_size(axl_dtype dtype);
// "F32", "BF16", ...; never NULL.
const char *axl_dtype_name(axl_dtype dtype);
// The dtype of a safetensors name; -1 when it is not one of ours.
int axl_dtype_from_name(const char *name);

static inline float axl_bf16_to_f32(axl_bf16 x)
{
    uint32_t bits = (uint32_t)x << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline axl_bf16 axl_f32_to_bf16(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (axl_bf16)((bits >> 16) | 0x40u); // quiet NaN: rounding could carry it to infinity
    return (axl_bf16)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// IEEE half precision; subnormals are exact.
float axl_f16_to_f32(uint16_t x);
uint16_t axl_f32_to_f16(float f);

// Converts n elements from any floating dtype to F32, or from F32 to F32/BF16/F16/F64; src and dst
// do not overlap. Returns 0, or -1 when the pair is not one of these.
int axl_convert_to_f32(const void *src, axl_dtype src_dtype, float *dst, size_t n);
int axl_convert_from_f32(const float *src, void *dst, axl_dtype dst_dtype, size_t n);

#endif
