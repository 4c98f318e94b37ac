// The kinds of decoders besides ByteLevel. Each reads the list it is given and writes a new one.
#include "src/text/tokenizer_private.h"

#include <string.h>

typedef struct view {
    const char *s;
    size_t n;
} view;

static view token_at(const axl_tokens *t, size_t i)
{
    size_t begin = i == 0 ? 0 : t->end[i - 1];
    return (view){t->text.data == NULL ? "" : t->text.data + begin, t->end[i] - begin};
}

// Puts the new list in the place of the old.
static void exchange(axl_tokens *t, axl_tokens *fresh)
{
    axl_tokens old = *t;
    *t = *fresh;
    *fresh = old;
}

// Appends s with every `from` replaced by `to`.
static axl_status put_replaced(view s, const char *from, size_t n_from, const char *to, size_t n_to,
                               axl_str *out)
{
    axl_status status = AXL_OK;

    while (n_from > 0) {
        const char *hit = memmem(s.s, s.n, from, n_from);
        if (hit == NULL)
            break;
        size_t k = (size_t)(hit - s.s);
        AXL_TRY(axl_str_append(out, s.s, k));
        AXL_TRY(axl_str_append(out, to, n_to));
        s.s += k + n_from;
        s.n -= k + n_from;
    }
    AXL_TRY(axl_str_append(out, s.s, s.n));
out:
    return status;
}

// The English spacing rules of BERT's clean-up, one after the other, over out from byte `from` on.
static axl_status clean_up(axl_str *out, size_t from)
{
    axl_status status = AXL_OK;
    static const char *const rules[][2] = {
        {" .", "."},   {" ?", "?"},     {" !", "!"},     {" ,", ","},
        {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},   {" do not", " don't"},
        {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
    };
    axl_str next = {0};

    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        view all = {out->data + from, out->len - from};
        axl_str_clear(&next);
        AXL_TRY(put_replaced(all, rules[i][0], strlen(rules[i][0]), rules[i][1],
                             strlen(rules[i][1]), &next));
        out->len = from;
        AXL_TRY(axl_str_append(out, next.data, next.len));
    }
out:
    axl_str_fini(&next);
    return status;
}

axl_status axl_text_parse(const axl_json *v, const char *key, const char *otherwise, axl_str *out)
{
    const axl_json *text = axl_json_get(v, key);
    const char *s = axl_json_string(text, otherwise);
    return axl_str_append(
        out, s, text != NULL && s != otherwise ? axl_json_string_length(text) : strlen(otherwise));
}

// ---- WordPiece, BPE, CTC ----

axl_status axl_wordpiece_decoder_parse(const axl_json *v, const char *what, axl_step *s)
{
    (void)what;
    s->clean = axl_json_bool(axl_json_get(v, "cleanup"), true);
    return axl_text_parse(v, "prefix", "##", &s->content);
}

axl_status axl_wordpiece_decode(const axl_step *s, axl_tokens *t)
{
    axl_status status = AXL_OK;
    axl_tokens out = {0};

    for (size_t i = 0; i < t->n; i++) {
        view token = token_at(t, i);
        size_t from = out.text.len, cut = s->content.len;
        bool continues = token.n >= cut && memcmp(token.s, s->content.data, cut) == 0;
        if (i > 0 && continues)
            AXL_TRY(axl_str_append(&out.text, token.s + cut, token.n - cut));
        else {
            if (i > 0)
                AXL_TRY(axl_str_putc(&out.text, ' '));
            AXL_TRY(axl_str_append(&out.text, token.s, token.n));
        }
        if (s->clean && out.text.len > from)
            AXL_TRY(clean_up(&out.text, from));
        AXL_TRY(axl_tokens_end(&out));
    }
    exchange(t, &out);
out:
    axl_tokens_fini(&out);
    return status;
}

axl_status axl_bpe_decoder_parse(const axl_json *v, const char *what, axl_step *s)
{
    (void)what;
    return axl_text_parse(v, "suffix", "</w>", &s->content);
}

axl_status axl_bpe_decode(const axl_step *s, axl_tokens *t)
{
    axl_status status = AXL_OK;
    axl_tokens out = {0};

    for (size_t i = 0; i < t->n; i++) {
        AXL_TRY(put_replaced(token_at(t, i), s->content.data, s->content.len, " ",
                             i + 1 < t->n ? 1 : 0, &out.text));
        AXL_TRY(axl_tokens_end(&out));
    }
    exchange(t, &out);
out:
    axl_tokens_fini(&out);
    return status;
}

axl_status axl_ctc_parse(const axl_json *v, const char *what, axl_step *s)
{
    axl_status status = AXL_OK;

    (void)what;
    AXL_TRY(axl_text_parse(v, "pad_token", "<pad>", &s->content));
    AXL_TRY(axl_text_parse(v, "word_delimiter_token", "|", &s->extra));
    s->clean = axl_json_bool(axl_json_get(v, "cleanup"), true);
out:
    return status;
}

axl_status axl_ctc_decode(const axl_step *s, axl_tokens *t)
{
    axl_status status = AXL_OK;
    axl_tokens out = {0};
    axl_str one = {0};

    for (size_t i = 0; i < t->n; i++) {
        view token = token_at(t, i), before = i > 0 ? token_at(t, i - 1) : (view){"", 0};
        if (i > 0 && token.n == before.n && memcmp(token.s, before.s, token.n) == 0)
            continue; // a repetition
        size_t from = out.text.len;
        axl_str_clear(&one);
        AXL_TRY(put_replaced(token, s->content.data, s->content.len, "", 0, &one));
        if (one.len > 0 && s->clean) {
            AXL_TRY(clean_up(&one, 0));
            AXL_TRY(put_replaced((view){one.data, one.len}, s->extra.data, s->extra.len, " ", 1,
                                 &out.text));
        } else {
            AXL_TRY(axl_str_append(&out.text, one.data, one.len));
        }
        if (out.text.len > from) // nothing left is no text, not an empty one
            AXL_TRY(axl_tokens_end(&out));
    }
    exchange(t, &out);
out:
    axl_str_fini(&one);
    axl_tokens_fini(&out);
    return status;
}

