// Python's view of strings: indices count code points, white space and case follow Unicode.
//
// The hard thing is that a string is stored as UTF-8 while everything counts code points; strings
// whose count equals their bytes are ASCII and take the short way.
#include "src/text/jinja_internal.h"

#include <string.h>
#include <utf8proc.h>

size_t axl_j_cp(const char *p, size_t n, uint32_t *cp)
{
    size_t k = axl_utf8_next(p, n, cp);

    if (k == 0) {
        *cp = 0xfffd;
        k = 1;
    }
    return k;
}

int64_t axl_j_chars(const j_str *s)
{
    int64_t n = 0;

    if (s->n_chars >= 0)
        return s->n_chars;
    for (size_t i = 0; i < s->n; i++)
        n += ((unsigned char)s->p[i] & 0xc0) != 0x80;
    return n;
}

size_t axl_j_offset(const j_str *s, int64_t at)
{
    size_t i = 0;

    if (at <= 0)
        return 0;
    if (s->n_chars >= 0 && (size_t)s->n_chars == s->n)
        return (size_t)at < s->n ? (size_t)at : s->n;
    for (; i < s->n; i++)
        if (((unsigned char)s->p[i] & 0xc0) != 0x80 && at-- == 0)
            break;
    return i;
}

bool axl_j_is_space(uint32_t cp)
{
    if (cp < 0x80)
        return (cp >= 9 && cp <= 13) || (cp >= 0x1c && cp <= 0x20);
    return cp == 0x85 || cp == 0xa0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) ||
           cp == 0x2028 || cp == 0x2029 || cp == 0x202f || cp == 0x205f || cp == 0x3000;
}

static utf8proc_category_t category(uint32_t cp)
{
    return utf8proc_category((utf8proc_int32_t)cp);
}

bool axl_j_is_alpha(uint32_t cp)
{
    utf8proc_category_t c = category(cp);

    return c == UTF8PROC_CATEGORY_LU || c == UTF8PROC_CATEGORY_LL || c == UTF8PROC_CATEGORY_LT ||
           c == UTF8PROC_CATEGORY_LM || c == UTF8PROC_CATEGORY_LO;
}

bool axl_j_is_decimal(uint32_t cp)
{
    return category(cp) == UTF8PROC_CATEGORY_ND;
}

bool axl_j_is_digit(uint32_t cp)
{
    // Python's isdigit also takes superscripts and circled digits; these are the common ones.
    return category(cp) == UTF8PROC_CATEGORY_ND || cp == 0xb2 || cp == 0xb3 || cp == 0xb9 ||
           cp == 0x2070 || (cp >= 0x2074 && cp <= 0x2079) || (cp >= 0x2080 && cp <= 0x2089);
}

bool axl_j_is_upper(uint32_t cp)
{
    return category(cp) == UTF8PROC_CATEGORY_LU;
}

bool axl_j_is_lower(uint32_t cp)
{
    return category(cp) == UTF8PROC_CATEGORY_LL;
}

bool axl_j_is_word(uint32_t cp)
{
    utf8proc_category_t c = category(cp);

    return cp == '_' || axl_j_is_alpha(cp) || c == UTF8PROC_CATEGORY_ND ||
           c == UTF8PROC_CATEGORY_NL || c == UTF8PROC_CATEGORY_NO;
}

bool axl_j_is_printable(uint32_t cp)
{
    switch (category(cp)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return false;
    case UTF8PROC_CATEGORY_ZS:
        return cp == ' ';
    default:
        return true;
    }
}

// Letters whose upper or title form is several letters (Unicode SpecialCasing, no locale).
typedef struct wide_case {
    uint32_t cp;
    const char *upper, *title;
} wide_case;

static const wide_case wide_cases[] = {
    {0xdf, "SS", "Ss"},
    {0x149, "\u02bcN", "\u02bcN"},
    {0x1f0, "J\u030c", "J\u030c"},
    {0x587, "\u0535\u0552", "\u0535\u0582"},
    {0x1e96, "H\u0331", "H\u0331"},
    {0x1e97, "T\u0308", "T\u0308"},
    {0x1e98, "W\u030a", "W\u030a"},
    {0x1e99, "Y\u030a", "Y\u030a"},
    {0xfb00, "FF", "Ff"},
    {0xfb01, "FI", "Fi"},
    {0xfb02, "FL", "Fl"},
    {0xfb03, "FFI", "Ffi"},
    {0xfb04, "FFL", "Ffl"},
    {0xfb05, "ST", "St"},
    {0xfb06, "ST", "St"},
};

