// Each library has its own words for the same three steps: begin a frame, go on, it is over. The rows hide
// them; what is between frames (the next one, padding of zero bytes) is handled once.
#include "src/io/decode.h"

#include "src/base/mem.h"

#include <bzlib.h>
#include <lz4frame.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#define ZSTD_MAX_LOG    27 // a window of 128 MiB: larger ones need --long, and memory
#define XZ_MAX_MEMORY   ((uint64_t)256 << 20) // of the dictionary; xz -9 takes 65 MiB
#define GZIP_HEADER     16                    // inflateInit2: expect a gzip header
#define GZIP_WINDOW_LOG 15

struct axl_decoder {
    const axl_codec *codec;
    bool open;    // a frame is open
    bool started; // there has been one
    bool ready;   // the library's state exists
    ZSTD_DStream *zstd;
    z_stream gzip;
    bz_stream bzip2;
    lzma_stream xz;
    LZ4F_dctx *lz4;
};

struct axl_codec {
    const char *name;
    unsigned char magic[6];
    size_t n_magic;
    const char *(*begin)(axl_decoder *d); // the next frame; NULL, or what is wrong
    // Sets used, made; *over at the end of the frame. NULL, or what is wrong.
    const char *(*go_on)(axl_decoder *d, axl_decode_step *s, bool *over);
    void (*end)(axl_decoder *d); // frees the state
};

static const char *zstd_begin(axl_decoder *d)
{
    if (d->zstd == NULL) {
        d->zstd = ZSTD_createDStream();
        if (d->zstd == NULL)
            return "no memory";
        (void)ZSTD_DCtx_setParameter(d->zstd, ZSTD_d_windowLogMax, ZSTD_MAX_LOG);
    }
    return NULL;
}

static const char *zstd_go_on(axl_decoder *d, axl_decode_step *s, bool *over)
{
    ZSTD_inBuffer in = {.src = s->in, .size = s->n_in};
    ZSTD_outBuffer out = {.dst = s->out, .size = s->room};
    size_t hint = ZSTD_decompressStream(d->zstd, &out, &in);

    s->used = in.pos;
    s->made = out.pos;
    *over = hint == 0;
    return ZSTD_isError(hint) ? ZSTD_getErrorName(hint) : NULL;
}

static void zstd_end(axl_decoder *d)
{
    (void)ZSTD_freeDStream(d->zstd);
}

static const char *gzip_begin(axl_decoder *d)
{
    int code =
        d->ready ? inflateReset(&d->gzip) : inflateInit2(&d->gzip, GZIP_WINDOW_LOG + GZIP_HEADER);

    d->ready = d->ready || code == Z_OK;
    return code == Z_OK ? NULL : "no memory";
}

static const char *gzip_go_on(axl_decoder *d, axl_decode_step *s, bool *over)
{
    z_stream *z = &d->gzip;

    z->next_in = (z_const Bytef *)(uintptr_t)s->in; // zlib does not write to it
    z->avail_in = (uInt)s->n_in;
    z->next_out = s->out;
    z->avail_out = (uInt)s->room;
    int code = inflate(z, Z_NO_FLUSH);
    s->used = s->n_in - z->avail_in;
    s->made = s->room - z->avail_out;
    *over = code == Z_STREAM_END;
    if (code == Z_OK || code == Z_STREAM_END || code == Z_BUF_ERROR)
        return NULL;
    return z->msg != NULL ? z->msg : "it cannot be decoded";
}

static void gzip_end(axl_decoder *d)
{
    (void)inflateEnd(&d->gzip);
}

static void bzip2_end(axl_decoder *d)
{
    (void)BZ2_bzDecompressEnd(&d->bzip2);
}

static const char *bzip2_begin(axl_decoder *d)
{
    if (d->ready)
        bzip2_end(d);
    d->bzip2 = (bz_stream){0};
    d->ready = BZ2_bzDecompressInit(&d->bzip2, 0, 0) == BZ_OK;
    return d->ready ? NULL : "no memory";
}

static const char *bzip2_go_on(axl_decoder *d, axl_decode_step *s, bool *over)
{
    bz_stream *b = &d->bzip2;

    b->next_in = (char *)(uintptr_t)s->in; // bzip2 does not write to it
    b->avail_in = (unsigned)s->n_in;
    b->next_out = (char *)s->out;
    b->avail_out = (unsigned)s->room;
    int code = BZ2_bzDecompress(b);
    s->used = s->n_in - b->avail_in;
    s->made = s->room - b->avail_out;
    *over = code == BZ_STREAM_END;
    return code == BZ_OK || code == BZ_STREAM_END ? NULL : "a checksum or a block is wrong";
}

