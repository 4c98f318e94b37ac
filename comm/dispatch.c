// Who sends which rows when. All of it is arithmetic on the table of counts; the exchange itself is all_to_all.
#include "comm/dispatch.h"

#include "src/base/mem.h"

#include <stdlib.h>
#include <string.h>

axl_status axl_dispatch_imagine(int n_ranks, int n_experts, axl_dispatch **out)
{
    axl_status status = AXL_OK;
    axl_dispatch *d = NULL;
    const size_t n = (size_t)n_ranks;

    AXL_REQUIRE(n_experts > 0 && n_experts % n_ranks == 0, AXL_E_CONFIG,
                "expert_parallel_size %d does not divide %d experts", n_ranks, n_experts);
    AXL_TRY(axl_calloc(1, sizeof *d, "the dispatch of experts", &d));
    d->n_ranks = n_ranks;
    d->n_experts = n_experts;
    d->n_local = n_experts / n_ranks;
    d->n_groups = n_experts; // of each rank its local experts
    AXL_TRY(axl_calloc(n, sizeof *d->send_at, "expert counts", &d->send_at));
    AXL_TRY(axl_calloc(n, sizeof *d->send_count, "expert counts", &d->send_count));
    AXL_TRY(axl_calloc(n, sizeof *d->recv_at, "expert counts", &d->recv_at));
    AXL_TRY(axl_calloc(n, sizeof *d->recv_count, "expert counts", &d->recv_count));
    AXL_TRY(axl_calloc((size_t)d->n_groups + 1, sizeof *d->begin, "the experts' rows", &d->begin));
    AXL_TRY(axl_calloc((size_t)d->n_groups, sizeof *d->matrix, "the experts' rows", &d->matrix));
    for (int g = 0; g < d->n_groups; g++)
        d->matrix[g] = g % d->n_local;
    *out = d;
    d = NULL; // handed to the caller

out:
    axl_dispatch_destroy(d);
    return status;
}

static size_t count_size(const axl_dispatch *d)
{
    return (size_t)d->n_ranks * (size_t)d->n_experts * sizeof *d->counts;
}

axl_status axl_dispatch_create(axl_comm *comm, axl_device *device, int n_experts, int n_layers,
                               axl_dispatch **out)
{
    axl_status status = AXL_OK;
    axl_dispatch *d = NULL;
    void *counts = NULL;

    AXL_TRY(axl_dispatch_imagine(axl_comm_size(comm), n_experts, &d));
    d->comm = comm;
    d->device = device;
    d->n_layers = n_layers;
    AXL_TRY(device->ops->host_alloc(device, count_size(d), "expert counts", &counts));
    d->counts = counts;
    AXL_TRY(axl_calloc((size_t)n_layers, count_size(d), "expert counts", &d->kept));
    *out = d;
    d = NULL; // handed to the caller

out:
    axl_dispatch_destroy(d);
    return status;
}

void axl_dispatch_destroy(axl_dispatch *d)
{
    if (d == NULL)
        return;
    if (d->device != NULL)
        d->device->ops->host_free(d->device, d->counts, count_size(d));
    free(d->kept);
    free(d->send_at);
    free(d->send_count);
    free(d->recv_at);
    free(d->recv_count);
    free(d->begin);
    free(d->matrix);
    free(d);
}

// Copies at rank source for the experts of rank target, before its expert `local`.
static int64_t copies_before(const axl_dispatch *d, int source, int target, int local)
{
    const int32_t *counts =
        d->counts + (int64_t)source * d->n_experts + (int64_t)target * d->n_local;
    int64_t n = 0;

    for (int e = 0; e < local; e++)
        n += counts[e];
    return n;
}

static int64_t copies_for(const axl_dispatch *d, int source, int target)
{
    return copies_before(d, source, target, d->n_local);
}

void axl_dispatch_reset(axl_dispatch *d)
{
    if (d == NULL)
        return;
    d->sent_rows = d->received_rows = d->n_exchanges = 0;
    d->max_over_mean = 0.0;
}

static void note_load(axl_dispatch *d)
{
    int64_t most = 0, all = 0;

    for (int e = 0; e < d->n_experts; e++) {
        int64_t n = 0;
        for (int source = 0; source < d->n_ranks; source++)
            n += d->counts[(int64_t)source * d->n_experts + e];
        most = n > most ? n : most;
        all += n;
    }
    const double load = all > 0 ? (double)most * d->n_experts / (double)all : 0.0;
    d->max_over_mean = load > d->max_over_mean ? load : d->max_over_mean;
}

// Rounds of the exchange whose counts are known, and the rows that it moves.
static void set_rounds(axl_dispatch *d, int64_t capacity)
{
    const int rank = axl_comm_rank(d->comm);

    d->capacity = capacity;
    d->n_rounds = 1;
    for (int target = 0; target < d->n_ranks; target++) {
        int64_t arriving = 0;
        for (int source = 0; source < d->n_ranks; source++)
            arriving += copies_for(d, source, target);
        const int64_t rounds = capacity > 0 ? (arriving + capacity - 1) / capacity : 1;
        d->n_rounds = rounds > d->n_rounds ? rounds : d->n_rounds;
        if (target != rank) {
            d->sent_rows += copies_for(d, rank, target);
            d->received_rows += copies_for(d, target, rank);
        }
    }
}

