// Seconds of kernels: each instruction costs its arithmetic or its bytes, whichever takes longer, and the overhead
// of starting it. Sums over tp, turns of the ring and exchanges of experts stand inside a layer and are part of its time.
#ifndef AXL_PLAN_COST_H
#define AXL_PLAN_COST_H

#include "src/plan/forecast.h"

typedef struct axl_cost_input {
    const axl_cluster *cluster;
    const axl_model *model;
    const axl_forecast_job *job;
    const axl_forecast_view *view;
} axl_cost_input;

// One unit of this program: forward, and backward with what is run again. flops gets the operations of both.
void axl_cost_program(const axl_cost_input *x, const axl_program *p, const axl_unit_plan *plan,
                      axl_seconds *forward, axl_seconds *backward, double *flops);

// Logits, loss and their gradients, chunk by chunk, of all scored rows.
void axl_cost_head(const axl_cost_input *x, int64_t chunk, axl_seconds *out, double *flops);

// Clipping and the update of elements of this rank, on the device or by its host,, and the few numbers that all ranks agree on.
void axl_cost_optimizer(const axl_cost_input *x, double elements, axl_seconds *out);

// Moving bytes through the device's memory.
double axl_cost_bytes(const axl_cluster *c, double bytes);

#endif
