// See plan.h. Two kinds of places: (group, bin) where groups are packed, and in `bin` the place of the first sample in
// the order where they are not. The one care is what the hash covers: a resumed run must find the bins it left.
#include "src/data/plan.h"

#include "src/base/mem.h"

#include <stdlib.h>
#include <string.h>

#define HASH_VERSION 2 // raise when the same data give other bins
#define AHEAD        16
#define BINS_STREAM                                                                                \
    0x42494eull // "BIN": streams of AXL_RANDOM_SHUFFLE for the order of a group's bins

typedef struct plan {
    axl_feed feed;
    const axl_sample_list *list; // borrowed
    axl_plan_options options;
    bool grouped;       // packed in groups
    int64_t group_size; // samples
    int64_t n_groups;
    axl_permuter order; // of the epoch order_epoch
    int64_t order_epoch;
    // the group in memory
    int64_t epoch, group;   // -1: none
    int64_t first;          // place of its first sample in the order
    int64_t n_before;       // its samples in bins before place.bin
    axl_bins bins;          // of places in the group, borrowed from the packer
    axl_permuter bin_order; // shuffled best fit
    bool shuffle_bins;
    axl_packer *packer; // owned
    int32_t *lengths;   // [group_size], owned
    int64_t *samples;   // [group_size], owned
    int64_t *items;     // of the bin handed out, owned
    size_t items_capacity;
} plan;

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t axl_plan_bins_per_micro(const axl_plan_options *o)
{
    return o->packing && !o->real_batches ? 1 : o->micro_batch_size;
}

int64_t axl_plan_capacity(const axl_plan_options *o)
{
    return o->sequence_len * (o->packing && !o->real_batches ? o->micro_batch_size : 1);
}

// The sample at a place of the epoch's order.
static int64_t sample_at(plan *p, int64_t epoch, int64_t place)
{
    if (!p->options.shuffle)
        return axl_sample_list_at(p->list, place);
    if (p->order_epoch != epoch) {
        p->order =
            axl_permuter_make(p->options.seed, AXL_RANDOM_SHUFFLE, (uint64_t)epoch + 1, p->list->n);
        p->order_epoch = epoch;
    }
    return axl_sample_list_at(p->list, axl_permute(&p->order, place));
}

// ---- groups

static void load_group(plan *p, int64_t epoch, int64_t group)
{
    const axl_plan_options *o = &p->options;

    if (p->epoch == epoch && p->group == group)
        return;
    p->first = group * p->group_size;
    int64_t n = min64(p->group_size, p->list->n - p->first);
    for (int64_t i = 0; i < n; i++)
        p->samples[i] = sample_at(p, epoch, p->first + i);
    // in a large set each length is a miss of the cache: asked for ahead, they overlap
    for (int64_t i = 0; i < n; i++) {
        __builtin_prefetch(&p->list->set->info[p->samples[i + AHEAD < n ? i + AHEAD : n - 1]]);
        p->lengths[i] = (int32_t)axl_prepared_length(p->list->set, p->samples[i]);
    }
    p->bins = axl_packer_run(p->packer, p->lengths, n);
    // best fit makes long bins first and a bin that is not full last; first fit keeps the reference's order
    p->shuffle_bins = o->kind == AXL_PACK_BEST_FIT && o->shuffle;
    if (p->shuffle_bins)
        p->bin_order = axl_permuter_make(
            o->seed, AXL_RANDOM_SHUFFLE,
            (BINS_STREAM << 32) + (uint64_t)epoch * (uint64_t)p->n_groups + (uint64_t)group,
            p->bins.n_bins);
    p->epoch = epoch;
    p->group = group;
}

static int64_t bin_number(const plan *p, int64_t bin)
{
    return p->shuffle_bins ? axl_permute(&p->bin_order, bin) : bin;
}

static int64_t bin_samples(const plan *p, int64_t bin)
{
    int64_t b = bin_number(p, bin);

    return p->bins.start[b + 1] - p->bins.start[b];
}

static axl_status put_item(plan *p, int64_t n, int64_t sample)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_grow(&p->items, &p->items_capacity, (size_t)n + 1, sizeof *p->items,
                     "samples of a bin"));
    p->items[n] = sample;

out:
    return status;
}

