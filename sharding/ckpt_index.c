// The index file: virtual data sets for other tools, the manifest for our own reader. The hard part is
// that HDF5 reads a missing source of a virtual data set as fill values without a word: floats are
// therefore filled with NaN, and our reader never goes through them.
#include "sharding/ckpt_index.h"

#include "sharding/h5.h"
#include "src/base/mem.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct index_writer {
    const char *path;
    const axl_ckpt_options *o;
    int world;
    const int64_t *shard_bytes;     // [world]
    const axl_ckpt_part *all_parts; // [world][n_tensors]
    axl_ckpt_part *parts;           // [world], owned: those of one tensor that are not empty
    int n_parts;
    hid_t file;
} index_writer;

// Collects the parts of tensor i and checks that they fit together.
static axl_status list_parts(index_writer *w, int64_t i)
{
    axl_status status = AXL_OK;
    const axl_ckpt_tensor *t = &w->o->tensors[i];
    int64_t rows, cols;

    w->n_parts = 0;
    for (int r = 0; r < w->world; r++) {
        const axl_ckpt_part *part = &w->all_parts[(int64_t)r * w->o->n_tensors + i];
        if (part->at.n_rows > 0)
            w->parts[w->n_parts++] = *part;
    }
    axl_ckpt_matrix(t->n_dims, t->dims, &rows, &cols);
    AXL_TRY_CTX(axl_ckpt_check_cover(w->parts, w->n_parts, rows, cols, AXL_E_BUG), "%s/%s",
                t->group, t->name);

out:
    return status;
}

// ---- virtual data sets

static axl_status set_fill(index_writer *w, hid_t create, axl_dtype dtype)
{
    axl_status status = AXL_OK;
    const float nan_value = NAN;
    const bool is_float =
        dtype == AXL_F32 || dtype == AXL_F64 || dtype == AXL_BF16 || dtype == AXL_F16;
    herr_t rc = 0;

    if (is_float)
        AXL_H5(rc, H5Pset_fill_value(create, H5T_NATIVE_FLOAT, &nan_value), AXL_E_BUG, w->path);

out:
    return status;
}

static axl_status select_box(index_writer *w, hid_t space, int n_dims, const int64_t *start,
                             const int64_t *size)
{
    axl_status status = AXL_OK;
    hsize_t first[AXL_CKPT_MAX_DIMS], count[AXL_CKPT_MAX_DIMS];
    herr_t rc = 0;

    for (int d = 0; d < n_dims; d++) {
        first[d] = (hsize_t)start[d];
        count[d] = (hsize_t)size[d];
    }
    AXL_H5(rc, H5Sselect_hyperslab(space, H5S_SELECT_SET, first, NULL, count, NULL), AXL_E_BUG,
           w->path);

out:
    return status;
}

// Maps the boxes of one part to a shard, named without a folder: next to the index.
static axl_status map_part(index_writer *w, hid_t create, hid_t space, const char *set,
                           const axl_ckpt_tensor *t, const axl_ckpt_part *part)
{
    axl_status status = AXL_OK;
    axl_ckpt_box boxes[AXL_CKPT_MAX_BOXES];
    int64_t dims[AXL_CKPT_MAX_DIMS];
    hsize_t extent[AXL_CKPT_MAX_DIMS];
    const int n_dims = axl_ckpt_part_dims(t->n_dims, t->dims, &part->at, dims);
    const int n_boxes = axl_ckpt_boxes(t->n_dims, t->dims, &part->at, boxes);
    axl_str file = {0};
    hid_t source = -1;
    herr_t rc = 0;

    for (int d = 0; d < n_dims; d++)
        extent[d] = (hsize_t)dims[d];
    AXL_TRY(axl_ckpt_put_shard(&file, part->shard, w->world));
    AXL_H5(source, H5Screate_simple(n_dims, extent, NULL), AXL_E_BUG, w->path);
    for (int i = 0; i < n_boxes; i++) {
        const axl_ckpt_box *box = &boxes[i];
        const int64_t start[2] = {0, box->col0 - part->at.col0}, size[2] = {dims[0], box->n_cols};
        AXL_TRY(select_box(w, space, t->n_dims, box->start, box->size));
        if (n_boxes > 1) // then the part is a matrix
            AXL_TRY(select_box(w, source, 2, start, size));
        AXL_H5(rc, H5Pset_virtual(create, space, file.data, set, source), AXL_E_BUG, w->path);
    }

out:
    (void)H5Sclose(source);
    axl_str_fini(&file);
    return status;
}

