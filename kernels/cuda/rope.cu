// Rotary position embedding. Su et al. 2021, arXiv:2104.09864.
//
// A thread turns one vector of pairs of one head: with AXL_ROPE_HALF the two halves of a pair come in two vectors, with
// AXL_ROPE_PAIRS they lie side by side in one.
#include "kernels/cuda/vector.cuh"

namespace
{

template <class T> __global__ void __launch_bounds__(AXL_THREADS) rope_table(axl_rope_table_args a)
{
    const int64_t i = (int64_t)blockIdx.x * AXL_THREADS + threadIdx.x, n = a.n_tokens * a.half;

    if (i >= n)
        return;
    const int64_t t = n < INT32_MAX ? (int32_t)i / (int32_t)a.half : i / a.half;
    // __fmul_rn: the angle is rounded before it is taken apart, as everywhere
    const float angle = __fmul_rn((float)a.positions[t], a.inv_freq[i - t * a.half]);
    float sine, cosine;
    sincosf(angle, &sine, &cosine);
    a.cos[i] = axl_to_float(axl_from_float<T>(cosine * a.factor));
    a.sin[i] = axl_to_float(axl_from_float<T>(sine * a.factor));
}

struct rope_split {
    axl_row_split rows;      // rows are tokens
    int per_head, n_rotated; // vectors of a head: those that turn, then those that are copied
};

// Pairs whose halves are `half` apart, from i on.
template <class T, bool wide>
__device__ __forceinline__ void turn_halves(const axl_rope_args &a, const T *x, T *out, int64_t t,
                                            int i)
{
    constexpr int W = axl_width<T>;
    const int left = a.half - i;
    const float sign = a.inverse ? -1.0f : 1.0f;
    float c[W], s[W], x1[W], x2[W], y1[W], y2[W];

    axl_load<wide>(x + i, left, x1);
    axl_load<wide>(x + a.half + i, left, x2);
    axl_load<wide>(a.cos + t * a.half + i, left, c);
    axl_load<wide>(a.sin + t * a.half + i, left, s);
#pragma unroll
    for (int e = 0; e < W; e++) {
        y1[e] = x1[e] * c[e] - x2[e] * (sign * s[e]);
        y2[e] = x2[e] * c[e] + x1[e] * (sign * s[e]);
    }
    axl_store<wide>(out + i, left, y1);
    axl_store<wide>(out + a.half + i, left, y2);
}

// Pairs side by side, from element i on.
template <class T, bool wide>
__device__ __forceinline__ void turn_pairs(const axl_rope_args &a, const T *x, T *out, int64_t t,
                                           int i)
{
    constexpr int W = axl_width<T>;
    const int left = 2 * a.half - i;
    const float sign = a.inverse ? -1.0f : 1.0f;
    float c[W / 2], s[W / 2], v[W], y[W];

    axl_load<wide>(x + i, left, v);
    axl_load<wide>(a.cos + t * a.half + i / 2, left / 2, c);
    axl_load<wide>(a.sin + t * a.half + i / 2, left / 2, s);
#pragma unroll
    for (int e = 0; e < W; e += 2) {
        y[e] = v[e] * c[e / 2] - v[e + 1] * (sign * s[e / 2]);
        y[e + 1] = v[e + 1] * c[e / 2] + v[e] * (sign * s[e / 2]);
    }
    axl_store<wide>(out + i, left, y);
}

template <class T, bool wide, bool pairs>
__global__ void __launch_bounds__(AXL_THREADS) rope(axl_rope_args a, rope_split split)
{
    constexpr int W = axl_width<T>;

    axl_over_rows(split.rows, a.n_tokens, [&](int64_t t, int item) {
        const int head = item / split.per_head, v = item - head * split.per_head;
        const int64_t at = (t * a.n_heads + head) * a.head_dim;
        const T *x = (const T *)a.x + at;
        T *out = (T *)a.out + at;
        if (v >= split.n_rotated) { // beyond the rotary width
            const int i = 2 * a.half + (v - split.n_rotated) * W;
            axl_put<wide>(out + i, a.head_dim - i, axl_fetch<wide, W>(x + i, a.head_dim - i));
        } else if (pairs) {
            turn_pairs<T, wide>(a, x, out, t, v * W);
        } else {
            turn_halves<T, wide>(a, x, out, t, v * W);
        }
    });
}

template <class T> axl_status run_table(axl_stream *s, const axl_rope_table_args *a)
{
    return axl_cuda_launch(s, "rope_table", rope_table<T>,
                           dim3(axl_cuda_blocks(a->n_tokens * a->half, AXL_THREADS)),
                           dim3(AXL_THREADS), 0, *a);
}

template <class T> axl_status run(axl_stream *s, const axl_rope_args *a)
{
    constexpr int W = axl_width<T>;
    const bool pairs = a->pairing == AXL_ROPE_PAIRS;
    const int rotated = pairs ? 2 * a->half : a->half;
    const bool wide = rotated % W == 0 && a->head_dim % W == 0 && axl_is_aligned(a->x) &&
                      axl_is_aligned(a->out) && axl_is_aligned(a->cos) && axl_is_aligned(a->sin);
    const int copied = a->x == a->out ? 0 : a->head_dim - 2 * a->half;
    rope_split split;

    split.n_rotated = (rotated + W - 1) / W;
    split.per_head = split.n_rotated + (copied + W - 1) / W;
    split.rows = axl_split_rows(a->n_tokens, (int64_t)a->n_heads * split.per_head);
    auto kernel = pairs ? (wide ? rope<T, true, true> : rope<T, false, true>)
                        : (wide ? rope<T, true, false> : rope<T, false, false>);
    return axl_cuda_launch(s, "rope", kernel, dim3(split.rows.blocks), dim3(AXL_THREADS), 0, *a,
                           split);
}

} // namespace

extern "C" axl_status axl_cuda_rope_table(axl_stream *s, const axl_rope_table_args *a)
{
    return a->dtype == AXL_BF16  ? run_table<bf16>(s, a)
           : a->dtype == AXL_F32 ? run_table<float>(s, a)
                                 : axl_cuda_no_dtype("rope_table", a->dtype);
}

extern "C" axl_status axl_cuda_rope(axl_stream *s, const axl_rope_args *a)
{
    return a->dtype == AXL_BF16  ? run<bf16>(s, a)
           : a->dtype == AXL_F32 ? run<float>(s, a)
                                 : axl_cuda_no_dtype("rope", a->dtype);
}
