// The kinds of things that `axl-dist inspect` opens: GGUF, safetensors, model directories, tokenizers;
// checkpoints have a file of their own.
#include "launch/inspect.h"

#include "src/base/mem.h"
#include "src/io/file.h"
#include "src/io/gguf.h"
#include "src/io/hfdir.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN_ITEMS 8  // of a metadata array
#define SHOWN_BYTES 64 // of a metadata string

static bool ends_with(const char *path, const char *suffix)
{
    size_t n = strlen(path), k = strlen(suffix);
    return n >= k && strcmp(path + n - k, suffix) == 0;
}

static bool holds(const char *dir, const char *name)
{
    axl_str path = {0};
    bool there = axl_str_printf(&path, "%s/%s", dir, name) == AXL_OK && axl_path_exists(path.data);

    axl_str_fini(&path);
    return there;
}

// A float of 8 bits: sign, exponent of e bits, mantissa of m bits.
static double small_float(unsigned char x, int e, int m, bool has_infinity)
{
    int exponent = (x >> m) & ((1 << e) - 1), mantissa = x & ((1 << m) - 1);
    int bias = (1 << (e - 1)) - 1, top = (1 << e) - 1;
    double v;

    if (has_infinity && exponent == top)
        v = mantissa == 0 ? (double)INFINITY : (double)NAN;
    else if (!has_infinity && exponent == top && mantissa == (1 << m) - 1)
        v = (double)NAN;
    else if (exponent == 0)
        v = ldexp(mantissa, 1 - bias - m);
    else
        v = ldexp(mantissa + (1 << m), exponent - bias - m);
    return x & 0x80 ? -v : v;
}

double axl_inspect_element(const unsigned char *data, axl_dtype dtype, int64_t i)
{
    const unsigned char *p = data + (size_t)i * axl_dtype_size(dtype);
    float f = 0.0f;
    double d = 0.0;
    uint64_t bits = 0;

    memcpy(&bits, p, axl_dtype_size(dtype)); // little endian, as the file
    switch (dtype) {
    case AXL_F64:
        memcpy(&d, p, sizeof d);
        return d;
    case AXL_I64:
        return (double)(int64_t)bits;
    case AXL_I32:
        return (int32_t)bits;
    case AXL_I16:
        return (int16_t)bits;
    case AXL_I8:
        return (int8_t)bits;
    case AXL_U8:
    case AXL_BOOL:
        return (double)bits;
    case AXL_F8_E4M3:
        return small_float(*p, 4, 3, false);
    case AXL_F8_E5M2:
        return small_float(*p, 5, 2, true);
    case AXL_F16:
        return (double)axl_f16_to_f32((uint16_t)bits);
    case AXL_BF16:
        return (double)axl_bf16_to_f32((axl_bf16)bits);
    default:
        memcpy(&f, p, sizeof f);
        return (double)f;
    }
}

static void describe(const axl_tensor_entry *e, axl_inspected_tensor *out)
{
    *out = (axl_inspected_tensor){.name = e->spec.name,
                                  .dtype = axl_dtype_name(e->spec.dtype),
                                  .n_dims = e->spec.n_dims,
                                  .bytes = e->bytes};
    memcpy(out->dims, e->spec.dims, sizeof out->dims);
    int64_t count = axl_tensor_count(&e->spec);
    out->cols = out->n_dims > 0 ? out->dims[out->n_dims - 1] : 1;
    out->rows = out->cols > 0 ? count / out->cols : 0;
}

static void read_entry(const axl_tensor_entry *e, int64_t first, int64_t n, double *dst)
{
    for (int64_t i = 0; i < n; i++)
        dst[i] = axl_inspect_element(e->data, e->spec.dtype, first + i);
}

// --- safetensors

static bool safetensors_is(const char *path)
{
    return ends_with(path, ".safetensors") && !axl_path_is_dir(path);
}

static axl_status safetensors_open(const char *path, axl_inspected *out)
{
    axl_status status = AXL_OK;
    axl_safetensors *file = NULL;
    void *it = NULL;
    const char *key;
    axl_json *v;

    AXL_TRY(axl_safetensors_open(path, &file));
    out->handle = file;
    AXL_TRY(axl_calloc((size_t)axl_safetensors_count(file), sizeof *out->tensors, "tensors",
                       &out->tensors));
    for (; out->n < axl_safetensors_count(file); out->n++)
        describe(axl_safetensors_at(file, out->n), &out->tensors[out->n]);
    while (axl_json_next(axl_safetensors_metadata(file), &it, &key, &v))
        AXL_TRY(axl_str_printf(&out->about, "%s: %s\n", key, axl_json_string(v, "?")));
out:
    return status;
}

static axl_status safetensors_read(const axl_inspected *x, const axl_inspected_tensor *t,
                                   int64_t row0, int64_t n_rows, double *dst)
{
    read_entry(axl_safetensors_find(x->handle, t->name), row0 * t->cols, n_rows * t->cols, dst);
    return AXL_OK;
}

