// Filters on sequences. Those that jinja2 makes lazy (map, select, unique, ...) give a generator: it
// can be walked once, has no length and no items, as templates may notice.
#include "src/text/jinja_internal.h"

#include <string.h>

#define COUNT(t) (sizeof(t) / sizeof *(t))

// ---- attributes by name: "a", "a.b", 0, "a.0" ----

static axl_status get_part(j_env *e, const j_value *v, const char *p, size_t n, j_value *res)
{
    axl_status status = AXL_OK;
    bool digits = n > 0 && n < 18;
    int64_t i = 0;
    j_value key;

    for (size_t k = 0; k < n; k++) {
        digits = digits && p[k] >= '0' && p[k] <= '9';
        i = digits ? i * 10 + (p[k] - '0') : i;
    }
    key = axl_j_int(i);
    if (!digits)
        AXL_TRY(axl_j_text(e, p, n, &key));
    AXL_TRY(axl_j_getitem(e, v, &key, res));
out:
    return status;
}

static axl_status get_attribute(j_env *e, const j_value *v, const j_value *attribute,
                                const j_value *otherwise, j_value *res)
{
    axl_status status = AXL_OK;

    *res = *v;
    if (attribute->kind == J_STR) {
        const char *p = attribute->s->p, *end = p + attribute->s->n;

        for (;;) {
            const char *dot = memchr(p, '.', (size_t)(end - p));
            size_t n = (size_t)((dot != NULL ? dot : end) - p);

            AXL_TRY(get_part(e, res, p, n, res));
            if (otherwise != NULL && otherwise->kind != J_ABSENT && res->kind == J_UNDEF)
                *res = *otherwise;
            if (dot == NULL)
                break;
            p = dot + 1;
        }
    } else if (attribute->kind != J_ABSENT && attribute->kind != J_NONE) {
        AXL_TRY(axl_j_getitem(e, v, attribute, res));
        if (otherwise != NULL && otherwise->kind != J_ABSENT && res->kind == J_UNDEF)
            *res = *otherwise;
    }
out:
    return status;
}

static axl_status fold_case(j_env *e, j_value *v, bool sensitive)
{
    return !sensitive && v->kind == J_STR ? axl_j_lower(e, v->s, v) : AXL_OK;
}

// ---- sorting: a stable merge sort of keys with their values ----

typedef struct keyed {
    j_value key, value;
} keyed;

static axl_status merge(j_env *e, keyed *a, int64_t mid, int64_t n, bool reverse, keyed *tmp)
{
    axl_status status = AXL_OK;
    int64_t i = 0, k = mid, at = 0;
    int order = 0;

    while (i < mid && k < n) {
        AXL_TRY(axl_j_order(e, &a[k].key, &a[i].key, "<", &order));
        // The right one goes first only when strictly before the left one.
        tmp[at++] = (reverse ? order > 0 : order < 0) ? a[k++] : a[i++];
    }
    while (i < mid)
        tmp[at++] = a[i++];
    while (k < n)
        tmp[at++] = a[k++];
    memcpy(a, tmp, (size_t)n * sizeof *a);
out:
    return status;
}

static axl_status sort(j_env *e, keyed *a, int64_t n, bool reverse)
{
    axl_status status = AXL_OK;
    keyed *tmp;

    AXL_TRY(axl_j_take(e, (size_t)n * sizeof *tmp + 1, &tmp));
    for (int64_t width = 1; width < n; width *= 2)
        for (int64_t i = 0; i + width < n; i += 2 * width)
            AXL_TRY(merge(e, a + i, width, n - i < 2 * width ? n - i : 2 * width, reverse, tmp));
out:
    return status;
}

// The key of one item: the attribute, or for "a,b" a tuple of them.
static axl_status sort_key(j_env *e, const j_value *v, const j_value *attribute, bool sensitive,
                           j_value *res)
{
    axl_status status = AXL_OK;
    const char *p, *end;

    if (attribute->kind != J_STR || memchr(attribute->s->p, ',', attribute->s->n) == NULL) {
        AXL_TRY(get_attribute(e, v, attribute, NULL, res));
        AXL_TRY(fold_case(e, res, sensitive));
        goto out;
    }
    p = attribute->s->p;
    end = p + attribute->s->n;
    AXL_TRY(axl_j_list(e, J_TUPLE, 2, res));
    for (;;) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        j_value name, key;

        AXL_TRY(axl_j_text(e, p, (size_t)((comma != NULL ? comma : end) - p), &name));
        AXL_TRY(get_attribute(e, v, &name, NULL, &key));
        AXL_TRY(fold_case(e, &key, sensitive));
        AXL_TRY(axl_j_append(e, res->l, key));
        if (comma == NULL)
            break;
        p = comma + 1;
    }
