// The layouts are those of the Arrow columnar format. An array's offset counts for its own buffers and, in
// structs, for its members too; buffers need not be aligned, so values are copied out.
#include "src/data/readers/arrow_json.h"

#include "src/base/dtype.h"
#include "src/data/readers/reader.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH         64 // of nested types
#define MAX_DECIMAL_BYTES 32

typedef struct ArrowSchema schema_t;
typedef struct ArrowArray array_t;

static axl_status put_value(const schema_t *s, const array_t *a, int64_t i, axl_str *out);

// ---- reading

// Element i, counted from the array's own offset, of a buffer of elements of size bytes.
static const unsigned char *element(const array_t *a, int buffer, int64_t i, size_t size)
{
    return (const unsigned char *)a->buffers[buffer] + (size_t)(a->offset + i) * size;
}

static int64_t read_i32(const array_t *a, int buffer, int64_t i)
{
    int32_t x;

    memcpy(&x, element(a, buffer, i, sizeof x), sizeof x);
    return x;
}

static int64_t read_i64(const array_t *a, int buffer, int64_t i)
{
    int64_t x;

    memcpy(&x, element(a, buffer, i, sizeof x), sizeof x);
    return x;
}

// An offset of a list or text: 32 bits, or 64 for the large forms.
static int64_t read_offset(const array_t *a, int buffer, int64_t i, bool large)
{
    return large ? read_i64(a, buffer, i) : read_i32(a, buffer, i);
}

static bool bit(const void *bitmap, int64_t i)
{
    return (((const unsigned char *)bitmap)[i / 8] >> (i % 8) & 1) != 0;
}

// A signed or unsigned integer; *big when it is an uint64 above INT64_MAX.
static int64_t read_int(char format, const array_t *a, int64_t i, bool *big)
{
    int8_t c;
    int16_t h;
    uint16_t uh;
    uint32_t ui;

    *big = false;
    switch (format) {
    case 'c':
        memcpy(&c, element(a, 1, i, 1), 1);
        return c;
    case 'C':
        return *element(a, 1, i, 1);
    case 's':
        memcpy(&h, element(a, 1, i, 2), 2);
        return h;
    case 'S':
        memcpy(&uh, element(a, 1, i, 2), 2);
        return uh;
    case 'i':
        return read_i32(a, 1, i);
    case 'I':
        memcpy(&ui, element(a, 1, i, 4), 4);
        return ui;
    default:
        *big = format == 'L' && read_i64(a, 1, i) < 0;
        return read_i64(a, 1, i);
    }
}

static bool is_null(const schema_t *s, const array_t *a, int64_t i)
{
    bool big;

    if (s->format[0] == 'n' ||
        (a->n_buffers > 0 && a->buffers[0] != NULL && !bit(a->buffers[0], a->offset + i)))
        return true;
    return s->dictionary != NULL &&
           is_null(s->dictionary, a->dictionary, read_int(s->format[0], a, i, &big));
}

// ---- scalars

static axl_status put_text(const char *text, int64_t n, bool binary, axl_str *out)
{
    axl_status status = AXL_OK;

    if (binary && n > 0 && axl_utf8_invalid_at(text, (size_t)n) != (size_t)n) {
        AXL_TRY(axl_str_puts(out, "null"));
        goto out;
    }
    AXL_TRY(axl_str_putc(out, '"'));
    if (n > 0)
        AXL_TRY(axl_rows_escape(out, text, (size_t)n));
    AXL_TRY(axl_str_putc(out, '"'));

out:
    return status;
}

// A text or bytes with offsets.
static axl_status put_string(const schema_t *s, const array_t *a, int64_t i, axl_str *out)
{
    bool large = s->format[0] == 'U' || s->format[0] == 'Z';
    int64_t from = read_offset(a, 1, i, large), to = read_offset(a, 1, i + 1, large);
    const char *data = a->buffers[2];

    return put_text(to > from ? data + from : "", to - from,
                    s->format[0] == 'z' || s->format[0] == 'Z', out);
}

// A view: 4 bytes of length, then the text when it has at most 12 bytes; else 4 bytes of it, the number
// of a buffer and the place in it.
static axl_status put_view(const schema_t *s, const array_t *a, int64_t i, axl_str *out)
{
    const unsigned char *view = element(a, 1, i, 16);
    int32_t word[4];

    memcpy(word, view, sizeof word);
    const char *text =
        word[0] <= 12 ? (const char *)view + 4 : (const char *)a->buffers[2 + word[2]] + word[3];
    return put_text(text, word[0], s->format[1] == 'z', out);
}

