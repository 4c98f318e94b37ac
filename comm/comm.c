// Communicators as seen from above: checks, counters, groups and the pool of tasks. The hard part is
// the waiting: a rank that blocks in one collective must go on moving the queued ones, or two ranks
// may wait for each other in different calls.
#include "comm/nccl.h"
#include "comm/transport.h"

#include "src/base/log.h"
#include "src/base/mem.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PATIENCE_SECONDS 1.0
#define LOOK_ROUNDS      1000 // half a second of naps

static const char *const op_names[AXL_COMM_N_OPS] = {
    [AXL_COMM_ALL_GATHER] = "all_gather", [AXL_COMM_REDUCE_SCATTER] = "reduce_scatter",
    [AXL_COMM_ALL_REDUCE] = "all_reduce", [AXL_COMM_BROADCAST] = "broadcast",
    [AXL_COMM_SEND_RECV] = "send_recv",   [AXL_COMM_ALL_TO_ALL] = "all_to_all",
};

const char *axl_comm_op_name(axl_comm_op op)
{
    return (unsigned)op < AXL_COMM_N_OPS ? op_names[op] : "unknown";
}

int axl_comm_rank(const axl_comm *c)
{
    return c->rank;
}

int axl_comm_size(const axl_comm *c)
{
    return c->size;
}

const char *axl_comm_name(const axl_comm *c)
{
    return c->name;
}

const char *axl_comm_transport(const axl_comm *c)
{
    return c->nccl != NULL ? "nccl" : c->transport->name;
}

int axl_comm_local_rank(const axl_comm *c)
{
    return c->local_rank;
}

int axl_comm_local_size(const axl_comm *c)
{
    return c->local_size;
}

int axl_comm_n_hosts(const axl_comm *c)
{
    return c->n_hosts;
}

bool axl_comm_threads(const axl_comm *c)
{
    return c->root->threads;
}

void axl_comm_fix_order(axl_comm *world, bool fixed)
{
    world->root->fixed_order = fixed;
}

axl_status axl_comm_library(const axl_comm *c, axl_str *out)
{
    return c->transport->library(out);
}

void axl_comm_counters_read(const axl_comm *c, axl_comm_counter out[AXL_COMM_N_OPS])
{
    memcpy(out, c->counters, sizeof c->counters);
}

void axl_comm_counters_reset(axl_comm *c)
{
    memset(c->counters, 0, sizeof c->counters);
}

void axl_comm_count_exposed(axl_comm *c, axl_comm_op op, double seconds)
{
    c->counters[op].exposed_seconds += seconds;
}

static int64_t payload_bytes(const axl_comm *c, const axl_coll *coll)
{
    const int64_t bytes = coll->count * (int64_t)coll->elem;
    const bool by_shard = coll->op == AXL_COMM_ALL_GATHER || coll->op == AXL_COMM_REDUCE_SCATTER;

    return by_shard ? bytes * c->size : bytes;
}

int64_t axl_comm_sent_bytes(axl_comm_op op, int64_t n_ranks, int64_t payload)
{
    if (op == AXL_COMM_ALL_GATHER || op == AXL_COMM_REDUCE_SCATTER)
        return payload / n_ranks * (n_ranks - 1);
    return op == AXL_COMM_ALL_REDUCE ? 2 * (n_ranks - 1) * payload / n_ranks : payload;
}

static void count(axl_comm *c, const axl_coll *coll)
{
    axl_comm_counter *k = &c->counters[coll->op];
    const int64_t payload = payload_bytes(c, coll);
    int64_t sent = axl_comm_sent_bytes(coll->op, c->size, payload);

    if (coll->op == AXL_COMM_BROADCAST && (c->rank + 1) % c->size == coll->peer)
        sent = 0; // the end of the chain
    k->calls++;
    k->payload_bytes += payload;
    k->sent_bytes += sent - coll->own;
}

// ---- tasks

static void task_free(axl_comm_task *t)
{
    if (t == NULL)
        return;
    t->comm->transport->task_fini(t);
    free(t->colls);
    free(t->parts);
    free(t->shards);
    free(t);
}

static void task_release(axl_task *base)
{
    axl_comm_task *t = (axl_comm_task *)base;

    (void)pthread_mutex_lock(&t->comm->pool_lock);
    t->next_free = t->comm->free;
    t->comm->free = t;
    (void)pthread_mutex_unlock(&t->comm->pool_lock);
}

