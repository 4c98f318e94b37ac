// All layouts, tried. What makes it quick is what they share: one model for each way to cut the matrices (tp, ep), moved
// from mesh to mesh; weights only follow the number of replicas; kernels and their memory only cp, the size of a
// micro-batch and the checkpointing mode. And time is only asked of what fits and may still be among the best.
#include "src/plan/search.h"

#include "src/base/mem.h"
#include "src/model/graphs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_MICROS = 8, MAX_VIEWS = 256, MIN_TOKENS = 64 }; // tokens of a rank, at least
#define BOUND                                                                                      \
    0.97 // of an ideal micro-step: tokens do not divide evenly, and edges of products are rounded up
enum { MOST_RANKS = 1000000, MOST_TP = 64, MOST_CP = 1024, MAX_DIVISORS = 256, N_MODES = 3 };

typedef struct cached_view {
    int cp;
    int64_t micro;
    axl_forecast_view view;
} cached_view;

// Of the model at hand, for one cp, micro-batch and mode.
typedef struct cached_kernels {
    bool known;   // bytes and chunk; the seconds only when k.units is there
    double least; // seconds of a micro-step at least, without laying out its tokens; 0: not known
    axl_forecast_kernels k;
} cached_kernels;

typedef struct searcher {
    const axl_arch *arch;
    const axl_cluster *cluster;
    const axl_forecast_data *data;
    const axl_forecast_job *origin; // what was asked for
    const axl_forecast_job *asked;  // the same, or with other things on the host
    axl_search *out;
    int64_t n_ranks, rows;          // rows of a step
    int64_t divisors[MAX_DIVISORS]; // [n_divisors] of n_ranks, ascending
    int n_divisors;
    cached_view *views; // [n_views], owned
    int n_views;
    // of one way to cut the matrices
    axl_mesh mesh;                // where the model lies now
    axl_model *model;             // owned
    axl_forecast_weights weights; // of the replicas at hand
    cached_kernels *kernels;      // [n_divisors][MAX_MICROS][N_MODES], owned: by cp
} searcher;

static int64_t n_batches(const int mesh[AXL_N_AXES])
{
    return (int64_t)mesh[AXL_DP_REPLICATE] * mesh[AXL_DP_SHARD] * mesh[AXL_EP];
}

static axl_status find_view(searcher *s, const axl_forecast_job *job, int64_t micro,
                            axl_forecast_view *out)
{
    axl_status status = AXL_OK;

    for (int i = 0; i < s->n_views; i++) {
        if (s->views[i].cp == job->mesh[AXL_CP] && s->views[i].micro == micro) {
            *out = s->views[i].view;
            goto out;
        }
    }
    AXL_TRY(axl_forecast_view_make(s->arch, job, out));
    if (s->n_views < MAX_VIEWS)
        s->views[s->n_views++] = (cached_view){job->mesh[AXL_CP], micro, *out};
out:
    return status;
}

// A micro-batch that lies on the ranks of cp as well as any could: nobody waits for keys or has more than the others.
static axl_forecast_view ideal_view(const axl_arch *arch, const axl_forecast_job *job)
{
    const double len = (double)job->n_tokens / (double)job->n_docs;
    const int n_cp = job->mesh[AXL_CP];
    axl_forecast_view v = {.n_tokens = job->n_tokens / n_cp,
                           .n_scored = (job->n_tokens - job->n_docs) / n_cp,
                           .n_windows = 1};

    for (int l = 0; l < arch->n_layers; l++) // the smallest one counts for all
        if (arch->layers[l].window > 0 &&
            (v.window[0] == 0 || arch->layers[l].window < v.window[0]))
            v.window[0] = arch->layers[l].window;
    const double window = v.window[0] > 0 && v.window[0] < len ? v.window[0] : len;
    v.pairs[0] = (double)job->n_docs * (window * (window + 1.0) / 2.0 + (len - window) * window) /
                 (double)n_cp;
    return v;
}

// What is known of a job's kernels: their bytes; a bound of their seconds; their seconds.
typedef enum depth { BYTES, LEAST, SECONDS } depth;

