// Prepared samples for people and tools: JSON lines, coloured tokens, and one sample token by token.
#ifndef AXL_DATA_DUMP_H
#define AXL_DATA_DUMP_H

#include "src/data/dataset.h"
#include "src/data/feed.h"
#include "src/text/tokenizer.h"

// Where the set came from, to read its records again: the texts of preference data are not kept with the tokens.
typedef struct axl_dump_source {
    const axl_dataset_spec *specs; // [n_specs]
    int n_specs;
    const axl_data_options *options;
    const axl_tokenizer *tokenizer;
} axl_dump_source;

// Appends one line: {"input_ids": [...], "labels": [...], "length": n, "source": "file:line"}; other columns for
// pairs (as tokens alone) and ranked pairs.
axl_status axl_dump_sample(const axl_prepared *set, int64_t sample, axl_str *out);

// Writes a line a sample, in the order of the data; path "-" is standard output. Pairs and kto completions come with
// their texts, prompt, chosen and rejected or prompt, completion and label, when `from` is given; its records must be
// those the set was made of. AXL_E_IO, AXL_E_INPUT.
axl_status axl_dump_all(const axl_prepared *set, const axl_dump_source *from, const char *path);

// Appends the sample as text, trained tokens in green, masked ones in red (colour; line ends are made visible), or as
// text(label, id) as Axolotl prints it. tokenizer NULL: ids only.
axl_status axl_debug_sample(const axl_prepared *set, int64_t sample, const axl_tokenizer *tokenizer,
                            bool colour, axl_str *out);

// Where a sample stands in the first epoch (of a stream: among the first records read); bin -1: it is not trained on.
typedef struct axl_sample_place {
    int64_t bin;      // in the global order
    int64_t document; // in the bin
    int64_t offset;   // of its first token in the bin
} axl_sample_place;

// Looks for it from the start; the feed's place is behind it then. Fails as axl_feed_next does.
axl_status axl_feed_find(axl_feed *feed, int64_t sample, axl_sample_place *out);

// Appends the sample token by token: id, text, label, weight, position, document, bin. json: an object with a
// list of tokens; else a table. The label is that of the token itself: 1 step later than the loader's.
axl_status axl_explain_sample(const axl_prepared *set, int64_t sample,
                              const axl_tokenizer *tokenizer, const axl_sample_place *place,
                              bool json, axl_str *out);

#endif
