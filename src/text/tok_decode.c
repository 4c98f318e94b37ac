// Decoders: from token texts to text. Each takes a list of strings and gives another; what is left at
// the end is joined. A row a kind.
#include "src/text/tokenizer_private.h"

#include "src/base/mem.h"

#include <stdlib.h>
#include <string.h>

void axl_tokens_fini(axl_tokens *t)
{
    axl_str_fini(&t->text);
    free(t->end);
    *t = (axl_tokens){0};
}

axl_status axl_tokens_end(axl_tokens *t)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_grow(&t->end, &t->capacity, t->n + 1, sizeof *t->end, "tokens"));
    t->end[t->n++] = t->text.len;
out:
    return status;
}

// The bytes of one token, appended; the text itself when a character stands for no byte.
static axl_status token_bytes(const char *s, size_t n, axl_str *out)
{
    axl_status status = AXL_OK;
    size_t start = out->len;

    for (size_t i = 0, k; i < n; i += k) {
        int byte = axl_byte_level_byte(axl_utf8_decode(s + i, &k));
        if (byte < 0) {
            out->len = start;
            AXL_TRY(axl_str_append(out, s, n));
            goto out;
        }
        AXL_TRY(axl_str_putc(out, (char)byte));
    }
out:
    return status;
}

// How many bytes at p[0 .. n), which is not valid UTF-8, stand for one U+FFFD: the longest start of a
// sequence that could have been valid, at least one byte.
static size_t broken_length(const unsigned char *p, size_t n)
{
    unsigned lo = 0x80, hi = 0xbf;
    size_t need = p[0] >= 0xc2 && p[0] <= 0xdf   ? 1
                  : p[0] >= 0xe0 && p[0] <= 0xef ? 2
                  : p[0] >= 0xf0 && p[0] <= 0xf4 ? 3
                                                 : 0;
    if (p[0] == 0xe0)
        lo = 0xa0;
    else if (p[0] == 0xed)
        hi = 0x9f;
    else if (p[0] == 0xf0)
        lo = 0x90;
    else if (p[0] == 0xf4)
        hi = 0x8f;
    for (size_t i = 1; i <= need; i++, lo = 0x80, hi = 0xbf)
        if (i >= n || p[i] < lo || p[i] > hi)
            return i;
    return 1;
}

static axl_status put_lossy(const char *s, size_t n, axl_str *out)
{
    axl_status status = AXL_OK;

    while (n > 0) {
        size_t good = axl_utf8_invalid_at(s, n);
        AXL_TRY(axl_str_append(out, s, good));
        s += good;
        n -= good;
        if (n == 0)
            break;
        size_t bad = broken_length((const unsigned char *)s, n);
        AXL_TRY(axl_str_put_utf8(out, 0xfffd));
        s += bad;
        n -= bad;
    }
out:
    return status;
}

static axl_status decode_byte_level(const axl_step *s, axl_tokens *t)
{
    axl_status status = AXL_OK;
    axl_str bytes = {0};

    (void)s;
    for (size_t i = 0, at = 0; i < t->n; at = t->end[i++])
        AXL_TRY(token_bytes(t->text.data + at, t->end[i] - at, &bytes));
    axl_str_clear(&t->text);
    t->n = 0;
    AXL_TRY(put_lossy(bytes.data, bytes.len, &t->text));
    AXL_TRY(axl_tokens_end(t));
out:
    axl_str_fini(&bytes);
    return status;
}

const axl_step_kind axl_decoder_kinds[] = {
    {.name = "ByteLevel", .decode = decode_byte_level},
    {.name = "Replace", .parse = axl_replace_parse, .decode = axl_replace_decode},
    {.name = "ByteFallback", .decode = axl_byte_fallback_decode},
    {.name = "Fuse", .decode = axl_fuse_decode},
    {.name = "Strip", .parse = axl_strip_decoder_parse, .decode = axl_strip_decode},
    {.name = "Metaspace", .parse = axl_metaspace_parse, .decode = axl_metaspace_decode},
    {.name = "WordPiece", .parse = axl_wordpiece_decoder_parse, .decode = axl_wordpiece_decode},
    {.name = "BPEDecoder", .parse = axl_bpe_decoder_parse, .decode = axl_bpe_decode},
    {.name = "CTC", .parse = axl_ctc_parse, .decode = axl_ctc_decode},
};
const size_t axl_n_decoder_kinds = sizeof axl_decoder_kinds / sizeof *axl_decoder_kinds;

// A token's text; of an added token that is found in normalized text, as it is found there.
static const char *decoded_text(const axl_tokenizer *t, int32_t id, size_t *n)
{
    bool is_added = id >= 0 && id < t->added_vocab.size && t->added_at[id] >= 0;
    const axl_added *a = is_added ? &t->added[t->added_at[id]] : NULL;

    if (a != NULL && a->normal != NULL) {
        *n = a->n_normal;
        return a->normal;
    }
    const char *s = axl_vocab_text(&t->added_vocab, id, n);
    return s != NULL ? s : axl_vocab_text(&t->vocab, id, n);
}

// The reference asks whether the text, not the id, is that of a special token.
static bool is_special_text(const axl_tokenizer *t, const char *s, size_t n)
{
    return axl_tokenizer_is_special(t, axl_vocab_find(&t->added_vocab, s, n));
}

axl_status axl_tokenizer_decode(const axl_tokenizer *t, const int32_t *ids, size_t n,
                                bool skip_special, axl_str *out)
{
    axl_status status = AXL_OK;
    axl_tokens tokens = {0};

    for (size_t i = 0; i < n; i++) {
        size_t len = 0;
        const char *s = decoded_text(t, ids[i], &len);
        if (s == NULL || (skip_special && is_special_text(t, s, len)))
            continue;
        if (t->decoders.n == 0 && tokens.n > 0)
            AXL_TRY(axl_str_putc(&tokens.text, ' '));
        AXL_TRY(axl_str_append(&tokens.text, s, len));
        AXL_TRY(axl_tokens_end(&tokens));
    }
    for (size_t i = 0; i < t->decoders.n; i++)
        AXL_TRY(t->decoders.at[i].kind->decode(&t->decoders.at[i], &tokens));
    AXL_TRY(axl_str_append(out, tokens.text.data, tokens.text.len));
out:
    axl_tokens_fini(&tokens);
    return status;
}
