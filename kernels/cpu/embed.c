// Rows of a table by id, and their gradient.
#include "kernels/cpu/parallel.h"

#include <string.h>

AXL_INLINE void embed_row(const axl_embed_args *a, int64_t t, bool bf16)
{
    const size_t size = bf16 ? 2 : 4;
    const int64_t row = a->ids[t] - a->row0;
    uint8_t *out = (uint8_t *)a->out + (size_t)(t * a->cols) * size;

    if (row < 0 || row >= a->n_rows) {
        memset(out, 0, (size_t)a->cols * size);
        return;
    }
    const uint8_t *from = (const uint8_t *)a->table + (size_t)(row * a->cols) * size;
    int64_t c = 0;
    for (; c + VF <= a->cols; c += VF)
        vf_store(out, c, a->scale * vf_load(from, c, bf16), bf16);
    if (c < a->cols)
        vf_store_n(out, c, a->scale * vf_load_n(from, c, a->cols - c, bf16), a->cols - c, bf16);
}

axl_status AXL_CPU(embed_fwd)(axl_stream *s, const axl_embed_args *a)
{
    if (a->dtype != AXL_F32 && a->dtype != AXL_BF16)
        return axl_kernels_ref.embed_fwd(s, a);
    AXL_PARALLEL_FOR(s, a->n_tokens * a->cols)
    for (int64_t t = 0; t < a->n_tokens; t++) {
        if (a->dtype == AXL_BF16)
            embed_row(a, t, true);
        else
            embed_row(a, t, false);
    }
    return AXL_OK;
}

// Adds columns c0 .. c1 of every token in order: threads share columns, so no two touch one element.
AXL_INLINE void embed_bwd_columns(const axl_embed_bwd_args *a, int64_t c0, int64_t c1, bool bf16)
{
    for (int64_t t = 0; t < a->n_tokens; t++) {
        const int64_t row = a->ids[t] - a->row0;
        if (row < 0 || row >= a->n_rows)
            continue;
        float *to = (float *)a->dtable + row * a->cols;
        for (int64_t c = c0; c < c1; c += VF) {
            int64_t n = c1 - c < VF ? c1 - c : VF;
            vf d = vf_load_n(a->dout, t * a->cols + c, n, bf16);
            vf_store_n(to, c, vf_fma(vf_set(a->scale), d, vf_load_n(to, c, n, false)), n, false);
        }
    }
}

axl_status AXL_CPU(embed_bwd)(axl_stream *s, const axl_embed_bwd_args *a)
{
    const int64_t width = 64; // columns: a few cache lines

    if (a->dtype != AXL_F32 && a->dtype != AXL_BF16)
        return axl_kernels_ref.embed_bwd(s, a);
    AXL_PARALLEL_FOR(s, a->n_tokens * a->cols)
    for (int64_t c = 0; c < a->cols; c += width) {
        int64_t end = c + width < a->cols ? c + width : a->cols;
        if (a->dtype == AXL_BF16)
            embed_bwd_columns(a, c, end, true);
        else
            embed_bwd_columns(a, c, end, false);
    }
    return AXL_OK;
}
