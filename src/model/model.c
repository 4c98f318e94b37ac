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
    const int tp = m->mesh->size[AXL_TP], ep = m->mesh->size[AXL_EP];

    AXL_TRY(axl_calloc((size_t)a->n_layers + 2, sizeof *m->programs, "the programs", &m->programs));
    AXL_TRY(axl_decoder_build_embedding(a, tp, &m->programs[AXL_PROGRAM_EMBEDDING]));
    AXL_TRY(axl_decoder_build_head(a, tp, &m->programs[AXL_PROGRAM_HEAD]));
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
        AXL_TRY(axl_decoder_build_layer(a, tp, ep, l, &m->programs[m->n_programs++]));
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

static axl_status add_param(axl_model *m, axl_unit *u, const axl_weight *w)
{
    axl_status status = AXL_OK;
    axl_param *p = &u->params[u->n_params];

    *p = (axl_param){.n_dims = w->n_dims,
                     .n_file_mats = w->n_mats > 1 ? w->n_mats : 1,
                     .file_rows = w->rows,
                     .file_cols = w->cols,
                     .is_expert = w->n_mats > 1,
                     .tp = w->tp,
                     .tp_parts = w->tp_parts,
                     .trainable = true,
                     .decay = w->decay,
                     .fp8 = w->fp8,
                     .row_align = 1};
    u->uses[u->n_uses++] = p;
    u->n_params++; // from here on the unit owns it
    AXL_TRY(make_key(u, w->name, &p->key));
    AXL_TRY(axl_param_place(p, m->mesh));
out:
    return status;
}

// The unit's own params; room for one more, and for one borrowed use (the head).
static axl_status build_unit(axl_model *m, axl_unit *u, const char *name, int layer, int program)
{
    axl_status status = AXL_OK;
    const axl_program *p = &m->programs[program];
    size_t n = (size_t)p->n_weights + 1;

    *u = (axl_unit){.name = name, .layer = layer, .program = program};
    AXL_TRY(axl_calloc(n, sizeof *u->params, "a unit's params", &u->params));
    AXL_TRY(axl_calloc(n, sizeof(axl_param *), "a unit's uses", &u->uses));
    for (int k = 0; k < p->n_weights; k++)
        AXL_TRY(add_param(m, u, &p->weights[k]));
out:
    return status;
}

static axl_status build_head(axl_model *m)
{
    axl_status status = AXL_OK;
    axl_unit *head = &m->units[m->n_units - 1];
    const axl_weight w = {.name = "lm_head.weight",
                          .rows = m->arch.vocab,
                          .cols = m->arch.hidden,
                          .n_dims = 2,
                          .tp = AXL_TP_COL,
                          .decay = true};

    if (m->arch.tied) {
        m->units[0].params[0].tied = true;
        head->uses[head->n_uses++] = &m->units[0].params[0];
    } else {
        AXL_TRY(add_param(m, head, &w));
    }
    m->lm_head = head->uses[head->n_uses - 1];
out:
    return status;
}

static axl_status list_params(axl_model *m)
{
    axl_status status = AXL_OK;
    int n = 0;

    for (int u = 0; u < m->n_units; u++)
        n += m->units[u].n_params;
    AXL_TRY(axl_calloc((size_t)n, sizeof *m->params, "the params", &m->params));
    for (int u = 0; u < m->n_units; u++)
        for (int k = 0; k < m->units[u].n_params; k++)
            m->params[m->n_params++] = &m->units[u].params[k];
out:
    return status;
}

static axl_status list_tensors(axl_model *m)
{
    axl_status status = AXL_OK;
    size_t n = 0;

    for (int i = 0; i < m->n_params; i++) {
        n += (size_t)m->params[i]->n_file_mats;
        m->n_elements += axl_param_file_count(m->params[i]);
    }
    if (m->mesh->world == NULL) // imagined: nothing will be read or written
        goto out;
    AXL_TRY(axl_calloc(n, sizeof *m->tensors, "the tensors", &m->tensors));
    for (int i = 0; i < m->n_params; i++) {
        for (int mat = 0; mat < m->params[i]->n_file_mats; mat++) {
            axl_model_tensor *t = &m->tensors[m->n_tensors];
            axl_str key = {0};
            status = axl_param_put_key(m->params[i], mat, &key);
            *t = (axl_model_tensor){.param = m->params[i], .mat = mat, .key = key.data};
            m->n_tensors++;
            AXL_TRY(status);
        }
    }
out:
    return status;
}

