// Rules as of the `datasets` library, so that a repository of the hub reads as its owner meant it.
#include "src/data/folder.h"

#include "src/base/mem.h"
#include "src/base/str.h"
#include "src/data/rows.h"
#include "src/io/file.h"

#include <ctype.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 8 // of folders below the given one

void axl_split_files_fini(axl_split_files *f)
{
    for (int64_t i = 0; i < f->n; i++) {
        free(f->items[i].path);
        free(f->items[i].split);
    }
    free(f->items);
    *f = (axl_split_files){0};
}

axl_status axl_split_files_add(axl_split_files *f, const char *folder, const char *name,
                               const char *split)
{
    axl_status status = AXL_OK;
    axl_str path = {0};
    char *copy = NULL;

    AXL_TRY(folder != NULL ? axl_str_printf(&path, "%s/%s", folder, name)
                           : axl_str_puts(&path, name));
    if (split != NULL)
        AXL_TRY(axl_strdup(split, &copy));
    AXL_TRY(axl_grow(&f->items, &f->capacity, (size_t)f->n + 1, sizeof *f->items, "files"));
    f->items[f->n++] = (axl_split_file){.path = path.data, .split = copy};
    path = (axl_str){0};
    copy = NULL;

out:
    axl_str_fini(&path);
    free(copy);
    return status;
}

// ---- splits by name

// The split that a word of name[0 .. n) tells; NULL: none.
static const char *split_word(const char *name, size_t n)
{
    static const char *const words[][2] = {
        {"train", "train"},      {"training", "train"}, {"validation", "validation"},
        {"valid", "validation"}, {"val", "validation"}, {"dev", "validation"},
        {"test", "test"},        {"testing", "test"},   {"eval", "test"},
        {"evaluation", "test"},
    };

    for (size_t at = 0; at < n;) {
        size_t end = at;
        while (end < n && isalpha((unsigned char)name[end]))
            end++;
        for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
            if (strlen(words[i][0]) == end - at &&
                strncasecmp(words[i][0], name + at, end - at) == 0)
                return words[i][1];
        }
        at = end + 1;
    }
    return NULL;
}

// The length of SPLIT in SPLIT-00000-of-00002.parquet; 0: the name has not this form.
static size_t shard_prefix(const char *name)
{
    const char *of = strstr(name, "-of-");
    size_t digits = 0, n = of != NULL ? (size_t)(of - name) : 0;

    while (n > 0 && isdigit((unsigned char)name[n - 1])) {
        digits++;
        n--;
    }
    return digits >= 5 && n > 1 && name[n - 1] == '-' ? n - 1 : 0;
}

// relative: the path below the folder that was asked for.
static axl_status split_of(const char *relative, axl_str *out)
{
    axl_status status = AXL_OK;
    const char *slash = strrchr(relative, '/');
    const char *base = slash != NULL ? slash + 1 : relative;
    size_t dirs = (size_t)(base - relative), n = shard_prefix(base);
    bool in_data = dirs >= 5 && strncmp(base - 5, "data/", 5) == 0;
    bool plain = n == 4 && (strncmp(base, "data", 4) == 0 || strncmp(base, "part", 4) == 0);
    const char *word = NULL;

    axl_str_clear(out);
    if (in_data && n > 0 && !plain) {
        AXL_TRY(axl_str_append(out, base, n));
        goto out;
    }
    word = split_word(base, strlen(base));
    while (word == NULL && dirs > 0) { // the innermost folder first
        size_t end = dirs - 1;
        dirs = end;
        while (dirs > 0 && relative[dirs - 1] != '/')
            dirs--;
        word = split_word(relative + dirs, end - dirs);
    }
    if (word != NULL)
        AXL_TRY(axl_str_puts(out, word));

out:
    return status;
}

// ---- a folder of files

static bool is_description(const char *name)
{
    static const char *const names[] = {"dataset_info.json", "dataset_infos.json", "state.json",
                                        "dataset_dict.json"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) == 0)
            return true;
    }
    return false;
}

