// Text formatting: the % operator with printf-like fields, and str.format with {} fields.
#include "src/text/jinja_internal.h"

#include <stdio.h>
#include <string.h>

// One field: [[fill]align][sign][#][0][width][,][.precision][type]
typedef struct field {
    uint32_t fill;
    char align, sign, type; // 0: not given
    bool alternate, comma, group_zero;
    int64_t width, precision; // -1: not given
} field;

static axl_status digits_to_int(j_env *e, const char *p, size_t n, size_t *at, int64_t *res)
{
    axl_status status = AXL_OK;

    while (*at < n && p[*at] >= '0' && p[*at] <= '9') {
        *res = (*res < 0 ? 0 : *res) * 10 + (p[(*at)++] - '0');
        J_REQUIRE(e, *res <= 100000, "ValueError: too wide a field");
    }
out:
    return status;
}

// Digits of an integer in the base of type d, x, X, o, b, without sign.
static void int_digits(uint64_t u, char type, char text[72])
{
    unsigned base = (type | 32) == 'x' ? 16 : type == 'o' ? 8 : type == 'b' ? 2 : 10;
    const char *set = type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
    char reversed[72];
    size_t n = 0, at = 0;

    do {
        reversed[n++] = set[u % base];
        u /= base;
    } while (u > 0);
    while (n > 0)
        text[at++] = reversed[--n];
    text[at] = '\0';
}

// The number's digits and sign by the field's type and precision.
static axl_status number_text(j_env *e, const field *f, const j_value *v, bool *negative,
                              char text[512])
{
    axl_status status = AXL_OK;
    char type = f->type, fmt[16];
    double x = 0.0;

    J_REQUIRE(e, axl_j_number(v, &x), "TypeError: %%%c format: a real number is required, not %s",
              type, axl_j_type_name(v));
    *negative = x < 0;
    if (strchr("dixXob", type) != NULL) {
        int64_t i = v->kind == J_INT ? v->i : (int64_t)x;

        J_REQUIRE(e, x > -9.3e18 && x < 9.3e18, "OverflowError: an integer beyond 64 bits");
        int_digits(i < 0 ? 0 - (uint64_t)i : (uint64_t)i, type == 'i' ? 'd' : type, text);
        goto out;
    }
    J_REQUIRE(e, f->precision <= 100 && (x < 1e300 && x > -1e300),
              "ValueError: too many digits in a number");
    if (type == '%')
        x *= 100.0;
    (void)snprintf(fmt, sizeof fmt, "%%.*%c", type == '%' || type == 'F' ? 'f' : type);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    (void)snprintf(text, 512, fmt, (int)(f->precision < 0 ? 6 : f->precision), x < 0 ? -x : x);
#pragma GCC diagnostic pop
    if (type == '%')
        (void)strcat(text, "%");
out:
    return status;
}

static void put_commas(char text[512], char mark)
{
    size_t n = strspn(text, "0123456789"), k = n;
    char copy[512];
    size_t at = 0;

    for (size_t i = 0; text[i] != '\0' && at + 2 < sizeof copy; i++) {
        if (i > 0 && i < n && k % 3 == 0)
            copy[at++] = mark;
        copy[at++] = text[i];
        k--;
    }
    copy[at] = '\0';
    memcpy(text, copy, at + 1);
}

// Appends body with the field's width; head (sign or prefix) stays before zeros.
static axl_status put_padded(j_env *e, j_buf *b, const field *f, const char *head,
                             const j_str *body)
{
    axl_status status = AXL_OK;
    int64_t n = (int64_t)strlen(head) + axl_j_chars(body), pad = f->width > n ? f->width - n : 0;
    int64_t left = f->align == '>' || f->align == '=' ? pad : f->align == '^' ? pad / 2 : 0;

    if (f->align == '=')
        AXL_TRY(axl_j_puts(e, b, head));
    for (int64_t i = 0; i < left; i++)
        AXL_TRY(axl_j_put_cp(e, b, f->fill));
    if (f->align != '=')
        AXL_TRY(axl_j_puts(e, b, head));
    AXL_TRY(axl_j_put(e, b, body->p, body->n));
    for (int64_t i = left; i < pad; i++)
        AXL_TRY(axl_j_put_cp(e, b, f->fill));
out:
    return status;
}