out:
    return status;
}

static axl_status sorted(j_env *e, const j_list *l, const j_value *attribute, bool sensitive,
                         bool reverse, keyed **out)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_j_take(e, ((size_t)l->n + 1) * sizeof **out, out));
    for (int64_t i = 0; i < l->n; i++) {
        (*out)[i].value = l->v[i];
        AXL_TRY(sort_key(e, &l->v[i], attribute, sensitive, &(*out)[i].key));
    }
    AXL_TRY(sort(e, *out, l->n, reverse));
out:
    return status;
}

static axl_status f_sort(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    keyed *items;
    j_list *l;

    AXL_TRY(axl_j_items(e, self, &l));
    AXL_TRY(sorted(e, l, &a[2], axl_j_truth(&a[1]), axl_j_truth(&a[0]), &items));
    AXL_TRY(axl_j_list(e, J_LIST, l->n, res));
    for (int64_t i = 0; i < l->n; i++)
        AXL_TRY(axl_j_append(e, res->l, items[i].value));
out:
    return status;
}

static axl_status f_dictsort(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    bool by_value = a[1].kind == J_STR && a[1].s->n == 5 && memcmp(a[1].s->p, "value", 5) == 0;
    j_value pairs, at = axl_j_int(by_value);
    keyed *items;

    if (self->kind == J_UNDEF)
        AXL_TRY(axl_j_fail_undefined(e, self));
    J_REQUIRE(e, self->kind == J_DICT, "'%s object' has no attribute 'items'",
              axl_j_type_name(self));
    J_REQUIRE(e,
              a[1].kind == J_ABSENT || by_value ||
                  (a[1].kind == J_STR && a[1].s->n == 3 && memcmp(a[1].s->p, "key", 3) == 0),
              "FilterArgumentError: You can only sort by either \"key\" or \"value\"");
    AXL_TRY(axl_j_dict_entries(e, self->d, J_ITEMS, &pairs));
    AXL_TRY(sorted(e, pairs.l, &at, axl_j_truth(&a[0]), axl_j_truth(&a[2]), &items));
    AXL_TRY(axl_j_list(e, J_LIST, pairs.l->n, res));
    for (int64_t i = 0; i < pairs.l->n; i++)
        AXL_TRY(axl_j_append(e, res->l, items[i].value));
out:
    return status;
}

static axl_status f_groupby(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    bool sensitive = axl_j_truth(&a[2]);
    j_value group, key;
    keyed *items;
    j_list *l;

    AXL_TRY(axl_j_items(e, self, &l));
    AXL_TRY(axl_j_take(e, ((size_t)l->n + 1) * sizeof *items, &items));
    for (int64_t i = 0; i < l->n; i++) {
        items[i].value = l->v[i];
        AXL_TRY(get_attribute(e, &l->v[i], &a[0], &a[1], &items[i].key));
        AXL_TRY(fold_case(e, &items[i].key, sensitive));
    }
    AXL_TRY(sort(e, items, l->n, false));
    AXL_TRY(axl_j_list(e, J_LIST, 0, res));
    for (int64_t i = 0; i < l->n; i++) {
        if (i == 0 || !axl_j_equal(e, &items[i].key, &items[i - 1].key)) {
            AXL_TRY(axl_j_list(e, J_TUPLE, 2, &group));
            group.l->view = J_GROUP;
            AXL_TRY(get_attribute(e, &items[i].value, &a[0], &a[1], &key)); // with its own case
            AXL_TRY(axl_j_append(e, group.l, key));
            AXL_TRY(axl_j_list(e, J_LIST, 0, &key));
            AXL_TRY(axl_j_append(e, group.l, key));
            AXL_TRY(axl_j_append(e, res->l, group));
        }
        AXL_TRY(axl_j_append(e, group.l->v[1].l, items[i].value));
    }
out:
    return status;
}

static axl_status extreme(j_env *e, const j_value *self, const j_value *a, int sign, j_value *res)
{
    axl_status status = AXL_OK;
    j_value best, key, none = {.kind = J_NONE};
    int order = 0;
    j_list *l;

    AXL_TRY(axl_j_items(e, self, &l));
    if (l->n == 0)
        AXL_TRY(
            axl_j_undefined(e, J_UNDEF_TEXT, "No aggregated item, sequence was empty.", none, res));
    for (int64_t i = 0; i < l->n; i++) {
        AXL_TRY(get_attribute(e, &l->v[i], &a[1], NULL, &key));
        AXL_TRY(fold_case(e, &key, axl_j_truth(&a[0])));
        if (i > 0)
            AXL_TRY(axl_j_order(e, &key, &best, sign < 0 ? "<" : ">", &order));
        if (i > 0 && order * sign <= 0)
            continue;
        best = key;
        *res = l->v[i];
    }
out:
    return status;
}

