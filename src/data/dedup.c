// The parting is one pass: a histogram of the top bits, kept while the hashes came, says where each group begins in
// the second file. Inside a group the order is that of the samples, so the first of equal ones is met first.
#include "src/data/dedup.h"

#include "src/base/mem.h"
#include "src/io/spill.h"

#include <stdlib.h>
#include <string.h>

#define TOP_BITS     12
#define N_BUCKETS    (1 << TOP_BITS)
#define BLOCK        4096 // entries read at a time
#define SLOTS_AT_ONE 1024 // of the table of a group, at first

typedef struct entry {
    uint64_t hash;
    int64_t sample;
} entry;

struct axl_dedup {
    axl_spill *hashes;        // [n] uint64_t, in the order of the samples; owned
    axl_spill *parted;        // [n] entry, group by group; owned
    int64_t count[N_BUCKETS]; // hashes by their top bits
    int32_t group[N_BUCKETS]; // of a bucket
    int64_t begin[N_BUCKETS]; // of a group in parted, entries
    int64_t n, n_groups;
    size_t memory;
    char *beside; // owned
    entry *slots; // [n_slots] open addressing, sample -1: free; owned
    int64_t n_slots, n_used;
};

axl_status axl_dedup_create(const char *beside, size_t memory, axl_dedup **out)
{
    axl_status status = AXL_OK;
    axl_dedup *d = NULL;

    AXL_TRY(axl_calloc(1, sizeof *d, "duplicates", &d));
    d->memory = memory;
    AXL_TRY(axl_strdup(beside, &d->beside));
    AXL_TRY(axl_spill_create(beside, false, &d->hashes));
    *out = d;
    d = NULL;

out:
    axl_dedup_destroy(d);
    return status;
}

void axl_dedup_destroy(axl_dedup *d)
{
    if (d == NULL)
        return;
    axl_spill_destroy(d->hashes);
    axl_spill_destroy(d->parted);
    free(d->beside);
    free(d->slots);
    free(d);
}

static int32_t bucket_of(uint64_t hash)
{
    return (int32_t)(hash >> (64 - TOP_BITS));
}

axl_status axl_dedup_put(axl_dedup *d, uint64_t hash)
{
    d->count[bucket_of(hash)]++;
    d->n++;
    return axl_spill_put(d->hashes, &hash, sizeof hash);
}

// Neighbouring buckets form a group until it would not fit: up to four slots an entry, and the old table beside the
// new one while it grows.
static void make_groups(axl_dedup *d)
{
    int64_t most = (int64_t)(d->memory / (6 * sizeof(entry))), in_group = 0, at = 0;

    d->n_groups = 0;
    for (int b = 0; b < N_BUCKETS; b++) {
        if (b == 0 || in_group + d->count[b] > most) {
            d->begin[d->n_groups++] = at;
            in_group = 0;
        }
        d->group[b] = (int32_t)(d->n_groups - 1);
        in_group += d->count[b];
        at += d->count[b];
    }
}

// The part of a group that waits for being written.
typedef struct outbox {
    int64_t at; // where it belongs, entries
    int64_t n;
} outbox;

