// Changing the vocabulary. What is hard is to stay equal to the reference where files disagree: names of special
// tokens stand in up to two files, flags in up to two others, and ids follow from all of them.
#include "src/text/tok_extend.h"

#include "src/base/hash.h"
#include "src/base/log.h"
#include "src/base/mem.h"
#include "src/io/file.h"
#include "src/text/tok_source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- the directory as it is ----

// The names in the order in which transformers adds them.
enum { BOS, EOS, UNK, SEP, PAD, CLS, MASK, N_NAMES };
static const char *const names[N_NAMES] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                           "pad_token", "cls_token", "mask_token"};

// The small files. The text is what is edited, the values are those before all edits.
enum { CONFIG, MAP, LEGACY, N_SMALL };
static const char *const small_names[N_SMALL] = {"tokenizer_config.json", "special_tokens_map.json",
                                                 "added_tokens.json"};
typedef struct small_file {
    axl_str text;   // empty: there is none
    axl_json *json; // owned
    bool changed;
} small_file;

typedef struct extension {
    const char *dir;
    const axl_tok_change *change;
    axl_tokenizer *plain; // owned; the tokenizer of the directory
    axl_json *root;       // tokenizer.json, owned; NULL until something in it has to change
    axl_json *added;      // its added_tokens, borrowed
    axl_json *by_text;    // the entries of added, each under its text; owned
    axl_json *vocab;      // its model.vocab, borrowed
    bool root_changed;
    bool is_json; // the tokenizer is a tokenizer.json; else root holds nothing but added_tokens
    small_file small[N_SMALL];
    char *named[N_NAMES]; // owned; NULL: none
    int64_t next_id;
} extension;

static void extension_fini(extension *x)
{
    axl_json_free(x->root);
    axl_json_free(x->by_text);
    axl_tokenizer_destroy(x->plain);
    for (int i = 0; i < N_SMALL; i++) {
        axl_str_fini(&x->small[i].text);
        axl_json_free(x->small[i].json);
    }
    for (int i = 0; i < N_NAMES; i++)
        free(x->named[i]);
}

static axl_status read_small(extension *x, int which, axl_str *path)
{
    axl_status status = AXL_OK;
    small_file *f = &x->small[which];

    axl_str_clear(path);
    AXL_TRY(axl_str_printf(path, "%s/%s", x->dir, small_names[which]));
    if (axl_path_exists(path->data)) {
        AXL_TRY(axl_file_read(path->data, &f->text));
        AXL_TRY(axl_json_read(path->data, &f->json));
        AXL_REQUIRE(axl_json_is(f->json, AXL_JSON_OBJECT), AXL_E_INPUT, "%s: must be an object",
                    path->data);
    } else if (which == CONFIG) {
        AXL_TRY(axl_str_puts(&f->text, "{}\n"));
        f->json = axl_json_new_object();
    }
out:
    return status;
}

// "x" or {"content": "x"}.
static const char *token_text(const axl_json *v)
{
    const char *text = axl_json_string(v, NULL);
    return text != NULL ? text : axl_json_string(axl_json_get(v, "content"), NULL);
}

// The names of the files, and those that the kind of tokenizer gives.
static axl_status read_names(extension *x)
{
    axl_status status = AXL_OK;

    for (int i = 0; i < N_NAMES; i++) {
        const char *text = axl_tokenizer_special(x->plain, names[i]);
        if (text != NULL)
            AXL_TRY(axl_strdup(text, &x->named[i]));
    }
out:
    return status;
}

// The first id behind all others.
static int64_t first_free(const extension *x)
{
    int64_t next = (int64_t)axl_json_count(x->vocab);
    void *it = NULL;
    const char *key;
    axl_json *v;

    while (axl_json_is(x->vocab, AXL_JSON_OBJECT) && axl_json_next(x->vocab, &it, &key, &v))
        next = axl_json_int(v, 0) >= next ? axl_json_int(v, 0) + 1 : next;
    for (size_t i = 0; i < axl_json_count(x->added); i++) {
        int64_t id = axl_json_int(axl_json_get(axl_json_at(x->added, i), "id"), 0);
        next = id >= next ? id + 1 : next;
    }
    return next;
}

