// An emulated cuBLASLt: takes the place of kernels/cuda/cublaslt_load.c. Every call is checked against what the library
// documents, and a product is carried out from its descriptors alone - by columns, element by element - as late work of
// its stream. So a wrong leading dimension, transposition or type gives wrong numbers, and a call the library would
// refuse ends the test.
#include "tests/cuda_emu/lt_emulated.h"

#include "kernels/low.h"
#include "src/base/dtype.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void emu_push_work(cudaStream_t s, void (*work)(void *), void *data);

struct axl_lt_desc_ {
    int compute;
    int32_t op[2]; // of the first and the second matrix
    int32_t epilogue, bias_type;
    const void *bias;
    int32_t scale_mode[2]; // of the first and the second matrix
    const float *scale[2];
};

struct axl_lt_layout_ {
    int type;
    int64_t rows, cols, ld;
};

struct axl_lt_pref_ {
    uint64_t workspace;
    uint32_t align[4]; // first, second, C, D
    uint32_t reduction;
};

lt_counts lt_seen;

static void must(bool right, const char *what)
{
    if (right)
        return;
    (void)fprintf(stderr, "cuBLASLt: %s\n", what);
    abort();
}

static void *take(size_t bytes)
{
    void *p = calloc(1, bytes);

    must(p != NULL, "memory");
    lt_seen.objects++;
    return p;
}

static int give(void *p)
{
    must(p != NULL, "a destroyed object is NULL");
    memset(p, 0xee, 1);
    free(p);
    lt_seen.objects--;
    return AXL_LT_OK;
}

static int create(void **handle)
{
    *handle = take(1);
    return AXL_LT_OK;
}
static int destroy(void *handle)
{
    return give(handle);
}
static int desc_create(axl_lt_desc *out, int compute, int scale_type)
{
    must(compute == AXL_LT_COMPUTE_32F || compute == AXL_LT_COMPUTE_32F_FAST_TF32, "sums are f32");
    must(scale_type == AXL_LT_R_32F, "alpha and beta are f32");
    *out = take(sizeof **out);
    (*out)->compute = compute;
    (*out)->epilogue = AXL_LT_EPILOGUE_NONE;
    (*out)->bias_type = -1;
    return AXL_LT_OK;
}
static int desc_destroy(axl_lt_desc d)
{
    return give(d);
}

static int desc_set(axl_lt_desc d, int attribute, const void *value, size_t bytes)
{
    const bool mode =
        attribute == AXL_LT_DESC_A_SCALE_MODE || attribute == AXL_LT_DESC_B_SCALE_MODE;
    int32_t *to = attribute == AXL_LT_DESC_TRANSA           ? &d->op[0]
                  : attribute == AXL_LT_DESC_TRANSB         ? &d->op[1]
                  : attribute == AXL_LT_DESC_A_SCALE_MODE   ? &d->scale_mode[0]
                  : attribute == AXL_LT_DESC_B_SCALE_MODE   ? &d->scale_mode[1]
                  : attribute == AXL_LT_DESC_EPILOGUE       ? &d->epilogue
                  : attribute == AXL_LT_DESC_BIAS_DATA_TYPE ? &d->bias_type
                                                            : NULL;

    if (mode && lt_seen.old)
        return 7; // an invalid value
    if (attribute == AXL_LT_DESC_A_SCALE_POINTER || attribute == AXL_LT_DESC_B_SCALE_POINTER) {
        must(bytes == sizeof(void *), "the size of a SCALE_POINTER");
        memcpy(&d->scale[attribute == AXL_LT_DESC_B_SCALE_POINTER], value, bytes);
        return AXL_LT_OK;
    }
    if (attribute == AXL_LT_DESC_BIAS_POINTER) {
        must(bytes == sizeof(void *), "the size of BIAS_POINTER");
        memcpy(&d->bias, value, bytes);
        return AXL_LT_OK;
    }
    must(to != NULL && bytes == sizeof *to, "an attribute of the product");
    memcpy(to, value, bytes);
    return AXL_LT_OK;
}

