// Guards of the numbers. They look at values that are equal on all ranks, so all ranks stop together.
#include "src/train/train.h"

#include <math.h>

axl_status axl_watchdog(axl_trainer *t, const axl_step_report *r)
{
    axl_status status = AXL_OK;
    const axl_config *c = t->env.config;

    AXL_REQUIRE(
        isfinite(r->loss) && isfinite(r->grad_norm), AXL_E_NUMERIC,
        "step %lld: the loss is %g and the gradient norm %g; the weights were not updated. Lower "
        "learning_rate, or look at the data of this step",
        (long long)r->step, r->loss, r->grad_norm);
    if (!c->set.loss_watchdog_threshold)
        goto out;
    t->watchdog_count = r->loss > c->loss_watchdog_threshold ? t->watchdog_count + 1 : 0;
    AXL_REQUIRE(t->watchdog_count < c->loss_watchdog_patience, AXL_E_NUMERIC,
                "step %lld: the loss %g stayed above loss_watchdog_threshold %g for %d steps",
                (long long)r->step, r->loss, c->loss_watchdog_threshold, t->watchdog_count);
out:
    return status;
}
