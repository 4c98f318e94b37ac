// Conversations to token ids and labels: which template, which turns are trained, which terminators.
//
// The whole conversation is rendered and tokenized once. To find the tokens of a turn, it is rendered
// again with that turn's content replaced by a dummy: the tokens between the first and the last
// difference are those that depend on the content, so headers and terminators stay masked. Only the
// part between the nearest special tokens is tokenized again. Terminators (EOS, EOT) behind a turn are
// labelled by their own rules; parts of a turn's text can be trained by character.
#ifndef AXL_TEXT_CHAT_H
#define AXL_TEXT_CHAT_H

#include "src/base/status.h"
#include "src/base/str.h"
#include "src/io/json.h"
#include "src/text/tokenizer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AXL_CHAT_IGNORE (-100) // the label of a token without loss

typedef enum axl_chat_train {
    AXL_CHAT_TRAIN_DEFAULT, // train_on_eos: turn; train_on_eot: as train_on_eos
    AXL_CHAT_TRAIN_TURN,    // of trained turns
    AXL_CHAT_TRAIN_ALL,
    AXL_CHAT_TRAIN_LAST, // the last one of the conversation
    AXL_CHAT_TRAIN_NONE
} axl_chat_train;

typedef struct axl_chat_pair {
    const char *key, *value;
} axl_chat_pair;

// The keys of a data set entry of type chat_template. {0} is every default. All strings and arrays are
// borrowed and must outlive the encoder.
typedef struct axl_chat_options {
    const char *chat_template; // built-in name, jinja, tokenizer_default,
                               // tokenizer_default_fallback_NAME; NULL: jinja when
                               // chat_template_jinja is given, else tokenizer_default
    const char
        *chat_template_jinja; // source text, or the path of a file that holds it, relative to
                              // the working directory; text has a brace or several lines
    const char *default_system_message; // a variable of the template; NULL: none
    const axl_json *template_kwargs;    // an object: more template variables; NULL: none
    const char *tokenizer_name; // a name with "mistral" in it never trains a leading system turn
    const char *field_messages; // NULL: messages
    const char *field_tools;    // NULL: tools
    const char *field_thinking; // NULL: reasoning_content; the data set's key
    const char *template_thinking_key; // NULL: reasoning_content; the template's key
    const char *field_training;        // per message: train or not; NULL: none
    const char *field_training_detail; // per message: list of spans; NULL: none
    const axl_chat_pair *mappings;     // [n_mappings] template key -> data set key; NULL: role,
    int n_mappings;                    //   content under their own names
    const axl_chat_pair *roles;        // [n_roles] role in the data -> role for the template;
    int n_roles;                       //   NULL: human, gpt and the usual ones
    const char *const *roles_to_train; // [n_roles_to_train]; NULL: assistant
    int n_roles_to_train;
    const char *const *eot_tokens; // [n_eot_tokens]; NULL: the EOS token
    int n_eot_tokens;
    axl_chat_train train_on_eos, train_on_eot;
    bool train_on_inputs, drop_system_message, split_thinking;
} axl_chat_options;

typedef struct axl_chat_encoder axl_chat_encoder; // immutable: threads may share it
typedef struct axl_chat_scratch axl_chat_scratch; // one a thread

// Chooses and compiles the template and checks the terminators. options and tokenizer are borrowed for
// the encoder's life. Warnings (a terminator that the template lacks) go to the log.
//   AXL_E_CONFIG: no such template, the tokenizer has none, an EOT that is not one token, EOS among the
//   EOTs with different options. AXL_E_INPUT: a template that cannot be compiled.
axl_status axl_chat_encoder_create(const axl_chat_options *options, const axl_tokenizer *tokenizer,
                                   axl_chat_encoder **out);
void axl_chat_encoder_destroy(axl_chat_encoder *c); // NULL-safe

axl_status axl_chat_scratch_create(axl_chat_scratch **out);
void axl_chat_scratch_destroy(axl_chat_scratch *s); // NULL-safe

// One conversation. The arrays lie in the scratch and are valid until its next use.
typedef struct axl_chat_sample {
    const int32_t *ids;    // [n]
    const int32_t *labels; // [n] the id itself or AXL_CHAT_IGNORE; not shifted
    size_t n;
    int n_lost;      // turns that should be trained but whose tokens were not found
    bool blank_edge; // a part of a content ends in a blank where the training flag changes
} axl_chat_sample;

// Encodes a row of the data set (an object). No truncation.
//   AXL_E_INPUT: messages missing or of a wrong kind, arguments of a tool call that are no JSON, or
//   what the template raises.
axl_status axl_chat_encode(const axl_chat_encoder *c, axl_chat_scratch *s, const axl_json *row,
                           axl_chat_sample *out);

// Appends the text of messages (an array as the template wants it) to *out.
//   tools: an array, or NULL. add_generation_prompt: end with the header of the reply to come.
axl_status axl_chat_render(const axl_chat_encoder *c, const axl_json *messages,
                           const axl_json *tools, bool add_generation_prompt, axl_str *out);

// Whether id ends a turn: EOS or one of the EOT tokens. For generation.
bool axl_chat_is_end(const axl_chat_encoder *c, int32_t id);

#endif
