// tokenizer.json from GGUF metadata. The hard part is the pre-tokenizer: the file only names it
// (tokenizer.ggml.pre), so what each name stands for is a table here. An unknown name is refused: a
// wrong split still gives text back, but other ids than the model was trained on.
#include "src/io/gguf_parts.h"

#include "src/base/mem.h"

#include <stdlib.h>
#include <string.h>

// Numbers of tokenizer.ggml.token_type.
enum { TOKEN_NORMAL = 1, TOKEN_UNKNOWN, TOKEN_CONTROL, TOKEN_USER, TOKEN_UNUSED };

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define TAIL         "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define WORDS        "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"

// How text is split before byte-level BPE.
typedef struct pre_tokenizer {
    const char *name;    // tokenizer.ggml.pre
    const char *pattern; // a Split in place of GPT-2's; NULL: none
    bool digits;         // each digit by itself, then GPT-2's own split
    bool nfc;            // text is normalised first
    bool ignore_merges;  // a whole word that is a token is taken without merging
    bool add_bos;        // when the metadata does not say
} pre_tokenizer;

#define LLAMA3_PATTERN CONTRACTIONS "|" WORDS "|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" TAIL
#define QWEN_PATTERN   CONTRACTIONS "|" WORDS "|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" TAIL
#define TEKKEN_PATTERN                                                                             \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|"   \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|"   \
    "\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" TAIL

static const pre_tokenizer pre_tokenizers[] = {
    {.name = "default"},
    {.name = "gpt-2"},
    {.name = "phi-2"},
    {.name = "smollm", .digits = true},
    {.name = "starcoder", .digits = true},
    {.name = "refact", .digits = true},
    {.name = "llama-bpe", .pattern = LLAMA3_PATTERN, .ignore_merges = true, .add_bos = true},
    {.name = "llama3", .pattern = LLAMA3_PATTERN, .ignore_merges = true, .add_bos = true},
    {.name = "llama-v3", .pattern = LLAMA3_PATTERN, .ignore_merges = true, .add_bos = true},
    {.name = "smaug-bpe", .pattern = LLAMA3_PATTERN, .ignore_merges = true, .add_bos = true},
    {.name = "qwen2", .pattern = QWEN_PATTERN, .nfc = true},
    {.name = "deepseek-r1-qwen", .pattern = QWEN_PATTERN},
    {.name = "tekken", .pattern = TEKKEN_PATTERN, .ignore_merges = true, .add_bos = true},
};

#define N_PRE_TOKENIZERS (sizeof pre_tokenizers / sizeof *pre_tokenizers)

// The special tokens that have a name, and the keys of their ids.
enum { ROLE_BOS, ROLE_EOS, ROLE_PAD, ROLE_UNK, N_ROLES };

static const char *const roles[N_ROLES][2] = {
    [ROLE_BOS] = {"bos_token", "tokenizer.ggml.bos_token_id"},
    [ROLE_EOS] = {"eos_token", "tokenizer.ggml.eos_token_id"},
    [ROLE_PAD] = {"pad_token", "tokenizer.ggml.padding_token_id"},
    [ROLE_UNK] = {"unk_token", "tokenizer.ggml.unknown_token_id"},
};

// What differs between the two models of tokenizers.
typedef struct form {
    const char *name;     // tokenizer.ggml.model
    const char *list_key; // what decides the order of merging
    bool pieces;          // a sentencepiece vocabulary: spaces are U+2581, unknown bytes are <0xNN>
    bool add_bos;         // when the metadata does not say
    const char *decoder;
} form;

static const form forms[] = {
    {.name = "gpt2",
     .list_key = "tokenizer.ggml.merges",
     .decoder = "{\"type\": \"ByteLevel\", \"add_prefix_space\": true, \"trim_offsets\": true, "
                "\"use_regex\": true}"},
    {.name = "llama",
     .list_key = "tokenizer.ggml.scores",
     .pieces = true,
     .add_bos = true,
     .decoder =
         "{\"type\": \"Sequence\", \"decoders\": [\n    {\"type\": \"Replace\", \"pattern\": "
         "{\"String\": \"\u2581\"}, \"content\": \" \"},\n    {\"type\": \"ByteFallback\"},\n"
         "    {\"type\": \"Fuse\"},\n    {\"type\": \"Strip\", \"content\": \" \", \"start\": "
         "1, \"stop\": 0}]}"},
};

