// Parquet and arrow files, through the module that reads them: the kind is told by the content. Without the
// module nothing is tried.
#include "src/data/rows.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#define MAX_ROWS 1000 // a few bytes may stand for millions of nulls

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    axl_rows_kind kind = NULL;
    axl_rows *r = NULL;
    axl_row_text text = {0};
    bool more = true;
    int fd = fuzz_file(data, size, path);

    if (axl_rows_kind_of("x.arrow", NULL, &kind) != AXL_OK)
        abort();
    axl_status status = axl_rows_open(path, kind, &r);
    for (int i = 0; status == AXL_OK && more && i < MAX_ROWS; i++) {
        axl_json *row = NULL;
        status = axl_rows_next(r, &text, &more);
        if (status == AXL_OK && more &&
            axl_row_parse(kind, text.text, text.n, "where:1", &row) == AXL_OK)
            axl_json_free(row);
    }
    if (status != AXL_OK && strncmp(axl_error_message(), path, strlen(path)) != 0)
        abort(); // an error that does not name the file
    axl_rows_close(r);
    (void)close(fd);
    return 0;
}
