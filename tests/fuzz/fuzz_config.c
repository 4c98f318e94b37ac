// A configuration from outside; the first line, when it begins with "--", holds overrides.
#include "src/config/config.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#define MAX_OVERRIDES 16

// Cuts a line into words at spaces, in place.
static int cut(char *line, const char **words)
{
    int n = 0;

    for (char *p = strtok(line, " "); p != NULL && n < MAX_OVERRIDES; p = strtok(NULL, " "))
        words[n++] = p;
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    axl_diagnostics d = {0};
    axl_config *c = NULL;
    axl_str text = {0};
    const char *words[MAX_OVERRIDES];
    char line[256] = "";
    axl_config_options options = {.overrides = words, .has_bf16 = true};

    if (size > 2 && memcmp(data, "--", 2) == 0) {
        const uint8_t *end = memchr(data, '\n', size);
        size_t n = end == NULL ? size : (size_t)(end - data) + 1;
        memcpy(line, data, n < sizeof line ? n : sizeof line - 1);
        line[strcspn(line, "\n")] = '\0';
        options.n_overrides = cut(line, words);
        data += n;
        size -= n;
    }
    if (axl_config_parse((const char *)data, size, "fuzz", &options, &d, &c) == AXL_OK) {
        if (d.n_errors > 0 || axl_config_resolved(c, &text) != AXL_OK)
            abort();
        (void)axl_config_warmup_steps(c, 1000);
        (void)axl_config_save_every(c, 1000);
        (void)axl_config_eval_every(c, 1000);
    } else if (d.n_errors == 0) {
        abort(); // a failure that says nothing
    }
    axl_config_destroy(c);
    axl_diagnostics_fini(&d);
    axl_str_fini(&text);
    return 0;
}
