// Where the seconds go: spans of time by name, kept in memory and written as Chrome events, which chrome://tracing,
// Perfetto and TensorBoard's profiler read.
//
// A span is measured by the host's clock. Where kernels run on a device of their own it tells when they were started,
// not when they ran. A NULL trace takes nothing and costs a comparison.
#ifndef AXL_BASE_TRACE_H
#define AXL_BASE_TRACE_H

#include "src/base/log.h"
#include "src/base/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct axl_trace axl_trace;

// Memory for so many spans; what comes after them is dropped and counted. AXL_E_MEMORY. Local.
axl_status axl_trace_create(int64_t capacity, axl_trace **out);
void axl_trace_destroy(axl_trace *t); // NULL-safe

// Adds a span from begin to now (axl_now). name, category: not copied, they must outlive the trace. number: of the
// layer, step or micro-batch; below 0: none. Cannot fail.
void axl_trace_add(axl_trace *t, const char *name, const char *category, int64_t number,
                   double begin);

// The beginning of a span, and its end.
static inline double axl_trace_begin(const axl_trace *t)
{
    return t == NULL ? 0.0 : axl_now();
}
static inline void axl_trace_end(axl_trace *t, const char *name, const char *category,
                                 int64_t number, double begin)
{
    if (t != NULL)
        axl_trace_add(t, name, category, number, begin);
}

int64_t axl_trace_n(const axl_trace *t); // spans so far, those dropped included

// Writes {"traceEvents": [...]} with times from the first span's begin; rank is shown as the process. AXL_E_IO. Local.
axl_status axl_trace_write(const axl_trace *t, const char *path, int rank);

#endif
