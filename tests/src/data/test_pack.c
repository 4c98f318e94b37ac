// RUN: np=1
// Bins against the reference sampler, and what must hold for any lengths.
#include "src/base/philox.h"
#include "src/data/pack.h"
#include "src/io/file.h"
#include "src/io/json.h"
#include "tests/check.h"

#include <math.h>
#include <stdlib.h>

static int64_t member(const axl_json *record, const char *key)
{
    return axl_json_int(axl_json_get(record, key), -1);
}

// The reference lists batches of bins; an incomplete last batch is left out there.
static int compare_bins(const axl_bins *bins, const axl_json *record, int64_t batch_size)
{
    const axl_json *batches = axl_json_get(record, "batches");
    int64_t n_batches = bins->n_bins / batch_size, wrong = 0;

    if (!axl_json_bool(axl_json_get(axl_json_get(record, "settings"), "drop_last"), true))
        n_batches = (bins->n_bins + batch_size - 1) / batch_size;
    if ((int64_t)axl_json_count(batches) != n_batches)
        return 1;
    for (int64_t b = 0; b < bins->n_bins && b / batch_size < n_batches; b++) {
        const axl_json *batch = axl_json_at(batches, (size_t)(b / batch_size));
        const axl_json *bin = axl_json_at(batch, (size_t)(b % batch_size));
        int64_t n = bins->start[b + 1] - bins->start[b];
        wrong += (int64_t)axl_json_count(bin) != n;
        for (int64_t i = 0; i < n; i++)
            wrong +=
                axl_json_int(axl_json_at(bin, (size_t)i), -1) != bins->items[bins->start[b] + i];
    }
    return wrong != 0;
}

// Packs a list in groups; bins of indices into `lengths` are written one behind another.
static void pack_groups(const axl_pack_options *o, int64_t group_size, const int32_t *lengths,
                        const int64_t *order, int64_t n, axl_bins *out)
{
    axl_packer *packer = NULL;
    int32_t *len = calloc((size_t)group_size, sizeof *len);

    *out = (axl_bins){.start = calloc((size_t)n + 1, sizeof *out->start),
                      .items = calloc((size_t)n + 1, sizeof *out->items)};
    CHECK_OK(axl_packer_create(group_size, o, &packer));
    for (int64_t at = 0; at < n; at += group_size) {
        int64_t in_group = n - at < group_size ? n - at : group_size;
        for (int64_t i = 0; i < in_group; i++)
            len[i] = lengths[order[at + i]];
        axl_bins group = axl_packer_run(packer, len, in_group);
        for (int64_t b = 0; b < group.n_bins; b++)
            out->start[++out->n_bins] = at + group.start[b + 1];
        for (int64_t i = 0; i < in_group; i++)
            out->items[at + i] = order[at + group.items[i]];
    }
    axl_packer_destroy(packer);
    free(len);
}

static void free_bins(axl_bins *bins)
{
    free(bins->start);
    free(bins->items);
}

static int check_record(const axl_json *record)
{
    const axl_json *settings = axl_json_get(record, "settings");
    const axl_json *lengths = axl_json_get(record, "lengths"),
                   *order = axl_json_get(record, "order");
    int64_t n = (int64_t)axl_json_count(order), n_lengths = (int64_t)axl_json_count(lengths);
    bool sequential = axl_json_bool(axl_json_get(settings, "sequential"), false);
    axl_pack_options options = {.capacity = member(settings, "batch_max_len"),
                                .bin_size = member(settings, "bin_size"),
                                .kind = sequential ? AXL_PACK_SEQUENTIAL : AXL_PACK_FIRST_FIT};
    int64_t group = sequential ? n : member(settings, "group_size");
    int32_t *len = calloc((size_t)n_lengths + 1, sizeof *len);
    int64_t *at = calloc((size_t)n + 1, sizeof *at);
    axl_bins bins;

    for (int64_t i = 0; i < n_lengths; i++)
        len[i] = (int32_t)axl_json_int(axl_json_at(lengths, (size_t)i), 0);
    for (int64_t i = 0; i < n; i++)
        at[i] = axl_json_int(axl_json_at(order, (size_t)i), -1);
    pack_groups(&options, group < n ? group : n, len, at, n, &bins);
    int wrong = compare_bins(&bins, record, member(settings, "batch_size"));
    if (wrong)
        print_error("%s differs\n", axl_json_string(axl_json_get(record, "id"), ""));
    free_bins(&bins);
    free(len);
    free(at);
    return wrong;
}

static void bins_equal_the_reference(void **state)
{
    (void)state;
    axl_str all = {0};
    int n = 0, n_wrong = 0;

    CHECK_OK(axl_file_read(AXL_TEST_DATA "/data/packing.jsonl", &all));
    for (char *line = all.data, *end; (end = strchr(line, '\n')) != NULL; line = end + 1, n++) {
        axl_json *record = NULL;
        CHECK_OK(axl_json_parse(line, (size_t)(end - line), "packing.jsonl", &record));
        n_wrong += check_record(record);
        axl_json_free(record);
    }
    axl_str_fini(&all);
    assert_true(n > 20);
    assert_int_equal(n_wrong, 0);
}

