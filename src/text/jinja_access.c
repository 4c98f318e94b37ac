// Looking into values: attributes, items, slices, and what a loop walks over.
#include "src/text/jinja_internal.h"

#include <string.h>

axl_status axl_j_items(j_env *e, const j_value *v, j_list **out)
{
    axl_status status = AXL_OK;
    j_value list, item;
    uint32_t cp;

    switch (v->kind) {
    case J_LIST:
    case J_TUPLE:
        *out = v->l;
        break;
    case J_ITER:
        AXL_TRY(axl_j_list(e, J_LIST, 0, &list));
        list.l->n = v->it->list->n - v->it->at;
        if (list.l->n > 0)
            list.l->v = v->it->list->v + v->it->at;
        list.l->capacity = list.l->n;
        v->it->at = v->it->list->n;
        *out = list.l;
        break;
    case J_DICT:
        AXL_TRY(axl_j_dict_entries(e, v->d, J_KEYS, &list));
        *out = list.l;
        break;
    case J_ABSENT:
    case J_UNDEF:
        AXL_TRY(axl_j_list(e, J_LIST, 0, &list));
        *out = list.l;
        break;
    case J_STR:
        AXL_TRY(axl_j_list(e, J_LIST, axl_j_chars(v->s), &list));
        for (size_t i = 0, k; i < v->s->n; i += k) {
            k = axl_j_cp(v->s->p + i, v->s->n - i, &cp);
            AXL_TRY(axl_j_text(e, v->s->p + i, k, &item));
            AXL_TRY(axl_j_append(e, list.l, item));
        }
        *out = list.l;
        break;
    default:
        J_FAIL(e, "TypeError: '%s' object is not iterable", axl_j_type_name(v));
    }
    e->steps += (*out)->n; // who asks walks them
out:
    return status;
}

static axl_status text_value(j_env *e, const j_str *s, j_value *res)
{
    return axl_j_text(e, s->p, s->n, res);
}

typedef enum {
    L_INDEX,
    L_INDEX0,
    L_REVINDEX,
    L_REVINDEX0,
    L_FIRST,
    L_LAST,
    L_LENGTH,
    L_DEPTH,
    L_DEPTH0,
    L_PREVITEM,
    L_NEXTITEM,
    L_N
} loop_field;

static axl_status loop_getattr(j_env *e, const j_loop *loop, const j_str *name, j_value *res)
{
    axl_status status = AXL_OK;
    static const char *const fields[] = {"index",  "index0",   "revindex", "revindex0",
                                         "first",  "last",     "length",   "depth",
                                         "depth0", "previtem", "nextitem"};
    int64_t n = loop->items->n, at = loop->at;
    int f = 0;

    while (f < L_N && (strlen(fields[f]) != name->n || memcmp(fields[f], name->p, name->n) != 0))
        f++;
    if (f < L_FIRST || f == L_LENGTH || f == L_DEPTH || f == L_DEPTH0) {
        const int64_t numbers[] = {at + 1, at, n - at,           n - at - 1,  0,
                                   0,      n,  loop->depth0 + 1, loop->depth0};
        *res = axl_j_int(numbers[f]);
    } else if (f == L_FIRST || f == L_LAST) {
        *res = axl_j_bool(f == L_FIRST ? at == 0 : at == n - 1);
    } else if (f == L_PREVITEM || f == L_NEXTITEM) {
        int64_t other = f == L_PREVITEM ? at - 1 : at + 1;
        j_value key = {.kind = J_UNDEF};

        if (other >= 0 && other < n)
            *res = loop->items->v[other];
        else
            AXL_TRY(axl_j_undefined(
                e, J_UNDEF_TEXT, other < 0 ? "there is no previous item" : "there is no next item",
                key, res));
    } else {
        j_value key;

        AXL_TRY(text_value(e, name, &key));
        AXL_TRY(axl_j_undefined(e, J_UNDEF_ATTR, "LoopContext", key, res));
    }
out:
    return status;
}

static bool is_word(const j_str *s, const char *word)
{
    return s->n == strlen(word) && memcmp(s->p, word, s->n) == 0;
}

// Attributes that are no methods and no keys; res stays J_ABSENT when there is none.
static axl_status special_attr(j_env *e, const j_value *v, const j_str *name, j_value *res)
{
    axl_status status = AXL_OK;

    res->kind = J_ABSENT;
    if (v->kind == J_LOOP)
        AXL_TRY(loop_getattr(e, v->loop, name, res));
    else if (v->kind == J_TUPLE && v->l->view == J_GROUP && is_word(name, "grouper"))
        *res = v->l->v[0];
    else if (v->kind == J_TUPLE && v->l->view == J_GROUP && is_word(name, "list"))
        *res = v->l->v[1];
    else if (v->kind == J_MACRO && is_word(name, "name") && v->macro->node->name >= 0)
        AXL_TRY(text_value(e, e->t->names[v->macro->node->name], res));
out:
    return status;
}

