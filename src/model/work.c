// Taking and cutting up the memory of a pass. One function lists all buffers in order; it runs once to add up
// sizes and once to hand out pointers, so the plan and the allocation cannot disagree.
#include "src/model/work.h"

#include "comm/cp_layout.h"
#include "src/base/mem.h"
#include "src/model/graphs.h"
#include "src/model/offload.h"
#include "src/model/router.h"

#include <stdlib.h>
#include <string.h>

enum { AXL_MAX_RING_WINDOWS = 4 }; // a model's layers have one or two

#define LOGITS_BYTES                                                                               \
    ((int64_t)128 << 20) // a chunk of logits: large enough for gemm, small beside the model

static int64_t head_chunk(const axl_model *m, int64_t n_tokens, size_t stat)
{
    int64_t rows = LOGITS_BYTES / (m->lm_head->rows * (int64_t)stat) / 64 * 64;

    rows = rows < 64 ? 64 : rows;
    return rows < n_tokens ? rows : n_tokens;
}

static size_t stat_size(const axl_work_options *o)
{
    return o->dtype == AXL_F64 ? 8 : 4;
}

static axl_dtype stat_dtype(const axl_work_options *o)
{
    return o->dtype == AXL_F64 ? AXL_F64 : AXL_F32;
}

// Hands out the next bytes of the memory: with base NULL only counts them in *class_bytes.
static char *cut(char *base, size_t *at, size_t *class_bytes, size_t bytes)
{
    char *p = base != NULL ? base + *at : NULL;

    *at += axl_align_up(bytes);
    *class_bytes += axl_align_up(bytes);
    return p;
}

static bool is_shifted(const axl_work *w)
{
    return w->model->arch.attention.numerics == AXL_ATTN_SHIFTED;
}

static void cut_batch(axl_work *w, size_t *at, char *base)
{
    const axl_work_options *o = &w->options;
    size_t *b = &w->bytes.batch;
    size_t t = (size_t)o->n_tokens * sizeof(int32_t);

    w->run.ids = (const int32_t *)(void *)cut(base, at, b, t);
    w->run.positions = (const int32_t *)(void *)cut(base, at, b, t);
    w->run.cu_seqlens = (const int32_t *)(void *)cut(base, at, b, (size_t)(o->n_seqs + 1) * 4);
    if (w->model->arch.attention.rule == AXL_RULE_PREFIX)
        w->run.prefix = (const int32_t *)(void *)cut(base, at, b, (size_t)o->n_seqs * 4);
    for (int k = 0; k < 2 && is_shifted(w); k++)
        w->run.groups[k] =
            (const int32_t *)(void *)cut(base, at, b, (size_t)(o->n_seqs * AXL_S2_GROUPS + 1) * 4);
    w->scored = (int32_t *)(void *)cut(base, at, b, t);
    w->slot_of_token = (int32_t *)(void *)cut(base, at, b, t);
    w->labels = (int32_t *)(void *)cut(base, at, b, t);
    w->inv_freq = (float *)(void *)cut(base, at, b, AXL_MAX_ROPE_PAIRS * sizeof(float));
    for (int r = 0; r < w->model->arch.n_ropes; r++) {
        size_t table = t * (size_t)(w->model->arch.ropes[r].rotary_dim / 2);
        w->run.cos[r] = (float *)(void *)cut(base, at, b, table);
        w->run.sin[r] = (float *)(void *)cut(base, at, b, table);
    }
}

// Of the router's load, when there is an auxiliary loss.
static void cut_load(axl_work *w, size_t *at, char *base)
{
    const axl_moe *moe = &w->model->arch.moe;
    const size_t bytes = moe->aux_coef > 0.0 ? (size_t)moe->n_experts * stat_size(&w->options) : 0;

    w->load.prob_sum = cut(base, at, &w->bytes.batch, bytes);
    w->load.dprobs = cut(base, at, &w->bytes.batch, bytes);
}

