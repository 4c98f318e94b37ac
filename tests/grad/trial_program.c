// Random programs. The hard part is to keep every value in use: a value that nothing reads has no gradient, so
// what is left over at the end is summed into the result, in random order.
#include "tests/grad/trial_program.h"

#include "src/base/mem.h"
#include "src/base/philox.h"

#include <stdlib.h>

#define GUARD  256
#define POISON 0xff // eight of them are a NaN

int64_t trial_int(trial_program *t, int64_t low, int64_t high)
{
    double u = axl_random_uniform(t->seed, AXL_RANDOM_TEST, t->drawn++);
    return low + (int64_t)(u * (double)(high - low + 1));
}

double trial_uniform(trial_program *t)
{
    return 2.0 * axl_random_uniform(t->seed, AXL_RANDOM_TEST, t->drawn++) - 1.0;
}

// ---- the generator

typedef struct pool {
    axl_builder b;
    axl_slot slots[AXL_MAX_SLOTS];
    bool used[AXL_MAX_SLOTS];
    int n;
    int n_names;
} pool;

static axl_slot put(pool *p, axl_slot s)
{
    p->used[p->n] = false;
    p->slots[p->n++] = s;
    return s;
}

static axl_slot pick(trial_program *t, pool *p)
{
    // Late values more often: long chains, and residuals around them
    int back = (int)trial_int(t, 0, trial_int(t, 0, p->n - 1));
    int i = p->n - 1 - back;

    p->used[i] = true;
    return p->slots[i];
}

// Two values of one width; projections make them so where needed.
static axl_slot pick_of_width(trial_program *t, pool *p, int64_t cols)
{
    char name[32];

    for (int tries = 0; tries < 6; tries++) {
        int i = (int)trial_int(t, 0, p->n - 1);
        if (axl_b_cols(&p->b, p->slots[i]) == cols) {
            p->used[i] = true;
            return p->slots[i];
        }
    }
    (void)snprintf(name, sizeof name, "fit%d", p->n_names++);
    return axl_b_linear(&p->b, pick(t, p), name, &(axl_linear_spec){.out = cols});
}

static axl_slot projection(trial_program *t, pool *p, int64_t cols)
{
    char name[32];

    (void)snprintf(name, sizeof name, "linear%d", p->n_names++);
    const axl_linear_spec spec = {.out = cols, .bias = trial_int(t, 0, 1) == 1};
    return axl_b_linear(&p->b, pick(t, p), name, &spec);
}

static axl_slot normalised(trial_program *t, pool *p, axl_slot x, int64_t cols)
{
    char name[32];
    const axl_norm norm = {.kind = trial_int(t, 0, 1) == 1 ? AXL_NORM_RMS : AXL_NORM_RMS1P,
                           .eps = 0.125f};

    (void)snprintf(name, sizeof name, "norm%d", p->n_names++);
    return axl_b_norm(&p->b, x, name, &norm, cols, AXL_TP_NONE);
}

// Those with a gradient that differences can see, and every mask.
static axl_attn_choice attention_of(uint64_t seed, int32_t n_kv_heads)
{
    static const axl_attn_numerics kinds[] = {AXL_ATTN_EXACT, AXL_ATTN_EAGER, AXL_ATTN_EXACT,
                                              AXL_ATTN_SHIFTED};
    axl_attn_choice c = {
        .numerics = kinds[seed % 4], .rule = (axl_attn_rule)(seed / 4 % 3), .max_keys = 5};

    if (c.numerics == AXL_ATTN_SHIFTED && n_kv_heads % 2 != 0)
        c.numerics = AXL_ATTN_EXACT;
    if (c.numerics == AXL_ATTN_SHIFTED)
        c.rule = AXL_RULE_CAUSAL;
    return c;
}

static axl_slot attention(trial_program *t, pool *p)
{
    const axl_arch *a = &t->arch;
    axl_slot q = projection(t, p, (int64_t)a->n_heads * a->head_dim);
    axl_slot k = projection(t, p, (int64_t)a->n_kv_heads * a->head_dim);
    axl_slot v =
        projection(t, p, (int64_t)a->n_kv_heads * (trial_int(t, 0, 2) == 0 ? 3 : a->head_dim));

    if (trial_int(t, 0, 1) == 1) {
        q = normalised(t, p, q, a->head_dim);
        k = normalised(t, p, k, a->head_dim);
    }
    if (trial_int(t, 0, 3) > 0)
        axl_b_rope(&p->b, &q, &k, a, 0);
    return axl_b_attention(&p->b, q, k, v, a, (int32_t)trial_int(t, 0, 3));
}

