// Permutations and cuts, none of them stored. The hard part is shuffle_each: a place of the merged set lies in an
// entry, which is found by its first sample, and is permuted among the places of that entry.
#include "src/data/split.h"

#include "src/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// Streams of AXL_RANDOM_SHUFFLE; the epochs take those from 1 on.
#define MERGE_STREAM 0
#define EACH_STREAM  0x45414348ull // "EACH", and the index of the entry behind it

void axl_sample_list_fini(axl_sample_list *list)
{
    free(list->entry);
    *list = (axl_sample_list){0};
}

axl_sample_list axl_sample_list_all(const axl_prepared *set)
{
    return (axl_sample_list){.set = set, .n = set->n};
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

static int32_t entry_of(const axl_prepared *set, int64_t sample)
{
    return set->files[set->info[sample].file].entry;
}

// The samples of an entry stand together and entries follow one another, so a search by halves finds the borders.
static axl_status find_entries(const axl_prepared *set, axl_sample_list *list)
{
    axl_status status = AXL_OK;
    size_t capacity = 0;
    int64_t from = 0;

    for (int64_t e = 0; from < set->n; e++) {
        int64_t low = from, high = set->n; // low: of this entry; high: behind it
        while (high - low > 1) {
            int64_t middle = low + (high - low) / 2;
            if (entry_of(set, middle) == entry_of(set, from))
                low = middle;
            else
                high = middle;
        }
        AXL_TRY(axl_grow(&list->entry, &capacity, (size_t)e + 2, sizeof *list->entry, "entries"));
        list->entry[e] = from;
        list->entry[e + 1] = high;
        list->n_entries = e + 1;
        from = high;
    }

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
    all->first = part * i + (i < more ? i : more);
    all->n = part + (i < more);

out:
    return status;
}

static axl_status list_make(const axl_prepared *set, const axl_split_options *o,
                            axl_sample_list *out)
{
    axl_status status = AXL_OK;
    axl_sample_list all = {.set = set,
                           .n = set->n,
                           .seed = o->seed,
                           .shuffle = o->shuffle,
                           .shuffle_each = o->shuffle_each};

    if (o->shuffle_each)
        AXL_TRY(find_entries(set, &all));
    if (o->shuffle && set->n > 0)
        all.whole = axl_permuter_make(o->seed, AXL_RANDOM_SHUFFLE, MERGE_STREAM, set->n);
    if (o->n_shards > 1)
        AXL_TRY(keep_shard(o, &all));
    *out = all;
    all = (axl_sample_list){0};

out:
    axl_sample_list_fini(&all);
    return status;
}

axl_status axl_split_make(const axl_prepared *set, const axl_split_options *options,
                          axl_sample_list *train, axl_sample_list *val)
{
    axl_status status = AXL_OK;
    axl_sample_list all = {0}, tail = {0};
    int64_t n_val = 0;

    AXL_TRY(list_make(set, options, &all));
    AXL_TRY(list_make(set, options, &tail));
    AXL_TRY(count_validation(all.n, options->val_set_size, &n_val));
    AXL_ASSERT(val != NULL || n_val == 0);
    all.n -= n_val;
    tail.first += all.n;
    tail.n = n_val;
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

static int64_t at_entry(const axl_sample_list *l, int64_t place)
{
    int64_t low = 0, high = l->n_entries;

    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (l->entry[middle] <= place)
            low = middle;
        else
            high = middle;
    }
    const int64_t first = l->entry[low];
    const axl_permuter p = axl_permuter_make(l->seed, AXL_RANDOM_SHUFFLE,
                                             EACH_STREAM << 24 | (uint64_t)entry_of(l->set, first),
                                             l->entry[low + 1] - first);
    return first + axl_permute(&p, place - first);
}

int64_t axl_sample_list_at(const axl_sample_list *list, int64_t i)
{
    int64_t place = list->first + i;

    AXL_ASSERT(i >= 0 && i < list->n);
    if (list->shuffle)
        place = axl_permute(&list->whole, place);
    return list->shuffle_each ? at_entry(list, place) : place;
}

void axl_sample_list_hash(const axl_sample_list *list, axl_hash *h)
{
    const bool random = list->shuffle || list->shuffle_each;
    const int64_t parts[] = {list->n, list->first, list->shuffle, list->shuffle_each,
                             random ? (int64_t)list->seed : 0};

    axl_hash_update(h, parts, sizeof parts);
}
