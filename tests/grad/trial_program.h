// A random program with everything it needs to run in f64: weights, a batch of packed documents, and memory
// of exactly the planned size between guards, poisoned with NaN before every pass.
#ifndef AXL_TESTS_TRIAL_PROGRAM_H
#define AXL_TESTS_TRIAL_PROGRAM_H

#include "src/model/builder.h"
#include "src/model/exec.h"
#include "tests/check.h"

// A buffer of exactly n bytes with guards on both sides.
typedef struct guarded {
    unsigned char *memory; // owned
    size_t n;
} guarded;

typedef struct trial_program {
    uint64_t seed, drawn; // of its random choices
    axl_arch arch;
    axl_program program;
    axl_param params[AXL_MAX_WEIGHTS];
    axl_param *w[AXL_MAX_WEIGHTS];
    axl_device *device; // borrowed
    axl_run run;
    int32_t positions[16], cu_seqlens[5];
    int32_t prefix[4],
        groups[2][3 * AXL_S2_GROUPS + 1]; // for the attention of arch that needs them
    axl_mesh mesh;                        // imagined, of one rank
    float cos[16 * 8], sin[16 * 8];
    axl_comm *world; // owned; NULL without experts
    axl_router_load load;
    double prob_sum[4], dprobs[4];
    int64_t expert_counts[4];
    int64_t n_in, n_out;                // elements of the carries
    double *in, *out, *seed_grad, *din; // owned; loss = sum seed_grad * out
} trial_program;

// Integers in [low, high] and uniform numbers in [-1, 1), from the program's own sequence.
int64_t trial_int(trial_program *t, int64_t low, int64_t high);
double trial_uniform(trial_program *t);

// Any ops: projections, norms, attention with rope, gated products, sums of any earlier values.
void trial_random_program(trial_program *t, axl_device *device, uint64_t seed);
// Only projections and sums of one width, where most aliasing of gradients happens.
void trial_random_sums(trial_program *t, axl_device *device, uint64_t seed);
// Weights, batch and carries for t->program, which the caller has built.
void trial_prepare(trial_program *t, axl_device *device);
void trial_program_fini(trial_program *t);

// Plans, runs forward, and backward if asked; checks that nothing beyond the planned bytes was written, that
// inputs are unchanged and that no saved slot changes in backward. Returns the loss; the gradients are in
// the params and t->din.
double trial_pass(trial_program *t, axl_checkpointing mode, bool backward);

#endif
