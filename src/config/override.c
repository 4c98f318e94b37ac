// The command line over the file: --key value, --parent.child value, --list.0 value, --list.0.child value, --key=value.
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
    axl_yaml_node *at; // where the last part is set: a map or a list; NULL: there is no such place
    size_t index;      // of a list; n_entries: behind its end
    const axl_yaml_node *old; // what stands there; NULL: nothing
    const axl_key *key;       // its row; NULL when unknown (the parser will say so)
    bool is_item;             // key is that of the list, this is one of its items
    char last[MAX_OPTION];
    char fault[MAX_OPTION + 160]; // why there is no such place
} target;

static bool fits_choice(const axl_key *key, const char *text)
{
    bool supported = true;

    return key->type == AXL_T_CHOICE && axl_choice_find(key->range, text, &supported);
}

static void give_type(axl_yaml_node *node, const axl_key *key, const axl_yaml_node *old)
{
    static const char *const nulls[] = {"null", "Null", "NULL", "~", "none", "None", ""};

    for (size_t i = 0; i < sizeof nulls / sizeof nulls[0]; i++) {
        if (strcmp(node->text, nulls[i]) == 0) {
            node->kind = AXL_YAML_NULL;
            return;
        }
    }
    if (key == NULL) { // inside a free map: as what stands there
        if (old != NULL && old->kind == AXL_YAML_STRING)
            node->kind = AXL_YAML_STRING;
        return;
    }
    bool is_text = key->type == AXL_T_STR || key->type == AXL_T_STR_OR_LIST ||
                   key->type == AXL_T_STR_LIST || key->type == AXL_T_BLOCK_OR_STR;
    if (is_text || fits_choice(key, node->text))
        node->kind = AXL_YAML_STRING;
}

static axl_status new_list(axl_yaml *y, const option *o, axl_yaml_node **out)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_yaml_new_scalar(y, "", 0, o->place, out));
    (*out)->kind = AXL_YAML_LIST;
out:
    return status;
}

// Puts item number i of a list, which may be the first behind its end.
static axl_status set_item(axl_yaml *y, axl_yaml_node *list, size_t i, axl_yaml_node *item)
{
    axl_status status = AXL_OK;
    axl_yaml_entry *entries = NULL;

    if (i == list->n_entries) {
        AXL_TRY(axl_yaml_take(y, (i + 1) * sizeof *entries, &entries));
        if (i > 0)
            memcpy(entries, list->entries, i * sizeof *entries);
        list->entries = entries;
        list->n_entries = i + 1;
    }
    list->entries[i] = (axl_yaml_entry){NULL, item};
out:
    return status;
}

// [a, b] and {a: 1} are read as YAML; a plain word for a list of strings is a list of one.
static axl_status value_node(axl_yaml *y, const option *o, const target *t,
                             axl_diagnostics *diagnostics, axl_yaml_node **out)
{
    axl_status status = AXL_OK;
    axl_yaml_node *node = NULL, *list = NULL;

    if (o->value[0] == '[' || o->value[0] == '{') {
        AXL_TRY(axl_yaml_graft(y, o->value, o->place, diagnostics, &node));
    } else {
        AXL_TRY(axl_yaml_new_scalar(y, o->value, strlen(o->value), o->place, &node));
        give_type(node, t->key, t->old);
        if (!t->is_item && t->key != NULL && t->key->type == AXL_T_STR_LIST &&
            node->kind == AXL_YAML_STRING) {
            AXL_TRY(new_list(y, o, &list));
            AXL_TRY(set_item(y, list, 0, node));
            node = list;
        }
    }
    *out = node;
out:
    return status;
}

static bool is_index(const char *part, size_t *index)
{
    char *end = NULL;

    *index = strtoul(part, &end, 10);
    return part[0] >= '0' && part[0] <= '9' && *end == '\0' && end - part < 8;
}

static bool holds_list(const axl_key *key)
{
    return key != NULL && ((key->type >= AXL_T_STR_LIST && key->type <= AXL_T_REAL_LIST) ||
                           key->type == AXL_T_LIST || key->type == AXL_T_BLOCK_LIST ||
                           key->type == AXL_T_BLOCK_OR_LIST);
}

