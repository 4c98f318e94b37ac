// RUN: np=1
// Lines of plain and compressed files; damaged ones are errors, never crashes.
#include "src/io/file.h"
#include "src/io/stream.h"
#include "tests/check.h"

#include <stdlib.h>
#include <unistd.h>
#include <zstd.h>

static char path[64];

static int make_path(void **state)
{
    (void)state;
    (void)snprintf(path, sizeof path, "/tmp/axl_stream_XXXXXX");
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_path(void **state)
{
    (void)state;
    return unlink(path);
}

// Writes n bytes as they are, or as frames of at most `frame` bytes of zstd.
static void put(const char *bytes, size_t n, size_t frame)
{
    axl_str out = {0};

    for (size_t at = 0; frame > 0 && at < n; at += frame) {
        size_t part = n - at < frame ? n - at : frame, room = ZSTD_compressBound(part);
        char *packed = malloc(room);
        size_t size = ZSTD_compress(packed, room, bytes + at, part, 1);
        assert_false(ZSTD_isError(size));
        CHECK_OK(axl_str_append(&out, packed, size));
        free(packed);
    }
    CHECK_OK(axl_file_write(path, frame > 0 ? out.data : bytes, frame > 0 ? out.len : n));
    axl_str_fini(&out);
}

// All lines, joined by '|'.
static axl_status read_lines(axl_str *out)
{
    axl_status status = AXL_OK;
    axl_reader *r = NULL;
    const char *line = NULL;
    size_t n = 0;
    bool more = true;

    axl_str_clear(out);
    AXL_TRY(axl_reader_open(path, &r));
    while (true) {
        AXL_TRY(axl_reader_line(r, &line, &n, &more));
        if (!more)
            break;
        AXL_TRY(axl_str_append(out, line, n));
        AXL_TRY(axl_str_putc(out, '|'));
    }
out:
    axl_reader_close(r);
    return status;
}

static void lines_end_in_any_way(void **state)
{
    (void)state;
    static const char text[] = "\xef\xbb\xbf"
                               "one\r\n\ntwo\nthree";
    axl_str out = {0};

    for (size_t frame = 0; frame < 8; frame++) {
        put(text, sizeof text - 1, frame);
        CHECK_OK(read_lines(&out));
        assert_string_equal(out.data, "one||two|three|");
    }
    put("", 0, 0);
    CHECK_OK(read_lines(&out));
    assert_int_equal(out.len, 0);
    axl_str_fini(&out);
}

static void long_lines_pass_through_the_buffers(void **state)
{
    (void)state;
    enum { N = 3 << 20 };
    char *text = malloc(N);
    axl_str out = {0};
    axl_reader *r = NULL;

    for (int i = 0; i < N; i++)
        text[i] = (char)('a' + (unsigned)i * 7919u % 23u);
    text[1000] = text[N - 5] = '\n';
    for (size_t frame = 0; frame <= N; frame += N / 2) {
        put(text, N, frame);
        CHECK_OK(read_lines(&out));
        assert_int_equal(out.len, N + 1);
        assert_memory_equal(out.data + 1001, text + 1001, N - 5 - 1001);
        axl_str_clear(&out);
        CHECK_OK(axl_reader_open(path, &r));
        CHECK_OK(axl_reader_rest(r, &out));
        axl_reader_close(r);
        assert_int_equal(out.len, N);
        assert_memory_equal(out.data, text, N);
    }
    axl_str_fini(&out);
    free(text);
}

static void damage_is_an_error(void **state)
{
    (void)state;
    char text[4000];
    axl_str out = {0}, packed = {0};

    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)(i * 2654435761u >> 13);
    put(text, sizeof text, sizeof text);
    CHECK_OK(axl_file_read(path, &packed));
    CHECK_OK(axl_file_write(path, packed.data, packed.len - 3));
    CHECK_FAILS(read_lines(&out), AXL_E_INPUT, "end too early");
    for (size_t i = 4; i < packed.len; i += 37) { // any byte: an error or other text, never a crash
        packed.data[i] ^= 0x15;
        CHECK_OK(axl_file_write(path, packed.data, packed.len));
        (void)read_lines(&out);
        packed.data[i] ^= 0x15;
    }
    CHECK_OK(axl_file_write(path, "\x1f\x8b\x08", 3));
    CHECK_FAILS(read_lines(&out), AXL_E_UNSUPPORTED, "gzip");
    axl_str_fini(&out);
    axl_str_fini(&packed);
}

static void folders_and_missing_files_are_named(void **state)
{
    (void)state;
    axl_reader *r = NULL;

    CHECK_FAILS(axl_reader_open("/tmp", &r), AXL_E_INPUT, "/tmp: is a folder");
    CHECK_FAILS(axl_reader_open("/tmp/no such file", &r), AXL_E_INPUT,
                "no such file: cannot be read");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_end_in_any_way),
        cmocka_unit_test(long_lines_pass_through_the_buffers),
        cmocka_unit_test(damage_is_an_error),
        cmocka_unit_test(folders_and_missing_files_are_named),
    };
    return cmocka_run_group_tests(tests, make_path, remove_path);
}
