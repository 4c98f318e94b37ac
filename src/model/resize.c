// Filling rows of the vocabulary. The hard part is that a rank holds only some rows, and a mean is over all: it is
// taken from the mapped files, by blocks, by every rank that needs it.
#include "src/model/resize.h"

#include "src/base/hash.h"
#include "src/base/log.h"
#include "src/base/mem.h"
#include "src/base/philox.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_ROWS 256
#define EPSILON    1e-9 // of the covariance, as in transformers

typedef struct filling {
    const axl_model *m;
    const axl_hfdir *dir;
    const axl_resize *r;
    int64_t n_old, n_new, cols; // rows that are on disk, of the model
    bool *fix;                  // [n_new], owned: rows that become the mean
    int64_t n_fix;              // of the rows on disk
    float *block;               // [BLOCK_ROWS, cols], owned
    double *sum;                // [cols], owned
} filling;

// Rows row0 .. row0 + n of the matrix on disk into f->block; *n is how many there are.
static axl_status read_rows(const filling *f, const char *key, int64_t row0, int64_t *n)
{
    const axl_tensor_spec want = {
        .name = key, .dtype = AXL_F32, .n_dims = 2, .dims = {f->m->arch.file_vocab, f->cols}};

    *n = f->n_old - row0 < BLOCK_ROWS ? f->n_old - row0 : BLOCK_ROWS;
    return axl_hfdir_read_block(
        f->dir, &want, &(axl_block){.row0 = row0, .n_rows = *n, .n_cols = f->cols}, f->block);
}

// ---- which rows were never trained

static bool is_zero(const float *row, int64_t n)
{
    for (int64_t d = 0; d < n; d++)
        if (fabsf(row[d]) > 1e-16f)
            return false;
    return true;
}

static axl_status mark_zero_rows(filling *f, const char *key)
{
    axl_status status = AXL_OK;

    for (int64_t row0 = 0, n; row0 < f->n_old; row0 += n) {
        AXL_TRY(read_rows(f, key, row0, &n));
        for (int64_t i = 0; i < n; i++)
            if (row0 + i != f->r->keep && is_zero(f->block + i * f->cols, f->cols))
                f->fix[row0 + i] = true;
    }
out:
    return status;
}

static axl_status mark_rows(filling *f, const char *embedding)
{
    axl_status status = AXL_OK;
    const axl_resize *r = f->r;
    int64_t n_named = 0;

    if (r->untrained)
        AXL_TRY(mark_zero_rows(f, embedding));
    for (int64_t i = 0; i < r->n_fix; i++) {
        AXL_REQUIRE(r->fix[i] >= 0 && r->fix[i] < f->n_new, AXL_E_CONFIG,
                    "fix_untrained_tokens: %lld is no token of the model, which has %lld",
                    (long long)r->fix[i], (long long)f->n_new);
        f->fix[r->fix[i]] = true;
    }
    for (int64_t i = 0; i < f->n_new; i++) {
        n_named += f->fix[i];
        f->n_fix += f->fix[i] && i < f->n_old;
    }
    if (r->untrained || r->n_fix > 0)
        axl_info("fix_untrained_tokens: %lld rows become the mean of the others",
                 (long long)n_named);
out:
    return status;
}

// ---- sums over the rows on disk

// Into f->sum: the mean of the rows on disk, without those to be fixed if `trained`.
static axl_status take_mean(filling *f, const char *key, bool trained)
{
    axl_status status = AXL_OK;
    const int64_t count = f->n_old - (trained ? f->n_fix : 0);

    memset(f->sum, 0, (size_t)f->cols * sizeof *f->sum);
    for (int64_t row0 = 0, n; row0 < f->n_old; row0 += n) {
        AXL_TRY(read_rows(f, key, row0, &n));
        for (int64_t i = 0; i < n; i++) {
            if (trained && f->fix[row0 + i])
                continue;
            for (int64_t d = 0; d < f->cols; d++)
                f->sum[d] += (double)f->block[i * f->cols + d];
        }
    }
    for (int64_t d = 0; d < f->cols; d++)
        f->sum[d] /= count > 0 ? (double)count : 1.0;
out:
    return status;
}

// The numbers of a matrix never meet those of another, nor a row those of the next.
static double draw(const filling *f, int matrix, int64_t row, int64_t i)
{
    const uint64_t index = (uint64_t)matrix << 62 | (uint64_t)row << 31 | (uint64_t)i;
    return axl_random_normal(f->r->seed, AXL_RANDOM_INIT, index);
}

// Adds to rows [n, cols] at row0 of the vocabulary what the covariance gives; f->sum is the mean.
static axl_status add_noise(filling *f, const char *key, int matrix, int64_t row0, int64_t n,
                            float *rows)
{
    axl_status status = AXL_OK;
    const double scale = sqrt(EPSILON / (double)f->n_old);

    for (int64_t at = 0, count; at < f->n_old; at += count) {
        AXL_TRY(read_rows(f, key, at, &count));
        for (int64_t k = 0; k < n; k++) {
            for (int64_t i = 0; i < count; i++) {
                const float g = (float)(scale * draw(f, matrix, row0 + k, at + i));
                for (int64_t d = 0; d < f->cols; d++)
                    rows[k * f->cols + d] += g * (f->block[i * f->cols + d] - (float)f->sum[d]);
            }
        }
    }
out:
    return status;
}

