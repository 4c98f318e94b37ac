// RMS and layer normalisation of rows: two passes over a row that stays in the first cache.
#include "kernels/cpu/parallel.h"

#include <math.h>
#include <string.h>

AXL_INLINE vf load_at(const void *p, int64_t i, int64_t n, bool bf16)
{
    return n >= VF ? vf_load(p, i, bf16) : vf_load_n(p, i, n, bf16);
}

AXL_INLINE void store_at(void *p, int64_t i, vf x, int64_t n, bool bf16)
{
    if (n >= VF)
        vf_store(p, i, x, bf16);
    else
        vf_store_n(p, i, x, n, bf16);
}

// The factor of the normalised value: w, 1 + w, or 1 without a weight.
AXL_INLINE vf weight_at(axl_norm_kind kind, const void *w, int64_t i, int64_t n, bool bf16)
{
    if (w == NULL)
        return vf_set(1.0f);
    vf x = load_at(w, i, n, bf16);
    return kind == AXL_NORM_RMS1P ? 1.0f + x : x;
}

// Lanes beyond the row must not count as deviations from the mean.
AXL_INLINE vf keep_first(vf x, int64_t n)
{
    return n >= VF ? x : vf_select(vi_iota() < vi_set((int32_t)n), x, vf_set(0.0f));
}

AXL_INLINE void fwd_row(const axl_norm_args *a, int64_t r, axl_norm_kind kind, bool bf16)
{
    const size_t offset = (size_t)(r * a->cols) * (bf16 ? 2 : 4);
    const uint8_t *x = (const uint8_t *)a->x + offset;
    uint8_t *out = (uint8_t *)a->out + offset;
    const int64_t cols = a->cols;
    float mean = 0.0f;
    vf sum = vf_set(0.0f);

    if (kind == AXL_NORM_LAYER) {
        for (int64_t c = 0; c < cols; c += VF)
            sum += load_at(x, c, cols - c, bf16);
        mean = vf_sum(sum) / (float)cols;
        sum = vf_set(0.0f);
    }
    for (int64_t c = 0; c < cols; c += VF) {
        vf d = keep_first(load_at(x, c, cols - c, bf16) - mean, cols - c);
        sum = vf_fma(d, d, sum);
    }
    const float rstd = 1.0f / sqrtf(vf_sum(sum) / (float)cols + a->eps);
    for (int64_t c = 0; c < cols; c += VF) {
        const int64_t n = cols - c;
        vf hat = (load_at(x, c, n, bf16) - mean) * rstd;
        if (kind == AXL_NORM_RMS)
            hat = vf_rounded(hat, bf16);
        vf y = hat * weight_at(kind, a->w, c, n, bf16);
        if (a->b != NULL)
            y += load_at(a->b, c, n, bf16);
        store_at(out, c, y, n, bf16);
    }
    ((float *)a->rstd)[r] = rstd;
    if (a->mean != NULL)
        ((float *)a->mean)[r] = mean;
}

// dw and db are this block's partial sums, or NULL.
AXL_INLINE void bwd_row(const axl_norm_bwd_args *a, int64_t r, axl_norm_kind kind, bool bf16,
                        float *dw, float *db)
{
    const size_t offset = (size_t)(r * a->cols) * (bf16 ? 2 : 4);
    const uint8_t *x = (const uint8_t *)a->x + offset, *dout = (const uint8_t *)a->dout + offset;
    uint8_t *dx = (uint8_t *)a->dx + offset;
    const int64_t cols = a->cols;
    const float rstd = ((const float *)a->rstd)[r];
    const float mean = kind == AXL_NORM_LAYER ? ((const float *)a->mean)[r] : 0.0f;
    vf g_hat = vf_set(0.0f), g_sum = vf_set(0.0f);

    for (int64_t c = 0; c < cols; c += VF) {
        const int64_t n = cols - c;
        vf d = load_at(dout, c, n, bf16); // 0 beyond the row
        vf hat = (load_at(x, c, n, bf16) - mean) * rstd;
        vf g = d * weight_at(kind, a->w, c, n, bf16);
        g_hat = vf_fma(g, hat, g_hat);
        g_sum += g;
        if (dw != NULL)
            store_at(dw, c, vf_fma(d, hat, load_at(dw, c, n, false)), n, false);
        if (db != NULL)
            store_at(db, c, load_at(db, c, n, false) + d, n, false);
    }
    const float mean_g = kind == AXL_NORM_LAYER ? vf_sum(g_sum) / (float)cols : 0.0f;
    const float mean_gh = vf_sum(g_hat) / (float)cols;
    for (int64_t c = 0; c < cols; c += VF) {
        const int64_t n = cols - c;
        vf hat = (load_at(x, c, n, bf16) - mean) * rstd;
        vf g = load_at(dout, c, n, bf16) * weight_at(kind, a->w, c, n, bf16);
        vf d = rstd * (g - mean_g - hat * mean_gh);
        if (a->accumulate_dx)
            d += load_at(dx, c, n, bf16);
        store_at(dx, c, d, n, bf16);
    }
}

