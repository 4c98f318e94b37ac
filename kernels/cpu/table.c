// The tables of the CPU levels: each starts as a copy of ref and overrides what it does better.
#include "kernels/cpu/cpu.h"

static const axl_kernels *const levels[AXL_CPU_N_LEVELS] = {[AXL_CPU_BASE] = &axl_kernels_ref};

axl_cpu_level axl_cpu_best_level(void)
{
    return AXL_CPU_BASE;
}

const axl_kernels *axl_cpu_kernels(axl_cpu_level level)
{
    return levels[level];
}
