// Latency and bandwidth along the axes of the mesh. All groups of an axis work at once, as in training; the
// slowest says how fast a step can be. How often and how much is agreed on from a first timing, so that ranks
// never disagree about the number of calls.
#include "launch/doctor.h"

#include "src/base/log.h"
#include "src/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_BYTES   ((int64_t)256 << 10)
#define MOST_BYTES    ((int64_t)64 << 20)
#define LATE_SECONDS  3.0   // after the end nothing more is begun
#define SHORT_SECONDS 0.005 // below, where time is up, one call of each size must do
#define ROW_PART      0.1   // of the whole time, at most for one operation along one axis

#define BIT(axis) (1u << (axis))
#define DATA      (BIT(AXL_DP_REPLICATE) | BIT(AXL_DP_SHARD) | BIT(AXL_EP))

// Which operations training runs along which axes. The first of two rows that are the same ranks and operation
// is measured, the other is mentioned beside it.
static const struct {
    unsigned axes;
    const char *name;
    axl_comm_op ops[2];
    int n_ops;
} rows[] = {
    {BIT(AXL_DP_REPLICATE), "dp_replicate", {AXL_COMM_ALL_REDUCE}, 1},
    {BIT(AXL_DP_SHARD), "dp_shard", {AXL_COMM_ALL_GATHER, AXL_COMM_REDUCE_SCATTER}, 2},
    {BIT(AXL_EP), "ep", {AXL_COMM_ALL_TO_ALL}, 1},
    {BIT(AXL_CP), "cp", {AXL_COMM_SEND_RECV}, 1},
    {BIT(AXL_TP), "tp", {AXL_COMM_ALL_REDUCE}, 1},
    {BIT(AXL_DP_SHARD) | BIT(AXL_EP) | BIT(AXL_CP),
     "dense",
     {AXL_COMM_ALL_GATHER, AXL_COMM_REDUCE_SCATTER},
     2},
    {BIT(AXL_DP_SHARD) | BIT(AXL_CP), "expert", {AXL_COMM_ALL_GATHER, AXL_COMM_REDUCE_SCATTER}, 2},
    {DATA | BIT(AXL_CP), "loss", {AXL_COMM_ALL_REDUCE}, 1},
    {DATA, "batch", {AXL_COMM_ALL_REDUCE}, 1},
};
#define N_ROWS ((int)(sizeof rows / sizeof *rows))

static axl_comm *row_comm(const axl_mesh *m, int row)
{
    axl_comm *const groups[] = {m->dense, m->expert, m->loss, m->batch};

    return row < AXL_N_AXES ? m->axis[row] : groups[row - AXL_N_AXES];
}

// One operation with its buffers.
typedef struct probe {
    axl_comm *comm; // borrowed
    axl_comm_op op;
    char *send, *recv; // [MOST_BYTES], touched as far as used
    int64_t *counts;   // [2 * ranks of the world]: ones, then 0, 1, 2 ...
    int world;
    axl_device *device; // borrowed
    axl_stream *stream; // of the device that runs the collectives; NULL: the host does
} probe;

static axl_status call(const probe *p, int64_t bytes)
{
    const int n = axl_comm_size(p->comm), rank = axl_comm_rank(p->comm);
    const int64_t floats = bytes / (int64_t)sizeof(float) / n;
    const int64_t part = floats * (int64_t)sizeof(float);
    float *shard = (float *)(void *)p->recv;

    switch (p->op) {
    case AXL_COMM_ALL_GATHER:
        return axl_comm_all_gather(p->comm, p->recv + rank * part, p->recv, floats, AXL_F32,
                                   p->stream);
    case AXL_COMM_REDUCE_SCATTER:
        return axl_comm_reduce_scatter(p->comm, p->send, shard, floats, AXL_F32, false, p->stream);
    case AXL_COMM_ALL_REDUCE:
        return axl_comm_all_reduce(p->comm, p->recv, floats * n, AXL_F32, AXL_REDUCE_SUM,
                                   p->stream);
    case AXL_COMM_ALL_TO_ALL:
        return axl_comm_all_to_all(p->comm, p->send, p->counts, p->counts + p->world, p->recv,
                                   p->counts, p->counts + p->world, part, p->stream);
    case AXL_COMM_SEND_RECV:
        return axl_comm_send_recv(p->comm, p->send, bytes, (rank + 1) % n, p->recv, bytes,
                                  (rank + n - 1) % n, p->stream);
    default:
        return axl_error_set(AXL_E_BUG, __FILE__, __LINE__, "nobody measures a %s",
                             axl_comm_op_name(p->op));
    }
}

