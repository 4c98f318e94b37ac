// CSV as of RFC 4180: cells in quotes may hold commas, newlines and doubled quotes. The first record names
// the columns. All cells are text, an empty one is a missing column. The hard part is that a record's end is
// known only after its quotes: it is found first, over any number of windows, then cut into cells.
#include "src/data/readers/reader.h"

#include "src/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct csv_state {
    axl_str *names; // [n_names], owned; "name": as in a JSON object
    int64_t n_names;
    size_t capacity;
} csv_state;

// What has been seen of a record.
typedef struct scan {
    size_t at;                 // bytes
    bool inside, quoted, over; // of a cell, of its quotes; the newline has been seen
} scan;

static void scan_record(scan *v, const char *s, size_t n)
{
    while (v->at < n && !v->over) {
        if (v->quoted) {
            const char *quote = memchr(s + v->at, '"', n - v->at);
            v->at = quote != NULL ? (size_t)(quote - s) : n;
            if (v->at + 1 >= n)
                return; // whether it is doubled is seen with the next byte
            v->quoted = s[v->at + 1] == '"';
            v->at += v->quoted ? 2 : 1;
            continue;
        }
        char c = s[v->at++];
        v->over = c == '\n';
        v->quoted = c == '"' && !v->inside;
        v->inside = c != ',';
    }
}

// The text of the next record without its newline; *closed is false when a quote is not.
static axl_status take_record(axl_rows *r, axl_row_text *out, bool *more, bool *closed)
{
    axl_status status = AXL_OK;
    scan v = {0};
    const char *s;
    size_t n = 0, before;

    do {
        before = n;
        AXL_TRY(axl_rows_window(r, n + 1, &s, &n));
        scan_record(&v, s, n);
    } while (!v.over && n > before);
    *more = n > 0;
    *closed = !v.quoted || (v.at + 1 == n && s[v.at] == '"');
    *out = (axl_row_text){.text = s, .n = v.over ? v.at : n, .line = r->line};
    axl_reader_take(r->reader, out->n);
    for (const char *p = s; p != NULL && p < s + out->n; p++) {
        p = memchr(p, '\n', out->n - (size_t)(p - s));
        if (p == NULL)
            break;
        r->line++;
    }
    out->n -= v.over;
    out->n -= out->n > 0 && s[out->n - 1] == '\r';

out:
    return status;
}

typedef struct cell {
    const char *text; // between the quotes
    size_t n;
    bool quoted;
} cell;

// The cell at *at, which is left behind its comma, or behind n at the end. NULL, or what is wrong.
static const char *next_cell(const char *s, size_t n, size_t *at, cell *out)
{
    size_t i = *at;

    out->quoted = i < n && s[i] == '"';
    i += out->quoted;
    out->text = s + i;
    while (out->quoted && i < n && (s[i] != '"' || (i + 1 < n && s[i + 1] == '"')))
        i += s[i] == '"' ? 2 : 1;
    if (!out->quoted) {
        const char *comma = memchr(s + i, ',', n - i);
        i = comma != NULL ? (size_t)(comma - s) : n;
    }
    out->n = (size_t)(s + i - out->text);
    i += out->quoted;
    *at = i + 1;
    return i < n && s[i] != ',' ? "there is text behind a closing quote" : NULL;
}

// Appends the cell as a JSON string.
static axl_status put_cell(axl_str *out, const cell *c)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_str_putc(out, '"'));
    for (size_t i = 0; i < c->n;) {
        const char *quote = c->quoted ? memchr(c->text + i, '"', c->n - i) : NULL;
        size_t end = quote != NULL ? (size_t)(quote - c->text) + 1 : c->n; // one of a doubled one
        AXL_TRY(axl_rows_escape(out, c->text + i, end - i));
        i = end + (quote != NULL);
    }
    AXL_TRY(axl_str_putc(out, '"'));

out:
    return status;
}

