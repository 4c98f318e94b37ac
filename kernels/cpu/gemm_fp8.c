// Product of e4m3 matrices over the gemm library.
//
// Processors have no product of e4m3. Panels of both are unpacked in the workspace, to bf16 where the library's bf16
// product is the faster one, else to f32; either holds an e4m3 exactly, the scales with it. A block of C is summed in
// f32 and rounded once.
#include "kernels/cpu/gemm_library.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd_fp8.h"

// Floats of the workspace for a panel of A, one of B, and a block of C.
#define ROOM_A ((int64_t)5 << 19)
#define ROOM_B ((int64_t)5 << 19)
#define ROOM_C ((int64_t)3 << 20)
_Static_assert((ROOM_A + ROOM_B + ROOM_C) * 4 <= (int64_t)AXL_WORKSPACE_BYTES, "panels fit");

typedef struct panels {
    int64_t m, n, k; // sizes of blocks
    bool bf16;       // unpacked to bf16
} panels;

// One block of C: rows i .. i + m, columns j .. j + n; p .. p + k of the sum.
typedef struct block {
    int64_t i, j, p, m, n, k;
} block;

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

// dst[rows][cols], dense = the e4m3 rows at q, ld apart, times the scale of the row and one of all.
static void unpack(axl_stream *s, const uint8_t *q, int64_t ld, int64_t rows, int64_t cols,
                   const float *of_row, float of_all, void *dst, bool bf16)
{
    AXL_PARALLEL_FOR(s, rows * cols)
    for (int64_t r = 0; r < rows; r++) {
        const vf scale = vf_set(of_row != NULL ? of_row[r] * of_all : of_all);
        int64_t c = 0;
        for (; c + VF <= cols; c += VF)
            vf_store(dst, r * cols + c, vf_from_e4m3(q + r * ld + c) * scale, bf16);
        if (c < cols) {
            uint8_t last[VF] = {0};
            memcpy(last, q + r * ld + c, (size_t)(cols - c));
            vf_store_n(dst, r * cols + c, vf_from_e4m3(last) * scale, cols - c, bf16);
        }
    }
}

static axl_status multiply(axl_stream *s, const axl_gemm_fp8_args *g, const panels *size,
                           const block *q, bool new_b)
{
    float *a = s->device->workspace, *b = a + ROOM_A, *c = b + ROOM_B;
    const int64_t rows_b = g->trans_b ? q->n : q->k, cols_b = g->trans_b ? q->k : q->n;
    const int64_t ldb = g->trans_b ? g->k : g->n;
    const axl_gemm_args f = {.m = q->m,
                             .n = q->n,
                             .k = q->k,
                             .a = a,
                             .b = b,
                             .c = c,
                             .lda = q->k,
                             .ldb = cols_b,
                             .ldc = q->n,
                             .trans_b = g->trans_b,
                             .accumulate = q->p > 0,
                             .alpha = 1.0f,
                             .dtype = size->bf16 ? AXL_BF16 : AXL_F32,
                             .dtype_c = AXL_F32};

    unpack(s, g->a + q->i * g->k + q->p, g->k, q->m, q->k, g->scale_a + q->i, *g->scale_b, a,
           size->bf16);
    if (new_b)
        unpack(s, g->b + (g->trans_b ? q->j * ldb + q->p : q->p * ldb + q->j), ldb, rows_b, cols_b,
               NULL, 1.0f, b, size->bf16);
    return size->bf16 ? axl_cpu_library_bf16(&f, s->device->n_threads)
                      : axl_cpu_library_f32(&f, s->device->n_threads);
}

// Stores a block, with the old C and the bias.
static void finish(axl_stream *s, const axl_gemm_fp8_args *g, const block *q)
{
    const float *sum = (const float *)s->device->workspace + ROOM_A + ROOM_B;
    const bool bf16 = g->dtype == AXL_BF16;

    AXL_PARALLEL_FOR(s, q->m * q->n)
    for (int64_t r = 0; r < q->m; r++)
        for (int64_t c = 0; c < q->n; c += VF) {
            const int64_t left = least(q->n - c, VF), at = (q->i + r) * g->n + q->j + c;
            vf x = vf_load_n(sum, r * q->n + c, left, false);
            if (g->accumulate)
                x += vf_load_n(g->c, at, left, bf16);
            if (g->bias != NULL)
                x += vf_load_n(g->bias, q->j + c, left, bf16);
            vf_store_n(g->c, at, x, left, bf16);
        }
}

static panels cut(const axl_gemm_fp8_args *g)
{
    const axl_gemm_args like = {.m = g->m, .n = g->n, .k = g->k, .dtype = AXL_BF16};
    panels p = {.k = least(g->k, 4096), .bf16 = axl_cpu_library_prefers_bf16(&like)};

    p.n = least(g->n, least(ROOM_B / p.k, ROOM_C / 512));
    p.m = least(g->m, least(ROOM_A / p.k, ROOM_C / p.n));
    return p;
}

axl_status AXL_CPU(gemm_fp8)(axl_stream *s, const axl_gemm_fp8_args *g)
{
    axl_status status = AXL_OK;
    block q = {0};

    if ((g->dtype != AXL_F32 && g->dtype != AXL_BF16) || g->k == 0)
        return axl_kernels_ref.gemm_fp8(s, g);
    if (g->m == 0 || g->n == 0)
        return AXL_OK;
    const panels size = cut(g);
    for (q.j = 0; q.j < g->n; q.j += size.n) {
        q.n = least(size.n, g->n - q.j);
        for (q.i = 0; q.i < g->m; q.i += size.m) {
            q.m = least(size.m, g->m - q.i);
            for (q.p = 0; q.p < g->k; q.p += size.k) {
                q.k = least(size.k, g->k - q.p);
                AXL_TRY(multiply(s, g, &size, &q, q.i == 0 || size.k < g->k));
            }
            finish(s, g, &q);
        }
    }

out:
    return status;
}
