// Added tokens: found in the text before anything else, the longest at the leftmost place. Those with
// normalized: true are found in the normalized text, as their own normalized form.
#include "src/text/tokenizer_private.h"

#include "src/base/mem.h"

#include <stdlib.h>
#include <string.h>

void axl_added_set_fini(axl_added_set *s)
{
    axl_trie_fini(&s->trie);
}

static axl_status read_added(const axl_json *v, axl_tokenizer *t)
{
    axl_status status = AXL_OK;
    const axl_json *content = axl_json_get(v, "content"), *id = axl_json_get(v, "id");
    const char *text = axl_json_string(content, "");
    size_t n = axl_json_string_length(content);
    axl_added a = {0};

    AXL_REQUIRE(axl_json_is(content, AXL_JSON_STRING), AXL_E_INPUT, "content must be a string");
    AXL_REQUIRE(axl_json_is(id, AXL_JSON_INT), AXL_E_INPUT, "id must be an integer");
    if (n == 0)
        goto out;
    int32_t known = axl_vocab_find(&t->vocab, text, n);
    int64_t wanted = axl_json_int(id, -1);
    size_t n_other = 0;
    const char *other = axl_vocab_text(&t->vocab, wanted, &n_other);
    AXL_REQUIRE(known < 0 || known == wanted, AXL_E_INPUT,
                "\"%.60s\" has id %lld, in model.vocab it has %d", text, (long long)wanted, known);
    AXL_REQUIRE(other == NULL || known == wanted, AXL_E_INPUT,
                "\"%.60s\" has id %lld, which belongs to \"%.60s\" in model.vocab", text,
                (long long)wanted, other);
    AXL_TRY(axl_vocab_add(&t->added_vocab, text, n, wanted));
    a.id = (int32_t)wanted;
    a.single_word = axl_json_bool(axl_json_get(v, "single_word"), false);
    a.lstrip = axl_json_bool(axl_json_get(v, "lstrip"), false);
    a.rstrip = axl_json_bool(axl_json_get(v, "rstrip"), false);
    a.special = axl_json_bool(axl_json_get(v, "special"), false);
    a.normalized = axl_json_bool(axl_json_get(v, "normalized"), !a.special);
    AXL_TRY(axl_grow(&t->added, &t->added_capacity, t->n_added + 1, sizeof a, "added tokens"));
    t->added[t->n_added++] = a;
out:
    return status;
}

axl_status axl_added_parse(const axl_json *v, axl_tokenizer *t)
{
    axl_status status = AXL_OK;

    if (v == NULL || axl_json_is(v, AXL_JSON_NULL))
        goto out;
    AXL_REQUIRE(axl_json_is(v, AXL_JSON_ARRAY), AXL_E_INPUT, "added_tokens: must be an array");
    for (size_t i = 0; i < axl_json_count(v); i++)
        AXL_TRY_CTX(read_added(axl_json_at(v, i), t), "added_tokens[%zu]", i);
out:
    return status;
}

static axl_status add_pattern(axl_added_set *set, const char *s, size_t n, size_t index)
{
    axl_status status = AXL_OK;

    if (n == 0)
        goto out;
    AXL_TRY(axl_trie_add(&set->trie, s, n, (int32_t)index));
    set->first[(unsigned char)s[0]] = true;
    set->n_patterns++;
out:
    return status;
}

static axl_status keep_normal(axl_added *a, const char *s, size_t n)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_calloc(n + 1, 1, "an added token", &a->normal));
    memcpy(a->normal, s, n);
    a->n_normal = n;
out:
    return status;
}

