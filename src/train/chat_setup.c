// The key that goes into the cache's hash holds the text of the template itself, not its name or path: a template
// that was edited gives other data.
#include "src/train/chat_setup.h"

#include "src/base/mem.h"
#include "src/io/file.h"
#include "src/text/chat_templates.h"

#include <stdlib.h>
#include <string.h>

void axl_chat_setup_fini(axl_chat_setup *s)
{
    axl_chat_encoder_destroy(s->encoder);
    axl_json_free(s->kwargs);
    free(s->mappings);
    free(s->roles);
    axl_str_fini(&s->key);
    *s = (axl_chat_setup){0};
}

// `message_property_mappings`: template key -> key of the message; role and content under their own names unless
// mapped.
static axl_status read_mappings(const axl_yaml_node *map, axl_chat_setup *s)
{
    axl_status status = AXL_OK;
    static const char *const own[] = {"role", "content"};
    int n = 0;

    if (map == NULL || map->n_entries == 0)
        goto out;
    AXL_TRY(axl_calloc(map->n_entries + 2, sizeof *s->mappings, "mappings", &s->mappings));
    for (size_t i = 0; i < map->n_entries; i++) {
        const axl_yaml_entry *e = &map->entries[i];
        AXL_REQUIRE(e->value->kind == AXL_YAML_STRING, AXL_E_CONFIG,
                    "message_property_mappings.%s must name a key of the messages", e->key->text);
        s->mappings[n++] = (axl_chat_pair){e->key->text, e->value->text};
    }
    for (int i = 0; i < 2; i++) {
        if (axl_yaml_get(map, own[i]) == NULL)
            s->mappings[n++] = (axl_chat_pair){own[i], own[i]};
    }
    s->options.mappings = s->mappings;
    s->options.n_mappings = n;

out:
    return status;
}

// `roles`: role of the template -> the names that stand for it in the data.
static axl_status read_roles(const axl_yaml_node *map, axl_chat_setup *s)
{
    axl_status status = AXL_OK;
    size_t n = 0;

    for (size_t i = 0; map != NULL && i < map->n_entries; i++)
        n += map->entries[i].value->n_entries + 1;
    if (n == 0)
        goto out;
    AXL_TRY(axl_calloc(n, sizeof *s->roles, "roles", &s->roles));
    s->options.roles = s->roles;
    for (size_t i = 0; i < map->n_entries; i++) {
        const char *role = map->entries[i].key->text;
        const axl_yaml_node *names = map->entries[i].value;
        if (names->kind == AXL_YAML_STRING)
            s->roles[s->options.n_roles++] = (axl_chat_pair){names->text, role};
        AXL_REQUIRE(names->kind == AXL_YAML_STRING || names->kind == AXL_YAML_LIST, AXL_E_CONFIG,
                    "roles.%s must be a list of names", role);
        for (size_t k = 0; k < names->n_entries; k++)
            s->roles[s->options.n_roles++] = (axl_chat_pair){names->entries[k].value->text, role};
    }

out:
    return status;
}

static axl_status read_kwargs(const axl_yaml_node *map, axl_chat_setup *s)
{
    axl_status status = AXL_OK;
    axl_str text = {0};

    if (map == NULL)
        goto out;
    AXL_TRY(axl_yaml_put_json(map, &text));
    AXL_TRY(axl_json_parse(text.data, text.len, "chat_template_kwargs", &s->kwargs));
    s->options.template_kwargs = s->kwargs;

out:
    axl_str_fini(&text);
    return status;
}

static axl_chat_train train_of(const char *word)
{
    static const char *const words[] = {[AXL_CHAT_TRAIN_TURN] = "turn",
                                        [AXL_CHAT_TRAIN_ALL] = "all",
                                        [AXL_CHAT_TRAIN_LAST] = "last",
                                        [AXL_CHAT_TRAIN_NONE] = "none"};

    for (int i = AXL_CHAT_TRAIN_TURN; word != NULL && i <= AXL_CHAT_TRAIN_NONE; i++) {
        if (strcmp(words[i], word) == 0)
            return (axl_chat_train)i;
    }
    return AXL_CHAT_TRAIN_DEFAULT;
}

static axl_status read_entry(const axl_dataset_config *d, axl_chat_setup *s)
{
    axl_status status = AXL_OK;
    axl_chat_options *o = &s->options;
    static const char *const none[] = {NULL};

    o->chat_template = d->chat_template;
    o->chat_template_jinja = d->chat_template_jinja;
    o->field_messages = d->field_messages;
    o->field_tools = d->field_tools;
    o->field_thinking = d->field_thinking;
    o->template_thinking_key = d->template_thinking_key;
    o->field_training = d->message_field_training;
    o->field_training_detail = d->message_field_training_detail;
    o->roles_to_train = d->roles_to_train.items;
    if (d->set.roles_to_train && d->roles_to_train.n == 0)
        o->roles_to_train = none; // an empty list trains no role; NULL would be the default
    o->n_roles_to_train = (int)d->roles_to_train.n;
    o->train_on_eos = train_of(d->train_on_eos);
    o->train_on_eot = train_of(d->train_on_eot);
    o->drop_system_message = d->drop_system_message;
    o->split_thinking = d->split_thinking;
    AXL_TRY(read_mappings(d->message_property_mappings, s));
    AXL_TRY(read_roles(d->roles, s));

out:
    return status;
}