static int32_t *kept_of(const axl_dispatch *d, int layer)
{
    AXL_ASSERT(layer >= 0 && layer < d->n_layers);
    return d->kept + (int64_t)layer * d->n_ranks * d->n_experts;
}

axl_status axl_dispatch_begin(axl_dispatch *d, int layer, const int32_t *counts, int32_t *all,
                              int64_t capacity, axl_stream *s)
{
    axl_status status = AXL_OK;
    const axl_device_ops *ops = s->device->ops;

    AXL_TRY(axl_comm_all_gather(d->comm, counts, all, d->n_experts, AXL_I32, s));
    AXL_TRY(ops->copy(s, d->counts, all, count_size(d)));
    AXL_TRY(ops->synchronize(s));
    memcpy(kept_of(d, layer), d->counts, count_size(d));
    set_rounds(d, capacity);
    d->n_exchanges++;
    note_load(d);

out:
    return status;
}

void axl_dispatch_again(axl_dispatch *d, int layer, int64_t capacity)
{
    memcpy(d->counts, kept_of(d, layer), count_size(d));
    set_rounds(d, capacity);
}

// The part of n copies, whose first is row `before` of all that arrive at a rank, that lies in window i: its first
// copy in *from, and how many.
static int64_t window(const axl_dispatch *d, int64_t i, int64_t before, int64_t n, int64_t *from)
{
    const int64_t low = i * d->capacity - before, high = low + d->capacity;
    const int64_t end = high < n ? high : n;

    *from = low > 0 ? low : 0;
    return end > *from ? end - *from : 0;
}

static void set_sending(axl_dispatch *d, int64_t i)
{
    const int rank = axl_comm_rank(d->comm);
    int64_t home = 0; // where the copies for each target begin

    for (int target = 0; target < d->n_ranks; target++) {
        const int64_t n = copies_for(d, rank, target);
        int64_t before = 0, from = 0;
        for (int source = 0; source < rank; source++)
            before += copies_for(d, source, target);
        d->send_count[target] = window(d, i, before, n, &from);
        d->send_at[target] = home + (d->send_count[target] > 0 ? from : 0);
        home += n;
    }
}

static void set_receiving(axl_dispatch *d, int64_t i)
{
    const int rank = axl_comm_rank(d->comm);
    int64_t before = 0, at = 0;

    for (int source = 0; source < d->n_ranks; source++) {
        const int32_t *mine =
            d->counts + (int64_t)source * d->n_experts + (int64_t)rank * d->n_local;
        int64_t from = 0, expert = 0;
        const int64_t n = window(d, i, before, copies_for(d, source, rank), &from);
        d->recv_at[source] = at;
        d->recv_count[source] = n;
        for (int e = 0; e < d->n_local; e++) { // the experts' parts of copies from .. from + n
            const int64_t count = mine[e];
            const int64_t low = expert > from ? expert : from;
            const int64_t end = expert + count < from + n ? expert + count : from + n;
            d->begin[source * d->n_local + e] = at;
            at += end > low ? end - low : 0;
            expert += count;
        }
        before += copies_for(d, source, rank);
    }
    d->begin[d->n_groups] = at;
    d->n_rows = at;
}

void axl_dispatch_round(axl_dispatch *d, int64_t i)
{
    set_sending(d, i);
    set_receiving(d, i);
}

axl_status axl_dispatch_send(axl_dispatch *d, const void *home, void *rows, int64_t row_bytes,
                             axl_stream *s)
{
    if (home == rows)
        return AXL_OK;
    return axl_comm_all_to_all(d->comm, home, d->send_count, d->send_at, rows, d->recv_count,
                               d->recv_at, row_bytes, s);
}

axl_status axl_dispatch_return(axl_dispatch *d, const void *rows, void *home, int64_t row_bytes,
                               axl_stream *s)
{
    if (home == rows)
        return AXL_OK;
    return axl_comm_all_to_all(d->comm, rows, d->recv_count, d->recv_at, home, d->send_count,
                               d->send_at, row_bytes, s);
}

int64_t axl_dispatch_capacity(int64_t n_copies, int n_ranks)
{
    return n_ranks > 1 ? n_copies + (n_copies + 3) / 4 : n_copies;
}

int64_t axl_dispatch_expected_rows(int64_t n_copies, int n_ranks)
{
    return n_copies * (n_ranks - 1) / n_ranks;
}

int64_t axl_dispatch_most_rows(int64_t n_copies, int n_ranks)
{
    return n_ranks > 1 ? n_copies : 0;
}

int64_t axl_dispatch_most_received(int64_t n_copies, int n_ranks)
{
    return n_copies * (n_ranks - 1);
}

int64_t axl_dispatch_count_bytes(const axl_dispatch *d)
{
    return (int64_t)(d->n_ranks - 1) * d->n_experts * (int64_t)sizeof *d->counts;
}
