// The library recognises the graph by its shape, so the order of the operations is part of what is asked for: the
// order here is the one that it documents for attention, and a change of it may be refused.
//
// Scores are masked three times: by the lengths, by the diagonal, by the window. Matrices are row-major: K is given as
// its transpose by its strides, and the weights are turned, for dk and dv, by a reshape that swaps strides.
#include "kernels/cuda/cudnn_sdpa.h"

#include <string.h>

enum { MOST_CONFIGS = 8, FIRST_INNER = 100 }; // uids of inner tensors lie above those of names

// A tensor of the graph: the library's descriptor and the dims that others take from it.
typedef struct tensor {
    void *desc;
    int64_t dims[4];
} tensor;

typedef struct graph {
    const axl_dnn_target *on;
    const axl_dnn_shape *shape;
    axl_dnn_plan *p;
    int code;          // the first failure; nothing is called behind it
    const char *where; // of it
    int64_t next_uid;  // of virtual tensors
    void *ops[AXL_DNN_MOST_DESCS / 2];
    int n_ops;
} graph;

static void note(graph *g, int code, const char *where)
{
    if (g->code == AXL_DNN_OK && code != AXL_DNN_OK) {
        g->code = code;
        g->where = where;
    }
}

// ---- descriptors

static void *make(graph *g, int kind, const char *where)
{
    void *desc = NULL;

    if (g->code != AXL_DNN_OK)
        return NULL;
    if (g->p->n_descs == AXL_DNN_MOST_DESCS)
        note(g, AXL_DNN_INTERNAL, "more descriptors than fit");
    else
        note(g, g->on->calls->desc_create(kind, &desc), where);
    if (g->code == AXL_DNN_OK)
        g->p->descs[g->p->n_descs++] = desc;
    return g->code == AXL_DNN_OK ? desc : NULL;
}

static void set(graph *g, void *desc, int name, int type, int64_t n, const void *values)
{
    if (g->code == AXL_DNN_OK)
        note(g, g->on->calls->desc_set(desc, name, type, n, values), "SetAttribute");
}

static void set_int(graph *g, void *desc, int name, int64_t value)
{
    set(g, desc, name, AXL_DNN_TYPE_INT64, 1, &value);
}

// An enumeration of the library, which is an int there.
static void set_enum(graph *g, void *desc, int name, int type, int value)
{
    set(g, desc, name, type, 1, &value);
}

static void set_desc(graph *g, void *desc, int name, void *value)
{
    if (value != NULL)
        set(g, desc, name, AXL_DNN_TYPE_DESCRIPTOR, 1, &value);
}

static void finish(graph *g, void *desc, const char *where)
{
    if (g->code == AXL_DNN_OK)
        note(g, g->on->calls->finalize(desc), where);
}

static void finish_op(graph *g, void *op, const char *where)
{
    finish(g, op, where);
    if (g->code == AXL_DNN_OK)
        g->ops[g->n_ops++] = op;
}

// ---- tensors

typedef struct layout {
    int64_t dims[4], strides[4];
} layout;

static tensor make_tensor(graph *g, axl_dnn_name name, int type, const layout *l, void *ragged,
                          bool by_value)
{
    tensor t = {.desc = make(g, AXL_DNN_TENSOR, "tensor")};
    const bool is_virtual = name == AXL_DNN_NONE;

    memcpy(t.dims, l->dims, sizeof t.dims);
    set_enum(g, t.desc, AXL_DNN_TENSOR_TYPE, AXL_DNN_TYPE_DATA_TYPE, type);
    set(g, t.desc, AXL_DNN_TENSOR_DIMS, AXL_DNN_TYPE_INT64, 4, l->dims);
    set(g, t.desc, AXL_DNN_TENSOR_STRIDES, AXL_DNN_TYPE_INT64, 4, l->strides);
    set_int(g, t.desc, AXL_DNN_TENSOR_UID, is_virtual ? g->next_uid++ : (int64_t)name);
    set_int(g, t.desc, AXL_DNN_TENSOR_ALIGNMENT, 16);
    set(g, t.desc, AXL_DNN_TENSOR_VIRTUAL, AXL_DNN_TYPE_BOOLEAN, 1, &is_virtual);
    set(g, t.desc, AXL_DNN_TENSOR_BY_VALUE, AXL_DNN_TYPE_BOOLEAN, 1, &by_value);
    set_desc(g, t.desc, AXL_DNN_TENSOR_RAGGED, ragged);
    finish(g, t.desc, "tensor");
    if (!is_virtual && g->code == AXL_DNN_OK)
        g->p->names[g->p->n_names++] = name;
    return t;
}