static void safetensors_close(void *handle)
{
    axl_safetensors_close(handle);
}

static const axl_inspect_kind safetensors_kind = {
    "safetensors file", safetensors_is, safetensors_open, safetensors_read, safetensors_close};

// --- GGUF

static bool gguf_is(const char *path)
{
    return ends_with(path, ".gguf") && !axl_path_is_dir(path);
}

// The first items of a metadata value.
static axl_status put_gguf_value(const axl_gguf_value *v, axl_str *out)
{
    axl_status status = AXL_OK;
    const char *text;
    size_t at = 0, n;

    for (uint64_t i = 0; i < v->count && i < SHOWN_ITEMS; i++) {
        AXL_TRY(axl_str_puts(out, i > 0 ? ", " : ""));
        if (axl_gguf_next_string(v, &at, &text, &n)) {
            AXL_TRY(axl_str_put_json(out, text, n < SHOWN_BYTES ? n : SHOWN_BYTES));
            AXL_TRY(axl_str_puts(out, n > SHOWN_BYTES ? "..." : ""));
        } else if (v->item_kind == AXL_GGUF_BOOL) {
            AXL_TRY(axl_str_puts(out, v->data[i] != 0 ? "true" : "false"));
        } else if (v->item_kind == AXL_GGUF_ARRAY) {
            AXL_TRY(axl_str_puts(out, "array"));
        } else {
            AXL_TRY(axl_str_printf(out, "%.9g", axl_gguf_real(v, i, 0.0)));
        }
    }
    if (v->count > SHOWN_ITEMS)
        AXL_TRY(axl_str_printf(out, ", ... (%llu)", (unsigned long long)v->count));
out:
    return status;
}

static axl_status gguf_open(const char *path, axl_inspected *out)
{
    axl_status status = AXL_OK;
    axl_gguf *g = NULL;

    AXL_TRY(axl_gguf_open(path, &g));
    out->handle = g;
    AXL_TRY(
        axl_calloc((size_t)axl_gguf_n_tensors(g), sizeof *out->tensors, "tensors", &out->tensors));
    for (; out->n < axl_gguf_n_tensors(g); out->n++) {
        const axl_gguf_tensor *t = axl_gguf_tensor_at(g, out->n);
        axl_inspected_tensor *to = &out->tensors[out->n];
        *to = (axl_inspected_tensor){.name = t->name,
                                     .dtype = axl_gguf_quant_name(t->quant),
                                     .n_dims = t->n_dims,
                                     .rows = t->rows,
                                     .cols = t->cols,
                                     .bytes = t->bytes};
        memcpy(to->dims, t->dims, sizeof to->dims);
    }
    for (int64_t i = 0; i < axl_gguf_n_values(g); i++) {
        const axl_gguf_value *v = axl_gguf_value_at(g, i);
        AXL_TRY(axl_str_printf(&out->about, "%s: ", v->key));
        AXL_TRY(put_gguf_value(v, &out->about));
        AXL_TRY(axl_str_putc(&out->about, '\n'));
    }
out:
    return status;
}

static axl_status gguf_read(const axl_inspected *x, const axl_inspected_tensor *t, int64_t row0,
                            int64_t n_rows, double *dst)
{
    axl_status status = AXL_OK;
    float *rows = NULL;

    AXL_TRY(axl_calloc((size_t)(n_rows * t->cols), sizeof *rows, "rows", &rows));
    axl_gguf_read_rows(axl_gguf_find_tensor(x->handle, t->name), row0, n_rows, rows);
    for (int64_t i = 0; i < n_rows * t->cols; i++)
        dst[i] = (double)rows[i];
out:
    free(rows);
    return status;
}

static void gguf_close(void *handle)
{
    axl_gguf_close(handle);
}

static const axl_inspect_kind gguf_kind = {"GGUF file", gguf_is, gguf_open, gguf_read, gguf_close};

// --- tokenizers; also a part of what is said about a model directory

static axl_status put_tokenizer(const char *path, axl_str *out)
{
    axl_status status = AXL_OK;
    axl_json *v = NULL;

    AXL_TRY(axl_json_read(path, &v));
    const axl_json *model = axl_json_get(v, "model");
    AXL_TRY(axl_str_printf(out, "tokenizer: %s, %zu tokens, %zu merges, %zu added tokens\n",
                           axl_json_string(axl_json_get(model, "type"), "?"),
                           axl_json_count(axl_json_get(model, "vocab")),
                           axl_json_count(axl_json_get(model, "merges")),
                           axl_json_count(axl_json_get(v, "added_tokens"))));
out:
    axl_json_free(v);
    return status;
}

static bool tokenizer_is(const char *path)
{
    return ends_with(path, "tokenizer.json") ||
           (axl_path_is_dir(path) && holds(path, "tokenizer.json"));
}