static void fwd_rows(const axl_norm_args *a, int64_t begin, int64_t end)
{
    const bool bf16 = a->dtype == AXL_BF16;

    for (int64_t r = begin; r < end; r++) {
        if (a->kind == AXL_NORM_LAYER) {
            if (bf16)
                fwd_row(a, r, AXL_NORM_LAYER, true);
            else
                fwd_row(a, r, AXL_NORM_LAYER, false);
        } else if (a->kind == AXL_NORM_RMS) {
            if (bf16)
                fwd_row(a, r, AXL_NORM_RMS, true);
            else
                fwd_row(a, r, AXL_NORM_RMS, false);
        } else {
            if (bf16)
                fwd_row(a, r, AXL_NORM_RMS1P, true);
            else
                fwd_row(a, r, AXL_NORM_RMS1P, false);
        }
    }
}

static void bwd_rows(const axl_norm_bwd_args *a, int64_t begin, int64_t end, float *dw, float *db)
{
    const bool bf16 = a->dtype == AXL_BF16;

    for (int64_t r = begin; r < end; r++) {
        if (a->kind == AXL_NORM_LAYER) {
            if (bf16)
                bwd_row(a, r, AXL_NORM_LAYER, true, dw, db);
            else
                bwd_row(a, r, AXL_NORM_LAYER, false, dw, db);
        } else if (a->kind == AXL_NORM_RMS) {
            if (bf16)
                bwd_row(a, r, AXL_NORM_RMS, true, dw, db);
            else
                bwd_row(a, r, AXL_NORM_RMS, false, dw, db);
        } else {
            if (bf16)
                bwd_row(a, r, AXL_NORM_RMS1P, true, dw, db);
            else
                bwd_row(a, r, AXL_NORM_RMS1P, false, dw, db);
        }
    }
}

axl_status AXL_CPU(norm_fwd)(axl_stream *s, const axl_norm_args *a)
{
    const int64_t block = 8;

    if (a->dtype != AXL_F32 && a->dtype != AXL_BF16)
        return axl_kernels_ref.norm_fwd(s, a);
    AXL_PARALLEL_FOR(s, a->rows * a->cols)
    for (int64_t r = 0; r < a->rows; r += block)
        fwd_rows(a, r, r + block < a->rows ? r + block : a->rows);
    return AXL_OK;
}

// Adds the blocks' partial sums in order; each is stride floats after the one before.
static void add_partials(const float *partial, int64_t stride, int64_t n_blocks, int64_t cols,
                         bool accumulate, float *out)
{
    for (int64_t c = 0; c < cols; c += VF) {
        const int64_t n = cols - c;
        vf sum = accumulate ? load_at(out, c, n, false) : vf_set(0.0f);
        for (int64_t b = 0; b < n_blocks; b++)
            sum += load_at(partial + b * stride, c, n, false);
        store_at(out, c, sum, n, false);
    }
}

axl_status AXL_CPU(norm_bwd)(axl_stream *s, const axl_norm_bwd_args *a)
{
    const int64_t stride = 2 * a->cols; // dw, then db
    const int64_t block = axl_row_block(a->rows, stride * (int64_t)sizeof(float));
    const int64_t n_blocks = (a->rows + block - 1) / block;
    float *partial = s->device->workspace;

    if (a->dtype != AXL_F32 && a->dtype != AXL_BF16)
        return axl_kernels_ref.norm_bwd(s, a);
    AXL_PARALLEL_FOR(s, a->rows * a->cols)
    for (int64_t b = 0; b < n_blocks; b++) {
        float *dw = a->dw != NULL ? partial + b * stride : NULL;
        float *db = a->db != NULL ? partial + b * stride + a->cols : NULL;
        if (dw != NULL)
            memset(dw, 0, (size_t)a->cols * sizeof *dw);
        if (db != NULL)
            memset(db, 0, (size_t)a->cols * sizeof *db);
        bwd_rows(a, b * block, (b + 1) * block < a->rows ? (b + 1) * block : a->rows, dw, db);
    }
    if (a->dw != NULL)
        add_partials(partial, stride, n_blocks, a->cols, a->accumulate_dw, a->dw);
    if (a->db != NULL)
        add_partials(partial + a->cols, stride, n_blocks, a->cols, a->accumulate_dw, a->db);
    return AXL_OK;
}
