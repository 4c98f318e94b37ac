// From what the entry says to a list of files: where it lies first, then which of the files, then the split.
#include "src/data/files.h"

#include "src/base/log.h"
#include "src/base/mem.h"
#include "src/data/card.h"
#include "src/data/folder.h"
#include "src/data/hub.h"
#include "src/io/file.h"

#include <glob.h>
#include <stdlib.h>
#include <string.h>

void axl_file_list_fini(axl_file_list *f)
{
    for (int64_t i = 0; i < f->n; i++)
        free(f->path[i]);
    free(f->path);
    *f = (axl_file_list){0};
}

static axl_status list_add(axl_file_list *f, const char *path)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_grow(&f->path, &f->capacity, (size_t)f->n + 1, sizeof *f->path, "a list of files"));
    AXL_TRY(axl_strdup(path, &f->path[f->n]));
    f->n++;

out:
    return status;
}

// ---- splits

static size_t wanted_length(const axl_dataset_spec *spec)
{
    return spec->split != NULL ? strcspn(spec->split, "[") : 0;
}

static bool is_split(const axl_split_file *file, const char *name, size_t n)
{
    const char *split = file->split != NULL ? file->split : "train";

    return strlen(split) == n && memcmp(split, name, n) == 0;
}

static bool has_split(const axl_split_files *files, const char *name, size_t n)
{
    for (int64_t i = 0; i < files->n; i++) {
        if (is_split(&files->items[i], name, n))
            return true;
    }
    return false;
}

// Each split once, as "train, test"; returns how many.
static axl_status name_splits(const axl_split_files *files, axl_str *out, int64_t *n)
{
    axl_status status = AXL_OK;

    *n = 0;
    for (int64_t i = 0; i < files->n; i++) {
        const char *split = files->items[i].split != NULL ? files->items[i].split : "train";
        axl_split_files before = {.items = files->items, .n = i};
        if (has_split(&before, split, strlen(split)))
            continue;
        AXL_TRY(axl_str_printf(out, "%s%s", *n > 0 ? ", " : "", split));
        (*n)++;
    }

out:
    return status;
}

// The part before the bracket of `split`, else the split that the list of the entry takes. Files whose name
// tells no split are the train split, unless others say that they are.
static axl_status take_split(const axl_dataset_spec *spec, const char *folder,
                             const axl_split_files *files, axl_file_list *out)
{
    axl_status status = AXL_OK;
    axl_str names = {0};
    const char *want = spec->split, *usual = spec->is_test ? "test" : "train";
    size_t n_want = wanted_length(spec);
    bool named_train = false;
    int64_t n = 0;

    AXL_TRY(name_splits(files, &names, &n));
    for (int64_t i = 0; i < files->n; i++)
        named_train = named_train || (files->items[i].split != NULL &&
                                      strcmp(files->items[i].split, "train") == 0);
    if (n_want == 0 && n > 1) {
        want = usual;
        n_want = strlen(usual);
    }
    AXL_REQUIRE(n_want == 0 || n == 1 || has_split(files, want, n_want), AXL_E_INPUT,
                "%s: %s has no split %.*s; give split: one of %s", spec->place, folder, (int)n_want,
                want, names.data);
    if (n == 1 && n_want > 0 && !has_split(files, want, n_want))
        axl_info("%s: split %.*s: %s has one part, %s; it is read", spec->place, (int)n_want, want,
                 folder, names.data);
    for (int64_t i = 0; i < files->n; i++) {
        const axl_split_file *file = &files->items[i];
        if (file->split == NULL && named_train)
            axl_info("%s: %s belongs to no split and is not read", spec->place, file->path);
        else if (n == 1 || is_split(file, want, n_want))
            AXL_TRY(list_add(out, file->path));
    }

out:
    axl_str_fini(&names);
    return status;
}

// ---- files and folders

// Adds what a pattern matches, sorted; a name without wildcards as it is.
static axl_status add_pattern(const axl_dataset_spec *spec, const char *folder, const char *name,
                              axl_file_list *out)
{
    axl_status status = AXL_OK;
    bool inside = folder != NULL && name[0] != '/' &&
                  !(axl_path_exists(name) && strpbrk(name, "*?[") == NULL);
    axl_str path = {0};
    glob_t found = {0};

    AXL_TRY(axl_str_printf(&path, "%s%s%s", inside ? folder : "", inside ? "/" : "", name));
    if (axl_path_exists(path.data) || strpbrk(name, "*?[") == NULL) {
        AXL_REQUIRE(axl_path_exists(path.data), AXL_E_INPUT, "%s: data_files %s: there is no %s",
                    spec->place, name, path.data);
        AXL_TRY(list_add(out, path.data));
        goto out;
    }
    int code = glob(path.data, 0, NULL, &found);
    AXL_REQUIRE(code == 0, AXL_E_INPUT, "%s: no file matches %s", spec->place, path.data);
    for (size_t i = 0; i < found.gl_pathc; i++)
        AXL_TRY(list_add(out, found.gl_pathv[i]));

out:
    globfree(&found);
    axl_str_fini(&path);
    return status;
}

