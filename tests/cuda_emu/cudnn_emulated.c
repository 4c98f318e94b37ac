// An emulated cuDNN: takes the place of kernels/cuda/cudnn_load.c. Descriptors are kept as they are given and checked
// as the library documents: which attributes a kind has, of which type and how many, which it must have; and when
// finalised, that dims meet, every tensor has one number and one maker, and what is bound is complete. What the
// library would refuse ends the test. The graph is carried out from its descriptors alone (cudnn_interpreted.c), as late
// work of its stream.
#include "tests/cuda_emu/cudnn_emulated.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void emu_push_work(cudaStream_t s, void (*work)(void *), void *data);
bool emu_is_device(const void *p);

dnn_counts dnn_seen;

enum { MOST_ATTRIBUTES = 12, N_PROPOSALS = 3, WORKSPACE = 17152, BACK_ENGINE = 5, FWD_ENGINE = 2 };

void dnn_must(bool right, const char *what)
{
    if (right)
        return;
    (void)fprintf(stderr, "cuDNN: %s\n", what);
    abort();
}

// ---- descriptors

typedef struct attribute {
    int name, type;
    int64_t n;
    void *values; // owned
} attribute;

typedef struct desc {
    int kind;
    bool final;
    attribute attributes[MOST_ATTRIBUTES];
    int n_attributes;
    int engine; // of an engine, or a proposal
    bool varies;
    int64_t workspace_bytes;
    dnn_graph *graph; // of a graph; owned
} desc;

typedef struct handle {
    cudaStream_t stream;
} handle;

// What a kind takes. refers: the kind that a descriptor among the values must be of.
typedef struct rule {
    int kind, name, type;
    int64_t least, most;
    bool required;
    int refers;
} rule;

#define TENSOR_OF(kind, name, required)                                                            \
    {                                                                                              \
        kind, name, AXL_DNN_TYPE_DESCRIPTOR, 1, 1, required, AXL_DNN_TENSOR                        \
    }
