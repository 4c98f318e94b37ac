// Loading: the manifest says which rectangle lies in which shard; they are intersected with the one
// that is wanted, so any number of ranks reads what any other number wrote. The hard part is trust: every number of the manifest is
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
    axl_ckpt_part *parts; // [n_parts], owned, in the order of their places
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
    int64_t format, step;
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
    const bool whole_rows = k->format == 1;

    AXL_REQUIRE(n <= (size_t)k->world, AXL_E_INPUT, "%s: %s/%s has more parts than shards",
                k->index.data, t->entry.group, t->entry.name);
    AXL_TRY(axl_calloc(n, sizeof *t->parts, "a manifest", &t->parts));
    t->n_parts = (int)n;
    for (size_t i = 0; i < n; i++) {
        const axl_json *part = axl_json_at(list, i);
        const int64_t number = axl_json_int(axl_json_get(part, "shard"), -1);
        const char *hash = axl_json_string(axl_json_get(part, "xxh64"), "");
        axl_block b = {.row0 = axl_json_int(axl_json_get(part, "row0"), -1),
                       .n_rows = axl_json_int(axl_json_get(part, "n_rows"), -1),
                       .n_cols = t->row};
        if (!whole_rows) {
            b.col0 = axl_json_int(axl_json_get(part, "col0"), -1);
            b.n_cols = axl_json_int(axl_json_get(part, "n_cols"), -1);
        }
        b.ld = b.n_cols;
        AXL_REQUIRE(number >= 0 && number < k->world && strlen(hash) == 16, AXL_E_INPUT,
                    "%s: part %zu of %s/%s does not fit", k->index.data, i, t->entry.group,
                    t->entry.name);
        t->parts[i] =
            (axl_ckpt_part){.shard = (int)number, .at = b, .hash = strtoull(hash, NULL, 16)};
    }
    AXL_TRY_CTX(axl_ckpt_check_cover(t->parts, t->n_parts, t->entry.dims[0], t->row, AXL_E_INPUT),
                "%s: %s/%s", k->index.data, t->entry.group, t->entry.name);

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

    AXL_TRY(axl_h5_read_bytes(file, k->index.data, AXL_CKPT_MANIFEST, &text));
    AXL_TRY(axl_h5_read_bytes(file, k->index.data, AXL_CKPT_META, &k->meta));
    AXL_TRY_CTX(axl_json_parse(text.data, text.len, "manifest", &k->manifest), "%s", k->index.data);
    k->format = axl_json_int(axl_json_get(k->manifest, "format"), -1);
    AXL_REQUIRE(k->format >= 1 && k->format <= AXL_CKPT_FORMAT, AXL_E_INPUT,
                "%s: has format %lld, this program reads formats up to %d", k->index.data,
                (long long)k->format, AXL_CKPT_FORMAT);
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

// ---- blocks

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

// What of a part goes where.
typedef struct piece {
    const tensor *tensor;
    const axl_ckpt_part *part;
    int n_dims;                      // of the part's data set
    int64_t dims[AXL_CKPT_MAX_DIMS]; // and its shape
    axl_block at;                    // of the part; ld: of dst
    char *dst;
} piece;

// The data set of a part must be what the manifest says, or a read would run over dst.
static axl_status check_set(const char *where, const piece *p, hid_t set, hid_t space)
{
    axl_status status = AXL_OK;
    hsize_t dims[H5S_MAX_RANK] = {0};
    const hid_t have = H5Dget_type(set), want = axl_h5_type(p->tensor->entry.dtype);
    const int n_dims = H5Sget_simple_extent_dims(space, dims, NULL);
    bool same = n_dims == p->n_dims;

    for (int d = 0; same && d < n_dims; d++)
        same = dims[d] == (hsize_t)p->dims[d];
    AXL_REQUIRE(same && have >= 0 && want >= 0 && H5Tequal(have, want) > 0, AXL_E_INPUT,
                "%s: has another shape or dtype than the index says", where);

out:
    (void)H5Tclose(have);
    (void)H5Tclose(want);
    return status;
}

