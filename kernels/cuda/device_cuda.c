// Streams and events are CUDA's. An event of the device contract is a ticket: each record takes the next slot of the
// stream's ring of CUDA events. A slot that was used again since stands for a later place, so a wait may be longer
// than asked for, never shorter.
//
// CUDA reports what goes wrong in a kernel at some later call. So each stream remembers what was queued last, and a
// message that comes late names it.
#include "kernels/cuda/cuda_backend.h"

#include "kernels/cuda/driver.h"
#include "kernels/gpu_memory.h"
#include "src/base/log.h"
#include "src/base/mem.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#define N_EVENTS        256
#define N_NOTES         16  // a power of two
#define ASK_SECONDS     0.5 // between questions of a waiting host
#define LEAST_MAJOR     8   // compute capability: A100 and later
#define NO_KERNEL_IMAGE 209 // cudaErrorNoKernelImageForDevice

// What was queued.
typedef struct cuda_note {
    const char *what; // borrowed, a literal
    unsigned grid[3], threads;
    size_t bytes; // of a copy or fill; of a kernel 0
} cuda_note;

typedef struct cuda_stream {
    axl_stream stream;
    cudaStream_t handle;          // owned
    cudaEvent_t events[N_EVENTS]; // owned
    uint64_t tickets;
    cuda_note notes[N_NOTES]; // the last ones; n_notes in all
    uint64_t n_notes;
} cuda_stream;

struct axl_graph {
    cudaGraphExec_t exec; // owned
    const char *name;     // borrowed
};

typedef struct cuda_state {
    int device, arch, n_multiprocessors;
    size_t used;                         // bytes
    void *library[AXL_CUDA_N_LIBRARIES]; // owned, by library_fini
    void (*library_fini[AXL_CUDA_N_LIBRARIES])(void *);
} cuda_state;

static cuda_stream *stream_of(const axl_stream *s)
{
    return s->impl;
}

static cuda_state *state_of(const axl_device *d)
{
    return d->priv;
}

cudaStream_t axl_cuda_stream(const axl_stream *s)
{
    return stream_of(s)->handle;
}

int axl_cuda_arch(const axl_device *d)
{
    return state_of(d)->arch;
}

bool axl_cuda_has_wgmma(const axl_device *d)
{
    return axl_cuda_arch(d) == 90 && !d->mma;
}

int axl_cuda_n_multiprocessors(const axl_device *d)
{
    return state_of(d)->n_multiprocessors;
}

void *axl_cuda_library(const axl_device *d, axl_cuda_library_id id)
{
    return state_of(d)->library[id];
}

void axl_cuda_set_library(const axl_device *d, axl_cuda_library_id id, void *p,
                          void (*fini)(void *))
{
    state_of(d)->library[id] = p;
    state_of(d)->library_fini[id] = fini;
}

// ---- what is on a stream, for messages

static void note(const axl_stream *s, const cuda_note *n)
{
    cuda_stream *c = stream_of(s);

    c->notes[c->n_notes++ % N_NOTES] = *n;
}

void axl_cuda_note_launch(const axl_stream *s, const char *kernel, unsigned x, unsigned y,
                          unsigned z, unsigned threads)
{
    note(s, &(cuda_note){.what = kernel, .grid = {x, y, z}, .threads = threads});
}

static void put_note(const cuda_note *n, char *text, size_t size)
{
    if (n->threads > 0)
        (void)snprintf(text, size, "%s of %u x %u x %u blocks of %u threads", n->what, n->grid[0],
                       n->grid[1], n->grid[2], n->threads);
    else if (n->bytes > 0)
        (void)snprintf(text, size, "%s of %zu bytes", n->what, n->bytes);
    else
        (void)snprintf(text, size, "%s", n->what);
}

