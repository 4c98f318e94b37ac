// See plan.h; the one care is what the hash covers: a resumed run must find the bins it left.
#include "src/data/plan.h"

#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/base/philox.h"

#include <stdlib.h>
#include <string.h>

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static uint64_t plan_hash(const axl_plan *p, int64_t capacity)
{
    const axl_plan_options *o = &p->options;
    axl_hash h;
    int64_t parts[] = {(int64_t)p->list->set->key,
                       p->list->n,
                       o->packing,
                       o->packing ? capacity : 0,
                       o->packing ? o->sequential : 0,
                       o->packing ? o->group_size : 0,
                       o->packing ? o->bin_size : 0,
                       o->shuffle,
                       o->shuffle ? (int64_t)o->seed : 0};

    axl_hash_init(&h, 0);
    axl_hash_update(&h, parts, sizeof parts);
    axl_hash_update(&h, p->list->index, (size_t)p->list->n * sizeof *p->list->index);
    return axl_hash_value(&h);
}

static void count_limits(axl_plan *p, int64_t capacity)
{
    const axl_plan_options *o = &p->options;
    int64_t longest = 0;

    for (int64_t i = 0; i < p->list->n; i++) {
        int64_t s = p->list->index[i], len = axl_prepared_length(p->list->set, s);
        p->lengths[s] = (int32_t)len;
        longest = len > longest ? len : longest;
    }
    p->bins_per_micro = o->packing && !o->real_batches ? 1 : o->micro_batch_size;
    int64_t bin_tokens = o->packing && capacity > longest ? capacity : longest;
    int64_t bin_seqs = !o->packing ? 1 : o->sequential ? bin_tokens : o->bin_size;
    p->max_tokens = p->bins_per_micro * bin_tokens;
    p->max_seqs = min64(min64(p->bins_per_micro * bin_seqs, p->max_tokens), p->list->n);
}

axl_status axl_plan_create(const axl_sample_list *list, const axl_plan_options *options,
                           axl_plan **out)
{
    axl_status status = AXL_OK;
    axl_plan *p = NULL;
    bool whole = options->packing && !options->real_batches;
    int64_t capacity = options->sequence_len * (whole ? options->micro_batch_size : 1);
    const axl_pack_options pack = {.capacity = capacity,
                                   .group_size = options->packing ? options->group_size : 1,
                                   .bin_size = options->packing ? options->bin_size : 1,
                                   .sequential = options->sequential};

    AXL_REQUIRE(options->micro_batch_size >= 1 && options->sequence_len >= 1, AXL_E_CONFIG,
                "micro_batch_size and sequence_len must be at least 1");
    AXL_REQUIRE(list->n >= 1, AXL_E_INPUT, "the data set is empty");
    AXL_TRY(axl_calloc(1, sizeof *p, "data plan", &p));
    p->list = list;
    p->options = *options;
    p->epoch = -1;
    AXL_TRY(axl_calloc((size_t)list->set->n, sizeof *p->lengths, "lengths", &p->lengths));
    AXL_TRY(axl_calloc((size_t)list->n, sizeof *p->order, "sample order", &p->order));
    AXL_TRY(axl_packer_create(list->n, &pack, &p->packer));
    count_limits(p, capacity);
    AXL_REQUIRE(p->max_tokens <= INT32_MAX, AXL_E_CONFIG,
                "a micro-batch may have %lld tokens, more than 2^31 - 1; lower sequence_len or "
                "micro_batch_size",
                (long long)p->max_tokens);
    p->hash = plan_hash(p, capacity);
    *out = p;
    p = NULL;

out:
    axl_plan_destroy(p);
    return status;
}

void axl_plan_destroy(axl_plan *p)
{
    if (p == NULL)
        return;
    axl_packer_destroy(p->packer);
    free(p->lengths);
    free(p->order);
    free(p);
}

void axl_plan_epoch(axl_plan *p, int64_t epoch)
{
    const axl_sample_list *list = p->list;
    const axl_plan_options *o = &p->options;

    if (p->epoch == epoch)
        return;
    if (o->shuffle) {
        axl_random_permutation(o->seed, AXL_RANDOM_SHUFFLE, (uint64_t)epoch + 1, p->order, list->n);
        for (int64_t i = 0; i < list->n; i++)
            p->order[i] = list->index[p->order[i]];
    } else {
        memcpy(p->order, list->index, (size_t)list->n * sizeof *p->order);
    }
    p->bins = o->packing ? axl_packer_run(p->packer, p->lengths, p->order, list->n)
                         : axl_packer_singles(p->packer, p->order, list->n);
    p->epoch = epoch;
}
