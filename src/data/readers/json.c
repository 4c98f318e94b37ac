// Cutting JSON into records needs no parser: strings, brackets and braces are enough to find where a value
// ends. Errors inside a record are left to the JSON parser, which says them better. Only the present record
// is in memory.
#include "src/data/readers/reader.h"

#include "src/base/mem.h"

#include <stdlib.h>
#include <string.h>

typedef struct json_state {
    bool begun, array; // the first byte has been looked at; inside the outer array
} json_state;

static axl_status open_json(axl_rows *r)
{
    return axl_calloc(1, sizeof(json_state), "rows", &r->state);
}

static void close_json(axl_rows *r)
{
    free(r->state);
}

// The next byte that is no space, not taken; *end when there is none.
static axl_status skip_space(axl_rows *r, char *byte, bool *end)
{
    axl_status status = AXL_OK;
    const char *s;
    size_t n, at;

    do {
        AXL_TRY(axl_rows_window(r, 1, &s, &n));
        for (at = 0; at < n && (s[at] == ' ' || s[at] == '\t' || s[at] == '\r' || s[at] == '\n');
             at++)
            r->line += s[at] == '\n';
        *end = n == 0;
        *byte = at < n ? s[at] : '\0';
        axl_reader_take(r->reader, at);
    } while (at == n && !*end);

out:
    return status;
}

// What has been seen of a value.
typedef struct scan {
    size_t at; // bytes
    int64_t depth, lines;
    bool quoted, over;
} scan;

// The first byte in s[at .. n) that matters inside a string.
static size_t string_end(const char *s, size_t at, size_t n)
{
    while (at < n && s[at] != '"' && s[at] != '\\' && s[at] != '\n')
        at++;
    return at;
}

// Goes on in s[0 .. n), up to its end or that of the value: behind a bracketed value or a string, before
// what ends a bare word.
static void scan_value(scan *v, const char *s, size_t n)
{
    while (v->at < n && !v->over) {
        if (v->quoted)
            v->at = string_end(s, v->at, n);
        if (v->at == n)
            break;
        char c = s[v->at];
        v->lines += c == '\n';
        if (v->quoted) {
            if (c == '\\' && v->at + 1 == n)
                break; // looked at again with its next byte
            v->at += c == '\\' ? 2 : 1;
            v->lines += c == '\\' && s[v->at - 1] == '\n';
            v->quoted = c != '"';
            v->over = !v->quoted && v->depth == 0;
            continue;
        }
        bool separator = c == ',' || c == ' ' || c == '\n' || c == '\r' || c == '\t';
        bool closing = c == '}' || c == ']';
        if (v->depth == 0 && v->at > 0 && (separator || closing)) {
            v->lines -= c == '\n';
            v->over = true;
            break;
        }
        v->quoted = c == '"';
        v->depth += (c == '{' || c == '[') - closing;
        v->at++;
        v->over = v->depth == 0 && closing;
    }
}

// Hands out the value that begins here. One that never ends runs to the end of the file.
static axl_status take_value(axl_rows *r, axl_row_text *out)
{
    axl_status status = AXL_OK;
    scan v = {0};
    const char *s;
    size_t n = 0, before;

    do {
        before = n;
        AXL_TRY(axl_rows_window(r, n + 1, &s, &n));
        scan_value(&v, s, n);
    } while (!v.over && n > before);
    *out = (axl_row_text){.text = s, .n = v.over ? v.at : n, .line = r->line};
    r->line += v.lines;
    axl_reader_take(r->reader, out->n);

out:
    return status;
}

static axl_status next_json(axl_rows *r, axl_row_text *out, bool *more)
{
    axl_status status = AXL_OK;
    json_state *j = r->state;
    char c = '\0';
    bool end = false;

    AXL_TRY(skip_space(r, &c, &end));
    if (!j->begun) {
        j->array = c == '[';
        axl_reader_take(r->reader, j->array);
    } else if (j->array && c == ',') {
        axl_reader_take(r->reader, 1);
    } else {
        AXL_REQUIRE(!j->array || c == ']', AXL_E_INPUT,
                    "%s:%lld: a comma or the closing ] of the array is missing", r->path,
                    (long long)r->line);
    }
    j->begun = true;
    AXL_TRY(skip_space(r, &c, &end));
    *more = !end && !(j->array && c == ']');
    if (*more) {
        AXL_TRY(take_value(r, out));
    } else if (j->array) {
        AXL_REQUIRE(!end, AXL_E_INPUT, "%s:%lld: the array is not closed", r->path,
                    (long long)r->line);
        axl_reader_take(r->reader, 1);
        j->array = false; // so that a later call finds the end again
        AXL_TRY(skip_space(r, &c, &end));
        AXL_REQUIRE(end, AXL_E_INPUT, "%s:%lld: text after the array", r->path, (long long)r->line);
    }

out:
    return status;
}

static const char *const suffixes[] = {".json", NULL};

const struct axl_row_kind axl_rows_kind_json = {.name = "json",
                                                .suffixes = suffixes,
                                                .open = open_json,
                                                .next = next_json,
                                                .close = close_json};
