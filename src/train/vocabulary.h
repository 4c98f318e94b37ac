// The vocabulary of a run: the tokenizer that the configuration asks for, the rows of the model that follow from it,
// and the files that say both to whoever loads the result.
//
// Files are kept as a list of differences from the model directory: what is not in the list is copied from there.
#ifndef AXL_TRAIN_VOCABULARY_H
#define AXL_TRAIN_VOCABULARY_H

#include "src/config/config.h"
#include "src/text/tok_extend.h"

typedef struct axl_vocabulary {
    axl_tok_files files;      // rank 0: instead of those of the model directory; also config.json
    int64_t file_rows;        // of the embedding on disk; 0: config.json does not say
    int64_t rows;             // of the embedding of the run
    int64_t max_position;     // max_position_embeddings, raised to sequence_len; 0: not said
    double initializer_range; // of config.json
} axl_vocabulary;

// The key that asks for a changed vocabulary; NULL when there is none.
const char *axl_vocabulary_changes(const axl_config *c);

// Whether tokenizer_config, base_model_config or model_dir holds a tokenizer.
bool axl_vocabulary_has_tokenizer(const axl_config *c, const char *model_dir);

// Loads the tokenizer that tokenizer_config, base_model_config or model_dir holds, with special_tokens, tokens,
// added_tokens_overrides and chat_template, and derives the rest.
//   first        rank 0, which warns and keeps the files
//   *tokenizer   owned by the caller; NULL when the directory has none and no key asks for one
// AXL_E_CONFIG, AXL_E_INPUT. Local.
axl_status axl_vocabulary_load(const axl_config *c, const char *model_dir, bool first,
                               axl_vocabulary *v, axl_tokenizer **tokenizer);
void axl_vocabulary_fini(axl_vocabulary *v);

// Rows of an embedding of file_rows rows for n_tokens tokens: more when there are too few, in multiples of 32 under
// resize_token_embeddings_to_32x; fewer only under shrink_embeddings.
int64_t axl_vocabulary_rows(const axl_config *c, int64_t file_rows, int64_t n_tokens);

// Puts the changed files into dir, over those that were copied from the model directory. Local; for rank 0.
axl_status axl_vocabulary_write(const axl_vocabulary *v, const char *dir);

// Writes the whole tokenizer into <output_dir>/tokenizer when added_tokens_overrides asks for it. Local; for rank 0.
axl_status axl_vocabulary_write_tokenizer(const axl_config *c, const axl_vocabulary *v,
                                          const char *model_dir);

#endif
