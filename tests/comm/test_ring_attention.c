// RUN: np=1,2,3,4,8
// Ring attention against the reference kernel on the whole row: every schedule, documents of all kinds, grouped
// heads, windows, softcap, sinks, both dtypes; bytes against the formula; repeats bit for bit.
#include "tests/check.h"
#include "tests/kernels/tolerance.h"

#include "comm/ring_attention.h"
#include "src/base/philox.h"

#include <stdlib.h>

enum { MAX_TOKENS = 100, MAX_SEQS = 100 };

static axl_comm *world;
static axl_device *device, *ref;

// ---- documents

typedef struct documents {
    const char *name;
    int32_t cu[MAX_SEQS + 1], n_seqs;
} documents;

enum { N_DOCUMENTS = 8 };

static void add(documents *d, int32_t n)
{
    d->cu[d->n_seqs + 1] = d->cu[d->n_seqs] + n;
    d->n_seqs++;
}

static void add_random(documents *d, int32_t all, int32_t longest, uint64_t seed)
{
    for (uint64_t i = 0; d->cu[d->n_seqs] < all; i++) {
        const double x = axl_random_uniform(seed, AXL_RANDOM_TEST, i);
        const int32_t n = 1 + (int32_t)(x * x * longest), left = all - d->cu[d->n_seqs];
        add(d, n < left ? n : left);
    }
}

static documents documents_of(int kind)
{
    documents d = {.name = "none"};

    switch (kind) {
    case 0:
        d.name = "one huge";
        add(&d, 97);
        break;
    case 1:
        d.name = "one-token";
        add_random(&d, 50, 1, 1);
        break;
    case 2:
        d.name = "shorter than the axis";
        add_random(&d, 70, 6, 2);
        break;
    case 3:
        d.name = "mixed";
        add_random(&d, 99, 50, 3);
        break;
    case 4:
        d.name = "fewer tokens than ranks";
        add(&d, 1);
        add(&d, 2);
        break;
    case 5:
        d.name = "empty ones between";
        add(&d, 0);
        add(&d, 30);
        add(&d, 0);
        add(&d, 0);
        add(&d, 51);
        add(&d, 0);
        break;
    case 6:
        d.name = "one huge among short ones";
        add_random(&d, 15, 4, 4);
        add(&d, 70);
        add_random(&d, 100, 4, 5);
        break;
    default:
        break;
    }
    return d;
}

// ---- layers

typedef struct layer {
    const char *name;
    int32_t n_heads, n_kv_heads, head_dim, v_head_dim, window;
    float softcap;
    axl_dtype dtype;
    bool grad_f32, accumulate, sinks;
    int32_t stride; // heads_k_stride
    int pad;        // between rows of q, k, v, out
} layer;

static const layer layers[] = {
    {"plain", 2, 2, 16, 16, 0, 0.0F, AXL_F32, true, false, false, 1, 0},
    {"grouped", 6, 3, 24, 24, 0, 0.0F, AXL_F32, true, true, false, 2, 8},
    {"narrow values, window", 4, 2, 20, 12, 7, 0.0F, AXL_F32, true, false, false, 1, 0},
    {"wide window, softcap", 3, 1, 32, 32, 40, 2.0F, AXL_F32, true, true, false, 4, 0},
    {"sinks", 4, 2, 16, 16, 0, 0.0F, AXL_F32, true, false, true, 1, 0},
    {"window one", 2, 1, 8, 8, 1, 0.0F, AXL_F32, true, false, false, 1, 0},
    {"bf16", 4, 2, 32, 32, 0, 0.0F, AXL_BF16, false, false, false, 1, 0},
    {"bf16, sinks, adding", 4, 4, 16, 16, 30, 0.0F, AXL_BF16, false, true, true, 3, 0},
    {"bf16, f32 gradients", 2, 1, 64, 64, 0, 0.0F, AXL_BF16, true, true, false, 1, 0},
};
enum { N_LAYERS = sizeof layers / sizeof *layers };
static const int32_t windows[] = {40, 0, 1, 7, 30};

// The arrays of some rows of a layer; grads begin as numbers to be added to.
typedef struct arrays {
    int64_t n; // rows
    void *q, *k, *v, *dout, *out, *dq, *dk, *dv;
    float *lse, *delta, *dsinks;
} arrays;

// Of the whole row, and of one rank.
typedef struct setup {
    const layer *l;
    const documents *docs;
    int64_t ldq, ldk, ldv, ldo;
    void *sinks;
} setup;

