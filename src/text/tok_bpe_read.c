// Reads the model part of a BPE tokenizer: vocabulary, merges, and whether byte-level text may stay
// bytes while it is encoded.
#include "src/text/tokenizer_private.h"

#include "src/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void axl_bpe_fini(axl_bpe *b)
{
    axl_pairmap_fini(&b->merges);
    axl_str_fini(&b->prefix);
    axl_str_fini(&b->suffix);
    free(b->chars);
}

axl_status axl_vocab_parse(const axl_json *v, axl_vocab *out)
{
    axl_status status = AXL_OK;
    void *it = NULL;
    const char *key;
    axl_json *child;

    AXL_REQUIRE(axl_json_is(v, AXL_JSON_OBJECT), AXL_E_INPUT,
                "model.vocab: must be an object of token -> id, not %s",
                axl_json_kind_name(axl_json_type(v)));
    // The iterator of a JSON object writes nothing; its type only lacks the const.
    while (axl_json_next((axl_json *)(uintptr_t)v, &it, &key, &child)) {
        AXL_REQUIRE(axl_json_is(child, AXL_JSON_INT), AXL_E_INPUT,
                    "model.vocab[\"%.60s\"]: the id must be an integer, not %s", key,
                    axl_json_kind_name(axl_json_type(child)));
        AXL_TRY_CTX(axl_vocab_add(out, key, strlen(key), axl_json_int(child, -1)), "model.vocab");
    }
out:
    return status;
}

void axl_fallback_ids(const axl_vocab *v, int32_t ids[256])
{
    for (int i = 0; i < 256; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "<0x%02X>", (unsigned)i);
        ids[i] = axl_vocab_find(v, name, 6);
    }
}

// The two halves of a merge, "a b" or ["a", "b"].
static axl_status merge_halves(const axl_json *v, const char **half, size_t *n)
{
    axl_status status = AXL_OK;
    const char *text = axl_json_string(v, NULL);

    if (text != NULL) {
        size_t len = axl_json_string_length(v);
        const char *space = memchr(text, ' ', len);
        AXL_REQUIRE(space != NULL &&
                        memchr(space + 1, ' ', len - (size_t)(space + 1 - text)) == NULL,
                    AXL_E_INPUT, "\"%.60s\" must be two tokens with one space between", text);
        half[0] = text;
        n[0] = (size_t)(space - text);
        half[1] = space + 1;
        n[1] = len - n[0] - 1;
        goto out;
    }
    AXL_REQUIRE(axl_json_is(v, AXL_JSON_ARRAY) && axl_json_count(v) == 2, AXL_E_INPUT,
                "must be \"a b\" or [\"a\", \"b\"]");
    for (size_t i = 0; i < 2; i++) {
        const axl_json *part = axl_json_at(v, i);
        AXL_REQUIRE(axl_json_is(part, AXL_JSON_STRING), AXL_E_INPUT, "must be two strings, not %s",
                    axl_json_kind_name(axl_json_type(part)));
        half[i] = axl_json_string(part, "");
        n[i] = axl_json_string_length(part);
    }
out:
    return status;
}

static axl_status read_merge(const axl_json *v, axl_tokenizer *t, size_t rank, axl_str *joined)
{
    axl_status status = AXL_OK;
    const char *half[2] = {"", ""};
    size_t n[2] = {0, 0};
    int32_t id[2], new_id;
    size_t cut = t->bpe.prefix.len;

    AXL_TRY(merge_halves(v, half, n));
    for (int i = 0; i < 2; i++) {
        id[i] = axl_vocab_find(&t->vocab, half[i], n[i]);
        AXL_REQUIRE(id[i] >= 0, AXL_E_INPUT, "\"%.60s\" is not in model.vocab", half[i]);
    }
    AXL_REQUIRE(n[1] >= cut, AXL_E_INPUT, "\"%.60s\" lacks the prefix of continued words", half[1]);
    axl_str_clear(joined);
    AXL_TRY(axl_str_append(joined, half[0], n[0]));
    AXL_TRY(axl_str_append(joined, half[1] + cut, n[1] - cut));
    new_id = axl_vocab_find(&t->vocab, joined->data, joined->len);
    AXL_REQUIRE(new_id >= 0, AXL_E_INPUT, "\"%.60s\" is not in model.vocab", joined->data);
    AXL_TRY(axl_pairmap_put(&t->bpe.merges, (uint64_t)id[0] << 32 | (uint32_t)id[1],
                            (uint64_t)rank << 32 | (uint32_t)new_id));
out:
    return status;
}