static axl_status f_min(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    return extreme(e, self, a, -1, res);
}

static axl_status f_max(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    return extreme(e, self, a, 1, res);
}

static axl_status f_sum(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    j_value v;
    j_list *l;

    AXL_TRY(axl_j_items(e, self, &l));
    *res = a[1].kind != J_ABSENT ? a[1] : axl_j_int(0);
    for (int64_t i = 0; i < l->n; i++) {
        AXL_TRY(get_attribute(e, &l->v[i], &a[0], NULL, &v));
        AXL_TRY(axl_j_binary(e, JN_ADD, res, &v, res));
    }
out:
    return status;
}

// ---- length, ends, order ----

static axl_status f_length(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;

    (void)a;
    switch (self->kind) {
    case J_UNDEF:
        *res = axl_j_int(0);
        break;
    case J_STR:
        *res = axl_j_int(axl_j_chars(self->s));
        break;
    case J_LIST:
    case J_TUPLE:
        *res = axl_j_int(self->l->n);
        break;
    case J_DICT:
        *res = axl_j_int(self->d->n);
        break;
    default:
        J_FAIL(e, "TypeError: object of type '%s' has no len()", axl_j_type_name(self));
    }
out:
    return status;
}

static axl_status end_item(j_env *e, const j_value *self, bool last, j_value *res)
{
    axl_status status = AXL_OK;
    j_value none = {.kind = J_NONE};
    j_list *l;

    AXL_TRY(axl_j_items(e, self, &l));
    if (l->n > 0)
        *res = l->v[last ? l->n - 1 : 0];
    else
        AXL_TRY(axl_j_undefined(e, J_UNDEF_TEXT,
                                last ? "No last item, sequence was empty."
                                     : "No first item, sequence was empty.",
                                none, res));
out:
    return status;
}

static axl_status f_first(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    (void)a;
    return end_item(e, self, false, res);
}

static axl_status f_last(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    (void)a;
    return end_item(e, self, true, res);
}

static axl_status f_list(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    j_list *l;

    (void)a;
    AXL_TRY(axl_j_items(e, self, &l));
    AXL_TRY(axl_j_list(e, J_LIST, l->n, res));
    if (l->n > 0)
        memcpy(res->l->v, l->v, (size_t)l->n * sizeof *l->v);
    res->l->n = l->n;
out:
    return status;
}

static axl_status f_reverse(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    j_buf b = {0};
    j_value list;
    j_list *l;

    (void)a;
    AXL_TRY(axl_j_items(e, self, &l));
    AXL_TRY(axl_j_list(e, J_LIST, l->n, &list));
    for (int64_t i = l->n; i-- > 0;) {
        AXL_TRY(axl_j_append(e, list.l, l->v[i]));
        if (self->kind == J_STR)
            AXL_TRY(axl_j_put(e, &b, l->v[i].s->p, l->v[i].s->n));
    }
    AXL_TRY(self->kind == J_STR ? axl_j_buf_value(e, &b, res) : axl_j_iter(e, list, res));
out:
    return status;
}

static axl_status f_join(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    j_buf b = {0};
    j_value v;
    j_list *l;

    AXL_TRY(axl_j_items(e, self, &l));
    for (int64_t i = 0; i < l->n; i++) {
        if (i > 0 && a[0].kind != J_ABSENT)
            AXL_TRY(axl_j_print(e, &b, &a[0]));
        AXL_TRY(get_attribute(e, &l->v[i], &a[1], NULL, &v));
        AXL_TRY(axl_j_print(e, &b, &v));
    }
    AXL_TRY(axl_j_buf_value(e, &b, res));
out:
    return status;
}

static axl_status f_items(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    j_value list;

    (void)a;
    if (self->kind == J_UNDEF) {
        AXL_TRY(axl_j_list(e, J_LIST, 0, &list));
    } else {
        J_REQUIRE(e, self->kind == J_DICT, "TypeError: Can only get item pairs from a mapping.");
        AXL_TRY(axl_j_dict_entries(e, self->d, J_ITEMS, &list));
    }
    AXL_TRY(axl_j_iter(e, list, res));
out:
    return status;
}

