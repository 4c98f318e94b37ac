// Activations, alone or gating another input: a vector a thread.
#include "kernels/cuda/vector.cuh"

namespace
{

constexpr float ROOT_HALF = 0.70710678118654752440f;
constexpr float ROOT_2_OVER_PI = 0.79788456080286535588f;
constexpr float ROOT_HALF_OVER_PI = 0.39894228040143267794f; // 1 / sqrt(2 pi)

template <axl_act act> __device__ __forceinline__ float activate(float x)
{
    if constexpr (act == AXL_ACT_SILU)
        return x / (1.0f + expf(-x));
    else if constexpr (act == AXL_ACT_GELU)
        return x * 0.5f * (1.0f + erff(x * ROOT_HALF));
    else if constexpr (act == AXL_ACT_GELU_TANH)
        return 0.5f * x * (1.0f + tanhf(ROOT_2_OVER_PI * (x + 0.044715f * x * x * x)));
    else
        return x > 0.0f ? x * x : 0.0f;
}

template <axl_act act> __device__ __forceinline__ float slope(float x)
{
    if constexpr (act == AXL_ACT_SILU) {
        const float s = 1.0f / (1.0f + expf(-x));
        return s * (1.0f + x * (1.0f - s));
    } else if constexpr (act == AXL_ACT_GELU) {
        return 0.5f * (1.0f + erff(x * ROOT_HALF)) + x * (expf(-0.5f * x * x) * ROOT_HALF_OVER_PI);
    } else if constexpr (act == AXL_ACT_GELU_TANH) {
        const float t = tanhf(ROOT_2_OVER_PI * (x + 0.044715f * x * x * x));
        const float du = ROOT_2_OVER_PI * (1.0f + 3.0f * 0.044715f * x * x);
        return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * du;
    } else {
        return x > 0.0f ? 2.0f * x : 0.0f;
    }
}

template <class T, axl_act act, bool wide>
__global__ void __launch_bounds__(AXL_THREADS) glu_fwd(axl_glu_args a)
{
    constexpr int W = axl_width<T>;
    const int64_t i = ((int64_t)blockIdx.x * AXL_THREADS + threadIdx.x) * W;
    float x[W], u[W];

    if (i >= a.n)
        return;
    axl_load<wide>((const T *)a.gate + i, a.n - i, x);
    if (a.up != nullptr)
        axl_load<wide>((const T *)a.up + i, a.n - i, u);
#pragma unroll
    for (int e = 0; e < W; e++) {
        x[e] = activate<act>(x[e]);
        if (a.up != nullptr) // rounded before the product, as transformers does
            x[e] = axl_to_float(axl_from_float<T>(x[e])) * u[e];
    }
    axl_store<wide>((T *)a.out + i, a.n - i, x);
}

template <class T, axl_act act, bool wide>
__global__ void __launch_bounds__(AXL_THREADS) glu_bwd(axl_glu_bwd_args a)
{
    constexpr int W = axl_width<T>;
    const int64_t i = ((int64_t)blockIdx.x * AXL_THREADS + threadIdx.x) * W;
    float x[W], u[W], g[W], dx[W];

    if (i >= a.n)
        return;
    axl_load<wide>((const T *)a.gate + i, a.n - i, x);
    axl_load<wide>((const T *)a.dout + i, a.n - i, g);
    if (a.up != nullptr)
        axl_load<wide>((const T *)a.up + i, a.n - i, u);
#pragma unroll
    for (int e = 0; e < W; e++)
        dx[e] = g[e] * (a.up != nullptr ? u[e] : 1.0f) * slope<act>(x[e]);
    axl_store<wide>((T *)a.dgate + i, a.n - i, dx);
    if (a.up == nullptr)
        return;
#pragma unroll
    for (int e = 0; e < W; e++)
        dx[e] = g[e] * axl_to_float(axl_from_float<T>(activate<act>(x[e])));
    axl_store<wide>((T *)a.dup + i, a.n - i, dx);
}

template <class T, axl_act act> axl_status fwd(axl_stream *s, const axl_glu_args *a)
{
    constexpr int W = axl_width<T>;
    const bool wide =
        a->n % W == 0 && axl_is_aligned(a->gate) && axl_is_aligned(a->up) && axl_is_aligned(a->out);

    return axl_cuda_launch(s, "glu_fwd", wide ? glu_fwd<T, act, true> : glu_fwd<T, act, false>,
                           dim3(axl_cuda_blocks(a->n, AXL_THREADS * W)), dim3(AXL_THREADS), 0, *a);
}

template <class T, axl_act act> axl_status bwd(axl_stream *s, const axl_glu_bwd_args *a)
{
    constexpr int W = axl_width<T>;
    const bool wide = a->n % W == 0 && axl_is_aligned(a->gate) && axl_is_aligned(a->up) &&
                      axl_is_aligned(a->dout) && axl_is_aligned(a->dgate) && axl_is_aligned(a->dup);

    return axl_cuda_launch(s, "glu_bwd", wide ? glu_bwd<T, act, true> : glu_bwd<T, act, false>,
                           dim3(axl_cuda_blocks(a->n, AXL_THREADS * W)), dim3(AXL_THREADS), 0, *a);
}

template <class T> axl_status choose_fwd(axl_stream *s, const axl_glu_args *a)
{
    return a->act == AXL_ACT_SILU        ? fwd<T, AXL_ACT_SILU>(s, a)
           : a->act == AXL_ACT_GELU      ? fwd<T, AXL_ACT_GELU>(s, a)
           : a->act == AXL_ACT_GELU_TANH ? fwd<T, AXL_ACT_GELU_TANH>(s, a)
                                         : fwd<T, AXL_ACT_RELU2>(s, a);
}

template <class T> axl_status choose_bwd(axl_stream *s, const axl_glu_bwd_args *a)
{
    return a->act == AXL_ACT_SILU        ? bwd<T, AXL_ACT_SILU>(s, a)
           : a->act == AXL_ACT_GELU      ? bwd<T, AXL_ACT_GELU>(s, a)
           : a->act == AXL_ACT_GELU_TANH ? bwd<T, AXL_ACT_GELU_TANH>(s, a)
                                         : bwd<T, AXL_ACT_RELU2>(s, a);
}

} // namespace

extern "C" axl_status axl_cuda_glu_fwd(axl_stream *s, const axl_glu_args *a)
{
    return a->dtype == AXL_BF16  ? choose_fwd<bf16>(s, a)
           : a->dtype == AXL_F32 ? choose_fwd<float>(s, a)
                                 : axl_cuda_no_dtype("glu_fwd", a->dtype);
}

extern "C" axl_status axl_cuda_glu_bwd(axl_stream *s, const axl_glu_bwd_args *a)
{
    return a->dtype == AXL_BF16  ? choose_bwd<bf16>(s, a)
           : a->dtype == AXL_F32 ? choose_bwd<float>(s, a)
                                 : axl_cuda_no_dtype("glu_bwd", a->dtype);
}
