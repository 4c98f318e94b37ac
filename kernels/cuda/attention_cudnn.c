// Attention by cuDNN: which calls it gets, the plans that are kept, and what it is given.
//
// A plan costs milliseconds to make and serves all packings below its bounds, so bounds are rounded up and plans kept.
// The library's statistics are [T, H], this program's [H, T]: they are turned on the way. With grouped heads the
// gradients of keys are first made for each query head and then summed, in rows that are lent to it here.
#include "kernels/cuda/attention_cudnn.h"

#include "kernels/cuda/cudnn_sdpa.h"
#include "kernels/gpu_memory.h"
#include "src/base/log.h"
#include "src/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N_PLANS = 64, LEAST_SEQLEN = 128, SPACE_ALIGNMENT = 256 };

typedef struct kept {
    axl_dnn_shape shape;
    axl_dnn_plan plan; // its plan is NULL: the library has none
    bool valid;
    uint64_t used;
} kept;

typedef struct dnn {
    axl_dnn_calls calls;
    void *handle; // NULL: there is no library
    axl_device *device;
    void *space; // owned; when the device's workspace is too small
    size_t space_bytes;
    uint64_t clock;
    bool complained;
    kept plans[N_PLANS];
} dnn;

static axl_status dnn_failed(const dnn *l, int code, const char *call, const axl_attn_args *a)
{
    return axl_error_set(AXL_E_DEVICE, __FILE__, __LINE__,
                         "cuDNN %s: %s, attention of %d sequences of at most %d tokens, %d heads "
                         "of %d; attn_implementation flash_attention_2 does without it",
                         call, l->calls.text(code), a->n_seqs, a->max_seqlen_q, a->n_heads,
                         a->head_dim);
}

// ---- the library

static void dnn_destroy(void *library)
{
    dnn *l = library;

    for (int i = 0; i < N_PLANS; i++)
        axl_dnn_plan_fini(&l->calls, &l->plans[i].plan);
    if (l->handle != NULL)
        (void)l->calls.destroy(l->handle);
    l->device->ops->free(l->device, l->space, l->space_bytes);
    free(l);
}

static void start(dnn *l, axl_stream *s)
{
    const char *why = NULL;

    if (!axl_dnn_load(&l->calls, &why)) {
        axl_warn("%s: flash_attention_3 uses this program's own kernels", why);
        return;
    }
    if (l->calls.create(&l->handle) == AXL_DNN_OK &&
        l->calls.set_stream(l->handle, axl_cuda_stream(s)) == AXL_DNN_OK)
        return;
    if (l->handle != NULL)
        (void)l->calls.destroy(l->handle);
    l->handle = NULL;
    axl_warn("cuDNN cannot be started: flash_attention_3 uses this program's own kernels");
}

// Opened by the first call that asks for it. Without the library it is said once, and l->handle is NULL.
static axl_status dnn_of(axl_stream *s, dnn **out)
{
    axl_status status = AXL_OK;
    dnn *l = axl_cuda_library(s->device, AXL_CUDA_DNN);

    if (l == NULL) {
        AXL_TRY(axl_calloc(1, sizeof *l, "cuDNN's plans", &l));
        l->device = s->device;
        axl_cuda_set_library(s->device, AXL_CUDA_DNN, l, dnn_destroy);
        start(l, s);
    }
    *out = l;

out:
    return status;
}

// ---- which calls

static bool aligned(const void *rows, int64_t ld)
{
    return ld % 8 == 0 && (uintptr_t)rows % 16 == 0;
}

static bool is_width(int32_t d)
{
    return d % 8 == 0 && d >= 8 && d <= 256;
}

// Offsets are int32 elements.
static bool fits(const axl_attn_args *a)
{
    const int64_t ld[] = {a->ldq, a->ldk, a->ldv, a->ldo};

    for (size_t i = 0; i < sizeof ld / sizeof *ld; i++)
        if (a->n_rows * ld[i] > INT32_MAX)
            return false;
    return true;
}

// Every query must see itself (the library says nothing of a row that sees no key), so: one packing for queries and
// keys, positions from 0 on.
static bool takes(const axl_stream *s, const axl_attn_args *a)
{
    const int arch = axl_cuda_arch(s->device);
    const bool placed = a->pos_q != NULL || a->pos_k != NULL || a->positions_q != NULL ||
                        a->positions_k != NULL || a->cu_seqlens_q != a->cu_seqlens_k;
    const bool seen = a->mask == AXL_MASK_CAUSAL || (a->mask == AXL_MASK_FULL && a->window <= 0);

    return a->library && a->n_rows > 0 && a->n_seqs > 0 && arch >= 90 && arch < 120 && !placed &&
           seen && a->dtype == AXL_BF16 && !a->out_f32 && a->softcap <= 0.0f &&
           is_width(a->head_dim) && is_width(a->v_head_dim) && a->n_heads % a->n_kv_heads == 0 &&
           a->max_seqlen_q == a->max_seqlen_k && aligned(a->q, a->ldq) && aligned(a->k, a->ldk) &&
           aligned(a->v, a->ldv) && aligned(a->out, a->ldo) && fits(a) &&
           s == s->device->compute; // whose workspace it is
}

