// One micro-batch: documents packed end to end. There is no [B, S] layout and no padding anywhere.
//
// labels are already shifted: labels[t] is what the model should say at position t, so nobody shifts
// again, and a batch may be cut between any two tokens (context parallelism) without losing a target.
// The last token of a document has no target: no document is trained to predict the next one's start.
#ifndef AXL_DATA_BATCH_H
#define AXL_DATA_BATCH_H

#include <stdint.h>

struct axl_cp_layout; // comm/cp_layout.h

#define AXL_IGNORE (-100) // a position without loss

// What a document is to the method; seq_role of a batch.
typedef enum axl_seq_role {
    AXL_SEQ_PLAIN,
    AXL_SEQ_CHOSEN, // of a pair; the rejected one is the next document
    AXL_SEQ_REJECTED,
    AXL_SEQ_DESIRABLE, // kto
    AXL_SEQ_UNDESIRABLE,
    AXL_SEQ_STEPS // its labels are classes of the tokens they stand at: not shifted
} axl_seq_role;

// Under context parallelism a batch holds this rank's tokens of the micro-batch that its cp group shares: documents
// keep their index, and may be empty here.
typedef struct axl_batch {
    int32_t n_tokens;            // T; 0 for a rank that has no share in the tail of an epoch
    int32_t n_seqs;              // documents
    int32_t max_seqlen;          // most tokens of a document, here
    const int32_t *input_ids;    // [T]
    const int32_t *labels;       // [T] shifted; AXL_IGNORE: no loss
    const int32_t *position_ids; // [T] ascending in each document; from 0 unless it is split
    const int32_t *cu_seqlens;   // [n_seqs + 1] where each document starts; the last is T
    const float *weight;         // [T] weight of the loss at t; 0 where labels is AXL_IGNORE
    const int32_t *seq_role;     // [n_seqs] axl_seq_role, group id; NULL when the method has none
    const int64_t *seq_sample;   // [n_seqs] index of the document in the prepared set; for messages
    const struct axl_cp_layout *cp; // who holds which tokens; NULL: this rank holds all
} axl_batch;

#endif
