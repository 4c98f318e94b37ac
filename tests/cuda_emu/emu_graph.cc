// Captured streams: what is queued is noted and does not run; what CUDA forbids meanwhile ends the capture.
#include "tests/cuda_emu/emu_run.h"

#include "tests/cuda_emu/emu_test.h"

struct emu_graph_exec {
    std::shared_ptr<emu_work_list> work;
};

namespace
{

cudaStream_t captured; // the stream; one at a time
emu_graph *capture;    // owned until the end of the capture

} // namespace

emu_graph *emu_graphs_capturing(void)
{
    return capture;
}

extern "C" {

cudaError_t cudaStreamBeginCapture(cudaStream_t s, enum cudaStreamCaptureMode)
{
    if (s == nullptr)
        return cudaErrorStreamCaptureUnsupported; // the default stream
    if (capture != nullptr)
        return cudaErrorIllegalState;
    captured = s;
    s->graph = capture = new emu_graph;
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *graph)
{
    if (s == nullptr || s != captured)
        return cudaErrorIllegalState;
    *graph = capture->lost ? nullptr : capture;
    if (capture->lost)
        delete capture;
    captured = nullptr;
    capture = s->graph = nullptr;
    return *graph != nullptr ? cudaSuccess : cudaErrorStreamCaptureInvalidated;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long)
{
    *exec = new emu_graph_exec{std::make_shared<emu_work_list>(graph->work)};
    emu_graphs_calls()->captures++;
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    delete exec;
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t s)
{
    emu_graphs_calls()->graphs++;
    emu_graphs_queue(s, exec->work);
    return cudaPeekAtLastError();
}

} // extern "C"
