// First fit is a tournament tree: leaf b holds the free space of bin b, an inner node the largest of its children,
// so the first bin with room is found by walking down, left child first. Bins that are not open yet are leaves
// with the whole capacity: "the first open bin with room, else a new one" is then one and the same search.
//
// Best fit keeps the open bins in buckets by their free space, and a set of the buckets that hold any as words of
// 64 bits in levels: the tightest and the emptiest bin are a few word searches away.
#include "src/data/pack.h"

#include "src/base/mem.h"

#include <stdlib.h>
#include <string.h>

#define MAX_BUCKETS ((int64_t)1 << 20) // wider bins share buckets
#define N_LEVELS    4                  // 64^4 > MAX_BUCKETS

// Bins in buckets of free space >> shift.
typedef struct bucket_set {
    int shift;
    int64_t n;     // buckets
    int32_t *head; // [n] last bin put there, -1: none; owned
    uint64_t *bits
        [N_LEVELS]; // [n / 64^(level + 1), rounded up], owned; bit i of a level: word i below is not 0
} bucket_set;

struct axl_packer {
    axl_pack_options options;
    int64_t max_samples;
    int64_t *tree;      // first fit: [2 * leaves], owned; node 1 is the root
    bucket_set buckets; // best fit
    int32_t *next;      // best fit: [max_samples] bin below in its bucket, owned
    int64_t *left;      // best fit: [max_samples] free space of each bin, owned
    int32_t *sorted; // best fit: [2 * max_samples] samples, longest first; and room to sort, owned
    int64_t *other_bin; // best fit: [max_samples] bins of the best try so far, owned
    int64_t *count;     // [max_samples] samples of each bin, owned
    int64_t *bin_of;    // [max_samples] bin of each sample, owned
    int64_t *start;     // [max_samples + 1], owned
    int64_t *items;     // [max_samples], owned
};

// ---- first fit

static void tree_set(int64_t *tree, int64_t n_leaves, int64_t leaf, int64_t free_space)
{
    int64_t node = n_leaves + leaf;

    tree[node] = free_space;
    for (node /= 2; node >= 1; node /= 2) {
        int64_t l = tree[2 * node], r = tree[2 * node + 1];
        tree[node] = l > r ? l : r;
    }
}

// The first leaf with at least need free; the caller knows that there is one.
static int64_t tree_first(const int64_t *tree, int64_t n_leaves, int64_t need)
{
    int64_t node = 1;

    while (node < n_leaves)
        node = tree[2 * node] >= need ? 2 * node : 2 * node + 1;
    return node - n_leaves;
}

static int64_t pack_first(axl_packer *p, const int32_t *lengths, int64_t n)
{
    int64_t n_leaves = 1, n_bins = 0;
    const int64_t capacity = p->options.capacity;

    while (n_leaves < n)
        n_leaves *= 2;
    for (int64_t i = 1; i < 2 * n_leaves; i++)
        p->tree[i] = capacity;
    for (int64_t k = 0; k < n; k++) {
        int64_t len = lengths[k];
        // an oversized sample asks for an untouched bin, and fills it
        int64_t b = len > capacity ? n_bins : tree_first(p->tree, n_leaves, len);

        if (b == n_bins)
            p->count[n_bins++] = 0;
        p->bin_of[k] = b;
        p->count[b]++;
        int64_t left = p->tree[n_leaves + b] - len;
        bool full = p->count[b] >= p->options.bin_size || left < 0;
        tree_set(p->tree, n_leaves, b, full ? -1 : left);
    }
    return n_bins;
}

static int64_t pack_sequential(axl_packer *p, const int32_t *lengths, int64_t n)
{
    int64_t n_bins = 0, left = -1;

    for (int64_t k = 0; k < n; k++) {
        if (n_bins == 0 || lengths[k] > left) {
            left = p->options.capacity;
            p->count[n_bins++] = 0;
        }
        left -= lengths[k];
        p->bin_of[k] = n_bins - 1;
        p->count[n_bins - 1]++;
    }
    return n_bins;
}

// ---- best fit

static axl_status buckets_init(bucket_set *s, int64_t capacity)
{
    axl_status status = AXL_OK;

    while (capacity >> s->shift >= MAX_BUCKETS)
        s->shift++;
    s->n = (capacity >> s->shift) + 1;
    AXL_TRY(axl_calloc((size_t)s->n, sizeof *s->head, "bins", &s->head));
    int64_t words = s->n;
    for (int v = 0; v < N_LEVELS; v++) {
        words = (words + 63) / 64;
        AXL_TRY(axl_calloc((size_t)words, sizeof *s->bits[v], "bins", &s->bits[v]));
    }

out:
    return status;
}

static void buckets_fini(bucket_set *s)
{
    free(s->head);
    for (int v = 0; v < N_LEVELS; v++)
        free(s->bits[v]);
}

static void buckets_clear(bucket_set *s)
{
    int64_t words = s->n;

    memset(s->head, -1, (size_t)s->n * sizeof *s->head);
    for (int v = 0; v < N_LEVELS; v++) {
        words = (words + 63) / 64;
        memset(s->bits[v], 0, (size_t)words * sizeof *s->bits[v]);
    }
}

