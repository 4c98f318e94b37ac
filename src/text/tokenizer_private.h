// What the files of the tokenizer share. Read from top to bottom: containers, the text that remembers
// where its bytes came from, the four kinds of parts of tokenizer.json, and the tokenizer itself.
//
// The one idea: a text is never copied into pieces. A pre-tokenizer turns spans of one text into finer
// ones; a part that rewrites text writes it once and, when offsets are wanted, an origin for each byte.
#ifndef AXL_TEXT_TOKENIZER_PRIVATE_H
#define AXL_TEXT_TOKENIZER_PRIVATE_H

#include "src/io/json.h"
#include "src/text/tok_base.h"
#include "src/text/tokenizer.h"

// ---- Parts of tokenizer.json ----

typedef enum axl_behavior {
    AXL_SPLIT_REMOVED,
    AXL_SPLIT_ISOLATED,
    AXL_SPLIT_PREVIOUS,
    AXL_SPLIT_NEXT,
    AXL_SPLIT_CONTIGUOUS
} axl_behavior;

typedef enum axl_prepend { AXL_PREPEND_ALWAYS, AXL_PREPEND_FIRST, AXL_PREPEND_NEVER } axl_prepend;

// One normalizer, pre-tokenizer, post-processor or decoder; sequences are flattened. Which fields
// count is said by its kind's parse.
struct axl_step;
typedef struct axl_tokens axl_tokens; // a list of strings that decoders pass on
typedef struct axl_step_kind {
    const char *name;
    axl_status (*parse)(const axl_json *v, const char *what, struct axl_step *s); // may be NULL
    union {
        axl_status (*normalize)(const struct axl_step *s, struct axl_tok_work *w);
        axl_status (*split)(const struct axl_step *s, struct axl_tok_work *w);
        axl_status (*post)(const struct axl_step *s, const struct axl_tok_work *w, bool add_special,
                           axl_token_buffer *b);
        axl_status (*decode)(const struct axl_step *s, axl_tokens *tokens);
    };
} axl_step_kind;

typedef struct axl_template_piece {
    bool sequence;
    int32_t *ids; // owned
    size_t n_ids;
} axl_template_piece;

typedef struct axl_step {
    const axl_step_kind *kind;
    axl_pattern pattern;
    axl_str content; // replacement, prefix, suffix ...
    axl_str extra;   // CTC's word delimiter
    axl_behavior behavior;
    axl_prepend prepend;
    bool invert, split, left, right, clean, chinese, accents, lower, compose, compat;
    bool prefix_space, use_regex, trim, raw;
    uint32_t cp;
    int64_t start, stop;
    axl_template_piece *pieces; // owned
    size_t n_pieces;
    void *data; // owned; Precompiled
} axl_step;

typedef struct axl_steps {
    axl_step *at; // owned
    size_t n, capacity;
} axl_steps;

// Reads a part (an object with "type", or null) into steps, flattening Sequence, whose children
// stand under the key `children`.
axl_status axl_steps_parse(const axl_json *v, const char *what, const char *children,
                           const axl_step_kind *kinds, size_t n_kinds, axl_steps *out);
void axl_steps_fini(axl_steps *s);
extern const axl_step_kind axl_pre_kinds[], axl_post_kinds[], axl_decoder_kinds[],
    axl_normalizer_kinds[];
extern const size_t axl_n_pre_kinds, axl_n_post_kinds, axl_n_decoder_kinds, axl_n_normalizer_kinds;

// Texts one after the other in one string.
struct axl_tokens {
    axl_str text;
    size_t *end; // [n], owned; where each ends in text
    size_t n, capacity;
};

void axl_tokens_fini(axl_tokens *t);
axl_status axl_tokens_end(axl_tokens *t); // ends the text appended last

// Decoders (tok_decoders.c).
axl_status axl_replace_decode(const axl_step *s, axl_tokens *t);
axl_status axl_byte_fallback_decode(const axl_step *s, axl_tokens *t);
axl_status axl_fuse_decode(const axl_step *s, axl_tokens *t);
axl_status axl_strip_decoder_parse(const axl_json *v, const char *what, axl_step *s);
axl_status axl_strip_decode(const axl_step *s, axl_tokens *t);
axl_status axl_metaspace_decode(const axl_step *s, axl_tokens *t);
axl_status axl_wordpiece_decoder_parse(const axl_json *v, const char *what, axl_step *s);
axl_status axl_wordpiece_decode(const axl_step *s, axl_tokens *t);
axl_status axl_bpe_decoder_parse(const axl_json *v, const char *what, axl_step *s);
axl_status axl_bpe_decode(const axl_step *s, axl_tokens *t);
axl_status axl_ctc_parse(const axl_json *v, const char *what, axl_step *s);
axl_status axl_ctc_decode(const axl_step *s, axl_tokens *t);
// v[key], or the other text when it is no string.
axl_status axl_text_parse(const axl_json *v, const char *key, const char *otherwise, axl_str *out);

