// Memory and values of a rendering. The arena is a list of chunks; a chunk is dropped only with the
// whole arena, so a growing buffer leaves its earlier halves behind (at most as much again).
#include "src/text/jinja_internal.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_CHUNK 32768
#define MAX_KEPT    1048576

struct j_chunk {
    j_chunk *next;
    size_t used, size;
    _Alignas(16) unsigned char data[];
};

void axl_j_arena_fini(j_arena *a)
{
    j_chunk *c = a->head;

    while (c != NULL) {
        j_chunk *next = c->next;
        free(c);
        c = next;
    }
    a->head = NULL;
    free(a->spare);
    a->spare = NULL;
}

// The oldest chunk is kept: it is small, and enough for most renderings.
void *axl_j_arena_keep(j_arena *a)
{
    j_chunk *last = a->spare, **link = &a->head;

    if (last == NULL && a->head != NULL) {
        while ((*link)->next != NULL)
            link = &(*link)->next;
        last = *link;
        *link = NULL;
        if (last->size > MAX_KEPT) {
            free(last);
            last = NULL;
        }
    }
    a->spare = NULL;
    axl_j_arena_fini(a);
    return last;
}

axl_status axl_j_take(j_env *e, size_t bytes, void *out)
{
    axl_status status = AXL_OK;
    j_arena *a = e->arena;
    j_chunk *c = a->head;
    size_t need = (bytes + 15) & ~(size_t)15;

    J_REQUIRE(e, need >= bytes && need <= a->limit && a->total <= a->limit - need,
              "MemoryError: the template needs more than %zu bytes", a->limit);
    if (c == NULL && a->spare != NULL) {
        c = a->spare;
        a->spare = NULL;
        c->next = NULL;
        c->used = 0;
        a->head = c;
    }
    if (c == NULL || c->size - c->used < need) {
        size_t size = a->total / 2 < FIRST_CHUNK ? FIRST_CHUNK
                      : a->total / 2 > 1048576   ? 1048576
                                                 : a->total / 2;

        size = size < need ? need : size;
        c = malloc(sizeof *c + size);
        AXL_REQUIRE(c != NULL, AXL_E_MEMORY, "no memory for %zu bytes of a template", size);
        c->next = a->head;
        c->used = 0;
        c->size = size;
        a->head = c;
    }
    a->total += need;
    memset(c->data + c->used, 0, need);
    *(void **)out = c->data + c->used;
    c->used += need;
out:
    return status;
}

// ---- text ----

axl_status axl_j_put(j_env *e, j_buf *b, const char *p, size_t n)
{
    axl_status status = AXL_OK;

    if (n > b->capacity - b->n) {
        size_t capacity = b->capacity * 2 < 64 ? 64 : b->capacity * 2;
        char *grown;

        J_REQUIRE(e, n < e->max_output && b->n < e->max_output - n,
                  "the text grows beyond %zu bytes", e->max_output);
        if (capacity < b->n + n)
            capacity = b->n + n;
        AXL_TRY(axl_j_take(e, capacity, &grown));
        if (b->n > 0)
            memcpy(grown, b->p, b->n);
        b->p = grown;
        b->capacity = capacity;
    }
    if (n > 0)
        memcpy(b->p + b->n, p, n);
    b->n += n;
out:
    return status;
}

axl_status axl_j_puts(j_env *e, j_buf *b, const char *text)
{
    return axl_j_put(e, b, text, strlen(text));
}

axl_status axl_j_put_cp(j_env *e, j_buf *b, uint32_t cp)
{
    char u[4];
    size_t n;

    if (cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000))
        cp = 0xfffd;
    if (cp < 0x80) {
        u[0] = (char)cp;
        n = 1;
    } else if (cp < 0x800) {
        u[0] = (char)(0xc0 | cp >> 6);
        u[1] = (char)(0x80 | (cp & 63));
        n = 2;
    } else if (cp < 0x10000) {
        u[0] = (char)(0xe0 | cp >> 12);
        u[1] = (char)(0x80 | (cp >> 6 & 63));
        u[2] = (char)(0x80 | (cp & 63));
        n = 3;
    } else {
        u[0] = (char)(0xf0 | cp >> 18);
        u[1] = (char)(0x80 | (cp >> 12 & 63));
        u[2] = (char)(0x80 | (cp >> 6 & 63));
        u[3] = (char)(0x80 | (cp & 63));
        n = 4;
    }
    return axl_j_put(e, b, u, n);
}