static axl_status put_fixed(const schema_t *s, const array_t *a, int64_t i, axl_str *out)
{
    int64_t n = strtoll(s->format + 2, NULL, 10);

    return put_text(n > 0 ? (const char *)element(a, 1, i, (size_t)n) : "", n, true, out);
}

static axl_status put_int(const schema_t *s, const array_t *a, int64_t i, axl_str *out)
{
    bool big = false;
    int64_t x = read_int(s->format[0], a, i, &big);

    return big ? axl_str_printf(out, "\"%" PRIu64 "\"", (uint64_t)x)
               : axl_str_printf(out, "%" PRId64, x);
}

static axl_status put_real(const schema_t *s, const array_t *a, int64_t i, axl_str *out)
{
    double x = 0.0;
    float f;
    uint16_t half;
    char text[40];

    if (s->format[0] == 'g') {
        memcpy(&x, element(a, 1, i, 8), 8);
    } else if (s->format[0] == 'f') {
        memcpy(&f, element(a, 1, i, 4), 4);
        x = (double)f;
    } else {
        memcpy(&half, element(a, 1, i, 2), 2);
        x = (double)axl_f16_to_f32(half);
    }
    if (!isfinite(x))
        return axl_str_puts(out, "null");
    (void)snprintf(text, sizeof text, "%.17g", x);
    return axl_str_printf(out, "%s%s", text, strpbrk(text, ".e") == NULL ? ".0" : "");
}

// An integer of n bytes, the lowest first, divided by 10^scale.
static axl_status put_decimal(const schema_t *s, const array_t *a, int64_t i, axl_str *out)
{
    axl_status status = AXL_OK;
    int precision = 0, scale = 0, bits = 128;
    unsigned char x[MAX_DECIMAL_BYTES];
    char digits[100]; // the lowest first
    int n_digits = 0;

    (void)sscanf(s->format, "d:%d,%d,%d", &precision, &scale, &bits);
    size_t n = (size_t)bits / 8;
    memcpy(x, element(a, 1, i, n), n);
    bool negative = (x[n - 1] & 0x80) != 0, more = true;
    for (size_t k = 0, carry = 1; negative && k < n; k++) { // two's complement
        carry += (unsigned char)~x[k];
        x[k] = (unsigned char)carry;
        carry >>= 8;
    }
    while (more || n_digits <= scale) { // divide by 10 until nothing is left
        unsigned rest = 0;
        more = false;
        for (size_t k = n; k-- > 0;) {
            rest = rest << 8 | x[k];
            x[k] = (unsigned char)(rest / 10);
            rest %= 10;
            more = more || x[k] != 0;
        }
        digits[n_digits++] = (char)('0' + rest);
    }
    AXL_TRY(axl_str_puts(out, negative ? "\"-" : "\""));
    while (n_digits > 0) {
        AXL_TRY(axl_str_putc(out, digits[--n_digits]));
        if (n_digits == scale && scale > 0)
            AXL_TRY(axl_str_putc(out, '.'));
    }
    for (; scale < 0; scale++)
        AXL_TRY(axl_str_putc(out, '0'));
    AXL_TRY(axl_str_putc(out, '"'));

out:
    return status;
}

// ---- time

static int64_t floor_div(int64_t x, int64_t by)
{
    return x / by - (x % by < 0);
}

// The day of the proleptic Gregorian calendar. Hinnant, "chrono-compatible low-level date algorithms".
static axl_status put_date(int64_t days, axl_str *out)
{
    int64_t z = days + 719468, era = floor_div(z, 146097), doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    int64_t month = mp < 10 ? mp + 3 : mp - 9;

    return axl_str_printf(out, "%04" PRId64 "-%02" PRId64 "-%02" PRId64,
                          yoe + era * 400 + (month <= 2), month, doy - (153 * mp + 2) / 5 + 1);
}

