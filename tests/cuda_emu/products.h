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

namespace
{

// Elements (mn, 0 .. 15) of a factor: where its descriptor (PTX ISA, "matrix descriptor") says they are.
void take_factor(unsigned long desc, bool mn_major, int mn, float *out, void *where)
{
    const unsigned start = (unsigned)(desc & 0x3fffu) << 4,
                   leading = (unsigned)(desc >> 16 & 0x3fffu) << 4,
                   stride = (unsigned)(desc >> 32 & 0x3fffu) << 4, layout = (unsigned)(desc >> 62);
    const unsigned width = layout == 1 ? 128 : layout == 2 ? 64 : 0; // bytes, of an exchanged row
    const unsigned row = (unsigned)mn, most = mn_major ? 1 : 8;      // elements together
    const unsigned turns = width == 128 ? 7u : 3u;

    if (width == 0 || (mn_major && width != 128))
        die("a descriptor's layout %u is not emulated", layout);
    if ((start >> 7 & turns) != 0)
        die("a descriptor begins between 8 rows (%u)", start); // it would need a base offset
    for (unsigned k = 0; k < 16; k += most) {
        unsigned at = start;
        if (mn_major)
            at += row / 64 * leading + row % 64 * 2 + k / 8 * stride + k % 8 * width;
        else
            at += row / 8 * stride + row % 8 * width + k * 2;
        at ^= (at >> 7 & turns) << 4;
        if (at + 2 * most > SHARED_BYTES)
            die("a descriptor leads out of shared memory");
        if (e.unpublished[at / 16] != 0)
            die("a product of a warpgroup reads what its copier has not published");
        races_warp_read(e.shared + at, 2 * most, where);
        unsigned short bits[8];
        if (mn_major)
            memcpy(bits, e.shared + at, 2);
        else
            memcpy(bits, e.shared + at, 16);
        for (unsigned i = 0; i < most; i++)
            out[k + i] = mma_bf16(bits[i]);
    }
}

struct group_lane {
    float *d;
    unsigned a[4];
};

// The warp's 16 rows of A: lanes' registers as those of mma.m16n8k16, or the factor's.
void take_left(const group_product &p, const group_lane (&lanes)[32], float (&a)[16][16])
{
    for (int row = 0; row < 16 && p.held == nullptr; row++)
        take_factor(p.a, p.mn_a, warp % 4 * 16 + row, a[row], p.where);
    for (int i = 0; i < 32 && p.held != nullptr; i++)
        for (int r = 0; r < 4; r++)
            for (int h = 0; h < 2; h++)
                a[i / 4 + r % 2 * 8][r / 2 * 8 + i % 4 * 2 + h] =
                    mma_bf16(lanes[i].a[r] >> 16 * h & 0xffffu);
}

// Made for the warp by its first lane that goes on. A lane has rows g, g + 8 of the warp's 16, columns 2 t, 2 t + 1 of each 8.
__attribute__((optimize("O3"))) void make_group_product(const group_product &p)
{
    group_lane mine = {p.d, {}}, lanes[32];
    meeting *m = nullptr;
    float a[16][16], column[16];

    if (p.held != nullptr)
        memcpy(mine.a, p.held, sizeof mine.a);
    const packet *all = exchange(0xffffffffu, mine, &m);
    if (m->made)
        return;
    m->made = true;
    for (int i = 0; i < 32; i++)
        memcpy(&lanes[i], all[i].bytes, sizeof lanes[i]);
    take_left(p, lanes, a);
    for (int n = 0; n < p.n; n++) {
        take_factor(p.b, p.mn_b, n, column, p.where);
        for (int row = 0; row < 16; row++) {
            float *d = lanes[row % 8 * 4 + n % 8 / 2].d + n / 8 * 4 + row / 8 * 2 + n % 2;
            float sum = p.add ? *d : 0.0f;
            for (int k = 0; k < 16; k++)
                sum += a[row][k] * column[k];
            *d = sum;
        }
    }
}

// Whether a product under way has these registers.
bool is_under_way(const void *registers)
{
    for (const auto &group : e.running->products)
        for (const group_product &p : group)
            if (p.d == registers || p.held == registers)
                return true;
    return false;
}

void take_back(const void *registers)
{
    if (registers != nullptr && !is_under_way(registers))
        e.running->given.erase(registers);
}

} // namespace

void wgmma_begin(const void *registers)
{
    e.running->given.insert(registers);
}

void wgmma(const group_product &p)
{
    if (e.n_threads % 128 != 0)
        die("a product of a warpgroup in a block of %d threads", e.n_threads);
    if (e.running->given.count(p.d) == 0 || (p.held && e.running->given.count(p.held) == 0))
        die("a product of a warpgroup without its begin");
    e.running->products.back().push_back(p);
    e.running->products.back().back().where = EMU_HERE();
}

void wgmma_commit()
{
    e.running->products.emplace_back();
}

void wgmma_wait(int groups_left)
{
    auto &groups = e.running->products;

    while ((int)groups.size() - 1 > groups_left) {
        const std::vector<group_product> made = std::move(groups.front());
        groups.pop_front();
        for (const group_product &p : made)
            make_group_product(p);
        for (const group_product &p : made) {
            take_back(p.d);
            take_back(p.held);
        }
    }
}

#endif
