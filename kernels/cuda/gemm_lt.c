// gemm by cuBLASLt; what it does not take goes to the plain kernel (gemm.cu).
//
// The library thinks in columns: a row-major matrix of ld elements a row is its transpose by columns with the same ld.
// So C^T [n, m] = op(B)^T op(A)^T is asked for, B first, and nothing is moved. The bias, one value a column of C, is
// one a row there, which is what its epilogue adds.
//
// Choosing an algorithm takes the library longer than a small product, so each shape chooses once and keeps its
// descriptors, in a table of fixed size. An algorithm may rely on alignment: that of the pointers belongs to the
// shape. The one that the library ranks first is taken and none is timed, so a shape gets the same one in every run on the
// same chip. Partial sums of a split k are added in f32 in the workspace, one scheme of the library's three: bf16 is rounded
// once, and the order does not change.
#include "kernels/cuda/gemm_lt.h"

#include "kernels/cuda/cublaslt.h"
#include "kernels/cuda/cuda_entries.h"
#include "kernels/cuda/gemm_fp8.h"
#include "src/base/hash.h"
#include "src/base/log.h"
#include "src/base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { N_SETS = 128, N_WAYS = 4, MOST_ALIGNMENT = 256 };

// All that the choice depends on; compared as bytes, so it is cleared first.
typedef struct key {
    int64_t m, n, k, lda, ldb, ldc;
    int32_t dtype, dtype_c, compute;
    int32_t align_a, align_b, align_c, align_bias; // bytes; bias 0: none
    bool trans_a, trans_b;
} key;

typedef struct choice {
    key key;
    bool valid;
    bool refused; // the library has no algorithm for it
    uint64_t used;
    axl_lt_desc desc;
    axl_lt_layout x, y, out; // of B, A and C
    axl_lt_algo algo;
    size_t workspace_bytes;
} choice;

typedef struct lt {
    axl_lt_calls calls;
    void *handle; // NULL: there is no library
    bool complained, slow_said;
    uint64_t clock;
    choice choices[N_SETS][N_WAYS];
} lt;

static axl_status lt_failed(int code, const char *call, const axl_gemm_args *a)
{
    return axl_error_set(AXL_E_DEVICE, __FILE__, __LINE__,
                         "cuBLASLt %s: status %d, product of %lld x %lld x %lld", call, code,
                         (long long)a->m, (long long)a->n, (long long)a->k);
}

#define LT_TRY(call, name, a)                                                                      \
    do {                                                                                           \
        const int lt_code_ = (call);                                                               \
        if (lt_code_ != AXL_LT_OK) {                                                               \
            status = lt_failed(lt_code_, name, a);                                                 \
            goto out;                                                                              \
        }                                                                                          \
    } while (0)

// ---- the library

static void drop(const lt *l, choice *c)
{
    if (c->desc != NULL)
        (void)l->calls.desc_destroy(c->desc);
    if (c->x != NULL)
        (void)l->calls.layout_destroy(c->x);
    if (c->y != NULL)
        (void)l->calls.layout_destroy(c->y);
    if (c->out != NULL)
        (void)l->calls.layout_destroy(c->out);
    *c = (choice){0};
}

static void lt_destroy(void *library)
{
    lt *l = library;

    for (int s = 0; s < N_SETS; s++)
        for (int w = 0; w < N_WAYS; w++)
            drop(l, &l->choices[s][w]);
    if (l->handle != NULL)
        (void)l->calls.destroy(l->handle);
    free(l);
}

// Opened by the first product. Without the library it is said once, and l->handle is NULL.
static axl_status lt_of(const axl_device *d, lt **out)
{
    axl_status status = AXL_OK;
    lt *l = axl_cuda_library(d, AXL_CUDA_LT);
    const char *why = NULL;

    if (l == NULL) {
        AXL_TRY(axl_calloc(1, sizeof *l, "the products of matrices", &l));
        axl_cuda_set_library(d, AXL_CUDA_LT, l, lt_destroy);
        if (!axl_lt_load(&l->calls, &why))
            axl_warn("%s: products of matrices use this program's own kernel, which is slower",
                     why);
        else if (l->calls.create(&l->handle) != AXL_LT_OK) {
            l->handle = NULL;
            axl_warn("cuBLASLt cannot be started: products of matrices use this program's own "
                     "kernel, which is slower");
        }
    }
    *out = l;

out:
    return status;
}

// ---- a shape

static int32_t alignment(const void *p)
{
    const uintptr_t at = (uintptr_t)p;
    int32_t bytes = MOST_ALIGNMENT;

    while (at % (uintptr_t)bytes != 0)
        bytes /= 2;
    return bytes;
}

