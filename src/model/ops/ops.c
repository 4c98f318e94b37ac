// The table itself, in the order of axl_op.
#include "src/model/ops.h"

const axl_op_def *const axl_ops[AXL_N_OPS] = {
    [AXL_OP_EMBED] = &axl_op_embed,
    [AXL_OP_LINEAR] = &axl_op_linear,
    [AXL_OP_NORM] = &axl_op_norm,
    [AXL_OP_ROPE] = &axl_op_rope,
    [AXL_OP_ATTENTION] = &axl_op_attention,
    [AXL_OP_ADD] = &axl_op_add,
    [AXL_OP_GLU] = &axl_op_glu,
    [AXL_OP_TP_ENTER] = &axl_op_tp_enter,
    [AXL_OP_MOE] = &axl_op_moe,
    [AXL_OP_CAST_FP8] = &axl_op_cast_fp8,
};