static tensor number(graph *g, axl_dnn_name name)
{
    const layout l = {{1, 1, 1, 1}, {1, 1, 1, 1}};

    return make_tensor(g, name, AXL_DNN_FLOAT, &l, NULL, true);
}

static tensor integers(graph *g, axl_dnn_name name, int64_t n)
{
    const layout l = {{n, 1, 1, 1}, {1, 1, 1, 1}};

    return make_tensor(g, name, AXL_DNN_INT32, &l, NULL, false);
}

// Rows of [heads, width], ld apart; at: where sequences begin.
static layout rows_of(const graph *g, int64_t heads, int64_t width, int64_t ld)
{
    const axl_dnn_shape *s = g->shape;

    return (layout){{s->n_seqs, heads, s->seqlen, width}, {s->seqlen * ld, width, ld, 1}};
}

// The same memory with the last two dims exchanged.
static layout turned(layout l)
{
    return (layout){{l.dims[0], l.dims[1], l.dims[3], l.dims[2]},
                    {l.strides[0], l.strides[1], l.strides[3], l.strides[2]}};
}

static layout dense(int64_t b, int64_t h, int64_t m, int64_t n)
{
    return (layout){{b, h, m, n}, {h * m * n, m * n, n, 1}};
}

static layout scores_of(const graph *g)
{
    const axl_dnn_shape *s = g->shape;

    return dense(s->n_seqs, s->n_heads, s->seqlen, s->seqlen);
}

static tensor inner(graph *g, int type, layout l)
{
    return make_tensor(g, AXL_DNN_NONE, type, &l, NULL, false);
}

// ---- operations

// y = mode(x, b), or (BINARY_SELECT) t ? x : b. axis: of GEN_INDEX.
static void pointwise(graph *g, int mode, int precision, int64_t axis, tensor x, tensor b, tensor t,
                      tensor y)
{
    void *desc = make(g, AXL_DNN_POINTWISE, "pointwise");
    void *op = make(g, AXL_DNN_OP_POINTWISE, "pointwise operation");

    set_enum(g, desc, AXL_DNN_PW_MODE, AXL_DNN_TYPE_POINTWISE_MODE, mode);
    set_enum(g, desc, AXL_DNN_PW_MATH_PREC, AXL_DNN_TYPE_DATA_TYPE, precision);
    if (mode == AXL_DNN_PW_GEN_INDEX)
        set_int(g, desc, AXL_DNN_PW_AXIS, axis);
    finish(g, desc, "pointwise");
    set_desc(g, op, AXL_DNN_OPPW_DESC, desc);
    set_desc(g, op, AXL_DNN_OPPW_X, x.desc);
    set_desc(g, op, AXL_DNN_OPPW_B, b.desc);
    set_desc(g, op, AXL_DNN_OPPW_T, t.desc);
    set_desc(g, op, AXL_DNN_OPPW_Y, y.desc);
    finish_op(g, op, "pointwise operation");
}

// The result in a new tensor with x's dims.
static tensor apply(graph *g, int mode, tensor x, tensor b)
{
    const tensor y = inner(g, AXL_DNN_FLOAT, dense(x.dims[0], x.dims[1], x.dims[2], x.dims[3]));

    pointwise(g, mode, AXL_DNN_FLOAT, 0, x, b, (tensor){0}, y);
    return y;
}

static tensor index_of(graph *g, tensor x, int64_t axis, int precision)
{
    const tensor y = inner(g, AXL_DNN_INT32, scores_of(g));

    pointwise(g, AXL_DNN_PW_GEN_INDEX, precision, axis, x, (tensor){0}, (tensor){0}, y);
    return y;
}

static tensor compare(graph *g, int mode, tensor x, tensor b)
{
    const tensor y = inner(g, AXL_DNN_BOOLEAN, scores_of(g));

    pointwise(g, mode, AXL_DNN_BOOLEAN, 0, x, b, (tensor){0}, y);
    return y;
}