static void cut_head(axl_work *w, size_t *at, char *base)
{
    const axl_work_options *o = &w->options;
    size_t *b = &w->bytes.head;
    size_t e = axl_dtype_size(o->dtype);
    size_t stat = stat_size(o);
    size_t rows = (size_t)(o->n_tokens * w->model->arch.hidden) * e;
    size_t n = (size_t)o->n_tokens * stat;

    w->chunk = head_chunk(w->model, o->n_tokens, stat);
    const bool sliced = w->model->mesh->size[AXL_TP] > 1;
    const size_t slice = sliced ? (size_t)w->chunk * stat : 0;
    size_t chunk = (size_t)(w->chunk * w->model->lm_head->rows);
    w->out_hidden = cut(base, at, b, rows);
    w->hidden = cut(base, at, b, rows);
    w->logits = cut(base, at, b, chunk * stat);
    w->lse = cut(base, at, b, n);
    w->logp = cut(base, at, b, n);
    w->grad_logp = cut(base, at, b, n);
    w->top = cut(base, at, b, slice);
    w->sum = cut(base, at, b, slice);
    w->target = cut(base, at, b, slice);
    w->dlogits = w->logits;
    if (o->train) {
        w->grad_hidden = cut(base, at, b, rows);
        if (o->dtype == AXL_BF16)
            w->dlogits = cut(base, at, b, chunk * e);
    }
}

// The saved regions: one a unit, or places that units take in turn and that hold what any of them keeps.
static void cut_saved(axl_work *w, size_t *at, char *base)
{
    const axl_model *m = w->model;
    const int n = axl_work_places(w, AXL_OFFLOAD_ALL);
    size_t most = 0;

    for (int p = 0; p < m->n_programs && n < m->n_units; p++)
        most = w->plans[p].saved_bytes > most ? w->plans[p].saved_bytes : most;
    for (int u = 0; u < m->n_units; u++) {
        const size_t own = w->plans[m->units[u].program].saved_bytes;
        if (u >= n)
            w->saved[u] = w->saved[u - n];
        else if (w->options.train || u == 0)
            w->saved[u] = cut(base, at, &w->bytes.saved, n < m->n_units ? most : own);
        else // nothing is read back: all units write over the same region
            w->saved[u] = w->scratch;
    }
}

// All buffers in order; base NULL: count only.
static size_t cut_all(axl_work *w, char *base)
{
    const axl_work_options *o = &w->options;
    const axl_model *m = w->model;
    size_t at = 0;
    size_t scratch = 0;
    size_t row = axl_align_up((size_t)(o->n_tokens * m->arch.hidden) * axl_dtype_size(o->dtype));

    w->bytes = (axl_work_bytes){0};
    cut_batch(w, &at, base);
    cut_load(w, &at, base);
    w->carries =
        cut(base, &at, &w->bytes.carries, row * (size_t)axl_work_places(w, AXL_OFFLOAD_INPUTS));
    for (int p = 0; p < m->n_programs; p++) {
        const axl_unit_plan *plan = &w->plans[p];
        scratch = plan->forward_bytes > scratch ? plan->forward_bytes : scratch;
        if (o->train && plan->backward_bytes > scratch)
            scratch = plan->backward_bytes;
    }
    cut_saved(w, &at, base);
    w->scratch = cut(base, &at, &w->bytes.scratch, scratch);
    if (o->train)
        w->grad = cut(base, &at, &w->bytes.grads, row);
    cut_head(w, &at, base);
    w->bytes.host = axl_offload_bytes(w);
    return at;
}

// The widths of the ring are those of any layer: all layers of one model have the same.
static axl_ring_options ring_options(const axl_model *m, const axl_work_options *o,
                                     int32_t windows[AXL_MAX_RING_WINDOWS])
{
    const axl_arch *a = &m->arch;
    const int tp = m->mesh->size[AXL_TP];
    axl_ring_options r = {.schedule = o->ring,
                          .n_ranks = m->mesh->size[AXL_CP],
                          .heads_k_stride = o->heads_k_stride > 0 ? o->heads_k_stride : 1,
                          .max_tokens = o->whole_tokens,
                          .max_seqs = (int32_t)o->n_seqs,
                          .n_heads = a->n_heads / tp,
                          .n_kv_heads = a->n_kv_heads > tp ? a->n_kv_heads / tp : 1,
                          .head_dim = a->head_dim,
                          .v_head_dim = a->head_dim,
                          .dtype = o->dtype,
                          .windows = windows};

    for (int l = 0; l < a->n_layers; l++) {
        int k = 0;
        while (k < r.n_windows && windows[k] != a->layers[l].window)
            k++;
        if (k == r.n_windows && k < AXL_MAX_RING_WINDOWS)
            windows[r.n_windows++] = a->layers[l].window;
    }
    return r;
}

