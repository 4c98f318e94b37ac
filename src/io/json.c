// jansson behind the project's names. The one hard thing: config.json of older checkpoints holds bare
// NaN and Infinity, which are no JSON; they are quoted before parsing. So are integers of any length made reals.
#include "src/io/json.h"

#include "src/base/mem.h"
#include "src/io/file.h"
#include "src/io/json_fast.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static axl_status parse(const char *text, size_t n, size_t flags, const char *name, axl_json **out)
{
    axl_status status = AXL_OK;
    json_error_t error;
    json_t *v = json_loadb(text, n, JSON_DECODE_ANY | JSON_ALLOW_NUL | flags, &error);

    AXL_REQUIRE(v != NULL, AXL_E_INPUT, "%s: line %d column %d: not valid JSON: %s", name,
                error.line, error.column, error.text);
    *out = v;
out:
    return status;
}

axl_status axl_json_parse(const char *text, size_t n, const char *name, axl_json **out)
{
    axl_json *v = axl_utf8_invalid_at(text, n) == n ? axl_json_parse_fast(text, n) : NULL;

    if (v == NULL)
        return parse(text, n, 0, name, out);
    *out = v;
    return AXL_OK;
}

axl_status axl_json_parse_strict(const char *text, size_t n, const char *name, axl_json **out)
{
    return parse(text, n, JSON_REJECT_DUPLICATES, name, out);
}

// Where the digits at text[i] end if they are an integer that int64 cannot hold, else 0.
static size_t huge_integer_end(const char *text, size_t n, size_t i)
{
    size_t end = i;

    while (end < n && text[end] >= '0' && text[end] <= '9')
        end++;
    bool fraction = end < n && strchr(".eE", text[end]) != NULL;
    bool begins = i == 0 || strchr("0123456789.eE+", text[i - 1]) == NULL;
    return begins && !fraction && end - i > 18 ? end : 0;
}

// Copies text with bare NaN, Infinity and -Infinity outside of strings put in quotes, and with huge integers
// (tokenizer_config.json writes "no limit" as 10^30) made reals.
static axl_status quote_bare_numbers(const char *text, size_t n, axl_str *out)
{
    axl_status status = AXL_OK;
    static const char *const words[] = {"-Infinity", "Infinity", "NaN"};
    bool in_string = false;
    size_t from = 0;

    for (size_t i = 0; i < n; i++) {
        if (in_string) {
            if (text[i] == '\\')
                i++;
            else if (text[i] == '"')
                in_string = false;
            continue;
        }
        if (text[i] == '"')
            in_string = true;
        size_t digits = huge_integer_end(text, n, i);
        if (digits > 0) {
            AXL_TRY(axl_str_append(out, text + from, digits - from));
            AXL_TRY(axl_str_puts(out, ".0"));
            from = digits;
            i = digits - 1;
            continue;
        }
        for (size_t w = 0; w < sizeof words / sizeof *words; w++) {
            size_t k = strlen(words[w]);
            if (i + k > n || memcmp(text + i, words[w], k) != 0)
                continue;
            AXL_TRY(axl_str_append(out, text + from, i - from));
            AXL_TRY(axl_str_printf(out, "\"%s\"", words[w]));
            i += k - 1;
            from = i + 1;
            break;
        }
    }
    AXL_TRY(axl_str_append(out, text + from, n - from));
out:
    return status;
}

axl_status axl_json_read(const char *path, axl_json **out)
{
    axl_status status = AXL_OK;
    axl_str text = {0};
    axl_str quoted = {0};

    AXL_TRY(axl_file_read(path, &text));
    if (axl_json_parse(text.data, text.len, path, out) == AXL_OK)
        goto out;
    AXL_TRY(quote_bare_numbers(text.data, text.len, &quoted));
    AXL_TRY(axl_json_parse(quoted.data, quoted.len, path, out));
out:
    axl_str_fini(&text);
    axl_str_fini(&quoted);
    return status;
}

axl_json *axl_json_ref(axl_json *v)
{
    return json_incref(v);
}

void axl_json_free(axl_json *v)
{
    json_decref(v);
}

axl_json_kind axl_json_type(const axl_json *v)
{
    if (v == NULL)
        return AXL_JSON_NULL;
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return AXL_JSON_OBJECT;
    case JSON_ARRAY:
        return AXL_JSON_ARRAY;
    case JSON_STRING:
        return AXL_JSON_STRING;
    case JSON_INTEGER:
        return AXL_JSON_INT;
    case JSON_REAL:
        return AXL_JSON_REAL;
    case JSON_TRUE:
    case JSON_FALSE:
        return AXL_JSON_BOOL;
    default:
        return AXL_JSON_NULL;
    }
}

const char *axl_json_kind_name(axl_json_kind kind)
{
    static const char *const names[] = {"null",     "a boolean", "an integer", "a number",
                                        "a string", "an array",  "an object"};
    return names[kind];
}

axl_json *axl_json_get(const axl_json *v, const char *key)
{
    return json_object_get(v, key);
}

