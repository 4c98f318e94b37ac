// The methods of str that templates call.
#include "src/text/jinja_internal.h"

#include <string.h>

#define COUNT(t) (sizeof(t) / sizeof *(t))

static axl_status need_str(j_env *e, const j_value *v, const char *method)
{
    axl_status status = AXL_OK;

    if (v->kind == J_UNDEF)
        AXL_TRY(axl_j_fail_undefined(e, v));
    J_REQUIRE(e, v->kind == J_STR, "TypeError: %s() needs a str, not '%s'", method,
              axl_j_type_name(v));
out:
    return status;
}

static axl_status need_int(j_env *e, const j_value *v, int64_t otherwise, int64_t *res)
{
    axl_status status = AXL_OK;

    if (v->kind == J_UNDEF)
        AXL_TRY(axl_j_fail_undefined(e, v));
    J_REQUIRE(e, v->kind == J_ABSENT || v->kind == J_NONE || v->kind == J_INT || v->kind == J_BOOL,
              "TypeError: '%s' object cannot be interpreted as an integer", axl_j_type_name(v));
    *res = v->kind == J_INT ? v->i : v->kind == J_BOOL ? v->b : otherwise;
out:
    return status;
}

static axl_status strip_sides(j_env *e, const j_value *self, const j_value *chars, int sides,
                              j_value *res)
{
    axl_status status = AXL_OK;
    j_str s;

    if (chars->kind != J_ABSENT && chars->kind != J_NONE)
        AXL_TRY(need_str(e, chars, "strip"));
    s = axl_j_strip(self->s, chars->kind == J_STR ? chars->s : NULL, sides);
    AXL_TRY(axl_j_text(e, s.p, s.n, res));
out:
    return status;
}

static axl_status m_strip(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    return strip_sides(e, self, &a[0], 3, res);
}

static axl_status m_lstrip(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    return strip_sides(e, self, &a[0], 1, res);
}

static axl_status m_rstrip(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    return strip_sides(e, self, &a[0], 2, res);
}

static axl_status m_upper(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    (void)a;
    return axl_j_upper(e, self->s, res);
}

static axl_status m_lower(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    (void)a;
    return axl_j_lower(e, self->s, res);
}

static axl_status m_capitalize(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    (void)a;
    return axl_j_capitalize(e, self->s, res);
}

static axl_status m_title(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    j_buf b = {0};
    bool inside = false;
    uint32_t cp;

    (void)a;
    for (size_t i = 0; i < self->s->n;) {
        i += axl_j_cp(self->s->p + i, self->s->n - i, &cp);
        AXL_TRY(inside ? axl_j_put_lower(e, &b, cp) : axl_j_put_title(e, &b, cp));
        inside = axl_j_is_upper(cp) || axl_j_is_lower(cp);
    }
    AXL_TRY(axl_j_buf_value(e, &b, res));
out:
    return status;
}

static axl_status m_swapcase(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    j_buf b = {0};
    uint32_t cp;

    (void)a;
    for (size_t i = 0; i < self->s->n;) {
        i += axl_j_cp(self->s->p + i, self->s->n - i, &cp);
        AXL_TRY(axl_j_is_upper(cp) ? axl_j_put_lower(e, &b, cp) : axl_j_put_upper(e, &b, cp));
    }
    AXL_TRY(axl_j_buf_value(e, &b, res));
out:
    return status;
}

// ---- split ----

static axl_status add_part(j_env *e, j_list *l, const char *p, size_t n)
{
    axl_status status = AXL_OK;
    j_value part;

    AXL_TRY(axl_j_text(e, p, n, &part));
    AXL_TRY(axl_j_append(e, l, part));
out:
    return status;
}