static const wide_case *find_wide(uint32_t cp)
{
    for (size_t i = 0; cp >= 0xdf && i < sizeof wide_cases / sizeof *wide_cases; i++)
        if (wide_cases[i].cp == cp)
            return &wide_cases[i];
    return NULL;
}

axl_status axl_j_put_upper(j_env *e, j_buf *b, uint32_t cp)
{
    const wide_case *w = find_wide(cp);

    return w != NULL ? axl_j_puts(e, b, w->upper)
                     : axl_j_put_cp(e, b, (uint32_t)utf8proc_toupper((utf8proc_int32_t)cp));
}

axl_status axl_j_put_title(j_env *e, j_buf *b, uint32_t cp)
{
    const wide_case *w = find_wide(cp);

    return w != NULL ? axl_j_puts(e, b, w->title)
                     : axl_j_put_cp(e, b, (uint32_t)utf8proc_totitle((utf8proc_int32_t)cp));
}

axl_status axl_j_put_lower(j_env *e, j_buf *b, uint32_t cp)
{
    if (cp == 0x130)
        return axl_j_puts(e, b, "i\u0307");
    return axl_j_put_cp(e, b, (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp));
}

// A capital sigma at the end of a word has its own small form.
static bool final_sigma(const j_str *s, size_t at, size_t after)
{
    uint32_t cp = 0;
    size_t i = at;

    while (i > 0 && ((unsigned char)s->p[i - 1] & 0xc0) == 0x80)
        i--;
    if (i == 0)
        return false;
    (void)axl_j_cp(s->p + i - 1, s->n - i + 1, &cp);
    if (!axl_j_is_alpha(cp))
        return false;
    if (after >= s->n)
        return true;
    (void)axl_j_cp(s->p + after, s->n - after, &cp);
    return !axl_j_is_alpha(cp);
}

static axl_status lower_from(j_env *e, const j_str *s, size_t from, j_buf *b)
{
    axl_status status = AXL_OK;
    uint32_t cp;

    for (size_t i = from, k; i < s->n; i += k) {
        k = axl_j_cp(s->p + i, s->n - i, &cp);
        if (cp == 0x3a3 && final_sigma(s, i, i + k))
            AXL_TRY(axl_j_put_cp(e, b, 0x3c2));
        else
            AXL_TRY(axl_j_put_lower(e, b, cp));
    }
out:
    return status;
}

axl_status axl_j_lower(j_env *e, const j_str *s, j_value *res)
{
    axl_status status = AXL_OK;
    j_buf b = {0};

    AXL_TRY(lower_from(e, s, 0, &b));
    AXL_TRY(axl_j_buf_value(e, &b, res));
out:
    return status;
}

axl_status axl_j_upper(j_env *e, const j_str *s, j_value *res)
{
    axl_status status = AXL_OK;
    j_buf b = {0};
    uint32_t cp;

    for (size_t i = 0; i < s->n;) {
        i += axl_j_cp(s->p + i, s->n - i, &cp);
        AXL_TRY(axl_j_put_upper(e, &b, cp));
    }
    AXL_TRY(axl_j_buf_value(e, &b, res));
out:
    return status;
}

axl_status axl_j_capitalize(j_env *e, const j_str *s, j_value *res)
{
    axl_status status = AXL_OK;
    j_buf b = {0};
    uint32_t cp;
    size_t k = 0;

    if (s->n > 0) {
        k = axl_j_cp(s->p, s->n, &cp);
        AXL_TRY(axl_j_put_title(e, &b, cp));
    }
    AXL_TRY(lower_from(e, s, k, &b));
    AXL_TRY(axl_j_buf_value(e, &b, res));
out:
    return status;
}

static bool in_chars(uint32_t cp, const j_str *chars)
{
    uint32_t c;

    if (chars == NULL)
        return axl_j_is_space(cp);
    for (size_t i = 0; i < chars->n;) {
        i += axl_j_cp(chars->p + i, chars->n - i, &c);
        if (c == cp)
            return true;
    }
    return false;
}

