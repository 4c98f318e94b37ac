// Putting it together: the model on an imagined mesh, the plans of its passes, the formulas of its traffic, and time.
#include "src/plan/forecast.h"

#include "comm/cp_layout.h"
#include "src/base/mem.h"
#include "src/model/graphs.h"
#include "src/plan/cost.h"
#include "src/plan/network.h"
#include "src/plan/pipeline.h"

#include <stdlib.h>
#include <string.h>

enum {
    LOADER_SLOTS = 4, // batches that the loader prepares ahead
    // tokens; more of them are laid out in a smaller scale, for time only: shares are then right to a percent
    LAID_OUT = 8192,
    LAID_OUT_RANK = 32,    // of each rank, at least
    LAID_OUT_DOCUMENT = 16 // of each document, at least
};

static const char *const time_names[AXL_TIME_N] = {
    [AXL_TIME_PRODUCTS] = "products",
    [AXL_TIME_ATTENTION] = "attention",
    [AXL_TIME_ELEMENTWISE] = "elementwise",
    [AXL_TIME_HEAD] = "head",
    [AXL_TIME_OPTIMIZER] = "optimizer",
    [AXL_TIME_TP] = "tp",
    [AXL_TIME_RING] = "ring",
    [AXL_TIME_EXPERTS] = "experts",
    [AXL_TIME_GATHER] = "gather",
    [AXL_TIME_REDUCE] = "reduce",
    [AXL_TIME_REPLICATE] = "replicate",
    [AXL_TIME_HOST] = "host",
};

const char *axl_time_class_name(axl_time_class c)
{
    return time_names[c];
}

double axl_seconds_sum(const axl_seconds *t)
{
    double sum = 0.0;

    for (int i = 0; i < AXL_TIME_N; i++)
        sum += t->s[i];
    return sum;
}

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

// ---- the batch (as src/data/plan.c sizes it, of data that fill their rows)

void axl_forecast_fill(const axl_forecast_data *d, axl_forecast_job *job)
{
    const int n_cp = job->mesh[AXL_CP];
    const int64_t whole = d->sequence_len * d->micro_batch_size;
    const int64_t bins = d->packing && !d->real_batches ? 1 : d->micro_batch_size;
    const int64_t bin_docs = !d->packing ? 1 : d->row_docs > 0 ? d->row_docs : whole / bins;
    axl_work_options *w = &job->work;

    w->whole_tokens = max64(whole, d->eval_tokens);
    w->n_seqs = max64(min64(bins * bin_docs, whole), d->eval_docs);
    w->n_tokens = n_cp > 1 ? axl_cp_most_rows(w->whole_tokens, n_cp) : w->whole_tokens;
    job->n_micro = d->accumulation;
    // without packing a row is one document, and nothing pads it
    const int64_t len = max64(min64(d->document_len, d->sequence_len), 1);
    job->n_tokens = d->packing ? whole : d->micro_batch_size * len;
    job->n_docs = max64(min64(job->n_tokens / len, w->n_seqs), 1);
}

// ---- context parallelism

static void add_window(axl_forecast_view *v, int32_t window)
{
    for (int k = 0; k < v->n_windows; k++)
        if (v->window[k] == window)
            return;
    if (v->n_windows < AXL_FORECAST_WINDOWS)
        v->window[v->n_windows++] = window;
}

// (query, key) pairs of a document of n tokens.
static double pairs_of(double n, double window)
{
    if (window > 0.0 && n > window)
        return window * (window + 1.0) / 2.0 + (n - window) * window;
    return n * (n + 1.0) / 2.0;
}

// scale: how many tokens one of the layout stands for.
static void view_layout(const axl_forecast_job *job, const axl_cp_layout *l, int64_t scale,
                        axl_forecast_view *v)
{
    axl_mesh mesh;

    axl_mesh_imagine(job->mesh, job->rank >= 0 ? job->rank : 0, &mesh);
    const int rank = mesh.coord[AXL_CP];
    const int32_t *cu = axl_cp_local_cu(l, rank), *rows = axl_cp_rows(l, rank);
    v->n_tokens = v->n_scored = axl_cp_n_rows(l, rank) * scale;
    for (int32_t i = 0; i < l->n_seqs; i++)
        v->n_scored -= cu[i + 1] > cu[i] && rows[cu[i + 1] - 1] + 1 == l->cu_seqlens[i + 1];
    for (int k = 0; k < v->n_windows; k++) {
        const int32_t window = (int32_t)((v->window[k] + scale - 1) / scale);
        const axl_ring_traffic t = axl_ring_traffic_of(l, rank, window, 1, AXL_F32);
        v->rows[k] = scale * t.forward / (int64_t)sizeof(float);
        v->rows_back[k] = scale * (t.backward - t.forward) / (int64_t)sizeof(float);
        for (int r = 0; r < l->n_ranks; r++) {
            const double pairs = (double)axl_cp_pairs(l, r, window) * (double)(scale * scale);
            v->pairs[k] = pairs > v->pairs[k] ? pairs : v->pairs[k];
        }
    }
}

