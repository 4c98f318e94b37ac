// Byte strings. axl_utf8_next is strict because everything that enters the program passes it once.
#include "src/base/str.h"

#include "src/base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void axl_str_fini(axl_str *s)
{
    free(s->data);
    *s = (axl_str){0};
}

void axl_str_clear(axl_str *s)
{
    s->len = 0;
    if (s->data != NULL)
        s->data[0] = '\0';
}

axl_status axl_str_append(axl_str *s, const void *bytes, size_t n)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_grow(&s->data, &s->capacity, s->len + n + 1, 1, "a string"));
    if (n > 0)
        memcpy(s->data + s->len, bytes, n);
    s->len += n;
    s->data[s->len] = '\0';
out:
    return status;
}

axl_status axl_str_puts(axl_str *s, const char *text)
{
    return axl_str_append(s, text, strlen(text));
}

axl_status axl_str_putc(axl_str *s, char c)
{
    return axl_str_append(s, &c, 1);
}

axl_status axl_str_printf(axl_str *s, const char *fmt, ...)
{
    axl_status status = AXL_OK;
    va_list args;
    char small[256];

    va_start(args, fmt);
    int n = vsnprintf(small, sizeof small, fmt, args);
    va_end(args);
    AXL_REQUIRE(n >= 0, AXL_E_BUG, "a format string is wrong: %s", fmt);
    if ((size_t)n < sizeof small) {
        AXL_TRY(axl_str_append(s, small, (size_t)n));
        goto out;
    }
    AXL_TRY(axl_grow(&s->data, &s->capacity, s->len + (size_t)n + 1, 1, "a string"));
    va_start(args, fmt);
    (void)vsnprintf(s->data + s->len, (size_t)n + 1, fmt, args);
    va_end(args);
    s->len += (size_t)n;
out:
    return status;
}

axl_status axl_str_put_utf8(axl_str *s, uint32_t c)
{
    char b[4];
    size_t n;

    if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        c = 0xfffd;
    if (c < 0x80) {
        b[0] = (char)c;
        n = 1;
    } else if (c < 0x800) {
        b[0] = (char)(0xc0 | (c >> 6));
        b[1] = (char)(0x80 | (c & 0x3f));
        n = 2;
    } else if (c < 0x10000) {
        b[0] = (char)(0xe0 | (c >> 12));
        b[1] = (char)(0x80 | ((c >> 6) & 0x3f));
        b[2] = (char)(0x80 | (c & 0x3f));
        n = 3;
    } else {
        b[0] = (char)(0xf0 | (c >> 18));
        b[1] = (char)(0x80 | ((c >> 12) & 0x3f));
        b[2] = (char)(0x80 | ((c >> 6) & 0x3f));
        b[3] = (char)(0x80 | (c & 0x3f));
        n = 4;
    }
    return axl_str_append(s, b, n);
}

axl_status axl_str_put_json(axl_str *s, const char *bytes, size_t n)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_str_putc(s, '"'));
    for (size_t i = 0; i < n;) {
        uint32_t c;
        size_t k = axl_utf8_next(bytes + i, n - i, &c);
        if (k == 0) {
            AXL_TRY(axl_str_put_utf8(s, 0xfffd));
            i++;
            continue;
        }
        if (c == '"' || c == '\\')
            AXL_TRY(axl_str_printf(s, "\\%c", (char)c));
        else if (c == '\n')
            AXL_TRY(axl_str_puts(s, "\\n"));
        else if (c < 0x20 || c == 0x85 || c == 0x2028 ||
                 c == 0x2029) // what some readers end a line at
            AXL_TRY(axl_str_printf(s, "\\u%04x", c));
        else
            AXL_TRY(axl_str_append(s, bytes + i, k));
        i += k;
    }
    AXL_TRY(axl_str_putc(s, '"'));
out:
    return status;
}

size_t axl_utf8_next(const char *p, size_t n, uint32_t *code_point)
{
    const unsigned char *u = (const unsigned char *)p;
    size_t k;
    uint32_t c;

    if (n == 0)
        return 0;
    if (u[0] < 0x80) {
        *code_point = u[0];
        return 1;
    }
    if (u[0] >= 0xc2 && u[0] <= 0xdf) {
        k = 2;
        c = u[0] & 0x1fu;
    } else if (u[0] >= 0xe0 && u[0] <= 0xef) {
        k = 3;
        c = u[0] & 0x0fu;
    } else if (u[0] >= 0xf0 && u[0] <= 0xf4) {
        k = 4;
        c = u[0] & 0x07u;
    } else {
        return 0;
    }
    if (n < k)
        return 0;
    for (size_t i = 1; i < k; i++) {
        if ((u[i] & 0xc0) != 0x80)
            return 0;
        c = (c << 6) | (u[i] & 0x3fu);
    }
    if ((k == 3 && c < 0x800) || (k == 4 && (c < 0x10000 || c > 0x10ffff)) ||
        (c >= 0xd800 && c < 0xe000))
        return 0;
    *code_point = c;
    return k;
}

size_t axl_utf8_invalid_at(const char *p, size_t n)
{
    uint32_t c;
    uint64_t word;

    for (size_t i = 0; i < n;) {
        for (; n - i >= sizeof word; i += sizeof word) { // ASCII, eight at a time
            memcpy(&word, p + i, sizeof word);
            if ((word & 0x8080808080808080ull) != 0)
                break;
        }
        if (i == n)
            break;
        size_t k = axl_utf8_next(p + i, n - i, &c);
        if (k == 0)
            return i;
        i += k;
    }
    return n;
}

#define NAME_MAX_BYTES 64

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

// Letters to change, add, take away, or swap with the next one, that make b of a.
static size_t edit_distance(const char *a, const char *b)
{
    size_t rows[3][NAME_MAX_BYTES + 1]; // of this letter of a, the one before, and that before
    size_t *row = rows[0], *last = rows[1], *second = rows[2];
    const size_t nb = strlen(b);

    for (size_t j = 0; j <= nb; j++)
        row[j] = j;
    for (size_t i = 0; a[i] != '\0'; i++) {
        size_t *spare = second;
        second = last;
        last = row;
        row = spare;
        row[0] = i + 1;
        for (size_t j = 0; j < nb; j++) {
            row[j + 1] = least(last[j] + (a[i] != b[j]), least(row[j], last[j + 1]) + 1);
            if (i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j])
                row[j + 1] = least(row[j + 1], second[j - 1] + 1);
        }
    }
    return row[nb];
}

const char *axl_nearest_name(const char *word, const char *const *names, size_t n_names)
{
    const char *best = NULL;
    size_t best_distance = SIZE_MAX;
    size_t n = strlen(word);

    if (n > NAME_MAX_BYTES)
        return NULL;
    for (size_t i = 0; i < n_names; i++) {
        if (strlen(names[i]) > NAME_MAX_BYTES)
            continue;
        size_t d = edit_distance(word, names[i]);
        if (d < best_distance) {
            best_distance = d;
            best = names[i];
        }
    }
    return best_distance <= (n < 3 ? 1 : n / 3) ? best : NULL; // a third of it wrong: still a typo
}
