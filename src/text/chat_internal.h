// Shared by chat*.c only.
#ifndef AXL_TEXT_CHAT_INTERNAL_H
#define AXL_TEXT_CHAT_INTERNAL_H

#include "src/text/chat.h"
#include "src/text/jinja.h"

#include <stdatomic.h>

// Which characters of a text are trained: mask[begin .. begin + n) of the scratch, 1 byte each.
typedef struct chat_mask {
    bool given; // a list of parts or spans stands in the data, maybe an empty one
    size_t begin, n;
} chat_mask;

enum { CHAT_CONTENT, CHAT_THINKING, CHAT_N_FIELDS };

typedef struct chat_turn {
    axl_json *message; // borrowed from scratch->messages
    bool trained;
    bool placed; // the content is text[begin .. end) of the scratch and nothing else depends on it
    size_t begin, end; // bytes
    chat_mask mask[CHAT_N_FIELDS];
} chat_turn;

struct axl_chat_encoder {
    axl_chat_options o; // with defaults filled in
    const axl_tokenizer *tokenizer;
    axl_jinja *jinja; // owned
    int32_t *eot;     // [n_eot] ids, owned
    int n_eot;
    int32_t eos; // -1: none
    bool mistral;
    struct tm now;       // local time at the creation: all rows have the same date
    atomic_flag *warned; // owned; of blanks at the edges of parts, once for all threads
};

// The tokens of a stretch that was tokenized for a turn; headers and dummies of other turns are the same.
typedef struct chat_window {
    axl_str text;
    axl_token_buffer ids;
} chat_window;
#define CHAT_N_WINDOWS 4

struct axl_chat_scratch {
    axl_json *messages; // owned
    axl_json *tools;    // owned; NULL: none
    chat_turn *turns;   // [n_turns], owned
    size_t n_turns, turns_capacity;
    unsigned char *mask; // owned
    size_t n_mask, mask_capacity;
    axl_str text, dummy;                 // the conversation; with one turn replaced
    axl_str prefix;                      // its first turns, where replacing one does not render
    axl_token_buffer prefix_ids;         // of prefix
    axl_token_buffer ids, window;        // of text; of dummy where only a prefix renders
    chat_window windows[CHAT_N_WINDOWS]; // of parts of dummies; forgotten with each conversation
    size_t n_windows;                    // tokenized for this conversation
    size_t at_byte;                      // a place in text,
    int64_t at_char;                     // and the code points before it
    axl_jinja_memory memory;             // of renderings
    bool blank_edge;                     // as in axl_chat_sample
    axl_json *context;                   // the template's variables but messages; owned
    int32_t *labels;                     // [ids.n], owned
    size_t labels_capacity;
};

// chat_messages.c: the row to s->messages, s->tools, s->turns.
axl_status axl_chat_read_row(const axl_chat_encoder *c, axl_chat_scratch *s, const axl_json *row);

// Without white space at both ends.
void axl_chat_strip(const char **p, size_t *n);

// chat_joint.c: finds where the contents of the turns that are searched stand, as far as one rendering
// can tell.
axl_status axl_chat_place_turns(const axl_chat_encoder *c, axl_chat_scratch *s);

// chat_spans.c
typedef struct chat_span {
    int64_t a, b; // tokens [a, b) of s->ids; a = -1: not found
} chat_span;

// Whether the tokens of turn i are needed.
bool axl_chat_is_searched(const axl_chat_encoder *c, const axl_chat_scratch *s, size_t i);
// The tokens that depend on turn i: its content and whatever else its message holds.
axl_status axl_chat_find_turn(const axl_chat_encoder *c, axl_chat_scratch *s, size_t i,
                              chat_span *out);
// Labels the tokens of one field of turn i whose characters are all trained.
axl_status axl_chat_label_field(const axl_chat_encoder *c, axl_chat_scratch *s, size_t i,
                                int field);

// chat.c: renders messages with the variables of s->context into out. options are those of a template;
// last_turn is the place of the conversation's last turn when messages stop earlier, else 0.
typedef struct chat_rendering {
    axl_json *messages; // borrowed
    size_t last_turn;
} chat_rendering;
axl_status axl_chat_render_into(const axl_chat_encoder *c, axl_chat_scratch *s,
                                const chat_rendering *r, axl_str *out);

#endif
