// resolved_config.json: what was understood, and where each value came from.
#include "src/config/key.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static axl_status put_block(const axl_block *block, const void *base, const axl_yaml_node *map,
                            int depth, axl_str *out);

static axl_status put_text(const char *text, axl_str *out)
{
    if (text == NULL)
        return axl_str_puts(out, "null");
    return axl_str_put_json(out, text, strlen(text));
}

static axl_status put_real(double x, axl_str *out)
{
    char text[40];

    for (int digits = 6; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, x);
        if (strtod(text, NULL) == x)
            break;
    }
    return axl_str_puts(out, isfinite(x) ? text : "null");
}

static axl_status put_list(const axl_key *key, const void *field, axl_str *out)
{
    axl_status status = AXL_OK;
    axl_str_list strings;
    axl_int_list integers;
    axl_real_list reals;

    memcpy(&strings, field, sizeof strings);
    memcpy(&integers, field, sizeof integers);
    memcpy(&reals, field, sizeof reals);
    AXL_TRY(axl_str_putc(out, '['));
    for (int64_t i = 0; i < strings.n; i++) {
        AXL_TRY(axl_str_puts(out, i == 0 ? "" : ", "));
        if (key->type == AXL_T_REAL_LIST)
            AXL_TRY(put_real(reals.items[i], out));
        else if (key->type == AXL_T_INT_LIST || key->type == AXL_T_INT_OR_LIST)
            AXL_TRY(axl_str_printf(out, "%lld", (long long)integers.items[i]));
        else
            AXL_TRY(put_text(strings.items[i], out));
    }
    AXL_TRY(axl_str_putc(out, ']'));
out:
    return status;
}

typedef struct block_head {
    AXL_BLOCK_HEAD;
} block_head;

static axl_status put_nested(const axl_key *key, const void *field, int depth, axl_str *out)
{
    axl_status status = AXL_OK;
    block_head head;
    axl_dataset_list list; // all lists of blocks have this layout

    if (key->type == AXL_T_BLOCK_LIST || key->type == AXL_T_BLOCK_OR_LIST) {
        memcpy(&list, field, sizeof list);
        AXL_TRY(axl_str_putc(out, '['));
        for (int64_t i = 0; i < list.n; i++) {
            const char *item = (const char *)list.items + (size_t)i * key->child->size;
            memcpy(&head, item, sizeof head);
            AXL_TRY(axl_str_puts(out, i == 0 ? "" : ", "));
            AXL_TRY(put_block(key->child, item, head.node, depth + 1, out));
        }
        AXL_TRY(axl_str_putc(out, ']'));
        goto out;
    }
    memcpy(&head, field, sizeof head);
    if (head.text != NULL)
        AXL_TRY(put_text(head.text, out));
    else if (head.node == NULL)
        AXL_TRY(axl_str_puts(out, head.given ? "true" : "false"));
    else
        AXL_TRY(put_block(key->child, field, head.node, depth + 1, out));
out:
    return status;
}

static axl_status put_value(const axl_key *key, uint8_t origin, const void *field, int depth,
                            axl_str *out)
{
    bool truth;
    int64_t integer;
    double real;
    const char *text;
    const axl_yaml_node *node;

    if (key->type >= AXL_T_BLOCK)
        return put_nested(key, field, depth, out);
    if (origin == AXL_SET_DEFAULT && key->otherwise[0] == '\0')
        return axl_str_puts(out, "null");
    switch (key->type) {
    case AXL_T_BOOL:
        memcpy(&truth, field, sizeof truth);
        return axl_str_puts(out, truth ? "true" : "false");
    case AXL_T_INT:
        memcpy(&integer, field, sizeof integer);
        return axl_str_printf(out, "%lld", (long long)integer);
    case AXL_T_REAL:
        memcpy(&real, field, sizeof real);
        return put_real(real, out);
    case AXL_T_STR:
    case AXL_T_CHOICE:
    case AXL_T_BOOL_OR_STR:
        memcpy(&text, field, sizeof text);
        return put_text(text, out);
    case AXL_T_MAP:
    case AXL_T_LIST:
    case AXL_T_ANY:
        memcpy(&node, field, sizeof(const axl_yaml_node *));
        return node == NULL ? axl_str_puts(out, "null") : axl_yaml_put_json(node, out);
    default:
        return put_list(key, field, out);
    }
}

static axl_status put_origin(uint8_t origin, const axl_yaml_entry *entry, axl_str *out)
{
    static const char *const names[] = {"default", "file", "command line", "derived"};

    if (origin == AXL_SET_FILE && entry != NULL)
        return axl_str_printf(out, "\"%d:%d\"", (int)entry->key->place.line,
                              (int)entry->key->place.column);
    return axl_str_printf(out, "\"%s\"", names[origin]);
}

// Keys that neither work nor were given would only hide the others.
static bool is_shown(const axl_key *key, uint8_t origin)
{
    return origin != AXL_SET_DEFAULT ||
           (key->support == AXL_SUPPORT_WORKS && key->type < AXL_T_BLOCK);
}

