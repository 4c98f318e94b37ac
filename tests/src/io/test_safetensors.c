// RUN: np=1
// safetensors: layouts equal to the library's, and every way in which a header can lie.
#include "src/base/mem.h"
#include "src/io/file.h"
#include "src/io/safetensors.h"
#include "tests/check.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define GOLDEN  AXL_TEST_DATA "/io/every_dtype.safetensors"
#define SCRATCH "test_safetensors.tmp.safetensors"

// Writes a file of this header and n_data bytes of data.
static void put_file(const char *header, uint64_t length, size_t n_data)
{
    axl_str s = {0};
    for (int i = 0; i < 8; i++)
        CHECK_OK(axl_str_putc(&s, (char)((length >> (8 * i)) & 0xff)));
    CHECK_OK(axl_str_puts(&s, header));
    for (size_t i = 0; i < n_data; i++)
        CHECK_OK(axl_str_putc(&s, (char)i));
    CHECK_OK(axl_file_write(SCRATCH, s.data, s.len));
    axl_str_fini(&s);
}

static void a_lying_header_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t n_data;
        const char *message;
    } cases[] = {
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}", 8, "not valid JSON"},
        {"[1]", 0, "is an array, an object is needed"},
        {"7", 0, "is an integer, an object is needed"},
        {"{\"a\":5}", 0, "tensor a: its entry in the header is an integer"},
        {"{\"__metadata__\":5}", 0, "__metadata__ is an integer"},
        {"{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "tensor a: has no dtype"},
        {"{\"a\":{\"dtype\":\"F33\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8,
         "tensor a: dtype F33 is not known"},
        {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8, "tensor a: has no shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", 8, "dimension 0"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2.0],\"data_offsets\":[0,8]}}", 8, "dimension 0"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4,
         "has 9 dimensions"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "data_offsets must be two numbers"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, "are no range"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-8,0]}}", 8, "are no range"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 7, "truncated"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8,
         "its shape needs 12 bytes, data_offsets give it 8"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,8]}}", 8,
         "too large"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}", 0,
         "too large"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
         "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}}",
         6, "tensor b: overlaps tensor a"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
         "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}",
         4, "overlaps tensor"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
         "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[4,6]}}",
         6, "tensor b: 2 bytes before it belong to no tensor"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 5,
         "the last 3 bytes belong to no tensor"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
         "\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}",
         2, "duplicate object key"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        axl_safetensors *file = NULL;
        put_file(cases[i].header, strlen(cases[i].header), cases[i].n_data);
        CHECK_FAILS(axl_safetensors_open(SCRATCH, &file), AXL_E_INPUT, cases[i].message);
        assert_null(file);
        assert_non_null(strstr(axl_error_message(), SCRATCH));
    }
    CHECK_OK(axl_path_remove(SCRATCH));
}

static void a_header_beyond_the_file_is_refused(void **state)
{
    (void)state;
    axl_safetensors *file = NULL;
    put_file("{}", 3, 0);
    CHECK_FAILS(axl_safetensors_open(SCRATCH, &file), AXL_E_INPUT, "said to have 3 bytes");
    put_file("{}", UINT64_MAX, 0);
    CHECK_FAILS(axl_safetensors_open(SCRATCH, &file), AXL_E_INPUT, "18446744073709551615 bytes");
    CHECK_OK(axl_file_write(SCRATCH, "1234567", 7));
    CHECK_FAILS(axl_safetensors_open(SCRATCH, &file), AXL_E_INPUT, "has 7 bytes");
    CHECK_OK(axl_file_write(SCRATCH, "", 0));
    CHECK_FAILS(axl_safetensors_open(SCRATCH, &file), AXL_E_INPUT, "has 0 bytes");
    CHECK_FAILS(axl_safetensors_open("no/such/file", &file), AXL_E_INPUT, "no/such/file");
    put_file("{}", 2, 0);
    CHECK_OK(axl_safetensors_open(SCRATCH, &file));
    assert_int_equal(axl_safetensors_count(file), 0);
    assert_null(axl_safetensors_find(file, "a"));
    axl_safetensors_close(file);
    CHECK_OK(axl_path_remove(SCRATCH));
}