static void *random_rows(const char *name, int64_t n, int64_t ld, axl_dtype dtype, float scale)
{
    const size_t count = (size_t)(n * ld) + 1; // zero rows still give an address
    char *p = calloc(count, axl_dtype_size(dtype));

    for (int64_t i = 0; i < n * ld; i++) {
        const float x =
            scale * (float)axl_random_normal((uint64_t)name[0], AXL_RANDOM_TEST, (uint64_t)i);
        if (dtype == AXL_BF16)
            ((axl_bf16 *)(void *)p)[i] = axl_f32_to_bf16(x);
        else
            ((float *)(void *)p)[i] = x;
    }
    return p;
}

static arrays arrays_create(const setup *s, int64_t n)
{
    const axl_dtype dtype = s->l->dtype, grad = s->l->grad_f32 ? AXL_F32 : dtype;
    arrays x = {.n = n};

    x.q = random_rows("q", n, s->ldq, dtype, 1.5F);
    x.k = random_rows("k", n, s->ldk, dtype, 1.5F);
    x.v = random_rows("v", n, s->ldv, dtype, 1.0F);
    x.dout = random_rows("d", n, s->ldo, dtype, 1.0F);
    x.out = random_rows("o", n, s->ldo, dtype, 1.0F);
    x.dq = random_rows("x", n, s->ldq, grad, 1.0F);
    x.dk = random_rows("y", n, s->ldk, grad, 1.0F);
    x.dv = random_rows("z", n, s->ldv, grad, 1.0F);
    x.lse = random_rows("l", s->l->n_heads, n, AXL_F32, 1.0F);
    x.delta = random_rows("m", s->l->n_heads, n, AXL_F32, 1.0F);
    x.dsinks = random_rows("n", 1, s->l->n_heads, AXL_F32, 0.0F);
    return x;
}

