// What the attention references share: a row, and what it sees.
#ifndef AXL_KERNELS_REF_ATTENTION_ROWS_H
#define AXL_KERNELS_REF_ATTENTION_ROWS_H

#include "kernels/ref/ref.h"

// One query row of one head.
typedef struct query {
    int64_t seq, t; // t: its row among all queries
    int64_t head, head_kv;
} query;

// Whether the query in row t of all queries sees the key in row j of all keys; both are of sequence seq.
static inline bool sees(const axl_attn_args *a, int64_t seq, int64_t t, int64_t j)
{
    int64_t pos_q = t - a->cu_seqlens_q[seq] + (a->pos_q != NULL ? a->pos_q[seq] : 0);
    int64_t pos_k = j - a->cu_seqlens_k[seq] + (a->pos_k != NULL ? a->pos_k[seq] : 0);

    if (a->positions_q != NULL)
        pos_q = a->positions_q[t];
    if (a->positions_k != NULL)
        pos_k = a->positions_k[j];

    if (a->mask != AXL_MASK_FULL && pos_k > pos_q &&
        (a->mask == AXL_MASK_CAUSAL || pos_k >= a->prefix[seq]))
        return false;
    return a->window <= 0 || pos_q - pos_k < a->window;
}

// AXL_E_UNSUPPORTED when a head is wider than the local sums.
axl_status axl_ref_attn_width(const axl_attn_args *a);

#endif