// A method or special attribute, else J_ABSENT.
static axl_status find_attr(j_env *e, const j_value *v, const j_str *name, j_value *res)
{
    axl_status status = AXL_OK;
    const j_def *def = axl_j_find_method(v, name);
    j_value key;

    if (def == NULL && name->n > 4 && memcmp(name->p, "__", 2) == 0 &&
        memcmp(name->p + name->n - 2, "__", 2) == 0) {
        AXL_TRY(text_value(e, name, &key));
        AXL_TRY(axl_j_undefined(e, J_UNDEF_UNSAFE, axl_j_type_name(v), key, res));
        goto out;
    }
    if (def == NULL) {
        AXL_TRY(special_attr(e, v, name, res));
        goto out;
    }
    if (def->unsafe) {
        AXL_TRY(text_value(e, name, &key));
        AXL_TRY(axl_j_undefined(e, J_UNDEF_UNSAFE, axl_j_type_name(v), key, res));
        goto out;
    }
    AXL_TRY(axl_j_take(e, sizeof *res->bound, &res->bound));
    res->kind = J_METHOD;
    res->safe = false;
    res->bound->self = *v;
    res->bound->def = def;
out:
    return status;
}

axl_status axl_j_getattr(j_env *e, const j_value *object, const j_str *name, j_value *res)
{
    axl_status status = AXL_OK;
    const j_value copy = *object, *v = &copy; // res may be the object itself
    const j_value *found = NULL;
    j_value key, attr;

    if (v->kind == J_UNDEF)
        AXL_TRY(axl_j_fail_undefined(e, v));
    if (v->kind == J_NS)
        found = axl_j_dict_get_str(v->d, name->p, name->n);
    if (found == NULL) {
        AXL_TRY(find_attr(e, v, name, &attr));
        if (attr.kind != J_ABSENT && (attr.kind != J_UNDEF || v->kind != J_DICT)) {
            *res = attr;
            goto out;
        }
    }
    if (v->kind == J_DICT)
        found = axl_j_dict_get_str(v->d, name->p, name->n);
    if (found == NULL && v->kind == J_DICT && attr.kind == J_UNDEF) {
        *res = attr;
        goto out;
    }
    if (found != NULL) {
        *res = *found;
    } else {
        AXL_TRY(text_value(e, name, &key));
        AXL_TRY(axl_j_undefined(e, J_UNDEF_ATTR, axl_j_type_name(v), key, res));
    }
out:
    return status;
}

static axl_status item_at(j_env *e, const j_value *v, int64_t at, j_value *res)
{
    axl_status status = AXL_OK;
    int64_t n = v->kind == J_STR ? axl_j_chars(v->s) : v->l->n;
    int64_t i = at < 0 ? at + n : at;

    if (i < 0 || i >= n) {
        AXL_TRY(axl_j_undefined(e, J_UNDEF_ITEM, axl_j_type_name(v), axl_j_int(at), res));
    } else if (v->kind == J_STR) {
        size_t from, k;
        uint32_t cp;

        axl_j_work(e, v->s->n == (size_t)n ? 0 : v->s->n);
        if (v->s->n_chars < 0) // constants are counted already: threads share them
            v->s->n_chars = n;
        from = axl_j_offset(v->s, i);
        k = axl_j_cp(v->s->p + from, v->s->n - from, &cp);
        AXL_TRY(axl_j_text(e, v->s->p + from, k, res));
    } else {
        *res = v->l->v[i];
    }
out:
    return status;
}

axl_status axl_j_getitem(j_env *e, const j_value *object, const j_value *key, j_value *res)
{
    axl_status status = AXL_OK;
    const j_value copy = *object, *v = &copy; // res may be the object itself
    bool sequence = v->kind == J_STR || v->kind == J_TUPLE ||
                    (v->kind == J_LIST && (v->l->view == J_PLAIN || v->l->view == J_RANGE));
    const j_value *found;

    if (v->kind == J_UNDEF)
        AXL_TRY(axl_j_fail_undefined(e, v));
    if (sequence && (key->kind == J_INT || key->kind == J_BOOL)) {
        AXL_TRY(item_at(e, v, key->kind == J_INT ? key->i : key->b, res));
        goto out;
    }
    if (v->kind == J_DICT) {
        found = axl_j_dict_get(v->d, key);
        if (found != NULL) {
            *res = *found;
            goto out;
        }
    }
    if (key->kind == J_STR) {
        AXL_TRY(find_attr(e, v, key->s, res));
        if (res->kind == J_ABSENT)
            AXL_TRY(axl_j_undefined(e, J_UNDEF_ATTR, axl_j_type_name(v), *key, res));
        goto out;
    }
    AXL_TRY(axl_j_undefined(e, J_UNDEF_ITEM, axl_j_type_name(v), *key, res));
out:
    return status;
}