static axl_status put_number(j_env *e, j_buf *b, field *f, const j_value *v)
{
    axl_status status = AXL_OK;
    char text[512], head[4] = "";
    bool negative = false;
    j_str body;

    AXL_TRY(number_text(e, f, v, &negative, text));
    if (f->comma)
        put_commas(text, ',');
    if (negative)
        (void)strcat(head, "-");
    else if (f->sign == '+' || f->sign == ' ')
        (void)strcat(head, f->sign == '+' ? "+" : " ");
    if (f->alternate && strchr("xXob", f->type) != NULL) {
        const char prefix[] = {'0', f->type, '\0'};

        (void)strcat(head, prefix);
    }
    body = (j_str){.p = text, .n = strlen(text), .n_chars = -1};
    AXL_TRY(put_padded(e, b, f, head, &body));
out:
    return status;
}

static axl_status put_text(j_env *e, j_buf *b, const field *f, const j_str *s)
{
    j_str cut = *s;

    if (f->precision >= 0 && axl_j_chars(s) > f->precision)
        cut = (j_str){.p = s->p, .n = axl_j_offset(s, f->precision), .n_chars = -1};
    return put_padded(e, b, f, "", &cut);
}

// ---- the % operator ----

typedef struct percent {
    j_env *e;
    const j_str *fmt;
    const j_value *arg;
    int64_t next; // positional argument
    size_t at;
    j_buf out;
} percent;

static axl_status next_value(percent *p, j_value *res)
{
    axl_status status = AXL_OK;
    int64_t n = p->arg->kind == J_TUPLE ? p->arg->l->n : 1;

    J_REQUIRE(p->e, p->next < n, "TypeError: not enough arguments for format string");
    *res = p->arg->kind == J_TUPLE ? p->arg->l->v[p->next] : *p->arg;
    p->next++;
out:
    return status;
}

// Behind "%": an optional (key), then flags, width and precision; the type letter stays.
static axl_status read_percent(percent *p, field *f, j_value *value)
{
    axl_status status = AXL_OK;
    const char *s = p->fmt->p;
    size_t n = p->fmt->n;

    if (p->at < n && s[p->at] == '(') {
        const char *close = memchr(s + p->at, ')', n - p->at);
        const j_value *found;

        J_REQUIRE(p->e, close != NULL, "ValueError: incomplete format key");
        J_REQUIRE(p->e, p->arg->kind == J_DICT, "TypeError: format requires a mapping");
        found = axl_j_dict_get_str(p->arg->d, s + p->at + 1, (size_t)(close - s) - p->at - 1);
        J_REQUIRE(p->e, found != NULL, "KeyError: '%.*s'", (int)((size_t)(close - s) - p->at - 1),
                  s + p->at + 1);
        *value = *found;
        p->at = (size_t)(close - s) + 1;
        p->next = 1;
    }
    for (; p->at < n && s[p->at] != '\0' && strchr("-+ #0", s[p->at]) != NULL; p->at++) {
        if (s[p->at] == '-')
            f->align = '<';
        else if (s[p->at] == '#')
            f->alternate = true;
        else if (s[p->at] == '0')
            f->group_zero = true;
        else if (f->sign != '+')
            f->sign = s[p->at];
    }
    AXL_TRY(digits_to_int(p->e, s, n, &p->at, &f->width));
    if (p->at < n && s[p->at] == '.') {
        p->at++;
        f->precision = 0;
        AXL_TRY(digits_to_int(p->e, s, n, &p->at, &f->precision));
    }
    J_REQUIRE(p->e, p->at < n, "ValueError: incomplete format");
out:
    return status;
}