static int64_t task_bytes(const axl_comm_task *t)
{
    int64_t bytes = 0;

    for (size_t i = 0; i < t->n_colls; i++)
        bytes += payload_bytes(t->comm, &t->colls[i]);
    return bytes;
}

static axl_status task_failed(const axl_comm_task *t, axl_status status)
{
    return axl_error_context(status, "%s on axis %s (%lld bytes%s)",
                             axl_comm_op_name(t->colls[0].op), t->comm->name,
                             (long long)task_bytes(t), t->n_colls > 1 ? ", grouped" : "");
}

static void record_wait(const axl_comm_task *t)
{
    axl_flight_wait(&t->comm->root->flight, axl_comm_op_name(t->colls[0].op), t->comm->axis,
                    task_bytes(t), t->queued ? &t->stream->device->waits_on : NULL);
}

// A queued collective is waited for when the host waits for its stream, or for another that depends on
// it. The device's mutex is held here.
static void record_queued(const axl_comm_task *t, bool done)
{
    axl_flight *f = &t->comm->root->flight;
    const axl_stream *waits_on = __atomic_load_n(&t->stream->device->waits_on, __ATOMIC_RELAXED);

    if (done && f->queued == t) {
        f->queued = NULL;
        // by now the main thread may wait for a collective that it runs itself
        if (atomic_load_explicit(&f->waits_on, memory_order_relaxed) != NULL)
            axl_flight_go_on(f);
    } else if (!done && waits_on != NULL && f->queued != t &&
               (f->queued == NULL || waits_on == t->stream)) {
        f->queued = t;
        record_wait(t);
    }
}

static axl_status task_poll(axl_task *base, bool *done)
{
    axl_comm_task *t = (axl_comm_task *)base;
    axl_status status = t->comm->transport->poll(t, done);

    if (t->queued)
        record_queued(t, *done);
    return status == AXL_OK ? status : task_failed(t, status);
}

static axl_status task_take(axl_comm *c, axl_comm_task **out)
{
    axl_status status = AXL_OK;
    axl_comm_task *t = NULL;

    (void)pthread_mutex_lock(&c->pool_lock);
    t = c->free;
    if (t != NULL)
        c->free = t->next_free;
    (void)pthread_mutex_unlock(&c->pool_lock);
    if (t == NULL) {
        AXL_TRY(axl_calloc(1, sizeof *t, "a collective", &t));
        t->comm = c;
        t->base.poll = task_poll;
        t->base.destroy = task_release;
    }
    t->base.next = NULL;
    t->next_free = NULL;
    t->n_colls = 0;
    t->n_parts = 0;
    t->n_shards = 0;
    t->started = false;
    t->queued = false;
    t->stream = NULL;
    *out = t;

out:
    return status;
}

axl_status axl_comm_idle(axl_comm *c, int64_t round)
{
    axl_status status = AXL_OK;

    if (c->root->device != NULL)
        AXL_TRY(axl_device_progress(c->root->device));
    if (round < c->root->spin_rounds)
        goto out;
    if (round == c->root->spin_rounds)
        c->root->yields = axl_now();
    // A rank that is waited for so long prepares data or writes a checkpoint; a yielding rank would still take its
    // share of the cores.
    if (axl_now() > c->root->yields + PATIENCE_SECONDS) {
        (void)nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
        if (round % LOOK_ROUNDS == 0)
            AXL_TRY(axl_nccl_look(c->root)); // its device may stand for ever
    } else {
        (void)sched_yield(); // the rank waited for may need this core
    }

out:
    return status;
}

static axl_status task_wait(axl_comm_task *t)
{
    axl_status status = AXL_OK;
    const double begin = axl_now();
    bool done = false;

    record_wait(t);
    for (int64_t round = 0;; round++) {
        AXL_TRY(task_poll(&t->base, &done));
        if (done)
            break;
        AXL_TRY(axl_comm_idle(t->comm, round));
    }
    axl_comm_count_exposed(t->comm, t->colls[0].op, axl_now() - begin);
    axl_flight_go_on(&t->comm->root->flight); // after a failure the record stays for the message

out:
    return status;
}