static axl_status fill_kernels(searcher *s, const axl_forecast_job *job, int64_t micro, depth d,
                               cached_kernels *c)
{
    axl_status status = AXL_OK;
    axl_forecast_view view;
    axl_forecast_kernels bound = {0};
    axl_work w = {0};

    if (d == SECONDS ? c->k.units != NULL : d == LEAST ? c->least > 0.0 : c->known)
        goto out;
    AXL_TRY(axl_work_imagine(&w, s->model, &job->work));
    if (d == SECONDS) {
        AXL_TRY(find_view(s, job, micro, &view));
        AXL_TRY(axl_forecast_kernels_make(&w, s->cluster, job, &view, &c->k));
    } else if (d == LEAST) {
        view = ideal_view(s->arch, job);
        AXL_TRY(axl_forecast_kernels_make(&w, s->cluster, job, &view, &bound));
        c->least = BOUND * bound.micro;
    } else {
        c->k = (axl_forecast_kernels){
            .bytes = w.bytes, .chunk = w.chunk, .n_graphed = axl_graphs_most_kernels(&w)};
        c->known = true;
    }
out:
    axl_forecast_kernels_fini(&bound);
    axl_work_fini(&w);
    return status;
}

static void forget_kernels(searcher *s)
{
    for (int i = 0; s->kernels != NULL && i < s->n_divisors * MAX_MICROS * N_MODES; i++) {
        axl_forecast_kernels_fini(&s->kernels[i].k);
        s->kernels[i] = (cached_kernels){0};
    }
}

// ---- what is kept

static int count_changes(const searcher *s, const axl_search_row *r)
{
    const axl_forecast_job *o = s->origin;
    int n = r->micro_batch_size != s->data->micro_batch_size;

    n += r->mode != o->work.checkpointing;
    n += r->reshard != o->sharder.reshard_after_forward;
    n += (r->offload != o->work.offload) + (r->offload_state != o->sharder.offload);
    for (int i = 0; i < AXL_N_AXES; i++)
        n += i != AXL_DP_SHARD && r->mesh[i] != o->mesh[i];
    return n;
}

static void keep_best(axl_search *out, const axl_search_row *r)
{
    int at = 0, same = 0;

    while (same < out->n_best && memcmp(out->best[same].mesh, r->mesh, sizeof r->mesh) != 0)
        same++;
    if (same < out->n_best && out->best[same].forecast.step <= r->forecast.step)
        return;
    if (same == out->n_best) {
        if (out->n_best == AXL_SEARCH_ROWS) {
            if (out->best[out->n_best - 1].forecast.step <= r->forecast.step)
                return;
            same = out->n_best - 1;
        } else {
            out->n_best++;
        }
    }
    while (at < same && out->best[at].forecast.step <= r->forecast.step)
        at++;
    for (int i = same; i > at; i--)
        out->best[i] = out->best[i - 1];
    out->best[at] = *r;
}

// A user changes one more key gladly when that saves a tenth of the time.
static double cost_of(const axl_search_row *r)
{
    return r->forecast.step * (1.0 + 0.1 * r->n_changes);
}

static void keep_mend(axl_search *out, const axl_search_row *r)
{
    if (out->has_mend && cost_of(&out->mend) <= cost_of(r))
        return;
    out->mend = *r;
    out->has_mend = true;
}

// ---- what is tried

// Whether a job of so many seconds at least can still become one of the rows that are kept.
static bool may_be_kept(const axl_search *out, const axl_search_row *r, double seconds)
{
    return out->n_best < AXL_SEARCH_ROWS || seconds < out->best[out->n_best - 1].forecast.step ||
           !out->has_mend || seconds * (1.0 + 0.1 * r->n_changes) < cost_of(&out->mend);
}

static axl_status try_job(searcher *s, const axl_forecast_job *job, cached_kernels *c,
                          axl_search_row *r)
{
    axl_status status = AXL_OK;
    const axl_sharder_bytes other =
        job->sharder.invariant > 0
            ? axl_sharder_plan(s->model->units, s->model->n_units, &job->sharder)
            : s->weights.bytes[r->reshard];

    s->out->n_tried += s->asked == s->origin;
    axl_forecast_memory(s->arch, s->cluster, job, &other, &c->k, &r->forecast);
    if (!axl_forecast_fits(&r->forecast))
        goto out;
    s->out->n_fit += s->asked == s->origin;
    r->offload = job->work.offload;
    r->offload_state = job->sharder.offload;
    r->n_changes = count_changes(s, r);
    AXL_TRY(fill_kernels(s, job, r->micro_batch_size, LEAST, c));
    if (!may_be_kept(s->out, r, (double)job->n_micro * c->least))
        goto out;
    AXL_TRY(fill_kernels(s, job, r->micro_batch_size, SECONDS, c));
    if (!may_be_kept(s->out, r, (double)job->n_micro * c->k.micro * (1.0 - 1e-9)))
        goto out;
    AXL_TRY(axl_forecast_time(s->model, s->cluster, job, &s->weights, &c->k, &r->forecast));
    if (s->asked == s->origin)
        keep_best(s->out, r);
    keep_mend(s->out, r);
out:
    return status;
}