static axl_status open_directory(extension *x)
{
    axl_status status = AXL_OK;
    axl_str path = {0};

    for (int i = 0; i < N_SMALL; i++)
        AXL_TRY(read_small(x, i, &path));
    AXL_TRY(axl_tokenizer_load_with(x->dir, &x->change->load, &x->plain));
    AXL_TRY(read_names(x));
    x->is_json = axl_tok_is_json(x->dir, &x->change->load);
out:
    axl_str_fini(&path);
    return status;
}

// An entry of added_tokens.
static axl_status new_entry(const axl_added *a, const char *text, axl_json **out)
{
    axl_status status = AXL_OK;
    const struct {
        const char *name;
        bool on;
    } flags[] = {{"single_word", a->single_word},
                 {"lstrip", a->lstrip},
                 {"rstrip", a->rstrip},
                 {"normalized", a->normalized},
                 {"special", a->special}};
    axl_json *entry = axl_json_new_object();

    AXL_TRY(axl_json_set(entry, "id", axl_json_new_int(a->id)));
    AXL_TRY(axl_json_set(entry, "content", axl_json_new_string(text, strlen(text))));
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        AXL_TRY(axl_json_set(entry, flags[i].name, axl_json_new_bool(flags[i].on)));
    *out = entry;
    entry = NULL;
out:
    axl_json_free(entry);
    return status;
}

// A tree with the added tokens of another kind of tokenizer.
static axl_status make_root(extension *x)
{
    axl_status status = AXL_OK;
    const axl_tokenizer *t = x->plain;

    x->root = axl_json_new_object();
    AXL_TRY(axl_json_set(x->root, "added_tokens", axl_json_new_array()));
    x->added = axl_json_get(x->root, "added_tokens");
    for (size_t i = 0; i < t->n_added; i++) {
        axl_json *entry = NULL;
        AXL_TRY(new_entry(&t->added[i], axl_tokenizer_token(t, t->added[i].id), &entry));
        AXL_TRY(axl_json_append(x->added, entry));
    }
    x->next_id = axl_tokenizer_size(t);
out:
    return status;
}

// Reads tokenizer.json to change it, which takes longer than to load it.
static axl_status index_entry(extension *x, axl_json *entry)
{
    return axl_json_set(x->by_text, axl_json_string(axl_json_get(entry, "content"), ""),
                        axl_json_ref(entry));
}

static axl_status index_added(extension *x)
{
    axl_status status = AXL_OK;

    x->by_text = axl_json_new_object();
    AXL_REQUIRE(x->by_text != NULL, AXL_E_MEMORY, "no memory for added tokens");
    for (size_t i = axl_json_count(x->added); i-- > 0;) // of equal texts the first one stays
        AXL_TRY(index_entry(x, axl_json_at(x->added, i)));
out:
    return status;
}

static axl_status open_root(extension *x)
{
    axl_status status = AXL_OK;
    axl_str path = {0};

    if (x->root != NULL)
        goto out;
    if (!x->is_json) {
        AXL_TRY(make_root(x));
        AXL_TRY(index_added(x));
        goto out;
    }
    AXL_TRY(axl_str_printf(&path, "%s/tokenizer.json", x->dir));
    AXL_TRY(axl_json_read(path.data, &x->root));
    x->vocab = axl_json_get(axl_json_get(x->root, "model"), "vocab");
    if (!axl_json_is(axl_json_get(x->root, "added_tokens"), AXL_JSON_ARRAY))
        AXL_TRY(axl_json_set(x->root, "added_tokens", axl_json_new_array()));
    x->added = axl_json_get(x->root, "added_tokens");
    x->next_id = first_free(x);
    AXL_TRY(index_added(x));
out:
    axl_str_fini(&path);
    return status;
}

