// Memory, lists and exchanges of ring attention. The hard part is that sender and receiver never talk about
// what travels: both derive it from the layout, and a turn's buffers hold it in the same order on both
// sides - by document, then by position.
#include "comm/ring.h"

#include "src/base/log.h"
#include "src/base/mem.h"

#include <stdlib.h>
#include <string.h>

typedef struct schedule {
    const char *name;
    axl_cp_kind layout;
    bool by_heads; // a turn is some key heads of all ranks, else all heads of one rank
} schedule;

static const schedule schedules[AXL_RING_N_SCHEDULES] = {
    [AXL_RING_VARLEN_ZIGZAG] = {"varlen_zigzag", AXL_CP_ZIGZAG, false},
    [AXL_RING_BATCH_RING] = {"batch_ring", AXL_CP_CONTIGUOUS, false},
    [AXL_RING_VARLEN_LLAMA3] = {"varlen_llama3", AXL_CP_CONTIGUOUS, true},
};

const char *axl_ring_schedule_name(axl_ring_schedule s)
{
    return (unsigned)s < AXL_RING_N_SCHEDULES ? schedules[s].name : "unknown";
}

axl_cp_kind axl_ring_layout(axl_ring_schedule s)
{
    return schedules[s].layout;
}

// ---- turns

static bool by_heads(const axl_ring_options *o)
{
    return schedules[o->schedule].by_heads && o->n_ranks > 1; // one rank: all heads in one call
}

bool axl_ring_merges(const axl_ring_options *o)
{
    return o->n_ranks > 1 && !by_heads(o);
}

int axl_ring_n_turns(const axl_ring *r, int32_t n_kv_heads)
{
    const int32_t stride = r->o.heads_k_stride;

    return by_heads(&r->o) ? (n_kv_heads + stride - 1) / stride : r->n_ranks;
}

axl_ring_turn axl_ring_turn_of(const axl_ring *r, int32_t n_kv_heads, int i)
{
    const int32_t stride = r->o.heads_k_stride, kv0 = i * stride;

    if (!by_heads(&r->o))
        return (axl_ring_turn){.first = i,
                               .last = i == 0 ? 0 : i + 1, // own keys need no exchange
                               .n_kv = n_kv_heads,
                               .own = i == 0,
                               .opening = i == 0};
    return (axl_ring_turn){.first = 1,
                           .last = r->n_ranks,
                           .kv0 = kv0,
                           .n_kv = n_kv_heads - kv0 < stride ? n_kv_heads - kv0 : stride,
                           .own = true,
                           .opening = true};
}

// ---- memory

static int64_t list_capacity(const axl_ring_options *o)
{
    const int64_t cu = (int64_t)o->max_seqs + 1, most = axl_cp_most_rows(o->max_tokens, o->n_ranks);
    const int64_t plan = (o->n_ranks + 1) * cu + o->max_tokens + (o->n_ranks - 1) * most;

    return o->n_ranks == 1 ? 0 : cu + most + o->n_windows * plan;
}

static size_t place(size_t *at, int64_t count, size_t size)
{
    const size_t begin = *at;

    *at += axl_align_up((size_t)count * size);
    return begin;
}

static axl_ring_memory memory_of(const axl_ring_options *o)
{
    const int64_t rows = axl_cp_most_rows(o->max_tokens, o->n_ranks), n = o->n_ranks;
    const int64_t most_out = by_heads(o) ? (n - 1) * rows : rows,
                  most_in = by_heads(o) ? n * rows : rows;
    const bool narrow = by_heads(o) && o->heads_k_stride < o->n_kv_heads;
    const int64_t width =
        (int64_t)(narrow ? o->heads_k_stride : o->n_kv_heads) * (o->head_dim + o->v_head_dim);
    const int64_t out = rows * o->n_heads * o->v_head_dim;
    const bool bf16 = o->dtype == AXL_BF16, merges = axl_ring_merges(o);
    const size_t elem = axl_dtype_size(o->dtype), f32 = sizeof(float);
    axl_ring_memory m = {0};
    size_t at = 0;

    if (n == 1)
        return m;
    m.lists = place(&at, list_capacity(o), sizeof(int32_t));
    for (int i = 0; i < 2; i++) {
        m.kv_out[i] = place(&at, most_out * width, elem);
        m.kv_in[i] = place(&at, most_in * width, elem);
    }
    const size_t shared = at;
    m.out = place(&at, merges && bf16 ? out : 0, f32);
    m.part_out = place(&at, merges ? out : 0, f32);
    m.part_lse = place(&at, merges ? rows * o->n_heads : 0, f32);
    m.total = at;
    at = shared;
    for (int i = 0; i < 2; i++) {
        m.dkv_out[i] = place(&at, most_in * width, f32);
        m.dkv_in[i] = place(&at, most_out * width, f32);
    }
    m.dq = place(&at, bf16 ? rows * o->n_heads * o->head_dim : 0, f32);
    m.dk = place(&at, bf16 ? rows * o->n_kv_heads * o->head_dim : 0, f32);
    m.dv = place(&at, bf16 ? rows * o->n_kv_heads * o->v_head_dim : 0, f32);
    m.total = at > m.total ? at : m.total;
    return m;
}

