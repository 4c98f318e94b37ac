// Building a model's units from its architecture. What is hard is only the bookkeeping of names: a weight's key
// is "model.layers.N." and the name its instruction gave, and a unit's uses follow the program's order.
#include "src/model/model.h"

#include "src/base/mem.h"
#include "src/base/str.h"
#include "src/model/builder.h"

#include <stdlib.h>
#include <string.h>

static axl_status build_programs(axl_model *m, int *kind_of_layer)
{
    axl_status status = AXL_OK;
    const axl_arch *a = &m->arch;

    AXL_TRY(axl_calloc((size_t)a->n_layers + 2, sizeof *m->programs, "the programs", &m->programs));
    AXL_TRY(axl_decoder_build_embedding(a, &m->programs[AXL_PROGRAM_EMBEDDING]));
    AXL_TRY(axl_decoder_build_head(a, &m->programs[AXL_PROGRAM_HEAD]));
    m->n_programs = 2;
    for (int l = 0; l < a->n_layers; l++) {
        int same = 0;
        while (same < l && !axl_decoder_same_kind(a, same, l))
            same++;
        if (same < l) {
            kind_of_layer[l] = kind_of_layer[same];
            continue;
        }
        kind_of_layer[l] = m->n_programs;
        AXL_TRY(axl_decoder_build_layer(a, l, &m->programs[m->n_programs++]));
    }
out:
    return status;
}

static axl_status make_key(const axl_unit *u, const char *name, char **out)
{
    axl_status status = AXL_OK;
    axl_str key = {0};

    if (u->layer >= 0)
        AXL_TRY(axl_str_printf(&key, "model.layers.%d.", u->layer));
    AXL_TRY(axl_str_puts(&key, name));
    *out = key.data;
    key = (axl_str){0}; // handed to the caller
out:
    axl_str_fini(&key);
    return status;
}

static axl_status add_param(axl_unit *u, const axl_weight *w, axl_comm *comm)
{
    axl_status status = AXL_OK;
    axl_param *p = &u->params[u->n_params];

    *p = (axl_param){.n_dims = w->n_dims,
                     .rows = w->rows,
                     .cols = w->cols,
                     .trainable = true,
                     .decay = w->decay,
                     .row_align = 1};
    AXL_TRY(make_key(u, w->name, &p->key));
    axl_param_shard(p, comm);
    u->uses[u->n_uses++] = p;
    u->n_params++;
out:
    return status;
}

// The unit's own params; room for one more, and for one borrowed use (the head).
static axl_status build_unit(axl_model *m, axl_unit *u, const char *name, int layer, int program,
                             axl_comm *comm)
{
    axl_status status = AXL_OK;
    const axl_program *p = &m->programs[program];
    size_t n = (size_t)p->n_weights + 1;

    *u = (axl_unit){.name = name, .layer = layer, .program = program};
    AXL_TRY(axl_calloc(n, sizeof *u->params, "a unit's params", &u->params));
    AXL_TRY(axl_calloc(n, sizeof(axl_param *), "a unit's uses", &u->uses));
    for (int k = 0; k < p->n_weights; k++)
        AXL_TRY(add_param(u, &p->weights[k], comm));
out:
    return status;
}

static axl_status build_head(axl_model *m, axl_comm *comm)
{
    axl_status status = AXL_OK;
    axl_unit *head = &m->units[m->n_units - 1];
    const axl_weight w = {.name = "lm_head.weight",
                          .rows = m->arch.vocab,
                          .cols = m->arch.hidden,
                          .n_dims = 2,
                          .tp = AXL_TP_COL,
                          .decay = true};

    if (m->arch.tied)
        head->uses[head->n_uses++] = &m->units[0].params[0];
    else
        AXL_TRY(add_param(head, &w, comm));
    m->lm_head = head->uses[head->n_uses - 1];
out:
    return status;
}

axl_status axl_model_create(axl_arch *arch, axl_comm *comm, axl_model **out)
{
    axl_status status = AXL_OK;
    axl_model *m = NULL;
    int *kind = NULL;

    AXL_TRY(axl_calloc(1, sizeof *m, "the model", &m));
    m->arch = *arch;
    *arch = (axl_arch){0}; // taken over
    int layers = m->arch.n_layers;
    AXL_TRY(axl_calloc((size_t)layers, sizeof *kind, "the layer kinds", &kind));
    AXL_TRY(build_programs(m, kind));
    AXL_TRY(axl_calloc((size_t)layers + 2, sizeof *m->units, "the units", &m->units));
    m->n_units = layers + 2;
    AXL_TRY(build_unit(m, &m->units[0], "embedding", -1, AXL_PROGRAM_EMBEDDING, comm));
    for (int l = 0; l < layers; l++)
        AXL_TRY(build_unit(m, &m->units[l + 1], "layer", l, kind[l], comm));
    AXL_TRY(build_unit(m, &m->units[layers + 1], "head", -1, AXL_PROGRAM_HEAD, comm));
    AXL_TRY(build_head(m, comm));
    for (int i = 0; i < axl_model_n_params(m); i++) {
        const axl_param *p = axl_model_param(m, i);
        m->n_elements += p->rows * p->cols;
    }
    *out = m;
    m = NULL; // handed to the caller
out:
    axl_arch_fini(arch);
    free(kind);
    axl_model_destroy(m);
    return status;
}

void axl_model_destroy(axl_model *m)
{
    if (m == NULL)
        return;
    for (int i = 0; i < m->n_units; i++) {
        for (int k = 0; k < m->units[i].n_params; k++)
            free(m->units[i].params[k].key);
        free(m->units[i].params);
        free(m->units[i].uses);
    }
    free(m->units);
    free(m->programs);
    axl_arch_fini(&m->arch);
    free(m);
}

int axl_model_n_params(const axl_model *m)
{
    int n = 0;

    for (int i = 0; i < m->n_units; i++)
        n += m->units[i].n_params;
    return n;
}

axl_param *axl_model_param(const axl_model *m, int i)
{
    for (int u = 0; u < m->n_units; u++) {
        if (i < m->units[u].n_params)
            return &m->units[u].params[i];
        i -= m->units[u].n_params;
    }
    return NULL;
}
