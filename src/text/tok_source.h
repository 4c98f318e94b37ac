// Tokenizers whose file is not a tokenizer.json: sentencepiece models, tiktoken ranks, tekken.json. Each
// reader fills the model of an axl_tokenizer directly and says the rest (normalizer, pre-tokenizer,
// decoder, added tokens) as the parts of a tokenizer.json, which the common code then reads.
#ifndef AXL_TEXT_TOK_SOURCE_H
#define AXL_TEXT_TOK_SOURCE_H

#include "src/text/tokenizer_private.h"

const axl_tok_model_kind *axl_tok_model_named(const char *name); // NULL: unknown
// Reads everything but the model: the parts of v, added tokens, and what follows from them.
axl_status axl_tok_read_parts(const axl_json *v, axl_tokenizer *t);

// Reads vocabulary and merges of a BPE tokenizer.json into t, and gives the rest of the file, with null
// in their place. *rest stays empty when the file is left to the general way.
axl_status axl_tok_fast_parse(const char *json, size_t n, axl_tokenizer *t, axl_str *rest);

typedef struct axl_source_token {
    char *text; // owned
    size_t n;
    int64_t id;
    bool lstrip, rstrip, single_word, normalized, special;
} axl_source_token;

typedef struct axl_source {
    axl_tokenizer *t;         // borrowed; filled
    const axl_json *config;   // borrowed; tokenizer_config.json, or NULL
    const axl_json *extra;    // borrowed; added_tokens.json (text -> id), or NULL
    int legacy;               // tokenizer_legacy of the run; -1: as tokenizer_config.json says
    axl_str parts;            // "normalizer": ..., and so on, without the braces
    axl_source_token *tokens; // [n_tokens], owned; the added tokens
    size_t n_tokens, tokens_capacity;
    bool bos, eos;                                         // whether the post-processor adds them
    const char *bos_text, *eos_text, *pad_text, *unk_text; // borrowed; defaults; NULL: none
} axl_source;

void axl_source_fini(axl_source *s);

// Adds an added token, or replaces the one with the same text. id < 0: the next free one, or that of the
// vocabulary when the text is a token there.
axl_status axl_source_add(axl_source *s, const char *text, size_t n, int64_t id, bool special);
// The tokens of tokenizer_config.json's added_tokens_decoder, added_tokens.json and the named ones.
axl_status axl_source_add_configured(axl_source *s);
// What tokenizer_config.json says under key; its "content" when it is an object.
const char *axl_source_text(const axl_source *s, const char *key);
// Makes the tokenizer of what was put into s: parts, added tokens, BOS and EOS.
axl_status axl_source_finish(axl_source *s);

// Merges of every token of t->vocab that is two other tokens: order[0 .. n) lists the ids of the tokens
// from the first merged to the last. The splits of a token share its rank when same_rank, else they are
// ranked from the shortest left part on. may[id] (or NULL) says which tokens take part.
axl_status axl_source_merges(axl_tokenizer *t, const int32_t *order, size_t n, const bool *may,
                             bool same_rank);

// As axl_tokenizer_load_with, with these in place of the directory's tokenizer_config.json and added_tokens.json.
axl_status axl_tok_load_configured(const char *dir, const axl_tokenizer_options *o,
                                   const axl_json *config, const axl_json *extra,
                                   axl_tokenizer **out);
// Whether the file that would be taken is a tokenizer.json.
bool axl_tok_is_json(const char *dir, const axl_tokenizer_options *o);

// Readers. bytes[0 .. n) is the whole file.
axl_status axl_spm_read(axl_source *s, const char *bytes, size_t n);
axl_status axl_tiktoken_read(axl_source *s, const char *bytes, size_t n);
axl_status axl_tekken_read(axl_source *s, const axl_json *v);
// One token of raw bytes, put into t->vocab in the byte-level alphabet.
axl_status axl_source_put_bytes(axl_source *s, const char *bytes, size_t n, int64_t id,
                                axl_str *spelled);
// What tiktoken-type tokenizers share: merges by rank, one split expression, ids from first on.
axl_status axl_source_byte_model(axl_source *s, int64_t first, const char *pattern);

// ---- The wire format of protocol buffers (tok_proto.c) ----

typedef struct axl_wire {
    const unsigned char *at, *end; // borrowed
} axl_wire;

typedef struct axl_wire_field {
    uint32_t number;
    int kind;                   // 0 varint, 1 eight bytes, 2 bytes, 5 four bytes
    uint64_t value;             // kinds 0, 1, 5
    const unsigned char *bytes; // kind 2: borrowed
    size_t n;
} axl_wire_field;

// The next field, or *more = false at the end. AXL_E_INPUT when the bytes are no message.
axl_status axl_wire_next(axl_wire *w, axl_wire_field *f, bool *more);

typedef enum axl_spm_type {
    AXL_SPM_NORMAL = 1,
    AXL_SPM_UNKNOWN,
    AXL_SPM_CONTROL,
    AXL_SPM_USER,
    AXL_SPM_UNUSED,
    AXL_SPM_BYTE
} axl_spm_type;

typedef struct axl_spm_piece {
    const char *text; // borrowed, no NUL behind it
    size_t n;
    float score;
    int type;
} axl_spm_piece;

// sentencepiece_model.proto, as far as it decides ids.
typedef struct axl_spm {
    axl_spm_piece *pieces; // [n_pieces], owned
    size_t n_pieces, capacity;
    int64_t model_type; // 1 Unigram, 2 BPE, 3 words, 4 characters
    int64_t unk_id, bos_id, eos_id, pad_id;
    bool byte_fallback, dummy_prefix, remove_spaces, escape_spaces, suffix_spaces;
    const char *charsmap; // borrowed
    size_t n_charsmap;
} axl_spm;

axl_status axl_spm_parse(const char *bytes, size_t n, axl_spm *out);
void axl_spm_fini(axl_spm *m);

// Base64 (tok_precompiled.c). what: for messages.
axl_status axl_base64_decode(const char *s, size_t n, const char *what, axl_str *out);
axl_status axl_base64_encode(const char *s, size_t n, axl_str *out);

#endif