static const rule rules[] = {
    {AXL_DNN_TENSOR, AXL_DNN_TENSOR_TYPE, AXL_DNN_TYPE_DATA_TYPE, 1, 1, true, 0},
    {AXL_DNN_TENSOR, AXL_DNN_TENSOR_DIMS, AXL_DNN_TYPE_INT64, 4, 4, true, 0},
    {AXL_DNN_TENSOR, AXL_DNN_TENSOR_STRIDES, AXL_DNN_TYPE_INT64, 4, 4, true, 0},
    {AXL_DNN_TENSOR, AXL_DNN_TENSOR_UID, AXL_DNN_TYPE_INT64, 1, 1, true, 0},
    {AXL_DNN_TENSOR, AXL_DNN_TENSOR_ALIGNMENT, AXL_DNN_TYPE_INT64, 1, 1, true, 0},
    {AXL_DNN_TENSOR, AXL_DNN_TENSOR_VIRTUAL, AXL_DNN_TYPE_BOOLEAN, 1, 1, false, 0},
    {AXL_DNN_TENSOR, AXL_DNN_TENSOR_BY_VALUE, AXL_DNN_TYPE_BOOLEAN, 1, 1, false, 0},
    TENSOR_OF(AXL_DNN_TENSOR, AXL_DNN_TENSOR_RAGGED, false),
    {AXL_DNN_POINTWISE, AXL_DNN_PW_MODE, AXL_DNN_TYPE_POINTWISE_MODE, 1, 1, true, 0},
    {AXL_DNN_POINTWISE, AXL_DNN_PW_MATH_PREC, AXL_DNN_TYPE_DATA_TYPE, 1, 1, true, 0},
    {AXL_DNN_POINTWISE, AXL_DNN_PW_AXIS, AXL_DNN_TYPE_INT64, 1, 1, false, 0},
    {AXL_DNN_OP_POINTWISE, AXL_DNN_OPPW_DESC, AXL_DNN_TYPE_DESCRIPTOR, 1, 1, true,
     AXL_DNN_POINTWISE},
    TENSOR_OF(AXL_DNN_OP_POINTWISE, AXL_DNN_OPPW_X, true),
    TENSOR_OF(AXL_DNN_OP_POINTWISE, AXL_DNN_OPPW_B, false),
    TENSOR_OF(AXL_DNN_OP_POINTWISE, AXL_DNN_OPPW_T, false),
    TENSOR_OF(AXL_DNN_OP_POINTWISE, AXL_DNN_OPPW_Y, true),
    {AXL_DNN_REDUCTION, AXL_DNN_REDUCTION_TYPE, AXL_DNN_TYPE_DATA_TYPE, 1, 1, true, 0},
    {AXL_DNN_REDUCTION, AXL_DNN_REDUCTION_OP, AXL_DNN_TYPE_REDUCTION, 1, 1, true, 0},
    {AXL_DNN_OP_REDUCTION, AXL_DNN_OPRED_DESC, AXL_DNN_TYPE_DESCRIPTOR, 1, 1, true,
     AXL_DNN_REDUCTION},
    TENSOR_OF(AXL_DNN_OP_REDUCTION, AXL_DNN_OPRED_X, true),
    TENSOR_OF(AXL_DNN_OP_REDUCTION, AXL_DNN_OPRED_Y, true),
    {AXL_DNN_MATMUL, AXL_DNN_MATMUL_TYPE, AXL_DNN_TYPE_DATA_TYPE, 1, 1, true, 0},
    {AXL_DNN_OP_MATMUL, AXL_DNN_OPMM_DESC, AXL_DNN_TYPE_DESCRIPTOR, 1, 1, true, AXL_DNN_MATMUL},
    TENSOR_OF(AXL_DNN_OP_MATMUL, AXL_DNN_OPMM_A, true),
    TENSOR_OF(AXL_DNN_OP_MATMUL, AXL_DNN_OPMM_B, true),
    TENSOR_OF(AXL_DNN_OP_MATMUL, AXL_DNN_OPMM_C, true),
    TENSOR_OF(AXL_DNN_OP_MATMUL, AXL_DNN_OPMM_M, false),
    TENSOR_OF(AXL_DNN_OP_MATMUL, AXL_DNN_OPMM_N, false),
    TENSOR_OF(AXL_DNN_OP_MATMUL, AXL_DNN_OPMM_K, false),
    TENSOR_OF(AXL_DNN_OP_RESHAPE, AXL_DNN_OPRESHAPE_X, true),
    TENSOR_OF(AXL_DNN_OP_RESHAPE, AXL_DNN_OPRESHAPE_Y, true),
    {AXL_DNN_GRAPH, AXL_DNN_GRAPH_OPS, AXL_DNN_TYPE_DESCRIPTOR, 1, DNN_MOST_OPS, true, -1},
    {AXL_DNN_GRAPH, AXL_DNN_GRAPH_HANDLE, AXL_DNN_TYPE_HANDLE, 1, 1, true, 0},
    {AXL_DNN_ENGINEHEUR, AXL_DNN_HEUR_GRAPH, AXL_DNN_TYPE_DESCRIPTOR, 1, 1, true, AXL_DNN_GRAPH},
    {AXL_DNN_ENGINEHEUR, AXL_DNN_HEUR_MODE, AXL_DNN_TYPE_HEUR_MODE, 1, 1, true, 0},
    {AXL_DNN_ENGINE, AXL_DNN_ENGINE_GRAPH, AXL_DNN_TYPE_DESCRIPTOR, 1, 1, true, AXL_DNN_GRAPH},
    {AXL_DNN_ENGINE, AXL_DNN_ENGINE_INDEX, AXL_DNN_TYPE_INT64, 1, 1, true, 0},
    {AXL_DNN_KNOB_CHOICE, AXL_DNN_CHOICE_KNOB, AXL_DNN_TYPE_KNOB_TYPE, 1, 1, true, 0},
    {AXL_DNN_KNOB_CHOICE, AXL_DNN_CHOICE_VALUE, AXL_DNN_TYPE_INT64, 1, 1, true, 0},
    {AXL_DNN_ENGINECFG, AXL_DNN_CFG_ENGINE, AXL_DNN_TYPE_DESCRIPTOR, 1, 1, true, AXL_DNN_ENGINE},
    {AXL_DNN_ENGINECFG, AXL_DNN_CFG_KNOBS, AXL_DNN_TYPE_DESCRIPTOR, 0, 44, false,
     AXL_DNN_KNOB_CHOICE},
    {AXL_DNN_PLAN, AXL_DNN_PLAN_HANDLE, AXL_DNN_TYPE_HANDLE, 1, 1, true, 0},
    {AXL_DNN_PLAN, AXL_DNN_PLAN_CONFIG, AXL_DNN_TYPE_DESCRIPTOR, 1, 1, true, AXL_DNN_ENGINECFG},
    {AXL_DNN_VARIANT_PACK, AXL_DNN_PACK_UIDS, AXL_DNN_TYPE_INT64, 1, DNN_MOST_TENSORS, true, 0},
    {AXL_DNN_VARIANT_PACK, AXL_DNN_PACK_POINTERS, AXL_DNN_TYPE_VOID_PTR, 1, DNN_MOST_TENSORS, true,
     0},
    {AXL_DNN_VARIANT_PACK, AXL_DNN_PACK_WORKSPACE, AXL_DNN_TYPE_VOID_PTR, 1, 1, true, 0},
};
enum { N_RULES = sizeof rules / sizeof rules[0] };