axl_json *axl_json_at(const axl_json *v, size_t i)
{
    return json_array_get(v, i);
}

size_t axl_json_count(const axl_json *v)
{
    return json_is_object(v) ? json_object_size(v) : json_array_size(v);
}

bool axl_json_next(axl_json *v, void **it, const char **key, axl_json **child)
{
    void *next = *it == NULL ? json_object_iter(v) : json_object_iter_next(v, *it);

    if (next == NULL)
        return false;
    *it = next;
    *key = json_object_iter_key(next);
    *child = json_object_iter_value(next);
    return true;
}

const char *axl_json_string(const axl_json *v, const char *otherwise)
{
    return json_is_string(v) ? json_string_value(v) : otherwise;
}

size_t axl_json_string_length(const axl_json *v)
{
    return json_string_length(v);
}

int64_t axl_json_int(const axl_json *v, int64_t otherwise)
{
    return json_is_integer(v) ? (int64_t)json_integer_value(v) : otherwise;
}

double axl_json_real(const axl_json *v, double otherwise)
{
    return json_is_number(v) ? json_number_value(v) : otherwise;
}

bool axl_json_bool(const axl_json *v, bool otherwise)
{
    return json_is_boolean(v) ? json_boolean_value(v) : otherwise;
}

bool axl_json_number(const axl_json *v, double *out)
{
    const char *text = json_string_value(v);
    char *end = NULL;
    double x = json_number_value(v);

    if (text != NULL) {
        // strtod also takes hexadecimal numbers, names of infinities and blanks in front
        if (strspn(text, "+-.0123456789eE") != json_string_length(v))
            return false;
        x = strtod(text, &end);
        if (end == text || *end != '\0' || !isfinite(x))
            return false;
    } else if (!json_is_number(v)) {
        return false;
    }
    *out = x;
    return true;
}

bool axl_json_truth(const axl_json *v, bool *out)
{
    const char *text = json_string_value(v);
    double x = -1.0;

    if (json_is_boolean(v))
        x = json_is_true(v) ? 1.0 : 0.0;
    else if (text != NULL && strcasecmp(text, "true") == 0)
        x = 1.0;
    else if (text != NULL && strcasecmp(text, "false") == 0)
        x = 0.0;
    else if (!axl_json_number(v, &x))
        return false;
    if (x != 0.0 && x != 1.0)
        return false;
    *out = x == 1.0;
    return true;
}

bool axl_json_weight(const axl_json *v, bool *out)
{
    double x = 0.0;

    if (!axl_json_number(v, &x))
        return axl_json_truth(v, out);
    *out = x != 0.0;
    return true;
}

axl_json *axl_json_new_object(void)
{
    return json_object();
}

axl_json *axl_json_new_array(void)
{
    return json_array();
}

axl_json *axl_json_new_string(const char *bytes, size_t n)
{
    return json_stringn(bytes, n);
}

axl_json *axl_json_new_int(int64_t i)
{
    return json_integer(i);
}

axl_json *axl_json_new_real(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

axl_json *axl_json_new_bool(bool b)
{
    return json_boolean(b);
}

axl_json *axl_json_new_null(void)
{
    return json_null();
}

axl_status axl_json_set(axl_json *object, const char *key, axl_json *value)
{
    axl_status status = AXL_OK;

    AXL_REQUIRE(json_object_set_new(object, key, value) == 0, AXL_E_MEMORY,
                "no memory for JSON key %s", key);
out:
    return status;
}

axl_status axl_json_append(axl_json *array, axl_json *value)
{
    axl_status status = AXL_OK;

    AXL_REQUIRE(json_array_append_new(array, value) == 0, AXL_E_MEMORY,
                "no memory for a JSON array");
out:
    return status;
}

axl_status axl_json_put(axl_json *array, size_t i, axl_json *value)
{
    axl_status status = AXL_OK;

    AXL_REQUIRE(json_array_set_new(array, i, value) == 0, AXL_E_MEMORY,
                "no memory for a JSON array");
out:
    return status;
}

void axl_json_drop_nulls(axl_json *v)
{
    const char *key;
    json_t *child;
    void *safe;
    size_t i;

    json_array_foreach(v, i, child) axl_json_drop_nulls(child);
    if (!json_is_object(v))
        return;
    json_object_foreach_safe(v, safe, key, child)
    {
        if (json_is_null(child))
            (void)json_object_del(v, key);
        else
            axl_json_drop_nulls(child);
    }
}

axl_status axl_json_dump(const axl_json *v, int indent, axl_str *out)
{
    axl_status status = AXL_OK;
    size_t flags = JSON_ENCODE_ANY | (indent > 0 ? JSON_INDENT((size_t)indent) : 0);
    char *text = json_dumps(v, flags);

    AXL_REQUIRE(text != NULL, AXL_E_MEMORY, "no memory to write JSON");
    AXL_TRY(axl_str_puts(out, text));
out:
    free(text);
    return status;
}
