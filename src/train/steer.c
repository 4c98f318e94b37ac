// When a run evaluates, saves and stops, and which evaluation is its best. All of it follows from values that are
// bit-equal on every rank, so that all ranks decide alike: axl_train_eval gives them those of rank 0.
//
// What is hard is that the best evaluation need not have a checkpoint: two bests are kept, of all evaluations (for
// patience and for the reader) and of those whose weights were saved (to load at the end, and to keep from pruning).
#include "src/train/train.h"

#include "src/base/log.h"
#include "src/base/mem.h"
#include "src/io/file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// What metric_for_best_model may name, with or without eval_ in front (keys.def has the same words).
static const struct {
    const char *word;
    const char *name; // as in metrics.jsonl
    size_t offset;    // double of axl_eval_report
    bool greater;     // is better
} metrics[] = {
    {"loss", "eval_loss", offsetof(axl_eval_report, loss), false},
    {"perplexity", "eval_perplexity", offsetof(axl_eval_report, perplexity), false},
    {"ppl", "eval_perplexity", offsetof(axl_eval_report, perplexity), false},
};
#define N_METRICS (sizeof metrics / sizeof *metrics)

static size_t metric_of(const axl_config *c)
{
    const char *word = c->metric_for_best_model != NULL ? c->metric_for_best_model : "loss";

    if (strncmp(word, "eval_", 5) == 0)
        word += 5;
    for (size_t i = 0; i < N_METRICS; i++)
        if (strcmp(metrics[i].word, word) == 0)
            return i;
    AXL_ASSERT(false); // keys.def lists them
    return 0;
}

const char *axl_steer_metric(const axl_config *c)
{
    return metrics[metric_of(c)].name;
}

static bool greater_is_better(const axl_config *c)
{
    return c->set.greater_is_better ? c->greater_is_better : metrics[metric_of(c)].greater;
}

static bool better(const axl_config *c, double value, double than)
{
    return greater_is_better(c) ? value > than : value < than; // never with NaN
}

axl_status axl_steer_init(axl_trainer *t)
{
    axl_status status = AXL_OK;
    const axl_config *c = t->env.config;
    const axl_derived *d = &c->derived;
    axl_steer *s = &t->steer;

    s->save_every = axl_config_save_every(c, t->total_steps);
    s->eval_every = axl_config_eval_every(c, t->total_steps);
    AXL_REQUIRE(d->eval_when == AXL_WHEN_NEVER || t->eval_loader != NULL, AXL_E_INPUT,
                "there is nothing to evaluate on: test_datasets has no sample left; turn "
                "evaluation off or give it samples that are not dropped");
    AXL_REQUIRE(!d->load_best || s->save_every == 0 || s->eval_every == 0 ||
                    s->save_every % s->eval_every == 0,
                AXL_E_CONFIG,
                "load_best_model_at_end: in a run of %lld steps there is a checkpoint every %lld "
                "steps and an evaluation every %lld; the first must be a multiple of the second",
                (long long)t->total_steps, (long long)s->save_every, (long long)s->eval_every);
out:
    return status;
}

void axl_steer_fini(axl_steer *s)
{
    free(s->saved_path);
    s->saved_path = NULL;
}

bool axl_steer_evaluates(const axl_trainer *t, bool ends_epoch, bool last)
{
    switch (t->env.config->derived.eval_when) {
    case AXL_WHEN_STEPS:
        return last || t->step % t->steer.eval_every == 0;
    case AXL_WHEN_EPOCH:
        return last || ends_epoch;
    default:
        return false;
    }
}

bool axl_steer_saves(const axl_trainer *t, bool ends_epoch, bool last)
{
    const axl_config *c = t->env.config;

    if (t->step == 1 && c->save_first_step)
        return true;
    switch (c->derived.save_when) {
    case AXL_WHEN_STEPS:
        return last || t->step % t->steer.save_every == 0;
    case AXL_WHEN_EPOCH:
        return last || ends_epoch;
    case AXL_WHEN_BEST:
        return t->steer.best_step == t->step;
    default:
        return false;
    }
}

bool axl_steer_stops(const axl_trainer *t)
{
    const axl_config *c = t->env.config;

    return c->set.early_stopping_patience && t->steer.n_worse >= c->early_stopping_patience;
}

void axl_steer_evaluated(axl_trainer *t, const axl_eval_report *r)
{
    const axl_config *c = t->env.config;
    axl_steer *s = &t->steer;
    const double value =
        *(const double *)(const void *)((const char *)r + metrics[metric_of(c)].offset);

    if (t->step == 0) // nothing was learned yet: it is no candidate, and the patience begins later
        return;
    s->value = value;
    s->value_step = t->step;
    if (s->best_step == 0 ? !isnan(value) : better(c, value, s->best)) {
        s->best = value;
        s->best_step = t->step;
        s->n_worse = 0;
    } else {
        s->n_worse++;
    }
}

