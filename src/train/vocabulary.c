// From keys to a vocabulary. The hard part is to change only what differs: a run that adds nothing saves the files
// of its model byte for byte.
#include "src/train/vocabulary.h"

#include "src/base/log.h"
#include "src/base/mem.h"
#include "src/io/file.h"
#include "src/io/json.h"
#include "src/text/chat_templates.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// The files of a tokenizer, whatever its kind.
static const char *const tokenizer_files[] = {"tokenizer.json",
                                              "tokenizer.model",
                                              "tekken.json",
                                              "tokenizer_config.json",
                                              "added_tokens.json",
                                              "special_tokens_map.json",
                                              "vocab.json",
                                              "merges.txt",
                                              "vocab.txt",
                                              "spiece.model",
                                              "chat_template.jinja",
                                              "chat_template.json",
                                              "sentencepiece.bpe.model",
                                              "tokenizer.model.v15",
                                              "tokenizer.model.v13",
                                              "tokenizer.model.v11",
                                              "tokenizer.model.v7m1",
                                              "tokenizer.model.v7",
                                              "tokenizer.model.v3",
                                              "tokenizer.model.v2",
                                              "tokenizer.model.v1",
                                              "spm.model",
                                              "tiktoken.model",
                                              "qwen.tiktoken"};
#define N_FILES (sizeof tokenizer_files / sizeof *tokenizer_files)

void axl_vocabulary_fini(axl_vocabulary *v)
{
    axl_tok_files_fini(&v->files);
}

static const char *tokenizer_dir(const axl_config *c, const char *model_dir)
{
    return c->tokenizer_config != NULL    ? c->tokenizer_config
           : c->base_model_config != NULL ? c->base_model_config
                                          : model_dir;
}

// The text of a file of dir, appended; *there says whether it is.
static axl_status read_file(const char *dir, const char *name, axl_str *text, bool *there)
{
    axl_status status = AXL_OK;
    axl_str path = {0};

    AXL_TRY(axl_str_printf(&path, "%s/%s", dir, name));
    *there = axl_path_exists(path.data);
    if (*there)
        AXL_TRY(axl_file_read(path.data, text));
out:
    axl_str_fini(&path);
    return status;
}

// ---- the template to install ----

static axl_status put_replaced(const char *text, const char *from, const char *to, axl_str *out)
{
    axl_status status = AXL_OK;
    const char *at;

    while ((at = strstr(text, from)) != NULL) {
        AXL_TRY(axl_str_append(out, text, (size_t)(at - text)));
        AXL_TRY(axl_str_puts(out, to));
        text = at + strlen(from);
    }
    AXL_TRY(axl_str_puts(out, text));
out:
    return status;
}

// Appends a template with the system text in it: whoever loads the result does not know the key. chatml's own text is
// replaced, and the variable is set where the template reads it.
static axl_status put_with_system(const char *name, const char *source, const char *text,
                                  axl_str *out)
{
    axl_status status = AXL_OK;

    if (strstr(source, "default_system_message") != NULL) {
        AXL_TRY(axl_str_puts(out, "{%- set default_system_message = "));
        AXL_TRY(axl_str_put_json(out, text, strlen(text)));
        AXL_TRY(axl_str_puts(out, " -%}\n"));
    }
    if (strcmp(name, "chatml") == 0)
        AXL_TRY(put_replaced(source, "You are a helpful assistant.", text, out));
    else
        AXL_TRY(axl_str_puts(out, source));
out:
    return status;
}

// Appends the template that chat_template names; nothing when the tokenizer keeps its own.
static axl_status find_template(const axl_config *c, axl_tok_change *change, axl_str *out)
{
    axl_status status = AXL_OK;
    static const char fallback[] = "tokenizer_default_fallback_";
    const char *name = c->chat_template, *source = c->chat_template_jinja;

    if (name == NULL || strcmp(name, "tokenizer_default") == 0)
        goto out;
    if (strcmp(name, "jinja") == 0) {
        if (source != NULL && strchr(source, '\n') == NULL && axl_path_exists(source) &&
            !axl_path_is_dir(source))
            AXL_TRY(axl_file_read(source, out));
        else if (source != NULL)
            AXL_TRY(axl_str_puts(out, source));
        goto out;
    }
    change->template_if_none = strncmp(name, fallback, sizeof fallback - 1) == 0;
    name += change->template_if_none ? sizeof fallback - 1 : 0;
    AXL_TRY(axl_chat_template_find(name, &source));
    if (c->default_system_message != NULL)
        AXL_TRY(put_with_system(name, source, c->default_system_message, out));
    else
        AXL_TRY(axl_str_puts(out, source));
out:
    return status;
}

// ---- what is asked for ----

