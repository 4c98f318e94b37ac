// Filters on single values: text, numbers, defaults. Those on sequences are in jinja_sequences.c.
#include "src/text/jinja_internal.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(t) (sizeof(t) / sizeof *(t))

static axl_status int_arg(j_env *e, const j_value *v, int64_t otherwise, int64_t *res)
{
    axl_status status = AXL_OK;

    J_REQUIRE(e, v->kind <= J_INT && v->kind != J_UNDEF,
              "TypeError: '%s' object cannot be interpreted as an integer", axl_j_type_name(v));
    *res = v->kind == J_INT ? v->i : v->kind == J_BOOL ? v->b : otherwise;
out:
    return status;
}

static axl_status f_upper(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    j_value s;

    (void)a;
    AXL_TRY(axl_j_to_str(e, self, &s));
    AXL_TRY(axl_j_upper(e, s.s, res));
out:
    return status;
}

static axl_status f_lower(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    j_value s;

    (void)a;
    AXL_TRY(axl_j_to_str(e, self, &s));
    AXL_TRY(axl_j_lower(e, s.s, res));
out:
    return status;
}

static axl_status f_capitalize(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    j_value s;

    (void)a;
    AXL_TRY(axl_j_to_str(e, self, &s));
    AXL_TRY(axl_j_capitalize(e, s.s, res));
out:
    return status;
}

// Words begin after blanks, hyphens and opening brackets; unlike str.title, not after an apostrophe.
static axl_status f_title(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    j_buf b = {0};
    bool first = true;
    j_value s;
    uint32_t cp;

    (void)a;
    AXL_TRY(axl_j_to_str(e, self, &s));
    for (size_t i = 0; i < s.s->n;) {
        i += axl_j_cp(s.s->p + i, s.s->n - i, &cp);
        if (axl_j_is_space(cp) || (cp < 0x80 && strchr("-({[<", (int)cp) != NULL && cp != 0)) {
            AXL_TRY(axl_j_put_cp(e, &b, cp));
            first = true;
            continue;
        }
        AXL_TRY(first ? axl_j_put_upper(e, &b, cp) : axl_j_put_lower(e, &b, cp));
        first = false;
    }
    AXL_TRY(axl_j_buf_value(e, &b, res));
out:
    return status;
}

static axl_status f_trim(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    j_value s, chars = {.kind = J_ABSENT};
    j_str part;

    AXL_TRY(axl_j_to_str(e, self, &s));
    if (a[0].kind != J_ABSENT && a[0].kind != J_NONE)
        AXL_TRY(axl_j_to_str(e, &a[0], &chars));
    part = axl_j_strip(s.s, chars.kind == J_STR ? chars.s : NULL, 3);
    AXL_TRY(axl_j_text(e, part.p, part.n, res));
out:
    return status;
}

static axl_status f_string(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    (void)a;
    return axl_j_to_str(e, self, res);
}

static axl_status f_safe(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;

    (void)a;
    AXL_TRY(axl_j_to_str(e, self, res));
    res->safe = true;
out:
    return status;
}

static axl_status f_escape(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    (void)a;
    return axl_j_escape(e, self, res);
}

static axl_status f_forceescape(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    j_value plain = *self;

    (void)a;
    plain.safe = false;
    return axl_j_escape(e, &plain, res);
}

static axl_status f_replace(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    j_value s, old, by;
    int64_t count;

    AXL_TRY(axl_j_to_str(e, self, &s));
    AXL_TRY(axl_j_to_str(e, &a[0], &old));
    AXL_TRY(axl_j_to_str(e, &a[1], &by));
    AXL_TRY(int_arg(e, &a[2], -1, &count));
    AXL_TRY(axl_j_replace(e, s.s, old.s, by.s, count, res));
out:
    return status;
}

static axl_status f_default(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;

    *res = *self;
    if (self->kind != J_UNDEF && (!axl_j_truth(&a[1]) || axl_j_truth(self)))
        goto out;
    *res = a[0];
    if (a[0].kind == J_ABSENT)
        AXL_TRY(axl_j_word(e, "", res));
out:
    return status;
}

static axl_status f_center(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    j_value s;
    int64_t width;

    AXL_TRY(axl_j_to_str(e, self, &s));
    AXL_TRY(int_arg(e, &a[0], 80, &width));
    AXL_TRY(axl_j_pad(e, s.s, width, ' ', 0, res));
out:
    return status;
}