// Whether the weights alone are too much.
static bool has_no_room(const searcher *s, const axl_forecast_job *job)
{
    const size_t kept = axl_sharder_total(&s->weights.bytes[0]);
    const size_t again = axl_sharder_total(&s->weights.bytes[1]);

    return job->sharder.invariant == 0 &&
           (double)(kept < again ? kept : again) + s->cluster->process > s->cluster->memory;
}

// Activations leave for the host only where layers are run again, and all of them only where all is.
static int least_mode(axl_offload_what what)
{
    return what == AXL_OFFLOAD_ALL      ? AXL_CHECKPOINT_FULL
           : what == AXL_OFFLOAD_INPUTS ? AXL_CHECKPOINT_SELECTIVE
                                        : AXL_CHECKPOINT_NONE;
}

// kernels: [N_MODES] of this cp and micro-batch.
static axl_status try_micro(searcher *s, cached_kernels *kernels, axl_search_row *r)
{
    axl_status status = AXL_OK;
    axl_forecast_job job = *s->asked;
    axl_forecast_data data = *s->data;

    memcpy(job.mesh, r->mesh, sizeof job.mesh);
    data.micro_batch_size = r->micro_batch_size;
    data.accumulation = r->accumulation;
    axl_forecast_fill(&data, &job);
    if (job.sharder.invariant > 0)
        job.sharder.invariant = r->accumulation;
    if (job.work.whole_tokens > INT32_MAX || job.n_tokens < (int64_t)MIN_TOKENS * r->mesh[AXL_CP])
        goto out;
    for (int mode = least_mode(job.work.offload); mode <= (int)AXL_CHECKPOINT_FULL; mode++) {
        r->mode = job.work.checkpointing = (axl_checkpointing)mode;
        if (has_no_room(s, &job)) {
            s->out->n_tried += s->asked == s->origin ? 2 : 0;
            continue;
        }
        AXL_TRY(fill_kernels(s, &job, r->micro_batch_size, BYTES, &kernels[mode]));
        for (int kept = 0; kept < 2; kept++) {
            r->reshard = job.sharder.reshard_after_forward = kept == 0;
            AXL_TRY(try_job(s, &job, &kernels[mode], r));
        }
    }
out:
    return status;
}

static bool allowed(const searcher *s, const int mesh[AXL_N_AXES])
{
    const int tp = mesh[AXL_TP], kv = s->arch->n_kv_heads > tp ? s->arch->n_kv_heads / tp : 1;
    const bool strides = s->asked->work.ring != AXL_RING_VARLEN_LLAMA3 || mesh[AXL_CP] == 1 ||
                         kv % s->asked->work.heads_k_stride == 0;

    if (mesh[AXL_CP] > 1 && !axl_attention_splits(&s->arch->attention))
        return false;
    return strides && s->rows % n_batches(mesh) == 0;
}

// The micro-batches of one mesh, whose cp is divisor number cp.
static axl_status try_mesh(searcher *s, const int sizes[AXL_N_AXES], int cp)
{
    axl_status status = AXL_OK;
    axl_search_row r = {0};
    int n_micros = 0;

    if (!allowed(s, sizes))
        goto out;
    const int64_t each = s->rows / n_batches(sizes);
    axl_mesh_imagine(sizes, 0, &s->mesh);
    memcpy(r.mesh, sizes, sizeof r.mesh);
    for (int64_t micro = 1; micro <= each && n_micros < MAX_MICROS; micro++) {
        if (each % micro != 0)
            continue;
        r.micro_batch_size = micro;
        r.accumulation = each / micro;
        AXL_TRY(
            try_micro(s, s->kernels + ((size_t)cp * MAX_MICROS + (size_t)n_micros) * N_MODES, &r));
        n_micros++;
    }
out:
    return status;
}

