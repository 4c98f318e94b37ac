// Carries out a graph of cuDNN's operations by their definitions, with whole arrays: no operation knows what it is for.
//
// What the library leaves open is NaN here: elements of a product beyond the rows and columns that count, rows of a
// packed array beyond its sequence. Packed arrays are read and written where their offsets say, in their own type.
#include "tests/cuda_emu/cudnn_emulated.h"

#include "src/base/dtype.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int64_t count(const int64_t dims[4])
{
    return dims[0] * dims[1] * dims[2] * dims[3];
}

static int64_t at(const int64_t strides[4], const int64_t i[4])
{
    return i[0] * strides[0] + i[1] * strides[1] + i[2] * strides[2] + i[3] * strides[3];
}

// The next index in row-major order; false: there is none.
static bool next(const int64_t dims[4], int64_t i[4])
{
    for (int d = 3; d >= 0; d--) {
        if (++i[d] < dims[d])
            return true;
        i[d] = 0;
    }
    return false;
}

static float rounded(float x, int32_t type)
{
    return type == AXL_DNN_BFLOAT16 ? axl_bf16_to_f32(axl_f32_to_bf16(x)) : x;
}

// ---- arrays in the device's memory

// The dim that counts tokens: of the last two, the one with the larger step.
static int token_dim(const dnn_tensor *t)
{
    return t->dims[3] > 1 && t->strides[3] > t->strides[2] ? 3 : 2;
}

static const int32_t *offsets_of(const dnn_graph *g, const dnn_tensor *t)
{
    const int i = dnn_find(g, t->ragged_uid);

    dnn_must(i >= 0 && g->tensors[i].pointer != NULL, "ragged offsets that are not bound");
    return g->tensors[i].pointer;
}

// Where an element lies, and whether it is of its sequence.
static int64_t place(const dnn_graph *g, const dnn_tensor *t, const int64_t i[4], bool *there)
{
    const int64_t inner[4] = {0, i[1], i[2], i[3]};
    const int dim = token_dim(t);

    *there = true;
    if (t->ragged_uid == 0)
        return at(t->strides, i);
    const int32_t *offset = offsets_of(g, t);
    const int64_t first = offset[i[0]] * t->ragged_multiplier;
    const int64_t end = offset[i[0] + 1] * t->ragged_multiplier;
    *there = i[dim] * t->strides[dim] < end - first;
    return first + at(t->strides, inner);
}

static float fetch(const dnn_tensor *t, int64_t i)
{
    switch (t->type) {
    case AXL_DNN_BFLOAT16:
        return axl_bf16_to_f32(((const axl_bf16 *)t->pointer)[i]);
    case AXL_DNN_INT32:
        return (float)((const int32_t *)t->pointer)[i];
    default:
        return ((const float *)t->pointer)[i];
    }
}

static void prepare(dnn_tensor *t)
{
    if (t->is_virtual && t->alias < 0) {
        memcpy(t->vs, t->strides, sizeof t->vs);
    } else {
        t->vs[3] = 1;
        for (int d = 2; d >= 0; d--)
            t->vs[d] = t->vs[d + 1] * t->dims[d + 1];
    }
    t->v = malloc((size_t)count(t->dims) * sizeof *t->v);
    dnn_must(t->v != NULL, "memory");
    for (int64_t i = 0; i < count(t->dims); i++)
        t->v[i] = NAN;
}

static void load(const dnn_graph *g, dnn_tensor *t)
{
    int64_t i[4] = {0};

    if (t->v != NULL)
        return;
    dnn_must(!t->is_virtual || t->alias >= 0, "a tensor is read before it is made");
    dnn_tensor from = *t;
    if (t->alias >= 0) {
        from.pointer = g->tensors[t->alias].pointer;
        from.type = g->tensors[t->alias].type;
    }
    prepare(t);
    if (t->by_value) {
        t->v[0] = t->value;
        return;
    }
    do {
        bool there;
        const int64_t where = place(g, &from, i, &there);
        if (there)
            t->v[at(t->vs, i)] = fetch(&from, where);
    } while (next(t->dims, i));
}

static void store(const dnn_graph *g, const dnn_tensor *t)
{
    int64_t i[4] = {0};

    do {
        bool there;
        const int64_t where = place(g, t, i, &there);
        const float x = t->v[at(t->vs, i)];
        if (!there)
            continue;
        if (t->type == AXL_DNN_BFLOAT16)
            ((axl_bf16 *)t->pointer)[where] = axl_f32_to_bf16(x);
        else
            ((float *)t->pointer)[where] = x;
    } while (next(t->dims, i));
}

// ---- operations