// ---- sentencepiece ----

axl_status axl_metaspace_decode(const axl_step *s, axl_tokens *t)
{
    axl_status status = AXL_OK;
    axl_tokens out = {0};

    for (size_t i = 0; i < t->n; i++) {
        size_t space = i > 0 || s->prepend == AXL_PREPEND_NEVER ? 1 : 0;
        AXL_TRY(
            put_replaced(token_at(t, i), s->content.data, s->content.len, " ", space, &out.text));
        AXL_TRY(axl_tokens_end(&out));
    }
    exchange(t, &out);
out:
    axl_tokens_fini(&out);
    return status;
}

static int hex_digit(char c)
{
    const char *digits = "0123456789abcdef", *at = c == '\0' ? NULL : strchr(digits, c | 0x20);
    return at == NULL || (c < '0') ? -1 : (int)(at - digits);
}

// <0xNN>, or -1.
static int byte_of(view token)
{
    if (token.n != 6 || memcmp(token.s, "<0x", 3) != 0 || token.s[5] != '>')
        return -1;
    int high = token.s[3] == '+' ? 0 : hex_digit(token.s[3]), low = hex_digit(token.s[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

// Puts a run of bytes: as the text that they are, or a U+FFFD for each.
static axl_status put_bytes(axl_str *bytes, axl_tokens *out)
{
    axl_status status = AXL_OK;

    if (bytes->len == 0)
        goto out;
    bool valid = axl_utf8_invalid_at(bytes->data, bytes->len) == bytes->len;
    if (valid)
        AXL_TRY(axl_str_append(&out->text, bytes->data, bytes->len));
    for (size_t i = 0; !valid && i < bytes->len; i++) {
        AXL_TRY(axl_str_put_utf8(&out->text, 0xfffd));
        AXL_TRY(axl_tokens_end(out));
    }
    if (valid)
        AXL_TRY(axl_tokens_end(out));
    axl_str_clear(bytes);
out:
    return status;
}

axl_status axl_byte_fallback_decode(const axl_step *s, axl_tokens *t)
{
    axl_status status = AXL_OK;
    axl_tokens out = {0};
    axl_str bytes = {0};

    (void)s;
    for (size_t i = 0; i < t->n; i++) {
        view token = token_at(t, i);
        int byte = byte_of(token);
        if (byte >= 0) {
            AXL_TRY(axl_str_putc(&bytes, (char)byte));
            continue;
        }
        AXL_TRY(put_bytes(&bytes, &out));
        AXL_TRY(axl_str_append(&out.text, token.s, token.n));
        AXL_TRY(axl_tokens_end(&out));
    }
    AXL_TRY(put_bytes(&bytes, &out));
    exchange(t, &out);
out:
    axl_str_fini(&bytes);
    axl_tokens_fini(&out);
    return status;
}

axl_status axl_fuse_decode(const axl_step *s, axl_tokens *t)
{
    (void)s;
    t->n = 0;
    return axl_tokens_end(t);
}

axl_status axl_strip_decoder_parse(const axl_json *v, const char *what, axl_step *s)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_text_parse(v, "content", " ", &s->content));
    s->start = axl_json_int(axl_json_get(v, "start"), 0);
    s->stop = axl_json_int(axl_json_get(v, "stop"), 0);
    AXL_REQUIRE(s->start >= 0 && s->stop >= 0 && s->content.len > 0, AXL_E_INPUT,
                "%s: needs content, start and stop", what);
out:
    return status;
}

axl_status axl_strip_decode(const axl_step *s, axl_tokens *t)
{
    axl_status status = AXL_OK;
    axl_tokens out = {0};
    size_t k = s->content.len;

    for (size_t i = 0; i < t->n; i++) {
        view x = token_at(t, i);
        for (int64_t c = 0; c < s->start && x.n >= k && memcmp(x.s, s->content.data, k) == 0; c++)
            x = (view){x.s + k, x.n - k};
        for (int64_t c = 0;
             c < s->stop && x.n >= k && memcmp(x.s + x.n - k, s->content.data, k) == 0; c++)
            x.n -= k;
        AXL_TRY(axl_str_append(&out.text, x.s, x.n));
        AXL_TRY(axl_tokens_end(&out));
    }
    exchange(t, &out);
out:
    axl_tokens_fini(&out);
    return status;
}

axl_status axl_replace_decode(const axl_step *s, axl_tokens *t)
{
    axl_status status = AXL_OK;
    axl_tokens out = {0};
    axl_tok_work w = {0};

    for (size_t i = 0; i < t->n; i++) {
        view token = token_at(t, i);
        axl_match_state state = {0};
        axl_span match;
        size_t kept = 0;
        bool found = true;
        for (;;) {
            AXL_TRY(axl_pattern_next(&s->pattern, &w, token.s, token.n, &state, &match, &found));
            if (!found)
                break;
            AXL_TRY(axl_str_append(&out.text, token.s + kept, match.begin - kept));
            AXL_TRY(axl_str_append(&out.text, s->content.data, s->content.len));
            kept = match.end;
        }
        AXL_TRY(axl_str_append(&out.text, token.s + kept, token.n - kept));
        AXL_TRY(axl_tokens_end(&out));
    }
    exchange(t, &out);
out:
    axl_tok_work_fini(&w);
    axl_tokens_fini(&out);
    return status;
}
