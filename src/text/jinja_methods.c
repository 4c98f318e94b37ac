// The methods of dicts, lists, numbers and loops; those that would change a value are known only to be
// refused, as jinja2's immutable sandbox does.
#include "src/text/jinja_internal.h"

#include <math.h>
#include <string.h>

#define COUNT(t) (sizeof(t) / sizeof *(t))

const j_def *axl_j_find_def(const j_def *table, size_t count, const char *name, size_t n)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(table[i].name) == n && memcmp(table[i].name, name, n) == 0)
            return &table[i];
    return NULL;
}

static axl_status dict_get(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    const j_value *found;

    J_REQUIRE(e, a[0].kind != J_LIST && a[0].kind != J_DICT, "TypeError: unhashable type: '%s'",
              axl_j_type_name(&a[0]));
    found = axl_j_dict_get(self->d, &a[0]);
    *res = found != NULL ? *found : a[1].kind != J_ABSENT ? a[1] : axl_j_none();
out:
    return status;
}

static axl_status dict_keys(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    (void)a;
    return axl_j_dict_entries(e, self->d, J_KEYS, res);
}

static axl_status dict_values(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    (void)a;
    return axl_j_dict_entries(e, self->d, J_VALUES, res);
}

static axl_status dict_items(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    (void)a;
    return axl_j_dict_entries(e, self->d, J_ITEMS, res);
}

static axl_status same(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    (void)e;
    (void)a;
    *res = *self; // values never change, so a copy is the value itself
    return AXL_OK;
}

static const j_def dict_methods[] = {
    {"get", "key default", 1, dict_get, NULL, false},
    {"keys", "", 0, dict_keys, NULL, false},
    {"values", "", 0, dict_values, NULL, false},
    {"items", "", 0, dict_items, NULL, false},
    {"copy", "", 0, same, NULL, false},
    {"clear", "", 0, NULL, NULL, true},
    {"pop", "", 0, NULL, NULL, true},
    {"popitem", "", 0, NULL, NULL, true},
    {"setdefault", "", 0, NULL, NULL, true},
    {"update", "", 0, NULL, NULL, true},
};

static axl_status list_index(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;

    for (int64_t i = 0; i < self->l->n; i++)
        if (axl_j_equal(e, &self->l->v[i], &a[0])) {
            *res = axl_j_int(i);
            goto out;
        }
    J_FAIL(e, "ValueError: the value is not in the %s", axl_j_type_name(self));
out:
    return status;
}

static axl_status list_count(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    int64_t n = 0;

    for (int64_t i = 0; i < self->l->n; i++)
        n += axl_j_equal(e, &self->l->v[i], &a[0]);
    *res = axl_j_int(n);
    return AXL_OK;
}

static const j_def list_methods[] = {
    {"index", "value", 1, list_index, NULL, false},
    {"count", "value", 1, list_count, NULL, false},
    {"copy", "", 0, same, NULL, false},
    {"append", "", 0, NULL, NULL, true},
    {"clear", "", 0, NULL, NULL, true},
    {"extend", "", 0, NULL, NULL, true},
    {"insert", "", 0, NULL, NULL, true},
    {"pop", "", 0, NULL, NULL, true},
    {"remove", "", 0, NULL, NULL, true},
    {"reverse", "", 0, NULL, NULL, true},
    {"sort", "", 0, NULL, NULL, true},
};
#define N_TUPLE_METHODS 2

static axl_status is_integer(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    (void)e;
    (void)a;
    *res = axl_j_bool(self->kind != J_FLOAT || (isfinite(self->f) && floor(self->f) == self->f));
    return AXL_OK;
}

static axl_status bit_length(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    int64_t i = self->kind == J_BOOL ? self->b : self->i;
    uint64_t u = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;

    (void)e;
    (void)a;
    *res = axl_j_int(u == 0 ? 0 : 64 - __builtin_clzll(u));
    return AXL_OK;
}

static const j_def number_methods[] = {
    {"is_integer", "", 0, is_integer, NULL, false},
    {"bit_length", "", 0, bit_length, NULL, false},
};

static axl_status loop_cycle(j_env *e, const j_value *self, const j_args *args, j_value *res)
{
    axl_status status = AXL_OK;

    J_REQUIRE(e, args->n_pos > 0 && args->n_kw == 0, "TypeError: no items for cycling given");
    *res = args->pos[self->loop->at % args->n_pos];
out:
    return status;
}

static axl_status loop_changed(j_env *e, const j_value *self, const j_args *args, j_value *res)
{
    axl_status status = AXL_OK;
    j_loop *loop = self->loop;
    bool changed = loop->seen == NULL || loop->seen->n != args->n_pos;
    j_value seen;

    for (int i = 0; i < args->n_pos && !changed; i++)
        changed = !axl_j_equal(e, &loop->seen->v[i], &args->pos[i]);
    if (changed) {
        AXL_TRY(axl_j_list(e, J_LIST, args->n_pos, &seen));
        for (int i = 0; i < args->n_pos; i++)
            AXL_TRY(axl_j_append(e, seen.l, args->pos[i]));
        loop->seen = seen.l;
    }
    *res = axl_j_bool(changed);
out:
    return status;
}

static const j_def loop_methods[] = {
    {"cycle", "", 0, NULL, loop_cycle, false},
    {"changed", "", 0, NULL, loop_changed, false},
};

const j_def *axl_j_find_method(const j_value *v, const j_str *name)
{
    switch (v->kind) {
    case J_STR:
        return axl_j_find_str_method(name->p, name->n);
    case J_DICT:
        return axl_j_find_def(dict_methods, COUNT(dict_methods), name->p, name->n);
    case J_LIST:
        return v->l->view == J_PLAIN
                   ? axl_j_find_def(list_methods, COUNT(list_methods), name->p, name->n)
                   : NULL;
    case J_TUPLE:
        return axl_j_find_def(list_methods, N_TUPLE_METHODS, name->p, name->n);
    case J_BOOL:
    case J_INT:
        return axl_j_find_def(number_methods, COUNT(number_methods), name->p, name->n);
    case J_FLOAT:
        return axl_j_find_def(number_methods, 1, name->p, name->n);
    case J_LOOP:
        return axl_j_find_def(loop_methods, COUNT(loop_methods), name->p, name->n);
    default:
        return NULL;
    }
}
