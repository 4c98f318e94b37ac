// A growing byte string, UTF-8 steps, and the nearest name of a list.
#ifndef AXL_BASE_STR_H
#define AXL_BASE_STR_H

#include "src/base/status.h"

#include <stddef.h>
#include <stdint.h>

// Always NUL-terminated once anything was appended; may hold NUL bytes. {0} is an empty string.
typedef struct axl_str {
    char *data;      // owned; NULL while empty and never written
    size_t len;      // bytes, without the terminator
    size_t capacity; // bytes taken
} axl_str;

void axl_str_fini(axl_str *s);
void axl_str_clear(axl_str *s); // length 0, memory kept
axl_status axl_str_append(axl_str *s, const void *bytes, size_t n);
axl_status axl_str_puts(axl_str *s, const char *text);
axl_status axl_str_putc(axl_str *s, char c);
axl_status axl_str_printf(axl_str *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

// Appends a code point as UTF-8 (surrogates and values above 0x10ffff become U+FFFD).
axl_status axl_str_put_utf8(axl_str *s, uint32_t code_point);

// Appends n bytes of UTF-8 as a JSON string with its quotes; invalid bytes become U+FFFD. Characters
// that a reader of lines may end a line at (U+0085, U+2028, U+2029) are escaped.
axl_status axl_str_put_json(axl_str *s, const char *bytes, size_t n);

// Decodes one code point of p[0 .. n). Returns its length in bytes 1 .. 4, or 0 when p does not
// start with valid UTF-8 (overlong forms, surrogates and a cut sequence are invalid).
size_t axl_utf8_next(const char *p, size_t n, uint32_t *code_point);

// The first byte offset in p[0 .. n) that is not valid UTF-8; n when all is valid.
size_t axl_utf8_invalid_at(const char *p, size_t n);

// The name in names[0 .. n_names) nearest to word by edit distance (ties: the first), or NULL when
// none is near enough to be a likely misspelling.
const char *axl_nearest_name(const char *word, const char *const *names, size_t n_names);

#endif