static axl_status split_space(j_env *e, const j_str *s, int64_t max, j_list *l)
{
    axl_status status = AXL_OK;
    j_str rest = axl_j_strip(s, NULL, 1);
    uint32_t cp;

    while (rest.n > 0) {
        size_t n = 0, k;

        if (max == 0) // the rest as it is
            n = rest.n;
        while (n < rest.n) {
            k = axl_j_cp(rest.p + n, rest.n - n, &cp);
            if (axl_j_is_space(cp))
                break;
            n += k;
        }
        AXL_TRY(add_part(e, l, rest.p, n));
        rest.p += n;
        rest.n -= n;
        rest = axl_j_strip(&rest, NULL, 1);
        max--;
    }
out:
    return status;
}

static axl_status split_by(j_env *e, const j_str *s, const j_str *by, int64_t max, j_list *l)
{
    axl_status status = AXL_OK;
    size_t from = 0;

    for (; max != 0; max--) {
        int64_t at = axl_j_find(s, by, from);

        if (at < 0)
            break;
        AXL_TRY(add_part(e, l, s->p + from, (size_t)at - from));
        from = (size_t)at + by->n;
    }
    AXL_TRY(add_part(e, l, s->p + from, s->n - from));
out:
    return status;
}

static int64_t find_last(const j_str *s, const j_str *what, size_t end)
{
    for (size_t i = end + 1; i-- > 0;)
        if (what->n <= end - i && memcmp(s->p + i, what->p, what->n) == 0)
            return (int64_t)i;
    return -1;
}

static void reverse(j_list *l)
{
    for (int64_t i = 0, k = l->n - 1; i < k; i++, k--) {
        j_value v = l->v[i];

        l->v[i] = l->v[k];
        l->v[k] = v;
    }
}

static axl_status rsplit_by(j_env *e, const j_str *s, const j_str *by, int64_t max, j_list *l)
{
    axl_status status = AXL_OK;
    size_t end = s->n;

    for (; max != 0; max--) {
        int64_t at = find_last(s, by, end);

        if (at < 0)
            break;
        AXL_TRY(add_part(e, l, s->p + at + by->n, end - (size_t)at - by->n));
        end = (size_t)at;
    }
    AXL_TRY(add_part(e, l, s->p, end));
    reverse(l);
out:
    return status;
}

static axl_status rsplit_space(j_env *e, const j_str *s, int64_t max, j_list *l)
{
    axl_status status = AXL_OK;
    j_str rest = axl_j_strip(s, NULL, 2);
    uint32_t cp;

    while (rest.n > 0) {
        size_t from = rest.n;

        if (max == 0) {
            AXL_TRY(add_part(e, l, rest.p, rest.n));
            break;
        }
        while (from > 0) {
            size_t i = from - 1;

            while (i > 0 && ((unsigned char)rest.p[i] & 0xc0) == 0x80)
                i--;
            (void)axl_j_cp(rest.p + i, from - i, &cp);
            if (axl_j_is_space(cp))
                break;
            from = i;
        }
        AXL_TRY(add_part(e, l, rest.p + from, rest.n - from));
        rest.n = from;
        rest = axl_j_strip(&rest, NULL, 2);
        max--;
    }
    reverse(l);
out:
    return status;
}

static axl_status split_any(j_env *e, const j_value *self, const j_value *a, bool right,
                            j_value *res)
{
    axl_status status = AXL_OK;
    int64_t max;

    AXL_TRY(need_int(e, &a[1], -1, &max));
    AXL_TRY(axl_j_list(e, J_LIST, 0, res));
    if (a[0].kind == J_ABSENT || a[0].kind == J_NONE) {
        AXL_TRY(right ? rsplit_space(e, self->s, max, res->l)
                      : split_space(e, self->s, max, res->l));
        goto out;
    }
    AXL_TRY(need_str(e, &a[0], "split"));
    J_REQUIRE(e, a[0].s->n > 0, "ValueError: empty separator");
    AXL_TRY(right ? rsplit_by(e, self->s, a[0].s, max, res->l)
                  : split_by(e, self->s, a[0].s, max, res->l));
out:
    return status;
}

static axl_status m_split(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    return split_any(e, self, a, false, res);
}

static axl_status m_rsplit(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    return split_any(e, self, a, true, res);
}

