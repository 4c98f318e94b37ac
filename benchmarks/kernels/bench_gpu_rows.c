// The rows of bench_gpu.c: arrays, arguments, how many operations or bytes a call is.
#include "benchmarks/kernels/bench_gpu.h"

#include "kernels/low.h"

#include <stdlib.h>

#define MOST_DOCS 16

// ---- arrays

static void need(bench_gpu *b, axl_status status)
{
    if (b->status == AXL_OK)
        b->status = status;
}

static void *take(bench_gpu *b, size_t bytes)
{
    void *p = NULL;

    if (b->status != AXL_OK || b->n_arrays == BENCH_ARRAYS) {
        need(b, AXL_E_MEMORY);
        return NULL;
    }
    need(b, b->d->ops->alloc(b->d, bytes, "an array of the benchmark", &p));
    b->arrays[b->n_arrays] = p;
    b->bytes[b->n_arrays] = p != NULL ? bytes : 0;
    b->n_arrays++;
    b->set_bytes += bytes;
    return p;
}

void bench_release(bench_gpu *b)
{
    (void)b->d->ops->synchronize(b->d->compute);
    while (b->n_arrays > 0) {
        b->n_arrays--;
        b->d->ops->free(b->d, b->arrays[b->n_arrays], b->bytes[b->n_arrays]);
    }
    b->set_bytes = 0;
}

static int pool_of(axl_dtype t)
{
    return t == AXL_F32 ? 0 : t == AXL_BF16 ? 1 : t == AXL_I32 ? 2 : 3;
}

// n random numbers; ids are below 576, which every table here has.
static void *array(bench_gpu *b, int64_t n, axl_dtype dtype)
{
    const size_t size = axl_dtype_size(dtype), bytes = (size_t)n * size;
    char *p = take(b, bytes);

    for (size_t at = 0; p != NULL && at < bytes; at += BENCH_POOL * size)
        need(b, b->d->ops->copy(b->d->compute, p + at, b->pool[pool_of(dtype)],
                                bytes - at < BENCH_POOL * size ? bytes - at : BENCH_POOL * size));
    return p;
}

static int32_t *ints(bench_gpu *b, const int32_t *values, int n)
{
    void *p = take(b, (size_t)n * sizeof *values);

    if (p != NULL)
        need(b, axl_device_write(b->d, p, values, (size_t)n * sizeof *values));
    return p;
}

axl_status bench_pools_make(bench_gpu *b)
{
    axl_status status = AXL_OK;
    char *host = malloc(BENCH_POOL * sizeof(float));
    const axl_dtype dtypes[] = {AXL_F32, AXL_BF16, AXL_I32, AXL_F8_E4M3};

    AXL_REQUIRE(host != NULL, AXL_E_MEMORY, "no memory for random numbers");
    for (int k = 0; k < 4; k++) {
        uint64_t x = 88172645463325252u;
        for (int64_t i = 0; i < BENCH_POOL; i++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            const float u = (float)(x >> 40) * 0x1p-24f * 3.4f - 1.7f;
            if (k == 0)
                ((float *)(void *)host)[i] = u;
            else if (k == 1)
                ((axl_bf16 *)(void *)host)[i] = axl_f32_to_bf16(u);
            else if (k == 2)
                ((int32_t *)(void *)host)[i] = (int32_t)((x >> 33) % 576);
            else
                ((uint8_t *)host)[i] = axl_e4m3_from_f32(u);
        }
        const size_t bytes = BENCH_POOL * axl_dtype_size(dtypes[k]);
        AXL_TRY(b->d->ops->alloc(b->d, bytes, "random numbers", &b->pool[k]));
        AXL_TRY(axl_device_write(b->d, b->pool[k], host, bytes));
    }
out:
    free(host);
    return status;
}