axl_status axl_steer_saving(axl_trainer *t, const char *path)
{
    axl_status status = AXL_OK;
    axl_steer *s = &t->steer;
    char *copy = NULL;

    if (t->step == 0 || s->value_step != t->step || isnan(s->value))
        goto out;
    if (s->saved_step == 0 || better(t->env.config, s->value, s->saved)) {
        AXL_TRY(axl_strdup(path, &copy));
        free(s->saved_path);
        s->saved_path = copy;
        s->saved_step = t->step;
        s->saved = s->value;
    }
out:
    return status;
}

// ---- in the checkpoint

static axl_status put_best(double value, int64_t step, const char *names[2], axl_str *meta)
{
    if (step == 0)
        return axl_str_printf(meta, ",\n  \"%s\": null,\n  \"%s\": null", names[0], names[1]);
    return axl_str_printf(meta, ",\n  \"%s\": %.17g,\n  \"%s\": %lld", names[0], value, names[1],
                          (long long)step);
}

// The folder of the best checkpoint: its name beside others of output_dir, else its path.
static axl_status put_path(const axl_trainer *t, axl_str *meta)
{
    axl_status status = AXL_OK;
    const char *path = t->steer.saved_path;
    const char *dir = t->env.config->output_dir;
    const size_t n = strlen(dir);

    if (path != NULL && strncmp(path, dir, n) == 0 && path[n] == '/')
        path += n + 1;
    AXL_TRY(axl_str_puts(meta, ",\n  \"best_model_checkpoint\": "));
    AXL_TRY(path == NULL ? axl_str_puts(meta, "null") : axl_str_put_json(meta, path, strlen(path)));
out:
    return status;
}

axl_status axl_steer_put(const axl_trainer *t, axl_str *meta)
{
    axl_status status = AXL_OK;
    const axl_config *c = t->env.config;
    const axl_steer *s = &t->steer;

    AXL_TRY(axl_str_printf(meta,
                           ",\n  \"metric_for_best_model\": \"%s\",\n  \"greater_is_better\": %s",
                           axl_steer_metric(c), greater_is_better(c) ? "true" : "false"));
    AXL_TRY(
        put_best(s->best, s->best_step, (const char *[]){"best_metric", "best_global_step"}, meta));
    AXL_TRY(put_best(s->saved, s->saved_step,
                     (const char *[]){"best_saved_metric", "best_saved_step"}, meta));
    AXL_TRY(put_path(t, meta));
    AXL_TRY(axl_str_printf(meta, ",\n  \"evaluations_without_improvement\": %lld",
                           (long long)s->n_worse));
out:
    return status;
}

// A name is that of a neighbour of the checkpoint at `from`.
static axl_status find_path(const char *name, const char *from, char **out)
{
    axl_status status = AXL_OK;
    axl_str path = {0};
    size_t n = strlen(from);

    while (n > 0 && from[n - 1] == '/')
        n--;
    while (n > 0 && from[n - 1] != '/')
        n--;
    if (strchr(name, '/') == NULL)
        AXL_TRY(axl_str_append(&path, from, n));
    AXL_TRY(axl_str_puts(&path, name));
    AXL_TRY(axl_strdup(path.data, out));
out:
    axl_str_fini(&path);
    return status;
}

axl_status axl_steer_get(axl_trainer *t, const axl_json *meta, const char *from)
{
    axl_status status = AXL_OK;
    const axl_config *c = t->env.config;
    axl_steer *s = &t->steer;
    const char *metric = axl_json_string(axl_json_get(meta, "metric_for_best_model"), "");
    const char *name = axl_json_string(axl_json_get(meta, "best_model_checkpoint"), NULL);

    if (strcmp(metric, axl_steer_metric(c)) != 0 ||
        axl_json_bool(axl_json_get(meta, "greater_is_better"), false) != greater_is_better(c)) {
        axl_info("%s: its best evaluation was chosen by another metric and is not gone on from",
                 from);
        goto out;
    }
    s->best_step = axl_json_int(axl_json_get(meta, "best_global_step"), 0);
    s->best = axl_json_real(axl_json_get(meta, "best_metric"), NAN);
    s->n_worse = axl_json_int(axl_json_get(meta, "evaluations_without_improvement"), 0);
    if (name == NULL)
        goto out;
    s->saved_step = axl_json_int(axl_json_get(meta, "best_saved_step"), 0);
    s->saved = axl_json_real(axl_json_get(meta, "best_saved_metric"), NAN);
    AXL_TRY(find_path(name, from, &s->saved_path));
out:
    return status;
}

axl_status axl_steer_check(axl_trainer *t)
{
    axl_status status = AXL_OK;
    axl_steer *s = &t->steer;
    int64_t there = 0;

    if (s->saved_path == NULL)
        goto out;
    if (axl_comm_rank(t->env.world) == 0)
        there = axl_path_exists(s->saved_path);
    AXL_TRY(axl_comm_bcast_bytes(t->env.world, &there, sizeof there, 0));
    if (there)
        goto out;
    axl_warn("%s, the best checkpoint so far, is gone; the best one is looked for from here on",
             s->saved_path);
    axl_steer_fini(s);
    s->saved_step = 0;
out:
    return status;
}
