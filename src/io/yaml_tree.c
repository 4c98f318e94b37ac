// Looking into a document, building nodes by hand, writing them.
//
// The hard part is sharing: aliases share nodes and entries, so whoever changes a map copies it first.
#include "src/io/yaml_memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const axl_yaml_node *axl_yaml_root(const axl_yaml *y)
{
    return y->root;
}

axl_yaml_node *axl_yaml_root_mutable(axl_yaml *y)
{
    return y->root;
}

const axl_yaml_entry *axl_yaml_entry_of(const axl_yaml_node *node, const char *key)
{
    if (node == NULL || node->kind != AXL_YAML_MAP)
        return NULL;
    for (size_t i = 0; i < node->n_entries; i++)
        if (strcmp(node->entries[i].key->text, key) == 0)
            return &node->entries[i];
    return NULL;
}

const axl_yaml_node *axl_yaml_get(const axl_yaml_node *node, const char *key)
{
    const axl_yaml_entry *entry = axl_yaml_entry_of(node, key);

    return entry == NULL ? NULL : entry->value;
}

const char *axl_yaml_kind_name(axl_yaml_kind kind)
{
    static const char *const names[] = {"null",     "a boolean", "an integer", "a number",
                                        "a string", "a list",    "a map"};

    return kind >= AXL_YAML_NULL && kind <= AXL_YAML_MAP ? names[kind] : "something else";
}

axl_status axl_yaml_new_scalar(axl_yaml *y, const char *text, size_t n, axl_place place,
                               axl_yaml_node **out)
{
    axl_status status = AXL_OK;
    axl_yaml_node *node = NULL;

    AXL_TRY(axl_yaml_take_node(y, AXL_YAML_STRING, place, &node));
    AXL_TRY(axl_yaml_take_text(y, text, n, &node->text));
    node->n_text = strlen(node->text);
    axl_yaml_resolve(node);
    *out = node;
out:
    return status;
}

axl_status axl_yaml_new_map(axl_yaml *y, axl_place place, axl_yaml_node **out)
{
    return axl_yaml_take_node(y, AXL_YAML_MAP, place, out);
}

axl_status axl_yaml_new(const char *name, axl_yaml **out)
{
    axl_status status = AXL_OK;
    axl_yaml *y = NULL;

    AXL_TRY(axl_yaml_create(name, &y));
    AXL_TRY(axl_yaml_take_node(y, AXL_YAML_MAP, (axl_place){y->name, 1, 1}, &y->root));
    *out = y;
    y = NULL;
out:
    axl_yaml_destroy(y);
    return status;
}

axl_status axl_yaml_copy(axl_yaml *y, const axl_yaml_node *node, axl_yaml_node **out)
{
    axl_status status = AXL_OK;
    axl_yaml_node *copy = NULL;

    AXL_TRY(axl_yaml_take_node(y, node->kind, node->place, &copy));
    *copy = *node;
    copy->entries = NULL;
    if (node->n_entries > 0) {
        AXL_TRY(axl_yaml_take_entries(y, node->n_entries, &copy->entries));
        memcpy(copy->entries, node->entries, node->n_entries * sizeof *node->entries);
    }
    *out = copy;
out:
    return status;
}

static axl_status graft_node(axl_yaml *y, const axl_yaml_node *from, axl_place place,
                             axl_yaml_node **out)
{
    axl_status status = AXL_OK;
    axl_yaml_node *node = NULL, *child = NULL;

    AXL_TRY(axl_yaml_take_node(y, from->kind, place, &node));
    *node = *from;
    node->place = place;
    AXL_TRY(axl_yaml_take_text(y, from->text, from->n_text, &node->text));
    node->entries = NULL;
    AXL_TRY(axl_yaml_take_entries(y, from->n_entries, &node->entries));
    for (size_t i = 0; i < from->n_entries; i++) {
        if (from->entries[i].key != NULL) {
            AXL_TRY(graft_node(y, from->entries[i].key, place, &child));
            node->entries[i].key = child;
        }
        AXL_TRY(graft_node(y, from->entries[i].value, place, &child));
        node->entries[i].value = child;
    }
    *out = node;
out:
    return status;
}

