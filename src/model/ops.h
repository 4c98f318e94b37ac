// The table of ops: what an instruction does forward and backward, what its backward reads, what it costs.
#ifndef AXL_MODEL_OPS_H
#define AXL_MODEL_OPS_H

#include "src/model/exec.h"
#include "src/model/program.h"

typedef enum axl_op {
    AXL_OP_EMBED,
    AXL_OP_LINEAR,
    AXL_OP_NORM,
    AXL_OP_ROPE,
    AXL_OP_ATTENTION,
    AXL_OP_ADD,
    AXL_OP_GLU,
    AXL_OP_TP_ENTER,
    AXL_OP_MOE,
    AXL_OP_CAST_FP8,
    AXL_N_OPS
} axl_op;

// The scratch slots of AXL_OP_LINEAR in 8 bits, from insn.scratch on.
typedef enum axl_linear_scratch {
    AXL_LINEAR_DY,       // [T, out] e4m3: the gradient of the output
    AXL_LINEAR_DY_SCALE, // [T] statistics
    AXL_LINEAR_N_SCRATCH
} axl_linear_scratch;

// The scratch slots of AXL_OP_MOE, from insn.scratch on. With one rank of ep home and the weights at the experts
// are empty: the copies themselves are what the experts see.
typedef enum axl_moe_scratch {
    AXL_MOE_COPIES, // [T, k] ints: token copies in the order of experts, their tokens, and their places
    AXL_MOE_TOKENS,
    AXL_MOE_PLACES,
    AXL_MOE_COUNTS,     // [E] ints
    AXL_MOE_ALL_COUNTS, // [ep, E] ints
    AXL_MOE_LOGITS,     // [T, E]; in backward their gradient, too
    AXL_MOE_HOME,       // [T, k * D] rows of this rank's copies, to and from the experts
    AXL_MOE_ROWS,       // [routed, D] what the experts see, and make
    AXL_MOE_GATE,       // [routed, J]
    AXL_MOE_UP,         // [routed, J]
    AXL_MOE_ACT,        // [routed, J] act(gate) * up
    AXL_MOE_DROWS, // [routed, D] backward from here on: dout of the tokens, then the gradient of rows
    AXL_MOE_DACT,        // [routed, J]
    AXL_MOE_HOME_WEIGHT, // [T, k] statistics, in the order of experts; its gradient
    AXL_MOE_HOME_DWEIGHT,
    AXL_MOE_WEIGHT, // [routed] statistics, at the experts; its gradient
    AXL_MOE_DWEIGHT,
    AXL_MOE_DWEIGHTS, // [T, k] statistics: of the router's weights
    AXL_MOE_N_SCRATCH
} axl_moe_scratch;

// Bytes that a rank sends to the others of ep in one pass of an AXL_OP_MOE, when sent_rows of its token copies go to
// their experts and received_rows of the others' come to its own: rows there and back, in backward rows and gradients
// there, a gradient back, and the weights and theirs. Beside them travel the counts (comm/dispatch.h).
int64_t axl_moe_sent_bytes(const axl_insn *i, bool backward, int64_t sent_rows,
                           int64_t received_rows, axl_dtype dtype, axl_dtype stat);

typedef struct axl_op_def {
    const char *name;
    axl_status (*forward)(axl_exec *x, const axl_insn *i);
    // Gradients of the inputs from those of the outputs; acc[k]: add to the gradient of in[k], else set it.
    // Gradients of weights go to the params' grad_full (axl_exec_weight_grad).
    axl_status (*backward)(axl_exec *x, const axl_insn *i, const bool acc[AXL_MAX_IN]);
    uint32_t needs_in, needs_out;   // which inputs and outputs backward reads: bits by position
    uint32_t needs_in_if_trainable; // further inputs it reads when w[0] is trainable
    uint32_t keeps;     // outputs that every save set keeps: small, and costly to rebuild
    uint32_t sets_only; // inputs whose gradient it can set but not add to
    bool in_place;      // its backward changes the gradient of in[0] where it is, or gives none
    bool host_work; // its host side waits for what the device made: it cannot be part of a graph
    bool cheap;     // selective checkpointing re-runs it
    // Floating-point operations of forward for n tokens; attention counts sum of squares of document
    // lengths / 2 in `pairs`. Backward costs twice that. NULL: none (bandwidth only).
    double (*flops)(const axl_insn *i, double n, double pairs);
} axl_op_def;

extern const axl_op_def *const axl_ops[AXL_N_OPS];

#define AXL_OP_ROW(name) extern const axl_op_def axl_op_##name;
AXL_OP_ROW(embed)
AXL_OP_ROW(linear)
AXL_OP_ROW(norm)
AXL_OP_ROW(rope)
AXL_OP_ROW(attention)
AXL_OP_ROW(add)
AXL_OP_ROW(glu)
AXL_OP_ROW(tp_enter)
AXL_OP_ROW(moe)
AXL_OP_ROW(cast_fp8)
#undef AXL_OP_ROW

#endif
