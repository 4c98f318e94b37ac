// Lazy streams, memory that the host must not touch, and the runtime's calls. What the host does is counted, and a
// test can let a piece of device work fail.
#include "tests/cuda_emu/emu_run.h"

#include "tests/cuda_emu/emu_test.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

using emu::die;

// ---- memory

namespace
{

struct memory {
    std::map<char *, size_t> device; // faults on the host
    std::map<char *, size_t> pinned; // and managed
    size_t used = 0;
};
memory mem;
cudaError_t last_error = cudaSuccess;
cudaError_t sticky = cudaSuccess; // of device work; every later call returns it
emu_calls calls;
int arch = 90;         // compute capability * 10 of devices made from now on
int arch_at_hand = 90; // of the stream that was used last, or runs
int n_multiprocessors = 4;
bool (*stands)(void);      // may be null
bool early;                // streams but the first run at once
long long fail_after = -1; // pieces of device work
cudaError_t failure;

cudaError_t set_error(cudaError_t error)
{
    if (error != cudaSuccess)
        last_error = error;
    return error;
}

cudaError_t present_error()
{
    return sticky != cudaSuccess ? sticky : last_error;
}

// Shared memory that a block of the chip may have (CUDA's programming guide, "technical specifications").
size_t most_shared(int chip)
{
    return (size_t)(chip == 80 || chip == 87 ? 163 : chip < 90 || chip >= 120 ? 99 : 227) << 10;
}

bool inside(const std::map<char *, size_t> &ranges, const void *p)
{
    char *at = (char *)const_cast<void *>(p);
    auto it = ranges.upper_bound(at);

    if (it == ranges.begin())
        return false;
    --it;
    return at < it->first + it->second;
}

size_t pages(size_t bytes)
{
    return (bytes + 4095) / 4096 * 4096;
}

// The device's memory is open only while device work runs: from its first piece to the end of what is waited for.
void open_memory(bool open)
{
    if (emu::in_device == open)
        return;
    for (auto &r : mem.device)
        if (mprotect(r.first, pages(r.second), open ? PROT_READ | PROT_WRITE : PROT_NONE) != 0)
            die("mprotect failed");
    emu::in_device = open;
}

// What a capture forbids: it is lost.
cudaError_t refuse()
{
    if (emu_graphs_capturing() == nullptr)
        return cudaSuccess;
    emu_graphs_capturing()->lost = true;
    calls.refused++;
    return set_error(cudaErrorStreamCaptureUnsupported);
}

#define REFUSE_IN_CAPTURE()                                                                        \
    do {                                                                                           \
        if (refuse() != cudaSuccess)                                                               \
            return cudaErrorStreamCaptureUnsupported;                                              \
    } while (0)

cudaError_t take(void **p, size_t bytes, std::map<char *, size_t> *ranges, int protection)
{
    REFUSE_IN_CAPTURE();
    calls.allocations++;
    if (bytes == 0) {
        *p = nullptr;
        return cudaSuccess;
    }
    char *at = (char *)mmap(nullptr, pages(bytes), protection,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        return set_error(cudaErrorMemoryAllocation);
    (*ranges)[at] = bytes;
    mem.used += bytes;
    *p = at;
    return cudaSuccess;
}

cudaError_t give(void *p, std::map<char *, size_t> *ranges)
{
    if (p == nullptr)
        return cudaSuccess;
    REFUSE_IN_CAPTURE();
    calls.allocations++;
    auto it = ranges->find((char *)p);
    if (it == ranges->end())
        return set_error(cudaErrorInvalidValue);
    mem.used -= it->second;
    munmap(it->first, pages(it->second));
    ranges->erase(it);
    return cudaSuccess;
}

} // namespace

// ---- streams

namespace
{

std::map<const void *, size_t> shared_limit; // of a kernel, where it was raised
std::set<emu_stream *> streams;
emu_stream null_stream;

void run_one(emu_stream *s)
{
    std::function<void()> op = std::move(s->ops.front());
    s->ops.pop_front();
    op();
    s->done++;
}

int depth; // of run_until in run_until: a stream may wait for another

// The memory stays open from the first device work to the end: opening it for each would cost more than the work.
void run_until(emu_stream *s, long long target)
{
    depth++;
    while (s->done < target)
        run_one(s);
    if (--depth == 0 && emu::in_device)
        open_memory(false);
}

void push(emu_stream *s, std::function<void()> op)
{
    emu_stream *to = s != nullptr ? s : &null_stream;

    calls.queued++;
    if (s != nullptr)
        arch_at_hand = s->arch;
    if (to->graph != nullptr) {
        to->graph->work.push_back(std::move(op));
        return;
    }
    to->ops.push_back(std::move(op));
    to->queued++;
    if (early && s != nullptr && !s->first && s->graph == nullptr)
        run_until(s, s->queued);
    if (s == nullptr)
        run_until(&null_stream, null_stream.queued); // the default stream is not lazy
}

// Device work: the memory is open meanwhile.
void push_device(emu_stream *s, std::function<void()> op)
{
    push(s, [op = std::move(op)] {
        if (sticky != cudaSuccess)
            return;
        if (fail_after >= 0 && fail_after-- == 0) {
            sticky = failure;
            return;
        }
        if (!emu::in_device)
            open_memory(true);
        op();
    });
}

// Whole pages are given back instead, which reads as 0 and keeps untouched memory free.
void fill(char *p, int value, size_t bytes)
{
    char *first = (char *)(((uintptr_t)p + 4095) / 4096 * 4096);
    char *end = (char *)((uintptr_t)(p + bytes) / 4096 * 4096);

    if (value != 0 || bytes < (1 << 20) || madvise(first, (size_t)(end - first), MADV_DONTNEED)) {
        memset(p, value, bytes);
        return;
    }
    memset(p, 0, (size_t)(first - p));
    memset(end, 0, (size_t)(p + bytes - end));
}

} // namespace

void emu::launch(cudaStream_t s, const void *kernel, dim3 grid, dim3 block, size_t shared_bytes,
                 std::function<void()> body)
{
    const size_t threads = (size_t)block.x * block.y * block.z;
    const auto raised = shared_limit.find(kernel);
    const size_t limit = raised != shared_limit.end() ? raised->second : (size_t)48 << 10;

    if (threads < 1 || threads > 1024 || grid.x < 1 || grid.y < 1 || grid.z < 1 ||
        grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535 || shared_bytes > limit) {
        set_error(cudaErrorInvalidConfiguration);
        return;
    }
    const unsigned order = s != nullptr ? s->order : present_order();
    const int chip = s != nullptr ? s->arch : arch;
    const size_t most = raised != shared_limit.end() ? most_shared(chip) : limit;
    push_device(s, [=] {
        arch_at_hand = chip;
        run_grid(grid, block, {shared_bytes, most}, order, body);
    });
}

cudaError_t emu_set_shared_limit(const void *kernel, int bytes)
{
    if (bytes < 0 || (size_t)bytes > most_shared(arch_at_hand))
        return set_error(cudaErrorInvalidValue);
    shared_limit[kernel] = (size_t)bytes;
    return cudaSuccess;
}

// That of the newest code in a build for 80, 90a and 100 that runs on the chip: code for 8.0 runs on 8.9, too.
int emu::code_version()
{
    return arch_at_hand < 90 ? 80 : arch_at_hand < 100 ? 90 : 100;
}

extern "C" void emu_push_work(cudaStream_t s, void (*work)(void *), void *data)
{
    if (s != nullptr && s->graph != nullptr)
        emu::die("work that runs once is captured");
    push_device(s, [=] { work(data); });
}

extern "C" void emu_push_repeated(cudaStream_t s, void (*work)(void *), void *data,
                                  void (*release)(void *))
{
    std::shared_ptr<void> owned(data, release);

    push_device(s, [=] { work(owned.get()); });
}

// A graph is one piece of work of the stream.
void emu_graphs_queue(cudaStream_t s, std::shared_ptr<emu_work_list> work)
{
    push(s, [=] {
        for (const auto &op : *work)
            op();
    });
}

emu_calls *emu_graphs_calls(void)
{
    return &calls;
}

extern "C" emu_calls emu_read_calls(void)
{
    return calls;
}

extern "C" void emu_set_early(bool now)
{
    early = now;
}

extern "C" void emu_fail_after(long long n, cudaError_t error)
{
    fail_after = n;
    failure = error;
    sticky = cudaSuccess;
}

extern "C" void emu_set_stands(bool (*now)(void))
{
    stands = now;
}

extern "C" void emu_set_arch(int to)
{
    arch = arch_at_hand = to;
}

extern "C" void emu_set_multiprocessors(int n)
{
    n_multiprocessors = n;
}

extern "C" bool emu_is_device(const void *p)
{
    return inside(mem.device, p);
}

extern "C" bool emu_is_pinned(const void *p)
{
    return inside(mem.pinned, p);
}

// ---- the runtime

extern "C" {

cudaError_t cudaMalloc(void **p, size_t bytes)
{
    if (sticky != cudaSuccess)
        return sticky;
    return take(p, bytes, &mem.device, PROT_NONE);
}

cudaError_t cudaMallocHost(void **p, size_t bytes)
{
    return take(p, bytes, &mem.pinned, PROT_READ | PROT_WRITE);
}

cudaError_t cudaMallocManaged(void **p, size_t bytes, unsigned)
{
    return take(p, bytes, &mem.pinned, PROT_READ | PROT_WRITE);
}

const char *cudaGetErrorName(cudaError_t error)
{
    return error == cudaSuccess ? "cudaSuccess" : "cudaError";
}
const char *cudaGetErrorString(cudaError_t error)
{
    static char text[32];
    snprintf(text, sizeof text, "emulated error %d", (int)error);
    return error == cudaSuccess ? "no error" : text;
}
cudaError_t cudaGetLastError(void)
{
    cudaError_t error = present_error();
    last_error = cudaSuccess;
    return error;
}
cudaError_t cudaPeekAtLastError(void)
{
    return present_error();
}
cudaError_t cudaGetDeviceCount(int *n)
{
    *n = 1;
    return cudaSuccess;
}
cudaError_t cudaSetDevice(int device)
{
    return device == 0 ? cudaSuccess : set_error(cudaErrorInvalidDevice);
}
cudaError_t cudaGetDevice(int *device)
{
    *device = 0;
    return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int)
{
    switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
        *value = 1024;
        break;
    case cudaDevAttrMultiProcessorCount:
        *value = n_multiprocessors;
        break;
    case cudaDevAttrComputeCapabilityMajor:
        *value = arch / 10;
        break;
    case cudaDevAttrComputeCapabilityMinor:
        *value = arch % 10;
        break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
        *value = (int)most_shared(arch);
        break;
    }
    return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *prop, int)
{
    const char *chip = getenv("AXL_EMU_CHIP");

    memset(prop, 0, sizeof *prop);
    snprintf(prop->name, sizeof prop->name, "%s", chip != nullptr ? chip : "emulated");
    prop->totalGlobalMem = (size_t)4 << 30;
    prop->major = arch / 10;
    prop->minor = arch % 10;
    prop->multiProcessorCount = n_multiprocessors;
    return cudaSuccess;
}
cudaError_t cudaDeviceGetPCIBusId(char *text, int size, int device)
{
    const char *card = getenv("AXL_EMU_CARD");

    if (card != nullptr)
        snprintf(text, (size_t)size, "%s:%d", card, device);
    else
        snprintf(text, (size_t)size, "%x:%d", (unsigned)getpid(), device);
    return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int *version)
{
    *version = 13000;
    return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = 13000;
    return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total)
{
    *total = (size_t)4 << 30;
    *free_bytes = *total - mem.used;
    return cudaSuccess;
}
cudaError_t cudaFree(void *p)
{
    REFUSE_IN_CAPTURE();
    for (emu_stream *s : streams) // as CUDA does
        run_until(s, s->queued);
    return mem.pinned.count((char *)p) != 0 ? give(p, &mem.pinned) : give(p, &mem.device);
}
cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned)
{
    return cudaMallocHost(p, bytes);
}
cudaError_t cudaFreeHost(void *p)
{
    return give(p, &mem.pinned);
}