static tensor keep_where(graph *g, tensor x, tensor low, tensor seen)
{
    const tensor y = inner(g, AXL_DNN_FLOAT, scores_of(g));

    pointwise(g, AXL_DNN_PW_BINARY_SELECT, AXL_DNN_FLOAT, 0, x, low, seen, y);
    return y;
}

// y = sum or maximum of x over the dims that are smaller in y.
static void reduce(graph *g, int mode, tensor x, tensor y)
{
    void *desc = make(g, AXL_DNN_REDUCTION, "reduction");
    void *op = make(g, AXL_DNN_OP_REDUCTION, "reduction operation");

    set_enum(g, desc, AXL_DNN_REDUCTION_TYPE, AXL_DNN_TYPE_DATA_TYPE, AXL_DNN_FLOAT);
    set_enum(g, desc, AXL_DNN_REDUCTION_OP, AXL_DNN_TYPE_REDUCTION, mode);
    finish(g, desc, "reduction");
    set_desc(g, op, AXL_DNN_OPRED_DESC, desc);
    set_desc(g, op, AXL_DNN_OPRED_X, x.desc);
    set_desc(g, op, AXL_DNN_OPRED_Y, y.desc);
    finish_op(g, op, "reduction operation");
}

// c = a b; m, n, k: tensors of how many rows, columns and summands of each sequence count, or empty.
static void matmul(graph *g, tensor a, tensor b, tensor c, tensor m, tensor n, tensor k)
{
    void *desc = make(g, AXL_DNN_MATMUL, "matmul");
    void *op = make(g, AXL_DNN_OP_MATMUL, "matmul operation");

    set_enum(g, desc, AXL_DNN_MATMUL_TYPE, AXL_DNN_TYPE_DATA_TYPE, AXL_DNN_FLOAT);
    finish(g, desc, "matmul");
    set_desc(g, op, AXL_DNN_OPMM_A, a.desc);
    set_desc(g, op, AXL_DNN_OPMM_B, b.desc);
    set_desc(g, op, AXL_DNN_OPMM_C, c.desc);
    set_desc(g, op, AXL_DNN_OPMM_DESC, desc);
    set_desc(g, op, AXL_DNN_OPMM_M, m.desc);
    set_desc(g, op, AXL_DNN_OPMM_N, n.desc);
    set_desc(g, op, AXL_DNN_OPMM_K, k.desc);
    finish_op(g, op, "matmul operation");
}

static void reshape(graph *g, tensor x, tensor y)
{
    void *op = make(g, AXL_DNN_OP_RESHAPE, "reshape operation");

    set_desc(g, op, AXL_DNN_OPRESHAPE_X, x.desc);
    set_desc(g, op, AXL_DNN_OPRESHAPE_Y, y.desc);
    finish_op(g, op, "reshape operation");
}

// ---- attention

// What both directions are given.
typedef struct inputs {
    tensor q, k, v; // k turned; backward v too
    tensor out, stats;
    tensor q_at, k_at, v_at, out_at, stats_at;
    tensor len_q, len_k;
    tensor scale, low, window;
} inputs;

static inputs declare(graph *g)
{
    const axl_dnn_shape *s = g->shape;
    const layout q = rows_of(g, s->n_heads, s->head_dim, s->ldq);
    const layout k = turned(rows_of(g, s->n_kv_heads, s->head_dim, s->ldk));
    const layout v = rows_of(g, s->n_kv_heads, s->v_head_dim, s->ldv), v_turned = turned(v);
    const layout out = rows_of(g, s->n_heads, s->v_head_dim, s->ldo);
    const layout stats = rows_of(g, s->n_heads, 1, s->n_heads);
    inputs x = {.q_at = integers(g, AXL_DNN_Q_AT, s->n_seqs + 1)};

    x.k_at = integers(g, AXL_DNN_K_AT, s->n_seqs + 1);
    x.v_at = integers(g, AXL_DNN_V_AT, s->n_seqs + 1);
    x.out_at = integers(g, AXL_DNN_OUT_AT, s->n_seqs + 1);
    x.stats_at = integers(g, AXL_DNN_STATS_AT, s->n_seqs + 1);
    x.len_q = integers(g, AXL_DNN_LEN_Q, s->n_seqs);
    x.len_k = integers(g, AXL_DNN_LEN_K, s->n_seqs);
    x.q = make_tensor(g, AXL_DNN_Q, AXL_DNN_BFLOAT16, &q, x.q_at.desc, false);
    x.k = make_tensor(g, AXL_DNN_K, AXL_DNN_BFLOAT16, &k, x.k_at.desc, false);
    x.v = make_tensor(g, AXL_DNN_V, AXL_DNN_BFLOAT16, s->backward ? &v_turned : &v, x.v_at.desc,
                      false);
    x.out = make_tensor(g, AXL_DNN_OUT, AXL_DNN_BFLOAT16, &out, x.out_at.desc, false);
    x.stats = make_tensor(g, AXL_DNN_STATS, AXL_DNN_FLOAT, &stats, x.stats_at.desc, false);
    x.scale = number(g, AXL_DNN_SCALE);
    x.low = number(g, AXL_DNN_LOW);
    if (s->window > 0)
        x.window = number(g, AXL_DNN_WINDOW);
    return x;
}

