// The costs of ops. Bytes are those of kernels that read each input and write each output once; software that needs
// more passes over memory says so in its cluster file.
#include "src/plan/cost.h"

#include "src/model/ops.h"
#include "src/plan/network.h"

#include <math.h>

#define OPTIMIZER_BYTES          28.0 // of an element: weight, two moments read and written, gradient read
#define FP8_CAST_BYTES           5.0 // of an operand's element: read for its largest value, read, written
#define ATTENTION_BACKWARD_FLOPS 2.5   // of forward's: five products instead of two
#define TILE                     128.0 // edges of products are rounded up to it

double axl_cost_bytes(const axl_cluster *c, double bytes)
{
    return bytes / (c->memory_rate * c->memory_achievable);
}

static double element(const axl_cost_input *x)
{
    return (double)axl_dtype_size(x->job->work.dtype);
}

static bool is_half(const axl_cost_input *x)
{
    return x->job->work.dtype == AXL_BF16;
}

// Whether foreign software makes the products of layers in fp8; ours says so in the program.
static bool foreign_fp8(const axl_cost_input *x)
{
    return x->cluster->fp8_products > 0.0 && is_half(x);
}

// FLOP/s of large products.
static double product_rate(const axl_cost_input *x, bool fp8)
{
    const axl_cluster *c = x->cluster;

    if (fp8 && c->peak_fp8 > 0.0)
        return c->peak_fp8 * c->clock * c->gemm_fp8;
    return axl_cluster_peak(c, x->job->work.dtype, x->job->tf32) * c->clock * c->gemm;
}

// The same of our own products of e4m3. Where the library makes none, tensor cores get them as fp16, and processors as
// what the run computes in.
static double own_fp8_rate(const axl_cost_input *x)
{
    const axl_cluster *c = x->cluster;

    return c->library_fp8 || c->is_host ? product_rate(x, c->library_fp8)
                                        : c->peak_bf16 * c->clock * c->gemm;
}

static double rounded(const axl_cost_input *x, double n)
{
    return x->cluster->is_host || n < TILE ? n : ceil(n / TILE) * TILE;
}

// [m, k] x [k, n]; written in out_bytes an element.
static double product(const axl_cost_input *x, double m, double n, double k, double out_bytes,
                      bool layer)
{
    const axl_cluster *c = x->cluster;
    const bool fp8 = layer && foreign_fp8(x);
    const double arithmetic = 2.0 * rounded(x, m) * rounded(x, n) * k / product_rate(x, fp8);
    const double bytes = axl_cost_bytes(c, (m * k + k * n) * element(x) + m * n * out_bytes);
    double cast = 0.0;

    if (fp8)
        cast = axl_cost_bytes(c, (m * k + k * n) * FP8_CAST_BYTES);
    return (arithmetic > bytes ? arithmetic : bytes) + cast + c->kernel_seconds;
}

// The same of factors that are e4m3 already.
static double product_fp8(const axl_cost_input *x, double m, double n, double k)
{
    const double arithmetic = 2.0 * rounded(x, m) * rounded(x, n) * k / own_fp8_rate(x);
    const double bytes = axl_cost_bytes(x->cluster, m * k + k * n + m * n * element(x));

    return (arithmetic > bytes ? arithmetic : bytes) + x->cluster->kernel_seconds;
}

static double linear_forward(const axl_cost_input *x, const axl_insn *i, double n)
{
    const double in = (double)i->arg.linear.in, out = (double)i->arg.linear.out;

    return i->arg.linear.fp8 ? product_fp8(x, n, out, in)
                             : product(x, n, out, in, element(x), true);
}

// The gradients of the input and of the weight. In 8 bits the gradient of the output is cast, the weight turned, and the
// weight's gradient made of bf16.
static double linear_backward(const axl_cost_input *x, const axl_insn *i, double n)
{
    const double in = (double)i->arg.linear.in, out = (double)i->arg.linear.out;
    const double dw = product(x, out, in, n, sizeof(float), true);

    if (!i->arg.linear.fp8)
        return product(x, n, in, out, element(x), true) + dw;
    return product_fp8(x, n, in, out) + dw +
           axl_cost_bytes(x->cluster, n * out * (element(x) + 1.0) + 2.0 * in * out) +
           2.0 * x->cluster->kernel_seconds;
}

