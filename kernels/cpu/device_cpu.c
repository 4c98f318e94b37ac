// The CPU device: memory from the system, streams as queues of small tasks.
//
// The hard part is who advances a queue: any thread may, in progress, wait or synchronize, so one mutex
// guards all queues of a device and is held while a task is polled. A task must not call back into its
// device. A thread that finds the mutex taken in progress leaves: the holder does the same work.
#include "kernels/cpu/cpu.h"

#include "src/base/mem.h"

#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_PAGE          ((size_t)2 << 20)
#define MAX_QUEUES         16
#define MOVE_BYTES         ((size_t)1 << 18) // of a copy, at a time
#define WORKSPACE_A_THREAD ((size_t)1 << 20) // tiles of attention; untouched pages cost nothing

// The queue of a stream other than compute. All fields are guarded by cpu_state.mutex.
typedef struct cpu_queue {
    axl_stream stream; // impl is this queue; that of compute is NULL
    axl_task *head, *tail;
    uint64_t pushed, passed; // counts of tasks
    axl_status status;       // the first failure; stays
    char message[512];
} cpu_queue;

typedef struct cpu_state {
    pthread_mutex_t mutex;
    cpu_queue *queues[MAX_QUEUES]; // owned by their streams
    int n_queues;
    atomic_size_t used;   // bytes
    atomic_int n_waiting; // tasks in all queues: an idle progress call takes no lock
} cpu_state;

static cpu_state *state_of(axl_device *d)
{
    return d->priv;
}

// --- memory ---------------------------------------------------------------------------------------

// What is taken from the system for bytes: whole pages; large buffers get room to start at a huge page.
static size_t mapped_bytes(size_t bytes)
{
    size_t page = bytes >= HUGE_PAGE ? HUGE_PAGE : 4096;
    return (bytes + page - 1) / page * page;
}