axl_status axl_forecast_view_make(const axl_arch *arch, const axl_forecast_job *job,
                                  axl_forecast_view *out)
{
    axl_status status = AXL_OK;
    axl_forecast_view v = {.n_tokens = job->n_tokens, .n_scored = job->n_tokens - job->n_docs};
    const int n_cp = job->mesh[AXL_CP];
    const int32_t n_docs = (int32_t)job->n_docs;
    const double len = (double)job->n_tokens / (double)n_docs;
    const int64_t least = max64(LAID_OUT_RANK * (int64_t)n_cp, LAID_OUT_DOCUMENT * (int64_t)n_docs);
    const int64_t scale = max64(job->n_tokens / max64(LAID_OUT, least), 1);
    const int64_t n_tokens = job->n_tokens / scale;
    axl_cp_layout layout;
    void *memory = NULL;
    int32_t *cu = NULL;

    for (int l = 0; l < arch->n_layers; l++)
        add_window(&v, arch->layers[l].window);
    for (int k = 0; k < v.n_windows; k++)
        v.pairs[k] = n_cp == 1 ? n_docs * pairs_of(len, v.window[k]) : 0.0;
    if (n_cp > 1) {
        AXL_TRY(axl_calloc((size_t)n_docs + 1, sizeof *cu, "documents", &cu));
        for (int64_t i = 0; i <= n_docs; i++)
            cu[i] = (int32_t)(n_tokens * i / n_docs);
        AXL_TRY(axl_calloc(axl_cp_layout_bytes(n_cp, n_tokens, n_docs), 1, "a layout", &memory));
        axl_cp_layout_init(&layout, axl_ring_layout(job->work.ring), n_cp, n_tokens, n_docs,
                           memory);
        AXL_TRY(axl_cp_layout_set(&layout, cu, n_docs));
        view_layout(job, &layout, scale, &v);
    }
    *out = v;
out:
    free(cu);
    free(memory);
    return status;
}

// ---- arithmetic of the model

static void count_flops(const axl_model *m, const axl_forecast_job *job, const axl_arithmetic *x,
                        axl_forecast *f)
{
    const axl_arch *a = &m->arch;
    const double len = (double)job->n_tokens / (double)job->n_docs;
    double causal = 0.0; // of every token with every one of its document

    for (int l = 0; l < a->n_layers; l++)
        causal += pairs_of(len, a->layers[l].window) / (len * len) / a->n_layers;
    f->n_params = x->n_params;
    f->n_active = x->n_active;
    f->flops_attention = x->attention * len;
    f->flops_token = axl_arithmetic_flops(x, 1.0, len);
    f->flops_causal = f->flops_token - f->flops_attention * (1.0 - causal);
}

// ---- memory

// What the loader keeps of batches on the host, and what stages one.
static size_t host_bytes(const axl_work_options *w, int n_cp, int64_t n_micro)
{
    const size_t whole = (size_t)w->whole_tokens, part = (size_t)w->n_tokens;
    const size_t docs = (size_t)w->n_seqs;
    size_t slot = whole * 16 + docs * 12;

    if (n_cp > 1)
        slot += part * 16 + axl_cp_layout_bytes(n_cp, w->whole_tokens, (int32_t)w->n_seqs);
    return LOADER_SLOTS * slot + part * (12 + 16) + (size_t)n_micro * 8;
}

// What the host gives beyond what is asked for: large buffers take whole huge pages (kernels/cpu/device_cpu.c).
static size_t page_rest(size_t bytes)
{
    const size_t page = (size_t)2 << 20;

    return bytes < page ? 0 : (page - bytes % page) % page;
}