// What a rank's link carries, in parts of the buffer: busbw of nccl-tests.
static double bus_factor(axl_comm_op op, int n)
{
    const double others = (double)(n - 1) / n;

    return op == AXL_COMM_SEND_RECV ? 1.0 : op == AXL_COMM_ALL_REDUCE ? 2.0 * others : others;
}

// Seconds a call, on average over calls in a row, for the slowest rank of the group.
static axl_status run(const probe *p, int64_t bytes, int calls, double *seconds)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_comm_barrier(p->comm));
    double start = axl_now();
    for (int i = 0; i < calls; i++)
        AXL_TRY(call(p, bytes));
    if (p->stream != NULL)
        AXL_TRY(p->device->ops->synchronize(p->stream));
    *seconds = (axl_now() - start) / calls;
    AXL_TRY(axl_comm_all_reduce_f64(p->comm, seconds, 1, AXL_REDUCE_MAX));

out:
    return status;
}

// The best of up to three runs that take `budget` seconds together; fastest and slowest group of the world.
static axl_status measure(const probe *p, axl_comm *world, int64_t bytes, double budget,
                          double *slowest, double *fastest)
{
    axl_status status = AXL_OK;
    double first = 0.0, best = 0.0, start = axl_now(), spent = 0.0;

    AXL_TRY(call(p, bytes)); // touches pages, opens connections
    AXL_TRY(run(p, bytes, 1, &best));
    first = best;
    if (budget > SHORT_SECONDS)
        AXL_TRY(axl_comm_all_reduce_f64(world, &first, 1, AXL_REDUCE_MAX));
    const double fit = first > 0.0 ? budget / first : 1000.0; // calls, the same for all
    const int runs = budget <= SHORT_SECONDS ? 0 : fit >= 3.0 ? 3 : (int)fit;
    const int calls = fit >= 900.0 ? 300 : fit >= 3.0 ? (int)(fit / 3.0) : 1;
    for (int i = 0; i < runs && spent < budget; i++) {
        double seconds = 0.0;
        AXL_TRY(run(p, bytes, calls, &seconds));
        best = seconds < best ? seconds : best;
        spent = axl_now() - start;
        AXL_TRY(axl_comm_all_reduce_f64(world, &spent, 1, AXL_REDUCE_MAX));
    }
    double both[2] = {best, -best};
    AXL_TRY(axl_comm_all_reduce_f64(world, both, 2, AXL_REDUCE_MAX));
    *slowest = both[0];
    *fastest = -both[1];

out:
    return status;
}

// The largest power of two up to `most` of which a few calls fit into the budget.
static axl_status choose_bytes(const probe *p, axl_comm *world, int64_t most, double budget,
                               int64_t *bytes)
{
    axl_status status = AXL_OK;
    double best = 1e30;

    *bytes = FIRST_BYTES;
    if (budget <= SHORT_SECONDS)
        goto out;
    for (int i = 0; i < 3; i++) { // the first touches pages
        double seconds = 0.0;
        AXL_TRY(run(p, FIRST_BYTES, 1, &seconds));
        best = seconds < best ? seconds : best;
    }
    AXL_TRY(axl_comm_all_reduce_f64(world, &best, 1, AXL_REDUCE_MAX));
    for (best *= 5.0; 2 * *bytes <= most && 2.0 * best <= budget; best *= 2.0)
        *bytes *= 2;

out:
    return status;
}

static axl_status measure_speed(const axl_doctor *d, probe *p, int64_t most, double budget,
                                axl_doctor_speed *s)
{
    axl_status status = AXL_OK;
    axl_comm *world = d->up.world;
    double slowest = 0.0, fastest = 0.0;

    AXL_TRY(measure(p, world, AXL_DOCTOR_SMALL > 4 * s->n_ranks ? AXL_DOCTOR_SMALL : 4 * s->n_ranks,
                    budget * 0.2, &s->latency, &fastest));
    AXL_TRY(choose_bytes(p, world, most, budget * 0.7, &s->large_bytes));
    AXL_TRY(measure(p, world, s->large_bytes, budget * 0.4, &slowest, &fastest));
    const double bus = bus_factor(p->op, s->n_ranks) * (double)s->large_bytes;
    s->slowest = bus / slowest;
    s->fastest = bus / fastest;

out:
    return status;
}