void bench_pools_free(bench_gpu *b)
{
    const size_t sizes[] = {sizeof(float), sizeof(axl_bf16), sizeof(int32_t), 1};

    for (int k = 0; k < 4; k++)
        b->d->ops->free(b->d, b->pool[k], BENCH_POOL * sizes[k]);
}

// ---- what is measured

static void make_gemm(bench_gpu *b, const bench_row *r, bench_call *c)
{
    const int64_t t = r->rows > 0 ? r->rows : b->tokens, out = r->out > 0 ? r->out : t,
                  in = r->in > 0 ? r->in : t;
    axl_gemm_args *g = &c->a.gemm;

    *g = (axl_gemm_args){.alpha = 1.0f, .dtype = r->dtype, .dtype_c = r->dtype};
    g->m = r->kind == WEIGHT_GRADIENT ? out : t;
    g->n = r->kind == FORWARD ? out : in;
    g->k = r->kind == FORWARD ? in : r->kind == INPUT_GRADIENT ? out : t;
    g->trans_a = r->kind == WEIGHT_GRADIENT;
    g->trans_b = r->kind == FORWARD;
    if (r->kind == WEIGHT_GRADIENT || r->rows > 0)
        g->dtype_c = AXL_F32; // gradients of weights, logits
    g->lda = g->trans_a ? g->m : g->k;
    g->ldb = g->trans_b ? g->k : g->n;
    g->ldc = g->n;
    g->a = array(b, g->m * g->k, r->dtype);
    g->b = array(b, g->k * g->n, r->dtype);
    g->c = array(b, g->m * g->n, g->dtype_c);
    c->flops = 2.0 * (double)g->m * (double)g->n * (double)g->k;
}

static axl_status run_gemm(bench_gpu *b, const bench_call *c)
{
    return b->d->kernels->gemm(b->d->compute, &c->a.gemm);
}

// The library works on the compute stream alone, so on another the backend's own kernel multiplies.
static axl_status run_gemm_own(bench_gpu *b, const bench_call *c)
{
    return b->d->kernels->gemm(b->d->gather, &c->a.gemm);
}

static void make_gemm_fp8(bench_gpu *b, const bench_row *r, bench_call *c)
{
    const int64_t t = b->tokens, out = r->out > 0 ? r->out : t, in = r->in > 0 ? r->in : t;
    axl_gemm_fp8_args *g = &c->a.gemm_fp8;

    *g = (axl_gemm_fp8_args){.m = t, .dtype = AXL_BF16, .trans_b = r->kind == FORWARD};
    g->n = g->trans_b ? out : in;
    g->k = g->trans_b ? in : out;
    g->a = array(b, g->m * g->k, AXL_F8_E4M3);
    g->b = array(b, g->k * g->n, AXL_F8_E4M3);
    g->scale_a = array(b, g->m, AXL_F32);
    g->scale_b = array(b, 1, AXL_F32);
    g->c = array(b, g->m * g->n, AXL_BF16);
    c->flops = 2.0 * (double)g->m * (double)g->n * (double)g->k;
}

static axl_status run_gemm_fp8(bench_gpu *b, const bench_call *c)
{
    return b->d->kernels->gemm_fp8(b->d->compute, &c->a.gemm_fp8);
}

// Activations, a scale a row; f32: masters, whose scale is known.
static void make_cast_fp8(bench_gpu *b, const bench_row *r, bench_call *c)
{
    axl_cast_fp8_args *a = &c->a.cast_fp8;
    const int64_t n = b->tokens * r->in;

    *a = (axl_cast_fp8_args){.rows = b->tokens, .cols = r->in, .dtype = r->dtype};
    a->src = array(b, n, r->dtype);
    a->amax = r->dtype == AXL_F32 ? array(b, 1, AXL_F32) : NULL;
    a->dst = array(b, n, AXL_F8_E4M3);
    a->scale = array(b, b->tokens, AXL_F32);
    c->bytes = (1.0 + (double)axl_dtype_size(r->dtype)) * (double)n;
}