static void arrays_destroy(arrays *x)
{
    void *all[] = {x->q,  x->k,  x->v,   x->dout,  x->out,   x->dq,
                   x->dk, x->dv, x->lse, x->delta, x->dsinks};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

static void pick(void *dst, const void *src, const int32_t *rows, int64_t n, size_t row_bytes)
{
    for (int64_t i = 0; i < n; i++)
        memcpy((char *)dst + (size_t)i * row_bytes, (const char *)src + (size_t)rows[i] * row_bytes,
               row_bytes);
}

// A rank's rows of the whole.
static arrays arrays_of_rank(const setup *s, const arrays *whole, const axl_cp_layout *l, int rank)
{
    const size_t e = axl_dtype_size(s->l->dtype), g = s->l->grad_f32 ? 4 : e;
    const int32_t *rows = axl_cp_rows(l, rank);
    const int64_t n = axl_cp_n_rows(l, rank);
    arrays x = arrays_create(s, n);

    pick(x.q, whole->q, rows, n, (size_t)s->ldq * e);
    pick(x.k, whole->k, rows, n, (size_t)s->ldk * e);
    pick(x.v, whole->v, rows, n, (size_t)s->ldv * e);
    pick(x.dout, whole->dout, rows, n, (size_t)s->ldo * e);
    pick(x.dq, whole->dq, rows, n, (size_t)s->ldq * g);
    pick(x.dk, whole->dk, rows, n, (size_t)s->ldk * g);
    pick(x.dv, whole->dv, rows, n, (size_t)s->ldv * g);
    return x;
}

static axl_attn_bwd_args arguments(const setup *s, const arrays *x)
{
    const layer *l = s->l;

    return (axl_attn_bwd_args){.fwd = {.q = x->q,
                                       .k = x->k,
                                       .v = x->v,
                                       .ldq = s->ldq,
                                       .ldk = s->ldk,
                                       .ldv = s->ldv,
                                       .ldo = s->ldo,
                                       .cu_seqlens_q = s->docs->cu,
                                       .cu_seqlens_k = s->docs->cu,
                                       .n_seqs = s->docs->n_seqs,
                                       .n_heads = l->n_heads,
                                       .n_kv_heads = l->n_kv_heads,
                                       .head_dim = l->head_dim,
                                       .v_head_dim = l->v_head_dim,
                                       .scale = 1.0F / sqrtf((float)l->head_dim),
                                       .softcap = l->softcap,
                                       .window = l->window,
                                       .mask = AXL_MASK_CAUSAL,
                                       .dtype = l->dtype,
                                       .out = x->out,
                                       .lse = x->lse},
                               .dout = x->dout,
                               .delta = x->delta,
                               .dq = x->dq,
                               .dk = x->dk,
                               .dv = x->dv,
                               .dtype_grad = l->grad_f32 ? AXL_F32 : l->dtype,
                               .accumulate_dq = l->accumulate,
                               .accumulate_dkv = l->accumulate};
}

static void make_delta(const setup *s, const arrays *x, axl_device *d)
{
    CHECK_OK(
        d->kernels->attn_delta(d->compute, &(axl_attn_delta_args){.out = x->out,
                                                                  .dout = x->dout,
                                                                  .delta = x->delta,
                                                                  .n_tokens = x->n,
                                                                  .ldo = s->ldo,
                                                                  .n_heads = s->l->n_heads,
                                                                  .v_head_dim = s->l->v_head_dim,
                                                                  .dtype = s->l->dtype}));
}

// The whole row by the reference kernels.
static void run_whole(const setup *s, const arrays *x)
{
    const layer *l = s->l;
    const axl_attn_bwd_args b = arguments(s, x);

    CHECK_OK(ref->kernels->attn_fwd(ref->compute, &b.fwd));
    if (l->sinks)
        CHECK_OK(ref->kernels->attn_sinks_fwd(ref->compute,
                                              &(axl_attn_sinks_args){.sinks = s->sinks,
                                                                     .out = x->out,
                                                                     .lse = x->lse,
                                                                     .n_tokens = x->n,
                                                                     .ldo = s->ldo,
                                                                     .n_heads = l->n_heads,
                                                                     .v_head_dim = l->v_head_dim,
                                                                     .dtype = l->dtype,
                                                                     .dtype_out = l->dtype}));
    make_delta(s, x, ref);
    CHECK_OK(ref->kernels->attn_bwd(ref->compute, &b));
    if (l->sinks)
        CHECK_OK(ref->kernels->attn_sinks_bwd(ref->compute,
                                              &(axl_attn_sinks_bwd_args){.sinks = s->sinks,
                                                                         .lse = x->lse,
                                                                         .delta = x->delta,
                                                                         .n_tokens = x->n,
                                                                         .n_heads = l->n_heads,
                                                                         .dtype = l->dtype,
                                                                         .dsinks = x->dsinks}));
}

static int64_t bytes_sent(void)
{
    axl_comm_counter c[AXL_COMM_N_OPS];
    int64_t n = 0;

    axl_comm_counters_read(world, c);
    axl_comm_counters_reset(world);
    for (int i = 0; i < AXL_COMM_N_OPS; i++)
        n += c[i].sent_bytes;
    return n;
}

// This rank's rows by the ring; what it sends is what the formula says.
static void run_ring(const setup *s, const arrays *x, axl_ring *ring, const axl_cp_layout *l)
{
    const axl_ring_sinks sinks = {.sinks = s->sinks, .dsinks = x->dsinks};
    const int64_t width = (int64_t)s->l->n_kv_heads * (s->l->head_dim + s->l->v_head_dim);
    const axl_ring_traffic traffic =
        axl_ring_traffic_of(l, axl_comm_rank(world), s->l->window, width, s->l->dtype);
    axl_attn_bwd_args b = arguments(s, x);

    if (axl_comm_size(world) > 1) // not read
        b.fwd.cu_seqlens_q = b.fwd.cu_seqlens_k = NULL;
    (void)bytes_sent();
    CHECK_OK(axl_ring_set_layout(ring, l));
    CHECK_OK(axl_ring_forward(ring, &b.fwd, s->l->sinks ? &sinks : NULL));
    assert_int_equal(bytes_sent(), traffic.forward);
    make_delta(s, x, device);
    CHECK_OK(axl_ring_backward(ring, &b, s->l->sinks ? &sinks : NULL));
    assert_int_equal(bytes_sent(), traffic.backward);
}

// ---- comparison

static double value(const void *p, axl_dtype dtype, int64_t i)
{
    return dtype == AXL_BF16 ? (double)axl_bf16_to_f32(((const axl_bf16 *)p)[i])
                             : (double)((const float *)p)[i];
}

typedef struct comparison {
    const setup *s;
    const char *schedule;
    const int32_t *rows; // of the whole, for each row of the part; NULL: the same
    int roundings;       // to bf16
} comparison;

// Rows of part against their rows of whole; a row has cols elements, ld apart.
static void compare(const comparison *c, const char *what, const void *part, const void *whole,
                    int64_t n, int64_t cols, int64_t ld, axl_dtype dtype)
{
    const layer *l = c->s->l;
    const int64_t reduction = 8 * (MAX_TOKENS * (l->n_heads / l->n_kv_heads) + l->head_dim);
    const double tolerance = kt_tolerance(l->dtype, reduction, c->roundings);

    for (int64_t i = 0; i < n * cols; i++) {
        const int64_t row = i / cols, at = c->rows != NULL ? c->rows[row] : row;
        const double x = value(part, dtype, row * ld + i % cols),
                     y = value(whole, dtype, at * ld + i % cols);
        // kt_terms of the attention cases: a gradient's terms are of this size and may cancel
        if (!(fabs(x - y) <= tolerance * (fabs(y) + 1.5)))
            fail_msg("%s, %s, %s on %d ranks: %s[%lld, %lld] is %.9g, expected %.9g", c->schedule,
                     l->name, c->s->docs->name, axl_comm_size(world), what, (long long)at,
                     (long long)(i % cols), x, y);
    }
}

static void compare_all(const setup *s, const char *schedule, const axl_cp_layout *cp,
                        const arrays *part, const arrays *whole)
{
    const layer *l = s->l;
    const int32_t *rows = axl_cp_rows(cp, axl_comm_rank(world));
    const axl_dtype grad = l->grad_f32 ? AXL_F32 : l->dtype;
    const int64_t n = part->n;
    comparison c = {s, schedule, rows, 2};
    comparison stats = {s, schedule, NULL, 2};
    float *lse = calloc((size_t)n + 1, sizeof *lse);

    compare(&c, "out", part->out, whole->out, n, (int64_t)l->n_heads * l->v_head_dim, s->ldo,
            l->dtype);
    for (int64_t h = 0; h < l->n_heads; h++) {
        for (int64_t i = 0; i < n; i++)
            lse[i] = whole->lse[h * whole->n + rows[i]];
        compare(&stats, "lse", part->lse + h * n, lse, n, 1, 1, AXL_F32);
    }
    c.roundings = 4; // as in the cases of the kernel: out and delta cancel dp
    compare(&c, "dq", part->dq, whole->dq, n, (int64_t)l->n_heads * l->head_dim, s->ldq, grad);
    compare(&c, "dk", part->dk, whole->dk, n, (int64_t)l->n_kv_heads * l->head_dim, s->ldk, grad);
    compare(&c, "dv", part->dv, whole->dv, n, (int64_t)l->n_kv_heads * l->v_head_dim, s->ldv, grad);
    if (l->sinks) {
        CHECK_OK(
            axl_comm_all_reduce(world, part->dsinks, l->n_heads, AXL_F32, AXL_REDUCE_SUM, NULL));
        stats.roundings = 4;
        compare(&stats, "dsinks", part->dsinks, whole->dsinks, 1, l->n_heads, l->n_heads, AXL_F32);
    }
    free(lse);
}

static bool equal_bits(const setup *s, const arrays *a, const arrays *b)
{
    const size_t e = axl_dtype_size(s->l->dtype), g = s->l->grad_f32 ? 4 : e, n = (size_t)a->n;

    return memcmp(a->out, b->out, n * (size_t)s->ldo * e) == 0 &&
           memcmp(a->lse, b->lse, n * (size_t)s->l->n_heads * 4) == 0 &&
           memcmp(a->dq, b->dq, n * (size_t)s->ldq * g) == 0 &&
           memcmp(a->dk, b->dk, n * (size_t)s->ldk * g) == 0 &&
           memcmp(a->dv, b->dv, n * (size_t)s->ldv * g) == 0;
}

// ---- a case

static axl_ring_options options_of(axl_ring_schedule schedule, const layer *l)
{
    return (axl_ring_options){.schedule = schedule,
                              .n_ranks = axl_comm_size(world),
                              .heads_k_stride = l->stride,
                              .max_tokens = MAX_TOKENS,
                              .max_seqs = MAX_SEQS,
                              .n_heads = l->n_heads,
                              .n_kv_heads = l->n_kv_heads,
                              .head_dim = l->head_dim,
                              .v_head_dim = l->v_head_dim,
                              .dtype = l->dtype,
                              .windows = windows,
                              .n_windows = sizeof windows / sizeof *windows};
}

static void *layout_create(axl_cp_layout *l, axl_cp_kind kind, const documents *d)
{
    void *memory =
        aligned_alloc(64, axl_cp_layout_bytes(axl_comm_size(world), MAX_TOKENS, MAX_SEQS));

    axl_cp_layout_init(l, kind, axl_comm_size(world), MAX_TOKENS, MAX_SEQS, memory);
    CHECK_OK(axl_cp_layout_set(l, d->cu, d->n_seqs));
    return memory;
}

static void check_case(axl_ring *ring, axl_ring_schedule schedule, const setup *s,
                       const arrays *whole_in, const arrays *whole)
{
    axl_cp_layout cp;
    void *memory = layout_create(&cp, axl_ring_layout(schedule), s->docs);
    arrays x = arrays_of_rank(s, whole_in, &cp, axl_comm_rank(world));
    arrays y = arrays_of_rank(s, whole_in, &cp, axl_comm_rank(world));

    run_ring(s, &x, ring, &cp);
    run_ring(s, &y, ring, &cp);
    if (!equal_bits(s, &x, &y))
        fail_msg("%s, %s: a second run differs", axl_ring_schedule_name(schedule), s->l->name);
    compare_all(s, axl_ring_schedule_name(schedule), &cp, &x, whole);
    arrays_destroy(&y);
    arrays_destroy(&x);
    free(memory);
}

static void check_layer(const layer *l)
{
    axl_ring *rings[AXL_RING_N_SCHEDULES] = {NULL};

    for (int k = 0; k < AXL_RING_N_SCHEDULES; k++) {
        const axl_ring_options o = options_of((axl_ring_schedule)k, l);
        CHECK_OK(axl_ring_create(&o, world, device, &rings[k]));
    }
    for (int kind = 0; kind < N_DOCUMENTS; kind++) {
        const documents docs = documents_of(kind);
        const int64_t h = l->n_heads, hk = l->n_kv_heads, n = docs.cu[docs.n_seqs];
        setup s = {.l = l,
                   .docs = &docs,
                   .ldq = h * l->head_dim + l->pad,
                   .ldk = hk * l->head_dim + l->pad,
                   .ldv = hk * l->v_head_dim + l->pad,
                   .ldo = h * l->v_head_dim + l->pad};
        s.sinks = random_rows("s", 1, h, l->dtype, 1.0F);
        arrays in = arrays_create(&s, n), whole = arrays_create(&s, n);
        run_whole(&s, &whole);
        for (int k = 0; k < AXL_RING_N_SCHEDULES; k++)
            check_case(rings[k], (axl_ring_schedule)k, &s, &in, &whole);
        arrays_destroy(&whole);
        arrays_destroy(&in);
        free(s.sinks);
    }
    for (int k = 0; k < AXL_RING_N_SCHEDULES; k++)
        axl_ring_destroy(rings[k]);
}

static void every_schedule_equals_the_whole_row(void **state)
{
    (void)state;
    for (int i = 0; i < N_LAYERS; i++)
        check_layer(&layers[i]);
}

// A thread that moves messages while kernels run changes no bit: check_layer compares two runs.
static void a_progress_thread_changes_nothing(void **state)
{
    axl_comm_progress *p = NULL;

    (void)state;
    if (axl_comm_size(world) > 1 && !axl_comm_threads(world))
        skip();
    CHECK_OK(axl_comm_progress_start(world, device, &p));
    check_layer(&layers[1]);
    axl_comm_progress_stop(p);
}

// ---- what a ring takes

static void create_takes_the_planned_bytes(void **state)
{
    (void)state;
    for (int k = 0; k < AXL_RING_N_SCHEDULES; k++)
        for (int i = 0; i < N_LAYERS; i++) {
            const axl_ring_options o = options_of((axl_ring_schedule)k, &layers[i]);
            const size_t bytes = axl_ring_bytes(&o);
            size_t before, after, total;
            axl_ring *ring = NULL;
            device->ops->mem_info(device, &before, &total);
            CHECK_OK(axl_ring_create(&o, world, device, &ring));
            device->ops->mem_info(device, &after, &total);
            assert_int_equal(after - before, bytes);
            assert_true((bytes == 0) == (axl_comm_size(world) == 1));
            axl_ring_destroy(ring);
        }
}

static int n_forward, n_backward;
static const axl_kernels *counted;

static axl_status count_forward(axl_stream *s, const axl_attn_args *a)
{
    n_forward++;
    return counted->attn_fwd(s, a);
}

static axl_status count_backward(axl_stream *s, const axl_attn_bwd_args *a)
{
    n_backward++;
    return counted->attn_bwd(s, a);
}

// One rank: one call each way and no other kernel.
static void one_rank_makes_one_call(void **state)
{
    static const axl_kernels none = {.name = "counting"};
    axl_kernels only = none;
    const documents docs = documents_of(3);
    const layer *l = &layers[6];
    const setup s = {.l = l, .docs = &docs, .ldq = 128, .ldk = 64, .ldv = 64, .ldo = 128};

    (void)state;
    if (axl_comm_size(world) > 1)
        skip();
    counted = device->kernels;
    only.attn_fwd = count_forward;
    only.attn_bwd = count_backward;
    for (int k = 0; k < AXL_RING_N_SCHEDULES; k++) {
        const axl_ring_options o = options_of((axl_ring_schedule)k, l);
        axl_ring *ring = NULL;
        axl_cp_layout cp;
        void *memory = layout_create(&cp, axl_ring_layout(o.schedule), &docs);
        arrays x = arrays_create(&s, docs.cu[docs.n_seqs]);
        const axl_attn_bwd_args b = arguments(&s, &x);
        CHECK_OK(axl_ring_create(&o, world, device, &ring));
        CHECK_OK(axl_ring_set_layout(ring, &cp));
        n_forward = n_backward = 0;
        device->kernels = &only;
        CHECK_OK(axl_ring_forward(ring, &b.fwd, NULL));
        CHECK_OK(axl_ring_backward(ring, &b, NULL));
        device->kernels = counted;
        assert_int_equal(n_forward, 1);
        assert_int_equal(n_backward, 1);
        axl_ring_destroy(ring);
        arrays_destroy(&x);
        free(memory);
    }
}

static void what_it_was_not_made_for_is_refused(void **state)
{
    const documents docs = documents_of(3);
    const layer *l = &layers[0];
    axl_ring_options o = options_of(AXL_RING_VARLEN_ZIGZAG, l);
    const setup s = {.l = l, .docs = &docs, .ldq = 32, .ldk = 32, .ldv = 32, .ldo = 32};
    axl_ring *ring = NULL;
    axl_cp_layout cp, contiguous;
    void *memory = layout_create(&cp, AXL_CP_ZIGZAG, &docs);
    void *more = layout_create(&contiguous, AXL_CP_CONTIGUOUS, &docs);
    arrays x = arrays_create(&s, docs.cu[docs.n_seqs]);
    axl_attn_bwd_args b = arguments(&s, &x);

    (void)state;
    CHECK_OK(axl_ring_create(&o, world, device, &ring));
    CHECK_FAILS(axl_ring_set_layout(ring, &contiguous), AXL_E_BUG, "a layout of kind 1");
    CHECK_OK(axl_ring_set_layout(ring, &cp));
    b.fwd.window = 2;
    CHECK_FAILS(axl_ring_forward(ring, &b.fwd, NULL), AXL_E_BUG, "window 2");
    b.fwd.window = 0;
    b.fwd.n_heads = 4;
    CHECK_FAILS(axl_ring_backward(ring, &b, NULL), AXL_E_BUG, "more than it has room for");
    axl_ring_destroy(ring);
    o.n_ranks++;
    CHECK_FAILS(axl_ring_create(&o, world, device, &ring), AXL_E_BUG, "ranks on axis world");
    o.n_ranks--;
    o.dtype = AXL_F64;
    CHECK_FAILS(axl_ring_create(&o, world, device, &ring), AXL_E_UNSUPPORTED, "F64");
    arrays_destroy(&x);
    free(more);
    free(memory);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_schedule_equals_the_whole_row),
        cmocka_unit_test(a_progress_thread_changes_nothing),
        cmocka_unit_test(create_takes_the_planned_bytes),
        cmocka_unit_test(one_rank_makes_one_call),
        cmocka_unit_test(what_it_was_not_made_for_is_refused),
    };

    if (axl_comm_init(&argc, &argv, &world) != AXL_OK ||
        axl_device_create(&(axl_device_options){.backend = "cpu", .n_threads = 1}, &device) !=
            AXL_OK ||
        axl_device_create(&(axl_device_options){.backend = "ref", .n_threads = 1}, &ref) !=
            AXL_OK) {
        (void)fprintf(stderr, "%s\n", axl_error_message());
        return 1;
    }
    const int n_failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (n_failed > 0)
        axl_comm_abort(world, 1, "a test failed");
    axl_comm_finalize(world);
    axl_device_destroy(ref);
    axl_device_destroy(device);
    return 0;
}
