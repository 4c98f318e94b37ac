// The tokenizer as a whole: reading tokenizer.json, and the walk of a text through its parts: added
// tokens, normalizers, added tokens again, pre-tokenizers, model, post-processors.
#include "src/text/tokenizer.h"

#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/text/tok_source.h"

#include <stdlib.h>
#include <string.h>

static const axl_tok_model_kind model_kinds[] = {
    {"BPE", axl_bpe_parse, axl_bpe_run},
    {"Unigram", axl_unigram_parse, axl_unigram_run},
    {"WordPiece", axl_wordpiece_parse, axl_wordpiece_run},
    {"WordLevel", axl_wordlevel_parse, axl_wordlevel_run},
};

// ---- Buffers ----

void axl_tok_work_fini(axl_tok_work *w)
{
    axl_text_fini(&w->norm);
    axl_text_fini(&w->pre);
    free(w->spans.at);
    free(w->spare.at);
    free(w->matches.at);
    free(w->is_match);
    free(w->symbols);
    free(w->changes);
    free(w->nodes);
    free(w->blanks);
    free(w->heap);
    free(w->cache);
    axl_str_fini(&w->scratch);
    axl_pattern_work_fini(w);
}

void axl_token_buffer_fini(axl_token_buffer *b)
{
    axl_tok_work *w = b->scratch;

    if (w != NULL)
        axl_tok_work_fini(w);
    free(w);
    free(b->ids);
    free(b->begin);
    free(b->end);
    *b = (axl_token_buffer){0};
}

axl_status axl_tok_work_get(const axl_tokenizer *t, axl_token_buffer *b, axl_tok_work **out)
{
    axl_status status = AXL_OK;
    axl_tok_work *w = b->scratch;

    if (w == NULL) {
        AXL_TRY(axl_calloc(1, sizeof *w, "a tokenizer's scratch", &w));
        b->scratch = w;
        AXL_TRY(axl_calloc(AXL_CACHE_SLOTS, sizeof *w->cache, "a word cache", &w->cache));
        w->owner = t->hash;
    }
    if (w->owner != t->hash) {
        memset(w->cache, 0, AXL_CACHE_SLOTS * sizeof *w->cache);
        w->owner = t->hash;
    }
    w->t = t;
    *out = w;
out:
    return status;
}

axl_status axl_tokens_reserve(axl_token_buffer *b, size_t n)
{
    axl_status status = AXL_OK;
    size_t need = b->n + n, ids = b->capacity, begin = b->begin == NULL ? 0 : b->capacity,
           end = b->end == NULL ? 0 : b->capacity;

    if (need <= b->capacity && (!b->want_offsets || b->begin != NULL))
        goto out;
    need = need < b->capacity ? b->capacity : need;
    AXL_TRY(axl_grow(&b->ids, &ids, need, sizeof *b->ids, "tokens"));
    if (b->want_offsets || b->begin != NULL) {
        AXL_TRY(axl_grow(&b->begin, &begin, ids, sizeof *b->begin, "token offsets"));
        AXL_TRY(axl_grow(&b->end, &end, ids, sizeof *b->end, "token offsets"));
    }
    b->capacity = ids;
out:
    return status;
}

axl_status axl_tokens_emit(axl_token_buffer *b, int32_t id, const axl_text *t, size_t begin,
                           size_t end)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_tokens_reserve(b, 1));
    b->ids[b->n] = id;
    if (b->want_offsets) {
        size_t last = end > begin ? end - 1 : begin;
        axl_span from = {(uint32_t)t->base, (uint32_t)t->base}, to = from;
        if (last < t->n) {
            from = axl_text_origin(t, begin);
            to = end > begin ? axl_text_origin(t, last) : (axl_span){from.begin, from.begin};
        }
        b->begin[b->n] = (int32_t)from.begin;
        b->end[b->n] = (int32_t)to.end;
    }
    b->n++;
out:
    return status;
}

// ---- Encoding ----

static int32_t count_spaces(const char *s, size_t from, size_t to)
{
    int32_t count = 0;
    for (size_t k; from < to && axl_uni_is_space(axl_utf8_decode(s + from, &k)); from += k)
        count++;
    return count;
}