typedef struct vocabulary {
    const axl_gguf *g;
    const form *form;
    const pre_tokenizer *pre; // NULL for pieces
    axl_gguf_text *tokens;    // [n], owned
    int64_t n;
    const axl_gguf_value *types, *order; // types may be NULL; order: merges or scores
    int64_t role[N_ROLES];               // ids, or -1
    bool add_bos, add_eos;
} vocabulary;

static axl_status find_pre(const axl_gguf *g, const pre_tokenizer **out)
{
    axl_status status = AXL_OK;
    const char *text = "default";
    size_t at = 0, n = strlen(text);

    (void)axl_gguf_next_string(axl_gguf_find(g, "tokenizer.ggml.pre"), &at, &text, &n);
    for (size_t i = 0; i < N_PRE_TOKENIZERS; i++) {
        if (strlen(pre_tokenizers[i].name) != n || memcmp(pre_tokenizers[i].name, text, n) != 0)
            continue;
        *out = &pre_tokenizers[i];
        goto out;
    }
    AXL_FAIL(AXL_E_UNSUPPORTED,
             "%s: tokenizer.ggml.pre is \"%.*s\": how it splits text is not known here; put the "
             "model's own tokenizer.json beside imported weights instead",
             axl_gguf_path(g), (int)(n < 64 ? n : 64), text);
out:
    return status;
}

static int64_t type_of(const vocabulary *v, int64_t id)
{
    return axl_gguf_int(v->types, (uint64_t)id, TOKEN_NORMAL);
}

static axl_status read_tokens(const axl_gguf_value *list, vocabulary *v)
{
    axl_status status = AXL_OK;
    const char *path = axl_gguf_path(v->g);
    size_t at = 0;
    axl_gguf_text t;

    AXL_REQUIRE(list != NULL && list->item_kind == AXL_GGUF_STRING && list->count > 0 &&
                    list->count <= INT32_MAX,
                AXL_E_INPUT, "%s: the metadata lacks tokenizer.ggml.tokens", path);
    AXL_TRY(axl_calloc((size_t)list->count, sizeof *v->tokens, "a vocabulary", &v->tokens));
    while (axl_gguf_next_string(list, &at, &t.text, &t.n)) {
        AXL_REQUIRE(axl_utf8_invalid_at(t.text, t.n) == t.n, AXL_E_INPUT,
                    "%s: token %lld is not UTF-8", path, (long long)v->n);
        v->tokens[v->n++] = t;
    }
    AXL_REQUIRE(v->types == NULL || v->types->count == list->count, AXL_E_INPUT,
                "%s: tokenizer.ggml.token_type has %llu entries, there are %llu tokens", path,
                (unsigned long long)(v->types != NULL ? v->types->count : 0),
                (unsigned long long)list->count);
    bool fits = v->order != NULL && (v->form->pieces ? v->order->item_kind == AXL_GGUF_F32 &&
                                                           v->order->count == list->count
                                                     : v->order->item_kind == AXL_GGUF_STRING);
    AXL_REQUIRE(fits, AXL_E_INPUT,
                "%s: the metadata lacks %s, without which a tokenizer cannot merge", path,
                v->form->list_key);
out:
    return status;
}

static axl_status find_form(const axl_gguf *g, const form **out)
{
    axl_status status = AXL_OK;
    const char *text = "";
    size_t at = 0, n = 0;

    (void)axl_gguf_next_string(axl_gguf_find(g, "tokenizer.ggml.model"), &at, &text, &n);
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (strlen(forms[i].name) != n || memcmp(forms[i].name, text, n) != 0)
            continue;
        *out = &forms[i];
        goto out;
    }
    AXL_FAIL(AXL_E_UNSUPPORTED,
             "%s: tokenizer.ggml.model is \"%.*s\"; gpt2 (byte-level BPE) and llama "
             "(sentencepiece BPE) can be imported",
             axl_gguf_path(g), (int)(n < 64 ? n : 64), text);
