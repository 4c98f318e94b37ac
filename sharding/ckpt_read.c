// Loading: the manifest says which rows lie in which shard; ranges are intersected, so any number of
// ranks reads what any other number wrote. The hard part is trust: every number of the manifest is
// checked when it is opened, every chunk's checksum and every whole part's hash when it is read, and a
// message names file and data set.
#include "sharding/ckpt_impl.h"

#include "sharding/h5.h"
#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/io/file.h"
#include "src/io/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct tensor {
    axl_ckpt_entry entry; // group and name point into the manifest
    int64_t row;          // elements of one row
    axl_ckpt_part *parts; // [n_parts], owned, in the order of rows
    int n_parts;
} tensor;

typedef struct shard {
    const char *name; // in the manifest
    int64_t bytes;
    hid_t file; // -1 until something is read
} shard;

struct axl_ckpt {
    char *path;         // owned
    axl_str index;      // path of index.h5
    axl_str meta;       // JSON text
    axl_json *manifest; // owned; names are borrowed from it
    int64_t step;
    shard *shards; // [world], owned
    int world;
    tensor *tensors;        // [n], owned
    const tensor **by_name; // [n], owned; sorted by group and name
    int64_t n;
};

const char *axl_ckpt_path(const axl_ckpt *k)
{
    return k->path;
}

int64_t axl_ckpt_step(const axl_ckpt *k)
{
    return k->step;
}

int axl_ckpt_world(const axl_ckpt *k)
{
    return k->world;
}

const char *axl_ckpt_meta(const axl_ckpt *k)
{
    return k->meta.data;
}

int64_t axl_ckpt_count(const axl_ckpt *k)
{
    return k->n;
}

int64_t axl_ckpt_stored_bytes(const axl_ckpt *k)
{
    int64_t n = 0;
    for (int r = 0; r < k->world; r++)
        n += k->shards[r].bytes;
    return n;
}

const axl_ckpt_entry *axl_ckpt_at(const axl_ckpt *k, int64_t i)
{
    return i >= 0 && i < k->n ? &k->tensors[i].entry : NULL;
}

// ---- the manifest

static axl_status read_shards(axl_ckpt *k)
{
    axl_status status = AXL_OK;
    const axl_json *list = axl_json_get(k->manifest, "shards");
    const int64_t world = axl_json_int(axl_json_get(k->manifest, "world"), -1);
    axl_str path = {0};

    AXL_REQUIRE(world > 0 && world < INT32_MAX && axl_json_count(list) == (size_t)world,
                AXL_E_INPUT, "%s: the manifest does not list its shards", k->index.data);
    AXL_TRY(axl_calloc((size_t)world, sizeof *k->shards, "a manifest", &k->shards));
    k->world = (int)world;
    for (int r = 0; r < k->world; r++)
        k->shards[r].file = -1;
    for (int r = 0; r < k->world; r++) {
        const axl_json *entry = axl_json_at(list, (size_t)r);
        struct stat info;
        shard *s = &k->shards[r];
        s->name = axl_json_string(axl_json_get(entry, "file"), "");
        s->bytes = axl_json_int(axl_json_get(entry, "bytes"), -1);
        AXL_REQUIRE(s->name[0] != '\0' && strchr(s->name, '/') == NULL && s->bytes >= 0,
                    AXL_E_INPUT, "%s: shard %d of the manifest has no file", k->index.data, r);
        axl_str_clear(&path);
        AXL_TRY(axl_str_printf(&path, "%s/%s", k->path, s->name));
        AXL_REQUIRE(stat(path.data, &info) == 0, AXL_E_INPUT,
                    "%s: a shard of the checkpoint is missing: %s", path.data, strerror(errno));
        AXL_REQUIRE(info.st_size == s->bytes, AXL_E_INPUT,
                    "%s: has %lld bytes, the index says %lld: the copy is not complete", path.data,
                    (long long)info.st_size, (long long)s->bytes);
    }

out:
    axl_str_fini(&path);
    return status;
}

static axl_status read_dims(const axl_ckpt *k, const axl_json *from, tensor *t)
{
    axl_status status = AXL_OK;
    const axl_json *dims = axl_json_get(from, "dims");
    const int dtype = axl_dtype_from_name(axl_json_string(axl_json_get(from, "dtype"), ""));
    const size_t n_dims = axl_json_count(dims);
    int64_t count = 0;

    AXL_REQUIRE(dtype >= 0 && n_dims >= 1 && n_dims <= AXL_CKPT_MAX_DIMS, AXL_E_INPUT,
                "%s: %s/%s has no known dtype or shape", k->index.data, t->entry.group,
                t->entry.name);
    t->entry.dtype = (axl_dtype)dtype;
    t->entry.n_dims = (int)n_dims;
    t->row = 1;
    for (size_t d = 0; d < n_dims; d++) {
        const int64_t size = axl_json_int(axl_json_at(dims, d), -1);
        t->entry.dims[d] = size;
        bool fits = size >= 0;
        if (fits && d > 0)
            fits = !__builtin_mul_overflow(t->row, size, &t->row);
        AXL_REQUIRE(fits, AXL_E_INPUT, "%s: %s/%s has an impossible shape", k->index.data,
                    t->entry.group, t->entry.name);
    }
    AXL_REQUIRE(!__builtin_mul_overflow(t->row, t->entry.dims[0], &count) &&
                    count <= INT64_MAX / 16,
                AXL_E_INPUT, "%s: %s/%s has an impossible shape", k->index.data, t->entry.group,
                t->entry.name);

out:
    return status;
}

