// Chat templates from outside: any bytes as a template, rendered with a fixed conversation under small
// limits. It must end soon, in a text or an error.
#include "src/text/jinja.h"
#include "tests/fuzz/fuzz.h"

static const char context_text[] =
    "{\"messages\": [{\"role\": \"user\", \"content\": \"h\\u00e9 <b> \"}, {\"role\": "
    "\"assistant\","
    " \"content\": \"yo\", \"tool_calls\": [{\"function\": {\"name\": \"f\", \"arguments\": {\"a\":"
    " [1, 2.5, null, true]}}}]}], \"tools\": [{\"name\": \"f\"}], \"n\": 7, \"f\": -2.5, \"s\":"
    " \"Hello World\", \"lst\": [3, 1, 2], \"map\": {\"b\": 1, \"a\": 2}, \"bos_token\": \"<s>\","
    " \"add_generation_prompt\": true}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static axl_json *context; // parsed once: it is only read
    const struct tm now = {.tm_year = 125, .tm_mon = 2, .tm_mday = 9};
    axl_jinja_spans spans = {0};
    axl_jinja_fault fault = {0};
    axl_jinja_options options = {.now = &now,
                                 .max_steps = 20000,
                                 .max_output = 1 << 16,
                                 .max_memory = 1 << 24,
                                 .spans = &spans,
                                 .fault = &fault};
    axl_jinja *t = NULL;
    axl_str out = {0};

    if (context == NULL && axl_jinja_context_parse(context_text, sizeof context_text - 1, "context",
                                                   &context) != AXL_OK)
        abort();
    if (axl_jinja_compile((const char *)data, size, "fuzz", &t) == AXL_OK) {
        (void)axl_jinja_render(t, context, &options, &out);
        if (axl_utf8_invalid_at(out.data, out.len) != out.len)
            abort();
    }
    axl_jinja_destroy(t);
    axl_str_fini(&out);
    axl_jinja_spans_fini(&spans);
    axl_jinja_fault_fini(&fault);
    return 0;
}