// All meshes with so many replicas; tp and ep are in mesh.
static axl_status try_replicas(searcher *s, int mesh[AXL_N_AXES], int64_t rest)
{
    axl_status status = AXL_OK;
    const int asked = s->asked->mesh[AXL_CP], most_cp = asked > MOST_CP ? asked : MOST_CP;

    mesh[AXL_CP] = 1;
    mesh[AXL_DP_SHARD] = (int)rest;
    axl_mesh_imagine(mesh, 0, &s->mesh);
    AXL_TRY(axl_model_place(s->model));
    axl_forecast_weights_fini(&s->weights);
    AXL_TRY(axl_forecast_weights_make(s->model, &s->asked->sharder, &s->weights));
    for (int i = 0; i < s->n_divisors && s->divisors[i] <= rest; i++) {
        if (rest % s->divisors[i] != 0)
            continue;
        if (s->divisors[i] * MIN_TOKENS > s->rows * s->data->sequence_len ||
            s->divisors[i] > most_cp)
            break;
        mesh[AXL_CP] = (int)s->divisors[i];
        mesh[AXL_DP_SHARD] = (int)(rest / s->divisors[i]);
        AXL_TRY(try_mesh(s, mesh, i));
    }
out:
    return status;
}

// All meshes that cut the matrices in this way.
static axl_status try_cut(searcher *s, int tp, int ep)
{
    axl_status status = AXL_OK;
    axl_arch copy = {0};
    const int64_t rest = s->n_ranks / tp / ep;
    int mesh[AXL_N_AXES] = {[AXL_DP_REPLICATE] = 1,
                            [AXL_DP_SHARD] = (int)rest,
                            [AXL_EP] = ep,
                            [AXL_CP] = 1,
                            [AXL_TP] = tp};

    if (!axl_model_fits(s->arch, tp, ep))
        goto out;
    forget_kernels(s);
    axl_mesh_imagine(mesh, 0, &s->mesh);
    AXL_TRY(axl_forecast_copy_arch(s->arch, &copy));
    AXL_TRY(axl_model_create(&copy, &s->mesh, &s->model));
    for (int i = 0; i < s->n_divisors; i++) {
        if (rest % s->divisors[i] != 0)
            continue;
        mesh[AXL_DP_REPLICATE] = (int)s->divisors[i];
        AXL_TRY(try_replicas(s, mesh, rest / s->divisors[i]));
    }
out:
    axl_model_destroy(s->model);
    s->model = NULL;
    axl_arch_fini(&copy);
    return status;
}

static axl_status try_all(searcher *s)
{
    axl_status status = AXL_OK;
    const int64_t most_ep = s->arch->moe.n_experts > 1 ? s->arch->moe.n_experts : 1;

    for (int i = 0; i < s->n_divisors; i++) {
        const int64_t tp = s->divisors[i], rest = s->n_ranks / tp;
        if ((double)tp > s->cluster->node_ranks || tp > s->arch->n_heads)
            break;
        for (int k = 0; k < s->n_divisors && s->divisors[k] <= most_ep; k++)
            if (rest % s->divisors[k] == 0)
                AXL_TRY(try_cut(s, (int)tp, (int)s->divisors[k]));
    }
out:
    return status;
}

static void find_divisors(searcher *s)
{
    for (int64_t n = 1; n <= s->n_ranks && s->n_divisors < MAX_DIVISORS; n++)
        if (s->n_ranks % n == 0)
            s->divisors[s->n_divisors++] = n;
}

// ---- why

static void explain(const axl_forecast *asked, axl_search_row *r)
{
    const axl_forecast *f = &r->forecast;
    int more = 0, less = 0;
    size_t n = 0;

    for (int i = 1; i < AXL_TIME_N; i++) {
        const double change = f->time.s[i] - asked->time.s[i];
        more = change > f->time.s[more] - asked->time.s[more] ? i : more;
        less = change < f->time.s[less] - asked->time.s[less] ? i : less;
    }
    const double saved = asked->time.s[less] - f->time.s[less];
    const double lost = f->time.s[more] - asked->time.s[more];
    if (saved > 0.005 * asked->step)
        n += (size_t)snprintf(r->why, sizeof r->why, "%s %.3g s instead of %.3g s",
                              axl_time_class_name((axl_time_class)less), f->time.s[less],
                              asked->time.s[less]);
    if (lost > 0.005 * asked->step)
        (void)snprintf(r->why + n, sizeof r->why - n, "%s%s %.3g s instead of %.3g s",
                       n > 0 ? ", but " : "", axl_time_class_name((axl_time_class)more),
                       f->time.s[more], asked->time.s[more]);
    else if (n == 0)
        (void)snprintf(r->why, sizeof r->why, "as the layout asked for");
}

