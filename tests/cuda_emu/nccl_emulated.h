// What the emulated NCCL saw. How it behaves comes from the environment, so that every program on the late device can have it:
//   AXL_EMU_NCCL=1             the library is there, as version AXL_EMU_NCCL_VERSION (22809)
//   AXL_EMU_NCCL_FAIL=RANK:N   on RANK the N-th group of calls fails by itself and never ends
#ifndef AXL_CUDA_EMU_NCCL_H
#define AXL_CUDA_EMU_NCCL_H

#include "comm/nccl_calls.h"

typedef struct nccl_counts {
    int64_t groups, calls; // of communication
    int64_t in_place;      // of the calls
    int64_t sent_bytes;    // to other ranks, a broadcast along a chain
    int64_t communicators; // that live
    bool eager; // for the test to set: groups run as soon as they may, else as late as they may
    int64_t registered; // pieces of memory
    int64_t linked;     // pieces of ncclMemAlloc
    int64_t direct;     // messages between memory registered on both sides
} nccl_counts;

extern nccl_counts nccl_seen;

// For the engine: the host does nothing but wait (called again and again), or it has queued work.
void emu_nccl_idle(void);
void emu_nccl_busy(void);

#endif
