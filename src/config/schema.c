// The JSON Schema (2020-12) of a configuration file, and the key pages, both from the key tables.
//
// The hard part is to say what the parser accepts and not more: numbers may be in quotes, because YAML
// 1.1 reads 1e-5 as a string, and null is the same as absent everywhere.
#include "src/config/key.h"
#include "src/config/rules.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static axl_status put_json(axl_str *out, const char *text)
{
    return axl_str_put_json(out, text, strlen(text));
}

// ---- schema ----

static axl_status put_bounds(const axl_key *key, axl_str *out)
{
    axl_status status = AXL_OK;
    axl_interval i = axl_interval_parse(key->range);

    if (axl_key_zero_is_none(key))
        i = (axl_interval){0.0, i.high, false, i.high_open};
    if (isfinite(i.low))
        AXL_TRY(axl_str_printf(out, ", \"%s\": %.15g", i.low_open ? "exclusiveMinimum" : "minimum",
                               i.low));
    if (isfinite(i.high))
        AXL_TRY(axl_str_printf(out, ", \"%s\": %.15g", i.high_open ? "exclusiveMaximum" : "maximum",
                               i.high));
out:
    return status;
}

static axl_status put_words(const char *range, axl_str *out)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_str_puts(out, "\"enum\": ["));
    for (const char *p = range; *p != '\0';) {
        size_t n = strcspn(p, "|;");
        if (n > 0)
            AXL_TRY(axl_str_put_json(out, p, n));
        if ((n == 4 && strncmp(p, "true", n) == 0) || (n == 5 && strncmp(p, "false", n) == 0)) {
            AXL_TRY(axl_str_puts(out, ", "));
            AXL_TRY(axl_str_append(out, p, n)); // the boolean too
        }
        if (n > 0)
            AXL_TRY(axl_str_puts(out, ", "));
        p += n;
        p += *p != '\0';
    }
    AXL_TRY(axl_str_puts(out, "null]"));
out:
    return status;
}

static axl_status put_number(const axl_key *key, const char *type, const char *pattern,
                             axl_str *out)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_str_printf(out, "\"anyOf\": [{\"type\": \"%s\"", type));
    AXL_TRY(put_bounds(key, out));
    AXL_TRY(axl_str_puts(out, "}, {\"type\": \"string\", \"pattern\": "));
    AXL_TRY(put_json(out, pattern));
    AXL_TRY(axl_str_puts(out, "}, {\"type\": \"null\"}]"));
out:
    return status;
}

// The fixed part of each type; NULL where it depends on the row.
static const char *const type_schemas[] = {
    [AXL_T_BOOL] = "\"type\": [\"boolean\", \"null\"]",
    [AXL_T_STR] = "\"type\": [\"string\", \"null\"]",
    [AXL_T_BOOL_OR_STR] = "\"type\": [\"boolean\", \"string\", \"null\"]",
    [AXL_T_STR_LIST] = "\"type\": [\"array\", \"null\"], \"items\": {\"type\": \"string\"}",
    [AXL_T_STR_OR_LIST] =
        "\"type\": [\"string\", \"array\", \"null\"], \"items\": {\"type\": \"string\"}",
    [AXL_T_INT_LIST] = "\"type\": [\"array\", \"null\"], \"items\": {\"type\": \"integer\"}",
    [AXL_T_INT_OR_LIST] =
        "\"type\": [\"integer\", \"string\", \"array\", \"null\"], \"pattern\": \"^[-+]?[0-9]+$\", "
        "\"items\": {\"type\": \"integer\"}",
    [AXL_T_REAL_LIST] = "\"type\": [\"array\", \"null\"], \"items\": {\"type\": \"number\"}",
    [AXL_T_MAP] = "\"type\": [\"object\", \"null\"]",
    [AXL_T_LIST] = "\"type\": [\"array\", \"null\"]",
    [AXL_T_ANY] = "",
    [AXL_T_BLOCK_OR_LIST] = NULL,
};