static int layout_create(axl_lt_layout *out, int type, uint64_t rows, uint64_t cols, int64_t ld)
{
    must(type == AXL_LT_R_32F || type == AXL_LT_R_16BF || type == AXL_LT_R_8F_E4M3,
         "the type of a matrix");
    must(rows > 0 && cols > 0 && ld >= (int64_t)rows, "a leading dimension below the rows");
    *out = take(sizeof **out);
    **out = (struct axl_lt_layout_){type, (int64_t)rows, (int64_t)cols, ld};
    return AXL_LT_OK;
}
static int layout_destroy(axl_lt_layout l)
{
    return give(l);
}
static int pref_create(axl_lt_pref *out)
{
    *out = take(sizeof **out);
    for (int i = 0; i < 4; i++)
        (*out)->align[i] = 256;
    (*out)->reduction = 7;
    return AXL_LT_OK;
}
static int pref_destroy(axl_lt_pref p)
{
    return give(p);
}

static int pref_set(axl_lt_pref p, int attribute, const void *value, size_t bytes)
{
    const int first = AXL_LT_PREF_MIN_ALIGNMENT_A_BYTES;

    if (attribute == AXL_LT_PREF_MAX_WORKSPACE_BYTES) {
        must(bytes == sizeof p->workspace, "the size of MAX_WORKSPACE_BYTES");
        memcpy(&p->workspace, value, bytes);
    } else if (attribute == AXL_LT_PREF_REDUCTION_SCHEME_MASK) {
        must(bytes == sizeof p->reduction, "the size of REDUCTION_SCHEME_MASK");
        memcpy(&p->reduction, value, bytes);
    } else {
        must(attribute >= first && attribute < first + 4 && bytes == sizeof p->align[0],
             "a preference");
        memcpy(&p->align[attribute - first], value, bytes);
    }
    return AXL_LT_OK;
}

// ---- a product

static size_t type_bytes(int type)
{
    return type == AXL_LT_R_8F_E4M3 ? 1 : type == AXL_LT_R_16BF ? 2 : 4;
}

// rows and columns of the matrix after its operation
static void after(const struct axl_lt_layout_ *l, int32_t op, int64_t *rows, int64_t *cols)
{
    *rows = op == AXL_LT_OP_T ? l->cols : l->rows;
    *cols = op == AXL_LT_OP_T ? l->rows : l->cols;
}

// e4m3: k lies together in both, rows and columns begin at multiples of 16 bytes, and each factor has its scales.
static void check_fp8(const struct axl_lt_desc_ *d, axl_lt_layout a, axl_lt_layout b,
                      axl_lt_layout out)
{
    must(d->op[0] == AXL_LT_OP_T && d->op[1] == AXL_LT_OP_N, "e4m3 is TN");
    must(d->compute == AXL_LT_COMPUTE_32F, "e4m3 is summed in f32");
    must(a->ld % 16 == 0 && b->ld % 16 == 0 && a->rows % 16 == 0 && out->rows % 16 == 0 &&
             out->ld * (int64_t)type_bytes(out->type) % 16 == 0,
         "sizes of e4m3 are multiples of 16");
    must(out->type == AXL_LT_R_16BF || out->type == AXL_LT_R_32F, "the type of the result");
    must(d->scale_mode[0] == AXL_LT_SCALE_OUTER_VEC_32F &&
             d->scale_mode[1] == AXL_LT_SCALE_OUTER_VEC_32F,
         "both factors have scales of one kind");
    must(d->scale[0] != NULL && d->scale[1] != NULL && (uintptr_t)d->scale[0] % 16 == 0 &&
             (uintptr_t)d->scale[1] % 16 == 0,
         "vectors of scales, when an algorithm is chosen too");
    must(d->epilogue == AXL_LT_EPILOGUE_NONE || out->type == AXL_LT_R_16BF,
         "an f32 result of e4m3 takes a bf16 bias");
}