// "; last queued on compute, newest first: rope of ..., ..." or nothing.
static void put_notes(const axl_stream *s, char *text, size_t size)
{
    const cuda_stream *c = stream_of(s);
    const uint64_t n = c->n_notes < N_NOTES ? c->n_notes : N_NOTES;
    size_t at = 0;

    text[0] = '\0';
    for (uint64_t i = 0; i < n && at < size; i++) {
        char one[160];
        put_note(&c->notes[(c->n_notes - 1 - i) % N_NOTES], one, sizeof one);
        const int put =
            i == 0 ? snprintf(text, size, "; last queued on %s, newest first: %s", s->name, one)
                   : snprintf(text + at, size - at, ", %s", one);
        at += put > 0 ? (size_t)put : 0;
    }
}

// Whether an error says nothing of the call that returned it: the device's work failed before.
static bool is_late(cudaError_t error)
{
    return error >= cudaErrorIllegalAddress && error <= cudaErrorLaunchFailure;
}

static axl_status stream_failed(const axl_stream *s, cudaError_t error, const char *what,
                                size_t bytes)
{
    char notes[1024] = "", size[48] = "";

    if (is_late(error))
        put_notes(s, notes, sizeof notes);
    if (bytes > 0)
        (void)snprintf(size, sizeof size, " of %zu bytes", bytes);
    return axl_error_set(AXL_E_DEVICE, __FILE__, __LINE__, "%s%s on stream %s: %s%s", what, size,
                         s->name, cudaGetErrorString(error), notes);
}

#define STREAM_TRY(s, call, what, bytes)                                                           \
    do {                                                                                           \
        const cudaError_t cuda_error_ = (call);                                                    \
        if (cuda_error_ != cudaSuccess) {                                                          \
            status = stream_failed(s, cuda_error_, what, bytes);                                   \
            goto out;                                                                              \
        }                                                                                          \
    } while (0)

axl_status axl_cuda_launch_failed(const axl_stream *s, int error, const char *kernel, unsigned x,
                                  unsigned y, unsigned z, unsigned threads, size_t shared_bytes)
{
    char notes[1024] = "";

    if (is_late((cudaError_t)error))
        put_notes(s, notes, sizeof notes);
    if (error == NO_KERNEL_IMAGE)
        (void)snprintf(notes, sizeof notes,
                       ": this build has none for compute capability %d.%d; build with its number "
                       "in AXL_CUDA_ARCHITECTURES",
                       axl_cuda_arch(s->device) / 10, axl_cuda_arch(s->device) % 10);
    return axl_error_set(AXL_E_DEVICE, __FILE__, __LINE__,
                         "kernel %s of %u x %u x %u blocks, %u threads, %zu bytes shared: %s%s",
                         kernel, x, y, z, threads, shared_bytes,
                         cudaGetErrorString((cudaError_t)error), notes);
}

axl_status axl_cuda_no_dtype(const char *kernel, axl_dtype dtype)
{
    return axl_error_set(AXL_E_UNSUPPORTED, __FILE__, __LINE__,
                         "kernel %s of the GPU has no form for %s", kernel, axl_dtype_name(dtype));
}

axl_status axl_cuda_too_many(const char *kernel, int64_t n, const char *what)
{
    return axl_error_set(AXL_E_UNSUPPORTED, __FILE__, __LINE__,
                         "kernel %s: the workspace of the GPU is too small for %lld %s", kernel,
                         (long long)n, what);
}

#define CUDA_TRY(call, what)                                                                       \
    do {                                                                                           \
        const cudaError_t cuda_error_ = (call);                                                    \
        AXL_REQUIRE(cuda_error_ == cudaSuccess, AXL_E_DEVICE, "%s: %s", what,                      \
                    cudaGetErrorString(cuda_error_));                                              \
    } while (0)

// ---- memory

