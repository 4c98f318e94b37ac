// Small matrix products; the register tile is unrolled by the compiler.
#include "kernels/cpu/mm.h"

// mr rows and nr vectors at a, b, c; both constants.
AXL_INLINE void one_tile(const mm_args *g, const float *a, const float *b, float *c, int mr, int nr)
{
    const int64_t step_m = g->step_m, step_k = g->step_k, ldb = g->ldb, ldc = g->ldc;
    vf sum[MM_ROWS][2];

#pragma GCC unroll 16
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 2
        for (int j = 0; j < nr; j++)
            sum[i][j] = g->add ? vf_load_f32(c + i * ldc + j * VF) : vf_set(0.0f);
    for (int64_t k = 0; k < g->k; k++, a += step_k, b += ldb) {
        vf b0 = vf_load_f32(b), b1 = nr > 1 ? vf_load_f32(b + VF) : b0;
#pragma GCC unroll 16
        for (int i = 0; i < mr; i++) {
            vf x = vf_set(a[i * step_m]);
            sum[i][0] = vf_fma(x, b0, sum[i][0]);
            if (nr > 1)
                sum[i][1] = vf_fma(x, b1, sum[i][1]);
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 2
        for (int j = 0; j < nr; j++)
            vf_store_f32(c + i * ldc + j * VF, sum[i][j]);
}

AXL_INLINE void one_column(const mm_args *g, int64_t n0, int nr)
{
    const float *b = g->b + n0;
    int64_t i = 0;

    for (; i + MM_ROWS <= g->m; i += MM_ROWS)
        one_tile(g, g->a + i * g->step_m, b, g->c + i * g->ldc + n0, MM_ROWS, nr);
    for (; i + 4 <= g->m; i += 4)
        one_tile(g, g->a + i * g->step_m, b, g->c + i * g->ldc + n0, 4, nr);
    for (; i < g->m; i++)
        one_tile(g, g->a + i * g->step_m, b, g->c + i * g->ldc + n0, 1, nr);
}

AXL_INLINE void all_columns(const mm_args *g)
{
    int64_t n0 = 0;

    for (; n0 + 2 * VF <= g->n; n0 += 2 * VF)
        one_column(g, n0, 2);
    if (n0 < g->n)
        one_column(g, n0, 1);
}

void AXL_CPU(mm_rows)(const mm_args *g)
{
    mm_args rows = *g;
    rows.step_k = 1; // a constant from here on
    all_columns(&rows);
}

void AXL_CPU(mm_columns)(const mm_args *g)
{
    mm_args columns = *g;
    columns.step_m = 1;
    all_columns(&columns);
}
