// JSON values: reading with places in errors, building, and writing. A thin face over jansson, so that
// jansson.h stays in src/io.
//
// Objects keep the order of their keys. Integers are int64, other numbers double. Parsing is bounded
// (nesting at most 2048) and refuses invalid UTF-8 and duplicate keys are resolved to the last one.
// An axl_json * is a counted reference: the functions below say who owns what.
#ifndef AXL_IO_JSON_H
#define AXL_IO_JSON_H

#include "src/base/status.h"
#include "src/base/str.h"

#include <stddef.h>
#include <stdint.h>

typedef struct json_t axl_json;

typedef enum axl_json_kind {
    AXL_JSON_NULL,
    AXL_JSON_BOOL,
    AXL_JSON_INT,
    AXL_JSON_REAL,
    AXL_JSON_STRING,
    AXL_JSON_ARRAY,
    AXL_JSON_OBJECT
} axl_json_kind;

// Parses text[0 .. n); name stands for it in messages ("data.jsonl:12"). *out is owned by the caller.
//   AXL_E_INPUT: "name: line L column C: why".
axl_status axl_json_parse(const char *text, size_t n, const char *name, axl_json **out);

// The same, but a key that stands twice in one object is AXL_E_INPUT: for files whose meaning would be
// open otherwise.
axl_status axl_json_parse_strict(const char *text, size_t n, const char *name, axl_json **out);

// Parses a whole file. A missing or unreadable file is AXL_E_INPUT too. Bare NaN and Infinity, which
// older config.json files hold, are read as strings "NaN", "Infinity", "-Infinity"; integers beyond int64 as reals.
axl_status axl_json_read(const char *path, axl_json **out);

axl_json *axl_json_ref(axl_json *v); // one more owner; NULL-safe; returns v
void axl_json_free(axl_json *v);     // one owner less; NULL-safe

// NULL counts as AXL_JSON_NULL. axl_json_kind_name: "an object", "a string", ...; for messages.
axl_json_kind axl_json_type(const axl_json *v);
const char *axl_json_kind_name(axl_json_kind kind);
static inline bool axl_json_is(const axl_json *v, axl_json_kind kind)
{
    return axl_json_type(v) == kind;
}

// Borrowed children. NULL when v is not an object / array, or lacks the key / index. A JSON null child
// is returned as a value of kind AXL_JSON_NULL.
axl_json *axl_json_get(const axl_json *v, const char *key);
axl_json *axl_json_at(const axl_json *v, size_t i);
size_t axl_json_count(const axl_json *v); // members or elements; 0 for scalars

// Walks the members of an object in order: `void *it = NULL; while (axl_json_next(v, &it, &key, &child))`.
// key and child are borrowed.
bool axl_json_next(axl_json *v, void **it, const char **key, axl_json **child);

// Scalars; the second argument is returned when v has another kind (or is NULL). An INT is also a real.
const char *axl_json_string(const axl_json *v, const char *otherwise); // borrowed, NUL-terminated
size_t axl_json_string_length(const axl_json *v);                      // bytes; 0 if no string
int64_t axl_json_int(const axl_json *v, int64_t otherwise);
double axl_json_real(const axl_json *v, double otherwise);
bool axl_json_bool(const axl_json *v, bool otherwise);

// Scalars of data files, where CSV has only text: "True", "1", "0.5" count as what they say. *out is set and true
// returned when v is one.
//   number   a number, or a string that is a finite one as a whole
//   truth    true, false, 1, 0; as strings in any case
//   weight   a truth, or a number: whether it is not 0
bool axl_json_number(const axl_json *v, double *out);
bool axl_json_truth(const axl_json *v, bool *out);
bool axl_json_weight(const axl_json *v, bool *out);

// New values, owned by the caller; NULL only without memory. Strings that are not UTF-8 give NULL.
axl_json *axl_json_new_object(void);
axl_json *axl_json_new_array(void);
axl_json *axl_json_new_string(const char *bytes, size_t n);
axl_json *axl_json_new_int(int64_t i);
axl_json *axl_json_new_real(double x); // NaN and infinities become null
axl_json *axl_json_new_bool(bool b);
axl_json *axl_json_new_null(void);

// Puts value into the container and takes over the caller's reference, also on failure.
axl_status axl_json_set(axl_json *object, const char *key, axl_json *value);
axl_status axl_json_append(axl_json *array, axl_json *value);
axl_status axl_json_put(axl_json *array, size_t i,
                        axl_json *value); // in the place of element i, which is there

// Removes every member whose value is null, at any depth, from the objects in v. Elements of arrays stay.
void axl_json_drop_nulls(axl_json *v);

// Appends the text of v: indent 0 gives one line with ", " and ": " as Python does; otherwise indented
// lines. Reals are written with at most 17 digits; non-ASCII text stays as it is.
axl_status axl_json_dump(const axl_json *v, int indent, axl_str *out);

// Sets member key of the object in the text to the JSON text value, or removes it when value is NULL; a new member
// is put last. Every other byte stays (json_edit.c). text must be valid JSON.
//   object   NULL: the outermost one; else the key of the object in it that has the member
// AXL_E_INPUT when there is no such object.
axl_status axl_json_edit(axl_str *text, const char *object, const char *key, const char *value);

#endif
