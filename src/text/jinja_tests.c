// Tests: what may stand behind `is`.
#include "src/text/jinja_internal.h"

#include <string.h>

#define COUNT(t) (sizeof(t) / sizeof *(t))

static axl_status answer(bool b, j_value *res)
{
    *res = axl_j_bool(b);
    return AXL_OK;
}

// A test that only looks at the kind of the value.
#define KIND_TEST(name, condition)                                                                 \
    static axl_status t_##name(j_env *e, const j_value *v, j_value *a, j_value *res)               \
    {                                                                                              \
        (void)e;                                                                                   \
        (void)a;                                                                                   \
        return answer((condition), res);                                                           \
    }

KIND_TEST(boolean, v->kind == J_BOOL)
KIND_TEST(callable, v->kind >= J_MACRO || v->kind == J_UNDEF)
KIND_TEST(defined, v->kind != J_UNDEF)
KIND_TEST(undefined, v->kind == J_UNDEF)
KIND_TEST(none, v->kind == J_NONE)
KIND_TEST(true, v->kind == J_BOOL && v->b)
KIND_TEST(false, v->kind == J_BOOL && !v->b)
KIND_TEST(string, v->kind == J_STR)
KIND_TEST(mapping, v->kind == J_DICT)
KIND_TEST(integer, v->kind == J_INT || v->kind == J_BIG)
KIND_TEST(float, v->kind == J_FLOAT)
KIND_TEST(number, v->kind >= J_BOOL && v->kind <= J_BIG)
KIND_TEST(escaped, v->kind == J_STR && v->safe)
KIND_TEST(iterable,
          v->kind == J_UNDEF || (v->kind >= J_STR && v->kind <= J_ITER) || v->kind == J_LOOP)
// dict views and generators have no items by index
KIND_TEST(sequence, v->kind == J_UNDEF || v->kind == J_STR || v->kind == J_TUPLE ||
                        v->kind == J_DICT ||
                        (v->kind == J_LIST && (v->l->view == J_PLAIN || v->l->view == J_RANGE)))

static axl_status remainder_is(j_env *e, const j_value *v, j_value by, bool zero, j_value *res)
{
    axl_status status = AXL_OK;
    j_value r, none = axl_j_int(0);

    AXL_TRY(axl_j_binary(e, JN_MOD, v, &by, &r));
    AXL_TRY(answer(axl_j_equal(e, &r, &none) == zero, res));
out:
    return status;
}

static axl_status t_odd(j_env *e, const j_value *v, j_value *a, j_value *res)
{
    (void)a;
    return remainder_is(e, v, axl_j_int(2), false, res);
}

static axl_status t_even(j_env *e, const j_value *v, j_value *a, j_value *res)
{
    (void)a;
    return remainder_is(e, v, axl_j_int(2), true, res);
}

static axl_status t_divisibleby(j_env *e, const j_value *v, j_value *a, j_value *res)
{
    return remainder_is(e, v, a[0], true, res);
}

static axl_status t_eq(j_env *e, const j_value *v, j_value *a, j_value *res)
{
    return answer(axl_j_equal(e, v, &a[0]), res);
}

static axl_status t_ne(j_env *e, const j_value *v, j_value *a, j_value *res)
{
    return answer(!axl_j_equal(e, v, &a[0]), res);
}

static axl_status ordered(j_env *e, const j_value *v, const j_value *a, const char *op,
                          j_value *res)
{
    axl_status status = AXL_OK;
    int order = 0;

    AXL_TRY(axl_j_order(e, v, a, op, &order));
    AXL_TRY(answer((order == 0 && op[1] == '=') || (order < 0 && op[0] == '<') ||
                       (order > 0 && op[0] == '>'),
                   res));
out:
    return status;
}

static axl_status t_lt(j_env *e, const j_value *v, j_value *a, j_value *res)
{
    return ordered(e, v, &a[0], "<", res);
}

static axl_status t_le(j_env *e, const j_value *v, j_value *a, j_value *res)
{
    return ordered(e, v, &a[0], "<=", res);
}

static axl_status t_gt(j_env *e, const j_value *v, j_value *a, j_value *res)
{
    return ordered(e, v, &a[0], ">", res);
}

static axl_status t_ge(j_env *e, const j_value *v, j_value *a, j_value *res)
{
    return ordered(e, v, &a[0], ">=", res);
}