static axl_status m_splitlines(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    return axl_j_splitlines(e, self->s, axl_j_truth(&a[0]), res);
}

static axl_status partition(j_env *e, const j_value *self, const j_value *by, bool right,
                            j_value *res)
{
    axl_status status = AXL_OK;
    const j_str *s = self->s;
    int64_t at;
    size_t left, gap;

    AXL_TRY(need_str(e, by, "partition"));
    J_REQUIRE(e, by->s->n > 0, "ValueError: empty separator");
    at = right ? find_last(s, by->s, s->n) : axl_j_find(s, by->s, 0);
    left = at >= 0 ? (size_t)at : right ? 0 : s->n;
    gap = at >= 0 ? by->s->n : 0;
    AXL_TRY(axl_j_list(e, J_TUPLE, 3, res));
    AXL_TRY(add_part(e, res->l, s->p, left));
    AXL_TRY(add_part(e, res->l, s->p + left, gap));
    AXL_TRY(add_part(e, res->l, s->p + left + gap, s->n - left - gap));
out:
    return status;
}

static axl_status m_partition(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    return partition(e, self, &a[0], false, res);
}

static axl_status m_rpartition(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    return partition(e, self, &a[0], true, res);
}

// ---- search ----

// The part of self between the code points a[0] and a[1], as Python clamps them; *from is its offset.
static axl_status window(j_env *e, const j_value *self, const j_value *a, j_str *part, size_t *from)
{
    axl_status status = AXL_OK;
    int64_t n = axl_j_chars(self->s), begin, end;
    size_t to;

    AXL_TRY(need_int(e, &a[0], 0, &begin));
    AXL_TRY(need_int(e, &a[1], n, &end));
    begin = begin < 0 ? begin + n : begin;
    end = end < 0 ? end + n : end;
    *from = axl_j_offset(self->s, begin);
    to = axl_j_offset(self->s, end < 0 ? 0 : end);
    *part = (j_str){.p = self->s->p + *from, .n = to > *from ? to - *from : 0, .n_chars = -1};
out:
    return status;
}

static bool has_affix(const j_str *s, const j_str *affix, bool suffix)
{
    return affix->n <= s->n &&
           memcmp(suffix ? s->p + s->n - affix->n : s->p, affix->p, affix->n) == 0;
}

static axl_status affix(j_env *e, const j_value *self, const j_value *a, bool suffix, j_value *res)
{
    axl_status status = AXL_OK;
    bool found = false;
    j_str part;
    size_t from;

    AXL_TRY(window(e, self, &a[1], &part, &from));
    if (a[0].kind == J_TUPLE) {
        for (int64_t i = 0; i < a[0].l->n && !found; i++) {
            AXL_TRY(need_str(e, &a[0].l->v[i], suffix ? "endswith" : "startswith"));
            found = has_affix(&part, a[0].l->v[i].s, suffix);
        }
    } else {
        AXL_TRY(need_str(e, &a[0], suffix ? "endswith" : "startswith"));
        found = has_affix(&part, a[0].s, suffix);
    }
    *res = axl_j_bool(found);
out:
    return status;
}

static axl_status m_startswith(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    return affix(e, self, a, false, res);
}

static axl_status m_endswith(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    return affix(e, self, a, true, res);
}

static axl_status find_any(j_env *e, const j_value *self, const j_value *a, bool right, bool must,
                           j_value *res)
{
    axl_status status = AXL_OK;
    j_str part, before;
    size_t from;
    int64_t at;

    AXL_TRY(need_str(e, &a[0], "find"));
    AXL_TRY(window(e, self, &a[1], &part, &from));
    at = right ? find_last(&part, a[0].s, part.n) : axl_j_find(&part, a[0].s, 0);
    J_REQUIRE(e, at >= 0 || !must, "ValueError: substring not found");
    before = (j_str){.p = self->s->p, .n = from + (size_t)(at < 0 ? 0 : at), .n_chars = -1};
    *res = axl_j_int(at < 0 ? -1 : axl_j_chars(&before));
out:
    return status;
}

