// Text of a corpus, all of it trained (datasets.md 11).
//
// pretrain: the text in windows of sequence_len - 1 tokens that overlap by a quarter of a thousand or half a window,
// each with the special tokens of the tokenizer around it and an EOS behind it. pretrain:rows, for rows that are not
// packed: one sample of at most sequence_len - 2 tokens, no EOS.
// The special tokens go to every window, so they are learned once from a probe, and the text is encoded without.
#include "src/data/format.h"

#include "src/base/mem.h"

#include <stdlib.h>
#include <string.h>

#define MOST_OVERLAP 256

typedef struct pretrain {
    axl_token_buffer before, behind; // what the tokenizer puts around a text
    bool rows;
} pretrain;

static axl_status pretrain_open(axl_encoder *e)
{
    axl_status status = AXL_OK;
    pretrain *p = NULL;
    axl_token_buffer bare = {0}, whole = {0};
    size_t at = 0;

    AXL_TRY(axl_calloc(1, sizeof *p, "format", &p));
    e->state = p;
    AXL_REQUIRE(e->style == NULL || strcmp(e->style, "rows") == 0, AXL_E_CONFIG,
                "style %s is not known; there is pretrain, and pretrain:rows", e->style);
    p->rows = e->style != NULL;
    AXL_TRY(axl_tokenizer_encode(e->tokenizer, "a", 1, false, &bare));
    AXL_TRY(axl_tokenizer_encode(e->tokenizer, "a", 1, true, &whole));
    while (at + bare.n < whole.n &&
           memcmp(whole.ids + at, bare.ids, bare.n * sizeof *bare.ids) != 0)
        at++;
    const size_t behind = whole.n - at - bare.n;
    AXL_TRY(axl_grow(&p->before.ids, &p->before.capacity, at, sizeof *p->before.ids, "token ids"));
    AXL_TRY(
        axl_grow(&p->behind.ids, &p->behind.capacity, behind, sizeof *p->behind.ids, "token ids"));
    p->before.n = at;
    p->behind.n = behind;
    if (at > 0)
        memcpy(p->before.ids, whole.ids, at * sizeof *whole.ids);
    if (behind > 0)
        memcpy(p->behind.ids, whole.ids + at + bare.n, behind * sizeof *whole.ids);

out:
    axl_token_buffer_fini(&bare);
    axl_token_buffer_fini(&whole);
    return status;
}

static void pretrain_close(axl_encoder *e)
{
    pretrain *p = e->state;

    if (p == NULL)
        return;
    axl_token_buffer_fini(&p->before);
    axl_token_buffer_fini(&p->behind);
    free(p);
}

static axl_status put_window(const axl_encoder *e, const int32_t *ids, int64_t n, axl_samples *out)
{
    axl_status status = AXL_OK;
    const pretrain *p = e->state;

    AXL_TRY(axl_samples_put(out, p->before.ids, NULL, (int64_t)p->before.n, true));
    AXL_TRY(axl_samples_put(out, ids, NULL, n, true));
    AXL_TRY(axl_samples_put(out, p->behind.ids, NULL, (int64_t)p->behind.n, true));
    if (!p->rows && e->eos >= 0)
        AXL_TRY(axl_samples_put(out, &e->eos, NULL, 1, true));
    AXL_TRY(axl_encoder_end(out));

out:
    return status;
}

static axl_status pretrain_encode(axl_encoder *e, const axl_json *row, axl_samples *out)
{
    axl_status status = AXL_OK;
    const pretrain *p = e->state;
    axl_token_buffer *b = &e->tokens;
    const char *column = e->spec->field != NULL ? e->spec->field : "text";
    const int64_t special = (int64_t)(p->before.n + p->behind.n);
    const int64_t window = e->options->sequence_len - (p->rows ? 2 : 1), room = window - special;
    int64_t overlap = window / 2 < MOST_OVERLAP ? window / 2 : MOST_OVERLAP;

    AXL_REQUIRE(room >= 1, AXL_E_CONFIG, "sequence_len %lld has no room for text",
                (long long)e->options->sequence_len);
    axl_str_clear(&e->text);
    AXL_TRY(axl_row_column(row, column, false, &e->text));
    b->n = 0;
    if (e->text.len == 0)
        goto out;
    AXL_TRY(axl_tokenizer_encode(e->tokenizer, e->text.data, e->text.len, false, b));
    overlap = overlap < room ? overlap : room - 1;
    for (int64_t at = 0, n = (int64_t)b->n; at < n; at += room - overlap) {
        int64_t here = n - at < room ? n - at : room;
        AXL_TRY(put_window(e, b->ids + at, here, out));
        if (p->rows || at + here == n)
            break;
    }

out:
    return status;
}

static const char *const type_names[] = {"pretrain", NULL};

const axl_format axl_format_pretrain = {.name = "pretrain",
                                        .types = type_names,
                                        .needs_tokenizer = true,
                                        .open = pretrain_open,
                                        .encode = pretrain_encode,
                                        .close = pretrain_close};