out:
    return status;
}

static axl_status read_vocabulary(const axl_gguf *g, vocabulary *v)
{
    axl_status status = AXL_OK;

    v->g = g;
    AXL_TRY(find_form(g, &v->form));
    AXL_ASSERT(v->form != NULL);
    if (!v->form->pieces)
        AXL_TRY(find_pre(g, &v->pre));
    v->types = axl_gguf_find(g, "tokenizer.ggml.token_type");
    v->order = axl_gguf_find(g, v->form->list_key);
    AXL_TRY(read_tokens(axl_gguf_find(g, "tokenizer.ggml.tokens"), v));
    for (size_t i = 0; i < N_ROLES; i++) {
        v->role[i] = axl_gguf_int(axl_gguf_find(g, roles[i][1]), 0, -1);
        AXL_REQUIRE(v->role[i] < v->n, AXL_E_INPUT, "%s: %s is %lld, there are %lld tokens",
                    axl_gguf_path(g), roles[i][1], (long long)v->role[i], (long long)v->n);
    }
    for (int64_t id = 0; id < v->n && v->form->pieces && v->role[ROLE_UNK] < 0; id++)
        if (type_of(v, id) == TOKEN_UNKNOWN)
            v->role[ROLE_UNK] = id;
    bool add_bos = v->form->add_bos || (v->pre != NULL && v->pre->add_bos);
    v->add_bos = axl_gguf_bool(axl_gguf_find(g, "tokenizer.ggml.add_bos_token"), add_bos) &&
                 v->role[ROLE_BOS] >= 0;
    v->add_eos = axl_gguf_bool(axl_gguf_find(g, "tokenizer.ggml.add_eos_token"), false) &&
                 v->role[ROLE_EOS] >= 0;
out:
    return status;
}

static axl_status put_token(const vocabulary *v, int64_t id, axl_str *out)
{
    AXL_ASSERT(id >= 0 && id < v->n && v->tokens != NULL);
    return axl_str_put_json(out, v->tokens[id].text, v->tokens[id].n);
}

// Tokens that are matched in the text before it is split. Control tokens are special; those that a user
// defined are not. Without types, the tokens that have a role are special.
static axl_status put_added(const vocabulary *v, axl_str *out)
{
    axl_status status = AXL_OK;
    bool first = true;

    AXL_TRY(axl_str_puts(out, "  \"added_tokens\": ["));
    for (int64_t id = 0; id < v->n; id++) {
        int64_t type = type_of(v, id);
        bool special = type == TOKEN_CONTROL || type == TOKEN_UNKNOWN;
        for (size_t i = 0; v->types == NULL && i < N_ROLES; i++)
            special = special || v->role[i] == id;
        if ((!special && type != TOKEN_USER) || v->tokens[id].n == 0)
            continue;
        AXL_TRY(axl_str_printf(out, "%s\n    {\"id\": %lld, \"content\": ", first ? "" : ",",
                               (long long)id));
        AXL_TRY(put_token(v, id, out));
        AXL_TRY(axl_str_printf(out,
                               ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
                               "\"normalized\": false, \"special\": %s}",
                               special ? "true" : "false"));
        first = false;
    }
    AXL_TRY(axl_str_puts(out, first ? "],\n" : "\n  ],\n"));
out:
    return status;
}

// Pieces are split nowhere: spaces become U+2581, one is put in front unless the metadata says no.
static axl_status put_piece_normalizer(const vocabulary *v, axl_str *out)
{
    axl_status status = AXL_OK;
    bool prefix = axl_gguf_bool(axl_gguf_find(v->g, "tokenizer.ggml.add_space_prefix"), true);

    AXL_TRY(axl_str_printf(
        out,
        "  \"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [\n    %s{\"type\": "
        "\"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"\u2581\"}]},\n"
        "  \"pre_tokenizer\": null,\n",
        prefix ? "{\"type\": \"Prepend\", \"prepend\": \"\u2581\"},\n    " : ""));
out:
    return status;
}

