// Data files of text, plain or compressed. The first byte chooses the kind: j json, l jsonl, c csv, t text;
// the rest is the file. It must end in records or in an error that names a place.
#include "src/data/rows.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static const char *name_of(uint8_t first)
{
    return first == 'j' ? "x.json" : first == 'c' ? "x.csv" : first == 't' ? "x.txt" : "x.jsonl";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    axl_rows_kind kind = NULL;
    axl_rows *r = NULL;
    axl_row_text text = {0};
    int64_t line = 0;
    bool more = true;

    if (size == 0 || axl_rows_kind_of(name_of(data[0]), NULL, &kind) != AXL_OK)
        return 0;
    int fd = fuzz_file(data + 1, size - 1, path);
    axl_status status = axl_rows_open(path, kind, &r);
    while (status == AXL_OK && more) {
        axl_json *row = NULL;
        status = axl_rows_next(r, &text, &more);
        if (status != AXL_OK || !more)
            break;
        if (text.line < line) // lines count up
            abort();
        line = text.line;
        if (axl_row_parse(kind, text.text, text.n, "where:1", &row) != AXL_OK &&
            strncmp(axl_error_message(), "where:1", 7) != 0)
            abort();
        axl_json_free(row);
    }
    if (status != AXL_OK && strncmp(axl_error_message(), path, strlen(path)) != 0)
        abort(); // an error that does not name the file
    axl_rows_close(r);
    (void)close(fd);
    return 0;
}
