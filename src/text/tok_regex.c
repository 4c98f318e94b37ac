// Patterns: literals, single code points, PCRE2 expressions and hand-written scanners, all walked the
// way find_iter of the reference walks them. The hard thing: tokenizer.json is written for Oniguruma,
// whose \s, \w and \h are not PCRE2's, so expressions are rewritten before they are compiled.
#define PCRE2_CODE_UNIT_WIDTH 8
#include "src/text/tokenizer_private.h"

#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// White_Space and its complement, as ranges for the inside of a class.
#define SPACE                                                                                      \
    "\\t-\\r "                                                                                     \
    "\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define NOT_SPACE                                                                                  \
    "\\x{0}-\\x{8}\\x{e}-\\x{1f}!-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}"      \
    "\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{"   \
    "10ffff}"
#define WORD "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"

typedef struct escape_row {
    char letter;
    const char *outside, *inside; // NULL: not possible there
} escape_row;

static const escape_row escapes[] = {
    {'s', "[" SPACE "]", SPACE},
    {'S', "[^" SPACE "]", NOT_SPACE},
    {'w', "[" WORD "]", WORD},
    {'W', "[^" WORD "]", NULL},
    {'b', "(?:(?<=[" WORD "])(?![" WORD "])|(?<![" WORD "])(?=[" WORD "]))", "\\x08"},
    {'B', "(?:(?<=[" WORD "])(?=[" WORD "])|(?<![" WORD "])(?![" WORD "]))", NULL},
    {'h', "[0-9a-fA-F]", "0-9a-fA-F"},
    {'H', "[^0-9a-fA-F]", NULL},
};

static const escape_row *find_escape(char letter)
{
    for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++)
        if (escapes[i].letter == letter)
            return &escapes[i];
    return NULL;
}

// Whether name[0 .. n) is a script. PCRE2 takes \p{Han} for the script extensions of Han, which the
// reference does not; \p{sc:Han} is the script itself.
static bool is_script(const char *name, size_t n)
{
    char re[64];
    int error;
    PCRE2_SIZE at;

    if (n < 3 || n > 40 || memchr(name, ':', n) != NULL || memchr(name, '=', n) != NULL)
        return false;
    int k = snprintf(re, sizeof re, "\\p{sc:%.*s}", (int)n, name);
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)re, (PCRE2_SIZE)k, PCRE2_UTF, &error, &at, NULL);
    pcre2_code_free(code);
    return code != NULL;
}

// \p{Name} with the name of a script; *n is its length, 0 when it is something else.
static axl_status translate_script(const char *re, size_t left, axl_str *out, size_t *n)
{
    axl_status status = AXL_OK;
    const char *close = left > 3 && re[2] == '{' ? memchr(re, '}', left) : NULL;
    size_t skip = close != NULL && re[3] == '^' ? 4 : 3;

    *n = 0;
    if (close == NULL || (re[1] != 'p' && re[1] != 'P') || close <= re + skip ||
        !is_script(re + skip, (size_t)(close - re) - skip))
        goto out;
    AXL_TRY(axl_str_append(out, re, skip));
    AXL_TRY(axl_str_puts(out, "sc:"));
    AXL_TRY(axl_str_append(out, re + skip, (size_t)(close - re) - skip + 1));
    *n = (size_t)(close - re) + 1;
out:
    return status;
}

// Copies one escape sequence re[i] == '\\'; returns its length in *n.
static axl_status translate_escape(const char *re, size_t left, bool inside, const char *what,
                                   axl_str *out, size_t *n)
{
    axl_status status = AXL_OK;
    const escape_row *row = left > 1 ? find_escape(re[1]) : NULL;
    const char *text = row == NULL ? NULL : inside ? row->inside : row->outside;

    AXL_TRY(translate_script(re, left, out, n));
    if (*n > 0)
        goto out;
    *n = left > 1 ? 2 : 1;
    AXL_REQUIRE(row == NULL || text != NULL, AXL_E_UNSUPPORTED,
                "%s: \\%c inside of [ ] is not supported in a regular expression", what, re[1]);
    if (text != NULL)
        AXL_TRY(axl_str_puts(out, text));
    else
        AXL_TRY(axl_str_append(out, re, *n));
out:
    return status;
}