static axl_status f_unique(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    j_value list, seen, key;
    j_list *l;

    AXL_TRY(axl_j_items(e, self, &l));
    AXL_TRY(axl_j_list(e, J_LIST, 0, &list));
    AXL_TRY(axl_j_dict(e, &seen));
    for (int64_t i = 0; i < l->n; i++) {
        AXL_TRY(get_attribute(e, &l->v[i], &a[1], NULL, &key));
        AXL_TRY(fold_case(e, &key, axl_j_truth(&a[0])));
        if (axl_j_dict_get(seen.d, &key) != NULL)
            continue;
        AXL_TRY(axl_j_dict_set(e, seen.d, key, axl_j_none()));
        AXL_TRY(axl_j_append(e, list.l, l->v[i]));
    }
    AXL_TRY(axl_j_iter(e, list, res));
out:
    return status;
}

static axl_status group_size(j_env *e, const j_value *v, int64_t *n)
{
    axl_status status = AXL_OK;

    J_REQUIRE(e, v->kind == J_INT && v->i > 0 && v->i < 1000000,
              "ValueError: the number of items or slices must be a positive integer");
    *n = v->i;
out:
    return status;
}

static axl_status f_batch(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    j_value list, row = {.kind = J_ABSENT};
    int64_t size = 1;
    j_list *l;

    AXL_TRY(group_size(e, &a[0], &size));
    AXL_TRY(axl_j_items(e, self, &l));
    AXL_TRY(axl_j_list(e, J_LIST, 0, &list));
    for (int64_t i = 0; i < l->n; i++) {
        if (i % size == 0) {
            AXL_TRY(axl_j_list(e, J_LIST, 0, &row));
            AXL_TRY(axl_j_append(e, list.l, row));
        }
        AXL_TRY(axl_j_append(e, row.l, l->v[i]));
    }
    while (row.kind != J_ABSENT && a[1].kind > J_NONE && row.l->n < size)
        AXL_TRY(axl_j_append(e, row.l, a[1]));
    AXL_TRY(axl_j_iter(e, list, res));
out:
    return status;
}

static axl_status f_slice(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    j_value list, row;
    int64_t slices = 1, at = 0;
    j_list *l;

    AXL_TRY(group_size(e, &a[0], &slices));
    AXL_TRY(axl_j_items(e, self, &l));
    AXL_TRY(axl_j_list(e, J_LIST, 0, &list));
    for (int64_t i = 0; i < slices; i++) {
        int64_t n = l->n / slices + (i < l->n % slices);

        AXL_TRY(axl_j_list(e, J_LIST, 0, &row));
        for (int64_t k = 0; k < n; k++)
            AXL_TRY(axl_j_append(e, row.l, l->v[at++]));
        if (a[1].kind > J_NONE && i >= l->n % slices)
            AXL_TRY(axl_j_append(e, row.l, a[1]));
        AXL_TRY(axl_j_append(e, list.l, row));
    }
    AXL_TRY(axl_j_iter(e, list, res));
out:
    return status;
}

static axl_status f_attr(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    j_value key;

    AXL_TRY(axl_j_to_str(e, &a[0], &key));
    if (self->kind == J_DICT) // attributes only, never keys
        AXL_TRY(axl_j_undefined(e, J_UNDEF_ATTR, axl_j_type_name(self), key, res));
    else
        AXL_TRY(axl_j_getattr(e, self, key.s, res));
out:
    return status;
}

// ---- map, select, reject ----

static const j_value *keyword(const j_args *args, const char *name)
{
    for (int i = 0; i < args->n_kw; i++)
        if (args->kw_names[i]->n == strlen(name) &&
            memcmp(args->kw_names[i]->p, name, args->kw_names[i]->n) == 0)
            return &args->kw[i];
    return NULL;
}

static axl_status f_map(j_env *e, const j_value *self, const j_args *args, j_value *res)
{
    axl_status status = AXL_OK;
    const j_value *attribute = keyword(args, "attribute");
    const j_def *def = NULL;
    j_args rest = *args;
    j_value list, v;
    j_list *l;

    if (args->n_pos > 0) {
        J_REQUIRE(e, args->pos[0].kind == J_STR, "FilterArgumentError: map needs a filter's name");
        def = axl_j_find_filter(args->pos[0].s->p, args->pos[0].s->n);
        J_REQUIRE(e, def != NULL, "No filter named '%.*s'.", (int)args->pos[0].s->n,
                  args->pos[0].s->p);
        rest.pos++;
        rest.n_pos--;
        attribute = NULL;
    }
    J_REQUIRE(e, def != NULL || attribute != NULL,
              "FilterArgumentError: map requires a filter argument");
    AXL_TRY(axl_j_items(e, self, &l));
    AXL_TRY(axl_j_list(e, J_LIST, l->n, &list));
    for (int64_t i = 0; i < l->n; i++) {
        if (def != NULL)
            AXL_TRY(axl_j_apply_def(e, def, &l->v[i], &rest, &v));
        else
            AXL_TRY(get_attribute(e, &l->v[i], attribute, keyword(args, "default"), &v));
        AXL_TRY(axl_j_append(e, list.l, v));
    }
    AXL_TRY(axl_j_iter(e, list, res));
out:
    return status;
}

