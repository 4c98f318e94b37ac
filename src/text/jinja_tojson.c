// tojson as transformers defines it: Python's json.dumps without HTML escaping, non-ASCII text kept
// unless ensure_ascii is asked for, the order of keys kept unless sort_keys.
#include "src/text/jinja_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct style {
    bool ascii, sort_keys, indented;
    const j_str *indent; // one level
    j_str item, colon;   // separators
} style;

static axl_status put_string(j_env *e, j_buf *b, const j_str *s, bool ascii)
{
    axl_status status = AXL_OK;
    static const char plain[] = "\"\\\n\r\t\b\f", letters[] = "\"\\nrtbf";
    char escape[16];
    uint32_t cp;

    AXL_TRY(axl_j_put(e, b, "\"", 1));
    for (size_t i = 0, k; i < s->n; i += k) {
        const char *at;

        k = axl_j_cp(s->p + i, s->n - i, &cp);
        at = cp != 0 && cp < 0x80 ? strchr(plain, (int)cp) : NULL;
        if (at != NULL)
            (void)snprintf(escape, sizeof escape, "\\%c", letters[at - plain]);
        else if (cp < 0x20 || (ascii && cp > 0x7e && cp < 0x10000))
            (void)snprintf(escape, sizeof escape, "\\u%04x", cp);
        else if (ascii && cp >= 0x10000)
            (void)snprintf(escape, sizeof escape, "\\u%04x\\u%04x", 0xd800 + ((cp - 0x10000) >> 10),
                           0xdc00 + ((cp - 0x10000) & 0x3ff));
        else {
            AXL_TRY(axl_j_put(e, b, s->p + i, k));
            continue;
        }
        AXL_TRY(axl_j_puts(e, b, escape));
    }
    AXL_TRY(axl_j_put(e, b, "\"", 1));
out:
    return status;
}

static axl_status put_number(j_env *e, j_buf *b, const j_value *v)
{
    if (v->kind == J_BOOL)
        return axl_j_puts(e, b, v->b ? "true" : "false");
    if (v->kind == J_FLOAT && !isfinite(v->f))
        return axl_j_puts(e, b, isnan(v->f) ? "NaN" : v->f < 0 ? "-Infinity" : "Infinity");
    return axl_j_print(e, b, v);
}

static axl_status new_line(j_env *e, j_buf *b, const style *s, int level)
{
    axl_status status = AXL_OK;

    if (!s->indented)
        goto out;
    AXL_TRY(axl_j_put(e, b, "\n", 1));
    for (int i = 0; i < level; i++)
        AXL_TRY(axl_j_put(e, b, s->indent->p, s->indent->n));
out:
    return status;
}

static axl_status put_value(j_env *e, j_buf *b, const j_value *v, const style *s, int level);

static axl_status put_key(j_env *e, j_buf *b, const j_value *key, const style *s)
{
    axl_status status = AXL_OK;
    j_buf text = {0};
    j_value name = *key;

    if (key->kind != J_STR) {
        J_REQUIRE(e, key->kind >= J_NONE && key->kind <= J_BIG,
                  "TypeError: keys must be str, int, float, bool or None, not %s",
                  axl_j_type_name(key));
        if (key->kind == J_NONE)
            AXL_TRY(axl_j_puts(e, &text, "null"));
        else
            AXL_TRY(put_number(e, &text, key));
        AXL_TRY(axl_j_buf_value(e, &text, &name));
    }
    AXL_TRY(put_string(e, b, name.s, s->ascii));
out:
    return status;
}

// The positions of a dict's members in the order of their keys, by insertion.
static axl_status sorted_members(j_env *e, const j_dict *d, int64_t **out)
{
    axl_status status = AXL_OK;
    int64_t *at;
    int order = 0;

    AXL_TRY(axl_j_take(e, ((size_t)d->n + 1) * sizeof *at, &at));
    for (int64_t i = 0; i < d->n; i++) {
        int64_t k = i;

        for (; k > 0; k--) {
            AXL_TRY(axl_j_order(e, &d->keys[i], &d->keys[at[k - 1]], "<", &order));
            if (order >= 0)
                break;
            at[k] = at[k - 1];
            J_REQUIRE(e, ++e->steps <= e->max_steps, "the template takes more than %lld steps",
                      (long long)e->max_steps);
        }
        at[k] = i;
    }
    *out = at;
out:
    return status;
}

