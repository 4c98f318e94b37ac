// A mixture of experts: route, send token copies to their experts, three grouped products, send back, combine.
//
// What is hard is memory: how many rows arrive is known in the step only. Both passes go in rounds of at most the
// planned rows (comm/dispatch.h), and nothing but the routing is kept between them: backward sends the inputs
// again, and with them the gradients of the outputs. The gradient of a routing weight is that of the expert's output
// times the output; it is taken from the inner activation, which backward makes anyway (combine_bwd).
#include "src/model/ops.h"

typedef struct moe {
    axl_exec *x;
    const axl_insn *i;
    const axl_kernels *kernels;
    axl_stream *s;
    axl_dispatch *d;
    int64_t n_tokens, hidden, width;
    int32_t n_experts, top_k;
    axl_dtype dtype, stat;
} moe;

static moe open_moe(axl_exec *x, const axl_insn *i)
{
    return (moe){.x = x,
                 .i = i,
                 .kernels = x->run->device->kernels,
                 .s = x->run->device->compute,
                 .d = x->run->dispatch,
                 .n_tokens = x->run->n_tokens,
                 .hidden = i->arg.moe.hidden,
                 .width = i->arg.moe.width,
                 .n_experts = i->arg.moe.n_experts,
                 .top_k = i->arg.moe.top_k,
                 .dtype = x->run->dtype,
                 .stat = x->run->stat};
}

static void *scratch(const moe *m, axl_moe_scratch which)
{
    return m->x->slot[m->i->scratch + (int)which];
}

static int64_t row_bytes(const moe *m)
{
    return m->hidden * (int64_t)axl_dtype_size(m->dtype);
}

// Where this rank's copies lie in the order of experts: on one rank that is where the experts read or write them.
static void *home(const moe *m, axl_moe_scratch at_experts)
{
    return scratch(m, m->d->n_ranks > 1 ? AXL_MOE_HOME : at_experts);
}

static axl_status make_logits(const moe *m)
{
    const axl_gemm_args a = {.m = m->n_tokens,
                             .n = m->n_experts,
                             .k = m->hidden,
                             .a = m->x->slot[m->i->in[0]],
                             .lda = m->hidden,
                             .b = axl_exec_weight(m->x, m->i, 0),
                             .ldb = m->hidden,
                             .trans_b = true,
                             .c = scratch(m, AXL_MOE_LOGITS),
                             .ldc = m->n_experts,
                             .alpha = 1.0f,
                             .dtype = m->dtype,
                             .dtype_c = m->dtype};

    return m->kernels->gemm(m->s, &a);
}

// Sorts the copies by their saved experts, and learns what all ranks of ep have; again: it is known from forward.
static axl_status begin_exchange(const moe *m, bool again)
{
    axl_status status = AXL_OK;
    const axl_slot_info *rows = &m->x->program->slots[m->i->scratch + AXL_MOE_ROWS];
    const axl_run *run = m->x->run;
    const int64_t capacity = axl_slot_rows(rows, run->max_tokens);
    const axl_route_sort_args a = {.ids = m->x->slot[m->i->out[1]],
                                   .n_copies = m->n_tokens * m->top_k,
                                   .n_experts = m->n_experts,
                                   .top_k = m->top_k,
                                   .counts = scratch(m, AXL_MOE_COUNTS),
                                   .copies = scratch(m, AXL_MOE_COPIES),
                                   .tokens = scratch(m, AXL_MOE_TOKENS),
                                   .places = scratch(m, AXL_MOE_PLACES)};

    AXL_TRY(m->kernels->route_sort(m->s, &a));
    if (again)
        axl_dispatch_again(m->d, run->layer, capacity);
    else
        AXL_TRY(axl_dispatch_begin(m->d, run->layer, a.counts, scratch(m, AXL_MOE_ALL_COUNTS),
                                   capacity, m->s));

out:
    return status;
}

// out[i] = from[index[i]], n rows of cols elements.
static axl_status gather(const moe *m, const void *from, int64_t n_from, const int32_t *index,
                         int64_t n, int64_t cols, axl_dtype dtype, void *out)
{
    const axl_embed_args a = {.ids = index,
                              .n_tokens = n,
                              .cols = cols,
                              .n_rows = n_from,
                              .table = from,
                              .scale = 1.0f,
                              .dtype = dtype,
                              .out = out};

    return m->kernels->embed_fwd(m->s, &a);
}

