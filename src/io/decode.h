// Decompression in pieces: what the kinds of compressed files have in common.
//
// A kind is a row of the table in decode.c, told by the first bytes of a file. A file may hold several
// frames (gzip members, xz streams, ...) one behind the other; they read as one text.
#ifndef AXL_IO_DECODE_H
#define AXL_IO_DECODE_H

#include "src/base/status.h"

#include <stddef.h>

typedef struct axl_codec axl_codec;

// The kind whose magic number bytes[0 .. n) begin with; NULL: not compressed.
const axl_codec *axl_codec_of(const unsigned char *bytes, size_t n);

const char *axl_codec_name(const axl_codec *codec); // "gzip"

typedef struct axl_decoder axl_decoder;

axl_status axl_decoder_create(const axl_codec *codec, axl_decoder **out);
void axl_decoder_destroy(axl_decoder *d); // NULL-safe

// What one step reads and writes.
typedef struct axl_decode_step {
    const unsigned char *in; // [n_in]
    size_t n_in;
    unsigned char *out; // [room]
    size_t room;
    size_t used, made; // results: bytes of in that are done with, bytes of out that are written
} axl_decode_step;

// Decodes until in is used up or out is full. Call it again while made == room: more may be held back.
// AXL_E_INPUT "damaged gzip data: why".
axl_status axl_decoder_step(axl_decoder *d, axl_decode_step *step);

// Whether the data may end here: no frame is open.
bool axl_decoder_between(const axl_decoder *d);

#endif
