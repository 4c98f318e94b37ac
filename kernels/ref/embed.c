// Rows of a table by id, and their gradient.
#ifdef AXL_REF

static void AXL_REF(embed_fwd)(const axl_embed_args *a)
{
    for (int64_t t = 0; t < a->n_tokens; t++) {
        const int64_t row = a->ids[t] - a->row0;
        const bool here = row >= 0 && row < a->n_rows;
        const elem *from = (const elem *)a->table + (here ? row : 0) * a->cols;
        elem *out = (elem *)a->out + t * a->cols;
        for (int64_t c = 0; c < a->cols; c++)
            out[c] = here ? store((real)a->scale * load(from[c])) : store((real)0);
    }
}

static void AXL_REF(embed_bwd)(const axl_embed_bwd_args *a)
{
    for (int64_t t = 0; t < a->n_tokens; t++) {
        const int64_t row = a->ids[t] - a->row0;
        const elem *dout = (const elem *)a->dout + t * a->cols;
        if (row < 0 || row >= a->n_rows)
            continue;
        real *dtable = (real *)a->dtable + row * a->cols;
        for (int64_t c = 0; c < a->cols; c++)
            dtable[c] += (real)a->scale * load(dout[c]);
    }
}

#else

#include "kernels/ref/ref.h"

#define AXL_REF_FILE "kernels/ref/embed.c"
#include "kernels/ref/each_dtype.h"

axl_status axl_ref_embed_fwd(axl_stream *s, const axl_embed_args *a)
{
    AXL_REF_DISPATCH(embed_fwd, a->dtype);
}

axl_status axl_ref_embed_bwd(axl_stream *s, const axl_embed_bwd_args *a)
{
    AXL_REF_DISPATCH(embed_bwd, a->dtype);
}

#endif