static axl_status read_overrides(const axl_yaml_node *map, axl_tok_override **out, size_t *n)
{
    axl_status status = AXL_OK;
    axl_tok_override *list = NULL;

    if (map == NULL || map->n_entries == 0)
        goto out;
    AXL_TRY(axl_calloc(map->n_entries, sizeof *list, "overrides", &list));
    for (size_t i = 0; i < map->n_entries; i++) {
        const axl_yaml_node *key = map->entries[i].key, *value = map->entries[i].value;
        char *end = NULL;
        list[i] = (axl_tok_override){strtoll(key->text, &end, 10), value->text};
        AXL_REQUIRE(end != key->text && *end == '\0' && list[i].id >= 0, AXL_E_CONFIG,
                    "added_tokens_overrides: \"%.60s\" is not the id of a token", key->text);
        AXL_REQUIRE(value->kind == AXL_YAML_STRING, AXL_E_CONFIG,
                    "added_tokens_overrides: %s: the new text must be a string; put it in quotes",
                    key->text);
    }
    *out = list;
    *n = map->n_entries;
    list = NULL;
out:
    free(list);
    return status;
}

// The tokenizer class that transformers takes when tokenizer_config.json names none.
static const char *default_class(const axl_json *config)
{
    const char *type = axl_json_string(axl_json_get(config, "model_type"), "");

    return strcmp(type, "llama") == 0      ? "LlamaTokenizer"
           : strcmp(type, "gpt_neox") == 0 ? "GPTNeoXTokenizer"
                                           : NULL;
}

static axl_status load_tokenizer(const axl_config *c, const axl_json *config, const char *dir,
                                 bool first, axl_tok_files *files, axl_tokenizer **out)
{
    axl_status status = AXL_OK;
    const axl_special_tokens_config *s = &c->special_tokens;
    axl_tok_override *overrides = NULL;
    axl_str template = {0};
    axl_tok_change change = {
        .load = {.legacy = c->set.tokenizer_legacy ? c->tokenizer_legacy : -1,
                 .mistral = c->tokenizer_use_mistral_common},
        .bos = s->bos_token,
        .eos = s->eos_token,
        .pad = s->pad_token,
        .unk = s->unk_token,
        .tokens = c->tokens.items,
        .n_tokens = (size_t)c->tokens.n,
        .additional = s->additional_special_tokens.items,
        .n_additional = (size_t)s->additional_special_tokens.n,
        .template_in_config = !c->tokenizer_save_jinja_files,
        .move_template = c->set.tokenizer_save_jinja_files,
        .pad_left =
            strstr(axl_json_string(axl_json_get(config, "model_type"), ""), "mistral") != NULL &&
            c->derived.attn.uses_flash_lib && !c->sample_packing,
        .quiet = !first,
        .default_class = default_class(config)};

    AXL_TRY(read_overrides(c->added_tokens_overrides, &overrides, &change.n_overrides));
    change.overrides = overrides;
    AXL_TRY(find_template(c, &change, &template));
    change.chat_template = template.data;
    AXL_TRY(axl_tokenizer_load_changed(dir, &change, files, out));
out:
    free(overrides);
    axl_str_fini(&template);
    return status;
}

// A tokenizer of another directory replaces every file of the model's.
static axl_status add_whole(const char *dir, axl_tok_files *files)
{
    axl_status status = AXL_OK;
    axl_str text = {0};
    bool there;

    for (size_t i = 0; i < N_FILES; i++) {
        if (axl_tok_files_find(files, tokenizer_files[i]) != NULL)
            continue;
        AXL_TRY(read_file(dir, tokenizer_files[i], &text, &there));
        AXL_TRY(axl_tok_files_put(files, tokenizer_files[i], there ? &text : NULL));
    }
out:
    axl_str_fini(&text);
    return status;
}

// ---- config.json and generation_config.json ----

static const char *const id_names[][2] = {
    {"bos_token", "bos_token_id"}, {"eos_token", "eos_token_id"}, {"pad_token", "pad_token_id"}};

// Whether id is v, or in it.
static bool holds(const axl_json *v, int64_t id)
{
    bool found = axl_json_int(v, -1) == id;

    for (size_t i = 0; axl_json_is(v, AXL_JSON_ARRAY) && i < axl_json_count(v); i++)
        found = found || axl_json_int(axl_json_at(v, i), -1) == id;
    return found;
}

