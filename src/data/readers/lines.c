// A line is a record: `.jsonl` and `.txt`. Blank lines are no records.
#include "src/data/readers/reader.h"

static bool is_blank(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (s[i] != ' ' && s[i] != '\t' && s[i] != '\r')
            return false;
    }
    return true;
}

static axl_status next(axl_rows *r, axl_row_text *out, bool *more)
{
    axl_status status = AXL_OK;

    do {
        AXL_TRY(axl_reader_line(r->reader, &out->text, &out->n, more));
        out->line = r->line++;
    } while (*more && is_blank(out->text, out->n));

out:
    return status;
}

static const char *const jsonl[] = {".jsonl", ".ndjson", NULL};
static const char *const txt[] = {".txt", NULL};

const struct axl_row_kind axl_rows_kind_jsonl = {
    .name = "json", .suffixes = jsonl, .lines = true, .next = next};
const struct axl_row_kind axl_rows_kind_text = {
    .name = "text", .suffixes = txt, .plain = true, .lines = true, .next = next};
