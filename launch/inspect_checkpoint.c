// Checkpoints as `axl-dist inspect` sees them: tensors by GROUP/NAME, read from the shards.
#include "launch/inspect.h"

#include "sharding/ckpt.h"
#include "src/base/mem.h"
#include "src/io/file.h"

#include <stdlib.h>
#include <string.h>

typedef struct handle {
    axl_ckpt *ckpt;
    char **names;                   // [n], owned: GROUP/NAME
    const axl_ckpt_entry **entries; // [n], owned
    int64_t n;
} handle;

static bool checkpoint_is(const char *path)
{
    axl_str index = {0};
    const bool is =
        axl_str_printf(&index, "%s/index.h5", path) == AXL_OK && axl_path_exists(index.data);

    axl_str_fini(&index);
    return is;
}

static axl_status add_tensor(handle *h, const axl_ckpt_entry *e, axl_inspected_tensor *to)
{
    axl_status status = AXL_OK;
    axl_str name = {0};

    AXL_TRY(axl_str_printf(&name, "%s/%s", e->group, e->name));
    AXL_TRY(axl_strdup(name.data, &h->names[h->n]));
    *to = (axl_inspected_tensor){.name = h->names[h->n],
                                 .dtype = axl_dtype_name(e->dtype),
                                 .n_dims = e->n_dims,
                                 .rows = e->dims[0],
                                 .cols = 1};
    for (int d = 0; d < e->n_dims; d++) {
        to->dims[d] = e->dims[d];
        to->cols *= d > 0 ? e->dims[d] : 1;
    }
    to->bytes = (size_t)(to->rows * to->cols) * axl_dtype_size(e->dtype);
    h->entries[h->n++] = e;

out:
    axl_str_fini(&name);
    return status;
}

static axl_status checkpoint_open(const char *path, axl_inspected *out)
{
    axl_status status = AXL_OK;
    handle *h = NULL;

    AXL_TRY(axl_calloc(1, sizeof *h, "a checkpoint", &h));
    out->handle = h;
    AXL_TRY(axl_ckpt_open(path, &h->ckpt));
    const int64_t n = axl_ckpt_count(h->ckpt);
    AXL_TRY(axl_calloc((size_t)n, sizeof *h->names, "tensors", &h->names));
    AXL_TRY(axl_calloc((size_t)n, sizeof(void *), "tensors", &h->entries));
    AXL_TRY(axl_calloc((size_t)n, sizeof *out->tensors, "tensors", &out->tensors));
    for (; out->n < n; out->n++)
        AXL_TRY(add_tensor(h, axl_ckpt_at(h->ckpt, out->n), &out->tensors[out->n]));
    AXL_TRY(axl_str_printf(&out->about, "step: %lld\nwritten by ranks: %d\nstored bytes: %lld\n",
                           (long long)axl_ckpt_step(h->ckpt), axl_ckpt_world(h->ckpt),
                           (long long)axl_ckpt_stored_bytes(h->ckpt)));
    for (int i = 0; i < axl_ckpt_n_files(h->ckpt); i++)
        AXL_TRY(axl_str_printf(&out->about, "embedded: %s\n", axl_ckpt_file_name(h->ckpt, i)));

out:
    return status;
}

static axl_status checkpoint_read(const axl_inspected *x, const axl_inspected_tensor *t,
                                  int64_t row0, int64_t n_rows, double *dst)
{
    axl_status status = AXL_OK;
    handle *h = x->handle;
    const axl_ckpt_entry *e = NULL;
    unsigned char *rows = NULL;

    for (int64_t i = 0; i < h->n && e == NULL; i++)
        if (h->names[i] == t->name)
            e = h->entries[i];
    AXL_REQUIRE(e != NULL, AXL_E_BUG, "%s is no tensor of this checkpoint", t->name);
    AXL_TRY(axl_calloc((size_t)(n_rows * t->cols), axl_dtype_size(e->dtype), "rows", &rows));
    const axl_block block = {.row0 = row0, .n_rows = n_rows};
    AXL_TRY(axl_ckpt_read_block(h->ckpt, e->group, e->name, &block, rows));
    for (int64_t i = 0; i < n_rows * t->cols; i++)
        dst[i] = axl_inspect_element(rows, e->dtype, i);

out:
    free(rows);
    return status;
}

static void checkpoint_close(void *handle_)
{
    handle *h = handle_;

    if (h == NULL)
        return;
    for (int64_t i = 0; i < h->n; i++)
        free(h->names[i]);
    free(h->names);
    free((void *)h->entries);
    axl_ckpt_close(h->ckpt);
    free(h);
}

const axl_inspect_kind axl_inspect_checkpoint = {"checkpoint", checkpoint_is, checkpoint_open,
                                                 checkpoint_read, checkpoint_close};
