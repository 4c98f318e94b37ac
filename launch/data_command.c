// The order matters: nothing is printed by any rank but the first, and every rank leaves with the same code.
#include "launch/data_command.h"

#include "launch/bringup.h"
#include "src/base/log.h"
#include "src/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Takes argv[*i] when it is one of the options, and its value behind it.
static axl_status take_option(int argc, char **argv, int *i, const axl_command_option *options,
                              int n_options)
{
    axl_status status = AXL_OK;
    const axl_command_option *found = NULL;

    for (int o = 0; o < n_options; o++)
        found = strcmp(argv[*i], options[o].name) == 0 ? &options[o] : found;
    AXL_ASSERT(found != NULL);
    if (found->flag != NULL) {
        *found->flag = true;
        goto out;
    }
    AXL_REQUIRE(*i + 1 < argc, AXL_E_CONFIG, "%s needs a value; see --help", argv[*i]);
    *found->value = argv[++*i];

out:
    return status;
}

static bool is_option(const char *word, const axl_command_option *options, int n_options)
{
    for (int o = 0; o < n_options; o++) {
        if (strcmp(word, options[o].name) == 0)
            return true;
    }
    return false;
}

axl_status axl_command_line_parse(int argc, char **argv, const axl_command_option *options,
                                  int n_options, axl_command_line *out)
{
    axl_status status = AXL_OK;
    axl_command_line l = {0};

    AXL_TRY(axl_calloc((size_t)argc + 1, sizeof *l.rest, "arguments", &l.rest));
    for (int i = 1; i < argc; i++) {
        if (is_option(argv[i], options, n_options)) {
            AXL_TRY(take_option(argc, argv, &i, options, n_options));
        } else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            l.help = true;
        } else if (l.path == NULL && argv[i][0] != '-') {
            l.path = argv[i];
        } else {
            l.rest[l.n_rest++] = argv[i];
        }
    }
    AXL_REQUIRE(l.path != NULL || l.help, AXL_E_CONFIG, "no configuration file given; see --help");
    *out = l;
    l = (axl_command_line){0};

out:
    axl_command_line_fini(&l);
    return status;
}

void axl_command_line_fini(axl_command_line *l)
{
    free(l->rest);
    *l = (axl_command_line){0};
}

static axl_status load_config(const axl_command_line *l, axl_data_command *d)
{
    axl_status status = AXL_OK;
    axl_diagnostics findings = {0};
    axl_str text = {0};
    // the machine that prepares data is not the one that trains: nothing is said about hardware
    const axl_config_options o = {.overrides = l->rest, .n_overrides = l->n_rest, .has_bf16 = true};

    status = axl_config_load(l->path, &o, &findings, &d->config);
    if (status == AXL_OK && axl_comm_rank(d->world) == 0) {
        AXL_TRY(axl_diagnostics_text(&findings, AXL_WARNING, &text));
        (void)fputs(text.len > 0 ? text.data : "", stderr);
    }

out:
    axl_str_fini(&text);
    axl_diagnostics_fini(&findings);
    return status;
}

axl_status axl_data_command_begin(const axl_command_line *l, bool refresh, axl_data_command *d)
{
    axl_status status = AXL_OK;
    axl_data_setup_options o = {.refresh = refresh};

    AXL_TRY(axl_comm_init(NULL, NULL, &d->world));
    o.n_threads = axl_bringup_threads(d->world) * axl_comm_local_size(d->world);
    axl_log_set_rank(axl_comm_rank(d->world), axl_comm_size(d->world));
    AXL_TRY(axl_comm_agree(d->world, load_config(l, d)));
    AXL_TRY(axl_data_setup_make_with(d->config, d->world, &o, &d->data));

out:
    return status;
}

int axl_data_command_end(axl_data_command *d, const char *name, axl_status status)
{
    if (status != AXL_OK && (d->world == NULL || axl_comm_rank(d->world) == 0))
        (void)fprintf(stderr, "axl-dist %s: %s\n", name, axl_error_message());
    axl_data_setup_fini(&d->data);
    axl_config_destroy(d->config);
    axl_comm_finalize(d->world);
    *d = (axl_data_command){0};
    return axl_status_exit_code(status);
}
