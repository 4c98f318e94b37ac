// What readers of other files than tokenizer.json share: added tokens from the neighbours, merges made
// from a vocabulary, and the parts handed over as a small tokenizer.json.
#include "src/text/tok_source.h"

#include "src/base/mem.h"

#include <stdlib.h>
#include <string.h>

void axl_source_fini(axl_source *s)
{
    for (size_t i = 0; i < s->n_tokens; i++)
        free(s->tokens[i].text);
    free(s->tokens);
    axl_str_fini(&s->parts);
    *s = (axl_source){0};
}

const char *axl_source_text(const axl_source *s, const char *key)
{
    const axl_json *v = axl_json_get(s->config, key);
    const char *text = axl_json_string(v, NULL);
    return text != NULL ? text : axl_json_string(axl_json_get(v, "content"), NULL);
}

static int64_t next_id(const axl_source *s)
{
    int64_t next = s->t->vocab.size;
    for (size_t i = 0; i < s->n_tokens; i++)
        next = s->tokens[i].id >= next ? s->tokens[i].id + 1 : next;
    return next;
}

axl_status axl_source_add(axl_source *s, const char *text, size_t n, int64_t id, bool special)
{
    axl_status status = AXL_OK;
    axl_source_token fresh = {.n = n, .id = id, .normalized = !special, .special = special};
    size_t at = 0;

    if (n == 0)
        goto out;
    if (fresh.id < 0)
        fresh.id = axl_vocab_find(&s->t->vocab, text, n);
    while (at < s->n_tokens && (s->tokens[at].n != n || memcmp(s->tokens[at].text, text, n) != 0))
        at++;
    if (at < s->n_tokens) { // the later word counts, but for the id
        bool was = s->tokens[at].special;
        s->tokens[at].special = special || was;
        s->tokens[at].normalized = !s->tokens[at].special && s->tokens[at].normalized;
        goto out;
    }
    if (fresh.id < 0)
        fresh.id = next_id(s);
    AXL_TRY(axl_calloc(n + 1, 1, "an added token", &fresh.text));
    memcpy(fresh.text, text, n);
    AXL_TRY(
        axl_grow(&s->tokens, &s->tokens_capacity, s->n_tokens + 1, sizeof fresh, "added tokens"));
    s->tokens[s->n_tokens++] = fresh;
    fresh.text = NULL;
out:
    free(fresh.text);
    return status;
}

// "128000": {"content": ..., "lstrip": ...}
static axl_status add_decoded(axl_source *s, const char *key, const axl_json *v)
{
    axl_status status = AXL_OK;
    const axl_json *content = axl_json_get(v, "content");
    const char *text = axl_json_string(content, NULL);
    char *end = NULL;
    long long id = strtoll(key, &end, 10);

    AXL_REQUIRE(end != key && *end == '\0' && id >= 0 && id < AXL_TOK_MAX_ID && text != NULL,
                AXL_E_INPUT,
                "tokenizer_config.json: added_tokens_decoder[\"%.40s\"]: must be "
                "an id with an object that has a content",
                key);
    bool special = axl_json_bool(axl_json_get(v, "special"), false);
    size_t n = axl_json_string_length(content), had = s->n_tokens;
    int32_t known = axl_vocab_find(&s->t->vocab, text, n);
    if (id < s->t->vocab.size || known >= 0)
        id = known; // an id of the vocabulary belongs to its own text
    AXL_TRY(axl_source_add(s, text, n, id, special));
    axl_source_token *token = s->n_tokens > had ? &s->tokens[had] : NULL;
    for (size_t i = 0; token == NULL && i < s->n_tokens; i++)
        if (s->tokens[i].n == n && memcmp(s->tokens[i].text, text, n) == 0)
            token = &s->tokens[i];
    if (token == NULL)
        goto out;
    token->lstrip = axl_json_bool(axl_json_get(v, "lstrip"), false);
    token->rstrip = axl_json_bool(axl_json_get(v, "rstrip"), false);
    token->single_word = axl_json_bool(axl_json_get(v, "single_word"), false);
    token->normalized = axl_json_bool(axl_json_get(v, "normalized"), !special);
out:
    return status;
}