// Sets an id that differs. Where several tokens end a text the others stay: generation stops at any of them.
static axl_status edit_id(axl_str *text, const axl_json *config, const char *key, int64_t id,
                          bool keep, bool *changed)
{
    axl_status status = AXL_OK;
    const axl_json *old = axl_json_get(config, key);
    axl_str value = {0};
    const bool list = axl_json_is(old, AXL_JSON_ARRAY);

    if (holds(old, id))
        goto out;
    AXL_TRY(axl_str_printf(&value, keep || list ? "[%lld" : "%lld", (long long)id));
    if (keep && axl_json_is(old, AXL_JSON_INT))
        AXL_TRY(axl_str_printf(&value, ", %lld", (long long)axl_json_int(old, 0)));
    for (size_t i = 0; list && i < axl_json_count(old); i++)
        AXL_TRY(axl_str_printf(&value, ", %lld", (long long)axl_json_int(axl_json_at(old, i), 0)));
    if (keep || list)
        AXL_TRY(axl_str_putc(&value, ']'));
    AXL_TRY(axl_json_edit(text, NULL, key, value.data));
    *changed = true;
out:
    axl_str_fini(&value);
    return status;
}

// Ids that the configuration has, and those of names that the tokenizer's files did not have. generation: of
// generation_config.json, which keeps the tokens that ended a text before.
static axl_status edit_ids(const axl_vocabulary *v, const axl_tokenizer *t, axl_str *text,
                           const axl_json *config, bool generation, bool *changed)
{
    axl_status status = AXL_OK;
    const bool renamed = axl_tok_files_find(&v->files, "tokenizer_config.json") != NULL;

    for (int i = 0; t != NULL && i < 3; i++) {
        const int32_t id = axl_tokenizer_special_id(t, id_names[i][0]);
        const axl_json *old = axl_json_get(config, id_names[i][1]);
        if (id < 0 || (!renamed && axl_json_is(old, AXL_JSON_NULL)))
            continue;
        const bool keep = generation && i == 1 && axl_json_is(old, AXL_JSON_INT);
        AXL_TRY(edit_id(text, config, id_names[i][1], id, keep, changed));
    }
out:
    return status;
}

static axl_status edit_size(axl_str *text, const axl_json *config, const char *key, int64_t value,
                            bool *changed)
{
    axl_status status = AXL_OK;
    const bool inner = axl_json_get(axl_json_get(config, "text_config"), key) != NULL;
    char number[24];

    (void)snprintf(number, sizeof number, "%lld", (long long)value);
    if (inner)
        AXL_TRY(axl_json_edit(text, "text_config", key, number));
    if (!inner || axl_json_get(config, key) != NULL)
        AXL_TRY(axl_json_edit(text, NULL, key, number));
    *changed = true;
out:
    return status;
}

static axl_status make_configs(axl_vocabulary *v, const axl_tokenizer *t, const char *model_dir,
                               const axl_json *config, int64_t file_position)
{
    axl_status status = AXL_OK;
    axl_str text = {0}, path = {0};
    axl_json *generation = NULL;
    bool there, changed = false;

    AXL_TRY(read_file(model_dir, "config.json", &text, &there));
    if (there && v->rows != v->file_rows)
        AXL_TRY(edit_size(&text, config, "vocab_size", v->rows, &changed));
    if (there && v->max_position != file_position)
        AXL_TRY(edit_size(&text, config, "max_position_embeddings", v->max_position, &changed));
    if (there)
        AXL_TRY(edit_ids(v, t, &text, config, false, &changed));
    if (changed)
        AXL_TRY(axl_tok_files_put(&v->files, "config.json", &text));
    changed = false;
    axl_str_clear(&text);
    AXL_TRY(read_file(model_dir, "generation_config.json", &text, &there));
    if (!there)
        goto out;
    AXL_TRY(axl_str_printf(&path, "%s/generation_config.json", model_dir));
    AXL_TRY(axl_json_read(path.data, &generation));
    AXL_TRY(edit_ids(v, t, &text, generation, true, &changed));
    if (changed)
        AXL_TRY(axl_tok_files_put(&v->files, "generation_config.json", &text));
out:
    axl_json_free(generation);
    axl_str_fini(&text);
    axl_str_fini(&path);
    return status;
}

// ---- all of it ----

// A size of config.json, or of the text part of a model that has others; 0 when it does not say.
static int64_t size_of(const axl_json *config, const char *key)
{
    const axl_json *text = axl_json_get(config, "text_config");
    const int64_t n =
        axl_json_int(axl_json_get(config, key), axl_json_int(axl_json_get(text, key), 0));

    return n > 0 ? n : 0;
}

int64_t axl_vocabulary_rows(const axl_config *c, int64_t file_rows, int64_t n_tokens)
{
    const int64_t want = c->resize_token_embeddings_to_32x ? (n_tokens + 31) / 32 * 32 : n_tokens;

    return want > file_rows || c->shrink_embeddings ? want : file_rows;
}

static void say_rows(const axl_vocabulary *v)
{
    if (v->rows != v->file_rows)
        axl_info("the embedding of the model has %lld rows, the tokenizer asks for %lld: it is "
                 "%s",
                 (long long)v->file_rows, (long long)v->rows,
                 v->rows > v->file_rows ? "enlarged" : "cut");
}

