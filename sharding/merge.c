// From a step checkpoint to a Hugging Face directory. The hard part is that no tensor is ever held: rows
// are read, cast and written in blocks, and the ranks share them.
#include "sharding/ckpt_impl.h"

#include "src/base/mem.h"
#include "src/io/file.h"
#include "src/io/hfdir.h"
#include "src/io/json.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES ((int64_t)16 << 20)

static const struct {
    const char *name;
    axl_dtype dtype;
} dtype_names[] = {
    {"float32", AXL_F32}, {"bfloat16", AXL_BF16}, {"float16", AXL_F16}, {"float64", AXL_F64}};

enum { N_DTYPE_NAMES = sizeof dtype_names / sizeof *dtype_names };

static bool is_float(axl_dtype dtype)
{
    return dtype == AXL_F32 || dtype == AXL_BF16 || dtype == AXL_F16 || dtype == AXL_F64;
}

static int64_t row_elements(const axl_ckpt_entry *e)
{
    int64_t n = 1;
    for (int d = 1; d < e->n_dims; d++)
        n *= e->dims[d];
    return n;
}

// Rows of a block: at least one.
static int64_t block_rows(const axl_ckpt_entry *e)
{
    const int64_t row_bytes = row_elements(e) * (int64_t)axl_dtype_size(e->dtype);
    const int64_t n = row_bytes > 0 ? BLOCK_BYTES / row_bytes : 1;
    return n > 0 ? n : 1;
}

typedef struct merging {
    axl_comm *comm;
    axl_ckpt *ckpt;
    const char *out_dir, *group;
    axl_dtype dtype;
    axl_tensor_spec *specs;         // [n], owned
    const axl_ckpt_entry **entries; // [n], owned
    int64_t n;
    axl_hfdir_plan plan;
    axl_hfdir_writer *writer;
} merging;

static axl_status dtype_of(const char *name, const char *where, axl_dtype *out)
{
    axl_status status = AXL_OK;
    const char *known[N_DTYPE_NAMES];

    for (int i = 0; i < N_DTYPE_NAMES; i++) {
        known[i] = dtype_names[i].name;
        if (strcmp(name, known[i]) == 0) {
            *out = dtype_names[i].dtype;
            return AXL_OK;
        }
    }
    const char *near = axl_nearest_name(name, known, N_DTYPE_NAMES);
    AXL_FAIL(AXL_E_CONFIG, "%s: dtype %s is not known; use float32, bfloat16 or float16%s%s", where,
             name, near != NULL ? ", perhaps " : "", near != NULL ? near : "");

out:
    return status;
}

// The dtype of the source model: what its config.json says, under the new or the old key.
static axl_status choose_dtype(merging *m, const char *wanted)
{
    axl_status status = AXL_OK;
    axl_json *config = NULL;
    axl_str text = {0};

    m->dtype = AXL_F32;
    if (wanted != NULL) {
        AXL_TRY(dtype_of(wanted, "merge", &m->dtype));
        goto out;
    }
    for (int i = 0; i < axl_ckpt_n_files(m->ckpt); i++) {
        if (strcmp(axl_ckpt_file_name(m->ckpt, i), "config.json") != 0)
            continue;
        AXL_TRY(axl_ckpt_read_file(m->ckpt, "config.json", &text));
        AXL_TRY(axl_json_parse(text.data, text.len, "config.json of the checkpoint", &config));
        const char *name = axl_json_string(axl_json_get(config, "dtype"), NULL);
        name = name != NULL ? name : axl_json_string(axl_json_get(config, "torch_dtype"), NULL);
        if (name != NULL)
            AXL_TRY(dtype_of(name, "config.json of the checkpoint", &m->dtype));
    }

out:
    axl_json_free(config);
    axl_str_fini(&text);
    return status;
}

static axl_status list_tensors(merging *m)
{
    axl_status status = AXL_OK;
    const int64_t count = axl_ckpt_count(m->ckpt);

    AXL_TRY(axl_calloc((size_t)count, sizeof *m->specs, "tensors", &m->specs));
    AXL_TRY(axl_calloc((size_t)count, sizeof(void *), "tensors", &m->entries));
    for (int64_t i = 0; i < count; i++) {
        const axl_ckpt_entry *e = axl_ckpt_at(m->ckpt, i);
        axl_tensor_spec *spec = &m->specs[m->n];
        if (strcmp(e->group, m->group) != 0)
            continue;
        *spec = (axl_tensor_spec){.name = e->name,
                                  .dtype = is_float(e->dtype) ? m->dtype : e->dtype,
                                  .n_dims = e->n_dims};
        memcpy(spec->dims, e->dims, sizeof e->dims);
        m->entries[m->n++] = e;
    }
    AXL_REQUIRE(m->n > 0, AXL_E_INPUT, "%s: holds no tensors of group %s", axl_ckpt_path(m->ckpt),
                m->group);

out:
    return status;
}

static axl_status begin(merging *m, const char *path, const axl_ckpt_merge_options *o)
{
    axl_status status = AXL_OK;

    m->group = o->group != NULL ? o->group : "model";
    AXL_TRY(axl_ckpt_open(path, &m->ckpt));
    AXL_TRY(choose_dtype(m, o->dtype));
    AXL_TRY(list_tensors(m));
    AXL_TRY(axl_hfdir_plan_make(m->specs, m->n, AXL_HFDIR_SHARD_BYTES, NULL, &m->plan));

out:
    return status;
}