static size_t page_rests(const axl_forecast *f)
{
    const axl_sharder_bytes *s = &f->sharder;
    const size_t work = axl_work_total(&f->work) - f->work.ring;
    const size_t levels = s->master > 0 ? s->levels / s->master : 0;

    return page_rest(s->master) * (1 + levels) + page_rest(s->grads) +
           2 * page_rest(s->moments / 2) + page_rest(s->gathered) + page_rest(s->grad_buffers) +
           page_rest(work) + page_rest(f->work.ring);
}

void axl_forecast_memory(const axl_arch *arch, const axl_cluster *c, const axl_forecast_job *job,
                         const axl_sharder_bytes *weights, const axl_forecast_kernels *kernels,
                         axl_forecast *f)
{
    double ranks = 1.0;

    for (int i = 0; i < AXL_N_AXES; i++)
        ranks *= job->mesh[i];
    *f = (axl_forecast){.sharder = *weights, .work = kernels->bytes};
    f->tensors = axl_sharder_total(&f->sharder) + axl_work_total(&f->work);
    f->host = host_bytes(&job->work, job->mesh[AXL_CP], job->n_micro) + page_rests(f);
    f->process = (size_t)c->process;
    axl_beside_of(c, arch, &job->work, job->mesh, kernels->n_graphed, &f->beside);
    f->total = f->tensors + axl_beside_total(&f->beside) + f->process + (c->is_host ? f->host : 0);
    f->limit = (size_t)c->memory;
    f->pinned =
        (f->work.host + f->sharder.host) * (size_t)(ranks < c->node_ranks ? ranks : c->node_ranks);
    f->pinned_limit = (size_t)c->host_memory;
}

// ---- weights

static void load_of(const axl_unit *u, const axl_sharder_options *o, axl_unit_load *load)
{
    for (int k = 0; k < u->n_params; k++) {
        const axl_param *p = &u->params[k];
        const double full = (double)axl_param_full_count(p), own = (double)axl_param_shard_count(p);
        const axl_dtype dtype = axl_param_full_dtype(p, o->dtype);
        const double element = (double)axl_dtype_size(dtype);
        load->elements += own;
        load->sent += own * element;
        load->cast += dtype == AXL_F32 ? 0.0 : own * (4.0 + element);
        if (p->n_shards == 1)
            continue;
        load->gather[p->is_expert] += full * element;
        if (p->trainable)
            load->reduce[p->is_expert] += full * (o->reduce_bf16 ? 2.0 : 4.0);
    }
}

axl_status axl_forecast_weights_make(const axl_model *m, const axl_sharder_options *o,
                                     axl_forecast_weights *out)
{
    axl_status status = AXL_OK;
    axl_forecast_weights w = {0};
    axl_sharder_options options = *o;

    AXL_TRY(axl_calloc((size_t)m->n_programs, sizeof *w.loads, "the units' weights", &w.loads));
    for (int kept = 0; kept < 2; kept++) {
        options.reshard_after_forward = kept != 0;
        w.bytes[kept] = axl_sharder_plan(m->units, m->n_units, &options);
    }
    w.arithmetic = axl_arithmetic_of(m);
    for (int u = 0; u < m->n_units; u++) {
        axl_unit_load *load = &w.loads[m->units[u].program];
        if (load->elements == 0.0)
            load_of(&m->units[u], o, load);
        w.elements += load->elements;
    }
    *out = w;
out:
    return status;
}

void axl_forecast_weights_fini(axl_forecast_weights *w)
{
    free(w->loads);
    w->loads = NULL;
}

// ---- time

static double travel_seconds(const axl_cost_input *x, axl_comm_op op, const double bytes[2])
{
    double seconds = 0.0;

    for (int i = 0; i < 2; i++)
        if (bytes[i] > 0.0)
            seconds += axl_network_seconds(
                x->cluster, x->model->mesh,
                axl_network_axes(i == 0 ? AXL_GROUP_DENSE : AXL_GROUP_EXPERT), op, bytes[i]);
    return seconds;
}

static axl_unit_seconds unit_seconds(const axl_cost_input *x, const axl_unit *u,
                                     const axl_unit_load *load)
{
    const axl_sharder_options *o = &x->job->sharder;
    // the shard is rounded to what travels before it does; a sum is added to it
    // on the device; the host's masters are rounded there
    const double cast = o->offload ? 0.0 : axl_cost_bytes(x->cluster, load->cast);
    const double up = o->offload ? load->sent / x->cluster->host_link : 0.0;
    axl_unit_seconds s = {
        .gather = up + travel_seconds(x, AXL_COMM_ALL_GATHER, load->gather),
        .reduce = travel_seconds(x, AXL_COMM_REDUCE_SCATTER, load->reduce),
        .forward = cast,
        .replicate = axl_network_seconds(x->cluster, x->model->mesh, AXL_AXIS_BIT(AXL_DP_REPLICATE),
                                         AXL_COMM_ALL_REDUCE, load->elements * 4.0)};

    if (u->layer >= 0) {
        s.backward = o->reshard_after_forward ? cast : 0.0;
        s.gather_again = s.gather;
    }
    return s;
}

