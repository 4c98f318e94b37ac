// Statistics of sharded tensors. Each owner adds up its rectangle; the words of all ranks, being integers, may be
// added in any order.
#include "src/model/scales.h"

#include "src/base/mem.h"
#include "src/base/spread.h"

#include <stdlib.h>
#include <string.h>

#define TOGETHER 512 // tensors a reduction: 135 KB

static axl_status add_part(const axl_model *m, int tensor, axl_spread *s)
{
    axl_status status = AXL_OK;
    const axl_model_tensor *t = &m->tensors[tensor];
    const axl_param_rect r = axl_param_rect_of(t->param, t->mat);
    axl_host_view part = {0}; // [n_rows, n_cols]

    if (!t->param->owner)
        goto out;
    AXL_TRY(axl_param_map(t->param, t->param->master, &r, true, &part));
    axl_spread_add(s, part.host, r.block.n_rows * r.block.n_cols);
out:
    (void)axl_device_unmap(&part, false);
    return status;
}

axl_status axl_model_stds(const axl_model *m, const int *chosen, int n, double *std)
{
    axl_status status = AXL_OK;
    axl_spread *sums = NULL;

    status = axl_calloc(TOGETHER, sizeof *sums, "sums of tensors", &sums);
    AXL_TRY(axl_comm_agree(m->mesh->world, status));
    for (int i0 = 0; i0 < n; i0 += TOGETHER) {
        const int k = n - i0 < TOGETHER ? n - i0 : TOGETHER;
        memset(sums, 0, TOGETHER * sizeof *sums);
        for (int i = 0; i < k && status == AXL_OK; i++)
            status = add_part(m, chosen[i0 + i], &sums[i]);
        AXL_TRY(axl_comm_agree(m->mesh->world, status));
        AXL_TRY(axl_comm_all_reduce_i64(m->mesh->world, sums[0].words, k * AXL_SPREAD_WORDS,
                                        AXL_REDUCE_SUM));
        for (int i = 0; i < k; i++) {
            AXL_REQUIRE(axl_spread_finite(&sums[i]), AXL_E_INPUT, "%s holds NaN or infinity",
                        m->tensors[chosen[i0 + i]].key);
            std[i0 + i] = axl_spread_std(&sums[i]);
        }
    }
out:
    free(sums);
    return status;
}

axl_status axl_model_scale(axl_model *m, int tensor, float factor)
{
    axl_status status = AXL_OK;
    const axl_model_tensor *t = &m->tensors[tensor];
    const axl_param_rect r = axl_param_rect_of(t->param, t->mat);
    axl_host_view part = {0}; // [n_rows, n_cols]

    AXL_TRY(axl_param_map(t->param, t->param->master, &r, true, &part));
    for (int64_t i = 0; i < r.block.n_rows * r.block.n_cols; i++)
        ((float *)part.host)[i] *= factor;
    AXL_TRY(axl_device_unmap(&part, true));
out:
    (void)axl_device_unmap(&part, false);
    return status;
}
