// profiler_steps: a trace of rank 0 over a window of steps.
#include "src/train/train.h"

#include "src/base/log.h"

enum { SPANS_OF_STEP = 100000, MOST_SPANS = 1000000 }; // 40 MB

static bool is_traced(const axl_trainer *t)
{
    const axl_config *c = t->env.config;

    return c->set.profiler_steps && axl_comm_rank(t->env.world) == 0 &&
           t->step >= c->profiler_steps_start &&
           t->step < c->profiler_steps_start + c->profiler_steps;
}

axl_status axl_profile_begin(axl_trainer *t)
{
    axl_status status = AXL_OK;
    const int64_t n = t->env.config->profiler_steps;

    if (!is_traced(t) || t->trace != NULL)
        goto out;
    AXL_TRY(axl_trace_create(n < MOST_SPANS / SPANS_OF_STEP ? n * SPANS_OF_STEP : MOST_SPANS,
                             &t->trace));
    t->work.run.trace = t->trace;
    if (!t->env.device->host_memory)
        axl_info("the trace tells when kernels are started, not when they run; nsys profile does");
out:
    return status;
}

axl_status axl_profile_end(axl_trainer *t, bool last)
{
    axl_status status = AXL_OK;
    axl_str path = {0};

    if (t->trace == NULL || (is_traced(t) && !last))
        goto out;
    AXL_TRY(axl_str_printf(&path, "%s/profiler_trace.json", t->env.config->output_dir));
    if (axl_trace_write(t->trace, path.data, axl_comm_rank(t->env.world)) == AXL_OK)
        axl_info("wrote %lld spans to %s; ui.perfetto.dev shows them",
                 (long long)axl_trace_n(t->trace), path.data);
    else
        axl_warn("%s; the run goes on without the trace", axl_error_message());
out:
    if (t->trace != NULL && (!is_traced(t) || last)) {
        t->work.run.trace = NULL;
        axl_trace_destroy(t->trace);
        t->trace = NULL;
    }
    axl_str_fini(&path);
    return status;
}
