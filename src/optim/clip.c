// The global gradient norm. Padding rows of shards are zero in every gradient, so whole shards are summed, and
// what several ranks hold is counted by its owner alone.
//
// A sum of f64 parts depends, in its last bits, on how rows are dealt to ranks. Where the result must not depend
// on their number the sums of rows, which never do, are rounded to integers of one common unit: sums of integers
// have no order.
#include "src/optim/optim.h"

#include "kernels/kernels.h"

#include <math.h>

// Calls visit for every gradient this rank owns.
typedef axl_status (*visitor)(const axl_sharder *s, const axl_param *p, void *sums);

static axl_status for_owned(const axl_sharder *s, visitor visit, void *sums)
{
    axl_status status = AXL_OK;

    for (int i = 0; i < s->n_units; i++) {
        for (int k = 0; k < s->units[i].n_params; k++) {
            const axl_param *p = &s->units[i].params[k];
            if (p->grad_shard != NULL && p->owner)
                AXL_TRY(visit(s, p, sums));
        }
    }
    AXL_TRY(s->device->ops->synchronize(s->device->compute));
out:
    return status;
}

static axl_status sum_squares(const axl_sharder *s, const float *x, int64_t n, double *sum)
{
    const axl_sumsq_args a = {.x = x, .n = n, .dtype = AXL_F32, .out = sum};

    return s->device->kernels->sumsq(s->device->compute, &a);
}

static axl_status add_shard(const axl_sharder *s, const axl_param *p, void *sums)
{
    return sum_squares(s, p->grad_shard, axl_param_shard_count(p), sums);
}

// ---- the sum that does not depend on ranks

typedef struct row_sums {
    double largest; // of any row
    int exponent;   // rows are counted in units of 2^-exponent
    int64_t total;
    bool counting; // else looking for the largest
} row_sums;

static axl_status add_rows(const axl_sharder *s, const axl_param *p, void *sums)
{
    axl_status status = AXL_OK;
    row_sums *r = sums;

    for (int64_t row = 0; row < p->shard_rows; row++) {
        double x = 0.0;
        AXL_TRY(sum_squares(s, p->grad_shard + row * p->cols, p->cols, &x));
        AXL_TRY(s->device->ops->synchronize(s->device->compute));
        if (r->counting)
            r->total += (int64_t)nearbyint(ldexp(x, r->exponent));
        else
            r->largest = x > r->largest || isnan(x) ? x : r->largest;
    }
out:
    return status;
}

static axl_status invariant_sum(const axl_sharder *s, double *out)
{
    axl_status status = AXL_OK;
    row_sums r = {0};
    int bits = 0;

    AXL_TRY(for_owned(s, add_rows, &r));
    AXL_TRY(axl_comm_all_reduce_f64(s->mesh->world, &r.largest, 1, AXL_REDUCE_MAX));
    *out = r.largest;
    if (!isfinite(r.largest) || r.largest == 0.0)
        goto out;
    (void)frexp(r.largest, &bits);
    r.exponent = 34 - bits; // a row below 2^34, and room for 2^28 rows
    r.counting = true;
    AXL_TRY(for_owned(s, add_rows, &r));
    AXL_TRY(axl_comm_all_reduce_i64(s->mesh->world, &r.total, 1, AXL_REDUCE_SUM));
    *out = ldexp((double)r.total, -r.exponent);
out:
    return status;
}

axl_status axl_grad_norm(const axl_sharder *s, double *out)
{
    axl_status status = AXL_OK;
    double sum = 0.0;

    if (s->options.invariant > 0) {
        AXL_TRY(invariant_sum(s, &sum));
    } else {
        AXL_TRY(for_owned(s, add_shard, &sum));
        AXL_TRY(axl_comm_all_reduce_f64(s->mesh->world, &sum, 1, AXL_REDUCE_SUM));
    }
    *out = sqrt(sum);
out:
    return status;
}

double axl_clip_scale(double norm, double max_norm)
{
    double scale = max_norm / (norm + 1e-6);

    return max_norm > 0.0 && scale < 1.0 ? scale : 1.0;
}