static bool divides(const axl_arch *a, int tp)
{
    const bool kv = a->n_kv_heads % tp == 0 || tp % a->n_kv_heads == 0;
    return a->n_heads % tp == 0 && kv && a->ffn % tp == 0 && a->moe.width % tp == 0;
}

bool axl_model_fits(const axl_arch *a, int tp, int ep)
{
    return divides(a, tp) && (ep == 1 || (a->moe.n_experts > 0 && a->moe.n_experts % ep == 0));
}

static axl_status check_ep(const axl_arch *a, int ep)
{
    axl_status status = AXL_OK;
    axl_str fits = {0};
    const int32_t n_experts = a->moe.n_experts;

    if (ep == 1 || (n_experts > 0 && n_experts % ep == 0))
        goto out;
    AXL_REQUIRE(
        n_experts > 0, AXL_E_CONFIG,
        "expert_parallel_size is %d, but %s has no experts; leave it out, and dp_shard_size "
        "takes its ranks",
        ep, a->family);
    for (int n = 1; n <= n_experts; n++)
        if (n_experts % n == 0)
            AXL_TRY(axl_str_printf(&fits, "%s%d", n > 1 ? ", " : "", n));
    AXL_FAIL(AXL_E_CONFIG, "expert_parallel_size %d does not divide %d experts; these do: %s", ep,
             n_experts, fits.data);
out:
    axl_str_fini(&fits);
    return status;
}

static axl_status check_tp(const axl_arch *a, int tp)
{
    axl_status status = AXL_OK;
    axl_str fits = {0};

    if (divides(a, tp))
        goto out;
    for (int n = 1; n <= a->n_heads; n++)
        if (divides(a, n))
            AXL_TRY(axl_str_printf(&fits, "%s%d", n > 1 ? ", " : "", n));
    AXL_FAIL(AXL_E_CONFIG,
             "tensor_parallel_size %d does not fit %d heads, %d key-value heads and an mlp of "
             "width %lld; these do: %s",
             tp, a->n_heads, a->n_kv_heads, (long long)a->ffn, fits.data);
out:
    axl_str_fini(&fits);
    return status;
}

axl_status axl_model_create(axl_arch *arch, axl_mesh *mesh, axl_model **out)
{
    axl_status status = AXL_OK;
    axl_model *m = NULL;
    int *kind = NULL;

    AXL_TRY(axl_calloc(1, sizeof *m, "the model", &m));
    m->arch = *arch;
    m->mesh = mesh;
    *arch = (axl_arch){0}; // taken over
    AXL_TRY(check_tp(&m->arch, mesh->size[AXL_TP]));
    AXL_TRY(check_ep(&m->arch, mesh->size[AXL_EP]));
    AXL_REQUIRE(
        mesh->size[AXL_CP] == 1 || axl_attention_splits(&m->arch.attention), AXL_E_CONFIG,
        "this attention cannot join what the %d ranks of context_parallel_size compute; use "
        "sdpa",
        mesh->size[AXL_CP]);
    int layers = m->arch.n_layers;
    AXL_TRY(axl_calloc((size_t)layers, sizeof *kind, "the layer kinds", &kind));
    AXL_TRY(build_programs(m, kind));
    AXL_TRY(axl_calloc((size_t)layers + 2, sizeof *m->units, "the units", &m->units));
    m->n_units = layers + 2;
    AXL_TRY(build_unit(m, &m->units[0], "embedding", -1, AXL_PROGRAM_EMBEDDING));
    for (int l = 0; l < layers; l++)
        AXL_TRY(build_unit(m, &m->units[l + 1], "layer", l, kind[l]));
    AXL_TRY(build_unit(m, &m->units[layers + 1], "head", -1, AXL_PROGRAM_HEAD));
    AXL_TRY(build_head(m));
    AXL_TRY(list_params(m));
    AXL_TRY(list_tensors(m));
    *out = m;
    m = NULL; // handed to the caller
out:
    axl_arch_fini(arch);
    free(kind);
    axl_model_destroy(m);
    return status;
}

axl_status axl_model_place(axl_model *m)
{
    axl_status status = AXL_OK;

    for (int i = 0; i < m->n_params; i++)
        AXL_TRY(axl_param_place(m->params[i], m->mesh));
out:
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
    for (int i = 0; i < m->n_tensors; i++)
        free(m->tensors[i].key);
    free(m->tensors);
    free((void *)m->params);
    free(m->units);
    free(m->programs);
    axl_arch_fini(&m->arch);
    free(m);
}