// The device's own work: nobody needs to move it on.
static axl_status run_on_device(axl_comm_task *t)
{
    const axl_status status = axl_nccl_run(t);

    axl_flight_device(&t->comm->root->flight, axl_comm_op_name(t->colls[0].op), t->comm->axis,
                      task_bytes(t), &t->stream->device->waits_on);
    return status == AXL_OK ? status : task_failed(t, status);
}

static axl_status task_run(axl_comm_task *t)
{
    const bool on_host = t->stream == NULL || t->stream->device->host_memory;
    const axl_status status = on_host                 ? task_wait(t)
                              : t->comm->nccl != NULL ? run_on_device(t)
                                                      : axl_comm_stage(t, task_wait);

    task_release(&t->base);
    return status;
}

static axl_status task_launch(axl_comm_task *t)
{
    axl_status status = AXL_OK;

    axl_flight_start(&t->comm->root->flight);
    if (t->stream != NULL)
        t->comm->root->device = t->stream->device;
    for (size_t i = 0; i < t->n_colls; i++) { // now the lists grow no more
        t->colls[i].parts = t->parts + t->colls[i].first_part;
        t->colls[i].shards = t->shards + t->colls[i].first_shard;
    }
    if (t->n_colls == 0) {
        task_release(&t->base);
    } else if (t->stream == NULL || t->stream == t->stream->device->compute ||
               !t->stream->device->host_memory) {
        AXL_TRY(task_run(t)); // a CPU's compute stream runs each call at once
    } else {
        t->queued = true;
        AXL_TRY(axl_stream_push(t->stream, &t->base));
    }

out:
    return status;
}

static axl_status task_add(axl_comm_task *t, axl_coll *coll, axl_stream *s)
{
    axl_status status = AXL_OK;
    const size_t n_parts = coll->op == AXL_COMM_ALL_TO_ALL ? (size_t)t->comm->size : 0;

    AXL_REQUIRE(t->n_colls == 0 || t->stream == s, AXL_E_BUG,
                "a group of collectives on axis %s uses two streams", t->comm->name);
    AXL_TRY(axl_grow(&t->colls, &t->capacity, t->n_colls + 1, sizeof *t->colls, "collectives"));
    if (n_parts > 0) {
        AXL_TRY(axl_grow(&t->parts, &t->part_capacity, t->n_parts + n_parts, sizeof *t->parts,
                         "parts of an all_to_all"));
        memcpy(t->parts + t->n_parts, coll->parts, n_parts * sizeof *coll->parts);
        coll->first_part = t->n_parts;
        t->n_parts += n_parts;
    }
    if (coll->n_shards > 0) {
        AXL_TRY(axl_grow(&t->shards, &t->shard_capacity, t->n_shards + coll->n_shards,
                         sizeof *t->shards, "shards of a reduce_scatter"));
        memcpy(t->shards + t->n_shards, coll->shards, coll->n_shards * sizeof *coll->shards);
        coll->first_shard = t->n_shards;
        t->n_shards += coll->n_shards;
    }
    t->colls[t->n_colls] = *coll;
    t->comm->transport->plan(t->comm, &t->colls[t->n_colls]);
    t->n_colls++;
    t->stream = s;
    count(t->comm, coll);

out:
    return status;
}

static axl_status submit(axl_comm *c, axl_coll coll, axl_stream *s)
{
    axl_status status = AXL_OK;
    axl_comm_task *t = c->group;

    coll.elem = axl_dtype_size(coll.dtype);
    AXL_REQUIRE(coll.count >= 0, AXL_E_BUG, "%s on axis %s of %lld elements",
                axl_comm_op_name(coll.op), c->name, (long long)coll.count);
    if (t == NULL)
        AXL_TRY(task_take(c, &t));
    AXL_TRY(task_add(t, &coll, s));
    if (c->group == NULL) {
        axl_comm_task *ready = t;
        t = NULL; // the launch owns it
        AXL_TRY(task_launch(ready));
    }

out:
    if (t != NULL && t != c->group)
        task_release(&t->base);
    return status;
}

axl_status axl_comm_group_begin(axl_comm *c)
{
    axl_status status = AXL_OK;

    AXL_REQUIRE(c->group == NULL, AXL_E_BUG, "axis %s: a group within a group", c->name);
    AXL_TRY(task_take(c, &c->group));

out:
    return status;
}