static axl_status cuda_alloc(axl_device *d, size_t bytes, const char *what, void **out)
{
    axl_status status = AXL_OK;
    size_t left = 0, total = 0;
    void *p = NULL;

    *out = NULL;
    if (bytes == 0)
        goto out;
    cudaError_t error = cudaMalloc(&p, bytes);
    if (error == cudaErrorMemoryAllocation) {
        (void)cudaGetLastError();
        (void)cudaMemGetInfo(&left, &total);
        AXL_FAIL(AXL_E_MEMORY,
                 "no memory on the GPU for %s: %.1f MiB wanted, %.1f of %.1f MiB are free", what,
                 (double)bytes / 1048576.0, (double)left / 1048576.0, (double)total / 1048576.0);
    }
    STREAM_TRY(d->compute, error, "taking memory", bytes); // of work that failed before
    STREAM_TRY(d->compute, cudaMemsetAsync(p, 0, bytes, axl_cuda_stream(d->compute)), what, bytes);
    STREAM_TRY(d->compute, cudaStreamSynchronize(axl_cuda_stream(d->compute)), what, bytes);
    state_of(d)->used += bytes;
    *out = p;
    p = NULL;

out:
    (void)cudaFree(p);
    return status;
}

static void cuda_free(axl_device *d, void *p, size_t bytes)
{
    if (p == NULL)
        return;
    (void)cudaFree(p);
    state_of(d)->used -= bytes;
}

static axl_status cuda_host_alloc(axl_device *d, size_t bytes, const char *what, void **out)
{
    axl_status status = AXL_OK;
    void *p = NULL;

    const cudaError_t error = bytes > 0 ? cudaMallocHost(&p, bytes) : cudaSuccess;
    if (error == cudaErrorMemoryAllocation) {
        (void)cudaGetLastError();
        AXL_FAIL(AXL_E_MEMORY, "no pinned host memory for %s: %.1f MiB wanted", what,
                 (double)bytes / 1048576.0);
    }
    STREAM_TRY(d->compute, error, "taking pinned host memory", bytes);
    *out = p;

out:
    return status;
}

static void cuda_host_free(axl_device *d, void *p, size_t bytes)
{
    (void)d;
    (void)bytes;
    if (p != NULL)
        (void)cudaFreeHost(p);
}

// Around calls in which the host may wait for s.
static void waits_on(axl_device *d, axl_stream *s)
{
    __atomic_store_n(&d->waits_on, s, __ATOMIC_RELAXED);
}

// To or from ordinary host memory the call waits for what is queued before it.
static axl_status cuda_copy(axl_stream *s, void *dst, const void *src, size_t bytes)
{
    axl_status status = AXL_OK;

    if (bytes == 0)
        goto out;
    waits_on(s->device, s);
    note(s, &(cuda_note){.what = "a copy", .bytes = bytes});
    STREAM_TRY(s, cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDefault, axl_cuda_stream(s)), "a copy",
               bytes);

out:
    waits_on(s->device, NULL);
    return status;
}

static axl_status cuda_zero(axl_stream *s, void *dst, size_t bytes)
{
    axl_status status = AXL_OK;

    if (bytes == 0)
        goto out;
    note(s, &(cuda_note){.what = "zeroing", .bytes = bytes});
    STREAM_TRY(s, cudaMemsetAsync(dst, 0, bytes, axl_cuda_stream(s)), "zeroing", bytes);

out:
    return status;
}

static void cuda_mem_info(axl_device *d, size_t *used, size_t *total)
{
    size_t left = 0;

    *used = state_of(d)->used + d->others_bytes;
    if (total != NULL && cudaMemGetInfo(&left, total) != cudaSuccess)
        *total = 0;
}

// ---- streams and events

static void cuda_stream_destroy(axl_stream *s)
{
    if (s == NULL)
        return;
    cuda_stream *c = stream_of(s);

    if (c->handle != NULL) {
        (void)cudaStreamSynchronize(c->handle);
        (void)cudaStreamDestroy(c->handle);
    }
    for (int i = 0; i < N_EVENTS; i++)
        if (c->events[i] != NULL)
            (void)cudaEventDestroy(c->events[i]);
    free(c);
}

