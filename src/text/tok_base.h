// The ground the tokenizer stands on: hash maps, questions about code points, text that remembers where
// its bytes came from, and patterns.
#ifndef AXL_TEXT_TOK_BASE_H
#define AXL_TEXT_TOK_BASE_H

#include "src/base/status.h"
#include "src/base/str.h"
#include "src/io/json.h"

#include <stddef.h>
#include <stdint.h>

#define AXL_TOK_MAX_ID   ((int64_t)1 << 24) // ids are below this: a wild id must not take memory
#define AXL_TOK_MAX_TEXT ((size_t)1 << 30)  // bytes of one text; spans are 32 bits
#define AXL_UNK_PENALTY  10.0 // an unknown character scores this below the worst token

struct axl_tok_work; // scratch of one thread, see tokenizer_private.h

// ---- Containers (tok_map.c) ----

uint64_t axl_tok_hash(const char *s, size_t n);

// Token texts by id and ids by text.
typedef struct axl_vocab {
    char *pool; // owned; every text, each followed by a NUL
    size_t pool_len, pool_capacity;
    uint32_t *at;  // [size], owned; where in pool; UINT32_MAX: no such id
    uint32_t *len; // [size], owned; bytes
    size_t at_capacity, len_capacity;
    int64_t size;    // one more than the largest id
    int64_t count;   // texts
    uint64_t *table; // [mask + 1], owned; 0 empty, else upper half of the hash | id + 1
    size_t mask;
} axl_vocab;

void axl_vocab_fini(axl_vocab *v);
// Refuses an id out of range and an id or a text that is there already (AXL_E_INPUT, no place given).
axl_status axl_vocab_add(axl_vocab *v, const char *s, size_t n, int64_t id);
int32_t axl_vocab_find(const axl_vocab *v, const char *s, size_t n); // -1: absent
// The same with axl_tok_hash(s, n) known; the table must not be empty.
int32_t axl_vocab_find_hashed(const axl_vocab *v, const char *s, size_t n, uint64_t hash);
// Asks for the memory that a find of this hash will read.
void axl_vocab_prefetch(const axl_vocab *v, uint64_t hash);
axl_status axl_vocab_reserve(axl_vocab *v, size_t count);              // room for count texts
const char *axl_vocab_text(const axl_vocab *v, int64_t id, size_t *n); // NULL: absent

// 64-bit keys to 64-bit values, open addressing. The key UINT64_MAX is not allowed.
typedef struct axl_pairmap_slot {
    uint64_t key, value;
} axl_pairmap_slot;

typedef struct axl_pairmap {
    axl_pairmap_slot *slot; // [mask + 1], owned
    size_t mask, count;
} axl_pairmap;

void axl_pairmap_fini(axl_pairmap *m);
axl_status axl_pairmap_reserve(axl_pairmap *m, size_t count);
axl_status axl_pairmap_put(axl_pairmap *m, uint64_t key, uint64_t value); // replaces

static inline size_t axl_pairmap_home(uint64_t key)
{
    key *= 0x9e3779b97f4a7c15u;
    return (size_t)(key ^ (key >> 29));
}

static inline void axl_pairmap_prefetch(const axl_pairmap *m, uint64_t key)
{
    if (m->slot != NULL)
        __builtin_prefetch(&m->slot[axl_pairmap_home(key) & m->mask], 1);
}

// The value of key, or UINT64_MAX.
static inline uint64_t axl_pairmap_get(const axl_pairmap *m, uint64_t key)
{
    if (m->slot == NULL)
        return UINT64_MAX;
    for (size_t i = axl_pairmap_home(key) & m->mask;; i = (i + 1) & m->mask) {
        if (m->slot[i].key == key)
            return m->slot[i].value;
        if (m->slot[i].key == UINT64_MAX)
            return UINT64_MAX;
    }
}

// A byte trie. Node 0 is the root.
typedef struct axl_trie {
    axl_pairmap edges; // node << 8 | byte -> node
    int32_t *value;    // [n_nodes], owned; -1: no key ends here
    size_t n_nodes, capacity;
} axl_trie;

