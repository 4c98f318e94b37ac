// The slice syntax is that of the `datasets` library: name[from:to], each bound empty, a count (negative: from
// the end) or a percentage.
#include "src/data/select.h"

#include "src/base/mem.h"
#include "src/base/philox.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SHARD_STREAM 0x5348415244ull // of AXL_RANDOM_SHUFFLE: "SHARD", far from the epochs

void axl_row_select_fini(axl_row_select *s)
{
    free(s->keep);
    *s = (axl_row_select){0};
}

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

// Keeps one of `shards` contiguous parts of a permutation of the n rows from `from` on.
static axl_status keep_shard(const axl_dataset_spec *spec, int64_t from, int64_t n,
                             axl_row_select *s)
{
    axl_status status = AXL_OK;
    int64_t *order = NULL;
    int64_t part = n / spec->shards, more = n % spec->shards, i = spec->shards_idx;

    AXL_REQUIRE(i >= 0 && i < spec->shards, AXL_E_CONFIG,
                "%s: shards_idx %lld is not one of the %lld shards, counted from 0", spec->place,
                (long long)i, (long long)spec->shards);
    int64_t begin = part * i + (i < more ? i : more), end = begin + part + (i < more);
    AXL_TRY(axl_calloc((size_t)n, sizeof *order, "shards", &order));
    axl_random_permutation(spec->shard_seed, AXL_RANDOM_SHUFFLE, SHARD_STREAM, order, n);
    for (int64_t k = begin; k < end; k++)
        s->keep[from + order[k]] = 1;

out:
    free(order);
    return status;
}

axl_status axl_row_select_make(const axl_dataset_spec *spec, int64_t n, axl_row_select *out)
{
    axl_status status = AXL_OK;
    axl_row_select s = {.n = n};
    int64_t from = 0, to = n;

    AXL_TRY(axl_calloc((size_t)n, 1, "row selection", &s.keep));
    if (n > 0)
        AXL_TRY(read_slice(spec, n, &from, &to));
    if (spec->shards > 1)
        AXL_TRY(keep_shard(spec, from, to - from, &s));
    else if (n > 0)
        memset(s.keep + from, 1, (size_t)(to - from));
    *out = s;
    s = (axl_row_select){0};

out:
    axl_row_select_fini(&s);
    return status;
}
