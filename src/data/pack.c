// First fit by a tournament tree: leaf b holds the free space of bin b, an inner node the largest of
// its children, so the first bin with room is found by walking down, left child first. Bins that are
// not open yet are leaves with the whole capacity: "the first open bin with room, else a new one" is
// then one and the same search.
#include "src/data/pack.h"

#include "src/base/mem.h"

#include <stdlib.h>
#include <string.h>

struct axl_packer {
    axl_pack_options options;
    int64_t max_samples;
    int64_t n_leaves; // of the tree for a whole group, a power of two
    int64_t *tree;    // [2 * n_leaves], owned; node 1 is the root
    int64_t *count;   // [max_samples] samples of each bin, owned
    int64_t *bin_of;  // [max_samples] bin of the k-th sample of the order, owned
    int64_t *start;   // [max_samples + 1], owned
    int64_t *items;   // [max_samples], owned
};

axl_status axl_packer_create(int64_t max_samples, const axl_pack_options *options, axl_packer **out)
{
    axl_status status = AXL_OK;
    axl_packer *p = NULL;
    int64_t group = 0;

    AXL_REQUIRE(options->capacity >= 1 && options->group_size >= 1 && options->bin_size >= 1,
                AXL_E_CONFIG,
                "packing needs sequence_len, sample_packing_group_size and sample_packing_bin_size "
                "of at least 1");
    AXL_TRY(axl_calloc(1, sizeof *p, "packer", &p));
    p->options = *options;
    p->max_samples = max_samples;
    group = options->group_size < max_samples ? options->group_size : max_samples;
    p->n_leaves = 1;
    while (p->n_leaves < group)
        p->n_leaves *= 2;
    AXL_TRY(axl_calloc((size_t)(2 * p->n_leaves), sizeof *p->tree, "packing tree", &p->tree));
    AXL_TRY(axl_calloc((size_t)max_samples, sizeof *p->count, "bins", &p->count));
    AXL_TRY(axl_calloc((size_t)max_samples, sizeof *p->bin_of, "bins", &p->bin_of));
    AXL_TRY(axl_calloc((size_t)max_samples + 1, sizeof *p->start, "bins", &p->start));
    AXL_TRY(axl_calloc((size_t)max_samples, sizeof *p->items, "bins", &p->items));
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
    free(p->tree);
    free(p->count);
    free(p->bin_of);
    free(p->start);
    free(p->items);
    free(p);
}

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

// Packs one group of n samples; returns the number of bins it made. bin_of and count are the group's.
static int64_t pack_group(axl_packer *p, const int32_t *lengths, const int64_t *order, int64_t n,
                          int64_t *bin_of, int64_t *count)
{
    int64_t n_leaves = 1, n_bins = 0;
    const int64_t capacity = p->options.capacity;

    while (n_leaves < n)
        n_leaves *= 2;
    for (int64_t i = 1; i < 2 * n_leaves; i++)
        p->tree[i] = capacity;
    for (int64_t k = 0; k < n; k++) {
        int64_t len = lengths[order[k]];
        // an oversized sample asks for an untouched bin, and fills it
        int64_t b = len > capacity ? n_bins : tree_first(p->tree, n_leaves, len);

        if (b == n_bins)
            count[n_bins++] = 0;
        bin_of[k] = b;
        count[b]++;
        int64_t left = p->tree[n_leaves + b] - len;
        bool full = count[b] >= p->options.bin_size || left < 0;
        tree_set(p->tree, n_leaves, b, full ? -1 : left);
    }
    return n_bins;
}

static int64_t pack_sequential(axl_packer *p, const int32_t *lengths, const int64_t *order,
                               int64_t n)
{
    int64_t n_bins = 0, left = -1;

    for (int64_t k = 0; k < n; k++) {
        int64_t len = lengths[order[k]];
        if (n_bins == 0 || len > left) {
            left = p->options.capacity;
            p->count[n_bins++] = 0;
        }
        left -= len;
        p->bin_of[k] = n_bins - 1;
        p->count[n_bins - 1]++;
    }
    return n_bins;
}

axl_bins axl_packer_run(axl_packer *p, const int32_t *lengths, const int64_t *order, int64_t n)
{
    int64_t n_bins = 0;

    AXL_ASSERT(n <= p->max_samples);
    if (p->options.sequential) {
        n_bins = pack_sequential(p, lengths, order, n);
    } else {
        for (int64_t at = 0; at < n; at += p->options.group_size) {
            int64_t in_group = n - at < p->options.group_size ? n - at : p->options.group_size;
            int64_t made =
                pack_group(p, lengths, order + at, in_group, p->bin_of + at, p->count + n_bins);
            for (int64_t k = at; k < at + in_group; k++)
                p->bin_of[k] += n_bins;
            n_bins += made;
        }
    }
    p->start[0] = 0;
    for (int64_t b = 0; b < n_bins; b++)
        p->start[b + 1] = p->start[b] + p->count[b];
    // count becomes the write position of each bin; walking in order keeps the order inside bins
    memcpy(p->count, p->start, (size_t)n_bins * sizeof *p->count);
    for (int64_t k = 0; k < n; k++)
        p->items[p->count[p->bin_of[k]]++] = order[k];
    return (axl_bins){.n_bins = n_bins, .start = p->start, .items = p->items};
}

axl_bins axl_packer_singles(axl_packer *p, const int64_t *order, int64_t n)
{
    AXL_ASSERT(n <= p->max_samples);
    for (int64_t k = 0; k < n; k++) {
        p->start[k] = k;
        p->items[k] = order[k];
    }
    p->start[n] = n;
    return (axl_bins){.n_bins = n, .start = p->start, .items = p->items};
}
