// Reading GGUF. The hard part is that all counts in the file are 64 bits wide and come from outside: no
// memory is taken by them and no pointer moved by them before they are held against the bytes that are
// left.
#include "src/io/gguf.h"

#include "src/base/mem.h"
#include "src/io/file.h"

#include <stdlib.h>
#include <string.h>

#define MAX_NAME_BYTES 65535
#define MAX_DEPTH      4 // arrays in arrays
#define FILE_DIMS      4 // what ggml can have

struct axl_gguf {
    char *path;               // owned
    axl_mapping map;          // owned
    axl_gguf_value *values;   // [n_values], owned
    axl_gguf_tensor *tensors; // [n_tensors], owned
    size_t values_capacity, tensors_capacity;
    int64_t n_values, n_tensors;
    int64_t *values_by_name, *tensors_by_name; // owned; indices sorted by name
};

// The place of the reader. Everything is taken through take(), which cannot leave the file.
typedef struct cursor {
    const char *path;
    const unsigned char *data;
    size_t size, at;
} cursor;

static const unsigned char *take(cursor *c, uint64_t n)
{
    const unsigned char *p = c->data + c->at;

    if (n > c->size - c->at)
        return NULL;
    c->at += (size_t)n;
    return p;
}

static uint64_t little(const unsigned char *p, size_t n)
{
    uint64_t v = 0;

    while (n > 0)
        v = v << 8 | p[--n];
    return v;
}

static axl_status take_int(cursor *c, size_t n, uint64_t *out)
{
    axl_status status = AXL_OK;
    const unsigned char *p = take(c, n);

    AXL_REQUIRE(p != NULL, AXL_E_INPUT, "%s: ends at byte %zu inside its header; it is truncated",
                c->path, c->size);
    *out = little(p, n);
out:
    return status;
}

// A key or a tensor name: UTF-8 without NUL; a copy owned by the caller.
static axl_status take_name(cursor *c, char **out)
{
    axl_status status = AXL_OK;
    uint64_t n = 0;
    char *name = NULL;

    AXL_TRY(take_int(c, 8, &n));
    AXL_REQUIRE(n > 0 && n <= MAX_NAME_BYTES, AXL_E_INPUT,
                "%s: a name before byte %zu has %llu bytes; 1 to %d are allowed", c->path, c->at,
                (unsigned long long)n, MAX_NAME_BYTES);
    const char *p = (const char *)take(c, n);
    AXL_REQUIRE(p != NULL, AXL_E_INPUT, "%s: ends inside a name; it is truncated", c->path);
    AXL_REQUIRE(memchr(p, '\0', (size_t)n) == NULL && axl_utf8_invalid_at(p, (size_t)n) == n,
                AXL_E_INPUT, "%s: the name before byte %zu is not text", c->path, c->at);
    AXL_TRY(axl_calloc((size_t)n + 1, 1, "a name", &name));
    memcpy(name, p, (size_t)n);
    *out = name;
out:
    return status;
}

// Bytes of one item of fixed size; 0 for strings and arrays.
static size_t kind_size(axl_gguf_kind kind)
{
    static const unsigned char sizes[AXL_GGUF_N_KINDS] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return sizes[kind];
}

static axl_status take_kind(cursor *c, const char *key, axl_gguf_kind *out)
{
    axl_status status = AXL_OK;
    uint64_t kind = 0;

    AXL_TRY(take_int(c, 4, &kind));
    AXL_REQUIRE(kind < AXL_GGUF_N_KINDS, AXL_E_INPUT, "%s: %s: has the unknown type %llu", c->path,
                key, (unsigned long long)kind);
    *out = (axl_gguf_kind)kind;
out:
    return status;
}

static axl_status skip_items(cursor *c, const char *key, axl_gguf_kind kind, uint64_t count,
                             int depth);

static axl_status skip_item(cursor *c, const char *key, axl_gguf_kind kind, int depth)
{
    axl_status status = AXL_OK;
    axl_gguf_kind item_kind = AXL_GGUF_U8;
    uint64_t n = 0;

    if (kind == AXL_GGUF_STRING) {
        AXL_TRY(take_int(c, 8, &n));
        AXL_REQUIRE(take(c, n) != NULL, AXL_E_INPUT,
                    "%s: %s: a string of %llu bytes does not fit in the file; it is truncated",
                    c->path, key, (unsigned long long)n);
    } else {
        AXL_REQUIRE(depth < MAX_DEPTH, AXL_E_INPUT, "%s: %s: arrays are nested too deeply", c->path,
                    key);
        AXL_TRY(take_kind(c, key, &item_kind));
        AXL_TRY(take_int(c, 8, &n));
        AXL_TRY(skip_items(c, key, item_kind, n, depth + 1));
    }
out:
    return status;
}