static double rows_passed(const axl_cost_input *x, double elements, double kernels)
{
    const double passes = x->cluster->elementwise_passes;

    return axl_cost_bytes(x->cluster, elements * element(x) * passes) +
           x->cluster->kernel_seconds * kernels * passes;
}

// Part of a residual row that this rank works on.
static double row_share(const axl_cost_input *x)
{
    return x->cluster->sequence_parallel > 0.0 ? 1.0 / x->model->mesh->size[AXL_TP] : 1.0;
}

// The sum over tp of rows [n, cols].
static double tp_sum(const axl_cost_input *x, double n, double cols)
{
    const int tp = x->model->mesh->size[AXL_TP];
    const double t = axl_network_seconds(x->cluster, x->model->mesh, AXL_AXIS_BIT(AXL_TP),
                                         AXL_COMM_ALL_REDUCE, n * cols * element(x));

    return x->cluster->async_tp > 0.0 ? t / tp
                                      : t; // only the first part of tp has nothing beside it
}

// ---- ops that need more than a line

static int window_of(const axl_forecast_view *v, int32_t window)
{
    int k = 0;

    while (k + 1 < v->n_windows && v->window[k] != window)
        k++;
    return k;
}

// Attention in turns: a turn's keys travel while the turn before is computed. back: gradients come too.
static void add_attention(const axl_cost_input *x, const axl_insn *i, bool back, axl_seconds *t,
                          double *flops)
{
    const axl_cluster *c = x->cluster;
    const axl_forecast_view *v = x->view;
    const int w = window_of(v, i->arg.attention.window), cp = x->model->mesh->size[AXL_CP];
    const double peak = (is_half(x) ? c->peak_bf16 : c->peak_f32) * c->clock;
    const double work = axl_ops[i->op]->flops(i, (double)v->n_tokens, v->pairs[w]) *
                        (back ? ATTENTION_BACKWARD_FLOPS : 1.0);
    const double rate = peak * (back ? c->attention_backward : c->attention_forward);
    const double width = (double)i->arg.attention.n_kv_heads *
                         (i->arg.attention.head_dim + i->arg.attention.v_head_dim);
    const double kernels = work / rate + c->kernel_seconds * (back ? 2.0 : 1.0) * cp;
    double bytes = (double)v->rows[w] * width * element(x);

    *flops += work;
    t->s[AXL_TIME_ATTENTION] += kernels;
    if (cp == 1)
        return;
    if (back)
        bytes += (double)v->rows_back[w] * width * sizeof(float);
    const double turns =
        x->job->work.ring == AXL_RING_VARLEN_LLAMA3
            ? ceil((double)i->arg.attention.n_kv_heads / x->job->work.heads_k_stride)
            : cp - 1.0;
    const double first = x->job->work.ring == AXL_RING_VARLEN_LLAMA3 ? 1.0 : 0.0;
    const double travel =
        axl_network_sent_seconds(c, x->model->mesh, AXL_AXIS_BIT(AXL_CP), bytes / turns, 1.0);
    const double turn = kernels / (first > 0.0 ? turns : cp) * c->overlap;
    t->s[AXL_TIME_RING] += first * travel + (turns - first) * (travel > turn ? travel - turn : 0.0);
}

static void add_experts(const axl_cost_input *x, const axl_insn *i, bool back, axl_seconds *t,
                        double *flops)
{
    const int ep = x->model->mesh->size[AXL_EP];
    const double n = (double)x->view->n_tokens, k = i->arg.moe.top_k;
    const double rows = n * k, hidden = (double)i->arg.moe.hidden, width = (double)i->arg.moe.width;
    const double mats = 3.0 * i->arg.moe.n_experts / ep;
    const double times = back ? 2.0 : 1.0;
    const int64_t away = axl_dispatch_expected_rows((int64_t)rows, ep);

    *flops += axl_ops[i->op]->flops(i, n, 0.0) * times;
    t->s[AXL_TIME_PRODUCTS] +=
        times * (product(x, n, i->arg.moe.n_experts, hidden, 4.0, false) +
                 3.0 * product(x, rows, width, hidden, element(x), true) +
                 axl_cost_bytes(x->cluster, mats * hidden * width * element(x)) +
                 mats * x->cluster->kernel_seconds);
    t->s[AXL_TIME_ELEMENTWISE] += rows_passed(x, times * rows * (4.0 * hidden + 3.0 * width), 6.0);
    if (ep > 1)
        t->s[AXL_TIME_EXPERTS] += axl_network_sent_seconds(
            x->cluster, x->model->mesh, AXL_AXIS_BIT(AXL_EP),
            (double)axl_moe_sent_bytes(i, back, away, away, x->job->work.dtype, AXL_F32),
            (ep - 1.0) * (back ? 4.0 : 3.0));
    if (i->arg.moe.partial && !back)
        t->s[AXL_TIME_TP] += tp_sum(x, n, hidden);
}

