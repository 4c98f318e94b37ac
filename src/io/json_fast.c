// jansson reads byte by byte through a callback and copies each string three times; here a string without escapes is
// found by memchr-like steps and copied once. Whatever is rare is left to jansson, so the two cannot disagree: each
// form that is accepted here means the same there.
#include "src/io/json_fast.h"

#include "src/base/str.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH  64
#define MAX_DIGITS 18 // of an integer that cannot overflow

typedef struct scanner {
    const char *p, *end;
    axl_str text; // a string with escapes, resolved
    int depth;
} scanner;

static json_t *scan_value(scanner *s);

static void skip_space(scanner *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\t' || *s->p == '\r'))
        s->p++;
}

// Takes the character when it is the next one behind blanks.
static bool take(scanner *s, char c)
{
    skip_space(s);
    if (s->p >= s->end || *s->p != c)
        return false;
    s->p++;
    return true;
}

// The first byte from p on that ends a stretch of plain characters: a quote, a backslash or a control character.
static const char *plain_end(const char *p, const char *end)
{
    const uint64_t ones = 0x0101010101010101ull, highs = ones << 7;

    for (; end - p >= 8; p += 8) {
        uint64_t w;
        memcpy(&w, p, sizeof w);
        uint64_t quote = w ^ ones * '"', slash = w ^ ones * '\\';
        // a byte below 32, or zero after the xor; false alarms above such a byte do not matter
        if ((((w - ones * 32) & ~w) | ((quote - ones) & ~quote) | ((slash - ones) & ~slash)) &
            highs)
            break;
    }
    while (p < end && *p != '"' && *p != '\\' && (unsigned char)*p >= 32)
        p++;
    return p;
}

// Four hexadecimal digits; -1 when they are not there.
static int32_t scan_hex(scanner *s)
{
    int32_t value = 0;

    if (s->end - s->p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = *s->p++;
        int32_t digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

// Appends what the escape behind a backslash means. False: leave it to jansson.
static bool put_escape(scanner *s)
{
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    char c = s->p < s->end ? *s->p++ : '\0';
    const char *at = c != '\0' ? strchr(letters, c) : NULL;

    if (at != NULL)
        return axl_str_putc(&s->text, meanings[at - letters]) == AXL_OK;
    int32_t code = c == 'u' ? scan_hex(s) : -1;
    if (code >= 0xd800 && code < 0xdc00) {
        if (s->end - s->p < 6 || s->p[0] != '\\' || s->p[1] != 'u')
            return false;
        s->p += 2;
        int32_t low = scan_hex(s);
        if (low < 0xdc00 || low > 0xdfff)
            return false;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    } else if (code <= 0 || (code >= 0xdc00 && code < 0xe000)) {
        return false;
    }
    return axl_str_put_utf8(&s->text, (uint32_t)code) == AXL_OK;
}

// Behind the opening quote. The bytes stand in the input or in s->text. False: leave it to jansson.
static bool scan_string(scanner *s, const char **bytes, size_t *n)
{
    const char *from = s->p;

    s->p = plain_end(s->p, s->end);
    *bytes = from;
    *n = (size_t)(s->p - from);
    axl_str_clear(&s->text);
    while (s->p < s->end && *s->p == '\\') {
        if (axl_str_append(&s->text, from, (size_t)(s->p - from)) != AXL_OK)
            return false;
        s->p++;
        if (!put_escape(s))
            return false;
        from = s->p;
        s->p = plain_end(s->p, s->end);
        if (s->p < s->end && *s->p == '"') {
            if (axl_str_append(&s->text, from, (size_t)(s->p - from)) != AXL_OK)
                return false;
            *bytes = s->text.data;
            *n = s->text.len;
        }
    }
    if (s->p >= s->end || *s->p != '"')
        return false;
    s->p++;
    return true;
}

static json_t *scan_object(scanner *s)
{
    json_t *object = json_object();
    const char *key;
    size_t n;
    bool good = object != NULL;

    if (take(s, '}'))
        return object;
    do {
        // a key without an escape points into the input
        good = good && take(s, '"') && scan_string(s, &key, &n) && key != s->text.data &&
               take(s, ':') && json_object_setn_new_nocheck(object, key, n, scan_value(s)) == 0;
    } while (good && take(s, ','));
    if (good && take(s, '}'))
        return object;
    json_decref(object);
    return NULL;
}

static json_t *scan_array(scanner *s)
{
    json_t *array = json_array();
    bool good = array != NULL;

    if (take(s, ']'))
        return array;
    do {
        good = good && json_array_append_new(array, scan_value(s)) == 0;
    } while (good && take(s, ','));
    if (good && take(s, ']'))
        return array;
    json_decref(array);
    return NULL;
}

static json_t *scan_integer(scanner *s)
{
    bool minus = *s->p == '-';
    const char *from = s->p + minus;
    json_int_t value = 0;

    s->p = from;
    while (s->p < s->end && *s->p >= '0' && *s->p <= '9' && s->p - from < MAX_DIGITS)
        value = value * 10 + (*s->p++ - '0');
    // no digit, a leading zero, a fraction, an exponent, or more digits
    if (s->p == from || (*from == '0' && s->p - from > 1) ||
        (s->p < s->end && strchr("0123456789.eE", *s->p) != NULL))
        return NULL;
    return minus && value == 0 ? NULL : json_integer(minus ? -value : value);
}

static bool take_word(scanner *s, const char *word, size_t n)
{
    if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
        return false;
    s->p += n;
    return true;
}

// NULL: leave all of it to jansson.
static json_t *scan_value(scanner *s)
{
    json_t *value = NULL;
    const char *bytes;
    size_t n;

    skip_space(s);
    if (s->p >= s->end || s->depth >= MAX_DEPTH)
        return NULL;
    s->depth++;
    switch (*s->p) {
    case '"':
        s->p++;
        value = scan_string(s, &bytes, &n) ? json_stringn_nocheck(bytes, n) : NULL;
        break;
    case '{':
        s->p++;
        value = scan_object(s);
        break;
    case '[':
        s->p++;
        value = scan_array(s);
        break;
    case 't':
        value = take_word(s, "true", 4) ? json_true() : NULL;
        break;
    case 'f':
        value = take_word(s, "false", 5) ? json_false() : NULL;
        break;
    case 'n':
        value = take_word(s, "null", 4) ? json_null() : NULL;
        break;
    default:
        value = scan_integer(s);
    }
    s->depth--;
    return value;
}

axl_json *axl_json_parse_fast(const char *text, size_t n)
{
    scanner s = {.p = text, .end = text + n};
    json_t *value = scan_value(&s);

    skip_space(&s);
    if (s.p != s.end) {
        json_decref(value);
        value = NULL;
    }
    axl_str_fini(&s.text);
    return value;
}
