// Sums of arrays: two vectors a thread, both read before either is written.
#include "kernels/cuda/vector.cuh"

namespace
{

constexpr int AT_ONCE = 2;

template <class T, bool wide> __global__ void __launch_bounds__(AXL_THREADS) add(axl_add_args a)
{
    constexpr int W = axl_width<T>;
    const T *x = (const T *)a.a, *y = (const T *)a.b;
    axl_raw<T, W> p[AT_ONCE], q[AT_ONCE] = {};

#pragma unroll
    for (int u = 0; u < AT_ONCE; u++) {
        const int64_t i = (((int64_t)blockIdx.x * AT_ONCE + u) * AXL_THREADS + threadIdx.x) * W;
        if (i < a.n) {
            p[u] = axl_fetch<wide, W>(x + i, a.n - i);
            if (y != nullptr)
                q[u] = axl_fetch<wide, W>(y + i, a.n - i);
        }
    }
#pragma unroll
    for (int u = 0; u < AT_ONCE; u++) {
        const int64_t i = (((int64_t)blockIdx.x * AT_ONCE + u) * AXL_THREADS + threadIdx.x) * W;
        float v[W], w[W];
        if (i >= a.n)
            continue;
        axl_floats(p[u], v);
        axl_floats(q[u], w);
#pragma unroll
        for (int e = 0; e < W; e++)
            v[e] = y != nullptr ? a.alpha * v[e] + a.beta * w[e] : a.alpha * v[e];
        axl_store<wide>((T *)a.out + i, a.n - i, v);
    }
}

template <class T> axl_status run(axl_stream *s, const axl_add_args *a)
{
    constexpr int W = axl_width<T>;
    const bool wide =
        axl_is_aligned(a->a) && axl_is_aligned(a->b) && axl_is_aligned(a->out) && a->n % W == 0;

    return axl_cuda_launch(s, "add", wide ? add<T, true> : add<T, false>,
                           dim3(axl_cuda_blocks(a->n, AT_ONCE * AXL_THREADS * W)),
                           dim3(AXL_THREADS), 0, *a);
}

} // namespace

extern "C" axl_status axl_cuda_add(axl_stream *s, const axl_add_args *a)
{
    return a->dtype == AXL_BF16  ? run<bf16>(s, a)
           : a->dtype == AXL_F32 ? run<float>(s, a)
                                 : axl_cuda_no_dtype("add", a->dtype);
}