axl_status axl_j_text(j_env *e, const char *p, size_t n, j_value *res)
{
    axl_status status = AXL_OK;
    j_str *s;

    AXL_TRY(axl_j_take(e, sizeof *s, &s));
    *s = (j_str){.p = n > 0 ? p : "", .n = n, .n_chars = -1};
    *res = (j_value){.kind = J_STR, .s = s};
out:
    return status;
}

axl_status axl_j_word(j_env *e, const char *text, j_value *res)
{
    return axl_j_text(e, text, strlen(text), res);
}

axl_status axl_j_buf_value(j_env *e, const j_buf *b, j_value *res)
{
    return axl_j_text(e, b->p, b->n, res);
}

// ---- lists ----

axl_status axl_j_list(j_env *e, j_kind kind, int64_t capacity, j_value *res)
{
    axl_status status = AXL_OK;
    j_list *l;

    AXL_TRY(axl_j_take(e, sizeof *l, &l));
    if (capacity > 0)
        AXL_TRY(axl_j_take(e, (size_t)capacity * sizeof *l->v, &l->v));
    l->capacity = capacity;
    *res = (j_value){.kind = (uint8_t)kind, .l = l};
out:
    return status;
}

axl_status axl_j_append(j_env *e, j_list *l, j_value v)
{
    axl_status status = AXL_OK;

    if (l->n == l->capacity) {
        int64_t capacity = l->capacity < 4 ? 4 : l->capacity * 2;
        j_value *grown;

        AXL_TRY(axl_j_take(e, (size_t)capacity * sizeof *grown, &grown));
        if (l->n > 0)
            memcpy(grown, l->v, (size_t)l->n * sizeof *grown);
        l->v = grown;
        l->capacity = capacity;
    }
    l->v[l->n++] = v;
out:
    return status;
}

axl_status axl_j_iter(j_env *e, j_value list, j_value *res)
{
    axl_status status = AXL_OK;
    j_iter *it;

    AXL_TRY(axl_j_take(e, sizeof *it, &it));
    it->list = list.l;
    *res = (j_value){.kind = J_ITER, .it = it};
out:
    return status;
}

// ---- dicts ----

#define INDEX_FROM 16 // members; below, a walk is as fast as a hash

static uint64_t hash_bytes(const char *p, size_t n)
{
    uint64_t h = 1469598103934665603u;

    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)p[i]) * 1099511628211u;
    return h ^ h >> 32;
}

// Equal values hash equally; 1, 1.0 and True are equal.
static uint64_t hash_value(const j_value *v, int depth)
{
    double x;

    if (v->kind == J_STR)
        return hash_bytes(v->s->p, v->s->n);
    if (axl_j_number(v, &x))
        return hash_bytes((const char *)&x, sizeof x);
    if (v->kind == J_TUPLE && depth < 2) {
        uint64_t h = (uint64_t)v->l->n;

        for (int64_t i = 0; i < v->l->n && i < 8; i++)
            h = h * 31 + hash_value(&v->l->v[i], depth + 1);
        return h ^ h >> 32;
    }
    return (uint64_t)v->kind * 77u;
}

static bool same_key(const j_value *a, const j_value *b)
{
    if (a->kind == J_STR && b->kind == J_STR)
        return a->s->n == b->s->n && memcmp(a->s->p, b->s->p, a->s->n) == 0;
    return axl_j_equal(NULL, a, b);
}

static int64_t find_key(const j_dict *d, const j_value *key)
{
    if (d->index == NULL) {
        for (int64_t i = 0; i < d->n; i++)
            if (same_key(&d->keys[i], key))
                return i;
        return -1;
    }
    for (uint64_t h = hash_value(key, 0);; h++) {
        int32_t at = d->index[h & (uint64_t)(d->n_index - 1)];

        if (at == 0)
            return -1;
        if (same_key(&d->keys[at - 1], key))
            return at - 1;
    }
}

static void index_add(j_dict *d, int64_t at)
{
    uint64_t h = hash_value(&d->keys[at], 0);

    while (d->index[h & (uint64_t)(d->n_index - 1)] != 0)
        h++;
    d->index[h & (uint64_t)(d->n_index - 1)] = (int32_t)at + 1;
}