axl_status axl_comm_group_end(axl_comm *c)
{
    axl_status status = AXL_OK;
    axl_comm_task *t = c->group;

    AXL_REQUIRE(t != NULL, AXL_E_BUG, "axis %s: the end of no group", c->name);
    c->group = NULL;
    AXL_TRY(task_launch(t));

out:
    return status;
}

// ---- collectives

axl_status axl_comm_all_gather(axl_comm *c, const void *shard, void *full, int64_t count,
                               axl_dtype dtype, axl_stream *s)
{
    return submit(
        c,
        (axl_coll){
            .op = AXL_COMM_ALL_GATHER, .src = shard, .dst = full, .count = count, .dtype = dtype},
        s);
}

axl_status axl_comm_reduce_scatter_list(axl_comm *c, const void *full, int64_t stride,
                                        const axl_comm_shard *shards, int n_shards, axl_dtype dtype,
                                        axl_stream *s)
{
    axl_status status = AXL_OK;
    axl_coll coll = {.op = AXL_COMM_REDUCE_SCATTER,
                     .src = full,
                     .dtype = dtype,
                     .stride = stride,
                     .shards = shards,
                     .n_shards = (size_t)n_shards};

    AXL_REQUIRE(dtype == AXL_F32 || dtype == AXL_BF16, AXL_E_UNSUPPORTED,
                "reduce_scatter on axis %s: no sum of %s; use F32 or BF16", c->name,
                axl_dtype_name(dtype));
    for (int i = 0; i < n_shards; i++)
        coll.count += shards[i].count;
    AXL_TRY(submit(c, coll, s));

out:
    return status;
}

axl_status axl_comm_reduce_scatter(axl_comm *c, const void *full, float *shard, int64_t count,
                                   axl_dtype dtype, bool accumulate, axl_stream *s)
{
    const axl_comm_shard to = {.sum = shard, .count = count, .accumulate = accumulate};

    return axl_comm_reduce_scatter_list(c, full, count, &to, 1, dtype, s);
}

axl_status axl_comm_all_reduce(axl_comm *c, void *buf, int64_t count, axl_dtype dtype,
                               axl_reduce_op op, axl_stream *s)
{
    axl_status status = AXL_OK;
    const bool known =
        dtype == AXL_F32 || dtype == AXL_F64 || dtype == AXL_I64 || dtype == AXL_BF16;

    AXL_REQUIRE(known, AXL_E_UNSUPPORTED,
                "all_reduce on axis %s: no sum of %s; use F32, F64, I64 or BF16", c->name,
                axl_dtype_name(dtype));
    AXL_TRY(submit(
        c,
        (axl_coll){
            .op = AXL_COMM_ALL_REDUCE, .dst = buf, .count = count, .dtype = dtype, .reduce = op},
        s));

out:
    return status;
}

axl_status axl_comm_broadcast(axl_comm *c, void *buf, int64_t bytes, int root, axl_stream *s)
{
    axl_status status = AXL_OK;

    AXL_REQUIRE(root >= 0 && root < c->size, AXL_E_BUG, "broadcast on axis %s from rank %d of %d",
                c->name, root, c->size);
    AXL_TRY(submit(
        c,
        (axl_coll){
            .op = AXL_COMM_BROADCAST, .dst = buf, .count = bytes, .dtype = AXL_U8, .peer = root},
        s));

out:
    return status;
}

static bool is_rank(const axl_comm *c, int r)
{
    return r >= 0 && r < c->size;
}

axl_status axl_comm_send_recv(axl_comm *c, const void *send, int64_t send_bytes, int to, void *recv,
                              int64_t recv_bytes, int from, axl_stream *s)
{
    axl_status status = AXL_OK;
    const int64_t own = send_bytes > 0 && to == c->rank ? send_bytes : 0;
    const int64_t from_self = recv_bytes > 0 && from == c->rank ? recv_bytes : 0;

    AXL_REQUIRE((send_bytes == 0 || is_rank(c, to)) && (recv_bytes == 0 || is_rank(c, from)) &&
                    recv_bytes >= 0 && own == from_self,
                AXL_E_BUG,
                "send_recv on axis %s: %lld bytes to rank %d, %lld from rank %d, at rank %d of %d",
                c->name, (long long)send_bytes, to, (long long)recv_bytes, from, c->rank, c->size);
    AXL_TRY(submit(c,
                   (axl_coll){.op = AXL_COMM_SEND_RECV,
                              .src = send,
                              .dst = recv,
                              .count = send_bytes,
                              .recv_count = recv_bytes,
                              .dtype = AXL_U8,
                              .peer = to,
                              .from = from,
                              .own = own},
                   s));

out:
    return status;
}

