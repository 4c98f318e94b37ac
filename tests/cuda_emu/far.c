// Elements beyond 2^31 of an array: where an index or an offset that is too narrow shows. Of a grid only the last blocks
// run; the arrays take no memory but where they are touched. ref computes the same from arrays of the far part alone.
#include "tests/cuda_emu/far.h"

#include "kernels/cuda/cuda_backend.h"
#include "tests/cuda_emu/emu_test.h"
#include "tests/kernels/compare.h"

#include <stdlib.h>

enum { MOST_ARRAYS = 16 };
static const int64_t FAR = (int64_t)1 << 31; // elements

typedef struct far {
    axl_device *ref, *cuda;
    void *arrays[MOST_ARRAYS]; // of cuda
    size_t bytes[MOST_ARRAYS];
    int n;
} far;

static void begin(far *f, int arch)
{
    *f = (far){.ref = kt_open_device("ref", 1)};
    emu_set_arch(arch);
    CHECK_OK(axl_cuda_device_create(0, &f->cuda));
}

static void end(far *f)
{
    for (int i = 0; i < f->n; i++)
        f->cuda->ops->free(f->cuda, f->arrays[i], f->bytes[i]);
    axl_cuda_device_destroy(f->cuda);
    axl_device_destroy(f->ref);
    emu_set_arch(90);
}

// An array of n elements, zeros but for n_near of them from element `at` on.
static void *lay(far *f, int64_t n, size_t size, int64_t at, const void *near, int64_t n_near)
{
    void *p = NULL;

    assert_true(f->n < MOST_ARRAYS && at + n_near <= n);
    CHECK_OK(f->cuda->ops->alloc(f->cuda, (size_t)n * size, "a far array", &p));
    CHECK_OK(f->cuda->ops->copy(f->cuda->compute, (char *)p + (size_t)at * size, near,
                                (size_t)n_near * size));
    f->arrays[f->n] = p;
    f->bytes[f->n++] = (size_t)n * size;
    return p;
}

// Whether the n_near elements from `at` on are those.
static void expect(far *f, const void *p, int64_t at, const float *want, int64_t n_near, double tol)
{
    float *got = malloc((size_t)n_near * sizeof *got);

    CHECK_OK(f->cuda->ops->copy(f->cuda->compute, got, (const float *)p + at,
                                (size_t)n_near * sizeof *got));
    CHECK_OK(f->cuda->ops->synchronize(f->cuda->compute));
    CHECK_CLOSE(got, want, n_near, tol, tol);
    free(got);
}

static void expect_bf16(far *f, const void *p, int64_t at, const axl_bf16 *want, int64_t n_near)
{
    enum { MOST = 8192 };
    static axl_bf16 got[MOST];
    static float x[MOST], y[MOST];

    assert_true(n_near <= MOST);
    CHECK_OK(f->cuda->ops->copy(f->cuda->compute, got, (const axl_bf16 *)p + at,
                                (size_t)n_near * sizeof *got));
    CHECK_OK(f->cuda->ops->synchronize(f->cuda->compute));
    for (int64_t i = 0; i < n_near; i++) {
        x[i] = axl_bf16_to_f32(got[i]);
        y[i] = axl_bf16_to_f32(want[i]);
    }
    CHECK_CLOSE(x, y, n_near, 0.02, 0.02);
}

static void draw(float *x, int64_t n, int seed)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)((i * 7919 + seed * 104729) % 2003 - 1001) / 1001.0f;
}

static void draw_bf16(axl_bf16 *x, int64_t n, int seed)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = axl_f32_to_bf16((float)((i * 7919 + seed * 104729) % 2003 - 1001) / 1001.0f);
}

// Runs the entry on both: `r` and `c` are the arguments with near and far arrays.
#define RUN_BOTH(f, entry, r, c)                                                                   \
    do {                                                                                           \
        CHECK_OK((f)->ref->kernels->entry((f)->ref->compute, r));                                  \
        CHECK_OK((f)->cuda->kernels->entry((f)->cuda->compute, c));                                \
        CHECK_OK((f)->cuda->ops->synchronize((f)->cuda->compute));                                 \
    } while (0)