// Oniguruma's expression as PCRE2 reads it.
static axl_status translate(const char *re, size_t n, const char *what, axl_str *out)
{
    axl_status status = AXL_OK;
    bool inside = false;
    size_t opened = 0;

    for (size_t i = 0; i < n;) {
        if (re[i] == '\\') {
            size_t k;
            AXL_TRY(translate_escape(re + i, n - i, inside, what, out, &k));
            i += k;
            continue;
        }
        if (!inside && re[i] == '[') {
            inside = true;
            opened = i;
        } else if (inside && re[i] == ']' && i > opened + 1 &&
                   !(i == opened + 2 && re[opened + 1] == '^')) {
            inside = false;
        } else if (inside && (re[i] == '[' || (re[i] == '&' && i + 1 < n && re[i + 1] == '&'))) {
            AXL_REQUIRE(re[i] == '[' && i + 1 < n && re[i + 1] == ':', AXL_E_UNSUPPORTED,
                        "%s: a class within a class is not supported in a regular expression",
                        what);
        }
        AXL_TRY(axl_str_putc(out, re[i]));
        i++;
    }
out:
    return status;
}

axl_status axl_pattern_regex(const char *regex, size_t n, const char *what, bool may_scan,
                             axl_pattern *out)
{
    axl_status status = AXL_OK;
    axl_str text = {0};
    int error = 0;
    PCRE2_SIZE at = 0;
    PCRE2_UCHAR message[128] = "";

    out->kind = AXL_PATTERN_REGEX;
    AXL_TRY(axl_str_append(&out->text, regex, n));
    out->scan = may_scan ? axl_scan_find(regex, n) : NULL;
    if (out->scan != NULL) {
        out->kind = AXL_PATTERN_SCAN;
        goto out;
    }
    AXL_TRY(translate(regex, n, what, &text));
    out->code = pcre2_compile((PCRE2_SPTR)(text.data == NULL ? "" : text.data), text.len,
                              PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                              &error, &at, NULL);
    if (out->code == NULL) {
        (void)pcre2_get_error_message(error, message, sizeof message);
        AXL_FAIL(AXL_E_INPUT, "%s: the regular expression \"%.200s\" is not valid: %s", what,
                 out->text.data, (const char *)message);
    }
    (void)pcre2_jit_compile(out->code, PCRE2_JIT_COMPLETE); // without JIT it only runs slower
out:
    axl_str_fini(&text);
    return status;
}

axl_status axl_pattern_parse(const axl_json *v, const char *what, bool may_scan, axl_pattern *out)
{
    axl_status status = AXL_OK;
    const axl_json *string = axl_json_get(v, "String");
    const axl_json *regex = axl_json_get(v, "Regex");

    if (axl_json_is(v, AXL_JSON_STRING))
        string = v; // the form of old files
    if (axl_json_is(string, AXL_JSON_STRING)) {
        out->kind = AXL_PATTERN_STRING;
        AXL_TRY(axl_str_append(&out->text, axl_json_string(string, ""),
                               axl_json_string_length(string)));
        goto out;
    }
    AXL_REQUIRE(axl_json_is(regex, AXL_JSON_STRING), AXL_E_INPUT,
                "%s.pattern: must be {\"String\": ...} or {\"Regex\": ...}", what);
    AXL_TRY(axl_pattern_regex(axl_json_string(regex, ""), axl_json_string_length(regex), what,
                              may_scan, out));
out:
    return status;
}

void axl_pattern_fini(axl_pattern *p)
{
    axl_str_fini(&p->text);
    pcre2_code_free(p->code);
    *p = (axl_pattern){0};
}