static axl_status skip_items(cursor *c, const char *key, axl_gguf_kind kind, uint64_t count,
                             int depth)
{
    axl_status status = AXL_OK;
    size_t size = kind_size(kind);

    if (size > 0) {
        AXL_REQUIRE(count <= (c->size - c->at) / size, AXL_E_INPUT,
                    "%s: %s: %llu items do not fit in the file; it is truncated", c->path, key,
                    (unsigned long long)count);
        c->at += (size_t)count * size;
        goto out;
    }
    for (uint64_t i = 0; i < count; i++) // each item takes at least 8 bytes, so this ends
        AXL_TRY(skip_item(c, key, kind, depth));
out:
    return status;
}

static axl_status read_value(cursor *c, axl_gguf_value *v)
{
    axl_status status = AXL_OK;

    AXL_TRY(take_name(c, &v->key));
    AXL_TRY(take_kind(c, v->key, &v->kind));
    v->item_kind = v->kind;
    v->count = 1;
    if (v->kind == AXL_GGUF_ARRAY) {
        AXL_TRY(take_kind(c, v->key, &v->item_kind));
        AXL_TRY(take_int(c, 8, &v->count));
    }
    v->data = c->data + c->at;
    AXL_TRY(skip_items(c, v->key, v->item_kind, v->count, 1));
    v->bytes = (size_t)(c->data + c->at - v->data);
out:
    return status;
}

// Reads one tensor's description; its data are found later.
static axl_status read_tensor(cursor *c, axl_gguf_tensor *t)
{
    axl_status status = AXL_OK;
    uint64_t n_dims = 0, type = 0, dim = 0;
    int64_t count = 1;

    AXL_TRY(take_name(c, &t->name));
    AXL_TRY(take_int(c, 4, &n_dims));
    AXL_REQUIRE(n_dims <= FILE_DIMS, AXL_E_INPUT,
                "%s: tensor %s: has %llu dimensions, at most %d "
                "are allowed",
                c->path, t->name, (unsigned long long)n_dims, FILE_DIMS);
    t->n_dims = (int)n_dims;
    for (int d = t->n_dims - 1; d >= 0; d--) { // the file has the fastest dimension first
        AXL_TRY(take_int(c, 8, &dim));
        t->dims[d] = dim <= INT64_MAX ? (int64_t)dim : -1;
        AXL_REQUIRE(t->dims[d] >= 0 && !__builtin_mul_overflow(count, t->dims[d], &count),
                    AXL_E_INPUT, "%s: tensor %s: its shape is too large", c->path, t->name);
    }
    AXL_TRY(take_int(c, 4, &type));
    AXL_TRY(take_int(c, 8, &t->offset));
    t->quant = axl_gguf_quant_of((uint32_t)type);
    AXL_REQUIRE(
        t->quant != NULL, AXL_E_UNSUPPORTED,
        "%s: tensor %s: is stored as ggml type %llu, which cannot be read; use a file of F32, "
        "F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K or Q6_K",
        c->path, t->name, (unsigned long long)type);
    t->cols = t->n_dims > 0 ? t->dims[t->n_dims - 1] : 1;
    t->rows = t->cols > 0 ? count / t->cols : 0;
    AXL_REQUIRE(axl_gguf_quant_bytes(t->quant, t->cols) >= 0, AXL_E_INPUT,
                "%s: tensor %s: rows of %lld elements are not whole blocks of %s", c->path, t->name,
                (long long)t->cols, axl_gguf_quant_name(t->quant));
    int64_t bytes = axl_gguf_quant_bytes(t->quant, count);
    AXL_REQUIRE(bytes >= 0, AXL_E_INPUT, "%s: tensor %s: its shape is too large", c->path, t->name);
    t->bytes = (size_t)bytes;
out:
    return status;
}

static axl_status read_values(axl_gguf *g, cursor *c, uint64_t n)
{
    axl_status status = AXL_OK;

    for (uint64_t i = 0; i < n; i++) {
        AXL_TRY(axl_grow(&g->values, &g->values_capacity, (size_t)i + 1, sizeof *g->values,
                         "GGUF metadata"));
        g->values[i] = (axl_gguf_value){0};
        g->n_values = (int64_t)i + 1; // a key that was read is freed with the file
        AXL_TRY(read_value(c, &g->values[i]));
    }
out:
    return status;
}

