// Drawing a token. The hard part is speed for large vocabularies: only candidates of top_k or top_p are sorted, and
// nothing when there is no cut.
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

// Falling order. A logit that is no number comes last, and equal ones by id, so that the order is total.
static int by_logit(const void *a, const void *b, void *logits)
{
    int32_t x = *(const int32_t *)a;
    int32_t y = *(const int32_t *)b;
    const float *l = logits;

    if (isnan(l[x]) != isnan(l[y]))
        return isnan(l[x]) ? 1 : -1;
    if (l[x] < l[y] || l[x] > l[y])
        return l[x] < l[y] ? 1 : -1;
    return x < y ? -1 : x > y;
}

// Brings the k first of the falling order to the front, in any order (Hoare 1961, algorithm 65).
static void select_first(int32_t *order, int64_t n, int64_t k, float *logits)
{
    int64_t low = 0;
    int64_t high = n - 1;

    while (low < high) {
        int32_t pivot = order[low + (high - low) / 2];
        int64_t i = low;
        int64_t j = high;
        while (i <= j) {
            while (by_logit(&order[i], &pivot, logits) < 0)
                i++;
            while (by_logit(&order[j], &pivot, logits) > 0)
                j--;
            if (i > j)
                break;
            int32_t t = order[i];
            order[i++] = order[j];
            order[j--] = t;
        }
        if (k - 1 <= j)
            high = j;
        else if (k - 1 >= i)
            low = i;
        else
            break;
    }
}

static double weight(const axl_sampling *s, float logit, double top)
{
    return exp(((double)logit - top) / s->temperature);
}

// The ids that may be in the smallest set that reaches top_p of total, the weight of all: those below
// (1 - top_p) / vocab of it hold less than 1 - top_p together, so the set is full before them.
static int64_t likely(const axl_sampling *s, const float *logits, int64_t vocab, double top,
                      double total, int32_t *order)
{
    double least = 0.5 * (1.0 - s->top_p) / (double)vocab * total; // half: room for rounding
    int64_t n = 0;

    for (int64_t v = 0; v < vocab; v++)
        if (!(weight(s, logits[v], top) < least))
            order[n++] = (int32_t)v;
    return n;
}

int32_t axl_sample(const axl_sampling *s, float *logits, int64_t vocab, uint64_t index,
                   int32_t *scratch)
{
    int32_t best = largest(logits, vocab);
    double top = (double)logits[best];
    double total = 0.0;
    double kept = 0.0;
    int64_t n = vocab;
    int64_t n_kept = 0;

    if (s->temperature <= 0.0)
        return best;
    for (int64_t v = 0; v < vocab; v++)
        scratch[v] = (int32_t)v;
    if (s->top_k > 0 && s->top_k < vocab) {
        n = s->top_k;
        select_first(scratch, vocab, n, logits);
    }
    for (int64_t i = 0; i < n; i++)
        total += weight(s, logits[scratch[i]], top);
    if (n == vocab && s->top_p < 1.0)
        n = likely(s, logits, vocab, top, total, scratch);
    if (n < vocab || s->top_p < 1.0)
        qsort_r(scratch, (size_t)n, sizeof *scratch, by_logit, logits);
    while (n_kept < n && (n_kept == 0 || s->top_p >= 1.0 || kept < s->top_p * total))
        kept += weight(s, logits[scratch[n_kept++]], top);
    double u = axl_random_uniform(s->seed, AXL_RANDOM_SAMPLE, index) * kept;
    for (int64_t i = 0; i < n_kept; i++) {
        u -= weight(s, logits[scratch[i]], top);
        if (u < 0.0)
            return scratch[i];
    }
    return scratch[n_kept - 1];
}
