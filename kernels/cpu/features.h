// What this processor can do, asked once.
#ifndef AXL_KERNELS_CPU_FEATURES_H
#define AXL_KERNELS_CPU_FEATURES_H

#include <stdbool.h>

// Each is true only when the operating system saves the registers too.
typedef struct axl_cpu_features {
    bool avx2;   // with FMA
    bool avx512; // F, BW, DQ, VL
    bool avx512_bf16;
    bool amx_bf16; // shown in CPUID leaf 7
    bool
        amx_tiles; // leaf 0x1D says how large the tiles are; some virtual machines show AMX without
} axl_cpu_features;

// Borrowed, never NULL. Thread-safe.
const axl_cpu_features *axl_cpu_features_get(void);

#endif
