// Sums of squares of rows, in f64: partial sums of blocks of fixed size, then their sum in the order of blocks' threads.
// A row of one block needs no second kernel.
#include "kernels/cuda/vector.cuh"

namespace
{

constexpr int PER_BLOCK = 32768; // elements; more only where the partial sums would not fit

struct rows {
    int64_t n, per_block, blocks; // of a row: elements, elements of a block, blocks
    bool adds;                    // one block a row: it adds to out itself
};

template <class T, bool wide>
__global__ void __launch_bounds__(AXL_THREADS) sumsq(const T *x, rows r, double *out)
{
    constexpr int W = axl_width<T>;
    AXL_SHARED_ARRAY(double, scratch, 33);
    const int64_t row = (int64_t)blockIdx.x / r.blocks, block = (int64_t)blockIdx.x % r.blocks;
    const int64_t first = block * r.per_block;
    const int64_t end = first + r.per_block < r.n ? first + r.per_block : r.n;
    double sum = 0.0;

    x += row * r.n;
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
        out[blockIdx.x] = r.adds ? out[blockIdx.x] + sum : sum;
}

// A block for each row.
__global__ void __launch_bounds__(AXL_THREADS) sum_parts(const double *part, int64_t n, double *out)
{
    AXL_SHARED_ARRAY(double, scratch, 33);
    double sum = 0.0;

    part += (int64_t)blockIdx.x * n;
#pragma unroll 4
    for (int64_t i = threadIdx.x; i < n; i += AXL_THREADS)
        sum += part[i];
    sum = axl_block_sum(sum, scratch);
    if (threadIdx.x == 0)
        out[blockIdx.x] += sum;
}

template <class T> axl_status run(axl_stream *s, const axl_sumsq_args *a)
{
    constexpr int64_t MOST_BLOCKS = 1 << 30; // of a grid
    const int64_t room = (int64_t)(s->device->workspace_bytes / sizeof(double));
    double *part = (double *)s->device->workspace;
    rows r = {a->n, PER_BLOCK, 0, false};
    axl_status status = AXL_OK;

    if (a->n == 0)
        return AXL_OK;
    while (a->n / r.per_block >= room)
        r.per_block *= 2;
    r.blocks = axl_cuda_blocks(a->n, r.per_block);
    r.adds = r.blocks == 1;
    const bool wide = axl_is_aligned(a->x) && a->n % axl_width<T> == 0;
    const int64_t most = r.adds ? MOST_BLOCKS : room / r.blocks; // rows of a launch
    for (int64_t row = 0; row < a->n_rows && status == AXL_OK; row += most) {
        const int64_t n = a->n_rows - row < most ? a->n_rows - row : most;
        status = axl_cuda_launch(s, "sumsq", wide ? sumsq<T, true> : sumsq<T, false>,
                                 dim3((unsigned)(n * r.blocks)), dim3(AXL_THREADS), 0,
                                 (const T *)a->x + row * a->n, r, r.adds ? a->out + row : part);
        if (status == AXL_OK && !r.adds)
            status = axl_cuda_launch(s, "sumsq", sum_parts, dim3((unsigned)n), dim3(AXL_THREADS), 0,
                                     (const double *)part, r.blocks, a->out + row);
    }
    return status;
}

} // namespace

extern "C" axl_status axl_cuda_sumsq(axl_stream *s, const axl_sumsq_args *a)
{
    return a->dtype == AXL_BF16  ? run<bf16>(s, a)
           : a->dtype == AXL_F32 ? run<float>(s, a)
                                 : axl_cuda_no_dtype("sumsq", a->dtype);
}
