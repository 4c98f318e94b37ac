// The gradient of a bias: sums of columns.
#include "kernels/cuda/columns.cuh"

namespace
{

struct itself {
    __device__ float operator()(int64_t, float x) const { return x; }
};

template <class T> axl_status run(axl_stream *s, const axl_bias_bwd_args *a)
{
    return axl_column_sums(s, "bias_bwd", (const T *)a->dout, a->rows, a->cols, itself(), a->db,
                           a->accumulate);
}

} // namespace

extern "C" axl_status axl_cuda_bias_bwd(axl_stream *s, const axl_bias_bwd_args *a)
{
    return a->dtype == AXL_BF16  ? run<bf16>(s, a)
           : a->dtype == AXL_F32 ? run<float>(s, a)
                                 : axl_cuda_no_dtype("bias_bwd", a->dtype);
}
