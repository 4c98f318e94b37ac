// RUN: np=1
// Duplicates found in parts: of equal samples the first stays, and equal hashes alone drop nothing.
#include "src/data/dedup.h"
#include "tests/src/data/data_check.h"

typedef struct samples {
    int64_t *value;   // [n]
    uint64_t *hash;   // [n]
    bool *dropped;    // [n]
    int64_t n, asked; // comparisons
} samples;

static axl_status equal(void *context, int64_t earlier, int64_t later, bool *out)
{
    samples *s = context;

    assert_true(earlier < later && !s->dropped[earlier]);
    s->asked++;
    *out = s->value[earlier] == s->value[later];
    return AXL_OK;
}

static axl_status drop(void *context, int64_t later)
{
    samples *s = context;

    assert_false(s->dropped[later]);
    s->dropped[later] = true;
    return AXL_OK;
}

static uint64_t mix(uint64_t x)
{
    x *= 0x9E3779B97F4A7C15ull;
    return (x ^ x >> 31) * 0xBF58476D1CE4E5B9ull;
}

// Samples i have the value i modulo n_values and a hash of n_hashes; checks against the plain rule.
static void check(const folder *f, int64_t n, int64_t n_values, uint64_t n_hashes, size_t memory)
{
    samples s = {.n = n};
    axl_dedup *d = NULL;
    char path[256];
    int64_t kept = 0;

    s.value = calloc((size_t)n, sizeof *s.value);
    s.hash = calloc((size_t)n, sizeof *s.hash);
    s.dropped = calloc((size_t)n, sizeof *s.dropped);
    CHECK_OK(axl_dedup_create(folder_file(f, "set.axl", path), memory, &d));
    for (int64_t i = 0; i < n; i++) {
        s.value[i] = i * 7 % n_values;
        s.hash[i] = mix((uint64_t)s.value[i] % n_hashes);
        CHECK_OK(axl_dedup_put(d, s.hash[i]));
    }
    CHECK_OK(axl_dedup_run(d, &(axl_dedup_owner){&s, equal, drop}));
    for (int64_t i = 0; i < n; i++) {
        assert_int_equal(s.dropped[i], i >= n_values); // 7 and n_values have no common factor
        kept += !s.dropped[i];
    }
    assert_int_equal(kept, n < n_values ? n : n_values);
    axl_dedup_destroy(d);
    free(s.value);
    free(s.hash);
    free(s.dropped);
}

static void of_equal_samples_the_first_stays(void **state)
{
    check(*state, 0, 10, 1000, 1 << 20);
    check(*state, 1, 10, 1000, 1 << 20);
    check(*state, 50000, 20000, 1u << 30, 1 << 20); // one group
    check(*state, 50000, 20000, 1u << 30, 4096);    // as many groups as there are
    check(*state, 50000, 60001, 1u << 30, 65536);   // nothing is equal
    check(*state, 50000, 1, 1, 4096);               // everything is
}

static void equal_hashes_are_compared(void **state)
{
    check(*state, 3000, 500, 50, 1 << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_equal_samples_the_first_stays),
        cmocka_unit_test(equal_hashes_are_compared),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
