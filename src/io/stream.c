// One input buffer of file bytes, one text buffer of what they mean; lines are cut from the latter.
#include "src/io/stream.h"

#include "src/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#define READ_BYTES   ((size_t)1 << 18)
#define MAX_LINE     ((size_t)1 << 30)
#define ZSTD_MAX_LOG 27 // a window of 128 MiB: larger ones need --long, and the reader's memory

struct axl_reader {
    char *path; // owned
    int fd;
    ZSTD_DStream *zstd;   // owned; NULL for a plain file
    size_t frame_left;    // what zstd still expects of the present frame; 0: at a frame's end
    unsigned char *input; // [READ_BYTES], owned
    size_t in_at, in_n;   // the part of input not yet used
    bool pending;         // zstd holds decoded bytes that text had no room for
    bool file_over;
    axl_str text;   // decoded bytes
    size_t at;      // start of the next line in text
    size_t scanned; // no newline in text[at .. scanned)
};

static axl_status fill_input(axl_reader *r)
{
    axl_status status = AXL_OK;

    r->in_at = r->in_n = 0;
    while (r->in_n < READ_BYTES) {
        ssize_t got = read(r->fd, r->input + r->in_n, READ_BYTES - r->in_n);
        if (got < 0 && errno == EINTR)
            continue;
        AXL_REQUIRE(got >= 0, AXL_E_INPUT, "%s: cannot be read: %s", r->path, strerror(errno));
        if (got == 0) {
            r->file_over = true;
            break;
        }
        r->in_n += (size_t)got;
    }

out:
    return status;
}

static axl_status detect(axl_reader *r)
{
    axl_status status = AXL_OK;
    static const unsigned char zstd[4] = {0x28, 0xb5, 0x2f, 0xfd};

    AXL_TRY(fill_input(r));
    AXL_REQUIRE(!(r->in_n >= 2 && r->input[0] == 0x1f && r->input[1] == 0x8b), AXL_E_UNSUPPORTED,
                "%s: gzip is not read; unpack it, or pack it with zstd", r->path);
    if (r->in_n >= 4 && memcmp(r->input, zstd, 4) == 0) {
        r->zstd = ZSTD_createDStream();
        AXL_REQUIRE(r->zstd != NULL, AXL_E_MEMORY, "no memory to read %s", r->path);
        (void)ZSTD_DCtx_setParameter(r->zstd, ZSTD_d_windowLogMax, ZSTD_MAX_LOG);
    } else if (r->in_n >= 3 && memcmp(r->input, "\xef\xbb\xbf", 3) == 0) {
        r->in_at = 3;
    }

out:
    return status;
}

axl_status axl_reader_open(const char *path, axl_reader **out)
{
    axl_status status = AXL_OK;
    axl_reader *r = NULL;
    struct stat info;

    AXL_TRY(axl_calloc(1, sizeof *r, "reader", &r));
    r->fd = open(path, O_RDONLY | O_CLOEXEC);
    AXL_REQUIRE(r->fd >= 0, AXL_E_INPUT, "%s: cannot be read: %s", path, strerror(errno));
    AXL_REQUIRE(fstat(r->fd, &info) == 0 && !S_ISDIR(info.st_mode), AXL_E_INPUT,
                "%s: is a folder, not a file", path);
    AXL_TRY(axl_strdup(path, &r->path));
    AXL_TRY(axl_calloc(READ_BYTES, 1, "file buffer", &r->input));
    AXL_TRY(detect(r));
    *out = r;
    r = NULL;

out:
    axl_reader_close(r);
    return status;
}

void axl_reader_close(axl_reader *r)
{
    if (r == NULL)
        return;
    if (r->fd >= 0)
        (void)close(r->fd);
    if (r->zstd != NULL)
        (void)ZSTD_freeDStream(r->zstd);
    axl_str_fini(&r->text);
    free(r->input);
    free(r->path);
    free(r);
}

static axl_status append_zstd(axl_reader *r)
{
    axl_status status = AXL_OK;
    unsigned char piece[1 << 14];
    ZSTD_inBuffer in = {.src = r->input, .size = r->in_n, .pos = r->in_at};
    bool first = r->text.len == 0 && r->at == 0;

    do {
        ZSTD_outBuffer decoded = {.dst = piece, .size = sizeof piece, .pos = 0};
        size_t hint = ZSTD_decompressStream(r->zstd, &decoded, &in);
        AXL_REQUIRE(!ZSTD_isError(hint), AXL_E_INPUT, "%s: damaged zstd data: %s", r->path,
                    ZSTD_getErrorName(hint));
        r->frame_left = hint;
        AXL_TRY(axl_str_append(&r->text, piece, decoded.pos));
        // hint 0: the frame is over and flushed; asking again would begin another one
        r->pending = in.pos < in.size || (hint != 0 && decoded.pos == sizeof piece);
    } while (r->pending && r->text.len < MAX_LINE);
    r->in_at = in.pos;
    if (first && r->text.len >= 3 && memcmp(r->text.data, "\xef\xbb\xbf", 3) == 0)
        r->at = r->scanned = 3;

out:
    return status;
}

// Decodes some more bytes into text; *more is false when there are none.
static axl_status fill_text(axl_reader *r, bool *more)
{
    axl_status status = AXL_OK;

    *more = true;
    if (r->in_at == r->in_n && !r->file_over && !r->pending)
        AXL_TRY(fill_input(r));
    if (r->in_at == r->in_n && !r->pending) {
        AXL_REQUIRE(r->frame_left == 0, AXL_E_INPUT, "%s: the zstd data end too early", r->path);
        *more = false;
    } else if (r->zstd != NULL) {
        AXL_TRY(append_zstd(r));
    } else {
        AXL_TRY(axl_str_append(&r->text, r->input + r->in_at, r->in_n - r->in_at));
        r->in_at = r->in_n;
    }

out:
    return status;
}

static void drop_used(axl_reader *r)
{
    if (r->at == 0 || r->at < r->text.len / 2)
        return;
    memmove(r->text.data, r->text.data + r->at, r->text.len - r->at);
    r->text.len -= r->at;
    r->scanned -= r->at;
    r->at = 0;
}

axl_status axl_reader_line(axl_reader *r, const char **line, size_t *n, bool *more)
{
    axl_status status = AXL_OK;
    const char *end = NULL;
    bool input = true;

    while (end == NULL && input) {
        if (r->scanned < r->text.len)
            end = memchr(r->text.data + r->scanned, '\n', r->text.len - r->scanned);
        if (end != NULL)
            break;
        r->scanned = r->text.len;
        AXL_REQUIRE(r->text.len - r->at < MAX_LINE, AXL_E_INPUT, "%s: a line of more than 1 GiB",
                    r->path);
        drop_used(r);
        AXL_TRY(fill_text(r, &input));
    }
    *more = end != NULL || r->at < r->text.len;
    *line = *more ? r->text.data + r->at : NULL;
    *n = !*more ? 0 : end != NULL ? (size_t)(end - *line) : r->text.len - r->at;
    r->at += *n + (end != NULL ? 1 : 0);
    r->scanned = r->at;
    if (*n > 0 && (*line)[*n - 1] == '\r')
        (*n)--;

out:
    return status;
}

axl_status axl_reader_rest(axl_reader *r, axl_str *out)
{
    axl_status status = AXL_OK;
    bool more = true;

    while (more) {
        if (r->text.len > r->at)
            AXL_TRY(axl_str_append(out, r->text.data + r->at, r->text.len - r->at));
        axl_str_clear(&r->text);
        r->at = r->scanned = 0;
        AXL_TRY(fill_text(r, &more));
    }

out:
    return status;
}
