// axl-dist validate: what is wrong with a configuration, all of it, without model or data.
#include "launch/commands.h"

#include "src/config/config.h"
#include "src/io/file.h"
#include "src/train/train.h"
#include "src/train/weight_scales.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: axl-dist validate CONFIG.yaml [--json] [--ranks N] [--key value ...]\n"
    "\n"
    "Reads the file and checks every key and rule. Prints one line a finding,\n"
    "  file:line:column: error|warning|note: key: what is wrong and how to mend it\n"
    "and needs neither model nor data. Exit code 0: it can be run; 2: it cannot.\n"
    "\n"
    "  --json         print {\"ok\": ..., \"findings\": [...]} instead\n"
    "  --ranks N      check the sizes of the mesh against a run on N ranks\n"
    "  --key value    override a key, as for training; --parent.child value a nested one\n"
    "\n"
    "example: axl-dist validate run.yaml --ranks 16 --tensor_parallel_size 2\n";

#define MAX_ARGUMENTS 256

typedef struct options {
    const char *path;
    bool json, help;
    const char *overrides[MAX_ARGUMENTS];
    int n_overrides;
    int n_ranks; // 0: not told
} options;

static axl_status parse_ranks(const char *text, int *out)
{
    axl_status status = AXL_OK;
    char *end = NULL;
    long n = text == NULL ? 0 : strtol(text, &end, 10);

    AXL_REQUIRE(n >= 1 && n <= AXL_MAX_RANKS && *end == '\0', AXL_E_CONFIG,
                "--ranks: a number from 1 to %d was expected here, not %s", AXL_MAX_RANKS,
                text == NULL ? "nothing" : text);
    *out = (int)n;
out:
    return status;
}

static axl_status parse_arguments(int argc, char **argv, options *o)
{
    axl_status status = AXL_OK;

    AXL_REQUIRE(argc <= MAX_ARGUMENTS, AXL_E_CONFIG, "more than %d arguments", MAX_ARGUMENTS);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            o->json = true;
        } else if (strcmp(argv[i], "--help") == 0) {
            o->help = true;
        } else if (strcmp(argv[i], "--ranks") == 0) {
            i++;
            AXL_TRY(parse_ranks(i < argc ? argv[i] : NULL, &o->n_ranks));
        } else if (strncmp(argv[i], "--ranks=", 8) == 0) {
            AXL_TRY(parse_ranks(argv[i] + 8, &o->n_ranks));
        } else if (o->path == NULL && argv[i][0] != '-') {
            o->path = argv[i];
        } else {
            o->overrides[o->n_overrides++] = argv[i];
        }
    }
    AXL_REQUIRE(o->path != NULL || o->help, AXL_E_CONFIG,
                "no configuration file given; see axl-dist validate --help");
out:
    return status;
}

// What the keys allow and the trainer does not have. Returns whether it can be trained.
static bool check_method(const axl_config *c, axl_diagnostics *findings)
{
    const char *name = NULL;
    const bool known = axl_trainer_method(c, &name) != NULL;
    const char *key = c->rl != NULL ? "rl" : name;
    const axl_yaml_entry *entry = axl_yaml_entry_of(c->node, key);

    if (!known)
        axl_diagnostics_add(findings, AXL_WARNING,
                            entry != NULL ? entry->key->place : (axl_place){.file = c->path}, key,
                            "%s: its data can be prepared and looked at with axl-dist preprocess "
                            "and explain, training by it is not there yet",
                            name);
    return known;
}

// Expressions are compiled where weights are known, not where keys are read.
static void check_patterns(const axl_config *c, axl_diagnostics *findings)
{
    const axl_yaml_node *node = NULL;

    if (axl_weight_scales_check(c, &node) != AXL_OK)
        axl_diagnostics_add(findings, AXL_ERROR,
                            node != NULL ? node->place : (axl_place){.file = c->path},
                            "normalize_weight_scales", "%s", axl_error_message());
}

static axl_status print(const axl_diagnostics *findings, bool ok, bool trains, const options *o)
{
    axl_status status = AXL_OK;
    axl_str text = {0};

    if (o->json) {
        AXL_TRY(axl_str_printf(&text, "{\"ok\": %s, \"can_be_run\": %s, \"findings\": ",
                               ok ? "true" : "false", ok && trains ? "true" : "false"));
        AXL_TRY(axl_diagnostics_json(findings, &text));
        AXL_TRY(axl_str_puts(&text, "}\n"));
    } else {
        AXL_TRY(axl_diagnostics_text(findings, AXL_NOTE, &text));
        AXL_TRY(axl_str_printf(&text, "%s: %s", o->path,
                               !ok      ? ""
                               : trains ? "can be run\n"
                                        : "its data can be prepared, but it cannot be run yet\n"));
        if (!ok)
            AXL_TRY(axl_str_printf(&text, "%zu error%s\n", findings->n_errors,
                                   findings->n_errors == 1 ? "" : "s"));
    }
    AXL_TRY(axl_print(&text));
out:
    axl_str_fini(&text);
    return status;
}

int axl_cmd_validate(int argc, char **argv)
{
    axl_status status = AXL_OK;
    axl_status loaded = AXL_OK; // of the file: findings are the result, not a failure to print it
    options o = {0};
    axl_diagnostics findings = {0};
    axl_config *config = NULL;
    bool trains = true;

    AXL_TRY(parse_arguments(argc, argv, &o));
    if (o.help) {
        (void)fputs(usage, stdout);
        goto out;
    }
    // The machine that validates is not the one that trains: nothing is said about hardware.
    axl_config_options machine = {.overrides = o.overrides,
                                  .n_overrides = o.n_overrides,
                                  .has_bf16 = true,
                                  .n_ranks = o.n_ranks,
                                  .elsewhere = true};
    loaded = axl_config_load(o.path, &machine, &findings, &config);
    AXL_REQUIRE(loaded == AXL_OK || findings.n_errors > 0, loaded, "%s", axl_error_message());
    if (config != NULL) {
        trains = check_method(config, &findings);
        check_patterns(config, &findings);
    }
    if (findings.n_errors > 0)
        loaded = AXL_E_CONFIG;
    AXL_TRY(print(&findings, loaded == AXL_OK, trains, &o));

out:
    if (status != AXL_OK)
        (void)fprintf(stderr, "axl-dist validate: %s\n", axl_error_message());
    axl_config_destroy(config);
    axl_diagnostics_fini(&findings);
    return axl_status_exit_code(status != AXL_OK ? status : loaded);
}
