// One input buffer of file bytes, one text buffer of what they mean; lines are cut from the latter.
#include "src/io/stream.h"

#include "src/base/mem.h"
#include "src/io/decode.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_BYTES ((size_t)1 << 18)
#define MAX_RECORD ((size_t)1 << 30)

struct axl_reader {
    char *path; // owned
    int fd;
    const axl_codec *codec; // NULL for a plain file
    axl_decoder *decoder;   // owned; NULL for a plain file
    unsigned char *input;   // [READ_BYTES], owned
    unsigned char *piece;   // [READ_BYTES], owned; what was just decoded; NULL for a plain file
    size_t in_at, in_n;     // the part of input not yet used
    bool pending;           // the decoder holds bytes that piece had no room for
    bool file_over;
    bool begun;     // the first bytes of text have been looked at
    axl_str text;   // decoded bytes
    size_t at;      // start of what is not yet taken
    int64_t before; // bytes of the text that are no longer in `text`
    size_t scanned; // no newline in text[at .. scanned)
    int64_t size;   // of the file, bytes
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

    AXL_TRY(fill_input(r));
    AXL_REQUIRE(r->in_n < 4 || memcmp(r->input, "PK\3\4", 4) != 0, AXL_E_UNSUPPORTED,
                "%s: a .zip archive is not read: unpack it and give what is inside", r->path);
    r->codec = axl_codec_of(r->input, r->in_n);
    if (r->codec != NULL) {
        AXL_TRY(axl_decoder_create(r->codec, &r->decoder));
        AXL_TRY(axl_calloc(READ_BYTES, 1, "file buffer", &r->piece));
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
    r->size = (int64_t)info.st_size;
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
    axl_decoder_destroy(r->decoder);
    axl_str_fini(&r->text);
    free(r->input);
    free(r->piece);
    free(r->path);
    free(r);
}

static axl_status append_decoded(axl_reader *r)
{
    axl_status status = AXL_OK;
    axl_decode_step step = {
        .in = r->input + r->in_at, .n_in = r->in_n - r->in_at, .out = r->piece, .room = READ_BYTES};

    AXL_TRY_CTX(axl_decoder_step(r->decoder, &step), "%s", r->path);
    r->in_at += step.used;
    r->pending = step.made == step.room;
    AXL_TRY(axl_str_append(&r->text, r->piece, step.made));

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
        AXL_REQUIRE(r->decoder == NULL || axl_decoder_between(r->decoder), AXL_E_INPUT,
                    "%s: the %s data end too early: the file is cut; fetch or pack it again",
                    r->path, axl_codec_name(r->codec));
        *more = false;
    } else if (r->decoder != NULL) {
        AXL_TRY(append_decoded(r));
    } else {
        AXL_TRY(axl_str_append(&r->text, r->input + r->in_at, r->in_n - r->in_at));
        r->in_at = r->in_n;
    }
    if (!r->begun && (r->text.len >= 3 || !*more)) {
        r->begun = true;
        if (r->text.len >= 3 && memcmp(r->text.data, "\xef\xbb\xbf", 3) == 0)
            r->at = r->scanned = 3;
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
    r->before += (int64_t)r->at;
    r->at = 0;
}

axl_status axl_reader_extend(axl_reader *r, bool *more)
{
    axl_status status = AXL_OK;
    size_t before = r->text.len - r->at, after = before;

    AXL_REQUIRE(before < MAX_RECORD, AXL_E_INPUT, "%s: a line or record of more than 1 GiB",
                r->path);
    drop_used(r);
    do {
        AXL_TRY(fill_text(r, more));
        after = r->begun ? r->text.len - r->at : 0;
    } while (*more && after <= before);

out:
    return status;
}

const char *axl_reader_window(const axl_reader *r, size_t *n)
{
    *n = r->begun ? r->text.len - r->at : 0;
    return *n > 0 ? r->text.data + r->at : "";
}

void axl_reader_take(axl_reader *r, size_t n)
{
    AXL_ASSERT(n <= r->text.len - r->at);
    r->at += n;
    r->scanned = r->scanned > r->at ? r->scanned : r->at;
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
        AXL_TRY(axl_reader_extend(r, &input));
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

double axl_reader_share(const axl_reader *r)
{
    int64_t at = (int64_t)lseek(r->fd, 0, SEEK_CUR) - (int64_t)(r->in_n - r->in_at);

    return r->size > 0 && at < r->size ? (double)at / (double)r->size : 1.0;
}

int64_t axl_reader_tell(const axl_reader *r)
{
    return r->before + (int64_t)r->at;
}

// A compressed file is decoded up to there.
static axl_status skip_to(axl_reader *r, int64_t place)
{
    axl_status status = AXL_OK;
    bool more = true;
    size_t n = 0;

    while (axl_reader_tell(r) < place && more) {
        (void)axl_reader_window(r, &n);
        if (n == 0) {
            AXL_TRY(axl_reader_extend(r, &more));
            continue;
        }
        int64_t left = place - axl_reader_tell(r);
        axl_reader_take(r, (int64_t)n < left ? n : (size_t)left);
    }
    AXL_REQUIRE(axl_reader_tell(r) == place, AXL_E_INPUT,
                "%s: the file is shorter than it was: %lld bytes, %lld had been read", r->path,
                (long long)axl_reader_tell(r), (long long)place);

out:
    return status;
}

axl_status axl_reader_seek(axl_reader *r, int64_t place)
{
    axl_status status = AXL_OK;
    struct stat info;

    if (r->decoder != NULL || place < axl_reader_tell(r) || place == 0) {
        AXL_TRY(skip_to(r, place));
        goto out;
    }
    AXL_REQUIRE(fstat(r->fd, &info) == 0 && info.st_size >= place &&
                    lseek(r->fd, place, SEEK_SET) == place,
                AXL_E_INPUT, "%s: the file is shorter than it was: %lld bytes had been read",
                r->path, (long long)place);
    axl_str_clear(&r->text);
    r->at = r->scanned = r->in_at = r->in_n = 0;
    r->before = place;
    r->file_over = false;
    r->begun = true;

out:
    return status;
}
