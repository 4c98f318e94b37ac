// Plain text, all of it trained (datasets.md 4.5). A long text is cut into samples of sequence_len, the last
// one short; what lies behind 64 of them is dropped.
#include "src/data/format.h"

#include "src/base/mem.h"

#define MAX_CHUNKS 64

static axl_status completion_encode(axl_encoder *e, const axl_json *row, axl_samples *out)
{
    axl_status status = AXL_OK;
    axl_token_buffer *b = &e->tokens;
    const char *column = e->spec->field != NULL ? e->spec->field : "text";
    int64_t len = e->options->sequence_len;
    size_t limit = (size_t)(len * MAX_CHUNKS);

    axl_str_clear(&e->text);
    AXL_TRY(axl_row_column(row, column, false, &e->text));
    b->n = 0;
    if (e->text.len > 0)
        AXL_TRY(axl_tokenizer_encode(e->tokenizer, e->text.data, e->text.len, true, b));
    if (b->n > limit)
        b->n = limit;
    if (b->n > 0 && b->n < limit && e->eos >= 0 && b->ids[b->n - 1] != e->eos) {
        AXL_TRY(axl_grow(&b->ids, &b->capacity, b->n + 1, sizeof *b->ids, "token ids"));
        b->ids[b->n++] = e->eos;
    }
    for (int64_t at = 0; at < (int64_t)b->n; at += len) {
        int64_t n = (int64_t)b->n - at < len ? (int64_t)b->n - at : len;
        AXL_TRY(axl_samples_put(out, b->ids + at, NULL, n, true));
        AXL_TRY(axl_encoder_end(out));
    }

out:
    return status;
}

static const char *const type_names[] = {"completion", NULL};

const axl_format axl_format_completion = {.name = "completion",
                                          .types = type_names,
                                          .needs_tokenizer = true,
                                          .encode = completion_encode};