size_t axl_ring_bytes(const axl_ring_options *o)
{
    return memory_of(o).total;
}

void *axl_ring_at(const axl_ring *r, size_t offset)
{
    return r->memory + offset;
}

const int32_t *axl_ring_list(const axl_ring *r, int64_t at)
{
    return (const int32_t *)axl_ring_at(r, r->at.lists) + at;
}

void axl_ring_destroy(axl_ring *r)
{
    if (r == NULL)
        return;
    r->device->ops->free(r->device, r->memory, r->at.total);
    r->device->ops->host_free(r->device, r->lists, (size_t)r->n_lists * sizeof *r->lists);
    free(r->plans);
    free(r->counts);
    free(r->longest);
    free(r->windows);
    free(r);
}

static axl_status check_options(const axl_ring_options *o, const axl_comm *comm)
{
    axl_status status = AXL_OK;

    AXL_REQUIRE((unsigned)o->schedule < AXL_RING_N_SCHEDULES && o->n_ranks == axl_comm_size(comm),
                AXL_E_BUG, "ring attention: schedule %d over %d ranks on axis %s of %d",
                (int)o->schedule, o->n_ranks, axl_comm_name(comm), axl_comm_size(comm));
    AXL_REQUIRE(o->dtype == AXL_F32 || o->dtype == AXL_BF16, AXL_E_UNSUPPORTED,
                "ring attention in %s; use F32 or BF16", axl_dtype_name(o->dtype));
    AXL_REQUIRE(o->n_windows > 0 && (o->heads_k_stride > 0 || !by_heads(o)), AXL_E_BUG,
                "ring attention of %d windows, heads_k_stride %d", o->n_windows, o->heads_k_stride);

out:
    return status;
}

axl_status axl_ring_create(const axl_ring_options *o, axl_comm *comm, axl_device *device,
                           axl_ring **out)
{
    axl_status status = AXL_OK;
    axl_ring *r = NULL;
    void *memory = NULL;
    const size_t n = (size_t)o->n_ranks, n_plans = (size_t)o->n_windows;

    AXL_TRY(check_options(o, comm));
    AXL_TRY(axl_calloc(1, sizeof *r, "ring attention", &r));
    r->o = *o;
    r->device = device;
    r->comm = comm;
    r->rank = axl_comm_rank(comm);
    r->n_ranks = o->n_ranks;
    AXL_TRY(axl_calloc(n_plans, sizeof *r->windows, "ring attention", &r->windows));
    memcpy(r->windows, o->windows, n_plans * sizeof *r->windows);
    r->o.windows = r->windows;
    r->n_lists = list_capacity(o);
    AXL_TRY(device->ops->host_alloc(device, (size_t)r->n_lists * sizeof *r->lists,
                                    "lists of ring attention", &memory));
    r->lists = memory;
    AXL_TRY(axl_calloc(n_plans, sizeof *r->plans, "ring attention", &r->plans));
    AXL_TRY(axl_calloc(4 * n * (n_plans + 1), sizeof *r->counts, "ring attention", &r->counts));
    AXL_TRY(axl_calloc((n + 1) * n_plans, sizeof *r->longest, "ring attention", &r->longest));
    for (size_t i = 0; i < n_plans; i++) {
        int64_t *counts = r->counts + 4 * n * i;
        r->plans[i] = (axl_ring_plan){.window = r->windows[i],
                                      .n_in = counts,
                                      .in_at = counts + n,
                                      .n_out = counts + 2 * n,
                                      .out_at = counts + 3 * n,
                                      .longest = r->longest + (n + 1) * i};
    }
    const axl_ring_memory at = memory_of(o);
    AXL_TRY(device->ops->alloc(device, at.total, "ring attention", &memory));
    r->memory = memory;
    r->at = at;
    *out = r;
    r = NULL;

out:
    axl_ring_destroy(r);
    return status;
}

