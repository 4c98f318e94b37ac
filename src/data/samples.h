// Tokenized samples in memory: flat arrays that grow, one sample after another.
//
// labels here are as in the data (labels[t] belongs to input_ids[t]); the loader shifts them.
#ifndef AXL_DATA_SAMPLES_H
#define AXL_DATA_SAMPLES_H

#include "src/data/batch.h"

#include "src/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// What a sample is to the method that trains on it.
typedef enum axl_sample_role {
    AXL_SAMPLE_PLAIN,
    AXL_SAMPLE_PAIR,        // two documents: the chosen one, then the rejected one
    AXL_SAMPLE_DESIRABLE,   // kto: label true
    AXL_SAMPLE_UNDESIRABLE, // kto: label false
    AXL_SAMPLE_RANKED,      // two documents as of a pair, scored whole: none of their labels is set
    AXL_SAMPLE_STEPS        // labels are classes (0, 1) of the tokens they stand at; never shifted
} axl_sample_role;

// A sample is what is dropped, shuffled and packed as one: a document, or the two of a pair.
typedef struct axl_sample_info {
    int64_t end;     // its tokens are [end of the one before, end)
    int64_t line;    // of its record in the file, from 1
    int32_t file;    // index of the file
    int32_t trained; // targets: labels after the first of each document that are not AXL_IGNORE
    int32_t second;  // where its second document begins, from its first token; 0: there is none
    int32_t role;    // axl_sample_role
} axl_sample_info;

// {0} is empty; memory is kept by clear.
typedef struct axl_samples {
    int32_t *ids,
        *labels; // [n_tokens], owned; tokens behind the last sample's end belong to an open one
    axl_sample_info *info; // [n], owned
    int64_t n_tokens, n;
    size_t ids_capacity, labels_capacity, info_capacity;
} axl_samples;

void axl_samples_fini(axl_samples *s);
void axl_samples_clear(axl_samples *s);

// Appends n tokens to the open sample. labels NULL: trained ? the ids themselves : all AXL_IGNORE.
axl_status axl_samples_put(axl_samples *s, const int32_t *ids, const int32_t *labels, int64_t n,
                           bool trained);

// Tokens of the open sample so far, and its first token's index.
int64_t axl_samples_open_length(const axl_samples *s);
int64_t axl_samples_open_begin(const axl_samples *s);

// Ends the open sample (also an empty one) at the given place, or throws its tokens away.
axl_status axl_samples_end(axl_samples *s, int32_t file, int64_t line);
// The same for a sample of another role; second as in axl_sample_info.
axl_status axl_samples_end_as(axl_samples *s, axl_sample_role role, int64_t second, int32_t file,
                              int64_t line);
void axl_samples_drop_open(axl_samples *s);

static inline int64_t axl_samples_begin(const axl_samples *s, int64_t i)
{
    return i == 0 ? 0 : s->info[i - 1].end;
}

static inline int64_t axl_samples_length(const axl_samples *s, int64_t i)
{
    return s->info[i].end - axl_samples_begin(s, i);
}

#endif