static axl_status put_pre_tokenizer(const vocabulary *v, axl_str *out)
{
    axl_status status = AXL_OK;
    const pre_tokenizer *pre = v->pre;

    if (pre == NULL) {
        AXL_TRY(put_piece_normalizer(v, out));
        goto out;
    }
    AXL_TRY(axl_str_printf(out, "  \"normalizer\": %s,\n  \"pre_tokenizer\": ",
                           pre->nfc ? "{\"type\": \"NFC\"}" : "null"));
    if (pre->digits)
        AXL_TRY(axl_str_puts(out, "{\"type\": \"Sequence\", \"pretokenizers\": [\n    {\"type\": "
                                  "\"Digits\", \"individual_digits\": true},\n    "));
    if (pre->pattern != NULL) {
        AXL_TRY(axl_str_puts(out, "{\"type\": \"Sequence\", \"pretokenizers\": [\n    {\"type\": "
                                  "\"Split\", \"pattern\": {\"Regex\": "));
        AXL_TRY(axl_str_put_json(out, pre->pattern, strlen(pre->pattern)));
        AXL_TRY(axl_str_puts(out, "}, \"behavior\": \"Isolated\", \"invert\": false},\n    "));
    }
    AXL_TRY(axl_str_printf(out,
                           "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
                           "\"trim_offsets\": true, \"use_regex\": %s}%s,\n",
                           pre->pattern == NULL ? "true" : "false",
                           pre->digits || pre->pattern != NULL ? "]}" : ""));
out:
    return status;
}

// One place of the template: the token of a role.
static axl_status put_template_token(const vocabulary *v, size_t role, int type_id, axl_str *out)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_str_puts(out, "{\"SpecialToken\": {\"id\": "));
    AXL_TRY(put_token(v, v->role[role], out));
    AXL_TRY(axl_str_printf(out, ", \"type_id\": %d}}", type_id));
out:
    return status;
}

static axl_status put_template_sequence(const vocabulary *v, const char *which, int type_id,
                                        axl_str *out)
{
    axl_status status = AXL_OK;

    if (v->add_bos) {
        AXL_TRY(put_template_token(v, ROLE_BOS, type_id, out));
        AXL_TRY(axl_str_puts(out, ", "));
    }
    AXL_TRY(
        axl_str_printf(out, "{\"Sequence\": {\"id\": \"%s\", \"type_id\": %d}}", which, type_id));
    if (v->add_eos) {
        AXL_TRY(axl_str_puts(out, ", "));
        AXL_TRY(put_template_token(v, ROLE_EOS, type_id, out));
    }
out:
    return status;
}

// The post-processor puts BOS and EOS around a text, if the metadata asks for it.
static axl_status put_post_processor(const vocabulary *v, axl_str *out)
{
    axl_status status = AXL_OK;
    bool first = true;

    if (!v->add_bos && !v->add_eos) {
        AXL_TRY(axl_str_puts(out, "  \"post_processor\": null,\n"));
        goto out;
    }
    AXL_TRY(axl_str_puts(out, "  \"post_processor\": {\"type\": \"TemplateProcessing\", "
                              "\"single\": ["));
    AXL_TRY(put_template_sequence(v, "A", 0, out));
    AXL_TRY(axl_str_puts(out, "], \"pair\": ["));
    AXL_TRY(put_template_sequence(v, "A", 0, out));
    AXL_TRY(axl_str_puts(out, ", "));
    AXL_TRY(put_template_sequence(v, "B", 1, out));
    AXL_TRY(axl_str_puts(out, "], \"special_tokens\": {"));
    for (size_t i = ROLE_BOS; i <= ROLE_EOS; i++) {
        if (!(i == ROLE_BOS ? v->add_bos : v->add_eos) ||
            (!first && v->role[ROLE_BOS] == v->role[ROLE_EOS]))
            continue;
        AXL_TRY(axl_str_puts(out, first ? "" : ", "));
        AXL_TRY(put_token(v, v->role[i], out));
        AXL_TRY(axl_str_puts(out, ": {\"id\": "));
        AXL_TRY(put_token(v, v->role[i], out));
        AXL_TRY(axl_str_printf(out, ", \"ids\": [%lld], \"tokens\": [", (long long)v->role[i]));
        AXL_TRY(put_token(v, v->role[i], out));
        AXL_TRY(axl_str_puts(out, "]}"));
        first = false;
    }
    AXL_TRY(axl_str_puts(out, "}},\n"));
out:
    return status;
}