static size_t ring_bytes(const axl_model *m, const axl_work_options *o)
{
    int32_t windows[AXL_MAX_RING_WINDOWS];
    const axl_ring_options r = ring_options(m, o, windows);

    return r.n_ranks > 1 ? axl_ring_bytes(&r) : 0;
}

static axl_status make_ring(axl_work *w)
{
    axl_status status = AXL_OK;
    int32_t windows[AXL_MAX_RING_WINDOWS];
    const axl_ring_options r = ring_options(w->model, &w->options, windows);

    if (r.n_ranks > 1)
        AXL_TRY(axl_ring_create(&r, w->model->mesh->axis[AXL_CP], w->device, &w->ring));
    w->run.ring = w->ring;
out:
    return status;
}

static axl_status make_plans(const axl_model *m, const axl_work_options *o, axl_unit_plan *plans)
{
    axl_status status = AXL_OK;

    for (int p = 0; p < m->n_programs; p++) {
        bool trainable[AXL_MAX_WEIGHTS] = {false};
        const axl_unit *u = m->units;
        while (u->program != p)
            u++;
        for (int k = 0; k < m->programs[p].n_weights; k++)
            trainable[k] = u->uses[k]->trainable;
        AXL_TRY(axl_unit_plan_make(&m->programs[p], trainable, o->checkpointing, o->n_tokens,
                                   o->dtype, stat_dtype(o), &plans[p]));
        if (!o->train) { // saved slots become scratch: they live to the end of the unit
            plans[p].forward_bytes += plans[p].saved_bytes;
        }
    }
out:
    return status;
}

axl_status axl_work_plan(const axl_model *m, const axl_work_options *o, axl_unit_plan *plans,
                         axl_work_bytes *out)
{
    axl_status status = AXL_OK;
    axl_work w = {.options = *o};
    axl_unit_plan *own = NULL;

    memcpy(&w.model, &m, sizeof w.model); // counting changes nothing of the model
    AXL_TRY(axl_calloc((size_t)m->n_programs, sizeof *own, "the unit plans", &own));
    AXL_TRY(axl_calloc((size_t)m->n_units, sizeof *w.saved, "the saved regions", &w.saved));
    w.plans = plans != NULL ? plans : own;
    AXL_TRY(make_plans(m, o, w.plans));
    (void)cut_all(&w, NULL);
    w.bytes.ring = ring_bytes(m, o);
    *out = w.bytes;
out:
    free(w.saved);
    free(own);
    return status;
}

size_t axl_work_total(const axl_work_bytes *b)
{
    return b->batch + b->carries + b->saved + b->scratch + b->grads + b->head + b->ring;
}

// What a mixture of experts needs on the host.
static axl_status init_experts(axl_work *w)
{
    axl_status status = AXL_OK;
    const axl_moe *moe = &w->model->arch.moe;
    const size_t n = (size_t)moe->n_experts;

    w->run.max_tokens = w->options.n_tokens;
    if (n == 0)
        goto out;
    AXL_TRY(axl_dispatch_create(w->model->mesh->axis[AXL_EP], w->device, moe->n_experts,
                                w->model->arch.n_layers, &w->dispatch));
    w->run.dispatch = w->dispatch;
    if (moe->aux_coef == 0.0)
        goto out;
    AXL_TRY(axl_calloc(n, sizeof *w->load.counts, "the experts' load", &w->load.counts));
    AXL_TRY(axl_calloc(2 * n + 2, sizeof *w->load_sums, "the experts' load", &w->load_sums));
    AXL_TRY(w->device->ops->host_alloc(w->device, n * stat_size(&w->options), "the experts' load",
                                       &w->load_stats));
    w->run.load = &w->load;
out:
    return status;
}