static axl_status tokenizer_open(const char *path, axl_inspected *out)
{
    axl_status status = AXL_OK;
    axl_str file = {0};

    AXL_TRY(axl_str_printf(&file, axl_path_is_dir(path) ? "%s/tokenizer.json" : "%s", path));
    AXL_TRY(put_tokenizer(file.data, &out->about));
out:
    axl_str_fini(&file);
    return status;
}

static void tokenizer_close(void *handle)
{
    (void)handle;
}

static const axl_inspect_kind tokenizer_kind = {"tokenizer", tokenizer_is, tokenizer_open, NULL,
                                                tokenizer_close};

// --- model directories

static bool hfdir_is(const char *path)
{
    return axl_path_is_dir(path) && holds(path, "config.json");
}

static axl_status put_config(const axl_hfdir *d, axl_str *out)
{
    axl_status status = AXL_OK;
    static const char *const keys[] = {
        "model_type",
        "num_hidden_layers",
        "hidden_size",
        "intermediate_size",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "vocab_size",
        "tie_word_embeddings",
        "rope_theta",
        "rope_parameters",
        "rope_scaling",
        "max_position_embeddings",
        "dtype",
        "torch_dtype",
    };

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const axl_json *v = axl_json_get(axl_hfdir_config(d), keys[i]);
        if (v == NULL)
            continue;
        AXL_TRY(axl_str_printf(out, "%s: ", keys[i]));
        AXL_TRY(axl_json_dump(v, 0, out));
        AXL_TRY(axl_str_putc(out, '\n'));
    }
    AXL_TRY(axl_str_printf(out, "weight files: %lld\n", (long long)axl_hfdir_n_files(d)));
out:
    return status;
}

static axl_status hfdir_open(const char *path, axl_inspected *out)
{
    axl_status status = AXL_OK;
    axl_hfdir *d = NULL;
    axl_str tokenizer = {0};

    AXL_TRY(axl_hfdir_open(path, &d));
    out->handle = d;
    AXL_TRY(axl_calloc((size_t)axl_hfdir_count(d), sizeof *out->tensors, "tensors", &out->tensors));
    for (; out->n < axl_hfdir_count(d); out->n++)
        describe(axl_hfdir_at(d, out->n), &out->tensors[out->n]);
    AXL_TRY(put_config(d, &out->about));
    AXL_TRY(axl_str_printf(&tokenizer, "%s/tokenizer.json", path));
    if (axl_path_exists(tokenizer.data))
        AXL_TRY(put_tokenizer(tokenizer.data, &out->about));
out:
    axl_str_fini(&tokenizer);
    return status;
}

static axl_status hfdir_read(const axl_inspected *x, const axl_inspected_tensor *t, int64_t row0,
                             int64_t n_rows, double *dst)
{
    read_entry(axl_hfdir_find(x->handle, t->name), row0 * t->cols, n_rows * t->cols, dst);
    return AXL_OK;
}

static void hfdir_close(void *handle)
{
    axl_hfdir_close(handle);
}

static const axl_inspect_kind hfdir_kind = {"model directory", hfdir_is, hfdir_open, hfdir_read,
                                            hfdir_close};

const axl_inspect_kind *const axl_inspect_kinds[] = {
    &safetensors_kind, &gguf_kind, &axl_inspect_checkpoint, &hfdir_kind, &tokenizer_kind};
const int axl_n_inspect_kinds = sizeof axl_inspect_kinds / sizeof(void *);

static int compare_name(const void *a, const void *b)
{
    const axl_inspected_tensor *x = a, *y = b;
    return strcmp(x->name, y->name);
}

axl_status axl_inspected_open(const char *path, axl_inspected *out)
{
    axl_status status = AXL_OK;
    axl_inspected x = {0};

    AXL_REQUIRE(axl_path_exists(path), AXL_E_INPUT, "%s: there is no such file or directory", path);
    for (int i = 0; i < axl_n_inspect_kinds && x.kind == NULL; i++)
        if (axl_inspect_kinds[i]->is(path))
            x.kind = axl_inspect_kinds[i];
    AXL_REQUIRE(x.kind != NULL, AXL_E_INPUT,
                "%s: is none of what can be inspected: a .safetensors or .gguf file, a model "
                "directory, a checkpoint, a tokenizer",
                path);
    AXL_TRY(x.kind->open(path, &x));
    if (x.n > 0)
        qsort(x.tensors, (size_t)x.n, sizeof *x.tensors, compare_name);
    *out = x;
    x = (axl_inspected){0}; // handed to the caller
out:
    axl_inspected_close(&x);
    return status;
}

void axl_inspected_close(axl_inspected *x)
{
    if (x->kind != NULL)
        x->kind->close(x->handle);
    free(x->tensors);
    axl_str_fini(&x->about);
    *x = (axl_inspected){0};
}

const axl_inspected_tensor *axl_inspected_find(const axl_inspected *x, const char *name)
{
    axl_inspected_tensor probe = {.name = name};

    if (x->n == 0)
        return NULL;
    return bsearch(&probe, x->tensors, (size_t)x->n, sizeof probe, compare_name);
}
