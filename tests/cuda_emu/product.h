// The product of a warp's fragments, as the emulation's engine makes it.
#ifndef AXL_CUDA_EMU_PRODUCT_H
#define AXL_CUDA_EMU_PRODUCT_H

#include "tests/cuda_emu/mma.h"

namespace emu
{

template <class Sum> struct mma_packet {
    unsigned a[4], b[2];
    Sum d[4];
};

// Lanes' fragments to matrices, their product, and back. Sums go over k in rising order. A lane's 32-bit register holds
// `per` neighbours of a row of A, or column of B: registers 0 and 1 of A are of rows g and g + 8, 2 and 3 of the
// upper half of k; so are 0 and 1 of B.
template <class Sum, int per, Sum (*read)(unsigned), class Packet>
#if defined(__SANITIZE_ADDRESS__)
__attribute__((no_sanitize_address))
#endif
__attribute__((optimize("O3"))) void
make_product(Packet *packets)
{
    constexpr int half = 4 * per, K = 2 * half, bits = 32 / per;
    Sum a[16][K], b[K][8], d[16][8];
    mma_packet<Sum> x;

    for (int i = 0; i < 32; i++) {
        const int g = i / 4, t = i % 4;
        memcpy(&x, packets[i].bytes, sizeof x);
        for (int r = 0; r < 4; r++)
            for (int e = 0; e < per; e++)
                a[g + r % 2 * 8][r / 2 * half + per * t + e] =
                    read(x.a[r] >> (bits * e) & ((1u << bits) - 1u));
        for (int r = 0; r < 2; r++)
            for (int e = 0; e < per; e++)
                b[r * half + per * t + e][g] = read(x.b[r] >> (bits * e) & ((1u << bits) - 1u));
        for (int r = 0; r < 4; r++)
            d[g + r / 2 * 8][2 * t + r % 2] = x.d[r];
    }
    for (int row = 0; row < 16; row++)
        for (int k = 0; k < K; k++)
            for (int col = 0; col < 8; col++)
                d[row][col] += a[row][k] * b[k][col];
    for (int i = 0; i < 32; i++) {
        Sum out[4];
        for (int r = 0; r < 4; r++)
            out[r] = d[i / 4 + r / 2 * 8][2 * (i % 4) + r % 2];
        memcpy(packets[i].bytes, out, sizeof out);
    }
}

} // namespace emu

#endif