// This round's copies of the tokens' rows, and their way to the experts. Copies of other rounds are left alone:
// what came back for them already lies in home.
static axl_status send_rows(const moe *m, const void *from, axl_moe_scratch to)
{
    axl_status status = AXL_OK;
    const int32_t *tokens = scratch(m, AXL_MOE_TOKENS);
    char *at_home = home(m, to);

    for (int r = 0; r < m->d->n_ranks; r++) {
        const int64_t at = m->d->send_at[r];
        AXL_TRY(gather(m, from, m->n_tokens, tokens + at, m->d->send_count[r], m->hidden, m->dtype,
                       at_home + at * row_bytes(m)));
    }
    AXL_TRY(axl_dispatch_send(m->d, at_home, scratch(m, to), row_bytes(m), m->s));

out:
    return status;
}

// One product of the experts with stack k of the weights: rows of `in` and `out` as the product says.
static axl_status product(const moe *m, axl_grouped kind, int k, axl_moe_scratch a,
                          axl_moe_scratch c, bool accumulate)
{
    const axl_gemm_grouped_args g = {.product = kind,
                                     .begin = m->d->begin,
                                     .matrix = m->d->matrix,
                                     .n_groups = m->d->n_groups,
                                     .n_mats = m->d->n_local,
                                     .out = k == 3 ? m->hidden : m->width,
                                     .in = k == 3 ? m->width : m->hidden,
                                     .a = scratch(m, a),
                                     .b = axl_exec_weight(m->x, m->i, k),
                                     .c = scratch(m, c),
                                     .accumulate = accumulate,
                                     .dtype = m->dtype};

    return m->kernels->gemm_grouped(m->s, &g);
}

// gate, up and act of the rows that arrived.
static axl_status inner(const moe *m)
{
    axl_status status = AXL_OK;
    const axl_glu_args a = {.act = m->i->arg.moe.act,
                            .n = m->d->n_rows * m->width,
                            .gate = scratch(m, AXL_MOE_GATE),
                            .up = scratch(m, AXL_MOE_UP),
                            .dtype = m->dtype,
                            .out = scratch(m, AXL_MOE_ACT)};

    AXL_TRY(product(m, AXL_GROUPED_Y, 1, AXL_MOE_ROWS, AXL_MOE_GATE, false));
    AXL_TRY(product(m, AXL_GROUPED_Y, 2, AXL_MOE_ROWS, AXL_MOE_UP, false));
    AXL_TRY(m->kernels->glu_fwd(m->s, &a));

out:
    return status;
}

// out (+)= the sum of each token's rows in home, times weights if given.
static axl_status combine(const moe *m, const void *rows, const void *weights, bool accumulate,
                          void *out)
{
    const axl_combine_args a = {.rows = rows,
                                .places = scratch(m, AXL_MOE_PLACES),
                                .weights = weights,
                                .n_tokens = m->n_tokens,
                                .cols = m->hidden,
                                .top_k = m->top_k,
                                .dtype = m->dtype,
                                .out = out,
                                .accumulate = accumulate};

    return m->kernels->combine(m->s, &a);
}

// Chooses experts; counts what the auxiliary loss needs, once.
static axl_status route(const moe *m)
{
    axl_status status = AXL_OK;
    axl_router_load *load = m->x->again ? NULL : m->x->run->load;
    const axl_route_args a = {.logits = scratch(m, AXL_MOE_LOGITS),
                              .n_tokens = m->n_tokens,
                              .n_experts = m->n_experts,
                              .top_k = m->top_k,
                              .renormalize = m->i->arg.moe.renormalize,
                              .dtype = m->dtype,
                              .lse = m->x->slot[m->i->out[3]],
                              .ids = m->x->slot[m->i->out[1]],
                              .weights = m->x->slot[m->i->out[2]],
                              .prob_sum = load != NULL ? load->prob_sum : NULL};

    AXL_TRY(make_logits(m));
    AXL_TRY(m->kernels->route_fwd(m->s, &a));
    AXL_TRY(begin_exchange(m, m->x->again));
    if (load != NULL) {
        const int32_t *own = m->d->counts + (int64_t)axl_comm_rank(m->d->comm) * m->n_experts;
        for (int32_t e = 0; e < m->n_experts; e++)
            load->counts[e] += own[e];
        load->n_rows += m->n_tokens;
    }

out:
    return status;
}

static axl_status forward(axl_exec *x, const axl_insn *i)
{
    axl_status status = AXL_OK;
    const moe m = open_moe(x, i);
    void *out = x->slot[i->out[0]];

    AXL_TRY(route(&m));
    for (int64_t r = 0; r < m.d->n_rounds; r++) {
        axl_dispatch_round(m.d, r);
        AXL_TRY(send_rows(&m, x->slot[i->in[0]], AXL_MOE_ROWS));
        AXL_TRY(inner(&m));
        AXL_TRY(product(&m, AXL_GROUPED_Y, 3, AXL_MOE_ACT, AXL_MOE_ROWS, false));
        AXL_TRY(axl_dispatch_return(m.d, scratch(&m, AXL_MOE_ROWS), home(&m, AXL_MOE_ROWS),
                                    row_bytes(&m), m.s));
    }
    AXL_TRY(combine(&m, home(&m, AXL_MOE_ROWS), x->slot[i->out[2]], false, out));
    if (i->arg.moe.partial)
        AXL_TRY(axl_exec_tp_sum(x, out, m.hidden));

out:
    return status;
}