// q . k * scale
static tensor scores(graph *g, const inputs *x)
{
    const tensor s = inner(g, AXL_DNN_FLOAT, scores_of(g));

    matmul(g, x->q, x->k, s, x->len_q, x->len_k, (tensor){0});
    return apply(g, AXL_DNN_PW_MUL, s, x->scale);
}

static tensor masked(graph *g, const inputs *x, tensor s)
{
    const tensor i = index_of(g, s, 2, AXL_DNN_INT32), j = index_of(g, s, 3, AXL_DNN_INT32);
    const tensor there_q = compare(g, AXL_DNN_PW_CMP_LT, i, x->len_q);
    const tensor there_k = compare(g, AXL_DNN_PW_CMP_LT, j, x->len_k);

    s = keep_where(g, s, x->low, compare(g, AXL_DNN_PW_LOGICAL_AND, there_q, there_k));
    if (g->shape->causal) {
        const tensor row = index_of(g, s, 2, AXL_DNN_FLOAT);
        const tensor column = index_of(g, s, 3, AXL_DNN_FLOAT);
        s = keep_where(g, s, x->low, compare(g, AXL_DNN_PW_CMP_GE, row, column));
    }
    if (g->shape->window > 0) {
        const tensor row = index_of(g, s, 2, AXL_DNN_FLOAT);
        const tensor column = index_of(g, s, 3, AXL_DNN_FLOAT);
        const tensor last = apply(g, AXL_DNN_PW_ADD, column, x->window);
        s = keep_where(g, s, x->low, compare(g, AXL_DNN_PW_CMP_GT, last, row));
    }
    return s;
}

static void forward(graph *g)
{
    const axl_dnn_shape *d = g->shape;
    const inputs x = declare(g);
    const tensor none = {0};
    const tensor s = masked(g, &x, scores(g, &x));
    const tensor top = inner(g, AXL_DNN_FLOAT, dense(d->n_seqs, d->n_heads, d->seqlen, 1));
    const tensor sum = inner(g, AXL_DNN_FLOAT, dense(d->n_seqs, d->n_heads, d->seqlen, 1));
    const tensor p = inner(g, AXL_DNN_BFLOAT16, scores_of(g)); // as the tensor cores take them

    reduce(g, AXL_DNN_REDUCE_MAX, s, top);
    const tensor e = apply(g, AXL_DNN_PW_EXP, apply(g, AXL_DNN_PW_SUB, s, top), none);
    reduce(g, AXL_DNN_REDUCE_ADD, e, sum);
    pointwise(g, AXL_DNN_PW_ADD, AXL_DNN_FLOAT, 0, top, apply(g, AXL_DNN_PW_LOG, sum, none), none,
              x.stats);
    pointwise(g, AXL_DNN_PW_DIV, AXL_DNN_FLOAT, 0, e, sum, none, p);
    matmul(g, p, x.v, x.out, x.len_q, none, x.len_k);
}