// ---- edits of the small files ----

// Sets a member of one of them to a string; text NULL removes it. object as in axl_json_edit.
static axl_status edit_string(extension *x, int which, const char *key, const char *text)
{
    axl_status status = AXL_OK;
    axl_str value = {0};

    if (text != NULL)
        AXL_TRY(axl_str_put_json(&value, text, strlen(text)));
    AXL_TRY(axl_json_edit(&x->small[which].text, NULL, key, value.data));
    x->small[which].changed = true;
out:
    axl_str_fini(&value);
    return status;
}

static axl_status set_name(extension *x, int name, const char *text)
{
    axl_status status = AXL_OK;
    char *copy = NULL;

    if (x->named[name] != NULL && strcmp(x->named[name], text) == 0)
        goto out;
    AXL_TRY(axl_strdup(text, &copy));
    free(x->named[name]);
    x->named[name] = copy;
    AXL_TRY(edit_string(x, CONFIG, names[name], text));
    if (x->small[MAP].json != NULL)
        AXL_TRY(edit_string(x, MAP, names[name], text));
out:
    return status;
}

// The entry of an added token in added_tokens_decoder, and in added_tokens.json, where these are.
static axl_status put_neighbours(extension *x, const axl_json *entry, const char *old)
{
    axl_status status = AXL_OK;
    static const char *const flags[] = {"lstrip", "normalized", "rstrip", "single_word", "special"};
    const char *text = axl_json_string(axl_json_get(entry, "content"), "");
    long long id = (long long)axl_json_int(axl_json_get(entry, "id"), 0);
    char number[24];
    axl_str value = {0};

    (void)snprintf(number, sizeof number, "%lld", id);
    // other kinds of tokenizers have all of them there (put_decoder)
    if (x->is_json && axl_json_get(x->small[CONFIG].json, "added_tokens_decoder") != NULL) {
        AXL_TRY(axl_str_puts(&value, "{\"content\": "));
        AXL_TRY(axl_str_put_json(&value, text, strlen(text)));
        for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
            AXL_TRY(axl_str_printf(&value, ", \"%s\": %s", flags[i],
                                   axl_json_bool(axl_json_get(entry, flags[i]), false) ? "true"
                                                                                       : "false"));
        AXL_TRY(axl_str_putc(&value, '}'));
        AXL_TRY(axl_json_edit(&x->small[CONFIG].text, "added_tokens_decoder", number, value.data));
        x->small[CONFIG].changed = true;
    }
    if (x->small[LEGACY].json != NULL) {
        if (old != NULL)
            AXL_TRY(axl_json_edit(&x->small[LEGACY].text, NULL, old, NULL));
        AXL_TRY(axl_json_edit(&x->small[LEGACY].text, NULL, text, number));
        x->small[LEGACY].changed = true;
    }
out:
    axl_str_fini(&value);
    return status;
}

// ---- added tokens ----

static axl_json *find_added(const extension *x, const char *text)
{
    axl_json *entry = axl_json_get(x->by_text, text);

    // what was renamed still stands under its old text, too
    return strcmp(axl_json_string(axl_json_get(entry, "content"), ""), text) == 0 ? entry : NULL;
}

// The id of a token of the model (model.vocab is an object, or Unigram's list), or -1.
static int64_t vocab_id(const extension *x, const char *text)
{
    if (!x->is_json)
        return axl_vocab_find(&x->plain->vocab, text, strlen(text));
    if (axl_json_is(x->vocab, AXL_JSON_OBJECT))
        return axl_json_int(axl_json_get(x->vocab, text), -1);
    for (size_t i = 0; i < axl_json_count(x->vocab); i++) {
        const axl_json *piece = axl_json_at(axl_json_at(x->vocab, i), 0);
        if (strcmp(axl_json_string(piece, ""), text) == 0)
            return (int64_t)i;
    }
    return -1;
}