// An added token found at span of text.
static axl_status emit_added(const axl_tokenizer *t, axl_tok_work *w, int32_t index,
                             const axl_text *text, axl_span span, axl_token_buffer *out)
{
    axl_status status = AXL_OK;
    const axl_added *a = &t->added[index];

    if (out->want_offsets && (a->lstrip || a->rstrip)) {
        AXL_TRY(axl_grow(&w->blanks, &w->blanks_capacity, w->n_blanks + 1, sizeof *w->blanks,
                         "added tokens"));
        size_t end = span.end; // behind the last character that is no space
        for (size_t i = end; i > span.begin; end = i) {
            do
                i--;
            while (i > span.begin && axl_utf8_is_tail(text->s[i]));
            if (count_spaces(text->s, i, end) == 0)
                break;
        }
        axl_added_blank blank = {.token = out->n};
        blank.leading = count_spaces(text->s, span.begin, span.end);
        blank.trailing = count_spaces(text->s, end, span.end);
        w->blanks[w->n_blanks++] = blank;
    }
    AXL_TRY(axl_tokens_emit(out, a->id, text, span.begin, span.end));
out:
    return status;
}

// Text between added tokens of the normalized text: span of w->norm.
static axl_status encode_plain(const axl_tokenizer *t, axl_tok_work *w, axl_span span,
                               axl_token_buffer *out)
{
    axl_status status = AXL_OK;

    if (span.begin == span.end)
        goto out;
    axl_text_slice(&w->pre, &w->norm, span.begin, span.end);
    w->spans.n = 0;
    AXL_TRY(axl_spans_put(&w->spans, 0, w->pre.n));
    for (size_t i = 0; i < t->pre.n; i++)
        AXL_TRY(t->pre.at[i].kind->split(&t->pre.at[i], w));
    AXL_TRY(t->model->run(t, w, out));
out:
    return status;
}

// Text between added tokens of the original: normalized here.
static axl_status encode_segment(const axl_tokenizer *t, axl_tok_work *w, const char *text,
                                 axl_span span, axl_token_buffer *out)
{
    axl_status status = AXL_OK;
    axl_added_state state = {0};
    axl_span plain, token;
    int32_t index;

    if (span.begin == span.end)
        goto out;
    axl_text_view(&w->norm, text + span.begin, span.end - span.begin, NULL, NULL, span.begin,
                  out->want_offsets || t->always_track);
    AXL_TRY(axl_normalize(t, w));
    do {
        axl_added_next(t, &t->normal_set, w->norm.s, w->norm.n, &state, &plain, &token, &index);
        AXL_TRY(encode_plain(t, w, plain, out));
        if (index >= 0)
            AXL_TRY(emit_added(t, w, index, &w->norm, token, out));
    } while (index >= 0);
out:
    return status;
}

// The bytes at the beginning of text that are ASCII, to a multiple of 8 unless all are.
static size_t ascii_prefix(const char *text, size_t n)
{
    size_t i = 0;
    uint64_t eight;

    for (; i + 8 <= n; i += 8) {
        memcpy(&eight, text + i, 8);
        if ((eight & 0x8080808080808080u) != 0)
            return i;
    }
    while (i < n && (text[i] & 0x80) == 0)
        i++;
    return i;
}

// Byte offsets to code points. They are the same as far as the text is ASCII; then they mostly rise, so a
// cursor walks the text along with them.
static void offsets_to_code_points(const char *text, size_t n, axl_token_buffer *b)
{
    size_t plain = ascii_prefix(text, n), byte = plain;
    int32_t cp = (int32_t)plain;

    for (size_t i = 0; i < 2 * b->n; i++) {
        int32_t *x = i % 2 == 0 ? &b->begin[i / 2] : &b->end[i / 2];
        size_t want = (size_t)*x < n ? (size_t)*x : n;

        if (want <= plain) {
            *x = (int32_t)want;
            continue;
        }
        for (; byte < want; byte++)
            cp += !axl_utf8_is_tail(text[byte]);
        while (byte > want) {
            byte--;
            cp -= !axl_utf8_is_tail(text[byte]);
        }
        *x = cp;
    }
}

void axl_token_buffer_to_bytes(axl_token_buffer *b, const char *text, size_t n)
{
    size_t byte = 0;
    int32_t cp = 0;

    for (size_t i = 0; b->begin != NULL && i < 2 * b->n; i++) {
        int32_t *x = i % 2 == 0 ? &b->begin[i / 2] : &b->end[i / 2];
        if (*x < 0)
            continue; // a token that was added around the text
        while (cp < *x && byte < n) {
            byte += axl_utf8_length(text[byte]);
            cp++;
        }
        while (cp > *x) {
            do
                byte--;
            while (axl_utf8_is_tail(text[byte]));
            cp--;
        }
        *x = (int32_t)byte;
    }
}

