// Files of tiktoken's kind: lines of a base64 token and its rank. The file says neither how text is split
// nor which special tokens there are: both belong to the family, which its number of ranks tells.
// Also tekken.json, which says both.
#include "src/text/tok_source.h"

#include "src/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define CL100K(digits)                                                                             \
    CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits                                          \
                 "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define O200K                                                                                      \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+"    \
    "" CONTRACTIONS "?|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+"                \
    "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*" CONTRACTIONS "?|\\p{N}{1,3}|"                                 \
    " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

// One name, or count names with the numbers from first on in the place of %d.
typedef struct special_row {
    const char *format;
    int first, count;
} special_row;

static const special_row llama3_specials[] = {
    {"<|begin_of_text|>", 0, 1},
    {"<|end_of_text|>", 0, 1},
    {"<|reserved_special_token_%d|>", 0, 2},
    {"<|finetune_right_pad_id|>", 0, 1},
    {"<|step_id|>", 0, 1},
    {"<|start_header_id|>", 0, 1},
    {"<|end_header_id|>", 0, 1},
    {"<|eom_id|>", 0, 1},
    {"<|eot_id|>", 0, 1},
    {"<|python_tag|>", 0, 1},
    {"<|image|>", 0, 1},
    {"<|reserved_special_token_%d|>", 2, 244},
    {NULL, 0, 0},
};
static const special_row llama4_specials[] = {
    {"<|begin_of_text|>", 0, 1},
    {"<|end_of_text|>", 0, 1},
    {"<|fim_prefix|>", 0, 1},
    {"<|fim_middle|>", 0, 1},
    {"<|fim_suffix|>", 0, 1},
    {"<|header_start|>", 0, 1},
    {"<|header_end|>", 0, 1},
    {"<|eom|>", 0, 1},
    {"<|eot|>", 0, 1},
    {"<|step|>", 0, 1},
    {"<|text_post_train_reserved_special_token_%d|>", 0, 6},
    {"<|python_start|>", 0, 1},
    {"<|python_end|>", 0, 1},
    {"<|finetune_right_pad|>", 0, 1},
    {"<|text_post_train_reserved_special_token_%d|>", 8, 61},
    {"<|image_start|>", 0, 1},
    {"<|image_end|>", 0, 1},
    {"<|vision_reserved_special_token_%d|>", 0, 2},
    {"<|tile_x_separator|>", 0, 1},
    {"<|tile_y_separator|>", 0, 1},
    {"<|vision_reserved_special_token_%d|>", 2, 4},
    {"<|image|>", 0, 1},
    {"<|vision_reserved_special_token_%d|>", 6, 1},
    {"<|patch|>", 0, 1},
    {"<|vision_reserved_special_token_%d|>", 7, 1041},
    {"<|reasoning_reserved_special_token_%d|>", 0, 8},
    {"<|reasoning_thinking_start|>", 0, 1},
    {"<|reasoning_thinking_end|>", 0, 1},
    {"<|reserved_special_token_%d|>", 0, 904},
    {NULL, 0, 0},
};
static const special_row qwen_specials[] = {
    {"<|endoftext|>", 0, 1},  {"<|im_start|>", 0, 1}, {"<|im_end|>", 0, 1},
    {"<|extra_%d|>", 0, 205}, {NULL, 0, 0},
};
static const special_row no_specials[] = {{NULL, 0, 0}};

typedef struct family {
    const char *name;
    int64_t n_ranks; // 0: any
    const char *pattern;
    const special_row *specials;
    const char *bos, *eos, *pad;
} family;

static const family families[] = {
    {"Llama 3", 128000, CL100K("\\p{N}{1,3}"), llama3_specials, "<|begin_of_text|>",
     "<|end_of_text|>", "<|finetune_right_pad_id|>"},
    {"Llama 4", 200000, O200K, llama4_specials, "<|begin_of_text|>", "<|end_of_text|>",
     "<|finetune_right_pad|>"},
    {"Qwen", 151643, CL100K("\\p{N}"), qwen_specials, NULL, "<|endoftext|>", "<|endoftext|>"},
    {"unknown", 0, CL100K("\\p{N}{1,3}"), no_specials, NULL, NULL, NULL},
};

