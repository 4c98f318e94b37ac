// Quantised blocks to floats. The hard part is the order of rounding: products and sums are done as the
// `gguf` package does them, so that the bits are the same; this file must not be compiled with
// contraction. Every block starts with or ends in half-precision scales; layouts are those of ggml.
#include "src/io/gguf.h"

#include <string.h>

#define QK 256 // elements of a K block

struct axl_gguf_quant {
    const char *name;
    uint32_t type;   // its number in the format
    int block;       // elements of a block
    int bytes;       // of a block
    axl_dtype dtype; // what the elements are without loss; F32 for quantised ones
    void (*blocks)(const unsigned char *src, int64_t n_blocks, float *dst);
};

static float half_at(const unsigned char *p)
{
    return axl_f16_to_f32((uint16_t)(p[0] | p[1] << 8));
}

static void blocks_f32(const unsigned char *src, int64_t n, float *dst)
{
    memcpy(dst, src, (size_t)n * sizeof *dst);
}

static void blocks_f16(const unsigned char *src, int64_t n, float *dst)
{
    for (int64_t i = 0; i < n; i++)
        dst[i] = half_at(src + 2 * i);
}

static void blocks_bf16(const unsigned char *src, int64_t n, float *dst)
{
    for (int64_t i = 0; i < n; i++)
        dst[i] = axl_bf16_to_f32((axl_bf16)(src[2 * i] | src[2 * i + 1] << 8));
}

// { half d; int8 q[32] }
static void blocks_q8_0(const unsigned char *src, int64_t n, float *dst)
{
    for (int64_t b = 0; b < n; b++, src += 34, dst += 32) {
        float d = half_at(src);
        for (int i = 0; i < 32; i++)
            dst[i] = (float)(int8_t)src[2 + i] * d;
    }
}

// { half d; nibbles q[16] }: low nibbles are elements 0 .. 15, high ones 16 .. 31
static void blocks_q4_0(const unsigned char *src, int64_t n, float *dst)
{
    for (int64_t b = 0; b < n; b++, src += 18, dst += 32) {
        float d = half_at(src);
        for (int i = 0; i < 16; i++) {
            dst[i] = d * (float)((src[2 + i] & 15) - 8);
            dst[i + 16] = d * (float)((src[2 + i] >> 4) - 8);
        }
    }
}

// { half d, m; nibbles q[16] }
static void blocks_q4_1(const unsigned char *src, int64_t n, float *dst)
{
    for (int64_t b = 0; b < n; b++, src += 20, dst += 32) {
        float d = half_at(src), m = half_at(src + 2);
        for (int i = 0; i < 16; i++) {
            dst[i] = d * (float)(src[4 + i] & 15) + m;
            dst[i + 16] = d * (float)(src[4 + i] >> 4) + m;
        }
    }
}