static axl_status put_percent(percent *p)
{
    axl_status status = AXL_OK;
    field f = {.fill = ' ', .width = -1, .precision = -1};
    j_value v = {.kind = J_ABSENT}, text;
    j_buf b = {0};

    AXL_TRY(read_percent(p, &f, &v));
    f.type = p->fmt->p[p->at++];
    if (f.type == '%') {
        AXL_TRY(axl_j_put(p->e, &p->out, "%", 1));
        goto out;
    }
    if (v.kind == J_ABSENT)
        AXL_TRY(next_value(p, &v));
    if (v.kind == J_UNDEF && f.type != 's' && f.type != 'r')
        AXL_TRY(axl_j_fail_undefined(p->e, &v));
    if (f.align == 0)
        f.align = '>';
    if (f.type == 's' || f.type == 'r' || f.type == 'a' || f.type == 'c') {
        AXL_TRY(f.type == 's' || f.type == 'c' ? axl_j_print(p->e, &b, &v)
                                               : axl_j_repr(p->e, &b, &v));
        AXL_TRY(axl_j_buf_value(p->e, &b, &text));
        AXL_TRY(put_text(p->e, &p->out, &f, text.s));
        goto out;
    }
    J_REQUIRE(p->e, f.type != '\0' && strchr("diuxXofFeEgG", f.type) != NULL,
              "ValueError: unsupported format character '%c'", f.type);
    if (f.type == 'u')
        f.type = 'd';
    if (f.group_zero && f.align == '>') {
        f.align = '=';
        f.fill = '0';
    }
    AXL_TRY(put_number(p->e, &p->out, &f, &v));
out:
    return status;
}

axl_status axl_j_percent(j_env *e, const j_str *fmt, const j_value *arg, j_value *res)
{
    axl_status status = AXL_OK;
    percent p = {.e = e, .fmt = fmt, .arg = arg};

    while (p.at < fmt->n) {
        const char *sign = memchr(fmt->p + p.at, '%', fmt->n - p.at);
        size_t to = sign != NULL ? (size_t)(sign - fmt->p) : fmt->n;

        AXL_TRY(axl_j_put(e, &p.out, fmt->p + p.at, to - p.at));
        p.at = to + 1;
        if (sign != NULL)
            AXL_TRY(put_percent(&p));
    }
    J_REQUIRE(e, arg->kind == J_DICT || p.next >= (arg->kind == J_TUPLE ? arg->l->n : 1),
              "TypeError: not all arguments converted during string formatting");
    AXL_TRY(axl_j_buf_value(e, &p.out, res));
out:
    return status;
}

// ---- str.format ----

static axl_status read_spec(j_env *e, const char *s, size_t n, field *f)
{
    axl_status status = AXL_OK;
    size_t at = 0, k;
    uint32_t cp;

    if (n > 0) {
        k = axl_j_cp(s, n, &cp);
        if (k < n && s[k] != '\0' && strchr("<>^=", s[k]) != NULL) {
            f->fill = cp;
            f->align = s[k];
            at = k + 1;
        } else if (s[0] != '\0' && strchr("<>^=", s[0]) != NULL) {
            f->align = s[0];
            at = 1;
        }
    }
    if (at < n && s[at] != '\0' && strchr("+- ", s[at]) != NULL)
        f->sign = s[at++];
    if (at < n && s[at] == '#') {
        f->alternate = true;
        at++;
    }
    if (at < n && s[at] == '0') {
        at++;
        if (f->align == 0) {
            f->align = '=';
            f->fill = '0';
        }
    }
    AXL_TRY(digits_to_int(e, s, n, &at, &f->width));
    if (at < n && s[at] == ',') {
        f->comma = true;
        at++;
    }
    if (at < n && s[at] == '.') {
        at++;
        f->precision = 0;
        AXL_TRY(digits_to_int(e, s, n, &at, &f->precision));
    }
    if (at < n)
        f->type = s[at++];
    J_REQUIRE(e, at == n, "ValueError: Invalid format specifier");
out:
    return status;
}

static axl_status put_field(j_env *e, j_buf *b, const j_value *v, const char *spec, size_t n)
{
    axl_status status = AXL_OK;
    field f = {.fill = ' ', .width = -1, .precision = -1};
    j_value text;
    double x;

    AXL_TRY(read_spec(e, spec, n, &f));
    if (n > 0 && f.type != 's' && v->kind != J_STR && axl_j_number(v, &x)) {
        bool bare = f.type == 0 && (v->kind == J_INT || v->kind == J_BOOL);

        J_REQUIRE(e, f.type == 0 || strchr("dxXobfFeEgG%", f.type) != NULL,
                  "ValueError: Unknown format code '%c'", f.type);
        if (f.align == 0)
            f.align = '>';
        if (bare || (f.type == 0 && f.precision >= 0)) {
            f.type = bare ? 'd' : 'g';
        } else if (f.type == 0) {
            AXL_TRY(axl_j_to_str(e, v, &text));
            AXL_TRY(put_padded(e, b, &f, "", text.s));
            goto out;
        }
        AXL_TRY(put_number(e, b, &f, v));
        goto out;
    }
    J_REQUIRE(e, f.type == 0 || f.type == 's',
              "ValueError: Unknown format code '%c' for object of type '%s'", f.type,
              axl_j_type_name(v));
    if (f.align == 0)
        f.align = '<';
    AXL_TRY(axl_j_to_str(e, v, &text));
    AXL_TRY(put_text(e, b, &f, text.s));
out:
    return status;
}

