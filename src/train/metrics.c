// metrics.jsonl and the progress line. What is hard is a run that was cut: the last line may be torn, and is
// dropped before new ones are appended.
#include "src/train/train.h"

#include "src/base/log.h"
#include "src/io/file.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

static axl_status drop_torn_line(const char *path)
{
    axl_status status = AXL_OK;
    axl_str text = {0};

    if (!axl_path_exists(path))
        goto out;
    AXL_TRY(axl_file_read(path, &text));
    size_t n = text.len;
    while (n > 0 && text.data[n - 1] != '\n')
        n--;
    if (n < text.len)
        AXL_REQUIRE(truncate(path, (off_t)n) == 0, AXL_E_IO, "%s: cannot be cut: %s", path,
                    strerror(errno));
out:
    axl_str_fini(&text);
    return status;
}

static axl_status open_lines(const axl_trainer *t, const char *name, axl_append **out)
{
    axl_status status = AXL_OK;
    axl_str path = {0};

    AXL_TRY(axl_str_printf(&path, "%s/%s", t->env.config->output_dir, name));
    AXL_TRY(drop_torn_line(path.data));
    AXL_TRY(axl_append_open(path.data, out));
out:
    axl_str_fini(&path);
    return status;
}

axl_status axl_metrics_open(axl_trainer *t)
{
    axl_status status = AXL_OK;
    const axl_config *c = t->env.config;

    if (axl_comm_rank(t->env.world) != 0)
        goto out;
    AXL_TRY(open_lines(t, "metrics.jsonl", &t->metrics));
    if (c->generate_samples && t->data.tokenizer != NULL)
        AXL_TRY(open_lines(t, "samples.jsonl", &t->samples));
    if (c->use_tensorboard)
        AXL_TRY(axl_tfevents_open(c->output_dir, t->step + 1, &t->events));
out:
    return status;
}

axl_status axl_metrics_close(axl_trainer *t)
{
    axl_status status = AXL_OK;
    axl_append *metrics = t->metrics, *samples = t->samples;
    axl_tfevents *events = t->events;

    t->metrics = t->samples = NULL;
    t->events = NULL;
    if (axl_append_close(samples) != AXL_OK)
        axl_warn("%s", axl_error_message());
    if (axl_tfevents_close(events) != AXL_OK)
        axl_warn("%s", axl_error_message());
    AXL_TRY(axl_append_close(metrics));
out:
    return status;
}

// RssAnon + RssShmem of this process.
static int64_t rss_bytes(void)
{
    char line[256];
    int64_t total = 0;
    long long kib;
    FILE *file = fopen("/proc/self/status", "r");

    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "RssAnon: %lld", &kib) == 1 || sscanf(line, "RssShmem: %lld", &kib) == 1)
            total += (int64_t)kib * 1024;
    if (file != NULL)
        (void)fclose(file);
    return total;
}

int64_t axl_memory_bytes(axl_device *d)
{
    size_t used = 0;

    d->ops->mem_info(d, &used, NULL);
    return d->host_memory ? rss_bytes() : (int64_t)used;
}

// "comm_bytes": {"dense.all_gather": n, ...} of this step: bytes sent by the rank that sent most.
static axl_status put_comm_bytes(const axl_trainer *t, const axl_traffic *sent, axl_str *line)
{
    axl_status status = AXL_OK;
    bool first = true;

    AXL_TRY(axl_str_puts(line, ", \"comm_bytes\": {"));
    for (int g = 0; g < AXL_N_GROUPS; g++) {
        for (int op = 0; op < AXL_COMM_N_OPS; op++) {
            if (sent->sent[g][op] == 0)
                continue;
            AXL_TRY(axl_str_printf(
                line, "%s\"%s.%s\": %lld", first ? "" : ", ", axl_comm_name(t->mesh->comms[g]),
                axl_comm_op_name((axl_comm_op)op), (long long)sent->sent[g][op]));
            first = false;
        }
    }
    AXL_TRY(axl_str_puts(line, "}"));
out:
    return status;
}

static double mfu_of(const axl_trainer *t, const axl_step_report *r)
{
    return r->flops / (r->seconds * t->peak_flops);
}

// On a terminal one line that renews itself; in a file plain lines, at the logging steps.
static void show_progress(const axl_trainer *t, const axl_step_report *r, bool log_line)
{
    double done = (double)(t->step - t->first_step);
    double left = (axl_now() - t->run_start) / fmax(done, 1.0) * (double)(t->total_steps - t->step);
    char text[256];

    (void)snprintf(text, sizeof text,
                   "step %lld/%lld  loss %.4f  norm %.3f  lr %.3g  %.0f tokens/s  left %lld:%02lld",
                   (long long)r->step, (long long)t->total_steps, r->loss, r->grad_norm, r->lr,
                   (double)r->n_tokens / r->seconds, (long long)left / 60, (long long)left % 60);
    if (log_line)
        axl_info("%s", text);
    else
        axl_log_passing("%s", text);
}

