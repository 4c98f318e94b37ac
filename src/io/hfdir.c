// Reading a model directory. The hard part is the index of shards: it, the files and their headers say
// the same thing three times, and each may disagree with the others.
#include "src/io/hfdir.h"

#include "src/base/mem.h"
#include "src/io/file.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#define CONVERT_ELEMENTS 2048 // staged in the cache while a row is converted

typedef struct tensor_ref {
    const axl_tensor_entry *entry; // borrowed from its file
    int64_t file;
} tensor_ref;

struct axl_hfdir {
    char *path;              // owned
    axl_json *config;        // owned
    axl_safetensors **files; // [n_files], owned
    char **names;            // [n_files], owned strings
    int64_t n_files;
    size_t files_capacity, names_capacity;
    tensor_ref *tensors; // [n], owned; sorted by key
    int64_t n;
};

static bool has_suffix(const char *name, const char *suffix)
{
    size_t n = strlen(name), k = strlen(suffix);
    return n >= k && strcmp(name + n - k, suffix) == 0;
}

// The reason why a directory has no weights that can be read.
static axl_status refuse_without_weights(const char *path)
{
    axl_status status = AXL_OK;
    struct dirent *entry;
    bool gguf = false;
    char pickle[256] = "";
    DIR *dir = opendir(path);

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        const char *name = entry->d_name;
        if (has_suffix(name, ".bin") || has_suffix(name, ".pt") || has_suffix(name, ".pth") ||
            has_suffix(name, ".ckpt"))
            memcpy(pickle, name, strlen(name) + 1);
        gguf = gguf || has_suffix(name, ".gguf");
    }
    AXL_REQUIRE(pickle[0] == '\0', AXL_E_INPUT,
                "%s: its weights are pickle (%s), which can run any code when it is loaded and is "
                "never read here; save the model as safetensors",
                path, pickle);
    AXL_REQUIRE(!gguf, AXL_E_INPUT,
                "%s: holds no model.safetensors; to use its GGUF file, name that file itself",
                path);
    AXL_FAIL(AXL_E_INPUT, "%s: holds neither model.safetensors nor model.safetensors.index.json",
             path);
out:
    if (dir != NULL)
        (void)closedir(dir);
    return status;
}

static axl_status add_file(axl_hfdir *d, const char *name)
{
    axl_status status = AXL_OK;
    axl_str path = {0};
    axl_safetensors *file = NULL;
    char *copy = NULL;

    AXL_TRY(axl_str_printf(&path, "%s/%s", d->path, name));
    AXL_TRY(axl_safetensors_open(path.data, &file));
    AXL_TRY(axl_strdup(name, &copy));
    AXL_TRY(axl_grow(&d->files, &d->files_capacity, (size_t)d->n_files + 1, sizeof(void *), name));
    AXL_TRY(axl_grow(&d->names, &d->names_capacity, (size_t)d->n_files + 1, sizeof(void *), name));
    d->files[d->n_files] = file;
    d->names[d->n_files++] = copy;
    file = NULL; // both belong to d now
    copy = NULL;
out:
    free(copy);
    axl_safetensors_close(file);
    axl_str_fini(&path);
    return status;
}

static int compare_ref(const void *a, const void *b)
{
    return strcmp(((const tensor_ref *)a)->entry->spec.name,
                  ((const tensor_ref *)b)->entry->spec.name);
}

// Sorts the tensors of all files by key; a key may be in one file only.
static axl_status collect_tensors(axl_hfdir *d)
{
    axl_status status = AXL_OK;
    int64_t total = 0;

    for (int64_t k = 0; k < d->n_files; k++)
        total += axl_safetensors_count(d->files[k]);
    AXL_TRY(axl_calloc((size_t)total, sizeof *d->tensors, "a tensor list", &d->tensors));
    for (int64_t k = 0; k < d->n_files; k++)
        for (int64_t i = 0; i < axl_safetensors_count(d->files[k]); i++)
            d->tensors[d->n++] =
                (tensor_ref){.entry = axl_safetensors_at(d->files[k], i), .file = k};
    if (d->n > 0)
        qsort(d->tensors, (size_t)d->n, sizeof *d->tensors, compare_ref);
    for (int64_t i = 1; i < d->n; i++)
        AXL_REQUIRE(compare_ref(&d->tensors[i - 1], &d->tensors[i]) != 0, AXL_E_INPUT,
                    "%s: tensor %s is in %s and in %s", d->path, d->tensors[i].entry->spec.name,
                    d->names[d->tensors[i - 1].file], d->names[d->tensors[i].file]);
out:
    return status;
}

static tensor_ref *find_ref(const axl_hfdir *d, const char *key)
{
    axl_tensor_entry entry = {.spec.name = key};
    tensor_ref probe = {.entry = &entry};

    if (d->n == 0)
        return NULL;
    return bsearch(&probe, d->tensors, (size_t)d->n, sizeof probe, compare_ref);
}