static key key_of(const axl_device *d, const axl_gemm_args *a)
{
    key k;

    memset(&k, 0, sizeof k);
    k.m = a->m;
    k.n = a->n;
    k.k = a->k;
    k.lda = a->lda;
    k.ldb = a->ldb;
    k.ldc = a->ldc;
    k.dtype = (int32_t)a->dtype;
    k.dtype_c = (int32_t)a->dtype_c;
    k.compute = d->tf32 && a->dtype == AXL_F32 ? AXL_LT_COMPUTE_32F_FAST_TF32 : AXL_LT_COMPUTE_32F;
    k.align_a = alignment(a->a);
    k.align_b = alignment(a->b);
    k.align_c = alignment(a->c);
    k.align_bias = a->bias != NULL ? alignment(a->bias) : 0;
    k.trans_a = a->trans_a;
    k.trans_b = a->trans_b;
    return k;
}

static int type_of(axl_dtype dtype)
{
    return dtype == AXL_F8_E4M3 ? AXL_LT_R_8F_E4M3
           : dtype == AXL_BF16  ? AXL_LT_R_16BF
                                : AXL_LT_R_32F;
}

static axl_status make_layouts(const lt *l, const axl_gemm_args *a, choice *c)
{
    axl_status status = AXL_OK;
    const uint64_t m = (uint64_t)a->m, n = (uint64_t)a->n, k = (uint64_t)a->k;
    const int in = type_of(a->dtype);

    LT_TRY(l->calls.layout_create(&c->x, in, a->trans_b ? k : n, a->trans_b ? n : k, a->ldb),
           "MatrixLayoutCreate", a);
    LT_TRY(l->calls.layout_create(&c->y, in, a->trans_a ? m : k, a->trans_a ? k : m, a->lda),
           "MatrixLayoutCreate", a);
    LT_TRY(l->calls.layout_create(&c->out, type_of(a->dtype_c), n, m, a->ldc), "MatrixLayoutCreate",
           a);

out:
    return status;
}

// Of e4m3: the scales of the rows of B, [n], and of A, [m]; of other types none.
typedef struct scales {
    const float *x, *y;
} scales;

static axl_status set_scales(const lt *l, const axl_gemm_args *a, const scales *f, axl_lt_desc desc)
{
    axl_status status = AXL_OK;

    LT_TRY(l->calls.desc_set(desc, AXL_LT_DESC_A_SCALE_POINTER, &f->x, sizeof f->x),
           "A_SCALE_POINTER", a);
    LT_TRY(l->calls.desc_set(desc, AXL_LT_DESC_B_SCALE_POINTER, &f->y, sizeof f->y),
           "B_SCALE_POINTER", a);

out:
    return status;
}

static axl_status make_desc(const lt *l, const axl_gemm_args *a, const scales *f, choice *c)
{
    axl_status status = AXL_OK;
    const int32_t op_x = a->trans_b ? AXL_LT_OP_T : AXL_LT_OP_N;
    const int32_t op_y = a->trans_a ? AXL_LT_OP_T : AXL_LT_OP_N;
    const int32_t epilogue = AXL_LT_EPILOGUE_BIAS, bias_type = type_of(a->dtype_c);
    const int32_t vector = AXL_LT_SCALE_OUTER_VEC_32F;

    LT_TRY(l->calls.desc_create(&c->desc, c->key.compute, AXL_LT_R_32F), "MatmulDescCreate", a);
    LT_TRY(l->calls.desc_set(c->desc, AXL_LT_DESC_TRANSA, &op_x, sizeof op_x), "TRANSA", a);
    LT_TRY(l->calls.desc_set(c->desc, AXL_LT_DESC_TRANSB, &op_y, sizeof op_y), "TRANSB", a);
    if (a->dtype == AXL_F8_E4M3 &&
        (l->calls.desc_set(c->desc, AXL_LT_DESC_A_SCALE_MODE, &vector, sizeof vector) !=
             AXL_LT_OK ||
         l->calls.desc_set(c->desc, AXL_LT_DESC_B_SCALE_MODE, &vector, sizeof vector) != AXL_LT_OK))
        c->refused = true; // a library before 12.9
    if (f != NULL)         // a vector that is not there may be refused
        AXL_TRY(set_scales(l, a, f, c->desc));
    if (a->bias == NULL)
        goto out;
    LT_TRY(l->calls.desc_set(c->desc, AXL_LT_DESC_EPILOGUE, &epilogue, sizeof epilogue), "EPILOGUE",
           a);
    LT_TRY(l->calls.desc_set(c->desc, AXL_LT_DESC_BIAS_DATA_TYPE, &bias_type, sizeof bias_type),
           "BIAS_DATA_TYPE", a);
    // the choice depends on its alignment
    LT_TRY(l->calls.desc_set(c->desc, AXL_LT_DESC_BIAS_POINTER, &a->bias, sizeof a->bias),
           "BIAS_POINTER", a);

out:
    return status;
}