// The files of a saved data set, those the card names, or all.
static axl_status list_folder(const axl_dataset_spec *spec, const char *folder, axl_file_list *out)
{
    axl_status status = AXL_OK;
    axl_split_files files = {0};
    bool found = false;

    AXL_TRY_CTX(axl_split_files_saved(&files, folder, &found), "%s", spec->place);
    if (!found)
        AXL_TRY_CTX(axl_card_files(folder, NULL, &files, &found), "%s", spec->place);
    if (!found)
        AXL_TRY_CTX(axl_split_files_walk(&files, folder), "%s", spec->place);
    AXL_REQUIRE(files.n > 0, AXL_E_INPUT,
                "%s: %s: the folder holds no .jsonl, .json, .csv, .txt, .parquet or .arrow file",
                spec->place, folder);
    AXL_TRY(take_split(spec, folder, &files, out));

out:
    axl_split_files_fini(&files);
    return status;
}

// A configuration of a data set (`name`): what the card says, or a folder in it.
static axl_status list_named(const axl_dataset_spec *spec, const char *root, const char *name,
                             axl_file_list *out)
{
    axl_status status = AXL_OK;
    static const char *const places[] = {"", "data/"};
    axl_split_files files = {0};
    axl_str folder = {0};
    bool found = false;

    AXL_TRY_CTX(axl_card_files(root, name, &files, &found), "%s", spec->place);
    if (found) {
        AXL_TRY(take_split(spec, root, &files, out));
        goto out;
    }
    for (int i = 0; i < 2 && !found; i++) {
        axl_str_clear(&folder);
        AXL_TRY(axl_str_printf(&folder, "%s/%s%s", root, places[i], name));
        found = axl_path_is_dir(folder.data);
    }
    AXL_REQUIRE(found, AXL_E_INPUT,
                "%s: name %s: README.md of %s does not list it, and there is no folder %s nor "
                "data/%s",
                spec->place, name, root, name, name);
    AXL_TRY(list_folder(spec, folder.data, out));

out:
    axl_split_files_fini(&files);
    axl_str_fini(&folder);
    return status;
}

static axl_status list_root(const axl_dataset_spec *spec, const char *root, axl_file_list *out)
{
    axl_status status = AXL_OK;
    const char *folder = axl_path_is_dir(root) ? root : NULL;
    size_t n = wanted_length(spec);

    for (int i = 0; i < spec->n_data_files; i++)
        AXL_TRY(add_pattern(spec, folder, spec->data_files[i], out));
    if (spec->n_data_files > 0)
        goto out;
    if (folder == NULL) {
        AXL_TRY(add_pattern(spec, NULL, root, out));
        if (n > 0 && !(n == 5 && memcmp(spec->split, "train", n) == 0))
            axl_info("%s: split %s: a file has one part; it is read as all of %s", spec->place,
                     spec->split, root);
        goto out;
    }
    for (int i = 0; i < spec->n_names; i++)
        AXL_TRY(list_named(spec, root, spec->names[i], out));
    if (spec->n_names == 0)
        AXL_TRY(list_folder(spec, root, out));

out:
    return status;
}

axl_status axl_file_list_make(const axl_dataset_spec *spec, axl_file_list *out)
{
    axl_status status = AXL_OK;
    axl_file_list f = {0};
    axl_str root = {0};
    const char *scheme = strstr(spec->path, "://");
    bool pattern = strpbrk(spec->path, "*?[") != NULL;
    // `path: json` beside data_files is how the `datasets` library is told the kind
    bool word = spec->n_data_files > 0 && strchr(spec->path, '/') == NULL;

    AXL_REQUIRE(scheme == NULL, AXL_E_UNSUPPORTED,
                "%s: data set %s: %.*s:// is not opened, the trainer reads only from disk; fetch "
                "the data first and give the path of the file or folder",
                spec->place, spec->path, (int)(scheme - spec->path), spec->path);
    if (axl_path_exists(spec->path) || pattern || word)
        AXL_TRY(axl_str_puts(&root, spec->path));
    else
        AXL_TRY(axl_hub_find(spec, &root));
    AXL_TRY(list_root(spec, root.data, &f));
    *out = f;
    f = (axl_file_list){0};

out:
    axl_str_fini(&root);
    axl_file_list_fini(&f);
    return status;
}
