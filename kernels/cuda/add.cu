// Sums of arrays; one element a thread, four where the addresses allow it is left to the compiler's vector loads.
#include "kernels/cuda/cuda.cuh"

namespace
{

constexpr int THREADS = 256;

template <class T>
__global__ void __launch_bounds__(THREADS)
    add(const T *a, const T *b, float alpha, float beta, int64_t n, T *out)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;

    if (i < n) {
        float v = alpha * axl_to_float(a[i]);
        if (b != nullptr)
            v += beta * axl_to_float(b[i]);
        out[i] = axl_from_float<T>(v);
    }
}

template <class T> axl_status run(axl_stream *s, const axl_add_args *a)
{
    return axl_cuda_launch(s, "add", add<T>, dim3(axl_cuda_blocks(a->n, THREADS)), dim3(THREADS), 0,
                           (const T *)a->a, (const T *)a->b, a->alpha, a->beta, a->n, (T *)a->out);
}

} // namespace

extern "C" axl_status axl_cuda_add(axl_stream *s, const axl_add_args *a)
{
    return a->dtype == AXL_BF16 ? run<bf16>(s, a) : run<float>(s, a);
}