// ---- lists

static int32_t longest_of(const int32_t *cu, int32_t n_seqs)
{
    int32_t longest = 0;

    for (int32_t i = 0; i < n_seqs; i++)
        longest = cu[i + 1] - cu[i] > longest ? cu[i + 1] - cu[i] : longest;
    return longest;
}

// The keys that come from src: where documents begin among them, and their positions.
static void list_incoming(axl_ring *r, const axl_cp_layout *l, axl_ring_plan *p, int src)
{
    int32_t *cu = r->lists + p->cu + (int64_t)src * (l->n_seqs + 1);
    int32_t *positions = r->lists + p->positions + p->in_at[src];
    const int32_t *tokens = axl_cp_rows(l, src);

    if (src == r->rank) {
        p->n_in[src] = r->n_rows;
        memcpy(cu, axl_cp_local_cu(l, src), ((size_t)l->n_seqs + 1) * sizeof *cu);
        axl_cp_positions(l, src, positions);
    } else {
        p->n_in[src] = axl_cp_needed(l, src, r->rank, p->window, positions, cu);
        for (int32_t i = 0; i < l->n_seqs; i++)
            for (int32_t k = cu[i]; k < cu[i + 1]; k++)
                positions[k] = tokens[positions[k]] - l->cu_seqlens[i];
    }
    p->longest[src] = longest_of(cu, l->n_seqs);
}

static void list_plan(axl_ring *r, const axl_cp_layout *l, axl_ring_plan *p)
{
    const int32_t n = r->n_ranks;
    const int64_t cu_n = l->n_seqs + 1;
    int32_t *all;

    p->cu = r->n_used;
    p->positions = p->cu + (n + 1) * cu_n;
    all = r->lists + p->cu + n * cu_n;
    memset(all, 0, (size_t)cu_n * sizeof *all);
    for (int src = 0; src < n; src++) {
        p->in_at[src] = src == 0 ? 0 : p->in_at[src - 1] + p->n_in[src - 1];
        list_incoming(r, l, p, src);
        for (int64_t i = 0; i < cu_n; i++)
            all[i] += r->lists[p->cu + src * cu_n + i];
    }
    p->longest[n] = longest_of(all, l->n_seqs);
    p->rows = p->positions + p->in_at[n - 1] + p->n_in[n - 1];
    for (int dst = 0; dst < n; dst++) {
        p->out_at[dst] = dst == 0 ? 0 : p->out_at[dst - 1] + p->n_out[dst - 1];
        p->n_out[dst] = dst == r->rank ? 0
                                       : axl_cp_needed(l, r->rank, dst, p->window,
                                                       r->lists + p->rows + p->out_at[dst], NULL);
    }
    r->n_used = p->rows + p->out_at[n - 1] + p->n_out[n - 1];
}

axl_status axl_ring_set_layout(axl_ring *r, const axl_cp_layout *l)
{
    axl_status status = AXL_OK;

    AXL_REQUIRE(l->kind == axl_ring_layout(r->o.schedule) && l->n_ranks == r->n_ranks &&
                    l->n_tokens <= r->o.max_tokens && l->n_seqs <= r->o.max_seqs,
                AXL_E_BUG,
                "%s: a layout of kind %d over %d ranks, %lld tokens of %lld, %d documents of %d",
                axl_ring_schedule_name(r->o.schedule), (int)l->kind, l->n_ranks,
                (long long)l->n_tokens, (long long)r->o.max_tokens, l->n_seqs, r->o.max_seqs);
    r->n_seqs = l->n_seqs;
    r->n_rows = axl_cp_n_rows(l, r->rank);
    r->longest_q = longest_of(axl_cp_local_cu(l, r->rank), l->n_seqs);
    if (r->n_ranks == 1)
        goto out;
    r->local_cu = 0;
    r->local_positions = r->local_cu + l->n_seqs + 1;
    r->n_used = r->local_positions + r->n_rows;
    AXL_TRY(r->device->ops->await(&r->listed)); // they are on their way from the batch before
    memcpy(r->lists, axl_cp_local_cu(l, r->rank), ((size_t)l->n_seqs + 1) * sizeof *r->lists);
    axl_cp_positions(l, r->rank, r->lists + r->local_positions);
    for (int i = 0; i < r->o.n_windows; i++)
        list_plan(r, l, &r->plans[i]);
    AXL_ASSERT(r->n_used <= r->n_lists);
    AXL_TRY(r->device->ops->copy(r->device->compute, axl_ring_at(r, r->at.lists), r->lists,
                                 (size_t)r->n_used * sizeof *r->lists));
    AXL_TRY(r->device->ops->record(r->device->compute, &r->listed));

out:
    return status;
}

