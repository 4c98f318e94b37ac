// All layouts, tried. What makes it quick: a model is built once a mesh, a plan of memory once a mode and micro-batch
// size, tokens are laid out over cp once a size, and time is only asked of what fits.
#include "src/plan/search.h"

#include "src/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_MICROS = 8, MAX_VIEWS = 256, MIN_TOKENS = 64 }; // tokens of a rank, at least
enum { MOST_RANKS = 1000000, MOST_TP = 64 };

typedef struct cached_view {
    int cp;
    int64_t micro;
    axl_forecast_view view;
} cached_view;

typedef struct searcher {
    const axl_arch *arch;
    const axl_cluster *cluster;
    const axl_forecast_data *data;
    const axl_forecast_job *asked;
    axl_search *out;
    int64_t n_ranks, rows; // rows of a step
    cached_view *views;    // [n_views], owned
    int n_views;
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

// ---- what is kept

static int count_changes(const searcher *s, const axl_search_row *r)
{
    int n = r->micro_batch_size != s->data->micro_batch_size;

    n += r->mode != s->asked->work.checkpointing;
    n += r->reshard != s->asked->sharder.reshard_after_forward;
    for (int i = 0; i < AXL_N_AXES; i++)
        n += i != AXL_DP_SHARD && r->mesh[i] != s->asked->mesh[i];
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

static axl_status try_kept(searcher *s, const axl_work *w, axl_forecast_job *job,
                           const axl_forecast_view *view, axl_search_row *r)
{
    axl_status status = AXL_OK;

    for (int kept = 0; kept < 2; kept++) {
        r->reshard = job->sharder.reshard_after_forward = kept == 0;
        AXL_TRY(axl_forecast_on(w, s->cluster, job, view, &r->forecast));
        s->out->n_tried++;
        if (!axl_forecast_fits(&r->forecast))
            continue;
        s->out->n_fit++;
        r->n_changes = count_changes(s, r);
        keep_best(s->out, r);
        keep_mend(s->out, r);
    }
out:
    return status;
}

static axl_status try_micro(searcher *s, axl_model *m, axl_search_row *r)
{
    axl_status status = AXL_OK;
    axl_forecast_job job = *s->asked;
    axl_forecast_data data = *s->data;
    axl_forecast_view view;
    axl_work w = {0};

    memcpy(job.mesh, r->mesh, sizeof job.mesh);
    data.micro_batch_size = r->micro_batch_size;
    data.accumulation = r->accumulation;
    axl_forecast_fill(&data, &job);
    if (job.sharder.invariant > 0)
        job.sharder.invariant = r->accumulation;
    if (job.work.whole_tokens > INT32_MAX || job.n_tokens < (int64_t)MIN_TOKENS * r->mesh[AXL_CP])
        goto out;
    AXL_TRY(find_view(s, &job, r->micro_batch_size, &view));
    for (int mode = AXL_CHECKPOINT_NONE; mode <= (int)AXL_CHECKPOINT_FULL; mode++) {
        r->mode = job.work.checkpointing = (axl_checkpointing)mode;
        AXL_TRY(axl_work_imagine(&w, m, &job.work));
        AXL_TRY(try_kept(s, &w, &job, &view, r));
        axl_work_fini(&w);
    }
out:
    axl_work_fini(&w);
    return status;
}

static bool allowed(const searcher *s, const int mesh[AXL_N_AXES])
{
    const int tp = mesh[AXL_TP], kv = s->arch->n_kv_heads > tp ? s->arch->n_kv_heads / tp : 1;
    const bool strides = s->asked->work.ring != AXL_RING_VARLEN_LLAMA3 || mesh[AXL_CP] == 1 ||
                         kv % s->asked->work.heads_k_stride == 0;

    if (mesh[AXL_CP] > 1 && !axl_attention_splits(&s->arch->attention))
        return false;
    return axl_model_fits(s->arch, tp, mesh[AXL_EP]) && strides && s->rows % n_batches(mesh) == 0;
}

static axl_status try_mesh(searcher *s, const int sizes[AXL_N_AXES])
{
    axl_status status = AXL_OK;
    axl_arch copy = {0};
    axl_mesh mesh;
    axl_model *m = NULL;
    axl_search_row r = {0};
    const int64_t each = s->rows / n_batches(sizes);
    int n_micros = 0;

    if (!allowed(s, sizes))
        goto out;
    memcpy(r.mesh, sizes, sizeof r.mesh);
    axl_mesh_imagine(sizes, 0, &mesh);
    AXL_TRY(axl_forecast_copy_arch(s->arch, &copy));
    AXL_TRY(axl_model_create(&copy, &mesh, &m));
    for (int64_t micro = 1; micro <= each && n_micros < MAX_MICROS; micro++) {
        if (each % micro != 0)
            continue;
        r.micro_batch_size = micro;
        r.accumulation = each / micro;
        AXL_TRY(try_micro(s, m, &r));
        n_micros++;
    }
out:
    axl_model_destroy(m);
    axl_arch_fini(&copy);
    return status;
}

// Fills the axes from `axis` down to tp, which come last; the ranks that are left are dp_shard's.
static axl_status try_axes(searcher *s, int *mesh, int axis, int64_t rest)
{
    axl_status status = AXL_OK;
    static const int order[] = {AXL_TP, AXL_CP, AXL_EP, AXL_DP_REPLICATE};

    if (axis == (int)(sizeof order / sizeof *order)) {
        mesh[AXL_DP_SHARD] = (int)rest;
        AXL_TRY(try_mesh(s, mesh));
        goto out;
    }
    for (int64_t n = 1; n <= rest; n++) {
        if (rest % n != 0)
            continue;
        if (order[axis] == AXL_TP && ((double)n > s->cluster->node_ranks || n > s->arch->n_heads))
            break;
        if (order[axis] == AXL_EP && n > (s->arch->moe.n_experts > 1 ? s->arch->moe.n_experts : 1))
            break;
        if (order[axis] == AXL_CP && n * MIN_TOKENS > s->rows * s->data->sequence_len)
            break;
        mesh[order[axis]] = (int)n;
        AXL_TRY(try_axes(s, mesh, axis + 1, rest / n));
    }
out:
    return status;
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

axl_status axl_search_run(const axl_arch *arch, const axl_cluster *cluster,
                          const axl_forecast_data *data, const axl_forecast_job *asked,
                          axl_search *out)
{
    axl_status status = AXL_OK;
    int mesh[AXL_N_AXES] = {1, 1, 1, 1, 1};
    axl_forecast base;
    searcher s = {.arch = arch,
                  .cluster = cluster,
                  .data = data,
                  .asked = asked,
                  .out = out,
                  .n_ranks = 1,
                  .rows = data->micro_batch_size * data->accumulation * n_batches(asked->mesh)};

    *out = (axl_search){0};
    for (int i = 0; i < AXL_N_AXES; i++)
        s.n_ranks *= asked->mesh[i];
    AXL_TRY(axl_calloc(MAX_VIEWS, sizeof *s.views, "the layouts", &s.views));
    AXL_TRY(forecast_asked(&s, &base));
    AXL_TRY(try_axes(&s, mesh, 0, s.n_ranks));
    for (int i = 0; i < out->n_best; i++)
        explain(&base, &out->best[i]);
    if (out->has_mend)
        explain(&base, &out->mend);
    else
        AXL_TRY(find_ranks(&s));
out:
    free(s.views);
    return status;
}