static axl_status add_specials(axl_source *s, const family *f)
{
    axl_status status = AXL_OK;
    int64_t id = s->t->vocab.size;
    axl_str text = {0};

    for (const special_row *row = f->specials; row->format != NULL; row++) {
        const char *number = strstr(row->format, "%d");
        for (int i = 0; i < row->count; i++) {
            axl_str_clear(&text);
            if (number == NULL)
                AXL_TRY(axl_str_puts(&text, row->format));
            else
                AXL_TRY(axl_str_printf(&text, "%.*s%d%s", (int)(number - row->format), row->format,
                                       row->first + i, number + 2));
            AXL_TRY(axl_source_add(s, text.data, text.len, id++, true));
        }
    }
out:
    axl_str_fini(&text);
    return status;
}

// One line without its end.
static axl_status read_line(axl_source *s, const char *line, size_t n, axl_str *bytes,
                            axl_str *spelled)
{
    axl_status status = AXL_OK;
    const char *space = memchr(line, ' ', n);
    int64_t rank = 0;

    AXL_REQUIRE(space != NULL && space > line && space + 1 < line + n, AXL_E_INPUT,
                "must be a base64 token, a space and a rank");
    for (const char *c = space + 1; c < line + n; c++) {
        AXL_REQUIRE(*c >= '0' && *c <= '9' && rank < AXL_TOK_MAX_ID, AXL_E_INPUT,
                    "the rank is no number of 0 .. %lld", (long long)AXL_TOK_MAX_ID - 1);
        rank = 10 * rank + (*c - '0');
    }
    axl_str_clear(bytes);
    AXL_TRY(axl_base64_decode(line, (size_t)(space - line), "token", bytes));
    AXL_TRY(axl_source_put_bytes(s, bytes->data, bytes->len, rank, spelled));
out:
    return status;
}

axl_status axl_tiktoken_read(axl_source *s, const char *bytes, size_t n)
{
    axl_status status = AXL_OK;
    axl_str token = {0}, spelled = {0};
    const family *f = families;

    for (size_t at = 0, number = 1; at < n; number++) {
        const char *end = memchr(bytes + at, '\n', n - at);
        size_t len = end == NULL ? n - at : (size_t)(end - bytes) - at;
        size_t used = len > 0 && bytes[at + len - 1] == '\r' ? len - 1 : len;
        if (used > 0)
            AXL_TRY_CTX(read_line(s, bytes + at, used, &token, &spelled), "line %zu", number);
        at += len + 1;
    }
    AXL_REQUIRE(s->t->vocab.size > 0, AXL_E_INPUT, "there are no tokens");
    while (f->n_ranks != 0 && f->n_ranks != s->t->vocab.size)
        f++;
    AXL_TRY(axl_source_byte_model(s, 0, f->pattern));
    s->bos = f->bos != NULL;
    s->bos_text = f->bos;
    s->eos_text = f->eos;
    s->pad_text = f->pad;
    AXL_TRY(add_specials(s, f));
    AXL_TRY(axl_source_add_configured(s));
    AXL_TRY(axl_source_finish(s));
out:
    axl_str_fini(&token);
    axl_str_fini(&spelled);
    return status;
}

// ---- tekken.json ----

// Files up to version 7 may leave their special tokens out.
static const char *const old_specials[] = {
    "<unk>",
    "<s>",
    "</s>",
    "[INST]",
    "[/INST]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "[TOOL_CALLS]",
    "[IMG]",
    "<pad>",
    "[IMG_BREAK]",
    "[IMG_END]",
    "[PREFIX]",
    "[MIDDLE]",
    "[SUFFIX]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "[TOOL_CONTENT]",
};

#define N_OLD_SPECIALS ((int64_t)(sizeof old_specials / sizeof *old_specials))

