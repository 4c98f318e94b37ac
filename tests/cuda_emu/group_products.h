// The part of emu.cc that makes products of a warpgroup (sm_90a); it is included there, in namespace emu, after products.h.
#ifndef AXL_CUDA_EMU_GROUP_PRODUCTS_H
#define AXL_CUDA_EMU_GROUP_PRODUCTS_H

namespace
{

// A factor in shared memory, as its descriptor says (PTX ISA, "matrix descriptor").
struct factor {
    unsigned start, leading, stride;
    unsigned width, turns; // bytes of an exchanged row; the bits of its number that exchange pieces
    bool mn_major;

    // Where the element mn, k begins.
    unsigned at(unsigned mn, unsigned k) const
    {
        const unsigned x =
            mn_major ? start + mn / 64 * leading + mn % 64 * 2 + k / 8 * stride + k % 8 * width
                     : start + mn / 8 * stride + mn % 8 * width + k * 2;

        return x ^ (x >> 7 & turns) << 4;
    }
};

factor factor_of(unsigned long desc, bool mn_major)
{
    const unsigned layout = (unsigned)(desc >> 62);
    factor f = {(unsigned)(desc & 0x3fffu) << 4,
                (unsigned)(desc >> 16 & 0x3fffu) << 4,
                (unsigned)(desc >> 32 & 0x3fffu) << 4,
                layout == 1 ? 128u : 64u,
                layout == 1 ? 7u : 3u,
                mn_major};

    if ((layout != 1 && layout != 2) || (mn_major && layout != 1))
        die("a descriptor's layout %u is not emulated", layout);
    if ((desc & ~(0x3ffful | 0x3ffful << 16 | 0x3ffful << 32 | 3ul << 62)) != 0)
        die("a descriptor with bits %016lx: a base offset, or bits that mean nothing", desc);
    if ((f.start >> 7 & f.turns) != 0)
        die("a descriptor begins between 8 rows (%u)", f.start); // it would need a base offset
    return f;
}

// Products may read n rows (columns) from mn on, now: what is there was published, and no barrier is missing.
void check_factor(const factor &f, unsigned mn, unsigned n, void *where)
{
    const unsigned step_mn = f.mn_major ? 8 : 1, step_k = f.mn_major ? 1 : 8; // 16 bytes

    for (unsigned i = mn; i < mn + n; i += step_mn)
        for (unsigned k = 0; k < 16; k += step_k) {
            const unsigned at = f.at(i, k);
            if (at + 16 > SHARED_ROOM)
                die("a descriptor leads out of shared memory");
            if (e.unpublished[at / 16] != 0)
                die("a product of a warpgroup reads what its copier has not published");
            races_product_read(e.shared + at, where);
        }
}

void check_factors(const group_product &p)
{
    if (p.held == nullptr)
        check_factor(factor_of(p.a, p.mn_a), (unsigned)warp % 4 * 16, 16, p.where);
    check_factor(factor_of(p.b, p.mn_b), 0, (unsigned)p.n, p.where);
}

void take_factor(const factor &f, unsigned mn, float (&out)[16])
{
    for (unsigned k = 0; k < 16; k++) {
        unsigned short bits;
        memcpy(&bits, e.shared + f.at(mn, k), sizeof bits);
        out[k] = mma_bf16(bits);
    }
}

// ---- registers that products have

lent *find_lent(const void *at)
{
    for (lent &l : e.running->registers)
        if (l.at == at)
            return &l;
    return nullptr;
}

// What the registers hold now is what a product may be given.
lent *note_registers(const void *at, int n)
{
    lent *l = find_lent(at);

    if (l == nullptr) {
        e.running->registers.push_back({at, false, 0, {}});
        l = &e.running->registers.back();
    }
    const unsigned *words = static_cast<const unsigned *>(at);
    if (l->products == 0)
        l->holds.assign(words, words + n);
    return l;
}

// A product has them from here: whoever reads them finds NaN.
void lend(const void *at)
{
    lent *l = find_lent(at);

    if (l == nullptr || !l->given)
        die("a product of a warpgroup without its begin");
    if (l->products++ > 0)
        return;
    if (memcmp(at, l->holds.data(), l->holds.size() * 4) != 0)
        die("registers were touched between wgmma.fence and their product");
    memset(const_cast<void *>(at), 0xff, l->holds.size() * 4);
}

void give_back(const void *at)
{
    lent *l = at != nullptr ? find_lent(at) : nullptr;

    if (l == nullptr || --l->products > 0)
        return;
    for (size_t i = 0; i < l->holds.size(); i++)
        if (static_cast<const unsigned *>(at)[i] != 0xffffffffu)
            die("registers of a product under way were written to");
    memcpy(const_cast<void *>(at), l->holds.data(), l->holds.size() * 4);
    *l = std::move(e.running->registers.back());
    e.running->registers.pop_back();
}

struct group_lane {
    float *d;
    unsigned a[4];
    same_product product;
};

// The warp's 16 rows of A: lanes' registers as those of mma.m16n8k16, or the factor's.
void take_left(const group_product &p, const group_lane (&lanes)[32], float (&a)[16][16])
{
    if (p.held == nullptr) {
        const factor f = factor_of(p.a, p.mn_a);
        for (int row = 0; row < 16; row++)
            take_factor(f, (unsigned)(warp % 4 * 16 + row), a[row]);
        return;
    }
    for (int i = 0; i < 32; i++)
        for (int r = 0; r < 4; r++)
            for (int h = 0; h < 2; h++)
                a[i / 4 + r % 2 * 8][r / 2 * 8 + i % 4 * 2 + h] =
                    mma_bf16(lanes[i].a[r] >> 16 * h & 0xffffu);
}

// All lanes of the warp, and the warps of its warpgroup one after the other, make the same product.
void check_same(const group_lane (&lanes)[32])
{
    group_state &g = e.groups[warp / 4];
    const same_product &mine = lanes[0].product;

    for (int i = 1; i < 32; i++)
        if (lanes[i].product != mine)
            die("lanes of a warp multiply different factors");
    const long at = g.made[warp % 4]++ - g.gone;
    if (at == (long)g.products.size())
        g.products.push_back(mine);
    else if (g.products[(size_t)at] != mine)
        die("warps of a warpgroup multiply different factors");
    while (*std::min_element(g.made, g.made + 4) > g.gone) {
        g.products.pop_front();
        g.gone++;
    }
}

// Made for the warp by its first lane that goes on. A lane has rows g, g + 8 of the warp's 16, columns 2 t, 2 t + 1 of each 8.
__attribute__((optimize("O3"))) void make_group_product(const group_product &p)
{
    group_lane mine = {reinterpret_cast<float *>(find_lent(p.d)->holds.data()), {}, {}}, lanes[32];
    meeting *m = nullptr;
    float a[16][16], column[16];

    if (p.held != nullptr)
        memcpy(mine.a, find_lent(p.held)->holds.data(), sizeof mine.a);
    mine.product = {p.a, p.b, p.n,
                    p.mn_a * 1u + p.mn_b * 2u + p.add * 4u + (p.held != nullptr) * 8u};
    const packet *all = exchange(0xffffffffu, mine, &m);
    if (m->made)
        return;
    m->made = true;
    for (int i = 0; i < 32; i++)
        memcpy(&lanes[i], all[i].bytes, sizeof lanes[i]);
    check_same(lanes);
    check_factors(p);
    take_left(p, lanes, a);
    const factor right = factor_of(p.b, p.mn_b);
    for (int n = 0; n < p.n; n++) {
        take_factor(right, (unsigned)n, column);
        for (int row = 0; row < 16; row++) {
            float *d = lanes[row % 8 * 4 + n % 8 / 2].d + n / 8 * 4 + row / 8 * 2 + n % 2;
            float sum = p.add ? *d : 0.0f;
            for (int k = 0; k < 16; k++)
                sum += a[row][k] * column[k];
            *d = sum;
        }
    }
}

} // namespace

void wgmma_hold(const unsigned a[4])
{
    lent *l = note_registers(a, 4);

    if (l->products > 0)
        die("registers of a product under way are held again");
    l->given = false;
}

void wgmma_begin(const float *d, int n)
{
    (void)note_registers(d, n);
    for (lent &l : e.running->registers)
        l.given = true;
}

void wgmma(const group_product &p)
{
    if (e.n_threads % 128 != 0)
        die("a product of a warpgroup in a block of %d threads", e.n_threads);
    lend(p.d);
    if (p.held != nullptr)
        lend(p.held);
    e.running->products.back().push_back(p);
    e.running->products.back().back().where = EMU_HERE();
    if (lane == 0) // it may read its factors now, or when it is waited for
        check_factors(e.running->products.back().back());
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
            give_back(p.d);
            give_back(p.held);
        }
    }
}

#endif