// The gradients of the experts' weights, where they go and whether the first round adds.
typedef struct stack_grads {
    void *dw[4];
    bool add[4];
} stack_grads;

static axl_status weight_grad(const moe *m, const stack_grads *g, int64_t round, int k,
                              axl_moe_scratch dy, axl_moe_scratch x)
{
    const axl_gemm_grouped_args a = {.product = AXL_GROUPED_DW,
                                     .begin = m->d->begin,
                                     .matrix = m->d->matrix,
                                     .n_groups = m->d->n_groups,
                                     .n_mats = m->d->n_local,
                                     .out = k == 3 ? m->hidden : m->width,
                                     .in = k == 3 ? m->width : m->hidden,
                                     .a = scratch(m, dy),
                                     .b = scratch(m, x),
                                     .c = g->dw[k],
                                     .accumulate = g->add[k] || round > 0,
                                     .dtype = m->dtype};

    return g->dw[k] != NULL ? m->kernels->gemm_grouped(m->s, &a) : AXL_OK;
}

// From dout of the rows' tokens (in drows) to the gradients of gate and up (in their place), of the last product's
// matrices, and of the weights.
static axl_status inner_backward(const moe *m, const stack_grads *g, int64_t round)
{
    axl_status status = AXL_OK;
    const bool spread = m->d->n_ranks > 1;
    const axl_combine_bwd_args weights = {
        .n_rows = m->d->n_rows,
        .cols = m->width,
        .weights = scratch(m, spread ? AXL_MOE_WEIGHT : AXL_MOE_HOME_WEIGHT),
        .dtype = m->dtype,
        .h = scratch(m, AXL_MOE_ACT),
        .dh = scratch(m, AXL_MOE_DACT),
        .dweights = scratch(m, spread ? AXL_MOE_DWEIGHT : AXL_MOE_HOME_DWEIGHT)};
    const axl_glu_bwd_args glu = {.act = m->i->arg.moe.act,
                                  .n = m->d->n_rows * m->width,
                                  .gate = scratch(m, AXL_MOE_GATE),
                                  .up = scratch(m, AXL_MOE_UP),
                                  .dout = scratch(m, AXL_MOE_DACT),
                                  .dtype = m->dtype,
                                  .dgate = scratch(m, AXL_MOE_GATE),
                                  .dup = scratch(m, AXL_MOE_UP)};

    AXL_TRY(product(m, AXL_GROUPED_DX, 3, AXL_MOE_DROWS, AXL_MOE_DACT, false));
    AXL_TRY(m->kernels->combine_bwd(m->s, &weights));
    AXL_TRY(weight_grad(m, g, round, 3, AXL_MOE_DROWS, AXL_MOE_ACT));
    AXL_TRY(m->kernels->glu_bwd(m->s, &glu));

out:
    return status;
}

static axl_status round_backward(const moe *m, const stack_grads *g, int64_t round)
{
    axl_status status = AXL_OK;
    const bool spread = m->d->n_ranks > 1;
    const int64_t size = (int64_t)axl_dtype_size(m->stat);
    void *weight = scratch(m, AXL_MOE_HOME_WEIGHT), *dweight = scratch(m, AXL_MOE_HOME_DWEIGHT);

    axl_dispatch_round(m->d, round);
    AXL_TRY(send_rows(m, m->x->slot[m->i->in[0]], AXL_MOE_ROWS));
    AXL_TRY(send_rows(m, m->x->grad[m->i->out[0]], AXL_MOE_DROWS));
    if (spread)
        AXL_TRY(axl_dispatch_send(m->d, weight, scratch(m, AXL_MOE_WEIGHT), size, m->s));
    AXL_TRY(inner(m));
    AXL_TRY(inner_backward(m, g, round));
    AXL_TRY(weight_grad(m, g, round, 1, AXL_MOE_GATE, AXL_MOE_ROWS));
    AXL_TRY(weight_grad(m, g, round, 2, AXL_MOE_UP, AXL_MOE_ROWS));
    AXL_TRY(product(m, AXL_GROUPED_DX, 1, AXL_MOE_GATE, AXL_MOE_DROWS, false));
    AXL_TRY(product(m, AXL_GROUPED_DX, 2, AXL_MOE_UP, AXL_MOE_DROWS, true));
    AXL_TRY(axl_dispatch_return(m->d, scratch(m, AXL_MOE_DROWS), home(m, AXL_MOE_DROWS),
                                row_bytes(m), m->s));
    if (spread)
        AXL_TRY(axl_dispatch_return(m->d, scratch(m, AXL_MOE_DWEIGHT), dweight, size, m->s));

out:
    return status;
}

