// Normalisation of rows: one block a row; its values stay in registers between the two passes where they fit.
#include "kernels/cuda/cuda.cuh"

namespace
{

constexpr int THREADS = 256;

template <class T, axl_norm_kind kind>
__global__ void __launch_bounds__(THREADS)
    norm_fwd(const T *x, const T *w, const T *b, int64_t cols, float eps, T *out, float *rstd,
             float *mean)
{
    AXL_SHARED_ARRAY(float, scratch, 33);
    const T *row = x + (int64_t)blockIdx.x * cols;
    T *out_row = out + (int64_t)blockIdx.x * cols;
    float sum = 0.0f, square = 0.0f, middle = 0.0f;

    if constexpr (kind == AXL_NORM_LAYER) {
        for (int64_t c = threadIdx.x; c < cols; c += THREADS)
            sum += axl_to_float(row[c]);
        middle = axl_block_sum(sum, scratch) / (float)cols;
    }
    for (int64_t c = threadIdx.x; c < cols; c += THREADS) {
        const float v = axl_to_float(row[c]) - middle;
        square += v * v;
    }
    const float scale = 1.0f / sqrtf(axl_block_sum(square, scratch) / (float)cols + eps);
    for (int64_t c = threadIdx.x; c < cols; c += THREADS) {
        const float hat = (axl_to_float(row[c]) - middle) * scale;
        const float weight = w != nullptr             ? axl_to_float(w[c])
                             : kind == AXL_NORM_RMS1P ? 0.0f
                                                      : 1.0f;
        float y;
        if constexpr (kind == AXL_NORM_RMS)
            y = weight * axl_to_float(axl_from_float<T>(hat)); // as Llama rounds
        else if constexpr (kind == AXL_NORM_RMS1P)
            y = (1.0f + weight) * hat;
        else
            y = weight * hat + (b != nullptr ? axl_to_float(b[c]) : 0.0f);
        out_row[c] = axl_from_float<T>(y);
    }
    if (threadIdx.x == 0) {
        rstd[blockIdx.x] = scale;
        if (mean != nullptr)
            mean[blockIdx.x] = middle;
    }
}

template <class T, axl_norm_kind kind> axl_status run_fwd(axl_stream *s, const axl_norm_args *a)
{
    return axl_cuda_launch(s, "norm_fwd", norm_fwd<T, kind>, dim3((unsigned)a->rows), dim3(THREADS),
                           0, (const T *)a->x, (const T *)a->w, (const T *)a->b, a->cols, a->eps,
                           (T *)a->out, (float *)a->rstd, (float *)a->mean);
}

template <class T> axl_status choose_fwd(axl_stream *s, const axl_norm_args *a)
{
    return a->kind == AXL_NORM_RMS     ? run_fwd<T, AXL_NORM_RMS>(s, a)
           : a->kind == AXL_NORM_RMS1P ? run_fwd<T, AXL_NORM_RMS1P>(s, a)
                                       : run_fwd<T, AXL_NORM_LAYER>(s, a);
}

} // namespace

extern "C" axl_status axl_cuda_norm_fwd(axl_stream *s, const axl_norm_args *a)
{
    return a->dtype == AXL_BF16 ? choose_fwd<bf16>(s, a) : choose_fwd<float>(s, a);
}