// Of keys or values: grad = turned(w) y, summed over the query heads of each key head. w has been in f32; the product
// takes it as bf16.
static void key_gradient(graph *g, const inputs *x, tensor w, tensor y, axl_dnn_name name,
                         axl_dnn_name by_heads, int64_t width, int64_t ld, tensor at)
{
    const axl_dnn_shape *s = g->shape;
    const int64_t group = s->n_heads / s->n_kv_heads;
    const layout one = rows_of(g, s->n_kv_heads, width, ld);
    const layout all = rows_of(g, s->n_heads, width, ld * group);
    const tensor w_turned = inner(g, AXL_DNN_BFLOAT16, turned(scores_of(g)));
    const tensor grad = make_tensor(g, name, AXL_DNN_BFLOAT16, &one, at.desc, false);
    // its offsets are those of grad, times the group: the library's rule where head counts differ
    const tensor heads =
        group == 1 ? grad : make_tensor(g, by_heads, AXL_DNN_BFLOAT16, &all, at.desc, false);

    reshape(g, w, w_turned);
    matmul(g, w_turned, y, heads, x->len_k, (tensor){0}, x->len_q);
    if (group > 1)
        reduce(g, AXL_DNN_REDUCE_ADD, heads, grad);
}

// dq is the last product's result at once. With an array of f32 between them, as the library also knows the pattern, it
// would be added to atomically.
static void backward(graph *g)
{
    const axl_dnn_shape *d = g->shape;
    const inputs x = declare(g);
    const tensor none = {0}, one = number(g, AXL_DNN_ONE);
    const layout out = rows_of(g, d->n_heads, d->v_head_dim, d->ldo);
    const layout stats = rows_of(g, d->n_heads, 1, d->n_heads);
    const layout q = rows_of(g, d->n_heads, d->head_dim, d->ldq);
    const layout k = rows_of(g, d->n_kv_heads, d->head_dim, d->ldk);
    const tensor dout = make_tensor(g, AXL_DNN_DOUT, AXL_DNN_BFLOAT16, &out, x.out_at.desc, false);
    const tensor delta =
        make_tensor(g, AXL_DNN_DELTA, AXL_DNN_FLOAT, &stats, x.stats_at.desc, false);
    const tensor dq = make_tensor(g, AXL_DNN_DQ, AXL_DNN_BFLOAT16, &q, x.q_at.desc, false);
    const tensor sum = inner(g, AXL_DNN_FLOAT, dense(d->n_seqs, d->n_heads, d->seqlen, 1));
    const tensor dp = inner(g, AXL_DNN_FLOAT, scores_of(g));
    const tensor k_rows = make_tensor(g, AXL_DNN_NONE, AXL_DNN_FLOAT, &k, x.k_at.desc, false);

    reduce(g, AXL_DNN_REDUCE_ADD, apply(g, AXL_DNN_PW_MUL, dout, x.out), sum);
    pointwise(g, AXL_DNN_PW_MUL, AXL_DNN_FLOAT, 0, sum, one, none, delta);
    const tensor s = apply(g, AXL_DNN_PW_SUB, scores(g, &x), x.stats);
    const tensor p = apply(g, AXL_DNN_PW_EXP, masked(g, &x, s), none);
    key_gradient(g, &x, p, dout, AXL_DNN_DV, AXL_DNN_DV_HEADS, d->v_head_dim, d->ldv, x.v_at);
    matmul(g, dout, x.v, dp, x.len_q, x.len_k, none);
    const tensor by_p = apply(g, AXL_DNN_PW_MUL, apply(g, AXL_DNN_PW_SUB, dp, delta), p);
    const tensor ds = apply(g, AXL_DNN_PW_MUL, by_p, x.scale);
    key_gradient(g, &x, ds, x.q, AXL_DNN_DK, AXL_DNN_DK_HEADS, d->head_dim, d->ldk, x.k_at);
    reshape(g, x.k, k_rows);
    matmul(g, ds, k_rows, dq, x.len_q, none, x.len_k);
}

// ---- the plan

static void *finish_graph(graph *g)
{
    void *all = make(g, AXL_DNN_GRAPH, "operation graph");

    set(g, all, AXL_DNN_GRAPH_OPS, AXL_DNN_TYPE_DESCRIPTOR, g->n_ops, g->ops);
    if (g->on->handle != NULL)
        set(g, all, AXL_DNN_GRAPH_HANDLE, AXL_DNN_TYPE_HANDLE, 1, &g->on->handle);
    finish(g, all, "operation graph");
    return all;
}

