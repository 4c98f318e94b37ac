// Tensor core operations by their definition: which lane holds which elements (PTX ISA, "warp-level matrix
// instructions"), products and sums in f32 (i32).
#ifndef AXL_CUDA_EMU_MMA_H
#define AXL_CUDA_EMU_MMA_H

#include "tests/cuda_emu/include/cuda_bf16.h"

namespace emu
{

struct mma_bytes {
    unsigned a[4], b[2];
};

// Element k of the row (column) of A (B) that lies in registers of `bits` wide elements: lane 4 g + t holds
// elements t * per .. of 32-bit register 0 (and of register 1 in the upper half of k).
static inline unsigned mma_element(const unsigned *regs, int per, int bits, int k)
{
    const int half = 4 * per, reg = k / half, at = k % half % per;
    return regs[reg] >> (at * bits) & ((1u << bits) - 1u);
}

static inline float mma_bf16(unsigned bits)
{
    return __bfloat162float(__nv_bfloat16{(unsigned short)bits});
}

// f8 e4m3: 4 bits of exponent with bias 7, no infinity, NaN is all ones.
static inline float mma_e4m3(unsigned bits)
{
    const int exponent = (int)(bits >> 3 & 15u), mantissa = (int)(bits & 7u);
    float value =
        exponent == 0 ? ldexpf((float)mantissa, -9) : ldexpf((float)(8 + mantissa), exponent - 10);
    if (exponent == 15 && mantissa == 7)
        value = NAN;
    return bits & 128u ? -value : value;
}

static inline int mma_s8(unsigned bits)
{
    return (int)(signed char)bits;
}

// D [16 x 8] += A [16 x k] B [k x 8], k = 16 for 16-bit elements and 32 for 8-bit ones.
template <class Sum, int bits, class Read>
void mma(Sum d[4], const unsigned a[4], const unsigned b[2], Read read)
{
    constexpr int per = 32 / bits, k = 8 * per;
    const mma_bytes mine = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
    const packet *all = warp_exchange(0xffffffffu, &mine, sizeof mine);
    const int g = lane / 4, t = lane % 4;

    for (int i = 0; i < 4; i++) {
        const int row = g + (i / 2) * 8, col = 2 * t + i % 2;
        Sum sum = d[i];
        for (int x = 0; x < k; x++) {
            const int quad = x % (4 * per) / per;
            mma_bytes from_a, from_b;
            memcpy(&from_a, all[row % 8 * 4 + quad].bytes, sizeof from_a);
            memcpy(&from_b, all[col * 4 + quad].bytes, sizeof from_b);
            // registers 0 and 2 hold the upper eight rows of A, 1 and 3 the lower
            const unsigned rows[2] = {from_a.a[row / 8], from_a.a[row / 8 + 2]};
            sum += (Sum)(read(mma_element(rows, per, bits, x)) *
                         read(mma_element(from_b.b, per, bits, x)));
        }
        d[i] = sum;
    }
}

// The same for bf16, made once for the warp: attention's tiles need very many.
void mma_bf16_m16n8k16(float d[4], const unsigned a[4], const unsigned b[2]);

// Four 8 x 8 matrices of 16-bit elements: lane i gives the address of row i % 8 of matrix i / 8.
static inline void ldmatrix_x4(unsigned r[4], const void *row, bool transposed)
{
    const packet *all = warp_exchange(0xffffffffu, &row, sizeof row);
    const int g = lane / 4, t = lane % 4;

    for (int m = 0; m < 4; m++) {
        unsigned short e[2];
        for (int i = 0; i < 2; i++) {
            const unsigned short *from;
            memcpy(&from, all[m * 8 + (transposed ? 2 * t + i : g)].bytes, sizeof from);
            e[i] = from[transposed ? g : 2 * t + i];
        }
        r[m] = (unsigned)e[0] | (unsigned)e[1] << 16;
    }
}

// Asynchronous copies to shared memory: they land when they are waited for, and no sooner.
void async_copy(void *dst, const void *src, int bytes, int from_source);
void async_commit();
void async_wait(int groups_left);

} // namespace emu

#endif
