// The chunked head. Rows without a label are dropped before the large product and get zero gradients after it:
// both moves are the embedding kernel, reading rows by an index list.
#include "src/model/head.h"

#include <string.h>

static axl_unit *head_unit(const axl_work *w)
{
    return &w->model->units[w->model->n_units - 1];
}

static axl_exec head_exec(axl_work *w)
{
    axl_unit *u = head_unit(w);

    w->run.layer = -1;
    return (axl_exec){.run = &w->run, .program = axl_model_program(w->model, u), .w = u->uses};
}

// out[i] = table[index[i]], zeros where the index is -1.
static axl_status pick_rows(axl_work *w, const int32_t *index, int64_t n, const void *table,
                            int64_t n_rows, void *out)
{
    const axl_embed_args a = {.ids = index,
                              .n_tokens = n,
                              .cols = w->model->arch.hidden,
                              .n_rows = n_rows,
                              .table = table,
                              .scale = 1.0f,
                              .dtype = w->run.dtype,
                              .out = out};

    return w->device->kernels->embed_fwd(w->device->compute, &a);
}

// Statistics of this rank's words -> those of the whole vocabulary, for n rows.
static axl_status join_slices(axl_work *w, char *lse, char *logp, int64_t n)
{
    axl_status status = AXL_OK;
    axl_comm *tp = w->model->mesh->axis[AXL_TP];
    axl_stream *s = w->device->compute;
    axl_ce_merge_args a = {.rows = n,
                           .dtype = w->run.stat,
                           .top = w->top,
                           .target = w->target,
                           .sum = w->sum,
                           .lse = lse,
                           .logp = logp};

    AXL_TRY(w->device->ops->copy(s, w->top, lse, (size_t)n * axl_dtype_size(w->run.stat)));
    AXL_TRY(axl_comm_all_reduce(tp, w->top, n, w->run.stat, AXL_REDUCE_MAX, s));
    AXL_TRY(w->device->kernels->ce_merge(s, &a));
    AXL_TRY(axl_comm_all_reduce(tp, w->sum, n, w->run.stat, AXL_REDUCE_SUM, s));
    AXL_TRY(axl_comm_all_reduce(tp, w->target, n, w->run.stat, AXL_REDUCE_SUM, s));
    a.finish = true;
    AXL_TRY(w->device->kernels->ce_merge(s, &a));
out:
    return status;
}

static axl_status chunk_logits(axl_work *w, int64_t row0, int64_t n)
{
    axl_status status = AXL_OK;
    const axl_kernels *kernels = w->device->kernels;
    const axl_param *p = w->model->lm_head;
    int64_t d = w->model->arch.hidden;
    int64_t v = axl_param_real_rows(p);
    size_t stat = axl_dtype_size(w->run.stat);
    const bool sliced = w->model->mesh->size[AXL_TP] > 1;
    const axl_gemm_args g = {.m = n,
                             .n = v,
                             .k = d,
                             .a = w->hidden + (size_t)(row0 * d) * axl_dtype_size(w->run.dtype),
                             .lda = d,
                             .b = p->full,
                             .ldb = d,
                             .trans_b = true,
                             .c = w->logits,
                             .ldc = v,
                             .alpha = 1.0f,
                             .dtype = w->run.dtype,
                             .dtype_c = w->run.stat};
    const axl_ce_args c = {.logits = w->logits,
                           .labels = w->labels + row0,
                           .rows = n,
                           .vocab = v,
                           .ld = v,
                           .label0 = p->row_base,
                           .dtype = w->run.stat,
                           .lse = w->lse + (size_t)row0 * stat,
                           .logp = w->logp + (size_t)row0 * stat,
                           .target = sliced ? w->target : NULL};

    AXL_TRY(kernels->gemm(w->device->compute, &g));
    AXL_TRY(axl_device_progress(w->device));
    AXL_TRY(kernels->ce_fwd(w->device->compute, &c));
    if (sliced)
        AXL_TRY(join_slices(w, c.lse, c.logp, n));
out:
    return status;
}