axl_status axl_work_imagine(axl_work *w, axl_model *m, const axl_work_options *o)
{
    axl_status status = AXL_OK;

    *w = (axl_work){.model = m, .options = *o};
    AXL_TRY(axl_calloc((size_t)m->n_programs, sizeof *w->plans, "the unit plans", &w->plans));
    AXL_TRY(axl_calloc((size_t)m->n_units, sizeof *w->saved, "the saved regions", &w->saved));
    AXL_TRY(make_plans(m, o, w->plans));
    w->memory_bytes = cut_all(w, NULL);
    w->bytes.ring = ring_bytes(m, o);
    if (m->arch.moe.n_experts > 0)
        AXL_TRY(axl_dispatch_imagine(m->mesh->size[AXL_EP], m->arch.moe.n_experts, &w->dispatch));
    w->run.dtype = o->dtype;
    w->run.stat = stat_dtype(o);
out:
    if (status != AXL_OK)
        axl_work_fini(w);
    return status;
}

// Three lists of the head, and the batch on its way to a device that cannot read it where it is.
static size_t host_bytes(const axl_work_options *o, const axl_device *device)
{
    const int64_t staged = device->host_memory ? 0 : 2 * o->n_tokens + o->n_seqs + 1;

    return (size_t)(3 * o->n_tokens + staged) * sizeof(int32_t);
}

static size_t mask_bytes(const axl_work_options *o)
{
    return (size_t)(o->n_seqs * AXL_S2_GROUPS + 1) * 2 * sizeof(int32_t);
}

// Frequencies on their way: of every table that a batch can have.
static size_t freq_bytes(const axl_work *w)
{
    const axl_arch *a = &w->model->arch;
    int64_t n = 0;

    for (int r = 0; r < a->n_ropes; r++)
        n += a->ropes[r].rotary_dim / 2 *
             (a->ropes[r].type == AXL_ROPE_DYNAMIC ? w->options.n_seqs : 1);
    return w->device->host_memory ? 0 : (size_t)n * sizeof(float);
}

static axl_status take_host(axl_work *w)
{
    axl_status status = AXL_OK;
    axl_device *d = w->device;
    void *host = NULL;

    AXL_TRY(d->ops->host_alloc(d, host_bytes(&w->options, d), "the batch", &host));
    w->host = host;
    AXL_TRY(d->ops->host_alloc(d, mask_bytes(&w->options), "the masks", &host));
    w->host_masks = host;
    AXL_TRY(d->ops->host_alloc(d, freq_bytes(w), "the rotations", &host));
    w->host_freq = host;
    w->host_stats_bytes = (size_t)w->options.n_tokens * stat_size(&w->options);
    AXL_TRY(d->ops->host_alloc(d, w->host_stats_bytes, "the tokens' losses", &w->host_stats));
out:
    return status;
}

axl_status axl_work_init(axl_work *w, axl_model *m, axl_device *device, const axl_work_options *o)
{
    axl_status status = AXL_OK;
    void *memory = NULL;

    *w = (axl_work){.model = m, .device = device, .options = *o};
    AXL_TRY(axl_calloc((size_t)m->n_programs, sizeof *w->plans, "the unit plans", &w->plans));
    AXL_TRY(axl_calloc((size_t)m->n_units, sizeof *w->saved, "the saved regions", &w->saved));
    AXL_TRY(take_host(w));
    AXL_TRY(make_plans(m, o, w->plans));
    w->memory_bytes = cut_all(w, NULL);
    AXL_TRY(device->ops->alloc(device, w->memory_bytes, "the activations", &memory));
    w->memory = memory;
    (void)cut_all(w, w->memory);
    w->bytes.ring = ring_bytes(m, o);
    AXL_TRY(make_ring(w));
    if (!o->train) // cut_all met the regions before scratch had its place
        for (int u = 0; u < m->n_units; u++)
            w->saved[u] = w->scratch + (w->plans[m->units[u].program].forward_bytes -
                                        w->plans[m->units[u].program].saved_bytes);
    w->run.device = device;
    w->run.mesh = m->mesh;
    AXL_TRY(init_experts(w));
    w->run.dtype = o->dtype;
    w->run.stat = stat_dtype(o);
    AXL_TRY(axl_offload_create(w, &w->offload));
    AXL_TRY(axl_graphs_create(w, &w->graphs));
out:
    if (status != AXL_OK)
        axl_work_fini(w);
    return status;
}