// Two sides of an exchange, each a buffer with its counts and places, as MPI_Alltoallv has them.
// NOLINTNEXTLINE(readability-function-size): a struct for nine arguments would hide which side is which
axl_status axl_comm_all_to_all(axl_comm *c, const void *send, const int64_t *send_count,
                               const int64_t *send_at, void *recv, const int64_t *recv_count,
                               const int64_t *recv_at, int64_t row_bytes, axl_stream *s)
{
    axl_status status = AXL_OK;
    axl_coll coll = {.op = AXL_COMM_ALL_TO_ALL, .src = send, .dst = recv, .dtype = AXL_U8};

    AXL_REQUIRE(send_count[c->rank] == recv_count[c->rank], AXL_E_BUG,
                "all_to_all on axis %s: rank %d sends itself %lld rows and expects %lld", c->name,
                c->rank, (long long)send_count[c->rank], (long long)recv_count[c->rank]);
    AXL_TRY(axl_grow(&c->parts, &c->part_capacity, (size_t)c->size, sizeof *c->parts,
                     "parts of an all_to_all"));
    for (int r = 0; r < c->size; r++) {
        AXL_REQUIRE(send_count[r] >= 0 && recv_count[r] >= 0, AXL_E_BUG,
                    "all_to_all on axis %s: %lld rows to and %lld from rank %d", c->name,
                    (long long)send_count[r], (long long)recv_count[r], r);
        c->parts[r] = (axl_part){send_at[r] * row_bytes, send_count[r] * row_bytes,
                                 recv_at[r] * row_bytes, recv_count[r] * row_bytes};
        coll.count += c->parts[r].send;
    }
    coll.own = c->parts[c->rank].send;
    coll.parts = c->parts;
    AXL_TRY(submit(c, coll, s));

out:
    return status;
}

// ---- host side

// Around a call of the transport that waits: its flight record, and its wait as exposed seconds of the operation that
// it is most like; its bytes are not counted. Returns the time.
static double host_begin(axl_comm *c, const char *op, int64_t bytes)
{
    axl_flight_start(&c->root->flight);
    axl_flight_wait(&c->root->flight, op, c->axis, bytes, NULL);
    return axl_now();
}

static axl_status host_end(axl_comm *c, axl_comm_op like, double begin, axl_status status)
{
    axl_comm_count_exposed(c, like, axl_now() - begin);
    if (status == AXL_OK)
        axl_flight_go_on(&c->root->flight);
    return status;
}

axl_status axl_comm_barrier(axl_comm *c)
{
    const double begin = host_begin(c, "barrier", 0);

    return host_end(c, AXL_COMM_ALL_REDUCE, begin, c->transport->barrier(c));
}

axl_status axl_comm_bcast_bytes(axl_comm *c, void *bytes, int64_t n, int root)
{
    axl_status status = AXL_OK;
    double begin = 0.0;

    AXL_REQUIRE(root >= 0 && root < c->size && n >= 0, AXL_E_BUG,
                "axis %s: broadcast of %lld bytes from rank %d of %d", c->name, (long long)n, root,
                c->size);
    begin = host_begin(c, "broadcast", n);
    AXL_TRY(host_end(c, AXL_COMM_BROADCAST, begin, c->transport->bcast(c, bytes, n, root)));

out:
    return status;
}

axl_status axl_comm_gather_bytes(axl_comm *c, const void *bytes, int64_t n, axl_str *out,
                                 int64_t *sizes)
{
    const double begin = host_begin(c, "gather", n);

    return host_end(c, AXL_COMM_ALL_GATHER, begin, c->transport->gather(c, bytes, n, out, sizes));
}