// The file is for others to read.
static bool is_secret(const char *name)
{
    return strstr(name, "api_key") != NULL || strstr(name, "secret") != NULL ||
           strstr(name, "webhook") != NULL;
}

static axl_status put_block(const axl_block *block, const void *base, const axl_yaml_node *map,
                            int depth, axl_str *out)
{
    axl_status status = AXL_OK;
    const char *comma = "";
    int indent = 2 * (depth + 1);

    AXL_TRY(axl_str_putc(out, '{'));
    for (size_t i = 0; i < block->n_keys; i++) {
        const axl_key *key = &block->keys[i];
        uint8_t origin = ((const uint8_t *)base)[key->mark_offset];
        if (!is_shown(key, origin))
            continue;
        AXL_TRY(axl_str_printf(out, "%s\n%*s\"%s\": {\"value\": ", comma, indent, "", key->name));
        if (origin != AXL_SET_DEFAULT && is_secret(key->name))
            AXL_TRY(put_text("not shown", out));
        else
            AXL_TRY(put_value(key, origin, (const char *)base + key->offset, depth, out));
        AXL_TRY(axl_str_puts(out, ", \"from\": "));
        AXL_TRY(put_origin(origin, axl_yaml_entry_of(map, key->name), out));
        AXL_TRY(axl_str_putc(out, '}'));
        comma = ",";
    }
    AXL_TRY(axl_str_putc(out, '}'));
out:
    return status;
}

static axl_status put_derived(const axl_config *c, axl_str *out)
{
    static const char *const recompute[] = {"none", "selective", "full"};
    static const char *const when[] = {"never", "steps", "epoch", "best"};
    const axl_derived *d = &c->derived;
    axl_status status = AXL_OK;

    AXL_TRY(axl_str_printf(out, "{\n    \"recompute\": \"%s\",\n    \"compute_dtype\": \"%s\",\n",
                           recompute[d->recompute], axl_dtype_name(d->compute_dtype)));
    AXL_TRY(axl_str_printf(out,
                           "    \"mesh\": {\"dp_replicate\": %d, \"dp_shard\": %d, \"ep\": %d, "
                           "\"cp\": %d, \"tp\": %d},\n    \"global_batch_size\": %lld,\n",
                           d->mesh.dp_replicate, d->mesh.dp_shard, d->mesh.ep, d->mesh.cp,
                           d->mesh.tp, (long long)d->global_batch_size));
    AXL_TRY(axl_str_puts(out, "    \"attn_implementation\": "));
    AXL_TRY(put_text(d->attn.name, out));
    AXL_TRY(axl_str_printf(out,
                           ",\n    \"attn_supports_packing\": %s,\n    \"attn_uses_flash_lib\": "
                           "%s,\n    \"attn_needs_dtype_cast\": %s,\n",
                           d->attn.supports_packing ? "true" : "false",
                           d->attn.uses_flash_lib ? "true" : "false",
                           d->attn.needs_dtype_cast ? "true" : "false"));
    AXL_TRY(axl_str_printf(out,
                           "    \"save_when\": \"%s\",\n    \"save_every\": ", when[d->save_when]));
    AXL_TRY(put_real(d->save_every, out));
    AXL_TRY(axl_str_printf(
        out, ",\n    \"eval_when\": \"%s\",\n    \"eval_every\": ", when[d->eval_when]));
    AXL_TRY(put_real(d->eval_every, out));
    AXL_TRY(axl_str_printf(out, ",\n    \"load_best\": %s\n  }", d->load_best ? "true" : "false"));
out:
    return status;
}

axl_status axl_config_resolved(const axl_config *c, axl_str *out)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_str_puts(out, "{\n  \"file\": "));
    AXL_TRY(put_text(c->path, out));
    AXL_TRY(axl_str_puts(out, ",\n  \"keys\": "));
    AXL_TRY(put_block(&axl_top_block, c, c->node, 1, out));
    AXL_TRY(axl_str_puts(out, ",\n  \"derived\": "));
    AXL_TRY(put_derived(c, out));
    AXL_TRY(axl_str_puts(out, "\n}\n"));
out:
    return status;
}

axl_status axl_config_where(const axl_config *c, const char *name, axl_str *out)
{
    axl_status status = AXL_OK;
    const axl_key *key = axl_block_find(&axl_top_block, name);
    const axl_yaml_entry *entry = axl_yaml_entry_of(c->node, name);
    uint8_t origin = key == NULL ? AXL_SET_DEFAULT : ((const uint8_t *)c)[key->mark_offset];

    if (origin == AXL_SET_FILE && entry != NULL)
        AXL_TRY(axl_str_printf(out, "%s:%d:%d", c->path, (int)entry->key->place.line,
                               (int)entry->key->place.column));
    else if (origin == AXL_SET_OVERRIDE)
        AXL_TRY(axl_str_printf(out, "--%s", name));
    else
        AXL_TRY(axl_str_printf(out, "%s: %s (%s)", c->path, name,
                               origin == AXL_SET_DERIVED ? "derived" : "default"));
out:
    return status;
}
