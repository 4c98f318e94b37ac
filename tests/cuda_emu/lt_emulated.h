// What the emulated cuBLASLt saw, and how it is to behave.
#ifndef AXL_CUDA_EMU_LT_H
#define AXL_CUDA_EMU_LT_H

#include "kernels/cuda/cublaslt.h"

typedef struct lt_counts {
    int64_t objects; // that live
    int64_t searches, products;
    int64_t tf32; // products with TF32 factors
    bool absent;  // the library is not there
    bool refuse;  // no algorithm is found
    bool old;     // before 12.9: it knows no scales of rows
    int64_t fp8;  // products of e4m3
} lt_counts;

extern lt_counts lt_seen;

#endif
