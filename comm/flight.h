// The flight record: what this rank's main thread does now, for the watch thread (watch.h). Private to
// comm/.
//
// The one idea: the main thread pays a few plain stores per collective and never a lock or a clock; the
// watch thread looks a few times a second and keeps the time itself.
#ifndef AXL_COMM_FLIGHT_H
#define AXL_COMM_FLIGHT_H

#include "comm/watch.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

enum { AXL_FLIGHT_AXES = 64, AXL_FLIGHT_NAME = 24, AXL_FLIGHT_PATH = 1024 };

typedef struct axl_flight {
    atomic_uint_least64_t n_waits;   // odd: the main thread waits; op, axis and bytes say for what
    atomic_uint_least64_t n_started; // collectives begun or queued: who has fewer is behind
    _Atomic(const char *) op;        // literal
    _Atomic(const char *) axis;      // of axes
    atomic_int_least64_t bytes;
    atomic_int phase; // axl_phase
    atomic_int_least64_t step;
    // Of a queued collective: the device's word whether the host waits for a stream at all. The record
    // may outlive the wait, since the wait for a stream ends outside of comm/. NULL: the caller waits.
    _Atomic(axl_stream **) waits_on;
    const void *queued; // the queued task that is recorded; guarded by the device's mutex
    // The newest collective that a device runs by itself (nccl.h), the main thread's: what the host waits for when it waits
    // for the device. op NULL: none.
    struct {
        const char *op, *axis;
        int64_t bytes;
        axl_stream **waits_on;
    } device;
    pthread_mutex_t lock; // of what follows
    int n_axes;
    char axes[AXL_FLIGHT_AXES][AXL_FLIGHT_NAME]; // names outlive their communicators
    char checkpoint[AXL_FLIGHT_PATH];            // "": none yet
} axl_flight;

void axl_flight_init(axl_flight *f);
void axl_flight_fini(axl_flight *f);

// The record's own copy of an axis' name; borrowed until axl_flight_fini.
const char *axl_flight_axis(axl_flight *f, const char *name);

static inline void axl_flight_start(axl_flight *f)
{
    const uint64_t n = atomic_load_explicit(&f->n_started, memory_order_relaxed);
    atomic_store_explicit(&f->n_started, n + 1, memory_order_relaxed);
}

static inline void axl_flight_wait(axl_flight *f, const char *op, const char *axis, int64_t bytes,
                                   axl_stream **waits_on)
{
    const uint64_t n = atomic_load_explicit(&f->n_waits, memory_order_relaxed);
    atomic_store_explicit(&f->op, op, memory_order_relaxed);
    atomic_store_explicit(&f->axis, axis, memory_order_relaxed);
    atomic_store_explicit(&f->bytes, bytes, memory_order_relaxed);
    atomic_store_explicit(&f->waits_on, waits_on, memory_order_relaxed);
    atomic_store_explicit(&f->n_waits, n + 1 + (n & 1), memory_order_release);
}

static inline void axl_flight_go_on(axl_flight *f)
{
    const uint64_t n = atomic_load_explicit(&f->n_waits, memory_order_relaxed);
    atomic_store_explicit(&f->n_waits, (n | 1) + 1, memory_order_release);
    if (f->device.op != NULL) // from here on only the device is waited for
        axl_flight_wait(f, f->device.op, f->device.axis, f->device.bytes, f->device.waits_on);
}

static inline void axl_flight_device(axl_flight *f, const char *op, const char *axis, int64_t bytes,
                                     axl_stream **waits_on)
{
    f->device.op = op;
    f->device.axis = axis;
    f->device.bytes = bytes;
    f->device.waits_on = waits_on;
    axl_flight_go_on(f);
}

// The device goes.
static inline void axl_flight_forget(axl_flight *f)
{
    f->device.op = NULL;
    axl_flight_go_on(f);
}

#endif
