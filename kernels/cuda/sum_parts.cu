// Parts of several ranks become one, in the order of a binary tree: a thread reads a vector of up to eight parts at once and
// joins them in registers; blocks of eight are the digits of a counter above. A launch takes a list of arrays.
#include "kernels/cuda/vector.cuh"

namespace
{

constexpr int BLOCK_PARTS = 8; // read at once
constexpr int DIGITS = 10;     // of the counter of blocks, where there is more than one
constexpr int ITEMS = 64;      // arrays of a launch

// By value, as arguments of the kernel: 4 KB at most.
struct sum_items {
    axl_sum_parts_item item[ITEMS];
    unsigned end[ITEMS]; // blocks of this item and those before
    bool wide[ITEMS];
    int n_items, n_parts, own_index;
    axl_reduce_op op;
};

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
__device__ __forceinline__ void join(axl_reduce_op op, Acc (&a)[W], const Acc (&b)[W])
{
#pragma unroll
    for (int e = 0; e < W; e++) {
        if (sums || op == AXL_REDUCE_SUM)
            a[e] = add(a[e], b[e]);
        else if (op == AXL_REDUCE_MAX)
            a[e] = b[e] > a[e] || b[e] != b[e] ? b[e] : a[e];
        else
            a[e] = b[e] < a[e] || b[e] != b[e] ? b[e] : a[e];
    }
}

// The tree of N parts from number first on, N a power of two.
template <int N, class T, bool sums, bool wide, class Acc, int W>
__device__ __forceinline__ void block(const sum_items &args, const axl_sum_parts_item &x, int first,
                                      int64_t i, Acc (&sum)[W])
{
    if constexpr (N == 1) {
        const bool is_own = x.own != nullptr && first == args.own_index;
        const int place = x.own != nullptr && first > args.own_index ? first - 1 : first;
        const T *part = is_own ? (const T *)x.own : (const T *)x.parts + (int64_t)place * x.stride;
        const axl_raw<T, W> raw = axl_fetch<wide, W>(part + i, x.n - i);
#pragma unroll
        for (int e = 0; e < W; e++)
            sum[e] = widen(raw.v[e]);
    } else {
        Acc other[W];
        block<N / 2, T, sums, wide>(args, x, first, i, sum);
        block<N / 2, T, sums, wide>(args, x, first + N / 2, i, other);
        join<sums>(args.op, sum, other);
    }
}

template <int N, class T, bool sums, bool wide, class Acc, int W>
__device__ __forceinline__ void rest(const sum_items &args, const axl_sum_parts_item &x, int64_t i,
                                     bool &any, Acc (&sum)[W])
{
    Acc more[W];

    if (!(args.n_parts & N))
        return;
    block<N, T, sums, wide>(args, x, args.n_parts & ~(2 * N - 1), i, more);
    if (any)
        join<sums>(args.op, more, sum); // the larger block comes first
#pragma unroll
    for (int e = 0; e < W; e++)
        sum[e] = more[e];
    any = true;
}

template <class T, class Out, bool sums, bool wide, int digits>
__device__ __forceinline__ void sum_block(const sum_items &args, const axl_sum_parts_item &x,
                                          unsigned at)
{
    using Acc = typename of_leaf<T>::acc;
    constexpr int W = axl_width<T>;
    const int64_t i = ((int64_t)at * AXL_THREADS + threadIdx.x) * W;
    const int n_blocks = args.n_parts / BLOCK_PARTS;
    Acc digit[digits][W], sum[W] = {};
    bool any = false;

    if (i >= x.n)
        return;
    for (int k = 0; k < n_blocks; k++) {
        Acc carry[W];
        bool placed = false;
        block<BLOCK_PARTS, T, sums, wide>(args, x, k * BLOCK_PARTS, i, carry);
#pragma unroll
        for (int d = 0; d < digits; d++) {
            if (placed)
                continue;
            placed = !(k >> d & 1);
            if (!placed)
                join<sums>(args.op, digit[d], carry);
#pragma unroll
            for (int e = 0; e < W; e++) {
                const Acc v = placed ? carry[e] : digit[d][e];
                digit[d][e] = carry[e] = v;
            }
        }
    }
    rest<1, T, sums, wide>(args, x, i, any, sum);
    rest<2, T, sums, wide>(args, x, i, any, sum);
    rest<4, T, sums, wide>(args, x, i, any, sum);
#pragma unroll
    for (int d = 0; d < digits; d++) {
        if (!(n_blocks >> d & 1))
            continue;
        if (any)
            join<sums>(args.op, digit[d], sum);
#pragma unroll
        for (int e = 0; e < W; e++)
            sum[e] = digit[d][e];
        any = true;
    }
    axl_raw<Out, W> result;
    if constexpr (sizeof(Out) == sizeof(float)) {
        if (x.accumulate) {
            const axl_raw<Out, W> old = axl_fetch<wide, W>((const Out *)x.out + i, x.n - i);
#pragma unroll
            for (int e = 0; e < W; e++)
                sum[e] = add(old.v[e], sum[e]);
        }
    }
#pragma unroll
    for (int e = 0; e < W; e++)
        result.v[e] = narrow<Out>(sum[e]);
    axl_put<wide>((Out *)x.out + i, x.n - i, result);
}

template <class T, class Out, bool sums, int digits>
__global__ void __launch_bounds__(AXL_THREADS) sum_parts(const __grid_constant__ sum_items a)
{
    int at = 0, step = ITEMS / 2; // the first item whose end lies behind the block

    for (; step > 0; step /= 2)
        if (at + step <= a.n_items - 1 && a.end[at + step - 1] <= blockIdx.x)
            at += step;
    const unsigned block = blockIdx.x - (at > 0 ? a.end[at - 1] : 0);
    if (sums && a.wide[at])
        sum_block<T, Out, sums, sums, digits>(a, a.item[at], block);
    else
        sum_block<T, Out, sums, false, digits>(a, a.item[at], block);
}

template <class T, class Out, bool sums>
axl_status launch(axl_stream *s, const axl_sum_parts_args *a)
{
    constexpr int W = axl_width<T>;
    axl_status status = AXL_OK;
    sum_items items;

    static_assert(sizeof items <= 4 << 10, "arguments of a kernel");
    items.n_parts = a->n_parts;
    items.own_index = a->own_index;
    items.op = a->op;
    for (int first = 0; first < a->n_items && status == AXL_OK; first += ITEMS) {
        items.n_items = a->n_items - first < ITEMS ? a->n_items - first : ITEMS;
        unsigned blocks = 0;
        for (int i = 0; i < items.n_items; i++) {
            const axl_sum_parts_item *x = &a->items[first + i];
            blocks += axl_cuda_blocks(x->n, AXL_THREADS * W);
            items.item[i] = *x;
            items.end[i] = blocks;
            items.wide[i] = axl_is_aligned(x->parts) && axl_is_aligned(x->own) &&
                            axl_is_aligned(x->out) && x->stride % W == 0 && x->n % W == 0;
        }
        status = axl_cuda_launch(s, "sum_parts",
                                 a->n_parts < 2 * BLOCK_PARTS ? sum_parts<T, Out, sums, 1>
                                                              : sum_parts<T, Out, sums, DIGITS>,
                                 dim3(blocks), dim3(AXL_THREADS), 0, items);
    }
    return status;
}

template <class T, class Out> axl_status run(axl_stream *s, const axl_sum_parts_args *a)
{
    return a->op == AXL_REDUCE_SUM ? launch<T, Out, true>(s, a) : launch<T, Out, false>(s, a);
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
        return launch<double, double, false>(s, a);
    case AXL_I64:
        return launch<int64_t, int64_t, false>(s, a);
    default:
        return axl_cuda_no_dtype("sum_parts", a->dtype);
    }
}
