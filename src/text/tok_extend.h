// A tokenizer with a changed vocabulary: special tokens, further tokens, renamed tokens, another chat template.
//
// The one idea: the files are changed, then the changed text is loaded. So what a run encodes with is what it saves,
// and ids are those that `transformers` gives (add_special_tokens, add_tokens): a token that the model's vocabulary
// holds keeps its id, any other gets the first id behind the largest one.
#ifndef AXL_TEXT_TOK_EXTEND_H
#define AXL_TEXT_TOK_EXTEND_H

#include "src/text/tokenizer.h"

typedef struct axl_tok_override {
    int64_t id;
    const char *text; // borrowed
} axl_tok_override;

// What is asked for. All pointers are borrowed; a change with load.legacy -1 and zeros asks for nothing beyond the
// steps that always run.
typedef struct axl_tok_change {
    axl_tokenizer_options load;        // as for axl_tokenizer_load_with
    const char *bos, *eos, *pad, *unk; // named special tokens; NULL: as they are
    const char *const *tokens;         // [n_tokens] added, not special
    size_t n_tokens;
    const char *const *additional; // [n_additional] added, special
    size_t n_additional;
    const axl_tok_override *overrides; // [n_overrides] new texts of added tokens
    size_t n_overrides;
    const char *chat_template; // text of the template to install; NULL: as it is
    bool template_if_none;     // install it only when there is none
    bool template_in_config;   // in tokenizer_config.json instead of chat_template.jinja
    bool move_template;        // the template of the directory too, wherever it stands
    bool pad_left;             // padding_side: left
    bool quiet;                // no warnings: another rank gives them
    const char *default_class; // tokenizer class when the files name none; may be NULL
} axl_tok_change;

// A file of the changed tokenizer that differs from that of the directory.
typedef struct axl_tok_file {
    char *name;   // owned
    axl_str text; // owned
    bool absent;  // it is not there any more
} axl_tok_file;

typedef struct axl_tok_files {
    axl_tok_file *at; // [n], owned
    size_t n, capacity;
} axl_tok_files;

void axl_tok_files_fini(axl_tok_files *f);
// The file of that name; NULL when it does not differ. Borrowed.
const axl_tok_file *axl_tok_files_find(const axl_tok_files *f, const char *name);
// Adds or replaces a file; text is taken over. absent when text is NULL.
axl_status axl_tok_files_put(axl_tok_files *f, const char *name, axl_str *text);

// Loads the tokenizer of dir with the change made, in this order: overrides; </s> as the pad token of a Llama
// tokenizer without one; [PAD] for GPT-NeoX; named special tokens; tokens; additional special tokens; the EOS
// token as pad token when there is still none (a warning); the chat template.
//   files   what is to be saved instead of the files of dir; release with axl_tok_files_fini, on failure too
// AXL_E_CONFIG when an override names an id that is no added token or a text that another token has, or a token is
// empty; else as axl_tokenizer_load. A directory without tokenizer.json gets its added tokens in
// tokenizer_config.json (added_tokens_decoder), where transformers reads them too.
axl_status axl_tokenizer_load_changed(const char *dir, const axl_tok_change *change,
                                      axl_tok_files *files, axl_tokenizer **out);

#endif