// Adds the files of root/below ("" or "a/b/") and of the folders in it.
static axl_status walk(axl_split_files *f, const char *root, const char *below, int depth)
{
    axl_status status = AXL_OK;
    axl_str path = {0}, relative = {0}, split = {0};
    DIR *dir = NULL;

    AXL_TRY(axl_str_printf(&path, "%s/%s", root, below));
    dir = opendir(path.data);
    AXL_REQUIRE(dir != NULL, AXL_E_INPUT, "%s: the folder cannot be read", path.data);
    for (const struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        if (e->d_name[0] == '.' || strncmp(e->d_name, "__", 2) == 0)
            continue;
        axl_str_clear(&relative);
        axl_str_clear(&path);
        AXL_TRY(axl_str_printf(&relative, "%s%s", below, e->d_name));
        AXL_TRY(axl_str_printf(&path, "%s/%s", root, relative.data));
        if (axl_path_is_dir(path.data)) {
            AXL_TRY(axl_str_putc(&relative, '/'));
            if (depth < MAX_DEPTH)
                AXL_TRY(walk(f, root, relative.data, depth + 1));
        } else if (axl_rows_is_data_name(e->d_name) && !is_description(e->d_name)) {
            AXL_TRY(split_of(relative.data, &split));
            AXL_TRY(axl_split_files_add(f, NULL, path.data, split.len > 0 ? split.data : NULL));
        }
    }

out:
    if (dir != NULL)
        (void)closedir(dir);
    axl_str_fini(&path);
    axl_str_fini(&relative);
    axl_str_fini(&split);
    return status;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const axl_split_file *)a)->path, ((const axl_split_file *)b)->path);
}

axl_status axl_split_files_walk(axl_split_files *f, const char *folder)
{
    axl_status status = AXL_OK;
    int64_t before = f->n;

    AXL_TRY(walk(f, folder, "", 0));
    if (f->n > before)
        qsort(f->items + before, (size_t)(f->n - before), sizeof *f->items, by_path);

out:
    return status;
}

// ---- save_to_disk

static axl_status read_file(const char *folder, const char *name, axl_json **out)
{
    axl_status status = AXL_OK;
    axl_str path = {0};

    AXL_TRY(axl_str_printf(&path, "%s/%s", folder, name));
    if (axl_path_exists(path.data))
        AXL_TRY(axl_json_read(path.data, out));

out:
    axl_str_fini(&path);
    return status;
}

// The files that state.json lists.
static axl_status add_saved(axl_split_files *f, const char *folder, const char *split,
                            const axl_json *state)
{
    axl_status status = AXL_OK;
    const axl_json *files = axl_json_get(state, "_data_files");
    static const char *const indices[] = {"_indices_files", "_indices_data_files"};

    AXL_REQUIRE(axl_json_is(files, AXL_JSON_ARRAY), AXL_E_INPUT,
                "%s/state.json: it has no list _data_files; save the data set again", folder);
    for (int i = 0; i < 2; i++)
        AXL_REQUIRE(axl_json_count(axl_json_get(state, indices[i])) == 0, AXL_E_UNSUPPORTED,
                    "%s: its rows are chosen by an index (%s); save it again after "
                    "flatten_indices()",
                    folder, indices[i]);
    for (size_t i = 0; i < axl_json_count(files); i++) {
        const char *name = axl_json_string(axl_json_get(axl_json_at(files, i), "filename"), NULL);
        AXL_REQUIRE(name != NULL, AXL_E_INPUT, "%s/state.json: _data_files[%zu] has no filename",
                    folder, i);
        AXL_TRY(axl_split_files_add(f, folder, name, split));
        AXL_REQUIRE(axl_path_exists(f->items[f->n - 1].path), AXL_E_INPUT,
                    "%s: the file is missing that state.json beside it names",
                    f->items[f->n - 1].path);
    }

out:
    return status;
}

axl_status axl_split_files_saved(axl_split_files *f, const char *folder, bool *found)
{
    axl_status status = AXL_OK;
    axl_json *dict = NULL, *state = NULL;
    axl_str part = {0};

    AXL_TRY(read_file(folder, "state.json", &state));
    AXL_TRY(read_file(folder, "dataset_dict.json", &dict));
    *found = state != NULL || dict != NULL;
    if (state != NULL)
        AXL_TRY(add_saved(f, folder, NULL, state));
    const axl_json *splits = axl_json_get(dict, "splits");
    AXL_REQUIRE(dict == NULL || axl_json_count(splits) > 0, AXL_E_INPUT,
                "%s/dataset_dict.json: it lists no splits", folder);
    for (size_t i = 0; i < axl_json_count(splits); i++) {
        const char *split = axl_json_string(axl_json_at(splits, i), "");
        axl_json_free(state);
        state = NULL;
        axl_str_clear(&part);
        AXL_TRY(axl_str_printf(&part, "%s/%s", folder, split));
        AXL_TRY(read_file(part.data, "state.json", &state));
        AXL_REQUIRE(state != NULL, AXL_E_INPUT,
                    "%s/dataset_dict.json: the split %s has no folder with a state.json", folder,
                    split);
        AXL_TRY(add_saved(f, part.data, split, state));
    }

out:
    axl_json_free(dict);
    axl_json_free(state);
    axl_str_fini(&part);
    return status;
}