static axl_status set_preferences(const lt *l, const axl_gemm_args *a, const key *k,
                                  size_t workspace_bytes, axl_lt_pref pref)
{
    axl_status status = AXL_OK;
    const uint64_t workspace = workspace_bytes;
    const struct {
        int attribute;
        uint32_t value;
    } all[] = {{AXL_LT_PREF_REDUCTION_SCHEME_MASK, AXL_LT_REDUCTION_COMPUTE_TYPE},
               {AXL_LT_PREF_MIN_ALIGNMENT_A_BYTES, (uint32_t)k->align_b},
               {AXL_LT_PREF_MIN_ALIGNMENT_B_BYTES, (uint32_t)k->align_a},
               {AXL_LT_PREF_MIN_ALIGNMENT_C_BYTES, (uint32_t)k->align_c},
               {AXL_LT_PREF_MIN_ALIGNMENT_D_BYTES, (uint32_t)k->align_c}};

    LT_TRY(l->calls.pref_set(pref, AXL_LT_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace),
           "preferences", a);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        LT_TRY(l->calls.pref_set(pref, all[i].attribute, &all[i].value, sizeof all[i].value),
               "preferences", a);

out:
    return status;
}

// Small and odd products may have no algorithm; of one that a layer makes it is news, since its own kernel is slower.
static void complain(lt *l, const key *k, int code, int n)
{
    enum { LARGE = 256, ALIGNED = 16 };

    if (l->complained || k->m < LARGE || k->n < LARGE || k->k < LARGE || k->align_a < ALIGNED ||
        k->align_b < ALIGNED || k->align_c < ALIGNED || k->n % 8 != 0 || k->k % 8 != 0)
        return;
    axl_warn("cuBLASLt has no algorithm for a product of %lld x %lld x %lld (status %d, %d found): "
             "this program's own kernel makes it",
             (long long)k->m, (long long)k->n, (long long)k->k, code, n);
    l->complained = true;
}

// fp8 was asked for because it is faster.
static void say_slow(lt *l, const char *why)
{
    if (!l->slow_said)
        axl_warn("%s: products of 8-bit floats use this program's own kernel, which is no faster "
                 "than bf16",
                 why);
    l->slow_said = true;
}

static axl_status choose(lt *l, const axl_gemm_args *a, const scales *f, const key *k,
                         size_t workspace_bytes, choice *c)
{
    axl_status status = AXL_OK;
    axl_lt_heuristic found = {0};
    axl_lt_pref pref = NULL;
    int n = 0;

    c->key = *k;
    AXL_TRY(make_layouts(l, a, c));
    AXL_TRY(make_desc(l, a, f, c));
    c->valid = true;
    if (c->refused) {
        say_slow(l, "cuBLASLt has no scales of rows before 12.9");
        goto out;
    }
    LT_TRY(l->calls.pref_create(&pref), "MatmulPreferenceCreate", a);
    AXL_TRY(set_preferences(l, a, k, workspace_bytes, pref));
    const int code = l->calls.find(l->handle, c->desc, c->x, c->y, c->out, c->out, pref, 1, &found,
                                   &n); // no algorithm is an error to it
    c->refused = code != AXL_LT_OK || n < 1 || found.state != AXL_LT_OK;
    if (c->refused)
        complain(l, k, code != AXL_LT_OK ? code : found.state, n);
    c->algo = found.algo;
    c->workspace_bytes = found.workspace_bytes;

out:
    if (pref != NULL)
        (void)l->calls.pref_destroy(pref);
    if (status != AXL_OK)
        drop(l, c);
    return status;
}

// The shape's choice; a new one takes the place of the one of its set that was used longest ago.
static axl_status find_choice(const axl_device *d, lt *l, const axl_gemm_args *a, const scales *f,
                              size_t workspace_bytes, choice **out)
{
    axl_status status = AXL_OK;
    const key k = key_of(d, a);
    choice *set = l->choices[axl_hash64(&k, sizeof k, 0) % N_SETS], *oldest = set;

    for (int w = 0; w < N_WAYS; w++) {
        if (set[w].valid && memcmp(&set[w].key, &k, sizeof k) == 0) {
            *out = &set[w];
            goto out;
        }
        if (set[w].used < oldest->used)
            oldest = &set[w];
    }
    drop(l, oldest);
    AXL_TRY(choose(l, a, f, &k, workspace_bytes, oldest));
    *out = oldest;

out:
    if (status == AXL_OK)
        (*out)->used = ++l->clock;
    return status;
}