static void entries_are_found_by_name_and_place(void **state)
{
    (void)state;
    axl_safetensors *file = NULL;
    CHECK_OK(axl_safetensors_open(GOLDEN, &file));
    assert_int_equal(axl_safetensors_count(file), 16);
    const axl_tensor_entry *e = axl_safetensors_find(file, "Upper");
    assert_non_null(e);
    assert_int_equal(e->spec.dtype, AXL_BF16);
    assert_int_equal(e->spec.n_dims, 4);
    assert_int_equal(e->spec.dims[3], 4);
    assert_int_equal(e->bytes, 48);
    assert_int_equal(axl_safetensors_find(file, "a\"\\\xc3\xa9")->spec.n_dims, 0);
    assert_int_equal(axl_safetensors_find(file, "empty")->bytes, 0);
    for (int64_t i = 0; i < axl_safetensors_count(file); i++)
        assert_ptr_equal(axl_safetensors_at(file, i),
                         axl_safetensors_find(file, axl_safetensors_at(file, i)->spec.name));
    assert_null(axl_safetensors_find(file, "upper"));
    assert_string_equal(axl_json_string(axl_json_get(axl_safetensors_metadata(file), "format"), ""),
                        "pt");
    axl_safetensors_close(file);
}

// Writes what `from` holds by `plan` with two writers, the tensors from last to first and each in two
// pieces; index i of the plan is entry order[i].
static void write_by_two(const axl_safetensors *from, const axl_safetensors_plan *plan,
                         const int64_t *order)
{
    axl_safetensors_writer *w[2] = {0};
    for (int r = 0; r < 2; r++)
        CHECK_OK(axl_safetensors_writer_open(SCRATCH, plan, r == 0, &w[r]));
    for (int64_t i = plan->n - 1; i >= 0; i--) {
        const axl_tensor_entry *e = axl_safetensors_at(from, order[i]);
        size_t half = e->bytes / 2;
        const axl_runs low = {.bytes = half, .n = 1};
        const axl_runs high = {.at = half, .bytes = e->bytes - half, .n = 1};
        CHECK_OK(axl_safetensors_write_runs(w[0], i, &high, e->data + half));
        CHECK_OK(axl_safetensors_write_runs(w[1], i, &low, e->data));
    }
    assert_false(axl_path_exists(SCRATCH));
    for (int r = 1; r >= 0; r--)
        CHECK_OK(axl_safetensors_writer_flush(w[r]));
    CHECK_OK(axl_safetensors_writer_publish(w[0]));
    for (int r = 0; r < 2; r++)
        axl_safetensors_writer_destroy(w[r]);
}

static void check_scratch_equals(const char *path)
{
    axl_str a = {0}, b = {0};
    CHECK_OK(axl_file_read(path, &a));
    CHECK_OK(axl_file_read(SCRATCH, &b));
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, a.len);
    axl_str_fini(&a);
    axl_str_fini(&b);
    CHECK_OK(axl_path_remove(SCRATCH));
}

static void written_files_equal_the_librarys(void **state)
{
    (void)state;
    axl_safetensors *file = NULL;
    axl_safetensors_plan plan = {0};
    axl_tensor_spec specs[16];
    int64_t order[16];
    CHECK_OK(axl_safetensors_open(GOLDEN, &file));
    for (int64_t i = 0; i < 16; i++) {
        order[i] = (i * 7 + 3) % 16; // the order in which the caller lists them is no matter
        specs[i] = axl_safetensors_at(file, order[i])->spec;
    }
    CHECK_OK(axl_safetensors_plan_make(specs, 16, NULL, &plan));
    write_by_two(file, &plan, order);
    check_scratch_equals(GOLDEN);
    axl_safetensors_plan_fini(&plan);

    for (int64_t i = 0; i < 16; i++)
        order[i] = i;
    CHECK_OK(axl_safetensors_plan_copy(file, &plan));
    write_by_two(file, &plan, order);
    check_scratch_equals(GOLDEN);
    axl_safetensors_plan_fini(&plan);
    axl_safetensors_close(file);
}

