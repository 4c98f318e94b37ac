// str() and repr() as Python has them. The hard one is a float: the shortest digits that read back as
// the same number, in Python's choice of plain or exponent form.
#include "src/text/jinja_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void axl_j_float_text(double x, char text[48])
{
    char digits[40];
    char *e10;
    int exponent, n;
    size_t at = 0;

    if (!isfinite(x)) {
        (void)snprintf(text, 48, "%s", isnan(x) ? "nan" : x < 0 ? "-inf" : "inf");
        return;
    }
    // Subnormal numbers have fewer digits than 15.
    for (int precision = fabs(x) < 1e-290 ? 0 : 14; precision < 17; precision++) {
        (void)snprintf(digits, sizeof digits, "%#.*e", precision, fabs(x));
        if (strtod(digits, NULL) == fabs(x))
            break;
    }
    e10 = strchr(digits, 'e');
    exponent = atoi(e10 + 1);
    digits[1] = digits[0]; // drop the point
    n = (int)(e10 - digits) - 1;
    while (n > 1 && digits[n] == '0')
        n--;
    if (signbit(x))
        text[at++] = '-';
    if (exponent < -4 || exponent >= 16) {
        at += (size_t)snprintf(text + at, 48 - at, "%c%s%.*s", digits[1], n > 1 ? "." : "", n - 1,
                               digits + 2);
        (void)snprintf(text + at, 48 - at, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
    } else if (exponent < 0) {
        (void)snprintf(text + at, 48 - at, "0.%.*s%.*s", -exponent - 1, "0000", n, digits + 1);
    } else if (n <= exponent + 1) {
        (void)snprintf(text + at, 48 - at, "%.*s%.*s.0", n, digits + 1, exponent + 1 - n,
                       "0000000000000000");
    } else {
        (void)snprintf(text + at, 48 - at, "%.*s.%.*s", exponent + 1, digits + 1, n - exponent - 1,
                       digits + 2 + exponent);
    }
}

const char *axl_j_type_name(const j_value *v)
{
    static const char *const views[] = {"list",       "dict_keys", "dict_values",
                                        "dict_items", "range",     "_GroupTuple"};
    static const char *const kinds[] = {
        "Undefined", "Undefined",  "NoneType",  "bool",  "int",
        "float",     "int",        "str",       "list",  "tuple",
        "dict",      "generator",  "Namespace", "Macro", "builtin_function_or_method",
        "function",  "LoopContext"};

    return (v->kind == J_LIST || (v->kind == J_TUPLE && v->l->view != J_PLAIN)) ? views[v->l->view]
                                                                                : kinds[v->kind];
}

static axl_status repr_str(j_env *e, j_buf *b, const j_str *s)
{
    axl_status status = AXL_OK;
    bool single = memchr(s->p, '\'', s->n) != NULL, twofold = memchr(s->p, '"', s->n) != NULL;
    char quote[2] = {single && !twofold ? '"' : '\'', '\0'};
    char escape[16];

    AXL_TRY(axl_j_put(e, b, quote, 1));
    for (size_t i = 0, k; i < s->n; i += k) {
        uint32_t cp;

        k = axl_j_cp(s->p + i, s->n - i, &cp);
        if (cp == (uint32_t)(unsigned char)quote[0] || cp == '\\')
            (void)snprintf(escape, sizeof escape, "\\%c", (int)cp);
        else if (cp == '\n' || cp == '\r' || cp == '\t')
            (void)snprintf(escape, sizeof escape, "\\%c",
                           cp == '\n'   ? 'n'
                           : cp == '\r' ? 'r'
                                        : 't');
        else if (axl_j_is_printable(cp)) {
            AXL_TRY(axl_j_put(e, b, s->p + i, k));
            continue;
        } else
            (void)snprintf(escape, sizeof escape,
                           cp < 0x100     ? "\\x%02x"
                           : cp < 0x10000 ? "\\u%04x"
                                          : "\\U%08x",
                           cp);
        AXL_TRY(axl_j_puts(e, b, escape));
    }
    AXL_TRY(axl_j_put(e, b, quote, 1));
out:
    return status;
}

static axl_status repr_items(j_env *e, j_buf *b, const j_list *l)
{
    axl_status status = AXL_OK;

    for (int64_t i = 0; i < l->n; i++) {
        if (i > 0)
            AXL_TRY(axl_j_puts(e, b, ", "));
        AXL_TRY(axl_j_repr(e, b, &l->v[i]));
    }
out:
    return status;
}

static axl_status repr_list(j_env *e, j_buf *b, const j_value *v)
{
    axl_status status = AXL_OK;
    const j_list *l = v->l;
    char range[96];

    if (l->view == J_RANGE) {
        if (l->step == 1)
            (void)snprintf(range, sizeof range, "range(%lld, %lld)", (long long)l->start,
                           (long long)l->stop);
        else
            (void)snprintf(range, sizeof range, "range(%lld, %lld, %lld)", (long long)l->start,
                           (long long)l->stop, (long long)l->step);
        AXL_TRY(axl_j_puts(e, b, range));
        goto out;
    }
    if (v->kind == J_TUPLE) {
        AXL_TRY(axl_j_puts(e, b, "("));
        AXL_TRY(repr_items(e, b, l));
        AXL_TRY(axl_j_puts(e, b, l->n == 1 ? ",)" : ")"));
        goto out;
    }
    if (l->view != J_PLAIN) {
        AXL_TRY(axl_j_puts(e, b, axl_j_type_name(v)));
        AXL_TRY(axl_j_puts(e, b, "("));
    }
    AXL_TRY(axl_j_puts(e, b, "["));
    AXL_TRY(repr_items(e, b, l));
    AXL_TRY(axl_j_puts(e, b, l->view != J_PLAIN ? "])" : "]"));
out:
    return status;
}

static axl_status repr_dict(j_env *e, j_buf *b, const j_dict *d)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_j_puts(e, b, "{"));
    for (int64_t i = 0; i < d->n; i++) {
        if (i > 0)
            AXL_TRY(axl_j_puts(e, b, ", "));
        AXL_TRY(axl_j_repr(e, b, &d->keys[i]));
        AXL_TRY(axl_j_puts(e, b, ": "));
        AXL_TRY(axl_j_repr(e, b, &d->values[i]));
    }
    AXL_TRY(axl_j_puts(e, b, "}"));
