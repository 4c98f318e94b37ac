// RUN: np=1
// GGUF: every kind of metadata, every storage type bit for bit, and no bytes that crash the reader.
#include "src/io/file.h"
#include "src/io/gguf.h"
#include "tests/check.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define GOLDEN  AXL_TEST_DATA "/io/quants.gguf"
#define SCRATCH "test_gguf.tmp.gguf"

static void metadata_of_every_kind_is_read(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        int64_t value;
    } ints[] = {{"kind.u8", 200},        {"kind.i8", -100},         {"kind.u16", 60000},
                {"kind.i16", -30000},    {"kind.u32", 4000000000},  {"kind.i32", -2000000000},
                {"kind.u64", INT64_MAX}, {"kind.i64", -(1LL << 62)}};
    axl_gguf *g = NULL;
    const char *text;
    size_t at = 0, n;
    CHECK_OK(axl_gguf_open(GOLDEN, &g));
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++)
        assert_true(axl_gguf_int(axl_gguf_find(g, ints[i].key), 0, 7) == ints[i].value);
    assert_true(axl_gguf_real(axl_gguf_find(g, "kind.f32"), 0, 7.0) == (double)0.1f);
    assert_true(axl_gguf_real(axl_gguf_find(g, "kind.f64"), 0, 7.0) == 0.1);
    assert_true(axl_gguf_real(axl_gguf_find(g, "kind.i8"), 0, 7.0) == -100.0);
    assert_true(axl_gguf_bool(axl_gguf_find(g, "kind.bool"), false));
    assert_true(axl_gguf_next_string(axl_gguf_find(g, "kind.string"), &at, &text, &n));
    assert_int_equal(n, 5);
    assert_memory_equal(text, "t\xc3\xa4xt", 5);
    assert_false(axl_gguf_next_string(axl_gguf_find(g, "kind.string"), &at, &text, &n));

    const axl_gguf_value *array = axl_gguf_find(g, "kind.array.i32");
    assert_int_equal(array->count, 3);
    assert_int_equal(axl_gguf_int(array, 1, 7), -2);
    assert_int_equal(axl_gguf_int(array, 3, 7), 7);
    assert_true(axl_gguf_real(axl_gguf_find(g, "kind.array.f32"), 1, 7.0) == -1.5);
    array = axl_gguf_find(g, "kind.array.string");
    size_t lengths[3], k = 0;
    at = 0;
    while (axl_gguf_next_string(array, &at, &text, &n))
        lengths[k++] = n;
    assert_int_equal(k, 3);
    assert_true(lengths[0] == 1 && lengths[1] == 0 && lengths[2] == 3);

    assert_int_equal(axl_gguf_int(axl_gguf_find(g, "kind.string"), 0, 7), 7);
    assert_int_equal(axl_gguf_int(axl_gguf_find(g, "kind.f32"), 0, 7), 7);
    assert_int_equal(axl_gguf_int(NULL, 0, 7), 7);
    assert_null(axl_gguf_find(g, "kind.none"));
    axl_gguf_close(g);
}

static void every_type_equals_the_package_bit_for_bit(void **state)
{
    (void)state;
    static const char *const names[] = {"F32",  "F16",  "BF16", "Q8_0", "Q4_0", "Q4_1",
                                        "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K"};
    axl_gguf *g = NULL;
    CHECK_OK(axl_gguf_open(GOLDEN, &g));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char expect_name[32];
        (void)snprintf(expect_name, sizeof expect_name, "%s%s", i == 0 ? "" : "expect.", names[i]);
        const axl_gguf_tensor *t = axl_gguf_find_tensor(g, names[i]);
        const axl_gguf_tensor *e = axl_gguf_find_tensor(g, expect_name);
        assert_non_null(t);
        assert_non_null(e);
        assert_string_equal(axl_gguf_quant_name(t->quant), names[i]);
        assert_int_equal(axl_gguf_is_quantised(t->quant), i > 2);
        assert_int_equal(t->rows, e->rows);
        assert_int_equal(t->cols, 512);
        float *x = calloc((size_t)(t->rows * t->cols), sizeof *x);
        axl_gguf_read_rows(t, 0, t->rows, x);
        assert_memory_equal(x, e->data, e->bytes);
        memset(x, 0, e->bytes);
        axl_gguf_read_rows(t, t->rows - 1, 1, x);
        assert_memory_equal(x, e->data + (size_t)(t->rows - 1) * 512 * sizeof *x, 512 * sizeof *x);
        free(x);
    }
    axl_gguf_close(g);
}