axl_status axl_yaml_graft(axl_yaml *y, const char *text, axl_place place,
                          axl_diagnostics *diagnostics, axl_yaml_node **out)
{
    axl_status status = AXL_OK;
    axl_yaml *part = NULL;

    *out = NULL;
    status = axl_yaml_parse(text, strlen(text), place.file, diagnostics, &part);
    if (status == AXL_E_CONFIG) {
        status = AXL_OK; // the findings tell
        goto out;
    }
    if (status == AXL_OK)
        AXL_TRY(graft_node(y, part->root, place, out));
out:
    axl_yaml_destroy(part);
    return status;
}

axl_status axl_yaml_set(axl_yaml *y, axl_yaml_node *map, axl_yaml_node *key, axl_yaml_node *value)
{
    axl_status status = AXL_OK;
    axl_yaml_entry *entries = NULL;

    AXL_REQUIRE(map->kind == AXL_YAML_MAP, AXL_E_BUG, "axl_yaml_set on %s",
                axl_yaml_kind_name(map->kind));
    map->weight = axl_yaml_add_weight(map->weight, value->weight);
    for (size_t i = 0; i < map->n_entries; i++) {
        if (strcmp(map->entries[i].key->text, key->text) == 0) {
            map->entries[i] = (axl_yaml_entry){key, value};
            goto out;
        }
    }
    AXL_TRY(axl_yaml_take_entries(y, map->n_entries + 1, &entries));
    if (map->n_entries > 0)
        memcpy(entries, map->entries, map->n_entries * sizeof *entries);
    entries[map->n_entries] = (axl_yaml_entry){key, value};
    map->entries = entries;
    map->n_entries++;
out:
    return status;
}

// ---- writing ----

// With a point in every case: YAML 1.1 reads 1e-05 as a string and 2 as an integer.
static axl_status put_real(double x, axl_str *out)
{
    char text[40];

    if (!isfinite(x))
        return axl_str_puts(out, isnan(x) ? "\"NaN\"" : x > 0 ? "\"Infinity\"" : "\"-Infinity\"");
    for (int digits = 6; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, x);
        if (strtod(text, NULL) == x)
            break;
    }
    size_t n = strcspn(text, "e");
    return axl_str_printf(out, "%.*s%s%s", (int)n, text, strchr(text, '.') == NULL ? ".0" : "",
                          text + n);
}

static axl_status put_scalar(const axl_yaml_node *node, axl_str *out)
{
    switch (node->kind) {
    case AXL_YAML_NULL:
        return axl_str_puts(out, "null");
    case AXL_YAML_BOOL:
        return axl_str_puts(out, node->boolean ? "true" : "false");
    case AXL_YAML_INT:
        return axl_str_printf(out, "%lld", (long long)node->integer);
    case AXL_YAML_REAL:
        return put_real(node->real, out);
    default:
        return axl_str_put_json(out, node->text, node->n_text);
    }
}

axl_status axl_yaml_put_json(const axl_yaml_node *node, axl_str *out)
{
    axl_status status = AXL_OK;
    bool is_map = node->kind == AXL_YAML_MAP;

    if (!is_map && node->kind != AXL_YAML_LIST)
        return put_scalar(node, out);
    AXL_TRY(axl_str_putc(out, is_map ? '{' : '['));
    for (size_t i = 0; i < node->n_entries; i++) {
        if (i > 0)
            AXL_TRY(axl_str_puts(out, ", "));
        if (is_map) {
            const axl_yaml_node *key = node->entries[i].key;
            AXL_TRY(axl_str_put_json(out, key->text, key->n_text));
            AXL_TRY(axl_str_puts(out, ": "));
        }
        AXL_TRY(axl_yaml_put_json(node->entries[i].value, out));
    }
    AXL_TRY(axl_str_putc(out, is_map ? '}' : ']'));
out:
    return status;
}
