// From a file to a checked configuration: read, override, parse, modernise, check, derive.
//
// The hard part is the order: every stage adds its findings and the next one still runs where that
// makes sense, so that one run shows all faults of a file; only a syntax fault ends it early.
#include "src/config/config.h"

#include "src/base/mem.h"
#include "src/config/parse.h"
#include "src/config/rules.h"

#include <stdlib.h>
#include <string.h>

void axl_config_destroy(axl_config *c)
{
    if (c == NULL)
        return;
    axl_yaml_destroy(c->yaml);
    axl_yaml_destroy(c->scratch);
    free(c);
}

static bool is_strict(const axl_yaml_node *root)
{
    const axl_yaml_node *strict = axl_yaml_get(root, "strict");

    return strict != NULL && strict->kind == AXL_YAML_BOOL && strict->boolean;
}

static axl_status copy_path(axl_config *c, const char *path)
{
    axl_status status = AXL_OK;
    size_t n = strlen(path) + 1;
    char *copy = NULL;

    AXL_TRY(axl_yaml_take(c->scratch, n, &copy));
    memcpy(copy, path, n);
    c->path = copy;
out:
    return status;
}

// Takes over yaml.
static axl_status build(axl_yaml *yaml, const char *path, const axl_config_options *options,
                        axl_diagnostics *diagnostics, axl_config **out)
{
    axl_status status = AXL_OK;
    axl_config *c = NULL;
    size_t n_errors = diagnostics->n_errors;
    const axl_yaml_node *root = axl_yaml_root(yaml);

    if (root->kind != AXL_YAML_MAP) {
        axl_diagnostics_add(diagnostics, AXL_ERROR, root->place, NULL,
                            "a configuration is a map of `key: value` lines, not %s",
                            root->kind == AXL_YAML_NULL ? "an empty file"
                                                        : axl_yaml_kind_name(root->kind));
        goto report;
    }
    AXL_TRY(axl_config_override(yaml, options->overrides, options->n_overrides, is_strict(root),
                                diagnostics));
    AXL_TRY(axl_calloc(1, sizeof *c, "the configuration", &c));
    AXL_TRY(axl_yaml_new("default", &c->scratch));
    c->yaml = yaml;
    yaml = NULL;
    AXL_TRY(copy_path(c, path));
    axl_config_reader r = {c->scratch, diagnostics};
    AXL_TRY(axl_config_read_block(&r, &axl_top_block, c, axl_yaml_root(c->yaml), "", false));
    AXL_TRY(axl_config_modernise(c, diagnostics));
    axl_config_check(c, options, diagnostics);
    if (diagnostics->n_errors == n_errors)
        axl_config_derive(c, options);
report:
    axl_diagnostics_sort(diagnostics);
    if (diagnostics->n_errors > n_errors)
        AXL_TRY(axl_diagnostics_status(diagnostics, AXL_E_CONFIG));
    *out = c;
    c = NULL;
out:
    axl_yaml_destroy(yaml);
    axl_config_destroy(c);
    return status;
}

axl_status axl_config_load(const char *path, const axl_config_options *options,
                           axl_diagnostics *diagnostics, axl_config **out)
{
    axl_status status = AXL_OK;
    axl_yaml *yaml = NULL;

    AXL_TRY(axl_yaml_load(path, diagnostics, &yaml));
    AXL_TRY(build(yaml, path, options, diagnostics, out));
out:
    return status;
}

axl_status axl_config_parse(const char *text, size_t n, const char *name,
                            const axl_config_options *options, axl_diagnostics *diagnostics,
                            axl_config **out)
{
    axl_status status = AXL_OK;
    axl_yaml *yaml = NULL;

    AXL_TRY(axl_yaml_parse(text, n, name, diagnostics, &yaml));
    AXL_TRY(build(yaml, name, options, diagnostics, out));
out:
    return status;
}
