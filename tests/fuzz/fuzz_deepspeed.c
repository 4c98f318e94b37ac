// A DeepSpeed file from outside, named by a configuration that is right.
#include "src/config/config.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    axl_diagnostics d = {0};
    axl_config *c = NULL;
    axl_str text = {0};
    const axl_config_options options = {.has_bf16 = true, .n_ranks = 4};
    char path[64], yaml[256];
    const int fd = fuzz_file(data, size, path);

    (void)snprintf(yaml, sizeof yaml,
                   "base_model: m\nlearning_rate: 1e-4\ndatasets:\n  - path: d.jsonl\n    type: "
                   "completion\nmicro_batch_size: 2\ngradient_accumulation_steps: 4\n"
                   "deepspeed: %s\n",
                   path);
    if (axl_config_parse(yaml, strlen(yaml), "fuzz", &options, &d, &c) == AXL_OK) {
        if (d.n_errors > 0 || axl_config_resolved(c, &text) != AXL_OK)
            abort();
    } else if (d.n_errors == 0) {
        abort(); // a failure that says nothing
    }
    axl_config_destroy(c);
    axl_diagnostics_fini(&d);
    axl_str_fini(&text);
    (void)close(fd);
    return 0;
}