static axl_status run_cast_fp8(bench_gpu *b, const bench_call *c)
{
    return b->d->kernels->cast_fp8(b->d->compute, &c->a.cast_fp8);
}

static void make_amax(bench_gpu *b, const bench_row *r, bench_call *c)
{
    axl_amax_args *a = &c->a.amax;

    *a = (axl_amax_args){.n = b->tokens * r->in, .dtype = AXL_F32};
    a->x = array(b, a->n, AXL_F32);
    a->out = array(b, 1, AXL_F32);
    c->bytes = 4.0 * (double)a->n;
}

static axl_status run_amax(bench_gpu *b, const bench_call *c)
{
    return b->d->kernels->amax(b->d->compute, &c->a.amax);
}

// The beginnings of documents; gives the visible pairs.
static double place_docs(const bench_gpu *b, const bench_row *r, int32_t cu[MOST_DOCS + 1], int *n,
                         int *most)
{
    static const int parts[] = {366, 18, 85, 146, 8, 250, 4, 123, 24}; // of 1024
    double pairs = 0;

    *n = r->n_docs > 0 ? r->n_docs : (int)(sizeof parts / sizeof *parts);
    *most = 0;
    for (int i = 0, sum = 0; i < *n; i++) {
        sum += r->n_docs > 0 ? 1024 / r->n_docs : parts[i];
        cu[i + 1] = (int32_t)(b->tokens * sum / 1024);
        const int length = cu[i + 1] - cu[i];
        pairs += (double)length * (length + 1) / 2;
        *most = length > *most ? length : *most;
    }
    return pairs;
}

static double make_attn(bench_gpu *b, const bench_row *r, axl_attn_args *a)
{
    int32_t cu[MOST_DOCS + 1] = {0};
    int n, most;
    const double pairs = place_docs(b, r, cu, &n, &most);
    const int64_t t = b->tokens, w = (int64_t)r->heads * r->head_dim,
                  wk = (int64_t)r->kv_heads * r->head_dim;

    *a = (axl_attn_args){.ldq = w,
                         .ldk = wk,
                         .ldv = wk,
                         .ldo = w,
                         .n_seqs = n,
                         .max_seqlen_q = most,
                         .max_seqlen_k = most,
                         .n_heads = r->heads,
                         .n_kv_heads = r->kv_heads,
                         .head_dim = r->head_dim,
                         .v_head_dim = r->head_dim,
                         .scale = r->head_dim == 128 ? 0.08838835f : 0.125f,
                         .mask = AXL_MASK_CAUSAL,
                         .n_rows = t,
                         .n_rows_k = t,
                         .dtype = AXL_BF16};
    a->q = array(b, t * w, AXL_BF16);
    a->k = array(b, t * wk, AXL_BF16);
    a->v = array(b, t * wk, AXL_BF16);
    a->out = array(b, t * w, AXL_BF16);
    a->lse = array(b, t * r->heads, AXL_F32);
    a->cu_seqlens_q = a->cu_seqlens_k = ints(b, cu, n + 1);
    return pairs * r->heads * 2.0 * r->head_dim; // of one product
}

static void make_attn_fwd(bench_gpu *b, const bench_row *r, bench_call *c)
{
    c->flops = 2.0 * make_attn(b, r, &c->a.attn);
}

static axl_status run_attn_fwd(bench_gpu *b, const bench_call *c)
{
    return b->d->kernels->attn_fwd(b->d->compute, &c->a.attn);
}