static void an_abandoned_write_leaves_the_old_file(void **state)
{
    (void)state;
    axl_safetensors_plan plan = {0};
    axl_safetensors_writer *w = NULL;
    axl_tensor_spec spec = {.name = "a", .dtype = AXL_F32, .n_dims = 1, .dims = {2}};
    CHECK_OK(axl_file_write(SCRATCH, "old", 3));
    CHECK_OK(axl_safetensors_plan_make(&spec, 1, NULL, &plan));
    CHECK_OK(axl_safetensors_writer_open(SCRATCH, &plan, true, &w));
    axl_safetensors_writer_destroy(w);
    assert_false(axl_path_exists(SCRATCH ".tmp"));
    axl_str s = {0};
    CHECK_OK(axl_file_read(SCRATCH, &s));
    assert_string_equal(s.data, "old");
    axl_str_fini(&s);
    CHECK_FAILS(axl_safetensors_writer_open("no/such/folder/x", &plan, true, &w), AXL_E_IO,
                "no/such/folder/x");
    axl_safetensors_plan_fini(&plan);
    CHECK_OK(axl_path_remove(SCRATCH));
}

static void a_disk_too_small_is_an_io_error(void **state)
{
    (void)state;
    axl_safetensors_plan plan = {0};
    axl_safetensors_writer *w = NULL;
    axl_tensor_spec spec = {.name = "a", .dtype = AXL_F32, .n_dims = 1, .dims = {1LL << 58}};
    CHECK_OK(axl_safetensors_plan_make(&spec, 1, NULL, &plan));
    CHECK_FAILS(axl_safetensors_writer_open(SCRATCH, &plan, true, &w), AXL_E_IO, SCRATCH);
    assert_false(axl_path_exists(SCRATCH ".tmp"));
    axl_safetensors_plan_fini(&plan);
}

// Every prefix of a valid file, and every byte of it changed, is either read or refused with a message.
static void no_bytes_crash_the_reader(void **state)
{
    (void)state;
    axl_str s = {0};
    CHECK_OK(axl_file_read(GOLDEN, &s));
    int fd = open(SCRATCH, O_RDWR | O_CREAT | O_TRUNC, 0666);
    assert_true(pwrite(fd, s.data, s.len, 0) == (ssize_t)s.len);
    for (size_t i = 0; i < s.len; i++) {
        static const char flips[] = {1, 0x20, (char)0x80, (char)0xff};
        for (size_t k = 0; k < sizeof flips; k++) {
            axl_safetensors *file = NULL;
            char c = (char)(s.data[i] ^ flips[k]);
            assert_true(pwrite(fd, &c, 1, (off_t)i) == 1);
            if (axl_safetensors_open(SCRATCH, &file) == AXL_OK)
                axl_safetensors_close(file);
        }
        assert_true(pwrite(fd, s.data + i, 1, (off_t)i) == 1);
    }
    for (size_t i = s.len; i > 0; i--) {
        axl_safetensors *file = NULL;
        assert_true(ftruncate(fd, (off_t)i - 1) == 0);
        assert_int_equal(axl_safetensors_open(SCRATCH, &file), AXL_E_INPUT);
    }
    (void)close(fd);
    axl_str_fini(&s);
    CHECK_OK(axl_path_remove(SCRATCH));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lying_header_is_refused),
        cmocka_unit_test(a_header_beyond_the_file_is_refused),
        cmocka_unit_test(entries_are_found_by_name_and_place),
        cmocka_unit_test(written_files_equal_the_librarys),
        cmocka_unit_test(an_abandoned_write_leaves_the_old_file),
        cmocka_unit_test(a_disk_too_small_is_an_io_error),
        cmocka_unit_test(no_bytes_crash_the_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