// The numbers that users of TensorBoard look for, by the names that they know.
static axl_status put_step_event(const axl_trainer *t, const axl_step_report *r)
{
    axl_tfevents_scalar scalars[14] = {
        {"train/loss", r->loss},
        {"train/grad_norm", r->grad_norm},
        {"train/learning_rate", r->lr},
        {"train/epoch", r->epoch},
        {"train/tokens_per_second", (double)r->n_tokens / r->seconds},
        {"train/step_seconds", r->seconds},
        {"train/comm_exposed_seconds", r->exposed},
        {"train/peak_memory_bytes", (double)r->memory_bytes},
        {"train/tokens", (double)r->n_tokens},
        {"train/trainable_tokens", (double)r->n_trained},
        {"train/total_tokens", (double)t->total_tokens},
    };
    size_t n = 11;

    if (t->peak_flops > 0.0)
        scalars[n++] = (axl_tfevents_scalar){"train/mfu", mfu_of(t, r)};
    if (r->expert_load > 0.0)
        scalars[n++] = (axl_tfevents_scalar){"train/expert_load_max_over_mean", r->expert_load};

    return t->events == NULL ? AXL_OK : axl_tfevents_put(t->events, r->step, scalars, n);
}

static axl_status put_eval_event(const axl_trainer *t, const axl_eval_report *r)
{
    const axl_tfevents_scalar scalars[] = {{"eval/loss", r->loss},
                                           {"eval/perplexity", r->perplexity}};

    return t->events == NULL ? AXL_OK : axl_tfevents_put(t->events, t->step, scalars, 2);
}

axl_status axl_metrics_step(axl_trainer *t, const axl_step_report *r)
{
    axl_status status = AXL_OK;
    axl_str line = {0};
    bool log_line = r->step % t->log_every == 0 || r->step == 1 || r->step == t->total_steps;

    if (axl_comm_rank(t->env.world) != 0)
        goto out;
    show_progress(t, r, log_line);
    if (!log_line)
        goto out;
    AXL_TRY(axl_str_printf(
        &line,
        "{\"step\": %lld, \"epoch\": %.9g, \"loss\": %.9g, \"grad_norm\": %.9g, "
        "\"learning_rate\": %.9g, \"tokens\": %lld, \"trainable_tokens\": %lld, "
        "\"total_tokens\": %lld, \"tokens_per_second\": %.9g, \"step_seconds\": %.9g, "
        "\"peak_memory_bytes\": %lld, \"comm_exposed_seconds\": %.9g",
        (long long)r->step, r->epoch, r->loss, r->grad_norm, r->lr, (long long)r->n_tokens,
        (long long)r->n_trained, (long long)t->total_tokens, (double)r->n_tokens / r->seconds,
        r->seconds, (long long)r->memory_bytes, r->exposed));
    if (t->peak_flops > 0.0)
        AXL_TRY(axl_str_printf(&line, ", \"mfu\": %.9g", mfu_of(t, r)));
    if (r->expert_load > 0.0)
        AXL_TRY(axl_str_printf(&line, ", \"expert_load_max_over_mean\": %.9g", r->expert_load));
    AXL_TRY(put_comm_bytes(t, &r->traffic, &line));
    AXL_TRY(axl_str_puts(&line, "}\n"));
    axl_append_put(t->metrics, line.data, line.len);
    AXL_TRY(put_step_event(t, r));
out:
    axl_str_fini(&line);
    return status;
}

axl_status axl_metrics_eval(axl_trainer *t, const axl_eval_report *r)
{
    axl_status status = AXL_OK;
    axl_str line = {0};
    const int64_t best = t->steer.best_step;
    char rest[48] = "";

    if (axl_comm_rank(t->env.world) != 0)
        goto out;
    if (best > 0 && best != t->step)
        (void)snprintf(rest, sizeof rest, "  best at step %lld", (long long)best);
    axl_info("step %lld  eval_loss %.4f  eval_perplexity %.3f%s", (long long)t->step, r->loss,
             r->perplexity, best == t->step && best > 0 ? "  best so far" : rest);
    AXL_TRY(axl_str_printf(&line, "{\"step\": %lld, \"eval_loss\": %.9g, \"eval_perplexity\": %.9g",
                           (long long)t->step, r->loss, r->perplexity));
    if (best > 0)
        AXL_TRY(axl_str_printf(&line,
                               ", \"best_step\": %lld, \"evaluations_without_improvement\": %lld",
                               (long long)best, (long long)t->steer.n_worse));
    AXL_TRY(axl_str_puts(&line, "}\n"));
    axl_append_put(t->metrics, line.data, line.len);
    AXL_TRY(put_eval_event(t, r));
out:
    axl_str_fini(&line);
    return status;
}