const char *axl_vocabulary_changes(const axl_config *c)
{
    return c->special_tokens.given             ? "special_tokens"
           : c->tokens.n > 0                   ? "tokens"
           : c->added_tokens_overrides != NULL ? "added_tokens_overrides"
                                               : NULL;
}

bool axl_vocabulary_has_tokenizer(const axl_config *c, const char *model_dir)
{
    return axl_tokenizer_found(tokenizer_dir(c, model_dir));
}

static axl_status require_tokenizer(const axl_config *c, const char *dir)
{
    axl_status status = AXL_OK;
    const char *key = axl_vocabulary_changes(c);

    AXL_REQUIRE(key == NULL, AXL_E_INPUT, "%s: there is no tokenizer in %s to change", key, dir);
out:
    return status;
}

axl_status axl_vocabulary_load(const axl_config *c, const char *model_dir, bool first,
                               axl_vocabulary *v, axl_tokenizer **tokenizer)
{
    axl_status status = AXL_OK;
    const char *dir = tokenizer_dir(c, model_dir);
    axl_tokenizer *t = NULL;
    axl_json *config = NULL;
    axl_str path = {0};

    AXL_TRY(axl_str_printf(&path, "%s/config.json", model_dir));
    if (axl_path_exists(path.data))
        AXL_TRY(axl_json_read(path.data, &config));
    const int64_t position = size_of(config, "max_position_embeddings");
    v->file_rows = v->rows = size_of(config, "vocab_size");
    v->initializer_range = axl_json_real(axl_json_get(config, "initializer_range"), 0.02);
    v->max_position = position > 0 && position < c->sequence_len ? c->sequence_len : position;
    if (first && v->max_position != position)
        axl_warn("sequence_len %lld is more than max_position_embeddings %lld of the model, which "
                 "becomes %lld",
                 (long long)c->sequence_len, (long long)position, (long long)v->max_position);
    if (axl_tokenizer_found(dir))
        AXL_TRY(load_tokenizer(c, config, dir, first, &v->files, &t));
    else // tokenized data need none; a format that does says so
        AXL_TRY(require_tokenizer(c, dir));
    if (t != NULL && v->file_rows > 0)
        v->rows = axl_vocabulary_rows(c, v->file_rows, axl_tokenizer_size(t));
    if (first) {
        say_rows(v);
        AXL_TRY(make_configs(v, t, model_dir, config, position));
        if (t != NULL && strcmp(dir, model_dir) != 0)
            AXL_TRY(add_whole(dir, &v->files));
    } else {
        axl_tok_files_fini(&v->files);
    }
    *tokenizer = t;
    t = NULL;
out:
    axl_tokenizer_destroy(t);
    axl_json_free(config);
    axl_str_fini(&path);
    return status;
}

axl_status axl_vocabulary_write(const axl_vocabulary *v, const char *dir)
{
    axl_status status = AXL_OK;
    axl_str path = {0};

    for (size_t i = 0; i < v->files.n; i++) {
        const axl_tok_file *f = &v->files.at[i];
        axl_str_clear(&path);
        AXL_TRY(axl_str_printf(&path, "%s/%s", dir, f->name));
        if (f->absent)
            (void)unlink(path.data);
        else
            AXL_TRY(axl_file_write(path.data, f->text.data, f->text.len));
    }
out:
    axl_str_fini(&path);
    return status;
}

axl_status axl_vocabulary_write_tokenizer(const axl_config *c, const axl_vocabulary *v,
                                          const char *model_dir)
{
    axl_status status = AXL_OK;
    axl_str dir = {0}, path = {0}, text = {0};
    bool there;

    if (c->added_tokens_overrides == NULL)
        goto out;
    AXL_TRY(axl_str_printf(&dir, "%s/tokenizer", c->output_dir));
    AXL_TRY(axl_dir_make(dir.data));
    for (size_t i = 0; i < N_FILES; i++) {
        const char *name = tokenizer_files[i];
        const axl_tok_file *f = axl_tok_files_find(&v->files, name);
        const axl_str *bytes = f != NULL ? &f->text : &text;
        axl_str_clear(&text);
        axl_str_clear(&path);
        AXL_TRY(axl_str_printf(&path, "%s/%s", dir.data, name));
        there = f != NULL && !f->absent;
        if (f == NULL)
            AXL_TRY(read_file(tokenizer_dir(c, model_dir), name, &text, &there));
        if (there)
            AXL_TRY(axl_file_write(path.data, bytes->data, bytes->len));
    }
out:
    axl_str_fini(&dir);
    axl_str_fini(&path);
    axl_str_fini(&text);
    return status;
}