static bool is_added(const extension *x, const char *text)
{
    return x->root != NULL ? find_added(x, text) != NULL
                           : axl_vocab_find(&x->plain->added_vocab, text, strlen(text)) >= 0;
}

// where names the key for messages.
static axl_status add_token(extension *x, const char *text, bool special, const char *where)
{
    axl_status status = AXL_OK;
    axl_json *entry;

    AXL_REQUIRE(text[0] != '\0', AXL_E_CONFIG, "%s: a token cannot be empty", where);
    if (x->root == NULL && is_added(x, text) &&
        (!special || axl_tokenizer_is_special(x->plain, axl_tokenizer_id(x->plain, text))))
        goto out; // it is there as it shall be
    AXL_TRY(open_root(x));
    entry = find_added(x, text);
    if (entry != NULL) {
        if (!special || axl_json_bool(axl_json_get(entry, "special"), false))
            goto out;
        AXL_TRY(axl_json_set(entry, "special", axl_json_new_bool(true)));
    } else {
        int64_t id = vocab_id(x, text);
        AXL_REQUIRE(x->next_id < INT32_MAX, AXL_E_INPUT, "%s: ids are used up", x->dir);
        const axl_added a = {.id = (int32_t)(id >= 0 ? id : x->next_id), .special = special};
        AXL_TRY(new_entry(&a, text, &entry));
        x->next_id += id < 0;
        AXL_TRY(axl_json_append(x->added, entry));
        AXL_TRY(index_entry(x, entry));
    }
    x->root_changed = true;
    AXL_TRY(put_neighbours(x, entry, NULL));
out:
    return status;
}

// transformers adds the special tokens that its files name before it adds others.
static axl_status add_named(extension *x)
{
    axl_status status = AXL_OK;
    static const char *const lists[] = {"extra_special_tokens", "additional_special_tokens"};

    for (int i = 0; i < N_NAMES; i++)
        if (x->named[i] != NULL && !is_added(x, x->named[i]))
            AXL_TRY(add_token(x, x->named[i], true, names[i]));
    for (int k = 0; k < 2; k++) {
        const axl_json *list = axl_json_get(x->small[CONFIG].json, lists[k]);
        for (size_t i = 0; axl_json_is(list, AXL_JSON_ARRAY) && i < axl_json_count(list); i++) {
            const char *text = token_text(axl_json_at(list, i));
            if (text != NULL && !is_added(x, text))
                AXL_TRY(add_token(x, text, true, lists[k]));
        }
    }
out:
    return status;
}

// ---- overrides ----

// model.vocab with the token of that id under another text, in the same place.
static axl_status rename_in_vocab(extension *x, int64_t id, const char *text)
{
    axl_status status = AXL_OK;
    axl_json *fresh = NULL, *v;
    void *it = NULL;
    const char *key;

    if (axl_json_is(x->vocab, AXL_JSON_ARRAY)) {
        axl_json *piece = axl_json_at(x->vocab, (size_t)id); // [text, score]
        AXL_TRY(axl_json_put(piece, 0, axl_json_new_string(text, strlen(text))));
        goto out;
    }
    fresh = axl_json_new_object();
    while (axl_json_next(x->vocab, &it, &key, &v))
        AXL_TRY(axl_json_set(fresh, axl_json_int(v, -1) == id ? text : key, axl_json_ref(v)));
    AXL_TRY(axl_json_set(axl_json_get(x->root, "model"), "vocab", axl_json_ref(fresh)));
    x->vocab = fresh;
out:
    axl_json_free(fresh);
    return status;
}