static void make_attn_bwd(bench_gpu *b, const bench_row *r, bench_call *c)
{
    axl_attn_bwd_args *a = &c->a.attn_bwd.bwd;
    const int64_t t = b->tokens, w = (int64_t)r->heads * r->head_dim,
                  wk = (int64_t)r->kv_heads * r->head_dim;

    *a = (axl_attn_bwd_args){.dtype_grad = AXL_BF16};
    c->flops = 5.0 * make_attn(b, r, &a->fwd);
    if (b->status == AXL_OK)
        need(b, b->d->kernels->attn_fwd(b->d->compute, &a->fwd)); // an lse that belongs to q and k
    a->dout = array(b, t * w, AXL_BF16);
    a->dq = array(b, t * w, AXL_BF16);
    a->dk = array(b, t * wk, AXL_BF16);
    a->dv = array(b, t * wk, AXL_BF16);
    a->delta = array(b, t * r->heads, AXL_F32);
    c->a.attn_bwd.delta = (axl_attn_delta_args){.out = a->fwd.out,
                                                .dout = a->dout,
                                                .delta = (void *)(uintptr_t)a->delta,
                                                .n_tokens = t,
                                                .ldo = w,
                                                .n_heads = r->heads,
                                                .v_head_dim = r->head_dim,
                                                .dtype = AXL_BF16};
}

// With delta, which other libraries make inside their backward, too.
static axl_status run_attn_bwd(bench_gpu *b, const bench_call *c)
{
    axl_status status = AXL_OK;

    AXL_TRY(b->d->kernels->attn_delta(b->d->compute, &c->a.attn_bwd.delta));
    AXL_TRY(b->d->kernels->attn_bwd(b->d->compute, &c->a.attn_bwd.bwd));
out:
    return status;
}

static void make_norm(bench_gpu *b, const bench_row *r, bench_call *c)
{
    axl_norm_args *a = &c->a.norm;
    const int64_t n = b->tokens * r->in;

    *a = (axl_norm_args){
        .kind = AXL_NORM_RMS, .rows = b->tokens, .cols = r->in, .eps = 1e-5f, .dtype = AXL_BF16};
    a->x = array(b, n, AXL_BF16);
    a->w = array(b, r->in, AXL_BF16);
    a->out = array(b, n, AXL_BF16);
    a->rstd = array(b, b->tokens, AXL_F32);
    c->bytes = 4.0 * (double)n;
}

static axl_status run_norm(bench_gpu *b, const bench_call *c)
{
    return b->d->kernels->norm_fwd(b->d->compute, &c->a.norm);
}

static void make_norm_bwd(bench_gpu *b, const bench_row *r, bench_call *c)
{
    axl_norm_bwd_args *a = &c->a.norm_bwd;
    const int64_t n = b->tokens * r->in;

    *a = (axl_norm_bwd_args){
        .kind = AXL_NORM_RMS, .rows = b->tokens, .cols = r->in, .dtype = AXL_BF16};
    a->x = array(b, n, AXL_BF16);
    a->w = array(b, r->in, AXL_BF16);
    a->dout = array(b, n, AXL_BF16);
    a->rstd = array(b, b->tokens, AXL_F32);
    a->dx = array(b, n, AXL_BF16);
    a->dw = array(b, r->in, AXL_F32);
    c->bytes = 6.0 * (double)n;
}

static axl_status run_norm_bwd(bench_gpu *b, const bench_call *c)
{
    return b->d->kernels->norm_bwd(b->d->compute, &c->a.norm_bwd);
}

static void make_rope(bench_gpu *b, const bench_row *r, bench_call *c)
{
    axl_rope_args *a = &c->a.rope;
    const int64_t n = b->tokens * r->heads * r->head_dim, half = r->head_dim / 2;

    *a = (axl_rope_args){.n_tokens = b->tokens,
                         .n_heads = r->heads,
                         .head_dim = r->head_dim,
                         .half = (int32_t)half,
                         .pairing = AXL_ROPE_HALF,
                         .dtype = AXL_BF16};
    a->x = array(b, n, AXL_BF16);
    a->cos = array(b, b->tokens * half, AXL_F32);
    a->sin = array(b, b->tokens * half, AXL_F32);
    a->out = array(b, n, AXL_BF16);
    c->bytes = 4.0 * (double)n + 8.0 * (double)(b->tokens * half);
}

