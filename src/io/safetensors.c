// Reading safetensors. The hard part is to believe nothing: every number of the header is checked
// against the size of the file before it becomes a pointer.
#include "src/io/safetensors.h"

#include "src/base/mem.h"
#include "src/io/file.h"

#include <stdlib.h>
#include <string.h>

#define HEADER_MAX_BYTES 100000000u // the limit of the safetensors library

struct axl_safetensors {
    char *path;                // owned
    axl_mapping map;           // owned
    axl_json *header;          // owned; the names of the entries live in it
    axl_tensor_entry *entries; // [n], owned; by place in the file
    int64_t *by_name;          // [n], owned; indices into entries, sorted by name
    int64_t n;
};

int64_t axl_tensor_count(const axl_tensor_spec *spec)
{
    int64_t count = 1;

    for (int d = 0; d < spec->n_dims; d++)
        if (spec->dims[d] < 0 || __builtin_mul_overflow(count, spec->dims[d], &count))
            return -1;
    return count;
}

axl_status axl_tensor_put_dims(axl_str *out, const int64_t *dims, int n_dims)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_str_putc(out, '['));
    for (int d = 0; d < n_dims; d++)
        AXL_TRY(axl_str_printf(out, "%s%lld", d > 0 ? ", " : "", (long long)dims[d]));
    AXL_TRY(axl_str_putc(out, ']'));
out:
    return status;
}

// Fills dtype and shape of one header member.
static axl_status read_spec(const char *path, const char *name, const axl_json *v,
                            axl_tensor_spec *spec)
{
    axl_status status = AXL_OK;
    const axl_json *shape = axl_json_get(v, "shape");
    const char *dtype_name = axl_json_string(axl_json_get(v, "dtype"), NULL);

    AXL_REQUIRE(axl_json_is(v, AXL_JSON_OBJECT), AXL_E_INPUT,
                "%s: tensor %s: its entry in the header is %s, an object is needed", path, name,
                axl_json_kind_name(axl_json_type(v)));
    AXL_REQUIRE(dtype_name != NULL, AXL_E_INPUT, "%s: tensor %s: has no dtype", path, name);
    int dtype = axl_dtype_from_name(dtype_name);
    AXL_REQUIRE(dtype >= 0, AXL_E_INPUT,
                "%s: tensor %s: dtype %s is not known; convert the file to F32, BF16 or F16", path,
                name, dtype_name);
    AXL_REQUIRE(axl_json_is(shape, AXL_JSON_ARRAY), AXL_E_INPUT, "%s: tensor %s: has no shape",
                path, name);
    size_t n_dims = axl_json_count(shape);
    AXL_REQUIRE(n_dims <= AXL_MAX_DIMS, AXL_E_INPUT,
                "%s: tensor %s: has %zu dimensions, at most %d are supported", path, name, n_dims,
                AXL_MAX_DIMS);
    *spec = (axl_tensor_spec){.name = name, .dtype = (axl_dtype)dtype, .n_dims = (int)n_dims};
    for (size_t d = 0; d < n_dims; d++) {
        spec->dims[d] = axl_json_int(axl_json_at(shape, d), -1);
        AXL_REQUIRE(spec->dims[d] >= 0, AXL_E_INPUT,
                    "%s: tensor %s: dimension %zu of its shape is not a size", path, name, d);
    }
out:
    return status;
}