static axl_status add_name(axl_rows *r, const cell *c)
{
    axl_status status = AXL_OK;
    csv_state *csv = r->state;
    axl_str name = {0};
    char unnamed[32];
    cell made = {.text = unnamed};

    // An index that was written without a name is called as pandas does.
    made.n = (size_t)snprintf(unnamed, sizeof unnamed, "Unnamed: %lld", (long long)csv->n_names);
    AXL_TRY(put_cell(&name, c->n > 0 ? c : &made));
    AXL_TRY(axl_str_puts(&name, ": "));
    for (int64_t i = 0; i < csv->n_names; i++)
        AXL_REQUIRE(strcmp(csv->names[i].data, name.data) != 0, AXL_E_INPUT,
                    "%s:1: the column %.*s stands twice in the header", r->path, (int)name.len - 2,
                    name.data);
    AXL_TRY(axl_grow(&csv->names, &csv->capacity, (size_t)csv->n_names + 1, sizeof *csv->names,
                     "columns"));
    csv->names[csv->n_names++] = name;
    name = (axl_str){0};

out:
    axl_str_fini(&name);
    return status;
}

static axl_status open_csv(axl_rows *r)
{
    axl_status status = AXL_OK;
    axl_row_text header;
    const char *fault = NULL;
    bool more, closed;
    cell c;

    AXL_TRY(axl_calloc(1, sizeof(csv_state), "rows", &r->state));
    AXL_TRY(take_record(r, &header, &more, &closed));
    AXL_REQUIRE(closed, AXL_E_INPUT, "%s:1: a quote in the header is not closed", r->path);
    for (size_t at = 0; more && at <= header.n;) {
        fault = next_cell(header.text, header.n, &at, &c);
        AXL_REQUIRE(fault == NULL, AXL_E_INPUT, "%s:1: %s in the header", r->path, fault);
        AXL_TRY(add_name(r, &c));
    }

out:
    return status;
}

static void close_csv(axl_rows *r)
{
    csv_state *csv = r->state;

    for (int64_t i = 0; csv != NULL && i < csv->n_names; i++)
        axl_str_fini(&csv->names[i]);
    if (csv != NULL)
        free(csv->names);
    free(csv);
}

// Makes r->text the JSON object of a record.
static axl_status make_object(axl_rows *r, const axl_row_text *record, axl_row_text *out)
{
    axl_status status = AXL_OK;
    const csv_state *csv = r->state;
    const char *fault = NULL;
    int64_t n = 0;
    bool first = true;

    axl_str_clear(&r->text);
    AXL_TRY(axl_str_putc(&r->text, '{'));
    for (size_t at = 0; at <= record->n && fault == NULL; n++) {
        cell c;
        fault = next_cell(record->text, record->n, &at, &c);
        if (fault != NULL || n >= csv->n_names || c.n == 0)
            continue;
        AXL_TRY(axl_str_puts(&r->text, first ? "" : ", "));
        AXL_TRY(axl_str_append(&r->text, csv->names[n].data, csv->names[n].len));
        AXL_TRY(put_cell(&r->text, &c));
        first = false;
    }
    AXL_TRY(axl_str_putc(&r->text, '}'));
    *out = (axl_row_text){.text = r->text.data, .n = r->text.len, .line = record->line};
    if (fault != NULL)
        AXL_TRY(axl_rows_fault(r, record->line, out, "%s; a quote inside a cell is written twice",
                               fault));
    else if (n > csv->n_names)
        AXL_TRY(axl_rows_fault(r, record->line, out,
                               "%lld cells, but the header names %lld columns; a cell that holds a "
                               "comma stands in quotes",
                               (long long)n, (long long)csv->n_names));

out:
    return status;
}

static axl_status next_csv(axl_rows *r, axl_row_text *out, bool *more)
{
    axl_status status = AXL_OK;
    axl_row_text record;
    bool closed = true;

    do {
        AXL_TRY(take_record(r, &record, more, &closed));
    } while (*more && record.n == 0); // a blank line
    if (*more && !closed)
        AXL_TRY(axl_rows_fault(r, record.line, out,
                               "a quote of this record is not closed before the end of the file"));
    else if (*more)
        AXL_TRY(make_object(r, &record, out));

out:
    return status;
}

static const char *const suffixes[] = {".csv", NULL};

const struct axl_row_kind axl_rows_kind_csv = {.name = "csv",
                                               .suffixes = suffixes,
                                               .made = true,
                                               .open = open_csv,
                                               .next = next_csv,
                                               .close = close_csv};
