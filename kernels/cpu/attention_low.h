// How the tiles of attention are rounded before their products, in the forwards that are not exact: fp16, 8-bit
// integers for q . k, e4m3 (kernels/attention.h). Tiles hold the rounded numbers times their scales, as floats, so
// that the loops over them are those of the exact forward.
#ifndef AXL_KERNELS_CPU_ATTENTION_LOW_H
#define AXL_KERNELS_CPU_ATTENTION_LOW_H

#include "kernels/cpu/attention_tile.h"

typedef enum attn_form { ATTN_EXACT, ATTN_HALF, ATTN_SAGE, ATTN_FP8 } attn_form;

// The scales of a call, in the workspace. A block of a sequence has place cu / size + seq + block, which leaves room
// for the rest of each sequence.
typedef struct attn_low {
    attn_form form;
    bool bf16;      // of the dtype: probabilities are rounded, too
    float *mean;    // SAGE: [n_seqs][n_kv_heads][dp]
    float *scale_q; // SAGE: [blocks][n_heads]; FP8: [n_seqs]
    float *scale_k; // SAGE: [blocks][n_kv_heads]; FP8: [n_seqs]
    float *scale_v; // FP8: [n_seqs]
} attn_low;

// Makes the scales in room, n floats of it. AXL_E_UNSUPPORTED when they do not fit, or for a softcap of SAGE.
axl_status AXL_CPU(attn_low_init)(axl_stream *s, const axl_attn_args *a, const attn_dims *m,
                                  attn_form form, float *room, int64_t n, attn_low *out);

// Gathers the queries of a block, rounded, times scale: [ATTN_ROWS][dp].
void AXL_CPU(attn_low_q)(const attn_low *low, const axl_attn_args *a, const attn_dims *m,
                         const attn_rows *r, float scale, float *dst);

// Rounds a tile of keys and values, n rows from key0 of the sequence, into k_room and v_room.
void AXL_CPU(attn_low_tiles)(const attn_low *low, const axl_attn_args *a, const attn_dims *m,
                             const attn_rows *r, int64_t key0, int64_t n, float *k_room,
                             float *v_room, attn_tile *k, attn_tile *v);

// Rounds n probabilities, a multiple of VF, in place.
void AXL_CPU(attn_low_p)(const attn_low *low, float *p, int64_t n);

// What the lse of row i lacks because the mean was taken from the keys.
float AXL_CPU(attn_low_shift)(const attn_low *low, const axl_attn_args *a, const attn_dims *m,
                              const attn_rows *r, int64_t i);

#endif
