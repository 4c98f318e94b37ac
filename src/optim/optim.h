// Optimizers on sharded masters, learning-rate schedules and gradient clipping.
//
// An optimizer is a row of a table; it sees this rank's shards only. Every element is treated alike, so the
// result does not depend on how rows are cut.
#ifndef AXL_OPTIM_OPTIM_H
#define AXL_OPTIM_OPTIM_H

#include "sharding/unit.h"

typedef struct axl_hyper {
    double lr, beta1, beta2, eps, weight_decay;
    double grad_scale; // clipping: gradients are multiplied by it
    int64_t t;         // 1-based optimizer step
} axl_hyper;

// Elements that are updated alike: weights side by side in the sharder's arenas, with the zeros between them.
typedef struct axl_shards {
    axl_device *device; // borrowed: whose memory it is
    float *p, *m, *v;   // [n] masters and what the optimizer keeps
    const float *g;     // [n]
    int64_t n;
    bool decay; // weight decay applies
} axl_shards;

typedef struct axl_optimizer {
    const char *name; // as in the YAML
    int n_moments;    // f32 arrays of the shape of the param that it keeps, 0 .. 2
    // Updates them on the compute stream of their device. Local.
    axl_status (*step)(const axl_shards *x, const axl_hyper *h);
} axl_optimizer;

// The row of a name, or NULL.
const axl_optimizer *axl_optimizer_find(const char *name);

// One step of every trained weight, after axl_sharder_begin_update: a call for those with decay, one for the others.
// Local.
axl_status axl_optimizer_update(const axl_optimizer *o, const axl_sharder *s, const axl_hyper *h);

// sqrt of the sum of squares of every gradient over all ranks, in f64; each element counts once. Collective on
// the sharder's world.
axl_status axl_grad_norm(const axl_sharder *s, double *out);

// min(1, max_norm / (norm + 1e-6)); 1 when max_norm is 0.
double axl_clip_scale(double norm, double max_norm);

typedef enum axl_schedule_kind {
    AXL_SCHEDULE_CONSTANT, // after warm-up
    AXL_SCHEDULE_LINEAR,
    AXL_SCHEDULE_COSINE
} axl_schedule_kind;

typedef struct axl_schedule {
    axl_schedule_kind kind;
    int64_t warmup, total; // optimizer steps
    double min_ratio;      // cosine: floor as a part of the base rate
    double cycles;         // cosine: 0.5 falls to the floor once
    bool no_warmup;        // plain "constant": 1 from the first step
} axl_schedule;

// By the name in the YAML; false when there is none of that name.
bool axl_schedule_find(const char *name, axl_schedule *out);

// Warm-up steps of a run of total steps. steps < 0: not given; ratio < 0: not given.
int64_t axl_warmup_steps(int64_t steps, double ratio, int64_t total);

// The factor on the base rate at 0-based step k.
double axl_schedule_factor(const axl_schedule *s, int64_t k);

#endif