// What the library's tables of types have: an f32 result of bf16 takes no bf16 bias.
static bool takes(const axl_stream *s, const axl_gemm_args *a)
{
    const bool in = a->dtype == AXL_F32 || a->dtype == AXL_BF16;
    const bool out = a->dtype_c == a->dtype || a->dtype_c == AXL_F32;

    return in && out && a->m > 0 && a->n > 0 && a->k > 0 &&
           (a->bias == NULL || a->dtype_c == a->dtype) &&
           s == s->device->compute; // whose workspace it is
}

static axl_status multiply(axl_stream *s, const lt *l, const axl_gemm_args *a, const choice *c)
{
    axl_status status = AXL_OK;
    const float beta = a->accumulate ? 1.0f : 0.0f;

    if (a->bias != NULL)
        LT_TRY(l->calls.desc_set(c->desc, AXL_LT_DESC_BIAS_POINTER, &a->bias, sizeof a->bias),
               "BIAS_POINTER", a);
    LT_TRY(l->calls.matmul(l->handle, c->desc, &a->alpha, a->b, c->x, a->a, c->y, &beta, a->c,
                           c->out, a->c, c->out, &c->algo, s->device->workspace, c->workspace_bytes,
                           axl_cuda_stream(s)),
           "Matmul", a);
    axl_cuda_note_launch(s, "a product of cuBLASLt", 0, 0, 0, 0);

out:
    return status;
}

axl_status axl_cuda_gemm_lt(axl_stream *s, const axl_gemm_args *a)
{
    axl_status status = AXL_OK;
    const axl_device *d = s->device;
    lt *l = NULL;
    choice *c = NULL;

    AXL_TRY(lt_of(d, &l));
    if (l->handle != NULL && takes(s, a))
        AXL_TRY(find_choice(d, l, a, NULL, d->workspace_bytes, &c));
    if (c == NULL || c->refused) {
        AXL_TRY(axl_cuda_gemm(s, a));
        goto out;
    }
    AXL_TRY(multiply(s, l, a, c));

out:
    return status;
}

// ---- e4m3

// The workspace: the library's part, the scale of B once a column, then what columns of B are turned in.
static size_t library_bytes(const axl_device *d)
{
    return d->workspace_bytes / 4 / 256 * 256;
}

static axl_status multiply_columns(axl_stream *s, const axl_fp8_columns *f)
{
    axl_status status = AXL_OK;
    const axl_device *d = s->device;
    float *scale_b = (float *)(void *)((char *)d->workspace + library_bytes(d));
    const scales of_rows = {scale_b, f->scale_a};
    const axl_gemm_args a = {.m = f->m,
                             .n = f->n,
                             .k = f->k,
                             .a = f->a,
                             .b = f->b,
                             .c = f->c,
                             .lda = f->k,
                             .ldb = f->k,
                             .ldc = f->ldc,
                             .trans_b = true,
                             .accumulate = f->accumulate,
                             .alpha = 1.0f,
                             .dtype = AXL_F8_E4M3,
                             .dtype_c = f->dtype,
                             .bias = f->bias};
    lt *l = NULL;
    choice *c = NULL;

    AXL_TRY(lt_of(d, &l));
    AXL_TRY(find_choice(d, l, &a, &of_rows, library_bytes(d), &c));
    if (c->refused) {
        AXL_TRY(axl_cuda_fp8_tensor(s, f));
        goto out;
    }
    AXL_TRY(axl_cuda_fp8_repeat(s, f->scale_b, f->n, scale_b));
    AXL_TRY(set_scales(l, &a, &of_rows, c->desc));
    AXL_TRY(multiply(s, l, &a, c));

out:
    return status;
}

axl_status axl_cuda_gemm_fp8_lt(axl_stream *s, const axl_gemm_fp8_args *a)
{
    axl_status status = AXL_OK;
    const axl_device *d = s->device;
    const size_t used = library_bytes(d) + (size_t)a->n * sizeof(float);
    lt *l = NULL;

    AXL_TRY(lt_of(d, &l));
    if (axl_cuda_arch(d) != 90)
        say_slow(l, "cuBLASLt has scales of rows on compute capability 9.0 alone");
    // rows of what it takes and writes begin at multiples of 16 bytes, as does a vector of scales
    if (l->handle != NULL && axl_cuda_arch(d) == 90 && axl_cuda_fp8_is_tensor(a) &&
        a->n % 16 == 0 && alignment(a->c) >= 16 && alignment(a->scale_a) >= 16 &&
        used < d->workspace_bytes / 2 && s == d->compute)
        AXL_TRY(axl_cuda_fp8_each(s, a, used, multiply_columns));
    else
        AXL_TRY(axl_cuda_gemm_fp8(s, a));

out:
    return status;
}
