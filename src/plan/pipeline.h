// Seconds of a step from those of its units: what waits for what.
//
// Kernels are one queue and traffic of weights and gradients another, in the order in which the step issues them
// (src/model/pass.c): the weights of a unit are gathered while the unit before it runs, into memory that the one
// before that has left; its gradients are reduced while the next one runs. What a unit has to wait for is exposed.
#ifndef AXL_PLAN_PIPELINE_H
#define AXL_PLAN_PIPELINE_H

#include "src/plan/forecast.h"

typedef struct axl_unit_seconds {
    double forward,
        backward;        // kernels, with what stands inside a layer; the head has all in forward
    double gather;       // forward
    double gather_again; // backward; 0: nothing to gather
    double reduce;       // in every micro-step
    double replicate;    // sum over replicas behind the last reduction
} axl_unit_seconds;

typedef struct axl_pipeline {
    const axl_unit_seconds *units; // [n_units]: embedding, layers, head
    int n_units;
    int64_t n_micro;
    bool kept;      // gathered weights stay for the whole step
    bool invariant; // sums over replicas in every micro-step
    double overlap; // of the cluster
} axl_pipeline;

// *waits gets AXL_TIME_GATHER, REDUCE and REPLICATE added; *hidden the traffic that nothing waits for. Returns the
// seconds from the first gather to the last reduction.
double axl_pipeline_run(const axl_pipeline *p, axl_seconds *waits, double *hidden);

#endif