void axl_work_fini(axl_work *w)
{
    axl_graphs_destroy(w->graphs);
    axl_offload_destroy(w->offload);
    axl_ring_destroy(w->ring);
    if (w->device != NULL) {
        axl_device *d = w->device;
        (void)d->ops->synchronize(d->compute); // what is on its way reads and writes these
        d->ops->free(d, w->memory, w->memory_bytes);
        d->ops->host_free(d, w->host, host_bytes(&w->options, d));
        d->ops->host_free(d, w->host_stats, w->host_stats_bytes);
        d->ops->host_free(d, w->host_masks, mask_bytes(&w->options));
        d->ops->host_free(d, w->host_freq, freq_bytes(w));
        d->ops->host_free(d, w->load_stats,
                          (size_t)w->model->arch.moe.n_experts * stat_size(&w->options));
    }
    axl_dispatch_destroy(w->dispatch);
    free(w->load.counts);
    free(w->load_sums);
    free(w->plans);
    free(w->saved);
    *w = (axl_work){0};
}

static axl_status upload(axl_work *w, const int32_t *device, const int32_t *host, int64_t n)
{
    void *dst;

    memcpy(&dst, &device, sizeof dst);
    return w->device->ops->copy(w->device->compute, dst, host, (size_t)n * sizeof(int32_t));
}

// The same of the caller's memory, which is his again at once.
static axl_status upload_batch(axl_work *w, const int32_t *device, const int32_t *host, int64_t n)
{
    int32_t *staged = w->host + w->n_staged;

    if (w->device->host_memory)
        return upload(w, device, host, n);
    memcpy(staged, host, (size_t)n * sizeof *host);
    w->n_staged += n;
    return upload(w, device, staged, n);
}

// The borders of documents, and of empty ones behind them up to the number that launches are sized for.
static axl_status upload_borders(axl_work *w, const axl_batch *batch)
{
    const int32_t n = batch->n_seqs;
    int32_t *staged = w->host + w->n_staged;

    if (w->graphs == NULL)
        return upload_batch(w, w->run.cu_seqlens, batch->cu_seqlens, n + 1);
    memcpy(staged, batch->cu_seqlens, ((size_t)n + 1) * sizeof *staged);
    for (int32_t i = n + 1; i <= w->run.n_seqs; i++)
        staged[i] = batch->cu_seqlens[n];
    w->n_staged += w->run.n_seqs + 1;
    return upload(w, w->run.cu_seqlens, staged, w->run.n_seqs + 1);
}

// Rows with a label come first in the head: the others cost nothing there.
static axl_status set_scored(axl_work *w, const axl_batch *batch)
{
    axl_status status = AXL_OK;
    int32_t *scored = w->host;
    int32_t *slot_of_token = w->host + w->options.n_tokens;
    int32_t *labels = w->host + 2 * w->options.n_tokens;
    int32_t n = 0;

    for (int32_t t = 0; t < batch->n_tokens; t++) {
        slot_of_token[t] = -1;
        if (batch->labels == NULL || batch->labels[t] < 0)
            continue;
        slot_of_token[t] = n;
        labels[n] = batch->labels[t];
        scored[n++] = t;
    }
    w->n_scored = n;
    w->host_scored = scored;
    AXL_TRY(upload(w, w->scored, scored, n));
    AXL_TRY(upload(w, w->slot_of_token, slot_of_token, batch->n_tokens));
    AXL_TRY(upload(w, w->labels, labels, n));
out:
    return status;
}

// What masks need to know of the documents: their prompts, or their groups. A prompt ends with the token in front of
// the first label, which predicts the first token that is not of it.
static axl_status set_masks(axl_work *w, const axl_batch *batch)
{
    axl_status status = AXL_OK;
    const int64_t n = (int64_t)batch->n_seqs * AXL_S2_GROUPS + 1;

    if (is_shifted(w)) {
        axl_attn_groups(batch->cu_seqlens, batch->n_seqs, w->host_masks, w->host_masks + n);
        AXL_TRY(upload(w, w->run.groups[0], w->host_masks, n));
        AXL_TRY(upload(w, w->run.groups[1], w->host_masks + n, n));
    }
    if (w->run.prefix == NULL)
        goto out;
    for (int32_t i = 0; i < batch->n_seqs; i++) {
        int32_t t = batch->cu_seqlens[i], end = batch->cu_seqlens[i + 1];
        while (t < end && (batch->labels == NULL || batch->labels[t] < 0))
            t++;
        w->host_masks[i] = t < end ? t - batch->cu_seqlens[i] + 1 : 0;
    }
    AXL_TRY(upload(w, w->run.prefix, w->host_masks, batch->n_seqs));
out:
    return status;
}