static axl_status next_grouped(plan *p, axl_bin *out, bool *more)
{
    axl_status status = AXL_OK;
    axl_data_place *at = &p->feed.place;

    for (*more = false; at->group < p->n_groups; at->group++, at->bin = 0) {
        if (p->epoch != at->epoch || p->group != at->group)
            p->n_before = 0;
        load_group(p, at->epoch, at->group);
        *more = at->bin < p->bins.n_bins;
        if (*more)
            break;
    }
    if (!*more)
        goto out;
    const int64_t b = bin_number(p, at->bin);
    out->n = 0;
    for (int64_t i = p->bins.start[b]; i < p->bins.start[b + 1]; i++)
        AXL_TRY(put_item(p, out->n++, p->samples[p->bins.items[i]]));
    p->n_before += out->n;
    p->feed.progress = (double)(p->first + p->n_before) / (double)p->list->n;
    at->bin++;

out:
    return status;
}

// ---- without groups

// The place behind the last sample of the bin that begins at a place.
static int64_t bin_end(plan *p, int64_t epoch, int64_t place)
{
    int64_t left = axl_plan_capacity(&p->options), end = place + 1;

    if (!p->options.packing)
        return end;
    left -= axl_prepared_length(p->list->set, sample_at(p, epoch, place));
    for (; end < p->list->n; end++) {
        int64_t len = axl_prepared_length(p->list->set, sample_at(p, epoch, end));
        if (len > left)
            break;
        left -= len;
    }
    return end;
}

static axl_status next_run(plan *p, axl_bin *out, bool *more)
{
    axl_status status = AXL_OK;
    axl_data_place *at = &p->feed.place;

    *more = at->bin < p->list->n;
    if (!*more)
        goto out;
    const int64_t end = bin_end(p, at->epoch, at->bin);
    for (out->n = 0; out->n < end - at->bin; out->n++)
        AXL_TRY(put_item(p, out->n, sample_at(p, at->epoch, at->bin + out->n)));
    at->bin = end;
    p->feed.progress = (double)end / (double)p->list->n;

out:
    return status;
}

// ---- the feed

static axl_status plan_next(axl_feed *f, axl_bin *out, bool *more)
{
    axl_status status = AXL_OK;
    plan *p = (plan *)f;

    AXL_TRY(p->grouped ? next_grouped(p, out, more) : next_run(p, out, more));
    out->set = p->list->set;
    out->items = p->items;
    f->place.n_done += *more;

out:
    return status;
}

static axl_status plan_go(axl_feed *f, const axl_data_place *place)
{
    axl_status status = AXL_OK;
    plan *p = (plan *)f;
    int64_t most = p->list->n, groups = p->grouped ? p->n_groups : 0;

    AXL_REQUIRE(place->epoch >= 0 && place->group >= 0 && place->group <= groups &&
                    place->bin >= 0 && place->bin <= most && place->n_done >= 0,
                AXL_E_INPUT,
                "the checkpoint holds no valid place in the data: epoch %lld, group %lld, bin %lld",
                (long long)place->epoch, (long long)place->group, (long long)place->bin);
    p->n_before = 0;
    f->progress = p->grouped ? 0.0 : (double)place->bin / (double)most;
    if (p->grouped && place->group < groups) {
        load_group(p, place->epoch, place->group);
        AXL_REQUIRE(place->bin <= p->bins.n_bins, AXL_E_INPUT,
                    "the checkpoint holds no valid place in the data: bin %lld of group %lld, "
                    "which has %lld",
                    (long long)place->bin, (long long)place->group, (long long)p->bins.n_bins);
        for (int64_t b = 0; b < place->bin; b++)
            p->n_before += bin_samples(p, b);
        f->progress = (double)(p->first + p->n_before) / (double)most;
    }
    f->place = *place;

out:
    return status;
}

static axl_status plan_count(axl_feed *f, int64_t epoch, int64_t *n)
{
    axl_status status = AXL_OK;
    plan *p = (plan *)f;
    const axl_data_place here = f->place;

    *n = 0;
    if (!p->options.packing)
        *n = p->list->n;
    for (int64_t at = 0; p->options.packing && !p->grouped && at < p->list->n; (*n)++)
        at = bin_end(p, epoch, at);
    for (int64_t g = 0; p->grouped && g < p->n_groups; g++) {
        load_group(p, epoch, g);
        *n += p->bins.n_bins;
    }
    AXL_TRY(plan_go(f, &here)); // another group is in memory now

out:
    return status;
}