// Fills one entry; its byte range is checked against the data section of size data_bytes.
static axl_status read_entry(const char *path, const char *name, const axl_json *v,
                             const axl_mapping *data, axl_tensor_entry *entry)
{
    axl_status status = AXL_OK;
    const axl_json *offsets = axl_json_get(v, "data_offsets");
    int64_t bytes = 0; // what it stays when count is none

    AXL_TRY(read_spec(path, name, v, &entry->spec));
    AXL_REQUIRE(axl_json_is(offsets, AXL_JSON_ARRAY) && axl_json_count(offsets) == 2, AXL_E_INPUT,
                "%s: tensor %s: data_offsets must be two numbers", path, name);
    int64_t begin = axl_json_int(axl_json_at(offsets, 0), -1);
    int64_t end = axl_json_int(axl_json_at(offsets, 1), -1);
    AXL_REQUIRE(begin >= 0 && end >= begin, AXL_E_INPUT,
                "%s: tensor %s: data_offsets [%lld, %lld] are no range", path, name,
                (long long)begin, (long long)end);
    AXL_REQUIRE((uint64_t)end <= data->size, AXL_E_INPUT,
                "%s: tensor %s: ends at byte %lld of the data, the file has only %zu; it is "
                "truncated, copy it again",
                path, name, (long long)end, data->size);
    int64_t count = axl_tensor_count(&entry->spec);
    bool overflow = count < 0 || __builtin_mul_overflow(
                                     count, (int64_t)axl_dtype_size(entry->spec.dtype), &bytes);
    AXL_REQUIRE(!overflow, AXL_E_INPUT, "%s: tensor %s: its shape is too large", path, name);
    AXL_REQUIRE(bytes == end - begin, AXL_E_INPUT,
                "%s: tensor %s: its shape needs %lld bytes, data_offsets give it %lld", path, name,
                (long long)bytes, (long long)(end - begin));
    entry->data = data->data + begin;
    entry->bytes = (size_t)bytes;
out:
    return status;
}

static int compare_place(const void *a, const void *b)
{
    const axl_tensor_entry *x = a, *y = b;

    if (x->data != y->data)
        return x->data < y->data ? -1 : 1;
    if (x->bytes != y->bytes) // an empty tensor stands before the one that starts at its place
        return x->bytes < y->bytes ? -1 : 1;
    return strcmp(x->spec.name, y->spec.name);
}

static int compare_name(const void *a, const void *b, void *context)
{
    const axl_tensor_entry *entries = context;
    const int64_t *i = a, *j = b;
    return strcmp(entries[*i].spec.name, entries[*j].spec.name);
}

// The tensors, sorted by place, must fill the data section without overlap or gap.
static axl_status check_cover(const axl_safetensors *file, const axl_mapping *data)
{
    axl_status status = AXL_OK;
    const unsigned char *at = data->data;

    for (int64_t i = 0; i < file->n; i++) {
        const axl_tensor_entry *e = &file->entries[i];
        AXL_REQUIRE(e->data >= at, AXL_E_INPUT, "%s: tensor %s: overlaps tensor %s", file->path,
                    e->spec.name, i > 0 ? file->entries[i - 1].spec.name : "");
        AXL_REQUIRE(e->data == at, AXL_E_INPUT,
                    "%s: tensor %s: %td bytes before it belong to no tensor", file->path,
                    e->spec.name, e->data - at);
        at = e->data + e->bytes;
    }
    size_t rest = data->size - (size_t)(at - data->data);
    AXL_REQUIRE(rest == 0, AXL_E_INPUT, "%s: the last %zu bytes belong to no tensor", file->path,
                rest);
out:
    return status;
}

static axl_status read_header(axl_safetensors *file, axl_mapping *data)
{
    axl_status status = AXL_OK;
    const char *path = file->path;
    uint64_t length = 0;

    AXL_REQUIRE(file->map.size >= 8, AXL_E_INPUT,
                "%s: has %zu bytes, too few for a safetensors file; it is truncated, copy it again",
                path, file->map.size);
    for (int i = 7; i >= 0; i--)
        length = (length << 8) | file->map.data[i];
    AXL_REQUIRE(
        length <= file->map.size - 8, AXL_E_INPUT,
        "%s: its header is said to have %llu bytes, the file has %zu; it is truncated or no "
        "safetensors file",
        path, (unsigned long long)length, file->map.size);
    AXL_REQUIRE(length <= HEADER_MAX_BYTES, AXL_E_INPUT,
                "%s: its header has %llu bytes, at most %u are allowed", path,
                (unsigned long long)length, HEADER_MAX_BYTES);
    AXL_TRY_CTX(axl_json_parse_strict((const char *)file->map.data + 8, (size_t)length, "header",
                                      &file->header),
                "%s", path);
    AXL_REQUIRE(axl_json_is(file->header, AXL_JSON_OBJECT), AXL_E_INPUT,
                "%s: its header is %s, an object is needed", path,
                axl_json_kind_name(axl_json_type(file->header)));
    *data = (axl_mapping){.data = file->map.data + 8 + length, .size = file->map.size - 8 - length};
out:
    return status;
}