static axl_status chunk_gradients(axl_work *w, int64_t row0, int64_t n)
{
    axl_status status = AXL_OK;
    const axl_kernels *kernels = w->device->kernels;
    axl_param *p = w->model->lm_head;
    int64_t d = w->model->arch.hidden;
    int64_t v = axl_param_real_rows(p);
    size_t e = axl_dtype_size(w->run.dtype);
    size_t stat = axl_dtype_size(w->run.stat);
    const axl_ce_bwd_args c = {.logits = w->logits,
                               .labels = w->labels + row0,
                               .lse = w->lse + (size_t)row0 * stat,
                               .grad = w->grad_logp + (size_t)row0 * stat,
                               .rows = n,
                               .vocab = v,
                               .ld = v,
                               .ld_out = v,
                               .label0 = p->row_base,
                               .n_labels = p->file_rows,
                               .dtype = w->run.stat,
                               .dtype_out = w->run.dtype,
                               .dlogits = w->dlogits};
    const axl_gemm_args dh = {.m = n,
                              .n = d,
                              .k = v,
                              .a = w->dlogits,
                              .lda = v,
                              .b = p->full,
                              .ldb = d,
                              .c = w->grad_hidden + (size_t)(row0 * d) * e,
                              .ldc = d,
                              .alpha = 1.0f,
                              .dtype = w->run.dtype,
                              .dtype_c = w->run.dtype};

    AXL_TRY(kernels->ce_bwd(w->device->compute, &c));
    AXL_TRY(kernels->gemm(w->device->compute, &dh));
    AXL_TRY(axl_device_progress(w->device));
    if (w->model->mesh->size[AXL_TP] > 1)
        AXL_TRY(axl_comm_all_reduce(w->model->mesh->axis[AXL_TP], dh.c, n * d, w->run.dtype,
                                    AXL_REDUCE_SUM, w->device->compute));
    if (p->trainable) {
        const axl_gemm_args dw = {.m = v,
                                  .n = d,
                                  .k = n,
                                  .a = w->dlogits,
                                  .lda = v,
                                  .trans_a = true,
                                  .b = w->hidden + (size_t)(row0 * d) * e,
                                  .ldb = d,
                                  .c = p->grad_full,
                                  .ldc = d,
                                  .accumulate = p->grad_written,
                                  .alpha = 1.0f,
                                  .dtype = w->run.dtype,
                                  .dtype_c = w->run.stat};
        p->grad_written = true;
        AXL_TRY(kernels->gemm(w->device->compute, &dw));
        AXL_TRY(axl_device_progress(w->device));
    }
out:
    return status;
}

static axl_status put_grad_logp(axl_work *w, const double *grad)
{
    axl_status status = AXL_OK;
    const bool f64 = w->run.stat == AXL_F64;
    float *narrow = w->host_stats;

    AXL_TRY(w->device->ops->await(&w->graded)); // the staging is written anew
    if (f64)
        memcpy(w->host_stats, grad, (size_t)w->n_scored * sizeof *grad);
    for (int64_t i = 0; i < w->n_scored && !f64; i++)
        narrow[i] = (float)grad[i];
    AXL_TRY(w->device->ops->copy(w->device->compute, w->grad_logp, w->host_stats,
                                 (size_t)w->n_scored * axl_dtype_size(w->run.stat)));
    AXL_TRY(w->device->ops->record(w->device->compute, &w->graded));
out:
    return status;
}

axl_status axl_head_forward(axl_work *w, const double *grad_logp)
{
    axl_status status = AXL_OK;
    axl_exec x = head_exec(w);
    int u = w->model->n_units - 1;

    AXL_TRY(axl_exec_forward(&x, &w->plans[AXL_PROGRAM_HEAD], w->scratch, w->saved[u],
                             axl_work_carry(w, u), w->out_hidden));
    AXL_TRY(pick_rows(w, w->scored, w->n_scored, w->out_hidden, w->run.n_tokens, w->hidden));
    if (grad_logp != NULL)
        AXL_TRY(put_grad_logp(w, grad_logp));
    for (int64_t row0 = 0; row0 < w->n_scored; row0 += w->chunk) {
        int64_t n = w->n_scored - row0 < w->chunk ? w->n_scored - row0 : w->chunk;
        AXL_TRY_CTX(chunk_logits(w, row0, n), "lm_head");
        if (grad_logp != NULL)
            AXL_TRY_CTX(chunk_gradients(w, row0, n), "lm_head (backward)");
    }
out:
    return status;
}