// The axes of a row along which there is more than one rank.
static unsigned live_axes(const axl_mesh *m, int row)
{
    unsigned axes = 0;

    for (int a = 0; a < AXL_N_AXES; a++)
        if ((rows[row].axes & BIT(a)) != 0 && m->size[a] > 1)
            axes |= BIT(a);
    return axes;
}

// Lists what is to be measured, with the row of each.
static void list_speeds(axl_doctor *d, int row_of[AXL_DOCTOR_MAX_SPEEDS])
{
    for (int row = 0; row < N_ROWS; row++) {
        const unsigned axes = live_axes(d->mesh, row);
        for (int k = 0; k < rows[row].n_ops && axes != 0; k++) {
            int same = 0;
            while (same < d->n_speeds && (live_axes(d->mesh, row_of[same]) != axes ||
                                          d->speeds[same].op != rows[row].ops[k]))
                same++;
            axl_doctor_speed *s = &d->speeds[same];
            if (same < d->n_speeds) {
                size_t n = strlen(s->also);
                (void)snprintf(s->also + n, sizeof s->also - n, "%s%s", n > 0 ? ", " : "",
                               rows[row].name);
                continue;
            }
            const int n = axl_comm_size(row_comm(d->mesh, row));
            *s = (axl_doctor_speed){.axis = rows[row].name,
                                    .op = rows[row].ops[k],
                                    .n_ranks = n,
                                    .n_groups = axl_comm_size(d->up.world) / n};
            row_of[d->n_speeds++] = row;
        }
    }
}

// Host memory; the device's where its collectives are its own work.
static axl_status take(const probe *p, int64_t bytes, void **out)
{
    const char *what = "the communication test";

    if (p->stream != NULL)
        return p->device->ops->alloc(p->device, (size_t)bytes, what, out);
    return axl_calloc((size_t)bytes, 1, what, out);
}

static void give(const probe *p, void *memory, int64_t bytes)
{
    if (p->stream != NULL)
        p->device->ops->free(p->device, memory, (size_t)bytes);
    else
        free(memory);
}

axl_status axl_doctor_speeds(axl_doctor *d, int64_t memory, double seconds)
{
    axl_status status = AXL_OK;
    axl_comm *world = d->up.world;
    probe p = {.world = axl_comm_size(world), .device = d->up.device};
    void *memory_of[2] = {NULL, NULL}; // send, recv
    int row_of[AXL_DOCTOR_MAX_SPEEDS];
    int64_t most = MOST_BYTES;

    AXL_TRY(axl_comm_all_reduce_i64(world, &memory, 1, AXL_REDUCE_MIN));
    while (most > FIRST_BYTES && 2 * most > memory)
        most /= 2;
    list_speeds(d, row_of);
    if (strcmp(axl_comm_transport(world), "nccl") == 0)
        p.stream = p.device->compute;
    for (int i = 0; i < 2 && status == AXL_OK; i++)
        status = take(&p, most, &memory_of[i]);
    p.send = memory_of[0];
    p.recv = memory_of[1];
    if (status == AXL_OK)
        status = axl_calloc((size_t)(2 * p.world), sizeof *p.counts, "counts", &p.counts);
    AXL_TRY(axl_comm_agree(world, status));
    for (int r = 0; r < p.world; r++) {
        p.counts[r] = 1;
        p.counts[p.world + r] = r;
    }
    for (int i = 0; i < d->n_speeds; i++) {
        // what is left, shared by the rows to come: a slow one takes from those behind it
        double left = d->up.start + seconds - axl_now();
        AXL_TRY(axl_comm_all_reduce_f64(world, &left, 1, AXL_REDUCE_MIN));
        if (left < -LATE_SECONDS) {
            d->n_unmeasured = d->n_speeds - i;
            d->n_speeds = i;
            break;
        }
        left /= d->n_speeds - i;
        p.comm = row_comm(d->mesh, row_of[i]);
        p.op = d->speeds[i].op;
        AXL_TRY(measure_speed(d, &p, most, left < ROW_PART * seconds ? left : ROW_PART * seconds,
                              &d->speeds[i]));
    }

out:
    give(&p, memory_of[0], most);
    give(&p, memory_of[1], most);
    free(p.counts);
    return status;
}