static void add_seconds(axl_seconds *sum, const axl_seconds *a, double times)
{
    for (int i = 0; i < AXL_TIME_N; i++)
        sum->s[i] += times * a->s[i];
}

// Each unit's seconds; *micro gets the kernels of one micro-step.
static void fill_units(const axl_cost_input *x, const axl_forecast_weights *w,
                       const axl_forecast_kernels *k, axl_unit_seconds *units, axl_seconds *micro,
                       axl_forecast *f)
{
    const axl_model *m = x->model;
    axl_unit_seconds layer = {0};
    double there = 0.0, back = 0.0;
    int last = -1;

    for (int u = 0; u < m->n_units; u++) {
        const axl_unit_kernels *kernels = &k->units[m->units[u].program];
        if (m->units[u].program != last) { // neighbours of one kind cost the same
            last = m->units[u].program;
            layer = unit_seconds(x, &m->units[u], &w->loads[last]);
            there = axl_seconds_sum(&kernels->there);
            back = axl_seconds_sum(&kernels->back);
        }
        units[u] = layer;
        micro->s[AXL_TIME_OPTIMIZER] += layer.forward + layer.backward; // casts of weights
        units[u].forward += there;
        units[u].backward += back;
        if (u == m->n_units - 1) { // all of the head runs before backward of the layers
            units[u].forward += back;
            units[u].backward = 0.0;
        }
        add_seconds(micro, &kernels->there, 1.0);
        add_seconds(micro, &kernels->back, 1.0);
        f->flops_rank += kernels->flops * (double)x->job->n_micro;
    }
}

// Activations of a micro-step that leave during forward and come back during backward, in places that take turns: what
// takes longer than the kernels is waited for.
static double offload_seconds(const axl_cost_input *x, const axl_forecast_kernels *k)
{
    const axl_model *m = x->model;
    const double copy = (double)k->bytes.host / x->cluster->host_link;
    double there = 0.0, back = 0.0;

    for (int u = 0; u < m->n_units - 1; u++) {
        there += axl_seconds_sum(&k->units[m->units[u].program].there);
        back += axl_seconds_sum(&k->units[m->units[u].program].back);
    }
    return (copy > there ? copy - there : 0.0) + (copy > back ? copy - back : 0.0);
}

static axl_status count_time(const axl_cost_input *x, const axl_forecast_weights *w,
                             const axl_forecast_kernels *k, axl_forecast *f)
{
    axl_status status = AXL_OK;
    const axl_model *m = x->model;
    axl_unit_seconds *units = NULL;
    axl_seconds micro = {{0.0}};

    AXL_TRY(axl_calloc((size_t)m->n_units, sizeof *units, "the units' seconds", &units));
    fill_units(x, w, k, units, &micro, f);
    const axl_pipeline p = {.units = units,
                            .n_units = m->n_units,
                            .n_micro = x->job->n_micro,
                            .kept = !x->job->sharder.reshard_after_forward,
                            .invariant = x->job->sharder.invariant > 0,
                            .overlap = x->cluster->overlap};
    f->step = axl_pipeline_run(&p, &f->time, &f->hidden);
    add_seconds(&f->time, &micro, (double)x->job->n_micro);
    const double before = f->time.s[AXL_TIME_OPTIMIZER];
    axl_cost_optimizer(x, w->elements, &f->time);
    f->time.s[AXL_TIME_HOST] += offload_seconds(x, k) * (double)x->job->n_micro;
    f->step += f->time.s[AXL_TIME_OPTIMIZER] - before + f->time.s[AXL_TIME_HOST];
out:
    free(units);
    return status;
}

static void count_speed(const axl_cost_input *x, axl_forecast *f)
{
    const axl_mesh *m = x->model->mesh;
    const axl_cluster *c = x->cluster;
    const double ranks = (double)axl_network_ranks(m, ~0u);
    const double peak = axl_cluster_peak(c, x->job->work.dtype, x->job->tf32);

    f->tokens_step = (double)(x->job->n_tokens * x->job->n_micro) * axl_mesh_n_batches(m);
    f->tokens_per_second = f->tokens_step / f->step;
    f->tokens_per_second_rank = f->tokens_per_second / ranks;
    f->mfu = f->flops_token * f->tokens_per_second_rank / peak;
    f->mfu_causal = f->flops_causal * f->tokens_per_second_rank / peak;
}

