// Operators on values, as Python defines them: truth, equality, order, arithmetic, membership.
#include "src/text/jinja_internal.h"

#include <math.h>
#include <string.h>

bool axl_j_number(const j_value *v, double *x)
{
    if (v->kind == J_BOOL)
        *x = v->b;
    else if (v->kind == J_INT)
        *x = (double)v->i;
    else if (v->kind == J_FLOAT)
        *x = v->f;
    else
        return false;
    return true;
}

static bool integer(const j_value *v, int64_t *i)
{
    if (v->kind == J_BOOL)
        *i = v->b;
    else if (v->kind == J_INT)
        *i = v->i;
    else
        return false;
    return true;
}

bool axl_j_truth(const j_value *v)
{
    switch (v->kind) {
    case J_ABSENT:
    case J_UNDEF:
    case J_NONE:
        return false;
    case J_BOOL:
        return v->b;
    case J_INT:
        return v->i != 0;
    case J_FLOAT:
        return v->f != 0.0;
    case J_STR:
        return v->s->n > 0;
    case J_LIST:
    case J_TUPLE:
        return v->l->n > 0;
    case J_DICT:
        return v->d->n > 0;
    default:
        return true;
    }
}

// A template can build values that are deep or that share parts a million times over, so a comparison
// has a bound of its own; beyond it, values count as different.
typedef struct comparison {
    int depth;
    int64_t budget;
} comparison;

#define MAX_EQUAL_DEPTH 500
#define KEY_BUDGET      10000

static bool equal(comparison *c, const j_value *a, const j_value *b);

static bool equal_dicts(comparison *c, const j_dict *a, const j_dict *b)
{
    if (a->n != b->n)
        return false;
    for (int64_t i = 0; i < a->n; i++) {
        const j_value *other = axl_j_dict_get(b, &a->keys[i]);

        if (other == NULL || !equal(c, &a->values[i], other))
            return false;
    }
    return true;
}

static bool equal_lists(comparison *c, const j_list *a, const j_list *b)
{
    if (a->n != b->n)
        return false;
    for (int64_t i = 0; i < a->n; i++)
        if (!equal(c, &a->v[i], &b->v[i]))
            return false;
    return true;
}

static bool equal(comparison *c, const j_value *a, const j_value *b)
{
    double x, y;
    bool same = false;

    if (axl_j_number(a, &x) && axl_j_number(b, &y))
        return a->kind == J_INT && b->kind == J_INT ? a->i == b->i : x == y;
    if (a->kind != b->kind)
        return a->kind <= J_UNDEF && b->kind <= J_UNDEF;
    if (c->depth >= MAX_EQUAL_DEPTH || c->budget-- <= 0)
        return false;
    c->depth++;
    switch (a->kind) {
    case J_ABSENT:
    case J_UNDEF:
    case J_NONE:
        same = true;
        break;
    case J_BIG:
    case J_STR:
        same = a->s->n == b->s->n && memcmp(a->s->p, b->s->p, a->s->n) == 0;
        c->budget -= (int64_t)(a->s->n / 256);
        break;
    case J_LIST:
    case J_TUPLE:
        same = equal_lists(c, a->l, b->l);
        break;
    case J_DICT:
        same = equal_dicts(c, a->d, b->d);
        break;
    default:
        same = a->d == b->d;
    }
    c->depth--;
    return same;
}

bool axl_j_equal(j_env *e, const j_value *a, const j_value *b)
{
    comparison c = {.budget = e != NULL ? e->max_steps - e->steps + 1 : KEY_BUDGET};
    bool same = equal(&c, a, b);

    if (e != NULL)
        e->steps = e->max_steps + 1 - c.budget;
    return same;
}

