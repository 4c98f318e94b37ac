// RUN: np=1
// Lines of plain and compressed files; damaged ones are errors, never crashes.
#include "src/io/file.h"
#include "src/io/stream.h"
#include "tests/check.h"

#include <bzlib.h>
#include <lz4frame.h>
#include <lzma.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>
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

// Each makes one frame of n bytes, in out[0 .. room); the size of it.
static size_t pack_zstd(char *out, size_t room, const char *bytes, size_t n)
{
    return ZSTD_compress(out, room, bytes, n, 1);
}

static size_t pack_gzip(char *out, size_t room, const char *bytes, size_t n)
{
    z_stream z = {.next_out = (Bytef *)out, .avail_out = (uInt)room};

    z.next_in = (z_const Bytef *)(uintptr_t)bytes;
    z.avail_in = (uInt)n;
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    (void)deflateEnd(&z);
    return room - z.avail_out;
}

static size_t pack_bzip2(char *out, size_t room, const char *bytes, size_t n)
{
    unsigned size = (unsigned)room;

    assert_int_equal(
        BZ2_bzBuffToBuffCompress(out, &size, (char *)(uintptr_t)bytes, (unsigned)n, 1, 0, 0),
        BZ_OK);
    return size;
}

static size_t pack_xz(char *out, size_t room, const char *bytes, size_t n)
{
    size_t at = 0;

    assert_int_equal(lzma_easy_buffer_encode(1, LZMA_CHECK_CRC64, NULL, (const uint8_t *)bytes, n,
                                             (uint8_t *)out, &at, room),
                     LZMA_OK);
    return at;
}

static size_t pack_lz4(char *out, size_t room, const char *bytes, size_t n)
{
    return LZ4F_compressFrame(out, room, bytes, n, NULL);
}

typedef size_t (*packer)(char *out, size_t room, const char *bytes, size_t n);
static const packer packers[] = {pack_zstd, pack_gzip, pack_bzip2, pack_xz, pack_lz4};
enum { N_PACKERS = sizeof packers / sizeof *packers };

// Writes n bytes as they are (frame 0), or as frames of at most `frame` bytes each.
static void put(packer pack, const char *bytes, size_t n, size_t frame)
{
    axl_str out = {0};

    for (size_t at = 0; frame > 0 && at < n; at += frame) {
        size_t part = n - at < frame ? n - at : frame, room = part + part / 8 + 1024;
        char *packed = malloc(room);
        CHECK_OK(axl_str_append(&out, packed, pack(packed, room, bytes + at, part)));
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

    for (int k = 0; k < N_PACKERS; k++) {
        for (size_t frame = 0; frame < 8; frame++) {
            put(packers[k], text, sizeof text - 1, frame);
            CHECK_OK(read_lines(&out));
            assert_string_equal(out.data, "one||two|three|");
        }
    }
    put(NULL, "", 0, 0);
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

    for (int i = 0; i < N; i++)
        text[i] = (char)('a' + (unsigned)i * 7919u % 23u);
    text[1000] = text[N - 5] = '\n';
    for (int k = 0; k < N_PACKERS; k++) {
        for (size_t frame = 0; frame <= N; frame += N / 2) {
            put(packers[k], text, N, frame);
            CHECK_OK(read_lines(&out));
            assert_int_equal(out.len, N + 1);
            assert_memory_equal(out.data + 1001, text + 1001, N - 5 - 1001);
        }
    }
    axl_str_fini(&out);
    free(text);
}

static void windows_grow_and_are_taken(void **state)
{
    (void)state;
    enum { N = 700000 };
    char *text = malloc(N);
    axl_reader *r = NULL;
    size_t n = 0, at = 0;
    bool more = true;

    for (int i = 0; i < N; i++)
        text[i] = (char)('a' + (unsigned)i * 7919u % 23u);
    for (size_t frame = 0; frame <= N; frame += N / 2) {
        put(pack_gzip, text, N, frame);
        CHECK_OK(axl_reader_open(path, &r));
        (void)axl_reader_window(r, &n);
        assert_int_equal(n, 0);
        for (at = 0, more = true; more;) { // a part is taken, the rest stays in front
            size_t before = n;
            CHECK_OK(axl_reader_extend(r, &more));
            const char *window = axl_reader_window(r, &n);
            assert_true(more ? n > before : n == before);
            assert_memory_equal(window, text + at, n);
            if (!more)
                assert_int_equal(at + n, N);
            axl_reader_take(r, n / 3);
            at += n / 3;
            n -= n / 3;
        }
        axl_reader_close(r);
    }
    free(text);
}

static void damage_is_an_error(void **state)
{
    (void)state;
    static const char *const names[] = {"zstd", "gzip", "bzip2", "xz", "lz4"};
    char text[4000], message[64];
    axl_str out = {0}, packed = {0};

    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)(i * 2654435761u >> 13);
    for (int k = 0; k < N_PACKERS; k++) {
        axl_str_clear(&packed);
        put(packers[k], text, sizeof text, sizeof text);
        CHECK_OK(axl_file_read(path, &packed));
        (void)snprintf(message, sizeof message, "the %s data end too early", names[k]);
        for (size_t cut = 1; cut < packed.len - 8; cut += 61) {
            CHECK_OK(axl_file_write(path, packed.data, packed.len - cut));
            CHECK_FAILS(read_lines(&out), AXL_E_INPUT, message);
        }
        for (size_t i = 6; i < packed.len; i += 37) { // an error or other text, never a crash
            packed.data[i] ^= 0x15;
            CHECK_OK(axl_file_write(path, packed.data, packed.len));
            (void)read_lines(&out);
            packed.data[i] ^= 0x15;
        }
        CHECK_OK(axl_str_append(&packed, "\0\0\0\0\0\0\0\0", 8)); // padding, as of tapes
        CHECK_OK(axl_file_write(path, packed.data, packed.len));
        CHECK_OK(read_lines(&out));
        CHECK_OK(axl_str_puts(&packed, "rubbish behind the last frame"));
        CHECK_OK(axl_file_write(path, packed.data, packed.len));
        (void)snprintf(message, sizeof message, "damaged %s data", names[k]);
        CHECK_FAILS(read_lines(&out), AXL_E_INPUT, message);
    }
    CHECK_OK(axl_file_write(path, "PK\3\4....", 8));
    CHECK_FAILS(read_lines(&out), AXL_E_UNSUPPORTED, "unpack it");
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
        cmocka_unit_test(windows_grow_and_are_taken),
        cmocka_unit_test(damage_is_an_error),
        cmocka_unit_test(folders_and_missing_files_are_named),
    };
    return cmocka_run_group_tests(tests, make_path, remove_path);
}