static axl_status put_dict(j_env *e, j_buf *b, const j_dict *d, const style *s, int level)
{
    axl_status status = AXL_OK;
    int64_t *order = NULL;

    if (s->sort_keys)
        AXL_TRY(sorted_members(e, d, &order));
    AXL_TRY(axl_j_put(e, b, "{", 1));
    for (int64_t i = 0; i < d->n; i++) {
        int64_t at = order != NULL ? order[i] : i;

        if (i > 0)
            AXL_TRY(axl_j_put(e, b, s->item.p, s->item.n));
        AXL_TRY(new_line(e, b, s, level + 1));
        AXL_TRY(put_key(e, b, &d->keys[at], s));
        AXL_TRY(axl_j_put(e, b, s->colon.p, s->colon.n));
        AXL_TRY(put_value(e, b, &d->values[at], s, level + 1));
    }
    if (d->n > 0)
        AXL_TRY(new_line(e, b, s, level));
    AXL_TRY(axl_j_put(e, b, "}", 1));
out:
    return status;
}

static axl_status put_list(j_env *e, j_buf *b, const j_list *l, const style *s, int level)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_j_put(e, b, "[", 1));
    for (int64_t i = 0; i < l->n; i++) {
        if (i > 0)
            AXL_TRY(axl_j_put(e, b, s->item.p, s->item.n));
        AXL_TRY(new_line(e, b, s, level + 1));
        AXL_TRY(put_value(e, b, &l->v[i], s, level + 1));
    }
    if (l->n > 0)
        AXL_TRY(new_line(e, b, s, level));
    AXL_TRY(axl_j_put(e, b, "]", 1));
out:
    return status;
}

static axl_status put_value(j_env *e, j_buf *b, const j_value *v, const style *s, int level)
{
    axl_status status = AXL_OK;
    bool plain = v->kind == J_TUPLE || (v->kind == J_LIST && v->l->view == J_PLAIN);

    AXL_TRY(axl_j_enter(e));
    if (v->kind == J_NONE)
        AXL_TRY(axl_j_puts(e, b, "null"));
    else if (v->kind >= J_BOOL && v->kind <= J_BIG)
        AXL_TRY(put_number(e, b, v));
    else if (v->kind == J_STR)
        AXL_TRY(put_string(e, b, v->s, s->ascii));
    else if (plain)
        AXL_TRY(put_list(e, b, v->l, s, level));
    else if (v->kind == J_DICT)
        AXL_TRY(put_dict(e, b, v->d, s, level));
    else
        J_FAIL(e, "TypeError: Object of type %s is not JSON serializable", axl_j_type_name(v));
    e->depth--;
out:
    return status;
}

static axl_status read_indent(j_env *e, const j_value *v, style *s)
{
    axl_status status = AXL_OK;
    j_value empty, pad;

    if (v->kind <= J_NONE)
        goto out;
    s->indented = true;
    if (v->kind == J_STR) {
        s->indent = v->s;
        goto out;
    }
    J_REQUIRE(e, (v->kind == J_INT && v->i < 1000) || v->kind == J_BOOL,
              "TypeError: tojson: indent must be a small integer or a string");
    AXL_TRY(axl_j_word(e, "", &empty));
    AXL_TRY(axl_j_pad(e, empty.s, v->kind == J_INT ? v->i : v->b, ' ', 1, &pad));
    s->indent = pad.s;
out:
    return status;
}

static axl_status tojson(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    style s = {.item = {", ", 2, 2}, .colon = {": ", 2, 2}};
    j_buf b = {0};

    s.ascii = axl_j_truth(&a[0]);
    s.sort_keys = axl_j_truth(&a[3]);
    AXL_TRY(read_indent(e, &a[1], &s));
    if (s.indented)
        s.item = (j_str){",", 1, 1};
    if (a[2].kind > J_NONE) {
        j_list *pair;

        AXL_TRY(axl_j_items(e, &a[2], &pair));
        J_REQUIRE(e, pair->n == 2 && pair->v[0].kind == J_STR && pair->v[1].kind == J_STR,
                  "ValueError: tojson: separators are a pair of strings");
        s.item = *pair->v[0].s;
        s.colon = *pair->v[1].s;
    }
    AXL_TRY(put_value(e, &b, self, &s, 0));
    AXL_TRY(axl_j_buf_value(e, &b, res));
out:
    return status;
}

axl_status axl_j_tojson(j_env *e, const j_value *self, const j_args *args, j_value *res)
{
    static const j_def def = {"tojson", "ensure_ascii indent separators sort_keys", 0, tojson, NULL,
                              false};

    return axl_j_apply_def(e, &def, self, args, res);
}