// ---- a matrix

static void set_to_mean(const filling *f, float *row)
{
    for (int64_t d = 0; d < f->cols; d++)
        row[d] = (float)f->sum[d];
}

// Rows first .. end of the vocabulary, none of which is on disk.
static axl_status fill_new(filling *f, const char *key, int matrix, int64_t first, int64_t end,
                           float *rows)
{
    axl_status status = AXL_OK;

    if (f->r->mean) {
        AXL_TRY(take_mean(f, key, false));
        for (int64_t i = first; i < end; i++)
            set_to_mean(f, rows + (i - first) * f->cols);
        AXL_TRY(add_noise(f, key, matrix, first, end - first, rows));
        goto out;
    }
    for (int64_t i = first; i < end; i++)
        for (int64_t d = 0; d < f->cols; d++)
            rows[(i - first) * f->cols + d] = (float)(f->r->std * draw(f, matrix, i, d));
out:
    return status;
}

static axl_status fill_matrix(filling *f, const axl_param *p, int matrix)
{
    axl_status status = AXL_OK;
    const axl_param_rect rect = axl_param_rect_of(p, 0);
    const int64_t begin = rect.block.row0, end = begin + rect.block.n_rows;
    const int64_t first = begin > f->n_old ? begin : f->n_old;
    axl_host_view m = {0};
    float *rows = NULL; // [end - begin, cols]
    bool any = false;

    for (int64_t i = begin; i < end; i++)
        any = any || f->fix[i];
    if (first >= end && !any)
        goto out;
    AXL_TRY(axl_param_map(p, p->master, &rect, true, &m));
    rows = m.host;
    if (first < end)
        AXL_TRY(fill_new(f, p->key, matrix, first, end, rows + (first - begin) * f->cols));
    if (any)
        AXL_TRY(take_mean(f, p->key, true));
    for (int64_t i = begin; i < end; i++)
        if (f->fix[i])
            set_to_mean(f, rows + (i - begin) * f->cols);
    AXL_TRY(axl_device_unmap(&m, true));
out:
    (void)axl_device_unmap(&m, false);
    return status;
}

axl_status axl_model_resize(axl_model *m, const axl_hfdir *dir, const axl_resize *r)
{
    axl_status status = AXL_OK;
    const axl_param *embedding = &m->units[0].params[0];
    filling f = {.m = m,
                 .dir = dir,
                 .r = r,
                 .n_old = m->arch.vocab < m->arch.file_vocab ? m->arch.vocab : m->arch.file_vocab,
                 .n_new = m->arch.vocab,
                 .cols = m->arch.hidden};

    if (f.n_old == f.n_new && !r->untrained && r->n_fix == 0)
        goto out;
    AXL_TRY(axl_calloc((size_t)f.n_new, sizeof *f.fix, "rows of the vocabulary", &f.fix));
    AXL_TRY(axl_calloc((size_t)(BLOCK_ROWS * f.cols), sizeof *f.block, "rows", &f.block));
    AXL_TRY(axl_calloc((size_t)f.cols, sizeof *f.sum, "a mean row", &f.sum));
    AXL_TRY(mark_rows(&f, embedding->key));
    AXL_TRY(fill_matrix(&f, embedding, 0));
    if (m->lm_head != embedding)
        AXL_TRY(fill_matrix(&f, m->lm_head, 1));
out:
    free(f.fix);
    free(f.block);
    free(f.sum);
    return status;
}

// ---- all weights

static bool is_bias(const char *key)
{
    const size_t n = strlen(key), k = strlen(".bias");
    return n > k && strcmp(key + n - k, ".bias") == 0;
}

axl_status axl_model_reinit(axl_model *m, double std, uint64_t seed)
{
    axl_status status = AXL_OK;
    axl_host_view rows = {0};
    const float norm =
        m->arch.norm.kind == AXL_NORM_RMS1P ? 0.0f : 1.0f; // what leaves a row as it is

    for (int i = 0; i < m->n_tensors; i++) {
        const axl_model_tensor *t = &m->tensors[i];
        const axl_param_rect r = axl_param_rect_of(t->param, t->mat);
        const uint64_t own = axl_hash64(t->key, strlen(t->key), seed);
        const float flat = is_bias(t->key) ? 0.0f : norm;
        float *to = NULL; // [n_rows, n_cols]

        AXL_TRY(axl_param_map(t->param, t->param->master, &r, false, &rows));
        to = rows.host;
        for (int64_t row = 0; row < r.block.n_rows; row++) {
            for (int64_t col = 0; col < r.block.n_cols; col++, to++) {
                const int64_t at = (r.block.row0 + row) * t->param->file_cols + r.block.col0 + col;
                *to = t->param->n_dims == 1
                          ? flat
                          : (float)(std * axl_random_normal(own, AXL_RANDOM_INIT, (uint64_t)at));
            }
        }
        AXL_TRY(axl_device_unmap(&rows, true));
    }
out:
    (void)axl_device_unmap(&rows, false);
    return status;
}
