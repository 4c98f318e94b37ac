// JSON from outside: config.json, tokenizer.json, data records. What parses must print and parse again.
#include "src/io/json.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    axl_json *v = NULL, *again = NULL;
    axl_str text = {0};
    int fd = fuzz_file(data, size, path);

    if (axl_json_parse_strict((const char *)data, size, "fuzz", &v) == AXL_OK) {
        if (axl_json_dump(v, 0, &text) != AXL_OK ||
            axl_json_parse(text.data, text.len, "dump", &again) != AXL_OK)
            abort();
        axl_json_free(v);
    }
    v = NULL;
    if (axl_json_read(path, &v) == AXL_OK)
        axl_json_free(v);
    axl_json_free(again);
    axl_str_fini(&text);
    (void)close(fd);
    return 0;
}
