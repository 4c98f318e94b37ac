// What the parts of the emulation share: a kernel's run (emu.cc), streams and memory (emu_runtime.cc), captured
// streams (emu_graph.cc).
#ifndef AXL_CUDA_EMU_RUN_H
#define AXL_CUDA_EMU_RUN_H

#include "tests/cuda_emu/include/cuda_runtime.h"

#include <deque>
#include <functional>
#include <memory>
#include <vector>

namespace emu
{

constexpr size_t SHARED_BYTES = (size_t)227 << 10;

extern bool in_device; // the device's memory is open

// Ends the program with a message.
[[noreturn]] __attribute__((format(printf, 1, 2))) void die(const char *format, ...);

// Of shared memory: what the launch asks for, and what a block may have with its arrays.
struct shared_bytes {
    size_t dynamic, most;
};

// Runs body for every thread of every block; order: emu_set_order's.
void run_grid(dim3 grid, dim3 block, shared_bytes bytes, unsigned order,
              const std::function<void()> &body);
unsigned present_order();

} // namespace emu

using emu_work_list = std::vector<std::function<void()>>;

struct emu_graph {
    emu_work_list work;
    bool lost = false; // something was called that a capture forbids
};

struct emu_stream {
    std::deque<std::function<void()>> ops;
    long long queued = 0, done = 0;
    bool first = false;         // of those that live: compute
    unsigned order = 0;         // of the threads of its kernels
    int arch = 90;              // of its chip: emu_set_arch's
    emu_graph *graph = nullptr; // what is queued is noted there and does not run
};

struct emu_event {
    emu_stream *stream = nullptr;
    const emu_graph *captured = nullptr; // it stands for a place in this graph
    long long target = 0;
};

// The graph that a stream is captured into, or null; this runtime has one capture at a time.
emu_graph *emu_graphs_capturing(void);
struct emu_calls;
emu_calls *emu_graphs_calls(void); // to count in
// Queues work of a graph.
void emu_graphs_queue(cudaStream_t s, std::shared_ptr<emu_work_list> work);

#endif
