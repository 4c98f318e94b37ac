// Open addressing over 64-bit hashes; equal hashes are compared in full, so nothing is dropped by chance.
#include "src/data/dedup.h"

#include "src/base/hash.h"
#include "src/base/mem.h"

#include <stdlib.h>
#include <string.h>

typedef struct slot {
    uint64_t hash;
    int64_t sample; // index + 1; 0: free
} slot;

struct axl_dedup {
    slot *slots; // [n_slots], owned; a power of two
    int64_t n_slots, n;
};

axl_status axl_dedup_create(axl_dedup **out)
{
    axl_status status = AXL_OK;
    axl_dedup *d = NULL;

    AXL_TRY(axl_calloc(1, sizeof *d, "duplicates", &d));
    d->n_slots = 1024;
    AXL_TRY(axl_calloc((size_t)d->n_slots, sizeof *d->slots, "duplicates", &d->slots));
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
    free(d->slots);
    free(d);
}

static bool same(const axl_samples *s, int64_t a, int64_t b)
{
    int64_t n = axl_samples_length(s, a);
    int64_t at = axl_samples_begin(s, a), bt = axl_samples_begin(s, b);
    size_t bytes = (size_t)n * sizeof *s->ids;

    return n == axl_samples_length(s, b) && memcmp(s->ids + at, s->ids + bt, bytes) == 0 &&
           memcmp(s->labels + at, s->labels + bt, bytes) == 0;
}

static axl_status grow(axl_dedup *d)
{
    axl_status status = AXL_OK;
    slot *slots = NULL;
    int64_t n_slots = d->n_slots * 2;

    AXL_TRY(axl_calloc((size_t)n_slots, sizeof *slots, "duplicates", &slots));
    for (int64_t i = 0; i < d->n_slots; i++) {
        if (d->slots[i].sample == 0)
            continue;
        int64_t at = (int64_t)(d->slots[i].hash & (uint64_t)(n_slots - 1));
        while (slots[at].sample != 0)
            at = (at + 1) & (n_slots - 1);
        slots[at] = d->slots[i];
    }
    free(d->slots);
    d->slots = slots;
    d->n_slots = n_slots;

out:
    return status;
}

axl_status axl_dedup_last(axl_dedup *d, const axl_samples *s, bool *fresh)
{
    axl_status status = AXL_OK;
    int64_t i = s->n - 1, begin = axl_samples_begin(s, i);
    size_t bytes = (size_t)axl_samples_length(s, i) * sizeof *s->ids;
    uint64_t hash = axl_hash64(s->labels + begin, bytes, axl_hash64(s->ids + begin, bytes, 0));

    if (2 * d->n >= d->n_slots)
        AXL_TRY(grow(d));
    int64_t at = (int64_t)(hash & (uint64_t)(d->n_slots - 1));
    *fresh = true;
    while (d->slots[at].sample != 0) {
        if (d->slots[at].hash == hash && same(s, d->slots[at].sample - 1, i)) {
            *fresh = false;
            goto out;
        }
        at = (at + 1) & (d->n_slots - 1);
    }
    d->slots[at] = (slot){.hash = hash, .sample = i + 1};
    d->n++;

out:
    return status;
}
