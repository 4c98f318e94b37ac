// Tensor core operations by their definition: which lane holds which elements (PTX ISA, "warp-level matrix
// instructions"), products and sums in f32 (i32).
#ifndef AXL_CUDA_EMU_MMA_H
#define AXL_CUDA_EMU_MMA_H

#include "tests/cuda_emu/include/cuda_bf16.h"

namespace emu
{

// To fp16, ties to even; what is beyond the largest number becomes that.
static inline unsigned to_f16(float x)
{
    const unsigned sign = std::signbit(x) ? 0x8000u : 0u;
    int exponent = 0;

    if (std::isnan(x))
        return 0x7fffu;
    if (fabsf(x) >= 65504.0f)
        return sign | 0x7bffu;
    (void)frexpf(fabsf(x), &exponent); // x = f 2^exponent, f in [0.5, 1)
    exponent = exponent < -13 ? -13 : exponent;
    const unsigned steps = (unsigned)nearbyintf(ldexpf(fabsf(x), 11 - exponent));
    // a normal number's steps include the bit that is not stored
    const unsigned bits = steps < 1024 ? steps : ((unsigned)(exponent + 13) << 10) + steps;
    return sign | (bits < 0x7bffu ? bits : 0x7bffu);
}

// D [16 x 8] += A [16 x k] B [k x 8], k = 16 for 16-bit elements and 32 for 8-bit ones; made once for the warp, since
// attention's tiles need very many.
void mma_bf16_m16n8k16(float d[4], const unsigned a[4], const unsigned b[2]);
void mma_f16_m16n8k16(float d[4], const unsigned a[4], const unsigned b[2]);
void mma_s8_m16n8k32(int d[4], const unsigned a[4], const unsigned b[2]);
void mma_e4m3_m16n8k32(float d[4], const unsigned a[4], const unsigned b[2]);

// Four 8 x 8 matrices of 16-bit elements: lane i gives the address of row i % 8 of matrix i / 8, which must be aligned.
void ldmatrix_x4(unsigned r[4], const void *row, bool transposed);

// ---- products of a warpgroup (sm_90a): D [64 x n] += A [64 x 16] B [16 x n], B in shared memory, A there or in registers
//
// Factors are read from where their descriptors say, or from the registers, and D is added to, when the product is waited for
// and no sooner; what may be read then must also be there when it is asked for. Until then registers of D and A hold NaN, and
// whoever writes to them is found. What was written to shared memory must have been published by who wrote it. Warps of
// a warpgroup make the same products.

struct group_product {
    float *d; // this thread's part: [n / 8][4]
    int n;
    const unsigned *held; // A's registers, [4], or NULL
    unsigned long a, b;   // descriptors
    bool mn_a, mn_b;
    bool add;              // false: D is set
    void *where = nullptr; // for the race check
};

unsigned shared_address(const void *p);
unsigned factor_address(const void *p);  // of what begins at a multiple of 16 bytes
void wgmma_hold(const unsigned a[4]);    // A's registers will be given to products
void wgmma_begin(const float *d, int n); // D's [n] too; all that are held so far may be from here
void wgmma(const group_product &p);
void wgmma_commit();
void wgmma_wait(int groups_left);
void async_publish();

// ---- barriers of some threads of a block: by number, 1 to 15, and by how many come; some of them need not wait

void named_barrier(int id, int n, bool wait);

// The warpgroup has n registers a thread from here on; take: more than before, once there are so many.
void set_registers(int n, bool take);

// ---- asynchronous copies to shared memory: they land when they are waited for, and no sooner

void async_copy(void *dst, const void *src, int bytes, int from_source);
void async_commit();
void async_wait(int groups_left);

} // namespace emu

#endif
