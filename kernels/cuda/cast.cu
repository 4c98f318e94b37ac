// Conversion between element types, eight elements a thread.
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
__global__ void __launch_bounds__(AXL_THREADS) cast(const S *src, D *dst, int64_t n)
{
    const int64_t i = ((int64_t)blockIdx.x * AXL_THREADS + threadIdx.x) * W;
    axl_raw<D, W> out;

    if (i >= n)
        return;
    const axl_raw<S, W> in = axl_fetch<wide, W>(src + i, n - i);
#pragma unroll
    for (int e = 0; e < W; e++)
        out.v[e] = convert<D, S>(in.v[e]);
    axl_put<wide>(dst + i, n - i, out);
}

template <class D, class S> axl_status run(axl_stream *s, const axl_cast_args *a)
{
    const bool wide = axl_is_aligned(a->src) && axl_is_aligned(a->dst) && a->n % W == 0;

    return axl_cuda_launch(s, "cast", wide ? cast<D, S, true> : cast<D, S, false>,
                           dim3(axl_cuda_blocks(a->n, AXL_THREADS * W)), dim3(AXL_THREADS), 0,
                           (const S *)a->src, (D *)a->dst, a->n);
}

template <class S> axl_status run_from(axl_stream *s, const axl_cast_args *a)
{
    switch (a->dst_dtype) {
    case AXL_F32:
        return run<float, S>(s, a);
    case AXL_BF16:
        return run<bf16, S>(s, a);
    case AXL_F64:
        return run<double, S>(s, a);
    default:
        return axl_cuda_no_dtype("cast", a->dst_dtype);
    }
}

} // namespace

extern "C" axl_status axl_cuda_cast(axl_stream *s, const axl_cast_args *a)
{
    switch (a->src_dtype) {
    case AXL_F32:
        return run_from<float>(s, a);
    case AXL_BF16:
        return run_from<bf16>(s, a);
    case AXL_F64:
        return run_from<double>(s, a);
    default:
        return axl_cuda_no_dtype("cast", a->src_dtype);
    }
}