static axl_status add_named(axl_source *s)
{
    axl_status status = AXL_OK;
    static const char *const names[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                        "pad_token", "cls_token", "mask_token"};
    const char *defaults[] = {s->bos_text, s->eos_text, s->unk_text, NULL, s->pad_text, NULL, NULL};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const axl_json *said = axl_json_get(s->config, names[i]);
        const char *text = said != NULL ? axl_source_text(s, names[i]) : defaults[i];
        if (text != NULL)
            AXL_TRY(axl_source_add(s, text, strlen(text), -1, true));
    }
    const axl_json *more = axl_json_get(s->config, "additional_special_tokens");
    if (axl_json_get(s->config, "extra_special_tokens") != NULL)
        more = axl_json_get(s->config, "extra_special_tokens");
    for (size_t i = 0; axl_json_is(more, AXL_JSON_ARRAY) && i < axl_json_count(more); i++) {
        const axl_json *one = axl_json_at(more, i);
        const char *text =
            axl_json_string(one, axl_json_string(axl_json_get(one, "content"), NULL));
        if (text != NULL)
            AXL_TRY(axl_source_add(s, text, strlen(text), -1, true));
    }
out:
    return status;
}

axl_status axl_source_add_configured(axl_source *s)
{
    axl_status status = AXL_OK;
    axl_json *decoder = axl_json_get(s->config, "added_tokens_decoder");
    void *it = NULL;
    const char *key;
    axl_json *child;

    while (axl_json_is(decoder, AXL_JSON_OBJECT) && axl_json_next(decoder, &it, &key, &child))
        AXL_TRY(add_decoded(s, key, child));
    axl_json *extra = decoder == NULL ? (axl_json *)(uintptr_t)s->extra : NULL; // only read
    it = NULL;
    while (axl_json_is(extra, AXL_JSON_OBJECT) && axl_json_next(extra, &it, &key, &child)) {
        int64_t id = axl_json_int(child, -1);
        AXL_REQUIRE(id >= 0 && id < AXL_TOK_MAX_ID, AXL_E_INPUT,
                    "added_tokens.json: \"%.60s\": must be an id", key);
        AXL_TRY(axl_source_add(s, key, strlen(key), id, false));
    }
    AXL_TRY(add_named(s));
out:
    return status;
}

// ---- Handing over ----

static axl_status put_added(const axl_source_token *a, const char *comma, axl_str *out)
{
    axl_status status = AXL_OK;
    static const char *const words[] = {"false", "true"};

    AXL_TRY(axl_str_printf(out, "%s{\"id\":%lld,\"content\":", comma, (long long)a->id));
    AXL_TRY(axl_str_put_json(out, a->text, a->n));
    AXL_TRY(axl_str_printf(
        out, ",\"lstrip\":%s,\"rstrip\":%s,\"single_word\":%s,\"normalized\":%s,\"special\":%s}",
        words[a->lstrip], words[a->rstrip], words[a->single_word], words[a->normalized],
        words[a->special]));
out:
    return status;
}

static int64_t id_of(const axl_source *s, const char *text)
{
    for (size_t i = 0; i < s->n_tokens; i++)
        if (strcmp(s->tokens[i].text, text) == 0)
            return s->tokens[i].id;
    return axl_vocab_find(&s->t->vocab, text, strlen(text));
}

// BOS and EOS around the sequence.
static axl_status put_template(axl_source *s, axl_str *out)
{
    axl_status status = AXL_OK;
    bool has_bos = axl_json_get(s->config, "bos_token") != NULL;
    bool has_eos = axl_json_get(s->config, "eos_token") != NULL;
    const char *bos = has_bos ? axl_source_text(s, "bos_token") : s->bos_text;
    const char *eos = has_eos ? axl_source_text(s, "eos_token") : s->eos_text;
    const char *text[2] = {NULL, NULL};

    if (axl_json_bool(axl_json_get(s->config, "add_bos_token"), s->bos))
        text[0] = bos;
    if (axl_json_bool(axl_json_get(s->config, "add_eos_token"), s->eos))
        text[1] = eos;
    AXL_TRY(axl_str_puts(out, ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":["));
    for (int i = 0; i < 2; i++) {
        if (text[i] != NULL)
            AXL_TRY(
                axl_str_printf(out, "%s{\"SpecialToken\":{\"id\":\"%d\"}}", i == 0 ? "" : ",", i));
        if (i == 0)
            AXL_TRY(
                axl_str_printf(out, "%s{\"Sequence\":{\"id\":\"A\"}}", text[0] != NULL ? "," : ""));
    }
    AXL_TRY(axl_str_puts(out, "],\"special_tokens\":{"));
    for (int i = 0, n = 0; i < 2; i++)
        if (text[i] != NULL)
            AXL_TRY(axl_str_printf(out, "%s\"%d\":{\"ids\":[%lld]}", n++ == 0 ? "" : ",", i,
                                   (long long)id_of(s, text[i])));
    AXL_TRY(axl_str_puts(out, "}}"));
out:
    return status;
}