out:
    return status;
}

// Objects that nobody prints on purpose; Python would show an address.
static axl_status repr_object(j_env *e, j_buf *b, const j_value *v)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_j_puts(e, b, "<"));
    AXL_TRY(axl_j_puts(e, b, axl_j_type_name(v)));
    if (v->kind == J_NS) {
        AXL_TRY(axl_j_puts(e, b, " "));
        AXL_TRY(repr_dict(e, b, v->d));
    } else if (v->kind == J_MACRO && v->macro->node->name >= 0) {
        const j_str *name = e->t->names[v->macro->node->name];
        j_value text = {.kind = J_STR};

        AXL_TRY(axl_j_puts(e, b, " "));
        AXL_TRY(axl_j_text(e, name->p, name->n, &text));
        AXL_TRY(repr_str(e, b, text.s));
    } else {
        AXL_TRY(axl_j_puts(e, b, " object"));
    }
    AXL_TRY(axl_j_puts(e, b, ">"));
out:
    return status;
}

axl_status axl_j_repr(j_env *e, j_buf *b, const j_value *v)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_j_enter(e));
    if (v->kind == J_STR)
        AXL_TRY(repr_str(e, b, v->s));
    else if (v->kind <= J_UNDEF)
        AXL_TRY(axl_j_puts(e, b, "Undefined"));
    else
        AXL_TRY(axl_j_print(e, b, v));
    e->depth--;
out:
    return status;
}

axl_status axl_j_print(j_env *e, j_buf *b, const j_value *v)
{
    char text[48];

    switch (v->kind) {
    case J_ABSENT:
    case J_UNDEF:
        return AXL_OK;
    case J_NONE:
        return axl_j_puts(e, b, "None");
    case J_BOOL:
        return axl_j_puts(e, b, v->b ? "True" : "False");
    case J_INT:
        (void)snprintf(text, sizeof text, "%lld", (long long)v->i);
        return axl_j_puts(e, b, text);
    case J_FLOAT:
        axl_j_float_text(v->f, text);
        return axl_j_puts(e, b, text);
    case J_BIG:
    case J_STR:
        return axl_j_put(e, b, v->s->p, v->s->n);
    case J_LIST:
    case J_TUPLE:
        return repr_list(e, b, v);
    case J_DICT:
        return repr_dict(e, b, v->d);
    default:
        return repr_object(e, b, v);
    }
}

axl_status axl_j_to_str(j_env *e, const j_value *v, j_value *res)
{
    axl_status status = AXL_OK;
    j_buf b = {0};

    if (v->kind == J_STR) {
        *res = *v;
        goto out;
    }
    AXL_TRY(axl_j_print(e, &b, v));
    AXL_TRY(axl_j_buf_value(e, &b, res));
out:
    return status;
}