// ---- exchanges

// A turn by distance meets one rank, whose rows begin its buffers; a turn by heads has all ranks' rows.
int64_t axl_ring_in_at(const axl_ring_plan *p, const axl_ring_turn *t, int src)
{
    return t->own ? p->in_at[src] : 0;
}

int64_t axl_ring_out_at(const axl_ring_plan *p, const axl_ring_turn *t, int dst)
{
    return t->own ? p->out_at[dst] : 0;
}

static axl_status exchange_pair(axl_ring *r, const axl_ring_plan *p, int d, bool back,
                                const void *send, void *recv, int64_t row_bytes)
{
    axl_stream *s = r->device->exchange;
    const int src = (r->rank + r->n_ranks - d) % r->n_ranks, dst = (r->rank + d) % r->n_ranks;
    const int64_t in = p->n_in[src] * row_bytes, out = p->n_out[dst] * row_bytes;

    if (back)
        return axl_comm_send_recv(r->comm, send, in, src, recv, out, dst, s);
    return axl_comm_send_recv(r->comm, send, out, dst, recv, in, src, s);
}

static axl_status exchange_all(axl_ring *r, const axl_ring_plan *p, bool back, const void *send,
                               void *recv, int64_t row_bytes)
{
    const int n = r->n_ranks;
    int64_t *counts = r->counts + (int64_t)4 * n * r->o.n_windows;
    int64_t *n_in = counts, *n_out = counts + n;

    memcpy(n_in, p->n_in, (size_t)n * sizeof *n_in);
    memcpy(n_out, p->n_out, (size_t)n * sizeof *n_out);
    n_in[r->rank] = n_out[r->rank] = 0; // own rows are put in their place by a kernel
    if (back)
        return axl_comm_all_to_all(r->comm, send, n_in, p->in_at, recv, n_out, p->out_at, row_bytes,
                                   r->device->exchange);
    return axl_comm_all_to_all(r->comm, send, n_out, p->out_at, recv, n_in, p->in_at, row_bytes,
                               r->device->exchange);
}

axl_status axl_ring_exchange(axl_ring *r, const axl_ring_plan *p, const axl_ring_turn *t, bool back,
                             const void *send, void *recv, int64_t row_bytes, axl_event *ready)
{
    axl_status status = AXL_OK;
    const axl_device_ops *ops = r->device->ops;
    axl_event packed;

    // What is sent has been packed, and what is overwritten has been read, on the compute stream.
    AXL_TRY(ops->record(r->device->compute, &packed));
    AXL_TRY(ops->wait(r->device->exchange, &packed));
    if (t->own)
        AXL_TRY(exchange_all(r, p, back, send, recv, row_bytes));
    else
        AXL_TRY(exchange_pair(r, p, t->first, back, send, recv, row_bytes));
    AXL_TRY(ops->record(r->device->exchange, ready));

out:
    return status;
}

axl_status axl_ring_await(axl_ring *r, const axl_ring_turn *t, const axl_event *ready)
{
    axl_status status = AXL_OK;
    const double begin = axl_now();

    AXL_TRY(r->device->ops->wait(r->device->compute, ready));
    axl_comm_count_exposed(r->comm, t->own ? AXL_COMM_ALL_TO_ALL : AXL_COMM_SEND_RECV,
                           axl_now() - begin);

out:
    return status;
}

axl_ring_traffic axl_ring_traffic_of(const axl_cp_layout *l, int rank, int32_t window,
                                     int64_t kv_width, axl_dtype dtype)
{
    int64_t in = 0, out = 0; // rows

    for (int r = 0; r < l->n_ranks; r++) {
        if (r == rank)
            continue;
        in += axl_cp_needed(l, r, rank, window, NULL, NULL);
        out += axl_cp_needed(l, rank, r, window, NULL, NULL);
    }
    const int64_t keys = out * kv_width * (int64_t)axl_dtype_size(dtype);
    return (axl_ring_traffic){.forward = keys,
                              .backward = keys + in * kv_width * (int64_t)sizeof(float)};
}