static axl_status override_one(extension *x, const axl_tok_override *o)
{
    axl_status status = AXL_OK;
    axl_json *entry = NULL, *model = axl_json_get(x->root, "model");
    char *old = NULL;

    for (size_t i = 0; i < axl_json_count(x->added) && entry == NULL; i++)
        if (axl_json_int(axl_json_get(axl_json_at(x->added, i), "id"), -1) == o->id)
            entry = axl_json_at(x->added, i);
    AXL_REQUIRE(entry != NULL, AXL_E_CONFIG,
                "added_tokens_overrides: %lld is not the id of an added token of %s; only reserved "
                "added tokens can be renamed (axl-dist inspect lists them)",
                (long long)o->id, x->dir);
    AXL_TRY(axl_strdup(axl_json_string(axl_json_get(entry, "content"), ""), &old));
    if (strcmp(old, o->text) == 0)
        goto out;
    AXL_REQUIRE(o->text[0] != '\0', AXL_E_CONFIG, "added_tokens_overrides: %lld: empty text",
                (long long)o->id);
    AXL_REQUIRE(find_added(x, o->text) == NULL && vocab_id(x, o->text) < 0, AXL_E_CONFIG,
                "added_tokens_overrides: %lld: \"%.60s\" is a token already", (long long)o->id,
                o->text);
    if (x->is_json && vocab_id(x, old) == o->id)
        AXL_TRY(rename_in_vocab(x, o->id, o->text));
    if (strcmp(axl_json_string(axl_json_get(model, "unk_token"), ""), old) == 0)
        AXL_TRY(axl_json_set(model, "unk_token", axl_json_new_string(o->text, strlen(o->text))));
    AXL_TRY(axl_json_set(entry, "content", axl_json_new_string(o->text, strlen(o->text))));
    AXL_TRY(index_entry(x, entry));
    x->root_changed = true;
    AXL_TRY(put_neighbours(x, entry, old));
    for (int i = 0; i < N_NAMES; i++) // a name goes with its token
        if (x->named[i] != NULL && strcmp(x->named[i], old) == 0)
            AXL_TRY(set_name(x, i, o->text));
out:
    free(old);
    return status;
}

static axl_status apply_overrides(extension *x)
{
    axl_status status = AXL_OK;

    if (x->change->n_overrides > 0)
        AXL_TRY(open_root(x));
    for (size_t i = 0; i < x->change->n_overrides; i++)
        AXL_TRY(override_one(x, &x->change->overrides[i]));
out:
    return status;
}

// ---- the steps in their order ----

static bool is_class(const extension *x, const char *const *classes, size_t n)
{
    const char *own = axl_json_string(axl_json_get(x->small[CONFIG].json, "tokenizer_class"),
                                      x->change->default_class);

    for (size_t i = 0; own != NULL && i < n; i++)
        if (strcmp(classes[i], own) == 0)
            return true;
    return false;
}

static axl_status set_by_class(extension *x)
{
    axl_status status = AXL_OK;
    static const char *const llama[] = {"LlamaTokenizer", "LlamaTokenizerFast",
                                        "CodeLlamaTokenizer", "CodeLlamaTokenizerFast"};
    static const char *const neox[] = {"GPTNeoXTokenizer", "GPTNeoXTokenizerFast"};

    if (is_class(x, llama, 4) && x->named[PAD] == NULL && axl_tokenizer_id(x->plain, "</s>") >= 0)
        AXL_TRY(set_name(x, PAD, "</s>"));
    if (is_class(x, neox, 2)) {
        AXL_TRY(add_token(x, "[PAD]", true, "pad_token"));
        AXL_TRY(set_name(x, PAD, "[PAD]"));
    }
    if (x->change->pad_left)
        AXL_TRY(edit_string(x, CONFIG, "padding_side", "left"));
out:
    return status;
}

static axl_status add_special(extension *x, int name, const char *text)
{
    axl_status status = AXL_OK;
    axl_str where = {0};

    if (text == NULL)
        goto out;
    AXL_TRY(axl_str_printf(&where, "special_tokens.%s", names[name]));
    AXL_TRY(add_token(x, text, true, where.data));
    AXL_TRY(set_name(x, name, text));
out:
    axl_str_fini(&where);
    return status;
}

