// Hand-written scanners for the split expressions of GPT-2, Llama 3 and Qwen: at position i they
// return the end of the match that starts there. Each alternative of the expression is one step of
// the function, in the same order; a test holds them against PCRE2 on random text.
#include "src/text/tokenizer_private.h"

#include <string.h>

typedef struct scanner {
    const uint8_t *classes;
    const char *s;
    size_t n;
} scanner;

// The class of the code point at i < n; *k is its length.
static inline int class_at(const scanner *c, size_t i, size_t *k)
{
    unsigned char b = (unsigned char)c->s[i];
    if (b < 0x80) {
        *k = 1;
        return c->classes[b];
    }
    uint32_t cp = axl_utf8_decode(c->s + i, k);
    return cp < AXL_CLASS_TABLE ? c->classes[cp] : AXL_CLASS_OTHER;
}

static inline size_t skip_class(const scanner *c, size_t i, int class)
{
    size_t k;
    while (i < c->n && class_at(c, i, &k) == class)
        i += k;
    return i;
}

// \s+(?!\S)|\s+ : a run of spaces without its last one, which goes to the next word; with it at the
// end of the text or when it is alone.
static size_t end_of_spaces(const scanner *c, size_t i)
{
    size_t k = 1, last = i, end = i;

    while (end < c->n && class_at(c, end, &k) == AXL_CLASS_SPACE) {
        last = end;
        end += k;
    }
    return end == c->n || last == i ? end : last;
}

size_t axl_scan_gpt2(const uint8_t *classes, const char *s, size_t n, size_t i)
{
    const scanner c = {classes, s, n};
    size_t k;

    if (s[i] == '\'' && i + 1 < n) {
        char a = s[i + 1], b = i + 2 < n ? s[i + 2] : '\0';
        if (a == 's' || a == 't' || a == 'm' || a == 'd')
            return i + 2;
        if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l'))
            return i + 3;
    }
    size_t j = s[i] == ' ' && i + 1 < n ? i + 1 : i;
    int class = class_at(&c, j, &k);
    if (class != AXL_CLASS_SPACE)
        return skip_class(&c, j + k, class);
    return end_of_spaces(&c, i);
}

// (?i:'s|'t|'re|'ve|'m|'ll|'d); 0: no match. The long s folds to s.
static size_t contraction(const char *s, size_t n, size_t i)
{
    if (s[i] != '\'' || i + 1 >= n)
        return 0;
    char a = (char)(s[i + 1] | 0x20), b = i + 2 < n ? (char)(s[i + 2] | 0x20) : '\0';
    if ((unsigned char)s[i + 1] == 0xc5 && i + 2 < n && (unsigned char)s[i + 2] == 0xbf)
        return i + 3;
    if (a == 's' || a == 't' || a == 'm' || a == 'd')
        return i + 2;
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l'))
        return i + 3;
    return 0;
}

// \s*[\r\n]+|\s+(?!\S)|\s+
static size_t spaces_with_lines(const scanner *c, size_t i)
{
    size_t k = 1, end = i, last = i, line = 0;

    while (end < c->n && class_at(c, end, &k) == AXL_CLASS_SPACE) {
        if (c->s[end] == '\n' || c->s[end] == '\r')
            line = end + 1;
        last = end;
        end += k;
    }
    if (line > 0)
        return line;
    return end == c->n || last == i ? end : last;
}

// The expression of Llama 3 (digits up to 3) and Qwen (1).
static inline size_t scan_cl100k(const uint8_t *classes, const char *s, size_t n, size_t i,
                                 int n_digits)
{
    const scanner c = {classes, s, n};
    size_t k, k2 = 0, end = contraction(s, n, i);

    if (end > 0)
        return end;
    int class = class_at(&c, i, &k);
    if (class == AXL_CLASS_LETTER)
        return skip_class(&c, i + k, AXL_CLASS_LETTER);
    if (class == AXL_CLASS_NUMBER) {
        end = i + k;
        for (int d = 1; d < n_digits && end < n && class_at(&c, end, &k) == AXL_CLASS_NUMBER; d++)
            end += k;
        return end;
    }
    int next = i + k < n ? class_at(&c, i + k, &k2) : -1;
    if (next == AXL_CLASS_LETTER && s[i] != '\r' && s[i] != '\n')
        return skip_class(&c, i + k + k2, AXL_CLASS_LETTER);
    if (class == AXL_CLASS_OTHER || (s[i] == ' ' && next == AXL_CLASS_OTHER)) {
        end = skip_class(&c, i + k, AXL_CLASS_OTHER);
        while (end < n && (s[end] == '\r' || s[end] == '\n'))
            end++;
        return end;
    }
    return spaces_with_lines(&c, i);
}

static size_t scan_llama3(const uint8_t *classes, const char *s, size_t n, size_t i)
{
    return scan_cl100k(classes, s, n, i, 3);
}

static size_t scan_qwen(const uint8_t *classes, const char *s, size_t n, size_t i)
{
    return scan_cl100k(classes, s, n, i, 1);
}

#define CL100K(digits)                                                                             \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits                           \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

static const struct {
    const char *regex;
    axl_scan_fn scan;
} known[] = {
    {"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
     axl_scan_gpt2},
    {CL100K("\\p{N}{1,3}"), scan_llama3},
    {CL100K("\\p{N}"), scan_qwen},
};

axl_scan_fn axl_scan_find(const char *regex, size_t n)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strlen(known[i].regex) == n && memcmp(known[i].regex, regex, n) == 0)
            return known[i].scan;
    return NULL;
}