void axl_trie_fini(axl_trie *t);
// The first value given to a key stays.
axl_status axl_trie_add(axl_trie *t, const char *s, size_t n, int32_t value);
static inline int64_t axl_trie_step(const axl_trie *t, int64_t node, unsigned char byte)
{
    uint64_t next = axl_pairmap_get(&t->edges, ((uint64_t)node << 8) | byte);
    return next == UINT64_MAX ? -1 : (int64_t)next;
}

typedef struct axl_span {
    uint32_t begin, end; // bytes, end exclusive
} axl_span;

typedef struct axl_spans {
    axl_span *at; // owned
    size_t n, capacity;
} axl_spans;

// ---- Unicode (tok_unicode.c) ----

enum { AXL_CLASS_OTHER, AXL_CLASS_LETTER, AXL_CLASS_NUMBER, AXL_CLASS_SPACE };

typedef enum axl_uni_question {
    AXL_UNI_NUMERIC,
    AXL_UNI_PUNCTUATION,
    AXL_UNI_LETTER,
    AXL_UNI_NUMBER,
    AXL_UNI_WORD,
    AXL_UNI_MARK,
    AXL_UNI_NONSPACING,
    AXL_UNI_CONTROL
} axl_uni_question;

// Whether the reference's answer about cp differs from utf8proc's (tok_exceptions.c).
bool axl_uni_flipped(axl_uni_question question, uint32_t cp);
void axl_uni_flip_classes(uint8_t *table);
uint32_t axl_uni_young_lower(uint32_t cp); // cp itself when it is not one of them

// Decodes the code point at p, which is known to be valid UTF-8. *n is its length in bytes.
static inline uint32_t axl_utf8_decode(const char *p, size_t *n)
{
    const unsigned char *u = (const unsigned char *)p;
    if (u[0] < 0x80) {
        *n = 1;
        return u[0];
    }
    if (u[0] < 0xe0) {
        *n = 2;
        return ((uint32_t)(u[0] & 0x1f) << 6) | (u[1] & 0x3fu);
    }
    if (u[0] < 0xf0) {
        *n = 3;
        return ((uint32_t)(u[0] & 0x0f) << 12) | ((uint32_t)(u[1] & 0x3f) << 6) | (u[2] & 0x3fu);
    }
    *n = 4;
    return ((uint32_t)(u[0] & 0x07) << 18) | ((uint32_t)(u[1] & 0x3f) << 12) |
           ((uint32_t)(u[2] & 0x3f) << 6) | (u[3] & 0x3fu);
}

