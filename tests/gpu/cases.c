// The kernels' case lists on a GPU against ref. Arrays lie in managed memory, which both sides reach.
// With --alone they run on the GPU and nothing is compared: for a tool that watches them.
// Ends with 77 and a reason where there is no GPU. A list whose entries are not all there is skipped by name.
#include "kernels/cuda/cuda_entries.h"
#include "tests/gpu/tool.h"
#include "tests/kernels/compare.h"

#include <cuda_runtime.h>
#include <stdlib.h>

static axl_device *gpu, *ref;
static bool alone;

static void *take(size_t bytes)
{
    void *p = NULL;

    if (cudaMallocManaged(&p, bytes + 64, cudaMemAttachGlobal) != cudaSuccess ||
        cudaMemset(p, 0xff, bytes + 64) != cudaSuccess || // initcheck does not see the host write
        cudaDeviceSynchronize() != cudaSuccess)
        return NULL;
    return p;
}

static void give(void *p)
{
    (void)cudaFree(p);
}

// Whether the first case finds its entries.
static bool is_there(const kt_kernel *k)
{
    kt_run r = {.device = gpu, .dtype = AXL_F32, .grid = AXL_F32};

    k->run(&r, kt_case_at(k, 0));
    const bool there = r.status != AXL_E_UNSUPPORTED;
    kt_run_fini(&r);
    return there;
}

static void run_alone(const kt_kernel *k, axl_dtype dtype)
{
    for (int i = 0; i < k->n_cases; i++) {
        const kt_head *c = kt_case_at(k, i);
        kt_run r = {0};
        if ((c->flags & KT_BENCH) || (dtype == AXL_BF16 && (c->flags & KT_F32)))
            continue;
        kt_run_case(&r, k, c, gpu, dtype, dtype);
        kt_run_fini(&r);
    }
}

// gemm by our own kernels, which the library else keeps to itself.
static void check_own_gemm(const kt_kernel *k)
{
    const axl_kernels *all = gpu->kernels;
    axl_kernels own = *all;

    own.gemm = axl_cuda_gemm;
    gpu->kernels = &own;
    if (alone)
        run_alone(k, AXL_BF16);
    else
        kt_compare_kernel(k, ref, AXL_BF16, &gpu, 1, AXL_BF16);
    gpu->kernels = all;
}

static void agrees_with_ref(void **state)
{
    const kt_kernel *k = *state;

    if (!is_there(k)) {
        print_message("%s: not all entries are there\n", k->name);
        skip();
    }
    if (strcmp(k->name, "gemm") == 0)
        check_own_gemm(k);
    if (alone) {
        run_alone(k, AXL_F32);
        run_alone(k, AXL_BF16);
        return;
    }
    kt_compare_kernel(k, ref, AXL_F32, &gpu, 1, AXL_F32);
    kt_compare_kernel(k, ref, AXL_BF16, &gpu, 1, AXL_BF16);
}

// The cases once more, by cuDNN where it takes them.
static void agrees_with_ref_by_the_library(void **state)
{
    kt_library = true;
    kt_compare_kernel(*state, ref, AXL_F32, &gpu, 1, AXL_BF16);
    kt_library = false;
}

int gpu_cases_main(int argc, char **argv)
{
    struct CMUnitTest tests[64];
    axl_device_options o = {.backend = "cuda"};
    int n = 0;

    if (axl_device_create(&o, &gpu) != AXL_OK) {
        (void)printf("skipped: %s\n", axl_error_message());
        return GPU_SKIPPED;
    }
    o = (axl_device_options){.backend = "ref", .n_threads = 1};
    if (axl_device_create(&o, &ref) != AXL_OK)
        return 1;
    kt_arrays = (kt_memory){take, give};
    alone = argc > 1 && strcmp(argv[1], "--alone") == 0;
    const int first = alone ? 2 : 1;
    for (int i = 0; i < kt_n_kernels && n < 63; i++) {
        bool wanted = argc <= first;
        for (int j = first; j < argc; j++)
            wanted = wanted || strcmp(argv[j], kt_kernels[i]->name) == 0;
        if (wanted)
            tests[n++] = (struct CMUnitTest){.name = kt_kernels[i]->name,
                                             .test_func = agrees_with_ref,
                                             .initial_state = (void *)(uintptr_t)kt_kernels[i]};
        if (wanted && strcmp(kt_kernels[i]->name, "attn") == 0)
            tests[n++] = (struct CMUnitTest){.name = "attn by cuDNN",
                                             .test_func = agrees_with_ref_by_the_library,
                                             .initial_state = (void *)(uintptr_t)kt_kernels[i]};
    }
    const int failed = _cmocka_run_group_tests("gpu", tests, (size_t)n, NULL, NULL);
    axl_device_destroy(gpu);
    axl_device_destroy(ref);
    return failed > 0;
}
