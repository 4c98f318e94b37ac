// Rotary position embedding: the table of cos and sin, and the rotation. Su et al. 2021, arXiv:2104.09864.
#ifdef AXL_REF

static void AXL_REF(rope_table)(const axl_rope_table_args *a)
{
    for (int64_t t = 0; t < a->n_tokens; t++)
        for (int64_t i = 0; i < a->half; i++) {
            float angle = (float)a->positions[t] * a->inv_freq[i];
            a->cos[t * a->half + i] = (float)load(store(cosf(angle) * a->factor));
            a->sin[t * a->half + i] = (float)load(store(sinf(angle) * a->factor));
        }
}

static void AXL_REF(rope)(const axl_rope_args *a)
{
    const int64_t step = a->pairing == AXL_ROPE_HALF ? 1 : 2;       // from one pair to the next
    const int64_t mate = a->pairing == AXL_ROPE_HALF ? a->half : 1; // from x1 to x2
    const int64_t n_heads = a->n_heads, head_dim = a->head_dim;

    for (int64_t t = 0; t < a->n_tokens; t++)
        for (int64_t h = 0; h < n_heads; h++) {
            const elem *x = (const elem *)a->x + (t * n_heads + h) * head_dim;
            elem *out = (elem *)a->out + (t * n_heads + h) * head_dim;
            for (int64_t i = 0; i < a->half; i++) {
                real c = (real)a->cos[t * a->half + i], s = (real)a->sin[t * a->half + i];
                real x1 = load(x[i * step]), x2 = load(x[i * step + mate]);
                if (a->inverse)
                    s = -s;
                out[i * step] = store(x1 * c - x2 * s);
                out[i * step + mate] = store(x2 * c + x1 * s);
            }
            for (int64_t d = 2 * a->half; d < head_dim; d++)
                out[d] = x[d];
        }
}

#else

#include "kernels/ref/ref.h"

#define AXL_REF_FILE "kernels/ref/rope.c"
#include "kernels/ref/each_dtype.h"

axl_status axl_ref_rope_table(axl_stream *s, const axl_rope_table_args *a)
{
    AXL_REF_DISPATCH(rope_table, a->dtype);
}

axl_status axl_ref_rope(axl_stream *s, const axl_rope_args *a)
{
    AXL_REF_DISPATCH(rope, a->dtype);
}

#endif