static inline bool axl_utf8_is_tail(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

// The length of the code point that begins with this byte.
static inline size_t axl_utf8_length(char first)
{
    unsigned char c = (unsigned char)first;
    return c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

size_t axl_utf8_encode(uint32_t cp, char out[4]); // its length

bool axl_uni_is_space(uint32_t cp); // White_Space
bool axl_uni_is_numeric(uint32_t cp);
bool axl_uni_is_mark(uint32_t cp);        // combining marks, category M
bool axl_uni_is_nonspacing(uint32_t cp);  // of these, category Mn
bool axl_uni_is_control(uint32_t cp);     // category C without Cn
bool axl_uni_is_punctuation(uint32_t cp); // category P, or any ASCII character of that sort
uint32_t axl_uni_lower(uint32_t cp);
int axl_uni_script(uint32_t cp);   // a number for each script, -1: none (tok_scripts.c)
bool axl_uni_is_word(uint32_t cp); // \w of UTS 18: letters, marks, digits, connectors, joiners

#define AXL_CLASS_TABLE 0x40000u // above it nothing is a letter, a number or a space
// Fills table[0 .. AXL_CLASS_TABLE) with AXL_CLASS_*.
void axl_uni_fill_classes(uint8_t *table);

// The stand-in code point of each byte in byte-level BPE (GPT-2's table), and back (-1: none).
uint32_t axl_byte_level_char(unsigned char byte);
int axl_byte_level_byte(uint32_t cp);

// ---- Text with origins (tok_text.c) ----

typedef struct axl_text_buffer {
    char *s; // owned
    size_t s_capacity;
    uint32_t *from, *to; // owned; original bytes that each byte stands for
    size_t from_capacity, to_capacity;
} axl_text_buffer;

typedef struct axl_text {
    const char *s; // borrowed: the caller's text or one of own[]
    size_t n;
    const uint32_t *from, *to; // [n]; NULL while s is a slice of the original (or nobody asks)
    size_t base;               // where s begins in the original, while from is NULL
    bool track;                // keep origins through rewriting
    axl_text_buffer own[2];
    int current;  // the buffer s lies in; -1: the caller's
    size_t n_new; // bytes written since axl_text_begin
} axl_text;

void axl_text_fini(axl_text *t);
// Makes *t a view of s[0 .. n), of which from / to (may be NULL) or base tell the origin.
void axl_text_view(axl_text *t, const char *s, size_t n, const uint32_t *from, const uint32_t *to,
                   size_t base, bool track);
void axl_text_slice(axl_text *t, const axl_text *of, size_t begin, size_t end);
axl_span axl_text_origin(const axl_text *t, size_t i); // of byte i

// Rewriting: begin, then any of the puts, then end. The old text stays readable until end.
void axl_text_begin(axl_text *t);
axl_status axl_text_keep(axl_text *t, size_t begin, size_t end); // copies old bytes
// Puts new bytes with the origin of old byte `like`; like < 0: an empty origin at the start.
axl_status axl_text_put(axl_text *t, const char *bytes, size_t n, int64_t like);
axl_status axl_text_put_cp(axl_text *t, uint32_t cp, int64_t like);
// Puts characters of which each replaces old ones from byte `begin` on: a change of 0 takes one old
// character, -n takes n more, 1 takes none (and has the origin of the old character before).
typedef struct axl_change {
    uint32_t cp;
    int32_t change;
} axl_change;
axl_status axl_text_apply(axl_text *t, size_t begin, const axl_change *changes, size_t n);
void axl_text_end(axl_text *t);

// ---- Patterns (tok_regex.c) ----

typedef enum axl_pattern_kind {
    AXL_PATTERN_STRING, // a literal
    AXL_PATTERN_REGEX,
    AXL_PATTERN_CLASS, // one code point for which test() holds
    AXL_PATTERN_SCAN   // a hand-written scanner that covers the text with matches
} axl_pattern_kind;

typedef size_t (*axl_scan_fn)(const uint8_t *classes, const char *s, size_t n, size_t i);

typedef struct axl_pattern {
    axl_pattern_kind kind;
    axl_str text;           // STRING, and REGEX for messages
    void *code;             // REGEX: pcre2_code, owned
    bool (*test)(uint32_t); // CLASS
    uint32_t only;          // CLASS without test: this code point
    axl_scan_fn scan;       // SCAN
} axl_pattern;

// {"String": s} or {"Regex": r} of a Split or Replace. what names the place. With may_scan a well-known
// expression becomes a scanner, which only encoding can run.
axl_status axl_pattern_parse(const axl_json *v, const char *what, bool may_scan, axl_pattern *out);
axl_status axl_pattern_regex(const char *regex, size_t n, const char *what, bool may_scan,
                             axl_pattern *out);
void axl_pattern_fini(axl_pattern *p);

// The next match in s[*at .. n) as find_iter gives it, or *found = false. State: {0} at the start.
typedef struct axl_match_state {
    size_t at, last_end;
    bool any; // last_end is valid
} axl_match_state;
axl_status axl_pattern_next(const axl_pattern *p, struct axl_tok_work *w, const char *s, size_t n,
                            axl_match_state *state, axl_span *match, bool *found);

// Scanners that equal well-known expressions; NULL when the expression is not one of them.
axl_scan_fn axl_scan_find(const char *regex, size_t n);
size_t axl_scan_gpt2(const uint8_t *classes, const char *s, size_t n, size_t i);

#endif
