// axl-dist explain: one sample token by token, as the model will be trained on it.
#include "launch/commands.h"
#include "launch/data_command.h"

#include "src/base/log.h"
#include "src/data/data_stream.h"
#include "src/data/dump.h"
#include "src/io/file.h"

#include <stdio.h>
#include <stdlib.h>

static const char usage[] =
    "usage: axl-dist explain CONFIG.yaml --row N [--json] [--key value ...]\n"
    "\n"
    "Prints one sample of the training data: of each token its position, id, label (-100: not "
    "trained),\n"
    "weight in the loss, text, and the document and bin it is packed into in the first epoch; of\n"
    "preference data also what its document is: chosen, rejected, desirable, undesirable.\n"
    "\n"
    "  --row N   the sample, counted from 0 in the order of the data, as preprocess --dump writes "
    "them;\n"
    "            of a stream: among the first records read, those of one buffer\n"
    "  --json    print an object with a list of tokens\n"
    "\n"
    "example: axl-dist explain run.yaml --row 0\n";

static axl_status explain(const axl_data_command *d, const char *row, bool json)
{
    axl_status status = AXL_OK;
    char *end = NULL;
    long long sample = strtoll(row, &end, 10);
    const axl_prepared *set = d->data.set;
    axl_feed *feed = NULL;
    axl_sample_place place;
    axl_str text = {0};

    if (axl_comm_rank(d->world) != 0)
        goto out;
    AXL_REQUIRE(end != row && *end == '\0', AXL_E_CONFIG, "--row %s is not a number", row);
    AXL_TRY(axl_data_setup_feed(&d->data, d->config, &feed));
    AXL_TRY(axl_feed_find(feed, sample, &place));
    if (d->data.stream != NULL)
        AXL_TRY(axl_data_stream_first(feed, &set));
    AXL_TRY(axl_explain_sample(set, sample, d->data.tokenizer, &place, json, &text));
    AXL_TRY(axl_print(&text));

out:
    axl_feed_destroy(feed);
    axl_str_fini(&text);
    return status;
}

int axl_cmd_explain(int argc, char **argv)
{
    axl_status status = AXL_OK;
    axl_data_command d = {0};
    axl_command_line line = {0};
    bool json = false;
    const char *row = NULL;
    const axl_command_option options[] = {{"--json", &json, NULL}, {"--row", NULL, &row}};

    AXL_TRY(axl_command_line_parse(argc, argv, options, 2, &line));
    if (line.help) {
        (void)fputs(usage, stdout);
        goto out;
    }
    AXL_REQUIRE(row != NULL, AXL_E_CONFIG, "which sample? give --row N; see --help");
    axl_log_set_terminal_level(AXL_LOG_WARN);
    AXL_TRY(axl_data_command_begin(&line, false, &d));
    AXL_TRY(axl_comm_agree(d.world, explain(&d, row, json)));

out:
    axl_command_line_fini(&line);
    return axl_data_command_end(&d, "explain", status);
}
