// Writing a model directory. The hard part is that many ranks write one set of files: all that they
// must agree on is in the plan, which every rank makes by itself from the same list of tensors.
#include "src/io/hfdir.h"

#include "src/base/mem.h"
#include "src/io/file.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INDEX_NAME "model.safetensors.index.json"
#define STAGE_BYTES                                                                                \
    ((int64_t)512 << 10) // rounded at a time: in the cache, and many bytes a system call

// Where tensor i of the caller stands among the entries of source, if that holds just these tensors.
static bool same_tensors(const axl_hfdir_plan *p, const axl_hfdir *source)
{
    if (source == NULL || axl_hfdir_count(source) != p->n)
        return false;
    for (int64_t i = 0; i < p->n; i++) {
        const axl_tensor_spec *a = &p->specs[i];
        const axl_tensor_entry *e = axl_hfdir_find(source, a->name);
        if (e == NULL || e->spec.dtype != a->dtype || e->spec.n_dims != a->n_dims ||
            memcmp(e->spec.dims, a->dims, sizeof a->dims) != 0)
            return false;
    }
    return true;
}

static axl_status allocate_files(axl_hfdir_plan *p, int64_t n_files)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_calloc((size_t)n_files, sizeof *p->files, "file plans", &p->files));
    AXL_TRY(axl_calloc((size_t)n_files, sizeof *p->names, "file plans", &p->names));
    p->n_files = n_files;
out:
    return status;
}

// Plans the files of source again.
static axl_status plan_as_source(axl_hfdir_plan *p, const axl_hfdir *source)
{
    axl_status status = AXL_OK;
    axl_str index_path = {0};

    AXL_TRY(allocate_files(p, axl_hfdir_n_files(source)));
    for (int64_t k = 0; k < p->n_files; k++) {
        AXL_TRY(axl_strdup(axl_hfdir_file_name(source, k), &p->names[k]));
        AXL_TRY(axl_safetensors_plan_copy(axl_hfdir_file(source, k), &p->files[k]));
    }
    for (int64_t i = 0; i < p->n; i++) {
        p->file[i] = -1;
        for (int64_t k = 0; k < p->n_files && p->file[i] < 0; k++) {
            const axl_safetensors *file = axl_hfdir_file(source, k);
            const axl_tensor_entry *e = axl_safetensors_find(file, p->specs[i].name);
            if (e == NULL)
                continue;
            p->file[i] = k;
            p->index[i] = e - axl_safetensors_at(file, 0); // entries are one array
        }
    }
    AXL_TRY(axl_str_printf(&index_path, "%s/" INDEX_NAME, axl_hfdir_path(source)));
    if (p->n_files > 1 || strcmp(p->names[0], "model.safetensors") != 0)
        AXL_TRY(axl_file_read(index_path.data, &p->index_json));
out:
    axl_str_fini(&index_path);
    return status;
}

// Assigns tensors to files in the way of transformers: in order, a new file when the next one would be
// too large; a tensor that is larger than a file by itself gets one at once.
static void assign_files(axl_hfdir_plan *p, size_t shard_bytes, int64_t *out_n_files)
{
    int64_t n_files = 0, pending = 0; // tensors of the file that is being filled have file -1
    size_t filled = 0;

    for (int64_t i = 0; i < p->n; i++) {
        size_t bytes = (size_t)axl_tensor_count(&p->specs[i]) * axl_dtype_size(p->specs[i].dtype);
        p->file[i] = -1;
        if (bytes > shard_bytes) {
            p->file[i] = n_files++;
            continue;
        }
        if (filled + bytes > shard_bytes) {
            for (int64_t j = 0; j < i; j++)
                if (p->file[j] < 0)
                    p->file[j] = n_files;
            n_files++;
            filled = 0;
            pending = 0;
        }
        filled += bytes;
        pending++;
    }
    for (int64_t j = 0; j < p->n; j++)
        if (p->file[j] < 0)
            p->file[j] = n_files;
    *out_n_files = n_files + (pending > 0 || n_files == 0);
}

// Makes the layout of file k from the tensors assigned to it; specs and which are scratch of size [n].
static axl_status plan_file(axl_hfdir_plan *p, int64_t k, axl_tensor_spec *specs)
{
    axl_status status = AXL_OK;
    axl_str name = {0};
    int64_t n = 0;

    for (int64_t i = 0; i < p->n; i++) {
        if (p->file[i] != k)
            continue;
        p->index[i] = n;
        specs[n++] = p->specs[i];
    }
    AXL_TRY(axl_safetensors_plan_make(specs, n, NULL, &p->files[k]));
    if (p->n_files == 1)
        AXL_TRY(axl_str_puts(&name, "model.safetensors"));
    else
        AXL_TRY(axl_str_printf(&name, "model-%05lld-of-%05lld.safetensors", (long long)k + 1,
                               (long long)p->n_files));
    AXL_TRY(axl_strdup(name.data, &p->names[k]));
out:
    axl_str_fini(&name);
    return status;
}