axl_status axl_source_finish(axl_source *s)
{
    axl_status status = AXL_OK;
    const char *const defaults[][2] = {{"bos_token", s->bos_text},
                                       {"eos_token", s->eos_text},
                                       {"pad_token", s->pad_text},
                                       {"unk_token", s->unk_text}};
    axl_json *v = NULL;
    axl_str text = {0};

    AXL_TRY(axl_str_putc(&text, '{'));
    AXL_TRY(axl_str_append(&text, s->parts.data, s->parts.len));
    AXL_TRY(put_template(s, &text));
    AXL_TRY(axl_str_puts(&text, ",\"added_tokens\":["));
    for (size_t i = 0; i < s->n_tokens; i++)
        AXL_TRY(put_added(&s->tokens[i], i == 0 ? "" : ",", &text));
    AXL_TRY(axl_str_puts(&text, "]}"));
    AXL_TRY(axl_json_parse(text.data, text.len, "its parts", &v));
    AXL_TRY(axl_tok_read_parts(v, s->t));
    for (int i = 0; i < 4; i++)
        if (defaults[i][1] != NULL && axl_json_get(s->config, defaults[i][0]) == NULL)
            AXL_TRY(axl_tok_put_special(s->t, defaults[i][0], defaults[i][1]));
out:
    axl_json_free(v);
    axl_str_fini(&text);
    return status;
}

// ---- Merges ----

axl_status axl_source_merges(axl_tokenizer *t, const int32_t *order, size_t n, const bool *may,
                             bool same_rank)
{
    axl_status status = AXL_OK;
    const axl_vocab *v = &t->vocab;
    uint32_t rank = 0;

    AXL_TRY(axl_pairmap_reserve(&t->bpe.merges, 2 * n + 1));
    for (size_t i = 0; i < n; i++, rank += same_rank) {
        size_t len = 0;
        const char *s = axl_vocab_text(v, order[i], &len);
        for (size_t cut = 1; cut < len; cut++) {
            if (axl_utf8_is_tail(s[cut]))
                continue;
            int32_t left = axl_vocab_find(v, s, cut);
            if (left < 0 || (may != NULL && !may[left]))
                continue;
            int32_t right = axl_vocab_find(v, s + cut, len - cut);
            if (right < 0 || (may != NULL && !may[right]))
                continue;
            AXL_TRY(axl_pairmap_put(&t->bpe.merges, (uint64_t)left << 32 | (uint32_t)right,
                                    (uint64_t)rank << 32 | (uint32_t)order[i]));
            rank += !same_rank;
        }
    }
out:
    return status;
}

axl_status axl_source_put_bytes(axl_source *s, const char *bytes, size_t n, int64_t id,
                                axl_str *spelled)
{
    axl_status status = AXL_OK;

    AXL_REQUIRE(n > 0, AXL_E_INPUT, "the token with id %lld is empty", (long long)id);
    axl_str_clear(spelled);
    for (size_t i = 0; i < n; i++)
        AXL_TRY(axl_str_put_utf8(spelled, axl_byte_level_char((unsigned char)bytes[i])));
    AXL_TRY(axl_vocab_add(&s->t->vocab, spelled->data, spelled->len, id));
out:
    return status;
}

axl_status axl_source_byte_model(axl_source *s, int64_t first, const char *pattern)
{
    axl_status status = AXL_OK;
    axl_tokenizer *t = s->t;
    size_t n = 0;
    int32_t *order = NULL;

    t->model = axl_tok_model_named("BPE");
    t->bpe.ignore_merges = true; // a whole word that is a token is that token
    t->bpe.unk_id = -1;
    AXL_TRY(axl_calloc((size_t)t->vocab.size, sizeof *order, "merges", &order));
    for (int64_t id = first; id < t->vocab.size; id++)
        if (t->vocab.at[id] != UINT32_MAX)
            order[n++] = (int32_t)id;
    AXL_TRY(axl_source_merges(t, order, n, NULL, true));
    AXL_TRY(axl_str_puts(&s->parts, "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{"
                                    "\"type\":\"Split\",\"pattern\":{\"Regex\":"));
    AXL_TRY(axl_str_put_json(&s->parts, pattern, strlen(pattern)));
    AXL_TRY(axl_str_puts(&s->parts, "},\"behavior\":\"Isolated\"},{\"type\":\"ByteLevel\","
                                    "\"add_prefix_space\":false,\"use_regex\":false}]},"
                                    "\"decoder\":{\"type\":\"ByteLevel\"}"));
out:
    free(order);
    return status;
}
