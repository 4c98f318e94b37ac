// Which of a directory's files is the tokenizer, told by content, and loading it.
#include "src/text/tok_source.h"

#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/io/file.h"

#include <stdlib.h>
#include <string.h>

typedef enum source_kind {
    SOURCE_UNKNOWN,
    SOURCE_HF,
    SOURCE_TEKKEN,
    SOURCE_SPM,
    SOURCE_TIKTOKEN
} source_kind;

// In the order of preference. Mistral's own format comes first when it is asked for.
static const char *const names[] = {
    "tokenizer.json",      "tekken.json",         "tokenizer.model",      "tokenizer.model.v15",
    "tokenizer.model.v13", "tokenizer.model.v11", "tokenizer.model.v7m1", "tokenizer.model.v7",
    "tokenizer.model.v3",  "tokenizer.model.v2",  "tokenizer.model.v1",   "spiece.model",
    "spm.model",           "tiktoken.model",      "qwen.tiktoken",
};
#define N_NAMES (sizeof names / sizeof *names)

static bool is_tiktoken(const char *s, size_t n)
{
    const char *end = memchr(s, '\n', n);
    size_t len = end == NULL ? n : (size_t)(end - s), space = 0;

    while (space < len && s[space] != ' ')
        space++;
    if (space == 0 || space + 1 >= len || len > 4096)
        return false;
    for (size_t i = 0; i < space; i++)
        if (memchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=", s[i], 65) ==
            NULL)
            return false;
    return s[space + 1] >= '0' && s[space + 1] <= '9';
}

static source_kind kind_of(const char *s, size_t n)
{
    size_t at = 0;

    while (at < n && strchr(" \t\r\n", s[at]) != NULL && s[at] != '\0')
        at++;
    if (at < n && s[at] == '{')
        return SOURCE_HF; // or tekken.json, which the parsed text tells
    if (is_tiktoken(s, n))
        return SOURCE_TIKTOKEN;
    return n > 2 && s[0] == 0x0a ? SOURCE_SPM : SOURCE_UNKNOWN;
}

bool axl_tokenizer_found(const char *dir)
{
    axl_str path = {0};
    bool found = false;

    for (size_t i = 0; i < N_NAMES && !found; i++) {
        axl_str_clear(&path);
        if (axl_str_printf(&path, "%s/%s", dir, names[i]) != AXL_OK)
            break;
        found = axl_path_exists(path.data);
    }
    axl_str_fini(&path);
    return found;
}

static axl_status find_file(const char *dir, bool mistral, axl_str *path)
{
    axl_status status = AXL_OK;

    for (size_t k = 0; k <= N_NAMES; k++) {
        size_t i = k > 0 ? k - 1 : 1; // tekken.json before all others
        if (k == 0 && !mistral)
            continue;
        axl_str_clear(path);
        AXL_TRY(axl_str_printf(path, "%s/%s", dir, names[i]));
        if (axl_path_exists(path->data))
            goto out;
    }
    AXL_FAIL(AXL_E_INPUT,
             "%s/tokenizer.json: not found; the model directory needs a tokenizer.json, a "
             "tokenizer.model or a tekken.json",
             dir);
out:
    return status;
}

static axl_status read_json(const char *dir, const char *name, axl_json **out)
{
    axl_status status = AXL_OK;
    axl_str path = {0};

    AXL_TRY(axl_str_printf(&path, "%s/%s", dir, name));
    if (axl_path_exists(path.data))
        AXL_TRY(axl_json_read(path.data, out));
out:
    axl_str_fini(&path);
    return status;
}

axl_status axl_tokenizer_parse_any(const char *bytes, size_t n, const axl_json *config,
                                   const axl_json *extra, int legacy, axl_tokenizer **out)
{
    axl_status status = AXL_OK;
    axl_tokenizer *t = NULL;
    axl_source s = {.config = config, .extra = extra, .legacy = legacy};
    axl_json *v = NULL;
    source_kind kind = kind_of(bytes, n);
    static const char lfs[] = "version https://git-lfs";

    AXL_REQUIRE(n < sizeof lfs || memcmp(bytes, lfs, sizeof lfs - 1) != 0, AXL_E_INPUT,
                "is the pointer of a large file that was not downloaded; run git lfs pull");
    AXL_REQUIRE(kind != SOURCE_UNKNOWN, AXL_E_INPUT,
                "is neither JSON nor a sentencepiece model nor lines of base64 tokens and ranks");
    if (kind == SOURCE_HF && memmem(bytes, n, "\"token_bytes\"", 13) == NULL) {
        AXL_TRY(axl_tokenizer_parse(bytes, n, out));
        goto out;
    }
    AXL_TRY(axl_calloc(1, sizeof *t, "a tokenizer", &t));
    t->hash = axl_hash64(bytes, n, (uint64_t)(legacy + 1));
    s.t = t;
    if (kind == SOURCE_SPM)
        AXL_TRY(axl_spm_read(&s, bytes, n));
    else if (kind == SOURCE_TIKTOKEN)
        AXL_TRY(axl_tiktoken_read(&s, bytes, n));
    else {
        AXL_TRY(axl_json_parse(bytes, n, "it", &v));
        AXL_TRY(axl_tekken_read(&s, v));
    }
    *out = t;
    t = NULL;
out:
    axl_json_free(v);
    axl_source_fini(&s);
    axl_tokenizer_destroy(t);
    return status;
}

axl_status axl_tok_load_configured(const char *dir, const axl_tokenizer_options *o,
                                   const axl_json *config, const axl_json *extra,
                                   axl_tokenizer **out)
{
    axl_status status = AXL_OK;
    axl_tokenizer *t = NULL;
    axl_str path = {0}, text = {0};

    AXL_TRY(find_file(dir, o->mistral, &path));
    AXL_TRY(axl_file_read(path.data, &text));
    AXL_TRY_CTX(axl_tokenizer_parse_any(text.data, text.len, config, extra, o->legacy, &t), "%s",
                path.data);
    AXL_TRY(axl_tok_read_neighbours(dir, t));
    *out = t;
    t = NULL;
out:
    axl_tokenizer_destroy(t);
    axl_str_fini(&path);
    axl_str_fini(&text);
    return status;
}

axl_status axl_tokenizer_load_with(const char *dir, const axl_tokenizer_options *o,
                                   axl_tokenizer **out)
{
    axl_status status = AXL_OK;
    axl_json *config = NULL, *extra = NULL;

    AXL_TRY(read_json(dir, "tokenizer_config.json", &config));
    AXL_TRY(read_json(dir, "added_tokens.json", &extra));
    AXL_TRY(axl_tok_load_configured(dir, o, config, extra, out));
out:
    axl_json_free(config);
    axl_json_free(extra);
    return status;
}

bool axl_tok_is_json(const char *dir, const axl_tokenizer_options *o)
{
    axl_str path = {0};
    static const char name[] = "/tokenizer.json";
    bool is = find_file(dir, o->mistral, &path) == AXL_OK && path.len >= sizeof name - 1 &&
              strcmp(path.data + path.len - (sizeof name - 1), name) == 0;

    axl_str_fini(&path);
    return is;
}

axl_status axl_tokenizer_load(const char *dir, axl_tokenizer **out)
{
    return axl_tokenizer_load_with(dir, &(axl_tokenizer_options){.legacy = -1}, out);
}
