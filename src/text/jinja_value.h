// The values of a template, and the memory they lie in. For the jinja_*.c files only.
//
// All memory of a compilation or a rendering lies in one arena of chunks that is dropped whole, so
// nothing is freed one by one and an error on the way leaks nothing.
#ifndef AXL_TEXT_JINJA_VALUE_H
#define AXL_TEXT_JINJA_VALUE_H

#include "src/text/jinja.h"

#include <stdbool.h>

typedef struct j_env j_env; // the state of a compilation or a rendering: jinja_internal.h

typedef struct j_chunk j_chunk;
typedef struct j_arena {
    j_chunk *head;       // owned; newest first
    j_chunk *spare;      // owned; taken before a new one, then NULL
    size_t total, limit; // bytes
} j_arena;

typedef enum j_kind {
    J_ABSENT, // no value at all: an argument not given, a name not bound
    J_UNDEF,  // jinja2's Undefined
    J_NONE,
    J_BOOL,
    J_INT,
    J_FLOAT,
    J_BIG, // an integer beyond 64 bits, as text; it can only be printed and compared
    J_STR,
    J_LIST,
    J_TUPLE,
    J_DICT,
    J_ITER, // a generator: can be walked once
    J_NS,
    J_MACRO,
    J_METHOD,
    J_FUNC,
    J_LOOP
} j_kind;

typedef struct j_str {
    const char *p;   // UTF-8; in the arena or borrowed for the rendering; may hold NUL
    size_t n;        // bytes
    int64_t n_chars; // code points, -1: not counted yet
} j_str;

struct j_list;
struct j_dict;
typedef struct j_value {
    uint8_t kind; // j_kind
    bool safe;    // J_STR: marked as HTML (Markup)
    union {
        bool b;
        int64_t i;
        double f;
        j_str *s; // J_STR, J_BIG
        struct j_list *l;
        struct j_dict *d; // J_DICT, J_NS
        struct j_iter *it;
        struct j_macro *macro;
        struct j_bound *bound;
        struct j_loop *loop;
        struct j_func *func;
        const struct j_undef *undef; // NULL: nothing known
    };
} j_value;

typedef enum { J_PLAIN, J_KEYS, J_VALUES, J_ITEMS, J_RANGE, J_GROUP } j_view;
typedef struct j_list {
    j_value *v; // [n]
    int64_t n, capacity;
    j_view view;               // what Python type a list stands for
    int64_t start, stop, step; // J_RANGE
} j_list;

typedef struct j_dict {     // insertion-ordered
    j_value *keys, *values; // [n]
    int64_t n, capacity;
    int32_t *index; // [n_index] position + 1 by hash, open addressing; NULL while small
    int64_t n_index;
} j_dict;

typedef struct j_iter {
    j_list *list;
    int64_t at; // items before it are consumed
} j_iter;

typedef enum { J_UNDEF_NAME, J_UNDEF_ATTR, J_UNDEF_ITEM, J_UNDEF_UNSAFE, J_UNDEF_TEXT } j_undef_why;
typedef struct j_undef {
    j_undef_why why;
    const char *type; // Python type of the object looked into; J_UNDEF_TEXT: the whole message
    j_value key;      // the name or key
} j_undef;

typedef struct j_buf {
    char *p; // in the arena
    size_t n, capacity;
} j_buf;

typedef struct j_args {
    j_value *pos, *kw; // [n_pos], [n_kw]
    const j_str **kw_names;
    int n_pos, n_kw;
} j_args;

typedef axl_status (*j_apply)(j_env *e, const j_value *self, j_value *a, j_value *res);
typedef axl_status (*j_apply_args)(j_env *e, const j_value *self, const j_args *args, j_value *res);

// A filter, method or test: params names the arguments ("old new count"), of which the first
// n_required must be given; the others are J_ABSENT when missing. With variadic set, that is called.
typedef struct j_def {
    const char *name, *params;
    int n_required;
    j_apply apply;
    j_apply_args variadic;
    bool unsafe; // a method that the sandbox forbids
} j_def;

typedef struct j_bound {
    j_value self;
    const j_def *def;
} j_bound;

typedef struct j_func { // a global function, or an object such as cycler
    const j_def *def;
    j_value state;
} j_func;