static axl_status put_child(const axl_key *key, axl_str *out)
{
    const char *name = key->child->name;

    switch (key->type) {
    case AXL_T_BLOCK:
        return axl_str_printf(out, "\"anyOf\": [{\"$ref\": \"#/$defs/%s\"}, {\"type\": \"null\"}]",
                              name);
    case AXL_T_BLOCK_OR_BOOL:
        return axl_str_printf(out,
                              "\"anyOf\": [{\"type\": [\"boolean\", \"null\"]}, "
                              "{\"$ref\": \"#/$defs/%s\"}]",
                              name);
    case AXL_T_BLOCK_OR_STR:
        return axl_str_printf(out,
                              "\"anyOf\": [{\"type\": [\"string\", \"null\"]}, "
                              "{\"$ref\": \"#/$defs/%s\"}]",
                              name);
    case AXL_T_BLOCK_LIST:
        return axl_str_printf(out,
                              "\"type\": [\"array\", \"null\"], "
                              "\"items\": {\"$ref\": \"#/$defs/%s\"}",
                              name);
    default:
        return axl_str_printf(out,
                              "\"anyOf\": [{\"$ref\": \"#/$defs/%s\"}, {\"type\": [\"array\", "
                              "\"null\"], \"items\": {\"$ref\": \"#/$defs/%s\"}}]",
                              name, name);
    }
}

// The kernels by name, for editors to offer, or a hub's org/name.
static axl_status put_attention(axl_str *out)
{
    axl_status status = AXL_OK;
    axl_str names = {0};

    AXL_TRY(axl_attn_impl_names(&names)); // "eager, sdpa or fp8"
    AXL_TRY(axl_str_puts(out, "\"anyOf\": [{\"enum\": ["));
    for (const char *p = names.data; *p != '\0';) {
        size_t n = strcspn(p, ", ");
        if (n != 2 || strncmp(p, "or", n) != 0) {
            AXL_TRY(axl_str_put_json(out, p, n));
            AXL_TRY(axl_str_puts(out, ", "));
        }
        p += n;
        p += strspn(p, ", ");
    }
    AXL_TRY(axl_str_puts(out, "null]}, {\"type\": \"string\", \"pattern\": \"/\"}]"));
out:
    axl_str_fini(&names);
    return status;
}

static axl_status put_type(const axl_key *key, axl_str *out)
{
    if (strcmp(key->name, "attn_implementation") == 0)
        return put_attention(out);
    switch (key->type) {
    case AXL_T_INT:
        return put_number(key, "integer", "^[-+]?[0-9]+(\\.0*)?$", out);
    case AXL_T_REAL:
        return put_number(key, "number", "^[-+]?([0-9]+\\.?[0-9]*|\\.[0-9]+)([eE][-+]?[0-9]+)?$",
                          out);
    case AXL_T_CHOICE:
        return put_words(key->range, out);
    default:
        break;
    }
    return key->child != NULL ? put_child(key, out) : axl_str_puts(out, type_schemas[key->type]);
}

// "[a, b]" of the table as JSON; numbers stay numbers.
static axl_status put_default_list(const char *text, axl_str *out)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_str_putc(out, '['));
    for (const char *p = text + 1; *p != ']';) {
        size_t n = strcspn(p, ",]");
        AXL_TRY(axl_str_puts(out, p == text + 1 ? "" : ", "));
        AXL_TRY(isdigit((unsigned char)*p) ? axl_str_append(out, p, n)
                                           : axl_str_put_json(out, p, n));
        p += n;
        p += strspn(p, ", ");
    }
    AXL_TRY(axl_str_putc(out, ']'));
out:
    return status;
}