void far_elements_are_reached(void **state)
{
    enum { M = 40 };
    const int64_t n = FAR + M, at = n - M;
    float x[M], y[M], z[M], u[M];
    axl_bf16 small[M];
    double sums[2] = {0.0, 0.0};
    far f;

    (void)state;
    emu_run_last_blocks(2);
    begin(&f, 90);
    draw(x, M, 1);
    draw(y, M, 2);
    void *fx = lay(&f, n, 4, at, x, M), *fy = lay(&f, n, 4, at, y, M);
    void *fz = lay(&f, n, 4, at, y, M), *fu = lay(&f, n, 4, at, y, M);

    axl_add_args add = {x, y, 2.0f, -1.0f, M, AXL_F32, z},
                 far_add = {fx, fy, 2.0f, -1.0f, n, AXL_F32, fz};
    RUN_BOTH(&f, add, &add, &far_add);
    expect(&f, fz, at, z, M, 1e-6);

    axl_glu_args glu = {AXL_ACT_SILU, M, x, y, AXL_F32, z},
                 far_glu = {AXL_ACT_SILU, n, fx, fy, AXL_F32, fz};
    RUN_BOTH(&f, glu_fwd, &glu, &far_glu);
    expect(&f, fz, at, z, M, 1e-6);

    axl_cast_args cast = {x, AXL_F32, small, AXL_BF16, M},
                  far_cast = {fx, AXL_F32, fu, AXL_BF16, n};
    RUN_BOTH(&f, cast, &cast, &far_cast);
    expect_bf16(&f, fu, at, small, M);

    axl_sumsq_args sumsq = {x, 1, M, AXL_F32, sums}, far_sumsq = {fx, 1, n, AXL_F32, fu};
    CHECK_OK(f.cuda->ops->zero(f.cuda->compute, fu, 8));
    RUN_BOTH(&f, sumsq, &sumsq, &far_sumsq);
    CHECK_OK(f.cuda->ops->copy(f.cuda->compute, &sums[1], fu, 8));
    CHECK_OK(f.cuda->ops->synchronize(f.cuda->compute));
    CHECK_CLOSE(&sums[1], &sums[0], 1, 0.0, 1e-12);

    memcpy(u, y, sizeof u); // moments: both y, whose squares are not negative
    for (int i = 0; i < M; i++)
        u[i] = u[i] * u[i];
    CHECK_OK(f.cuda->ops->copy(f.cuda->compute, (float *)fu + at, u, sizeof u));
    axl_adamw_args adamw = {z, y, u, x, M, 3, 0.1, 0.9, 0.99, 1e-8, 0.01, 0.5}, far_adamw = adamw;
    far_adamw.p = fz, far_adamw.m = fy, far_adamw.v = fu, far_adamw.g = fx, far_adamw.n = n;
    RUN_BOTH(&f, adamw, &adamw, &far_adamw);
    expect(&f, fz, at, z, M, 1e-5);
    end(&f);
    emu_run_last_blocks(0);
}

// Rows of C columns, of which the last M are near.
enum { C = 1024, M = 3 };

static void norms_and_rotations(far *f, const float *x)
{
    const int64_t rows = FAR / C + M, at = rows - M;
    static float w[C], out[M * C], stat[M], turn[M * 32];
    void *fx = lay(f, rows * C, 4, at * C, x, M * C), *fout = lay(f, rows * C, 4, 0, x, 1);
    void *fstat = lay(f, rows, 4, 0, x, 1), *fw;

    draw(w, C, 3);
    draw(turn, M * 32, 4);
    fw = lay(f, C, 4, 0, w, C);
    axl_norm_args norm = {AXL_NORM_RMS, M, C, x, w, NULL, 1e-6f, AXL_F32, out, stat, NULL};
    axl_norm_args far_norm = {AXL_NORM_RMS, rows,    C,    fx,    fw,  NULL,
                              1e-6f,        AXL_F32, fout, fstat, NULL};
    RUN_BOTH(f, norm_fwd, &norm, &far_norm);
    expect(f, fout, at * C, out, M * C, 1e-5);
    expect(f, fstat, at, stat, M, 1e-5);

    void *fturn = lay(f, rows * 32, 4, at * 32, turn, M * 32);
    axl_rope_args rope = {x, turn, turn, M, C / 64, 64, 32, AXL_ROPE_HALF, false, AXL_F32, out};
    axl_rope_args far_rope = {fx, fturn,         fturn, rows,    C / 64, 64,
                              32, AXL_ROPE_HALF, false, AXL_F32, fout};
    RUN_BOTH(f, rope, &rope, &far_rope);
    expect(f, fout, at * C, out, M * C, 1e-5);

    memset(out, 0, sizeof out);
    void *fsum = lay(f, C, 4, 0, out, C);
    axl_bias_bwd_args bias = {x, M, C, AXL_F32, out, false},
                      far_bias = {fx, rows, C, AXL_F32, fsum, false};
    CHECK_OK(f->cuda->ops->zero(f->cuda->compute, f->cuda->workspace, f->cuda->workspace_bytes));
    RUN_BOTH(f, bias_bwd, &bias, &far_bias);
    expect(f, fsum, C - 64, out + C - 64, 64, 1e-5); // of the last blocks' columns
}

