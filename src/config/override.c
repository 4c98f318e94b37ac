// The command line over the file: --key value, --parent.child value, --key=value.
//
// The hard part is the type of a value that has none: it follows the row of its key, so that
// `--wandb_name 123` is a string and `--micro_batch_size 4` a number; only then YAML-like guessing.
#include "src/config/parse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_OPTION 512

typedef struct option {
    const char *name; // after the dashes, dots and all; n_name bytes
    size_t n_name;
    const char *value; // NUL-terminated
    axl_place place;
} option;

typedef struct target {
    axl_yaml_node *map; // where the last part is set
    const axl_key *key; // its row; NULL when unknown (the parser will say so)
    char last[MAX_OPTION];
    bool existed;
} target;

static bool fits_choice(const axl_key *key, const char *text)
{
    bool supported = true;

    return key->type == AXL_T_CHOICE && axl_choice_find(key->range, text, &supported);
}

static void give_type(axl_yaml_node *node, const axl_key *key)
{
    static const char *const nulls[] = {"null", "Null", "NULL", "~", "none", "None", ""};

    for (size_t i = 0; i < sizeof nulls / sizeof nulls[0]; i++) {
        if (strcmp(node->text, nulls[i]) == 0) {
            node->kind = AXL_YAML_NULL;
            return;
        }
    }
    if (key == NULL)
        return;
    bool is_text = key->type == AXL_T_STR || key->type == AXL_T_STR_OR_LIST ||
                   key->type == AXL_T_STR_LIST || key->type == AXL_T_BLOCK_OR_STR;
    if (is_text || fits_choice(key, node->text))
        node->kind = AXL_YAML_STRING;
}

// [a, b] and {a: 1} are read as YAML; a plain word for a list of strings is a list of one.
static axl_status value_node(axl_yaml *y, const option *o, const axl_key *key,
                             axl_diagnostics *diagnostics, axl_yaml_node **out)
{
    axl_status status = AXL_OK;
    axl_yaml_node *node = NULL;

    if (o->value[0] == '[' || o->value[0] == '{') {
        AXL_TRY(axl_yaml_graft(y, o->value, o->place, diagnostics, &node));
    } else {
        AXL_TRY(axl_yaml_new_scalar(y, o->value, strlen(o->value), o->place, &node));
        give_type(node, key);
        if (key != NULL && key->type == AXL_T_STR_LIST && node->kind == AXL_YAML_STRING) {
            axl_yaml_node *item = node;
            AXL_TRY(axl_yaml_new_scalar(y, "", 0, o->place, &node));
            node->kind = AXL_YAML_LIST;
            AXL_TRY(axl_yaml_take(y, sizeof *node->entries, &node->entries));
            node->entries[0] = (axl_yaml_entry){NULL, item};
            node->n_entries = 1;
        }
    }
    *out = node;
out:
    return status;
}

static axl_status child_at(axl_yaml *y, axl_yaml_node *parent, const char *part, const option *o,
                           axl_yaml_node **out)
{
    axl_status status = AXL_OK;
    axl_yaml_node *child = NULL, *name = NULL;
    char *end = NULL;

    *out = NULL;
    if (parent->kind == AXL_YAML_LIST) {
        unsigned long i = strtoul(part, &end, 10);
        if (*end == '\0' && i < parent->n_entries) {
            AXL_TRY(axl_yaml_copy(y, parent->entries[i].value, &child));
            parent->entries[i].value = child;
            *out = child;
        }
        goto out;
    }
    const axl_yaml_node *old = axl_yaml_get(parent, part);
    if (old != NULL && (old->kind == AXL_YAML_MAP || old->kind == AXL_YAML_LIST))
        AXL_TRY(axl_yaml_copy(y, old, &child)); // aliases elsewhere keep the old one
    else
        AXL_TRY(axl_yaml_new_map(y, o->place, &child));
    const axl_yaml_entry *entry = axl_yaml_entry_of(parent, part);
    AXL_TRY(axl_yaml_new_scalar(y, part, strlen(part), entry == NULL ? o->place : entry->key->place,
                                &name));
    AXL_TRY(axl_yaml_set(y, parent, name, child));
    *out = child;
out:
    return status;
}

