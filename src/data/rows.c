// Cutting a `.json` file into records needs no parser: strings, brackets and braces are enough to find
// where a value ends. Errors inside a record are left to the JSON parser, which says them better.
#include "src/data/rows.h"

#include "src/base/mem.h"
#include "src/io/file.h"
#include "src/io/stream.h"

#include <dirent.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>

struct axl_rows {
    char *path; // owned
    axl_rows_kind kind;
    axl_reader *reader; // owned
    int64_t line;       // of the next byte, from 1
    axl_str whole;      // JSON: the file
    size_t at;          // JSON: next byte of whole
    bool array, begun;  // JSON: inside the outer array; the first byte has been looked at
};

static bool ends_with(const char *s, size_t n, const char *tail)
{
    size_t m = strlen(tail);

    return n >= m && strncasecmp(s + n - m, tail, m) == 0;
}

axl_status axl_rows_kind_of(const char *path, const char *ds_type, axl_rows_kind *out)
{
    axl_status status = AXL_OK;
    size_t n = strlen(path);
    static const char *const unread[] = {".parquet", ".arrow", ".csv"};

    if (ends_with(path, n, ".zst"))
        n -= 4;
    else if (ends_with(path, n, ".gz"))
        n -= 3;
    for (size_t i = 0; i < sizeof unread / sizeof *unread; i++) {
        bool named = ds_type != NULL && strcmp(ds_type, unread[i] + 1) == 0;
        AXL_REQUIRE(!named && (ds_type != NULL || !ends_with(path, n, unread[i])),
                    AXL_E_UNSUPPORTED, "%s: %s files are not read by this build; give .jsonl", path,
                    unread[i]);
    }
    AXL_REQUIRE(ds_type == NULL || strcmp(ds_type, "json") == 0 || strcmp(ds_type, "text") == 0,
                AXL_E_CONFIG, "ds_type %s is not known; use json or text", ds_type);
    if (ds_type != NULL ? strcmp(ds_type, "text") == 0 : ends_with(path, n, ".txt"))
        *out = AXL_ROWS_TEXT;
    else
        *out = ends_with(path, n, ".jsonl") ? AXL_ROWS_JSONL : AXL_ROWS_JSON;

out:
    return status;
}

static axl_status list_add(axl_file_list *f, const char *folder, const char *name)
{
    axl_status status = AXL_OK;
    axl_str path = {0};

    AXL_TRY(folder != NULL ? axl_str_printf(&path, "%s/%s", folder, name)
                           : axl_str_puts(&path, name));
    AXL_TRY(axl_grow(&f->path, &f->capacity, (size_t)f->n + 1, sizeof *f->path, "a list of files"));
    f->path[f->n++] = path.data;
    path = (axl_str){0};

out:
    axl_str_fini(&path);
    return status;
}

void axl_file_list_fini(axl_file_list *f)
{
    for (int64_t i = 0; i < f->n; i++)
        free(f->path[i]);
    free(f->path);
    *f = (axl_file_list){0};
}

static bool is_data_name(const char *name)
{
    static const char *const kinds[] = {".jsonl", ".json", ".txt", ".csv", ".parquet", ".arrow"};
    size_t n = strlen(name);

    if (name[0] == '.')
        return false;
    if (ends_with(name, n, ".zst"))
        n -= 4;
    else if (ends_with(name, n, ".gz"))
        n -= 3;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (ends_with(name, n, kinds[i]))
            return true;
    }
    return false;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static axl_status list_folder(const axl_dataset_spec *spec, axl_file_list *f)
{
    axl_status status = AXL_OK;
    DIR *dir = opendir(spec->path);
    axl_str marker = {0};

    AXL_REQUIRE(dir != NULL, AXL_E_INPUT, "%s: %s: the folder cannot be read", spec->place,
                spec->path);
    AXL_TRY(axl_str_printf(&marker, "%s/state.json", spec->path));
    AXL_REQUIRE(!axl_path_exists(marker.data), AXL_E_UNSUPPORTED,
                "%s: %s: a folder written by save_to_disk is not read by this build; give .jsonl",
                spec->place, spec->path);
    for (const struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        if (is_data_name(e->d_name))
            AXL_TRY(list_add(f, spec->path, e->d_name));
    }
    AXL_REQUIRE(f->n > 0, AXL_E_INPUT, "%s: %s: the folder holds no .jsonl, .json or .txt file",
                spec->place, spec->path);
    qsort(f->path, (size_t)f->n, sizeof *f->path, by_name);

out:
    if (dir != NULL)
        (void)closedir(dir);
    axl_str_fini(&marker);
    return status;
}

axl_status axl_file_list_make(const axl_dataset_spec *spec, axl_file_list *out)
{
    axl_status status = AXL_OK;
    axl_file_list f = {0};
    glob_t found = {0};

    for (int i = 0; i < spec->n_data_files; i++) {
        bool inside = axl_path_is_dir(spec->path) && spec->data_files[i][0] != '/' &&
                      !axl_path_exists(spec->data_files[i]);
        AXL_TRY(list_add(&f, inside ? spec->path : NULL, spec->data_files[i]));
    }
    if (spec->n_data_files > 0) {
        // named one by one
    } else if (axl_path_is_dir(spec->path)) {
        AXL_TRY(list_folder(spec, &f));
    } else if (axl_path_exists(spec->path)) {
        AXL_TRY(list_add(&f, NULL, spec->path));
    } else if (strpbrk(spec->path, "*?[") != NULL && glob(spec->path, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++)
            AXL_TRY(list_add(&f, NULL, found.gl_pathv[i]));
    }
    AXL_REQUIRE(
        f.n > 0, AXL_E_INPUT,
        "%s: data set %s: there is no such file or folder; data sets are not downloaded: put "
        "the files there, or give their path",
        spec->place, spec->path);
    *out = f;
    f = (axl_file_list){0};

out:
    globfree(&found);
    axl_file_list_fini(&f);
    return status;
}