// All experts are chosen: where another one would enter the choice the loss jumps, and differences mean nothing.
static axl_slot mixture(trial_program *t, pool *p)
{
    static const axl_moe_names names = {"gate", "%d.gate", "%d.up", "%d.down"};
    axl_moe *moe = &t->arch.moe;

    if (moe->n_experts > 0)
        return projection(t, p, 5); // a second one would be too large for a program
    *moe = (axl_moe){.n_experts = (int32_t)trial_int(t, 1, 4),
                     .width = trial_int(t, 1, 5),
                     .renormalize = trial_int(t, 0, 1) == 1,
                     .names = &names};
    moe->top_k = moe->n_experts;
    return axl_b_moe(&p->b, pick(t, p), &t->arch);
}

static axl_slot any_op(trial_program *t, pool *p, int64_t width)
{
    static const axl_act acts[] = {AXL_ACT_SILU, AXL_ACT_GELU, AXL_ACT_GELU_TANH};
    axl_slot x;
    axl_slot y;

    switch (trial_int(t, 0, 7)) {
    case 0:
        return projection(t, p, trial_int(t, 1, 9));
    case 1:
        x = pick(t, p);
        return normalised(t, p, x,
                          axl_b_cols(&p->b, x) % 2 == 0 && trial_int(t, 0, 1) == 1
                              ? axl_b_cols(&p->b, x) / 2
                              : axl_b_cols(&p->b, x));
    case 2:
        return attention(t, p);
    case 3:
        x = projection(t, p, 5);
        y = projection(t, p, 5);
        return axl_b_glu(&p->b, x, y, acts[trial_int(t, 0, 2)]);
    case 4:
        return projection(t, p, width);
    case 5:
        return mixture(t, p);
    default:
        x = pick(t, p);
        y = pick_of_width(t, p, axl_b_cols(&p->b, x));
        return trial_int(t, 0, 1) == 1 ? axl_b_add(&p->b, x, y, "sum")
                                       : axl_b_add(&p->b, y, x, "sum");
    }
}

// The values that nothing read yet, summed into one of the carry's width.
static axl_slot gather_rest(trial_program *t, pool *p, int64_t width)
{
    axl_slot result = -1;
    int64_t order[AXL_MAX_SLOTS];
    char name[32];

    axl_random_permutation(t->seed, AXL_RANDOM_TEST, 1, order, p->n);
    for (int i = 0; i < p->n; i++) {
        if (p->used[order[i]])
            continue;
        axl_slot s = p->slots[order[i]];
        if (axl_b_cols(&p->b, s) != width || s == t->program.in) {
            (void)snprintf(name, sizeof name, "rest%d", p->n_names++);
            s = axl_b_linear(&p->b, s, name, &(axl_linear_spec){.out = width});
        }
        if (result < 0)
            result = s;
        else
            result = trial_int(t, 0, 1) == 1 ? axl_b_add(&p->b, result, s, "rest_sum")
                                             : axl_b_add(&p->b, s, result, "rest_sum");
    }
    // the result's own backward must not read it
    return axl_b_linear(&p->b, result, "last", &(axl_linear_spec){.out = width});
}

void trial_random_program(trial_program *t, axl_device *device, uint64_t seed)
{
    pool p = {.n = 0};

    *t = (trial_program){.seed = seed};
    int64_t width = trial_int(t, 2, 8);
    int64_t n = trial_int(t, 3, 7);
    t->arch = (axl_arch){.n_kv_heads = (int32_t)trial_int(t, 1, 2), .head_dim = 4, .n_ropes = 1};
    t->arch.n_heads = t->arch.n_kv_heads * (int32_t)trial_int(t, 1, 2);
    t->arch.attention_scale = 0.5f;
    t->arch.attention = attention_of(seed, t->arch.n_kv_heads);
    t->arch.ropes[0] =
        (axl_rope){.rotary_dim = trial_int(t, 0, 1) == 1 ? 4 : 2,
                   .theta = 100.0,
                   .pairing = trial_int(t, 0, 1) == 1 ? AXL_ROPE_HALF : AXL_ROPE_PAIRS};
    axl_builder_begin(&p.b, &t->program, "random", width, 1);
    (void)put(&p, axl_b_input(&p.b));
    for (int64_t i = 0; i < n; i++)
        (void)put(&p, any_op(t, &p, width));
    CHECK_OK(axl_builder_finish(&p.b, gather_rest(t, &p, width)));
    trial_prepare(t, device);
}

void trial_random_sums(trial_program *t, axl_device *device, uint64_t seed)
{
    pool p = {.n = 0};

    *t = (trial_program){.seed = seed};
    int64_t n = trial_int(t, 3, 9);
    t->arch = (axl_arch){.n_heads = 1, .n_kv_heads = 1, .head_dim = 2, .n_ropes = 0};
    axl_builder_begin(&p.b, &t->program, "sums", 2, 1);
    (void)put(&p, axl_b_input(&p.b));
    for (int64_t i = 0; i < n; i++) {
        if (trial_int(t, 0, 1) == 1)
            (void)put(&p, projection(t, &p, 2));
        else { // C leaves the order of arguments open; a seed must mean one program
            axl_slot x = pick(t, &p);
            (void)put(&p, axl_b_add(&p.b, x, pick_of_width(t, &p, 2), "sum"));
        }
    }
    CHECK_OK(axl_builder_finish(&p.b, gather_rest(t, &p, 2)));
    trial_prepare(t, device);
}