static axl_status put(axl_str *key, const char *name, const char *value)
{
    return value == NULL ? AXL_OK : axl_str_printf(key, "%s\x1f%s\x1e", name, value);
}

static axl_status put_pairs(axl_str *key, const char *name, const axl_chat_pair *pairs, int n)
{
    axl_status status = AXL_OK;

    for (int i = 0; i < n; i++) {
        AXL_TRY(put(key, name, pairs[i].key));
        AXL_TRY(put(key, "=", pairs[i].value));
    }

out:
    return status;
}

// The template's own words; those of the tokenizer are in the hash of the tokenizer.
static axl_status put_template(const axl_chat_options *o, axl_str *key)
{
    axl_status status = AXL_OK;
    static const char fallback[] = "tokenizer_default_fallback_";
    const char *name = o->chat_template, *source = NULL;

    AXL_TRY(put(key, "template", name));
    AXL_TRY(put(key, "jinja", o->chat_template_jinja));
    if (o->chat_template_jinja != NULL && axl_path_exists(o->chat_template_jinja) &&
        !axl_path_is_dir(o->chat_template_jinja))
        AXL_TRY(axl_file_read(o->chat_template_jinja, key));
    if (name != NULL && strncmp(name, fallback, sizeof fallback - 1) == 0)
        name += sizeof fallback - 1;
    if (name != NULL && axl_chat_template_find(name, &source) == AXL_OK)
        AXL_TRY(put(key, "source", source));

out:
    return status;
}

static axl_status make_key(axl_chat_setup *s)
{
    axl_status status = AXL_OK;
    const axl_chat_options *o = &s->options;
    axl_str *key = &s->key;

    AXL_TRY(put_template(o, key));
    AXL_TRY(put(key, "tokenizer", o->tokenizer_name));
    AXL_TRY(put(key, "system", o->default_system_message));
    AXL_TRY(put(key, "messages", o->field_messages));
    AXL_TRY(put(key, "tools", o->field_tools));
    AXL_TRY(put(key, "thinking", o->field_thinking));
    AXL_TRY(put(key, "thinking_key", o->template_thinking_key));
    AXL_TRY(put(key, "training", o->field_training));
    AXL_TRY(put(key, "detail", o->field_training_detail));
    AXL_TRY(put_pairs(key, "mapping", o->mappings, o->n_mappings));
    AXL_TRY(put_pairs(key, "role", o->roles, o->n_roles));
    for (int i = 0; i < o->n_roles_to_train; i++)
        AXL_TRY(put(key, "train", o->roles_to_train[i]));
    for (int i = 0; i < o->n_eot_tokens; i++)
        AXL_TRY(put(key, "eot", o->eot_tokens[i]));
    AXL_TRY(axl_str_printf(key, "%d %d %d %d %d %d", o->train_on_eos, o->train_on_eot,
                           o->train_on_inputs, o->drop_system_message, o->split_thinking,
                           o->roles_to_train != NULL));
    if (o->template_kwargs != NULL)
        AXL_TRY(axl_json_dump(o->template_kwargs, 0, key));

out:
    return status;
}

axl_status axl_chat_setup_init(axl_chat_setup *s, const axl_config *c,
                               const axl_dataset_config *entry, const axl_tokenizer *tokenizer)
{
    axl_status status = AXL_OK;

    *s = (axl_chat_setup){.options = {.chat_template = c->chat_template,
                                      .chat_template_jinja = c->chat_template_jinja}};
    if (entry != NULL)
        AXL_TRY(read_entry(entry, s));
    s->options.tokenizer_name = c->tokenizer_config != NULL ? c->tokenizer_config : c->base_model;
    s->options.train_on_inputs = c->train_on_inputs;
    s->options.default_system_message = c->default_system_message;
    if (c->set.eot_tokens && c->eot_tokens.n > 0) {
        s->options.eot_tokens = c->eot_tokens.items;
        s->options.n_eot_tokens = (int)c->eot_tokens.n;
    }
    AXL_TRY(read_kwargs(c->chat_template_kwargs, s));
    AXL_TRY(axl_chat_encoder_create(&s->options, tokenizer, &s->encoder));
    AXL_TRY(make_key(s));

out:
    return status;
}