static axl_status cuda_stream_create(axl_device *d, const char *name, axl_stream **out)
{
    axl_status status = AXL_OK;
    cuda_stream *c = NULL;

    AXL_TRY(axl_calloc(1, sizeof *c, "a stream", &c));
    c->stream = (axl_stream){.device = d, .name = name, .impl = c};
    CUDA_TRY(cudaStreamCreateWithFlags(&c->handle, cudaStreamNonBlocking), "making a stream");
    for (int i = 0; i < N_EVENTS; i++)
        CUDA_TRY(cudaEventCreateWithFlags(&c->events[i], cudaEventDisableTiming),
                 "making an event");
    *out = &c->stream;
    c = NULL;

out:
    if (c != NULL)
        cuda_stream_destroy(&c->stream);
    return status;
}

static axl_status cuda_record(axl_stream *s, axl_event *out)
{
    axl_status status = AXL_OK;
    cuda_stream *c = stream_of(s);

    STREAM_TRY(s, cudaEventRecord(c->events[c->tickets % N_EVENTS], c->handle),
               "recording an event", 0);
    *out = (axl_event){s, ++c->tickets};

out:
    return status;
}

static axl_status cuda_wait(axl_stream *s, const axl_event *e)
{
    axl_status status = AXL_OK;

    if (e->stream == NULL || e->stream == s)
        goto out; // a stream is in order by itself
    const cuda_stream *on = stream_of(e->stream);
    STREAM_TRY(e->stream,
               cudaStreamWaitEvent(axl_cuda_stream(s), on->events[(e->ticket - 1) % N_EVENTS], 0),
               "waiting for an event", 0);

out:
    return status;
}

// The host waits for an event of s, or for all of it (event NULL). Where work may be lost it looks, as the runtime's own
// waits do by default, and asks meanwhile.
static axl_status stand_by(axl_stream *s, cudaEvent_t event, const char *what)
{
    axl_status status = AXL_OK;
    axl_device *d = s->device;
    const cudaStream_t handle = axl_cuda_stream(s);
    cudaError_t error = cudaErrorNotReady;
    double asked = axl_now();

    waits_on(d, s);
    if (d->lost == NULL)
        error = event != NULL ? cudaEventSynchronize(event) : cudaStreamSynchronize(handle);
    while (error == cudaErrorNotReady) {
        error = event != NULL ? cudaEventQuery(event) : cudaStreamQuery(handle);
        if (error != cudaErrorNotReady)
            break;
        (void)cudaGetLastError(); // a look is no failure of the next launch
        (void)sched_yield();
        if (axl_now() - asked < ASK_SECONDS)
            continue;
        AXL_TRY_CTX(d->lost(d), "%s on stream %s", what, s->name);
        asked = axl_now();
    }
    STREAM_TRY(s, error, what, 0);

out:
    waits_on(d, NULL);
    return status;
}

static axl_status cuda_await(const axl_event *e)
{
    if (e->stream == NULL)
        return AXL_OK;
    return stand_by(e->stream, stream_of(e->stream)->events[(e->ticket - 1) % N_EVENTS],
                    "waiting for an event");
}

static axl_status cuda_synchronize(axl_stream *s)
{
    return stand_by(s, NULL, "waiting for the work");
}

// ---- graphs

static axl_status cuda_begin_capture(axl_stream *s)
{
    axl_status status = AXL_OK;

    // of this thread alone: others may wait and take memory meanwhile
    STREAM_TRY(s, cudaStreamBeginCapture(axl_cuda_stream(s), cudaStreamCaptureModeThreadLocal),
               "beginning a graph", 0);

out:
    return status;
}

static void cuda_graph_destroy(axl_device *d, axl_graph *g)
{
    (void)d;
    if (g == NULL)
        return;
    if (g->exec != NULL)
        (void)cudaGraphExecDestroy(g->exec);
    free(g);
}