// From the gradients of the weights, and of the auxiliary loss, to that of the router's matrix and of x. Under tp
// the former are parts of a sum; the latter are whole, and count on one rank.
static axl_status route_backward(const moe *m, void *dx)
{
    axl_status status = AXL_OK;
    const axl_router_load *load = m->x->run->load;
    const bool counts =
        load != NULL && (!m->i->arg.moe.partial || m->x->run->mesh->coord[AXL_TP] == 0);
    bool add = false;
    void *dw = axl_exec_weight_grad(m->x, m->i, 0, &add);
    void *logits = scratch(m, AXL_MOE_LOGITS);
    const axl_route_bwd_args a = {.logits = logits,
                                  .lse = m->x->slot[m->i->out[3]],
                                  .ids = m->x->slot[m->i->out[1]],
                                  .n_tokens = m->n_tokens,
                                  .n_experts = m->n_experts,
                                  .top_k = m->top_k,
                                  .renormalize = m->i->arg.moe.renormalize,
                                  .dtype = m->dtype,
                                  .dweights = scratch(m, AXL_MOE_DWEIGHTS),
                                  .dprobs = counts ? load->dprobs : NULL,
                                  .dlogits = logits};
    axl_gemm_args g = {.m = m->n_experts,
                       .n = m->hidden,
                       .k = m->n_tokens,
                       .a = logits,
                       .lda = m->n_experts,
                       .trans_a = true,
                       .b = m->x->slot[m->i->in[0]],
                       .ldb = m->hidden,
                       .c = dw,
                       .ldc = m->hidden,
                       .accumulate = add,
                       .alpha = 1.0f,
                       .dtype = m->dtype,
                       .dtype_c = m->stat};

    AXL_TRY(m->kernels->route_bwd(m->s, &a));
    if (dw != NULL)
        AXL_TRY(m->kernels->gemm(m->s, &g));
    g.m = m->n_tokens;
    g.k = m->n_experts;
    g.trans_a = false;
    g.b = axl_exec_weight(m->x, m->i, 0);
    g.c = dx;
    g.accumulate = true;
    g.dtype_c = m->dtype;
    AXL_TRY(m->kernels->gemm(m->s, &g));

out:
    return status;
}

static axl_status backward(axl_exec *x, const axl_insn *i, const bool acc[AXL_MAX_IN])
{
    axl_status status = AXL_OK;
    const moe m = open_moe(x, i);
    const int64_t n_copies = m.n_tokens * m.top_k;
    void *dx = x->grad[i->in[0]];
    stack_grads g = {{NULL}, {false}};

    for (int k = 1; k < 4; k++)
        g.dw[k] = axl_exec_weight_grad(x, i, k, &g.add[k]);
    AXL_TRY(make_logits(&m));
    AXL_TRY(begin_exchange(&m, true));
    AXL_TRY(gather(&m, x->slot[i->out[2]], n_copies, scratch(&m, AXL_MOE_COPIES), n_copies, 1,
                   m.stat, scratch(&m, AXL_MOE_HOME_WEIGHT)));
    for (int64_t r = 0; r < m.d->n_rounds; r++)
        AXL_TRY(round_backward(&m, &g, r));
    AXL_TRY(gather(&m, scratch(&m, AXL_MOE_HOME_DWEIGHT), n_copies, scratch(&m, AXL_MOE_PLACES),
                   n_copies, 1, m.stat, scratch(&m, AXL_MOE_DWEIGHTS)));
    AXL_TRY(combine(&m, home(&m, AXL_MOE_DROWS), NULL, acc[0], dx));
    AXL_TRY(route_backward(&m, dx));

out:
    return status;
}

int64_t axl_moe_sent_bytes(const axl_insn *i, bool backward, int64_t sent_rows,
                           int64_t received_rows, axl_dtype dtype, axl_dtype stat)
{
    const int64_t row = i->arg.moe.hidden * (int64_t)axl_dtype_size(dtype);
    const int64_t weight = (int64_t)axl_dtype_size(stat);

    if (!backward)
        return (sent_rows + received_rows) * row;
    return sent_rows * (2 * row + weight) + received_rows * (row + weight);
}

static double flops(const axl_insn *i, double n, double pairs)
{
    const double hidden = (double)i->arg.moe.hidden;

    (void)pairs;
    return 2.0 * n * hidden *
           (i->arg.moe.n_experts + 3.0 * i->arg.moe.top_k * (double)i->arg.moe.width);
}

const axl_op_def axl_op_moe = {.name = "moe",
                               .forward = forward,
                               .backward = backward,
                               .needs_in = 1,
                               .needs_out = 14,
                               .keeps = 14,
                               .host_work = true,
                               .flops = flops};
