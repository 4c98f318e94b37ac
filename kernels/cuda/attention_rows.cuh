// Rows of scores in registers, as the tiled forwards keep them: mask, softcap, the softmax kept up in exp2, results.
#ifndef AXL_KERNELS_CUDA_ATTENTION_ROWS_CUH
#define AXL_KERNELS_CUDA_ATTENTION_ROWS_CUH

#include "kernels/cuda/attention_tile.cuh"

namespace
{

// Rows of the warp: 2 * MT a lane.
template <int MT> struct row_state {
    float top[MT][2], sum[MT][2]; // top in units of log 2, sum over this lane's columns alone
};

template <int MT> __device__ __forceinline__ void begin_rows(row_state<MT> &r)
{
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            r.top[m][half] = -INFINITY;
            r.sum[m][half] = 0.0f;
        }
}

// Scores that are not seen become -inf. first_row: the warp's in the sequence; begin, end: the keys. Most tiles need no
// mask, so what the sequence is like is read again here rather than kept in registers.
template <int MT, int NT>
__device__ __forceinline__ void mask_scores(const axl_attn_args &a, int seq, int first_row,
                                            int begin, int end, float (&s)[MT][NT][4])
{
    const attn_rows queries = attn_queries(a, seq), keys = attn_keys(a, seq);
    const int g = (int)(threadIdx.x % 32u / 4u), t = (int)(threadIdx.x % 4u);
    int position[MT][2]; // a row beyond the sequence gets the last one's

#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int half = 0; half < 2; half++)
            position[m][half] =
                queries.position(min(first_row + m * 16 + half * 8 + g, queries.n - 1));
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int key = begin + n * 8 + 2 * t + i;
            const bool there = key < end;
            const int key_position = there ? keys.position(key) : 0;
#pragma unroll
            for (int m = 0; m < MT; m++)
#pragma unroll
                for (int half = 0; half < 2; half++)
                    if (!there || !attn_sees(a, keys.free, position[m][half], key_position))
                        s[m][n][2 * half + i] = -INFINITY;
        }
}

// by: what a product is multiplied by to become a score, times 2 log2(e) / cap.
template <int MT, int NT>
__device__ __forceinline__ void cap_scores(float (&s)[MT][NT][4], float cap, float by)
{
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int n = 0; n < NT; n++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                s[m][n][i] = attn_cap(s[m][n][i], cap, by);
}

// Scores of a row become weights relative to its new top. Gives what sums so far are to be multiplied by.
template <int MT, int NT>
__device__ __forceinline__ float soften_row(row_state<MT> &r, float (&s)[MT][NT][4], float to_log2,
                                            int m, int half)
{
    float top = s[m][0][2 * half];
#pragma unroll
    for (int n = 0; n < NT; n++)
        top = fmaxf(top, fmaxf(s[m][n][2 * half], s[m][n][2 * half + 1]));
    top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
    top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
    top = fmaxf(r.top[m][half], top * to_log2);
    const float base = top == -INFINITY ? 0.0f : top; // nothing seen yet: weights are 0
    const float keep = axl_exp2(r.top[m][half] - base);
    float sum = 0.0f;
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int i = 2 * half; i < 2 * half + 2; i++) {
            s[m][n][i] = axl_exp2(s[m][n][i] * to_log2 - base);
            sum += s[m][n][i];
        }
    r.sum[m][half] = r.sum[m][half] * keep + sum;
    r.top[m][half] = top;
    return keep;
}

// Scores become weights relative to the new tops; what was summed so far is brought to them.
template <int MT, int NT, int ND>
__device__ __forceinline__ void soften(row_state<MT> &r, float (&s)[MT][NT][4],
                                       float (&o)[MT][ND][4], float to_log2)
{
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const float keep = soften_row(r, s, to_log2, m, half);
#pragma unroll
            for (int n = 0; n < ND; n++) {
                o[m][n][2 * half] *= keep;
                o[m][n][2 * half + 1] *= keep;
            }
        }
}

// Divides by the sums and writes lse.
template <int MT, int ND>
__device__ __forceinline__ void end_rows(const row_state<MT> &r, float (&o)[MT][ND][4], float *lse,
                                         int first, int n_rows)
{
    const int g = (int)(threadIdx.x % 32u / 4u), t = (int)(threadIdx.x % 4u);

#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float sum = r.sum[m][half];
            sum += __shfl_xor_sync(0xffffffffu, sum, 1);
            sum += __shfl_xor_sync(0xffffffffu, sum, 2);
            const float by = sum == 0.0f ? 0.0f : 1.0f / sum; // NaN must not hide
#pragma unroll
            for (int n = 0; n < ND; n++) {
                o[m][n][2 * half] *= by;
                o[m][n][2 * half + 1] *= by;
            }
            const int row = first + m * 16 + half * 8 + g;
            if (t == 0 && row < n_rows)
                lse[row] = sum == 0.0f ? -INFINITY : r.top[m][half] * ATTN_LN2 + logf(sum);
        }
}

template <int D, int MT, int NT>
__device__ __forceinline__ void write_rows(const axl_attn_args &a, const attn_query_tile &x,
                                           int head, const row_state<MT> &r, float (&o)[MT][NT][4],
                                           int warp_row)
{
    const int64_t at = x.row * a.ldo + (int64_t)head * D;

    end_rows(r, o, (float *)a.lse + (int64_t)head * a.cu_seqlens_q[a.n_seqs] + x.row, warp_row,
             x.n);
    if (a.out_f32)
        attn_write((float *)a.out + at, a.ldo, o, 1.0f, warp_row, x.n, false);
    else
        attn_write((bf16 *)a.out + at, a.ldo, o, 1.0f, warp_row, x.n, false);
}

} // namespace

#endif
