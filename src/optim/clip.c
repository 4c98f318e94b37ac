// The global gradient norm. Padding rows of shards are zero in every gradient, so whole shards are summed, and
// what several ranks hold is counted by its owner alone.
//
// A sum of f64 parts depends, in its last bits, on how rows are dealt to ranks. Where the result must not depend
// on their number the sums of rows, which never do, are rounded to integers of one common unit: sums of integers
// have no order.
#include "src/optim/optim.h"

#include "kernels/kernels.h"

#include <math.h>

static axl_status add_param(const axl_sharder *s, const axl_param *p, int64_t *at)
{
    const bool by_row = s->options.invariant > 0;
    const axl_sumsq_args a = {.x = p->grad_shard,
                              .n_rows = by_row ? p->shard_rows : 1,
                              .n = by_row ? p->cols : axl_param_shard_count(p),
                              .dtype = AXL_F32,
                              .out = s->squares + *at};

    *at += by_row ? p->shard_rows : 0;
    return s->device->kernels->sumsq(s->device->compute, &a);
}

// The sums of squares of every gradient that this rank owns, on the host: one wait, however many there are.
static axl_status sum_owned(const axl_sharder *s)
{
    axl_status status = AXL_OK;
    const axl_device_ops *ops = s->device->ops;
    axl_stream *compute = s->device->compute;
    const size_t bytes = (size_t)s->n_squares * sizeof(double);
    int64_t at = 0;

    AXL_TRY(ops->zero(compute, s->squares, bytes));
    for (int i = 0; i < s->n_units; i++) {
        for (int k = 0; k < s->units[i].n_params; k++) {
            const axl_param *p = &s->units[i].params[k];
            if (p->grad_shard != NULL && p->owner)
                AXL_TRY(add_param(s, p, &at));
        }
    }
    AXL_TRY(ops->copy(compute, s->host_squares, s->squares, bytes));
    AXL_TRY(ops->synchronize(compute));
out:
    return status;
}

// The sum that does not depend on ranks.
static axl_status invariant_sum(const axl_sharder *s, double *out)
{
    axl_status status = AXL_OK;
    const double *row = s->host_squares;
    double largest = 0.0;
    int64_t total = 0;
    int bits = 0;

    for (int64_t i = 0; i < s->n_squares; i++)
        largest = row[i] > largest || isnan(row[i]) ? row[i] : largest;
    AXL_TRY(axl_comm_all_reduce_f64(s->mesh->world, &largest, 1, AXL_REDUCE_MAX));
    *out = largest;
    if (!isfinite(largest) || largest == 0.0)
        goto out;
    (void)frexp(largest, &bits);
    const int exponent = 34 - bits; // a row below 2^34 units of 2^-exponent, and room for 2^28 rows
    for (int64_t i = 0; i < s->n_squares; i++)
        total += (int64_t)nearbyint(ldexp(row[i], exponent));
    AXL_TRY(axl_comm_all_reduce_i64(s->mesh->world, &total, 1, AXL_REDUCE_SUM));
    *out = ldexp((double)total, -exponent);
out:
    return status;
}

axl_status axl_grad_norm(const axl_sharder *s, double *out)
{
    axl_status status = AXL_OK;
    double sum = 0.0;

    AXL_TRY(sum_owned(s));
    if (s->options.invariant > 0) {
        AXL_TRY(invariant_sum(s, &sum));
    } else {
        sum = s->host_squares[0];
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