// Reads all descriptions, then puts the tensors into the data section behind them.
static axl_status read_tensors(axl_gguf *g, cursor *c, uint64_t n)
{
    axl_status status = AXL_OK;

    for (uint64_t i = 0; i < n; i++) {
        AXL_TRY(axl_grow(&g->tensors, &g->tensors_capacity, (size_t)i + 1, sizeof *g->tensors,
                         "GGUF tensors"));
        g->tensors[i] = (axl_gguf_tensor){0};
        g->n_tensors = (int64_t)i + 1;
        AXL_TRY(read_tensor(c, &g->tensors[i]));
    }
    // the index by name does not exist yet, so the key is looked for one by one
    uint64_t alignment = 32;
    for (int64_t i = 0; i < g->n_values; i++)
        if (strcmp(g->values[i].key, "general.alignment") == 0)
            alignment = (uint64_t)axl_gguf_int(&g->values[i], 0, 0);
    AXL_REQUIRE(alignment > 0 && alignment <= 1u << 30 && (alignment & (alignment - 1)) == 0,
                AXL_E_INPUT, "%s: general.alignment must be a power of two", c->path);
    uint64_t start = (c->at + alignment - 1) & ~(alignment - 1);
    for (int64_t i = 0; i < g->n_tensors; i++) {
        axl_gguf_tensor *t = &g->tensors[i];
        bool fits = start <= c->size && t->offset <= c->size - start &&
                    t->bytes <= c->size - start - t->offset;
        AXL_REQUIRE(fits, AXL_E_INPUT,
                    "%s: tensor %s: its %zu bytes at %llu do not fit in the file of %zu; it is "
                    "truncated, copy it again",
                    c->path, t->name, t->bytes, (unsigned long long)(start + t->offset), c->size);
        t->data = c->data + start + t->offset;
    }
out:
    return status;
}

static int compare_value(const void *a, const void *b, void *context)
{
    const axl_gguf_value *v = context;
    return strcmp(v[*(const int64_t *)a].key, v[*(const int64_t *)b].key);
}

static int compare_tensor(const void *a, const void *b, void *context)
{
    const axl_gguf_tensor *t = context;
    return strcmp(t[*(const int64_t *)a].name, t[*(const int64_t *)b].name);
}

// Sorts both lists by name and refuses a name that stands twice.
static axl_status index_names(axl_gguf *g)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_calloc((size_t)g->n_values, sizeof(int64_t), "GGUF names", &g->values_by_name));
    AXL_TRY(axl_calloc((size_t)g->n_tensors, sizeof(int64_t), "GGUF names", &g->tensors_by_name));
    for (int64_t i = 0; i < g->n_values; i++)
        g->values_by_name[i] = i;
    for (int64_t i = 0; i < g->n_tensors; i++)
        g->tensors_by_name[i] = i;
    if (g->n_values > 0)
        qsort_r(g->values_by_name, (size_t)g->n_values, sizeof(int64_t), compare_value, g->values);
    if (g->n_tensors > 0)
        qsort_r(g->tensors_by_name, (size_t)g->n_tensors, sizeof(int64_t), compare_tensor,
                g->tensors);
    for (int64_t i = 1; i < g->n_values; i++)
        AXL_REQUIRE(compare_value(&g->values_by_name[i - 1], &g->values_by_name[i], g->values) != 0,
                    AXL_E_INPUT, "%s: %s: stands twice in the metadata", g->path,
                    g->values[g->values_by_name[i]].key);
    for (int64_t i = 1; i < g->n_tensors; i++)
        AXL_REQUIRE(
            compare_tensor(&g->tensors_by_name[i - 1], &g->tensors_by_name[i], g->tensors) != 0,
            AXL_E_INPUT, "%s: tensor %s: stands twice", g->path,
            g->tensors[g->tensors_by_name[i]].name);
out:
    return status;
}

axl_status axl_gguf_open(const char *path, axl_gguf **out)
{
    axl_status status = AXL_OK;
    axl_gguf *g = NULL;
    uint64_t version = 0, n_tensors = 0, n_values = 0;

    AXL_TRY(axl_calloc(1, sizeof *g, "a GGUF file", &g));
    AXL_TRY(axl_strdup(path, &g->path));
    AXL_TRY(axl_file_map(path, &g->map));
    AXL_REQUIRE(g->map.size >= 4 && memcmp(g->map.data, "GGUF", 4) == 0, AXL_E_INPUT,
                "%s: is not a GGUF file", path);
    cursor c = {.path = path, .data = g->map.data, .size = g->map.size, .at = 4};
    AXL_TRY(take_int(&c, 4, &version));
    AXL_REQUIRE(version == 2 || version == 3, AXL_E_UNSUPPORTED,
                "%s: is GGUF version %llu (or big endian); versions 2 and 3 can be read", path,
                (unsigned long long)version);
    AXL_TRY(take_int(&c, 8, &n_tensors));
    AXL_TRY(take_int(&c, 8, &n_values));
    AXL_TRY(read_values(g, &c, n_values));
    AXL_TRY(read_tensors(g, &c, n_tensors));
    AXL_TRY(index_names(g));
    *out = g;
    g = NULL; // handed to the caller
out:
    axl_gguf_close(g);
    return status;
}