static size_t value_bytes(int type)
{
    switch (type) {
    case AXL_DNN_TYPE_BOOLEAN:
        return sizeof(bool);
    case AXL_DNN_TYPE_INT64:
    case AXL_DNN_TYPE_VOID_PTR:
    case AXL_DNN_TYPE_HANDLE:
    case AXL_DNN_TYPE_DESCRIPTOR:
        return 8;
    default:
        return sizeof(int); // enumerations
    }
}

static const rule *rule_of(int kind, int name)
{
    for (int i = 0; i < N_RULES; i++)
        if (rules[i].kind == kind && rules[i].name == name)
            return &rules[i];
    (void)fprintf(stderr, "cuDNN: a descriptor of kind %d has no attribute %d\n", kind, name);
    abort();
}

static const attribute *find(const desc *d, int name)
{
    for (int i = 0; i < d->n_attributes; i++)
        if (d->attributes[i].name == name)
            return &d->attributes[i];
    return NULL;
}

static int64_t int_of(const desc *d, int name, int64_t otherwise)
{
    const attribute *a = find(d, name);
    int64_t wide = otherwise;
    int narrow;

    if (a == NULL)
        return otherwise;
    if (value_bytes(a->type) == 8) {
        memcpy(&wide, a->values, sizeof wide);
        return wide;
    }
    if (value_bytes(a->type) == 1)
        return *(const bool *)a->values;
    memcpy(&narrow, a->values, sizeof narrow);
    return narrow;
}

static desc *desc_of(const desc *d, int name)
{
    const attribute *a = find(d, name);

    return a == NULL ? NULL : *(desc *const *)a->values;
}

static int desc_create(int kind, void **out)
{
    desc *d = calloc(1, sizeof *d);

    dnn_must(d != NULL, "memory");
    d->kind = kind;
    dnn_seen.objects++;
    *out = d;
    return AXL_DNN_OK;
}

static int desc_destroy(void *p)
{
    desc *d = p;

    dnn_must(d != NULL && d->kind >= 0, "a descriptor is destroyed twice");
    for (int i = 0; i < d->n_attributes; i++)
        free(d->attributes[i].values);
    free(d->graph);
    d->kind = -1;
    free(d);
    dnn_seen.objects--;
    return AXL_DNN_OK;
}

static int desc_set(void *p, int name, int type, int64_t n, const void *values)
{
    desc *d = p;
    const rule *r = rule_of(d->kind, name);
    const size_t bytes = (size_t)n * value_bytes(type);

    dnn_must(!d->final, "an attribute is set after the descriptor was finalised");
    dnn_must(r->type == type, "the type of an attribute");
    dnn_must(n >= r->least && n <= r->most && (n == 0 || values != NULL), "the number of values");
    dnn_must(find(d, name) == NULL && d->n_attributes < MOST_ATTRIBUTES, "an attribute set twice");
    for (int64_t i = 0; type == AXL_DNN_TYPE_DESCRIPTOR && i < n; i++) {
        const desc *other = ((desc *const *)values)[i];
        dnn_must(other != NULL && other->final,
                 "a descriptor that is not finalised is referred to");
        dnn_must(r->refers < 0 || other->kind == r->refers, "the kind of a descriptor");
    }
    attribute *a = &d->attributes[d->n_attributes++];
    *a = (attribute){name, type, n, malloc(bytes + 1)};
    dnn_must(a->values != NULL, "memory");
    memcpy(a->values, values, bytes);
    return AXL_DNN_OK;
}