static int compare_spec_name(const void *a, const void *b, void *context)
{
    const axl_tensor_spec *specs = context;
    return strcmp(specs[*(const int64_t *)a].name, specs[*(const int64_t *)b].name);
}

// The index as Python's json.dumps(indent=2, sort_keys=True) writes it.
static axl_status make_index(axl_hfdir_plan *p, int64_t *order)
{
    axl_status status = AXL_OK;
    size_t total_bytes = 0;
    int64_t total_parameters = 0;

    for (int64_t i = 0; i < p->n; i++) {
        order[i] = i;
        total_bytes += p->files[p->file[i]].bytes[p->index[i]];
        total_parameters += axl_tensor_count(&p->specs[i]);
    }
    qsort_r(order, (size_t)p->n, sizeof *order, compare_spec_name, p->specs);
    AXL_TRY(axl_str_printf(&p->index_json,
                           "{\n  \"metadata\": {\n    \"total_parameters\": %lld,\n"
                           "    \"total_size\": %zu\n  },\n  \"weight_map\": {\n",
                           (long long)total_parameters, total_bytes));
    for (int64_t i = 0; i < p->n; i++) {
        const char *name = p->specs[order[i]].name;
        AXL_TRY(axl_str_puts(&p->index_json, "    "));
        AXL_TRY(axl_str_put_json(&p->index_json, name, strlen(name)));
        AXL_TRY(axl_str_printf(&p->index_json, ": \"%s\"%s\n", p->names[p->file[order[i]]],
                               i + 1 < p->n ? "," : ""));
    }
    AXL_TRY(axl_str_puts(&p->index_json, "  }\n}\n"));
out:
    return status;
}

static axl_status plan_by_size(axl_hfdir_plan *p, size_t shard_bytes)
{
    axl_status status = AXL_OK;
    axl_tensor_spec *specs = NULL;
    int64_t *order = NULL;
    int64_t n_files;

    AXL_TRY(axl_calloc((size_t)p->n, sizeof *specs, "file plans", &specs));
    AXL_TRY(axl_calloc((size_t)p->n, sizeof *order, "file plans", &order));
    assign_files(p, shard_bytes, &n_files);
    AXL_TRY(allocate_files(p, n_files));
    for (int64_t k = 0; k < n_files; k++)
        AXL_TRY(plan_file(p, k, specs));
    if (n_files > 1)
        AXL_TRY(make_index(p, order));
out:
    free(specs);
    free(order);
    return status;
}

axl_status axl_hfdir_plan_make(const axl_tensor_spec *specs, int64_t n, size_t shard_bytes,
                               const axl_hfdir *source, axl_hfdir_plan *plan)
{
    axl_status status = AXL_OK;
    axl_hfdir_plan p = {0};

    AXL_TRY(axl_calloc((size_t)n, sizeof *p.specs, "file plans", &p.specs));
    AXL_TRY(axl_calloc((size_t)n, sizeof *p.file, "file plans", &p.file));
    AXL_TRY(axl_calloc((size_t)n, sizeof *p.index, "file plans", &p.index));
    AXL_TRY(axl_calloc((size_t)n, sizeof(void *), "file plans", &p.keys));
    for (; p.n < n; p.n++) {
        AXL_TRY(axl_strdup(specs[p.n].name, &p.keys[p.n]));
        p.specs[p.n] = specs[p.n];
        p.specs[p.n].name = p.keys[p.n];
        for (int d = specs[p.n].n_dims; d < AXL_MAX_DIMS; d++)
            p.specs[p.n].dims[d] = 0; // unused ones compare equal
    }
    AXL_TRY(same_tensors(&p, source) ? plan_as_source(&p, source) : plan_by_size(&p, shard_bytes));
    *plan = p;
    p = (axl_hfdir_plan){0}; // handed to the caller
out:
    axl_hfdir_plan_fini(&p);
    return status;
}

void axl_hfdir_plan_fini(axl_hfdir_plan *plan)
{
    for (int64_t k = 0; k < plan->n_files; k++) {
        axl_safetensors_plan_fini(&plan->files[k]);
        free(plan->names[k]);
    }
    for (int64_t i = 0; i < plan->n; i++)
        free(plan->keys[i]);
    free(plan->keys);
    free(plan->files);
    free(plan->names);
    free(plan->specs);
    free(plan->file);
    free(plan->index);
    axl_str_fini(&plan->index_json);
    *plan = (axl_hfdir_plan){0};
}

