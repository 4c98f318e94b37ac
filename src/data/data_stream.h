// The bins of a stream: records are read and tokenized while the run trains, a chunk at a time.
//
// A chunk is the next buffer_rows records. Its samples are shuffled among themselves and packed like a group of a plan
// (plan.h); bins are made chunk by chunk, steps run across chunks. When the data are over they begin anew, in another
// order inside the chunks. A thread prepares one chunk ahead. Memory is that of two chunks, and of those that the
// present step lies in.
//
// Every rank reads and tokenizes the whole stream, which needs no communication and gives all of them the same bins.
// A place is the beginning of a chunk in the files and a bin of the chunk: going there reads, but never tokenizes, what
// lies before; files with a record a line, not compressed, are not even read.
#ifndef AXL_DATA_DATA_STREAM_H
#define AXL_DATA_DATA_STREAM_H

#include "src/data/plan.h"
#include "src/text/tokenizer.h"

typedef struct axl_data_stream_options {
    axl_plan_options plan; // group_size is not looked at; shuffle: inside the chunks
    int64_t buffer_rows;   // records of a chunk: streaming_multipack_buffer_size
    bool joined;           // the samples of a bin are one document: pretrain_multipack_attn: false
    bool concatenate; // not packing: samples, EOS and PAD behind each, fill rows of sequence_len
} axl_data_stream_options;

// The feed of the entries. Specs and data, and what they point to, are borrowed. Lists the files; reads nothing yet.
// AXL_E_CONFIG when an entry takes a part of its rows, which a stream cannot count.
axl_status axl_data_stream_create(const axl_dataset_spec *specs, int n_specs,
                                  const axl_data_options *data, const axl_tokenizer *tokenizer,
                                  const axl_data_stream_options *options, axl_feed **out);

// The samples of the first chunk, in the order of the data. The feed's place is the start then. Borrowed until the
// feed is used.
axl_status axl_data_stream_first(axl_feed *feed, const axl_prepared **out);

#endif