static void picked_rows(far *f, const float *x)
{
    const int64_t rows = FAR / C + M, at = rows - M;
    const int32_t near_ids[M] = {2, 0, 1}, ids[M] = {(int32_t)at + 2, (int32_t)at, (int32_t)at + 1};
    static float out[M * C];
    void *fx = lay(f, rows * C, 4, at * C, x, M * C), *fids = lay(f, M, 4, 0, ids, M);
    void *fout = lay(f, M * C, 4, 0, x, M * C);

    axl_embed_args embed = {near_ids, M, C, 0, M, x, 2.0f, AXL_F32, out};
    axl_embed_args far_embed = {fids, M, C, 0, rows, fx, 2.0f, AXL_F32, fout};
    RUN_BOTH(f, embed_fwd, &embed, &far_embed);
    expect(f, fout, 0, out, M * C, 1e-6);

    axl_rows_args pick = {x, near_ids, M, C, C, C, AXL_F32, out};
    axl_rows_args far_pick = {fx, fids, M, C, C, C, AXL_F32, fout};
    RUN_BOTH(f, rows_gather, &pick, &far_pick);
    expect(f, fout, 0, out, M * C, 0.0);

    axl_combine_args combine = {x, near_ids, NULL, 1, C, M, AXL_F32, out, false};
    axl_combine_args far_combine = {fx, fids, NULL, 1, C, M, AXL_F32, fout, false};
    RUN_BOTH(f, combine, &combine, &far_combine);
    expect(f, fout, 0, out, C, 1e-6);

    void *fsource = lay(f, M * C, 4, 0, x, M * C);
    memcpy(out, x, sizeof out); // both add to x
    axl_rows_args add = {x, near_ids, M, C, C, C, AXL_F32, out};
    axl_rows_args far_add = {fsource, fids, M, C, C, C, AXL_F32, fx};
    RUN_BOTH(f, rows_add, &add, &far_add);
    expect(f, fx, at * C, out, M * C, 1e-6);

    axl_embed_bwd_args back = {near_ids, M, C, 0, M, x, 2.0f, AXL_F32, out};
    axl_embed_bwd_args far_back = {fids, M, C, 0, rows, fsource, 2.0f, AXL_F32, fx};
    RUN_BOTH(f, embed_bwd, &back, &far_back);
    expect(f, fx, at * C, out, M * C, 1e-6);
}

void far_rows_are_reached(void **state)
{
    static float x[M * C];
    far f;

    (void)state;
    draw(x, M * C, 5);
    begin(&f, 90);
    emu_run_last_blocks(M);
    norms_and_rotations(&f, x);
    emu_run_last_blocks(0);
    picked_rows(&f, x);
    end(&f);
}