static axl_status dict_grow(j_env *e, j_dict *d)
{
    axl_status status = AXL_OK;
    int64_t capacity = d->capacity < 4 ? 4 : d->capacity * 2;
    j_value *keys, *values;

    AXL_TRY(axl_j_take(e, (size_t)capacity * sizeof *keys, &keys));
    AXL_TRY(axl_j_take(e, (size_t)capacity * sizeof *values, &values));
    if (d->n > 0) {
        memcpy(keys, d->keys, (size_t)d->n * sizeof *keys);
        memcpy(values, d->values, (size_t)d->n * sizeof *values);
    }
    d->keys = keys;
    d->values = values;
    d->capacity = capacity;
    if (capacity < INDEX_FROM)
        goto out;
    d->n_index = capacity * 2;
    AXL_TRY(axl_j_take(e, (size_t)d->n_index * sizeof *d->index, &d->index));
    for (int64_t i = 0; i < d->n; i++)
        index_add(d, i);
out:
    return status;
}

axl_status axl_j_dict(j_env *e, j_value *res)
{
    axl_status status = AXL_OK;
    j_dict *d;

    AXL_TRY(axl_j_take(e, sizeof *d, &d));
    *res = (j_value){.kind = J_DICT, .d = d};
out:
    return status;
}

axl_status axl_j_dict_set(j_env *e, j_dict *d, j_value key, j_value value)
{
    axl_status status = AXL_OK;
    int64_t at;

    J_REQUIRE(e, key.kind != J_LIST && key.kind != J_DICT, "TypeError: unhashable type: '%s'",
              axl_j_type_name(&key));
    at = find_key(d, &key);
    if (at >= 0) {
        d->values[at] = value;
        goto out;
    }
    if (d->n == d->capacity)
        AXL_TRY(dict_grow(e, d));
    d->keys[d->n] = key;
    d->values[d->n] = value;
    d->n++;
    if (d->index != NULL)
        index_add(d, d->n - 1);
out:
    return status;
}

const j_value *axl_j_dict_get(const j_dict *d, const j_value *key)
{
    int64_t at = find_key(d, key);

    return at < 0 ? NULL : &d->values[at];
}

const j_value *axl_j_dict_get_str(const j_dict *d, const char *p, size_t n)
{
    j_str s = {.p = p, .n = n, .n_chars = -1};
    j_value key = {.kind = J_STR, .s = &s};

    return axl_j_dict_get(d, &key);
}

axl_status axl_j_dict_entries(j_env *e, const j_dict *d, j_view view, j_value *res)
{
    axl_status status = AXL_OK;
    j_value list;

    AXL_TRY(axl_j_list(e, J_LIST, d->n, &list));
    list.l->view = view;
    for (int64_t i = 0; i < d->n; i++) {
        j_value item = view == J_KEYS ? d->keys[i] : d->values[i];

        if (view == J_ITEMS) {
            AXL_TRY(axl_j_list(e, J_TUPLE, 2, &item));
            item.l->v[0] = d->keys[i];
            item.l->v[1] = d->values[i];
            item.l->n = 2;
        }
        list.l->v[list.l->n++] = item;
    }
    *res = list;
out:
    return status;
}

// ---- undefined ----

axl_status axl_j_undefined(j_env *e, j_undef_why why, const char *type, j_value key, j_value *res)
{
    axl_status status = AXL_OK;
    j_undef *u;

    AXL_TRY(axl_j_take(e, sizeof *u, &u));
    *u = (j_undef){.why = why, .type = type, .key = key};
    *res = (j_value){.kind = J_UNDEF, .undef = u};
out:
    return status;
}

axl_status axl_j_fail_undefined(j_env *e, const j_value *v)
{
    axl_status status = AXL_OK;
    const j_undef *u = v->undef;
    j_buf b = {0};

    J_REQUIRE(e, u != NULL && u->why != J_UNDEF_TEXT, "%s",
              u != NULL ? u->type : "the value is undefined");
    if (u->why == J_UNDEF_ITEM)
        AXL_TRY(axl_j_repr(e, &b, &u->key));
    else
        AXL_TRY(axl_j_print(e, &b, &u->key));
    AXL_TRY(axl_j_put(e, &b, "", 1));
    J_REQUIRE(e, u->why != J_UNDEF_NAME, "'%s' is undefined", b.p);
    J_REQUIRE(e, u->why != J_UNDEF_UNSAFE, "access to attribute '%s' of '%s' object is unsafe.",
              b.p, u->type);
    J_REQUIRE(e, u->why != J_UNDEF_ITEM, "%s object has no element %s", u->type, b.p);
    J_REQUIRE(e, strcmp(u->type, "NoneType") != 0, "'None' has no attribute '%s'", b.p);
    J_FAIL(e, "'%s object' has no attribute '%s'", u->type, b.p);
out:
    return status;
}

// ---- JSON ----

// Marks an integer that int64 cannot hold; U+FDD0 is a noncharacter that no text should hold.
static const char big_mark[] = "\xef\xb7\x90int:";

