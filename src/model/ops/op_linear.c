// y = x W^T + b. Backward: dx = dy W, dW = dy^T x in f32, db = column sums. When x holds this tp rank's part of the
// inputs, y is a part of a sum; the bias goes in once.
//
// In 8 bits x, W and dy are e4m3 with scales in the products for y and dx; dW is made of x and dy as they are.
#include "src/model/ops.h"

static axl_status forward_fp8(axl_exec *x, const axl_insn *i, const void *bias)
{
    const axl_gemm_fp8_args a = {.m = x->run->n_tokens,
                                 .n = i->arg.linear.out,
                                 .k = i->arg.linear.in,
                                 .a = x->slot[i->in[1]],
                                 .scale_a = x->slot[i->in[2]],
                                 .b = axl_exec_weight(x, i, 0),
                                 .scale_b = axl_exec_weight_scale(x, i, 0),
                                 .trans_b = true,
                                 .dtype = x->run->dtype,
                                 .c = x->slot[i->out[0]],
                                 .bias = bias};

    return x->run->device->kernels->gemm_fp8(x->run->device->compute, &a);
}

static axl_status forward(axl_exec *x, const axl_insn *i)
{
    axl_status status = AXL_OK;
    const bool partial = i->arg.linear.partial;
    const bool first = !partial || x->run->mesh->coord[AXL_TP] == 0;
    int64_t in = i->arg.linear.in;
    int64_t n_out = i->arg.linear.out;
    const void *bias = first ? axl_exec_weight(x, i, 1) : NULL;
    const axl_gemm_args a = {.m = x->run->n_tokens,
                             .n = n_out,
                             .k = in,
                             .a = x->slot[i->in[0]],
                             .lda = in,
                             .b = axl_exec_weight(x, i, 0),
                             .ldb = in,
                             .trans_b = true,
                             .c = x->slot[i->out[0]],
                             .ldc = n_out,
                             .alpha = 1.0f,
                             .dtype = x->run->dtype,
                             .dtype_c = x->run->dtype,
                             .bias = bias};

    if (i->arg.linear.fp8)
        AXL_TRY(forward_fp8(x, i, bias));
    else
        AXL_TRY(x->run->device->kernels->gemm(x->run->device->compute, &a));
    if (partial)
        AXL_TRY(axl_exec_tp_sum(x, x->slot[i->out[0]], n_out));
out:
    return status;
}

// The gradient of the input, set or added.
static axl_status backward_fp8(axl_exec *x, const axl_insn *i, bool add)
{
    axl_status status = AXL_OK;
    const axl_kernels *kernels = x->run->device->kernels;
    axl_stream *s = x->run->device->compute;
    const axl_cast_fp8_args dy = {.src = x->grad[i->out[0]],
                                  .rows = x->run->n_tokens,
                                  .cols = i->arg.linear.out,
                                  .dtype = x->run->dtype,
                                  .dst = x->slot[i->scratch + AXL_LINEAR_DY],
                                  .scale = x->slot[i->scratch + AXL_LINEAR_DY_SCALE]};
    const axl_gemm_fp8_args a = {.m = x->run->n_tokens,
                                 .n = i->arg.linear.in,
                                 .k = i->arg.linear.out,
                                 .a = dy.dst,
                                 .scale_a = dy.scale,
                                 .b = axl_exec_weight(x, i, 0),
                                 .scale_b = axl_exec_weight_scale(x, i, 0),
                                 .accumulate = add,
                                 .dtype = x->run->dtype,
                                 .c = x->grad[i->in[0]]};

    AXL_TRY(kernels->cast_fp8(s, &dy));
    AXL_TRY(kernels->gemm_fp8(s, &a));
out:
    return status;
}

static axl_status backward(axl_exec *x, const axl_insn *i, const bool acc[AXL_MAX_IN])
{
    axl_status status = AXL_OK;
    const axl_kernels *kernels = x->run->device->kernels;
    axl_stream *s = x->run->device->compute;
    int64_t in = i->arg.linear.in;
    int64_t out = i->arg.linear.out;
    const void *dy = x->grad[i->out[0]];
    bool add = false;

    void *dw = axl_exec_weight_grad(x, i, 0, &add);
    if (dw != NULL) {
        const axl_gemm_args a = {.m = out,
                                 .n = in,
                                 .k = x->run->n_tokens,
                                 .a = dy,
                                 .lda = out,
                                 .trans_a = true,
                                 .b = x->slot[i->in[0]],
                                 .ldb = in,
                                 .c = dw,
                                 .ldc = in,
                                 .accumulate = add,
                                 .alpha = 1.0f,
                                 .dtype = x->run->dtype,
                                 .dtype_c = x->run->stat};
        AXL_TRY(kernels->gemm(s, &a));
    }
    void *db = axl_exec_weight_grad(x, i, 1, &add);
    if (db != NULL) {
        const axl_bias_bwd_args a = {.dout = dy,
                                     .rows = x->run->n_tokens,
                                     .cols = out,
                                     .dtype = x->run->dtype,
                                     .db = db,
                                     .accumulate = add};
        AXL_TRY(kernels->bias_bwd(s, &a));
    }
    if (i->arg.linear.fp8) {
        AXL_TRY(backward_fp8(x, i, acc[0]));
        goto out;
    }
    const axl_gemm_args a = {.m = x->run->n_tokens,
                             .n = in,
                             .k = out,
                             .a = dy,
                             .lda = out,
                             .b = axl_exec_weight(x, i, 0),
                             .ldb = in,
                             .c = x->grad[i->in[0]],
                             .ldc = in,
                             .accumulate = acc[0],
                             .alpha = 1.0f,
                             .dtype = x->run->dtype,
                             .dtype_c = x->run->dtype};
    AXL_TRY(kernels->gemm(s, &a));
out:
    return status;
}

static double flops(const axl_insn *i, double n, double pairs)
{
    (void)pairs;
    return 2.0 * n * (double)i->arg.linear.in * (double)i->arg.linear.out;
}

const axl_op_def axl_op_linear = {.name = "linear",
                                  .forward = forward,
                                  .backward = backward,
                                  .needs_in_if_trainable = 1,
                                  .flops = flops};