axl_status axl_j_order(j_env *e, const j_value *a, const j_value *b, const char *op, int *res)
{
    axl_status status = AXL_OK;
    double x, y;

    if (a->kind == J_INT && b->kind == J_INT) {
        *res = (a->i > b->i) - (a->i < b->i);
    } else if (axl_j_number(a, &x) && axl_j_number(b, &y)) {
        *res = (x > y) - (x < y);
    } else if (a->kind == J_STR && b->kind == J_STR) {
        size_t n = a->s->n < b->s->n ? a->s->n : b->s->n;
        int c = memcmp(a->s->p, b->s->p, n);

        e->steps += (int64_t)(n / 256);
        *res = c != 0 ? c : (a->s->n > b->s->n) - (a->s->n < b->s->n);
    } else if (a->kind == b->kind && (a->kind == J_LIST || a->kind == J_TUPLE)) {
        for (int64_t i = 0; i < a->l->n && i < b->l->n; i++) {
            if (axl_j_equal(e, &a->l->v[i], &b->l->v[i]))
                continue;
            AXL_TRY(axl_j_enter(e));
            AXL_TRY(axl_j_order(e, &a->l->v[i], &b->l->v[i], op, res));
            e->depth--;
            goto out;
        }
        *res = (a->l->n > b->l->n) - (a->l->n < b->l->n);
    } else {
        if (a->kind == J_UNDEF)
            AXL_TRY(axl_j_fail_undefined(e, a));
        if (b->kind == J_UNDEF)
            AXL_TRY(axl_j_fail_undefined(e, b));
        J_FAIL(e, "TypeError: '%s' not supported between instances of '%s' and '%s'", op,
               axl_j_type_name(a), axl_j_type_name(b));
    }
out:
    return status;
}

static axl_status find_item(j_env *e, const j_value *item, const j_value *box, bool *res)
{
    axl_status status = AXL_OK;
    j_list *l;

    AXL_TRY(axl_j_items(e, box, &l));
    *res = false;
    for (int64_t i = 0; i < l->n && !*res; i++)
        *res = axl_j_equal(e, item, &l->v[i]);
out:
    return status;
}

axl_status axl_j_in(j_env *e, const j_value *item, const j_value *box, bool *res)
{
    axl_status status = AXL_OK;

    if (box->kind == J_STR) {
        if (item->kind == J_UNDEF)
            AXL_TRY(axl_j_fail_undefined(e, item));
        J_REQUIRE(e, item->kind == J_STR,
                  "TypeError: 'in <string>' requires string as left operand, not %s",
                  axl_j_type_name(item));
        axl_j_work(e, box->s->n);
        *res = axl_j_find(box->s, item->s, 0) >= 0;
    } else if (box->kind == J_DICT) {
        J_REQUIRE(e, item->kind != J_LIST && item->kind != J_DICT,
                  "TypeError: unhashable type: '%s'", axl_j_type_name(item));
        *res = axl_j_dict_get(box->d, item) != NULL;
    } else {
        AXL_TRY(find_item(e, item, box, res));
    }
out:
    return status;
}

static const char *symbol(j_type op)
{
    static const char *const symbols[] = {"+", "-", "*", "/", "//", "%", "** or pow()"};

    return symbols[op - JN_ADD];
}

static axl_status unsupported(j_env *e, j_type op, const j_value *a, const j_value *b)
{
    axl_status status = AXL_OK;

    if (a->kind == J_UNDEF)
        AXL_TRY(axl_j_fail_undefined(e, a));
    if (b->kind == J_UNDEF)
        AXL_TRY(axl_j_fail_undefined(e, b));
    J_REQUIRE(e, op != JN_ADD || a->kind != J_STR,
              "TypeError: can only concatenate str (not \"%s\") to str", axl_j_type_name(b));
    J_FAIL(e, "TypeError: unsupported operand type(s) for %s: '%s' and '%s'", symbol(op),
           axl_j_type_name(a), axl_j_type_name(b));
out:
    return status;
}

static axl_status power_of_integers(j_env *e, int64_t x, int64_t y, j_value *res)
{
    axl_status status = AXL_OK;
    int64_t r = 1;

    J_REQUIRE(e, y >= 0 || x != 0, "ZeroDivisionError: 0.0 cannot be raised to a negative power");
    if (y < 0) {
        *res = axl_j_float(pow((double)x, (double)y));
        goto out;
    }
    while (y > 0) {
        if (y & 1)
            J_REQUIRE(e, !__builtin_mul_overflow(r, x, &r),
                      "OverflowError: an integer grows beyond 64 bits");
        y >>= 1;
        if (y > 0)
            J_REQUIRE(e, !__builtin_mul_overflow(x, x, &x),
                      "OverflowError: an integer grows beyond 64 bits");
    }
    *res = axl_j_int(r);
out:
    return status;
}

