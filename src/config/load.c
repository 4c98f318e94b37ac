// From a file to a checked configuration: read, override, parse, modernise, check, derive.
//
// The hard part is the order: every stage adds its findings and the next one still runs where that
// makes sense, so that one run shows all faults of a file; only a syntax fault ends it early.
#include "src/config/config.h"

#include "src/base/mem.h"
#include "src/config/parse.h"
#include "src/config/rules.h"
#include "src/io/file.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

void axl_config_destroy(axl_config *c)
{
    if (c == NULL)
        return;
    axl_yaml_destroy(c->yaml);
    axl_yaml_destroy(c->scratch);
    axl_yaml_destroy(c->deepspeed_file);
    free(c);
}

static bool is_strict(const axl_yaml_node *root)
{
    const axl_yaml_node *strict = axl_yaml_get(root, "strict");

    return strict != NULL && strict->kind == AXL_YAML_BOOL && strict->boolean;
}

// ---- resolved_config.json as a configuration ----

static const axl_yaml_node *member(const axl_yaml_node *node, const char *key, axl_yaml_kind kind)
{
    const axl_yaml_node *value = axl_yaml_get(node, key);

    return value != NULL && value->kind == kind ? value : NULL;
}

// A map of {"value", "from"}, as resolved.c writes blocks.
static bool is_resolved_block(const axl_yaml_node *node)
{
    return node->kind == AXL_YAML_MAP && node->n_entries > 0 &&
           axl_yaml_get(node->entries[0].value, "value") != NULL &&
           member(node->entries[0].value, "from", AXL_YAML_STRING) != NULL;
}

static bool was_given(const axl_yaml_node *entry)
{
    const axl_yaml_node *from = member(entry, "from", AXL_YAML_STRING);

    return from != NULL && strcmp(from->text, "default") != 0 && strcmp(from->text, "derived") != 0;
}

// The node as a user would have written it: what was derived will be derived again. Nesting is bounded by the
// parser.
static axl_status plain(axl_yaml *y, const axl_yaml_node *node, axl_yaml_node **out)
{
    axl_status status = AXL_OK;
    axl_yaml_node *made = NULL, *child = NULL, *name = NULL;

    if (is_resolved_block(node)) {
        AXL_TRY(axl_yaml_new_map(y, node->place, &made));
        for (size_t i = 0; i < node->n_entries; i++) {
            const axl_yaml_entry *e = &node->entries[i];
            const axl_yaml_node *value = axl_yaml_get(e->value, "value");
            if (value == NULL || !was_given(e->value))
                continue;
            AXL_TRY(plain(y, value, &child));
            AXL_TRY(axl_yaml_copy(y, e->key, &name));
            AXL_TRY(axl_yaml_set(y, made, name, child));
        }
    } else {
        AXL_TRY(axl_yaml_copy(y, node, &made));
        for (size_t i = 0; node->kind == AXL_YAML_LIST && i < node->n_entries; i++) {
            AXL_TRY(plain(y, node->entries[i].value, &child));
            made->entries[i].value = child;
        }
    }
    *out = made;
out:
    return status;
}

// A resolved_config.json stands for the file that it was made from.
static axl_status unwrap(axl_yaml *yaml)
{
    axl_status status = AXL_OK;
    axl_yaml_node *root = axl_yaml_root_mutable(yaml), *made = NULL;
    const axl_yaml_node *keys = member(root, "keys", AXL_YAML_MAP);

    if (keys == NULL || member(root, "derived", AXL_YAML_MAP) == NULL || !is_resolved_block(keys))
        goto out;
    AXL_TRY(plain(yaml, keys, &made));
    *root = *made;
out:
    return status;
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
    axl_config_reader r = {.diagnostics = diagnostics};

    if (root->kind != AXL_YAML_MAP) {
        axl_diagnostics_add(diagnostics, AXL_ERROR, root->place, NULL,
                            "a configuration is a map of `key: value` lines, not %s",
                            root->kind == AXL_YAML_NULL ? "an empty file"
                                                        : axl_yaml_kind_name(root->kind));
        goto report;
    }
    AXL_TRY(unwrap(yaml));
    AXL_TRY(axl_config_override(yaml, options->overrides, options->n_overrides, is_strict(root),
                                diagnostics));
    AXL_TRY(axl_calloc(1, sizeof *c, "the configuration", &c));
    AXL_TRY(axl_yaml_new("default", &c->scratch));
    c->yaml = yaml;
    yaml = NULL;
    AXL_TRY(copy_path(c, path));
    r.scratch = c->scratch;
    AXL_TRY(axl_config_read_block(&r, &axl_top_block, c, axl_yaml_root(c->yaml), "", false));
    axl_config_reader_end(&r);
    AXL_TRY(axl_config_modernise(c, diagnostics));
    AXL_TRY(axl_config_deepspeed(c, diagnostics));
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
    axl_config_reader_end(&r);
    axl_yaml_destroy(yaml);
    axl_config_destroy(c);
    return status;
}

// ---- folders ----

static bool is_yaml_name(const char *name)
{
    const char *dot = strrchr(name, '.');

    return name[0] != '.' && dot != NULL && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0);
}

// A folder stands for the one YAML file in it.
static axl_status file_of_folder(const char *folder, axl_diagnostics *diagnostics, axl_str *file)
{
    axl_status status = AXL_OK;
    axl_str names = {0};
    DIR *dir = opendir(folder);
    const struct dirent *entry;
    int n = 0;
    axl_place place = {.file = folder};

    AXL_REQUIRE(dir != NULL, AXL_E_CONFIG, "%s: the folder cannot be read", folder);
    while ((entry = readdir(dir)) != NULL) {
        if (!is_yaml_name(entry->d_name))
            continue;
        AXL_TRY(axl_str_printf(&names, "%s%s", n++ > 0 ? ", " : "", entry->d_name));
        axl_str_clear(file);
        AXL_TRY(axl_str_printf(file, "%s/%s", folder, entry->d_name));
    }
    if (n != 1) {
        axl_diagnostics_add(diagnostics, AXL_ERROR, place, NULL,
                            n == 0 ? "there is no .yaml or .yml file in this folder%s"
                                   : "several files could be meant; name one of %s",
                            n == 0 ? "" : names.data);
        AXL_TRY(axl_diagnostics_status(diagnostics, AXL_E_CONFIG));
    }
out:
    if (dir != NULL)
        (void)closedir(dir);
    axl_str_fini(&names);
    return status;
}

axl_status axl_config_load(const char *path, const axl_config_options *options,
                           axl_diagnostics *diagnostics, axl_config **out)
{
    axl_status status = AXL_OK;
    axl_yaml *yaml = NULL;
    axl_str file = {0};

    if (strncmp(path, "http://", 7) == 0 || strncmp(path, "https://", 8) == 0) {
        axl_diagnostics_add(diagnostics, AXL_ERROR, (axl_place){.file = path}, NULL,
                            "nothing is downloaded; fetch the file first and name it here");
        AXL_TRY(axl_diagnostics_status(diagnostics, AXL_E_CONFIG));
    }
    if (axl_path_is_dir(path)) {
        AXL_TRY(file_of_folder(path, diagnostics, &file));
        path = file.data;
    }
    AXL_TRY(axl_yaml_load(path, diagnostics, &yaml));
    AXL_TRY(build(yaml, path, options, diagnostics, out));
out:
    axl_str_fini(&file);
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