// ---- Models ----

typedef struct axl_bpe {
    axl_pairmap merges;       // left << 32 | right -> rank << 32 | new id
    int32_t byte_id[256];     // raw mode: the id of a byte, -1: none
    int32_t fallback_id[256]; // <0xNN>, -1: none
    int32_t unk_id;           // -1: none
    bool raw;                 // byte-level: the text is bytes, not their stand-ins
    bool fuse_unk, byte_fallback, ignore_merges, filled; // filled: its tables were read already
    axl_str prefix, suffix;
    uint16_t *chars; // [vocab.size], owned; raw mode: bytes a token stands for
} axl_bpe;

typedef struct axl_tok_model_kind {
    const char *name;
    axl_status (*parse)(const axl_json *v, axl_tokenizer *t);
    // Appends the tokens of all spans of w->pre.
    axl_status (*run)(const axl_tokenizer *t, struct axl_tok_work *w, axl_token_buffer *out);
} axl_tok_model_kind;

axl_status axl_bpe_parse(const axl_json *v, axl_tokenizer *t);
axl_status axl_bpe_run(const axl_tokenizer *t, struct axl_tok_work *w, axl_token_buffer *out);
void axl_bpe_fini(axl_bpe *b);
// Called when the pre-tokenizers are known: byte-level text is then kept as bytes when that gives the
// same tokens. Returns whether the last ByteLevel may leave bytes as they are.
axl_status axl_bpe_try_raw(axl_tokenizer *t, bool *raw);
// The ids of <0x00> .. <0xFF>, -1 where there is none.
void axl_fallback_ids(const axl_vocab *v, int32_t ids[256]);
// "model.vocab" as an object of text -> id.
axl_status axl_vocab_parse(const axl_json *v, axl_vocab *out);

typedef struct axl_unigram {
    double *score; // [vocab.size], owned
    double unk_score;
    int32_t unk_id; // -1: none
    bool byte_fallback;
    int32_t fallback_id[256];
} axl_unigram;

typedef struct axl_wordpiece {
    axl_trie inner; // tokens with the prefix of continued words, without it
    int32_t unk_id; // -1: none; also WordLevel's
    axl_str unk;
    int64_t max_chars;
} axl_wordpiece;

axl_status axl_unigram_parse(const axl_json *v, axl_tokenizer *t);
axl_status axl_unigram_run(const axl_tokenizer *t, struct axl_tok_work *w, axl_token_buffer *out);
axl_status axl_wordpiece_parse(const axl_json *v, axl_tokenizer *t);
axl_status axl_wordpiece_run(const axl_tokenizer *t, struct axl_tok_work *w, axl_token_buffer *out);
axl_status axl_wordlevel_parse(const axl_json *v, axl_tokenizer *t);
axl_status axl_wordlevel_run(const axl_tokenizer *t, struct axl_tok_work *w, axl_token_buffer *out);

// ---- Added tokens (tok_added.c) ----

typedef struct axl_added {
    int32_t id;
    bool single_word, lstrip, rstrip, normalized, special;
    size_t n_normal;
    char *normal; // [n_normal], owned; the normalized form where it differs, else NULL
} axl_added;

typedef struct axl_added_set {
    axl_trie trie;   // value: index into added
    bool first[256]; // bytes a token begins with
    size_t n_patterns;
} axl_added_set;

// ---- The tokenizer ----

typedef struct axl_tok_special {
    char *name, *text; // owned
} axl_tok_special;

struct axl_tokenizer {
    const axl_tok_model_kind *model;
    axl_vocab vocab;       // the model's
    axl_vocab added_vocab; // added tokens, also those the model has
    axl_added *added;      // [n_added], owned
    size_t n_added, added_capacity;
    int32_t *added_at;                 // [added_vocab.size], owned; id -> index into added or -1
    axl_added_set raw_set, normal_set; // matched before and after normalization
    axl_steps normalizers, pre, post, decoders;
    axl_bpe bpe;
    axl_unigram unigram;
    axl_wordpiece wordpiece;
    axl_trie trie;            // Unigram: all tokens; WordPiece: tokens that begin words
    uint8_t *classes;         // [AXL_CLASS_TABLE], owned
    bool always_track;        // a part asks where a piece began
    axl_tok_special *special; // [n_special], owned
    size_t n_special, special_capacity;
    char *chat_template; // owned or NULL
    uint64_t hash;
};
// What encoding needs besides the tokenizer; one a token buffer.
typedef struct axl_bpe_symbol {
    int32_t id;
    uint32_t len;
    int32_t prev, next;
} axl_bpe_symbol;

// The best way to a place in a text.
typedef struct axl_unigram_node {
    double score;
    int32_t id;
    uint32_t from; // where the last token begins; UINT32_MAX: not reached
} axl_unigram_node;