static axl_status write_virtual(index_writer *w, const axl_ckpt_tensor *t)
{
    axl_status status = AXL_OK;
    hsize_t dims[AXL_CKPT_MAX_DIMS];
    axl_str name = {0};
    hid_t space = -1, type = -1, create = -1, link = -1, set = -1;

    for (int d = 0; d < t->n_dims; d++)
        dims[d] = (hsize_t)t->dims[d];
    AXL_TRY(axl_ckpt_put_set(&name, t->group, t->name));
    AXL_H5(space, H5Screate_simple(t->n_dims, dims, NULL), AXL_E_BUG, w->path);
    AXL_H5(type, axl_h5_type(t->dtype), AXL_E_BUG, w->path);
    AXL_H5(create, H5Pcreate(H5P_DATASET_CREATE), AXL_E_BUG, w->path);
    AXL_H5(link, axl_h5_link_properties(), AXL_E_BUG, w->path);
    AXL_TRY(set_fill(w, create, t->dtype));
    for (int k = 0; k < w->n_parts; k++)
        AXL_TRY(map_part(w, create, space, name.data, t, &w->parts[k]));
    AXL_H5(set, H5Dcreate2(w->file, name.data, type, space, link, create, H5P_DEFAULT), AXL_E_IO,
           w->path);

out:
    (void)H5Dclose(set);
    (void)H5Pclose(link);
    (void)H5Pclose(create);
    (void)H5Tclose(type);
    (void)H5Sclose(space);
    axl_str_fini(&name);
    return status;
}

// ---- the manifest

static axl_status put_string(axl_json *object, const char *key, const char *text)
{
    return axl_json_set(object, key, axl_json_new_string(text, strlen(text)));
}

static axl_status add_part(axl_json *list, const axl_ckpt_part *part)
{
    axl_status status = AXL_OK;
    axl_json *p = axl_json_new_object();
    char hash[24];

    (void)snprintf(hash, sizeof hash, "%016" PRIx64, part->hash);
    AXL_TRY(axl_json_append(list, p));
    AXL_TRY(axl_json_set(p, "shard", axl_json_new_int(part->shard)));
    AXL_TRY(axl_json_set(p, "row0", axl_json_new_int(part->at.row0)));
    AXL_TRY(axl_json_set(p, "n_rows", axl_json_new_int(part->at.n_rows)));
    AXL_TRY(axl_json_set(p, "col0", axl_json_new_int(part->at.col0)));
    AXL_TRY(axl_json_set(p, "n_cols", axl_json_new_int(part->at.n_cols)));
    AXL_TRY(put_string(p, "xxh64", hash));

out:
    return status;
}

static axl_status add_tensor(const index_writer *w, axl_json *list, const axl_ckpt_tensor *t)
{
    axl_status status = AXL_OK;
    axl_json *entry = axl_json_new_object(), *dims = axl_json_new_array();
    axl_json *parts = axl_json_new_array();

    AXL_TRY(axl_json_append(list, entry)); // the tree owns each value from its append or set on
    AXL_TRY(put_string(entry, "group", t->group));
    AXL_TRY(put_string(entry, "name", t->name));
    AXL_TRY(put_string(entry, "dtype", axl_dtype_name(t->dtype)));
    AXL_TRY(axl_json_set(entry, "dims", axl_json_ref(dims)));
    AXL_TRY(axl_json_set(entry, "parts", axl_json_ref(parts)));
    for (int d = 0; d < t->n_dims; d++)
        AXL_TRY(axl_json_append(dims, axl_json_new_int(t->dims[d])));
    for (int k = 0; k < w->n_parts; k++)
        AXL_TRY(add_part(parts, &w->parts[k]));

out:
    axl_json_free(dims);
    axl_json_free(parts);
    return status;
}

static axl_status add_shards(const index_writer *w, axl_json *root)
{
    axl_status status = AXL_OK;
    axl_json *list = axl_json_new_array();
    axl_str name = {0};

    AXL_TRY(axl_json_set(root, "shards", list));
    for (int r = 0; r < w->world; r++) {
        axl_json *shard = axl_json_new_object();
        axl_str_clear(&name);
        AXL_TRY(axl_json_append(list, shard));
        AXL_TRY(axl_ckpt_put_shard(&name, r, w->world));
        AXL_TRY(put_string(shard, "file", name.data));
        AXL_TRY(axl_json_set(shard, "bytes", axl_json_new_int(w->shard_bytes[r])));
    }

out:
    axl_str_fini(&name);
    return status;
}

