// Drawing a token. The hard part is speed for large vocabularies: only candidates of top_k or top_p are sorted.
#include "src/base/philox.h"
#include "src/generate/generate.h"

#include <math.h>
#include <stdlib.h>

static int32_t largest(const float *logits, int64_t vocab)
{
    int32_t best = 0;

    for (int64_t v = 1; v < vocab; v++)
        if (logits[v] > logits[best])
            best = (int32_t)v;
    return best;
}

static int by_logit(const void *a, const void *b, void *logits)
{
    int32_t x = *(const int32_t *)a;
    int32_t y = *(const int32_t *)b;
    const float *l = logits;

    if (l[x] != l[y])
        return l[x] < l[y] ? 1 : -1;
    return x - y; // equal logits: the lower id, so that the order is fixed
}

// Candidates in falling order; returns how many.
static int64_t sort_candidates(const axl_sampling *s, float *logits, int64_t vocab, int32_t *order)
{
    for (int64_t v = 0; v < vocab; v++)
        order[v] = (int32_t)v;
    qsort_r(order, (size_t)vocab, sizeof *order, by_logit, logits);
    return s->top_k > 0 && s->top_k < vocab ? s->top_k : vocab;
}

int32_t axl_sample(const axl_sampling *s, float *logits, int64_t vocab, uint64_t index,
                   int32_t *scratch)
{
    if (s->temperature <= 0.0)
        return largest(logits, vocab);
    int64_t n = sort_candidates(s, logits, vocab, scratch);
    double top = (double)logits[scratch[0]];
    double total = 0.0;
    for (int64_t i = 0; i < n; i++)
        total += exp(((double)logits[scratch[i]] - top) / s->temperature);
    double kept = 0.0;
    int64_t n_kept = 0;
    while (n_kept < n && (n_kept == 0 || kept < s->top_p * total))
        kept += exp(((double)logits[scratch[n_kept++]] - top) / s->temperature);
    double u = axl_random_uniform(s->seed, AXL_RANDOM_SAMPLE, index) * kept;
    for (int64_t i = 0; i < n_kept; i++) {
        u -= exp(((double)logits[scratch[i]] - top) / s->temperature);
        if (u < 0.0)
            return scratch[i];
    }
    return scratch[n_kept - 1];
}
