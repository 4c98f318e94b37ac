// Conversion between element types, eight elements a thread; of one array, or of as many as a launch carries.
#include "kernels/cuda/vector.cuh"

namespace
{

constexpr int W = 8;

template <class D, class S> __device__ __forceinline__ D convert(S v)
{
    return (D)v;
}
template <> __device__ __forceinline__ bf16 convert<bf16, bf16>(bf16 v)
{
    return v;
}
template <> __device__ __forceinline__ float convert<float, bf16>(bf16 v)
{
    return __bfloat162float(v);
}
template <> __device__ __forceinline__ double convert<double, bf16>(bf16 v)
{
    return (double)__bfloat162float(v);
}
template <> __device__ __forceinline__ bf16 convert<bf16, float>(float v)
{
    return __float2bfloat16_rn(v);
}
template <> __device__ __forceinline__ bf16 convert<bf16, double>(double v)
{
    return __float2bfloat16_rn((float)v); // by way of f32, as ref
}

template <class D, class S, bool wide>
__device__ __forceinline__ void cast_block(const S *src, D *dst, int64_t n, int64_t block)
{
    const int64_t i = (block * AXL_THREADS + threadIdx.x) * W;
    axl_raw<D, W> out;

    if (i >= n)
        return;
    const axl_raw<S, W> in = axl_fetch<wide, W>(src + i, n - i);
#pragma unroll
    for (int e = 0; e < W; e++)
        out.v[e] = convert<D, S>(in.v[e]);
    axl_put<wide>(dst + i, n - i, out);
}

template <class D, class S, bool wide>
__global__ void __launch_bounds__(AXL_THREADS) cast(const S *src, D *dst, int64_t n)
{
    cast_block<D, S, wide>(src, dst, n, blockIdx.x);
}

// By value, as arguments of the kernel: 4 KB at most.
constexpr int ITEMS = 64;
struct cast_items {
    const void *src[ITEMS];
    void *dst[ITEMS];
    int64_t n[ITEMS];
    unsigned end[ITEMS]; // blocks of this item and those before
    bool wide[ITEMS];
    int n_items;
    int64_t dst_stride; // from a row of the grid to the next; src has n elements
};

template <class D, class S>
__global__ void __launch_bounds__(AXL_THREADS) cast_list(const __grid_constant__ cast_items a)
{
    int at = 0, step = ITEMS / 2; // the first item whose end lies behind the block

    for (; step > 0; step /= 2)
        if (at + step <= a.n_items - 1 && a.end[at + step - 1] <= blockIdx.x)
            at += step;
    const int64_t block = blockIdx.x - (at > 0 ? a.end[at - 1] : 0);
    const S *src = (const S *)a.src[at] + blockIdx.y * a.n[at];
    D *dst = (D *)a.dst[at] + blockIdx.y * a.dst_stride;
    if (a.wide[at])
        cast_block<D, S, true>(src, dst, a.n[at], block);
    else
        cast_block<D, S, false>(src, dst, a.n[at], block);
}

bool is_wide(const axl_cast_args *a)
{
    return axl_is_aligned(a->src) && axl_is_aligned(a->dst) && a->n % W == 0;
}

template <class D, class S> struct one {
    static axl_status run(axl_stream *s, const axl_cast_list_args *list)
    {
        const axl_cast_args *a = list->items;

        return axl_cuda_launch(s, "cast", is_wide(a) ? cast<D, S, true> : cast<D, S, false>,
                               dim3(axl_cuda_blocks(a->n, AXL_THREADS * W)), dim3(AXL_THREADS), 0,
                               (const S *)a->src, (D *)a->dst, a->n);
    }
};

template <class D, class S> struct list {
    static axl_status run(axl_stream *s, const axl_cast_list_args *a)
    {
        cast_items items;
        axl_status status = AXL_OK;
        const unsigned n_rows = a->n_blocks > 0 ? (unsigned)a->n_blocks : 1;

        items.dst_stride = a->dst_stride;
        for (int first = 0; first < a->n_items && status == AXL_OK; first += ITEMS) {
            items.n_items = a->n_items - first < ITEMS ? a->n_items - first : ITEMS;
            unsigned blocks = 0;
            for (int i = 0; i < items.n_items; i++) {
                const axl_cast_args *item = &a->items[first + i];
                blocks += axl_cuda_blocks(item->n, AXL_THREADS * W);
                items.src[i] = item->src;
                items.dst[i] = item->dst;
                items.n[i] = item->n;
                items.end[i] = blocks;
                items.wide[i] = is_wide(item) && (n_rows == 1 || a->dst_stride % W == 0);
            }
            status = axl_cuda_launch(s, "cast_list", cast_list<D, S>, dim3(blocks, n_rows),
                                     dim3(AXL_THREADS), 0, items);
        }
        return status;
    }
};

template <template <class, class> class How, class S>
axl_status run_from(axl_stream *s, const axl_cast_list_args *a)
{
    switch (a->items->dst_dtype) {
    case AXL_F32:
        return How<float, S>::run(s, a);
    case AXL_BF16:
        return How<bf16, S>::run(s, a);
    case AXL_F64:
        return How<double, S>::run(s, a);
    default:
        return axl_cuda_no_dtype("cast", a->items->dst_dtype);
    }
}

template <template <class, class> class How>
axl_status run(axl_stream *s, const axl_cast_list_args *a)
{
    switch (a->items->src_dtype) {
    case AXL_F32:
        return run_from<How, float>(s, a);
    case AXL_BF16:
        return run_from<How, bf16>(s, a);
    case AXL_F64:
        return run_from<How, double>(s, a);
    default:
        return axl_cuda_no_dtype("cast", a->items->src_dtype);
    }
}

} // namespace

extern "C" axl_status axl_cuda_cast(axl_stream *s, const axl_cast_args *a)
{
    const axl_cast_list_args alone = {a, 1, 1, 0};

    return run<one>(s, &alone);
}

extern "C" axl_status axl_cuda_cast_list(axl_stream *s, const axl_cast_list_args *a)
{
    return a->n_items == 0 ? AXL_OK : run<list>(s, a);
}
