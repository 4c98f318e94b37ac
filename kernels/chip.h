// What the makers' data sheets say of accelerators: the one place where their peaks stand. Clusters (configs/clusters/) name
// a row, `mfu` of a run and the benchmarks find theirs by the device's name.
#ifndef AXL_KERNELS_CHIP_H
#define AXL_KERNELS_CHIP_H

#include "src/base/dtype.h"

#include <stdbool.h>

typedef struct axl_chip {
    const char *name;             // a part of the driver's name for it, "H100 PCIe"
    const char *cluster;          // ready-made cluster of nodes with it; NULL: there is none
    double fp32, bf16, fp8;       // TFLOP/s, dense, sums in f32; fp32: without TF32; 0: it cannot
    double gb_per_s;              // of its memory
    bool library_attention_grads; // cuDNN's gradient of attention is used on it (attention_cudnn.c)
    bool library_fp8; // cuBLASLt's products of e4m3 are used on it (gemm_lt.c); else fp16 ones
} axl_chip;

// The row of a device of this name ("NVIDIA H100 80GB HBM3"); NULL: no data sheet is known, or it is a part of a chip.
const axl_chip *axl_chip_find(const char *name);

// FLOP/s of dense products of this dtype. tf32: factors of f32 products may be TF32, half the rate of bf16 on all rows.
double axl_chip_peak(const axl_chip *c, axl_dtype dtype, bool tf32);

#endif