#define AXL_CACHE_KEY   30
#define AXL_CACHE_IDS   8
#define AXL_CACHE_SLOTS 32768u // 2 MiB: what a core's second-level cache holds

typedef struct axl_cache_slot {
    uint8_t n_key, n_ids; // n_ids 0: empty
    char key[AXL_CACHE_KEY];
    int32_t ids[AXL_CACHE_IDS];
} axl_cache_slot;

// An added token that took the white space beside it; the offset trimming of post-processors counts it.
typedef struct axl_added_blank {
    size_t token; // index in the buffer
    int32_t leading, trailing;
} axl_added_blank;

typedef struct axl_tok_work {
    const axl_tokenizer *t;
    uint64_t owner; // hash of the tokenizer whose words are in the cache
    axl_text norm, pre;
    axl_spans spans, spare, matches;
    bool *is_match; // [matches.n], owned
    size_t is_match_capacity;
    axl_bpe_symbol *symbols; // owned
    size_t symbols_capacity;
    axl_unigram_node *nodes; // owned
    size_t nodes_capacity;
    axl_change *changes; // owned
    size_t changes_capacity;
    uint64_t *heap; // owned
    size_t heap_capacity;
    axl_cache_slot *cache;   // [AXL_CACHE_SLOTS], owned
    axl_added_blank *blanks; // owned
    size_t n_blanks, blanks_capacity;
    void *match_data, *jit_stack, *match_context; // pcre2's
    axl_str scratch;
} axl_tok_work;

void axl_tok_work_fini(axl_tok_work *w);
void axl_pattern_work_fini(axl_tok_work *w);
axl_status axl_tok_work_get(const axl_tokenizer *t, axl_token_buffer *b, axl_tok_work **out);
axl_status axl_spans_put(axl_spans *s, size_t begin, size_t end);

// Room for n more tokens.
axl_status axl_tokens_reserve(axl_token_buffer *b, size_t n);
// Appends a token that covers bytes begin .. end of text t.
axl_status axl_tokens_emit(axl_token_buffer *b, int32_t id, const axl_text *t, size_t begin,
                           size_t end);

axl_status axl_added_parse(const axl_json *v, axl_tokenizer *t);
axl_status axl_added_build(axl_tokenizer *t); // the two sets, after the normalizers are known
void axl_added_set_fini(axl_added_set *s);
// The next added token in s[0 .. n) from *at on. *plain is the text before it (may be empty) and
// *token its span; *index < 0: there is none, and *plain is the rest. Moves *at and *done.
typedef struct axl_added_state {
    size_t at;   // where the search goes on
    size_t done; // what was handed out
} axl_added_state;
void axl_added_next(const axl_tokenizer *t, const axl_added_set *set, const char *s, size_t n,
                    axl_added_state *state, axl_span *plain, axl_span *token, int32_t *index);

// Pre-tokenizers' parts (tok_pretokenize.c, tok_words.c).
void axl_spans_swap(axl_tok_work *w); // spare becomes spans
axl_status axl_behavior_parse(const axl_json *v, const char *what, axl_behavior *out);
axl_status axl_split_run(const axl_step *s, axl_tok_work *w);
axl_status axl_punctuation_parse(const axl_json *v, const char *what, axl_step *s);
axl_status axl_space_split_parse(const axl_json *v, const char *what, axl_step *s);
axl_status axl_char_split_parse(const axl_json *v, const char *what, axl_step *s);
axl_status axl_whitespace_run(const axl_step *s, axl_tok_work *w);
axl_status axl_bert_split_run(const axl_step *s, axl_tok_work *w);
axl_status axl_scripts_run(const axl_step *s, axl_tok_work *w);
axl_status axl_fixed_length_parse(const axl_json *v, const char *what, axl_step *s);
axl_status axl_fixed_length_run(const axl_step *s, axl_tok_work *w);
axl_status axl_metaspace_parse(const axl_json *v, const char *what, axl_step *s);
axl_status axl_metaspace_run(const axl_step *s, axl_tok_work *w);

// Normalizers' parts (tok_normalize.c, tok_forms.c, tok_precompiled.c).
axl_status axl_replace_parse(const axl_json *v, const char *what, axl_step *s);
axl_status axl_normalize_form(const axl_step *s, axl_tok_work *w);
axl_status axl_precompiled_parse(const axl_json *v, const char *what, axl_step *s);
axl_status axl_precompiled_run(const axl_step *s, axl_tok_work *w);
axl_status axl_normalize(const axl_tokenizer *t, axl_tok_work *w);
axl_status axl_post_process(const axl_tokenizer *t, const axl_tok_work *w, bool add_special,
                            axl_token_buffer *b);

// Special tokens and the chat template of tokenizer_config.json and its neighbours (tok_files.c).
axl_status axl_tok_read_neighbours(const char *dir, axl_tokenizer *t);
axl_status axl_tok_put_special(axl_tokenizer *t, const char *name, const char *text);

#endif