static axl_status add_tekken_specials(axl_source *s, const axl_json *list, int64_t n_specials)
{
    axl_status status = AXL_OK;
    bool given = axl_json_is(list, AXL_JSON_ARRAY);
    size_t n = given ? axl_json_count(list) : (size_t)N_OLD_SPECIALS;
    char filler[40];

    AXL_REQUIRE((int64_t)n <= n_specials, AXL_E_INPUT,
                "special_tokens: there are %zu, config.default_num_special_tokens says %lld", n,
                (long long)n_specials);
    for (size_t i = 0; i < n; i++) {
        const axl_json *one = axl_json_at(list, i);
        const char *text =
            given ? axl_json_string(axl_json_get(one, "token_str"), NULL) : old_specials[i];
        int64_t rank = given ? axl_json_int(axl_json_get(one, "rank"), -1) : (int64_t)i;
        AXL_REQUIRE(text != NULL && rank >= 0 && rank < (int64_t)n, AXL_E_INPUT,
                    "special_tokens[%zu]: needs a token_str and a rank below %zu", i, n);
        AXL_TRY_CTX(axl_vocab_add(&s->t->vocab, text, strlen(text), rank), "special_tokens[%zu]",
                    i);
        AXL_TRY(axl_source_add(s, text, strlen(text), rank, true));
    }
    for (int64_t id = (int64_t)n; id < n_specials; id++) {
        int len = snprintf(filler, sizeof filler, "<SPECIAL_%lld>", (long long)id);
        AXL_TRY_CTX(axl_vocab_add(&s->t->vocab, filler, (size_t)len, id), "special_tokens");
        AXL_TRY(axl_source_add(s, filler, (size_t)len, id, true));
    }
out:
    return status;
}

static axl_status fill_tekken(axl_source *s, const axl_json *list, int64_t first, int64_t size)
{
    axl_status status = AXL_OK;
    axl_str bytes = {0}, spelled = {0};

    for (int64_t i = 0; i < size; i++) {
        const axl_json *one = axl_json_at(list, (size_t)i),
                       *text = axl_json_get(one, "token_bytes");
        AXL_REQUIRE(axl_json_is(text, AXL_JSON_STRING) &&
                        axl_json_int(axl_json_get(one, "rank"), i) == i,
                    AXL_E_INPUT, "vocab[%lld]: needs token_bytes and the rank %lld", (long long)i,
                    (long long)i);
        axl_str_clear(&bytes);
        AXL_TRY_CTX(axl_base64_decode(axl_json_string(text, ""), axl_json_string_length(text),
                                      "token_bytes", &bytes),
                    "vocab[%lld]", (long long)i);
        AXL_TRY_CTX(axl_source_put_bytes(s, bytes.data, bytes.len, first + i, &spelled),
                    "vocab[%lld]", (long long)i);
    }
out:
    axl_str_fini(&bytes);
    axl_str_fini(&spelled);
    return status;
}

axl_status axl_tekken_read(axl_source *s, const axl_json *v)
{
    axl_status status = AXL_OK;
    const axl_json *config = axl_json_get(v, "config"), *vocab = axl_json_get(v, "vocab");
    const axl_json *specials = axl_json_get(v, "special_tokens");
    const char *pattern = axl_json_string(axl_json_get(config, "pattern"), NULL);
    int64_t n_specials =
        axl_json_int(axl_json_get(config, "default_num_special_tokens"),
                     specials != NULL ? (int64_t)axl_json_count(specials) : N_OLD_SPECIALS);
    int64_t n = (int64_t)axl_json_count(vocab);
    int64_t size = axl_json_int(axl_json_get(config, "default_vocab_size"), n + n_specials);

    AXL_REQUIRE(pattern != NULL && axl_json_is(vocab, AXL_JSON_ARRAY), AXL_E_INPUT,
                "needs config.pattern and vocab");
    AXL_REQUIRE(
        n_specials >= 0 && n_specials <= size && size < AXL_TOK_MAX_ID && size - n_specials <= n,
        AXL_E_INPUT,
        "config.default_vocab_size %lld with %lld special tokens needs %lld entries of "
        "vocab; there are %lld",
        (long long)size, (long long)n_specials, (long long)(size - n_specials), (long long)n);
    AXL_TRY(add_tekken_specials(s, specials, n_specials));
    AXL_TRY(fill_tekken(s, vocab, n_specials, size - n_specials));
    AXL_TRY(axl_source_byte_model(s, n_specials, pattern));
    s->bos = true;
    s->bos_text = axl_vocab_find(&s->t->vocab, "<s>", 3) >= 0 ? "<s>" : NULL;
    s->eos_text = axl_vocab_find(&s->t->vocab, "</s>", 4) >= 0 ? "</s>" : NULL;
    s->pad_text = axl_vocab_find(&s->t->vocab, "<pad>", 5) >= 0 ? "<pad>" : NULL;
    s->unk_text = axl_vocab_find(&s->t->vocab, "<unk>", 5) >= 0 ? "<unk>" : NULL;
    AXL_TRY(axl_source_add_configured(s));
    AXL_TRY(axl_source_finish(s));
out:
    return status;
}