// Records the error with the template's line and returns AXL_E_INPUT.
axl_status axl_j_raise(j_env *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

// The status is set here so that the compiler, too, sees that it is not AXL_OK.
#define J_FAIL(e, ...)                                                                             \
    do {                                                                                           \
        (void)axl_j_raise((e), __VA_ARGS__);                                                       \
        status = AXL_E_INPUT;                                                                      \
        goto out;                                                                                  \
    } while (0)
#define J_REQUIRE(e, cond, ...)                                                                    \
    do {                                                                                           \
        if (!(cond))                                                                               \
            J_FAIL((e), __VA_ARGS__);                                                              \
    } while (0)

// jinja_value.c: memory and values
void axl_j_arena_fini(j_arena *a);
void *axl_j_arena_keep(j_arena *a); // fini, but one chunk for the next arena's spare, or NULL
axl_status axl_j_take(j_env *e, size_t bytes, void *out); // zeroed
axl_status axl_j_put(j_env *e, j_buf *b, const char *p, size_t n);
axl_status axl_j_puts(j_env *e, j_buf *b, const char *text);
axl_status axl_j_put_cp(j_env *e, j_buf *b, uint32_t cp);
axl_status axl_j_buf_value(j_env *e, const j_buf *b, j_value *res); // the text so far, not copied
axl_status axl_j_text(j_env *e, const char *p, size_t n, j_value *res); // a string that borrows p
axl_status axl_j_word(j_env *e, const char *text, j_value *res); // a string that borrows text
axl_status axl_j_list(j_env *e, j_kind kind, int64_t capacity, j_value *res);
axl_status axl_j_append(j_env *e, j_list *l, j_value v);
axl_status axl_j_iter(j_env *e, j_value list, j_value *res); // a generator over it
axl_status axl_j_dict(j_env *e, j_value *res);
axl_status axl_j_dict_set(j_env *e, j_dict *d, j_value key, j_value value);
const j_value *axl_j_dict_get(const j_dict *d, const j_value *key); // NULL: none
const j_value *axl_j_dict_get_str(const j_dict *d, const char *p, size_t n);
axl_status axl_j_undefined(j_env *e, j_undef_why why, const char *type, j_value key, j_value *res);
axl_status axl_j_fail_undefined(j_env *e, const j_value *v); // the UndefinedError
axl_status axl_j_from_json(j_env *e, const axl_json *json, j_value *res);

static inline j_value axl_j_none(void)
{
    return (j_value){.kind = J_NONE};
}
static inline j_value axl_j_bool(bool b)
{
    return (j_value){.kind = J_BOOL, .b = b};
}
static inline j_value axl_j_int(int64_t i)
{
    return (j_value){.kind = J_INT, .i = i};
}
static inline j_value axl_j_float(double f)
{
    return (j_value){.kind = J_FLOAT, .f = f};
}

// jinja_print.c: Python's str() and repr()
void axl_j_float_text(double x, char text[48]);
axl_status axl_j_print(j_env *e, j_buf *b, const j_value *v); // str
axl_status axl_j_repr(j_env *e, j_buf *b, const j_value *v);
axl_status axl_j_to_str(j_env *e, const j_value *v, j_value *res); // a J_STR
const char *axl_j_type_name(const j_value *v);

// jinja_ops.c
bool axl_j_truth(const j_value *v);
// Compares deeply; the work counts as steps of e (NULL: a fixed, small bound, for keys of dicts).
bool axl_j_equal(j_env *e, const j_value *a, const j_value *b);
axl_status axl_j_order(j_env *e, const j_value *a, const j_value *b, const char *op, int *res);
axl_status axl_j_in(j_env *e, const j_value *item, const j_value *box, bool *res);
axl_status axl_j_escape(j_env *e, const j_value *v, j_value *res);
bool axl_j_number(const j_value *v, double *x); // bool, int, float

// jinja_text.c: Python's view of strings, by code points
int64_t axl_j_chars(const j_str *s);
size_t axl_j_offset(const j_str *s, int64_t at);        // byte offset of a code point, clamped
size_t axl_j_cp(const char *p, size_t n, uint32_t *cp); // as axl_utf8_next, but never 0 for n > 0
bool axl_j_is_space(uint32_t cp);
bool axl_j_is_alpha(uint32_t cp);
bool axl_j_is_decimal(uint32_t cp);
bool axl_j_is_digit(uint32_t cp);
bool axl_j_is_upper(uint32_t cp);
bool axl_j_is_lower(uint32_t cp);
bool axl_j_is_word(uint32_t cp); // \w
bool axl_j_is_printable(uint32_t cp);
axl_status axl_j_put_upper(j_env *e, j_buf *b, uint32_t cp);
axl_status axl_j_put_lower(j_env *e, j_buf *b, uint32_t cp);
axl_status axl_j_put_title(j_env *e, j_buf *b, uint32_t cp);
axl_status axl_j_upper(j_env *e, const j_str *s, j_value *res);
axl_status axl_j_lower(j_env *e, const j_str *s, j_value *res);
axl_status axl_j_capitalize(j_env *e, const j_str *s, j_value *res);
// strip: bits 1 left, 2 right; chars NULL: white space.
j_str axl_j_strip(const j_str *s, const j_str *chars, int sides);
int64_t axl_j_find(const j_str *s, const j_str *what, size_t from); // byte offset, -1
axl_status axl_j_replace(j_env *e, const j_str *s, const j_str *old, const j_str *by, int64_t count,
                         j_value *res);
axl_status axl_j_splitlines(j_env *e, const j_str *s, bool keep, j_value *res);
axl_status axl_j_pad(j_env *e, const j_str *s, int64_t width, uint32_t fill, int side,
                     j_value *res);

#endif
