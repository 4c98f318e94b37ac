// The formulas. They walk the same lists as the step: params of units, instructions of programs with what backward
// runs again, chunks of the head.
#include "src/model/traffic.h"

#include "src/base/mem.h"
#include "src/model/ops.h"

#include <stdlib.h>

enum { MOST_ASKED = 16 }; // ranks of a large cp group

static const axl_group dp_replicate = (axl_group)(AXL_GROUP_AXIS + AXL_DP_REPLICATE);
static const axl_group tp = (axl_group)(AXL_GROUP_AXIS + AXL_TP);
static const axl_group cp = (axl_group)(AXL_GROUP_AXIS + AXL_CP);
static const axl_group ep = (axl_group)(AXL_GROUP_AXIS + AXL_EP);

static void add(axl_traffic *t, axl_group group, axl_comm_op op, int64_t n_ranks, int64_t payload,
                int64_t times)
{
    if (n_ranks > 1)
        t->sent[group][op] += times * axl_comm_sent_bytes(op, n_ranks, payload);
}

// ---- weights

static void add_param(const axl_model *m, const axl_unit *u, const axl_param *p,
                      const axl_sharder_options *o, int64_t n_micro, axl_traffic *t)
{
    const axl_group group = p->is_expert ? AXL_GROUP_EXPERT : AXL_GROUP_DENSE;
    const int64_t count = axl_param_full_count(p),
                  e = (int64_t)axl_dtype_size(axl_param_full_dtype(p, o->dtype));
    const int64_t passes =
        u->layer >= 0 ? 2 : 1; // the head stays, the embedding's backward reads no weight
    const int64_t shard = axl_param_shard_count(p) * (int64_t)sizeof(float);
    const int64_t sums = o->invariant > 0 ? n_micro : 1;

    add(t, group, AXL_COMM_ALL_GATHER, p->n_shards, count * e,
        o->reshard_after_forward ? passes * n_micro : 1);
    if (!p->trainable)
        return;
    add(t, group, AXL_COMM_REDUCE_SCATTER, p->n_shards, count * (o->reduce_bf16 ? 2 : 4), n_micro);
    add(t, dp_replicate, AXL_COMM_ALL_REDUCE, m->mesh->size[AXL_DP_REPLICATE], shard, sums);
    if (p->n_sum > 1)
        add(t, p->sum_group, AXL_COMM_ALL_REDUCE, p->n_sum, shard, sums);
}

void axl_traffic_weights(const axl_model *m, const axl_sharder_options *o, int64_t n_micro,
                         axl_traffic *t)
{
    const int64_t scales = axl_sharder_n_fp8(m->units, m->n_units) * (int64_t)sizeof(float);
    const int *size = m->mesh->size;

    // the largest magnitudes of fp8 weights, once a step
    add(t, AXL_GROUP_DENSE, AXL_COMM_ALL_REDUCE,
        (int64_t)size[AXL_DP_SHARD] * size[AXL_EP] * size[AXL_CP], scales, 1);
    add(t, tp, AXL_COMM_ALL_REDUCE, size[AXL_TP], scales, 1);
    for (int u = 0; u < m->n_units; u++)
        for (int k = 0; k < m->units[u].n_params; k++)
            add_param(m, &m->units[u], &m->units[u].params[k], o, n_micro, t);
}

// ---- activations

typedef enum certainty { EXACT, EXPECTED, WORST } certainty;

// A micro-batch as the formulas see it.
typedef struct shape {
    int64_t n_tokens, n_scored; // of this rank
    const axl_cp_layout *cp;    // NULL: no context parallelism, or WORST
    int rank;                   // of cp
    certainty certainty;        // EXACT leaves out what only the routing knows
} shape;

// A sum of rows [T, cols] over tp.
static void add_rows(const axl_work *w, int64_t n, int64_t cols, axl_traffic *t)
{
    add(t, tp, AXL_COMM_ALL_REDUCE, w->model->mesh->size[AXL_TP],
        n * cols * (int64_t)axl_dtype_size(w->options.dtype), 1);
}

static axl_ring_traffic ring_traffic(const axl_work *w, const shape *b, const axl_insn *i)
{
    const int64_t n_ranks = w->model->mesh->size[AXL_CP];
    const int64_t width = (int64_t)i->arg.attention.n_kv_heads *
                          (i->arg.attention.head_dim + i->arg.attention.v_head_dim);

    if (b->certainty == WORST) {
        const int64_t rows = b->n_tokens * (n_ranks - 1) * width;
        const int64_t keys = rows * (int64_t)axl_dtype_size(w->options.dtype);
        return (axl_ring_traffic){keys, keys + rows * (int64_t)sizeof(float)};
    }
    if (b->cp == NULL)
        return (axl_ring_traffic){0};
    return axl_ring_traffic_of(b->cp, b->rank, i->arg.attention.window, width, w->options.dtype);
}

// Keys of one rank in a turn, or of all at once.
static axl_comm_op ring_op(const axl_work *w)
{
    return w->options.ring == AXL_RING_VARLEN_LLAMA3 ? AXL_COMM_ALL_TO_ALL : AXL_COMM_SEND_RECV;
}

