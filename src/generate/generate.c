// Reading a sequence in chunks with a cache of keys and values, and drawing from its last logits.
#include "src/generate/generate.h"

#include "src/base/mem.h"

#include <stdlib.h>

#define CHUNK    256 // tokens of a prompt read at a time
#define CU_BYTES (2 * sizeof(int32_t))

static axl_status init_cache(axl_generator *g, axl_device *device, axl_dtype dtype,
                             int64_t capacity)
{
    axl_status status = AXL_OK;
    const axl_arch *a = &g->model->arch;
    size_t bytes = (size_t)(capacity * a->n_kv_heads * a->head_dim) * axl_dtype_size(dtype);

    g->kv.capacity = capacity;
    g->kv.n_layers = a->n_layers;
    AXL_TRY(axl_calloc((size_t)a->n_layers, sizeof(void *), "the key cache", &g->kv.k));
    AXL_TRY(axl_calloc((size_t)a->n_layers, sizeof(void *), "the value cache", &g->kv.v));
    for (int l = 0; l < a->n_layers; l++) {
        AXL_TRY(device->ops->alloc(device, bytes, "the key cache", &g->kv.k[l]));
        AXL_TRY(device->ops->alloc(device, bytes, "the value cache", &g->kv.v[l]));
    }
out:
    return status;
}

axl_status axl_generator_init(axl_generator *g, axl_model *m, axl_sharder *s, axl_device *device,
                              axl_dtype dtype, int64_t capacity)
{
    axl_status status = AXL_OK;
    const axl_work_options o = {.n_tokens = CHUNK, .n_seqs = 1, .dtype = dtype};
    void *cu = NULL;

    *g = (axl_generator){.model = m, .sharder = s};
    AXL_TRY(axl_work_init(&g->work, m, device, &o));
    AXL_TRY(init_cache(g, device, dtype, capacity));
    AXL_TRY(device->ops->alloc(device, CU_BYTES, "the lengths of the cache", &cu));
    g->cu_seqlens_k = cu;
    AXL_TRY(axl_calloc(CHUNK, sizeof *g->positions, "positions", &g->positions));
    AXL_TRY(axl_calloc((size_t)m->arch.vocab, sizeof *g->logits, "logits", &g->logits));
    AXL_TRY(axl_calloc((size_t)m->arch.vocab, sizeof *g->scratch, "candidates", &g->scratch));
    g->work.run.kv = &g->kv;
    g->work.run.cu_seqlens_k = g->cu_seqlens_k;
out:
    if (status != AXL_OK)
        axl_generator_fini(g);
    return status;
}

void axl_generator_fini(axl_generator *g)
{
    axl_device *d = g->work.device;

    if (g->kv.k != NULL && g->kv.v != NULL) {
        const axl_arch *a = &g->model->arch;
        size_t bytes = (size_t)(g->kv.capacity * a->n_kv_heads * a->head_dim) *
                       axl_dtype_size(g->work.options.dtype);
        for (int l = 0; l < g->kv.n_layers; l++) {
            d->ops->free(d, g->kv.k[l], bytes);
            d->ops->free(d, g->kv.v[l], bytes);
        }
    }
    if (d != NULL)
        d->ops->free(d, g->cu_seqlens_k, CU_BYTES);
    free(g->kv.k);
    free(g->kv.v);
    free(g->positions);
    free(g->logits);
    free(g->scratch);
    axl_work_fini(&g->work);
    *g = (axl_generator){0};
}

void axl_generator_reset(axl_generator *g)
{
    g->kv.length = 0;
    g->n_drawn = 0;
}

static axl_status read_chunk(axl_generator *g, const int32_t *ids, int32_t n)
{
    axl_status status = AXL_OK;
    const axl_device *d = g->work.device;
    const int32_t cu[2] = {0, n}, cu_k[2] = {0, (int32_t)g->kv.length + n};
    const axl_batch batch = {.n_tokens = n,
                             .n_seqs = 1,
                             .max_seqlen = n,
                             .input_ids = ids,
                             .position_ids = g->positions,
                             .cu_seqlens = cu};

    for (int32_t i = 0; i < n; i++)
        g->positions[i] = (int32_t)g->kv.length + i;
    AXL_TRY(axl_work_set_batch(&g->work, &batch));
    AXL_TRY(d->ops->copy(d->compute, g->cu_seqlens_k, cu_k, sizeof cu_k));
    AXL_TRY(axl_pass_forward(&g->work, g->sharder));
    g->kv.length += n;
out:
    return status;
}

axl_status axl_generator_read(axl_generator *g, const int32_t *ids, int64_t n)
{
    axl_status status = AXL_OK;

    AXL_REQUIRE(n > 0 && g->kv.length + n <= g->kv.capacity, AXL_E_INPUT,
                "%lld tokens do not fit behind %lld of %lld; ask for less", (long long)n,
                (long long)g->kv.length, (long long)g->kv.capacity);
    for (int64_t i = 0; i < n; i += CHUNK)
        AXL_TRY(read_chunk(g, ids + i, (int32_t)(n - i < CHUNK ? n - i : CHUNK)));
out:
    return status;
}

axl_status axl_generator_next(axl_generator *g, const axl_sampling *s, int32_t *token)
{
    axl_status status = AXL_OK;
    axl_unit *head = &g->model->units[g->model->n_units - 1];

    AXL_TRY(axl_unit_acquire(g->sharder, head));
    AXL_TRY(axl_head_last_logits(&g->work, g->logits));
    axl_unit_release(g->sharder, head);
    *token = axl_sample(s, g->logits, g->model->arch.vocab, g->n_drawn++, g->scratch);
out:
    return status;
}