struct axl_hfdir_writer {
    const axl_hfdir_plan *plan;     // borrowed
    char *dir;                      // owned
    axl_safetensors_writer **files; // [plan->n_files], owned
    void *stage;                    // [STAGE_BYTES], owned: elements rounded to the dtype of a file
};

axl_status axl_hfdir_writer_open(const char *dir, const axl_hfdir_plan *plan, bool first,
                                 axl_hfdir_writer **out)
{
    axl_status status = AXL_OK;
    axl_hfdir_writer *w = NULL;
    axl_str path = {0};

    AXL_TRY(axl_calloc(1, sizeof *w, "a model writer", &w));
    w->plan = plan;
    AXL_TRY(axl_calloc(STAGE_BYTES, 1, "a model writer", &w->stage));
    AXL_TRY(axl_strdup(dir, &w->dir));
    AXL_TRY(axl_calloc((size_t)plan->n_files, sizeof(void *), "a model writer", &w->files));
    for (int64_t k = 0; k < plan->n_files; k++) {
        axl_str_clear(&path);
        AXL_TRY(axl_str_printf(&path, "%s/%s", dir, plan->names[k]));
        AXL_TRY(axl_safetensors_writer_open(path.data, &plan->files[k], first, &w->files[k]));
    }
    *out = w;
    w = NULL; // handed to the caller
out:
    axl_str_fini(&path);
    axl_hfdir_writer_destroy(w);
    return status;
}

// Rounds a block of f32 to the dtype of the file by tiles of the staging buffer, and writes these. b is
// filled in; `to` is the place of its first element.
static axl_status write_rounded(axl_hfdir_writer *w, int64_t i, const axl_block *b,
                                const axl_runs *to, const float *src)
{
    axl_status status = AXL_OK;
    const axl_tensor_spec *spec = &w->plan->specs[i];
    int64_t size = (int64_t)axl_dtype_size(spec->dtype), room = STAGE_BYTES / size;
    int64_t tile_cols = b->n_cols < room ? b->n_cols : room;
    int64_t tile_rows = tile_cols < b->n_cols ? 1 : room / tile_cols;

    for (int64_t row = 0; row < b->n_rows; row += tile_rows) {
        int64_t n_rows = b->n_rows - row < tile_rows ? b->n_rows - row : tile_rows;
        for (int64_t col = 0; col < b->n_cols; col += tile_cols) {
            int64_t n_cols = b->n_cols - col < tile_cols ? b->n_cols - col : tile_cols;
            axl_runs runs = {.at = to->at + (size_t)row * to->stride + (size_t)(col * size),
                             .stride = to->stride,
                             .n = n_rows,
                             .bytes = (size_t)(n_cols * size),
                             .src_stride = (size_t)(n_cols * size)};
            for (int64_t r = 0; r < n_rows; r++)
                AXL_REQUIRE(axl_convert_from_f32(src + (row + r) * b->ld + col,
                                                 (char *)w->stage + (size_t)r * runs.bytes,
                                                 spec->dtype, (size_t)n_cols) == 0,
                            AXL_E_BUG, "tensor %s: F32 cannot become %s", spec->name,
                            axl_dtype_name(spec->dtype));
            AXL_TRY(axl_safetensors_write_runs(w->files[w->plan->file[i]], w->plan->index[i], &runs,
                                               w->stage));
        }
    }
out:
    return status;
}

axl_status axl_hfdir_write_block(axl_hfdir_writer *w, int64_t i, const axl_block *b,
                                 const void *src, axl_dtype src_dtype)
{
    axl_status status = AXL_OK;
    const axl_tensor_spec *spec = &w->plan->specs[i];
    int64_t rows = spec->n_dims > 0 ? spec->dims[0] : 1;
    int64_t cols = rows > 0 ? axl_tensor_count(spec) / rows : 0;
    size_t size = axl_dtype_size(spec->dtype);
    axl_block block = axl_block_in(b, cols);

    AXL_ASSERT(axl_block_fits(&block, rows, cols));
    if (block.n_rows == 0 || block.n_cols == 0)
        goto out;
    axl_runs to = {.at = (size_t)(block.row0 * cols + block.col0) * size,
                   .stride = (size_t)cols * size};
    if (axl_block_is_dense(&block, cols)) // all rows are one long one
        block = (axl_block){.n_rows = 1, .n_cols = block.n_rows * cols};
    to.n = block.n_rows;
    to.bytes = (size_t)block.n_cols * size;
    to.src_stride = (size_t)block.ld * size;
    AXL_REQUIRE(src_dtype == spec->dtype || src_dtype == AXL_F32, AXL_E_BUG,
                "tensor %s: a block of %s cannot become %s", spec->name, axl_dtype_name(src_dtype),
                axl_dtype_name(spec->dtype));
    AXL_TRY(src_dtype == spec->dtype ? axl_safetensors_write_runs(w->files[w->plan->file[i]],
                                                                  w->plan->index[i], &to, src)
                                     : write_rounded(w, i, &block, &to, src));
out:
    return status;
}