axl_status axl_head_gradients(axl_work *w, const double *grad_logp)
{
    axl_status status = AXL_OK;

    AXL_TRY(put_grad_logp(w, grad_logp));
    for (int64_t row0 = 0; row0 < w->n_scored; row0 += w->chunk) {
        int64_t n = w->n_scored - row0 < w->chunk ? w->n_scored - row0 : w->chunk;
        AXL_TRY_CTX(chunk_logits(w, row0, n), "lm_head (recomputed)");
        AXL_TRY_CTX(chunk_gradients(w, row0, n), "lm_head (backward)");
    }
out:
    return status;
}

axl_status axl_head_backward(axl_work *w)
{
    axl_status status = AXL_OK;
    axl_exec x = head_exec(w);
    int u = w->model->n_units - 1;

    AXL_TRY(pick_rows(w, w->slot_of_token, w->run.n_tokens, w->grad_hidden, w->n_scored, w->grad));
    AXL_TRY(axl_exec_backward(&x, &w->plans[AXL_PROGRAM_HEAD], w->scratch, w->saved[u],
                              axl_work_carry(w, u), w->grad));
out:
    return status;
}

axl_status axl_head_begin_logp(axl_work *w)
{
    axl_status status = AXL_OK;

    // the gradients that lie there have gone up before logp comes down
    if (!w->device->host_memory)
        AXL_TRY(w->device->ops->copy(w->device->compute, w->host_stats, w->logp,
                                     (size_t)w->n_scored * axl_dtype_size(w->run.stat)));
    AXL_TRY(w->device->ops->record(w->device->compute, &w->fetched));
    w->fetching = true;
out:
    return status;
}

axl_status axl_head_logp(axl_work *w, double *logp)
{
    axl_status status = AXL_OK;
    const char *from = w->device->host_memory ? w->logp : w->host_stats;

    if (!w->fetching)
        AXL_TRY(axl_head_begin_logp(w));
    w->fetching = false;
    AXL_TRY(w->device->ops->await(&w->fetched));
    for (int64_t i = 0; i < w->n_scored; i++) {
        float f;
        if (w->run.stat == AXL_F64) {
            memcpy(&logp[i], from + (size_t)i * 8, 8);
            continue;
        }
        memcpy(&f, from + (size_t)i * 4, 4);
        logp[i] = (double)f;
    }
out:
    return status;
}

axl_status axl_head_last_logits(axl_work *w, float *logits)
{
    axl_status status = AXL_OK;
    axl_exec x = head_exec(w);
    int u = w->model->n_units - 1;
    int64_t d = w->model->arch.hidden;
    int64_t v = w->model->arch.vocab;
    size_t row = (size_t)d * axl_dtype_size(w->run.dtype);

    AXL_TRY(axl_exec_forward(&x, &w->plans[AXL_PROGRAM_HEAD], w->scratch, w->saved[u],
                             axl_work_carry(w, u), w->out_hidden));
    const axl_gemm_args g = {.m = 1,
                             .n = v,
                             .k = d,
                             .a = w->out_hidden + (size_t)(w->run.n_tokens - 1) * row,
                             .lda = d,
                             .b = w->model->lm_head->full,
                             .ldb = d,
                             .trans_b = true,
                             .c = w->logits,
                             .ldc = v,
                             .alpha = 1.0f,
                             .dtype = w->run.dtype,
                             .dtype_c = w->run.stat};
    AXL_TRY(w->device->kernels->gemm(w->device->compute, &g));
    AXL_TRY(w->device->ops->copy(w->device->compute, logits, w->logits, (size_t)v * sizeof(float)));
    AXL_TRY(w->device->ops->synchronize(w->device->compute));
out:
    return status;
}