// Steps through t along the dims of a result: 0 where t's one element is repeated.
static void steps_of(const dnn_tensor *t, int64_t steps[4])
{
    for (int d = 0; d < 4; d++)
        steps[d] = t->dims[d] == 1 ? 0 : t->vs[d];
}

static float apply(const dnn_op *o, float x, float b, float t, const int64_t i[4])
{
    switch (o->mode) {
    case AXL_DNN_PW_ADD:
        return x + b;
    case AXL_DNN_PW_MUL:
        return x * b;
    case AXL_DNN_PW_DIV:
        return x / b;
    case AXL_DNN_PW_SUB:
        return x - b;
    case AXL_DNN_PW_EXP:
        return expf(x);
    case AXL_DNN_PW_LOG:
        return logf(x);
    case AXL_DNN_PW_CMP_GT:
        return x > b ? 1.0f : 0.0f;
    case AXL_DNN_PW_CMP_GE:
        return x >= b ? 1.0f : 0.0f;
    case AXL_DNN_PW_CMP_LT:
        return x < b ? 1.0f : 0.0f;
    case AXL_DNN_PW_LOGICAL_AND:
        return x != 0.0f && b != 0.0f ? 1.0f : 0.0f;
    case AXL_DNN_PW_GEN_INDEX:
        return (float)i[o->axis];
    default: // BINARY_SELECT
        return t != 0.0f ? x : b;
    }
}

static void pointwise(dnn_graph *g, const dnn_op *o)
{
    const dnn_tensor *in[] = {&g->tensors[o->x], o->b >= 0 ? &g->tensors[o->b] : &g->tensors[o->x],
                              o->t >= 0 ? &g->tensors[o->t] : &g->tensors[o->x]};
    dnn_tensor *y = &g->tensors[o->y];
    int64_t steps[3][4], i[4];

    for (int j = 0; j < 3; j++)
        steps_of(in[j], steps[j]);
    for (i[0] = 0; i[0] < y->dims[0]; i[0]++)
        for (i[1] = 0; i[1] < y->dims[1]; i[1]++)
            for (i[2] = 0; i[2] < y->dims[2]; i[2]++) {
                const float *from[3];
                i[3] = 0;
                float *to = y->v + at(y->vs, i);
                for (int j = 0; j < 3; j++)
                    from[j] = in[j]->v + at(steps[j], i);
                for (; i[3] < y->dims[3]; i[3]++)
                    to[i[3] * y->vs[3]] =
                        rounded(apply(o, from[0][i[3] * steps[0][3]], from[1][i[3] * steps[1][3]],
                                      from[2][i[3] * steps[2][3]], i),
                                y->type);
            }
}

// A dim of y that is smaller than x's takes a group of neighbours.
static void reduce(dnn_graph *g, const dnn_op *o)
{
    const dnn_tensor *x = &g->tensors[o->x];
    dnn_tensor *y = &g->tensors[o->y];
    const bool sums = o->mode == AXL_DNN_REDUCE_ADD;
    const int64_t last = x->dims[3] / y->dims[3];
    int64_t i[4], j[4];

    for (int64_t n = 0; n < count(y->dims); n++)
        y->v[n] = sums ? 0.0f : -INFINITY;
    for (i[0] = 0; i[0] < x->dims[0]; i[0]++)
        for (i[1] = 0; i[1] < x->dims[1]; i[1]++)
            for (i[2] = 0; i[2] < x->dims[2]; i[2]++) {
                i[3] = j[3] = 0;
                for (int d = 0; d < 3; d++)
                    j[d] = i[d] / (x->dims[d] / y->dims[d]);
                const float *from = x->v + at(x->vs, i);
                float *row = y->v + at(y->vs, j);
                for (int64_t n = 0; n < x->dims[3]; n++) {
                    const float a = from[n * x->vs[3]];
                    float *to = row + n / last * y->vs[3];
                    *to = sums ? *to + a : a > *to || isnan(a) ? a : *to;
                }
            }
    for (int64_t n = 0; n < count(y->dims); n++)
        y->v[n] = rounded(y->v[n], y->type);
}

// How many rows, columns or summands of sequence s count.
static int64_t counts(const dnn_graph *g, int32_t which, int64_t s, int64_t all)
{
    return which < 0 ? all : (int64_t)g->tensors[which].v[s];
}