// Two rows of logits, three of matrices, so far from each other.
static void far_products(far *f, int64_t ld)
{
    enum { MM = 3, N = 16, K = 32 };
    axl_bf16 a[MM * K], b[N * K];
    float af[MM * K], bf[N * K], c[MM * N] = {0};

    draw_bf16(a, MM * K, 6);
    draw_bf16(b, N * K, 7);
    for (int i = 0; i < N * K; i++) {
        bf[i] = axl_bf16_to_f32(b[i]);
        af[i % (MM * K)] = axl_bf16_to_f32(a[i % (MM * K)]);
    }
    void *fa = lay(f, (MM - 1) * ld + K, 2, 0, a, K), *fb = lay(f, (N - 1) * ld + K, 2, 0, b, K);
    void *faf = lay(f, (MM - 1) * ld + K, 4, 0, af, K),
         *fbf = lay(f, (N - 1) * ld + K, 4, 0, bf, K);
    void *fc = lay(f, (MM - 1) * ld + N, 4, 0, c, N);
    for (int64_t i = 0; i < N; i++) {
        axl_stream *s = f->cuda->compute;
        CHECK_OK(f->cuda->ops->copy(s, (axl_bf16 *)fb + i * ld, b + i * K, 2 * K));
        CHECK_OK(f->cuda->ops->copy(s, (float *)fbf + i * ld, bf + i * K, 4 * K));
        if (i >= MM)
            continue;
        CHECK_OK(f->cuda->ops->copy(s, (axl_bf16 *)fa + i * ld, a + i * K, 2 * K));
        CHECK_OK(f->cuda->ops->copy(s, (float *)faf + i * ld, af + i * K, 4 * K));
    }
    for (int is_f32 = 0; is_f32 < 2; is_f32++) {
        axl_gemm_args g = {MM,
                           N,
                           K,
                           is_f32 ? (void *)af : a,
                           is_f32 ? (void *)bf : b,
                           c,
                           K,
                           K,
                           N,
                           false,
                           true,
                           false,
                           1.0f,
                           is_f32 ? AXL_F32 : AXL_BF16,
                           AXL_F32,
                           NULL};
        axl_gemm_args far_g = g;
        far_g.a = is_f32 ? faf : fa, far_g.b = is_f32 ? fbf : fb, far_g.c = fc;
        far_g.lda = far_g.ldb = far_g.ldc = ld;
        RUN_BOTH(f, gemm, &g, &far_g);
        for (int64_t i = 0; i < MM; i++)
            expect(f, fc, i * ld, c + i * N, N, 1e-5);
    }
}

static void far_entropies(far *f, int64_t ld)
{
    enum { V = 100 };
    const int32_t labels[2] = {7, 93};
    const float grad[2] = {1.0f, -0.5f};
    float z[2 * V], d[2 * V], lse[2], logp[2];

    draw(z, 2 * V, 8);
    void *fz = lay(f, ld + V, 4, ld, z + V, V), *fd = lay(f, ld + V, 4, 0, z, V);
    void *flse = lay(f, 2, 4, 0, z, 2), *flogp = lay(f, 2, 4, 0, z, 2);
    void *flabels = lay(f, 2, 4, 0, labels, 2), *fgrad = lay(f, 2, 4, 0, grad, 2);
    CHECK_OK(f->cuda->ops->copy(f->cuda->compute, fz, z, sizeof(float) * V));
    axl_ce_args ce = {z, labels, 2, V, V, 0, AXL_F32, lse, logp, NULL};
    axl_ce_args far_ce = {fz, flabels, 2, V, ld, 0, AXL_F32, flse, flogp, NULL};
    RUN_BOTH(f, ce_fwd, &ce, &far_ce);
    expect(f, flogp, 0, logp, 2, 1e-5);
    axl_ce_bwd_args back = {z, labels, lse, grad, 2, V, V, V, 0, 0, AXL_F32, AXL_F32, d};
    axl_ce_bwd_args far_back = {fz, flabels, flse, fgrad, 2, V, ld, ld, 0, 0, AXL_F32, AXL_F32, fd};
    RUN_BOTH(f, ce_bwd, &back, &far_back);
    expect(f, fd, 0, d, V, 1e-5);
    expect(f, fd, ld, d + V, V, 1e-5);
}

void far_strides_are_kept(void **state)
{
    static const int chips[] = {89, 90};
    far f;

    (void)state;
    for (int i = 0; i < 2; i++) {
        begin(&f, chips[i]);
        far_products(&f, FAR + 8);
        end(&f);
    }
    begin(&f, 90);
    far_entropies(&f, FAR + 8);
    end(&f);
}

