// AdamW. What is the same for all elements is made in f64 on the host, the update of an element in f32.
#include "kernels/cuda/vector.cuh"

namespace
{

struct adamw_factors {
    float keep, rate, root, b1, c1, b2, c2, eps, grad_scale;
};

template <bool wide>
__global__ void __launch_bounds__(AXL_THREADS)
    adamw(float *p, float *m, float *v, const float *g, int64_t n, adamw_factors f)
{
    constexpr int W = axl_width<float>;
    const int64_t i = ((int64_t)blockIdx.x * AXL_THREADS + threadIdx.x) * W;
    float pe[W], me[W], ve[W], ge[W];

    if (i >= n)
        return;
    axl_load<wide>(p + i, n - i, pe);
    axl_load<wide>(m + i, n - i, me);
    axl_load<wide>(v + i, n - i, ve);
    axl_load<wide>(g + i, n - i, ge);
#pragma unroll
    for (int e = 0; e < W; e++) {
        const float d = ge[e] * f.grad_scale;
        me[e] = f.b1 * me[e] + f.c1 * d;
        ve[e] = f.b2 * ve[e] + f.c2 * d * d;
        pe[e] = pe[e] * f.keep - f.rate * me[e] / (sqrtf(ve[e]) * f.root + f.eps);
    }
    axl_store<wide>(p + i, n - i, pe);
    axl_store<wide>(m + i, n - i, me);
    axl_store<wide>(v + i, n - i, ve);
}

} // namespace

extern "C" axl_status axl_cuda_adamw(axl_stream *s, const axl_adamw_args *a)
{
    constexpr int W = axl_width<float>;
    const bool wide = a->n % W == 0 && axl_is_aligned(a->p) && axl_is_aligned(a->m) &&
                      axl_is_aligned(a->v) && axl_is_aligned(a->g);
    adamw_factors f;

    f.keep = (float)(1.0 - a->lr * a->weight_decay);
    f.rate = (float)(a->lr / (1.0 - pow(a->beta1, (double)a->t)));
    f.root = (float)(1.0 / sqrt(1.0 - pow(a->beta2, (double)a->t)));
    f.b1 = (float)a->beta1;
    f.c1 = (float)(1.0 - a->beta1);
    f.b2 = (float)a->beta2;
    f.c2 = (float)(1.0 - a->beta2);
    f.eps = (float)a->eps;
    f.grad_scale = (float)a->grad_scale;
    return axl_cuda_launch(s, "adamw", wide ? adamw<true> : adamw<false>,
                           dim3(axl_cuda_blocks(a->n, AXL_THREADS * W)), dim3(AXL_THREADS), 0, a->p,
                           a->m, a->v, a->g, a->n, f);
}
