// axl-dist preprocess: tokenize, mask and write the prepared sets before any training.
#include "launch/commands.h"
#include "launch/data_command.h"

#include "src/base/log.h"
#include "src/data/dump.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: axl-dist preprocess CONFIG.yaml [--debug] [--dump FILE] [--refresh] [--key value ...]\n"
    "\n"
    "Reads the data sets of the configuration, tokenizes and masks them, and writes the prepared "
    "sets\n"
    "that training maps. Prints what was kept, what was dropped and why.\n"
    "\n"
    "  --debug       print some samples: trained tokens green, masked ones red; without a "
    "terminal\n"
    "                each token is followed by (label, id)\n"
    "  --dump FILE   write a JSON object a sample, in the order of the data: input_ids, labels,\n"
    "                length, source (file:line); - is standard output\n"
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

// How many steps a training run has whose data is split as this command's ranks would split it: what users want
// to know before they start one. Each of them stands for a group of ranks that get the same rows.
static axl_status print_steps(const axl_data_command *d)
{
    axl_status status = AXL_OK;
    axl_loader *loader = NULL;
    const axl_mesh_sizes *sizes = &d->config->derived.mesh;
    int n_ranks = axl_comm_size(d->world) * sizes->cp * sizes->tp;
    axl_mesh mesh;

    axl_mesh_imagine((const int[AXL_N_AXES]){1, axl_comm_size(d->world), 1, sizes->cp, sizes->tp},
                     0, &mesh);
    AXL_TRY(axl_data_setup_loader(&d->data, d->config, &mesh, &loader));
    axl_info("%lld steps on %d rank%s, at most %lld tokens a micro-batch",
             (long long)axl_loader_steps_left(loader), n_ranks, n_ranks == 1 ? "" : "s",
             (long long)axl_loader_max_tokens(loader));

out:
    axl_loader_destroy(loader);
    return status;
}

static axl_status output(const axl_data_command *d, bool debug, const char *dump)
{
    axl_status status = AXL_OK;

    if (axl_comm_rank(d->world) != 0)
        goto out;
    AXL_TRY(axl_data_setup_report(&d->data));
    AXL_TRY(print_steps(d));
    if (debug)
        AXL_TRY(print_samples(&d->data));
    if (dump != NULL)
        AXL_TRY(axl_dump_all(d->data.set, dump));

out:
    return status;
}

int axl_cmd_preprocess(int argc, char **argv)
{
    axl_status status = AXL_OK;
    axl_data_command d = {0};
    axl_command_line line = {0};
    bool debug = false, refresh = false;
    const char *dump = NULL;
    const axl_command_option options[] = {
        {"--debug", &debug, NULL}, {"--refresh", &refresh, NULL}, {"--dump", NULL, &dump}};

    AXL_TRY(axl_command_line_parse(argc, argv, options, 3, &line));
    if (line.help) {
        (void)fputs(usage, stdout);
        goto out;
    }
    if (dump != NULL && strcmp(dump, "-") == 0)
        axl_log_set_terminal_level(AXL_LOG_WARN);
    AXL_TRY(axl_data_command_begin(&line, refresh, &d));
    AXL_TRY(axl_comm_agree(d.world, output(&d, debug, dump)));

out:
    axl_command_line_fini(&line);
    return axl_data_command_end(&d, "preprocess", status);
}