static void plan_destroy(axl_feed *f)
{
    plan *p = (plan *)f;

    axl_packer_destroy(p->packer);
    free(p->lengths);
    free(p->samples);
    free(p->items);
    free(p);
}

static const axl_feed_ops plan_ops = {
    .go = plan_go, .next = plan_next, .count = plan_count, .destroy = plan_destroy};

static uint64_t plan_hash(const plan *p)
{
    const axl_plan_options *o = &p->options;
    const int64_t parts[] = {(int64_t)p->list->set->key,
                             o->packing,
                             o->packing ? axl_plan_capacity(o) : 0,
                             o->packing ? (int64_t)o->kind : 0,
                             p->grouped ? o->group_size : 0,
                             p->grouped ? o->bin_size : 0,
                             o->shuffle,
                             o->shuffle ? (int64_t)o->seed : 0};
    axl_hash h;

    axl_hash_init(&h, HASH_VERSION);
    axl_hash_update(&h, parts, sizeof parts);
    axl_sample_list_hash(p->list, &h);
    return axl_hash_value(&h);
}

static void set_limits(plan *p)
{
    const axl_plan_options *o = &p->options;
    const axl_prepared *set = p->list->set;
    const int64_t capacity = axl_plan_capacity(o);
    int64_t bin_tokens = set->max_length, docs = 1;

    for (int64_t s = 0; s < set->n && docs == 1; s++)
        docs = set->info[s].second > 0 ? 2 : 1; // a pair is two documents
    if (o->packing && capacity > bin_tokens)
        bin_tokens = capacity;
    int64_t bin_docs = !o->packing ? 1 : p->grouped ? o->bin_size : bin_tokens;
    p->feed.bins_per_micro = axl_plan_bins_per_micro(o);
    p->feed.max_tokens = p->feed.bins_per_micro * bin_tokens;
    p->feed.max_seqs = min64(p->feed.bins_per_micro * bin_docs, p->list->n) * docs;
    p->feed.max_seqs = min64(p->feed.max_seqs, p->feed.max_tokens);
}

static axl_status make_packer(plan *p)
{
    axl_status status = AXL_OK;
    const axl_plan_options *o = &p->options;
    const axl_pack_options pack = {
        .capacity = axl_plan_capacity(o), .bin_size = o->bin_size, .kind = o->kind};

    AXL_REQUIRE(o->group_size >= 1, AXL_E_CONFIG, "sample_packing_group_size must be at least 1");
    p->group_size = min64(o->group_size, p->list->n);
    p->n_groups = (p->list->n + p->group_size - 1) / p->group_size;
    AXL_TRY(axl_packer_create(p->group_size, &pack, &p->packer));
    AXL_TRY(axl_calloc((size_t)p->group_size, sizeof *p->lengths, "lengths", &p->lengths));
    AXL_TRY(axl_calloc((size_t)p->group_size, sizeof *p->samples, "sample order", &p->samples));

out:
    return status;
}

axl_status axl_plan_create(const axl_sample_list *list, const axl_plan_options *options,
                           axl_feed **out)
{
    axl_status status = AXL_OK;
    plan *p = NULL;

    AXL_REQUIRE(options->micro_batch_size >= 1 && options->sequence_len >= 1, AXL_E_CONFIG,
                "micro_batch_size and sequence_len must be at least 1");
    AXL_REQUIRE(list->n >= 1, AXL_E_INPUT, "the data set is empty");
    AXL_TRY(axl_calloc(1, sizeof *p, "data plan", &p));
    p->feed.ops = &plan_ops;
    p->feed.same_epochs = !options->shuffle;
    p->list = list;
    p->options = *options;
    p->order_epoch = p->epoch = p->group = -1;
    p->grouped = options->packing && options->kind != AXL_PACK_SEQUENTIAL;
    if (p->grouped)
        AXL_TRY(make_packer(p));
    set_limits(p);
    AXL_REQUIRE(p->feed.max_tokens <= INT32_MAX, AXL_E_CONFIG,
                "a micro-batch may have %lld tokens, more than 2^31 - 1; lower sequence_len or "
                "micro_batch_size",
                (long long)p->feed.max_tokens);
    p->feed.hash = plan_hash(p);
    *out = &p->feed;
    p = NULL;

out:
    if (p != NULL)
        plan_destroy(&p->feed);
    return status;
}