// name, 0, or nothing, then .attribute and [item] parts.
static axl_status field_value(j_env *e, const char *p, size_t n, const j_args *args, int *automatic,
                              j_value *res)
{
    axl_status status = AXL_OK;
    size_t at = 0, end;
    int64_t i = -1;

    AXL_TRY(digits_to_int(e, p, n, &at, &i));
    end = strcspn(p, ".[") < n ? strcspn(p, ".[") : n;
    if (end == 0)
        i = (*automatic)++;
    if (end == at) {
        J_REQUIRE(e, i >= 0 && i < args->n_pos,
                  "IndexError: Replacement index %lld out of range for positional args tuple",
                  (long long)i);
        *res = args->pos[i];
    } else {
        int k = 0;

        while (k < args->n_kw &&
               (args->kw_names[k]->n != end || memcmp(args->kw_names[k]->p, p, end) != 0))
            k++;
        J_REQUIRE(e, k < args->n_kw, "KeyError: '%.*s'", (int)end, p);
        *res = args->kw[k];
    }
    for (at = end; at < n; at = end) {
        bool item = p[at] == '[';
        const char *stop = item ? memchr(p + at, ']', n - at) : NULL;
        j_value key;

        J_REQUIRE(e, !item || stop != NULL, "ValueError: Missing ']' in format string");
        for (end = at + 1; item ? p + end < stop : end < n && p[end] != '.' && p[end] != '['; end++)
            continue;
        AXL_TRY(axl_j_text(e, p + at + 1, end - at - 1, &key));
        if (item) {
            size_t used = 0;

            i = -1;
            AXL_TRY(digits_to_int(e, key.s->p, key.s->n, &used, &i));
            if (used == key.s->n && used > 0)
                key = axl_j_int(i);
            AXL_TRY(axl_j_getitem(e, res, &key, res));
            end++;
        } else {
            AXL_TRY(axl_j_getattr(e, res, key.s, res));
        }
    }
out:
    return status;
}

axl_status axl_j_format(j_env *e, const j_str *fmt, const j_args *args, j_value *res)
{
    axl_status status = AXL_OK;
    j_buf b = {0};
    int automatic = 0;

    for (size_t i = 0; i < fmt->n; i++) {
        const char *close, *colon, *bang;
        size_t n;
        j_value v;

        if (fmt->p[i] != '{' && fmt->p[i] != '}') {
            AXL_TRY(axl_j_put(e, &b, fmt->p + i, 1));
            continue;
        }
        if (i + 1 < fmt->n && fmt->p[i + 1] == fmt->p[i]) {
            AXL_TRY(axl_j_put(e, &b, fmt->p + i++, 1));
            continue;
        }
        close = fmt->p[i] == '{' ? memchr(fmt->p + i, '}', fmt->n - i) : NULL;
        J_REQUIRE(e, close != NULL, "ValueError: Single '%c' encountered in format string",
                  fmt->p[i]);
        i++;
        n = (size_t)(close - fmt->p) - i;
        colon = memchr(fmt->p + i, ':', n);
        bang = memchr(fmt->p + i, '!', colon != NULL ? (size_t)(colon - fmt->p) - i : n);
        AXL_TRY(field_value(e, fmt->p + i,
                            (size_t)((bang != NULL    ? bang
                                      : colon != NULL ? colon
                                                      : close) -
                                     fmt->p) -
                                i,
                            args, &automatic, &v));
        if (bang != NULL && bang + 1 < close && bang[1] == 'r') {
            j_buf text = {0};

            AXL_TRY(axl_j_repr(e, &text, &v));
            AXL_TRY(axl_j_buf_value(e, &text, &v));
        }
        AXL_TRY(put_field(e, &b, &v, colon != NULL ? colon + 1 : "",
                          colon != NULL ? (size_t)(close - colon) - 1 : 0));
        i = (size_t)(close - fmt->p);
    }
    AXL_TRY(axl_j_buf_value(e, &b, res));
out:
    return status;
}