static axl_status read_parts(const axl_ckpt *k, const axl_json *from, tensor *t)
{
    axl_status status = AXL_OK;
    const axl_json *list = axl_json_get(from, "parts");
    const size_t n = axl_json_count(list);
    int64_t next = 0;

    AXL_REQUIRE(n <= (size_t)k->world, AXL_E_INPUT, "%s: %s/%s has more parts than shards",
                k->index.data, t->entry.group, t->entry.name);
    AXL_TRY(axl_calloc(n, sizeof *t->parts, "a manifest", &t->parts));
    t->n_parts = (int)n;
    for (size_t i = 0; i < n; i++) {
        const axl_json *part = axl_json_at(list, i);
        const int64_t number = axl_json_int(axl_json_get(part, "shard"), -1);
        const int64_t row0 = axl_json_int(axl_json_get(part, "row0"), -1);
        const int64_t n_rows = axl_json_int(axl_json_get(part, "n_rows"), -1);
        const char *hash = axl_json_string(axl_json_get(part, "xxh64"), "");
        AXL_REQUIRE(number >= 0 && number < k->world && row0 == next && n_rows > 0 &&
                        n_rows <= t->entry.dims[0] - next && strlen(hash) == 16,
                    AXL_E_INPUT, "%s: part %zu of %s/%s does not fit", k->index.data, i,
                    t->entry.group, t->entry.name);
        t->parts[i] = (axl_ckpt_part){
            .shard = (int)number, .row0 = row0, .n_rows = n_rows, .hash = strtoull(hash, NULL, 16)};
        next += n_rows;
    }
    AXL_REQUIRE(next == t->entry.dims[0] || t->row == 0, AXL_E_INPUT,
                "%s: the shards hold %lld of %lld rows of %s/%s", k->index.data, (long long)next,
                (long long)t->entry.dims[0], t->entry.group, t->entry.name);

out:
    return status;
}

static int compare_names(const axl_ckpt_entry *a, const axl_ckpt_entry *b)
{
    const int by_group = strcmp(a->group, b->group);
    return by_group != 0 ? by_group : strcmp(a->name, b->name);
}

static int by_name(const void *a, const void *b)
{
    const tensor *const *x = a, *const *y = b;
    return compare_names(&(*x)->entry, &(*y)->entry);
}

static axl_status read_tensors(axl_ckpt *k)
{
    axl_status status = AXL_OK;
    const axl_json *list = axl_json_get(k->manifest, "tensors");

    AXL_REQUIRE(axl_json_is(list, AXL_JSON_ARRAY), AXL_E_INPUT, "%s: the manifest lists no tensors",
                k->index.data);
    AXL_TRY(axl_calloc(axl_json_count(list), sizeof *k->tensors, "a manifest", &k->tensors));
    AXL_TRY(axl_calloc(axl_json_count(list), sizeof(void *), "a manifest", &k->by_name));
    k->n = (int64_t)axl_json_count(list);
    for (int64_t i = 0; i < k->n; i++) {
        const axl_json *from = axl_json_at(list, (size_t)i);
        tensor *t = &k->tensors[i];
        t->entry.group = axl_json_string(axl_json_get(from, "group"), "");
        t->entry.name = axl_json_string(axl_json_get(from, "name"), "");
        k->by_name[i] = t;
        AXL_REQUIRE(t->entry.group[0] != '\0' && t->entry.name[0] != '\0', AXL_E_INPUT,
                    "%s: tensor %lld of the manifest has no name", k->index.data, (long long)i);
        AXL_TRY(read_dims(k, from, t));
        AXL_TRY(read_parts(k, from, t));
    }
    if (k->n > 0)
        qsort((void *)k->by_name, (size_t)k->n, sizeof(void *), by_name);
    for (int64_t i = 1; i < k->n; i++)
        AXL_REQUIRE(by_name(&k->by_name[i - 1], &k->by_name[i]) != 0, AXL_E_INPUT,
                    "%s: %s/%s is listed twice", k->index.data, k->by_name[i]->entry.group,
                    k->by_name[i]->entry.name);

out:
    return status;
}

