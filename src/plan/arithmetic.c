// Counting a model's operations, and timing the products of a device that has no data sheet.
#include "src/plan/arithmetic.h"

#include "kernels/kernels.h"
#include "src/base/log.h"

axl_arithmetic axl_arithmetic_of(const axl_model *m)
{
    const axl_arch *a = &m->arch;
    axl_arithmetic x = {.n_params = m->n_elements, .n_active = m->n_elements};

    for (int i = 0; i < m->n_params && a->moe.n_experts > 0; i++) {
        const int64_t n = axl_param_file_count(m->params[i]);
        if (m->params[i]->is_expert) // a token meets top_k of them
            x.n_active -= n - n / a->moe.n_experts * a->moe.top_k;
    }
    x.weights = 6.0 * ((double)x.n_active - (a->tied ? 0.0 : (double)(a->vocab * a->hidden)));
    x.attention = 12.0 * a->n_layers * a->head_dim * a->n_heads;
    return x;
}

// The shortest of at most `runs` of one product, within the time for it but once.
static axl_status time_product(axl_device *d, const axl_gemm_args *a, int runs, double most,
                               double *best)
{
    axl_status status = AXL_OK;
    double spent = 0.0;

    *best = 1e30;
    for (int i = 0; i < runs && spent < most; i++) {
        const double start = axl_now();
        AXL_TRY(d->kernels->gemm(d->compute, a));
        AXL_TRY(d->ops->synchronize(d->compute));
        const double seconds = axl_now() - start;
        spent += seconds;
        *best = seconds < *best ? seconds : *best;
    }

out:
    return status;
}

axl_status axl_products_rate(axl_device *d, axl_comm *world, void *const m[3], axl_dtype dtype,
                             double seconds, double *rate)
{
    axl_status status = AXL_OK;
    axl_gemm_args a = {
        .a = m[0], .b = m[1], .c = m[2], .alpha = 1.0f, .dtype = dtype, .dtype_c = AXL_F32};
    double once = 0.0;

    for (int64_t n = 256;; n *= 2) {
        a.m = a.n = a.k = a.lda = a.ldb = a.ldc = n;
        AXL_TRY(time_product(d, &a, n == 256 ? 2 : 1, seconds, &once)); // sets the library up
        double slowest = once;
        AXL_TRY(axl_comm_all_reduce_f64(world, &slowest, 1, AXL_REDUCE_MAX));
        // twice as wide takes eight times as long
        if (n == AXL_RATE_WIDTH || 8.0 * slowest > seconds)
            break;
    }
    AXL_TRY(axl_comm_barrier(world));
    AXL_TRY(time_product(d, &a, 10, seconds, &once));
    *rate = 2.0 * (double)a.n * (double)a.n * (double)a.n / once;

out:
    return status;
}