static void bucket_mark(bucket_set *s, int64_t at)
{
    for (int v = 0; v < N_LEVELS; v++, at /= 64)
        s->bits[v][at / 64] |= (uint64_t)1 << at % 64;
}

static void bucket_unmark(bucket_set *s, int64_t at)
{
    for (int v = 0; v < N_LEVELS; v++, at /= 64) {
        s->bits[v][at / 64] &= ~((uint64_t)1 << at % 64);
        if (s->bits[v][at / 64] != 0)
            break;
    }
}

// The smallest marked bucket from `at` on; -1: none.
static int64_t bucket_from(const bucket_set *s, int64_t at)
{
    int64_t size = s->n;

    for (int v = 0; v < N_LEVELS && at < size; v++) {
        uint64_t word = s->bits[v][at / 64] & ~(uint64_t)0 << at % 64;
        if (word != 0) {
            at = at / 64 * 64 + __builtin_ctzll(word);
            while (v-- > 0)
                at = at * 64 + __builtin_ctzll(s->bits[v][at]);
            return at;
        }
        at = at / 64 + 1;
        size = (size + 63) / 64;
    }
    return -1;
}

// The largest marked bucket; -1: none.
static int64_t bucket_last(const bucket_set *s)
{
    int64_t at = 0;

    for (int v = N_LEVELS - 1; v >= 0; v--) {
        if (s->bits[v][at] == 0)
            return -1;
        at = at * 64 + 63 - __builtin_clzll(s->bits[v][at]);
    }
    return at;
}

static void bin_put(axl_packer *p, int64_t bin)
{
    int64_t at = p->left[bin] >> p->buckets.shift;

    if (p->buckets.head[at] < 0)
        bucket_mark(&p->buckets, at);
    p->next[bin] = p->buckets.head[at];
    p->buckets.head[at] = (int32_t)bin;
}

static int64_t bin_take(axl_packer *p, int64_t at)
{
    int64_t bin = p->buckets.head[at];

    p->buckets.head[at] = p->next[bin];
    if (p->buckets.head[at] < 0)
        bucket_unmark(&p->buckets, at);
    return bin;
}

// Samples by falling length, equal ones in their order: a radix sort of 11 bits a pass.
static const int32_t *sort_lengths(axl_packer *p, const int32_t *lengths, int64_t n)
{
    int32_t *from = p->sorted, *to = p->sorted + p->max_samples, longest = 0;

    for (int64_t k = 0; k < n; k++) {
        from[k] = (int32_t)k;
        longest = lengths[k] > longest ? lengths[k] : longest;
    }
    for (int shift = 0; shift < 31 && longest >> shift > 0; shift += 11) {
        int64_t at[2048] = {0}, sum = 0;
        for (int64_t k = 0; k < n; k++)
            at[lengths[k] >> shift & 2047]++;
        for (int d = 2047; d >= 0; d--) {
            int64_t here = at[d];
            at[d] = sum;
            sum += here;
        }
        for (int64_t k = 0; k < n; k++)
            to[at[lengths[from[k]] >> shift & 2047]++] = from[k];
        int32_t *swap = from;
        from = to;
        to = swap;
    }
    return from;
}

