// attn_fwd and attn_bwd by cuDNN's fused attention (flash_attention_3 on sm_90 and later).
#ifndef AXL_KERNELS_CUDA_ATTENTION_CUDNN_H
#define AXL_KERNELS_CUDA_ATTENTION_CUDNN_H

#include "kernels/cuda/cuda_backend.h"

// *done: the call was taken; false leaves it to this program's own kernels. Whether it is depends on the shape, the
// chip and the library alone. Of sums in a result no order varies. AXL_E_DEVICE, AXL_E_MEMORY (once a larger shape
// needs more room for sums of heads).
axl_status axl_cuda_attn_cudnn_fwd(axl_stream *s, const axl_attn_args *a, bool *done);
axl_status axl_cuda_attn_cudnn_bwd(axl_stream *s, const axl_attn_bwd_args *b, bool *done);

// Its small kernels (attention_packed.cu) ----------------------------------------------------------

#define AXL_ATTN_LAYOUTS 5 // q, k, v, out, statistics

// Where the sequences lie, as the library wants it: device arrays to be written.
typedef struct axl_attn_places {
    int32_t *len;                  // [bound] of each sequence, 0 beyond n_seqs
    int32_t *at[AXL_ATTN_LAYOUTS]; // [bound + 1] elements before each
    int32_t ld[AXL_ATTN_LAYOUTS];  // elements between tokens
} axl_attn_places;

axl_status axl_cuda_attn_place(axl_stream *s, const int32_t *cu_seqlens, int32_t n_seqs,
                               int32_t bound, const axl_attn_places *p);

// Statistics of T = cu_seqlens[n_seqs] <= most_rows tokens: [T, n_heads] to [n_heads, T], or (to_tokens) back.
axl_status axl_cuda_attn_turn(axl_stream *s, const int32_t *cu_seqlens, int32_t n_seqs,
                              int64_t most_rows, int32_t n_heads, bool to_tokens, const float *from,
                              float *to);

#endif