static axl_status f_indent(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    j_buf b = {0};
    j_value s, pad, lines, copy;
    int64_t width;

    AXL_TRY(axl_j_to_str(e, self, &s));
    if (a[0].kind == J_STR) {
        pad = a[0];
    } else {
        AXL_TRY(int_arg(e, &a[0], 4, &width));
        AXL_TRY(axl_j_word(e, "", &copy));
        AXL_TRY(axl_j_pad(e, copy.s, width, ' ', 1, &pad));
    }
    AXL_TRY(axl_j_put(e, &b, s.s->p, s.s->n));
    AXL_TRY(axl_j_put(e, &b, "\n", 1)); // so that a trailing newline stays a line of its own
    AXL_TRY(axl_j_buf_value(e, &b, &copy));
    AXL_TRY(axl_j_splitlines(e, copy.s, false, &lines));
    b = (j_buf){0};
    for (int64_t i = 0; i < lines.l->n; i++) {
        const j_str *line = lines.l->v[i].s;
        bool padded = i == 0 ? axl_j_truth(&a[1]) : line->n > 0 || axl_j_truth(&a[2]);

        if (i > 0)
            AXL_TRY(axl_j_put(e, &b, "\n", 1));
        if (padded)
            AXL_TRY(axl_j_put(e, &b, pad.s->p, pad.s->n));
        AXL_TRY(axl_j_put(e, &b, line->p, line->n));
    }
    AXL_TRY(axl_j_buf_value(e, &b, res));
out:
    return status;
}

static axl_status f_truncate(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    int64_t length, leeway, n_end, n;
    j_value s, end;
    j_buf b = {0};
    size_t cut;

    AXL_TRY(axl_j_to_str(e, self, &s));
    AXL_TRY(int_arg(e, &a[0], 255, &length));
    AXL_TRY(int_arg(e, &a[3], 5, &leeway));
    if (a[2].kind == J_ABSENT)
        AXL_TRY(axl_j_word(e, "...", &end));
    else
        AXL_TRY(axl_j_to_str(e, &a[2], &end));
    n = axl_j_chars(s.s);
    n_end = axl_j_chars(end.s);
    J_REQUIRE(e, length >= n_end, "AssertionError: expected length >= %lld, got %lld",
              (long long)n_end, (long long)length);
    J_REQUIRE(e, leeway >= 0, "AssertionError: expected leeway >= 0, got %lld", (long long)leeway);
    *res = s;
    if (n <= length || n - length <= leeway)
        goto out;
    cut = axl_j_offset(s.s, length - n_end);
    if (!axl_j_truth(&a[1])) {
        const char *blank = memrchr(s.s->p, ' ', cut);

        cut = blank != NULL ? (size_t)(blank - s.s->p) : cut;
    }
    AXL_TRY(axl_j_put(e, &b, s.s->p, cut));
    AXL_TRY(axl_j_put(e, &b, end.s->p, end.s->n));
    AXL_TRY(axl_j_buf_value(e, &b, res));
out:
    return status;
}

static axl_status f_wordcount(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    bool inside = false;
    int64_t n = 0;
    uint32_t cp;
    j_value s;

    (void)a;
    AXL_TRY(axl_j_to_str(e, self, &s));
    axl_j_work(e, 2 * s.s->n); // the properties of a character take longer than a copy
    for (size_t i = 0; i < s.s->n;) {
        i += axl_j_cp(s.s->p + i, s.s->n - i, &cp);
        n += axl_j_is_word(cp) && !inside;
        inside = axl_j_is_word(cp);
    }
    *res = axl_j_int(n);
out:
    return status;
}

static axl_status quote(j_env *e, j_buf *b, const j_value *v, bool in_query)
{
    axl_status status = AXL_OK;
    j_value s;
    char hex[4];

    AXL_TRY(axl_j_to_str(e, v, &s));
    for (size_t i = 0; i < s.s->n; i++) {
        unsigned char c = (unsigned char)s.s->p[i];
        bool plain = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '_' ||
                     c == '.' || c == '-' || c == '~' || (c == '/' && !in_query);

        if (plain) {
            AXL_TRY(axl_j_put(e, b, (const char *)&c, 1));
        } else if (c == ' ' && in_query) {
            AXL_TRY(axl_j_put(e, b, "+", 1));
        } else {
            (void)snprintf(hex, sizeof hex, "%%%02X", c);
            AXL_TRY(axl_j_puts(e, b, hex));
        }
    }
out:
    return status;
}

