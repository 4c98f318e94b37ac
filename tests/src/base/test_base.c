// RUN: np=1
// The base modules against published values and round trips.
#include "src/base/dtype.h"
#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/base/philox.h"
#include "src/base/str.h"
#include "tests/check.h"

#include <stdlib.h>

static void hash_matches_published_values(void **state)
{
    (void)state;
    assert_int_equal(axl_hash64("", 0, 0), 0xEF46DB3751D8E999ull);
    assert_int_equal(axl_hash64("a", 1, 0), 0xD24EC4F1A98C6E5Bull);
    assert_int_equal(axl_hash64("abc", 3, 0), 0x44BC2CF5AD770999ull);
}

static void hash_in_pieces_equals_hash_at_once(void **state)
{
    (void)state;
    uint8_t data[1000];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7 + i / 13);
    for (size_t cut = 1; cut < 100; cut++) {
        axl_hash h;
        axl_hash_init(&h, 5);
        for (size_t i = 0; i < sizeof data; i += cut)
            axl_hash_update(&h, data + i, cut < sizeof data - i ? cut : sizeof data - i);
        assert_int_equal(axl_hash_value(&h), axl_hash64(data, sizeof data, 5));
    }
}

static void philox_matches_published_vectors(void **state)
{
    (void)state;
    uint32_t w[4];
    axl_philox(0, 0, 0, w); // known answers of the Random123 distribution
    assert_int_equal(w[0], 0x6627e8d5u);
    assert_int_equal(w[1], 0xe169c58du);
    assert_int_equal(w[2], 0xbc57ac4cu);
    assert_int_equal(w[3], 0x9b00dbd8u);
    axl_philox(~0ull, ~0ull, ~0ull, w);
    assert_int_equal(w[0], 0x408f276du);
    assert_int_equal(w[3], 0x6d5451fdu);
}

static void permutation_holds_each_index_once(void **state)
{
    (void)state;
    int64_t order[1000];
    bool seen[1000] = {false};
    axl_random_permutation(42, AXL_RANDOM_SHUFFLE, 0, order, 1000);
    for (int i = 0; i < 1000; i++) {
        assert_false(seen[order[i]]);
        seen[order[i]] = true;
    }
}

static void half_types_round_trip_every_value(void **state)
{
    (void)state;
    for (uint32_t x = 0; x < 65536; x++) {
        float f = axl_f16_to_f32((uint16_t)x);
        if (!isnan(f))
            assert_int_equal(axl_f32_to_f16(f), x);
        f = axl_bf16_to_f32((axl_bf16)x);
        if (!isnan(f))
            assert_int_equal(axl_f32_to_bf16(f), x);
        else
            assert_true(isnan(axl_bf16_to_f32(axl_f32_to_bf16(f))));
    }
    assert_int_equal(axl_f32_to_bf16(1.00390625f), 0x3f80); // a tie goes to even
    assert_int_equal(axl_f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(axl_f32_to_f16(65519.0f), 0x7bff);
}

static void utf8_rejects_what_the_standard_rejects(void **state)
{
    (void)state;
    uint32_t c;
    static const char *const bad[] = {"\x80",         "\xc0\x80",         "\xe0\x80\x80",
                                      "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf0\x80\x80\x80",
                                      "\xe2\x82"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(axl_utf8_next(bad[i], strlen(bad[i]), &c), 0);
    assert_int_equal(axl_utf8_next("\xe2\x82\xac", 3, &c), 3);
    assert_int_equal(c, 0x20ac);
    assert_int_equal(axl_utf8_invalid_at("ab\xff", 3), 2);
}

static void nearest_name_finds_typos_only(void **state)
{
    (void)state;
    static const char *const names[] = {"learning_rate", "sequence_len", "seed"};
    assert_string_equal(axl_nearest_name("learning_rte", names, 3), "learning_rate");
    assert_string_equal(axl_nearest_name("sequence_length", names, 3), "sequence_len");
    assert_null(axl_nearest_name("zzzzzz", names, 3));
    static const char *const words[] = {"train", "relora", "validate", "rl"};
    assert_string_equal(axl_nearest_name("tarin", words, 4), "train"); // two letters swapped
    assert_string_equal(axl_nearest_name("vaildaet", words, 4), "validate");
    assert_null(axl_nearest_name("memory", words, 4)); // half of it would have to change
    assert_string_equal(axl_nearest_name("l", words, 4), "rl");
    assert_null(axl_nearest_name("lr", words + 1, 2));
}

static axl_status fails_twice(void)
{
    axl_status status = AXL_OK;
    AXL_TRY_CTX(axl_error_set(AXL_E_INPUT, "x.c", 1, "is bad"), "%s:%d", "file", 3);
out:
    return status;
}

static void context_stands_before_the_message(void **state)
{
    (void)state;
    CHECK_FAILS(fails_twice(), AXL_E_INPUT, "file:3: is bad");
    assert_int_equal(axl_status_exit_code(AXL_E_INPUT), 2);
}

static void strings_grow_and_escape(void **state)
{
    (void)state;
    axl_str s = {0};
    for (int i = 0; i < 1000; i++)
        CHECK_OK(axl_str_printf(&s, "%d,", i));
    assert_int_equal(s.len, 3890);
    axl_str_clear(&s);
    CHECK_OK(axl_str_put_json(&s, "a\"\n\x01\xff", 5));
    assert_string_equal(s.data, "\"a\\\"\\n\\u0001\xef\xbf\xbd\"");
    axl_str_clear(&s);
    CHECK_OK(axl_str_put_json(&s, "\xe2\x80\xa8\xc3\xa9", 5)); // a line ends there for some readers
    assert_string_equal(s.data, "\"\\u2028\xc3\xa9\"");
    axl_str_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hash_matches_published_values),
        cmocka_unit_test(hash_in_pieces_equals_hash_at_once),
        cmocka_unit_test(philox_matches_published_vectors),
        cmocka_unit_test(permutation_holds_each_index_once),
        cmocka_unit_test(half_types_round_trip_every_value),
        cmocka_unit_test(utf8_rejects_what_the_standard_rejects),
        cmocka_unit_test(nearest_name_finds_typos_only),
        cmocka_unit_test(context_stands_before_the_message),
        cmocka_unit_test(strings_grow_and_escape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