// A file built piece by piece.
typedef struct piece {
    axl_str s;
} piece;

static void put_int(piece *p, uint64_t v, int n)
{
    for (int i = 0; i < n; i++)
        CHECK_OK(axl_str_putc(&p->s, (char)((v >> (8 * i)) & 0xff)));
}

static void put_text(piece *p, const char *text)
{
    put_int(p, strlen(text), 8);
    CHECK_OK(axl_str_puts(&p->s, text));
}

static void put_head(piece *p, uint64_t version, uint64_t n_tensors, uint64_t n_values)
{
    axl_str_clear(&p->s);
    CHECK_OK(axl_str_puts(&p->s, "GGUF"));
    put_int(p, version, 4);
    put_int(p, n_tensors, 8);
    put_int(p, n_values, 8);
}

static void put_tensor(piece *p, const char *name, uint64_t dim, uint64_t type, uint64_t offset)
{
    put_text(p, name);
    put_int(p, 1, 4);
    put_int(p, dim, 8);
    put_int(p, type, 4);
    put_int(p, offset, 8);
}

static void check_refused(piece *p, axl_status code, const char *message)
{
    axl_gguf *g = NULL;
    CHECK_OK(axl_file_write(SCRATCH, p->s.data, p->s.len));
    CHECK_FAILS(axl_gguf_open(SCRATCH, &g), code, message);
    assert_null(g);
}

static void lying_headers_are_refused(void **state)
{
    (void)state;
    piece p = {0};
    CHECK_OK(axl_str_puts(&p.s, "GGU"));
    check_refused(&p, AXL_E_INPUT, "is not a GGUF file");
    put_head(&p, 1, 0, 0);
    check_refused(&p, AXL_E_UNSUPPORTED, "version 1");
    put_head(&p, 3, 0, UINT64_MAX);
    check_refused(&p, AXL_E_INPUT, "truncated");
    put_head(&p, 3, UINT64_MAX, 0);
    check_refused(&p, AXL_E_INPUT, "truncated");

    put_head(&p, 3, 0, 1);
    put_int(&p, UINT64_MAX, 8);
    check_refused(&p, AXL_E_INPUT, "1 to 65535");
    put_head(&p, 3, 0, 1);
    put_text(&p, "k\xff");
    check_refused(&p, AXL_E_INPUT, "is not text");
    put_head(&p, 3, 0, 1);
    put_text(&p, "k");
    put_int(&p, 13, 4);
    check_refused(&p, AXL_E_INPUT, "k: has the unknown type 13");
    put_head(&p, 3, 0, 1);
    put_text(&p, "k");
    put_int(&p, AXL_GGUF_STRING, 4);
    put_int(&p, UINT64_MAX - 4, 8);
    check_refused(&p, AXL_E_INPUT, "k: a string of");
    put_head(&p, 3, 0, 1);
    put_text(&p, "k");
    put_int(&p, AXL_GGUF_ARRAY, 4);
    put_int(&p, AXL_GGUF_U64, 4);
    put_int(&p, UINT64_MAX / 4, 8);
    check_refused(&p, AXL_E_INPUT, "k: 4611686018427387903 items");
    put_head(&p, 3, 0, 1);
    put_text(&p, "k");
    put_int(&p, AXL_GGUF_ARRAY, 4);
    for (int i = 0; i < 100; i++) {
        put_int(&p, AXL_GGUF_ARRAY, 4);
        put_int(&p, 1, 8);
    }
    check_refused(&p, AXL_E_INPUT, "nested too deeply");
    put_head(&p, 3, 0, 2);
    for (int i = 0; i < 2; i++) {
        put_text(&p, "k");
        put_int(&p, AXL_GGUF_U8, 4);
        put_int(&p, 0, 1);
    }
    check_refused(&p, AXL_E_INPUT, "k: stands twice");

    put_head(&p, 3, 1, 0);
    put_tensor(&p, "t", 1, 16, 0);
    check_refused(&p, AXL_E_UNSUPPORTED, "tensor t: is stored as ggml type 16");
    put_head(&p, 3, 1, 0);
    put_tensor(&p, "t", 33, 3, 0);
    check_refused(&p, AXL_E_INPUT, "tensor t: rows of 33 elements are not whole blocks of Q4_1");
    put_head(&p, 3, 1, 0);
    put_tensor(&p, "t", UINT64_MAX, 0, 0);
    check_refused(&p, AXL_E_INPUT, "tensor t: its shape is too large");
    put_head(&p, 3, 1, 0);
    put_tensor(&p, "t", INT64_MAX, 0, 0);
    check_refused(&p, AXL_E_INPUT, "tensor t: rows of 9223372036854775807 elements");
    put_head(&p, 3, 1, 0);
    put_tensor(&p, "t", 1, 0, 0);
    check_refused(&p, AXL_E_INPUT, "tensor t: its 4 bytes at");
    put_head(&p, 3, 1, 0);
    put_tensor(&p, "t", 1, 0, UINT64_MAX - 8);
    for (int i = 0; i < 16; i++)
        put_int(&p, 0, 4);
    check_refused(&p, AXL_E_INPUT, "tensor t: its 4 bytes at");
    put_head(&p, 3, 2, 0);
    put_tensor(&p, "t", 0, 0, 0);
    put_tensor(&p, "t", 0, 0, 0);
    for (int i = 0; i < 16; i++)
        put_int(&p, 0, 4);
    check_refused(&p, AXL_E_INPUT, "tensor t: stands twice");
    axl_str_fini(&p.s);
    CHECK_OK(axl_path_remove(SCRATCH));
}

