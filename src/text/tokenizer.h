// Tokenizers read from a Hugging Face directory: text to ids and back, exact to the token.
//
// An axl_tokenizer is immutable after loading and may be used by many threads at once; what changes
// during encoding lives in an axl_token_buffer that each thread owns.
#ifndef AXL_TEXT_TOKENIZER_H
#define AXL_TEXT_TOKENIZER_H

#include "src/base/status.h"
#include "src/base/str.h"
#include "src/io/json.h"

#include <stddef.h>
#include <stdint.h>

typedef struct axl_tokenizer axl_tokenizer;

// The ids of one text. {0} is empty; memory is kept between calls.
typedef struct axl_token_buffer {
    int32_t *ids;         // [n], owned
    int32_t *begin, *end; // [n], owned: offsets into the text in code points, end exclusive;
                          // NULL unless asked for; -1, -1 for tokens a post-processor added
    size_t n, capacity;
    bool want_offsets;
    void *scratch; // owned by the tokenizer's code
} axl_token_buffer;

void axl_token_buffer_fini(axl_token_buffer *b);
// Turns the offsets of b from code points of text[0 .. n), which was encoded into it, into bytes.
void axl_token_buffer_to_bytes(axl_token_buffer *b, const char *text, size_t n);

typedef struct axl_tokenizer_options {
    int legacy;   // tokenizer_legacy: 0, 1, or -1 as tokenizer_config.json says; sentencepiece only
    bool mistral; // take tekken.json also when there is a tokenizer.json
} axl_tokenizer_options;

// Loads the tokenizer of a model directory with its neighbours (tokenizer_config.json,
// special_tokens_map.json, added_tokens.json, chat_template.jinja). The first of these counts, and what
// it holds is told by its content:
//   tokenizer.json, tekken.json, tokenizer.model (sentencepiece, or lines of tiktoken ranks),
//   tokenizer.model.vN, spiece.model, spm.model, tiktoken.model, qwen.tiktoken
// AXL_E_INPUT with file and place when it is missing or malformed.
axl_status axl_tokenizer_load(const char *dir, axl_tokenizer **out);
axl_status axl_tokenizer_load_with(const char *dir, const axl_tokenizer_options *o,
                                   axl_tokenizer **out);
// Whether one of these files is in dir.
bool axl_tokenizer_found(const char *dir);
// A file of any of these kinds from memory. config, extra: what tokenizer_config.json and
// added_tokens.json hold, or NULL; legacy as in the options. Reads no neighbours.
axl_status axl_tokenizer_parse_any(const char *bytes, size_t n, const axl_json *config,
                                   const axl_json *extra, int legacy, axl_tokenizer **out);
// The same from the text of a tokenizer.json alone: no named special tokens, no chat template.
axl_status axl_tokenizer_parse(const char *json, size_t n, axl_tokenizer **out);
void axl_tokenizer_destroy(axl_tokenizer *t); // NULL-safe

// Encodes text[0 .. n) (UTF-8; invalid bytes are AXL_E_INPUT) into *out, replacing what it held.
//   add_special: run the post-processor (BOS and the like).
// Special tokens that stand literally in the text become their ids, as `tokenizers` does.
axl_status axl_tokenizer_encode(const axl_tokenizer *t, const char *text, size_t n,
                                bool add_special, axl_token_buffer *out);

// Appends the text of ids[0 .. n) to *out, as the decoder of tokenizer.json gives it.
axl_status axl_tokenizer_decode(const axl_tokenizer *t, const int32_t *ids, size_t n,
                                bool skip_special, axl_str *out);

// The raw token text of an id (vocabulary form), or NULL. Borrowed.
const char *axl_tokenizer_token(const axl_tokenizer *t, int32_t id);
// The id of a token (added or vocabulary), or -1.
int32_t axl_tokenizer_id(const axl_tokenizer *t, const char *token);
// Whether id is an added token with special: true.
bool axl_tokenizer_is_special(const axl_tokenizer *t, int32_t id);
// One more than the largest id.
int64_t axl_tokenizer_size(const axl_tokenizer *t);

// Named special tokens ("bos_token", "eos_token", "pad_token", "unk_token"): text, or NULL; id, or -1.
const char *axl_tokenizer_special(const axl_tokenizer *t, const char *name);
int32_t axl_tokenizer_special_id(const axl_tokenizer *t, const char *name);
// Sets a named special token (YAML special_tokens); it must be one token. AXL_E_CONFIG otherwise.
axl_status axl_tokenizer_set_special(axl_tokenizer *t, const char *name, const char *token);

// The chat template of the directory (chat_template.jinja, else tokenizer_config.json), or NULL.
const char *axl_tokenizer_chat_template(const axl_tokenizer *t);

// A hash of all files that decide ids and templates.
uint64_t axl_tokenizer_hash(const axl_tokenizer *t);

#endif