// On sm_90 the library's gradient is the same bits in every run only with room for every pair of a query and a key of
// n_seqs times the longest sequence: this program's own is taken there.
static bool takes_back(const axl_stream *s, const axl_attn_bwd_args *b)
{
    const axl_attn_args *a = &b->fwd;

    return takes(s, a) && axl_cuda_arch(s->device) >= 100 && a->out != NULL &&
           b->dtype_grad == AXL_BF16 && !b->accumulate_dq && !b->accumulate_dkv &&
           aligned(b->dout, a->ldo) && aligned(b->dq, a->ldq) && aligned(b->dk, a->ldk) &&
           aligned(b->dv, a->ldv);
}

// ---- plans

// At most a quarter more, four values an octave: few plans, little done in vain.
static int32_t bound_of(int32_t n, int32_t least)
{
    int32_t step = least;

    while (step * 8 <= n)
        step *= 2;
    return (n + step - 1) / step * step;
}

static axl_dnn_shape shape_of(const axl_attn_args *a, bool backward)
{
    axl_dnn_shape k;

    memset(&k, 0, sizeof k);
    k.ldq = a->ldq;
    k.ldk = a->ldk;
    k.ldv = a->ldv;
    k.ldo = a->ldo;
    k.n_seqs = bound_of(a->n_seqs, 1);
    k.seqlen = bound_of(a->max_seqlen_q, LEAST_SEQLEN);
    k.n_heads = a->n_heads;
    k.n_kv_heads = a->n_kv_heads;
    k.head_dim = a->head_dim;
    k.v_head_dim = a->v_head_dim;
    k.window = a->window < k.seqlen ? a->window : 0;
    k.causal = a->mask == AXL_MASK_CAUSAL;
    k.backward = backward;
    return k;
}

// The shape's plan; a new one takes the place of the one that was used longest ago. A library that refuses is no
// failure, but what is not a matter of support is said, once.
static void find_plan(dnn *l, const axl_dnn_shape *shape, int arch, const axl_dnn_plan **out)
{
    const axl_dnn_target on = {.calls = &l->calls, .handle = l->handle, .arch = arch};
    kept *k = l->plans;
    const char *where = NULL;

    for (int i = 0; i < N_PLANS; i++) {
        if (l->plans[i].valid && memcmp(&l->plans[i].shape, shape, sizeof *shape) == 0) {
            k = &l->plans[i];
            break;
        }
        if (l->plans[i].used < k->used)
            k = &l->plans[i];
    }
    if (!k->valid || memcmp(&k->shape, shape, sizeof *shape) != 0) {
        axl_dnn_plan_fini(&l->calls, &k->plan);
        k->shape = *shape;
        k->valid = true;
        const int code = axl_dnn_sdpa_plan(&on, shape, &k->plan, &where);
        const bool refused = code >= AXL_DNN_NOT_SUPPORTED && code < AXL_DNN_INTERNAL;
        if (code != AXL_DNN_OK && !refused && !l->complained) {
            axl_warn("cuDNN %s: %s; attention uses this program's own kernels", where,
                     l->calls.text(code));
            l->complained = true;
        }
    }
    k->used = ++l->clock;
    *out = &k->plan;
}

// ---- what a plan is given

// Places in memory that is lent to the library for a call, one behind the other.
typedef struct lent {
    char *base; // NULL: sizes are only added up
    size_t bytes;
} lent;

static void *lend(lent *m, size_t bytes)
{
    char *p = m->base != NULL ? m->base + m->bytes : NULL;

    m->bytes += (bytes + SPACE_ALIGNMENT - 1) / SPACE_ALIGNMENT * SPACE_ALIGNMENT;
    return p;
}

typedef struct call {
    axl_attn_places places;
    const void *bound[AXL_DNN_N_NAMES];
    float *stats; // [T, H]
    void *workspace;
    float scale, low, window, one;
} call;

static void cut(lent *m, const axl_dnn_shape *k, const axl_dnn_plan *plan, int64_t n_rows, call *c)
{
    const size_t n = sizeof(int32_t) * ((size_t)k->n_seqs + 1);
    const size_t rows = (size_t)n_rows, group = (size_t)(k->n_heads / k->n_kv_heads);

    c->places.len = lend(m, n);
    for (int i = 0; i < AXL_ATTN_LAYOUTS; i++)
        c->places.at[i] = lend(m, n);
    c->stats = lend(m, rows * (size_t)k->n_heads * sizeof(float));
    if (k->backward)
        c->bound[AXL_DNN_DELTA] = lend(m, rows * (size_t)k->n_heads * sizeof(float));
    if (k->backward && group > 1) { // as much as its frontend gives, which is twice what bf16 takes
        c->bound[AXL_DNN_DK_HEADS] = lend(m, rows * (size_t)k->ldk * group * sizeof(float));
        c->bound[AXL_DNN_DV_HEADS] = lend(m, rows * (size_t)k->ldv * group * sizeof(float));
    }
    c->workspace = lend(m, (size_t)plan->workspace_bytes);
}