// The time of a day; behind the second 6 digits, or 9 of nanoseconds, unless they are zero, as Python writes.
static axl_status put_clock(int64_t ticks, int64_t per_second, axl_str *out)
{
    axl_status status = AXL_OK;
    int64_t second = ticks / per_second, rest = ticks % per_second;
    int digits = per_second > 1000000 ? 9 : 6;

    AXL_TRY(axl_str_printf(out, "%02" PRId64 ":%02" PRId64 ":%02" PRId64, second / 3600,
                           second / 60 % 60, second % 60));
    if (per_second == 1000)
        rest *= 1000;
    if (rest != 0)
        AXL_TRY(axl_str_printf(out, ".%0*" PRId64, digits, rest));

out:
    return status;
}

static axl_status put_time(const schema_t *s, const array_t *a, int64_t i, axl_str *out)
{
    axl_status status = AXL_OK;
    const char *f = s->format;
    bool wide = f[1] == 's' || f[1] == 'D' || f[2] == 'm' || f[2] == 'u' || f[2] == 'n';
    int64_t per_second = f[2] == 'm' ? 1000 : f[2] == 'u' ? 1000000 : f[2] == 'n' ? 1000000000 : 1;

    if (f[1] == 't' && f[2] == 'm')
        wide = false; // time of day in milliseconds has 32 bits, a date in them 64
    int64_t x = wide ? read_i64(a, 1, i) : read_i32(a, 1, i);
    if (f[1] == 'D') {
        AXL_TRY(axl_str_printf(out, "%" PRId64, x));
        goto out;
    }
    AXL_TRY(axl_str_putc(out, '"'));
    if (f[1] == 'd') {
        AXL_TRY(put_date(f[2] == 'D' ? x : floor_div(x, 86400000), out));
    } else if (f[1] == 't') {
        AXL_TRY(put_clock(x, per_second, out));
    } else {
        int64_t day = 86400 * per_second, ticks = x % day;
        ticks += ticks < 0 ? day : 0;
        AXL_TRY(put_date(floor_div(x, day), out));
        AXL_TRY(axl_str_putc(out, 'T'));
        AXL_TRY(put_clock(ticks, per_second, out));
        AXL_TRY(axl_str_puts(out, f[3] == ':' && f[4] != '\0' ? "+00:00" : ""));
    }
    AXL_TRY(axl_str_putc(out, '"'));

out:
    return status;
}

// ---- nested

static axl_status put_struct(const schema_t *s, const array_t *a, int64_t i, axl_str *out)
{
    axl_status status = AXL_OK;
    bool first = true;

    AXL_TRY(axl_str_putc(out, '{'));
    for (int64_t c = 0; c < s->n_children; c++) {
        const schema_t *member = s->children[c];
        if (is_null(member, a->children[c], a->offset + i))
            continue;
        AXL_TRY(axl_str_puts(out, first ? "\"" : ", \""));
        AXL_TRY(axl_rows_escape(out, member->name != NULL ? member->name : "",
                                member->name != NULL ? strlen(member->name) : 0));
        AXL_TRY(axl_str_puts(out, "\": "));
        AXL_TRY(put_value(member, a->children[c], a->offset + i, out));
        first = false;
    }
    AXL_TRY(axl_str_putc(out, '}'));

out:
    return status;
}

static bool is_text(const schema_t *s)
{
    const char *f = s->dictionary != NULL ? s->dictionary->format : s->format;

    return f[0] == 'u' || f[0] == 'U' || (f[0] == 'v' && f[1] == 'u');
}

// The elements [from, to) of a map's struct of key and value.
static axl_status put_map(const schema_t *entries, const array_t *a, int64_t from, int64_t to,
                          axl_str *out)
{
    axl_status status = AXL_OK;
    bool first = true;

    AXL_TRY(axl_str_putc(out, '{'));
    for (int64_t i = from; i < to; i++) {
        int64_t at = a->offset + i;
        if (is_null(entries->children[1], a->children[1], at))
            continue;
        AXL_TRY(axl_str_puts(out, first ? "" : ", "));
        AXL_TRY(put_value(entries->children[0], a->children[0], at, out));
        AXL_TRY(axl_str_puts(out, ": "));
        AXL_TRY(put_value(entries->children[1], a->children[1], at, out));
        first = false;
    }
    AXL_TRY(axl_str_putc(out, '}'));

out:
    return status;
}