// The rows of one pass of a mixture, when nothing was routed yet.
static void add_experts(const axl_work *w, const shape *b, const axl_insn *i, bool backward,
                        axl_traffic *t)
{
    const int n_ranks = w->model->mesh->size[AXL_EP];
    const int64_t copies = b->n_tokens * i->arg.moe.top_k;
    const int64_t rows = b->certainty == WORST ? axl_dispatch_most_rows(copies, n_ranks)
                                               : axl_dispatch_expected_rows(copies, n_ranks);

    if (n_ranks == 1 || b->certainty == EXACT)
        return;
    t->sent[ep][AXL_COMM_ALL_TO_ALL] +=
        axl_moe_sent_bytes(i, backward, rows, rows, w->options.dtype, w->run.stat);
    if (!backward) // which knows the counts
        t->sent[ep][AXL_COMM_ALL_GATHER] += axl_dispatch_count_bytes(w->dispatch);
}

static void add_forward(const axl_work *w, const shape *b, const axl_insn *i, axl_traffic *t)
{
    const int64_t n = b->n_tokens;

    if (i->op == AXL_OP_LINEAR && i->arg.linear.partial)
        add_rows(w, n, i->arg.linear.out, t);
    else if (i->op == AXL_OP_EMBED && i->arg.embed.partial)
        add_rows(w, n, w->model->arch.hidden, t);
    else if (i->op == AXL_OP_ATTENTION)
        t->sent[cp][ring_op(w)] += ring_traffic(w, b, i).forward;
    else if (i->op == AXL_OP_MOE)
        add_experts(w, b, i, false, t);
    if (i->op == AXL_OP_MOE && i->arg.moe.partial)
        add_rows(w, n, i->arg.moe.hidden, t);
}

static void add_backward(const axl_work *w, const shape *b, const axl_program *p, const axl_insn *i,
                         axl_traffic *t)
{
    if (i->op == AXL_OP_TP_ENTER)
        add_rows(w, b->n_tokens, p->slots[i->in[0]].cols, t);
    else if (i->op == AXL_OP_ATTENTION)
        t->sent[cp][ring_op(w)] +=
            ring_traffic(w, b, i).backward +
            (axl_attn_repeats(i->arg.attention.numerics) ? ring_traffic(w, b, i).forward : 0);
    else if (i->op == AXL_OP_MOE)
        add_experts(w, b, i, true, t);
}

static void add_unit(const axl_work *w, const shape *b, const axl_unit *u, axl_traffic *t)
{
    const axl_program *p = axl_model_program(w->model, u);
    const axl_unit_plan *plan = &w->plans[u->program];

    for (int n = 0; n < p->n_insns; n++) {
        add_forward(w, b, &p->insns[n], t);
        add_backward(w, b, p, &p->insns[n], t);
    }
    for (int n = 0; n < plan->n_rerun; n++)
        add_forward(w, b, &p->insns[plan->rerun[n]], t);
}

// Statistics of the vocabulary's slices, and the gradient of the hidden rows.
static void add_head(const axl_work *w, const shape *b, axl_traffic *t)
{
    const int64_t n_ranks = w->model->mesh->size[AXL_TP];
    const int64_t stat = (int64_t)axl_dtype_size(w->run.stat);

    for (int64_t row = 0; row < b->n_scored; row += w->chunk) {
        const int64_t n = b->n_scored - row < w->chunk ? b->n_scored - row : w->chunk;
        add(t, tp, AXL_COMM_ALL_REDUCE, n_ranks, n * stat, 3);
        add_rows(w, n, w->model->arch.hidden, t);
    }
}

static void add_times(const axl_traffic *a, int64_t times, axl_traffic *t)
{
    for (int g = 0; g < AXL_N_GROUPS; g++)
        for (int op = 0; op < AXL_COMM_N_OPS; op++)
            t->sent[g][op] += times * a->sent[g][op];
}

static void add_shape(const axl_work *w, const shape *b, axl_traffic *t)
{
    const axl_model *m = w->model;
    axl_traffic unit = {0};
    int program = -1;

    for (int u = 0; u < m->n_units; u++) {
        if (m->units[u].program != program) { // neighbours of one kind send the same
            program = m->units[u].program;
            unit = (axl_traffic){0};
            add_unit(w, b, &m->units[u], &unit);
        }
        add_times(&unit, 1, t);
    }
    add_head(w, b, t);
}

void axl_traffic_activations(const axl_work *w, const axl_batch *batch, axl_traffic *t)
{
    const shape b = {.n_tokens = batch->n_tokens,
                     .n_scored = w->n_scored,
                     .cp = batch->cp,
                     .rank = w->model->mesh->coord[AXL_CP]};

    if (!w->run.idle)
        add_shape(w, &b, t);
}