static axl_status f_urlencode(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    j_buf b = {0};
    j_value pairs = *self;
    j_list *l;

    (void)a;
    if (self->kind != J_DICT && (self->kind < J_LIST || self->kind > J_ITER)) {
        AXL_TRY(quote(e, &b, self, false));
    } else {
        if (self->kind == J_DICT)
            AXL_TRY(axl_j_dict_entries(e, self->d, J_ITEMS, &pairs));
        AXL_TRY(axl_j_items(e, &pairs, &l));
        for (int64_t i = 0; i < l->n; i++) {
            j_list *pair;

            AXL_TRY(axl_j_items(e, &l->v[i], &pair));
            J_REQUIRE(e, pair->n == 2, "ValueError: urlencode needs pairs");
            if (i > 0)
                AXL_TRY(axl_j_put(e, &b, "&", 1));
            AXL_TRY(quote(e, &b, &pair->v[0], true));
            AXL_TRY(axl_j_put(e, &b, "=", 1));
            AXL_TRY(quote(e, &b, &pair->v[1], true));
        }
    }
    AXL_TRY(axl_j_buf_value(e, &b, res));
out:
    return status;
}

static axl_status f_format(j_env *e, const j_value *self, const j_args *args, j_value *res)
{
    axl_status status = AXL_OK;
    j_value s, values;

    AXL_TRY(axl_j_to_str(e, self, &s));
    J_REQUIRE(e, args->n_pos == 0 || args->n_kw == 0,
              "TypeError: can't handle positional and keyword arguments at the same time");
    if (args->n_kw > 0) {
        AXL_TRY(axl_j_dict(e, &values));
        for (int i = 0; i < args->n_kw; i++) {
            j_value key;

            AXL_TRY(axl_j_text(e, args->kw_names[i]->p, args->kw_names[i]->n, &key));
            AXL_TRY(axl_j_dict_set(e, values.d, key, args->kw[i]));
        }
    } else {
        AXL_TRY(axl_j_list(e, J_TUPLE, args->n_pos, &values));
        for (int i = 0; i < args->n_pos; i++)
            AXL_TRY(axl_j_append(e, values.l, args->pos[i]));
    }
    AXL_TRY(axl_j_percent(e, s.s, &values, res));
out:
    return status;
}

// ---- numbers ----

// Reads s as Python's int(s, base) does; false when it is no integer.
static bool read_int(const j_str *s, int base, int64_t *res)
{
    j_str t = axl_j_strip(s, NULL, 3);
    char text[72];
    size_t n = 0;
    char *end;

    for (size_t i = 0; i < t.n; i++) {
        bool inner = t.p[i] == '_' && i > 0 && i + 1 < t.n && t.p[i - 1] != '_';

        if (inner)
            continue;
        if (n + 1 >= sizeof text || t.p[i] == '_' || axl_j_is_space((unsigned char)t.p[i]))
            return false;
        text[n++] = t.p[i];
    }
    text[n] = '\0';
    if (n == 0 || base < 0 || base == 1 || base > 36)
        return false;
    if (base == 2 || base == 8) { // strtoll knows only the prefix of 16
        size_t at = text[0] == '-' || text[0] == '+';

        if (text[at] == '0' && (text[at + 1] | 32) == (base == 2 ? 'b' : 'o'))
            memmove(text + at, text + at + 2, strlen(text + at + 2) + 1);
    }
    errno = 0;
    *res = strtoll(text, &end, base);
    return *end == '\0' && end != text && errno == 0;
}

static bool read_float(const j_str *s, double *res)
{
    j_str t = axl_j_strip(s, NULL, 3);
    char text[320];
    char *end;

    if (t.n == 0 || t.n >= sizeof text)
        return false;
    memcpy(text, t.p, t.n);
    text[t.n] = '\0';
    if (strpbrk(text, "xXpP(") != NULL || strlen(text) != t.n)
        return false; // C's hexadecimal floats are none of Python's
    *res = strtod(text, &end);
    return *end == '\0' && end != text;
}

static bool float_to_int(double x, int64_t *res)
{
    if (!(x > -9.2e18 && x < 9.2e18))
        return false;
    *res = (int64_t)x;
    return true;
}

static axl_status f_int(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    int64_t base, i = 0;
    double x;
    bool fine;

    AXL_TRY(int_arg(e, &a[1], 10, &base));
    if (self->kind == J_UNDEF)
        AXL_TRY(axl_j_fail_undefined(e, self));
    if (self->kind == J_STR)
        fine = (base >= 0 && base <= 36 && read_int(self->s, (int)base, &i)) ||
               (read_float(self->s, &x) && float_to_int(x, &i));
    else if (self->kind == J_INT)
        fine = (i = self->i, true);
    else
        fine = axl_j_number(self, &x) && float_to_int(x, &i);
    *res = fine ? axl_j_int(i) : a[0].kind != J_ABSENT ? a[0] : axl_j_int(0);
    if (self->kind == J_BIG)
        *res = *self;
out:
    return status;
}

