// What tests ask of the emulated runtime, from C and C++.
#ifndef AXL_CUDA_EMU_TEST_H
#define AXL_CUDA_EMU_TEST_H

#include "tests/cuda_emu/include/cuda_runtime.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

// What the host has asked of the runtime so far.
typedef struct emu_calls {
    long long waits; // the host stood still: for a stream, an event, a copy of ordinary memory
    long long allocations; // memory, streams and events, made or given back
    long long queued;      // kernels, copies, fills, waits of streams and graphs; also noted ones
    long long graphs;      // launches of graphs
    long long captures;    // graphs that came of it
    long long refused;     // calls that a capture forbids
} emu_calls;
emu_calls emu_read_calls(void);

// The device work that runs after n more fails, and with it everything from there on. n < 0: none; heals the device.
void emu_fail_after(long long n, cudaError_t error);

// Streams but the first run what they are given at once - what that waits for before it - instead of as late as they can.
void emu_set_early(bool early);

// Queues a piece of device work. The first kind runs once and work gives data back; the second as often as a graph with
// it is launched, and release gives data back.
void emu_push_work(cudaStream_t s, void (*work)(void *), void *data);
void emu_push_repeated(cudaStream_t s, void (*work)(void *), void *data, void (*release)(void *));

// Asked before a look at a stream or event: true: the device stands, nothing runs and the answer is "not ready".
void emu_set_stands(bool (*stands)(void));

// Compute capability * 10 of devices made from now on; 90 at first.
void emu_set_arch(int arch);

// How many multiprocessors devices made from now on have; 4 at first.
void emu_set_multiprocessors(int n);

// Of each grid only the last n blocks run: for arrays that are too large to go over. 0: all, as at first.
void emu_run_last_blocks(int n);

// Rows that ldmatrix read so far from banks that another row of its eight had taken.
long long emu_bank_conflicts(void);

bool emu_is_device(const void *p);
bool emu_is_pinned(const void *p);

#ifdef __cplusplus
}
#endif

#endif
