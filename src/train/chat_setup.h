// From the keys of a data set entry to its chat encoder.
#ifndef AXL_TRAIN_CHAT_SETUP_H
#define AXL_TRAIN_CHAT_SETUP_H

#include "src/config/config.h"
#include "src/text/chat.h"

// The encoder of an entry of type chat_template, with what its options point to.
typedef struct axl_chat_setup {
    axl_chat_options options;
    axl_chat_pair *mappings;   // owned
    axl_chat_pair *roles;      // owned
    axl_json *kwargs;          // owned
    axl_chat_encoder *encoder; // owned
    axl_str key; // owned; text of all that decides ids and labels, the tokenizer apart
} axl_chat_setup;

// {0} is empty. Fails as axl_chat_encoder_create does; call fini on failure too.
//   entry   NULL: the top-level keys alone, for generation
axl_status axl_chat_setup_init(axl_chat_setup *s, const axl_config *c,
                               const axl_dataset_config *entry, const axl_tokenizer *tokenizer);
void axl_chat_setup_fini(axl_chat_setup *s);

#endif