static axl_status put_merges(const vocabulary *v, axl_str *out)
{
    axl_status status = AXL_OK;
    const char *text;
    size_t at = 0, n, k = 0;

    AXL_TRY(axl_str_puts(out, "    \"merges\": ["));
    if (v->form->pieces)
        AXL_TRY(axl_gguf_put_spm_merges(v->tokens, v->n, v->types, v->order, out));
    while (axl_gguf_next_string(v->order, &at, &text, &n)) {
        const char *space = n > 1 ? memchr(text + 1, ' ', n - 1) : NULL;
        AXL_REQUIRE(space != NULL && space < text + n - 1 && axl_utf8_invalid_at(text, n) == n,
                    AXL_E_INPUT, "%s: merge %zu of tokenizer.ggml.merges is not two tokens",
                    axl_gguf_path(v->g), k);
        AXL_TRY(axl_str_puts(out, k > 0 ? ",\n      [" : "\n      ["));
        AXL_TRY(axl_str_put_json(out, text, (size_t)(space - text)));
        AXL_TRY(axl_str_puts(out, ", "));
        AXL_TRY(axl_str_put_json(out, space + 1, n - (size_t)(space + 1 - text)));
        AXL_TRY(axl_str_putc(out, ']'));
        k++;
    }
    AXL_TRY(axl_str_puts(out, "\n    ]\n"));
out:
    return status;
}

static axl_status put_model(const vocabulary *v, axl_str *out)
{
    axl_status status = AXL_OK;
    bool first = true;

    bool pieces = v->form->pieces;
    AXL_TRY(axl_str_puts(
        out,
        "  \"model\": {\n    \"type\": \"BPE\",\n    \"dropout\": null,\n    \"unk_token\": "));
    if (pieces && v->role[ROLE_UNK] >= 0)
        AXL_TRY(put_token(v, v->role[ROLE_UNK], out));
    else
        AXL_TRY(axl_str_puts(out, "null"));
    AXL_TRY(axl_str_printf(
        out,
        ",\n    \"continuing_subword_prefix\": null,\n    \"end_of_word_suffix\": null,\n"
        "    \"fuse_unk\": %s,\n    \"byte_fallback\": %s,\n    \"ignore_merges\": %s,\n"
        "    \"vocab\": {",
        pieces ? "true" : "false", pieces ? "true" : "false",
        v->pre != NULL && v->pre->ignore_merges ? "true" : "false"));
    for (int64_t id = 0; id < v->n; id++) {
        if (type_of(v, id) == TOKEN_UNUSED || v->tokens[id].n == 0) // fillers up to a round size
            continue;
        AXL_TRY(axl_str_puts(out, first ? "\n      " : ",\n      "));
        AXL_TRY(put_token(v, id, out));
        AXL_TRY(axl_str_printf(out, ": %lld", (long long)id));
        first = false;
    }
    AXL_TRY(axl_str_puts(out, "\n    },\n"));
    AXL_TRY(put_merges(v, out));
    AXL_TRY(axl_str_puts(out, "  }\n}\n"));
out:
    return status;
}