void far_groups_are_reached(void **state)
{
    enum { W = 256, ROWS = 3 };
    const int64_t row = FAR / W + 8, matrix = FAR / (W * W) + 1;
    const int64_t near_begin[] = {0, ROWS}, begin_of[] = {row, row + ROWS};
    const int32_t near_matrix[] = {0}, matrix_of[] = {(int32_t)matrix};
    static axl_bf16 x[ROWS * W], b[W * W], y[ROWS * W];
    static float dw[W * W];
    static const int chips[] = {89, 90};
    far f;

    (void)state;
    draw_bf16(x, ROWS * W, 9);
    draw_bf16(b, W * W, 10);
    for (int i = 0; i < 2; i++) {
        begin(&f, chips[i]);
        memset(dw, 0, sizeof dw);
        void *fx = lay(&f, (row + ROWS) * W, 2, row * W, x, ROWS * W);
        void *fb = lay(&f, (matrix + 1) * W * W, 2, matrix * W * W, b, W * W);
        void *fy = lay(&f, (row + ROWS) * W, 2, 0, x, 1);
        void *fdw = lay(&f, (matrix + 1) * W * W, 4, 0, dw, 1);
        axl_gemm_grouped_args g = {AXL_GROUPED_Y, near_begin, near_matrix, 1, 1, W, W, x, b, y,
                                   false,         AXL_BF16};
        axl_gemm_grouped_args far_g = {
            AXL_GROUPED_Y, begin_of, matrix_of, 1, (int32_t)matrix + 1, W, W, fx, fb, fy,
            false,         AXL_BF16};
        RUN_BOTH(&f, gemm_grouped, &g, &far_g);
        expect_bf16(&f, fy, row * W, y, ROWS * W);
        g.product = far_g.product = AXL_GROUPED_DW;
        g.accumulate = far_g.accumulate = true;
        g.b = x, g.c = dw, far_g.b = fx, far_g.c = fdw;
        RUN_BOTH(&f, gemm_grouped, &g, &far_g);
        expect(&f, fdw, matrix * W * W, dw, W * W, 1e-5);
        end(&f);
    }
}

// Tokens of a packed batch that begins far on.
void far_tokens_attend(void **state)
{
    enum { T = 40, H = 2, D = 64 };
    const int64_t row = FAR / D + 8; // of keys, whose rows are D long
    const int32_t near_cu[] = {0, T}, cu[] = {(int32_t)row, (int32_t)row + T};
    static axl_bf16 q[T * H * D], k[T * D], v[T * D], dout[T * H * D], out[T * H * D],
        dq[T * H * D], dk[T * D], dv[T * D];
    static float lse[H * T], delta[H * T], none[1];
    far f;

    (void)state;
    draw_bf16(q, T * H * D, 11);
    draw_bf16(k, T * D, 12);
    draw_bf16(v, T * D, 13);
    draw_bf16(dout, T * H * D, 14);
    begin(&f, 90);
    void *fq = lay(&f, (row + T) * H * D, 2, row * H * D, q, T * H * D),
         *fk = lay(&f, (row + T) * D, 2, row * D, k, T * D);
    void *fv = lay(&f, (row + T) * D, 2, row * D, v, T * D), *fcu = lay(&f, 2, 4, 0, cu, 2);
    void *fdout = lay(&f, (row + T) * H * D, 2, row * H * D, dout, T * H * D),
         *fout = lay(&f, (row + T) * H * D, 2, 0, q, 1);
    void *flse = lay(&f, (row + T) * H, 4, 0, none, 1),
         *fdelta = lay(&f, (row + T) * H, 4, 0, none, 1);
    void *fdq = lay(&f, (row + T) * H * D, 2, 0, q, 1), *fdk = lay(&f, (row + T) * D, 2, 0, q, 1),
         *fdv = lay(&f, (row + T) * D, 2, 0, q, 1);
    axl_attn_args a = {.q = q,
                       .k = k,
                       .v = v,
                       .ldq = H * D,
                       .ldk = D,
                       .ldv = D,
                       .ldo = H * D,
                       .cu_seqlens_q = near_cu,
                       .cu_seqlens_k = near_cu,
                       .n_seqs = 1,
                       .max_seqlen_q = T,
                       .max_seqlen_k = T,
                       .n_heads = H,
                       .n_kv_heads = 1,
                       .head_dim = D,
                       .v_head_dim = D,
                       .scale = 0.125f,
                       .mask = AXL_MASK_CAUSAL,
                       .dtype = AXL_BF16,
                       .out = out,
                       .lse = lse};
    axl_attn_args far_a = a;
    far_a.q = fq, far_a.k = fk, far_a.v = fv, far_a.cu_seqlens_q = far_a.cu_seqlens_k = fcu,
    far_a.out = fout, far_a.lse = flse;
    RUN_BOTH(&f, attn_fwd, &a, &far_a);
    expect_bf16(&f, fout, row * H * D, out, T * H * D);
    for (int h = 0; h < H; h++)
        expect(&f, flse, h * (row + T) + row, lse + h * T, T, 1e-3);

    axl_attn_delta_args rows = {out, dout, delta, T, H * D, H, D, AXL_BF16};
    CHECK_OK(f.ref->kernels->attn_delta(f.ref->compute, &rows));
    for (int h = 0; h < H; h++)
        CHECK_OK(f.cuda->ops->copy(f.cuda->compute, (float *)fdelta + h * (row + T) + row,
                                   delta + h * T, sizeof(float) * T));
    axl_attn_bwd_args b = {a, dout, delta, dq, dk, dv, AXL_BF16, false, false};
    axl_attn_bwd_args far_b = {far_a, fdout, fdelta, fdq, fdk, fdv, AXL_BF16, false, false};
    RUN_BOTH(&f, attn_bwd, &b, &far_b);
    expect_bf16(&f, fdq, row * H * D, dq, T * H * D);
    expect_bf16(&f, fdk, row * D, dk, T * D);
    expect_bf16(&f, fdv, row * D, dv, T * D);
    end(&f);
}