// A box of dst, with as many dims as that of the file: HDF5 copies boxes of the same shape by runs, others
// element by element.
static axl_status select_memory(const char *where, int n_dims, const axl_ckpt_box *box, int64_t ld,
                                hid_t *out)
{
    axl_status status = AXL_OK;
    const hsize_t start[AXL_CKPT_MAX_DIMS] = {0};
    hsize_t extent[AXL_CKPT_MAX_DIMS], stride[AXL_CKPT_MAX_DIMS], size[AXL_CKPT_MAX_DIMS];
    hid_t space = -1;
    herr_t rc = 0;

    for (int d = 0; d < n_dims; d++) {
        extent[d] = size[d] = (hsize_t)box->size[d];
        stride[d] = 1;
    }
    if (n_dims > 1 && box->size[0] > 1) {
        extent[box->cut] = (hsize_t)(ld / box->inner);
    } else if (n_dims == 1) {
        stride[0] = (hsize_t)ld;
        extent[0] *= (hsize_t)ld;
    }
    AXL_H5(space, H5Screate_simple(n_dims, extent, NULL), AXL_E_INPUT, where);
    AXL_H5(rc, H5Sselect_hyperslab(space, H5S_SELECT_SET, start, stride, size, NULL), AXL_E_INPUT,
           where);
    *out = space;
    space = -1;

out:
    (void)H5Sclose(space);
    return status;
}

static axl_status read_box(const char *where, const piece *p, hid_t set, hid_t space, hid_t type,
                           axl_ckpt_box box)
{
    axl_status status = AXL_OK;
    const size_t elem = axl_dtype_size(p->tensor->entry.dtype);
    // Rows of memory that are no whole number of indices of the cut dim apart are no box: one at a time.
    const int64_t n_rows = p->at.ld % box.inner == 0 ? box.size[0] : 1;
    const int64_t end = box.start[0] + box.size[0];
    char *dst = p->dst + (size_t)(box.col0 - p->at.col0) * elem;
    hid_t memory = -1;
    herr_t rc = 0;

    box.size[0] = n_rows;
    AXL_TRY(select_memory(where, p->n_dims, &box, p->at.ld, &memory));
    for (; box.start[0] < end; box.start[0] += n_rows) {
        hsize_t start[AXL_CKPT_MAX_DIMS], size[AXL_CKPT_MAX_DIMS];
        for (int d = 0; d < p->n_dims; d++) {
            start[d] = (hsize_t)box.start[d];
            size[d] = (hsize_t)box.size[d];
        }
        AXL_H5(rc, H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, size, NULL), AXL_E_INPUT,
               where);
        AXL_H5(rc, H5Dread(set, type, memory, space, H5P_DEFAULT, dst), AXL_E_INPUT, where);
        dst += (size_t)(n_rows * p->at.ld) * elem;
    }

out:
    (void)H5Sclose(memory);
    return status;
}

// The hash of a part that was read whole.
static axl_status check_hash(const char *where, const piece *p)
{
    axl_status status = AXL_OK;
    const size_t elem = axl_dtype_size(p->tensor->entry.dtype);
    axl_hash h;

    axl_hash_init(&h, 0);
    if (p->at.n_rows != p->part->at.n_rows || p->at.n_cols != p->part->at.n_cols)
        goto out;
    for (int64_t r = 0; r < p->at.n_rows; r++)
        axl_hash_update(&h, p->dst + (size_t)(r * p->at.ld) * elem, (size_t)p->at.n_cols * elem);
    AXL_REQUIRE(axl_hash_value(&h) == p->part->hash, AXL_E_INPUT,
                "%s: the data differ from what was saved (hash)", where);

out:
    return status;
}

