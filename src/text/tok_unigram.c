// Unigram: of all ways to cut a text into tokens the one with the highest sum of scores, found by one
// walk from left to right (Viterbi). Kudo 2018, arXiv:1804.10959.
#include "src/text/tokenizer_private.h"

#include "src/base/mem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static axl_status read_piece(const axl_json *v, axl_tokenizer *t, size_t id)
{
    axl_status status = AXL_OK;
    const axl_json *text = axl_json_at(v, 0), *score = axl_json_at(v, 1);
    axl_unigram *u = &t->unigram;

    AXL_REQUIRE(axl_json_count(v) == 2 && axl_json_is(text, AXL_JSON_STRING) &&
                    (axl_json_is(score, AXL_JSON_REAL) || axl_json_is(score, AXL_JSON_INT)),
                AXL_E_INPUT, "must be [token, score]");
    AXL_TRY(axl_vocab_add(&t->vocab, axl_json_string(text, ""), axl_json_string_length(text),
                          (int64_t)id));
    AXL_TRY(axl_trie_add(&t->trie, axl_json_string(text, ""), axl_json_string_length(text),
                         (int32_t)id));
    u->score[id] = axl_json_real(score, 0);
    if (u->score[id] < u->unk_score)
        u->unk_score = u->score[id];
out:
    return status;
}

axl_status axl_unigram_parse(const axl_json *v, axl_tokenizer *t)
{
    axl_status status = AXL_OK;
    axl_unigram *u = &t->unigram;
    const axl_json *vocab = axl_json_get(v, "vocab");
    size_t n = axl_json_count(vocab);

    AXL_REQUIRE(axl_json_is(vocab, AXL_JSON_ARRAY), AXL_E_INPUT,
                "model.vocab: must be an array of [token, score]");
    AXL_TRY(axl_calloc(n, sizeof *u->score, "token scores", &u->score));
    u->unk_score = (double)INFINITY;
    for (size_t i = 0; i < n; i++)
        AXL_TRY_CTX(read_piece(axl_json_at(vocab, i), t, i), "model.vocab[%zu]", i);
    u->unk_score -= AXL_UNK_PENALTY;
    int64_t unk = axl_json_int(axl_json_get(v, "unk_id"), -1);
    AXL_REQUIRE(unk < (int64_t)n, AXL_E_INPUT, "model.unk_id: %lld is not below %zu",
                (long long)unk, n);
    u->unk_id = unk < 0 ? -1 : (int32_t)unk;
    u->byte_fallback = axl_json_bool(axl_json_get(v, "byte_fallback"), false);
    axl_fallback_ids(&t->vocab, u->fallback_id);
out:
    return status;
}

static void reach(axl_unigram_node *node, double score, size_t from, int32_t id)
{
    if (node->from == UINT32_MAX || score > node->score)
        *node = (axl_unigram_node){score, id, (uint32_t)from};
}

// Fills nodes[0 .. n] with the best way to each place.
static axl_status find_best(const axl_tokenizer *t, const char *s, size_t n,
                            axl_unigram_node *nodes)
{
    axl_status status = AXL_OK;
    const axl_unigram *u = &t->unigram;
    size_t k;

    for (size_t i = 0; i <= n; i++)
        nodes[i] = (axl_unigram_node){0.0, -1, UINT32_MAX};
    for (size_t at = 0; at < n; at += k) {
        double score = nodes[at].score;
        bool single = false;
        int64_t node = 0;
        (void)axl_utf8_decode(s + at, &k);
        for (size_t i = at; i < n; i++) {
            node = axl_trie_step(&t->trie, node, (unsigned char)s[i]);
            if (node < 0)
                break;
            int32_t id = t->trie.value[node];
            if (id < 0)
                continue;
            reach(&nodes[i + 1], score + u->score[id], at, id);
            single = single || i + 1 - at == k;
        }
        if (!single) {
            AXL_REQUIRE(u->unk_id >= 0, AXL_E_INPUT,
                        "the text has a character that is no token, and the tokenizer has no "
                        "model.unk_id");
            reach(&nodes[at + k], score + u->unk_score, at, u->unk_id);
        }
    }
out:
    return status;
}

// Puts one piece: its token, else its bytes, else the unknown token.
static axl_status put_piece(const axl_tokenizer *t, const axl_tok_work *w, size_t begin, size_t end,
                            axl_token_buffer *out)
{
    axl_status status = AXL_OK;
    const axl_unigram *u = &t->unigram;
    const char *s = w->pre.s;
    int32_t id = axl_vocab_find(&t->vocab, s + begin, end - begin);
    bool bytes = id < 0 && u->byte_fallback;

    for (size_t i = begin; bytes && i < end; i++)
        bytes = u->fallback_id[(unsigned char)s[i]] >= 0;
    for (size_t i = begin; bytes && i < end; i++)
        AXL_TRY(axl_tokens_emit(out, u->fallback_id[(unsigned char)s[i]], &w->pre, begin, end));
    if (!bytes)
        AXL_TRY(axl_tokens_emit(out, id < 0 ? u->unk_id : id, &w->pre, begin, end));
out:
    return status;
}

static axl_status run_span(const axl_tokenizer *t, axl_tok_work *w, axl_span span,
                           axl_token_buffer *out)
{
    axl_status status = AXL_OK;
    const axl_unigram *u = &t->unigram;
    size_t n = span.end - span.begin, n_cuts = 0;

    AXL_TRY(axl_grow(&w->nodes, &w->nodes_capacity, n + 1, sizeof *w->nodes, "a text's cuts"));
    AXL_TRY(find_best(t, w->pre.s + span.begin, n, w->nodes));
    // The way back; a run of unknown characters is one piece. Its cuts go where nodes are done with.
    w->spare.n = 0;
    for (size_t end = n; end > 0; end = w->nodes[end].from) {
        size_t begin = w->nodes[end].from;
        bool unk = u->unk_id >= 0 && w->nodes[end].id == u->unk_id;
        bool after = n_cuts > 0 && w->spare.at[n_cuts - 1].begin == span.begin + end &&
                     w->nodes[w->spare.at[n_cuts - 1].end - span.begin].id == u->unk_id;
        if (unk && after) {
            w->spare.at[n_cuts - 1].begin = (uint32_t)(span.begin + begin);
            continue;
        }
        AXL_TRY(axl_spans_put(&w->spare, span.begin + begin, span.begin + end));
        n_cuts++;
    }
    while (n_cuts-- > 0)
        AXL_TRY(put_piece(t, w, w->spare.at[n_cuts].begin, w->spare.at[n_cuts].end, out));
out:
    return status;
}

axl_status axl_unigram_run(const axl_tokenizer *t, axl_tok_work *w, axl_token_buffer *out)
{
    axl_status status = AXL_OK;

    for (size_t i = 0; i < w->spans.n; i++)
        AXL_TRY(run_span(t, w, w->spans.at[i], out));
out:
    return status;
}