static axl_status f_float(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    double x;
    bool fine;

    if (self->kind == J_UNDEF)
        AXL_TRY(axl_j_fail_undefined(e, self));
    fine = self->kind == J_STR || self->kind == J_BIG ? read_float(self->s, &x)
                                                      : axl_j_number(self, &x);
    *res = fine ? axl_j_float(x) : a[0].kind != J_ABSENT ? a[0] : axl_j_float(0.0);
out:
    return status;
}

static axl_status f_abs(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    double x;

    (void)a;
    if (self->kind == J_UNDEF)
        AXL_TRY(axl_j_fail_undefined(e, self));
    J_REQUIRE(e, axl_j_number(self, &x), "TypeError: bad operand type for abs(): '%s'",
              axl_j_type_name(self));
    if (x < 0 || (self->kind == J_FLOAT && signbit(x)))
        AXL_TRY(axl_j_unary(e, JN_NEG, self, res));
    else
        AXL_TRY(axl_j_unary(e, JN_POS, self, res));
out:
    return status;
}

static axl_status f_round(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    bool common = a[1].kind == J_ABSENT || (a[1].kind == J_STR && a[1].s->n == 6);
    int64_t precision;
    char text[400];
    double x, scale;

    if (self->kind == J_UNDEF)
        AXL_TRY(axl_j_fail_undefined(e, self));
    J_REQUIRE(e, axl_j_number(self, &x), "TypeError: type %s doesn't define __round__ method",
              axl_j_type_name(self));
    AXL_TRY(int_arg(e, &a[0], 0, &precision));
    J_REQUIRE(e, precision >= -300 && precision <= 300, "round: a precision of %lld",
              (long long)precision);
    J_REQUIRE(e, common || (a[1].kind == J_STR && (a[1].s->n == 4 || a[1].s->n == 5)),
              "FilterArgumentError: method must be common, ceil or floor");
    if (self->kind != J_FLOAT && common && precision >= 0) {
        *res = *self;
        goto out;
    }
    scale = pow(10.0, (double)precision);
    if (!common) {
        *res = axl_j_float((a[1].s->n == 4 ? ceil(x * scale) : floor(x * scale)) / scale);
    } else if (precision >= 0 && fabs(x) < 1e16) { // printf rounds the exact value, halves to even
        (void)snprintf(text, sizeof text, "%.*f", (int)precision, x);
        *res = axl_j_float(strtod(text, NULL));
    } else if (precision >= 0) {
        *res = axl_j_float(x);
    } else {
        *res = axl_j_float(nearbyint(x * scale) / scale);
        if (self->kind != J_FLOAT)
            *res = axl_j_int((int64_t)res->f);
    }
out:
    return status;
}

