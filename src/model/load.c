// Weights between a Hugging Face directory and the masters. Each rank reads and writes its own rows, so no rank
// ever holds a whole matrix and nothing is sent.
#include "src/model/model.h"

#include "src/base/mem.h"

#include <stdlib.h>
#include <string.h>

static axl_tensor_spec spec_of(const axl_param *p, axl_dtype dtype)
{
    axl_tensor_spec spec = {.name = p->key, .dtype = dtype, .n_dims = p->n_dims};

    spec.dims[0] = p->rows;
    if (p->n_dims == 2)
        spec.dims[1] = p->cols;
    return spec;
}

axl_status axl_model_load(axl_model *m, const axl_hfdir *dir)
{
    axl_status status = AXL_OK;

    for (int i = 0; i < axl_model_n_params(m); i++) {
        axl_param *p = axl_model_param(m, i);
        const axl_tensor_spec want = spec_of(p, AXL_F32);
        AXL_TRY(axl_hfdir_read_rows(dir, &want, p->row0, p->n_rows, p->master));
    }
out:
    return status;
}

// The dtype a weight is written in: that of its tensor in the source, else the model's.
static axl_dtype file_dtype(const axl_model *m, const axl_hfdir *source, const axl_param *p)
{
    const axl_tensor_entry *e = source != NULL ? axl_hfdir_find(source, p->key) : NULL;

    return e != NULL ? e->spec.dtype : m->arch.file_dtype;
}

static axl_status write_rows(const axl_model *m, axl_comm *comm, const axl_hfdir_plan *plan,
                             const char *dir)
{
    axl_status status = AXL_OK;
    axl_hfdir_writer *w = NULL;
    bool first = axl_comm_rank(comm) == 0;

    if (first)
        status = axl_hfdir_writer_open(dir, plan, true, &w);
    AXL_TRY(axl_comm_agree(comm, status)); // the files must be there before the others open them
    if (!first)
        status = axl_hfdir_writer_open(dir, plan, false, &w);
    AXL_TRY(axl_comm_agree(comm, status));
    for (int i = 0; status == AXL_OK && i < axl_model_n_params(m); i++) {
        const axl_param *p = axl_model_param(m, i);
        status = axl_hfdir_write_rows(w, i, p->row0, p->n_rows, p->master, AXL_F32);
    }
    if (status == AXL_OK)
        status = axl_hfdir_writer_flush(w);
    AXL_TRY(axl_comm_agree(comm, status));
    if (first)
        status = axl_hfdir_writer_publish(w);
    AXL_TRY(axl_comm_agree(comm, status));
out:
    axl_hfdir_writer_destroy(w);
    return status;
}

axl_status axl_model_save(const axl_model *m, axl_comm *comm, const axl_hfdir *source,
                          const char *dir)
{
    axl_status status = AXL_OK;
    axl_tensor_spec *specs = NULL;
    axl_hfdir_plan plan = {0};
    int n = axl_model_n_params(m);

    AXL_TRY(axl_calloc((size_t)n, sizeof *specs, "the list of tensors", &specs));
    for (int i = 0; i < n; i++) {
        const axl_param *p = axl_model_param(m, i);
        specs[i] = spec_of(p, file_dtype(m, source, p));
    }
    AXL_TRY(axl_hfdir_plan_make(specs, n, AXL_HFDIR_SHARD_BYTES, source, &plan));
    AXL_TRY(write_rows(m, comm, &plan, dir));
    if (source != NULL && axl_comm_rank(comm) == 0)
        status = axl_hfdir_copy_side_files(axl_hfdir_path(source), dir, NULL);
    AXL_TRY(axl_comm_agree(comm, status));
out:
    axl_hfdir_plan_fini(&plan);
    free(specs);
    return status;
}
