// The slice syntax is that of the `datasets` library: name[from:to], each bound empty, a count (negative: from
// the end) or a percentage.
#include "src/data/select.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SHARD_STREAM 0x5348415244ull // of AXL_RANDOM_SHUFFLE: "SHARD", far from the epochs

bool axl_row_select_needed(const axl_dataset_spec *spec)
{
    return spec->shards > 1 || (spec->split != NULL && strchr(spec->split, '[') != NULL);
}

// Reads one bound; *p is left behind it. An empty bound is `otherwise`.
static int64_t read_bound(const char **p, int64_t n, int64_t otherwise)
{
    char *end = NULL;
    long long value = strtoll(*p, &end, 10);
    bool empty = end == *p;

    *p = end;
    if (empty)
        return otherwise;
    if (*end == '%') {
        *p = end + 1;
        value = llrint((double)value * (double)n / 100.0);
    }
    if (value < 0)
        value += n;
    return value < 0 ? 0 : value > n ? n : value;
}

static axl_status read_slice(const axl_dataset_spec *spec, int64_t n, int64_t *from, int64_t *to)
{
    axl_status status = AXL_OK;
    const char *open = spec->split != NULL ? strchr(spec->split, '[') : NULL;

    *from = 0;
    *to = n;
    if (open == NULL)
        goto out;
    const char *p = open + 1;
    *from = read_bound(&p, n, 0);
    AXL_REQUIRE(*p == ':', AXL_E_CONFIG,
                "%s: split %s: write name[from:to], as train[:500] or "
                "train[10%%:20%%]",
                spec->place, spec->split);
    p++;
    *to = read_bound(&p, n, n);
    AXL_REQUIRE(strcmp(p, "]") == 0, AXL_E_CONFIG,
                "%s: split %s: write name[from:to], as train[:500] or train[10%%:20%%]",
                spec->place, spec->split);
    AXL_REQUIRE(*from < *to, AXL_E_CONFIG, "%s: split %s takes none of %lld rows", spec->place,
                spec->split, (long long)n);

out:
    return status;
}

// One of `shards` contiguous parts of a permutation of the slice.
static axl_status choose_shard(const axl_dataset_spec *spec, axl_row_select *s)
{
    axl_status status = AXL_OK;
    int64_t n = s->to - s->from, i = spec->shards_idx;
    int64_t part = n / spec->shards, more = n % spec->shards;

    AXL_REQUIRE(i >= 0 && i < spec->shards, AXL_E_CONFIG,
                "%s: shards_idx %lld is not one of the %lld shards, counted from 0", spec->place,
                (long long)i, (long long)spec->shards);
    s->shard = true;
    s->first = part * i + (i < more ? i : more);
    s->last = s->first + part + (i < more);
    if (n > 0)
        s->order = axl_permuter_make(spec->shard_seed, AXL_RANDOM_SHUFFLE, SHARD_STREAM, n);

out:
    return status;
}

axl_status axl_row_select_make(const axl_dataset_spec *spec, int64_t n, axl_row_select *out)
{
    axl_status status = AXL_OK;
    axl_row_select s = {0};

    if (n > 0)
        AXL_TRY(read_slice(spec, n, &s.from, &s.to));
    if (spec->shards > 1)
        AXL_TRY(choose_shard(spec, &s));
    *out = s;

out:
    return status;
}

bool axl_row_select_takes(const axl_row_select *s, int64_t i)
{
    if (s->all)
        return true;
    if (i < s->from || i >= s->to)
        return false;
    if (!s->shard)
        return true;
    int64_t place = axl_permute(&s->order, i - s->from);
    return place >= s->first && place < s->last;
}
