// What a warpgroup does with tiles in the gradients by warpgroups (attention_bwd_wgmma.cu): products, weights and their gradients.
#ifndef AXL_KERNELS_CUDA_ATTENTION_BWD_WGMMA_CUH
#define AXL_KERNELS_CUDA_ATTENTION_BWD_WGMMA_CUH

#include "kernels/cuda/attention_stages.cuh"

namespace
{

// ---- products of a warpgroup

// x = A B^T: this warpgroup's 64 rows of a tile that stays by the rows of one that came, over D.
template <class shape, int NT>
__device__ __forceinline__ void multiply_rows(float (&x)[NT][4], const char *a, const char *b)
{
    const uint64_t left = axl_wgmma_factor<true, 128>(a, 0),
                   right = axl_wgmma_factor<true, 128>(b, 0);

    axl_wgmma_begin(x);
#pragma unroll
    for (int k = 0; k < shape::D / 16; k++)
        axl_wgmma_bf16<true, true>(x, axl_wgmma_further(left, k / 4 * HELD_ROWS * 128 + k % 4 * 32),
                                   axl_wgmma_further(right, k / 4 * shape::STEP * 128 + k % 4 * 32),
                                   k > 0);
    axl_wgmma_commit();
}

// x += P B: P, rounded, becomes a left factor in registers; its columns are the rows of B, a tile that came. Of them the 16 K
// from first * 8 on.
template <class shape, int ND, int K, int NT>
__device__ __forceinline__ void add_columns(float (&x)[ND][4], unsigned (&left)[K][4],
                                            const float (&p)[NT][4], const char *b, int first)
{
    const uint64_t right = axl_wgmma_factor<false>(b + first * 8 * 128, shape::STEP * 128);

#pragma unroll
    for (int k = 0; k < K; k++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const float(&from)[4] = p[first + 2 * k + i / 2];
            left[k][i] = axl_pack_bf16(from[i % 2 * 2], from[i % 2 * 2 + 1]);
        }
    axl_wgmma_hold(left);
    axl_wgmma_begin(x);
#pragma unroll
    for (int k = 0; k < K; k++)
        axl_wgmma_bf16<false>(x, left[k], axl_wgmma_further(right, k * 16 * 128));
    axl_wgmma_commit();
}

template <int K> __device__ __forceinline__ void hold(unsigned (&halves)[2][K][4])
{
    axl_wgmma_hold(halves[0]);
    axl_wgmma_hold(halves[1]);
}

// ---- weights, and their gradients: lse and delta by rows (queries stay) or by columns (keys stay)

// x / y; to 2 units of the last place on the chip, where the exact one calls a function.
__device__ __forceinline__ float quotient(float x, float y)
{
#ifdef AXL_CUDA_EMU
    return x / y;
#else
    return __fdividef(x, y);
#endif
}

template <bool by_rows> struct tile_stats {
    const float *lse, *delta; // by columns: of the step
    float row_lse[2], row_delta[2];

    __device__ __forceinline__ void read_rows(const float *stats, int warp_row)
    {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int row = warp_row + half * 8 + (int)(threadIdx.x % 32u / 4u);
            row_lse[half] = stats[row];
            row_delta[half] = stats[HELD_ROWS + row];
        }
    }
    __device__ __forceinline__ void read_columns(const float *stats, int n)
    {
        lse = stats + 2 * (threadIdx.x % 4u);
        delta = lse + n;
    }
    __device__ __forceinline__ float lse_at(int n, int i) const
    {
        return by_rows ? row_lse[i / 2] : lse[n * 8 + i % 2];
    }
    __device__ __forceinline__ float delta_at(int n, int i) const
    {
        return by_rows ? row_delta[i / 2] : delta[n * 8 + i % 2];
    }

    // q . k becomes the weight. CAP: and dout . v what the weight is multiplied by.
    template <bool CAP, int NT>
    __device__ __forceinline__ void weights(const score_rule &rule, float (&s)[NT][4],
                                            float (&dp)[NT][4]) const
    {
        const float by_cap = CAP ? 1.0f / rule.cap : 0.0f;

#pragma unroll
        for (int n = 0; n < NT; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                if constexpr (CAP) {
                    s[n][i] = rule.cap -
                              quotient(2.0f * rule.cap, axl_exp2(s[n][i] * rule.cap_by) + 1.0f);
                    const float part = s[n][i] * by_cap;
                    dp[n][i] = (dp[n][i] - delta_at(n, i)) * (1.0f - part * part);
                }
                s[n][i] = axl_exp2(s[n][i] * rule.to_log2 - lse_at(n, i));
            }
            if (CAP)
                __syncwarp(); // else statistics are read far ahead, and registers are short
        }
    }

    // dout . v, or that, becomes the gradient by q . k * scale, in N blocks of columns. A weight of 0 is that of what is not
    // seen.
    template <bool CAP, int N, int NT>
    __device__ __forceinline__ void gradients(int first, const float (&s)[NT][4],
                                              float (&dp)[NT][4]) const
    {
#pragma unroll
        for (int n = first; n < first + N; n++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                dp[n][i] = s[n][i] * (CAP ? dp[n][i] : dp[n][i] - delta_at(n, i));
    }
};

} // namespace

#endif
