// Matrix product without a library: bf16 on the tensor cores where its rows are aligned (gemm_tensor.cu), else by plain tiles:
// for every dtype, layout and stride.
#include "kernels/cuda/gemm_tile.cuh"

extern "C" {
#include "kernels/cuda/gemm_tensor.h"
}

namespace
{

template <class T, class C>
__global__ void __launch_bounds__(TILE_THREADS) gemm(axl_gemm_args a, unsigned tiles_n)
{
    AXL_SHARED_ARRAY(float, shared, 2 * STEP * TILE_LD);
    const int64_t i0 = (int64_t)(blockIdx.x / tiles_n) * TILE,
                  j0 = (int64_t)(blockIdx.x % tiles_n) * TILE;
    const gemm_operands<T> g = {(const T *)a.a,
                                (const T *)a.b,
                                a.m,
                                a.n,
                                a.k,
                                a.trans_a ? 1 : a.lda,
                                a.trans_a ? a.lda : 1,
                                a.trans_b ? a.ldb : 1,
                                a.trans_b ? 1 : a.ldb};
    const T *bias = (const T *)a.bias;
    float sum[EACH][EACH] = {};

    add_products(g, i0, j0, sum, shared);
    over_tile(a.m, a.n, i0, j0, sum, [&](int64_t r, int64_t c, float v) {
        C *to = (C *)a.c + r * a.ldc + c;
        v *= a.alpha;
        if (a.accumulate)
            v += axl_to_float(*to);
        if (bias != nullptr)
            v += axl_to_float(bias[c]);
        *to = axl_from_float<C>(v);
    });
}

template <class T, class C> axl_status run(axl_stream *s, const axl_gemm_args *a)
{
    const unsigned tiles_m = axl_cuda_blocks(a->m, TILE), tiles_n = axl_cuda_blocks(a->n, TILE);

    return axl_cuda_launch(s, "gemm", gemm<T, C>, dim3(axl_cuda_grid((int64_t)tiles_m * tiles_n)),
                           dim3(TILE_THREADS), 0, *a, tiles_n);
}

} // namespace

extern "C" axl_status axl_cuda_gemm(axl_stream *s, const axl_gemm_args *a)
{
    if (axl_cuda_gemm_is_tensor(a))
        return axl_cuda_gemm_tensor(s, a);
    if (a->dtype == AXL_F32 && a->dtype_c == AXL_F32)
        return run<float, float>(s, a);
    if (a->dtype == AXL_BF16 && a->dtype_c == AXL_F32)
        return run<bf16, float>(s, a);
    if (a->dtype == AXL_BF16 && a->dtype_c == AXL_BF16)
        return run<bf16, bf16>(s, a);
    return axl_cuda_no_dtype("gemm",
                             a->dtype == AXL_F32 || a->dtype == AXL_BF16 ? a->dtype_c : a->dtype);
}