// Tokens of a document on all ranks.
static int64_t whole_length(const axl_batch *batch, int i)
{
    const int32_t *cu = batch->cp != NULL ? batch->cp->cu_seqlens : batch->cu_seqlens;

    return cu[i + 1] - cu[i];
}

// Empty batches cost nothing, unless ranks of another batch exchange rows with this one in the middle of a layer.
static bool is_idle(const axl_work *w, const axl_batch *batch)
{
    const int64_t whole = batch->cp != NULL ? batch->cp->n_tokens : batch->n_tokens;

    return whole == 0 && w->model->mesh->size[AXL_EP] == 1;
}

// A document's frequencies depend on its length only for `dynamic`; then each document has a table of its own.
static axl_status set_rotations(axl_work *w, const axl_batch *batch)
{
    axl_status status = AXL_OK;
    float here[AXL_MAX_ROPE_PAIRS];
    float *inv_freq = w->host_freq != NULL ? w->host_freq : here;

    for (int r = 0; r < w->model->arch.n_ropes; r++) {
        const axl_rope *rope = &w->model->arch.ropes[r];
        int half = rope->rotary_dim / 2;
        bool each = rope->type == AXL_ROPE_DYNAMIC;
        int n = each ? batch->n_seqs : 1;
        for (int i = 0; i < n && batch->n_tokens > 0; i++) {
            int32_t t0 = each ? batch->cu_seqlens[i] : 0;
            int32_t t1 = each ? batch->cu_seqlens[i + 1] : batch->n_tokens;
            axl_rope_table_args a = {.positions = w->run.positions + t0,
                                     .inv_freq = inv_freq,
                                     .n_tokens = t1 - t0,
                                     .half = half,
                                     .dtype = w->run.dtype,
                                     .cos = w->run.cos[r] + (int64_t)t0 * half,
                                     .sin = w->run.sin[r] + (int64_t)t0 * half};
            if (t1 == t0)
                continue;
            int64_t length = whole_length(batch, i);
            axl_rope_frequencies(rope, length, inv_freq, &a.factor);
            if (w->host_freq != NULL) {
                AXL_TRY(w->device->ops->copy(w->device->compute, w->inv_freq, inv_freq,
                                             (size_t)half * sizeof *inv_freq));
                a.inv_freq = w->inv_freq;
                inv_freq += half;
            }
            AXL_TRY(w->device->kernels->rope_table(w->device->compute, &a));
        }
    }
out:
    return status;
}

axl_status axl_work_set_batch(axl_work *w, const axl_batch *batch)
{
    axl_status status = AXL_OK;

    AXL_REQUIRE(
        batch->n_tokens <= w->options.n_tokens && batch->n_seqs <= w->options.n_seqs, AXL_E_BUG,
        "a batch of %d tokens and %d documents exceeds the plan of %lld and %lld", batch->n_tokens,
        batch->n_seqs, (long long)w->options.n_tokens, (long long)w->options.n_seqs);
    AXL_TRY(w->device->ops->await(&w->uploaded)); // the host's lists are written anew
    w->n_staged = 3 * w->options.n_tokens;
    w->run.n_tokens = batch->n_tokens;
    w->run.idle = is_idle(w, batch);
    w->run.n_seqs = batch->n_seqs;
    w->run.max_seqlen = batch->max_seqlen;
    AXL_TRY(upload_batch(w, w->run.ids, batch->input_ids, batch->n_tokens));
    AXL_TRY(upload_batch(w, w->run.positions, batch->position_ids, batch->n_tokens));
    axl_graphs_round(w->graphs, &w->run.n_seqs, &w->run.max_seqlen);
    AXL_TRY(upload_borders(w, batch));
    if (w->ring != NULL)
        AXL_TRY(axl_ring_set_layout(w->ring, batch->cp));
    AXL_TRY(set_masks(w, batch));
    AXL_TRY(set_scored(w, batch));
    AXL_TRY(set_rotations(w, batch));
    AXL_TRY(w->device->ops->record(w->device->compute, &w->uploaded));
    AXL_TRY(axl_router_begin(w));
out:
    return status;
}