static axl_status read_merges(const axl_json *v, axl_tokenizer *t)
{
    axl_status status = AXL_OK;
    axl_str joined = {0};
    size_t n = axl_json_count(v);

    AXL_REQUIRE(axl_json_is(v, AXL_JSON_ARRAY), AXL_E_INPUT,
                "model.merges: %s; a BPE tokenizer needs its list of merges (convert the tokenizer "
                "again with a current version of its tools)",
                v == NULL ? "missing" : "must be an array");
    AXL_REQUIRE(n < INT32_MAX / 2, AXL_E_INPUT, "model.merges: too many");
    AXL_TRY(axl_pairmap_reserve(&t->bpe.merges, n + 1));
    for (size_t i = 0; i < n; i++)
        AXL_TRY_CTX(read_merge(axl_json_at(v, i), t, i, &joined), "model.merges[%zu]", i);
out:
    axl_str_fini(&joined);
    return status;
}

axl_status axl_bpe_parse(const axl_json *v, axl_tokenizer *t)
{
    axl_status status = AXL_OK;
    axl_bpe *b = &t->bpe;
    const axl_json *unk = axl_json_get(v, "unk_token");

    AXL_REQUIRE(axl_json_real(axl_json_get(v, "dropout"), 0) == 0.0, AXL_E_UNSUPPORTED,
                "model.dropout: random merges are not supported; set it to null");
    if (!b->filled)
        AXL_TRY(axl_vocab_parse(axl_json_get(v, "vocab"), &t->vocab));
    AXL_TRY(axl_str_puts(&b->prefix,
                         axl_json_string(axl_json_get(v, "continuing_subword_prefix"), "")));
    AXL_TRY(axl_str_puts(&b->suffix, axl_json_string(axl_json_get(v, "end_of_word_suffix"), "")));
    if (!b->filled)
        AXL_TRY(read_merges(axl_json_get(v, "merges"), t));
    b->fuse_unk = axl_json_bool(axl_json_get(v, "fuse_unk"), false);
    b->byte_fallback = axl_json_bool(axl_json_get(v, "byte_fallback"), false);
    b->ignore_merges = axl_json_bool(axl_json_get(v, "ignore_merges"), false);
    b->unk_id = -1;
    if (axl_json_is(unk, AXL_JSON_STRING)) {
        b->unk_id =
            axl_vocab_find(&t->vocab, axl_json_string(unk, ""), axl_json_string_length(unk));
        AXL_REQUIRE(b->unk_id >= 0, AXL_E_INPUT, "model.unk_token: \"%.60s\" is not in model.vocab",
                    axl_json_string(unk, ""));
    }
    axl_fallback_ids(&t->vocab, b->fallback_id);
out:
    return status;
}

// Byte-level text may stay bytes when nothing looks at the stand-ins: no prefix, suffix or fallback,
// and no unknown token (bytes without a token are dropped then).
axl_status axl_bpe_try_raw(axl_tokenizer *t, bool *raw)
{
    axl_status status = AXL_OK;
    axl_bpe *b = &t->bpe;
    bool all = true;

    *raw = false;
    if (b->prefix.len > 0 || b->suffix.len > 0 || b->byte_fallback)
        goto out;
    for (int i = 0; i < 256; i++) {
        char utf8[4];
        size_t n = axl_utf8_encode(axl_byte_level_char((unsigned char)i), utf8);
        b->byte_id[i] = axl_vocab_find(&t->vocab, utf8, n);
        all = all && b->byte_id[i] >= 0;
    }
    if (!all && b->unk_id >= 0)
        goto out;
    AXL_TRY(axl_calloc((size_t)t->vocab.size, sizeof *b->chars, "token lengths", &b->chars));
    for (int64_t id = 0; id < t->vocab.size; id++) {
        size_t n = 0, count = 0;
        const char *s = axl_vocab_text(&t->vocab, id, &n);
        for (size_t i = 0; i < n; i++)
            count += !axl_utf8_is_tail(s[i]);
        if (count > UINT16_MAX)
            goto out; // such a token has no place in the cache's lengths
        b->chars[id] = (uint16_t)count;
    }
    *raw = b->raw = true;
out:
    return status;
}