static axl_status add_files(const index_writer *w, axl_json *root)
{
    axl_status status = AXL_OK;
    axl_json *list = axl_json_new_array();

    AXL_TRY(axl_json_set(root, "files", list));
    for (int i = 0; i < w->o->n_files; i++)
        AXL_TRY(axl_json_append(
            list, axl_json_new_string(w->o->files[i].name, strlen(w->o->files[i].name))));

out:
    return status;
}

// Everything that has a name, in one walk: the virtual data set and its line in the manifest.
static axl_status write_tensors(index_writer *w, axl_json *root)
{
    axl_status status = AXL_OK;
    axl_json *list = axl_json_new_array();

    AXL_TRY(axl_json_set(root, "tensors", list));
    for (int64_t i = 0; i < w->o->n_tensors; i++) {
        AXL_TRY(list_parts(w, i));
        AXL_TRY(write_virtual(w, &w->o->tensors[i]));
        AXL_TRY(add_tensor(w, list, &w->o->tensors[i]));
    }

out:
    return status;
}

static axl_status write_numbers(index_writer *w)
{
    axl_status status = AXL_OK;
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = {{"format", AXL_CKPT_FORMAT}, {"step", w->o->step}, {"world", w->world}};
    hid_t group = -1, space = -1, attribute = -1;
    herr_t rc = 0;

    AXL_H5(group, H5Gopen2(w->file, "/checkpoint", H5P_DEFAULT), AXL_E_BUG, w->path);
    AXL_H5(space, H5Screate(H5S_SCALAR), AXL_E_BUG, w->path);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        AXL_H5(attribute,
               H5Acreate2(group, numbers[i].name, H5T_STD_I64LE, space, H5P_DEFAULT, H5P_DEFAULT),
               AXL_E_IO, w->path);
        AXL_H5(rc, H5Awrite(attribute, H5T_NATIVE_INT64, &numbers[i].value), AXL_E_IO, w->path);
        (void)H5Aclose(attribute);
        attribute = -1;
    }

out:
    (void)H5Aclose(attribute);
    (void)H5Sclose(space);
    (void)H5Gclose(group);
    return status;
}

static axl_status write_bytes(index_writer *w, const axl_json *manifest)
{
    axl_status status = AXL_OK;
    axl_h5_packer packer = {0};
    axl_str text = {0};

    AXL_TRY(axl_h5_packer_init(&packer, 3)); // small; size counts more than speed
    AXL_TRY(axl_json_dump(manifest, 0, &text));
    AXL_TRY(axl_h5_write_bytes(w->file, w->path, AXL_CKPT_MANIFEST, text.data, text.len, &packer));
    AXL_TRY(axl_h5_write_bytes(w->file, w->path, AXL_CKPT_META, w->o->meta_json,
                               strlen(w->o->meta_json), &packer));
    for (int i = 0; i < w->o->n_files; i++) {
        const axl_ckpt_file *f = &w->o->files[i];
        axl_str_clear(&text);
        AXL_TRY(axl_str_printf(&text, "%s/%s", AXL_CKPT_FILES, f->name));
        AXL_TRY(axl_h5_write_bytes(w->file, w->path, text.data, f->bytes, f->n, &packer));
    }

out:
    axl_h5_packer_fini(&packer);
    axl_str_fini(&text);
    return status;
}

axl_status axl_ckpt_write_index(const char *path, const axl_ckpt_options *o, int world,
                                const int64_t *shard_bytes, const axl_ckpt_part *parts)
{
    axl_status status = AXL_OK;
    axl_json *manifest = axl_json_new_object();
    index_writer w = {.path = path,
                      .o = o,
                      .world = world,
                      .shard_bytes = shard_bytes,
                      .all_parts = parts,
                      .file = -1};

    AXL_REQUIRE(manifest != NULL, AXL_E_MEMORY, "no memory for a manifest");
    AXL_TRY(axl_calloc((size_t)world, sizeof *w.parts, "a manifest", &w.parts));
    AXL_TRY(axl_h5_create(path, &w.file));
    AXL_TRY(axl_json_set(manifest, "format", axl_json_new_int(AXL_CKPT_FORMAT)));
    AXL_TRY(axl_json_set(manifest, "step", axl_json_new_int(o->step)));
    AXL_TRY(axl_json_set(manifest, "world", axl_json_new_int(world)));
    AXL_TRY(add_shards(&w, manifest));
    AXL_TRY(add_files(&w, manifest));
    AXL_TRY(write_tensors(&w, manifest));
    AXL_TRY(write_bytes(&w, manifest));
    AXL_TRY(write_numbers(&w));
    AXL_TRY(axl_h5_close(w.file, path));
    w.file = -1;

out:
    if (w.file >= 0)
        axl_h5_abandon(path);
    free(w.parts);
    axl_json_free(manifest);
    return status;
}