static axl_status t_in(j_env *e, const j_value *v, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    bool inside;

    AXL_TRY(axl_j_in(e, v, &a[0], &inside));
    AXL_TRY(answer(inside, res));
out:
    return status;
}

static axl_status t_sameas(j_env *e, const j_value *v, j_value *a, j_value *res)
{
    bool same =
        v->kind == a[0].kind &&
        (v->kind <= J_NONE || (v->kind <= J_STR && axl_j_equal(e, v, &a[0])) || v->d == a[0].d);

    (void)e;
    return answer(same, res);
}

static axl_status cased(j_env *e, const j_value *v, const char *method, j_value *res)
{
    axl_status status = AXL_OK;
    j_value s;

    AXL_TRY(axl_j_to_str(e, v, &s));
    AXL_TRY(axl_j_find_str_method(method, strlen(method))->apply(e, &s, NULL, res));
out:
    return status;
}

static axl_status t_lower(j_env *e, const j_value *v, j_value *a, j_value *res)
{
    (void)a;
    return cased(e, v, "islower", res);
}

static axl_status t_upper(j_env *e, const j_value *v, j_value *a, j_value *res)
{
    (void)a;
    return cased(e, v, "isupper", res);
}

static axl_status t_filter(j_env *e, const j_value *v, j_value *a, j_value *res)
{
    (void)e;
    (void)a;
    return answer(v->kind == J_STR && axl_j_find_filter(v->s->p, v->s->n) != NULL, res);
}

static axl_status t_test(j_env *e, const j_value *v, j_value *a, j_value *res)
{
    (void)e;
    (void)a;
    return answer(v->kind == J_STR && axl_j_find_test(v->s->p, v->s->n) != NULL, res);
}

static const j_def tests[] = {
    {"boolean", "", 0, t_boolean, NULL, false},
    {"callable", "", 0, t_callable, NULL, false},
    {"defined", "", 0, t_defined, NULL, false},
    {"undefined", "", 0, t_undefined, NULL, false},
    {"none", "", 0, t_none, NULL, false},
    {"true", "", 0, t_true, NULL, false},
    {"false", "", 0, t_false, NULL, false},
    {"string", "", 0, t_string, NULL, false},
    {"mapping", "", 0, t_mapping, NULL, false},
    {"integer", "", 0, t_integer, NULL, false},
    {"float", "", 0, t_float, NULL, false},
    {"number", "", 0, t_number, NULL, false},
    {"escaped", "", 0, t_escaped, NULL, false},
    {"iterable", "", 0, t_iterable, NULL, false},
    {"sequence", "", 0, t_sequence, NULL, false},
    {"odd", "", 0, t_odd, NULL, false},
    {"even", "", 0, t_even, NULL, false},
    {"divisibleby", "num", 1, t_divisibleby, NULL, false},
    {"eq", "other", 1, t_eq, NULL, false},
    {"equalto", "other", 1, t_eq, NULL, false},
    {"==", "other", 1, t_eq, NULL, false},
    {"ne", "other", 1, t_ne, NULL, false},
    {"!=", "other", 1, t_ne, NULL, false},
    {"lt", "other", 1, t_lt, NULL, false},
    {"lessthan", "other", 1, t_lt, NULL, false},
    {"<", "other", 1, t_lt, NULL, false},
    {"le", "other", 1, t_le, NULL, false},
    {"<=", "other", 1, t_le, NULL, false},
    {"gt", "other", 1, t_gt, NULL, false},
    {"greaterthan", "other", 1, t_gt, NULL, false},
    {">", "other", 1, t_gt, NULL, false},
    {"ge", "other", 1, t_ge, NULL, false},
    {">=", "other", 1, t_ge, NULL, false},
    {"in", "seq", 1, t_in, NULL, false},
    {"sameas", "other", 1, t_sameas, NULL, false},
    {"lower", "", 0, t_lower, NULL, false},
    {"upper", "", 0, t_upper, NULL, false},
    {"filter", "", 0, t_filter, NULL, false},
    {"test", "", 0, t_test, NULL, false},
};

const j_def *axl_j_find_test(const char *name, size_t n)
{
    return axl_j_find_def(tests, COUNT(tests), name, n);
}