void axl_gguf_close(axl_gguf *g)
{
    if (g == NULL)
        return;
    for (int64_t i = 0; i < g->n_values; i++)
        free(g->values[i].key);
    for (int64_t i = 0; i < g->n_tensors; i++)
        free(g->tensors[i].name);
    free(g->values);
    free(g->tensors);
    free(g->values_by_name);
    free(g->tensors_by_name);
    axl_file_unmap(&g->map);
    free(g->path);
    free(g);
}

const char *axl_gguf_path(const axl_gguf *g)
{
    return g->path;
}

int64_t axl_gguf_n_values(const axl_gguf *g)
{
    return g->n_values;
}

int64_t axl_gguf_n_tensors(const axl_gguf *g)
{
    return g->n_tensors;
}

const axl_gguf_value *axl_gguf_value_at(const axl_gguf *g, int64_t i)
{
    AXL_ASSERT(i >= 0 && i < g->n_values);
    return &g->values[i];
}

const axl_gguf_tensor *axl_gguf_tensor_at(const axl_gguf *g, int64_t i)
{
    AXL_ASSERT(i >= 0 && i < g->n_tensors);
    return &g->tensors[i];
}

const axl_gguf_value *axl_gguf_find(const axl_gguf *g, const char *key)
{
    int64_t low = 0, high = g->n_values;

    while (low < high) {
        int64_t mid = low + (high - low) / 2;
        const axl_gguf_value *v = &g->values[g->values_by_name[mid]];
        int order = strcmp(key, v->key);
        if (order == 0)
            return v;
        if (order < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

const axl_gguf_tensor *axl_gguf_find_tensor(const axl_gguf *g, const char *name)
{
    int64_t low = 0, high = g->n_tensors;

    while (low < high) {
        int64_t mid = low + (high - low) / 2;
        const axl_gguf_tensor *t = &g->tensors[g->tensors_by_name[mid]];
        int order = strcmp(name, t->name);
        if (order == 0)
            return t;
        if (order < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

int64_t axl_gguf_int(const axl_gguf_value *v, uint64_t i, int64_t otherwise)
{
    if (v == NULL || i >= v->count)
        return otherwise;
    size_t size = kind_size(v->item_kind);
    uint64_t x = little(v->data + i * size, size);

    switch (v->item_kind) {
    case AXL_GGUF_I8:
        return (int8_t)x;
    case AXL_GGUF_I16:
        return (int16_t)x;
    case AXL_GGUF_I32:
        return (int32_t)x;
    case AXL_GGUF_I64:
    case AXL_GGUF_U8:
    case AXL_GGUF_U16:
    case AXL_GGUF_U32:
        return (int64_t)x;
    case AXL_GGUF_U64:
        return x <= INT64_MAX ? (int64_t)x : otherwise;
    default:
        return otherwise;
    }
}

double axl_gguf_real(const axl_gguf_value *v, uint64_t i, double otherwise)
{
    float f;
    double d;

    if (v == NULL || i >= v->count)
        return otherwise;
    switch (v->item_kind) {
    case AXL_GGUF_F32:
        memcpy(&f, v->data + i * sizeof f, sizeof f);
        return (double)f;
    case AXL_GGUF_F64:
        memcpy(&d, v->data + i * sizeof d, sizeof d);
        return d;
    case AXL_GGUF_BOOL:
    case AXL_GGUF_STRING:
    case AXL_GGUF_ARRAY:
        return otherwise;
    default: {
        int64_t x = axl_gguf_int(v, i, INT64_MIN);
        return x == INT64_MIN ? otherwise : (double)x;
    }
    }
}

bool axl_gguf_bool(const axl_gguf_value *v, bool otherwise)
{
    if (v == NULL || v->kind != AXL_GGUF_BOOL)
        return otherwise;
    return v->data[0] != 0;
}

bool axl_gguf_next_string(const axl_gguf_value *v, size_t *at, const char **text, size_t *n)
{
    if (v == NULL || v->item_kind != AXL_GGUF_STRING || *at >= v->bytes)
        return false;
    *n = (size_t)little(v->data + *at, 8);
    *text = (const char *)v->data + *at + 8;
    *at += 8 + *n;
    return true;
}
