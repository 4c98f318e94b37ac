// axl-dist preprocess: tokenize, mask and write the prepared sets before any training.
#include "launch/commands.h"
#include "launch/data_command.h"

#include "src/base/log.h"
#include "src/data/data_stream.h"
#include "src/data/dump.h"
#include "src/data/summary.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: axl-dist preprocess CONFIG.yaml [--debug] [--dump FILE] [--json] [--refresh] [--key "
    "value "
    "...]\n"
    "\n"
    "Reads the data sets of the configuration, tokenizes and masks them, and writes the prepared "
    "sets\n"
    "that training maps. Prints what was kept, what was dropped and why. A stream is not prepared: "
    "of\n"
    "its first records --debug and --dump show the samples.\n"
    "\n"
    "  --debug       print some samples: trained tokens green, masked ones red; without a "
    "terminal\n"
    "                each token is followed by (label, id)\n"
    "  --dump FILE   write a JSON object a sample, in the order of the data: input_ids, labels,\n"
    "                length, source (file:line); preference data: prompt, chosen, rejected (kto:\n"
    "                completion, label) and their tokens; - is standard output\n"
    "  --json        print one JSON object instead of the summary: rows, samples and what was "
    "dropped "
    "of\n"
    "                datasets and test_datasets, lengths, each entry by itself, and the steps\n"
    "  --refresh     make the sets again, also when they are there\n"
    "\n"
    "example: axl-dist preprocess run.yaml --debug\n";

#define DEBUG_SAMPLES 5

static axl_status print_samples(const axl_data_setup *d)
{
    axl_status status = AXL_OK;
    bool colour = isatty(STDOUT_FILENO) == 1;
    axl_str text = {0};

    for (int64_t i = 0; i < DEBUG_SAMPLES && i < d->set->n; i++) {
        axl_str_clear(&text);
        AXL_TRY(axl_debug_sample(d->set, i, d->tokenizer, colour, &text));
        (void)fwrite(text.data, 1, text.len, stdout);
    }

out:
    axl_str_fini(&text);
    return status;
}

typedef struct output_options {
    bool debug, json;
    const char *dump;
} output_options;

// How many steps a training run has whose data is split as this command's ranks would split it: what users want
// to know before they start one. Each of them stands for a group of ranks that get the same rows.
static axl_status count_steps(const axl_data_command *d, int64_t *n_steps, int64_t *max_tokens)
{
    axl_status status = AXL_OK;
    axl_loader *loader = NULL;
    const axl_mesh_sizes *sizes = &d->config->derived.mesh;
    axl_mesh mesh;

    axl_mesh_imagine((const int[AXL_N_AXES]){1, axl_comm_size(d->world), 1, sizes->cp, sizes->tp},
                     0, &mesh);
    AXL_TRY(axl_data_setup_loader(&d->data, d->config, &mesh, &loader));
    *n_steps = axl_loader_steps_left(loader);
    *max_tokens = axl_loader_max_tokens(loader);

out:
    axl_loader_destroy(loader);
    return status;
}

static int count_ranks(const axl_data_command *d)
{
    const axl_mesh_sizes *sizes = &d->config->derived.mesh;

    return axl_comm_size(d->world) * sizes->cp * sizes->tp;
}

static axl_status print_summary(const axl_data_command *d)
{
    axl_status status = AXL_OK;
    int64_t n_steps = 0, max_tokens = 0;
    int n_ranks = count_ranks(d);
    axl_str limit = {0};

    if (!d->data.made)
        axl_info("prepared before from the same data, tokenizer and keys; --refresh does it again");
    AXL_TRY(axl_data_setup_report(&d->data));
    AXL_TRY(count_steps(d, &n_steps, &max_tokens));
    if (d->config->set.max_steps)
        AXL_TRY(axl_str_printf(&limit, "; max_steps: the run has %lld",
                               (long long)d->config->max_steps));
    axl_info("%lld steps on %d rank%s, at most %lld tokens a micro-batch%s", (long long)n_steps,
             n_ranks, n_ranks == 1 ? "" : "s", (long long)max_tokens,
             limit.len > 0 ? limit.data : "");

out:
    axl_str_fini(&limit);
    return status;
}