// The device's workspace, or room that is taken when a larger shape comes and then kept. *out NULL: too much.
static axl_status find_space(dnn *l, size_t bytes, char **out)
{
    axl_status status = AXL_OK;
    axl_device *d = l->device;

    *out = NULL;
    if (bytes > AXL_GPU_LIBRARY_BYTES)
        goto out;
    if (bytes > d->workspace_bytes && bytes > l->space_bytes) {
        d->ops->free(d, l->space, l->space_bytes);
        l->space = NULL;
        l->space_bytes = 0;
        AXL_TRY(d->ops->alloc(d, bytes, "cuDNN's gradients of attention", &l->space));
        l->space_bytes = bytes;
    }
    *out = bytes > d->workspace_bytes ? l->space : d->workspace;

out:
    return status;
}

static void bind(const axl_attn_args *a, const axl_dnn_shape *k, call *c)
{
    const int32_t ld[AXL_ATTN_LAYOUTS] = {(int32_t)k->ldq, (int32_t)k->ldk, (int32_t)k->ldv,
                                          (int32_t)k->ldo, k->n_heads};

    memcpy(c->places.ld, ld, sizeof ld);
    for (int i = 0; i < AXL_ATTN_LAYOUTS; i++)
        c->bound[AXL_DNN_Q_AT + i] = c->places.at[i];
    c->bound[AXL_DNN_LEN_Q] = c->bound[AXL_DNN_LEN_K] = c->places.len;
    c->bound[AXL_DNN_Q] = a->q;
    c->bound[AXL_DNN_K] = a->k;
    c->bound[AXL_DNN_V] = a->v;
    c->bound[AXL_DNN_OUT] = a->out;
    c->bound[AXL_DNN_STATS] = c->stats;
    c->scale = a->scale;
    c->low = -INFINITY;
    c->window = (float)k->window;
    c->one = 1.0f;
    c->bound[AXL_DNN_SCALE] = &c->scale;
    c->bound[AXL_DNN_LOW] = &c->low;
    c->bound[AXL_DNN_WINDOW] = &c->window;
    c->bound[AXL_DNN_ONE] = &c->one;
}

static axl_status run(axl_stream *s, const axl_attn_args *a, const axl_attn_bwd_args *b, bool *done)
{
    axl_status status = AXL_OK;
    const axl_dnn_shape shape = shape_of(a, b != NULL);
    const axl_dnn_plan *plan = NULL;
    call c = {0};
    lent m = {0};
    dnn *l = NULL;

    AXL_TRY(dnn_of(s, &l));
    if (l->handle == NULL)
        goto out;
    find_plan(l, &shape, axl_cuda_arch(s->device), &plan);
    if (plan->plan == NULL)
        goto out;
    cut(&m, &shape, plan, a->n_rows, &c);
    AXL_TRY(find_space(l, m.bytes, &m.base));
    if (m.base == NULL)
        goto out;
    m.bytes = 0;
    cut(&m, &shape, plan, a->n_rows, &c);
    bind(a, &shape, &c);
    AXL_TRY(axl_cuda_attn_place(s, a->cu_seqlens_q, a->n_seqs, shape.n_seqs, &c.places));
    if (b != NULL) {
        c.bound[AXL_DNN_DOUT] = b->dout;
        c.bound[AXL_DNN_DQ] = b->dq;
        c.bound[AXL_DNN_DK] = b->dk;
        c.bound[AXL_DNN_DV] = b->dv;
        AXL_TRY(axl_cuda_attn_turn(s, a->cu_seqlens_q, a->n_seqs, a->n_rows, a->n_heads, true,
                                   a->lse, c.stats));
    }
    const int code = axl_dnn_plan_run(&l->calls, l->handle, plan, c.bound, c.workspace);
    if (code != AXL_DNN_OK)
        AXL_TRY(dnn_failed(l, code, "Execute", a));
    if (b == NULL)
        AXL_TRY(axl_cuda_attn_turn(s, a->cu_seqlens_q, a->n_seqs, a->n_rows, a->n_heads, false,
                                   c.stats, a->lse));
    *done = true;

out:
    return status;
}

axl_status axl_cuda_attn_cudnn_fwd(axl_stream *s, const axl_attn_args *a, bool *done)
{
    *done = false;
    return takes(s, a) ? run(s, a, NULL, done) : AXL_OK;
}

axl_status axl_cuda_attn_cudnn_bwd(axl_stream *s, const axl_attn_bwd_args *b, bool *done)
{
    *done = false;
    return takes_back(s, b) ? run(s, &b->fwd, b, done) : AXL_OK;
}
