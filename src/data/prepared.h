// A prepared data set on disk: tokenized samples as flat arrays in one file that every rank maps.
//
// The file is named by the hash of all that decides its contents, so a changed file, tokenizer, template or
// key gives another file and there are no stale hits. It is written to a temporary name and renamed: it
// exists whole or not at all. The order is that of the data; shuffling is the loader's business.
#ifndef AXL_DATA_PREPARED_H
#define AXL_DATA_PREPARED_H

#include "src/data/dataset.h"
#include "src/data/samples.h"
#include "src/io/file.h"

// What became of the rows.
typedef struct axl_prepare_counts {
    int64_t rows;       // records read
    int64_t bad;        // malformed, skipped
    int64_t too_short;  // samples below min_sample_len
    int64_t too_long;   // dropped, above sequence_len
    int64_t truncated;  // cut to sequence_len
    int64_t untrained;  // dropped, without a target
    int64_t duplicates; // dropped
    int64_t lost_turns; // turns that should be trained, but whose tokens were not found in the text
} axl_prepare_counts;

// a += b
void axl_prepare_counts_add(axl_prepare_counts *a, const axl_prepare_counts *b);

typedef struct axl_prepared_file {
    const char *path; // as the entry names it; borrowed
    int32_t entry;    // index of the entry of the YAML
} axl_prepared_file;

typedef struct axl_prepared {
    int64_t n, n_tokens, n_trained; // samples, tokens, targets
    int64_t max_length;             // tokens of the longest sample
    const axl_sample_info *info;    // [n]
    const int32_t *ids, *labels;    // [n_tokens] labels as in the data, not shifted
    axl_prepared_file *files;       // [n_files], owned
    int64_t n_files;
    const axl_prepare_counts *entries; // [n_entries] of each entry of the YAML
    int64_t n_entries;
    axl_prepare_counts counts; // of all of them
    uint64_t key;
    char *path;          // owned
    axl_mapping mapping; // owned; everything above points into it
} axl_prepared;

// <prepared_path or last_run_prepared>/<key in hex>.axl
axl_status axl_prepared_path(const axl_data_options *options, uint64_t key, axl_str *out);

// Maps the file. AXL_E_INPUT when it is missing, has another key, is cut short or (verify) its checksum is
// wrong. One rank verifies; the others may save the time.
axl_status axl_prepared_open(const char *path, uint64_t key, bool verify, axl_prepared **out);
void axl_prepared_close(axl_prepared *p); // NULL-safe

// Lets the memory of samples [from, to) go; they are read again from the file when they are asked for. For those
// who walk over the whole set.
void axl_prepared_release(const axl_prepared *p, int64_t from, int64_t to);

static inline int64_t axl_prepared_begin(const axl_prepared *p, int64_t i)
{
    return i == 0 ? 0 : p->info[i - 1].end;
}

static inline int64_t axl_prepared_length(const axl_prepared *p, int64_t i)
{
    return p->info[i].end - axl_prepared_begin(p, i);
}

#endif