// Walks to the map that holds the last part of a.b.c, making maps on the way.
static axl_status find_target(axl_yaml *y, const option *o, target *t)
{
    axl_status status = AXL_OK;
    axl_yaml_node *at = axl_yaml_root_mutable(y);
    const axl_block *block = &axl_top_block;
    const char *p = o->name, *end = o->name + o->n_name;
    size_t n = 0;

    for (;;) {
        const char *dot = memchr(p, '.', (size_t)(end - p));
        n = (size_t)((dot == NULL ? end : dot) - p);
        memcpy(t->last, p, n);
        t->last[n] = '\0';
        bool is_index = at->kind == AXL_YAML_LIST;
        if (!is_index) {
            t->key = block == NULL ? NULL : axl_block_find(block, t->last);
            block = t->key == NULL ? NULL : t->key->child;
        }
        if (dot == NULL)
            break;
        AXL_TRY(child_at(y, at, t->last, o, &at));
        if (at == NULL)
            break;
        p = dot + 1;
    }
    t->map = at != NULL && at->kind == AXL_YAML_MAP ? at : NULL;
    t->existed = t->map != NULL && axl_yaml_get(t->map, t->last) != NULL;
out:
    return status;
}

static axl_status apply(axl_yaml *y, const option *o, bool strict, axl_diagnostics *diagnostics)
{
    axl_status status = AXL_OK;
    target t = {0};
    axl_yaml_node *value = NULL, *name = NULL;

    AXL_TRY(find_target(y, o, &t));
    if (t.map == NULL) {
        axl_diagnostics_add(diagnostics, AXL_ERROR, o->place, NULL,
                            "--%.*s: there is no such place in the file", (int)o->n_name, o->name);
        goto out;
    }
    if (strict && !t.existed) {
        axl_diagnostics_add(diagnostics, AXL_ERROR, o->place, NULL,
                            "--%.*s: with strict: true only keys of the file may be overridden",
                            (int)o->n_name, o->name);
        goto out;
    }
    AXL_TRY(value_node(y, o, t.key, diagnostics, &value));
    AXL_TRY(axl_yaml_new_scalar(y, t.last, strlen(t.last), o->place, &name));
    if (value != NULL)
        AXL_TRY(axl_yaml_set(y, t.map, name, value));
out:
    return status;
}

static bool split(const char *const *arguments, int n, int *i, option *o,
                  axl_diagnostics *diagnostics)
{
    const char *argument = arguments[*i];
    const char *equals = strchr(argument, '=');
    axl_place place = {"command line", 0, 0};

    if (strncmp(argument, "--", 2) != 0 || argument[2] == '\0') {
        axl_diagnostics_add(diagnostics, AXL_ERROR, place, NULL,
                            "%s: an option --key value was expected", argument);
        return false;
    }
    o->name = argument + 2;
    o->place = place;
    o->n_name = equals != NULL ? (size_t)(equals - o->name) : strlen(o->name);
    if (equals != NULL) {
        o->value = equals + 1;
    } else if (*i + 1 < n && strncmp(arguments[*i + 1], "--", 2) != 0) {
        o->value = arguments[++*i];
    } else {
        axl_diagnostics_add(diagnostics, AXL_ERROR, place, NULL, "%s: a value is missing after it",
                            argument);
        return false;
    }
    if (o->n_name >= MAX_OPTION || o->n_name == 0) {
        axl_diagnostics_add(diagnostics, AXL_ERROR, place, NULL, "%.40s: not the name of a key",
                            argument);
        return false;
    }
    return true;
}

axl_status axl_config_override(axl_yaml *y, const char *const *arguments, int n, bool strict,
                               axl_diagnostics *diagnostics)
{
    axl_status status = AXL_OK;

    for (int i = 0; i < n; i++) {
        option o = {0};
        if (split(arguments, n, &i, &o, diagnostics))
            AXL_TRY(apply(y, &o, strict, diagnostics));
    }
out:
    return status;
}