static axl_status put_default(const axl_key *key, axl_str *out)
{
    axl_status status = AXL_OK;
    const char *text = key->otherwise;
    bool is_text =
        key->type == AXL_T_STR || key->type == AXL_T_CHOICE || key->type == AXL_T_BOOL_OR_STR;

    if (text[0] == '\0')
        goto out;
    AXL_TRY(axl_str_puts(out, ", \"default\": "));
    if (text[0] == '[')
        AXL_TRY(put_default_list(text, out));
    else if (is_text && strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
        AXL_TRY(put_json(out, text));
    else
        AXL_TRY(axl_str_puts(out, text));
out:
    return status;
}

static axl_status put_support(const axl_key *key, axl_str *out)
{
    static const char *const words[] = {
        "works", "no effect here: ", "not accepted: ", "not supported by this version"};
    axl_status status = AXL_OK;
    const char *gap = key->support == AXL_SUPPORT_PLANNED && key->reason[0] != '\0' ? ": " : "";

    AXL_TRY(axl_str_printf(out, "%s%s%s", words[key->support], gap, key->reason));
out:
    return status;
}

static axl_status put_property(const axl_block *block, const axl_key *key, axl_str *out)
{
    axl_status status = AXL_OK;
    axl_str text = {0};
    bool or_auto = axl_block_is_deepspeed(block);

    AXL_TRY(put_json(out, key->name));
    AXL_TRY(axl_str_puts(out, ": {"));
    size_t before = out->len;
    AXL_TRY(axl_str_puts(out, or_auto ? "\"anyOf\": [{\"const\": \"auto\"}, {" : ""));
    AXL_TRY(put_type(key, out));
    AXL_TRY(axl_str_puts(out, or_auto ? "}]" : ""));
    AXL_TRY(axl_str_puts(&text, key->doc));
    if (key->support != AXL_SUPPORT_WORKS) {
        AXL_TRY(axl_str_puts(&text, text.len > 0 ? " (" : "("));
        AXL_TRY(put_support(key, &text));
        AXL_TRY(axl_str_putc(&text, ')'));
    }
    AXL_TRY(axl_str_puts(out, out->len > before ? ", \"description\": " : "\"description\": "));
    AXL_TRY(put_json(out, text.len > 0 ? text.data : ""));
    AXL_TRY(put_default(key, out));
    if (key->support == AXL_SUPPORT_REFUSED || strncmp(key->doc, "deprecated", 10) == 0)
        AXL_TRY(axl_str_puts(out, ", \"deprecated\": true"));
    AXL_TRY(axl_str_putc(out, '}'));
out:
    axl_str_fini(&text);
    return status;
}

// Names that are taken, but that an editor shall not offer: the old prefix inside fsdp_config, and aliases.
static axl_status put_other_names(const axl_block *block, const char *indent, axl_str *out)
{
    axl_status status = AXL_OK;
    const char *comma = "";

    AXL_TRY(axl_str_printf(out, ",\n%s\"patternProperties\": {", indent));
    for (size_t i = 0; i < block->n_keys; i++) {
        const axl_key *key = &block->keys[i];
        const char *alias = axl_key_alias(key->name);
        const bool prefixed = block == &axl_fsdp_block && strncmp(key->name, "fsdp_", 5) != 0;
        if (!prefixed && (block != &axl_top_block || alias == NULL))
            continue;
        AXL_TRY(axl_str_printf(out, "%s\n%s  \"^%s%s$\": {", comma, indent, prefixed ? "fsdp_" : "",
                               prefixed ? key->name : alias));
        AXL_TRY(put_type(key, out));
        AXL_TRY(axl_str_putc(out, '}'));
        comma = ",";
    }
    AXL_TRY(axl_str_puts(out, "}"));
out:
    return status;
}

static axl_status put_properties(const axl_block *block, const char *indent, axl_str *out)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_str_printf(out,
                           "%s\"type\": \"object\",\n%s\"additionalProperties\": false,\n"
                           "%s\"properties\": {",
                           indent, indent, indent));
    for (size_t i = 0; i < block->n_keys; i++) {
        AXL_TRY(axl_str_printf(out, "%s\n%s  ", i == 0 ? "" : ",", indent));
        AXL_TRY(put_property(block, &block->keys[i], out));
    }
    AXL_TRY(axl_str_puts(out, "}"));
    if (block == &axl_fsdp_block || block == &axl_top_block)
        AXL_TRY(put_other_names(block, indent, out));
out:
    return status;
}

#define MAX_BLOCKS 64

// All blocks below a block, each once, children first.
static void collect(const axl_block *block, const axl_block **found, size_t *n)
{
    for (size_t i = 0; i < block->n_keys; i++) {
        const axl_block *child = block->keys[i].child;
        bool known = child == NULL;
        for (size_t k = 0; !known && k < *n; k++)
            known = found[k] == child;
        if (known)
            continue;
        collect(child, found, n);
        AXL_ASSERT(*n < MAX_BLOCKS);
        found[(*n)++] = child;
    }
}

axl_status axl_config_schema(axl_str *out)
{
    axl_status status = AXL_OK;
    const axl_block *blocks[MAX_BLOCKS];
    size_t n = 0;

    collect(&axl_top_block, blocks, &n);
    AXL_TRY(axl_str_puts(out,
                         "{\n  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n"
                         "  \"title\": \"axl-dist configuration\",\n"));
    AXL_TRY(put_properties(&axl_top_block, "  ", out));
    AXL_TRY(axl_str_puts(out, ",\n  \"required\": [\"base_model\", \"learning_rate\"],\n"
                              "  \"anyOf\": [{\"required\": [\"datasets\"]}, "
                              "{\"required\": [\"pretraining_dataset\"]}],\n  \"$defs\": {"));
    for (size_t i = 0; i < n; i++) {
        AXL_TRY(axl_str_printf(out, "%s\n    \"%s\": {\n", i == 0 ? "" : ",", blocks[i]->name));
        AXL_TRY(put_properties(blocks[i], "      ", out));
        AXL_TRY(axl_str_putc(out, '}'));
    }
    AXL_TRY(axl_str_puts(out, "}\n}\n"));
out:
    return status;
}