// ---- forward and backward of any op

static void add_forward(const axl_cost_input *x, const axl_insn *i, axl_seconds *t, double *flops)
{
    const double n = (double)x->view->n_tokens;

    switch (i->op) {
    case AXL_OP_LINEAR:
        *flops += axl_ops[i->op]->flops(i, n, 0.0);
        t->s[AXL_TIME_PRODUCTS] += linear_forward(x, i, n);
        if (i->arg.linear.partial)
            t->s[AXL_TIME_TP] += tp_sum(x, n, (double)i->arg.linear.out);
        break;
    case AXL_OP_ATTENTION:
        add_attention(x, i, false, t, flops);
        break;
    case AXL_OP_MOE:
        add_experts(x, i, false, t, flops);
        break;
    default:
        break;
    }
}

// Elements that an op without products reads and writes, forward and backward, a token.
static void moved(const axl_cost_input *x, const axl_program *p, const axl_insn *i, double *forward,
                  double *backward)
{
    const double cols = i->in[0] >= 0 ? (double)p->slots[i->in[0]].cols : 0.0;
    const double share = cols == (double)x->model->arch.hidden ? row_share(x) : 1.0;

    *forward = *backward = 0.0;
    switch (i->op) {
    case AXL_OP_EMBED:
        *forward = 2.0 * (double)x->model->arch.hidden * row_share(x);
        *backward = 5.0 * (double)x->model->arch.hidden * row_share(x); // into sums in f32
        break;
    case AXL_OP_NORM:
        *forward = 2.0 * cols * share;
        *backward = 4.0 * cols * share; // gradient, input; the sum it joins is read and written
        break;
    case AXL_OP_ADD:
        *forward = 3.0 * cols * share; // its gradient is shared memory
        break;
    case AXL_OP_CAST_FP8:
        *forward = cols * (1.0 + 1.0 / element(x));
        break;
    case AXL_OP_GLU:
        *forward = 3.0 * cols;
        *backward = 5.0 * cols;
        break;
    case AXL_OP_ROPE:
        for (int k = 0; k < AXL_MAX_OUT; k++)
            if (i->out[k] >= 0)
                *forward += 2.0 * (double)p->slots[i->out[k]].cols;
        *backward = *forward;
        break;
    default:
        break;
    }
}

static void add_backward(const axl_cost_input *x, const axl_program *p, const axl_insn *i,
                         axl_seconds *t, double *flops)
{
    const double n = (double)x->view->n_tokens;

    switch (i->op) {
    case AXL_OP_LINEAR:
        *flops += 2.0 * axl_ops[i->op]->flops(i, n, 0.0);
        t->s[AXL_TIME_PRODUCTS] += linear_backward(x, i, n);
        break;
    case AXL_OP_ATTENTION:
        if (axl_attn_repeats(i->arg.attention.numerics))
            add_attention(x, i, false, t, flops);
        add_attention(x, i, true, t, flops);
        break;
    case AXL_OP_MOE:
        add_experts(x, i, true, t, flops);
        break;
    case AXL_OP_TP_ENTER:
        t->s[AXL_TIME_TP] += tp_sum(x, n, (double)p->slots[i->in[0]].cols);
        break;
    default:
        break;
    }
}

// Products of a layer that foreign software makes again under selective checkpointing.
static double rerun_products(const axl_cost_input *x, const axl_seconds *forward)
{
    return x->job->work.checkpointing == AXL_CHECKPOINT_SELECTIVE
               ? x->cluster->rerun_products * forward->s[AXL_TIME_PRODUCTS]
               : 0.0;
}