j_str axl_j_strip(const j_str *s, const j_str *chars, int sides)
{
    size_t from = 0, to = s->n;
    uint32_t cp;

    while ((sides & 1) && from < to) {
        size_t k = axl_j_cp(s->p + from, to - from, &cp);

        if (!in_chars(cp, chars))
            break;
        from += k;
    }
    while ((sides & 2) && to > from) {
        size_t i = to - 1;

        while (i > from && ((unsigned char)s->p[i] & 0xc0) == 0x80)
            i--;
        (void)axl_j_cp(s->p + i, to - i, &cp);
        if (!in_chars(cp, chars))
            break;
        to = i;
    }
    return (j_str){.p = s->p + from, .n = to - from, .n_chars = -1};
}

int64_t axl_j_find(const j_str *s, const j_str *what, size_t from)
{
    const char *at;

    if (from > s->n || what->n > s->n - from)
        return -1;
    if (what->n == 0)
        return (int64_t)from;
    at = memmem(s->p + from, s->n - from, what->p, what->n);
    return at == NULL ? -1 : at - s->p;
}

axl_status axl_j_replace(j_env *e, const j_str *s, const j_str *old, const j_str *by, int64_t count,
                         j_value *res)
{
    axl_status status = AXL_OK;
    j_buf b = {0};
    size_t from = 0;
    uint32_t cp;

    while (count != 0) {
        int64_t at = axl_j_find(s, old, from);

        if (at < 0)
            break;
        AXL_TRY(axl_j_put(e, &b, s->p + from, (size_t)at - from));
        AXL_TRY(axl_j_put(e, &b, by->p, by->n));
        from = (size_t)at + old->n;
        count--;
        if (old->n == 0) { // between all characters, and at both ends
            if (from >= s->n)
                break;
            at = (int64_t)axl_j_cp(s->p + from, s->n - from, &cp);
            AXL_TRY(axl_j_put(e, &b, s->p + from, (size_t)at));
            from += (size_t)at;
        }
    }
    AXL_TRY(axl_j_put(e, &b, s->p + from, s->n - from));
    AXL_TRY(axl_j_buf_value(e, &b, res));
out:
    return status;
}

static bool is_line_end(uint32_t cp)
{
    return (cp >= 10 && cp <= 13) || (cp >= 0x1c && cp <= 0x1e) || cp == 0x85 || cp == 0x2028 ||
           cp == 0x2029;
}

axl_status axl_j_splitlines(j_env *e, const j_str *s, bool keep, j_value *res)
{
    axl_status status = AXL_OK;
    size_t from = 0;
    j_value line;

    AXL_TRY(axl_j_list(e, J_LIST, 0, res));
    for (size_t i = 0, k; i < s->n; i += k) {
        uint32_t cp;

        k = axl_j_cp(s->p + i, s->n - i, &cp);
        if (!is_line_end(cp))
            continue;
        if (cp == '\r' && i + 1 < s->n && s->p[i + 1] == '\n')
            k = 2;
        AXL_TRY(axl_j_text(e, s->p + from, i + (keep ? k : 0) - from, &line));
        AXL_TRY(axl_j_append(e, res->l, line));
        from = i + k;
    }
    if (from < s->n) {
        AXL_TRY(axl_j_text(e, s->p + from, s->n - from, &line));
        AXL_TRY(axl_j_append(e, res->l, line));
    }
out:
    return status;
}

axl_status axl_j_pad(j_env *e, const j_str *s, int64_t width, uint32_t fill, int side, j_value *res)
{
    axl_status status = AXL_OK;
    int64_t n = axl_j_chars(s), pad = width > n ? width - n : 0, left = 0;
    j_buf b = {0};

    J_REQUIRE(e, pad < (int64_t)e->max_output, "the text grows beyond %zu bytes", e->max_output);
    if (side == 0) // centre, as CPython does it
        left = pad / 2 + (pad & width & 1);
    else if (side > 0)
        left = pad;
    for (int64_t i = 0; i < left; i++)
        AXL_TRY(axl_j_put_cp(e, &b, fill));
    AXL_TRY(axl_j_put(e, &b, s->p, s->n));
    for (int64_t i = left; i < pad; i++)
        AXL_TRY(axl_j_put_cp(e, &b, fill));
    AXL_TRY(axl_j_buf_value(e, &b, res));
out:
    return status;
}
