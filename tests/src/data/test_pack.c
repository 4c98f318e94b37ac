// RUN: np=1
// Bins against the reference sampler, and what must hold for any lengths.
#include "src/base/philox.h"
#include "src/data/pack.h"
#include "src/io/file.h"
#include "src/io/json.h"
#include "tests/check.h"

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

static int check_record(const axl_json *record)
{
    const axl_json *settings = axl_json_get(record, "settings");
    const axl_json *lengths = axl_json_get(record, "lengths"),
                   *order = axl_json_get(record, "order");
    int64_t n = (int64_t)axl_json_count(order), n_lengths = (int64_t)axl_json_count(lengths);
    axl_pack_options options = {.capacity = member(settings, "batch_max_len"),
                                .group_size = member(settings, "group_size"),
                                .bin_size = member(settings, "bin_size"),
                                .sequential =
                                    axl_json_bool(axl_json_get(settings, "sequential"), false)};
    int32_t *len = calloc((size_t)n_lengths + 1, sizeof *len);
    int64_t *at = calloc((size_t)n + 1, sizeof *at);
    axl_packer *packer = NULL;

    for (int64_t i = 0; i < n_lengths; i++)
        len[i] = (int32_t)axl_json_int(axl_json_at(lengths, (size_t)i), 0);
    for (int64_t i = 0; i < n; i++)
        at[i] = axl_json_int(axl_json_at(order, (size_t)i), -1);
    CHECK_OK(axl_packer_create(n, &options, &packer));
    axl_bins bins = axl_packer_run(packer, len, at, n);
    int wrong = compare_bins(&bins, record, member(settings, "batch_size"));
    if (wrong)
        print_error("%s differs\n", axl_json_string(axl_json_get(record, "id"), ""));
    axl_packer_destroy(packer);
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
static int64_t plain_first_fit(const int32_t *len, int64_t n, const axl_pack_options *o,
                               int64_t *bin)
{
    int64_t n_bins = 0, first = 0;
    int64_t *left = calloc((size_t)n, sizeof *left), *count = calloc((size_t)n, sizeof *count);

    for (int64_t i = 0; i < n; i++) {
        int64_t b;
        if (i % o->group_size == 0)
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
    const axl_pack_options cases[] = {
        {100, N, 200, false}, {100, 700, 3, false}, {64, 1, 5, false}};

    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        axl_packer *packer = NULL;
        for (int64_t i = 0; i < N; i++) {
            order[i] = i;
            len[i] = 1 + (int32_t)(60 * axl_random_uniform(c, AXL_RANDOM_TEST, (uint64_t)i));
        }
        CHECK_OK(axl_packer_create(N, &cases[c], &packer));
        axl_bins bins = axl_packer_run(packer, len, order, N);
        assert_int_equal(bins.n_bins, plain_first_fit(len, N, &cases[c], want));
        for (int64_t b = 0; b < bins.n_bins; b++) {
            for (int64_t i = bins.start[b]; i < bins.start[b + 1]; i++)
                assert_int_equal(want[bins.items[i]], b);
        }
        axl_packer_destroy(packer);
    }
}

static void oversized_sample_has_its_own_bin(void **state)
{
    (void)state;
    const int32_t len[] = {4, 30, 4, 2, 30};
    const int64_t order[] = {0, 1, 2, 3, 4};
    const axl_pack_options o = {10, 100, 100, false};
    axl_packer *packer = NULL;

    CHECK_OK(axl_packer_create(5, &o, &packer));
    axl_bins bins = axl_packer_run(packer, len, order, 5);
    assert_int_equal(bins.n_bins, 3);
    assert_int_equal(bins.start[1], 3);
    assert_int_equal(bins.start[2], 4);
    axl_packer_destroy(packer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bins_equal_the_reference),
        cmocka_unit_test(tree_search_equals_the_plain_loop),
        cmocka_unit_test(oversized_sample_has_its_own_bin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
