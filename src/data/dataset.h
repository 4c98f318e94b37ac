// What a data set entry of the YAML and the data keys beside it mean, as plain structs.
//
// src/train fills them from the config; everything below src/data reads only these. Strings are
// borrowed and must outlive the call they are given to.
#ifndef AXL_DATA_DATASET_H
#define AXL_DATA_DATASET_H

#include "src/io/json.h"

#include <stdbool.h>
#include <stdint.h>

// The map form of `type`: a prompt format of the user's own (datasets.md 4.3). NULL: its default.
typedef struct axl_user_format {
    const char *system_prompt;     // ""
    const char *field_system;      // system
    const char *field_instruction; // instruction
    const char *field_input;       // input
    const char *field_output;      // output
    const char *format;            // "{instruction} {input} "
    const char *no_input_format;   // "{instruction} "
    const char *system_format;     // "{system}"
    // preference data; field_system as above
    const char *field_prompt;      // prompt
    const char *field_chosen;      // chosen
    const char *field_rejected;    // rejected
    const char *field_completion;  // completion
    const char *field_label;       // label
    const char *prompt_format;     // "{prompt}"; {system} too
    const char *chosen_format;     // "{chosen}"
    const char *rejected_format;   // "{rejected}"
    const char *completion_format; // "{completion}"
} axl_user_format;

typedef struct axl_dataset_spec {
    const char *path;              // file, folder, pattern, or org/name in the mirror of the hub
    const char *const *data_files; // [n_data_files] files instead of what path holds; NULL: none
    int n_data_files;
    const char *const *names; // [n_names] configurations of the data set: folders in it
    int n_names;
    const char *ds_type;        // json, text, csv, parquet, arrow; NULL: by the name of the file
    const char *split;          // "train[:500]"; NULL: the usual one of the list
    bool is_test;               // the entry is of test_datasets: its usual split is test, not train
    const char *revision;       // of a data set of the hub; NULL: main
    const char *hub_folder;     // mirror of the hub; NULL: .cache/huggingface in the home directory
    int64_t shards, shards_idx; // keep one of so many parts; 0: all
    uint64_t shard_seed;        // of the permutation the parts are cut from
    const char *type;           // "alpaca:chat"; NULL: already tokenized, or user_format
    const axl_user_format *user_format; // NULL unless `type` is a map
    const char *field;                  // completion: the column; NULL: text
    int64_t skip;                       // first records that a stream leaves out
    const char *conversation;           // alpaca_chat: the style; NULL: chat
    const char *place;                  // "run.yaml:12": where the entry stands, for messages
    const char
        *chat_key; // text of all that decides the chat template and its masks, and of the keys
                   // below; NULL: none
    const struct axl_chat_encoder
        *chat; // types with a chat template: its encoder (src/text/chat.h)
    const struct axl_chat_options *chat_options; // with chat: as the entry gives them

    const char *rl;                // dpo, kto, ...: which types there are; NULL: those of sft
    const char *field_messages;    // NULL: messages
    const char *field_training;    // messages: key of a turn; NULL: train, weight
    const char *field_chosen;      // NULL: chosen
    const char *field_rejected;    // NULL: rejected
    const char *chat_template;     // messages: chatml, llama3; NULL: chatml
    const char *step_separator;    // stepwise_supervised; NULL: a newline
    int64_t max_completion_length; // stepwise_supervised: tokens; 0: no limit
    bool train_on_last_step_only;  // stepwise_supervised
    int64_t min_input_id;          // _synthetic: the smallest id
    int64_t max_input_id;          // _synthetic: one more than the largest; 0: the vocabulary
    int64_t synthetic_length;      // _synthetic: tokens of a sample; 0: sequence_len
    uint64_t synthetic_seed;       // _synthetic
} axl_dataset_spec;

// What to do with a row longer than sequence_len.
typedef enum axl_excess { AXL_EXCESS_DROP, AXL_EXCESS_TRUNCATE, AXL_EXCESS_RAISE } axl_excess;

typedef struct axl_data_options {
    int64_t sequence_len;   // tokens; the longest row
    int64_t min_sample_len; // tokens; shorter rows are dropped; at least 1
    int64_t vocab_size;     // ids of the model; 0: not known, not checked
    axl_excess excess;      // excess_length_strategy
    bool train_on_inputs;
    bool drop_untrained;       // drop rows without a target (when packing)
    bool deduplicate;          // dataset_exact_deduplication
    bool skip_bad_rows;        // count malformed rows instead of stopping at the first
    int n_threads;             // 0: as many as this process has processors
    int64_t memory_limit;      // bytes that preparing may take, whatever the data; 0: 1 GiB
    const char *prepared_path; // folder of prepared sets; NULL: last_run_prepared
} axl_data_options;

#endif
