// The tables of the CPU levels, and which of them this processor can run.
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/features.h"

extern const axl_kernels axl_cpu_avx2_kernels, axl_cpu_avx512_kernels, axl_cpu_avx512_bf16_kernels;

static const axl_kernels *const levels[AXL_CPU_N_LEVELS] = {
    [AXL_CPU_BASE] = &axl_kernels_ref,
    [AXL_CPU_AVX2] = &axl_cpu_avx2_kernels,
    [AXL_CPU_AVX512] = &axl_cpu_avx512_kernels,
    [AXL_CPU_AVX512_BF16] = &axl_cpu_avx512_bf16_kernels,
};

axl_cpu_level axl_cpu_best_level(void)
{
    const axl_cpu_features *f = axl_cpu_features_get();

    if (f->avx512_bf16)
        return AXL_CPU_AVX512_BF16;
    if (f->avx512)
        return AXL_CPU_AVX512;
    return f->avx2 ? AXL_CPU_AVX2 : AXL_CPU_BASE;
}

const axl_kernels *axl_cpu_kernels(axl_cpu_level level)
{
    return levels[level];
}
