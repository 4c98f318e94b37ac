// The CPU backend: its device, and the kernel tables of each level of processor.
#ifndef AXL_KERNELS_CPU_CPU_H
#define AXL_KERNELS_CPU_CPU_H

#include "kernels/kernels.h"

// What a processor must have for a level is in features.h; a level includes those before it.
typedef enum axl_cpu_level {
    AXL_CPU_BASE, // any x86-64: the reference kernels
    AXL_CPU_AVX2,
    AXL_CPU_AVX512,
    AXL_CPU_AVX512_BF16,
    AXL_CPU_N_LEVELS
} axl_cpu_level;

// The highest level of this processor. Local.
axl_cpu_level axl_cpu_best_level(void);

// The table of a level that this processor has. Borrowed.
const axl_kernels *axl_cpu_kernels(axl_cpu_level level);

// A device in ordinary memory that runs the given table on n_threads threads (0: what OpenMP would
// take). AXL_E_MEMORY.
axl_status axl_cpu_device_create(const axl_kernels *kernels, int n_threads, axl_device **out);
void axl_cpu_device_destroy(axl_device *d); // NULL-safe; drains the streams

#endif