static axl_status cuda_end_capture(axl_stream *s, const char *name, axl_graph **out)
{
    axl_status status = AXL_OK;
    cudaGraph_t noted = NULL;
    axl_graph *g = NULL;

    *out = NULL;
    AXL_TRY(axl_calloc(1, sizeof *g, "a graph", &g));
    g->name = name;
    const cudaError_t error = cudaStreamEndCapture(axl_cuda_stream(s), &noted);
    if (is_late(error))
        STREAM_TRY(s, error, "ending a graph", 0);
    if (error != cudaSuccess || noted == NULL ||
        cudaGraphInstantiate(&g->exec, noted, 0) != cudaSuccess) {
        (void)cudaGetLastError(); // the work is queued anew without a graph
        goto out;
    }
    *out = g;
    g = NULL;

out:
    if (noted != NULL)
        (void)cudaGraphDestroy(noted);
    cuda_graph_destroy(s->device, g);
    return status;
}

static axl_status cuda_launch(axl_stream *s, axl_graph *g)
{
    axl_status status = AXL_OK;

    note(s, &(cuda_note){.what = g->name});
    STREAM_TRY(s, cudaGraphLaunch(g->exec, axl_cuda_stream(s)), g->name, 0);

out:
    return status;
}

static void *cuda_native(const axl_stream *s)
{
    return stream_of(s)->handle;
}

static const axl_device_ops cuda_ops = {
    .alloc = cuda_alloc,
    .free = cuda_free,
    .copy = cuda_copy,
    .zero = cuda_zero,
    .stream_create = cuda_stream_create,
    .stream_destroy = cuda_stream_destroy,
    .record = cuda_record,
    .wait = cuda_wait,
    .await = cuda_await,
    .synchronize = cuda_synchronize,
    .host_alloc = cuda_host_alloc,
    .host_free = cuda_host_free,
    .begin_capture = cuda_begin_capture,
    .end_capture = cuda_end_capture,
    .launch = cuda_launch,
    .graph_destroy = cuda_graph_destroy,
    .native = cuda_native,
    .mem_info = cuda_mem_info,
    .destroy = axl_cuda_device_destroy,
};

// ---- the device

int axl_cuda_device_count(const char **why)
{
    int n = 0;
    const cudaError_t error = cudaGetDeviceCount(&n);

    if (error != cudaSuccess) {
        (void)cudaGetLastError();
        n = 0;
    }
    if (why != NULL)
        *why = error == cudaSuccess                   ? (n > 0 ? "" : "the driver sees no GPU")
               : error == cudaErrorInsufficientDriver ? "no NVIDIA driver that this build can use"
                                                      : cudaGetErrorString(error);
    return n;
}

axl_status axl_cuda_describe_driver(axl_str *out)
{
    int driver = 0, build = 0;

    if (cudaRuntimeGetVersion(&build) != cudaSuccess ||
        cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
        (void)cudaGetLastError();
        return axl_str_puts(out, "libcuda.so.1 is not found");
    }
    return axl_str_printf(out, "the driver is made for CUDA %d.%d, this build for %d.%d%s",
                          driver / 1000, driver % 1000 / 10, build / 1000, build % 1000 / 10,
                          driver / 1000 < build / 1000
                              ? ": update the driver, or build with the toolkit of its version"
                              : "");
}

bool axl_cuda_gpus_fit(void)
{
    const int n = axl_cuda_device_count(NULL);

    for (int i = 0; i < n; i++) {
        int major = 0;
        if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, i) != cudaSuccess ||
            major < LEAST_MAJOR) {
            (void)cudaGetLastError();
            return false;
        }
    }
    return n > 0;
}

axl_status axl_cuda_describe(int i, axl_str *out)
{
    struct cudaDeviceProp p;

    if (cudaGetDeviceProperties(&p, i) != cudaSuccess) {
        (void)cudaGetLastError();
        return axl_str_printf(out, "GPU %d, which does not answer", i);
    }
    return axl_str_printf(out, "%s (compute capability %d.%d, %.1f GiB%s)", p.name, p.major,
                          p.minor, (double)p.totalGlobalMem / 1073741824.0,
                          p.major < LEAST_MAJOR ? "; 8.0 is needed" : "");
}