static axl_status prepare(axl_tok_work *w)
{
    axl_status status = AXL_OK;

    if (w->match_data != NULL)
        goto out;
    w->match_data = pcre2_match_data_create(1, NULL);
    w->match_context = pcre2_match_context_create(NULL);
    w->jit_stack = pcre2_jit_stack_create(32 << 10, 1 << 20, NULL);
    AXL_REQUIRE(w->match_data != NULL && w->match_context != NULL && w->jit_stack != NULL,
                AXL_E_MEMORY, "no memory for regular expressions");
    pcre2_jit_stack_assign(w->match_context, NULL, w->jit_stack);
out:
    return status;
}

void axl_pattern_work_fini(axl_tok_work *w)
{
    pcre2_match_data_free(w->match_data);
    pcre2_match_context_free(w->match_context);
    pcre2_jit_stack_free(w->jit_stack);
}

static axl_status search_regex(const axl_pattern *p, axl_tok_work *w, const char *s, size_t n,
                               size_t at, axl_span *match, bool *found)
{
    axl_status status = AXL_OK;

    AXL_TRY(prepare(w));
    int rc = pcre2_match(p->code, (PCRE2_SPTR)s, n, at, PCRE2_NO_UTF_CHECK, w->match_data,
                         w->match_context);
    if (rc ==
        PCRE2_ERROR_JIT_STACKLIMIT) // long matches: the interpreter keeps its state on the heap
        rc = pcre2_match(p->code, (PCRE2_SPTR)s, n, at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                         w->match_data, w->match_context);
    *found = rc >= 0;
    AXL_REQUIRE(
        rc >= 0 || rc == PCRE2_ERROR_NOMATCH, AXL_E_INPUT,
        "the regular expression \"%.200s\" of the tokenizer gives up on this text (code %d)",
        p->text.data, rc);
    if (*found) {
        const PCRE2_SIZE *pair = pcre2_get_ovector_pointer(w->match_data);
        *match = (axl_span){(uint32_t)pair[0], (uint32_t)pair[1]};
        AXL_REQUIRE(pair[0] <= pair[1] && pair[0] >= at, AXL_E_UNSUPPORTED,
                    "the regular expression \"%.200s\" moves the match start", p->text.data);
    }
out:
    return status;
}

static axl_status search(const axl_pattern *p, axl_tok_work *w, const char *s, size_t n, size_t at,
                         axl_span *match, bool *found)
{
    axl_status status = AXL_OK;
    const char *hit;
    size_t k;

    *found = false;
    switch (p->kind) {
    case AXL_PATTERN_STRING:
        hit = p->text.len == 0 ? s + at : memmem(s + at, n - at, p->text.data, p->text.len);
        *found = hit != NULL;
        if (hit != NULL)
            *match = (axl_span){(uint32_t)(hit - s), (uint32_t)((size_t)(hit - s) + p->text.len)};
        break;
    case AXL_PATTERN_REGEX:
        AXL_TRY(search_regex(p, w, s, n, at, match, found));
        break;
    case AXL_PATTERN_CLASS:
        for (size_t i = at; i < n && !*found; i += k) {
            uint32_t cp = axl_utf8_decode(s + i, &k);
            *found = p->test != NULL ? p->test(cp) : cp == p->only;
            *match = (axl_span){(uint32_t)i, (uint32_t)(i + k)};
        }
        break;
    case AXL_PATTERN_SCAN:
        *found = at < n;
        if (*found)
            *match = (axl_span){(uint32_t)at, (uint32_t)p->scan(w->t->classes, s, n, at)};
        break;
    }
out:
    return status;
}

axl_status axl_pattern_next(const axl_pattern *p, axl_tok_work *w, const char *s, size_t n,
                            axl_match_state *state, axl_span *match, bool *found)
{
    axl_status status = AXL_OK;

    *found = false;
    while (state->at <= n) {
        AXL_TRY(search(p, w, s, n, state->at, match, found));
        if (!*found)
            goto out;
        // An empty match right after the last one is passed over, one code point on.
        if (match->begin == match->end && state->any && state->last_end == match->end) {
            size_t k = 1;
            if (state->at < n)
                (void)axl_utf8_decode(s + state->at, &k);
            state->at += k;
            *found = false;
            continue;
        }
        state->at = state->last_end = match->end;
        state->any = true;
        goto out;
    }
out:
    return status;
}
