// Weights between a Hugging Face directory and the masters. Each rank reads and writes its own rows, so no rank
// ever holds a whole matrix and nothing is sent.
#include "src/model/model.h"

#include "src/base/mem.h"

#include <stdlib.h>
#include <string.h>

static axl_tensor_spec spec_of(const axl_model_tensor *t, axl_dtype dtype)
{
    axl_tensor_spec spec = {.name = t->key, .dtype = dtype, .n_dims = t->param->n_dims};

    spec.dims[0] = t->param->file_rows;
    if (t->param->n_dims == 2)
        spec.dims[1] = t->param->file_cols;
    return spec;
}

// What is on disk of a matrix over the vocabulary, which may have other rows there: *want is what the file has, *b
// the part of this rank's rows that is in it.
static void clip_vocabulary(const axl_model *m, const axl_param *p, axl_tensor_spec *want,
                            axl_block *b)
{
    const int64_t left = m->arch.file_vocab - b->row0;

    if (p != &m->units[0].params[0] && p != m->lm_head)
        return;
    want->dims[0] = m->arch.file_vocab;
    b->n_rows = left < b->n_rows ? (left > 0 ? left : 0) : b->n_rows;
}

axl_status axl_model_load(axl_model *m, const axl_hfdir *dir)
{
    axl_status status = AXL_OK;
    axl_host_view rows = {0};

    for (int i = 0; i < m->n_tensors; i++) {
        const axl_model_tensor *t = &m->tensors[i];
        axl_param_rect r = axl_param_rect_of(t->param, t->mat);
        axl_tensor_spec want = spec_of(t, AXL_F32);
        clip_vocabulary(m, t->param, &want, &r.block);
        if (r.block.n_rows == 0) // its shape is checked all the same
            r.block.row0 = 0;
        AXL_TRY(axl_param_map(t->param, t->param->master, &r, false, &rows));
        AXL_TRY(axl_hfdir_read_block(dir, &want, &r.block, rows.host));
        AXL_TRY(axl_device_unmap(&rows, true));
    }
out:
    (void)axl_device_unmap(&rows, false);
    return status;
}

// The dtype a weight is written in: that of its tensor in the source, else the model's.
static axl_dtype file_dtype(const axl_model *m, const axl_hfdir *source, const char *key)
{
    const axl_tensor_entry *e = source != NULL ? axl_hfdir_find(source, key) : NULL;

    return e != NULL ? e->spec.dtype : m->arch.file_dtype;
}

static axl_status write_tensors(const axl_model *m, axl_hfdir_writer *w)
{
    axl_status status = AXL_OK;
    axl_host_view rows = {0};

    for (int i = 0; i < m->n_tensors; i++) {
        const axl_param *p = m->tensors[i].param;
        const axl_param_rect r = axl_param_rect_of(p, m->tensors[i].mat);
        if (!p->owner || r.block.n_rows == 0)
            continue;
        AXL_TRY(axl_param_map(p, p->master, &r, true, &rows));
        AXL_TRY(axl_hfdir_write_block(w, i, &r.block, rows.host, AXL_F32));
        AXL_TRY(axl_device_unmap(&rows, false));
    }
    AXL_TRY(axl_hfdir_writer_flush(w));
out:
    (void)axl_device_unmap(&rows, false);
    return status;
}

static axl_status write_rows(const axl_model *m, const axl_hfdir_plan *plan, const char *dir)
{
    axl_status status = AXL_OK;
    axl_comm *world = m->mesh->world;
    axl_hfdir_writer *w = NULL;
    bool first = axl_comm_rank(world) == 0;

    if (first)
        status = axl_hfdir_writer_open(dir, plan, true, &w);
    AXL_TRY(axl_comm_agree(world, status)); // the files must be there before the others open them
    if (!first)
        status = axl_hfdir_writer_open(dir, plan, false, &w);
    AXL_TRY(axl_comm_agree(world, status));
    AXL_TRY(axl_comm_agree(world, write_tensors(m, w)));
    if (first)
        status = axl_hfdir_writer_publish(w);
    AXL_TRY(axl_comm_agree(world, status));
out:
    axl_hfdir_writer_destroy(w);
    return status;
}

axl_status axl_model_save(const axl_model *m, const axl_hfdir *source, const char *dir)
{
    axl_status status = AXL_OK;
    axl_tensor_spec *specs = NULL;
    axl_hfdir_plan plan = {0};

    AXL_TRY(axl_calloc((size_t)m->n_tensors, sizeof *specs, "the list of tensors", &specs));
    for (int i = 0; i < m->n_tensors; i++)
        specs[i] = spec_of(&m->tensors[i], file_dtype(m, source, m->tensors[i].key));
    AXL_TRY(axl_hfdir_plan_make(specs, m->n_tensors, AXL_HFDIR_SHARD_BYTES, source, &plan));
    AXL_TRY(write_rows(m, &plan, dir));
    if (source != NULL && axl_comm_rank(m->mesh->world) == 0)
        status = axl_hfdir_copy_side_files(axl_hfdir_path(source), dir, NULL);
    AXL_TRY(axl_comm_agree(m->mesh->world, status));
out:
    axl_hfdir_plan_fini(&plan);
    free(specs);
    return status;
}