static void matmul(dnn_graph *g, const dnn_op *o)
{
    const dnn_tensor *a = &g->tensors[o->x], *b = &g->tensors[o->b];
    dnn_tensor *c = &g->tensors[o->y];

    for (int64_t s = 0; s < c->dims[0]; s++) {
        const int64_t m = counts(g, o->m, s, c->dims[2]), n = counts(g, o->n, s, c->dims[3]);
        const int64_t k = counts(g, o->k, s, a->dims[3]);
        dnn_must(m >= 0 && m <= c->dims[2] && n >= 0 && n <= c->dims[3] && k >= 0 &&
                     k <= a->dims[3],
                 "a sequence is longer than the graph's bound");
        for (int64_t h = 0; h < c->dims[1]; h++) {
            const float *left = a->v + s * a->vs[0] + h * a->vs[1];
            const float *right = b->v + s * b->vs[0] + h / (c->dims[1] / b->dims[1]) * b->vs[1];
            float *to = c->v + s * c->vs[0] + h * c->vs[1];
            for (int64_t i = 0; i < m; i++)
                for (int64_t j = 0; j < n; j++) {
                    float sum = 0.0f;
                    for (int64_t l = 0; l < k; l++)
                        sum +=
                            left[i * a->vs[2] + l * a->vs[3]] * right[l * b->vs[2] + j * b->vs[3]];
                    to[i * c->vs[2] + j * c->vs[3]] = rounded(sum, c->type);
                }
        }
    }
}

// The same memory with other dims and strides: of a tensor in memory it is a view.
static void reshape(dnn_graph *g, const dnn_op *o)
{
    const dnn_tensor *x = &g->tensors[o->x];
    dnn_tensor *y = &g->tensors[o->y];

    if (!x->is_virtual) {
        y->alias = o->x;
        load(g, y);
        return;
    }
    prepare(y);
    for (int64_t n = 0; n < count(x->dims); n++)
        y->v[n] = rounded(x->v[n], y->type);
}

// ---- what may not lie over each other

typedef struct span {
    uintptr_t begin, end;
} span;

// Heads that are summed later get four bytes an element, as the library's frontend gives them.
static span span_of(const dnn_graph *g, const dnn_tensor *t)
{
    const size_t bytes = t->type == AXL_DNN_BFLOAT16 && t->ragged_multiplier == 1 ? 2 : 4;
    const int64_t n =
        t->ragged_uid != 0 ? offsets_of(g, t)[t->dims[0]] * t->ragged_multiplier : count(t->dims);

    return (span){(uintptr_t)t->pointer, (uintptr_t)t->pointer + (size_t)n * bytes};
}

static bool meet(span a, span b)
{
    return a.begin < b.end && b.begin < a.end;
}

static void check_spans(const dnn_graph *g)
{
    const span room = {(uintptr_t)g->workspace,
                       (uintptr_t)g->workspace + (size_t)g->workspace_bytes};

    for (int i = 0; i < g->n_tensors; i++) {
        const dnn_tensor *a = &g->tensors[i];
        if (a->is_virtual || a->by_value)
            continue;
        dnn_must(!meet(span_of(g, a), room), "the workspace lies over a tensor");
        for (int j = 0; j < g->n_tensors; j++) {
            const dnn_tensor *b = &g->tensors[j];
            const bool both_read = !a->made && !b->made;
            if (j != i && !b->is_virtual && !b->by_value && !both_read)
                dnn_must(!meet(span_of(g, a), span_of(g, b)), "a result lies over a tensor");
        }
    }
}

void dnn_interpret(void *data)
{
    dnn_graph *g = data;

    check_spans(g);
    if (g->workspace_bytes > 0)
        memset(g->workspace, 0xff, (size_t)g->workspace_bytes); // it is the library's meanwhile
    for (int i = 0; i < g->n_ops; i++) {
        const dnn_op *o = &g->ops[i];
        const int32_t read[] = {o->x, o->b, o->t, o->m, o->n, o->k};
        for (size_t r = 0; r < sizeof read / sizeof *read; r++)
            if (read[r] >= 0 && !(o->kind == AXL_DNN_OP_RESHAPE && !g->tensors[read[r]].is_virtual))
                load(g, &g->tensors[read[r]]);
        if (o->kind != AXL_DNN_OP_RESHAPE)
            prepare(&g->tensors[o->y]);
        if (o->kind == AXL_DNN_OP_POINTWISE)
            pointwise(g, o);
        else if (o->kind == AXL_DNN_OP_REDUCTION)
            reduce(g, o);
        else if (o->kind == AXL_DNN_OP_MATMUL)
            matmul(g, o);
        else
            reshape(g, o);
    }
    for (int i = 0; i < g->n_tensors; i++) {
        if (!g->tensors[i].is_virtual && g->tensors[i].made)
            store(g, &g->tensors[i]);
        free(g->tensors[i].v);
    }
    free(g);
}
