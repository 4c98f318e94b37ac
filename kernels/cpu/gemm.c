// Matrix product over the gemm library.
//
// f32 goes straight to the library. For bf16 there are two ways: the library's bf16 product, or widening of
// panels to f32 in the workspace and its f32 product, whichever is faster (gemm_library.c knows). Products
// of bf16 numbers are exact in f32, so both mean the same. A bf16 C is summed in f32 in the workspace, a
// block at a time, and rounded once.
#include "kernels/cpu/gemm_library.h"
#include "kernels/cpu/parallel.h"

// Floats of the workspace for a panel of A, one of B, and a block of C; together AXL_WORKSPACE_BYTES.
#define ROOM_A ((int64_t)5 << 19)
#define ROOM_B ((int64_t)5 << 19)
#define ROOM_C ((int64_t)3 << 20)
_Static_assert((ROOM_A + ROOM_B + ROOM_C) * 4 <= (int64_t)AXL_WORKSPACE_BYTES, "panels fit");

// The size of the parts when n is cut into equal ones of at most most.
static int64_t part_size(int64_t n, int64_t most)
{
    const int64_t limit = most < 16 ? 16 : most;

    if (n <= limit)
        return n > 0 ? n : 1;
    const int64_t n_parts = (n - 1) / limit + 1;
    const int64_t size = (n + n_parts - 1) / n_parts;
    return size < limit - 15 ? (size + 15) / 16 * 16 : size;
}

// dst[rows][cols], dense f32 = the bf16 rows at x, ld apart.
static void widen(axl_stream *s, const axl_bf16 *x, int64_t ld, int64_t rows, int64_t cols,
                  float *dst)
{
    AXL_PARALLEL_FOR(s, rows * cols)
    for (int64_t r = 0; r < rows; r++) {
        int64_t c = 0;
        for (; c + VF <= cols; c += VF)
            vf_store_f32(dst + r * cols + c, vf_load(x, r * ld + c, true));
        if (c < cols)
            vf_store_n(dst + r * cols, c, vf_load_n(x, r * ld + c, cols - c, true), cols - c,
                       false);
    }
}

// One block of C: rows i .. i + m, columns j .. j + n; p .. p + k of the sum.
typedef struct block {
    int64_t i, j, p, m, n, k;
    bool new_a, new_b; // whether the panel is still to be widened
} block;

static axl_status multiply(axl_stream *s, const axl_gemm_args *g, const block *q, bool bf16,
                           float *c, int64_t ldc, bool add)
{
    const axl_bf16 *a =
        (const axl_bf16 *)g->a + (g->trans_a ? q->p * g->lda + q->i : q->i * g->lda + q->p);
    const axl_bf16 *b =
        (const axl_bf16 *)g->b + (g->trans_b ? q->j * g->ldb + q->p : q->p * g->ldb + q->j);
    float *a32 = s->device->workspace, *b32 = a32 + ROOM_A;
    const int64_t rows_a = g->trans_a ? q->k : q->m, cols_a = g->trans_a ? q->m : q->k;
    const int64_t rows_b = g->trans_b ? q->n : q->k, cols_b = g->trans_b ? q->k : q->n;
    axl_gemm_args f = *g;

    f.m = q->m;
    f.n = q->n;
    f.k = q->k;
    f.c = c;
    f.ldc = ldc;
    f.accumulate = add;
    f.a = a;
    f.b = b;
    if (bf16)
        return axl_cpu_library_bf16(&f, s->device->n_threads);
    if (q->new_a)
        widen(s, a, g->lda, rows_a, cols_a, a32);
    if (q->new_b)
        widen(s, b, g->ldb, rows_b, cols_b, b32);
    f.a = a32;
    f.b = b32;
    f.lda = cols_a;
    f.ldb = cols_b;
    return axl_cpu_library_f32(&f, s->device->n_threads);
}

// Adds bias, and the old C, to n f32 columns of a row and stores them as C's dtype. from may be C itself.
AXL_INLINE void finish_row(const axl_gemm_args *g, const float *from, int64_t row, int64_t j,
                           int64_t n, bool bf16_in, bool bf16_out)
{
    for (int64_t c = 0; c < n; c += VF) {
        const int64_t left = n - c < VF ? n - c : VF, at = row * g->ldc + j + c;
        vf x = vf_load_n(from, c, left, false);
        if (bf16_out && g->accumulate)
            x += vf_load_n(g->c, at, left, true);
        if (g->bias != NULL)
            x += vf_load_n(g->bias, j + c, left, bf16_in);
        vf_store_n(g->c, at, x, left, bf16_out);
    }
}