// ---- what is checked when a descriptor is finalised

static dnn_tensor tensor_of(const desc *d)
{
    dnn_tensor t = {.uid = int_of(d, AXL_DNN_TENSOR_UID, 0),
                    .type = (int32_t)int_of(d, AXL_DNN_TENSOR_TYPE, 0),
                    .is_virtual = int_of(d, AXL_DNN_TENSOR_VIRTUAL, 0) != 0,
                    .by_value = int_of(d, AXL_DNN_TENSOR_BY_VALUE, 0) != 0,
                    .ragged_multiplier = 1,
                    .alias = -1};
    const desc *ragged = desc_of(d, AXL_DNN_TENSOR_RAGGED);

    memcpy(t.dims, find(d, AXL_DNN_TENSOR_DIMS)->values, sizeof t.dims);
    memcpy(t.strides, find(d, AXL_DNN_TENSOR_STRIDES)->values, sizeof t.strides);
    if (ragged != NULL)
        t.ragged_uid = int_of(ragged, AXL_DNN_TENSOR_UID, 0);
    return t;
}

static void check_tensor(const desc *d)
{
    const dnn_tensor t = tensor_of(d);
    const int64_t alignment = int_of(d, AXL_DNN_TENSOR_ALIGNMENT, 0);
    const desc *ragged = desc_of(d, AXL_DNN_TENSOR_RAGGED);

    dnn_must(t.uid != 0, "a tensor without a number");
    dnn_must(alignment >= 16 && (alignment & (alignment - 1)) == 0, "the alignment of a tensor");
    dnn_must(t.type == AXL_DNN_FLOAT || t.type == AXL_DNN_INT32 || t.type == AXL_DNN_BFLOAT16 ||
                 t.type == AXL_DNN_BOOLEAN,
             "the type of a tensor");
    for (int i = 0; i < 4; i++)
        dnn_must(t.dims[i] > 0 && t.strides[i] > 0, "the dims of a tensor");
    dnn_must(!(t.is_virtual && t.by_value), "a virtual tensor by value");
    dnn_must(!t.by_value || t.dims[0] * t.dims[1] * t.dims[2] * t.dims[3] == 1,
             "by value is one number");
    if (ragged == NULL)
        return;
    const dnn_tensor r = tensor_of(ragged);
    dnn_must(r.type == AXL_DNN_INT32 && !r.is_virtual && r.dims[0] == t.dims[0] + 1 &&
                 r.dims[1] * r.dims[2] * r.dims[3] == 1,
             "ragged offsets are one more than sequences");
}

static int n_operands(int mode)
{
    const bool one =
        mode == AXL_DNN_PW_EXP || mode == AXL_DNN_PW_LOG || mode == AXL_DNN_PW_GEN_INDEX;

    return one ? 1 : mode == AXL_DNN_PW_BINARY_SELECT ? 3 : 2;
}

// y's dims are those of x and b, of which 1 is repeated.
static void check_pointwise(const desc *d)
{
    const desc *how = desc_of(d, AXL_DNN_OPPW_DESC);
    const int mode = (int)int_of(how, AXL_DNN_PW_MODE, -1), n = n_operands(mode);
    const desc *in[] = {desc_of(d, AXL_DNN_OPPW_X), desc_of(d, AXL_DNN_OPPW_B),
                        desc_of(d, AXL_DNN_OPPW_T)};
    const dnn_tensor y = tensor_of(desc_of(d, AXL_DNN_OPPW_Y));
    int64_t widest[4] = {1, 1, 1, 1};

    for (int i = 0; i < 3; i++) {
        dnn_must((in[i] != NULL) == (i < n), "the operands of a pointwise operation");
        for (int j = 0; in[i] != NULL && j < 4; j++) {
            const int64_t dim = tensor_of(in[i]).dims[j];
            dnn_must(dim == 1 || dim == y.dims[j], "dims of a pointwise operation");
            widest[j] = dim > widest[j] ? dim : widest[j];
        }
    }
    dnn_must(memcmp(widest, y.dims, sizeof widest) == 0, "the result's dims are no operand's");
    const bool compares = mode >= AXL_DNN_PW_CMP_GT && mode <= AXL_DNN_PW_LOGICAL_AND;
    dnn_must(compares == (y.type == AXL_DNN_BOOLEAN), "what compares is boolean");
    if (mode == AXL_DNN_PW_GEN_INDEX) {
        const int64_t axis = int_of(how, AXL_DNN_PW_AXIS, -1);
        dnn_must(axis >= 0 && axis < 4 && y.type == AXL_DNN_INT32, "an index");
    }
    if (mode == AXL_DNN_PW_BINARY_SELECT)
        dnn_must(tensor_of(in[2]).type == AXL_DNN_BOOLEAN, "what selects is boolean");
}