axl_status axl_added_build(axl_tokenizer *t)
{
    axl_status status = AXL_OK;
    axl_tok_work w = {.t = t};

    AXL_TRY(
        axl_calloc((size_t)t->added_vocab.size, sizeof *t->added_at, "added tokens", &t->added_at));
    for (int64_t id = 0; id < t->added_vocab.size; id++)
        t->added_at[id] = -1;
    // Special ones first: of two with the same normalized form the first is found.
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < t->n_added; i++) {
            const axl_added *a = &t->added[i];
            size_t n = 0;
            const char *s = axl_vocab_text(&t->added_vocab, a->id, &n);
            if (a->special != (pass == 0))
                continue;
            t->added_at[a->id] = (int32_t)i;
            if (!a->normalized) {
                AXL_TRY(add_pattern(&t->raw_set, s, n, i));
                continue;
            }
            axl_text_view(&w.norm, s, n, NULL, NULL, 0, false);
            AXL_TRY(axl_normalize(t, &w));
            AXL_TRY(add_pattern(&t->normal_set, w.norm.s, w.norm.n, i));
            if (w.norm.n != n || memcmp(w.norm.s, s, n) != 0)
                AXL_TRY(keep_normal(&t->added[i], w.norm.s, w.norm.n));
        }
    }
out:
    axl_tok_work_fini(&w);
    return status;
}

// The longest pattern that begins at s[at], as an index into added, or -1.
static int32_t match_at(const axl_added_set *set, const char *s, size_t n, size_t at, size_t *end)
{
    int64_t node = 0;
    int32_t best = -1;

    for (size_t i = at; i < n; i++) {
        node = axl_trie_step(&set->trie, node, (unsigned char)s[i]);
        if (node < 0)
            break;
        if (set->trie.value[node] >= 0) {
            best = set->trie.value[node];
            *end = i + 1;
        }
    }
    return best;
}

static bool word_before(const char *s, size_t at)
{
    size_t i = at, k;
    if (at == 0)
        return false;
    do
        i--;
    while (i > 0 && axl_utf8_is_tail(s[i]));
    return axl_uni_is_word(axl_utf8_decode(s + i, &k));
}

static bool word_after(const char *s, size_t n, size_t at)
{
    size_t k;
    return at < n && axl_uni_is_word(axl_utf8_decode(s + at, &k));
}

static size_t spaces_before(const char *s, size_t at, size_t from)
{
    while (at > from) {
        size_t i = at - 1, k;
        while (i > from && axl_utf8_is_tail(s[i]))
            i--;
        if (!axl_uni_is_space(axl_utf8_decode(s + i, &k)))
            break;
        at = i;
    }
    return at;
}

static size_t spaces_after(const char *s, size_t n, size_t at)
{
    size_t k;
    while (at < n && axl_uni_is_space(axl_utf8_decode(s + at, &k)))
        at += k;
    return at;
}

void axl_added_next(const axl_tokenizer *t, const axl_added_set *set, const char *s, size_t n,
                    axl_added_state *state, axl_span *plain, axl_span *token, int32_t *index)
{
    size_t done = state->done;

    *index = -1;
    for (size_t at = set->n_patterns == 0 ? n : state->at; at < n; at++) {
        size_t end = 0;
        if (!set->first[(unsigned char)s[at]])
            continue;
        int32_t found = match_at(set, s, n, at, &end);
        if (found < 0)
            continue;
        const axl_added *a = &t->added[found];
        state->at = end;
        if (a->single_word && (word_before(s, at) || word_after(s, n, end))) {
            at = end - 1; // the search goes on behind it, as if it had been taken
            continue;
        }
        size_t begin = !a->lstrip ? at : at > done ? spaces_before(s, at, done) : done;
        if (a->rstrip)
            end = spaces_after(s, n, end);
        if (begin >= end) { // the token before took it with the white space behind it
            at = state->at - 1;
            continue;
        }
        *plain = (axl_span){(uint32_t)done, (uint32_t)(begin > done ? begin : done)};
        *token = (axl_span){(uint32_t)begin, (uint32_t)end};
        *index = found;
        state->done = end;
        return;
    }
    state->at = n;
    *plain = (axl_span){(uint32_t)(done < n ? done : n), (uint32_t)n};
    state->done = n;
}