// ---- running

static double *numbers(trial_program *t, int64_t n)
{
    double *x = malloc((size_t)n * sizeof *x);

    assert_non_null(x);
    for (int64_t i = 0; i < n; i++)
        x[i] = trial_uniform(t);
    return x;
}

// Documents of 1 to 5 tokens, positions from 0 in each.
static void make_batch(trial_program *t)
{
    axl_run *r = &t->run;
    float inv_freq[AXL_MAX_ROPE_PAIRS];

    r->n_seqs = (int32_t)trial_int(t, 1, 3);
    for (int32_t d = 0; d < r->n_seqs; d++) {
        int32_t n = (int32_t)trial_int(t, 1, 5);
        for (int32_t i = 0; i < n; i++)
            t->positions[t->cu_seqlens[d] + i] = i;
        t->cu_seqlens[d + 1] = t->cu_seqlens[d] + n;
        r->max_seqlen = n > r->max_seqlen ? n : r->max_seqlen;
    }
    for (int32_t d = 0; d < r->n_seqs; d++) // as by labels: 0 for a document without any
        t->prefix[d] = (int32_t)((t->seed + (uint64_t)d) % 4);
    axl_attn_groups(t->cu_seqlens, r->n_seqs, t->groups[0], t->groups[1]);
    axl_mesh_imagine((const int[AXL_N_AXES]){1, 1, 1, 1, 1}, 0, &t->mesh);
    r->mesh = &t->mesh;
    r->prefix = t->prefix;
    r->groups[0] = t->groups[0];
    r->groups[1] = t->groups[1];
    r->n_tokens = t->cu_seqlens[r->n_seqs];
    r->positions = t->positions;
    r->cu_seqlens = t->cu_seqlens;
    for (int i = 0; i < t->arch.n_ropes; i++) {
        axl_rope_table_args a = {.positions = t->positions,
                                 .inv_freq = inv_freq,
                                 .n_tokens = r->n_tokens,
                                 .half = t->arch.ropes[i].rotary_dim / 2,
                                 .dtype = AXL_F64,
                                 .cos = t->cos,
                                 .sin = t->sin};
        axl_rope_frequencies(&t->arch.ropes[i], r->n_tokens, inv_freq, &a.factor);
        CHECK_OK(t->device->kernels->rope_table(t->device->compute, &a));
        r->cos[i] = t->cos;
        r->sin[i] = t->sin;
    }
}

// The loss gets a part that is linear in the sums of probabilities, as an auxiliary loss does.
static void make_experts(trial_program *t)
{
    t->run.max_tokens = t->run.n_tokens;
    if (t->arch.moe.n_experts == 0)
        return;
    CHECK_OK(axl_comm_init(NULL, NULL, &t->world));
    CHECK_OK(axl_dispatch_create(t->world, t->device, t->arch.moe.n_experts, 1, &t->run.dispatch));
    t->load =
        (axl_router_load){.prob_sum = t->prob_sum, .dprobs = t->dprobs, .counts = t->expert_counts};
    for (int32_t e = 0; e < t->arch.moe.n_experts; e++)
        t->dprobs[e] = trial_uniform(t);
    t->run.load = &t->load;
}

void trial_prepare(trial_program *t, axl_device *device)
{
    const axl_program *p = &t->program;

    t->device = device;
    t->run = (axl_run){.device = device, .dtype = AXL_F64, .stat = AXL_F64};
    make_batch(t);
    make_experts(t);
    for (int k = 0; k < p->n_weights; k++) {
        const axl_weight *w = &p->weights[k];
        t->params[k] = (axl_param){.n_dims = w->n_dims,
                                   .rows = w->rows * (w->n_mats > 1 ? w->n_mats : 1),
                                   .cols = w->cols,
                                   .trainable = trial_int(t, 0, 4) > 0,
                                   .dtype = AXL_F64};
        t->params[k].full = numbers(t, t->params[k].rows * w->cols);
        t->params[k].grad_full = numbers(t, t->params[k].rows * w->cols);
        t->w[k] = &t->params[k];
    }
    t->n_in = t->run.n_tokens * p->slots[p->in].cols;
    t->n_out = t->run.n_tokens * p->slots[p->out].cols;
    assert_int_equal(t->n_in, t->n_out);
    t->in = numbers(t, t->n_in);
    t->out = numbers(t, t->n_out);
    t->seed_grad = numbers(t, t->n_out);
    t->din = numbers(t, t->n_in);
}