static axl_status read_manifest(axl_ckpt *k, hid_t file)
{
    axl_status status = AXL_OK;
    axl_str text = {0};
    const axl_json *files = NULL;
    int64_t format = 0;

    AXL_TRY(axl_h5_read_bytes(file, k->index.data, AXL_CKPT_MANIFEST, &text));
    AXL_TRY(axl_h5_read_bytes(file, k->index.data, AXL_CKPT_META, &k->meta));
    AXL_TRY_CTX(axl_json_parse(text.data, text.len, "manifest", &k->manifest), "%s", k->index.data);
    format = axl_json_int(axl_json_get(k->manifest, "format"), -1);
    AXL_REQUIRE(format == AXL_CKPT_FORMAT, AXL_E_INPUT,
                "%s: has format %lld, this program reads format %d", k->index.data,
                (long long)format, AXL_CKPT_FORMAT);
    k->step = axl_json_int(axl_json_get(k->manifest, "step"), -1);
    files = axl_json_get(k->manifest, "files");
    for (size_t i = 0; i < axl_json_count(files); i++)
        AXL_REQUIRE(axl_json_is(axl_json_at(files, i), AXL_JSON_STRING), AXL_E_INPUT,
                    "%s: an embedded file has no name", k->index.data);
    AXL_TRY(read_shards(k));
    AXL_TRY(read_tensors(k));

out:
    axl_str_fini(&text);
    return status;
}

axl_status axl_ckpt_open(const char *path, axl_ckpt **out)
{
    axl_status status = AXL_OK;
    axl_ckpt *k = NULL;
    hid_t file = -1;

    AXL_TRY(axl_h5_begin());
    AXL_TRY(axl_calloc(1, sizeof *k, "a checkpoint", &k));
    AXL_TRY(axl_strdup(path, &k->path));
    AXL_TRY(axl_str_printf(&k->index, "%s/index.h5", path));
    AXL_REQUIRE(axl_path_exists(k->index.data), AXL_E_INPUT,
                "%s: there is no index.h5; give a folder checkpoint-N", path);
    AXL_TRY(axl_h5_open(k->index.data, &file));
    AXL_TRY(read_manifest(k, file));
    *out = k;
    k = NULL;

out:
    if (file >= 0)
        (void)H5Fclose(file);
    axl_ckpt_close(k);
    return status;
}

void axl_ckpt_close(axl_ckpt *k)
{
    if (k == NULL)
        return;
    for (int r = 0; r < k->world; r++)
        if (k->shards[r].file >= 0)
            (void)H5Fclose(k->shards[r].file);
    for (int64_t i = 0; i < k->n; i++)
        free(k->tensors[i].parts);
    free(k->tensors);
    free((void *)k->by_name);
    free(k->shards);
    axl_json_free(k->manifest);
    axl_str_fini(&k->meta);
    axl_str_fini(&k->index);
    free(k->path);
    free(k);
}

// ---- rows

static const tensor *find(const axl_ckpt *k, const char *group, const char *name)
{
    const tensor wanted = {.entry = {.group = group, .name = name}}, *key = &wanted;
    const tensor *const *found =
        k->n == 0 ? NULL
                  : bsearch(&key, (const void *)k->by_name, (size_t)k->n, sizeof(void *), by_name);

    return found == NULL ? NULL : *found;
}

const axl_ckpt_entry *axl_ckpt_find(const axl_ckpt *k, const char *group, const char *name)
{
    const tensor *t = find(k, group, name);
    return t == NULL ? NULL : &t->entry;
}

// The data set of a part must be what the manifest says, or a read would run over dst.
static axl_status check_set(const char *where, const tensor *t, const axl_ckpt_part *part,
                            hid_t set, hid_t space)
{
    axl_status status = AXL_OK;
    hsize_t dims[H5S_MAX_RANK] = {0};
    const hid_t have = H5Dget_type(set), want = axl_h5_type(t->entry.dtype);
    const int n_dims = H5Sget_simple_extent_dims(space, dims, NULL);
    bool same = n_dims == t->entry.n_dims && dims[0] == (hsize_t)part->n_rows;

    for (int d = 1; same && d < n_dims; d++)
        same = dims[d] == (hsize_t)t->entry.dims[d];
    AXL_REQUIRE(same && have >= 0 && want >= 0 && H5Tequal(have, want) > 0, AXL_E_INPUT,
                "%s: has another shape or dtype than the index says", where);

out:
    (void)H5Tclose(have);
    (void)H5Tclose(want);
    return status;
}