static int64_t find_file(const axl_hfdir *d, const char *name)
{
    for (int64_t k = d->n_files - 1; k >= 0; k--) // the index names one file many times in a row
        if (strcmp(d->names[k], name) == 0)
            return k;
    return -1;
}

// Opens every file that the index names, in the order of their first mention.
static axl_status open_shards(axl_hfdir *d, const char *index_path, axl_json *map)
{
    axl_status status = AXL_OK;
    void *it = NULL;
    const char *key;
    axl_json *v;

    AXL_REQUIRE(axl_json_is(map, AXL_JSON_OBJECT), AXL_E_INPUT,
                "%s: weight_map is %s, an object is "
                "needed",
                index_path, axl_json_kind_name(axl_json_type(map)));
    while (axl_json_next(map, &it, &key, &v)) {
        const char *name = axl_json_string(v, NULL);
        AXL_REQUIRE(name != NULL && strchr(name, '/') == NULL && has_suffix(name, ".safetensors"),
                    AXL_E_INPUT,
                    "%s: the file of tensor %s must be a *.safetensors beside the index",
                    index_path, key);
        if (find_file(d, name) < 0)
            AXL_TRY_CTX(add_file(d, name), "%s: tensor %s", index_path, key);
    }
out:
    return status;
}

// Every tensor of the index must be in the file that the index names.
static axl_status check_index(const axl_hfdir *d, const char *index_path, axl_json *map)
{
    axl_status status = AXL_OK;
    void *it = NULL;
    const char *key;
    axl_json *v;

    while (axl_json_next(map, &it, &key, &v)) {
        const char *name = axl_json_string(v, "");
        const tensor_ref *ref = find_ref(d, key);
        AXL_REQUIRE(ref != NULL && strcmp(d->names[ref->file], name) == 0, AXL_E_INPUT,
                    "%s: tensor %s is said to be in %s, it is in %s", index_path, key, name,
                    ref == NULL ? "no file" : d->names[ref->file]);
    }
out:
    return status;
}

static axl_status open_weights(axl_hfdir *d)
{
    axl_status status = AXL_OK;
    axl_str single = {0}, index_path = {0};
    axl_json *index = NULL;

    AXL_TRY(axl_str_printf(&single, "%s/model.safetensors", d->path));
    AXL_TRY(axl_str_printf(&index_path, "%s/model.safetensors.index.json", d->path));
    if (axl_path_exists(single.data)) { // transformers too prefers it to an index
        AXL_TRY(add_file(d, "model.safetensors"));
        AXL_TRY(collect_tensors(d));
        goto out;
    }
    if (!axl_path_exists(index_path.data))
        AXL_TRY(refuse_without_weights(d->path));
    AXL_TRY(axl_json_read(index_path.data, &index));
    axl_json *map = axl_json_get(index, "weight_map");
    AXL_TRY(open_shards(d, index_path.data, map));
    AXL_TRY(collect_tensors(d));
    AXL_TRY(check_index(d, index_path.data, map));
out:
    axl_str_fini(&single);
    axl_str_fini(&index_path);
    axl_json_free(index);
    return status;
}

axl_status axl_hfdir_open(const char *dir, axl_hfdir **out)
{
    axl_status status = AXL_OK;
    axl_hfdir *d = NULL;
    axl_str config = {0};

    AXL_TRY(axl_calloc(1, sizeof *d, "a model directory", &d));
    AXL_TRY(axl_strdup(dir, &d->path));
    AXL_REQUIRE(axl_path_exists(dir), AXL_E_INPUT,
                "%s: there is no such model directory; nothing is downloaded, so put the model's "
                "files there",
                dir);
    AXL_REQUIRE(axl_path_is_dir(dir), AXL_E_INPUT,
                "%s: is a file; a model directory with config.json and safetensors is needed", dir);
    AXL_TRY(axl_str_printf(&config, "%s/config.json", dir));
    AXL_TRY(axl_json_read(config.data, &d->config));
    AXL_REQUIRE(axl_json_is(d->config, AXL_JSON_OBJECT), AXL_E_INPUT,
                "%s: is %s, an object is needed", config.data,
                axl_json_kind_name(axl_json_type(d->config)));
    AXL_TRY(open_weights(d));
    *out = d;
    d = NULL; // handed to the caller
out:
    axl_str_fini(&config);
    axl_hfdir_close(d);
    return status;
}

void axl_hfdir_close(axl_hfdir *d)
{
    if (d == NULL)
        return;
    for (int64_t k = 0; k < d->n_files; k++) {
        axl_safetensors_close(d->files[k]);
        free(d->names[k]);
    }
    free(d->files);
    free(d->names);
    free(d->tensors);
    axl_json_free(d->config);
    free(d->path);
    free(d);
}

const char *axl_hfdir_path(const axl_hfdir *d)
{
    return d->path;
}

axl_json *axl_hfdir_config(const axl_hfdir *d)
{
    return d->config;
}

int64_t axl_hfdir_count(const axl_hfdir *d)
{
    return d->n;
}

