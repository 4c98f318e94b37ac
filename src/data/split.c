// A permutation and a cut.
#include "src/data/split.h"

#include "src/base/mem.h"
#include "src/base/philox.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// Streams of AXL_RANDOM_SHUFFLE; the epochs take those from 1 on.
#define MERGE_STREAM 0
#define EACH_STREAM  0x45414348ull // "EACH", and the index of the entry behind it

void axl_sample_list_fini(axl_sample_list *list)
{
    free(list->index);
    *list = (axl_sample_list){0};
}

axl_status axl_sample_list_all(const axl_prepared *set, axl_sample_list *out)
{
    axl_status status = AXL_OK;
    axl_sample_list list = {.set = set, .n = set->n};

    AXL_TRY(axl_calloc((size_t)list.n, sizeof *list.index, "sample order", &list.index));
    for (int64_t i = 0; i < list.n; i++)
        list.index[i] = i;
    *out = list;

out:
    return status;
}

static axl_status count_validation(int64_t n, double size, int64_t *out)
{
    axl_status status = AXL_OK;
    double n_val = size < 1.0 ? ceil(size * (double)n) : floor(size);

    AXL_REQUIRE(size >= 0.0 && isfinite(size), AXL_E_CONFIG, "val_set_size is %g; it cannot be",
                size);
    AXL_REQUIRE(size != 1.0, AXL_E_CONFIG,
                "val_set_size 1 is all of the data; give a fraction below 1 or a count above 1");
    AXL_REQUIRE(n_val < (double)n, AXL_E_CONFIG,
                "val_set_size %g takes %.0f of %lld samples, so that none is left to train", size,
                n_val, (long long)n);
    *out = (int64_t)n_val;

out:
    return status;
}

// Permutes the samples of each entry among their own places; they stand one entry after another.
static void shuffle_each(const axl_prepared *set, uint64_t seed, int64_t *index)
{
    int64_t from = 0;

    while (from < set->n) {
        int32_t entry = set->files[set->info[from].file].entry;
        int64_t to = from;
        while (to < set->n && set->files[set->info[to].file].entry == entry)
            to++;
        axl_random_permutation(seed, AXL_RANDOM_SHUFFLE, EACH_STREAM << 24 | (uint64_t)entry,
                               index + from, to - from);
        for (int64_t i = from; i < to; i++)
            index[i] += from;
        from = to;
    }
}

// The permutation of the whole, applied to what is there.
static axl_status shuffle_all(uint64_t seed, axl_sample_list *all)
{
    axl_status status = AXL_OK;
    int64_t *order = NULL, *before = all->index;

    AXL_TRY(axl_calloc((size_t)all->n, sizeof *order, "sample order", &order));
    axl_random_permutation(seed, AXL_RANDOM_SHUFFLE, MERGE_STREAM, order, all->n);
    for (int64_t i = 0; i < all->n; i++)
        order[i] = before[order[i]];
    all->index = order;
    free(before);

out:
    return status;
}

static axl_status keep_shard(const axl_split_options *o, axl_sample_list *all)
{
    axl_status status = AXL_OK;
    int64_t n = o->n_shards, i = o->shard;

    AXL_REQUIRE(i >= 0 && i < n, AXL_E_CONFIG,
                "dataset_shard_idx %lld is not one of the %lld shards, counted from 0",
                (long long)i, (long long)n);
    AXL_REQUIRE(n <= all->n, AXL_E_CONFIG, "dataset_shard_num %lld is more than the %lld samples",
                (long long)n, (long long)all->n);
    int64_t part = all->n / n, more = all->n % n;
    int64_t begin = part * i + (i < more ? i : more);
    all->n = part + (i < more);
    memmove(all->index, all->index + begin, (size_t)all->n * sizeof *all->index);

out:
    return status;
}

axl_status axl_split_make(const axl_prepared *set, const axl_split_options *options,
                          axl_sample_list *train, axl_sample_list *val)
{
    axl_status status = AXL_OK;
    axl_sample_list all = {0}, tail = {.set = set};

    AXL_TRY(axl_sample_list_all(set, &all));
    if (options->shuffle_each)
        shuffle_each(set, options->seed, all.index);
    if (options->shuffle)
        AXL_TRY(shuffle_all(options->seed, &all));
    if (options->n_shards > 1)
        AXL_TRY(keep_shard(options, &all));
    AXL_TRY(count_validation(all.n, options->val_set_size, &tail.n));
    AXL_ASSERT(val != NULL || tail.n == 0);
    AXL_TRY(axl_calloc((size_t)tail.n, sizeof *tail.index, "sample order", &tail.index));
    all.n -= tail.n;
    if (tail.n > 0)
        memcpy(tail.index, all.index + all.n, (size_t)tail.n * sizeof *tail.index);
    *train = all;
    all = (axl_sample_list){0};
    if (val != NULL) {
        *val = tail;
        tail = (axl_sample_list){0};
    }

out:
    axl_sample_list_fini(&all);
    axl_sample_list_fini(&tail);
    return status;
}