static axl_status read_set(hid_t file, const char *where, const char *name, const piece *p)
{
    axl_status status = AXL_OK;
    axl_ckpt_box boxes[AXL_CKPT_MAX_BOXES];
    const int n_boxes = axl_ckpt_boxes(p->n_dims, p->dims, &p->at, boxes);
    hid_t set = -1, space = -1, type = -1;

    AXL_H5(set, H5Dopen2(file, name, H5P_DEFAULT), AXL_E_INPUT, where);
    AXL_H5(space, H5Dget_space(set), AXL_E_INPUT, where);
    AXL_TRY(check_set(where, p, set, space));
    AXL_H5(type, axl_h5_type(p->tensor->entry.dtype), AXL_E_BUG, where);
    for (int i = 0; i < n_boxes; i++)
        AXL_TRY(read_box(where, p, set, space, type, boxes[i]));
    AXL_TRY(check_hash(where, p));

out:
    (void)H5Tclose(type);
    (void)H5Sclose(space);
    (void)H5Dclose(set);
    return status;
}

static axl_status read_piece(axl_ckpt *k, const piece *p)
{
    axl_status status = AXL_OK;
    shard *s = &k->shards[p->part->shard];
    axl_str name = {0}, where = {0};

    AXL_TRY(axl_str_printf(&where, "%s/%s", k->path, s->name));
    if (s->file < 0)
        AXL_TRY(axl_h5_open(where.data, &s->file));
    AXL_TRY(axl_ckpt_put_set(&name, p->tensor->entry.group, p->tensor->entry.name));
    AXL_TRY(axl_str_printf(&where, ": data set %s", name.data));
    AXL_TRY(read_set(s->file, where.data, name.data, p));

out:
    axl_str_fini(&name);
    axl_str_fini(&where);
    return status;
}

// What two ranges [begin, begin + n) have in common.
static void intersect(int64_t a, int64_t n_a, int64_t b, int64_t n_b, int64_t *begin, int64_t *n)
{
    const int64_t end = a + n_a < b + n_b ? a + n_a : b + n_b;

    *begin = a > b ? a : b;
    *n = end > *begin ? end - *begin : 0;
}

axl_status axl_ckpt_read_block(axl_ckpt *k, const char *group, const char *name, const axl_block *b,
                               void *dst)
{
    axl_status status = AXL_OK;
    const tensor *t = find(k, group, name);

    AXL_REQUIRE(t != NULL, AXL_E_INPUT, "%s: holds no tensor %s/%s", k->path, group, name);
    const axl_block want = axl_block_in(b, t->row);
    AXL_REQUIRE(axl_block_fits(&want, t->entry.dims[0], t->row), AXL_E_INPUT,
                "%s: %s/%s is [%lld, %lld]; rows %lld + %lld, columns %lld + %lld were asked for",
                k->path, group, name, (long long)t->entry.dims[0], (long long)t->row,
                (long long)want.row0, (long long)want.n_rows, (long long)want.col0,
                (long long)want.n_cols);
    for (int i = 0; i < t->n_parts; i++) {
        const axl_block *have = &t->parts[i].at;
        piece p = {.tensor = t, .part = &t->parts[i], .at.ld = want.ld};
        int64_t row, col;
        intersect(want.row0, want.n_rows, have->row0, have->n_rows, &row, &p.at.n_rows);
        intersect(want.col0, want.n_cols, have->col0, have->n_cols, &col, &p.at.n_cols);
        if (p.at.n_rows == 0 || p.at.n_cols == 0)
            continue;
        p.at.row0 = row - have->row0;
        p.at.col0 = col - have->col0;
        p.n_dims = axl_ckpt_part_dims(t->entry.n_dims, t->entry.dims, have, p.dims);
        p.dst = (char *)dst + (size_t)((row - want.row0) * want.ld + col - want.col0) *
                                  axl_dtype_size(t->entry.dtype);
        AXL_TRY(read_piece(k, &p));
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