static axl_status m_find(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    return find_any(e, self, a, false, false, res);
}

static axl_status m_rfind(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    return find_any(e, self, a, true, false, res);
}

static axl_status m_index(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    return find_any(e, self, a, false, true, res);
}

static axl_status m_rindex(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    return find_any(e, self, a, true, true, res);
}

static axl_status m_count(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    j_str part;
    size_t from;
    int64_t n = 0;

    AXL_TRY(need_str(e, &a[0], "count"));
    AXL_TRY(window(e, self, &a[1], &part, &from));
    if (a[0].s->n == 0)
        n = axl_j_chars(&part) + 1;
    for (int64_t at = 0; a[0].s->n > 0; at += (int64_t)a[0].s->n, n++) {
        at = axl_j_find(&part, a[0].s, (size_t)at);
        if (at < 0)
            break;
    }
    *res = axl_j_int(n);
out:
    return status;
}

static axl_status m_replace(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    int64_t count;

    AXL_TRY(need_str(e, &a[0], "replace"));
    AXL_TRY(need_str(e, &a[1], "replace"));
    AXL_TRY(need_int(e, &a[2], -1, &count));
    AXL_TRY(axl_j_replace(e, self->s, a[0].s, a[1].s, count, res));
out:
    return status;
}

static axl_status m_removeprefix(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    size_t k;

    AXL_TRY(need_str(e, &a[0], "removeprefix"));
    k = has_affix(self->s, a[0].s, false) ? a[0].s->n : 0;
    AXL_TRY(axl_j_text(e, self->s->p + k, self->s->n - k, res));
out:
    return status;
}

static axl_status m_removesuffix(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;

    AXL_TRY(need_str(e, &a[0], "removesuffix"));
    AXL_TRY(axl_j_text(e, self->s->p,
                       self->s->n - (has_affix(self->s, a[0].s, true) ? a[0].s->n : 0), res));
out:
    return status;
}

static axl_status m_join(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    j_buf b = {0};
    j_list *l;

    if (a[0].kind == J_UNDEF)
        AXL_TRY(axl_j_fail_undefined(e, &a[0]));
    AXL_TRY(axl_j_items(e, &a[0], &l));
    for (int64_t i = 0; i < l->n; i++) {
        J_REQUIRE(e, l->v[i].kind == J_STR,
                  "TypeError: sequence item %lld: expected str instance, %s found", (long long)i,
                  axl_j_type_name(&l->v[i]));
        if (i > 0)
            AXL_TRY(axl_j_put(e, &b, self->s->p, self->s->n));
        AXL_TRY(axl_j_put(e, &b, l->v[i].s->p, l->v[i].s->n));
    }
    AXL_TRY(axl_j_buf_value(e, &b, res));
out:
    return status;
}

// ---- padding ----

static axl_status pad(j_env *e, const j_value *self, const j_value *a, int side, j_value *res)
{
    axl_status status = AXL_OK;
    int64_t width;
    uint32_t fill = ' ';

    AXL_TRY(need_int(e, &a[0], 0, &width));
    if (a[1].kind != J_ABSENT) {
        AXL_TRY(need_str(e, &a[1], "center"));
        J_REQUIRE(e, axl_j_chars(a[1].s) == 1,
                  "TypeError: The fill character must be exactly one character long");
        (void)axl_j_cp(a[1].s->p, a[1].s->n, &fill);
    }
    AXL_TRY(axl_j_pad(e, self->s, width, fill, side, res));
out:
    return status;
}

static axl_status m_center(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    return pad(e, self, a, 0, res);
}

static axl_status m_ljust(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    return pad(e, self, a, -1, res);
}

static axl_status m_rjust(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    return pad(e, self, a, 1, res);
}