static const char *xz_begin(axl_decoder *d)
{
    if (!d->ready)
        d->xz = (lzma_stream)LZMA_STREAM_INIT;
    d->ready = lzma_stream_decoder(&d->xz, XZ_MAX_MEMORY, 0) == LZMA_OK;
    return d->ready ? NULL : "no memory";
}

static const char *xz_go_on(axl_decoder *d, axl_decode_step *s, bool *over)
{
    lzma_stream *x = &d->xz;

    x->next_in = s->in;
    x->avail_in = s->n_in;
    x->next_out = s->out;
    x->avail_out = s->room;
    lzma_ret code = lzma_code(x, LZMA_RUN);
    s->used = s->n_in - x->avail_in;
    s->made = s->room - x->avail_out;
    *over = code == LZMA_STREAM_END;
    if (code == LZMA_OK || code == LZMA_STREAM_END || code == LZMA_BUF_ERROR)
        return NULL;
    return code == LZMA_MEMLIMIT_ERROR ? "its dictionary is larger than 256 MiB"
                                       : "a checksum or a block is wrong";
}

static void xz_end(axl_decoder *d)
{
    lzma_end(&d->xz);
}

static const char *lz4_begin(axl_decoder *d)
{
    if (d->lz4 == NULL && LZ4F_isError(LZ4F_createDecompressionContext(&d->lz4, LZ4F_VERSION)))
        return "no memory";
    LZ4F_resetDecompressionContext(d->lz4);
    return NULL;
}

static const char *lz4_go_on(axl_decoder *d, axl_decode_step *s, bool *over)
{
    s->used = s->n_in;
    s->made = s->room;
    size_t hint = LZ4F_decompress(d->lz4, s->out, &s->made, s->in, &s->used, NULL);
    *over = hint == 0;
    return LZ4F_isError(hint) ? LZ4F_getErrorName(hint) : NULL;
}

static void lz4_end(axl_decoder *d)
{
    (void)LZ4F_freeDecompressionContext(d->lz4);
}

static const axl_codec codecs[] = {
    {"zstd", {0x28, 0xb5, 0x2f, 0xfd}, 4, zstd_begin, zstd_go_on, zstd_end},
    {"gzip", {0x1f, 0x8b}, 2, gzip_begin, gzip_go_on, gzip_end},
    {"bzip2", {'B', 'Z', 'h'}, 3, bzip2_begin, bzip2_go_on, bzip2_end},
    {"xz", {0xfd, '7', 'z', 'X', 'Z', 0}, 6, xz_begin, xz_go_on, xz_end},
    {"lz4", {0x04, 0x22, 0x4d, 0x18}, 4, lz4_begin, lz4_go_on, lz4_end},
};

const axl_codec *axl_codec_of(const unsigned char *bytes, size_t n)
{
    for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++) {
        if (n >= codecs[i].n_magic && memcmp(bytes, codecs[i].magic, codecs[i].n_magic) == 0)
            return &codecs[i];
    }
    return NULL;
}

const char *axl_codec_name(const axl_codec *codec)
{
    return codec->name;
}

axl_status axl_decoder_create(const axl_codec *codec, axl_decoder **out)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_calloc(1, sizeof **out, "a decoder", out));
    (*out)->codec = codec;

out:
    return status;
}

void axl_decoder_destroy(axl_decoder *d)
{
    if (d == NULL)
        return;
    if (d->started)
        d->codec->end(d);
    free(d);
}

bool axl_decoder_between(const axl_decoder *d)
{
    return !d->open;
}

// Between frames: padding of zero bytes is skipped, another byte begins a frame.
static const char *begin_frame(axl_decoder *d, axl_decode_step *s)
{
    const char *fault = NULL;

    while (d->started && s->used < s->n_in && s->in[s->used] == 0)
        s->used++;
    if (s->used < s->n_in) {
        d->started = d->open = true;
        fault = d->codec->begin(d);
    }
    return fault;
}

axl_status axl_decoder_step(axl_decoder *d, axl_decode_step *step)
{
    axl_status status = AXL_OK;
    const char *fault = NULL;
    bool over = false;

    step->used = step->made = 0;
    while (fault == NULL && step->made < step->room) {
        if (!d->open)
            fault = begin_frame(d, step);
        if (fault != NULL || !d->open)
            break;
        axl_decode_step part = {.in = step->in + step->used,
                                .n_in = step->n_in - step->used,
                                .out = step->out + step->made,
                                .room = step->room - step->made};
        fault = d->codec->go_on(d, &part, &over);
        step->used += part.used;
        step->made += part.made;
        d->open = !over;
        if (!over && part.used == 0 && part.made == 0)
            break; // it needs more input
    }
    AXL_REQUIRE(fault == NULL, AXL_E_INPUT, "damaged %s data: %s", d->codec->name, fault);

out:
    return status;
}