static uint32_t word_at(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

// The two 5-bit numbers of byte i: a nibble below a bit of `high`.
static void five_bits(uint32_t high, unsigned char nibbles, int i, int q[2])
{
    q[0] = (nibbles & 15) | (int)((high >> i) & 1) << 4;
    q[1] = (nibbles >> 4) | (int)((high >> (i + 16)) & 1) << 4;
}

// { half d; bits high[32]; nibbles q[16] }
static void blocks_q5_0(const unsigned char *src, int64_t n, float *dst)
{
    for (int64_t b = 0; b < n; b++, src += 22, dst += 32) {
        float d = half_at(src);
        uint32_t high = word_at(src + 2);
        for (int i = 0; i < 16; i++) {
            int q[2];
            five_bits(high, src[6 + i], i, q);
            dst[i] = d * (float)(q[0] - 16);
            dst[i + 16] = d * (float)(q[1] - 16);
        }
    }
}

// { half d, m; bits high[32]; nibbles q[16] }
static void blocks_q5_1(const unsigned char *src, int64_t n, float *dst)
{
    for (int64_t b = 0; b < n; b++, src += 24, dst += 32) {
        float d = half_at(src), m = half_at(src + 2);
        uint32_t high = word_at(src + 4);
        for (int i = 0; i < 16; i++) {
            int q[2];
            five_bits(high, src[8 + i], i, q);
            dst[i] = d * (float)q[0] + m;
            dst[i + 16] = d * (float)q[1] + m;
        }
    }
}

// Scale and minimum of sub-block j (of 8), 6 bits each, packed in 12 bytes: the first four of each in
// bytes 0 .. 3 and 4 .. 7; of the others 4 bits in bytes 8 .. 11 and 2 above the first four.
static void scale_min(const unsigned char *s, int j, int *scale, int *min)
{
    if (j < 4) {
        *scale = s[j] & 63;
        *min = s[j + 4] & 63;
    } else {
        *scale = (s[j + 4] & 15) | ((s[j - 4] >> 6) << 4);
        *min = (s[j + 4] >> 4) | ((s[j] >> 6) << 4);
    }
}

// { half d, dmin; scales[12]; nibbles q[128] }: each 32 bytes hold sub-block 2c low and 2c + 1 high
static void blocks_q4_k(const unsigned char *src, int64_t n, float *dst)
{
    for (int64_t b = 0; b < n; b++, src += 144) {
        float d = half_at(src), dmin = half_at(src + 2);
        for (int j = 0; j < 8; j++, dst += 32) {
            const unsigned char *q = src + 16 + (ptrdiff_t)32 * (j / 2);
            int scale, min;
            scale_min(src + 4, j, &scale, &min);
            float ds = d * (float)scale, dm = dmin * (float)min;
            for (int i = 0; i < 32; i++)
                dst[i] = ds * (float)((q[i] >> (4 * (j & 1))) & 15) - dm;
        }
    }
}

// { half d, dmin; scales[12]; bits high[32][8]; nibbles q[128] }: bit j of high[i] is of sub-block j
static void blocks_q5_k(const unsigned char *src, int64_t n, float *dst)
{
    for (int64_t b = 0; b < n; b++, src += 176) {
        float d = half_at(src), dmin = half_at(src + 2);
        const unsigned char *high = src + 16;
        for (int j = 0; j < 8; j++, dst += 32) {
            const unsigned char *q = src + 48 + (ptrdiff_t)32 * (j / 2);
            int scale, min;
            scale_min(src + 4, j, &scale, &min);
            float ds = d * (float)scale, dm = dmin * (float)min;
            for (int i = 0; i < 32; i++) {
                int v = ((q[i] >> (4 * (j & 1))) & 15) | ((high[i] >> j) & 1) << 4;
                dst[i] = ds * (float)v - dm;
            }
        }
    }
}

// { nibbles low[128]; pairs high[64]; int8 scales[16]; half d }: each half of the block is 4 groups of
// 32; group g takes low nibbles (g < 2) or high ones of 64 bytes, and pair g of 32 bytes
static void blocks_q6_k(const unsigned char *src, int64_t n, float *dst)
{
    for (int64_t b = 0; b < n; b++, src += 210) {
        float d = half_at(src + 208);
        for (int g = 0; g < 8; g++, dst += 32) {
            const unsigned char *low = src + (ptrdiff_t)64 * (g / 4) + (ptrdiff_t)32 * (g & 1);
            const unsigned char *high = src + 128 + (ptrdiff_t)32 * (g / 4);
            const unsigned char *scales = src + 192 + (ptrdiff_t)2 * g;
            float s[2] = {d * (float)(int8_t)scales[0], d * (float)(int8_t)scales[1]};
            for (int i = 0; i < 32; i++) {
                int v = ((low[i] >> (g & 2 ? 4 : 0)) & 15) | ((high[i] >> (2 * (g & 3))) & 3) << 4;
                dst[i] = s[i / 16] * (float)(v - 32);
            }
        }
    }
}

static const axl_gguf_quant quants[] = {
    {"F32", 0, 1, 4, AXL_F32, blocks_f32},       {"F16", 1, 1, 2, AXL_F16, blocks_f16},
    {"BF16", 30, 1, 2, AXL_BF16, blocks_bf16},   {"Q8_0", 8, 32, 34, AXL_F32, blocks_q8_0},
    {"Q4_0", 2, 32, 18, AXL_F32, blocks_q4_0},   {"Q4_1", 3, 32, 20, AXL_F32, blocks_q4_1},
    {"Q5_0", 6, 32, 22, AXL_F32, blocks_q5_0},   {"Q5_1", 7, 32, 24, AXL_F32, blocks_q5_1},
    {"Q4_K", 12, QK, 144, AXL_F32, blocks_q4_k}, {"Q5_K", 13, QK, 176, AXL_F32, blocks_q5_k},
    {"Q6_K", 14, QK, 210, AXL_F32, blocks_q6_k},
};

const axl_gguf_quant *axl_gguf_quant_of(uint32_t type)
{
    for (size_t i = 0; i < sizeof quants / sizeof *quants; i++)
        if (quants[i].type == type)
            return &quants[i];
    return NULL;
}

const char *axl_gguf_quant_name(const axl_gguf_quant *quant)
{
    return quant->name;
}

bool axl_gguf_is_quantised(const axl_gguf_quant *quant)
{
    return quant->block > 1;
}

axl_dtype axl_gguf_dtype(const axl_gguf_quant *quant)
{
    return quant->dtype;
}

int64_t axl_gguf_quant_bytes(const axl_gguf_quant *quant, int64_t n)
{
    int64_t bytes;

    if (n < 0 || n % quant->block != 0 ||
        __builtin_mul_overflow(n / quant->block, quant->bytes, &bytes))
        return -1;
    return bytes;
}

void axl_gguf_dequantise(const axl_gguf_quant *quant, const unsigned char *src, int64_t n,
                         float *dst)
{
    AXL_ASSERT(n % quant->block == 0);
    if (n > 0)
        quant->blocks(src, n / quant->block, dst);
}

void axl_gguf_read_rows(const axl_gguf_tensor *t, int64_t row0, int64_t n_rows, float *dst)
{
    AXL_ASSERT(row0 >= 0 && n_rows >= 0 && row0 <= t->rows && n_rows <= t->rows - row0);
    int64_t row_bytes = axl_gguf_quant_bytes(t->quant, t->cols);
    axl_gguf_dequantise(t->quant, t->data + row0 * row_bytes, n_rows * t->cols, dst);
}