static axl_status read_entries(axl_safetensors *file, const axl_mapping *data)
{
    axl_status status = AXL_OK;
    void *it = NULL;
    const char *name;
    axl_json *v;
    size_t n = axl_json_count(file->header);

    AXL_TRY(axl_calloc(n, sizeof *file->entries, "tensor entries", &file->entries));
    AXL_TRY(axl_calloc(n, sizeof *file->by_name, "tensor entries", &file->by_name));
    const axl_json *metadata = axl_json_get(file->header, "__metadata__");
    AXL_REQUIRE(metadata == NULL || axl_json_is(metadata, AXL_JSON_OBJECT), AXL_E_INPUT,
                "%s: __metadata__ is %s, an object is needed", file->path,
                axl_json_kind_name(axl_json_type(metadata)));
    while (axl_json_next(file->header, &it, &name, &v)) {
        if (strcmp(name, "__metadata__") == 0)
            continue;
        AXL_TRY(read_entry(file->path, name, v, data, &file->entries[file->n]));
        file->n++;
    }
    if (file->n > 0)
        qsort(file->entries, (size_t)file->n, sizeof *file->entries, compare_place);
    AXL_TRY(check_cover(file, data));
    for (int64_t i = 0; i < file->n; i++)
        file->by_name[i] = i;
    if (file->n > 0)
        qsort_r(file->by_name, (size_t)file->n, sizeof *file->by_name, compare_name, file->entries);
out:
    return status;
}

axl_status axl_safetensors_open(const char *path, axl_safetensors **out)
{
    axl_status status = AXL_OK;
    axl_safetensors *file = NULL;
    axl_mapping data = {0};

    AXL_TRY(axl_calloc(1, sizeof *file, "a safetensors file", &file));
    AXL_TRY(axl_strdup(path, &file->path));
    AXL_TRY(axl_file_map(path, &file->map));
    AXL_TRY(read_header(file, &data));
    AXL_TRY(read_entries(file, &data));
    *out = file;
    file = NULL; // handed to the caller
out:
    axl_safetensors_close(file);
    return status;
}

void axl_safetensors_close(axl_safetensors *file)
{
    if (file == NULL)
        return;
    axl_json_free(file->header);
    axl_file_unmap(&file->map);
    free(file->entries);
    free(file->by_name);
    free(file->path);
    free(file);
}

const char *axl_safetensors_path(const axl_safetensors *file)
{
    return file->path;
}

int64_t axl_safetensors_count(const axl_safetensors *file)
{
    return file->n;
}

const axl_tensor_entry *axl_safetensors_at(const axl_safetensors *file, int64_t i)
{
    AXL_ASSERT(i >= 0 && i < file->n);
    return &file->entries[i];
}

const axl_tensor_entry *axl_safetensors_find(const axl_safetensors *file, const char *name)
{
    int64_t low = 0, high = file->n;

    while (low < high) {
        int64_t mid = low + (high - low) / 2;
        const axl_tensor_entry *e = &file->entries[file->by_name[mid]];
        int order = strcmp(name, e->spec.name);
        if (order == 0)
            return e;
        if (order < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

axl_json *axl_safetensors_metadata(const axl_safetensors *file)
{
    return axl_json_get(file->header, "__metadata__");
}

axl_status axl_safetensors_plan_copy(const axl_safetensors *source, axl_safetensors_plan *plan)
{
    axl_status status = AXL_OK;
    axl_safetensors_plan p = {.n = source->n, .total = source->map.size};
    size_t header_bytes = source->map.size;

    for (int64_t i = 0; i < source->n; i++)
        header_bytes -= source->entries[i].bytes; // the entries cover all behind the header
    AXL_TRY(axl_str_append(&p.header, source->map.data, header_bytes));
    AXL_TRY(axl_calloc((size_t)p.n, sizeof *p.offset, "a file plan", &p.offset));
    AXL_TRY(axl_calloc((size_t)p.n, sizeof *p.bytes, "a file plan", &p.bytes));
    for (int64_t i = 0; i < p.n; i++) {
        p.offset[i] = (size_t)(source->entries[i].data - source->map.data);
        p.bytes[i] = source->entries[i].bytes;
    }
    *plan = p;
    p = (axl_safetensors_plan){0}; // handed to the caller
out:
    axl_safetensors_plan_fini(&p);
    return status;
}