// An engine may add in any order: its sums differ from run to run. This note does not tell all: a graph whose dq passes
// through f32 sums gets atomic ones and no note, so that graph is not made here.
static bool is_repeatable(graph *g, void *config)
{
    void *engine = make(g, AXL_DNN_ENGINE, "engine");
    int notes[16];
    int64_t n = 0;

    if (g->code == AXL_DNN_OK)
        note(g,
             g->on->calls->desc_get(config, AXL_DNN_CFG_ENGINE, AXL_DNN_TYPE_DESCRIPTOR, 1, &n,
                                    &engine),
             "the engine of a proposal");
    if (g->code == AXL_DNN_OK)
        note(g,
             g->on->calls->desc_get(engine, AXL_DNN_ENGINE_NOTES, AXL_DNN_TYPE_NUMERICAL_NOTE, 16,
                                    &n, notes),
             "the notes of an engine");
    for (int64_t i = 0; i < n && g->code == AXL_DNN_OK; i++)
        if (notes[i] == AXL_DNN_NOTE_NONDETERMINISTIC)
            return false;
    return g->code == AXL_DNN_OK;
}

static void make_plan(graph *g, void *config)
{
    void *plan = make(g, AXL_DNN_PLAN, "plan");
    int64_t n = 0;

    if (g->on->handle != NULL)
        set(g, plan, AXL_DNN_PLAN_HANDLE, AXL_DNN_TYPE_HANDLE, 1, &g->on->handle);
    else
        set_desc(g, plan, AXL_DNN_PLAN_DEVICEPROP, g->on->deviceprop);
    set_desc(g, plan, AXL_DNN_PLAN_CONFIG, config);
    finish(g, plan, "plan");
    if (g->code == AXL_DNN_OK)
        note(g,
             g->on->calls->desc_get(plan, AXL_DNN_PLAN_WORKSPACE, AXL_DNN_TYPE_INT64, 1, &n,
                                    &g->p->workspace_bytes),
             "the workspace of a plan");
    if (g->code == AXL_DNN_OK)
        g->p->plan = plan;
}

// The library's proposals, best first.
static int64_t propose(graph *g, void *all, void *configs[MOST_CONFIGS])
{
    void *heuristic = make(g, AXL_DNN_ENGINEHEUR, "heuristic");
    int64_t n = 0;

    set_desc(g, heuristic, AXL_DNN_HEUR_GRAPH, all);
    set_enum(g, heuristic, AXL_DNN_HEUR_MODE, AXL_DNN_TYPE_HEUR_MODE, AXL_DNN_HEUR_MODE_A);
    if (g->on->handle == NULL)
        set_desc(g, heuristic, AXL_DNN_HEUR_DEVICEPROP, g->on->deviceprop);
    finish(g, heuristic, "heuristic");
    for (int i = 0; i < MOST_CONFIGS; i++)
        configs[i] = make(g, AXL_DNN_ENGINECFG, "proposal");
    if (g->code == AXL_DNN_OK)
        note(g,
             g->on->calls->desc_get(heuristic, AXL_DNN_HEUR_RESULTS, AXL_DNN_TYPE_DESCRIPTOR,
                                    MOST_CONFIGS, &n, configs),
             "the proposals");
    return g->code == AXL_DNN_OK ? n : 0;
}

typedef struct knob {
    int32_t kind, value;
} knob;

