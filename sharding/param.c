// Where a weight lies: first the tp and ep part, then its rows. The one hard thing is padding: a vocabulary that
// tp does not divide gives the last part rows that no tensor has, and they stay zero in everything.
#include "sharding/param.h"

#include <string.h>

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

// The part along tp: rows or columns of each matrix.
static axl_status place_tp(axl_param *p, axl_mesh *mesh)
{
    axl_status status = AXL_OK;
    const int tp = mesh->size[AXL_TP], t = mesh->coord[AXL_TP];
    const int parts = p->tp_parts > 0 && p->tp_parts < tp ? p->tp_parts : tp;

    p->mat_rows = p->file_rows;
    p->cols = p->file_cols;
    p->row_base = p->col_base = 0;
    p->owner = true;
    p->sum_comm = NULL;
    p->sum_group = AXL_N_GROUPS;
    p->n_sum = 1;
    if (tp == 1)
        goto out;
    if (p->tp == AXL_TP_COL) {
        const int share = tp / parts; // ranks that hold the same rows
        AXL_REQUIRE(tp % parts == 0, AXL_E_CONFIG, "%s: %d parts cannot be shared by %d tp ranks",
                    p->key, parts, tp);
        p->mat_rows = ceil_div(p->file_rows, parts);
        p->row_base = t / share * p->mat_rows;
        p->owner = t % share == 0;
        if (share > 1) {
            p->sum_group = AXL_GROUP_TP_SHARE;
            p->n_sum = share;
            AXL_TRY(axl_mesh_tp_share(mesh, parts, &p->sum_comm));
        }
    } else if (p->tp == AXL_TP_ROW) {
        AXL_REQUIRE(p->file_cols % tp == 0, AXL_E_CONFIG,
                    "%s: tensor_parallel_size %d does not divide its %lld columns", p->key, tp,
                    (long long)p->file_cols);
        p->cols = p->file_cols / tp;
        p->col_base = t * p->cols;
    } else {
        p->owner = t == 0;
        if (p->tp == AXL_TP_PARTIAL) {
            p->sum_group = (axl_group)(AXL_GROUP_AXIS + AXL_TP);
            p->n_sum = tp;
            p->sum_comm = mesh->axis[AXL_TP];
        }
    }

out:
    return status;
}

static axl_status place_experts(axl_param *p, const axl_mesh *mesh)
{
    axl_status status = AXL_OK;
    const int ep = p->is_expert ? mesh->size[AXL_EP] : 1;

    AXL_REQUIRE(p->n_file_mats % ep == 0, AXL_E_CONFIG,
                "%s: expert_parallel_size %d does not divide %d experts", p->key, ep,
                p->n_file_mats);
    p->n_mats = p->n_file_mats / ep;
    p->mat0 = p->is_expert ? mesh->coord[AXL_EP] * p->n_mats : 0;

out:
    return status;
}

static void place_rows(axl_param *p, const axl_mesh *mesh)
{
    const int64_t align = p->row_align > 0 ? p->row_align : 1;

    p->rows = p->n_mats * p->mat_rows;
    p->shard_comm = p->is_expert ? mesh->expert : mesh->dense;
    p->n_shards = p->is_expert ? axl_mesh_n_expert(mesh) : axl_mesh_n_dense(mesh);
    p->shard = p->is_expert ? axl_mesh_expert_rank(mesh) : axl_mesh_dense_rank(mesh);
    p->shard_rows = ceil_div(ceil_div(p->rows, p->n_shards), align) * align;
    p->owner = p->owner && mesh->coord[AXL_DP_REPLICATE] == 0;
}

axl_status axl_param_place(axl_param *p, axl_mesh *mesh)
{
    axl_status status = AXL_OK;

    AXL_TRY(place_tp(p, mesh));
    AXL_TRY(place_experts(p, mesh));
    place_rows(p, mesh);

out:
    return status;
}

int64_t axl_param_real_rows(const axl_param *p)
{
    const int64_t left = p->file_rows - p->row_base;

    return left < 0 ? 0 : min64(left, p->mat_rows);
}

axl_param_rect axl_param_rect_of(const axl_param *p, int mat)
{
    const int64_t first = p->shard * p->shard_rows; // of the shard, in rows of the part
    const int64_t begin = (mat - p->mat0) * p->mat_rows, end = begin + axl_param_real_rows(p);
    const int64_t from = begin > first ? begin : first;
    const int64_t to = min64(end, first + p->shard_rows);

    if (mat < p->mat0 || mat >= p->mat0 + p->n_mats || from >= to)
        return (axl_param_rect){0};
    return (axl_param_rect){.block = {.row0 = p->row_base + from - begin,
                                      .n_rows = to - from,
                                      .col0 = p->col_base,
                                      .n_cols = p->cols},
                            .at = (from - first) * p->cols};
}

axl_status axl_param_map(const axl_param *p, float *array, const axl_param_rect *r, bool read,
                         axl_host_view *out)
{
    float *at = array + r->at;
    axl_device *d = array == p->grad_shard ? p->device : p->state;

    if (d == NULL) {
        *out = (axl_host_view){.host = at};
        return AXL_OK;
    }
    return axl_device_map(d, at, (size_t)(r->block.n_rows * r->block.n_cols) * sizeof *at, read,
                          out);
}

axl_status axl_param_put_key(const axl_param *p, int mat, axl_str *out)
{
    axl_status status = AXL_OK;
    const char *number = strstr(p->key, "%d");

    if (number == NULL) {
        AXL_TRY(axl_str_puts(out, p->key));
    } else {
        AXL_TRY(axl_str_append(out, p->key, (size_t)(number - p->key)));
        AXL_TRY(axl_str_printf(out, "%d%s", mat, number + 2));
    }

out:
    return status;
}