static axl_status cpu_alloc(axl_device *d, size_t bytes, const char *what, void **out)
{
    axl_status status = AXL_OK;
    const size_t size = mapped_bytes(bytes);
    const size_t slack = size >= HUGE_PAGE ? HUGE_PAGE : 0;
    uint8_t *map = NULL;

    *out = NULL;
    if (bytes == 0)
        goto out;
    AXL_REQUIRE(size >= bytes && size + slack >= size, AXL_E_MEMORY, "%s: %zu bytes are too many",
                what, bytes);
    map = mmap(NULL, size + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    AXL_REQUIRE(map != MAP_FAILED, AXL_E_MEMORY, "no memory for %s (%zu bytes)", what, bytes);
    if (slack > 0) { // cut to a huge-page boundary at both ends
        size_t front = (HUGE_PAGE - (uintptr_t)map % HUGE_PAGE) % HUGE_PAGE;
        if (front > 0)
            (void)munmap(map, front);
        if (slack > front)
            (void)munmap(map + front + size, slack - front);
        map += front;
        (void)madvise(map, size, MADV_HUGEPAGE); // a hint: failing changes nothing
    }
    atomic_fetch_add(&state_of(d)->used, bytes); // what was asked: whole pages are the system's
    *out = map;

out:
    return status;
}

static void cpu_free(axl_device *d, void *p, size_t bytes)
{
    if (p == NULL)
        return;
    (void)munmap(p, mapped_bytes(bytes));
    atomic_fetch_sub(&state_of(d)->used, bytes);
}

// Not counted: it is no memory of the device.
static axl_status cpu_host_alloc(axl_device *d, size_t bytes, const char *what, void **out)
{
    (void)d;
    *out = NULL;
    return bytes > 0 ? axl_calloc(bytes, 1, what, out) : AXL_OK;
}

static void cpu_host_free(axl_device *d, void *p, size_t bytes)
{
    (void)d;
    (void)bytes;
    free(p);
}

static void cpu_mem_info(axl_device *d, size_t *used, size_t *total)
{
    *used = atomic_load(&state_of(d)->used);
    if (total != NULL)
        *total = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
}

// --- queues ---------------------------------------------------------------------------------------

static void finish_head(cpu_state *state, cpu_queue *q)
{
    axl_task *task = q->head;

    q->head = task->next;
    if (q->head == NULL)
        q->tail = NULL;
    q->passed++;
    atomic_fetch_sub(&state->n_waiting, 1);
    if (task->destroy != NULL)
        task->destroy(task);
}

// Moves one queue on as far as it goes. After a failure the rest is dropped: nobody may rely on it.
static void advance(cpu_state *state, cpu_queue *q)
{
    while (q->head != NULL) {
        bool done = false;
        if (q->status == AXL_OK) {
            q->status = q->head->poll(q->head, &done);
            if (q->status != AXL_OK)
                (void)snprintf(q->message, sizeof q->message, "%s", axl_error_message());
            else if (!done)
                return;
        }
        finish_head(state, q);
    }
}

static axl_status queue_status(const cpu_queue *q)
{
    if (q->status == AXL_OK)
        return AXL_OK;
    return axl_error_set(q->status, __FILE__, __LINE__, "%s", q->message);
}

static axl_status cpu_push(axl_stream *s, axl_task *task)
{
    cpu_queue *q = s->impl;
    cpu_state *state = state_of(s->device);

    AXL_ASSERT(q != NULL); // the compute stream has no queue
    task->next = NULL;
    (void)pthread_mutex_lock(&state->mutex);
    if (q->tail != NULL)
        q->tail->next = task;
    else
        q->head = task;
    q->tail = task;
    q->pushed++;
    atomic_fetch_add(&state->n_waiting, 1);
    advance(state, q); // a task that can finish at once does
    axl_status status = queue_status(q);
    (void)pthread_mutex_unlock(&state->mutex);
    return status;
}

static bool cpu_waits(axl_device *d)
{
    return atomic_load(&state_of(d)->n_waiting) > 0;
}

static axl_status cpu_progress(axl_device *d)
{
    cpu_state *state = state_of(d);
    axl_status status = AXL_OK;

    if (atomic_load(&state->n_waiting) == 0 || pthread_mutex_trylock(&state->mutex) != 0)
        return AXL_OK;
    for (int i = 0; i < state->n_queues; i++) {
        advance(state, state->queues[i]);
        if (status == AXL_OK)
            status = queue_status(state->queues[i]);
    }
    (void)pthread_mutex_unlock(&state->mutex);
    return status;
}

// Drives all queues until q has passed ticket. Others are moved too: two ranks may each wait for a
// different queue of the other.
static axl_status drive(cpu_state *state, cpu_queue *q, uint64_t ticket)
{
    axl_stream **waits_on = &q->stream.device->waits_on;

    __atomic_store_n(waits_on, &q->stream, __ATOMIC_RELAXED);
    for (;;) {
        (void)pthread_mutex_lock(&state->mutex);
        for (int i = 0; i < state->n_queues; i++)
            advance(state, state->queues[i]);
        const bool passed = q->passed >= ticket;
        const axl_status status = queue_status(q);
        (void)pthread_mutex_unlock(&state->mutex);
        if (passed || status != AXL_OK) {
            __atomic_store_n(waits_on, NULL, __ATOMIC_RELAXED);
            return status;
        }
        (void)sched_yield(); // ranks may share cores
    }
}

static axl_status cpu_record(axl_stream *s, axl_event *out)
{
    cpu_queue *q = s->impl;
    cpu_state *state = state_of(s->device);

    *out = (axl_event){0};
    if (q == NULL)
        return AXL_OK; // what was called on compute has been done
    (void)pthread_mutex_lock(&state->mutex);
    *out = (axl_event){.stream = s, .ticket = q->pushed};
    (void)pthread_mutex_unlock(&state->mutex);
    return AXL_OK;
}

static axl_status cpu_await(const axl_event *e)
{
    if (e->stream == NULL)
        return AXL_OK;
    return drive(state_of(e->stream->device), e->stream->impl, e->ticket);
}

static axl_status cpu_synchronize(axl_stream *s)
{
    axl_event end;
    axl_status status = cpu_record(s, &end);

    if (status != AXL_OK || end.stream == NULL)
        return status;
    return drive(state_of(s->device), s->impl, end.ticket);
}

// --- tasks of the device itself -------------------------------------------------------------------

// A copy, a fill or the wait for an event, queued on a stream other than compute.
typedef struct device_task {
    axl_task task;
    void *dst;
    const void *src; // NULL: zero dst
    size_t bytes;
    axl_event event;
} device_task;

static axl_status poll_memory(axl_task *t, bool *done)
{
    device_task *m = (device_task *)t;

    if (m->src != NULL)
        memcpy(m->dst, m->src, m->bytes);
    else
        memset(m->dst, 0, m->bytes);
    *done = true;
    return AXL_OK;
}

// The mutex is held by the poller, so the other queue may be read.
static axl_status poll_event(axl_task *t, bool *done)
{
    const device_task *m = (const device_task *)t;
    const cpu_queue *q = m->event.stream->impl;

    *done = q->passed >= m->event.ticket;
    return queue_status(q);
}

static void destroy_task(axl_task *t)
{
    free(t);
}

static axl_status push_task(axl_stream *s, const device_task *model)
{
    axl_status status = AXL_OK;
    device_task *m = NULL;

    AXL_TRY(axl_calloc(1, sizeof *m, "a stream task", &m));
    *m = *model;
    m->task.destroy = destroy_task;
    AXL_TRY(cpu_push(s, &m->task));

out:
    return status;
}

// A large copy (or fill with 0, src NULL) by all threads of the device: one core cannot fill the memory bus.
static void move_at_once(const axl_device *d, uint8_t *dst, const uint8_t *src, size_t bytes)
{
    const int64_t n_parts = (int64_t)((bytes + MOVE_BYTES - 1) / MOVE_BYTES);

#pragma omp parallel for schedule(static) num_threads(d->n_threads) if (n_parts > 2)
    for (int64_t i = 0; i < n_parts; i++) {
        const size_t at = (size_t)i * MOVE_BYTES,
                     n = bytes - at < MOVE_BYTES ? bytes - at : MOVE_BYTES;
        if (src != NULL)
            memcpy(dst + at, src + at, n);
        else
            memset(dst + at, 0, n);
    }
}

static axl_status cpu_copy(axl_stream *s, void *dst, const void *src, size_t bytes)
{
    device_task m = {.task.poll = poll_memory, .dst = dst, .src = src, .bytes = bytes};

    if (bytes == 0)
        return AXL_OK;
    if (s->impl != NULL)
        return push_task(s, &m);
    move_at_once(s->device, dst, src, bytes);
    return AXL_OK;
}

static axl_status cpu_zero(axl_stream *s, void *dst, size_t bytes)
{
    device_task m = {.task.poll = poll_memory, .dst = dst, .bytes = bytes};

    if (bytes == 0)
        return AXL_OK;
    if (s->impl != NULL)
        return push_task(s, &m);
    move_at_once(s->device, dst, NULL, bytes);
    return AXL_OK;
}

static axl_status cpu_wait(axl_stream *s, const axl_event *e)
{
    device_task m = {.task.poll = poll_event, .event = *e};

    if (e->stream == NULL || e->stream == s)
        return AXL_OK; // a queue is in order by itself
    if (s->impl != NULL)
        return push_task(s, &m);
    return drive(state_of(s->device), e->stream->impl, e->ticket);
}

// --- streams and the device -----------------------------------------------------------------------

static axl_status cpu_stream_create(axl_device *d, const char *name, axl_stream **out)
{
    axl_status status = AXL_OK;
    cpu_state *state = state_of(d);
    cpu_queue *q = NULL;

    AXL_TRY(axl_calloc(1, sizeof *q, "a stream", &q));
    q->stream = (axl_stream){.device = d, .name = name, .impl = q};
    (void)pthread_mutex_lock(&state->mutex);
    const bool fits = state->n_queues < MAX_QUEUES;
    if (fits)
        state->queues[state->n_queues++] = q;
    (void)pthread_mutex_unlock(&state->mutex);
    AXL_REQUIRE(fits, AXL_E_DEVICE, "stream %s: more than %d streams", name, MAX_QUEUES);
    *out = &q->stream;
    q = NULL;

out:
    free(q);
    return status;
}

static void cpu_stream_destroy(axl_stream *s)
{
    if (s == NULL)
        return;
    cpu_queue *q = s->impl;
    cpu_state *state = state_of(s->device);

    (void)cpu_synchronize(s); // its failure has been told to those who waited
    (void)pthread_mutex_lock(&state->mutex);
    for (int i = 0; i < state->n_queues; i++)
        if (state->queues[i] == q)
            state->queues[i--] = state->queues[--state->n_queues];
    (void)pthread_mutex_unlock(&state->mutex);
    free(q);
}

static const axl_device_ops cpu_ops = {
    .alloc = cpu_alloc,
    .free = cpu_free,
    .copy = cpu_copy,
    .zero = cpu_zero,
    .stream_create = cpu_stream_create,
    .stream_destroy = cpu_stream_destroy,
    .record = cpu_record,
    .wait = cpu_wait,
    .await = cpu_await,
    .synchronize = cpu_synchronize,
    .host_alloc = cpu_host_alloc,
    .host_free = cpu_host_free,
    .push = cpu_push,
    .progress = cpu_progress,
    .waits = cpu_waits,
    .mem_info = cpu_mem_info,
    .destroy = axl_cpu_device_destroy,
};

void axl_cpu_device_destroy(axl_device *d)
{
    if (d == NULL)
        return;
    cpu_stream_destroy(d->gather);
    cpu_stream_destroy(d->reduce);
    cpu_stream_destroy(d->exchange);
    free(d->compute);
    if (d->priv != NULL) {
        cpu_free(d, d->workspace, d->workspace_bytes);
        (void)pthread_mutex_destroy(&state_of(d)->mutex);
    }
    free(d->staging);
    free(d->priv);
    free(d);
}

axl_status axl_cpu_device_create(const axl_kernels *kernels, int n_threads, axl_device **out)
{
    axl_status status = AXL_OK;
    axl_device *d = NULL;
    cpu_state *state = NULL;

    AXL_TRY(axl_calloc(1, sizeof *d, "the device", &d));
    AXL_TRY(axl_calloc(1, sizeof *state, "the device", &state));
    (void)pthread_mutex_init(&state->mutex, NULL);
    d->ops = &cpu_ops;
    d->kernels = kernels;
    d->n_threads = n_threads > 0 ? n_threads : omp_get_max_threads();
    d->priv = state;
    d->host_memory = true;
    d->workspace_bytes = AXL_WORKSPACE_BYTES + (size_t)d->n_threads * WORKSPACE_A_THREAD;
    AXL_TRY(cpu_alloc(d, d->workspace_bytes, "the kernels' workspace", &d->workspace));
    AXL_TRY(axl_calloc(1, sizeof *d->compute, "a stream", &d->compute));
    *d->compute = (axl_stream){.device = d, .name = "compute"};
    AXL_TRY(cpu_stream_create(d, "gather", &d->gather));
    AXL_TRY(cpu_stream_create(d, "reduce", &d->reduce));
    AXL_TRY(cpu_stream_create(d, "exchange", &d->exchange));
    *out = d;
    d = NULL;

out:
    axl_cpu_device_destroy(d);
    return status;
}