// The engine whose backward pass gives the same bits in every run on sm_100 and sm_103, which no proposal names: the
// library's frontend asks for it by number, and by other knobs from 9.23 on.
static void *repeatable_config(graph *g, void *all)
{
    static const knob before[] = {{AXL_DNN_KNOB_KERNEL_CFG, 31}, {AXL_DNN_KNOB_STAGES, 2}};
    static const knob since_23[] = {{AXL_DNN_KNOB_TILE_M, 3},     {AXL_DNN_KNOB_TILE_N, 2},
                                    {AXL_DNN_KNOB_KERNEL_CFG, 2}, {AXL_DNN_KNOB_STREAM_K, 0},
                                    {AXL_DNN_KNOB_TILE_CGA_M, 0}, {AXL_DNN_KNOB_STAGES, 2}};
    const bool old = g->on->calls->version() < 92300;
    const knob *knobs = old ? before : since_23;
    const int n = (int)(old ? sizeof before / sizeof *before : sizeof since_23 / sizeof *since_23);
    void *engine = make(g, AXL_DNN_ENGINE, "engine"), *config = NULL, *choices[8];

    set_desc(g, engine, AXL_DNN_ENGINE_GRAPH, all);
    set_int(g, engine, AXL_DNN_ENGINE_INDEX, 5);
    if (g->on->handle == NULL)
        set_desc(g, engine, AXL_DNN_ENGINE_DEVICEPROP, g->on->deviceprop);
    finish(g, engine, "engine");
    for (int i = 0; i < n; i++) {
        choices[i] = make(g, AXL_DNN_KNOB_CHOICE, "knob");
        set_enum(g, choices[i], AXL_DNN_CHOICE_KNOB, AXL_DNN_TYPE_KNOB_TYPE, knobs[i].kind);
        set_int(g, choices[i], AXL_DNN_CHOICE_VALUE, knobs[i].value);
        finish(g, choices[i], "knob");
    }
    config = make(g, AXL_DNN_ENGINECFG, "engine's configuration");
    set_desc(g, config, AXL_DNN_CFG_ENGINE, engine);
    set(g, config, AXL_DNN_CFG_KNOBS, AXL_DNN_TYPE_DESCRIPTOR, n, choices);
    finish(g, config, "engine's configuration");
    return config;
}

static void try_config(graph *g, void *config)
{
    if (is_repeatable(g, config))
        make_plan(g, config);
    if (g->code >= AXL_DNN_NOT_SUPPORTED && g->code < AXL_DNN_INTERNAL)
        g->code = AXL_DNN_OK; // of one; another may do
}

// The first proposal that becomes a plan.
static void choose(graph *g, void *all)
{
    void *configs[MOST_CONFIGS];
    int64_t n = 0;

    if (g->code == AXL_DNN_OK && g->shape->backward && g->on->arch >= 100) {
        if (g->on->arch <= 103)
            try_config(g, repeatable_config(g, all));
    } else {
        n = propose(g, all, configs);
    }
    for (int64_t i = 0; i < n && g->p->plan == NULL; i++)
        try_config(g, configs[i]);
    if (g->p->plan == NULL)
        note(g, AXL_DNN_NOT_SUPPORTED, "every proposal");
}

int axl_dnn_sdpa_plan(const axl_dnn_target *on, const axl_dnn_shape *shape, axl_dnn_plan *out,
                      const char **where)
{
    graph g = {.on = on, .shape = shape, .p = out, .where = "", .next_uid = FIRST_INNER};

    memset(out, 0, sizeof *out);
    if (shape->backward)
        backward(&g);
    else
        forward(&g);
    choose(&g, finish_graph(&g));
    *where = g.where;
    if (g.code != AXL_DNN_OK)
        axl_dnn_plan_fini(on->calls, out);
    return g.code;
}

void axl_dnn_plan_fini(const axl_dnn_calls *calls, axl_dnn_plan *p)
{
    if (p == NULL)
        return;
    while (p->n_descs > 0) // what was made later refers to what was made before
        (void)calls->desc_destroy(p->descs[--p->n_descs]);
    memset(p, 0, sizeof *p);
}

int axl_dnn_plan_run(const axl_dnn_calls *calls, void *handle, const axl_dnn_plan *p,
                     const void *const *bound, void *workspace)
{
    const void *pointers[AXL_DNN_N_NAMES];
    void *pack = NULL;
    int code = calls->desc_create(AXL_DNN_VARIANT_PACK, &pack);

    for (int i = 0; i < p->n_names; i++)
        pointers[i] = bound[p->names[i]];
    if (code == AXL_DNN_OK)
        code = calls->desc_set(pack, AXL_DNN_PACK_UIDS, AXL_DNN_TYPE_INT64, p->n_names, p->names);
    if (code == AXL_DNN_OK)
        code = calls->desc_set(pack, AXL_DNN_PACK_POINTERS, AXL_DNN_TYPE_VOID_PTR, p->n_names,
                               pointers);
    if (code == AXL_DNN_OK)
        code = calls->desc_set(pack, AXL_DNN_PACK_WORKSPACE, AXL_DNN_TYPE_VOID_PTR, 1, &workspace);
    if (code == AXL_DNN_OK)
        code = calls->finalize(pack);
    if (code == AXL_DNN_OK)
        code = calls->execute(handle, p->plan, pack);
    if (pack != NULL)
        (void)calls->desc_destroy(pack);
    return code;
}
