// What doctor says of cuDNN. A file of its own, so that a program that only asks does not link the attention.
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/cudnn.h"

axl_status axl_cuda_describe_cudnn(axl_str *out)
{
    axl_dnn_calls calls;
    const char *why = NULL;

    if (!axl_dnn_load(&calls, &why))
        return axl_str_printf(out, "no cuDNN (%s)", why);
    const size_t v = calls.version();
    return axl_str_printf(out, "cuDNN %zu.%zu.%zu", v / 10000, v / 100 % 100, v % 100);
}