axl_status axl_tokenizer_encode(const axl_tokenizer *t, const char *text, size_t n,
                                bool add_special, axl_token_buffer *out)
{
    axl_status status = AXL_OK;
    axl_tok_work *w = NULL;
    axl_text whole = {0};
    axl_added_state state = {0};
    axl_span plain, token;
    int32_t index;

    out->n = 0;
    AXL_REQUIRE(n <= AXL_TOK_MAX_TEXT, AXL_E_INPUT,
                "a text of %zu bytes is longer than 1 GiB; split it", n);
    size_t bad = axl_utf8_invalid_at(text, n);
    AXL_REQUIRE(bad == n, AXL_E_INPUT, "the text is not UTF-8 at byte %zu", bad);
    AXL_TRY(axl_tok_work_get(t, out, &w));
    w->n_blanks = 0;
    AXL_TRY(axl_tokens_reserve(out, n / 4 + 16));
    axl_text_view(&whole, text, n, NULL, NULL, 0, false);
    do {
        axl_added_next(t, &t->raw_set, text, n, &state, &plain, &token, &index);
        AXL_TRY(encode_segment(t, w, text, plain, out));
        if (index >= 0)
            AXL_TRY(emit_added(t, w, index, &whole, token, out));
    } while (index >= 0);
    if (out->want_offsets)
        offsets_to_code_points(text, n, out);
    AXL_TRY(axl_post_process(t, w, add_special, out));
out:
    return status;
}

// ---- Loading ----

const axl_tok_model_kind *axl_tok_model_named(const char *name)
{
    for (size_t i = 0; i < sizeof model_kinds / sizeof *model_kinds; i++)
        if (strcmp(model_kinds[i].name, name) == 0)
            return &model_kinds[i];
    return NULL;
}

static axl_status parse_model(const axl_json *v, axl_tokenizer *t)
{
    axl_status status = AXL_OK;
    const char *type = axl_json_string(axl_json_get(v, "type"), NULL);

    AXL_REQUIRE(axl_json_is(v, AXL_JSON_OBJECT), AXL_E_INPUT, "model: %s",
                v == NULL ? "missing" : "must be an object");
    if (type == NULL && axl_json_get(v, "merges") != NULL)
        type = "BPE"; // files of old versions do not say it
    AXL_REQUIRE(type != NULL, AXL_E_INPUT, "model.type: missing");
    t->model = axl_tok_model_named(type);
    AXL_REQUIRE(t->model != NULL, AXL_E_INPUT,
                "model.type: \"%.60s\" is not known; known are BPE, Unigram, WordPiece, WordLevel",
                type);
    AXL_TRY(t->model->parse(v, t));
out:
    return status;
}

// What follows from the parts taken together: the table that scanners read (a millisecond to fill),
// and whether origins are asked for while encoding.
static axl_status prepare_steps(axl_tokenizer *t)
{
    axl_status status = AXL_OK;
    bool scans = false;

    for (size_t i = 0; i < t->pre.n; i++) {
        const axl_step *s = &t->pre.at[i];
        scans = scans || s->use_regex || s->pattern.kind == AXL_PATTERN_SCAN;
        if (s->prepend == AXL_PREPEND_FIRST && (t->normalizers.n > 0 || i > 0))
            t->always_track = true;
    }
    if (scans) {
        AXL_TRY(axl_calloc(AXL_CLASS_TABLE, 1, "character classes", &t->classes));
        axl_uni_fill_classes(t->classes);
    }
out:
    return status;
}

axl_status axl_tok_read_parts(const axl_json *v, axl_tokenizer *t)
{
    axl_status status = AXL_OK;
    bool raw = false;

    AXL_TRY(axl_steps_parse(axl_json_get(v, "normalizer"), "normalizer", "normalizers",
                            axl_normalizer_kinds, axl_n_normalizer_kinds, &t->normalizers));
    AXL_TRY(axl_steps_parse(axl_json_get(v, "pre_tokenizer"), "pre_tokenizer", "pretokenizers",
                            axl_pre_kinds, axl_n_pre_kinds, &t->pre));
    AXL_TRY(axl_steps_parse(axl_json_get(v, "post_processor"), "post_processor", "processors",
                            axl_post_kinds, axl_n_post_kinds, &t->post));
    AXL_TRY(axl_steps_parse(axl_json_get(v, "decoder"), "decoder", "decoders", axl_decoder_kinds,
                            axl_n_decoder_kinds, &t->decoders));
    AXL_TRY(prepare_steps(t));
    AXL_TRY(axl_added_parse(axl_json_get(v, "added_tokens"), t));
    AXL_TRY(axl_added_build(t));
    if (t->pre.n > 0 && strcmp(t->pre.at[t->pre.n - 1].kind->name, "ByteLevel") == 0 &&
        strcmp(t->model->name, "BPE") == 0) {
        AXL_TRY(axl_bpe_try_raw(t, &raw));
        t->pre.at[t->pre.n - 1].raw = raw;
    }
    AXL_REQUIRE(axl_tokenizer_size(t) > 0, AXL_E_INPUT, "model.vocab: there are no tokens");
out:
    return status;
}