// Puts the samples, longest first, into the fullest bin with room (spread <= 0), or into the emptiest of `spread`
// bins (a new one when it does not fit there). Returns the number of bins.
static int64_t pack_sorted(axl_packer *p, const int32_t *lengths, const int32_t *sorted, int64_t n,
                           int64_t spread, int64_t *bin_of)
{
    const int64_t capacity = p->options.capacity, unit = (int64_t)1 << p->buckets.shift;
    int64_t n_bins = 0;

    buckets_clear(&p->buckets);
    for (; n_bins < spread; n_bins++) {
        p->count[n_bins] = 0;
        p->left[n_bins] = capacity;
        bin_put(p, n_bins);
    }
    for (int64_t i = 0; i < n; i++) {
        int64_t len = lengths[sorted[i]], at = -1;
        if (len <= capacity && spread <= 0)
            at = bucket_from(&p->buckets, (len + unit - 1) >> p->buckets.shift);
        else if (len <= capacity)
            at = bucket_last(&p->buckets);
        if (at >= 0 && p->left[p->buckets.head[at]] < len)
            at = -1;
        int64_t b = at >= 0 ? bin_take(p, at) : n_bins;
        if (at < 0) {
            n_bins++;
            p->count[b] = 0;
            p->left[b] = capacity;
        }
        bin_of[sorted[i]] = b;
        p->count[b]++;
        p->left[b] -= len;
        if (p->left[b] > 0 && p->count[b] < p->options.bin_size)
            bin_put(p, b);
    }
    return n_bins;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

// Numbers the bins by their first samples and counts what they hold.
static int64_t number_bins(axl_packer *p, int64_t n)
{
    int64_t n_bins = 0;

    for (int64_t k = 0; k < n; k++)
        p->left[k] = -1; // the new number of a bin; some bins of a spread may be empty
    for (int64_t k = 0; k < n; k++) {
        int64_t *number = &p->left[p->bin_of[k]];
        if (*number < 0) {
            *number = n_bins;
            p->count[n_bins++] = 0;
        }
        p->bin_of[k] = *number;
        p->count[*number]++;
    }
    return n_bins;
}

static int64_t pack_best(axl_packer *p, const int32_t *lengths, int64_t n)
{
    const int64_t capacity = p->options.capacity;
    const int32_t *sorted = sort_lengths(p, lengths, n);
    int64_t tokens = 0, least = 0, singles = 0, oversized = 0;

    for (int64_t k = 0; k < n; k++) {
        tokens += lengths[k] < capacity ? lengths[k] : capacity;
        singles += 2 * (int64_t)lengths[k] > capacity; // no two of these share a bin
        oversized += lengths[k] > capacity;
    }
    least = most(most((tokens + capacity - 1) / capacity,
                      (n + p->options.bin_size - 1) / p->options.bin_size),
                 singles);
    int64_t n_bins = pack_sorted(p, lengths, sorted, n, 0, p->bin_of);
    // short samples alone in the last bins hit bin_size before they fill them; mixed with long ones they do not
    for (int try = 0; try < 2 && n_bins > least; try++) {
        memcpy(p->other_bin, p->bin_of, (size_t)n * sizeof *p->bin_of);
        int64_t other = try == 0 ? pack_sorted(p, lengths, sorted, n, least - oversized, p->bin_of)
                                 : pack_first(p, lengths, n);
        if (other >= n_bins)
            memcpy(p->bin_of, p->other_bin, (size_t)n * sizeof *p->bin_of);
        n_bins = other < n_bins ? other : n_bins;
    }
    return number_bins(p, n);
}

// ---- both

axl_status axl_packer_create(int64_t max_samples, const axl_pack_options *options, axl_packer **out)
{
    axl_status status = AXL_OK;
    axl_packer *p = NULL;
    size_t n = (size_t)max_samples, n_leaves = 1;

    AXL_REQUIRE(options->capacity >= 1 && options->bin_size >= 1, AXL_E_CONFIG,
                "packing needs sequence_len and sample_packing_bin_size of at least 1");
    AXL_REQUIRE(max_samples >= 1 && max_samples <= INT32_MAX, AXL_E_CONFIG,
                "sample_packing_group_size %lld must be from 1 to 2^31 - 1",
                (long long)max_samples);
    AXL_TRY(axl_calloc(1, sizeof *p, "packer", &p));
    p->options = *options;
    p->max_samples = max_samples;
    if (options->kind != AXL_PACK_SEQUENTIAL) {
        while (n_leaves < n)
            n_leaves *= 2;
        AXL_TRY(axl_calloc(2 * n_leaves, sizeof *p->tree, "packing tree", &p->tree));
    }
    if (options->kind == AXL_PACK_BEST_FIT) {
        AXL_TRY(buckets_init(&p->buckets, options->capacity));
        AXL_TRY(axl_calloc(n, sizeof *p->next, "bins", &p->next));
        AXL_TRY(axl_calloc(n, sizeof *p->left, "bins", &p->left));
        AXL_TRY(axl_calloc(2 * n, sizeof *p->sorted, "bins", &p->sorted));
        AXL_TRY(axl_calloc(n, sizeof *p->other_bin, "bins", &p->other_bin));
    }
    AXL_TRY(axl_calloc(n, sizeof *p->count, "bins", &p->count));
    AXL_TRY(axl_calloc(n, sizeof *p->bin_of, "bins", &p->bin_of));
    AXL_TRY(axl_calloc(n + 1, sizeof *p->start, "bins", &p->start));
    AXL_TRY(axl_calloc(n, sizeof *p->items, "bins", &p->items));
    *out = p;
    p = NULL;

out:
    axl_packer_destroy(p);
    return status;
}

void axl_packer_destroy(axl_packer *p)
{
    if (p == NULL)
        return;
    buckets_fini(&p->buckets);
    free(p->tree);
    free(p->next);
    free(p->left);
    free(p->sorted);
    free(p->other_bin);
    free(p->count);
    free(p->bin_of);
    free(p->start);
    free(p->items);
    free(p);
}

axl_bins axl_packer_run(axl_packer *p, const int32_t *lengths, int64_t n)
{
    int64_t n_bins = 0;

    AXL_ASSERT(n <= p->max_samples);
    if (p->options.kind == AXL_PACK_SEQUENTIAL)
        n_bins = pack_sequential(p, lengths, n);
    else if (p->options.kind == AXL_PACK_BEST_FIT)
        n_bins = pack_best(p, lengths, n);
    else
        n_bins = pack_first(p, lengths, n);
    p->start[0] = 0;
    for (int64_t b = 0; b < n_bins; b++)
        p->start[b + 1] = p->start[b] + p->count[b];
    // count becomes the write position of each bin; walking in order keeps the order inside bins
    memcpy(p->count, p->start, (size_t)n_bins * sizeof *p->count);
    for (int64_t k = 0; k < n; k++)
        p->items[p->count[p->bin_of[k]]++] = k;
    return (axl_bins){.n_bins = n_bins, .start = p->start, .items = p->items};
}