static axl_status m_zfill(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    j_str s = *self->s;
    bool sign = s.n > 0 && (s.p[0] == '-' || s.p[0] == '+');
    j_buf b = {0};
    int64_t width;
    j_value digits;

    AXL_TRY(need_int(e, &a[0], 0, &width));
    s = (j_str){.p = s.p + sign, .n = s.n - sign, .n_chars = -1};
    AXL_TRY(axl_j_pad(e, &s, width - sign, '0', 1, &digits));
    AXL_TRY(axl_j_put(e, &b, self->s->p, sign));
    AXL_TRY(axl_j_put(e, &b, digits.s->p, digits.s->n));
    AXL_TRY(axl_j_buf_value(e, &b, res));
out:
    return status;
}

static axl_status m_expandtabs(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    int64_t width, column = 0;
    j_buf b = {0};
    uint32_t cp;

    AXL_TRY(need_int(e, &a[0], 8, &width));
    for (size_t i = 0, k; i < self->s->n; i += k) {
        k = axl_j_cp(self->s->p + i, self->s->n - i, &cp);
        if (cp == '\t') {
            for (int64_t n = width > 0 ? width - column % width : 0; n > 0; n--, column++)
                AXL_TRY(axl_j_put(e, &b, " ", 1));
            continue;
        }
        column = cp == '\n' || cp == '\r' ? 0 : column + 1;
        AXL_TRY(axl_j_put(e, &b, self->s->p + i, k));
    }
    AXL_TRY(axl_j_buf_value(e, &b, res));
out:
    return status;
}

static axl_status m_format(j_env *e, const j_value *self, const j_args *args, j_value *res)
{
    return axl_j_format(e, self->s, args, res);
}

// ---- what kind of text ----

static bool is_alnum(uint32_t cp)
{
    return axl_j_is_word(cp) && cp != '_';
}

static bool is_numeric(uint32_t cp)
{
    return is_alnum(cp) && !axl_j_is_alpha(cp);
}

static bool is_ascii(uint32_t cp)
{
    return cp < 0x80;
}

static axl_status all_chars(const j_value *self, bool (*is)(uint32_t), bool when_empty,
                            j_value *res)
{
    bool all = self->s->n > 0 || when_empty;
    uint32_t cp;

    for (size_t i = 0; i < self->s->n && all;) {
        i += axl_j_cp(self->s->p + i, self->s->n - i, &cp);
        all = is(cp);
    }
    *res = axl_j_bool(all);
    return AXL_OK;
}

static axl_status m_isdigit(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    (void)e;
    (void)a;
    return all_chars(self, axl_j_is_digit, false, res);
}

static axl_status m_isdecimal(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    (void)e;
    (void)a;
    return all_chars(self, axl_j_is_decimal, false, res);
}

static axl_status m_isnumeric(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    (void)e;
    (void)a;
    return all_chars(self, is_numeric, false, res);
}

static axl_status m_isalpha(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    (void)e;
    (void)a;
    return all_chars(self, axl_j_is_alpha, false, res);
}

static axl_status m_isalnum(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    (void)e;
    (void)a;
    return all_chars(self, is_alnum, false, res);
}

static axl_status m_isspace(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    (void)e;
    (void)a;
    return all_chars(self, axl_j_is_space, false, res);
}

static axl_status m_isascii(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    (void)e;
    (void)a;
    return all_chars(self, is_ascii, true, res);
}

static axl_status m_isprintable(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    (void)e;
    (void)a;
    return all_chars(self, axl_j_is_printable, true, res);
}

// At least one letter with case, and none of the other case.
static axl_status one_case(const j_value *self, bool upper, j_value *res)
{
    bool any = false, other = false;
    uint32_t cp;

    for (size_t i = 0; i < self->s->n;) {
        i += axl_j_cp(self->s->p + i, self->s->n - i, &cp);
        any = any || (upper ? axl_j_is_upper(cp) : axl_j_is_lower(cp));
        other = other || (upper ? axl_j_is_lower(cp) : axl_j_is_upper(cp));
    }
    *res = axl_j_bool(any && !other);
    return AXL_OK;
}

static axl_status m_isupper(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    (void)e;
    (void)a;
    return one_case(self, true, res);
}

static axl_status m_islower(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    (void)e;
    (void)a;
    return one_case(self, false, res);
}

