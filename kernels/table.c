// Picks the backend and its level once, at start.
#include "kernels/cpu/cpu.h"

#include <string.h>

// What a name in axl_device_options.backend means; level is of the CPU, -1: the best there is.
typedef struct backend {
    const char *name;
    bool ref;
    int level;
} backend;

static const backend backends[] = {
    {"auto", false, -1},
    {"cpu", false, -1},
    {"cpu-avx2", false, AXL_CPU_AVX2},
    {"cpu-avx512", false, AXL_CPU_AVX512},
    {"cpu-avx512-bf16", false, AXL_CPU_AVX512_BF16},
    {"ref", true, -1},
};
#define N_BACKENDS ((int)(sizeof backends / sizeof backends[0]))

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
                "backend %s is not in this build; there are auto, cpu, cpu-avx2, cpu-avx512, "
                "cpu-avx512-bf16 and ref",
                name);
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
    axl_cpu_device_destroy(d);
}
