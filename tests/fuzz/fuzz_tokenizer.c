// A tokenizer file from outside, of any kind: what loads must encode and decode any text without a fault.
#include "src/text/tokenizer.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static const char text[] =
    " Hello,  w\xc3\xb6rld'S 123\r\n\t<s>abc e\xcc\x81 \xe4\xb8\xad\xe6\x96\x87 "
    "\xf0\x9f\x98\x80 ba<mask> \xea\xb0\x81\xe1\x86\xa8 \xef\xac\x81-\xe2\x96\x81.";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    axl_tokenizer *t = NULL;
    axl_token_buffer b = {.want_offsets = true};
    axl_str decoded = {0};

    if (axl_tokenizer_parse_any((const char *)data, size, NULL, NULL, -1, &t) != AXL_OK)
        return 0;
    if (axl_tokenizer_encode(t, text, strlen(text), true, &b) == AXL_OK) {
        for (size_t i = 0; i < b.n; i++)
            if (b.ids[i] < 0 || b.begin[i] > b.end[i] || b.end[i] > (int32_t)strlen(text))
                abort();
        (void)axl_tokenizer_decode(t, b.ids, b.n, false, &decoded);
    }
    b.want_offsets = false;
    (void)axl_tokenizer_encode(t, text, strlen(text), false, &b);
    axl_str_fini(&decoded);
    axl_token_buffer_fini(&b);
    axl_tokenizer_destroy(t);
    return 0;
}
