// tokenizer.model of sentencepiece. What is hard is not the model but what stands around it: the same file
// gives other ids by the class that tokenizer_config.json names, because each class has its own rules for
// spaces. A row a class; without a known class the model's own normalizer_spec counts.
#include "src/text/tok_source.h"

#include "src/base/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPACE "\\u2581" // as JSON

typedef struct spm_class {
    const char *name;
    axl_status (*parts)(axl_source *s, const axl_spm *m);
    int64_t model_type;                // 0: as the model says
    const char *bos, *eos, *pad, *unk; // NULL: as the model says
} spm_class;

static const char bpe_decoder[] = "{\"type\":\"Replace\",\"pattern\":{\"String\":\"" SPACE
                                  "\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},"
                                  "{\"type\":\"Fuse\"}";
static const char plain_decoder[] = "{\"type\":\"Replace\",\"pattern\":{\"String\":\"" SPACE
                                    "\"},\"content\":\" \"},{\"type\":\"Fuse\"}";
static const char strip_one[] = ",{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}";

static axl_status put_metaspace(axl_source *s, const char *scheme, bool split)
{
    return axl_str_printf(&s->parts,
                          "{\"type\":\"Metaspace\",\"replacement\":\"" SPACE
                          "\",\"prepend_scheme\":\"%s\",\"split\":%s}",
                          scheme, split ? "true" : "false");
}

static bool is_legacy(const axl_source *s, bool otherwise)
{
    if (s->legacy >= 0)
        return s->legacy != 0;
    return axl_json_bool(axl_json_get(s->config, "legacy"), otherwise);
}

static axl_status llama_parts(axl_source *s, const axl_spm *m)
{
    axl_status status = AXL_OK;
    bool prefix = axl_json_bool(axl_json_get(s->config, "add_prefix_space"), true);
    const char *scheme = !prefix ? "never" : is_legacy(s, false) ? "always" : "first";

    (void)m;
    AXL_TRY(axl_str_puts(&s->parts, "\"pre_tokenizer\":"));
    AXL_TRY(put_metaspace(s, scheme, false));
    AXL_TRY(axl_str_printf(&s->parts, ",\"decoder\":{\"type\":\"Sequence\",\"decoders\":[%s%s]}",
                           bpe_decoder, prefix ? strip_one : ""));
out:
    return status;
}

static axl_status gemma_parts(axl_source *s, const axl_spm *m)
{
    (void)m;
    return axl_str_printf(&s->parts,
                          "\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},"
                          "\"content\":\"" SPACE "\"},\"pre_tokenizer\":{\"type\":\"Split\","
                          "\"pattern\":{\"String\":\" \"},\"behavior\":\"MergedWithPrevious\"},"
                          "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[%s]}",
                          bpe_decoder);
}

static axl_status put_charsmap(axl_source *s, const axl_spm *m)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_str_puts(&s->parts, "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\""));
    AXL_TRY(axl_base64_encode(m->charsmap, m->n_charsmap, &s->parts));
    AXL_TRY(axl_str_puts(&s->parts, "\"}"));
out:
    return status;
}