// First fit written as its definition says, with one loop over the open bins.
static int64_t plain_first_fit(const int32_t *len, int64_t n, int64_t group_size,
                               const axl_pack_options *o, int64_t *bin)
{
    int64_t n_bins = 0, first = 0;
    int64_t *left = calloc((size_t)n, sizeof *left), *count = calloc((size_t)n, sizeof *count);

    for (int64_t i = 0; i < n; i++) {
        int64_t b;
        if (i % group_size == 0)
            first = n_bins;
        for (b = first; b < n_bins && (left[b] < len[i] || count[b] >= o->bin_size); b++)
            continue;
        if (b == n_bins) {
            left[n_bins] = o->capacity;
            n_bins++;
        }
        left[b] -= len[i];
        count[b]++;
        bin[i] = b;
    }
    free(left);
    free(count);
    return n_bins;
}

static void tree_search_equals_the_plain_loop(void **state)
{
    (void)state;
    enum { N = 3000 };
    static int32_t len[N];
    static int64_t order[N], want[N];
    const struct {
        int64_t group_size;
        axl_pack_options o;
    } cases[] = {{N, {100, 200, AXL_PACK_FIRST_FIT}},
                 {700, {100, 3, AXL_PACK_FIRST_FIT}},
                 {1, {64, 5, AXL_PACK_FIRST_FIT}}};

    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        axl_bins bins;
        for (int64_t i = 0; i < N; i++) {
            order[i] = i;
            len[i] = 1 + (int32_t)(60 * axl_random_uniform(c, AXL_RANDOM_TEST, (uint64_t)i));
        }
        pack_groups(&cases[c].o, cases[c].group_size, len, order, N, &bins);
        assert_int_equal(bins.n_bins,
                         plain_first_fit(len, N, cases[c].group_size, &cases[c].o, want));
        for (int64_t b = 0; b < bins.n_bins; b++) {
            for (int64_t i = bins.start[b]; i < bins.start[b + 1]; i++)
                assert_int_equal(want[bins.items[i]], b);
        }
        free_bins(&bins);
    }
}

static void oversized_sample_has_its_own_bin(void **state)
{
    (void)state;
    const int32_t len[] = {4, 30, 4, 2, 30};

    for (int kind = 0; kind < 2; kind++) {
        const axl_pack_options o = {10, 100, kind ? AXL_PACK_BEST_FIT : AXL_PACK_FIRST_FIT};
        axl_packer *packer = NULL;
        CHECK_OK(axl_packer_create(5, &o, &packer));
        axl_bins bins = axl_packer_run(packer, len, 5);
        assert_int_equal(bins.n_bins, 3);
        assert_int_equal(bins.start[1], 3);
        assert_int_equal(bins.start[2], 4);
        axl_packer_destroy(packer);
    }
}

// ---- best fit

enum { MANY = 100000 };

// Lengths of the 59,416 docstrings of Python's library and some packages, bytes / 4: per mille of 4 to 7, 8 to 15, ...
// up to 2047 tokens.
static const int histogram[] = {31, 199, 230, 179, 152, 112, 68, 24, 5};

static int32_t draw_length(int kind, uint64_t i, int32_t limit)
{
    double u = axl_random_uniform(11, AXL_RANDOM_TEST, i), x = 0.0;

    if (kind == 0 || kind == 3) { // log-normal
        x = (kind == 0 ? 250.0 : 600.0) * exp(1.1 * axl_random_normal(12, AXL_RANDOM_TEST, i));
    } else if (kind == 1) { // Zipf with exponent 1.5: density x^-1.5 from 16 on
        x = 16.0 / ((1.0 - u) * (1.0 - u));
    } else {
        double at = u * 1000.0, low = 4.0, high = 8.0;
        for (size_t b = 0; b < sizeof histogram / sizeof *histogram; b++, low = high, high *= 2.0) {
            x = low + (high - low) * at / histogram[b];
            if (at < histogram[b])
                break;
            at -= histogram[b];
        }
    }
    return x < 2.0 ? 2 : x > limit ? limit : (int32_t)x;
}

// The bins hold each sample once and keep the limits; returns how full they are, of what can be.
static double check_bins(const axl_bins *bins, const int32_t *len, int64_t n,
                         const axl_pack_options *o)
{
    static unsigned char seen[MANY];
    int64_t tokens = 0, before = -1;

    memset(seen, 0, sizeof seen);
    for (int64_t b = 0; b < bins->n_bins; b++) {
        int64_t sum = 0, count = bins->start[b + 1] - bins->start[b];
        assert_true(count > 0 && count <= o->bin_size);
        assert_true(bins->items[bins->start[b]] > before); // by their first samples
        before = bins->items[bins->start[b]];
        for (int64_t i = bins->start[b]; i < bins->start[b + 1]; i++) {
            assert_int_equal(seen[bins->items[i]], 0);
            seen[bins->items[i]] = 1;
            sum += len[bins->items[i]];
        }
        assert_true(sum <= o->capacity);
        tokens += sum;
    }
    assert_int_equal(bins->start[bins->n_bins], n);
    return (double)tokens / ((double)o->capacity * (double)bins->n_bins);
}