static axl_status integers(j_env *e, j_type op, int64_t x, int64_t y, j_value *res)
{
    axl_status status = AXL_OK;
    int64_t r = 0;
    bool over = false;

    switch (op) {
    case JN_ADD:
        over = __builtin_add_overflow(x, y, &r);
        break;
    case JN_SUB:
        over = __builtin_sub_overflow(x, y, &r);
        break;
    case JN_MUL:
        over = __builtin_mul_overflow(x, y, &r);
        break;
    case JN_DIV:
        J_REQUIRE(e, y != 0, "ZeroDivisionError: division by zero");
        *res = axl_j_float((double)x / (double)y);
        goto out;
    case JN_POW:
        AXL_TRY(power_of_integers(e, x, y, res));
        goto out;
    default: // rounds towards minus infinity; the rest has the sign of y
        J_REQUIRE(e, y != 0, "ZeroDivisionError: integer %s by zero",
                  op == JN_MOD ? "modulo" : "division or modulo");
        over = x == INT64_MIN && y == -1;
        if (over && op == JN_MOD) {
            over = false;
        } else if (!over) {
            int64_t q = x / y, m = x % y;
            bool down = m != 0 && (m < 0) != (y < 0);

            r = op == JN_MOD ? (down ? m + y : m) : (down ? q - 1 : q);
        }
    }
    J_REQUIRE(e, !over, "OverflowError: an integer grows beyond 64 bits");
    *res = axl_j_int(r);
out:
    return status;
}

static axl_status floats(j_env *e, j_type op, double x, double y, j_value *res)
{
    axl_status status = AXL_OK;
    double r;

    if (op == JN_DIV || op == JN_FLOORDIV || op == JN_MOD)
        J_REQUIRE(e, y != 0.0, "ZeroDivisionError: float %s",
                  op == JN_DIV   ? "division by zero"
                  : op == JN_MOD ? "modulo"
                                 : "floor division by zero");
    switch (op) {
    case JN_ADD:
        r = x + y;
        break;
    case JN_SUB:
        r = x - y;
        break;
    case JN_MUL:
        r = x * y;
        break;
    case JN_DIV:
        r = x / y;
        break;
    case JN_POW:
        r = pow(x, y);
        J_REQUIRE(e, !isnan(r) || isnan(x) || isnan(y),
                  "TypeError: complex numbers are not supported");
        J_REQUIRE(e, isfinite(r) || !isfinite(x) || !isfinite(y),
                  "OverflowError: numerical result out of range");
        break;
    default: {
        double m = fmod(x, y);

        if (m != 0.0 && (m < 0) != (y < 0))
            m += y;
        r = op == JN_MOD ? m : floor((x - m) / y + 0.5);
        break;
    }
    }
    *res = axl_j_float(r);
out:
    return status;
}

static axl_status repeat(j_env *e, const j_value *v, int64_t times, j_value *res)
{
    axl_status status = AXL_OK;
    j_buf b = {0};

    if (v->kind == J_STR) {
        size_t n = v->s->n;

        J_REQUIRE(e, n == 0 || times <= 0 || (uint64_t)times <= e->max_output / n,
                  "the text grows beyond %zu bytes", e->max_output);
        for (int64_t i = 0; n > 0 && i < times; i++)
            AXL_TRY(axl_j_put(e, &b, v->s->p, n));
        AXL_TRY(axl_j_buf_value(e, &b, res));
        goto out;
    }
    AXL_TRY(axl_j_list(e, v->kind, 0, res));
    J_REQUIRE(e, v->l->n == 0 || times <= 0 || times <= 10000000 / v->l->n,
              "MemoryError: a repeated list is too long");
    for (int64_t i = 0; v->l->n > 0 && i < times; i++)
        for (int64_t k = 0; k < v->l->n; k++)
            AXL_TRY(axl_j_append(e, res->l, v->l->v[k]));
out:
    return status;
}

static axl_status join_strings(j_env *e, const j_value *a, const j_value *b, j_value *res)
{
    axl_status status = AXL_OK;
    j_value x = *a, y = *b;
    j_buf buf = {0};

    if (x.safe && !y.safe)
        AXL_TRY(axl_j_escape(e, b, &y));
    else if (y.safe && !x.safe)
        AXL_TRY(axl_j_escape(e, a, &x));
    AXL_TRY(axl_j_put(e, &buf, x.s->p, x.s->n));
    AXL_TRY(axl_j_put(e, &buf, y.s->p, y.s->n));
    AXL_TRY(axl_j_buf_value(e, &buf, res));
    res->safe = x.safe || y.safe;
out:
    return status;
}