static void finish_block(axl_stream *s, const axl_gemm_args *g, const block *q, const float *c,
                         int64_t ldc)
{
    AXL_PARALLEL_FOR(s, q->m * q->n)
    for (int64_t r = 0; r < q->m; r++) {
        if (g->dtype_c == AXL_BF16)
            finish_row(g, c + r * ldc, q->i + r, q->j, q->n, true, true);
        else if (g->dtype == AXL_BF16)
            finish_row(g, c + r * ldc, q->i + r, q->j, q->n, true, false);
        else
            finish_row(g, c + r * ldc, q->i + r, q->j, q->n, false, false);
    }
}

// The sizes of blocks of one product.
typedef struct cut {
    int64_t m, n, k;
    bool library; // by the library's own bf16 product
    bool round;   // C is bf16
} cut;

static cut cut_product(const axl_gemm_args *g)
{
    cut q = {.library = axl_cpu_library_prefers_bf16(g), .round = g->dtype_c == AXL_BF16};
    int64_t wide = INT64_MAX, tall = INT64_MAX;

    q.k = g->k;
    if (!q.library) {
        q.k = part_size(g->k, 4096);
        wide = ROOM_B / q.k;
        tall = ROOM_A / q.k;
    }
    if (q.round && wide > ROOM_C / 64)
        wide = ROOM_C / 64;
    q.n = part_size(g->n, wide);
    if (q.round && tall > ROOM_C / q.n)
        tall = ROOM_C / q.n;
    q.m = part_size(g->m, tall);
    return q;
}

// One block of C, over all of k.
static axl_status multiply_block(axl_stream *s, const axl_gemm_args *g, const cut *size, block q)
{
    axl_status status = AXL_OK;
    float *sum = (float *)s->device->workspace + ROOM_A + ROOM_B;
    float *c = size->round ? sum : (float *)g->c + q.i * g->ldc + q.j;
    const int64_t ldc = size->round ? q.n : g->ldc;
    const bool whole_k = size->k >= g->k;

    q.new_a = !whole_k || size->m < g->m || q.j == 0;
    q.new_b = !whole_k || q.i == 0;
    for (q.p = 0; q.p < g->k; q.p += size->k) {
        q.k = size->k < g->k - q.p ? size->k : g->k - q.p;
        AXL_TRY(
            multiply(s, g, &q, size->library, c, ldc, q.p > 0 || (g->accumulate && !size->round)));
    }
    if (size->round || g->bias != NULL)
        finish_block(s, g, &q, c, ldc);

out:
    return status;
}

static axl_status gemm_bf16(axl_stream *s, const axl_gemm_args *g)
{
    axl_status status = AXL_OK;
    const cut size = cut_product(g);
    block q = {0};

    for (q.j = 0; q.j < g->n; q.j += size.n) {
        q.n = size.n < g->n - q.j ? size.n : g->n - q.j;
        for (q.i = 0; q.i < g->m; q.i += size.m) {
            q.m = size.m < g->m - q.i ? size.m : g->m - q.i;
            AXL_TRY(multiply_block(s, g, &size, q));
        }
    }

out:
    return status;
}

axl_status AXL_CPU(gemm)(axl_stream *s, const axl_gemm_args *g)
{
    axl_status status = AXL_OK;
    const bool known = g->dtype_c == AXL_F32 || g->dtype_c == g->dtype;

    if ((g->dtype != AXL_F32 && g->dtype != AXL_BF16) || !known || g->k == 0)
        return axl_kernels_ref.gemm(s, g);
    if (g->m == 0 || g->n == 0)
        return AXL_OK;
    if (g->dtype == AXL_BF16)
        return gemm_bf16(s, g);
    AXL_TRY(axl_cpu_library_f32(g, s->device->n_threads));
    if (g->bias != NULL)
        finish_block(s, g, &(block){.m = g->m, .n = g->n}, g->c, g->ldc);

out:
    return status;
}