static void check_reduction(const desc *d)
{
    const dnn_tensor x = tensor_of(desc_of(d, AXL_DNN_OPRED_X));
    const dnn_tensor y = tensor_of(desc_of(d, AXL_DNN_OPRED_Y));
    const int64_t op = int_of(desc_of(d, AXL_DNN_OPRED_DESC), AXL_DNN_REDUCTION_OP, -1);

    dnn_must(op == AXL_DNN_REDUCE_ADD || op == AXL_DNN_REDUCE_MAX, "a reduction");
    for (int i = 0; i < 4; i++)
        dnn_must(x.dims[i] % y.dims[i] == 0, "dims of a reduction");
}

static void check_matmul(const desc *d)
{
    const dnn_tensor a = tensor_of(desc_of(d, AXL_DNN_OPMM_A));
    const dnn_tensor b = tensor_of(desc_of(d, AXL_DNN_OPMM_B));
    const dnn_tensor c = tensor_of(desc_of(d, AXL_DNN_OPMM_C));
    static const int overrides[] = {AXL_DNN_OPMM_M, AXL_DNN_OPMM_N, AXL_DNN_OPMM_K};

    dnn_must(a.dims[0] == c.dims[0] && b.dims[0] == c.dims[0] && a.dims[1] == c.dims[1] &&
                 c.dims[1] % b.dims[1] == 0,
             "batches of a product");
    dnn_must(a.dims[2] == c.dims[2] && a.dims[3] == b.dims[2] && b.dims[3] == c.dims[3],
             "dims of a product");
    dnn_must(a.type == AXL_DNN_BFLOAT16 || a.is_virtual, "the type of a factor");
    for (int i = 0; i < 3; i++) {
        const desc *o = desc_of(d, overrides[i]);
        if (o == NULL)
            continue;
        const dnn_tensor t = tensor_of(o);
        dnn_must(t.type == AXL_DNN_INT32 && t.dims[0] == c.dims[0] &&
                     t.dims[1] * t.dims[2] * t.dims[3] == 1,
                 "lengths of a product");
    }
}

static void check_reshape(const desc *d)
{
    const dnn_tensor x = tensor_of(desc_of(d, AXL_DNN_OPRESHAPE_X));
    const dnn_tensor y = tensor_of(desc_of(d, AXL_DNN_OPRESHAPE_Y));

    dnn_must(y.is_virtual && x.dims[0] * x.dims[1] * x.dims[2] * x.dims[3] ==
                                 y.dims[0] * y.dims[1] * y.dims[2] * y.dims[3],
             "dims of a reshape");
    dnn_must(x.ragged_uid == y.ragged_uid, "a reshape of another packing");
}

// ---- graphs

int dnn_find(const dnn_graph *g, int64_t uid)
{
    for (int i = 0; i < g->n_tensors; i++)
        if (g->tensors[i].uid == uid)
            return i;
    return -1;
}

// The tensor's place in the graph; one number is one tensor.
static int32_t place(dnn_graph *g, const desc *d)
{
    if (d == NULL)
        return -1;
    const dnn_tensor t = tensor_of(d);
    int i = dnn_find(g, t.uid);
    if (i < 0) {
        dnn_must(g->n_tensors < DNN_MOST_TENSORS, "more tensors than fit");
        i = g->n_tensors++;
        g->tensors[i] = t;
        (void)place(g, desc_of(d, AXL_DNN_TENSOR_RAGGED));
    }
    dnn_must(memcmp(t.dims, g->tensors[i].dims, sizeof t.dims) == 0 &&
                 memcmp(t.strides, g->tensors[i].strides, sizeof t.strides) == 0 &&
                 t.type == g->tensors[i].type && t.ragged_uid == g->tensors[i].ragged_uid,
             "one number for two tensors");
    return i;
}

