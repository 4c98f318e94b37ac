// Parts of several ranks become one, in the order of a binary tree: a thread reads a vector of up to eight parts at once and
// joins them in registers; blocks of eight are the digits of a counter above.
#include "kernels/cuda/vector.cuh"

namespace
{

constexpr int BLOCK_PARTS = 8; // read at once
constexpr int DIGITS = 10;     // of the counter of blocks, where there is more than one

template <class T> struct of_leaf {
    using acc = float; // what is computed in
};
template <> struct of_leaf<double> {
    using acc = double;
};
template <> struct of_leaf<int64_t> {
    using acc = int64_t;
};

__device__ __forceinline__ float widen(float v)
{
    return v;
}
__device__ __forceinline__ float widen(bf16 v)
{
    return __bfloat162float(v);
}
__device__ __forceinline__ double widen(double v)
{
    return v;
}
__device__ __forceinline__ int64_t widen(int64_t v)
{
    return v;
}

template <class Out, class Acc> __device__ __forceinline__ Out narrow(Acc v)
{
    if constexpr (sizeof(Out) == sizeof(bf16))
        return __float2bfloat16_rn(v);
    else
        return v;
}

template <class Acc> __device__ __forceinline__ Acc add(Acc a, Acc b)
{
    return a + b;
}
__device__ __forceinline__ int64_t add(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a + (uint64_t)b); // a sum too large wraps
}

// a = a op b.
template <bool sums, class Acc, int W>
__device__ __forceinline__ void join(const axl_sum_parts_args &args, Acc (&a)[W], const Acc (&b)[W])
{
#pragma unroll
    for (int e = 0; e < W; e++) {
        if (sums || args.op == AXL_REDUCE_SUM)
            a[e] = add(a[e], b[e]);
        else if (args.op == AXL_REDUCE_MAX)
            a[e] = b[e] > a[e] || b[e] != b[e] ? b[e] : a[e];
        else
            a[e] = b[e] < a[e] || b[e] != b[e] ? b[e] : a[e];
    }
}

// The tree of N parts from number first on, N a power of two.
template <int N, class T, bool sums, bool wide, class Acc, int W>
__device__ __forceinline__ void block(const axl_sum_parts_args &args, int first, int64_t i,
                                      Acc (&sum)[W])
{
    if constexpr (N == 1) {
        const bool is_own = args.own != nullptr && first == args.own_index;
        const int place = args.own != nullptr && first > args.own_index ? first - 1 : first;
        const T *part =
            is_own ? (const T *)args.own : (const T *)args.parts + (int64_t)place * args.stride;
        const axl_raw<T, W> raw = axl_fetch<wide, W>(part + i, args.n - i);
#pragma unroll
        for (int e = 0; e < W; e++)
            sum[e] = widen(raw.v[e]);
    } else {
        Acc other[W];
        block<N / 2, T, sums, wide>(args, first, i, sum);
        block<N / 2, T, sums, wide>(args, first + N / 2, i, other);
        join<sums>(args, sum, other);
    }
}

template <int N, class T, bool sums, bool wide, class Acc, int W>
__device__ __forceinline__ void rest(const axl_sum_parts_args &args, int64_t i, bool &any,
                                     Acc (&sum)[W])
{
    Acc more[W];

    if (!(args.n_parts & N))
        return;
    block<N, T, sums, wide>(args, args.n_parts & ~(2 * N - 1), i, more);
    if (any)
        join<sums>(args, more, sum); // the larger block comes first
#pragma unroll
    for (int e = 0; e < W; e++)
        sum[e] = more[e];
    any = true;
}

template <class T, class Out, bool sums, bool wide, int digits>
__global__ void __launch_bounds__(AXL_THREADS) sum_parts(axl_sum_parts_args args)
{
    using Acc = typename of_leaf<T>::acc;
    constexpr int W = axl_width<T>;
    const int64_t i = ((int64_t)blockIdx.x * AXL_THREADS + threadIdx.x) * W;
    const int n_blocks = args.n_parts / BLOCK_PARTS;
    Acc digit[digits][W], sum[W] = {};
    bool any = false;

    if (i >= args.n)
        return;
    for (int k = 0; k < n_blocks; k++) {
        Acc carry[W];
        bool placed = false;
        block<BLOCK_PARTS, T, sums, wide>(args, k * BLOCK_PARTS, i, carry);
#pragma unroll
        for (int d = 0; d < digits; d++) {
            if (placed)
                continue;
            placed = !(k >> d & 1);
            if (!placed)
                join<sums>(args, digit[d], carry);
#pragma unroll
            for (int e = 0; e < W; e++) {
                const Acc v = placed ? carry[e] : digit[d][e];
                digit[d][e] = carry[e] = v;
            }
        }
    }
    rest<1, T, sums, wide>(args, i, any, sum);
    rest<2, T, sums, wide>(args, i, any, sum);
    rest<4, T, sums, wide>(args, i, any, sum);
#pragma unroll
    for (int d = 0; d < digits; d++) {
        if (!(n_blocks >> d & 1))
            continue;
        if (any)
            join<sums>(args, digit[d], sum);
#pragma unroll
        for (int e = 0; e < W; e++)
            sum[e] = digit[d][e];
        any = true;
    }
    axl_raw<Out, W> result;
    if constexpr (sizeof(Out) == sizeof(float)) {
        if (args.accumulate) {
            const axl_raw<Out, W> old = axl_fetch<wide, W>((const Out *)args.out + i, args.n - i);
#pragma unroll
            for (int e = 0; e < W; e++)
                sum[e] = add(old.v[e], sum[e]);
        }
    }
#pragma unroll
    for (int e = 0; e < W; e++)
        result.v[e] = narrow<Out>(sum[e]);
    axl_put<wide>((Out *)args.out + i, args.n - i, result);
}

template <class T, class Out, bool sums, bool wide>
axl_status launch(axl_stream *s, const axl_sum_parts_args *a)
{
    const dim3 grid(axl_cuda_blocks(a->n, AXL_THREADS * axl_width<T>));

    return axl_cuda_launch(s, "sum_parts",
                           a->n_parts < 2 * BLOCK_PARTS ? sum_parts<T, Out, sums, wide, 1>
                                                        : sum_parts<T, Out, sums, wide, DIGITS>,
                           grid, dim3(AXL_THREADS), 0, *a);
}

template <class T, class Out> axl_status run(axl_stream *s, const axl_sum_parts_args *a)
{
    constexpr int W = axl_width<T>;
    const bool wide = axl_is_aligned(a->parts) && axl_is_aligned(a->own) &&
                      axl_is_aligned(a->out) && a->stride % W == 0 && a->n % W == 0;

    if (a->op != AXL_REDUCE_SUM)
        return launch<T, Out, false, false>(s, a);
    return wide ? launch<T, Out, true, true>(s, a) : launch<T, Out, true, false>(s, a);
}

} // namespace

extern "C" axl_status axl_cuda_sum_parts(axl_stream *s, const axl_sum_parts_args *a)
{
    if (a->n_parts >> DIGITS >= BLOCK_PARTS)
        return axl_cuda_too_many("sum_parts", a->n_parts, "parts");
    switch (a->dtype) {
    case AXL_F32:
        return run<float, float>(s, a);
    case AXL_BF16:
        return a->out_dtype == AXL_F32 ? run<bf16, float>(s, a) : run<bf16, bf16>(s, a);
    case AXL_F64:
        return launch<double, double, false, false>(s, a);
    case AXL_I64:
        return launch<int64_t, int64_t, false, false>(s, a);
    default:
        return axl_cuda_no_dtype("sum_parts", a->dtype);
    }
}
