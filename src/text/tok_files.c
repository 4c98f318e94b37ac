// What stands beside tokenizer.json: named special tokens and the chat template.
#include "src/text/tokenizer_private.h"

#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/io/file.h"

#include <stdlib.h>
#include <string.h>

static const char *const special_names[] = {"bos_token", "eos_token", "pad_token", "unk_token",
                                            "sep_token", "cls_token", "mask_token"};

axl_status axl_tok_put_special(axl_tokenizer *t, const char *name, const char *text)
{
    axl_status status = AXL_OK;
    axl_tok_special fresh = {0};

    AXL_TRY(axl_strdup(text, &fresh.text));
    for (size_t i = 0; i < t->n_special; i++) {
        if (strcmp(t->special[i].name, name) == 0) {
            free(t->special[i].text);
            t->special[i].text = fresh.text;
            fresh.text = NULL;
            goto out;
        }
    }
    AXL_TRY(axl_strdup(name, &fresh.name));
    AXL_TRY(axl_grow(&t->special, &t->special_capacity, t->n_special + 1, sizeof fresh,
                     "special tokens"));
    t->special[t->n_special++] = fresh;
    fresh = (axl_tok_special){0};
out:
    free(fresh.name);
    free(fresh.text);
    return status;
}

// "x" or {"content": "x"}.
static const char *token_text(const axl_json *v)
{
    const char *text = axl_json_string(v, NULL);
    return text != NULL ? text : axl_json_string(axl_json_get(v, "content"), NULL);
}

static axl_status read_specials(const axl_json *v, axl_tokenizer *t)
{
    axl_status status = AXL_OK;

    for (size_t i = 0; i < sizeof special_names / sizeof *special_names; i++) {
        const char *text = token_text(axl_json_get(v, special_names[i]));
        if (text != NULL && axl_tokenizer_special(t, special_names[i]) == NULL)
            AXL_TRY(axl_tok_put_special(t, special_names[i], text));
    }
out:
    return status;
}

// A string, or [{"name": "default", "template": ...}, ...]: the default, else the first.
static axl_status read_template(const axl_json *v, axl_tokenizer *t)
{
    axl_status status = AXL_OK;
    const char *text = axl_json_string(v, NULL);

    for (size_t i = 0; axl_json_is(v, AXL_JSON_ARRAY) && i < axl_json_count(v); i++) {
        const axl_json *entry = axl_json_at(v, i);
        const char *one = axl_json_string(axl_json_get(entry, "template"), NULL);
        bool is_default = strcmp(axl_json_string(axl_json_get(entry, "name"), ""), "default") == 0;
        if (one != NULL && (text == NULL || is_default))
            text = one;
    }
    if (text != NULL)
        AXL_TRY(axl_strdup(text, &t->chat_template));
out:
    return status;
}

// Reads a file that may be missing, and mixes it into the tokenizer's hash.
static axl_status read_optional(const char *dir, const char *name, axl_tokenizer *t, axl_str *path,
                                axl_str *text)
{
    axl_status status = AXL_OK;

    axl_str_clear(path);
    axl_str_clear(text);
    AXL_TRY(axl_str_printf(path, "%s/%s", dir, name));
    if (!axl_path_exists(path->data))
        goto out;
    AXL_TRY(axl_file_read(path->data, text));
    t->hash = axl_hash64(text->data, text->len, t->hash);
out:
    return status;
}

axl_status axl_tok_read_neighbours(const char *dir, axl_tokenizer *t)
{
    axl_status status = AXL_OK;
    axl_str path = {0}, text = {0};
    axl_json *json = NULL;
    static const char *const names[] = {"tokenizer_config.json", "special_tokens_map.json"};

    AXL_TRY(read_optional(dir, "chat_template.jinja", t, &path, &text));
    if (text.len > 0) {
        AXL_REQUIRE(axl_utf8_invalid_at(text.data, text.len) == text.len, AXL_E_INPUT,
                    "%s: is not UTF-8", path.data);
        AXL_TRY(axl_strdup(text.data, &t->chat_template));
    }
    for (size_t i = 0; i < 2; i++) {
        AXL_TRY(read_optional(dir, names[i], t, &path, &text));
        if (text.len == 0)
            continue;
        AXL_TRY(axl_json_read(path.data, &json)); // bare Infinity is allowed there
        AXL_REQUIRE(axl_json_is(json, AXL_JSON_OBJECT), AXL_E_INPUT, "%s: must be an object",
                    path.data);
        AXL_TRY_CTX(read_specials(json, t), "%s", path.data);
        if (t->chat_template == NULL)
            AXL_TRY(read_template(axl_json_get(json, "chat_template"), t));
        axl_json_free(json);
        json = NULL;
    }
out:
    axl_json_free(json);
    axl_str_fini(&path);
    axl_str_fini(&text);
    return status;
}
