// A README that is no card, or a broken one, is no error: the folder is then read by the names in it.
#include "src/data/card.h"

#include "src/base/str.h"
#include "src/io/file.h"
#include "src/io/yaml.h"

#include <glob.h>
#include <string.h>

// The YAML between the first two lines "---"; NULL when there is none.
static axl_status read_card(const char *folder, axl_yaml **out)
{
    axl_status status = AXL_OK;
    axl_str path = {0}, text = {0};
    axl_diagnostics faults = {0};

    *out = NULL;
    AXL_TRY(axl_str_printf(&path, "%s/README.md", folder));
    if (!axl_path_exists(path.data) || axl_path_is_dir(path.data))
        goto out;
    AXL_TRY(axl_file_read(path.data, &text));
    const char *end =
        text.len > 4 && strncmp(text.data, "---", 3) == 0 ? strstr(text.data + 3, "\n---") : NULL;
    if (end == NULL)
        goto out;
    status = axl_yaml_parse(text.data + 3, (size_t)(end - text.data) - 3, path.data, &faults, out);
    if (status == AXL_E_CONFIG)
        status = AXL_OK;

out:
    axl_diagnostics_fini(&faults);
    axl_str_fini(&path);
    axl_str_fini(&text);
    return status;
}

static bool is_text(const axl_yaml_node *node, const char *text)
{
    return node != NULL && node->n_entries == 0 && strcmp(node->text, text) == 0;
}

static bool is_default(const axl_yaml_node *config)
{
    const axl_yaml_node *flag = axl_yaml_get(config, "default");

    return is_text(axl_yaml_get(config, "config_name"), "default") ||
           (flag != NULL && flag->kind == AXL_YAML_BOOL && flag->boolean);
}

// The configuration of that name, or the one that is taken without a name. NULL: none.
static axl_status find_config(const axl_yaml_node *configs, const char *folder, const char *name,
                              const axl_yaml_node **out)
{
    axl_status status = AXL_OK;
    axl_str names = {0};
    size_t n = configs != NULL && configs->kind == AXL_YAML_LIST ? configs->n_entries : 0;

    *out = NULL;
    for (size_t i = 0; i < n; i++) {
        const axl_yaml_node *config = configs->entries[i].value;
        const axl_yaml_node *own = axl_yaml_get(config, "config_name");
        bool usual = name == NULL && (n == 1 || is_default(config));
        if (*out == NULL && (usual || (name != NULL && is_text(own, name))))
            *out = config;
        AXL_TRY(axl_str_printf(&names, "%s%s", i > 0 ? ", " : "", own != NULL ? own->text : "?"));
    }
    AXL_REQUIRE(n == 0 || *out != NULL || name != NULL, AXL_E_INPUT,
                "%s has several configurations; give name: one of %s", folder, names.data);

out:
    axl_str_fini(&names);
    return status;
}

static axl_status add_pattern(const char *folder, const char *pattern, const char *split,
                              axl_split_files *f)
{
    axl_status status = AXL_OK;
    axl_str path = {0};
    glob_t found = {0};

    AXL_TRY(axl_str_printf(&path, "%s/%s", folder, pattern));
    AXL_REQUIRE(glob(path.data, 0, NULL, &found) == 0, AXL_E_INPUT,
                "%s/README.md names %s; there is no such file: fetch the data set again", folder,
                pattern);
    for (size_t i = 0; i < found.gl_pathc; i++)
        AXL_TRY(axl_split_files_add(f, NULL, found.gl_pathv[i], split));

out:
    globfree(&found);
    axl_str_fini(&path);
    return status;
}

// A pattern or a list of patterns.
static axl_status add_patterns(const char *folder, const axl_yaml_node *paths, const char *split,
                               axl_split_files *f)
{
    axl_status status = AXL_OK;

    if (paths->kind == AXL_YAML_STRING)
        AXL_TRY(add_pattern(folder, paths->text, split, f));
    for (size_t i = 0; paths->kind == AXL_YAML_LIST && i < paths->n_entries; i++)
        AXL_TRY(add_pattern(folder, paths->entries[i].value->text, split, f));

out:
    return status;
}

// data_files: patterns without a split, or a list of {split, path}.
static axl_status add_files(const char *folder, const axl_yaml_node *files, axl_split_files *f)
{
    axl_status status = AXL_OK;

    if (files->kind != AXL_YAML_LIST) {
        AXL_TRY(add_patterns(folder, files, NULL, f));
        goto out;
    }
    for (size_t i = 0; i < files->n_entries; i++) {
        const axl_yaml_node *item = files->entries[i].value;
        const axl_yaml_node *split = axl_yaml_get(item, "split"),
                            *path = axl_yaml_get(item, "path");
        if (path != NULL)
            AXL_TRY(add_patterns(folder, path, split != NULL ? split->text : NULL, f));
        else
            AXL_TRY(add_patterns(folder, item, NULL, f));
    }

out:
    return status;
}

axl_status axl_card_files(const char *folder, const char *name, axl_split_files *f, bool *found)
{
    axl_status status = AXL_OK;
    axl_yaml *card = NULL;
    const axl_yaml_node *config = NULL;

    *found = false;
    AXL_TRY(read_card(folder, &card));
    if (card == NULL)
        goto out;
    AXL_TRY(find_config(axl_yaml_get(axl_yaml_root(card), "configs"), folder, name, &config));
    const axl_yaml_node *files = axl_yaml_get(config, "data_files");
    int64_t before = f->n;
    if (files != NULL)
        AXL_TRY(add_files(folder, files, f));
    *found = f->n > before;

out:
    axl_yaml_destroy(card);
    return status;
}
