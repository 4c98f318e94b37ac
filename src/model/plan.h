// Where every slot of a program lives, decided before the first step.
//
// Walking the instruction list once forward and once in reverse gives: what backward reads, what of it is kept
// from forward (the save set) and what is rebuilt, when each slot and gradient lives, whether a gradient is the
// first contribution (set) or a later one (add), and from lifetimes the offsets. Addresses never change, so the
// step allocates nothing. The three save sets give bitwise equal gradients: what is rebuilt is rebuilt by the
// same kernels from the same inputs.
#ifndef AXL_MODEL_PLAN_H
#define AXL_MODEL_PLAN_H

#include "src/model/program.h"

typedef enum axl_checkpointing {
    AXL_CHECKPOINT_NONE,      // all that backward reads is kept
    AXL_CHECKPOINT_SELECTIVE, // all but the outputs of cheap ops
    AXL_CHECKPOINT_FULL       // only the unit's input
} axl_checkpointing;

// Byte offsets; -1: the slot has no place there. Sizes are for n_tokens tokens.
typedef struct axl_unit_plan {
    int64_t saved[AXL_MAX_SLOTS];     // in the layer's own saved region
    int64_t forward[AXL_MAX_SLOTS];   // in scratch, during forward
    int64_t backward[AXL_MAX_SLOTS];  // in scratch, during backward: rebuilt slots and op scratch
    int64_t grad[AXL_MAX_SLOTS];      // in scratch, during backward
    int16_t grad_root[AXL_MAX_SLOTS]; // gradients of slots with one root share memory
    bool acc[AXL_MAX_INSNS][AXL_MAX_IN]; // add to the gradient of this input
    int16_t rerun[AXL_MAX_INSNS];        // instructions that backward runs again first, in order
    int n_rerun;
    size_t saved_bytes, forward_bytes, backward_bytes;
    bool in_place; // the gradient of the input carry is left where that of the output carry was
} axl_unit_plan;

// trainable [p->n_weights]: which weights get gradients; dtype and stat as in axl_run.
// AXL_E_BUG when the program asks for what cannot be planned.
axl_status axl_unit_plan_make(const axl_program *p, const bool *trainable, axl_checkpointing mode,
                              int64_t n_tokens, axl_dtype dtype, axl_dtype stat,
                              axl_unit_plan *out);

// Forward floating-point operations of a program for n tokens whose documents have `pairs` (query, key)
// pairs.
double axl_program_flops(const axl_program *p, double n, double pairs);

#endif
