// The list of findings: adding, ordering, printing.
//
// The hard part is to keep a bad input from costing much: the number of findings is bounded, and lack of
// memory while reporting never hides that there was an error.
#include "src/io/diagnostics.h"

#include "src/base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FINDINGS 1000

void axl_diagnostics_fini(axl_diagnostics *d)
{
    if (d == NULL)
        return;
    for (size_t i = 0; i < d->n; i++) {
        free(d->items[i].file);
        free(d->items[i].key);
        free(d->items[i].text);
    }
    free(d->items);
    *d = (axl_diagnostics){0};
}

static char *copy_or_null(const char *s)
{
    return s == NULL ? NULL : strdup(s);
}

void axl_diagnostics_add(axl_diagnostics *d, axl_severity severity, axl_place place,
                         const char *key, const char *fmt, ...)
{
    char *text = NULL;
    va_list args;

    if (severity == AXL_ERROR)
        d->n_errors++;
    if (d->n >= MAX_FINDINGS)
        return;
    if (axl_grow(&d->items, &d->capacity, d->n + 1, sizeof *d->items, "findings") != AXL_OK) {
        d->out_of_memory = true;
        return;
    }
    va_start(args, fmt);
    int n_bytes = vasprintf(&text, fmt, args);
    va_end(args);
    if (n_bytes < 0) {
        d->out_of_memory = true;
        return;
    }
    axl_diagnostic *item = &d->items[d->n++];
    *item = (axl_diagnostic){.severity = severity,
                             .file = copy_or_null(place.file),
                             .line = place.line,
                             .column = place.column,
                             .key = copy_or_null(key),
                             .text = text};
    if ((item->file == NULL) != (place.file == NULL) || (item->key == NULL) != (key == NULL))
        d->out_of_memory = true;
}

static bool comes_before(const axl_diagnostic *a, const axl_diagnostic *b)
{
    const char *file_a = a->file == NULL ? "" : a->file;
    const char *file_b = b->file == NULL ? "" : b->file;
    int order = strcmp(file_a, file_b);

    if (order != 0)
        return order < 0;
    if (a->line != b->line)
        return a->line < b->line;
    return a->column < b->column;
}

void axl_diagnostics_sort(axl_diagnostics *d)
{
    // Insertion sort: it is stable, and the list is short and nearly in order.
    for (size_t i = 1; i < d->n; i++) {
        axl_diagnostic item = d->items[i];
        size_t k = i;
        for (; k > 0 && comes_before(&item, &d->items[k - 1]); k--)
            d->items[k] = d->items[k - 1];
        d->items[k] = item;
    }
}

const char *axl_severity_name(axl_severity severity)
{
    static const char *const names[] = {"note", "warning", "error"};

    return severity >= AXL_NOTE && severity <= AXL_ERROR ? names[severity] : "finding";
}

static axl_status put_line(const axl_diagnostic *item, axl_str *out)
{
    axl_status status = AXL_OK;

    if (item->file != NULL) {
        AXL_TRY(axl_str_puts(out, item->file));
        if (item->line > 0)
            AXL_TRY(axl_str_printf(out, ":%d:%d", (int)item->line, (int)item->column));
        AXL_TRY(axl_str_puts(out, ": "));
    }
    AXL_TRY(axl_str_printf(out, "%s: ", axl_severity_name(item->severity)));
    if (item->key != NULL)
        AXL_TRY(axl_str_printf(out, "%s: ", item->key));
    AXL_TRY(axl_str_puts(out, item->text));
out:
    return status;
}

axl_status axl_diagnostics_text(const axl_diagnostics *d, axl_severity least, axl_str *out)
{
    axl_status status = AXL_OK;

    for (size_t i = 0; i < d->n; i++) {
        if (d->items[i].severity < least)
            continue;
        AXL_TRY(put_line(&d->items[i], out));
        AXL_TRY(axl_str_putc(out, '\n'));
    }
out:
    return status;
}

static axl_status put_member(axl_str *out, const char *name, const char *text)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_str_printf(out, ", \"%s\": ", name));
    if (text == NULL)
        AXL_TRY(axl_str_puts(out, "null"));
    else
        AXL_TRY(axl_str_put_json(out, text, strlen(text)));
out:
    return status;
}

axl_status axl_diagnostics_json(const axl_diagnostics *d, axl_str *out)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_str_putc(out, '['));
    for (size_t i = 0; i < d->n; i++) {
        const axl_diagnostic *item = &d->items[i];
        AXL_TRY(axl_str_printf(out, "%s\n  {\"severity\": \"%s\"", i == 0 ? "" : ",",
                               axl_severity_name(item->severity)));
        AXL_TRY(put_member(out, "file", item->file));
        AXL_TRY(axl_str_printf(out, ", \"line\": %d, \"column\": %d", (int)item->line,
                               (int)item->column));
        AXL_TRY(put_member(out, "key", item->key));
        AXL_TRY(axl_str_printf(out, ", \"rule\": %d", item->rule));
        AXL_TRY(put_member(out, "message", item->text));
        AXL_TRY(axl_str_putc(out, '}'));
    }
    AXL_TRY(axl_str_puts(out, d->n == 0 ? "]" : "\n]"));
out:
    return status;
}

axl_status axl_diagnostics_status(const axl_diagnostics *d, axl_status code)
{
    axl_status status = AXL_OK;
    axl_str text = {0};

    AXL_REQUIRE(d->n_errors > 0 || !d->out_of_memory, AXL_E_MEMORY,
                "no memory for the findings about the input");
    if (d->n_errors == 0)
        goto out;
    AXL_TRY(axl_diagnostics_text(d, AXL_ERROR, &text));
    while (text.len > 0 && text.data[text.len - 1] == '\n')
        text.data[--text.len] = '\0';
    AXL_FAIL(code, "%s", text.len > 0 ? text.data : "errors were found");
out:
    axl_str_fini(&text);
    return status;
}
