// Picks the backend and its level once, at start.
#include "kernels/cpu/cpu.h"
#ifdef AXL_CUDA
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/driver.h"
#endif

#include <string.h>

// What a name in axl_device_options.backend means; level is of the CPU, -1: the best there is.
typedef struct backend {
    const char *name;
    bool ref, cuda;
    int level;
} backend;

static const backend backends[] = {
    {"auto", false, true, -1},
    {"cpu", false, false, -1},
    {"host", false, false, -1}, // the host's side of an accelerator
    {"cpu-avx2", false, false, AXL_CPU_AVX2},
    {"cpu-avx512", false, false, AXL_CPU_AVX512},
    {"cpu-avx512-bf16", false, false, AXL_CPU_AVX512_BF16},
    {"ref", true, false, -1},
    {"cuda", false, true, -1},
};
#define N_BACKENDS ((int)(sizeof backends / sizeof backends[0]))

#ifdef AXL_CUDA
bool axl_kernels_take_gpu(void)
{
    const axl_kernels *k = &axl_kernels_cuda;

// NOLINTNEXTLINE(bugprone-macro-parentheses): args is a type
#define AXL_HAS_ENTRY(entry, args) &&k->entry != NULL
    return axl_cuda_gpus_fit() AXL_KERNEL_LIST(AXL_HAS_ENTRY);
#undef AXL_HAS_ENTRY
}

static axl_status create_gpu(int local_rank, axl_device **out)
{
    return axl_cuda_device_create(local_rank, out);
}

axl_status axl_kernels_accelerators(axl_str *out)
{
    axl_status status = AXL_OK;
    const char *why = NULL;
    const int n = axl_cuda_device_count(&why);

    if (n == 0) {
        AXL_TRY(axl_str_printf(out, "none: %s; ", why));
        AXL_TRY(axl_cuda_describe_driver(out));
    }
    for (int i = 0; i < n; i++) {
        AXL_TRY(axl_str_puts(out, i > 0 ? ", " : ""));
        AXL_TRY(axl_cuda_describe(i, out));
    }
    if (n > 0) {
        AXL_TRY(axl_str_puts(out, "; "));
        AXL_TRY(axl_cuda_describe_cudnn(out));
    }
    if (n > 0 && !axl_kernels_take_gpu())
        AXL_TRY(axl_str_puts(out, "; not used by device: auto, this build lacks kernels for it"));

out:
    return status;
}
#else
bool axl_kernels_take_gpu(void)
{
    return false;
}

static axl_status create_gpu(int local_rank, axl_device **out)
{
    (void)local_rank;
    (void)out;
    return axl_error_set(AXL_E_UNSUPPORTED, __FILE__, __LINE__,
                         "this build has no CUDA backend (nvcc was not found); use device: cpu");
}

axl_status axl_kernels_accelerators(axl_str *out)
{
    return axl_str_puts(out, "none: this build has no CUDA backend");
}
#endif

axl_status axl_device_create(const axl_device_options *o, axl_device **out)
{
    axl_status status = AXL_OK;
    const char *name = o->backend != NULL ? o->backend : "auto";
    const axl_kernels *kernels = &axl_kernels_ref;
    const backend *b = NULL;

    for (int i = 0; i < N_BACKENDS && b == NULL; i++)
        if (strcmp(backends[i].name, name) == 0)
            b = &backends[i];
    AXL_REQUIRE(b != NULL, AXL_E_UNSUPPORTED,
                "backend %s is not in this build; there are auto, cuda, cpu, cpu-avx2, cpu-avx512, "
                "cpu-avx512-bf16 and ref",
                name);
    if (b->cuda && (strcmp(name, "cuda") == 0 || axl_kernels_take_gpu())) {
        AXL_TRY(create_gpu(o->local_rank, out));
        (*out)->n_threads = o->n_threads > 0 ? o->n_threads : 1;
        (*out)->tf32 = o->tf32;
        (*out)->mma = o->mma;
        goto out;
    }
    if (!b->ref) {
        const int best = (int)axl_cpu_best_level();
        AXL_REQUIRE(b->level <= best, AXL_E_UNSUPPORTED,
                    "this processor cannot run backend %s; use cpu", name);
        kernels = axl_cpu_kernels((axl_cpu_level)(b->level < 0 ? best : b->level));
    }
    AXL_TRY(axl_cpu_device_create(kernels, o->n_threads, out));

out:
    return status;
}

void axl_device_destroy(axl_device *d)
{
    if (d != NULL)
        d->ops->destroy(d);
}