static axl_status read_set(hid_t file, const char *where, const char *name, const tensor *t,
                           const axl_ckpt_part *part, const int64_t rows[2], void *dst)
{
    axl_status status = AXL_OK;
    hsize_t start[AXL_CKPT_MAX_DIMS] = {(hsize_t)rows[0]};
    hsize_t size[AXL_CKPT_MAX_DIMS] = {(hsize_t)rows[1]};
    hid_t set = -1, space = -1, memory = -1, type = -1;
    herr_t rc = 0;

    for (int d = 1; d < t->entry.n_dims; d++)
        size[d] = (hsize_t)t->entry.dims[d];
    AXL_H5(set, H5Dopen2(file, name, H5P_DEFAULT), AXL_E_INPUT, where);
    AXL_H5(space, H5Dget_space(set), AXL_E_INPUT, where);
    AXL_TRY(check_set(where, t, part, set, space));
    AXL_H5(type, axl_h5_type(t->entry.dtype), AXL_E_BUG, where);
    AXL_H5(memory, H5Screate_simple(t->entry.n_dims, size, NULL), AXL_E_INPUT, where);
    AXL_H5(rc, H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, size, NULL), AXL_E_INPUT,
           where);
    AXL_H5(rc, H5Dread(set, type, memory, space, H5P_DEFAULT, dst), AXL_E_INPUT, where);
    if (rows[1] == part->n_rows) {
        const size_t bytes = (size_t)(rows[1] * t->row) * axl_dtype_size(t->entry.dtype);
        AXL_REQUIRE(axl_hash64(dst, bytes, 0) == part->hash, AXL_E_INPUT,
                    "%s: the data differ from what was saved (hash)", where);
    }

out:
    (void)H5Tclose(type);
    (void)H5Sclose(memory);
    (void)H5Sclose(space);
    (void)H5Dclose(set);
    return status;
}

// Rows rows[0] .. + rows[1] of a part, counted within it.
static axl_status read_part(axl_ckpt *k, const tensor *t, const axl_ckpt_part *part,
                            const int64_t rows[2], void *dst)
{
    axl_status status = AXL_OK;
    shard *s = &k->shards[part->shard];
    axl_str name = {0}, where = {0};

    AXL_TRY(axl_str_printf(&where, "%s/%s", k->path, s->name));
    if (s->file < 0)
        AXL_TRY(axl_h5_open(where.data, &s->file));
    AXL_TRY(axl_ckpt_put_set(&name, t->entry.group, t->entry.name));
    AXL_TRY(axl_str_printf(&where, ": data set %s", name.data));
    AXL_TRY(read_set(s->file, where.data, name.data, t, part, rows, dst));

out:
    axl_str_fini(&name);
    axl_str_fini(&where);
    return status;
}

axl_status axl_ckpt_read_rows(axl_ckpt *k, const char *group, const char *name, int64_t row0,
                              int64_t n_rows, void *dst)
{
    axl_status status = AXL_OK;
    const tensor *t = find(k, group, name);

    AXL_REQUIRE(t != NULL, AXL_E_INPUT, "%s: holds no tensor %s/%s", k->path, group, name);
    AXL_REQUIRE(row0 >= 0 && n_rows >= 0 && n_rows <= t->entry.dims[0] - row0, AXL_E_INPUT,
                "%s: %s/%s has %lld rows, rows %lld + %lld were asked for", k->path, group, name,
                (long long)t->entry.dims[0], (long long)row0, (long long)n_rows);
    if (t->row == 0)
        goto out;
    for (int i = 0; i < t->n_parts; i++) {
        const axl_ckpt_part *part = &t->parts[i];
        const int64_t end = part->row0 + part->n_rows;
        const int64_t first = row0 > part->row0 ? row0 : part->row0;
        const int64_t last = row0 + n_rows < end ? row0 + n_rows : end;
        const int64_t rows[2] = {first - part->row0, last - first};
        const size_t at = (size_t)((first - row0) * t->row) * axl_dtype_size(t->entry.dtype);
        if (last > first)
            AXL_TRY(read_part(k, t, part, rows, (char *)dst + at));
    }

out:
    return status;
}

// ---- embedded files

int axl_ckpt_n_files(const axl_ckpt *k)
{
    return (int)axl_json_count(axl_json_get(k->manifest, "files"));
}

const char *axl_ckpt_file_name(const axl_ckpt *k, int i)
{
    return axl_json_string(axl_json_at(axl_json_get(k->manifest, "files"), (size_t)i), "");
}

axl_status axl_ckpt_read_file(axl_ckpt *k, const char *name, axl_str *out)
{
    axl_status status = AXL_OK;
    axl_str set = {0};
    hid_t file = -1;

    AXL_TRY(axl_str_printf(&set, "%s/%s", AXL_CKPT_FILES, name));
    AXL_TRY(axl_h5_open(k->index.data, &file));
    AXL_TRY_CTX(axl_h5_read_bytes(file, k->index.data, set.data, out), "%s", name);

out:
    if (file >= 0)
        (void)H5Fclose(file);
    axl_str_fini(&set);
    return status;
}