static axl_status put_set(const char *name, const axl_prepared *set, axl_str *out)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_str_printf(out, "\"%s\": ", name));
    AXL_TRY(set != NULL ? axl_summary_json(set, out) : axl_str_puts(out, "null"));
    AXL_TRY(axl_str_puts(out, ", "));

out:
    return status;
}

static axl_status print_json(const axl_data_command *d)
{
    axl_status status = AXL_OK;
    int64_t n_steps = 0, max_tokens = 0;
    axl_str out = {0};

    AXL_TRY(count_steps(d, &n_steps, &max_tokens));
    AXL_TRY(axl_str_putc(&out, '{'));
    AXL_TRY(put_set("datasets", d->data.set, &out));
    AXL_TRY(put_set("test_datasets", d->data.test_set, &out));
    AXL_TRY(axl_str_printf(&out,
                           "\"made\": %s, \"train_samples\": %lld, \"eval_samples\": %lld, "
                           "\"ranks\": %d, \"steps\": %lld, \"max_tokens\": %lld}\n",
                           d->data.made ? "true" : "false", (long long)d->data.train.n,
                           (long long)d->data.eval.n, count_ranks(d), (long long)n_steps,
                           (long long)max_tokens));
    (void)fwrite(out.data, 1, out.len, stdout);

out:
    axl_str_fini(&out);
    return status;
}

// Nothing is prepared of a stream; what can be shown is how its first records are tokenized.
static axl_status output_stream(const axl_data_command *d, bool debug, const char *dump)
{
    axl_status status = AXL_OK;
    axl_feed *feed = NULL;
    axl_data_setup first = {.tokenizer = d->data.tokenizer};
    const axl_prepared *set = NULL;

    AXL_TRY(axl_data_setup_report(&d->data));
    if (!debug && dump == NULL)
        goto out;
    AXL_TRY(axl_data_setup_feed(&d->data, d->config, &feed));
    AXL_TRY(axl_data_stream_first(feed, &set));
    axl_prepared view = *set;
    first.set = &view;
    if (debug)
        AXL_TRY(print_samples(&first));
    if (dump != NULL)
        AXL_TRY(axl_dump_all(&view, NULL, dump));

out:
    axl_feed_destroy(feed);
    return status;
}

static axl_status output(const axl_data_command *d, const output_options *o)
{
    axl_status status = AXL_OK;

    if (axl_comm_rank(d->world) != 0)
        goto out;
    if (d->data.stream != NULL) {
        AXL_TRY(output_stream(d, o->debug, o->dump));
        goto out;
    }
    AXL_TRY(o->json ? print_json(d) : print_summary(d));
    if (o->debug)
        AXL_TRY(print_samples(&d->data));
    if (o->dump != NULL)
        AXL_TRY(axl_data_setup_dump(&d->data, d->config, o->dump));

out:
    return status;
}

int axl_cmd_preprocess(int argc, char **argv)
{
    axl_status status = AXL_OK;
    axl_data_command d = {0};
    axl_command_line line = {0};
    output_options o = {0};
    bool refresh = false;
    const axl_command_option options[] = {{"--debug", &o.debug, NULL},
                                          {"--refresh", &refresh, NULL},
                                          {"--json", &o.json, NULL},
                                          {"--dump", NULL, &o.dump}};

    AXL_TRY(axl_command_line_parse(argc, argv, options, 4, &line));
    if (line.help) {
        (void)fputs(usage, stdout);
        goto out;
    }
    bool dump_here = o.dump != NULL && strcmp(o.dump, "-") == 0;
    AXL_REQUIRE(!o.json || (!o.debug && !dump_here), AXL_E_CONFIG,
                "--json prints one object and nothing else: leave out --debug and --dump -");
    if (dump_here || o.json)
        axl_log_set_terminal_level(AXL_LOG_WARN);
    AXL_TRY(axl_data_command_begin(&line, refresh, &d));
    AXL_TRY(axl_comm_agree(d.world, output(&d, &o)));

out:
    axl_command_line_fini(&line);
    return axl_data_command_end(&d, "preprocess", status);
}