void axl_cost_program(const axl_cost_input *x, const axl_program *p, const axl_unit_plan *plan,
                      axl_seconds *forward, axl_seconds *backward, double *flops)
{
    const double n = (double)x->view->n_tokens;
    double there, back, before = *flops;

    *forward = *backward = (axl_seconds){{0.0}};
    for (int k = 0; k < p->n_insns; k++) {
        moved(x, p, &p->insns[k], &there, &back);
        add_forward(x, &p->insns[k], forward, flops);
        forward->s[AXL_TIME_ELEMENTWISE] += there > 0.0 ? rows_passed(x, n * there, 1.0) : 0.0;
    }
    before = *flops - before;
    for (int k = 0; k < plan->n_rerun; k++) {
        moved(x, p, &p->insns[plan->rerun[k]], &there, &back);
        add_forward(x, &p->insns[plan->rerun[k]], backward, flops);
        backward->s[AXL_TIME_ELEMENTWISE] += there > 0.0 ? rows_passed(x, n * there, 1.0) : 0.0;
    }
    for (int k = 0; k < p->n_insns; k++) {
        moved(x, p, &p->insns[k], &there, &back);
        add_backward(x, p, &p->insns[k], backward, flops);
        backward->s[AXL_TIME_ELEMENTWISE] += back > 0.0 ? rows_passed(x, n * back, 1.0) : 0.0;
    }
    const double again = rerun_products(x, forward);
    backward->s[AXL_TIME_PRODUCTS] += again;
    if (again > 0.0)
        *flops += x->cluster->rerun_products * before;
}

void axl_cost_head(const axl_cost_input *x, int64_t chunk, axl_seconds *out, double *flops)
{
    const axl_cluster *c = x->cluster;
    const double n = (double)x->view->n_scored, hidden = (double)x->model->arch.hidden;
    const double words = (double)axl_param_real_rows(x->model->lm_head);
    const double e = element(x), stat = sizeof(float);
    const double rows = c->whole_logits > 0.0 || (double)chunk > n ? n : (double)chunk;
    const double chunks = n > 0.0 ? n / rows : 0.0;
    // logits are read for the sum, read for their gradient, which is written
    const double swept = n * words * (2.0 * stat + e) * c->elementwise_passes;

    if (n == 0.0)
        return;
    *flops += 6.0 * n * words * hidden;
    out->s[AXL_TIME_HEAD] +=
        chunks * (product(x, rows, words, hidden, stat, false) +
                  product(x, rows, hidden, words, e, false) +
                  product(x, words, hidden, rows, chunks > 1.0 ? 2.0 * stat : stat, false) +
                  3.0 * c->kernel_seconds) +
        axl_cost_bytes(c, swept + 6.0 * n * hidden * e);
    if (x->model->mesh->size[AXL_TP] > 1)
        out->s[AXL_TIME_TP] +=
            tp_sum(x, n, hidden) + 3.0 * chunks *
                                       axl_network_seconds(c, x->model->mesh, AXL_AXIS_BIT(AXL_TP),
                                                           AXL_COMM_ALL_REDUCE, rows * stat);
}

void axl_cost_optimizer(const axl_cost_input *x, double elements, axl_seconds *out)
{
    const axl_cluster *c = x->cluster;
    const bool away = x->job->sharder.offload;
    // the update, and the norm before it
    const double bytes = elements * (away ? 4.0 : OPTIMIZER_BYTES + 4.0);
    const double all = (double)axl_network_ranks(x->model->mesh, ~0u);
    const double ranks = all < c->node_ranks ? all : c->node_ranks;
    // weight, losses, norm and agreement of the ranks: small sums over all of them
    const double sums =
        6.0 * axl_network_seconds(c, x->model->mesh, ~0u, AXL_COMM_ALL_REDUCE, 64.0);

    if (away) // the gradients come down in one copy, then the host updates and rounds, for all its ranks
        out->s[AXL_TIME_HOST] += elements * 4.0 / c->host_link +
                                 ranks * elements * (OPTIMIZER_BYTES + 6.0) / c->host_rate;
    out->s[AXL_TIME_OPTIMIZER] +=
        axl_cost_bytes(c, bytes) + sums + 2.0 * c->kernel_seconds * axl_model_n_params(x->model);
}