axl_status axl_hfdir_writer_flush(axl_hfdir_writer *w)
{
    axl_status status = AXL_OK;

    for (int64_t k = 0; k < w->plan->n_files; k++)
        AXL_TRY(axl_safetensors_writer_flush(w->files[k]));
out:
    return status;
}

// Removes weight files of an earlier save: a reader would take them for this model's.
static axl_status remove_stale(const axl_hfdir_writer *w)
{
    axl_status status = AXL_OK;
    struct dirent *entry;
    axl_str path = {0};
    DIR *dir = opendir(w->dir);

    AXL_REQUIRE(dir != NULL, AXL_E_IO, "%s: cannot be read: %s", w->dir, strerror(errno));
    while ((entry = readdir(dir)) != NULL) {
        const char *name = entry->d_name;
        size_t n = strlen(name);
        bool shard = n > 12 && strncmp(name, "model-", 6) == 0 && strstr(name, "-of-") != NULL &&
                     strcmp(name + n - 12, ".safetensors") == 0;
        bool stale = shard || strcmp(name, "model.safetensors") == 0 ||
                     (strcmp(name, INDEX_NAME) == 0 && w->plan->index_json.len == 0);
        for (int64_t k = 0; k < w->plan->n_files; k++)
            stale = stale && strcmp(name, w->plan->names[k]) != 0;
        if (!stale)
            continue;
        axl_str_clear(&path);
        AXL_TRY(axl_str_printf(&path, "%s/%s", w->dir, name));
        AXL_TRY(axl_path_remove(path.data));
    }
out:
    if (dir != NULL)
        (void)closedir(dir);
    axl_str_fini(&path);
    return status;
}

axl_status axl_hfdir_writer_publish(axl_hfdir_writer *w)
{
    axl_status status = AXL_OK;
    axl_str path = {0};

    for (int64_t k = 0; k < w->plan->n_files; k++)
        AXL_TRY(axl_safetensors_writer_publish(w->files[k]));
    if (w->plan->index_json.len > 0) {
        AXL_TRY(axl_str_printf(&path, "%s/" INDEX_NAME, w->dir));
        AXL_TRY(axl_file_write(path.data, w->plan->index_json.data, w->plan->index_json.len));
    }
    AXL_TRY(remove_stale(w));
    AXL_TRY(axl_path_sync(w->dir));
out:
    axl_str_fini(&path);
    return status;
}

void axl_hfdir_writer_destroy(axl_hfdir_writer *w)
{
    if (w == NULL)
        return;
    for (int64_t k = 0; w->files != NULL && k < w->plan->n_files; k++)
        axl_safetensors_writer_destroy(w->files[k]);
    free(w->files);
    free(w->stage);
    free(w->dir);
    free(w);
}

// What tells a reader that a directory holds a model.
static const char *const model_files[] = {"config.json", "model.safetensors", INDEX_NAME};
#define N_MODEL_FILES (sizeof model_files / sizeof *model_files)

axl_status axl_hfdir_check_free(const char *dir)
{
    axl_status status = AXL_OK;
    axl_str path = {0};

    for (size_t i = 0; i < N_MODEL_FILES; i++) {
        axl_str_clear(&path);
        AXL_TRY(axl_str_printf(&path, "%s/%s", dir, model_files[i]));
        AXL_REQUIRE(!axl_path_exists(path.data), AXL_E_INPUT,
                    "%s: is there already and would be overwritten; choose another directory",
                    path.data);
    }
out:
    axl_str_fini(&path);
    return status;
}

void axl_hfdir_discard(const char *dir)
{
    axl_str path = {0};

    for (size_t i = 0; i < N_MODEL_FILES; i++) {
        axl_str_clear(&path);
        if (axl_str_printf(&path, "%s/%s", dir, model_files[i]) == AXL_OK)
            (void)unlink(path.data);
    }
    axl_str_fini(&path);
}