static axl_status forecast_asked(const searcher *s, axl_forecast *out)
{
    axl_cluster roomy = *s->cluster;

    roomy.memory = 1e18; // its time, even if it does not fit
    roomy.host_memory = 0.0;
    return axl_forecast_make(s->arch, &roomy, s->asked, out);
}

// Whether n ranks, tp of them on a matrix, have room with what saves most memory.
static axl_status has_room(const searcher *s, int64_t n, int tp, bool *out)
{
    axl_status status = AXL_OK;
    axl_forecast_job job = *s->asked;
    axl_forecast_data data = *s->data;
    axl_forecast f;

    *out = false;
    if (!axl_model_fits(s->arch, tp, 1) || (double)tp > s->cluster->node_ranks || n % tp != 0)
        goto out;
    data.micro_batch_size = 1;
    data.accumulation = 1;
    job.work.checkpointing = AXL_CHECKPOINT_FULL;
    job.sharder.reshard_after_forward = true;
    memcpy(job.mesh, (const int[AXL_N_AXES]){1, (int)(n / tp), 1, 1, tp}, sizeof job.mesh);
    axl_forecast_fill(&data, &job);
    AXL_TRY(axl_forecast_make(s->arch, s->cluster, &job, &f));
    *out = axl_forecast_fits(&f);
out:
    return status;
}

// Doubles the ranks until a rank has room.
static axl_status find_ranks(const searcher *s)
{
    axl_status status = AXL_OK;

    for (int64_t n = 2 * s->n_ranks; n <= MOST_RANKS && s->out->ranks_needed == 0; n *= 2) {
        for (int tp = 1; tp <= MOST_TP && s->out->ranks_needed == 0; tp *= 2) {
            bool room = false;
            AXL_TRY(has_room(s, n, tp, &room));
            s->out->ranks_needed = room ? n : 0;
            s->out->tp_needed = tp;
        }
    }
out:
    return status;
}

// The same jobs with other things on the host: nothing of what was asked for, or more of it when nothing fits.
static axl_status try_hosts(searcher *s)
{
    axl_status status = AXL_OK;
    const axl_forecast_job *o = s->origin;
    const bool some = o->work.offload != AXL_OFFLOAD_NONE || o->sharder.offload;

    for (int i = 0; i < 4; i++) {
        axl_forecast_job job = *o;
        const bool less = i == 0;
        if (less ? !some : some || s->out->has_mend || s->cluster->is_host)
            continue;
        job.work.offload = (i & 1) != 0 ? AXL_OFFLOAD_ALL : AXL_OFFLOAD_NONE;
        job.sharder.offload = (i & 2) != 0;
        if (job.sharder.offload && s->arch->fp8 && o->sharder.dtype == AXL_F32)
            continue; // a run refuses it
        s->asked = &job;
        AXL_TRY(try_all(s));
    }
out:
    s->asked = s->origin;
    return status;
}

axl_status axl_search_run(const axl_arch *arch, const axl_cluster *cluster,
                          const axl_forecast_data *data, const axl_forecast_job *asked,
                          axl_search *out)
{
    axl_status status = AXL_OK;
    axl_forecast base;
    searcher s = {.arch = arch,
                  .cluster = cluster,
                  .data = data,
                  .origin = asked,
                  .asked = asked,
                  .out = out,
                  .n_ranks = 1,
                  .rows = data->micro_batch_size * data->accumulation * n_batches(asked->mesh)};

    *out = (axl_search){0};
    for (int i = 0; i < AXL_N_AXES; i++)
        s.n_ranks *= asked->mesh[i];
    find_divisors(&s);
    AXL_TRY(axl_calloc(MAX_VIEWS, sizeof *s.views, "the layouts", &s.views));
    AXL_TRY(axl_calloc((size_t)s.n_divisors * MAX_MICROS * N_MODES, sizeof *s.kernels,
                       "the kernels of layouts", &s.kernels));
    AXL_TRY(forecast_asked(&s, &base));
    AXL_TRY(try_all(&s));
    AXL_TRY(try_hosts(&s));
    for (int i = 0; i < out->n_best; i++)
        explain(&base, &out->best[i]);
    if (out->has_mend)
        explain(&base, &out->mend);
    else
        AXL_TRY(find_ranks(&s));
out:
    forget_kernels(&s);
    axl_forecast_weights_fini(&s.weights);
    free(s.kernels);
    free(s.views);
    return status;
}