// Rank 0 makes the files, then the others open them.
static axl_status open_writer(merging *m, bool first)
{
    axl_status status = AXL_OK;

    if (first != (axl_comm_rank(m->comm) == 0))
        goto out;
    if (first)
        AXL_TRY(axl_dir_make(m->out_dir));
    AXL_TRY(axl_hfdir_writer_open(m->out_dir, &m->plan, first, &m->writer));

out:
    return status;
}

// Rows of the stored dtype to what the writer takes: the target dtype, or F32.
static axl_status write_block(merging *m, int64_t i, int64_t row0, int64_t n_rows, const void *raw,
                              float *values)
{
    const axl_ckpt_entry *e = m->entries[i];
    const axl_block block = {.row0 = row0, .n_rows = n_rows};

    if (e->dtype == m->specs[i].dtype)
        return axl_hfdir_write_block(m->writer, i, &block, raw, e->dtype);
    (void)axl_convert_to_f32(raw, e->dtype, values, (size_t)(n_rows * row_elements(e)));
    return axl_hfdir_write_block(m->writer, i, &block, values, AXL_F32);
}

static axl_status write_tensor(merging *m, int64_t i)
{
    axl_status status = AXL_OK;
    const axl_ckpt_entry *e = m->entries[i];
    const int64_t rank = axl_comm_rank(m->comm), size = axl_comm_size(m->comm);
    const int64_t begin_row = e->dims[0] * rank / size, end_row = e->dims[0] * (rank + 1) / size;
    const int64_t row = row_elements(e);
    const int64_t step = block_rows(e) < end_row - begin_row ? block_rows(e) : end_row - begin_row;
    void *raw = NULL;
    float *values = NULL;

    AXL_TRY(axl_calloc((size_t)(step * row), axl_dtype_size(e->dtype), "rows", &raw));
    AXL_TRY(axl_calloc((size_t)(step * row), sizeof *values, "rows", &values));
    for (int64_t at = begin_row; at < end_row; at += step) {
        const int64_t n = end_row - at < step ? end_row - at : step;
        const axl_block block = {.row0 = at, .n_rows = n};
        AXL_TRY(axl_ckpt_read_block(m->ckpt, e->group, e->name, &block, raw));
        AXL_TRY(write_block(m, i, at, n, raw, values));
    }

out:
    free(raw);
    free(values);
    return status;
}

static axl_status write_rows(merging *m)
{
    axl_status status = AXL_OK;

    for (int64_t i = 0; i < m->n; i++)
        AXL_TRY(write_tensor(m, i));
    AXL_TRY(axl_hfdir_writer_flush(m->writer));

out:
    return status;
}

// The one that says that all is there, or the others.
static axl_status write_side_files(merging *m, bool last)
{
    axl_status status = AXL_OK;
    axl_str text = {0}, path = {0};

    for (int i = 0; i < axl_ckpt_n_files(m->ckpt); i++) {
        const char *name = axl_ckpt_file_name(m->ckpt, i);
        AXL_REQUIRE(name[0] != '\0' && name[0] != '.' && strchr(name, '/') == NULL, AXL_E_INPUT,
                    "%s: the embedded file '%s' has no plain name", axl_ckpt_path(m->ckpt), name);
        if ((strcmp(name, "config.json") == 0) != last)
            continue;
        axl_str_clear(&text);
        axl_str_clear(&path);
        AXL_TRY(axl_ckpt_read_file(m->ckpt, name, &text));
        AXL_TRY(axl_str_printf(&path, "%s/%s", m->out_dir, name));
        AXL_TRY(axl_file_write(path.data, text.data, text.len));
    }

out:
    axl_str_fini(&text);
    axl_str_fini(&path);
    return status;
}

static axl_status publish(merging *m)
{
    axl_status status = AXL_OK;

    if (axl_comm_rank(m->comm) != 0)
        goto out;
    AXL_TRY(write_side_files(m, false));
    AXL_TRY(axl_hfdir_writer_publish(m->writer));
    AXL_TRY(write_side_files(m, true));

out:
    return status;
}

axl_status axl_ckpt_merge(axl_comm *c, const char *path, const char *out_dir,
                          const axl_ckpt_merge_options *options)
{
    axl_status status = AXL_OK;
    merging m = {.comm = c, .out_dir = out_dir};

    AXL_TRY(axl_comm_agree(c, begin(&m, path, options)));
    AXL_TRY(axl_comm_agree(c, open_writer(&m, true)));
    AXL_TRY(axl_comm_agree(c, open_writer(&m, false)));
    AXL_TRY(axl_comm_agree(c, write_rows(&m)));
    AXL_TRY(axl_comm_agree(c, publish(&m)));

out:
    axl_hfdir_writer_destroy(m.writer);
    axl_hfdir_plan_fini(&m.plan);
    free(m.specs);
    free((void *)m.entries);
    axl_ckpt_close(m.ckpt);
    return status;
}