static void check_shapes(const struct axl_lt_desc_ *d, axl_lt_layout a, axl_lt_layout b,
                         axl_lt_layout c, axl_lt_layout out)
{
    int64_t m, k, k2, n;

    after(a, d->op[0], &m, &k);
    after(b, d->op[1], &k2, &n);
    must(k == k2 && m == out->rows && n == out->cols, "the shapes do not meet");
    must(c->type == out->type && c->rows == m && c->cols == n && c->ld == out->ld, "C is not D");
    must(a->type == b->type, "A and B have one type");
    must(d->compute == AXL_LT_COMPUTE_32F || a->type == AXL_LT_R_32F, "only f32 becomes TF32");
    if (a->type == AXL_LT_R_8F_E4M3)
        check_fp8(d, a, b, out);
    else
        must(out->type == a->type || out->type == AXL_LT_R_32F, "the type of the result");
    must(d->epilogue == AXL_LT_EPILOGUE_NONE || d->epilogue == AXL_LT_EPILOGUE_BIAS, "an epilogue");
    if (d->epilogue == AXL_LT_EPILOGUE_BIAS)
        must(d->bias_type == out->type && d->bias != NULL, "the bias has the result's type");
}

typedef struct tag { // what an algorithm remembers of its choice, in its 64 bytes
    int64_t m, n, k;
    uint32_t align[4];
    uint64_t workspace, magic;
} tag;
_Static_assert(sizeof(tag) <= sizeof(axl_lt_algo), "fits");

static int find(void *handle, axl_lt_desc d, axl_lt_layout a, axl_lt_layout b, axl_lt_layout c,
                axl_lt_layout out, axl_lt_pref p, int n_wanted, axl_lt_heuristic *found,
                int *n_found)
{
    tag t = {.magic = 0x1a7e, .m = out->rows, .n = out->cols};
    int64_t rows;

    must(handle != NULL && n_wanted >= 1, "an algorithm is asked for");
    must((p->reduction & ~2u) == 0, "partial sums are rounded");
    check_shapes(d, a, b, c, out);
    after(a, d->op[0], &rows, &t.k);
    memcpy(t.align, p->align, sizeof t.align);
    t.workspace = p->workspace < 4096 ? p->workspace : 4096;
    lt_seen.searches++;
    *n_found = lt_seen.refuse ? 0 : 1;
    *found = (axl_lt_heuristic){.workspace_bytes = t.workspace};
    memcpy(&found->algo, &t, sizeof t);
    return lt_seen.refuse ? 15 : AXL_LT_OK; // not supported
}

typedef struct product {
    struct axl_lt_desc_ d;
    struct axl_lt_layout_ a, b, out;
    const void *x, *y;
    void *z, *workspace;
    size_t workspace_bytes;
    float alpha, beta;
} product;

// The factor as TF32: f32 with 10 bits of fraction, rounded to the nearest.
static float to_tf32(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    bits = (bits + 0x1000u) & ~0x1fffu;
    memcpy(&x, &bits, sizeof bits);
    return x;
}

static float get(const void *p, int64_t at, int type)
{
    return type == AXL_LT_R_8F_E4M3 ? axl_e4m3_to_f32(((const uint8_t *)p)[at])
           : type == AXL_LT_R_16BF  ? axl_bf16_to_f32(((const axl_bf16 *)p)[at])
                                    : ((const float *)p)[at];
}