static axl_status from_string(j_env *e, const axl_json *json, j_value *res)
{
    axl_status status = AXL_OK;
    const char *p = axl_json_string(json, "");
    size_t n = axl_json_string_length(json), k = sizeof big_mark - 1;

    AXL_TRY(axl_j_text(e, p, n, res));
    if (n > k && memcmp(p, big_mark, k) == 0) {
        *res->s = (j_str){.p = p + k, .n = n - k, .n_chars = -1};
        res->kind = J_BIG;
    }
out:
    return status;
}

static axl_status from_object(j_env *e, const axl_json *json, j_value *res)
{
    axl_status status = AXL_OK;
    void *it = NULL;
    const char *key;
    axl_json *child, *object = axl_json_ref((axl_json *)(uintptr_t)json);
    j_value k, v;

    AXL_TRY(axl_j_dict(e, res));
    while (axl_json_next(object, &it, &key, &child)) {
        AXL_TRY(axl_j_word(e, key, &k));
        AXL_TRY(axl_j_from_json(e, child, &v));
        AXL_TRY(axl_j_dict_set(e, res->d, k, v));
    }
out:
    axl_json_free(object);
    return status;
}

static axl_status from_array(j_env *e, const axl_json *json, j_value *res)
{
    axl_status status = AXL_OK;
    size_t n = axl_json_count(json);

    AXL_TRY(axl_j_list(e, J_LIST, (int64_t)n, res));
    for (size_t i = 0; i < n; i++)
        AXL_TRY(axl_j_from_json(e, axl_json_at(json, i), &res->l->v[i]));
    res->l->n = (int64_t)n;
out:
    return status;
}

axl_status axl_j_from_json(j_env *e, const axl_json *json, j_value *res)
{
    axl_status status = AXL_OK;

    J_REQUIRE(e, e->depth < J_MAX_DEPTH, "a value is nested deeper than %d levels", J_MAX_DEPTH);
    e->depth++;
    switch (axl_json_type(json)) {
    case AXL_JSON_NULL:
        *res = axl_j_none();
        break;
    case AXL_JSON_BOOL:
        *res = axl_j_bool(axl_json_bool(json, false));
        break;
    case AXL_JSON_INT:
        *res = axl_j_int(axl_json_int(json, 0));
        break;
    case AXL_JSON_REAL:
        *res = axl_j_float(axl_json_real(json, 0.0));
        break;
    case AXL_JSON_STRING:
        AXL_TRY(from_string(e, json, res));
        break;
    case AXL_JSON_ARRAY:
        AXL_TRY(from_array(e, json, res));
        break;
    case AXL_JSON_OBJECT:
        AXL_TRY(from_object(e, json, res));
        break;
    }
    e->depth--;
out:
    return status;
}

// Copies the text with each integer of 19 or more digits put in marked quotes when int64 cannot hold it.
static axl_status mark_integers(const char *text, size_t n, axl_str *out)
{
    axl_status status = AXL_OK;
    size_t from = 0;

    for (size_t i = 0; i < n; i++) {
        size_t begin = i, digits;

        if (text[i] == '"') {
            for (i++; i < n && text[i] != '"'; i++)
                i += text[i] == '\\';
            continue;
        }
        if (text[i] != '-' && (text[i] < '0' || text[i] > '9'))
            continue;
        i += text[i] == '-';
        digits = i;
        while (i < n && text[i] >= '0' && text[i] <= '9')
            i++;
        digits = i - digits;
        while (i < n && strchr("+-.eE0123456789", text[i]) != NULL && text[i] != '\0') {
            digits = 0; // a real
            i++;
        }
        if (digits >= 20 ||
            (digits == 19 && memcmp(text + i - 19, "9223372036854775807", 19) > 0)) {
            AXL_TRY(axl_str_append(out, text + from, begin - from));
            AXL_TRY(axl_str_printf(out, "\"%s%.*s\"", big_mark, (int)(i - begin), text + begin));
            from = i;
        }
        i--;
    }
    AXL_TRY(axl_str_append(out, text + from, n - from));
out:
    return status;
}

axl_status axl_jinja_context_parse(const char *text, size_t n, const char *name, axl_json **out)
{
    axl_status status = AXL_OK;
    axl_str marked = {0};

    if (axl_json_parse(text, n, name, out) == AXL_OK)
        goto out;
    AXL_TRY(mark_integers(text, n, &marked));
    AXL_TRY(axl_json_parse(marked.data == NULL ? "" : marked.data, marked.len, name, out));
out:
    axl_str_fini(&marked);
    return status;
}
