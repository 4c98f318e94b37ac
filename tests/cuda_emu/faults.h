// Kernels that the emulation must end with a message, or must not.
#ifndef AXL_CUDA_EMU_FAULTS_H
#define AXL_CUDA_EMU_FAULTS_H

#include "tests/cuda_emu/include/cuda_runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum emu_fault_kind {
    EMU_NONE,
    EMU_RACE,    // found by the race check
    EMU_OVERRUN, // found by the address sanitizer
    EMU_STUCK,   // found by both builds
    EMU_REFUSED  // by both builds: what a chip refuses, or makes nobody knows what of
} emu_fault_kind;

typedef struct emu_fault {
    const char *name;
    emu_fault_kind kind;
    void (*run)(cudaStream_t s); // launches it and waits
    const char *says;            // EMU_REFUSED: a part of the message
} emu_fault;
extern const emu_fault emu_faults[]; // up to one without a name

#ifdef __cplusplus
} // extern "C"
#endif

#endif