// The list replaces the one in the files, whatever its key; every version of transformers reads this one.
static axl_status add_additional(extension *x)
{
    axl_status status = AXL_OK;
    const axl_tok_change *c = x->change;
    axl_str list = {0};
    const char *key = "additional_special_tokens";

    if (c->n_additional == 0)
        goto out;
    for (size_t i = 0; i < c->n_additional; i++) {
        AXL_TRY(add_token(x, c->additional[i], true, "special_tokens.additional_special_tokens"));
        AXL_TRY(axl_str_puts(&list, i == 0 ? "[" : ", "));
        AXL_TRY(axl_str_put_json(&list, c->additional[i], strlen(c->additional[i])));
    }
    AXL_TRY(axl_str_putc(&list, ']'));
    if (axl_json_is(axl_json_get(x->small[CONFIG].json, "extra_special_tokens"), AXL_JSON_ARRAY))
        AXL_TRY(edit_string(x, CONFIG, "extra_special_tokens", NULL));
    AXL_TRY(axl_json_edit(&x->small[CONFIG].text, NULL, key, list.data));
    x->small[CONFIG].changed = true;
    if (x->small[MAP].json != NULL) {
        AXL_TRY(axl_json_edit(&x->small[MAP].text, NULL, key, list.data));
        x->small[MAP].changed = true;
    }
out:
    axl_str_fini(&list);
    return status;
}

static axl_status apply(extension *x)
{
    axl_status status = AXL_OK;
    const axl_tok_change *c = x->change;

    AXL_TRY(apply_overrides(x));
    if (c->bos != NULL || c->eos != NULL || c->pad != NULL || c->unk != NULL || c->n_tokens > 0 ||
        c->n_additional > 0)
        AXL_TRY(add_named(x));
    AXL_TRY(set_by_class(x));
    AXL_TRY(add_special(x, BOS, c->bos));
    AXL_TRY(add_special(x, EOS, c->eos));
    AXL_TRY(add_special(x, PAD, c->pad));
    AXL_TRY(add_special(x, UNK, c->unk));
    for (size_t i = 0; i < c->n_tokens; i++)
        AXL_TRY(add_token(x, c->tokens[i], false, "tokens"));
    AXL_TRY(add_additional(x));
    if (x->named[PAD] == NULL && x->named[EOS] != NULL) {
        if (!c->quiet)
            axl_warn("the tokenizer has no pad token; %s, the EOS token, is used", x->named[EOS]);
        AXL_TRY(set_name(x, PAD, x->named[EOS]));
    }
out:
    return status;
}

// ---- results ----

// added_tokens_decoder with all added tokens, in the text and in the values of tokenizer_config.json.
static axl_status put_decoder(extension *x)
{
    axl_status status = AXL_OK;
    static const char *const keys[] = {"content", "lstrip",      "normalized",
                                       "rstrip",  "single_word", "special"};
    axl_json *decoder = axl_json_new_object();
    axl_str text = {0};
    char number[24];

    for (size_t i = 0; i < axl_json_count(x->added); i++) {
        const axl_json *entry = axl_json_at(x->added, i);
        axl_json *token = axl_json_new_object();
        (void)snprintf(number, sizeof number, "%lld",
                       (long long)axl_json_int(axl_json_get(entry, "id"), 0));
        AXL_TRY(axl_json_set(decoder, number, token));
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
            AXL_TRY(axl_json_set(token, keys[k], axl_json_ref(axl_json_get(entry, keys[k]))));
    }
    AXL_TRY(axl_json_dump(decoder, 2, &text));
    AXL_TRY(axl_json_edit(&x->small[CONFIG].text, NULL, "added_tokens_decoder", text.data));
    AXL_TRY(axl_json_set(x->small[CONFIG].json, "added_tokens_decoder", axl_json_ref(decoder)));
    x->small[CONFIG].changed = true;
out:
    axl_json_free(decoder);
    axl_str_fini(&text);
    return status;
}