static axl_status f_filesizeformat(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    static const char *const names[2][8] = {
        {"kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"},
        {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"}};
    bool binary = axl_j_truth(&a[0]);
    double bytes = 0.0, base = binary ? 1024.0 : 1000.0, unit = base;
    char text[64];
    j_buf b = {0};
    int i = 0;

    J_REQUIRE(e, axl_j_number(self, &bytes) || (self->kind == J_STR && read_float(self->s, &bytes)),
              "TypeError: filesizeformat needs a number");
    if (bytes == 1.0) {
        (void)snprintf(text, sizeof text, "1 Byte");
    } else if (bytes < base) {
        (void)snprintf(text, sizeof text, "%.0f Bytes", trunc(bytes));
    } else {
        for (unit = base * base; i < 7 && bytes >= unit; i++)
            unit *= base;
        (void)snprintf(text, sizeof text, "%.1f %s", base * bytes / unit, names[binary][i]);
    }
    AXL_TRY(axl_j_puts(e, &b, text));
    AXL_TRY(axl_j_buf_value(e, &b, res));
out:
    return status;
}

// Tags and comments out, white space runs to one blank, the five entities back.
static axl_status f_striptags(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    static const char *const entities[] = {"&lt;",  "<",  "&gt;",   ">",  "&#39;", "'",
                                           "&#34;", "\"", "&quot;", "\"", "&amp;", "&"};
    j_value s, from, to;
    j_buf b = {0};
    bool blank = false;
    uint32_t cp;

    (void)a;
    AXL_TRY(axl_j_to_str(e, self, &s));
    for (size_t i = 0, k; i < s.s->n; i += k) {
        const char *end = s.s->p[i] == '<' ? memchr(s.s->p + i, '>', s.s->n - i) : NULL;

        k = axl_j_cp(s.s->p + i, s.s->n - i, &cp);
        if (end != NULL && s.s->n - i >= 4 && memcmp(s.s->p + i, "<!--", 4) == 0)
            end = memmem(s.s->p + i, s.s->n - i, "-->", 3) != NULL
                      ? (char *)memmem(s.s->p + i, s.s->n - i, "-->", 3) + 2
                      : end;
        if (end != NULL) {
            k = (size_t)(end - s.s->p) - i + 1;
        } else if (axl_j_is_space(cp)) {
            blank = b.n > 0;
        } else {
            AXL_TRY(blank ? axl_j_put(e, &b, " ", 1) : AXL_OK);
            AXL_TRY(axl_j_put(e, &b, s.s->p + i, k));
            blank = false;
        }
    }
    AXL_TRY(axl_j_buf_value(e, &b, res));
    for (size_t i = 0; i < COUNT(entities); i += 2) {
        AXL_TRY(axl_j_word(e, entities[i], &from));
        AXL_TRY(axl_j_word(e, entities[i + 1], &to));
        AXL_TRY(axl_j_replace(e, res->s, from.s, to.s, -1, res));
    }
out:
    return status;
}

static axl_status f_xmlattr(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    j_buf b = {0};
    j_value key, value;

    J_REQUIRE(e, self->kind == J_DICT, "TypeError: xmlattr needs a mapping");
    for (int64_t i = 0; i < self->d->n; i++) {
        if (self->d->values[i].kind <= J_NONE)
            continue;
        AXL_TRY(axl_j_escape(e, &self->d->keys[i], &key));
        J_REQUIRE(e,
                  strcspn(key.s->p, " \t\n\r\f\v/>=") >= key.s->n || self->d->keys[i].kind != J_STR,
                  "ValueError: Invalid character in attribute name");
        AXL_TRY(axl_j_escape(e, &self->d->values[i], &value));
        if (b.n > 0 || a[0].kind == J_ABSENT || axl_j_truth(&a[0]))
            AXL_TRY(axl_j_put(e, &b, " ", 1));
        AXL_TRY(axl_j_put(e, &b, key.s->p, key.s->n));
        AXL_TRY(axl_j_put(e, &b, "=\"", 2));
        AXL_TRY(axl_j_put(e, &b, value.s->p, value.s->n));
        AXL_TRY(axl_j_put(e, &b, "\"", 1));
    }
    AXL_TRY(axl_j_buf_value(e, &b, res));
out:
    return status;
}

static const j_def filters[] = {
    {"upper", "", 0, f_upper, NULL, false},
    {"lower", "", 0, f_lower, NULL, false},
    {"capitalize", "", 0, f_capitalize, NULL, false},
    {"title", "", 0, f_title, NULL, false},
    {"trim", "chars", 0, f_trim, NULL, false},
    {"string", "", 0, f_string, NULL, false},
    {"safe", "", 0, f_safe, NULL, false},
    {"e", "", 0, f_escape, NULL, false},
    {"escape", "", 0, f_escape, NULL, false},
    {"forceescape", "", 0, f_forceescape, NULL, false},
    {"replace", "old new count", 2, f_replace, NULL, false},
    {"default", "default_value boolean", 0, f_default, NULL, false},
    {"d", "default_value boolean", 0, f_default, NULL, false},
    {"center", "width", 0, f_center, NULL, false},
    {"indent", "width first blank", 0, f_indent, NULL, false},
    {"truncate", "length killwords end leeway", 0, f_truncate, NULL, false},
    {"wordcount", "", 0, f_wordcount, NULL, false},
    {"urlencode", "", 0, f_urlencode, NULL, false},
    {"format", "", 0, NULL, f_format, false},
    {"int", "default base", 0, f_int, NULL, false},
    {"float", "default", 0, f_float, NULL, false},
    {"abs", "", 0, f_abs, NULL, false},
    {"round", "precision method", 0, f_round, NULL, false},
    {"filesizeformat", "binary", 0, f_filesizeformat, NULL, false},
    {"striptags", "", 0, f_striptags, NULL, false},
    {"xmlattr", "autospace", 0, f_xmlattr, NULL, false},
    {"tojson", "", 0, NULL, axl_j_tojson, false},
};

const j_def *axl_j_find_filter(const char *name, size_t n)
{
    const j_def *def = axl_j_find_def(filters, COUNT(filters), name, n);

    return def != NULL ? def : axl_j_find_sequence_filter(name, n);
}