static dnn_op op_of(dnn_graph *g, const desc *d)
{
    dnn_op o = {.kind = d->kind, .x = -1, .b = -1, .t = -1, .y = -1, .m = -1, .n = -1, .k = -1};

    if (d->kind == AXL_DNN_OP_POINTWISE) {
        const desc *how = desc_of(d, AXL_DNN_OPPW_DESC);
        o.mode = (int32_t)int_of(how, AXL_DNN_PW_MODE, 0);
        o.axis = int_of(how, AXL_DNN_PW_AXIS, 0);
        o.x = place(g, desc_of(d, AXL_DNN_OPPW_X));
        o.b = place(g, desc_of(d, AXL_DNN_OPPW_B));
        o.t = place(g, desc_of(d, AXL_DNN_OPPW_T));
        o.y = place(g, desc_of(d, AXL_DNN_OPPW_Y));
    } else if (d->kind == AXL_DNN_OP_REDUCTION) {
        o.mode = (int32_t)int_of(desc_of(d, AXL_DNN_OPRED_DESC), AXL_DNN_REDUCTION_OP, 0);
        o.x = place(g, desc_of(d, AXL_DNN_OPRED_X));
        o.y = place(g, desc_of(d, AXL_DNN_OPRED_Y));
    } else if (d->kind == AXL_DNN_OP_MATMUL) {
        o.x = place(g, desc_of(d, AXL_DNN_OPMM_A));
        o.b = place(g, desc_of(d, AXL_DNN_OPMM_B));
        o.y = place(g, desc_of(d, AXL_DNN_OPMM_C));
        o.m = place(g, desc_of(d, AXL_DNN_OPMM_M));
        o.n = place(g, desc_of(d, AXL_DNN_OPMM_N));
        o.k = place(g, desc_of(d, AXL_DNN_OPMM_K));
    } else {
        dnn_must(d->kind == AXL_DNN_OP_RESHAPE, "an operation");
        o.x = place(g, desc_of(d, AXL_DNN_OPRESHAPE_X));
        o.y = place(g, desc_of(d, AXL_DNN_OPRESHAPE_Y));
    }
    return o;
}

// Rows of more heads that are summed to rows of fewer at the same offsets lie at a multiple of them.
static void share_offsets(dnn_graph *g, const dnn_op *o)
{
    dnn_tensor *x = &g->tensors[o->x], *y = &g->tensors[o->y];

    if (o->kind == AXL_DNN_OP_REDUCTION && x->ragged_uid != 0 && x->ragged_uid == y->ragged_uid) {
        dnn_must(x->strides[2] == y->strides[2] * (x->dims[1] / y->dims[1]),
                 "steps of rows whose heads are summed");
        x->ragged_multiplier = x->dims[1] / y->dims[1];
    }
}

static void check_graph(desc *d)
{
    const attribute *ops = find(d, AXL_DNN_GRAPH_OPS);
    dnn_graph *g = calloc(1, sizeof *g);

    dnn_must(g != NULL, "memory");
    for (int64_t i = 0; i < ops->n; i++) {
        dnn_op *o = &g->ops[g->n_ops++];
        *o = op_of(g, ((desc *const *)ops->values)[i]);
        const int32_t read[] = {o->x, o->b, o->t};
        for (int j = 0; j < 3; j++)
            dnn_must(read[j] < 0 || !g->tensors[read[j]].is_virtual || g->tensors[read[j]].made,
                     "a virtual tensor is read before it is made");
        dnn_must(!g->tensors[o->y].made, "two operations make one tensor");
        dnn_must(!g->tensors[o->y].by_value, "a result by value");
        g->tensors[o->y].made = true;
        share_offsets(g, o);
    }
    d->graph = g;
}

// ---- engines

// What the frontend asks for on sm_100, by the library's version.
static bool is_repeatable(const desc *config)
{
    static const int64_t before[][2] = {{AXL_DNN_KNOB_KERNEL_CFG, 31}, {AXL_DNN_KNOB_STAGES, 2}};
    const attribute *knobs = find(config, AXL_DNN_CFG_KNOBS);
    int n = 0;

    for (int64_t i = 0; knobs != NULL && i < knobs->n; i++)
        for (int j = 0; j < 2; j++)
            n +=
                int_of(((desc *const *)knobs->values)[i], AXL_DNN_CHOICE_KNOB, -1) ==
                    before[j][0] &&
                int_of(((desc *const *)knobs->values)[i], AXL_DNN_CHOICE_VALUE, -1) == before[j][1];
    return n == 2;
}