static axl_status put_root(extension *x, axl_tok_files *files)
{
    axl_status status = AXL_OK;
    axl_str text = {0};

    if (!x->root_changed)
        goto out;
    if (!x->is_json) {
        AXL_TRY(put_decoder(x));
        goto out;
    }
    AXL_TRY(axl_json_dump(x->root, 2, &text));
    AXL_TRY(axl_tok_files_put(files, "tokenizer.json", &text));
out:
    axl_str_fini(&text);
    return status;
}

// The tokenizer with these tokens and names.
static axl_status load(extension *x, const axl_tok_files *files, axl_tokenizer **out)
{
    axl_status status = AXL_OK;
    const axl_tok_file *json = axl_tok_files_find(files, "tokenizer.json");
    axl_tokenizer *t = NULL;

    if (!x->root_changed) {
        t = x->plain;
        x->plain = NULL;
    } else if (json == NULL) {
        AXL_TRY(axl_tok_load_configured(x->dir, &x->change->load, x->small[CONFIG].json,
                                        x->small[LEGACY].json, &t));
    } else {
        AXL_TRY_CTX(axl_tokenizer_parse(json->text.data, json->text.len, &t),
                    "%s with the tokens of the configuration", x->dir);
        AXL_TRY(axl_tok_read_neighbours(x->dir, t));
    }
    for (int i = 0; i < N_NAMES; i++)
        if (x->named[i] != NULL)
            AXL_TRY(axl_tok_put_special(t, names[i], x->named[i]));
    *out = t;
    t = NULL;
out:
    axl_tokenizer_destroy(t);
    return status;
}

// Installs the template, and puts it where it shall stand.
static axl_status install_template(extension *x, axl_tokenizer *t, axl_tok_files *files)
{
    axl_status status = AXL_OK;
    const axl_tok_change *c = x->change;
    const bool install =
        c->chat_template != NULL && (t->chat_template == NULL || !c->template_if_none);
    axl_str file = {0};

    if (install) {
        free(t->chat_template);
        t->chat_template = NULL;
        AXL_TRY(axl_strdup(c->chat_template, &t->chat_template));
    }
    if (t->chat_template == NULL || (!install && !c->move_template))
        goto out;
    if (c->template_in_config) {
        AXL_TRY(edit_string(x, CONFIG, "chat_template", t->chat_template));
        AXL_TRY(axl_tok_files_put(files, "chat_template.jinja", NULL));
        goto out;
    }
    if (axl_json_get(x->small[CONFIG].json, "chat_template") != NULL)
        AXL_TRY(edit_string(x, CONFIG, "chat_template", NULL));
    AXL_TRY(axl_str_puts(&file, t->chat_template));
    AXL_TRY(axl_tok_files_put(files, "chat_template.jinja", &file));
out:
    axl_str_fini(&file);
    return status;
}

axl_status axl_tokenizer_load_changed(const char *dir, const axl_tok_change *change,
                                      axl_tok_files *files, axl_tokenizer **out)
{
    axl_status status = AXL_OK;
    extension x = {.dir = dir, .change = change};
    axl_tokenizer *t = NULL;

    AXL_TRY(open_directory(&x));
    AXL_TRY(apply(&x));
    AXL_TRY(put_root(&x, files));
    AXL_TRY(load(&x, files, &t));
    AXL_TRY(install_template(&x, t, files));
    for (int i = 0; i < N_SMALL; i++)
        if (x.small[i].changed)
            AXL_TRY(axl_tok_files_put(files, small_names[i], &x.small[i].text));
    for (size_t i = 0; i < files->n; i++)
        t->hash = axl_hash64(files->at[i].text.data, files->at[i].text.len, t->hash);
    *out = t;
    t = NULL;
out:
    axl_tokenizer_destroy(t);
    extension_fini(&x);
    return status;
}