static axl_status run_rope(bench_gpu *b, const bench_call *c)
{
    return b->d->kernels->rope(b->d->compute, &c->a.rope);
}

static void make_glu(bench_gpu *b, const bench_row *r, bench_call *c)
{
    const int64_t n = b->tokens * r->out;

    c->a.glu = (axl_glu_args){.act = AXL_ACT_SILU, .n = n, .dtype = AXL_BF16};
    c->a.glu.gate = array(b, n, AXL_BF16);
    c->a.glu.up = array(b, n, AXL_BF16);
    c->a.glu.out = array(b, n, AXL_BF16);
    c->bytes = 6.0 * (double)n;
}

static axl_status run_glu(bench_gpu *b, const bench_call *c)
{
    return b->d->kernels->glu_fwd(b->d->compute, &c->a.glu);
}

static void make_glu_bwd(bench_gpu *b, const bench_row *r, bench_call *c)
{
    const int64_t n = b->tokens * r->out;
    axl_glu_bwd_args *a = &c->a.glu_bwd;

    *a = (axl_glu_bwd_args){.act = AXL_ACT_SILU, .n = n, .dtype = AXL_BF16};
    a->gate = array(b, n, AXL_BF16);
    a->up = array(b, n, AXL_BF16);
    a->dout = array(b, n, AXL_BF16);
    a->dgate = array(b, n, AXL_BF16);
    a->dup = array(b, n, AXL_BF16);
    c->bytes = 10.0 * (double)n;
}

static axl_status run_glu_bwd(bench_gpu *b, const bench_call *c)
{
    return b->d->kernels->glu_bwd(b->d->compute, &c->a.glu_bwd);
}

static void make_ce(bench_gpu *b, const bench_row *r, bench_call *c)
{
    axl_ce_args *a = &c->a.ce;
    const int64_t t = b->tokens / 8;

    *a = (axl_ce_args){.rows = t, .vocab = r->out, .ld = r->out, .dtype = AXL_F32};
    a->logits = array(b, t * r->out, AXL_F32);
    a->labels = array(b, t, AXL_I32);
    a->lse = array(b, t, AXL_F32);
    a->logp = array(b, t, AXL_F32);
    c->bytes = 4.0 * (double)(t * r->out);
}

static axl_status run_ce(bench_gpu *b, const bench_call *c)
{
    return b->d->kernels->ce_fwd(b->d->compute, &c->a.ce);
}

static void make_ce_bwd(bench_gpu *b, const bench_row *r, bench_call *c)
{
    axl_ce_bwd_args *a = &c->a.ce_bwd;
    const int64_t t = b->tokens / 8;

    *a = (axl_ce_bwd_args){.rows = t,
                           .vocab = r->out,
                           .ld = r->out,
                           .ld_out = r->out,
                           .dtype = AXL_F32,
                           .dtype_out = AXL_BF16};
    a->logits = array(b, t * r->out, AXL_F32);
    a->labels = array(b, t, AXL_I32);
    a->lse = array(b, t, AXL_F32);
    a->grad = array(b, t, AXL_F32);
    a->dlogits = array(b, t * r->out, AXL_BF16);
    c->bytes = 6.0 * (double)(t * r->out);
}

static axl_status run_ce_bwd(bench_gpu *b, const bench_call *c)
{
    return b->d->kernels->ce_bwd(b->d->compute, &c->a.ce_bwd);
}

static void make_embed(bench_gpu *b, const bench_row *r, bench_call *c)
{
    axl_embed_args *a = &c->a.embed;
    const int64_t n = b->tokens * r->in;

    *a = (axl_embed_args){
        .n_tokens = b->tokens, .cols = r->in, .n_rows = r->out, .scale = 1.0f, .dtype = AXL_BF16};
    a->ids = array(b, b->tokens, AXL_I32);
    a->table = array(b, r->out * r->in, AXL_BF16);
    a->out = array(b, n, AXL_BF16);
    c->bytes = 4.0 * (double)n; // though rows that come again may be in a cache
}