void axl_cuda_device_destroy(axl_device *d)
{
    if (d == NULL)
        return;
    if (d->kept_fini != NULL)
        d->kept_fini(d->kept);
    if (d->priv != NULL && d->workspace != NULL)
        cuda_free(d, d->workspace, d->workspace_bytes);
    cuda_stream_destroy(d->gather);
    cuda_stream_destroy(d->reduce);
    cuda_stream_destroy(d->exchange);
    cuda_stream_destroy(d->compute);
    cuda_host_free(d, d->staging, d->staging_bytes);
    for (int i = 0; i < AXL_CUDA_N_LIBRARIES && d->priv != NULL; i++)
        if (state_of(d)->library[i] != NULL)
            state_of(d)->library_fini[i](state_of(d)->library[i]);
    free(d->priv);
    free(d);
}

static axl_status query(cuda_state *s, int device)
{
    axl_status status = AXL_OK;
    int major = 0, minor = 0;

    s->device = device;
    const cudaError_t chosen = cudaSetDevice(device);
    AXL_REQUIRE(
        chosen == cudaSuccess, AXL_E_DEVICE,
        "GPU %d cannot be used: %s; others may have it for themselves (nvidia-smi shows its "
        "compute mode), or CUDA_VISIBLE_DEVICES names another",
        device, cudaGetErrorString(chosen));
    CUDA_TRY(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device),
             "asking the GPU");
    CUDA_TRY(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device),
             "asking the GPU");
    CUDA_TRY(cudaDeviceGetAttribute(&s->n_multiprocessors, cudaDevAttrMultiProcessorCount, device),
             "asking the GPU");
    s->arch = major * 10 + minor;
    AXL_REQUIRE(major >= LEAST_MAJOR, AXL_E_UNSUPPORTED,
                "GPU %d has compute capability %d.%d; 8.0 (A100) or later is needed", device, major,
                minor);

out:
    return status;
}

axl_status axl_cuda_device_create(int local_rank, axl_device **out)
{
    axl_status status = AXL_OK;
    axl_device *d = NULL;
    cuda_state *state = NULL;
    axl_str versions = {0};
    const char *why = NULL;
    struct cudaDeviceProp chip;
    const int n = axl_cuda_device_count(&why);

    if (n == 0)
        AXL_TRY(axl_cuda_describe_driver(&versions));
    AXL_REQUIRE(n > 0, AXL_E_UNSUPPORTED, "no GPU: %s (%s)", why, versions.data);
    AXL_TRY(axl_calloc(1, sizeof *d, "the device", &d));
    AXL_TRY(axl_calloc(1, sizeof *state, "the device", &state));
    d->ops = &cuda_ops;
    d->kernels = &axl_kernels_cuda;
    d->n_threads = 1;
    d->priv = state;
    AXL_TRY(query(state, local_rank % n));
    CUDA_TRY(cudaGetDeviceProperties(&chip, state->device), "asking the GPU");
    (void)snprintf(d->chip, sizeof d->chip, "%.63s", chip.name);
    CUDA_TRY(cudaDeviceGetPCIBusId(d->card, sizeof d->card, state->device), "asking the GPU");
    AXL_TRY(cuda_stream_create(d, "compute", &d->compute));
    AXL_TRY(cuda_stream_create(d, "gather", &d->gather));
    AXL_TRY(cuda_stream_create(d, "reduce", &d->reduce));
    AXL_TRY(cuda_stream_create(d, "exchange", &d->exchange));
    d->workspace_bytes = AXL_GPU_WORKSPACE_BYTES;
    AXL_TRY(cuda_alloc(d, d->workspace_bytes, "the kernels' workspace", &d->workspace));
    *out = d;
    d = NULL;

out:
    axl_str_fini(&versions);
    axl_cuda_device_destroy(d);
    return status;
}