static axl_status slice_bound(j_env *e, const j_value *v, int64_t otherwise, int64_t *res)
{
    axl_status status = AXL_OK;

    if (v->kind == J_UNDEF)
        AXL_TRY(axl_j_fail_undefined(e, v));
    J_REQUIRE(e, v->kind == J_ABSENT || v->kind == J_NONE || v->kind == J_INT || v->kind == J_BOOL,
              "TypeError: slice indices must be integers or None or have an __index__ method");
    *res = v->kind == J_INT ? v->i : v->kind == J_BOOL ? v->b : otherwise;
out:
    return status;
}

// Start, stop and step as Python's slice.indices clamps them to n items.
static axl_status slice_range(j_env *e, const j_value part[3], int64_t n, int64_t range[3])
{
    axl_status status = AXL_OK;
    int64_t low, high;

    AXL_TRY(slice_bound(e, &part[2], 1, &range[2]));
    J_REQUIRE(e, range[2] != 0, "ValueError: slice step cannot be zero");
    if (range[2] < -n - 1) // a longer stride than the whole walks one item as well
        range[2] = -n - 1;
    if (range[2] > n + 1)
        range[2] = n + 1;
    low = range[2] < 0 ? -1 : 0;
    high = range[2] < 0 ? n - 1 : n;
    AXL_TRY(slice_bound(e, &part[0], range[2] < 0 ? high : low, &range[0]));
    AXL_TRY(slice_bound(e, &part[1], range[2] < 0 ? low : high, &range[1]));
    for (int i = 0; i < 2; i++) {
        bool given = part[i].kind == J_INT || part[i].kind == J_BOOL;

        if (!given)
            continue;
        if (range[i] < 0)
            range[i] = range[i] < -n ? low : range[i] + n;
        range[i] = range[i] < low ? low : range[i] > high ? high : range[i];
    }
out:
    return status;
}

static axl_status slice_str(j_env *e, const j_value *v, const int64_t range[3], j_value *res)
{
    axl_status status = AXL_OK;
    j_buf b = {0};

    if (range[2] == 1) {
        size_t from = axl_j_offset(v->s, range[0]), to = axl_j_offset(v->s, range[1]);

        AXL_TRY(axl_j_text(e, v->s->p + from, to > from ? to - from : 0, res));
        goto out;
    }
    if (axl_j_chars(v->s) != (int64_t)v->s->n) { // to a list, so that a walk is not quadratic
        j_list *l;

        AXL_TRY(axl_j_items(e, v, &l));
        for (int64_t i = range[0]; range[2] > 0 ? i < range[1] : i > range[1]; i += range[2])
            AXL_TRY(axl_j_put(e, &b, l->v[i].s->p, l->v[i].s->n));
    } else {
        for (int64_t i = range[0]; range[2] > 0 ? i < range[1] : i > range[1]; i += range[2])
            AXL_TRY(axl_j_put(e, &b, v->s->p + i, 1));
    }
    AXL_TRY(axl_j_buf_value(e, &b, res));
out:
    return status;
}

axl_status axl_j_slice(j_env *e, const j_value *v, const j_value part[3], j_value *res)
{
    axl_status status = AXL_OK;
    int64_t range[3];

    if (v->kind == J_UNDEF)
        AXL_TRY(axl_j_fail_undefined(e, v));
    if (v->kind == J_STR) {
        int64_t n = axl_j_chars(v->s);

        axl_j_work(e, v->s->n);

        if (v->s->n_chars < 0)
            v->s->n_chars = n;
        AXL_TRY(slice_range(e, part, n, range));
        AXL_TRY(slice_str(e, v, range, res));
        goto out;
    }
    if ((v->kind == J_LIST && (v->l->view == J_PLAIN || v->l->view == J_RANGE)) ||
        v->kind == J_TUPLE) {
        AXL_TRY(slice_range(e, part, v->l->n, range));
        AXL_TRY(axl_j_list(e, v->kind, 0, res));
        for (int64_t i = range[0]; range[2] > 0 ? i < range[1] : i > range[1]; i += range[2])
            AXL_TRY(axl_j_append(e, res->l, v->l->v[i]));
        if (v->l->view == J_RANGE) { // a slice of a range is a range
            res->l->view = J_RANGE;
            res->l->start = v->l->start + range[0] * v->l->step;
            res->l->stop = v->l->start + range[1] * v->l->step;
            res->l->step = range[2] * v->l->step;
        }
        goto out;
    }
    AXL_TRY(axl_j_undefined(e, J_UNDEF_ITEM, axl_j_type_name(v), axl_j_none(), res));
out:
    return status;
}