// Looks at part t->last of t->at: its index, what stands there. On a fault there is no such place.
static void find_part(target *t, const option *o, size_t n_before)
{
    const size_t n = t->at->n_entries;

    if (t->at->kind == AXL_YAML_MAP) {
        t->old = axl_yaml_get(t->at, t->last);
        return;
    }
    t->old = NULL;
    if (t->at->kind != AXL_YAML_LIST) {
        (void)snprintf(t->fault, sizeof t->fault, "%.*s is %s here and has no part %s",
                       (int)n_before, o->name, axl_yaml_kind_name(t->at->kind), t->last);
        t->at = NULL;
    } else if (!is_index(t->last, &t->index) || t->index > n) {
        (void)snprintf(t->fault, sizeof t->fault,
                       "%.*s is a list of %zu here; write the number of an item, 0 to %zu, where "
                       "%zu adds one",
                       (int)n_before, o->name, n, n, n);
        t->at = NULL;
    } else if (t->index < n) {
        t->old = t->at->entries[t->index].value;
    }
}

// Goes into part t->last of t->at. What is there is copied, for aliases elsewhere keep the old one; what is not there,
// or only turned on or off, is made: a list when `list`, else a map.
static axl_status enter(axl_yaml *y, const option *o, bool list, target *t)
{
    axl_status status = AXL_OK;
    axl_yaml_node *child = NULL, *name = NULL;

    if (t->old != NULL && t->old->kind > AXL_YAML_BOOL)
        AXL_TRY(axl_yaml_copy(y, t->old, &child));
    else if (list)
        AXL_TRY(new_list(y, o, &child));
    else
        AXL_TRY(axl_yaml_new_map(y, o->place, &child));
    if (t->at->kind == AXL_YAML_LIST) {
        AXL_TRY(set_item(y, t->at, t->index, child));
    } else {
        const axl_yaml_entry *entry = axl_yaml_entry_of(t->at, t->last);
        AXL_TRY(axl_yaml_new_scalar(y, t->last, strlen(t->last),
                                    entry == NULL ? o->place : entry->key->place, &name));
        AXL_TRY(axl_yaml_set(y, t->at, name, child));
    }
    t->at = child;
out:
    return status;
}

// Walks to the map or list that holds the last part of a.b.c, making them on the way.
static axl_status find_target(axl_yaml *y, const option *o, target *t)
{
    axl_status status = AXL_OK;
    const axl_block *block = &axl_top_block;
    const char *p = o->name, *end = o->name + o->n_name;

    t->at = axl_yaml_root_mutable(y);
    for (;;) {
        const char *dot = memchr(p, '.', (size_t)(end - p));
        const size_t n = (size_t)((dot == NULL ? end : dot) - p);
        memcpy(t->last, p, n);
        t->last[n] = '\0';
        t->is_item = t->at->kind == AXL_YAML_LIST;
        if (!t->is_item) {
            t->key = block == NULL ? NULL : axl_block_find(block, t->last);
            block = t->key == NULL ? NULL : t->key->child;
        }
        find_part(t, o, p > o->name ? (size_t)(p - 1 - o->name) : 0);
        if (dot == NULL || t->at == NULL)
            break;
        p = dot + 1;
        AXL_TRY(enter(y, o, !t->is_item && holds_list(t->key) && *p >= '0' && *p <= '9', t));
    }
out:
    return status;
}

static axl_status apply(axl_yaml *y, const option *o, bool strict, axl_diagnostics *diagnostics)
{
    axl_status status = AXL_OK;
    target t = {0};
    axl_yaml_node *value = NULL, *name = NULL;

    AXL_TRY(find_target(y, o, &t));
    if (t.at == NULL) {
        axl_diagnostics_add(diagnostics, AXL_ERROR, o->place, NULL,
                            "--%.*s: there is no such place in the file: %s", (int)o->n_name,
                            o->name, t.fault);
        goto out;
    }
    if (strict && t.old == NULL) {
        axl_diagnostics_add(diagnostics, AXL_ERROR, o->place, NULL,
                            "--%.*s: with strict: true only keys of the file may be overridden",
                            (int)o->n_name, o->name);
        goto out;
    }
    AXL_TRY(value_node(y, o, &t, diagnostics, &value));
    if (value == NULL)
        goto out;
    if (t.at->kind == AXL_YAML_LIST) {
        AXL_TRY(set_item(y, t.at, t.index, value));
    } else {
        AXL_TRY(axl_yaml_new_scalar(y, t.last, strlen(t.last), o->place, &name));
        AXL_TRY(axl_yaml_set(y, t.at, name, value));
    }
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
