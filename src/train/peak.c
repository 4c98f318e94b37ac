// What `mfu` counts against. Honest is hard only where no data sheet says it: the peak of a processor depends on clocks
// and units that Linux does not tell, so what its library reaches in products stands for it, and a line says so.
#include "src/train/train.h"

#include "kernels/chip.h"
#include "kernels/kernels.h"
#include "src/base/log.h"

#define SECONDS 0.02 // of measuring, about twice

static axl_status measure(const axl_trainer *t, double *rate)
{
    axl_status status = AXL_OK;
    axl_device *d = t->env.device;
    const size_t bytes = sizeof(float) * AXL_RATE_WIDTH * AXL_RATE_WIDTH;
    void *m[3] = {NULL};

    for (int i = 0; i < 3 && status == AXL_OK; i++) {
        status = d->ops->alloc(d, bytes, "products to time", &m[i]);
        if (status == AXL_OK)
            status = d->ops->zero(d->compute, m[i], bytes);
    }
    AXL_TRY(axl_comm_agree(t->env.world, status));
    AXL_TRY(axl_products_rate(d, t->env.world, m, t->work.options.dtype, SECONDS, rate));
out:
    for (int i = 0; i < 3; i++)
        d->ops->free(d, m[i], bytes);
    return status;
}

axl_status axl_find_peak(axl_trainer *t)
{
    axl_status status = AXL_OK;
    const axl_device *d = t->env.device;
    const axl_chip *chip = d->host_memory ? NULL : axl_chip_find(d->chip);
    double known[2] = {chip != NULL, d->host_memory}, sum = 0.0; // ranks
    const double n = axl_comm_size(t->env.world);

    t->arithmetic = axl_arithmetic_of(t->model);
    AXL_TRY(axl_comm_all_reduce_f64(t->env.world, known, 2, AXL_REDUCE_SUM));
    if (known[0] == n)
        sum = axl_chip_peak(chip, t->work.options.dtype, d->tf32);
    else if (known[1] == n)
        AXL_TRY(measure(t, &sum));
    AXL_TRY(axl_comm_all_reduce_f64(t->env.world, &sum, 1, AXL_REDUCE_SUM));
    t->peak_flops = sum;
    if (sum > 0.0)
        axl_info("mfu counts against %.4g TFLOP/s a rank: %s", sum * 1e-12 / n,
                 chip != NULL ? "its data sheet" : "products measured on this machine");
    else
        axl_info("no mfu: there are ranks whose chip has no data sheet here (this one: %s)",
                 d->host_memory ? "a processor" : d->chip);
out:
    return status;
}