// A source in pageable memory is taken at the call; a target there is written before the call returns.
cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t bytes, enum cudaMemcpyKind,
                            cudaStream_t s)
{
    const bool from_host = !inside(mem.device, src),
               pageable_source = from_host && !inside(mem.pinned, src);
    const bool pageable_target = !inside(mem.device, dst) && !inside(mem.pinned, dst);

    if (bytes == 0)
        return cudaSuccess;
    if (sticky != cudaSuccess)
        return sticky;
    if (pageable_source || pageable_target) {
        REFUSE_IN_CAPTURE();
        calls.waits++;
    }
    if (pageable_source && !pageable_target) {
        auto copy =
            std::make_shared<std::vector<char>>((const char *)src, (const char *)src + bytes);
        push_device(s, [=] { memcpy(dst, copy->data(), bytes); });
    } else {
        push_device(s, [=] { memmove(dst, src, bytes); });
    }
    if (pageable_target && s != nullptr)
        run_until(s, s->queued);
    return present_error();
}
cudaError_t cudaMemcpy(void *dst, const void *src, size_t bytes, enum cudaMemcpyKind kind)
{
    REFUSE_IN_CAPTURE();
    (void)cudaDeviceSynchronize();
    return cudaMemcpyAsync(dst, src, bytes, kind, nullptr);
}
cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t s)
{
    push_device(s, [=] { fill((char *)p, value, bytes); });
    return present_error();
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned)
{
    calls.allocations++;
    *s = new emu_stream;
    (*s)->first = streams.empty();
    (*s)->order = emu::present_order();
    (*s)->arch = arch;
    streams.insert(*s);
    return cudaSuccess;
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t *s, unsigned flags, int)
{
    return cudaStreamCreateWithFlags(s, flags);
}
cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest)
{
    *least = 0;
    *greatest = -5;
    return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t s)
{
    calls.allocations++;
    run_until(s, s->queued);
    streams.erase(s);
    delete s;
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t s)
{
    REFUSE_IN_CAPTURE();
    calls.waits++;
    if (s != nullptr)
        run_until(s, s->queued);
    return present_error();
}
cudaError_t cudaStreamQuery(cudaStream_t s)
{
    REFUSE_IN_CAPTURE();
    if (s->done < s->queued && stands != nullptr && stands())
        return set_error(cudaErrorNotReady);
    if (s->done < s->queued)
        run_until(s, s->done + 1);
    return s->done < s->queued ? set_error(cudaErrorNotReady) : present_error();
}
cudaError_t cudaDeviceSynchronize(void)
{
    REFUSE_IN_CAPTURE();
    calls.waits++;
    for (emu_stream *s : streams)
        run_until(s, s->queued);
    return present_error();
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned)
{
    calls.allocations++;
    *event = new emu_event;
    return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    calls.allocations++;
    delete event;
    return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t s)
{
    event->stream = s;
    event->captured = s != nullptr ? s->graph : nullptr;
    event->target = s != nullptr ? s->queued : 0;
    return sticky;
}
static bool stream_lives(emu_stream *s)
{
    return s != nullptr && streams.count(s) != 0;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t event, unsigned)
{
    emu_stream *on = event->stream;
    long long target = event->target;

    if (event->captured != nullptr && (s == nullptr || s->graph != event->captured))
        emu::die("a stream that joins a capture is not emulated");
    if (event->captured != nullptr)
        return cudaSuccess; // the stream is in order by itself
    if (s != nullptr && s->graph != nullptr && on != nullptr) {
        s->graph->lost = true;
        calls.refused++;
        return set_error(cudaErrorStreamCaptureIsolation);
    }
    push(s, [=] {
        if (stream_lives(on))
            run_until(on, target);
    });
    return sticky;
}
cudaError_t cudaEventQuery(cudaEvent_t event)
{
    emu_stream *s = event->stream;

    if (stream_lives(s) && s->done < event->target && stands != nullptr && stands())
        return set_error(cudaErrorNotReady);
    if (stream_lives(s) && s->done < event->target)
        run_until(s, s->done + 1);
    return stream_lives(s) && s->done < event->target ? cudaErrorNotReady : present_error();
}
cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    REFUSE_IN_CAPTURE();
    if (stream_lives(event->stream)) {
        calls.waits += event->stream->done < event->target;
        run_until(event->stream, event->target);
    }
    return present_error();
}
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t, cudaEvent_t)
{
    *ms = 0.0f;
    return cudaSuccess;
}
cudaError_t cudaLaunchHostFunc(cudaStream_t s, cudaHostFn_t fn, void *data)
{
    push(s, [=] {
        if (emu::in_device)
            open_memory(false);
        fn(data);
    });
    return cudaSuccess;
}

} // extern "C"
