// The sum of squares, in f64: partial sums of blocks of fixed size, then their sum. The host waits for it.
#include "kernels/cuda/vector.cuh"

namespace
{

constexpr int PER_BLOCK = 32768; // elements; more only where the partial sums would not fit

template <class T, bool wide>
__global__ void __launch_bounds__(AXL_THREADS)
    sumsq(const T *x, int64_t n, int64_t per_block, double *part)
{
    constexpr int W = axl_width<T>;
    AXL_SHARED_ARRAY(double, scratch, 33);
    const int64_t first = (int64_t)blockIdx.x * per_block;
    const int64_t end = first + per_block < n ? first + per_block : n;
    double sum = 0.0;

#pragma unroll 4
    for (int64_t i = first + (int64_t)threadIdx.x * W; i < end; i += AXL_THREADS * W) {
        float v[W];
        axl_load<wide>(x + i, end - i, v);
#pragma unroll
        for (int e = 0; e < W; e++)
            sum += (double)v[e] * (double)v[e];
    }
    sum = axl_block_sum(sum, scratch);
    if (threadIdx.x == 0)
        part[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(AXL_THREADS) sum_parts(const double *part, int64_t n, double *out)
{
    AXL_SHARED_ARRAY(double, scratch, 33);
    double sum = 0.0;

#pragma unroll 4
    for (int64_t i = threadIdx.x; i < n; i += AXL_THREADS)
        sum += part[i];
    sum = axl_block_sum(sum, scratch);
    if (threadIdx.x == 0)
        *out = sum;
}

template <class T> axl_status run(axl_stream *s, const axl_sumsq_args *a)
{
    const int64_t room = (int64_t)(s->device->workspace_bytes / sizeof(double)) - 1;
    int64_t per_block = PER_BLOCK;
    double *out = (double *)s->device->workspace, sum = 0.0;
    axl_status status = AXL_OK;

    if (a->n == 0)
        return AXL_OK;
    while (a->n / per_block >= room)
        per_block *= 2;
    const int64_t blocks = axl_cuda_blocks(a->n, per_block);
    const bool wide = axl_is_aligned(a->x) && a->n % axl_width<T> == 0;
    status =
        axl_cuda_launch(s, "sumsq", wide ? sumsq<T, true> : sumsq<T, false>, dim3((unsigned)blocks),
                        dim3(AXL_THREADS), 0, (const T *)a->x, a->n, per_block, out + 1);
    if (status == AXL_OK)
        status = axl_cuda_launch(s, "sumsq", sum_parts, dim3(1), dim3(AXL_THREADS), 0,
                                 (const double *)(out + 1), blocks, out);
    if (status == AXL_OK)
        status = s->device->ops->copy(s, &sum, out, sizeof sum);
    if (status == AXL_OK)
        status = s->device->ops->synchronize(s); // the caller reads the sum from here on
    if (status == AXL_OK)
        *a->out += sum;
    return status;
}

} // namespace

extern "C" axl_status axl_cuda_sumsq(axl_stream *s, const axl_sumsq_args *a)
{
    return a->dtype == AXL_BF16  ? run<bf16>(s, a)
           : a->dtype == AXL_F32 ? run<float>(s, a)
                                 : axl_cuda_no_dtype("sumsq", a->dtype);
}