// ---- a job on a model

axl_status axl_forecast_kernels_make(const axl_work *w, const axl_cluster *cluster,
                                     const axl_forecast_job *job, const axl_forecast_view *view,
                                     axl_forecast_kernels *out)
{
    axl_status status = AXL_OK;
    const axl_model *m = w->model;
    const axl_cost_input x = {.cluster = cluster, .model = m, .job = job, .view = view};
    axl_forecast_kernels k = {
        .bytes = w->bytes, .chunk = w->chunk, .n_graphed = axl_graphs_most_kernels(w)};

    AXL_TRY(axl_calloc((size_t)m->n_programs, sizeof *k.units, "the units' kernels", &k.units));
    for (int p = 0; p < m->n_programs; p++) {
        axl_unit_kernels *u = &k.units[p];
        axl_cost_program(&x, &m->programs[p], &w->plans[p], &u->there, &u->back, &u->flops);
        if (p == AXL_PROGRAM_HEAD)
            axl_cost_head(&x, k.chunk, &u->there, &u->flops);
    }
    for (int u = 0; u < m->n_units; u++)
        k.micro += axl_seconds_sum(&k.units[m->units[u].program].there) +
                   axl_seconds_sum(&k.units[m->units[u].program].back);
    *out = k;
out:
    return status;
}

void axl_forecast_kernels_fini(axl_forecast_kernels *k)
{
    free(k->units);
    k->units = NULL;
}

axl_status axl_forecast_time(const axl_model *m, const axl_cluster *cluster,
                             const axl_forecast_job *job, const axl_forecast_weights *weights,
                             const axl_forecast_kernels *kernels, axl_forecast *f)
{
    axl_status status = AXL_OK;
    const axl_cost_input x = {.cluster = cluster, .model = m, .job = job};

    f->chunk = kernels->chunk;
    count_flops(m, job, &weights->arithmetic, f);
    AXL_TRY(count_time(&x, weights, kernels, f));
    count_speed(&x, f);
out:
    return status;
}

axl_status axl_forecast_copy_arch(const axl_arch *arch, axl_arch *out)
{
    axl_status status = AXL_OK;
    axl_layer *layers = NULL;
    const size_t n = (size_t)arch->n_layers;

    AXL_TRY(axl_calloc(n, sizeof *layers, "the layers", &layers));
    memcpy(layers, arch->layers, n * sizeof *layers);
    *out = *arch;
    out->layers = layers;
out:
    return status;
}

axl_status axl_forecast_make(const axl_arch *arch, const axl_cluster *cluster,
                             const axl_forecast_job *job, axl_forecast *out)
{
    axl_status status = AXL_OK;
    axl_arch copy = {0};
    axl_mesh mesh;
    axl_model *m = NULL;
    axl_work w = {0};
    axl_forecast_view view;
    axl_forecast_weights weights = {0};
    axl_forecast_kernels kernels = {0};

    axl_mesh_imagine(job->mesh, job->rank >= 0 ? job->rank : 0, &mesh);
    AXL_TRY(axl_forecast_copy_arch(arch, &copy));
    AXL_TRY(axl_model_create(&copy, &mesh, &m));
    AXL_TRY(axl_forecast_view_make(arch, job, &view));
    AXL_TRY(axl_work_imagine(&w, m, &job->work));
    AXL_TRY(axl_forecast_weights_make(m, &job->sharder, &weights));
    AXL_TRY(axl_forecast_kernels_make(&w, cluster, job, &view, &kernels));
    axl_forecast_memory(arch, cluster, job, &weights.bytes[job->sharder.reshard_after_forward],
                        &kernels, out);
    AXL_TRY(axl_forecast_time(m, cluster, job, &weights, &kernels, out));
    AXL_TRY(axl_traffic_outlook(&w, &job->sharder, job->n_micro, job->n_tokens, job->n_docs,
                                job->rank < 0, &out->expected, &out->worst));
out:
    axl_forecast_kernels_fini(&kernels);
    axl_forecast_weights_fini(&weights);
    axl_work_fini(&w);
    axl_model_destroy(m);
    axl_arch_fini(&copy);
    return status;
}