// All mixtures of a model have the same sizes.
static const axl_insn *find_mixture(const axl_model *m)
{
    for (int p = 0; p < m->n_programs; p++)
        for (int n = 0; n < m->programs[p].n_insns; n++)
            if (m->programs[p].insns[n].op == AXL_OP_MOE)
                return &m->programs[p].insns[n];
    return NULL;
}

void axl_traffic_experts(const axl_work *w, axl_traffic *t)
{
    const axl_dispatch *d = w->dispatch;
    const axl_insn *i = find_mixture(w->model);

    if (d == NULL || i == NULL || d->n_ranks == 1)
        return;
    for (int backward = 0; backward < 2; backward++) // the same rows go both times
        t->sent[ep][AXL_COMM_ALL_TO_ALL] +=
            axl_moe_sent_bytes(i, backward != 0, d->sent_rows / 2, d->received_rows / 2,
                               w->options.dtype, w->run.stat);
    t->sent[ep][AXL_COMM_ALL_GATHER] += d->n_exchanges * axl_dispatch_count_bytes(d);
}

// ---- outlook

// n_docs documents that share n_tokens tokens evenly, laid out over cp. *memory is the caller's to free.
static axl_status lay_out(const axl_work *w, int64_t n_tokens, int64_t n_docs, axl_cp_layout *l,
                          void **memory)
{
    axl_status status = AXL_OK;
    const int n = w->model->mesh->size[AXL_CP];
    int32_t *cu = NULL;

    AXL_TRY(axl_calloc((size_t)n_docs + 1, sizeof *cu, "documents", &cu));
    for (int64_t i = 0; i <= n_docs; i++)
        cu[i] = (int32_t)(n_tokens * i / n_docs);
    AXL_TRY(axl_calloc(axl_cp_layout_bytes(n, n_tokens, (int32_t)n_docs), 1, "a layout", memory));
    axl_cp_layout_init(l, axl_ring_layout(w->options.ring), n, n_tokens, (int32_t)n_docs, *memory);
    AXL_TRY(axl_cp_layout_set(l, cu, (int32_t)n_docs));
out:
    free(cu);
    return status;
}

// Documents that end at this rank: their last tokens have no label.
static int64_t count_ends(const axl_cp_layout *l, int rank)
{
    const int32_t *cu = axl_cp_local_cu(l, rank), *rows = axl_cp_rows(l, rank);
    int64_t n = 0;

    for (int32_t i = 0; i < l->n_seqs; i++)
        n += cu[i + 1] > cu[i] && rows[cu[i + 1] - 1] + 1 == l->cu_seqlens[i + 1];
    return n;
}

// Of one rank of cp, whose part of the tokens is found here.
static void add_outlook(const axl_work *w, const axl_sharder_options *o, int64_t n_micro,
                        const shape *whole, axl_traffic *expected, axl_traffic *worst)
{
    shape mean = *whole;
    const shape most = {
        .n_tokens = w->options.n_tokens, .n_scored = w->options.n_tokens, .certainty = WORST};
    axl_traffic micro[2] = {{{{0}}}};

    if (mean.cp != NULL) {
        mean.n_tokens = axl_cp_n_rows(mean.cp, mean.rank);
        mean.n_scored = mean.n_tokens - count_ends(mean.cp, mean.rank);
    }
    add_shape(w, &mean, &micro[0]);
    add_shape(w, &most, &micro[1]);
    axl_traffic_weights(w->model, o, n_micro, expected);
    axl_traffic_weights(w->model, o, n_micro, worst);
    add_times(&micro[0], n_micro, expected);
    add_times(&micro[1], n_micro, worst);
}

static void keep_largest(axl_traffic *t, const axl_traffic *other)
{
    for (int g = 0; g < AXL_N_GROUPS; g++)
        for (int op = 0; op < AXL_COMM_N_OPS; op++)
            if (other->sent[g][op] > t->sent[g][op])
                t->sent[g][op] = other->sent[g][op];
}

axl_status axl_traffic_outlook(const axl_work *w, const axl_sharder_options *o, int64_t n_micro,
                               int64_t n_tokens, int64_t n_docs, bool largest,
                               axl_traffic *expected, axl_traffic *worst)
{
    axl_status status = AXL_OK;
    axl_cp_layout layout;
    void *memory = NULL;
    const int n_cp = w->model->mesh->size[AXL_CP], own = w->model->mesh->coord[AXL_CP];
    const int step = !largest ? n_cp : n_cp > MOST_ASKED ? n_cp / MOST_ASKED : 1;
    shape mean = {.n_tokens = n_tokens, .n_scored = n_tokens - n_docs, .certainty = EXPECTED};

    if (n_cp > 1) {
        AXL_TRY(lay_out(w, n_tokens, n_docs, &layout, &memory));
        mean.cp = &layout;
    }
    for (mean.rank = largest ? 0 : own; mean.rank < n_cp; mean.rank += step) {
        axl_traffic of_rank[2] = {{{{0}}}};
        add_outlook(w, o, n_micro, &mean, &of_rank[0], &of_rank[1]);
        keep_largest(expected, &of_rank[0]);
        keep_largest(worst, &of_rank[1]);
    }
out:
    free(memory);
    return status;
}
