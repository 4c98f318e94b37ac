// Changing one member of a JSON text. The text is walked, not parsed, so that numbers, spaces and escapes of all
// other members stay as their author wrote them.
#include "src/io/json.h"

#include <string.h>

typedef struct scanned {
    const char *s; // [n] valid JSON
    size_t n;
} scanned;

static size_t skip_space(const scanned *t, size_t i)
{
    while (i < t->n && strchr(" \t\r\n", t->s[i]) != NULL)
        i++;
    return i;
}

// i stands at the opening quote; the place behind the closing one.
static size_t skip_string(const scanned *t, size_t i)
{
    for (i++; i < t->n && t->s[i] != '"'; i++)
        i += t->s[i] == '\\';
    return i < t->n ? i + 1 : t->n;
}

static size_t skip_value(const scanned *t, size_t i)
{
    int depth = 0;

    for (; i < t->n; i++) {
        char c = t->s[i];
        if (depth == 0 && (c == ',' || c == '}' || c == ']' || strchr(" \t\r\n", c) != NULL))
            break;
        if (c == '"')
            i = skip_string(t, i) - 1; // the loop steps over the quote
        depth += (c == '{' || c == '[') - (c == '}' || c == ']');
        if (depth == 0 && (c == '}' || c == ']' || c == '"'))
            return i + 1;
    }
    return i;
}

typedef struct member {
    size_t first;      // the first key of the object, or its closing brace
    size_t begin, end; // from the key's quote to behind the value; equal when there is none
    size_t value;      // where the value begins
    size_t before;     // the comma in front of it, or begin
    size_t after;      // the key behind it, or the closing brace
    size_t last;       // behind the last value of the object
} member;

// The member of the object whose brace stands at open.
static member find_member(const scanned *t, size_t open, const char *key)
{
    member m = {.first = skip_space(t, open + 1), .last = open + 1};
    size_t n = strlen(key), comma = 0;

    for (size_t i = m.first; i < t->n && t->s[i] == '"';) {
        size_t begin = i, name_end = skip_string(t, i);
        size_t value = skip_space(t, skip_space(t, name_end) + 1); // behind the colon
        m.last = skip_value(t, value);
        i = skip_space(t, m.last);
        bool more = i < t->n && t->s[i] == ',';
        size_t at = i;
        i = more ? skip_space(t, i + 1) : i;
        if (name_end - begin == n + 2 && memcmp(t->s + begin + 1, key, n) == 0) {
            m.begin = begin;
            m.value = value;
            m.end = m.last;
            m.before = comma > 0 ? comma : begin;
            m.after = i;
        }
        comma = at;
        if (!more)
            break;
    }
    return m;
}

// from .. to of the text become what stands in middle.
static axl_status replace(axl_str *text, size_t from, size_t to, const axl_str *middle)
{
    axl_status status = AXL_OK;
    axl_str out = {0};

    AXL_TRY(axl_str_append(&out, text->data, from));
    AXL_TRY(axl_str_append(&out, middle->data, middle->len));
    AXL_TRY(axl_str_append(&out, text->data + to, text->len - to));
    axl_str_fini(text);
    *text = out;
    out = (axl_str){0};
out:
    axl_str_fini(&out);
    return status;
}

axl_status axl_json_edit(axl_str *text, const char *object, const char *key, const char *value)
{
    axl_status status = AXL_OK;
    scanned t = {text->data, text->len};
    axl_str middle = {0};
    size_t open = skip_space(&t, 0);

    if (object != NULL && open < t.n) {
        member outer = find_member(&t, open, object);
        open = outer.begin < outer.end ? outer.value : t.n;
    }
    AXL_REQUIRE(open < t.n && t.s[open] == '{', AXL_E_INPUT, "there is no JSON object %s to change",
                object != NULL ? object : "");
    member m = find_member(&t, open, key);
    if (m.begin < m.end && value != NULL) {
        AXL_TRY(axl_str_puts(&middle, value));
        AXL_TRY(replace(text, m.value, m.end, &middle));
    } else if (m.begin < m.end) { // with the comma in front of it, else with the one behind it
        bool only_behind = m.before == m.begin;
        AXL_TRY(replace(text, m.before, only_behind ? m.after : m.end, &middle));
    } else if (value != NULL) {
        if (m.last > open + 1) { // spaced as the first member is
            AXL_TRY(axl_str_putc(&middle, ','));
            AXL_TRY(axl_str_append(&middle, t.s + open + 1, m.first - open - 1));
        }
        AXL_TRY(axl_str_put_json(&middle, key, strlen(key)));
        AXL_TRY(axl_str_printf(&middle, ": %s", value));
        AXL_TRY(replace(text, m.last, m.last, &middle));
    }
out:
    axl_str_fini(&middle);
    return status;
}