static axl_status t5_parts(axl_source *s, const axl_spm *m)
{
    axl_status status = AXL_OK;

    if (m->n_charsmap > 0) {
        AXL_TRY(axl_str_puts(&s->parts, "\"normalizer\":"));
        AXL_TRY(put_charsmap(s, m));
        AXL_TRY(axl_str_putc(&s->parts, ','));
    }
    AXL_TRY(axl_str_puts(&s->parts, "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":["
                                    "{\"type\":\"WhitespaceSplit\"},"));
    AXL_TRY(put_metaspace(s, "always", true));
    AXL_TRY(axl_str_puts(&s->parts, "]},\"decoder\":"));
    AXL_TRY(put_metaspace(s, "always", true));
out:
    return status;
}

// The model's own normalizer_spec, in sentencepiece's order.
static axl_status put_own_normalizer(axl_source *s, const axl_spm *m, bool legacy)
{
    axl_status status = AXL_OK;
    static const char rule[] = "%s{\"type\":\"Replace\",\"pattern\":{\"%s\":\"%s\"},"
                               "\"content\":\"%s\"}";
    const char *comma = "";

    AXL_TRY(axl_str_puts(&s->parts, "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":["));
    if (m->n_charsmap > 0) {
        AXL_TRY(put_charsmap(s, m));
        comma = ",";
    }
    if (m->remove_spaces) {
        AXL_TRY(axl_str_printf(&s->parts, rule, comma, "Regex", "\\\\A +| +\\\\z", ""));
        AXL_TRY(axl_str_printf(&s->parts, rule, ",", "Regex", " {2,}", " "));
        comma = ",";
    }
    if (m->escape_spaces) {
        AXL_TRY(axl_str_printf(&s->parts, rule, comma, "String", " ", SPACE));
        comma = ",";
    }
    // Metaspace puts no prefix before a text that begins with the mark; sentencepiece does.
    if (m->dummy_prefix && legacy)
        AXL_TRY(axl_str_printf(&s->parts, rule, comma, "Regex", "\\\\A" SPACE, SPACE SPACE));
    AXL_TRY(axl_str_puts(&s->parts, "]}"));
out:
    return status;
}

static int compare_longer_first(const void *a, const void *b)
{
    const axl_spm_piece *x = *(const axl_spm_piece *const *)a,
                        *y = *(const axl_spm_piece *const *)b;
    if (x->n != y->n)
        return x->n < y->n ? 1 : -1;
    return x < y ? -1 : x > y;
}

// User-defined pieces are never merged with what stands beside them: a split at each of them.
static axl_status put_user_split(axl_source *s, const axl_spm *m, const char *comma)
{
    axl_status status = AXL_OK;
    const axl_spm_piece **list = NULL;
    axl_str re = {0};
    size_t n = 0;

    AXL_TRY(axl_calloc(m->n_pieces, sizeof *list, "user-defined pieces", &list));
    for (size_t i = 0; i < m->n_pieces; i++)
        if (m->pieces[i].type == AXL_SPM_USER)
            list[n++] = &m->pieces[i];
    if (n == 0)
        goto out;
    qsort(list, n, sizeof *list, compare_longer_first);
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            AXL_TRY(axl_str_putc(&re, '|'));
        for (size_t k = 0; k < list[i]->n; k++) {
            unsigned char c = (unsigned char)list[i]->text[k];
            bool plain = c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                         (c >= 'A' && c <= 'Z') || c == '_';
            AXL_TRY(plain ? axl_str_putc(&re, (char)c) : axl_str_printf(&re, "\\x{%02x}", c));
        }
    }
    AXL_TRY(axl_str_printf(&s->parts, "%s{\"type\":\"Split\",\"pattern\":{\"Regex\":", comma));
    AXL_TRY(axl_str_put_json(&s->parts, re.data, re.len));
    AXL_TRY(axl_str_puts(&s->parts, "},\"behavior\":\"Isolated\"}"));
    s->t->bpe.ignore_merges = true; // so that the piece stays whole
out:
    free(list);
    axl_str_fini(&re);
    return status;
}

static axl_status own_parts(axl_source *s, const axl_spm *m)
{
    axl_status status = AXL_OK;
    bool legacy = is_legacy(s, true);

    AXL_TRY(put_own_normalizer(s, m, legacy));
    AXL_TRY(
        axl_str_puts(&s->parts, ",\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":["));
    if (m->dummy_prefix)
        AXL_TRY(put_metaspace(s, legacy ? "always" : "first", false));
    AXL_TRY(put_user_split(s, m, m->dummy_prefix ? "," : ""));
    AXL_TRY(axl_str_printf(&s->parts, "]},\"decoder\":{\"type\":\"Sequence\",\"decoders\":[%s%s]}",
                           m->byte_fallback ? bpe_decoder : plain_decoder,
                           m->dummy_prefix ? strip_one : ""));
out:
    return status;
}

static const spm_class own_class = {.name = "", .parts = own_parts};
static const spm_class classes[] = {
    {"LlamaTokenizer", llama_parts, 2, "<s>", "</s>", NULL, "<unk>"},
    {"CodeLlamaTokenizer", llama_parts, 2, "<s>", "</s>", NULL, "<unk>"},
    {"Phi3Tokenizer", llama_parts, 2, "<s>", "</s>", NULL, "<unk>"},
    {"GemmaTokenizer", gemma_parts, 2, "<bos>", "<eos>", "<pad>", "<unk>"},
    {"T5Tokenizer", t5_parts, 1, NULL, "</s>", "<pad>", "<unk>"},
};

// Classes that number their pieces in a way of their own.
static const char *const refused[] = {
    "AlbertTokenizer",    "BarthezTokenizer", "BigBirdTokenizer",     "CamembertTokenizer",
    "DebertaV2Tokenizer", "FNetTokenizer",    "MBart50Tokenizer",     "MBartTokenizer",
    "NllbTokenizer",      "PegasusTokenizer", "ReformerTokenizer",    "RemBertTokenizer",
    "UdopTokenizer",      "XGLMTokenizer",    "XLMRobertaTokenizer",  "XLNetTokenizer",
    "M2M100Tokenizer",    "MarianTokenizer",  "SeamlessM4TTokenizer", "ErnieMTokenizer",
};

static axl_status find_class(const axl_source *s, const spm_class **out)
{
    axl_status status = AXL_OK;
    const char *name = axl_json_string(axl_json_get(s->config, "tokenizer_class"), "");
    size_t n = strlen(name);

    if (n > 4 && strcmp(name + n - 4, "Fast") == 0)
        n -= 4;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        AXL_REQUIRE(strlen(refused[i]) != n || memcmp(refused[i], name, n) != 0, AXL_E_UNSUPPORTED,
                    "a %s numbers its pieces in a way of its own; convert it to a "
                    "tokenizer.json with its own tools",
                    refused[i]);
    *out = &own_class;
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (strlen(classes[i].name) == n && memcmp(classes[i].name, name, n) == 0)
            *out = &classes[i];
out:
    return status;
}

// ---- Vocabulary ----

// added_tokens_decoder may give a piece another name (placeholders that a fine-tune put to use). Only a
// BPE model without a class reads it so; elsewhere the name becomes a token of its own.
static const axl_json *new_name(const axl_source *s, const axl_spm *m, size_t id)
{
    char key[24];
    const axl_json *decoder = axl_json_get(s->config, "added_tokens_decoder");

    if (decoder == NULL)
        return NULL;
    (void)snprintf(key, sizeof key, "%zu", id);
    const axl_json *name = axl_json_get(axl_json_get(decoder, key), "content");
    const char *text = axl_json_string(name, "");
    size_t n = axl_json_string_length(name);
    if (n == 0 || (n == m->pieces[id].n && memcmp(text, m->pieces[id].text, n) == 0))
        return NULL;
    for (size_t i = 0; i < m->n_pieces; i++)
        if (m->pieces[i].n == n && memcmp(m->pieces[i].text, text, n) == 0)
            return NULL;
    return name;
}

static axl_status fill_vocab(axl_source *s, const axl_spm *m, bool rename)
{
    axl_status status = AXL_OK;

    for (size_t i = 0; i < m->n_pieces; i++) {
        const axl_json *name = rename ? new_name(s, m, i) : NULL;
        const char *text = name != NULL ? axl_json_string(name, "") : m->pieces[i].text;
        size_t n = name != NULL ? axl_json_string_length(name) : m->pieces[i].n;
        AXL_TRY_CTX(axl_vocab_add(&s->t->vocab, text, n, (int64_t)i),
                    "piece %zu of the sentencepiece model", i);
    }
out:
    return status;
}

static axl_status fill_unigram(axl_source *s, const axl_spm *m)
{
    axl_status status = AXL_OK;
    axl_tokenizer *t = s->t;
    axl_unigram *u = &t->unigram;

    AXL_TRY(axl_calloc((size_t)t->vocab.size, sizeof *u->score, "token scores", &u->score));
    u->unk_score = (double)INFINITY;
    for (int64_t id = 0; id < t->vocab.size; id++) {
        size_t n = 0;
        const char *text = axl_vocab_text(&t->vocab, id, &n);
        u->score[id] = (size_t)id < m->n_pieces ? (double)m->pieces[id].score : 0.0;
        u->unk_score = u->score[id] < u->unk_score ? u->score[id] : u->unk_score;
        AXL_TRY(axl_trie_add(&t->trie, text, n, (int32_t)id));
    }
    u->unk_score -= AXL_UNK_PENALTY;
    u->unk_id = m->unk_id >= 0 && m->unk_id < t->vocab.size ? (int32_t)m->unk_id : -1;
    u->byte_fallback = m->byte_fallback;
    axl_fallback_ids(&t->vocab, u->fallback_id);
    t->model = axl_tok_model_named("Unigram");
out:
    return status;
}

typedef struct ranked {
    float score;
    int32_t id;
} ranked;

static int compare_ranked(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return x->id < y->id ? -1 : x->id > y->id;
}

// Named classes rank merges by id and let every piece take part; the model's own rule is by score, and
// only normal pieces are merged.
static axl_status fill_bpe(axl_source *s, const axl_spm *m, bool by_score)
{
    axl_status status = AXL_OK;
    axl_bpe *b = &s->t->bpe;
    ranked *list = NULL;
    int32_t *order = NULL;
    bool *may = NULL;
    size_t n = 0;

    AXL_TRY(axl_calloc(m->n_pieces, sizeof *list, "merges", &list));
    AXL_TRY(axl_calloc(m->n_pieces, sizeof *order, "merges", &order));
    AXL_TRY(axl_calloc(m->n_pieces, sizeof *may, "merges", &may));
    for (size_t i = 0; i < m->n_pieces; i++) {
        may[i] = !by_score || m->pieces[i].type == AXL_SPM_NORMAL;
        if (may[i])
            list[n++] = (ranked){by_score ? m->pieces[i].score : 0.0f, (int32_t)i};
    }
    qsort(list, n, sizeof *list, compare_ranked);
    for (size_t i = 0; i < n; i++)
        order[i] = list[i].id;
    AXL_TRY(axl_source_merges(s->t, order, n, may, false));
    b->fuse_unk = true;
    b->byte_fallback = m->byte_fallback || !by_score;
    b->unk_id = m->unk_id >= 0 && (size_t)m->unk_id < m->n_pieces ? (int32_t)m->unk_id : -1;
    axl_fallback_ids(&s->t->vocab, b->fallback_id);
    s->t->model = axl_tok_model_named("BPE");
out:
    free(list);
    free(order);
    free(may);
    return status;
}

// The text of a piece as the vocabulary keeps it, or NULL.
static const char *piece_text(const axl_source *s, const axl_spm *m, int64_t id)
{
    size_t n = 0;
    return id >= 0 && (size_t)id < m->n_pieces ? axl_vocab_text(&s->t->vocab, id, &n) : NULL;
}

static axl_status add_pieces(axl_source *s, const axl_spm *m, bool users)
{
    axl_status status = AXL_OK;

    for (size_t i = 0; i < m->n_pieces; i++) {
        const char *text = piece_text(s, m, (int64_t)i);
        if (m->pieces[i].type != AXL_SPM_CONTROL && !(users && m->pieces[i].type == AXL_SPM_USER))
            continue;
        size_t had = s->n_tokens;
        AXL_TRY(axl_source_add(s, text, strlen(text), (int64_t)i,
                               m->pieces[i].type == AXL_SPM_CONTROL));
        if (s->n_tokens > had)
            s->tokens[had].normalized = false;
    }
out:
    return status;
}

static axl_status extra_ids(axl_source *s)
{
    axl_status status = AXL_OK;
    int64_t n = axl_json_int(axl_json_get(s->config, "extra_ids"), 100), first = s->t->vocab.size;
    char text[40];

    AXL_REQUIRE(n >= 0 && n <= 10000, AXL_E_INPUT, "extra_ids: %lld is out of range", (long long)n);
    for (int64_t i = 0; i < n; i++) {
        int len = snprintf(text, sizeof text, "<extra_id_%lld>", (long long)(n - 1 - i));
        AXL_TRY(axl_vocab_add(&s->t->vocab, text, (size_t)len, first + i));
        AXL_TRY(axl_source_add(s, text, (size_t)len, first + i, true));
    }
out:
    return status;
}

axl_status axl_spm_read(axl_source *s, const char *bytes, size_t n)
{
    axl_status status = AXL_OK;
    axl_spm m = {0};
    const spm_class *class = NULL;

    AXL_TRY(find_class(s, &class));
    AXL_TRY(axl_spm_parse(bytes, n, &m));
    AXL_REQUIRE(m.model_type >= 1 && m.model_type <= 4 && m.model_type != 3, AXL_E_UNSUPPORTED,
                "a sentencepiece model of whole words (type %lld); known are unigram, bpe, char",
                (long long)m.model_type);
    AXL_REQUIRE(!m.suffix_spaces, AXL_E_UNSUPPORTED,
                "a sentencepiece model with spaces behind words (treat_whitespace_as_suffix)");
    int64_t type = class->model_type != 0 ? class->model_type : m.model_type;
    AXL_REQUIRE((type == 1) == (m.model_type == 1), AXL_E_INPUT,
                "tokenizer_config.json says %s, but the sentencepiece model is %s", class->name,
                m.model_type == 1 ? "Unigram" : "BPE");
    bool own = class == &own_class;
    AXL_TRY(fill_vocab(s, &m, own && type != 1));
    if (class->parts == t5_parts)
        AXL_TRY(extra_ids(s));
    s->eos = class->parts == t5_parts;
    AXL_TRY(type == 1 ? fill_unigram(s, &m) : fill_bpe(s, &m, own));
    s->bos_text = own ? piece_text(s, &m, m.bos_id) : class->bos;
    s->eos_text = own ? piece_text(s, &m, m.eos_id) : class->eos;
    s->pad_text = own ? NULL : class->pad;
    s->unk_text = own ? piece_text(s, &m, m.unk_id) : class->unk;
    AXL_TRY(class->parts(s, &m));
    AXL_TRY(add_pieces(s, &m, !own));
    AXL_TRY(axl_source_add_configured(s));
    AXL_TRY(axl_source_finish(s));
out:
    axl_spm_fini(&m);
    return status;
}
