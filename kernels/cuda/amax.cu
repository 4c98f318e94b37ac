// The largest magnitude of an array. Blocks join theirs by an atomic maximum of the bits: magnitudes are ordered as their
// bits are, NaN above all, and no order shows in a maximum.
#include "kernels/cuda/fp8.cuh"

namespace
{

constexpr int MOST_BLOCKS = 2048;

template <class T, bool wide>
__global__ void __launch_bounds__(AXL_THREADS) amax(const T *x, int64_t n, float *out)
{
    constexpr int W = axl_width<T>;
    AXL_SHARED_ARRAY(unsigned, scratch, 32);
    unsigned most = 0;

#pragma unroll 4
    for (int64_t i = ((int64_t)blockIdx.x * AXL_THREADS + threadIdx.x) * W; i < n;
         i += (int64_t)gridDim.x * AXL_THREADS * W)
        most = axl_largest(axl_fetch<wide, W>(x + i, n - i), most);
    most = axl_block_largest(most, scratch);
    if (threadIdx.x == 0)
        atomicMax((int *)out, (int)most);
}

template <class T> axl_status run(axl_stream *s, const axl_amax_args *a)
{
    const bool wide = axl_is_aligned(a->x) && a->n % axl_width<T> == 0;
    const unsigned blocks = axl_cuda_blocks(a->n, AXL_THREADS * axl_width<T> * 4);

    return axl_cuda_launch(s, "amax", wide ? amax<T, true> : amax<T, false>,
                           dim3(blocks < MOST_BLOCKS ? blocks : MOST_BLOCKS), dim3(AXL_THREADS), 0,
                           (const T *)a->x, a->n, a->out);
}

} // namespace

extern "C" axl_status axl_cuda_amax(axl_stream *s, const axl_amax_args *a)
{
    return a->dtype == AXL_BF16  ? run<bf16>(s, a)
           : a->dtype == AXL_F32 ? run<float>(s, a)
                                 : axl_cuda_no_dtype("amax", a->dtype);
}