// by_attribute: the first argument names an attribute; then a test with its arguments may follow.
static axl_status choose(j_env *e, const j_value *self, const j_args *args, bool by_attribute,
                         bool keep, j_value *res)
{
    axl_status status = AXL_OK;
    int skip = by_attribute;
    const j_def *def = NULL;
    j_args rest = *args;
    j_value list, v, verdict;
    j_list *l;

    J_REQUIRE(e, args->n_pos >= skip, "FilterArgumentError: Missing parameter for attribute name");
    if (args->n_pos > skip) {
        const j_value *name = &args->pos[skip];

        J_REQUIRE(e, name->kind == J_STR, "FilterArgumentError: a test's name is expected");
        def = axl_j_find_test(name->s->p, name->s->n);
        J_REQUIRE(e, def != NULL, "No test named '%.*s'.", (int)name->s->n, name->s->p);
        rest.pos += skip + 1;
        rest.n_pos -= skip + 1;
    }
    AXL_TRY(axl_j_items(e, self, &l));
    AXL_TRY(axl_j_list(e, J_LIST, 0, &list));
    for (int64_t i = 0; i < l->n; i++) {
        v = l->v[i];
        if (by_attribute)
            AXL_TRY(get_attribute(e, &l->v[i], &args->pos[0], NULL, &v));
        verdict = v;
        if (def != NULL)
            AXL_TRY(axl_j_apply_def(e, def, &v, &rest, &verdict));
        if (axl_j_truth(&verdict) == keep)
            AXL_TRY(axl_j_append(e, list.l, l->v[i]));
    }
    AXL_TRY(axl_j_iter(e, list, res));
out:
    return status;
}

static axl_status f_select(j_env *e, const j_value *self, const j_args *args, j_value *res)
{
    return choose(e, self, args, false, true, res);
}

static axl_status f_reject(j_env *e, const j_value *self, const j_args *args, j_value *res)
{
    return choose(e, self, args, false, false, res);
}

static axl_status f_selectattr(j_env *e, const j_value *self, const j_args *args, j_value *res)
{
    return choose(e, self, args, true, true, res);
}

static axl_status f_rejectattr(j_env *e, const j_value *self, const j_args *args, j_value *res)
{
    return choose(e, self, args, true, false, res);
}

static const j_def filters[] = {
    {"length", "", 0, f_length, NULL, false},
    {"count", "", 0, f_length, NULL, false},
    {"first", "", 0, f_first, NULL, false},
    {"last", "", 0, f_last, NULL, false},
    {"list", "", 0, f_list, NULL, false},
    {"reverse", "", 0, f_reverse, NULL, false},
    {"join", "d attribute", 0, f_join, NULL, false},
    {"items", "", 0, f_items, NULL, false},
    {"sort", "reverse case_sensitive attribute", 0, f_sort, NULL, false},
    {"dictsort", "case_sensitive by reverse", 0, f_dictsort, NULL, false},
    {"groupby", "attribute default case_sensitive", 1, f_groupby, NULL, false},
    {"min", "case_sensitive attribute", 0, f_min, NULL, false},
    {"max", "case_sensitive attribute", 0, f_max, NULL, false},
    {"sum", "attribute start", 0, f_sum, NULL, false},
    {"unique", "case_sensitive attribute", 0, f_unique, NULL, false},
    {"batch", "linecount fill_with", 1, f_batch, NULL, false},
    {"slice", "slices fill_with", 1, f_slice, NULL, false},
    {"attr", "name", 1, f_attr, NULL, false},
    {"map", "", 0, NULL, f_map, false},
    {"select", "", 0, NULL, f_select, false},
    {"reject", "", 0, NULL, f_reject, false},
    {"selectattr", "", 0, NULL, f_selectattr, false},
    {"rejectattr", "", 0, NULL, f_rejectattr, false},
};

const j_def *axl_j_find_sequence_filter(const char *name, size_t n)
{
    return axl_j_find_def(filters, COUNT(filters), name, n);
}