static axl_status parse_tokenizer(const axl_json *v, axl_tokenizer *t)
{
    axl_status status = AXL_OK;

    AXL_REQUIRE(axl_json_is(v, AXL_JSON_OBJECT), AXL_E_INPUT, "must be an object");
    AXL_TRY(parse_model(axl_json_get(v, "model"), t));
    AXL_TRY(axl_tok_read_parts(v, t));
out:
    return status;
}

axl_status axl_tokenizer_parse(const char *json, size_t n, axl_tokenizer **out)
{
    axl_status status = AXL_OK;
    axl_tokenizer *t = NULL;
    axl_json *v = NULL;
    axl_str rest = {0};

    AXL_TRY(axl_calloc(1, sizeof *t, "a tokenizer", &t));
    AXL_TRY(axl_tok_fast_parse(json, n, t, &rest));
    AXL_TRY(axl_json_parse(rest.len > 0 ? rest.data : json, rest.len > 0 ? rest.len : n,
                           "tokenizer.json", &v));
    t->hash = axl_hash64(json, n, 0);
    AXL_TRY_CTX(parse_tokenizer(v, t), "tokenizer.json");
    *out = t;
    t = NULL;
out:
    axl_json_free(v);
    axl_str_fini(&rest);
    axl_tokenizer_destroy(t);
    return status;
}

void axl_tokenizer_destroy(axl_tokenizer *t)
{
    if (t == NULL)
        return;
    axl_vocab_fini(&t->vocab);
    axl_vocab_fini(&t->added_vocab);
    for (size_t i = 0; i < t->n_added; i++)
        free(t->added[i].normal);
    free(t->added);
    free(t->added_at);
    axl_added_set_fini(&t->raw_set);
    axl_added_set_fini(&t->normal_set);
    axl_steps_fini(&t->normalizers);
    axl_steps_fini(&t->pre);
    axl_steps_fini(&t->post);
    axl_steps_fini(&t->decoders);
    axl_bpe_fini(&t->bpe);
    free(t->unigram.score);
    axl_trie_fini(&t->trie);
    axl_trie_fini(&t->wordpiece.inner);
    axl_str_fini(&t->wordpiece.unk);
    free(t->classes);
    for (size_t i = 0; i < t->n_special; i++) {
        free(t->special[i].name);
        free(t->special[i].text);
    }
    free(t->special);
    free(t->chat_template);
    free(t);
}

// ---- Questions ----

const char *axl_tokenizer_token(const axl_tokenizer *t, int32_t id)
{
    size_t n;
    const char *s = axl_vocab_text(&t->added_vocab, id, &n);
    return s != NULL ? s : axl_vocab_text(&t->vocab, id, &n);
}

int32_t axl_tokenizer_id(const axl_tokenizer *t, const char *token)
{
    int32_t id = axl_vocab_find(&t->added_vocab, token, strlen(token));
    return id >= 0 ? id : axl_vocab_find(&t->vocab, token, strlen(token));
}

bool axl_tokenizer_is_special(const axl_tokenizer *t, int32_t id)
{
    return id >= 0 && id < t->added_vocab.size && t->added_at[id] >= 0 &&
           t->added[t->added_at[id]].special;
}

int64_t axl_tokenizer_size(const axl_tokenizer *t)
{
    return t->vocab.size > t->added_vocab.size ? t->vocab.size : t->added_vocab.size;
}

const char *axl_tokenizer_special(const axl_tokenizer *t, const char *name)
{
    for (size_t i = 0; i < t->n_special; i++)
        if (strcmp(t->special[i].name, name) == 0)
            return t->special[i].text;
    return NULL;
}

int32_t axl_tokenizer_special_id(const axl_tokenizer *t, const char *name)
{
    const char *text = axl_tokenizer_special(t, name);
    return text == NULL ? -1 : axl_tokenizer_id(t, text);
}

axl_status axl_tokenizer_set_special(axl_tokenizer *t, const char *name, const char *token)
{
    axl_status status = AXL_OK;

    AXL_REQUIRE(
        axl_tokenizer_id(t, token) >= 0, AXL_E_CONFIG,
        "special_tokens.%s: \"%.60s\" is not a token of this tokenizer; add it under tokens", name,
        token);
    AXL_TRY(axl_tok_put_special(t, name, token));
    t->hash = axl_hash64(token, strlen(token), axl_hash64(name, strlen(name), t->hash));
out:
    return status;
}

const char *axl_tokenizer_chat_template(const axl_tokenizer *t)
{
    return t->chat_template;
}

uint64_t axl_tokenizer_hash(const axl_tokenizer *t)
{
    return t->hash;
}
