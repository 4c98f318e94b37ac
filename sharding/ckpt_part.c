// The rectangles of tensors in shards. The hard part is tensors of more than two dims: a range of columns
// of such a one is no box of it, but a few boxes.
#include "sharding/ckpt_impl.h"

#include <stdlib.h>

void axl_ckpt_matrix(int n_dims, const int64_t *dims, int64_t *rows, int64_t *cols)
{
    *rows = dims[0];
    *cols = 1;
    for (int d = 1; d < n_dims; d++)
        *cols *= dims[d];
}

int axl_ckpt_part_dims(int n_dims, const int64_t *dims, const axl_block *b, int64_t *out)
{
    int64_t rows, cols;

    axl_ckpt_matrix(n_dims, dims, &rows, &cols);
    out[0] = b->n_rows;
    if (b->n_cols != cols) {
        out[1] = b->n_cols;
        return 2;
    }
    for (int d = 1; d < n_dims; d++)
        out[d] = dims[d];
    return n_dims;
}

static int by_place(const void *a, const void *b)
{
    const axl_block *x = &((const axl_ckpt_part *)a)->at, *y = &((const axl_ckpt_part *)b)->at;

    if (x->row0 != y->row0)
        return x->row0 < y->row0 ? -1 : 1;
    return x->col0 < y->col0 ? -1 : x->col0 > y->col0;
}

axl_status axl_ckpt_check_cover(axl_ckpt_part *parts, int n, int64_t rows, int64_t cols,
                                axl_status code)
{
    axl_status status = AXL_OK;
    int64_t covered = 0;

    if (n > 0)
        qsort(parts, (size_t)n, sizeof *parts, by_place);
    for (int i = 0; i < n; i++) {
        const axl_block *a = &parts[i].at;
        AXL_REQUIRE(axl_block_fits(a, rows, cols) && a->n_rows > 0 && a->n_cols > 0, code,
                    "rank %d holds rows %lld + %lld, columns %lld + %lld of [%lld, %lld]",
                    parts[i].shard, (long long)a->row0, (long long)a->n_rows, (long long)a->col0,
                    (long long)a->n_cols, (long long)rows, (long long)cols);
    }
    for (int i = 0; i < n; i++) {
        const axl_block *a = &parts[i].at;
        // Only those that begin before its last row can meet it.
        for (int k = i + 1; k < n && parts[k].at.row0 < a->row0 + a->n_rows; k++) {
            const axl_block *b = &parts[k].at;
            AXL_REQUIRE(b->col0 >= a->col0 + a->n_cols || a->col0 >= b->col0 + b->n_cols, code,
                        "ranks %d and %d both hold row %lld, column %lld", parts[i].shard,
                        parts[k].shard, (long long)b->row0,
                        (long long)(a->col0 > b->col0 ? a->col0 : b->col0));
        }
        covered += a->n_rows * a->n_cols;
    }
    AXL_REQUIRE(covered == rows * cols, code, "%lld of %lld elements are held by the ranks",
                (long long)covered, (long long)(rows * cols));

out:
    return status;
}

int axl_ckpt_boxes(int n_dims, const int64_t *dims, const axl_block *b, axl_ckpt_box *boxes)
{
    int64_t inner[AXL_CKPT_MAX_DIMS]; // elements of one index of a dim
    int n = 0;

    inner[n_dims - 1] = 1;
    for (int d = n_dims - 2; d >= 0; d--)
        inner[d] = inner[d + 1] * dims[d + 1];
    for (int64_t at = b->col0, end = b->col0 + b->n_cols; at < end; n++) {
        axl_ckpt_box *box = &boxes[n];
        int cut = n_dims > 1 ? 1 : 0; // the outermost dim of which whole indices fit
        *box = (axl_ckpt_box){.col0 = at};
        while (cut < n_dims - 1 && (at % inner[cut] != 0 || inner[cut] > end - at))
            cut++;
        for (int d = 1; d < n_dims; d++) {
            box->start[d] = at / inner[d] % dims[d];
            box->size[d] = d < cut ? 1 : dims[d];
        }
        if (cut > 0) {
            const int64_t fit = (end - at) / inner[cut], left = dims[cut] - box->start[cut];
            box->size[cut] = fit < left ? fit : left;
        }
        box->start[0] = b->row0;
        box->size[0] = b->n_rows;
        box->cut = cut;
        box->inner = cut > 0 ? inner[cut] : 1;
        box->n_cols = cut > 0 ? box->size[cut] * inner[cut] : 1;
        at += box->n_cols;
    }
    return n;
}