static axl_status join_lists(j_env *e, const j_value *a, const j_value *b, j_value *res)
{
    axl_status status = AXL_OK;
    size_t n = (size_t)a->l->n, m = (size_t)b->l->n;

    AXL_TRY(axl_j_list(e, a->kind, a->l->n + b->l->n, res));
    if (n > 0)
        memcpy(res->l->v, a->l->v, n * sizeof *a->l->v);
    if (m > 0)
        memcpy(res->l->v + n, b->l->v, m * sizeof *b->l->v);
    res->l->n = (int64_t)(n + m);
out:
    return status;
}

static bool is_sequence(const j_value *v)
{
    return v->kind == J_STR || ((v->kind == J_LIST || v->kind == J_TUPLE) && v->l->view == J_PLAIN);
}

axl_status axl_j_binary(j_env *e, j_type op, const j_value *left, const j_value *right,
                        j_value *res)
{
    axl_status status = AXL_OK;
    const j_value x0 = *left, y0 = *right, *a = &x0, *b = &y0; // res may be an operand
    int64_t i, k;
    double x, y;

    if (integer(a, &i) && integer(b, &k))
        AXL_TRY(integers(e, op, i, k, res));
    else if (axl_j_number(a, &x) && axl_j_number(b, &y))
        AXL_TRY(floats(e, op, x, y, res));
    else if (op == JN_ADD && a->kind == J_STR && b->kind == J_STR)
        AXL_TRY(join_strings(e, a, b, res));
    else if (op == JN_ADD && a->kind == b->kind && is_sequence(a) && is_sequence(b))
        AXL_TRY(join_lists(e, a, b, res));
    else if (op == JN_MUL && is_sequence(a) && integer(b, &k))
        AXL_TRY(repeat(e, a, k, res));
    else if (op == JN_MUL && is_sequence(b) && integer(a, &k))
        AXL_TRY(repeat(e, b, k, res));
    else if (op == JN_MOD && a->kind == J_STR)
        AXL_TRY(axl_j_percent(e, a->s, b, res));
    else
        AXL_TRY(unsupported(e, op, a, b));
out:
    return status;
}

axl_status axl_j_unary(j_env *e, j_type op, const j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    int64_t i;

    if (op == JN_NOT) {
        *res = axl_j_bool(!axl_j_truth(a));
    } else if (integer(a, &i)) {
        J_REQUIRE(e, i != INT64_MIN, "OverflowError: an integer grows beyond 64 bits");
        *res = axl_j_int(op == JN_NEG ? -i : i);
    } else if (a->kind == J_FLOAT) {
        *res = axl_j_float(op == JN_NEG ? -a->f : a->f);
    } else {
        if (a->kind == J_UNDEF)
            AXL_TRY(axl_j_fail_undefined(e, a));
        J_FAIL(e, "TypeError: bad operand type for unary %s: '%s'", op == JN_NEG ? "-" : "+",
               axl_j_type_name(a));
    }
out:
    return status;
}

axl_status axl_j_escape(j_env *e, const j_value *v, j_value *res)
{
    axl_status status = AXL_OK;
    j_value text;
    j_buf b = {0};

    if (v->kind == J_STR && v->safe) {
        *res = *v;
        goto out;
    }
    AXL_TRY(axl_j_to_str(e, v, &text));
    for (size_t i = 0; i < text.s->n; i++) {
        char c = text.s->p[i];
        const char *by = c == '&'    ? "&amp;"
                         : c == '<'  ? "&lt;"
                         : c == '>'  ? "&gt;"
                         : c == '\'' ? "&#39;"
                         : c == '"'  ? "&#34;"
                                     : NULL;

        if (by != NULL)
            AXL_TRY(axl_j_puts(e, &b, by));
        else
            AXL_TRY(axl_j_put(e, &b, &c, 1));
    }
    AXL_TRY(axl_j_buf_value(e, &b, res));
    res->safe = true;
out:
    return status;
}