static axl_status part(axl_dedup *d)
{
    axl_status status = AXL_OK;
    outbox *boxes = NULL;
    entry *waiting = NULL; // [n_groups, room]
    uint64_t *block = NULL;
    int64_t room = (int64_t)(d->memory / 2 / sizeof(entry)) / d->n_groups;

    room = room < 64 ? 64 : room > BLOCK ? BLOCK : room;
    AXL_TRY(axl_spill_create(d->beside, false, &d->parted));
    AXL_TRY(axl_spill_resize(d->parted, d->n * (int64_t)sizeof(entry)));
    AXL_TRY(axl_calloc((size_t)d->n_groups, sizeof *boxes, "duplicates", &boxes));
    AXL_TRY(axl_calloc((size_t)(d->n_groups * room), sizeof *waiting, "duplicates", &waiting));
    AXL_TRY(axl_calloc(BLOCK, sizeof *block, "duplicates", &block));
    for (int64_t g = 0; g < d->n_groups; g++)
        boxes[g].at = d->begin[g];
    for (int64_t i = 0; i < d->n; i++) {
        if (i % BLOCK == 0)
            AXL_TRY(axl_spill_read(d->hashes, i * (int64_t)sizeof *block, block,
                                   (size_t)(d->n - i < BLOCK ? d->n - i : BLOCK) * sizeof *block));
        uint64_t hash = block[i % BLOCK];
        int64_t g = d->group[bucket_of(hash)];
        outbox *box = &boxes[g];
        waiting[g * room + box->n++] = (entry){hash, i};
        if (box->n < room)
            continue;
        AXL_TRY(axl_spill_write(d->parted, box->at * (int64_t)sizeof(entry), waiting + g * room,
                                (size_t)room * sizeof(entry)));
        box->at += room;
        box->n = 0;
    }
    for (int64_t g = 0; g < d->n_groups; g++)
        AXL_TRY(axl_spill_write(d->parted, boxes[g].at * (int64_t)sizeof(entry), waiting + g * room,
                                (size_t)boxes[g].n * sizeof(entry)));

out:
    free(boxes);
    free(waiting);
    free(block);
    return status;
}

static axl_status clear_table(axl_dedup *d, int64_t n_slots)
{
    axl_status status = AXL_OK;

    free(d->slots);
    d->slots = NULL;
    AXL_TRY(axl_calloc((size_t)n_slots, sizeof *d->slots, "duplicates", &d->slots));
    d->n_slots = n_slots;
    d->n_used = 0;
    for (int64_t i = 0; i < n_slots; i++)
        d->slots[i].sample = -1;

out:
    return status;
}

static void insert(axl_dedup *d, entry e)
{
    int64_t at = (int64_t)(e.hash & (uint64_t)(d->n_slots - 1));

    while (d->slots[at].sample >= 0)
        at = (at + 1) & (d->n_slots - 1);
    d->slots[at] = e;
    d->n_used++;
}

static axl_status grow_table(axl_dedup *d)
{
    axl_status status = AXL_OK;
    entry *old = d->slots;
    int64_t n = d->n_slots;

    d->slots = NULL;
    AXL_TRY(clear_table(d, 2 * n));
    for (int64_t i = 0; i < n; i++) {
        if (old[i].sample >= 0)
            insert(d, old[i]);
    }

out:
    free(old);
    return status;
}

static axl_status look_up(axl_dedup *d, entry e, const axl_dedup_owner *owner)
{
    axl_status status = AXL_OK;
    int64_t at = (int64_t)(e.hash & (uint64_t)(d->n_slots - 1));
    bool equal = false;

    for (; !equal && d->slots[at].sample >= 0; at = (at + 1) & (d->n_slots - 1)) {
        if (d->slots[at].hash == e.hash)
            AXL_TRY(owner->equal(owner->context, d->slots[at].sample, e.sample, &equal));
    }
    if (equal) {
        AXL_TRY(owner->drop(owner->context, e.sample));
        goto out;
    }
    if (2 * d->n_used >= d->n_slots)
        AXL_TRY(grow_table(d));
    insert(d, e);

out:
    return status;
}

axl_status axl_dedup_run(axl_dedup *d, const axl_dedup_owner *owner)
{
    axl_status status = AXL_OK;
    entry *block = NULL;

    make_groups(d);
    AXL_TRY(part(d));
    AXL_TRY(axl_calloc(BLOCK, sizeof *block, "duplicates", &block));
    for (int64_t g = 0; g < d->n_groups; g++) {
        int64_t at = d->begin[g], end = g + 1 < d->n_groups ? d->begin[g + 1] : d->n;
        AXL_TRY(clear_table(d, SLOTS_AT_ONE));
        while (at < end) {
            int64_t n = end - at < BLOCK ? end - at : BLOCK;
            AXL_TRY(axl_spill_read(d->parted, at * (int64_t)sizeof(entry), block,
                                   (size_t)n * sizeof *block));
            for (int64_t i = 0; i < n; i++)
                AXL_TRY(look_up(d, block[i], owner));
            at += n;
        }
    }

out:
    free(block);
    return status;
}