static axl_status run_embed(bench_gpu *b, const bench_call *c)
{
    return b->d->kernels->embed_fwd(b->d->compute, &c->a.embed);
}

static void make_embed_bwd(bench_gpu *b, const bench_row *r, bench_call *c)
{
    axl_embed_bwd_args *a = &c->a.embed_bwd;

    *a = (axl_embed_bwd_args){
        .n_tokens = b->tokens, .cols = r->in, .n_rows = r->out, .scale = 1.0f, .dtype = AXL_BF16};
    a->ids = array(b, b->tokens, AXL_I32);
    a->dout = array(b, b->tokens * r->in, AXL_BF16);
    a->dtable = array(b, r->out * r->in, AXL_F32);
    c->bytes = 2.0 * (double)(b->tokens * r->in) + 8.0 * 576.0 * (double)r->in;
}

static axl_status run_embed_bwd(bench_gpu *b, const bench_call *c)
{
    return b->d->kernels->embed_bwd(b->d->compute, &c->a.embed_bwd);
}

static void make_adamw(bench_gpu *b, const bench_row *r, bench_call *c)
{
    axl_adamw_args *a = &c->a.adamw;
    const int64_t n = r->in * b->tokens;

    *a = (axl_adamw_args){.n = n,
                          .t = 10,
                          .lr = 1e-5,
                          .beta1 = 0.9,
                          .beta2 = 0.999,
                          .eps = 1e-8,
                          .weight_decay = 0.01,
                          .grad_scale = 1.0};
    a->p = array(b, n, AXL_F32);
    a->m = array(b, n, AXL_F32);
    a->v = take(b, (size_t)n * sizeof *a->v); // zeros: no square is negative
    a->g = array(b, n, AXL_F32);
    c->bytes = 28.0 * (double)n;
}

static axl_status run_adamw(bench_gpu *b, const bench_call *c)
{
    return b->d->kernels->adamw(b->d->compute, &c->a.adamw);
}

static void make_cast(bench_gpu *b, const bench_row *r, bench_call *c)
{
    const int64_t n = r->in * b->tokens;

    c->a.cast = (axl_cast_args){.src_dtype = AXL_F32, .dst_dtype = AXL_BF16, .n = n};
    c->a.cast.src = array(b, n, AXL_F32);
    c->a.cast.dst = array(b, n, AXL_BF16);
    c->bytes = 6.0 * (double)n;
}

static axl_status run_cast(bench_gpu *b, const bench_call *c)
{
    return b->d->kernels->cast(b->d->compute, &c->a.cast);
}

static void make_add(bench_gpu *b, const bench_row *r, bench_call *c)
{
    const int64_t n = r->in * b->tokens;

    c->a.add = (axl_add_args){.alpha = 1.0f, .beta = 1.0f, .n = n, .dtype = AXL_BF16};
    c->a.add.a = array(b, n, AXL_BF16);
    c->a.add.b = array(b, n, AXL_BF16);
    c->a.add.out = array(b, n, AXL_BF16);
    c->bytes = 6.0 * (double)n;
}

static axl_status run_add(bench_gpu *b, const bench_call *c)
{
    return b->d->kernels->add(b->d->compute, &c->a.add);
}

static void make_copy(bench_gpu *b, const bench_row *r, bench_call *c)
{
    const int64_t n = r->in * b->tokens;

    c->a.copy.src = array(b, n, AXL_F32);
    c->a.copy.dst = array(b, n, AXL_F32);
    c->a.copy.n = (size_t)n * sizeof(float);
    c->bytes = 8.0 * (double)n;
}

static axl_status run_copy(bench_gpu *b, const bench_call *c)
{
    return b->d->ops->copy(b->d->compute, c->a.copy.dst, c->a.copy.src, c->a.copy.n);
}

