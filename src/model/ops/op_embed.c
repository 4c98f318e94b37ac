// Token ids to rows of the embedding matrix; backward adds rows in the order of tokens. A tp rank holds some of
// the words: the others' come out as zeros, and the ranks' results are summed.
#include "src/model/ops.h"

static axl_status forward(axl_exec *x, const axl_insn *i)
{
    axl_status status = AXL_OK;
    const axl_param *p = x->w[i->w[0]];
    const axl_embed_args a = {.ids = x->run->ids,
                              .n_tokens = x->run->n_tokens,
                              .cols = p->cols,
                              .row0 = p->row_base,
                              .n_rows = p->rows,
                              .table = p->full,
                              .scale = i->arg.embed.scale,
                              .dtype = x->run->dtype,
                              .out = x->slot[i->out[0]]};

    AXL_TRY(x->run->device->kernels->embed_fwd(x->run->device->compute, &a));
    if (i->arg.embed.partial)
        AXL_TRY(axl_exec_tp_sum(x, x->slot[i->out[0]], p->cols));
out:
    return status;
}

static axl_status backward(axl_exec *x, const axl_insn *i, const bool acc[AXL_MAX_IN])
{
    axl_status status = AXL_OK;
    const axl_param *p = x->w[i->w[0]];
    bool add = false;
    void *dw = axl_exec_weight_grad(x, i, 0, &add);

    (void)acc; // ids have no gradient
    if (dw == NULL)
        goto out;
    if (!add) // most rows get nothing: they must read as zero
        AXL_TRY(
            x->run->device->ops->zero(x->run->device->compute, dw,
                                      (size_t)(p->rows * p->cols) * axl_dtype_size(x->run->stat)));
    const axl_embed_bwd_args a = {.ids = x->run->ids,
                                  .n_tokens = x->run->n_tokens,
                                  .cols = p->cols,
                                  .row0 = p->row_base,
                                  .n_rows = p->rows,
                                  .dout = x->grad[i->out[0]],
                                  .scale = i->arg.embed.scale,
                                  .dtype = x->run->dtype,
                                  .dtable = dw};
    AXL_TRY(x->run->device->kernels->embed_bwd(x->run->device->compute, &a));
out:
    return status;
}

const axl_op_def axl_op_embed = {.name = "embed", .forward = forward, .backward = backward};
