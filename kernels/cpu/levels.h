// The kernels that are compiled once a level. Each list row K(entry, args) becomes axl_cpu_<level>_<entry>.
#ifndef AXL_KERNELS_CPU_LEVELS_H
#define AXL_KERNELS_CPU_LEVELS_H

#include "kernels/cpu/simd.h"
#include "kernels/kernels.h"

// NOLINTNEXTLINE(bugprone-macro-parentheses): args is a type
#define AXL_CPU_PROTOTYPE(entry, args) axl_status AXL_CPU(entry)(axl_stream * s, const args *a);
AXL_KERNEL_LIST(AXL_CPU_PROTOTYPE)
#undef AXL_CPU_PROTOTYPE

extern const axl_kernels AXL_CPU(kernels);

#endif