static axl_status m_istitle(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    bool any = false, inside = false, fine = true;
    uint32_t cp;

    (void)e;
    (void)a;
    for (size_t i = 0; i < self->s->n && fine;) {
        bool upper, lower;

        i += axl_j_cp(self->s->p + i, self->s->n - i, &cp);
        upper = axl_j_is_upper(cp);
        lower = axl_j_is_lower(cp);
        fine = !(upper && inside) && !(lower && !inside);
        inside = upper || lower;
        any = any || inside;
    }
    *res = axl_j_bool(fine && any);
    return AXL_OK;
}

static axl_status m_isidentifier(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = all_chars(self, axl_j_is_word, false, res);

    (void)e;
    (void)a;
    if (res->b && self->s->p[0] >= '0' && self->s->p[0] <= '9')
        *res = axl_j_bool(false);
    return status;
}

static const j_def methods[] = {
    {"strip", "chars", 0, m_strip, NULL, false},
    {"lstrip", "chars", 0, m_lstrip, NULL, false},
    {"rstrip", "chars", 0, m_rstrip, NULL, false},
    {"split", "sep maxsplit", 0, m_split, NULL, false},
    {"rsplit", "sep maxsplit", 0, m_rsplit, NULL, false},
    {"splitlines", "keepends", 0, m_splitlines, NULL, false},
    {"partition", "sep", 1, m_partition, NULL, false},
    {"rpartition", "sep", 1, m_rpartition, NULL, false},
    {"startswith", "prefix start end", 1, m_startswith, NULL, false},
    {"endswith", "suffix start end", 1, m_endswith, NULL, false},
    {"find", "sub start end", 1, m_find, NULL, false},
    {"rfind", "sub start end", 1, m_rfind, NULL, false},
    {"index", "sub start end", 1, m_index, NULL, false},
    {"rindex", "sub start end", 1, m_rindex, NULL, false},
    {"count", "sub start end", 1, m_count, NULL, false},
    {"replace", "old new count", 2, m_replace, NULL, false},
    {"removeprefix", "prefix", 1, m_removeprefix, NULL, false},
    {"removesuffix", "suffix", 1, m_removesuffix, NULL, false},
    {"join", "iterable", 1, m_join, NULL, false},
    {"upper", "", 0, m_upper, NULL, false},
    {"lower", "", 0, m_lower, NULL, false},
    {"casefold", "", 0, m_lower, NULL, false},
    {"title", "", 0, m_title, NULL, false},
    {"capitalize", "", 0, m_capitalize, NULL, false},
    {"swapcase", "", 0, m_swapcase, NULL, false},
    {"center", "width fillchar", 1, m_center, NULL, false},
    {"ljust", "width fillchar", 1, m_ljust, NULL, false},
    {"rjust", "width fillchar", 1, m_rjust, NULL, false},
    {"zfill", "width", 1, m_zfill, NULL, false},
    {"expandtabs", "tabsize", 0, m_expandtabs, NULL, false},
    {"format", "", 0, NULL, m_format, false},
    {"isdigit", "", 0, m_isdigit, NULL, false},
    {"isdecimal", "", 0, m_isdecimal, NULL, false},
    {"isnumeric", "", 0, m_isnumeric, NULL, false},
    {"isalpha", "", 0, m_isalpha, NULL, false},
    {"isalnum", "", 0, m_isalnum, NULL, false},
    {"isspace", "", 0, m_isspace, NULL, false},
    {"isascii", "", 0, m_isascii, NULL, false},
    {"isprintable", "", 0, m_isprintable, NULL, false},
    {"isupper", "", 0, m_isupper, NULL, false},
    {"islower", "", 0, m_islower, NULL, false},
    {"istitle", "", 0, m_istitle, NULL, false},
    {"isidentifier", "", 0, m_isidentifier, NULL, false},
};

const j_def *axl_j_find_str_method(const char *name, size_t n)
{
    return axl_j_find_def(methods, COUNT(methods), name, n);
}
