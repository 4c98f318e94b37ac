// RUN: np=1
// The hash of a file: the same for any number of threads, another for any changed bit or length.
#include "src/base/hash.h"
#include "src/io/file.h"
#include "src/io/tree_hash.h"
#include "tests/check.h"

#include <stdlib.h>
#include <unistd.h>

#define BYTES ((size_t)9 << 20) // three pieces, the last one short

static int64_t told;

static void tell(void *context, int64_t n_bytes)
{
    (void)context;
    told = n_bytes > told ? n_bytes : told;
}

static uint64_t hash_of(const char *path, int n_threads)
{
    const axl_tree_hash_options o = {.n_threads = n_threads, .progress = tell};
    int64_t bytes = 0;
    uint64_t hash = 0;

    CHECK_OK(axl_tree_hash_file(path, &o, &bytes, &hash));
    return hash;
}

static void threads_do_not_change_the_hash_and_every_bit_does(void **state)
{
    (void)state;
    char path[] = "/tmp/axl_hash_XXXXXX";
    unsigned char *bytes = malloc(BYTES);
    int64_t n = 0;
    uint64_t none = 0;

    assert_non_null(bytes);
    assert_true(mkstemp(path) >= 0);
    for (size_t i = 0; i < BYTES; i++)
        bytes[i] = (unsigned char)(i * 31 >> 3);
    CHECK_OK(axl_file_write(path, bytes, BYTES));
    uint64_t hash = hash_of(path, 1);
    for (int threads = 2; threads < 6; threads++)
        assert_true(hash_of(path, threads) == hash);
    assert_true(told > 0);
    // by its definition: the hash of the hashes of the pieces
    uint64_t piece[3];
    for (size_t i = 0; i < 3; i++)
        piece[i] = axl_hash64(bytes + (i << 22), i < 2 ? (size_t)4 << 20 : (size_t)1 << 20, 0);
    assert_true(axl_hash64(piece, sizeof piece, BYTES) == hash);
    for (size_t at = 0; at < BYTES; at += BYTES / 3 - 1) {
        bytes[at] ^= 4;
        CHECK_OK(axl_file_write(path, bytes, BYTES));
        assert_true(hash_of(path, 2) != hash);
        bytes[at] ^= 4;
    }
    CHECK_OK(axl_file_write(path, bytes, BYTES - 1));
    assert_true(hash_of(path, 2) != hash);
    CHECK_OK(axl_file_write(path, bytes, 0));
    assert_true(hash_of(path, 2) != hash);
    CHECK_FAILS(axl_tree_hash_file("/nowhere", &(axl_tree_hash_options){.n_threads = 1}, &n, &none),
                AXL_E_INPUT, "/nowhere");
    CHECK_FAILS(axl_tree_hash_file("/tmp", &(axl_tree_hash_options){.n_threads = 1}, &n, &none),
                AXL_E_INPUT, "not a plain file");
    free(bytes);
    (void)unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_do_not_change_the_hash_and_every_bit_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
