// A permutation and a cut.
#include "src/data/split.h"

#include "src/base/mem.h"
#include "src/base/philox.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MERGE_STREAM 0 // of AXL_RANDOM_SHUFFLE; the epochs take those from 1 on

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

axl_status axl_split_make(const axl_prepared *set, const axl_split_options *options,
                          axl_sample_list *train, axl_sample_list *val)
{
    axl_status status = AXL_OK;
    axl_sample_list all = {0}, tail = {.set = set};

    AXL_TRY(count_validation(set->n, options->val_set_size, &tail.n));
    AXL_ASSERT(val != NULL || tail.n == 0);
    AXL_TRY(axl_sample_list_all(set, &all));
    if (options->shuffle)
        axl_random_permutation(options->seed, AXL_RANDOM_SHUFFLE, MERGE_STREAM, all.index, all.n);
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
