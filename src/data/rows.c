// What all kinds of files share: finding the kind by name, faults, and the step from text to an object.
#include "src/data/rows.h"

#include "src/base/mem.h"
#include "src/data/readers/reader.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AXL_ROWS_KIND(name) extern const struct axl_row_kind axl_rows_kind_##name;
#include "src/data/readers/kinds.def"
#undef AXL_ROWS_KIND

#define AXL_ROWS_KIND(name) &axl_rows_kind_##name,
static const axl_rows_kind kinds[] = {
#include "src/data/readers/kinds.def"
};
#undef AXL_ROWS_KIND

enum { N_KINDS = sizeof kinds / sizeof *kinds };

// ---- kinds

static bool ends_with(const char *s, size_t n, const char *tail)
{
    size_t m = strlen(tail);

    return n >= m && strncasecmp(s + n - m, tail, m) == 0;
}

// The length of a name without the ending of a compression.
static size_t plain_length(const char *name)
{
    static const char *const packed[] = {".zst", ".gz", ".bz2", ".xz", ".lz4"};
    size_t n = strlen(name);

    for (size_t i = 0; i < sizeof packed / sizeof *packed; i++) {
        if (ends_with(name, n, packed[i]))
            return n - strlen(packed[i]);
    }
    return n;
}

static bool has_suffix(axl_rows_kind kind, const char *name)
{
    size_t n = plain_length(name);

    for (const char *const *s = kind->suffixes; *s != NULL; s++) {
        if (ends_with(name, n, *s))
            return true;
    }
    return false;
}

bool axl_rows_is_data_name(const char *name)
{
    bool known = false;

    for (int i = 0; i < N_KINDS && name[0] != '.'; i++)
        known = known || has_suffix(kinds[i], name);
    return known;
}

axl_status axl_rows_kind_of(const char *path, const char *ds_type, axl_rows_kind *out)
{
    axl_status status = AXL_OK;
    axl_rows_kind named = NULL, found = NULL;
    axl_str known = {0};

    for (int i = 0; i < N_KINDS; i++) {
        bool may = ds_type == NULL || strcmp(ds_type, kinds[i]->name) == 0;
        if (may && named == NULL)
            named = kinds[i];
        if (may && found == NULL && has_suffix(kinds[i], path))
            found = kinds[i];
        if (i == 0 || strcmp(kinds[i]->name, kinds[i - 1]->name) != 0)
            AXL_TRY(axl_str_printf(&known, "%s%s", i > 0 ? ", " : "", kinds[i]->name));
    }
    AXL_REQUIRE(named != NULL, AXL_E_CONFIG, "ds_type %s is not known; use one of %s", ds_type,
                known.data);
    *out = found != NULL ? found : named;

out:
    axl_str_fini(&known);
    return status;
}

const char *axl_rows_kind_name(axl_rows_kind kind)
{
    return kind->name;
}

// ---- an open file

axl_status axl_rows_open(const char *path, axl_rows_kind kind, axl_rows **out)
{
    axl_status status = AXL_OK;
    axl_rows *r = NULL;

    AXL_TRY(axl_calloc(1, sizeof *r, "rows", &r));
    r->kind = kind;
    r->line = 1;
    AXL_TRY(axl_strdup(path, &r->path));
    if (!kind->binary)
        AXL_TRY(axl_reader_open(path, &r->reader));
    if (kind->open != NULL)
        AXL_TRY(kind->open(r));
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
    if (r->kind->close != NULL)
        r->kind->close(r);
    axl_reader_close(r->reader);
    axl_str_fini(&r->text);
    free(r->path);
    free(r);
}

axl_status axl_rows_next(axl_rows *r, axl_row_text *out, bool *more)
{
    axl_status status = AXL_OK;

    AXL_TRY(r->kind->next(r, out, more));
    r->n_rows += *more;

out:
    return status;
}

void axl_rows_tell(const axl_rows *r, axl_rows_place *out)
{
    *out = (axl_rows_place){.row = r->n_rows, .line = r->line};
    if (r->reader != NULL)
        out->offset = axl_reader_tell(r->reader);
}