static int finalize_config(desc *d)
{
    d->engine = (int)int_of(desc_of(d, AXL_DNN_CFG_ENGINE), AXL_DNN_ENGINE_INDEX, -1);
    return d->engine == BACK_ENGINE && is_repeatable(d) && !dnn_seen.refuse ? AXL_DNN_OK
                                                                            : AXL_DNN_NOT_SUPPORTED;
}

static int finalize(void *p)
{
    desc *d = p;

    dnn_must(!d->final, "a descriptor is finalised twice");
    for (int i = 0; i < N_RULES; i++)
        if (rules[i].kind == d->kind && rules[i].required && find(d, rules[i].name) == NULL) {
            (void)fprintf(stderr, "cuDNN: a descriptor of kind %d lacks attribute %d\n", d->kind,
                          rules[i].name);
            abort();
        }
    d->final = true;
    switch (d->kind) {
    case AXL_DNN_TENSOR:
        check_tensor(d);
        break;
    case AXL_DNN_OP_POINTWISE:
        check_pointwise(d);
        break;
    case AXL_DNN_OP_REDUCTION:
        check_reduction(d);
        break;
    case AXL_DNN_OP_MATMUL:
        check_matmul(d);
        break;
    case AXL_DNN_OP_RESHAPE:
        check_reshape(d);
        break;
    case AXL_DNN_GRAPH:
        check_graph(d);
        break;
    case AXL_DNN_ENGINECFG:
        return finalize_config(d);
    case AXL_DNN_PLAN:
        dnn_must(!desc_of(d, AXL_DNN_PLAN_CONFIG)->varies, "a plan whose sums vary");
        d->workspace_bytes = WORKSPACE;
        dnn_seen.plans++;
        return dnn_seen.refuse ? AXL_DNN_NOT_SUPPORTED + 1 : AXL_DNN_OK;
    default:
        break;
    }
    return AXL_DNN_OK;
}

// Proposals: one whose sums vary, which must not be taken, and two that are alike.
static int64_t propose(const desc *heuristic, int64_t most, desc *const *out)
{
    const int64_t n = most < N_PROPOSALS ? most : N_PROPOSALS;
    const desc *graph = desc_of(heuristic, AXL_DNN_HEUR_GRAPH);

    for (int64_t i = 0; i < n; i++) {
        dnn_must(out[i]->kind == AXL_DNN_ENGINECFG && !out[i]->final, "room for a proposal");
        out[i]->final = true;
        out[i]->engine = FWD_ENGINE;
        out[i]->varies = i == 0;
        out[i]->attributes[0] =
            (attribute){AXL_DNN_HEUR_GRAPH, AXL_DNN_TYPE_DESCRIPTOR, 1, malloc(sizeof graph)};
        memcpy(out[i]->attributes[0].values, &graph, sizeof graph);
        out[i]->n_attributes = 1;
    }
    return n;
}

static int desc_get(void *p, int name, int type, int64_t most, int64_t *n, void *values)
{
    desc *d = p;
    static const int notes[] = {0, AXL_DNN_NOTE_NONDETERMINISTIC}; // 0: tensor cores

    dnn_must(d->final && n != NULL, "an attribute is asked of a descriptor that is not finalised");
    if (d->kind == AXL_DNN_ENGINEHEUR && name == AXL_DNN_HEUR_RESULTS) {
        *n = propose(d, most, values);
    } else if (d->kind == AXL_DNN_ENGINECFG && name == AXL_DNN_CFG_ENGINE) {
        desc *engine = *(desc **)values;
        dnn_must(type == AXL_DNN_TYPE_DESCRIPTOR && most == 1 && engine->kind == AXL_DNN_ENGINE,
                 "room for an engine");
        engine->final = true;
        engine->varies = d->varies;
        *n = 1;
    } else if (d->kind == AXL_DNN_ENGINE && name == AXL_DNN_ENGINE_NOTES) {
        *n = d->varies ? 2 : 1;
        dnn_must(type == AXL_DNN_TYPE_NUMERICAL_NOTE && most >= 10, "room for all notes");
        memcpy(values, notes, (size_t)*n * sizeof notes[0]);
    } else {
        dnn_must(d->kind == AXL_DNN_PLAN && name == AXL_DNN_PLAN_WORKSPACE &&
                     type == AXL_DNN_TYPE_INT64 && most == 1,
                 "what is asked of a descriptor");
        memcpy(values, &d->workspace_bytes, sizeof d->workspace_bytes);
        *n = 1;
    }
    return AXL_DNN_OK;
}

