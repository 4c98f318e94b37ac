// One rank's compute device: memory, streams and events, behind one table of functions.
//
// The one idea: everything above kernels/ and comm/ is written as if work were queued on streams. On a
// CPU the compute stream runs each call at once; the other streams (gather, reduce, exchange) are queues
// of small tasks - a communication step that must be moved on - which a progress call or a progress
// thread advances in order. An event is a place in a queue; waiting for it on the compute stream means
// driving the queue until that place has passed.
#ifndef AXL_KERNELS_DEVICE_H
#define AXL_KERNELS_DEVICE_H

#include "src/base/dtype.h"
#include "src/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct axl_kernels axl_kernels; // kernels.h
typedef struct axl_device axl_device;
typedef struct axl_stream axl_stream;
typedef struct axl_graph axl_graph; // work of a stream that can be queued again

// A place in a stream; {0} has always passed. Copyable; needs no release.
typedef struct axl_event {
    axl_stream *stream; // borrowed
    uint64_t ticket;    // passed when the stream has completed this many tasks
} axl_event;

// One queued piece of work of a CPU stream. poll moves it on without blocking and sets *done; it is
// called again until done. After done (or failure) destroy is called once.
typedef struct axl_task axl_task;
struct axl_task {
    axl_status (*poll)(axl_task *t, bool *done);
    void (*destroy)(axl_task *t);
    axl_task *next; // owned by the queue
};

// What every backend gives. All pointers are device pointers; on the CPU that is ordinary memory. A copy may have
// host memory on one side. Ordinary host memory may be used again when copy returns (and, as a target, be read);
// host_alloc's is read and written when the stream gets there.
typedef struct axl_device_ops {
    // Zero-filled on first touch, AXL_ALIGN aligned. what names the buffer in messages. AXL_E_MEMORY.
    axl_status (*alloc)(axl_device *d, size_t bytes, const char *what, void **out);
    void (*free)(axl_device *d, void *p, size_t bytes);                          // NULL-safe
    axl_status (*copy)(axl_stream *s, void *dst, const void *src, size_t bytes); // any direction
    axl_status (*zero)(axl_stream *s, void *dst, size_t bytes);
    axl_status (*stream_create)(axl_device *d, const char *name, axl_stream **out);
    void (*stream_destroy)(axl_stream *s);                 // drains it first; NULL-safe
    axl_status (*record)(axl_stream *s, axl_event *out);   // the present end of the queue
    axl_status (*wait)(axl_stream *s, const axl_event *e); // s goes on after e has passed
    axl_status (*await)(const axl_event *e);               // the host waits until e has passed
    axl_status (*synchronize)(axl_stream *s);              // the host waits until s is empty
    // Host memory that a device copies from and to without a detour (pinned, on a GPU). AXL_E_MEMORY.
    axl_status (*host_alloc)(axl_device *d, size_t bytes, const char *what, void **out);
    void (*host_free)(axl_device *d, void *p, size_t bytes); // NULL-safe
    // Of queues that the host must move on (CPU streams): axl_stream_push and so on below. NULL: there are none.
    axl_status (*push)(axl_stream *s, axl_task *task);
    axl_status (*progress)(axl_device *d);
    bool (*waits)(axl_device *d);
    // Of devices that repeat queued work at one call; NULL: this one does not. From begin_capture to end_capture what is
    // queued on s is noted, with its arguments, and does not run. Nothing may wait, take memory or copy ordinary host
    // memory meanwhile: then calls fail, *out is NULL (and the status AXL_OK), and the work has to be queued anew.
    axl_status (*begin_capture)(axl_stream *s);
    // name is of messages, borrowed for the life of *out.
    axl_status (*end_capture)(axl_stream *s, const char *name, axl_graph **out);
    axl_status (*launch)(axl_stream *s, axl_graph *g);  // queues what was noted, as often as asked
    void (*graph_destroy)(axl_device *d, axl_graph *g); // NULL-safe; no launch may be under way
    // Of accelerators, for libraries that queue work by themselves: the runtime's own stream (a cudaStream_t). NULL:
    // there is none.
    void *(*native)(const axl_stream *s);
    // Bytes. total may be NULL: a GPU's driver takes long to answer that.
    void (*mem_info)(axl_device *d, size_t *used, size_t *total);
    void (*destroy)(axl_device *d); // drains the streams; NULL-safe
} axl_device_ops;