axl_status axl_rows_go(axl_rows *r, const axl_rows_place *place)
{
    axl_status status = AXL_OK;
    axl_row_text row;
    bool more = true;

    if (r->kind->lines && place->offset > 0) {
        AXL_TRY(axl_reader_seek(r->reader, place->offset));
        r->line = place->line;
        r->n_rows = place->row;
        goto out;
    }
    while (r->n_rows < place->row && more)
        AXL_TRY(axl_rows_next(r, &row, &more));
    AXL_REQUIRE(more, AXL_E_INPUT,
                "%s: the file is shorter than it was: %lld records, %lld had been read", r->path,
                (long long)r->n_rows, (long long)place->row);

out:
    return status;
}

// ---- for the kinds

axl_status axl_rows_window(axl_rows *r, size_t need, const char **bytes, size_t *n)
{
    axl_status status = AXL_OK;
    bool more = true;

    *bytes = axl_reader_window(r->reader, n);
    while (*n < need && more) {
        AXL_TRY(axl_reader_extend(r->reader, &more));
        *bytes = axl_reader_window(r->reader, n);
    }

out:
    return status;
}

axl_status axl_rows_fault(axl_rows *r, int64_t line, axl_row_text *out, const char *fmt, ...)
{
    axl_status status = AXL_OK;
    char text[256];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    axl_str_clear(&r->text);
    AXL_TRY(axl_str_putc(&r->text, AXL_ROW_FAULT));
    AXL_TRY(axl_str_puts(&r->text, text));
    *out = (axl_row_text){.text = r->text.data, .n = r->text.len, .line = line};

out:
    return status;
}

axl_status axl_rows_escape(axl_str *out, const char *bytes, size_t n)
{
    axl_status status = AXL_OK;

    for (size_t i = 0; i < n;) {
        size_t run = i;
        while (run < n && (unsigned char)bytes[run] >= 0x20 && bytes[run] != '"' &&
               bytes[run] != '\\')
            run++;
        AXL_TRY(axl_str_append(out, bytes + i, run - i));
        i = run;
        if (i == n)
            break;
        unsigned char c = (unsigned char)bytes[i++];
        if (c == '\n')
            AXL_TRY(axl_str_append(out, "\\n", 2));
        else if (c < 0x20)
            AXL_TRY(axl_str_printf(out, "\\u%04x", c));
        else
            AXL_TRY(axl_str_append(out, c == '"' ? "\\\"" : "\\\\", 2));
    }

out:
    return status;
}

// ---- records

double axl_rows_share(const axl_rows *r)
{
    return r->reader != NULL ? axl_reader_share(r->reader) : 0.0;
}

static axl_status check_utf8(const char *text, size_t n, const char *where)
{
    axl_status status = AXL_OK;
    size_t bad = axl_utf8_invalid_at(text, n);

    AXL_REQUIRE(bad == n, AXL_E_INPUT,
                "%s: byte %zu of the record is not UTF-8; save the file as UTF-8", where, bad + 1);

out:
    return status;
}

axl_status axl_row_parse(axl_rows_kind kind, const char *text, size_t n, const char *where,
                         axl_json **out)
{
    axl_status status = AXL_OK;
    axl_json *row = NULL;

    AXL_REQUIRE(n == 0 || text[0] != AXL_ROW_FAULT || !kind->made, AXL_E_INPUT, "%s: %.*s", where,
                (int)axl_utf8_invalid_at(text + 1, n - 1 < 256 ? n - 1 : 256), text + 1);
    AXL_REQUIRE(!kind->made || axl_utf8_invalid_at(text, n) == n, AXL_E_INPUT,
                "%s: the record is not UTF-8; save the file as UTF-8", where);
    if (kind->plain) {
        AXL_TRY(check_utf8(text, n, where));
        row = axl_json_new_object();
        AXL_REQUIRE(row != NULL, AXL_E_MEMORY, "no memory for a row");
        AXL_TRY(axl_json_set(row, "text", axl_json_new_string(text, n)));
    } else {
        status = axl_json_parse(text, n, where, &row);
        if (status == AXL_E_INPUT) // it refuses bytes that are no UTF-8 too, but in other words
            AXL_TRY(check_utf8(text, n, where));
        AXL_TRY(status);
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
