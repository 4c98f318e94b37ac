// AdamW: one pass over parameters, gradients and both moments.
#include "kernels/cpu/parallel.h"

#include <math.h>

#define BLOCK 4096 // elements a thread takes at a time

// What all elements share; made in f64, used in f32, as in ref.
typedef struct adamw_step {
    float keep, rate, root, b1, c1, b2, c2, eps, grad_scale;
} adamw_step;

AXL_INLINE void adamw_vector(const axl_adamw_args *a, const adamw_step *k, int64_t i, int64_t n)
{
    vf g = vf_load_n(a->g, i, n, false) * k->grad_scale;
    vf m = vf_fma(vf_set(k->c1), g, vf_load_n(a->m, i, n, false) * k->b1);
    vf v = vf_fma(k->c2 * g, g, vf_load_n(a->v, i, n, false) * k->b2);
    vf step = k->rate * m / vf_fma(vf_sqrt(v), vf_set(k->root), vf_set(k->eps));
    vf p = vf_load_n(a->p, i, n, false) * k->keep - step;
    vf_store_n(a->m, i, m, n, false);
    vf_store_n(a->v, i, v, n, false);
    vf_store_n(a->p, i, p, n, false);
}

axl_status AXL_CPU(adamw)(axl_stream *s, const axl_adamw_args *a)
{
    const adamw_step k = {
        .keep = (float)(1.0 - a->lr * a->weight_decay),
        .rate = (float)(a->lr / (1.0 - pow(a->beta1, (double)a->t))),
        .root = (float)(1.0 / sqrt(1.0 - pow(a->beta2, (double)a->t))),
        .b1 = (float)a->beta1,
        .c1 = (float)(1.0 - a->beta1),
        .b2 = (float)a->beta2,
        .c2 = (float)(1.0 - a->beta2),
        .eps = (float)a->eps,
        .grad_scale = (float)a->grad_scale,
    };

    AXL_PARALLEL_FOR(s, a->n)
    for (int64_t begin = 0; begin < a->n; begin += BLOCK) {
        int64_t end = begin + BLOCK < a->n ? begin + BLOCK : a->n, i = begin;
        for (; i + VF <= end; i += VF)
            adamw_vector(a, &k, i, VF);
        if (i < end)
            adamw_vector(a, &k, i, end - i);
    }
    return AXL_OK;
}