static void long_tails_fill_bins_to_99_percent(void **state)
{
    (void)state;
    static int32_t len[MANY];
    static const char *const names[] = {"log-normal, median 250", "zipf", "docstrings",
                                        "log-normal, median 600"};
    const int64_t capacities[] = {2048, 8192, 65536};

    for (int kind = 0; kind < 4; kind++) {
        for (size_t c = 0; c < 3; c++) {
            int64_t sum = 0;
            double fill[2];
            for (uint64_t i = 0; i < MANY; i++)
                sum += len[i] = draw_length(kind, i, 2048);
            for (int best = 0; best < 2; best++) {
                axl_pack_options o = {capacities[c], c == 2 ? 1000 : 200,
                                      best ? AXL_PACK_BEST_FIT : AXL_PACK_FIRST_FIT};
                axl_packer *packer = NULL;
                CHECK_OK(axl_packer_create(MANY, &o, &packer));
                axl_bins bins = axl_packer_run(packer, len, MANY);
                if (best)
                    fill[best] = check_bins(&bins, len, MANY, &o);
                else
                    fill[best] = (double)sum / ((double)o.capacity * (double)bins.n_bins);
                axl_packer_destroy(packer);
            }
            print_message("%s, capacity %lld: best fit %.2f %%, first fit %.2f %%\n", names[kind],
                          (long long)capacities[c], 100.0 * fill[1], 100.0 * fill[0]);
            assert_true(fill[1] >= 0.99);
            assert_true(fill[1] >= fill[0]);
        }
    }
}

// Many short samples: the last bins would be closed by their number of samples, long before they are full.
static void short_samples_are_spread_when_their_number_is_limited(void **state)
{
    (void)state;
    static int32_t len[MANY];
    const axl_pack_options o = {8192, 200, AXL_PACK_BEST_FIT};
    axl_packer *packer = NULL;
    int64_t sum = 0;

    for (uint64_t i = 0; i < MANY; i++) // two thirds of 8 tokens, the others of 100 to 300
        sum += len[i] = i % 3 ? 8 : 100 + (int32_t)(i * 7919 % 200);
    assert_true(sum / MANY * 200 > 8192); // enough for all bins
    CHECK_OK(axl_packer_create(MANY, &o, &packer));
    axl_bins bins = axl_packer_run(packer, len, MANY);
    assert_true(check_bins(&bins, len, MANY, &o) >= 0.99);
    axl_packer_destroy(packer);
}

static void best_fit_holds_for_any_lengths(void **state)
{
    (void)state;
    static int32_t len[MANY];

    for (uint64_t c = 0; c < 200; c++) {
        int64_t n = 1 + (int64_t)(c * c % 300), least = 0, sum = 0;
        axl_pack_options o = {1 + (int64_t)(c * 37 % 700), 1 + (int64_t)(c % 40),
                              AXL_PACK_BEST_FIT};
        axl_packer *packer = NULL;
        if (c % 50 == 0)
            o.capacity = (int64_t)5 << 30; // wider than there are buckets
        for (int64_t i = 0; i < n; i++) {
            int64_t most = o.capacity < 1 << 20 ? o.capacity : 1 << 20;
            len[i] = 1 + (int32_t)(axl_random_uniform(c, AXL_RANDOM_TEST, (uint64_t)i) *
                                   (double)(c % 2 ? most : (most + 3) / 4));
            len[i] = len[i] > o.capacity ? (int32_t)o.capacity : len[i];
            sum += len[i];
        }
        CHECK_OK(axl_packer_create(n, &o, &packer));
        axl_bins bins = axl_packer_run(packer, len, n);
        (void)check_bins(&bins, len, n, &o);
        least = (sum + o.capacity - 1) / o.capacity;
        assert_true(bins.n_bins >= least && bins.n_bins <= n);
        if (o.bin_size >= n) // within the bound of best fit decreasing: 11/9 of the best, and a bin
            assert_true(bins.n_bins <= 2 * least + 1);
        axl_packer_destroy(packer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bins_equal_the_reference),
        cmocka_unit_test(tree_search_equals_the_plain_loop),
        cmocka_unit_test(oversized_sample_has_its_own_bin),
        cmocka_unit_test(long_tails_fill_bins_to_99_percent),
        cmocka_unit_test(short_samples_are_spread_when_their_number_is_limited),
        cmocka_unit_test(best_fit_holds_for_any_lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
