// Numbers as e4m3 with scales. A row stays in the registers of its threads between its maximum and its rounding, so that
// it is read once: those of a warp up to 2,048 columns, of half a block or a block up to 8,192 or 16,384. A longer one is
// read again.
#include "kernels/cuda/fp8.cuh"

namespace
{

constexpr int W = 8;    // elements of a thread's vector
constexpr int HELD = 8; // vectors of a row that a thread holds
constexpr int WT = 16;  // elements of a thread where the scale is given

// P threads to a row: a warp of the block, or the block.
template <int P> constexpr int block_of = P == 32 ? AXL_THREADS : P;

template <class T, bool wide, int P>
__global__ void __launch_bounds__(block_of<P>)
    cast_fp8_rows(const T *src, int64_t rows, int cols, unsigned char *dst, float *scales)
{
    AXL_SHARED_ARRAY(unsigned, scratch, 32);
    const int64_t row = (int64_t)blockIdx.x * (block_of<P> / P) + threadIdx.x / P;
    const int first = (int)threadIdx.x % P * W;
    axl_raw<T, W> held[HELD];
    unsigned most = 0;

    if (P == 32 && row >= rows)
        return;
    src += row * cols;
    dst += row * cols;
#pragma unroll
    for (int i = 0; i < HELD; i++)
        if (first + i * P * W < cols)
            held[i] = axl_fetch<wide, W>(src + first + i * P * W, cols - first - i * P * W);
#pragma unroll
    for (int i = 0; i < HELD; i++)
        if (first + i * P * W < cols)
            most = axl_largest(held[i], most);
#pragma unroll 1
    for (int c = first + HELD * P * W; c < cols; c += P * W)
        most = axl_largest(axl_fetch<wide, W>(src + c, cols - c), most);
    most = P == 32 ? axl_warp_max(most) : axl_block_largest(most, scratch);
    const float scale = axl_fp8_scale_of(most), to_unit = 1.0f / scale;
    if (threadIdx.x % P == 0)
        scales[row] = scale;
#pragma unroll
    for (int i = 0; i < HELD; i++)
        if (first + i * P * W < cols)
            axl_put<wide>(dst + first + i * P * W, cols - first - i * P * W,
                          axl_to_e4m3(held[i], to_unit));
#pragma unroll 1
    for (int c = first + HELD * P * W; c < cols; c += P * W)
        axl_put<wide>(dst + c, cols - c,
                      axl_to_e4m3(axl_fetch<wide, W>(src + c, cols - c), to_unit));
}

// One scale for all, from the largest number that the caller knows.
template <class T, bool wide>
__global__ void __launch_bounds__(AXL_THREADS)
    cast_fp8_tensor(const T *src, int64_t n, const float *amax, unsigned char *dst, float *scales)
{
    const float scale = axl_fp8_scale_of(__float_as_uint(*amax));
    const int64_t i = ((int64_t)blockIdx.x * AXL_THREADS + threadIdx.x) * WT;

    if (i == 0)
        *scales = scale;
    if (i < n)
        axl_put<wide>(dst + i, n - i,
                      axl_to_e4m3(axl_fetch<wide, WT>(src + i, n - i), 1.0f / scale));
}

template <class T, int P> axl_status run_rows(axl_stream *s, const axl_cast_fp8_args *a)
{
    const bool wide = axl_is_aligned(a->src) && (uintptr_t)a->dst % W == 0 && a->cols % W == 0;

    return axl_cuda_launch(
        s, "cast_fp8", wide ? cast_fp8_rows<T, true, P> : cast_fp8_rows<T, false, P>,
        dim3(axl_cuda_blocks(a->rows, block_of<P> / P)), dim3(block_of<P>), 0, (const T *)a->src,
        a->rows, (int)a->cols, (unsigned char *)a->dst, a->scale);
}

template <class T> axl_status run(axl_stream *s, const axl_cast_fp8_args *a)
{
    const int64_t n = a->rows * a->cols;
    const unsigned blocks = axl_cuda_blocks(n, AXL_THREADS * WT);
    const bool wide = axl_is_aligned(a->src) && axl_is_aligned(a->dst) && n % WT == 0;

    if (a->amax != nullptr) // the scale is wanted even where nothing is to be cast
        return axl_cuda_launch(s, "cast_fp8",
                               wide ? cast_fp8_tensor<T, true> : cast_fp8_tensor<T, false>,
                               dim3(blocks > 0 ? blocks : 1), dim3(AXL_THREADS), 0,
                               (const T *)a->src, n, a->amax, (unsigned char *)a->dst, a->scale);
    if (a->cols >= (int64_t)1 << 30)
        return axl_cuda_too_many("cast_fp8", a->cols, "columns");
    return a->cols <= 32 * W * HELD    ? run_rows<T, 32>(s, a)
           : a->cols <= 128 * W * HELD ? run_rows<T, 128>(s, a)
                                       : run_rows<T, 256>(s, a);
}

} // namespace

extern "C" axl_status axl_cuda_cast_fp8(axl_stream *s, const axl_cast_fp8_args *a)
{
    return a->dtype == AXL_BF16  ? run<bf16>(s, a)
           : a->dtype == AXL_F32 ? run<float>(s, a)
                                 : axl_cuda_no_dtype("cast_fp8", a->dtype);
}