axl_status axl_rows_open(const char *path, axl_rows_kind kind, axl_rows **out)
{
    axl_status status = AXL_OK;
    axl_rows *r = NULL;

    AXL_TRY(axl_calloc(1, sizeof *r, "rows", &r));
    r->kind = kind;
    r->line = 1;
    AXL_TRY(axl_strdup(path, &r->path));
    AXL_TRY(axl_reader_open(path, &r->reader));
    if (kind == AXL_ROWS_JSON)
        AXL_TRY(axl_reader_rest(r->reader, &r->whole));
    *out = r;
    r = NULL;

out:
    axl_rows_close(r);
    return status;
}

void axl_rows_close(axl_rows *r)
{
    if (r == NULL)
        return;
    axl_reader_close(r->reader);
    axl_str_fini(&r->whole);
    free(r->path);
    free(r);
}

static bool is_blank(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (s[i] != ' ' && s[i] != '\t' && s[i] != '\r')
            return false;
    }
    return true;
}

static void skip_space(axl_rows *r)
{
    while (r->at < r->whole.len && strchr(" \t\r\n", r->whole.data[r->at]) != NULL &&
           r->whole.data[r->at] != '\0') {
        r->line += r->whole.data[r->at] == '\n';
        r->at++;
    }
}

// The offset just behind the value that starts at r->at: a bracketed value, a string, or a bare word.
// Counts lines on the way. A value that never ends runs to the end of the file.
static size_t value_end(axl_rows *r)
{
    const char *s = r->whole.data;
    size_t at = r->at;
    int64_t depth = 0;
    bool quoted = false;

    for (; at < r->whole.len; at++) {
        char c = s[at];
        r->line += c == '\n';
        if (quoted) {
            if (c == '\\' && at + 1 < r->whole.len)
                at++;
            else
                quoted = c != '"';
            if (!quoted && depth == 0)
                return at + 1;
            continue;
        }
        bool separator = c == ',' || c == ' ' || c == '\n' || c == '\r' || c == '\t';
        if (depth == 0 && at > r->at && (separator || c == ']' || c == '}')) {
            r->line -= c == '\n';
            return at;
        }
        quoted = c == '"';
        depth += (c == '{' || c == '[') - (c == '}' || c == ']');
        if (depth == 0 && (c == '}' || c == ']'))
            return at + 1;
    }
    return at;
}

static axl_status next_json(axl_rows *r, axl_row_text *out, bool *more)
{
    axl_status status = AXL_OK;

    skip_space(r);
    if (!r->begun) {
        r->array = r->at < r->whole.len && r->whole.data[r->at] == '[';
        r->at += r->array;
    } else if (r->array && r->at < r->whole.len && r->whole.data[r->at] == ',') {
        r->at++;
    } else {
        AXL_REQUIRE(!r->array || (r->at < r->whole.len && r->whole.data[r->at] == ']'), AXL_E_INPUT,
                    "%s:%lld: a comma or the closing ] of the array is missing", r->path,
                    (long long)r->line);
    }
    r->begun = true;
    skip_space(r);
    *more = r->at < r->whole.len && !(r->array && r->whole.data[r->at] == ']');
    if (*more) {
        *out = (axl_row_text){.text = r->whole.data + r->at, .line = r->line};
        size_t end = value_end(r);
        out->n = end - r->at;
        r->at = end;
    } else if (r->array) {
        AXL_REQUIRE(r->at < r->whole.len, AXL_E_INPUT, "%s:%lld: the array is not closed", r->path,
                    (long long)r->line);
        r->at++;
        r->array = false; // so that a later call finds the end again
        skip_space(r);
        AXL_REQUIRE(r->at == r->whole.len, AXL_E_INPUT, "%s:%lld: text after the array", r->path,
                    (long long)r->line);
    }

out:
    return status;
}

axl_status axl_rows_next(axl_rows *r, axl_row_text *out, bool *more)
{
    axl_status status = AXL_OK;

    if (r->kind == AXL_ROWS_JSON)
        return next_json(r, out, more);
    do {
        AXL_TRY(axl_reader_line(r->reader, &out->text, &out->n, more));
        out->line = r->line++;
    } while (*more && is_blank(out->text, out->n));

out:
    return status;
}

axl_status axl_row_parse(axl_rows_kind kind, const char *text, size_t n, const char *where,
                         axl_json **out)
{
    axl_status status = AXL_OK;
    axl_json *row = NULL;

    size_t bad = axl_utf8_invalid_at(text, n);
    AXL_REQUIRE(bad == n, AXL_E_INPUT,
                "%s: byte %zu of the record is not UTF-8; save the file as UTF-8", where, bad + 1);
    if (kind == AXL_ROWS_TEXT) {
        row = axl_json_new_object();
        AXL_REQUIRE(row != NULL, AXL_E_MEMORY, "no memory for a row");
        AXL_TRY(axl_json_set(row, "text", axl_json_new_string(text, n)));
    } else {
        AXL_TRY(axl_json_parse(text, n, where, &row));
        AXL_REQUIRE(axl_json_is(row, AXL_JSON_OBJECT), AXL_E_INPUT,
                    "%s: the record is %s; each must be an object {\"column\": value, ...}", where,
                    axl_json_kind_name(axl_json_type(row)));
        axl_json_drop_nulls(row);
    }
    *out = row;
    row = NULL;

out:
    axl_json_free(row);
    return status;
}