const axl_tensor_entry *axl_hfdir_at(const axl_hfdir *d, int64_t i)
{
    AXL_ASSERT(i >= 0 && i < d->n);
    return d->tensors[i].entry;
}

const axl_tensor_entry *axl_hfdir_find(const axl_hfdir *d, const char *key)
{
    const tensor_ref *ref = find_ref(d, key);
    return ref == NULL ? NULL : ref->entry;
}

int64_t axl_hfdir_n_files(const axl_hfdir *d)
{
    return d->n_files;
}

const axl_safetensors *axl_hfdir_file(const axl_hfdir *d, int64_t k)
{
    AXL_ASSERT(k >= 0 && k < d->n_files);
    return d->files[k];
}

const char *axl_hfdir_file_name(const axl_hfdir *d, int64_t k)
{
    AXL_ASSERT(k >= 0 && k < d->n_files);
    return d->names[k];
}

// Finds the tensor that `want` describes and checks its shape.
static axl_status find_checked(const axl_hfdir *d, const axl_tensor_spec *want,
                               const axl_tensor_entry **out)
{
    axl_status status = AXL_OK;
    axl_str have = {0}, need = {0};
    const tensor_ref *ref = find_ref(d, want->name);

    AXL_REQUIRE(ref != NULL, AXL_E_INPUT,
                "%s: tensor %s is missing from the safetensors files; config.json asks for it",
                d->path, want->name);
    const axl_tensor_spec *spec = &ref->entry->spec;
    if (spec->n_dims != want->n_dims ||
        memcmp(spec->dims, want->dims, (size_t)want->n_dims * sizeof *want->dims) != 0) {
        AXL_TRY(axl_tensor_put_dims(&have, spec->dims, spec->n_dims));
        AXL_TRY(axl_tensor_put_dims(&need, want->dims, want->n_dims));
        AXL_FAIL(AXL_E_INPUT, "%s: %s is %s, config.json says %s",
                 axl_safetensors_path(d->files[ref->file]), want->name, have.data, need.data);
    }
    *out = ref->entry;
out:
    axl_str_fini(&have);
    axl_str_fini(&need);
    return status;
}

// Converts n elements; src may lie at any address (old files do not align their data).
static int convert(const unsigned char *src, axl_dtype src_dtype, char *dst, axl_dtype dst_dtype,
                   size_t n)
{
    double staged[CONVERT_ELEMENTS]; // the widest dtype, so aligned for all
    float wide[CONVERT_ELEMENTS];
    size_t src_size = axl_dtype_size(src_dtype), dst_size = axl_dtype_size(dst_dtype);
    bool aligned = (uintptr_t)src % src_size == 0;

    for (size_t i = 0; i < n; i += CONVERT_ELEMENTS) {
        size_t k = n - i < CONVERT_ELEMENTS ? n - i : CONVERT_ELEMENTS;
        const void *from = src + i * src_size;
        if (!aligned)
            from = memcpy(staged, from, k * src_size);
        if (src_dtype != AXL_F32) {
            if (axl_convert_to_f32(from, src_dtype, wide, k) != 0)
                return -1;
            from = wide;
        }
        if (axl_convert_from_f32(from, dst + i * dst_size, dst_dtype, k) != 0)
            return -1;
    }
    return 0;
}

axl_status axl_hfdir_read_block(const axl_hfdir *d, const axl_tensor_spec *want, const axl_block *b,
                                void *dst)
{
    axl_status status = AXL_OK;
    const axl_tensor_entry *e = NULL;

    AXL_TRY(find_checked(d, want, &e));
    AXL_ASSERT(e != NULL);
    int64_t rows = want->n_dims > 0 ? want->dims[0] : 1;
    int64_t cols = rows > 0 ? axl_tensor_count(&e->spec) / rows : 0;
    axl_block block = axl_block_in(b, cols);
    AXL_ASSERT(axl_block_fits(&block, rows, cols));
    size_t src_size = axl_dtype_size(e->spec.dtype), dst_size = axl_dtype_size(want->dtype);
    const unsigned char *src = e->data + (size_t)(block.row0 * cols + block.col0) * src_size;
    char *to = dst;
    if (axl_block_is_dense(&block, cols)) // all rows are one long one
        block = (axl_block){.n_rows = block.n_rows > 0, .n_cols = block.n_rows * cols};
    for (int64_t row = 0; row < block.n_rows; row++) {
        if (e->spec.dtype == want->dtype)
            memcpy(to, src, (size_t)block.n_cols * dst_size);
        else
            AXL_REQUIRE(
                convert(src, e->spec.dtype, to, want->dtype, (size_t)block.n_cols) == 0,
                AXL_E_INPUT,
                "%s: tensor %s is %s and cannot be read as %s; save the model in F32 or BF16",
                d->path, want->name, axl_dtype_name(e->spec.dtype), axl_dtype_name(want->dtype));
        src += (size_t)cols * src_size;
        to += (size_t)block.ld * dst_size;
    }
out:
    return status;
}
