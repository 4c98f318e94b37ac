// Context parallelism: which rank of the axis holds which tokens of a packed micro-batch.
//
// The one idea: a token's attention work is known before anything is computed. A document of n tokens that
// is dealt out in mirrored chunks (a low and a high one a rank) costs (n + 1) / 2 pairs a token on every
// rank, however large the shares are; so dealing tokens so that each rank gets the same number and the
// same sum of (n + 1) / 2 balances both, and whole documents may stand for any share. Documents keep
// their index on all ranks: one that is absent has an empty range there. Positions of a rank's rows
// ascend within a document, with gaps where other ranks hold tokens. (The zig-zag of equal chunks is
// that of Zhu's ring-flash-attention; here shares are unequal and most documents stay whole.)
//
// All ranks compute the layout of all ranks from the same cu_seqlens, so nothing is negotiated. Local.
#ifndef AXL_COMM_CP_LAYOUT_H
#define AXL_COMM_CP_LAYOUT_H

#include "src/base/status.h"

#include <stddef.h>
#include <stdint.h>

typedef enum axl_cp_kind {
    AXL_CP_ZIGZAG,    // balanced in tokens and pairs, few documents cut
    AXL_CP_CONTIGUOUS // equal runs of the packed row: for layers that hand a state on, and for exact
                      // softmax over gathered keys; later ranks have more pairs
} axl_cp_kind;

// The layout of the micro-batch that was set last. Rank r's local rows are row_begin[r] .. row_begin[r + 1] of
// rows, by document and position; tokens per rank differ by at most 1.
typedef struct axl_cp_layout {
    axl_cp_kind kind;
    int n_ranks;
    int64_t max_tokens, n_tokens;
    int32_t max_seqs, n_seqs;
    int32_t *cu_seqlens; // [n_seqs + 1] of the whole micro-batch, copied
    int32_t *local_cu;   // [n_ranks][max_seqs + 1] cu_seqlens of each rank's local rows
    int64_t *row_begin;  // [n_ranks + 1]
    int32_t *rows;       // [n_tokens] the token of the micro-batch that each local row is
    void *scratch;       // of set
} axl_cp_layout;

// The bytes that init takes at memory, which is the caller's, AXL_ALIGN aligned, and outlives the layout.
size_t axl_cp_layout_bytes(int n_ranks, int64_t max_tokens, int32_t max_seqs);
void axl_cp_layout_init(axl_cp_layout *l, axl_cp_kind kind, int n_ranks, int64_t max_tokens,
                        int32_t max_seqs, void *memory);

// Lays out a micro-batch. cu_seqlens [n_seqs + 1] is copied. Deterministic, takes no memory, O(T log T +
// ranks * n_seqs). AXL_E_BUG when it exceeds the capacities or is not ascending from 0.
axl_status axl_cp_layout_set(axl_cp_layout *l, const int32_t *cu_seqlens, int32_t n_seqs);

// Of rank r: its cu_seqlens [n_seqs + 1]; the tokens of its rows; how many. Borrowed until the next set.
const int32_t *axl_cp_local_cu(const axl_cp_layout *l, int r);
const int32_t *axl_cp_rows(const axl_cp_layout *l, int r);
int64_t axl_cp_n_rows(const axl_cp_layout *l, int r);

// positions [n_rows] of rank r's rows in their documents.
void axl_cp_positions(const axl_cp_layout *l, int r, int32_t *positions);

// (query, key) pairs of rank r's queries under a causal mask; window 0: none.
int64_t axl_cp_pairs(const axl_cp_layout *l, int r, int32_t window);

// Which rows of rank src rank dst needs as keys: those that one of its queries sees (same document,
// causal, within the window if window > 0). Returns how many; rows (may be NULL) gets them as local rows
// of src, ascending, and cu [n_seqs + 1] (may be NULL) where each document's begin in that list.
int64_t axl_cp_needed(const axl_cp_layout *l, int src, int dst, int32_t window, int32_t *rows,
                      int32_t *cu);

// The most rows any rank may hold of n_tokens.
int64_t axl_cp_most_rows(int64_t n_tokens, int n_ranks);

#endif