struct axl_stream {
    axl_device *device; // borrowed
    const char *name;   // borrowed, "compute", "gather", "reduce", "exchange"
    void *impl;         // owned by the backend
};

struct axl_device {
    const axl_device_ops *ops;
    const axl_kernels *kernels;                       // chosen once at creation
    axl_stream *compute, *gather, *reduce, *exchange; // owned
    int n_threads;          // CPU: OpenMP threads of a kernel; GPU: what the host has for its rank
    void *workspace;        // owned; scratch that a kernel may use during one call on compute
    size_t workspace_bytes; // at least AXL_WORKSPACE_BYTES
    bool tf32, mma;         // axl_device_options; false on a CPU
    bool host_memory;       // the host may read and write the device's memory by itself
    void *staging;          // owned host memory of axl_device_staging
    size_t staging_bytes;
    size_t others_bytes;  // of the device's memory that comm/ has a library take; used, too
    axl_stream *waits_on; // the host waits for this stream now; NULL: it does not. For others to
                          // look at: read and written by __atomic builtins
    char card[32]; // the accelerator's address on the host's PCI bus, "0000:3b:00.0", the same in
                   // all processes that use it; "": this is none
    char chip[64]; // its name, "NVIDIA H100 80GB HBM3"; "": this is none
    // comm/'s: fails when what a stream does will never end. The host asks it now and then while it waits for one.
    // NULL: all streams end
    axl_status (*lost)(axl_device *d);
    void *kept;                    // owned: what comm/ keeps with the device;
    void (*kept_fini)(void *kept); // called when the device goes, before its streams. NULL: nothing
    void *priv;                    // owned by the backend
};

#define AXL_WORKSPACE_BYTES ((size_t)32 << 20)

typedef struct axl_device_options {
    const char *backend; // "cpu" (best level of this processor), "cpu-avx2", "cpu-avx512",
                         // "cpu-avx512-bf16", "ref", "cuda", or NULL / "auto": the best there is
    int n_threads;       // 0: what OpenMP would take
    int local_rank;      // picks the accelerator
    bool tf32;           // an accelerator may take the factors of F32 products as TF32
    bool
        mma; // products of our own by mma.sync, where those of warpgroups are there and faster, too
} axl_device_options;

// kernels/table.c. AXL_E_UNSUPPORTED when the backend is not in this build or not on this machine.
axl_status axl_device_create(const axl_device_options *o, axl_device **out);
void axl_device_destroy(axl_device *d); // NULL-safe

// CPU streams only (comm/ uses it): puts a task at the end of s. A failing task makes every later wait
// on the stream return its status. The queue owns the task from here on.
axl_status axl_stream_push(axl_stream *s, axl_task *task);

// Moves every non-empty stream of the device on without blocking, where that is the host's work. Called between
// kernels and by long ones; cheap when nothing waits.
axl_status axl_device_progress(axl_device *d);

// Whether any stream has tasks left that progress would move. Any thread may ask.
bool axl_device_waits(axl_device *d);

// Copies between the host and the device on the compute stream, and waits for it.
axl_status axl_device_read(axl_device *d, void *host, const void *from, size_t bytes);
axl_status axl_device_write(axl_device *d, void *to, const void *host, size_t bytes);

// Device memory as the host sees it: itself where host_memory says so, else a copy that lives from map to unmap.
typedef struct axl_host_view {
    axl_device *device; // borrowed
    void *memory;       // borrowed, of the device
    size_t bytes;
    void *host; // what the caller reads and writes
} axl_host_view;

// read: the host sees what the device has (else anything). Waits for the compute stream. AXL_E_MEMORY.
axl_status axl_device_map(axl_device *d, void *memory, size_t bytes, bool read, axl_host_view *out);
// write: what the host wrote goes back, and has arrived. *m is {0} then. {0} is allowed.
axl_status axl_device_unmap(axl_host_view *m, bool write);

// Host memory for copies, at least bytes long, kept by the device and shared by all who ask: it is the caller's until
// he returns to his caller, and all his copies must have ended by then. AXL_E_MEMORY.
axl_status axl_device_staging(axl_device *d, size_t bytes, void **out);

#endif