#define GEMM(o, i, d) make_gemm, run_gemm, .out = o, .in = i, .kind = d, .dtype = AXL_BF16
#define OWN(o, i, d)  make_gemm, run_gemm_own, .out = o, .in = i, .kind = d, .dtype = AXL_BF16
#define FP8(o, i, d)  make_gemm_fp8, run_gemm_fp8, .out = o, .in = i, .kind = d, .dtype = AXL_F8_E4M3
#define FP8_OWN(o, i, d)                                                                           \
    make_gemm_fp8, bench_gemm_fp8_own, .out = o, .in = i, .kind = d, .dtype = AXL_F8_E4M3
#define LLAMA(n) .heads = 32, .kv_heads = 8, .head_dim = 128, .n_docs = n, .dtype = AXL_BF16
#define SMOL(n)  .heads = 9, .kv_heads = 3, .head_dim = 64, .n_docs = n, .dtype = AXL_BF16

const bench_row bench_rows[] = {
    {"copy", make_copy, run_copy, .in = 16384},
    {"gemm/square", GEMM(0, 0, FORWARD)},
    {"gemm/q_fwd", GEMM(4096, 4096, FORWARD)},
    {"gemm/kv_fwd", GEMM(1024, 4096, FORWARD)},
    {"gemm/up_fwd", GEMM(14336, 4096, FORWARD)},
    {"gemm/up_dx", GEMM(14336, 4096, INPUT_GRADIENT)},
    {"gemm/up_dw", GEMM(14336, 4096, WEIGHT_GRADIENT)},
    {"gemm/down_fwd", GEMM(4096, 14336, FORWARD)},
    {"gemm/down_dx", GEMM(4096, 14336, INPUT_GRADIENT)},
    {"gemm/down_dw", GEMM(4096, 14336, WEIGHT_GRADIENT)},
    {"gemm/head_fwd", GEMM(128256, 4096, FORWARD), .rows = 256},
    {"gemm/s_q_fwd", GEMM(576, 576, FORWARD)},
    {"gemm/s_up_fwd", GEMM(1536, 576, FORWARD)},
    {"gemm/s_up_dw", GEMM(1536, 576, WEIGHT_GRADIENT)},
    {"gemm/f32_q_fwd", make_gemm, run_gemm, .out = 4096, .in = 4096, .dtype = AXL_F32},
    {"gemm_own/square", OWN(0, 0, FORWARD)},
    {"gemm_own/up_fwd", OWN(14336, 4096, FORWARD)},
    {"gemm_own/up_dx", OWN(14336, 4096, INPUT_GRADIENT)},
    {"gemm_own/up_dw", OWN(14336, 4096, WEIGHT_GRADIENT)},
    {"gemm_fp8/square", FP8(0, 0, FORWARD)},
    {"gemm_fp8/q_fwd", FP8(4096, 4096, FORWARD)},
    {"gemm_fp8/up_fwd", FP8(14336, 4096, FORWARD)},
    {"gemm_fp8/up_dx", FP8(14336, 4096, INPUT_GRADIENT)},
    {"gemm_fp8/down_fwd", FP8(4096, 14336, FORWARD)},
    {"gemm_fp8_own/square", FP8_OWN(0, 0, FORWARD)},
    {"gemm_fp8_own/up_dx", FP8_OWN(14336, 4096, INPUT_GRADIENT)},
    {"attn_fwd/1x8192", make_attn_fwd, run_attn_fwd, LLAMA(1)},
    {"attn_fwd/4x2048", make_attn_fwd, run_attn_fwd, LLAMA(4)},
    {"attn_fwd/mixed", make_attn_fwd, run_attn_fwd, LLAMA(0)},
    {"attn_fwd/s_1x8192", make_attn_fwd, run_attn_fwd, SMOL(1)},
    {"attn_fwd_cudnn/1x8192", make_attn_fwd, bench_attn_fwd_cudnn, LLAMA(1)},
    {"attn_fwd_cudnn/4x2048", make_attn_fwd, bench_attn_fwd_cudnn, LLAMA(4)},
    {"attn_fwd_cudnn/mixed", make_attn_fwd, bench_attn_fwd_cudnn, LLAMA(0)},
    {"attn_fwd_cudnn/s_1x8192", make_attn_fwd, bench_attn_fwd_cudnn, SMOL(1)},
    {"attn_fwd_mma/1x8192", make_attn_fwd, bench_attn_fwd_mma, LLAMA(1)},
    {"attn_fwd_mma/mixed", make_attn_fwd, bench_attn_fwd_mma, LLAMA(0)},
    {"attn_fwd_mma/s_1x8192", make_attn_fwd, bench_attn_fwd_mma, SMOL(1)},
    {"attn_bwd/1x8192", make_attn_bwd, run_attn_bwd, LLAMA(1)},
    {"attn_bwd/4x2048", make_attn_bwd, run_attn_bwd, LLAMA(4)},
    {"attn_bwd/mixed", make_attn_bwd, run_attn_bwd, LLAMA(0)},
    {"attn_bwd/s_1x8192", make_attn_bwd, run_attn_bwd, SMOL(1)},
    {"attn_bwd_cudnn/1x8192", make_attn_bwd, bench_attn_bwd_cudnn, LLAMA(1)},
    {"attn_bwd_cudnn/4x2048", make_attn_bwd, bench_attn_bwd_cudnn, LLAMA(4)},
    {"attn_bwd_cudnn/mixed", make_attn_bwd, bench_attn_bwd_cudnn, LLAMA(0)},
    {"attn_bwd_cudnn/s_1x8192", make_attn_bwd, bench_attn_bwd_cudnn, SMOL(1)},
    {"attn_bwd_mma/1x8192", make_attn_bwd, bench_attn_bwd_mma, LLAMA(1)},
    {"attn_bwd_mma/mixed", make_attn_bwd, bench_attn_bwd_mma, LLAMA(0)},
    {"attn_bwd_mma/s_1x8192", make_attn_bwd, bench_attn_bwd_mma, SMOL(1)},
    {"norm_fwd", make_norm, run_norm, .in = 4096},
    {"norm_bwd", make_norm_bwd, run_norm_bwd, .in = 4096},
    {"norm_fwd/s", make_norm, run_norm, .in = 576},
    {"norm_bwd/s", make_norm_bwd, run_norm_bwd, .in = 576},
    {"rope", make_rope, run_rope, .heads = 32, .head_dim = 128},
    {"glu_fwd", make_glu, run_glu, .out = 14336},
    {"glu_bwd", make_glu_bwd, run_glu_bwd, .out = 14336},
    {"ce_fwd", make_ce, run_ce, .out = 128256},
    {"ce_bwd", make_ce_bwd, run_ce_bwd, .out = 128256},
    {"embed_fwd", make_embed, run_embed, .out = 128256, .in = 4096},
    {"embed_bwd", make_embed_bwd, run_embed_bwd, .out = 128256, .in = 4096},
    {"adamw", make_adamw, run_adamw, .in = 16384},
    {"cast", make_cast, run_cast, .in = 16384},
    {"add", make_add, run_add, .in = 16384},
    {"cast_fp8", make_cast_fp8, run_cast_fp8, .in = 4096, .dtype = AXL_BF16},
    {"cast_fp8/wide", make_cast_fp8, run_cast_fp8, .in = 14336, .dtype = AXL_BF16},
    {"cast_fp8/weight", make_cast_fp8, run_cast_fp8, .in = 4096, .dtype = AXL_F32},
    {"amax", make_amax, run_amax, .in = 16384},
};
const int bench_n_rows = (int)(sizeof bench_rows / sizeof *bench_rows);