static double mib(size_t bytes)
{
    return (double)bytes / 1048576.0;
}

// What of the device's memory the run takes, by class; tests/cli/test_plan.py holds their names against the plan's.
typedef struct memory_class {
    const char *name;
    size_t bytes;
} memory_class;

enum { N_CLASSES = 12 };

static size_t count_memory(const axl_trainer *t, memory_class out[N_CLASSES])
{
    const axl_sharder_bytes *s = &t->sharder.bytes;
    const axl_work_bytes *w = &t->work.bytes;
    const memory_class classes[N_CLASSES] = {
        {"weights", s->master},
        {"gradients", s->grads + s->squares},
        {"moments", s->moments},
        {"gathered weights", s->gathered},
        {"gradients in flight", s->grad_buffers},
        {"micro-step sums", s->levels},
        {"activations", w->batch + w->carries + w->saved + w->grads},
        {"scratch", w->scratch},
        {"head", w->head},
        {"keys of other ranks", w->ring},
        {"workspace of kernels", t->env.device->workspace_bytes},
        {"sums over ranks", axl_comm_device_bytes(t->env.device)},
    };
    size_t sum = 0;

    for (int i = 0; i < N_CLASSES; i++) {
        out[i] = classes[i];
        sum += classes[i].bytes;
    }
    return sum;
}

void axl_metrics_plan(const axl_trainer *t)
{
    memory_class classes[N_CLASSES];
    const size_t sum = count_memory(t, classes);
    char text[640] = "";
    size_t n = 0;

    for (int i = 0; i < N_CLASSES && n < sizeof text; i++)
        if (classes[i].bytes > 0)
            n += (size_t)snprintf(text + n, sizeof text - n, "%s %.1f, ", classes[i].name,
                                  mib(classes[i].bytes));
    axl_info("plan, MiB a rank: %ssum %.1f", text, mib(sum));
}

// One line an operation that sends anything: bytes expected in a step and at most, of rank 0.
static void show_traffic(const axl_trainer *t, const axl_traffic *expected,
                         const axl_traffic *worst)
{
    for (int g = 0; g < AXL_N_GROUPS; g++)
        for (int op = 0; op < AXL_COMM_N_OPS; op++)
            if (worst->sent[g][op] > 0)
                axl_info("plan, MiB sent a step: %s.%s %.4g expected, at most %.4g",
                         axl_comm_name(t->mesh->comms[g]), axl_comm_op_name((axl_comm_op)op),
                         mib((size_t)expected->sent[g][op]), mib((size_t)worst->sent[g][op]));
}

axl_status axl_metrics_traffic(const axl_trainer *t)
{
    axl_status status = AXL_OK;
    axl_traffic expected = {0};
    axl_traffic worst = {0};
    const axl_data_setup *d = &t->data;

    if (axl_comm_rank(t->env.world) != 0 || axl_comm_size(t->env.world) == 1)
        goto out;
    // the training part of the set is a random one, or nearly all of it
    const int64_t n_all = d->train.n > 0 ? d->train.set->n : 1;
    const int64_t tokens =
        d->train.n > 0
            ? (int64_t)((double)d->train.set->n_tokens * (double)d->train.n / (double)n_all)
            : 0;
    // micro-batches as full as their mean over an epoch
    const int64_t n_micro = t->env.config->gradient_accumulation_steps;
    const int64_t n_batches =
        t->steps_per_epoch * n_micro * axl_mesh_n_batches(t->mesh); // the last step may have fewer
    const int64_t most = axl_loader_whole_tokens(t->loader);
    const int64_t mean = d->stream != NULL ? most : n_batches > 0 ? tokens / n_batches : 0;
    const int64_t n_tokens = mean < 1 ? 1 : mean < most ? mean : most;
    const int64_t docs = n_tokens * d->train.n / (tokens > 0 ? tokens : 1);
    AXL_TRY(axl_traffic_outlook(&t->work, &t->sharder.options, n_micro, n_tokens,
                                docs > 0 ? docs : 1, false, &expected, &worst));
    show_traffic(t, &expected, &worst);
out:
    return status;
}

axl_status axl_metrics_memory(const axl_trainer *t)
{
    axl_status status = AXL_OK;
    memory_class classes[N_CLASSES];
    size_t used = 0;

    t->env.device->ops->mem_info(t->env.device, &used, NULL);
    double largest = (double)used;
    AXL_TRY(axl_comm_all_reduce_f64(t->env.world, &largest, 1, AXL_REDUCE_MAX));
    axl_info("memory, MiB a rank: planned %.1f, taken %.1f, %s %.1f", mib(count_memory(t, classes)),
             mib((size_t)largest),
             t->env.device->host_memory ? "process (RssAnon + RssShmem)" : "at most on the GPU",
             mib((size_t)t->peak_memory));
out:
    return status;
}
