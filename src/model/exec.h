// Running a program forward and backward on planned memory.
//
// axl_run holds what all units of one pass share (the batch on the device); axl_exec is one program about to
// run: its weights, and a pointer for every slot and every slot's gradient, laid out by the plan.
#ifndef AXL_MODEL_EXEC_H
#define AXL_MODEL_EXEC_H

#include "comm/dispatch.h"
#include "comm/ring_attention.h"
#include "kernels/kernels.h"
#include "sharding/param.h"
#include "src/base/trace.h"
#include "src/model/arch.h"
#include "src/model/plan.h"
#include "src/model/program.h"

// Keys and values of earlier tokens of one sequence, per layer; used for generation only.
typedef struct axl_kv_cache {
    void **k, **v;    // [n_layers][capacity, Hk * Dh] activations dtype; owned
    int64_t capacity; // tokens
    int64_t length;   // tokens held
    int n_layers;
} axl_kv_cache;

// What the auxiliary loss of a mixture of experts needs of one micro-batch, summed over its layers.
typedef struct axl_router_load {
    void *prob_sum; // [n_experts] statistics, device: probabilities of all tokens
    void *dprobs; // [n_experts] statistics, device: d loss / d probability, the same for all tokens
    int64_t *counts; // [n_experts], host: token copies
    int64_t n_rows;  // pairs of token and layer
} axl_router_load;

typedef struct axl_run {
    axl_device *device;    // borrowed
    axl_mesh *mesh;        // borrowed
    axl_dtype dtype, stat; // of activations; of statistics and gradients of weights
    int64_t n_tokens;      // T
    bool idle;             // nothing to compute, and nobody waits for this rank inside a unit
    int64_t max_tokens;    // that memory is planned for, the same on all ranks
    int32_t n_seqs, max_seqlen;
    const int32_t *ids;        // [T] on the device
    const int32_t *positions;  // [T]
    const int32_t *cu_seqlens; // [n_seqs + 1]
    const int32_t *prefix;     // [n_seqs] tokens of a prompt; NULL unless the mask is a prefix
    const int32_t *groups[2];  // [n_seqs * AXL_S2_GROUPS + 1]; NULL unless attention is shifted
    float *cos[AXL_MAX_ROPES], *sin[AXL_MAX_ROPES]; // [T, half]
    axl_ring *ring;         // borrowed; NULL when each rank holds whole documents
    axl_kv_cache *kv;       // NULL in training
    axl_dispatch *dispatch; // of experts; NULL: the model has none
    axl_router_load *load;  // NULL: no auxiliary loss
    const int32_t
        *cu_seqlens_k; // [n_seqs + 1] with kv: keys per sequence; [1] = tokens held and new
    int32_t layer;     // of the unit that runs; picks the cache
    axl_trace *trace;  // borrowed; NULL: spans of instructions are not kept
} axl_run;

typedef struct axl_exec {
    axl_run *run;               // borrowed
    const axl_program *program; // borrowed
    axl_param **w;              // [program->n_weights], borrowed
    bool again;                 // forward is re-run: what it counts has been counted
    void *slot[AXL_MAX_SLOTS];  // [T, cols]; NULL: not live
    void *grad[AXL_MAX_SLOTS];
} axl_exec;

// Bytes of one element of a slot.
size_t axl_exec_slot_size(const axl_run *run, const axl_slot_info *s);

// The full weight k of an instruction, in the activations' dtype or, if so declared, e4m3; NULL when it has none.
const void *axl_exec_weight(const axl_exec *x, const axl_insn *i, int k);

// The scale of weight k, [1]: only of one that is e4m3.
const float *axl_exec_weight_scale(const axl_exec *x, const axl_insn *i, int k);

// Where the gradient of weight k goes, and whether to add; NULL when it is frozen or absent. Marks it
// written.
void *axl_exec_weight_grad(axl_exec *x, const axl_insn *i, int k, bool *accumulate);

// Sums rows [T, cols] of the activations' dtype over the tp ranks, in place.
axl_status axl_exec_tp_sum(const axl_exec *x, void *rows, int64_t cols);

// Runs the program: reads carry_in [T, cols] (NULL for the embedding), writes carry_out and the saved region.
// scratch holds plan->forward_bytes, saved plan->saved_bytes. Returns the first failing op's status with its
// name. Local; the weights of x->w must be gathered.
axl_status axl_exec_forward(axl_exec *x, const axl_unit_plan *plan, void *scratch, void *saved,
                            const void *carry_in, void *carry_out);

// Runs the derivative: grad [T, cols of the output carry] holds the gradient of the output carry and is
// left holding that of the input carry (of the same width). carry_in and saved are those of forward; scratch
// holds plan->backward_bytes.
axl_status axl_exec_backward(axl_exec *x, const axl_unit_plan *plan, void *scratch, void *saved,
                             const void *carry_in, void *grad);

#endif