// Opens and walks the whole of a file; whatever it is, nothing may be read outside of it.
static void walk(const char *path)
{
    axl_gguf *g = NULL;
    const char *text;
    size_t n;
    if (axl_gguf_open(path, &g) != AXL_OK)
        return;
    for (int64_t i = 0; i < axl_gguf_n_values(g); i++) {
        const axl_gguf_value *v = axl_gguf_value_at(g, i);
        for (size_t at = 0; axl_gguf_next_string(v, &at, &text, &n);)
            (void)axl_utf8_invalid_at(text, n);
        for (uint64_t k = 0; k < v->count && k < 64; k++)
            (void)axl_gguf_real(v, k, 0.0);
    }
    axl_gguf_close(g);
}

static void no_bytes_crash_the_reader(void **state)
{
    (void)state;
    axl_str s = {0};
    CHECK_OK(axl_file_read(GOLDEN, &s));
    size_t header =
        1800; // metadata and descriptions; behind them are blocks, where nothing can lie
    int fd = open(SCRATCH, O_RDWR | O_CREAT | O_TRUNC, 0666);
    assert_true(pwrite(fd, s.data, s.len, 0) == (ssize_t)s.len);
    for (size_t i = 0; i < header; i++) {
        static const char flips[] = {1, (char)0x80, (char)0xff};
        for (size_t k = 0; k < sizeof flips; k++) {
            char c = (char)(s.data[i] ^ flips[k]);
            assert_true(pwrite(fd, &c, 1, (off_t)i) == 1);
            walk(SCRATCH);
        }
        assert_true(pwrite(fd, s.data + i, 1, (off_t)i) == 1);
    }
    for (size_t i = header; i > 0; i--) {
        axl_gguf *g = NULL;
        assert_true(ftruncate(fd, (off_t)i - 1) == 0);
        assert_int_equal(axl_gguf_open(SCRATCH, &g), AXL_E_INPUT);
    }
    (void)close(fd);
    axl_str_fini(&s);
    CHECK_OK(axl_path_remove(SCRATCH));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metadata_of_every_kind_is_read),
        cmocka_unit_test(every_type_equals_the_package_bit_for_bit),
        cmocka_unit_test(lying_headers_are_refused),
        cmocka_unit_test(no_bytes_crash_the_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