static const dnn_graph *graph_of(const desc *plan)
{
    const desc *config = desc_of(plan, AXL_DNN_PLAN_CONFIG);
    const desc *engine = desc_of(config, AXL_DNN_CFG_ENGINE);

    return engine != NULL ? desc_of(engine, AXL_DNN_ENGINE_GRAPH)->graph
                          : desc_of(config, AXL_DNN_HEUR_GRAPH)->graph;
}

// ---- a call

static void bind(dnn_graph *g, const desc *pack)
{
    const attribute *uids = find(pack, AXL_DNN_PACK_UIDS);
    const attribute *pointers = find(pack, AXL_DNN_PACK_POINTERS);
    int n = 0;

    dnn_must(uids->n == pointers->n, "as many pointers as numbers");
    for (int64_t i = 0; i < uids->n; i++) {
        const int at = dnn_find(g, ((const int64_t *)uids->values)[i]);
        void *p = ((void *const *)pointers->values)[i];
        dnn_must(at >= 0 && !g->tensors[at].is_virtual, "what is bound is no tensor of the graph");
        dnn_must(p != NULL && g->tensors[at].pointer == NULL, "a tensor is bound once, to memory");
        dnn_must(g->tensors[at].by_value || (uintptr_t)p % 16 == 0, "less alignment than promised");
        g->tensors[at].pointer = p;
        if (g->tensors[at].by_value) {
            dnn_must(!emu_is_device(p), "by value is in the host's memory");
            memcpy(&g->tensors[at].value, p, sizeof(float)); // now: the caller's may be gone later
        }
    }
    for (int i = 0; i < g->n_tensors; i++)
        n += !g->tensors[i].is_virtual;
    dnn_must(n == (int)uids->n, "a tensor is not bound");
}

static int execute(void *h, void *p, void *q)
{
    const desc *plan = p, *pack = q;
    dnn_graph *g = malloc(sizeof *g);

    dnn_must(g != NULL && h != NULL && ((handle *)h)->stream != NULL, "a handle and its stream");
    dnn_must(plan->kind == AXL_DNN_PLAN && plan->final, "a plan");
    dnn_must(pack->kind == AXL_DNN_VARIANT_PACK && pack->final, "what is bound");
    if (dnn_seen.fails) {
        free(g);
        return 5000;
    }
    *g = *graph_of(plan);
    bind(g, pack);
    g->workspace = *(void *const *)find(pack, AXL_DNN_PACK_WORKSPACE)->values;
    g->workspace_bytes = plan->workspace_bytes;
    dnn_must(g->workspace != NULL && (uintptr_t)g->workspace % 256 == 0, "the workspace");
    dnn_seen.executions++;
    emu_push_work(((handle *)h)->stream, dnn_interpret, g);
    return AXL_DNN_OK;
}

static int create(void **out)
{
    *out = calloc(1, sizeof(handle));
    dnn_must(*out != NULL, "memory");
    dnn_seen.objects++;
    return AXL_DNN_OK;
}

static int destroy(void *h)
{
    free(h);
    dnn_seen.objects--;
    return AXL_DNN_OK;
}

static int set_stream(void *h, cudaStream_t stream)
{
    ((handle *)h)->stream = stream;
    return AXL_DNN_OK;
}

static size_t version(void)
{
    return dnn_seen.version != 0 ? dnn_seen.version : 91900;
}

static const char *text(int status)
{
    return status == 5000 ? "EXECUTION_FAILED" : "a status";
}

bool axl_dnn_load(axl_dnn_calls *out, const char **why)
{
    *why = "this test has none";
#define FIELD(field, result, name, args) out->field = field;
    AXL_DNN_CALLS(FIELD)
#undef FIELD
    return !dnn_seen.absent;
}