static void expect_bytes(far *f, const void *p, int64_t at, const uint8_t *want, int64_t n_near)
{
    enum { MOST = 256 };
    uint8_t got[MOST];

    assert_true(n_near <= MOST);
    CHECK_OK(f->cuda->ops->copy(f->cuda->compute, got, (const uint8_t *)p + at, (size_t)n_near));
    CHECK_OK(f->cuda->ops->synchronize(f->cuda->compute));
    assert_memory_equal(got, want, (size_t)n_near);
}

// Numbers of 8 bits: rows with scales, a tensor with one, and a product of any shape.
void far_bytes_are_reached(void **state)
{
    enum { COLS = 64, N = 17, K = 3 };
    const int64_t rows = FAR / COLS + M, at = rows - M, m = FAR / N + M, first = m - M;
    float x[M * COLS], scale[M], c[M * N], most = 1.0f;
    uint8_t q[M * COLS], w[N * K];
    far f;

    (void)state;
    emu_run_last_blocks(2);
    begin(&f, 90);
    draw(x, M * COLS, 1);
    void *fx = lay(&f, rows * COLS, 4, at * COLS, x, M * COLS), *fmost = lay(&f, 1, 4, 0, &most, 1);
    void *fq = lay(&f, rows * COLS, 1, 0, x, 1), *fscale = lay(&f, rows, 4, 0, x, 1);
    axl_cast_fp8_args cast = {x, M, COLS, AXL_F32, NULL, q, scale}, far_cast = cast;
    far_cast.src = fx, far_cast.rows = rows, far_cast.dst = fq, far_cast.scale = fscale;
    RUN_BOTH(&f, cast_fp8, &cast, &far_cast);
    expect_bytes(&f, fq, at * COLS, q, M * COLS);
    expect(&f, fscale, at, scale, M, 0.0);
    cast.amax = &most, far_cast.amax = fmost;
    RUN_BOTH(&f, cast_fp8, &cast, &far_cast);
    expect_bytes(&f, fq, at * COLS, q, M * COLS);

    memcpy(w, q + 5, sizeof w);
    for (int i = 0; i < M; i++)
        scale[i] = 0.25f * (float)(i + 1);
    void *fa = lay(&f, m * K, 1, first * K, q, M * K), *fb = lay(&f, N * K, 1, 0, w, N * K);
    void *fs = lay(&f, m, 4, first, scale, M), *fc = lay(&f, m * N, 4, 0, x, 1);
    axl_gemm_fp8_args g = {M, N, K, q, w, scale, &most, true, false, AXL_F32, c, NULL}, far_g = g;
    far_g.m = m, far_g.a = fa, far_g.b = fb, far_g.scale_a = fs, far_g.scale_b = fmost;
    far_g.c = fc;
    RUN_BOTH(&f, gemm_fp8, &g, &far_g);
    expect(&f, fc, first * N, c, M * N, 1e-6);
    end(&f);
    emu_run_last_blocks(0);
}
