// What a plain YAML 1.1 scalar means.
//
// The hard part is being exactly as lenient and as strict as the reader users know: `1e-5` has no dot
// and is a string, `1.0e5` has no sign in its exponent and is a string too, `017` is octal, `1:30` is
// sexagesimal. Each form below is one pattern of the YAML 1.1 type repository.
#include "src/io/yaml.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_one_of(const char *text, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(text, words[i]) == 0)
            return true;
    return false;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int digit_value(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return 99;
}

// value * base + add; false when it does not fit 63 bits.
static bool push_digit(int64_t *value, int64_t base, int64_t add)
{
    int64_t product;

    return !__builtin_mul_overflow(*value, base, &product) &&
           !__builtin_add_overflow(product, add, value);
}

// Digits of a base with underscores, the whole rest of the text. At least one character is needed.
// Returns 1 for an integer, 2 for one that is too large (*real holds it), 0 for no integer.
static int read_digits(const char *p, int base, int64_t *value, double *real)
{
    bool fits = true;

    *value = 0;
    *real = 0.0;
    if (*p == '\0')
        return 0;
    for (; *p != '\0'; p++) {
        if (*p == '_')
            continue;
        int d = digit_value(*p);
        if (d >= base)
            return 0;
        fits = fits && push_digit(value, base, d);
        *real = *real * base + d;
    }
    return fits ? 1 : 2;
}

// 1:30 or 190:20:30, digits and underscores before the first colon, then pairs below 60.
static int read_sexagesimal(const char *p, int64_t *value, double *real)
{
    bool fits = true;
    int64_t part = 0;

    *value = 0;
    *real = 0.0;
    if (!is_digit(*p) || *p == '0' || strchr(p, ':') == NULL)
        return 0;
    for (; *p != ':'; p++) {
        if (*p != '_' && !is_digit(*p))
            return 0;
        if (*p != '_')
            fits = fits && push_digit(&part, 10, *p - '0');
        *real = *p == '_' ? *real : *real * 10 + (*p - '0');
    }
    *value = part;
    while (*p == ':') {
        p++;
        if (!is_digit(*p))
            return 0;
        int pair = *p++ - '0';
        if (is_digit(*p) && pair <= 5)
            pair = pair * 10 + (*p++ - '0');
        fits = fits && push_digit(value, 60, pair);
        *real = *real * 60 + pair;
    }
    return *p != '\0' ? 0 : fits ? 1 : 2;
}

static int read_integer(const char *text, int64_t *value, double *real)
{
    const char *p = text + (*text == '-' || *text == '+');
    int found;

    if (p[0] == '0' && p[1] == 'b')
        found = read_digits(p + 2, 2, value, real);
    else if (p[0] == '0' && p[1] == 'x')
        found = read_digits(p + 2, 16, value, real);
    else if (p[0] == '0' && p[1] != '\0')
        found = read_digits(p + 1, 8, value, real);
    else if (is_digit(*p))
        found = read_digits(p, 10, value, real);
    else
        return 0;
    if (found == 0)
        found = read_sexagesimal(p, value, real);
    if (*text == '-') {
        *value = -*value;
        *real = -*real;
    }
    return found;
}

// Digits, a dot that must be there, an exponent that must be signed.
static bool has_float_form(const char *p)
{
    bool sign = *p == '-' || *p == '+';
    const char *start = p + sign;

    p = start;
    if (is_digit(*p)) {
        while (is_digit(*p) || *p == '_')
            p++;
        if (*p++ != '.')
            return false;
    } else {
        if (sign || *p++ != '.' || !is_digit(*p))
            return false;
    }
    while (is_digit(*p) || *p == '_')
        p++;
    if (*p == 'e' || *p == 'E') {
        p++;
        if (*p != '-' && *p != '+')
            return false;
        p++;
        if (!is_digit(*p))
            return false;
        while (is_digit(*p))
            p++;
    }
    return *p == '\0';
}

#define MAX_NUMBER 128 // characters of a number that anybody would write

// The number of decimal digits with underscores; n is at most MAX_NUMBER.
static double decimal_value(const char *text)
{
    char digits[MAX_NUMBER + 1];
    size_t k = 0;

    for (const char *p = text; *p != '\0'; p++)
        if (*p != '_')
            digits[k++] = *p;
    digits[k] = '\0';
    return strtod(digits, NULL);
}

static bool read_real(const char *text, size_t n, double *real)
{
    static const char *const infinities[] = {".inf", ".Inf", ".INF"};
    static const char *const nans[] = {".nan", ".NaN", ".NAN"};
    const char *p = text + (*text == '-' || *text == '+');

    if (is_one_of(p, infinities, 3)) {
        *real = *text == '-' ? -(double)INFINITY : (double)INFINITY;
        return true;
    }
    if (is_one_of(text, nans, 3)) {
        *real = (double)NAN;
        return true;
    }
    if (n > MAX_NUMBER || !has_float_form(text))
        return false;
    *real = decimal_value(text);
    return true;
}

void axl_yaml_resolve(axl_yaml_node *node)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
    static const char *const trues[] = {"true", "True", "TRUE", "yes", "Yes",
                                        "YES",  "on",   "On",   "ON"};
    static const char *const falses[] = {"false", "False", "FALSE", "no", "No",
                                         "NO",    "off",   "Off",   "OFF"};
    int64_t integer = 0;
    double real = 0.0;
    int found = 0;

    node->kind = AXL_YAML_STRING;
    if (is_one_of(node->text, nulls, 5)) {
        node->kind = AXL_YAML_NULL;
    } else if (is_one_of(node->text, trues, 9) || is_one_of(node->text, falses, 9)) {
        node->kind = AXL_YAML_BOOL;
        node->boolean = is_one_of(node->text, trues, 9);
    } else if (node->n_text <= MAX_NUMBER &&
               (found = read_integer(node->text, &integer, &real)) != 0) {
        node->kind = found == 1 ? AXL_YAML_INT : AXL_YAML_REAL;
        if (found == 1)
            node->integer = integer;
        else if (node->text[strspn(node->text, "+-0123456789_")] == '\0' &&
                 node->text[strspn(node->text, "+-")] != '0')
            node->real = decimal_value(node->text); // rounded once, not digit by digit
        else
            node->real = real;
    } else if (read_real(node->text, node->n_text, &real)) {
        node->kind = AXL_YAML_REAL;
        node->real = real;
    }
}