static axl_status all_reduce_host(axl_comm *c, void *values, int n, axl_dtype dtype,
                                  axl_reduce_op op)
{
    axl_status status = AXL_OK;
    const size_t bytes = (size_t)n * axl_dtype_size(dtype);
    double begin = 0.0;
    char *all = NULL;         // [size][n]
    const void **rows = NULL; // [size]

    AXL_TRY(axl_calloc((size_t)c->size, bytes, "values of all ranks", &all));
    AXL_TRY(axl_calloc((size_t)c->size, sizeof *rows, "values of all ranks", &rows));
    begin = host_begin(c, "all_reduce", (int64_t)bytes);
    AXL_TRY(host_end(c, AXL_COMM_ALL_REDUCE, begin,
                     c->transport->all_gather(c, values, all, (int64_t)bytes)));
    for (int r = 0; r < c->size; r++)
        rows[r] = all + (size_t)r * bytes;
    axl_reduce_any(rows, c->size, dtype, op, n, values);

out:
    free((void *)rows);
    free(all);
    return status;
}

axl_status axl_comm_all_reduce_f64(axl_comm *c, double *values, int n, axl_reduce_op op)
{
    return c->size == 1 || n == 0 ? AXL_OK : all_reduce_host(c, values, n, AXL_F64, op);
}

axl_status axl_comm_all_reduce_i64(axl_comm *c, int64_t *values, int n, axl_reduce_op op)
{
    return c->size == 1 || n == 0 ? AXL_OK : all_reduce_host(c, values, n, AXL_I64, op);
}

axl_status axl_comm_agree(axl_comm *c, axl_status mine)
{
    axl_status status = AXL_OK;
    int64_t first = mine == AXL_OK ? c->size : c->rank;
    struct {
        axl_status status;
        char text[4096];
    } said = {AXL_OK, ""};

    if (c->size == 1)
        return mine;
    // A lost connection cannot be agreed on: whoever sees it says so itself.
    AXL_TRY(axl_comm_all_reduce_i64(c, &first, 1, AXL_REDUCE_MIN));
    if (first == c->size)
        goto out;
    if (c->rank == first) {
        said.status = mine;
        memcpy(said.text, axl_error_message(), strnlen(axl_error_message(), sizeof said.text - 1));
    }
    AXL_TRY(axl_comm_bcast_bytes(c, &said, (int64_t)sizeof said, (int)first));
    said.text[sizeof said.text - 1] = '\0';
    AXL_FAIL(said.status, "rank %d: %s", (int)first, said.text);

out:
    return status;
}

axl_status axl_comm_use_device(axl_comm *world, axl_device *device)
{
    return axl_nccl_use(world, device);
}

// ---- parts of the world

void axl_comm_destroy(axl_comm *c)
{
    if (c == NULL)
        return;
    for (axl_comm_task *t = c->free, *next; t != NULL; t = next) {
        next = t->next_free;
        task_free(t);
    }
    task_free(c->group);
    free(c->parts);
    if (c->root != NULL)
        c->root->device =
            NULL; // it may go with those who used it; the next collective names it again
    axl_nccl_leave(c);
    c->transport->destroy(c);
    (void)pthread_mutex_destroy(&c->pool_lock);
    free(c->name);
    free(c);
}

axl_status axl_comm_split(axl_comm *parent, int color, int key, const char *name, axl_comm **out)
{
    axl_status status = AXL_OK;
    axl_comm *c = NULL;
    bool member = false;

    *out = NULL;
    AXL_TRY(axl_calloc(1, sizeof *c, "a communicator", &c));
    (void)pthread_mutex_init(&c->pool_lock, NULL);
    c->root = parent->root;
    c->transport = &axl_transport_self; // until the split says otherwise
    AXL_TRY(axl_strdup(name, &c->name));
    c->axis = axl_flight_axis(&c->root->flight, name);
    const double begin = host_begin(parent, "split", 0);
    AXL_TRY_CTX(host_end(parent, AXL_COMM_ALL_GATHER, begin,
                         parent->transport->split(parent, color, key, c, &member)),
                "axis %s", name);
    if (parent->nccl != NULL)
        AXL_TRY_CTX(axl_nccl_split(parent, color, c, member), "axis %s", name);
    if (member) {
        *out = c;
        c = NULL;
    }

out:
    axl_comm_destroy(c);
    return status;
}