static axl_status put_list(const schema_t *s, const array_t *a, int64_t i, axl_str *out)
{
    axl_status status = AXL_OK;
    const char *f = s->format;
    const schema_t *item = s->children[0];
    bool large = f[1] == 'L' || (f[1] == 'v' && f[2] == 'L');
    int64_t from = 0, to = 0;

    if (f[1] == 'w') {
        int64_t n = strtoll(f + 3, NULL, 10);
        from = (a->offset + i) * n;
        to = from + n;
    } else {
        from = read_offset(a, 1, i, large);
        to = f[1] == 'v' ? from + read_offset(a, 2, i, large) : read_offset(a, 1, i + 1, large);
    }
    if (f[1] == 'm' && is_text(item->children[0])) {
        AXL_TRY(put_map(item, a->children[0], from, to, out));
        goto out;
    }
    AXL_TRY(axl_str_putc(out, '['));
    for (int64_t k = from; k < to; k++) {
        AXL_TRY(axl_str_puts(out, k > from ? ", " : ""));
        AXL_TRY(put_value(item, a->children[0], k, out));
    }
    AXL_TRY(axl_str_putc(out, ']'));

out:
    return status;
}

static axl_status put_value(const schema_t *s, const array_t *a, int64_t i, axl_str *out)
{
    bool big = false;

    if (is_null(s, a, i))
        return axl_str_puts(out, "null");
    if (s->dictionary != NULL)
        return put_value(s->dictionary, a->dictionary, read_int(s->format[0], a, i, &big), out);
    switch (s->format[0]) {
    case 'b':
        return axl_str_puts(out, bit(a->buffers[1], a->offset + i) ? "true" : "false");
    case 'e':
    case 'f':
    case 'g':
        return put_real(s, a, i, out);
    case 'u':
    case 'U':
    case 'z':
    case 'Z':
        return put_string(s, a, i, out);
    case 'v':
        return put_view(s, a, i, out);
    case 'w':
        return put_fixed(s, a, i, out);
    case 'd':
        return put_decimal(s, a, i, out);
    case 't':
        return put_time(s, a, i, out);
    case '+':
        return s->format[1] == 's' ? put_struct(s, a, i, out) : put_list(s, a, i, out);
    default:
        return put_int(s, a, i, out);
    }
}

axl_status axl_arrow_put_row(const struct ArrowSchema *schema, const struct ArrowArray *batch,
                             int64_t i, axl_str *out)
{
    return put_struct(schema, batch, i, out);
}

// ---- types

static bool is_scalar(const char *f)
{
    int precision = 0, scale = 0, bits = 128;

    switch (f[0]) {
    case 'd':
        return sscanf(f, "d:%d,%d,%d", &precision, &scale, &bits) >= 2 && bits > 0 &&
               bits <= 8 * MAX_DECIMAL_BYTES && bits % 8 == 0 && abs(scale) <= 80;
    case 't':
        return f[1] == 'd' || f[1] == 't' || f[1] == 's' || f[1] == 'D';
    case 'v':
        return f[1] == 'u' || f[1] == 'z';
    case 'w':
        return f[1] == ':';
    default:
        return f[0] != '\0' && f[1] == '\0' && strchr("nbcCsSiIlLefgzZuU", f[0]) != NULL;
    }
}

static bool can_write(const schema_t *s, int depth)
{
    const char *f = s->format;
    bool nested = strcmp(f, "+s") == 0 ||
                  (s->n_children == 1 &&
                   (strcmp(f, "+l") == 0 || strcmp(f, "+L") == 0 || strcmp(f, "+vl") == 0 ||
                    strcmp(f, "+vL") == 0 || strncmp(f, "+w:", 3) == 0));
    bool map = strcmp(f, "+m") == 0 && s->n_children == 1 && s->children[0]->n_children == 2;
    bool index = strlen(f) == 1 && strchr("cCsSiIlL", f[0]) != NULL;
    bool good = depth < MAX_DEPTH && (nested || map || is_scalar(f));

    if (s->dictionary != NULL)
        good = good && index && can_write(s->dictionary, depth + 1);
    for (int64_t c = 0; c < s->n_children; c++)
        good = good && can_write(s->children[c], depth + 1);
    return good;
}

axl_status axl_arrow_check(const struct ArrowSchema *schema, const char *path)
{
    axl_status status = AXL_OK;

    for (int64_t c = 0; c < schema->n_children; c++)
        AXL_REQUIRE(can_write(schema->children[c], 1), AXL_E_UNSUPPORTED,
                    "%s: column %s: its type is not read (Arrow format %s); leave the column out",
                    path, schema->children[c]->name != NULL ? schema->children[c]->name : "",
                    schema->children[c]->format);

out:
    return status;
}
