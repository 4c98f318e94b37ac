// Growing arrays; the only subtlety is that tokens behind the last end are the open sample.
#include "src/data/samples.h"

#include "src/base/mem.h"

#include <stdlib.h>
#include <string.h>

void axl_samples_fini(axl_samples *s)
{
    free(s->ids);
    free(s->labels);
    free(s->info);
    *s = (axl_samples){0};
}

void axl_samples_clear(axl_samples *s)
{
    s->n_tokens = s->n = 0;
}

int64_t axl_samples_open_begin(const axl_samples *s)
{
    return s->n == 0 ? 0 : s->info[s->n - 1].end;
}

int64_t axl_samples_open_length(const axl_samples *s)
{
    return s->n_tokens - axl_samples_open_begin(s);
}

void axl_samples_drop_open(axl_samples *s)
{
    s->n_tokens = axl_samples_open_begin(s);
}

axl_status axl_samples_put(axl_samples *s, const int32_t *ids, const int32_t *labels, int64_t n,
                           bool trained)
{
    axl_status status = AXL_OK;
    size_t need = (size_t)(s->n_tokens + n);

    if (n == 0)
        goto out;
    AXL_TRY(axl_grow(&s->ids, &s->ids_capacity, need, sizeof *s->ids, "token ids"));
    AXL_TRY(axl_grow(&s->labels, &s->labels_capacity, need, sizeof *s->labels, "labels"));
    memcpy(s->ids + s->n_tokens, ids, (size_t)n * sizeof *ids);
    if (labels != NULL || trained) {
        memcpy(s->labels + s->n_tokens, labels != NULL ? labels : ids, (size_t)n * sizeof *ids);
    } else {
        for (int64_t i = 0; i < n; i++)
            s->labels[s->n_tokens + i] = AXL_IGNORE;
    }
    s->n_tokens += n;

out:
    return status;
}

axl_status axl_samples_end(axl_samples *s, int32_t file, int64_t line)
{
    return axl_samples_end_as(s, AXL_SAMPLE_PLAIN, 0, file, line);
}

axl_status axl_samples_end_as(axl_samples *s, axl_sample_role role, int64_t second, int32_t file,
                              int64_t line)
{
    axl_status status = AXL_OK;
    int64_t begin = axl_samples_open_begin(s);
    axl_sample_info info = {.end = s->n_tokens,
                            .line = line,
                            .file = file,
                            .second = (int32_t)second,
                            .role = (int32_t)role};

    // the first label of a document is nobody's target, unless it is a class of the token itself
    bool shifted = role != AXL_SAMPLE_STEPS;
    for (int64_t t = begin + shifted; t < s->n_tokens; t++)
        info.trained += s->labels[t] != AXL_IGNORE && (!shifted || t != begin + second);
    AXL_TRY(axl_grow(&s->info, &s->info_capacity, (size_t)s->n + 1, sizeof info, "samples"));
    s->info[s->n++] = info;

out:
    return status;
}