static axl_status put_tokenizer(const vocabulary *v, axl_str *out)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_str_puts(
        out, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n"));
    AXL_TRY(put_added(v, out));
    AXL_TRY(put_pre_tokenizer(v, out));
    AXL_TRY(put_post_processor(v, out));
    AXL_TRY(axl_str_printf(out, "  \"decoder\": %s,\n", v->form->decoder));
    AXL_TRY(put_model(v, out));
out:
    return status;
}

// The members that tokenizer_config.json and special_tokens_map.json share.
static axl_status put_roles(const vocabulary *v, axl_str *out)
{
    axl_status status = AXL_OK;
    bool first = true;

    for (size_t i = 0; i < N_ROLES; i++) {
        if (v->role[i] < 0)
            continue;
        AXL_TRY(axl_str_printf(out, "%s  \"%s\": ", first ? "" : ",\n", roles[i][0]));
        AXL_TRY(put_token(v, v->role[i], out));
        first = false;
    }
    AXL_TRY(axl_str_puts(out, first ? "" : "\n"));
out:
    return status;
}

static axl_status put_settings(const vocabulary *v, int64_t context, axl_str *out)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_str_printf(out,
                           "{\n  \"add_bos_token\": %s,\n  \"add_eos_token\": %s,\n"
                           "  \"add_prefix_space\": false,\n"
                           "  \"clean_up_tokenization_spaces\": false,\n",
                           v->add_bos ? "true" : "false", v->add_eos ? "true" : "false"));
    if (context > 0)
        AXL_TRY(axl_str_printf(out, "  \"model_max_length\": %lld,\n", (long long)context));
    AXL_TRY(axl_str_puts(out, "  \"tokenizer_class\": \"PreTrainedTokenizerFast\""));
    size_t before = out->len;
    AXL_TRY(axl_str_puts(out, ",\n"));
    size_t with_comma = out->len;
    AXL_TRY(put_roles(v, out));
    if (out->len == with_comma) { // no role: no comma either
        out->len = before;
        AXL_TRY(axl_str_puts(out, "\n"));
    }
    AXL_TRY(axl_str_puts(out, "}\n"));
out:
    return status;
}

static int64_t context_length(const axl_gguf *g)
{
    for (int64_t i = 0; i < axl_gguf_n_values(g); i++) {
        const axl_gguf_value *v = axl_gguf_value_at(g, i);
        const char *dot = strchr(v->key, '.');
        if (dot != NULL && strcmp(dot, ".context_length") == 0)
            return axl_gguf_int(v, 0, 0);
    }
    return 0;
}

axl_status axl_gguf_write_tokenizer(const axl_gguf *g, const char *dir)
{
    axl_status status = AXL_OK;
    vocabulary v = {0};
    axl_str text = {0};
    const char *chat;
    size_t at = 0, n;

    AXL_TRY(read_vocabulary(g, &v));
    AXL_TRY(put_tokenizer(&v, &text));
    AXL_TRY(axl_write_into(dir, "tokenizer.json", &text));
    axl_str_clear(&text);
    AXL_TRY(put_settings(&v, context_length(g), &text));
    AXL_TRY(axl_write_into(dir, "tokenizer_config.json", &text));
    axl_str_clear(&text);
    AXL_TRY(axl_str_puts(&text, "{\n"));
    AXL_TRY(put_roles(&v, &text));
    AXL_TRY(axl_str_puts(&text, "}\n"));
    AXL_TRY(axl_write_into(dir, "special_tokens_map.json", &text));
    if (axl_gguf_next_string(axl_gguf_find(g, "tokenizer.chat_template"), &at, &chat, &n)) {
        AXL_REQUIRE(axl_utf8_invalid_at(chat, n) == n, AXL_E_INPUT,
                    "%s: tokenizer.chat_template is not UTF-8", axl_gguf_path(g));
        axl_str_clear(&text);
        AXL_TRY(axl_str_append(&text, chat, n));
        AXL_TRY(axl_write_into(dir, "chat_template.jinja", &text));
    }
out:
    free(v.tokens);
    axl_str_fini(&text);
    return status;
}
