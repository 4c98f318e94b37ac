// The global gradient norm. Padding rows of shards are zero in every gradient, so whole shards are summed, and
// what several ranks hold is counted by its owner alone.
//
// A sum of f64 parts depends, in its last bits, on how rows are dealt to ranks. Where the result must not depend
// on their number the sums of rows, which never do, are rounded to integers of one common unit: sums of integers
// have no order.
#include "src/optim/optim.h"

#include "kernels/kernels.h"

#include <math.h>

// Lets a run of gradients, none yet or what lies in front of p, go on through p. False: it ends before. The zeros
// between weights add nothing to a sum of all; a run of rows must have none.
static bool joins(axl_sumsq_args *run, const axl_param *p, bool by_row)
{
    const float *x = run->x, *end = x != NULL ? x + run->n_rows * run->n : NULL;

    if (x == NULL)
        *run = (axl_sumsq_args){.x = p->grad_shard,
                                .n_rows = by_row ? p->shard_rows : 1,
                                .n = by_row ? p->cols : axl_param_shard_count(p),
                                .dtype = AXL_F32};
    else if (!by_row)
        run->n = p->grad_shard - x + axl_param_shard_count(p);
    else if (p->grad_shard == end && p->cols == run->n)
        run->n_rows += p->shard_rows;
    else
        return false;
    return true;
}

static axl_status add_run(const axl_sharder *s, axl_sumsq_args *run, int64_t *at)
{
    axl_status status = AXL_OK;

    if (run->x == NULL)
        goto out;
    run->out = s->squares + *at;
    *at += s->options.invariant > 0 ? run->n_rows : 0;
    AXL_TRY(s->device->kernels->sumsq(s->device->compute, run));
    *run = (axl_sumsq_args){.n = 0};
out:
    return status;
}

// The sums of squares of every gradient that this rank owns, on the host: one wait, however many there are.
static axl_status sum_owned(const axl_sharder *s)
{
    axl_status status = AXL_OK;
    const axl_device_ops *ops = s->device->ops;
    axl_stream *compute = s->device->compute;
    const size_t bytes = (size_t)s->n_squares * sizeof(double);
    const bool by_row = s->options.invariant > 0;
    axl_sumsq_args run = {.n = 0};
    int64_t at = 0;

    AXL_TRY(ops->zero(compute, s->squares, bytes));
    for (int i = 0; i < s->n_params && s->order[i]->grad_shard != NULL; i++) {
        const axl_param *p = s->order[i];
        if (p->owner && joins(&run, p, by_row))
            continue;
        AXL_TRY(add_run(s, &run, &at));
        if (p->owner)
            (void)joins(&run, p, by_row);
    }
    AXL_TRY(add_run(s, &run, &at));
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
