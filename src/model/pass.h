// One pass over the units: forward, and backward with the exchange of weights and gradients around it.
//
// These two loops are where computation meets sharding: prefetch one unit ahead, acquire, run, release; in
// backward also reduce, one unit behind.
#ifndef AXL_MODEL_PASS_H
#define AXL_MODEL_PASS_H

#include "src/model/head.h"
#include "src/model/work.h"

// Embedding and decoder layers of the batch set on w; the head unit is prefetched at the end. A rank whose batch is
// empty computes nothing but takes part in every gather. Collective on the sharder's world.
axl_status axl_pass_forward(axl_work *w, axl_sharder *s);

// The head with the head unit acquired around it. train: leaves the unit acquired with gradients begun, for
// axl_pass_backward to finish; else released. grad_logp as in axl_head_forward.
axl_status axl_pass_head(axl_work *w, axl_sharder *s, const double *grad_logp, bool train);

// From w->grad_hidden back to the embedding; every unit's gradients are on their way when it returns.
axl_status axl_pass_backward(axl_work *w, axl_sharder *s);

#endif