axl_status axl_config_schema_field(const char *name, axl_str *out)
{
    axl_status status = AXL_OK;
    const axl_block *block = &axl_top_block;
    const axl_key *key = NULL;
    char part[128];

    for (const char *p = name;;) {
        size_t n = strcspn(p, ".");
        (void)snprintf(part, sizeof part, "%.*s", (int)(n < 120 ? n : 120), p);
        key = block == NULL ? NULL : axl_block_find(block, part);
        AXL_REQUIRE(key != NULL, AXL_E_CONFIG,
                    "%s: there is no such key; `axl-dist config-schema` lists them all", name);
        if (p[n] == '\0')
            break;
        block = key->child;
        p += n + 1;
    }
    AXL_TRY(axl_str_putc(out, '{'));
    AXL_TRY(put_property(block, key, out));
    AXL_TRY(axl_str_puts(out, "}\n"));
out:
    return status;
}

// ---- key pages ----

// A table cell: line ends shown, bars escaped.
static axl_status put_cell(const char *text, axl_str *out)
{
    axl_status status = AXL_OK;

    for (; *text != '\0'; text++) {
        if (*text == '\n')
            AXL_TRY(axl_str_puts(out, "\\n"));
        else if (*text == '|')
            AXL_TRY(axl_str_puts(out, "\\|"));
        else
            AXL_TRY(axl_str_putc(out, *text));
    }
out:
    return status;
}

static axl_status put_row(const axl_key *key, axl_str *out)
{
    axl_status status = AXL_OK;
    axl_str words = {0};
    bool is_choice = key->type == AXL_T_CHOICE;

    AXL_TRY(axl_str_printf(out, "| `%s` | ", key->name));
    if (is_choice)
        AXL_TRY(axl_choice_text(key->range, key->support != AXL_SUPPORT_WORKS, &words));
    AXL_TRY(put_cell(is_choice && words.len > 0 ? words.data : axl_key_type_name(key->type), out));
    if (!is_choice && key->range[0] != '\0')
        AXL_TRY(axl_str_printf(out, ", %s", key->range));
    AXL_TRY(axl_str_puts(out, key->otherwise[0] == '\0' ? " | | " : " | `"));
    if (key->otherwise[0] != '\0') {
        AXL_TRY(put_cell(key->otherwise, out));
        AXL_TRY(axl_str_puts(out, "` | "));
    }
    AXL_TRY(put_support(key, out));
    AXL_TRY(axl_str_puts(out, " | "));
    AXL_TRY(put_cell(key->doc, out));
    AXL_TRY(axl_str_puts(out, " |\n"));
out:
    axl_str_fini(&words);
    return status;
}

static const char table_head[] = "| key | value | default | support | meaning |\n"
                                 "|---|---|---|---|---|\n";

axl_status axl_config_docs(axl_str *out)
{
    axl_status status = AXL_OK;
    const axl_block *blocks[MAX_BLOCKS];
    size_t n = 0;
    const char *group = "";

    AXL_TRY(axl_str_puts(out, "# Keys\n\nEvery key of a configuration, printed by `axl-dist "
                              "config-schema --markdown`. Null is the same as absent.\n"));
    for (size_t i = 0; i < axl_top_block.n_keys; i++) {
        const axl_key *key = &axl_top_block.keys[i];
        if (strcmp(key->group, group) != 0)
            AXL_TRY(axl_str_printf(out, "\n## %s\n\n%s", key->group, table_head));
        group = key->group;
        AXL_TRY(put_row(key, out));
    }
    collect(&axl_top_block, blocks, &n);
    for (size_t i = 0; i < n; i++) {
        AXL_TRY(axl_str_printf(out, "\n## Inside %s\n\n%s", blocks[i]->name, table_head));
        for (size_t k = 0; k < blocks[i]->n_keys; k++)
            AXL_TRY(put_row(&blocks[i]->keys[k], out));
    }
out:
    return status;
}
