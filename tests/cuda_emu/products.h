// The part of emu.cc that makes products on the tensor cores; it is included there, in namespace emu, after the fibers and
// copies.h.
#ifndef AXL_CUDA_EMU_PRODUCTS_H
#define AXL_CUDA_EMU_PRODUCTS_H

namespace
{

template <class Sum, int per, Sum (*read)(unsigned)>
void make_once(Sum d[4], const unsigned a[4], const unsigned b[2])
{
    const mma_packet<Sum> mine = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}, {d[0], d[1], d[2], d[3]}};
    meeting *m = nullptr;
    packet *all = exchange(0xffffffffu, mine, &m);

    if (!m->made) {
        make_product<Sum, per, read>(all);
        m->made = true;
    }
    memcpy(d, all[lane].bytes, 4 * sizeof d[0]);
}

// f8 e4m3 as numbers: 4 bits of exponent with bias 7, no infinity, NaN is all ones.
struct e4m3_table {
    float of[256];
    e4m3_table()
    {
        for (unsigned bits = 0; bits < 256; bits++) {
            const int exponent = (int)(bits >> 3 & 15u), mantissa = (int)(bits & 7u);
            float value = exponent == 0 ? ldexpf((float)mantissa, -9)
                                        : ldexpf((float)(8 + mantissa), exponent - 10);
            if (exponent == 15 && mantissa == 7)
                value = NAN;
            of[bits] = bits & 128u ? -value : value;
        }
    }
};
const e4m3_table e4m3;

inline float mma_e4m3(unsigned bits)
{
    return e4m3.of[bits];
}

inline float mma_bf16(unsigned bits)
{
    return __bfloat162float(__nv_bfloat16{(unsigned short)bits});
}

inline int mma_s8(unsigned bits)
{
    return (int)(signed char)bits;
}

// fp16: 5 bits of exponent with bias 15.
inline float mma_f16(unsigned bits)
{
    const unsigned exponent = bits >> 10 & 31u, mantissa = bits & 1023u, sign = bits >> 15 << 31;
    const float small = (float)mantissa * 0x1p-24f;

    if (exponent == 0)
        return sign != 0 ? -small : small;
    return __uint_as_float(sign | (exponent == 31 ? 255u : exponent + 112u) << 23 | mantissa << 13);
}

} // namespace

void mma_bf16_m16n8k16(float d[4], const unsigned a[4], const unsigned b[2])
{
    make_once<float, 2, mma_bf16>(d, a, b);
}

void mma_f16_m16n8k16(float d[4], const unsigned a[4], const unsigned b[2])
{
    make_once<float, 2, mma_f16>(d, a, b);
}

void mma_s8_m16n8k32(int d[4], const unsigned a[4], const unsigned b[2])
{
    make_once<int, 4, mma_s8>(d, a, b);
}

void mma_e4m3_m16n8k32(float d[4], const unsigned a[4], const unsigned b[2])
{
    if (code_version() < 89)
        die("a product of e4m3 in code for compute capability %d", code_version());
    make_once<float, 4, mma_e4m3>(d, a, b);
}

namespace
{

// Counts what a warp's read of rows of 16 bytes, 8 at a time, waits for because rows lie in the same banks.
void count_bank_conflicts(const void *const *rows)
{
    for (int i = 0; i < 32; i++)
        if ((uintptr_t)rows[i] % 16 != 0)
            die("ldmatrix of a row at %p, which is not aligned", rows[i]);
    for (int first = 0; first < 32; first += 8) {
        int used[8] = {0}; // of the banks, 16 bytes wide together
        for (int i = first; i < first + 8; i++)
            if (used[(uintptr_t)rows[i] / 16 % 8]++ > 0)
                e.counts.bank_conflicts++;
    }
}

} // namespace

void ldmatrix_x4(unsigned r[4], const void *row, bool transposed)
{
    meeting *m = nullptr;
    const packet *all = exchange(0xffffffffu, row, &m);
    const int g = lane / 4, t = lane % 4;
    const void *rows[32];

    if (!m->made) {
        for (int i = 0; i < 32; i++) {
            memcpy(&rows[i], all[i].bytes, sizeof rows[i]);
            races_warp_read(rows[i], 16, EMU_HERE());
        }
        count_bank_conflicts(rows);
        m->made = true;
    }
    for (int i = 0; i < 4; i++) {
        unsigned short pair[2];
        for (int k = 0; k < 2; k++) {
            const unsigned short *from;
            memcpy(&from, all[i * 8 + (transposed ? 2 * t + k : g)].bytes, sizeof from);
            pair[k] = from[transposed ? g : 2 * t + k];
        }
        r[i] = (unsigned)pair[0] | (unsigned)pair[1] << 16;
    }
}

#endif
