// The part of emu.cc that makes products on the tensor cores and asynchronous copies; it is included there, in namespace emu,
// after the fibers.
#ifndef AXL_CUDA_EMU_PRODUCTS_H
#define AXL_CUDA_EMU_PRODUCTS_H

namespace
{

template <class Sum, int per>
void make_once(Sum d[4], const unsigned a[4], const unsigned b[2], Sum (*read)(unsigned))
{
    const mma_packet<Sum> mine = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}, {d[0], d[1], d[2], d[3]}};
    unsigned generation = 0;
    meeting *m = meet(0xffffffffu, &mine, sizeof mine, &generation);
    packet *all = m->packets[generation & 1u];

    if (!m->made) {
        make_product<Sum, per>(all, read);
        m->made = true;
    }
    memcpy(d, all[lane].bytes, 4 * sizeof d[0]);
}

} // namespace

void mma_bf16_m16n8k16(float d[4], const unsigned a[4], const unsigned b[2])
{
    make_once<float, 2>(d, a, b, mma_bf16);
}

void mma_f16_m16n8k16(float d[4], const unsigned a[4], const unsigned b[2])
{
    make_once<float, 2>(d, a, b, mma_f16);
}

void mma_s8_m16n8k32(int d[4], const unsigned a[4], const unsigned b[2])
{
    make_once<int, 4>(d, a, b, mma_s8);
}

void mma_e4m3_m16n8k32(float d[4], const unsigned a[4], const unsigned b[2])
{
    make_once<float, 4>(d, a, b, mma_e4m3);
}

unsigned shared_address(const void *p)
{
    return (unsigned)((const char *)p - e.shared);
}

void async_publish()
{
    for (const void *p : e.running->landed)
        e.unpublished[shared_address(p) / 16] = 0;
    e.running->landed.clear();
}

namespace
{

// Elements (mn, 0 .. 15) of a factor: where its descriptor (PTX ISA, "matrix descriptor") says they are.
void take_factor(unsigned long desc, bool mn_major, int mn, float *out)
{
    const unsigned start = (unsigned)(desc & 0x3fffu) << 4,
                   leading = (unsigned)(desc >> 16 & 0x3fffu) << 4,
                   stride = (unsigned)(desc >> 32 & 0x3fffu) << 4, layout = (unsigned)(desc >> 62);
    const unsigned width = layout == 1 ? 128 : layout == 2 ? 64 : 0; // bytes, of an exchanged row
    const unsigned row = (unsigned)mn, most = mn_major ? 1 : 8;      // elements together

    if (width == 0 || (mn_major && width != 128))
        die("a descriptor's layout %u is not emulated", layout);
    for (unsigned k = 0; k < 16; k += most) {
        unsigned at = start;
        if (mn_major)
            at += row / 64 * leading + row % 64 * 2 + k / 8 * stride + k % 8 * width;
        else
            at += row / 8 * stride + row % 8 * width + k * 2;
        at ^= (at >> 7 & (width == 128 ? 7u : 3u)) << 4;
        if (at + 2 * most > SHARED_BYTES)
            die("a descriptor leads out of shared memory");
        if (e.unpublished[at / 16] != 0)
            die("a product of a warpgroup reads what its copier has not published");
        note_read(e.shared + at, (int)(2 * most));
        unsigned short bits[8];
        copy_unseen(bits, e.shared + at, 2 * most);
        for (unsigned i = 0; i < most; i++)
            out[k + i] = mma_bf16(bits[i]);
    }
}

// This thread's part: rows g, g + 8 of its warp's 16, columns 2 t, 2 t + 1 of each 8.
void make_group_product(const group_product &p)
{
    const int g = lane / 4, t = lane % 4;
    float row[2][16], column[16];

    for (int half = 0; half < 2; half++)
        take_factor(p.a, p.mn_a, warp % 4 * 16 + half * 8 + g, row[half]);
    for (int n = 0; n < 32; n++) {
        take_factor(p.b, p.mn_b, n / 2 * 8 + 2 * t + n % 2, column);
        for (int half = 0; half < 2; half++) {
            float *d = p.d + n / 2 * 4 + half * 2 + n % 2;
            for (int k = 0; k < 16; k++)
                *d += row[half][k] * column[k];
        }
    }
}

} // namespace

void wgmma_begin(float *d)
{
    e.running->given = d;
}

void wgmma_m64n128k16(float *d, unsigned long a, unsigned long b, bool mn_a, bool mn_b)
{
    if (e.n_threads % 128 != 0)
        die("a product of a warpgroup in a block of %d threads", e.n_threads);
    if (e.running->given != d)
        die("a product of a warpgroup without its begin");
    e.running->products.back().push_back({d, a, b, mn_a, mn_b});
}

void wgmma_commit()
{
    e.running->products.emplace_back();
}

void wgmma_wait(int groups_left)
{
    auto &groups = e.running->products;

    while ((int)groups.size() - 1 > groups_left) {
        for (const group_product &p : groups.front())
            make_group_product(p);
        groups.pop_front();
    }
    if (groups_left == 0)
        e.running->given = nullptr;
}

void count_bank_conflicts(const void *const *rows, int n)
{
    for (int first = 0; first < n; first += 8) {
        int used[8] = {0}; // of the banks, 16 bytes wide together
        for (int i = first; i < first + 8; i++)
            if (used[(uintptr_t)rows[i] / 16 % 8]++ > 0)
                e.counts.bank_conflicts++;
    }
}

void async_copy(void *dst, const void *src, int bytes, int taken)
{
    memset(dst, 0xff, (size_t)bytes); // what a reader finds who does not wait
    e.running->groups.back().push_back({dst, src, bytes, taken});
}

void async_commit()
{
    e.running->groups.emplace_back();
}

void async_wait(int groups_left)
{
    auto &groups = e.running->groups;

    while ((int)groups.size() - 1 > groups_left) {
        for (const copy &c : groups.front()) {
            note_copy(c.dst, c.src, c.bytes, c.taken);
            memset(c.dst, 0, (size_t)c.bytes);
            memcpy(c.dst, c.src, (size_t)c.taken);
            if (c.bytes == 16) {
                e.unpublished[shared_address(c.dst) / 16] = 1;
                e.running->landed.push_back(c.dst);
            }
        }
        groups.pop_front();
    }
}

#endif
