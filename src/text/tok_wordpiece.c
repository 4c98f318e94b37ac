// WordPiece: the longest token at the start of the word, then the longest continuing one, and so on; a
// word with a rest that is no token is unknown as a whole. WordLevel: the word is the token.
#include "src/text/tokenizer_private.h"

#include <string.h>

static axl_status parse_unknown(const axl_json *v, axl_tokenizer *t, const char *otherwise)
{
    axl_status status = AXL_OK;
    axl_wordpiece *p = &t->wordpiece;

    AXL_TRY(axl_str_puts(&p->unk, axl_json_string(axl_json_get(v, "unk_token"), otherwise)));
    p->unk_id = axl_vocab_find(&t->vocab, p->unk.data, p->unk.len);
out:
    return status;
}

axl_status axl_wordpiece_parse(const axl_json *v, axl_tokenizer *t)
{
    axl_status status = AXL_OK;
    axl_wordpiece *p = &t->wordpiece;
    const char *prefix = axl_json_string(axl_json_get(v, "continuing_subword_prefix"), "##");
    size_t cut = strlen(prefix), n;

    AXL_TRY(axl_vocab_parse(axl_json_get(v, "vocab"), &t->vocab));
    AXL_TRY(parse_unknown(v, t, "[UNK]"));
    p->max_chars = axl_json_int(axl_json_get(v, "max_input_chars_per_word"), 100);
    for (int64_t id = 0; id < t->vocab.size; id++) {
        const char *s = axl_vocab_text(&t->vocab, id, &n);
        if (s == NULL || n == 0)
            continue;
        AXL_TRY(axl_trie_add(&t->trie, s, n, (int32_t)id));
        if (n > cut && memcmp(s, prefix, cut) == 0)
            AXL_TRY(axl_trie_add(&p->inner, s + cut, n - cut, (int32_t)id));
    }
out:
    return status;
}

axl_status axl_wordlevel_parse(const axl_json *v, axl_tokenizer *t)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_vocab_parse(axl_json_get(v, "vocab"), &t->vocab));
    AXL_TRY(parse_unknown(v, t, "<unk>"));
out:
    return status;
}

static axl_status put_unknown(const axl_tokenizer *t, const axl_tok_work *w, axl_span span,
                              axl_token_buffer *out)
{
    axl_status status = AXL_OK;

    AXL_REQUIRE(t->wordpiece.unk_id >= 0, AXL_E_INPUT,
                "the text has an unknown word, and model.unk_token \"%.60s\" is not in model.vocab",
                t->wordpiece.unk.data);
    AXL_TRY(axl_tokens_emit(out, t->wordpiece.unk_id, &w->pre, span.begin, span.end));
out:
    return status;
}

// The longest token of the trie at s[0 .. n); its length in *len, -1: none.
static int32_t longest(const axl_trie *trie, const char *s, size_t n, size_t *len)
{
    int32_t best = -1;
    int64_t node = 0;

    for (size_t i = 0; i < n && trie->n_nodes > 0; i++) {
        node = axl_trie_step(trie, node, (unsigned char)s[i]);
        if (node < 0)
            break;
        if (trie->value[node] >= 0) {
            best = trie->value[node];
            *len = i + 1;
        }
    }
    return best;
}

static axl_status run_word(const axl_tokenizer *t, const axl_tok_work *w, axl_span span,
                           axl_token_buffer *out)
{
    axl_status status = AXL_OK;
    const char *s = w->pre.s;
    size_t before = out->n, len = 0;
    int64_t chars = 0;

    for (size_t i = span.begin; i < span.end; i++)
        chars += !axl_utf8_is_tail(s[i]);
    for (size_t at = span.begin; at < span.end && chars <= t->wordpiece.max_chars; at += len) {
        const axl_trie *trie = at == span.begin ? &t->trie : &t->wordpiece.inner;
        int32_t id = longest(trie, s + at, span.end - at, &len);
        if (id < 0) {
            chars = INT64_MAX;
            break;
        }
        AXL_TRY(axl_tokens_emit(out, id, &w->pre, at, at + len));
    }
    if (chars > t->wordpiece.max_chars) {
        out->n = before;
        AXL_TRY(put_unknown(t, w, span, out));
    }
out:
    return status;
}

axl_status axl_wordpiece_run(const axl_tokenizer *t, axl_tok_work *w, axl_token_buffer *out)
{
    axl_status status = AXL_OK;

    for (size_t i = 0; i < w->spans.n; i++)
        AXL_TRY(run_word(t, w, w->spans.at[i], out));
out:
    return status;
}

axl_status axl_wordlevel_run(const axl_tokenizer *t, axl_tok_work *w, axl_token_buffer *out)
{
    axl_status status = AXL_OK;

    for (size_t i = 0; i < w->spans.n; i++) {
        axl_span span = w->spans.at[i];
        int32_t id = axl_vocab_find(&t->vocab, w->pre.s + span.begin, span.end - span.begin);
        if (id >= 0)
            AXL_TRY(axl_tokens_emit(out, id, &w->pre, span.begin, span.end));
        else
            AXL_TRY(put_unknown(t, w, span, out));
    }
out:
    return status;
}