void trial_program_fini(trial_program *t)
{
    for (int k = 0; k < t->program.n_weights; k++) {
        free(t->params[k].full);
        free(t->params[k].grad_full);
    }
    axl_dispatch_destroy(t->run.dispatch);
    axl_comm_finalize(t->world);
    free(t->in);
    free(t->out);
    free(t->seed_grad);
    free(t->din);
}

static guarded take(size_t n)
{
    guarded g = {.n = n, .memory = aligned_alloc(AXL_ALIGN, axl_align_up(n + 2 * GUARD))};

    assert_non_null(g.memory);
    memset(g.memory, POISON, axl_align_up(n + 2 * GUARD));
    return g;
}

static void check_poison(const unsigned char *p, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != POISON)
            fail_msg("byte %zu of %s was written", i, what);
}

static void check_guards(const guarded *g, const char *what)
{
    check_poison(g->memory, GUARD, what);
    check_poison(g->memory + GUARD + g->n, GUARD, what);
}

// Saved slots lie one after the other, rounded up: the rounding stays poisoned.
static void check_saved_gaps(const trial_program *t, const axl_unit_plan *plan, const guarded *g)
{
    for (int s = 0; s < t->program.n_slots; s++) {
        if (plan->saved[s] < 0)
            continue;
        size_t n = (size_t)(t->run.n_tokens * t->program.slots[s].cols) *
                   axl_exec_slot_size(&t->run, &t->program.slots[s]);
        check_poison(g->memory + GUARD + (size_t)plan->saved[s] + n, axl_align_up(n) - n,
                     "the gap behind a saved slot");
    }
}

static void run_backward(trial_program *t, axl_exec *x, const axl_unit_plan *plan, guarded *saved)
{
    guarded scratch = take(plan->backward_bytes);
    unsigned char *before = malloc(saved->n + 1);

    assert_non_null(before);
    memcpy(before, saved->memory + GUARD, saved->n);
    for (int k = 0; k < t->program.n_weights; k++) {
        axl_param *p = &t->params[k];
        p->grad_written = false;
        memset(p->grad_full, POISON, (size_t)(p->rows * p->cols) * sizeof(double));
    }
    memcpy(t->din, t->seed_grad, (size_t)t->n_out * sizeof(double));
    CHECK_OK(
        axl_exec_backward(x, plan, scratch.memory + GUARD, saved->memory + GUARD, t->in, t->din));
    check_guards(&scratch, "the guards of scratch in backward");
    assert_memory_equal(before, saved->memory + GUARD, saved->n);
    free(before);
    free(scratch.memory);
}

double trial_pass(trial_program *t, axl_checkpointing mode, bool backward)
{
    axl_unit_plan plan;
    bool trainable[AXL_MAX_WEIGHTS] = {false};
    double loss = 0.0;
    double counted[4];
    double *in_before = malloc((size_t)t->n_in * sizeof(double));
    axl_exec x = {.run = &t->run, .program = &t->program, .w = t->w};

    assert_non_null(in_before);
    memcpy(in_before, t->in, (size_t)t->n_in * sizeof(double));
    for (int k = 0; k < t->program.n_weights; k++)
        trainable[k] = t->params[k].trainable;
    CHECK_OK(
        axl_unit_plan_make(&t->program, trainable, mode, t->run.n_tokens, AXL_F64, AXL_F64, &plan));
    guarded scratch = take(plan.forward_bytes);
    guarded saved = take(plan.saved_bytes);
    guarded out = take((size_t)t->n_out * sizeof(double));
    memset(t->prob_sum, 0, sizeof t->prob_sum);
    CHECK_OK(axl_exec_forward(&x, &plan, scratch.memory + GUARD, saved.memory + GUARD, t->in,
                              out.memory + GUARD));
    memcpy(t->out, out.memory + GUARD, out.n);
    for (int64_t i = 0; i < t->n_out; i++)
        loss += t->seed_grad[i] * t->out[i];
    for (int32_t e = 0; e < t->arch.moe.n_experts; e++)
        loss += t->dprobs[e] * t->prob_sum[e];
    memcpy(counted, t->prob_sum, sizeof counted);
    if (backward)
        run_backward(t, &x, &plan, &saved);
    assert_memory_equal(counted, t->prob_sum, sizeof counted); // a re-run counts nothing twice
    check_guards(&scratch, "the guards of scratch in forward");
    check_guards(&saved, "the guards of the saved region");
    check_guards(&out, "the guards of the output");
    check_saved_gaps(t, &plan, &saved);
    assert_memory_equal(in_before, t->in, (size_t)t->n_in * sizeof(double));
    free(in_before);
    free(scratch.memory);
    free(saved.memory);
    free(out.memory);
    return loss;
}
