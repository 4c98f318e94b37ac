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
    AXL_N_OPS
} axl_op;

typedef struct axl_op_def {
    const char *name;
    axl_status (*forward)(axl_exec *x, const axl_insn *i);
    // Gradients of the inputs from those of the outputs; acc[k]: add to the gradient of in[k], else set it.
    // Gradients of weights go to the params' grad_full (axl_exec_weight_grad).
    axl_status (*backward)(axl_exec *x, const axl_insn *i, const bool acc[AXL_MAX_IN]);
    uint32_t needs_in, needs_out;   // which inputs and outputs backward reads: bits by position
    uint32_t needs_in_if_trainable; // further inputs it reads when w[0] is trainable
    uint32_t sets_only;             // inputs whose gradient it can set but not add to
    bool in_place; // has no output: its backward changes the gradient of in[0] where it is
    bool cheap;    // selective checkpointing re-runs it
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
#undef AXL_OP_ROW

#endif
