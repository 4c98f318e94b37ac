// The formulas. They walk the same lists as the step: params of units, instructions of programs with what backward
// runs again, chunks of the head.
#include "src/model/traffic.h"

#include "src/model/ops.h"

static const axl_group dp_replicate = (axl_group)(AXL_GROUP_AXIS + AXL_DP_REPLICATE);
static const axl_group tp = (axl_group)(AXL_GROUP_AXIS + AXL_TP);
static const axl_group cp = (axl_group)(AXL_GROUP_AXIS + AXL_CP);

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
    const int64_t count = axl_param_full_count(p), e = (int64_t)axl_dtype_size(o->dtype);
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
    for (int u = 0; u < m->n_units; u++)
        for (int k = 0; k < m->units[u].n_params; k++)
            add_param(m, &m->units[u], &m->units[u].params[k], o, n_micro, t);
}

// ---- activations

// A sum of rows [T, cols] over tp.
static void add_rows(const axl_work *w, int64_t n, int64_t cols, axl_traffic *t)
{
    add(t, tp, AXL_COMM_ALL_REDUCE, w->model->mesh->size[AXL_TP],
        n * cols * (int64_t)axl_dtype_size(w->options.dtype), 1);
}

static axl_ring_traffic ring_traffic(const axl_work *w, const axl_batch *batch, const axl_insn *i)
{
    if (batch->cp == NULL)
        return (axl_ring_traffic){0};
    return axl_ring_traffic_of(batch->cp, w->model->mesh->coord[AXL_CP], i->arg.attention.window,
                               (int64_t)i->arg.attention.n_kv_heads *
                                   (i->arg.attention.head_dim + i->arg.attention.v_head_dim),
                               w->options.dtype);
}

// Keys of one rank in a turn, or of all at once.
static axl_comm_op ring_op(const axl_work *w)
{
    return w->options.ring == AXL_RING_VARLEN_LLAMA3 ? AXL_COMM_ALL_TO_ALL : AXL_COMM_SEND_RECV;
}

static void add_forward(const axl_work *w, const axl_batch *batch, const axl_insn *i,
                        axl_traffic *t)
{
    const int64_t n = batch->n_tokens;

    if (i->op == AXL_OP_LINEAR && i->arg.linear.partial)
        add_rows(w, n, i->arg.linear.out, t);
    else if (i->op == AXL_OP_EMBED && i->arg.embed.partial)
        add_rows(w, n, w->model->arch.hidden, t);
    else if (i->op == AXL_OP_MOE && i->arg.moe.partial)
        add_rows(w, n, i->arg.moe.hidden, t);
    else if (i->op == AXL_OP_ATTENTION)
        t->sent[cp][ring_op(w)] += ring_traffic(w, batch, i).forward;
}

static void add_unit(const axl_work *w, const axl_batch *batch, const axl_unit *u, axl_traffic *t)
{
    const axl_program *p = axl_model_program(w->model, u);
    const axl_unit_plan *plan = &w->plans[u->program];

    for (int n = 0; n < p->n_insns; n++) {
        const axl_insn *i = &p->insns[n];
        add_forward(w, batch, i, t);
        if (i->op == AXL_OP_TP_ENTER)
            add_rows(w, batch->n_tokens, p->slots[i->in[0]].cols, t);
        else if (i->op == AXL_OP_ATTENTION)
            t->sent[cp][ring_op(w)] += ring_traffic(w, batch, i).backward;
    }
    for (int n = 0; n < plan->n_rerun; n++)
        add_forward(w, batch, &p->insns[plan->rerun[n]], t);
}

// Statistics of the vocabulary's slices, and the gradient of the hidden rows.
static void add_head(const axl_work *w, axl_traffic *t)
{
    const int64_t n_ranks = w->model->mesh->size[AXL_TP];
    const int64_t stat = (int64_t)axl_dtype_size(w->run.stat);

    for (int64_t row = 0; row < w->n_scored; row += w->chunk) {
        const int64_t n = w->n_scored - row < w->chunk ? w->n_scored - row : w->chunk;
        add(t, tp, AXL_COMM_ALL_REDUCE, n_ranks, n * stat, 3);
        add_rows(w, n, w->model->arch.hidden, t);
    }
}

void axl_traffic_activations(const axl_work *w, const axl_batch *batch, axl_traffic *t)
{
    const axl_model *m = w->model;

    if (w->run.idle)
        return;
    for (int u = 0; u < m->n_units; u++)
        add_unit(w, batch, &m->units[u], t);
    add_head(w, t);
}