static void carry_out(void *data)
{
    const product *p = data;
    int64_t m, k;

    after(&p->a, p->d.op[0], &m, &k);
    memset(p->workspace, 0xff, p->workspace_bytes); // it is the library's meanwhile
    for (int64_t j = 0; j < p->out.cols; j++) {
        for (int64_t i = 0; i < m; i++) {
            const int64_t at = i + j * p->out.ld;
            float sum = 0.0f;
            for (int64_t x = 0; x < k; x++) {
                const int64_t from_a =
                    p->d.op[0] == AXL_LT_OP_T ? x + i * p->a.ld : i + x * p->a.ld;
                const int64_t from_b =
                    p->d.op[1] == AXL_LT_OP_T ? j + x * p->b.ld : x + j * p->b.ld;
                const float u = get(p->x, from_a, p->a.type), v = get(p->y, from_b, p->b.type);
                sum += p->d.compute == AXL_LT_COMPUTE_32F ? u * v : to_tf32(u) * to_tf32(v);
            }
            sum *= p->alpha;
            if (p->a.type == AXL_LT_R_8F_E4M3)
                sum *= p->d.scale[0][i] * p->d.scale[1][j];
            if (p->beta != 0.0f) // else C is not read
                sum += p->beta * get(p->z, at, p->out.type);
            if (p->d.epilogue == AXL_LT_EPILOGUE_BIAS)
                sum += get(p->d.bias, i, p->d.bias_type);
            if (p->out.type == AXL_LT_R_16BF)
                ((axl_bf16 *)p->z)[at] = axl_f32_to_bf16(sum);
            else
                ((float *)p->z)[at] = sum;
        }
    }
    free(data);
}

static bool is_aligned(const void *p, uint32_t bytes)
{
    return (uintptr_t)p % bytes == 0;
}

static int matmul(void *handle, axl_lt_desc d, const void *alpha, const void *a,
                  axl_lt_layout a_layout, const void *b, axl_lt_layout b_layout, const void *beta,
                  const void *c, axl_lt_layout c_layout, void *out, axl_lt_layout out_layout,
                  const axl_lt_algo *algo, void *workspace, size_t workspace_bytes,
                  cudaStream_t stream)
{
    product *p = malloc(sizeof *p);
    tag t;

    must(p != NULL && handle != NULL && stream != NULL, "a handle and a stream");
    check_shapes(d, a_layout, b_layout, c_layout, out_layout);
    must(c == out, "C is D");
    memcpy(&t, algo, sizeof t);
    must(t.magic == 0x1a7e && t.m == out_layout->rows && t.n == out_layout->cols,
         "the algorithm was chosen for another product");
    must(is_aligned(a, t.align[0]) && is_aligned(b, t.align[1]) && is_aligned(c, t.align[2]) &&
             is_aligned(out, t.align[3]),
         "less alignment than was promised");
    must(is_aligned(a, (uint32_t)type_bytes(a_layout->type)), "alignment of the type");
    if (a_layout->type == AXL_LT_R_8F_E4M3) {
        must(is_aligned(a, 16) && is_aligned(b, 16) && is_aligned(c, 16), "e4m3 at 16 bytes");
        lt_seen.fp8++;
    }
    must(workspace_bytes >= t.workspace && is_aligned(workspace, 256), "the workspace");
    *p = (product){.d = *d,
                   .a = *a_layout,
                   .b = *b_layout,
                   .out = *out_layout,
                   .x = a,
                   .y = b,
                   .z = out,
                   .workspace = workspace,
                   .workspace_bytes = workspace_bytes};
    memcpy(&p->alpha, alpha, sizeof p->alpha);
    memcpy(&p->beta, beta, sizeof p->beta);
    lt_seen.products++;
    lt_seen.tf32 += d->compute == AXL_LT_COMPUTE_32F_FAST_TF32;
    emu_push_work(stream, carry_out, p);
    return AXL_LT_OK;
}

bool axl_lt_load(axl_lt_calls *out, const char **why)
{
    *why = "this test has none";
#define FIELD(field, name, args) out->field = field;
    AXL_LT_CALLS(FIELD)
#undef FIELD
    return !lt_seen.absent;
}
