// AdamW. What is the same for all elements is made in f64, the update of an element in f32.
#include "kernels/ref/ref.h"

axl_status axl_ref_adamw(axl_stream *s, const axl_adamw_args *a)
{
    const float keep = (float)(1.0 - a->lr * a->weight_decay);
    const float rate = (float)(a->lr / (1.0 - pow(a->beta1, (double)a->t)));
    const float root = (float)(1.0 / sqrt(1.0 - pow(a->beta2, (double)a->t)));
    const float b1 = (float)a->beta1, c1 = (float)(1.0 - a->beta1);
    const float b2 = (float)a->beta2, c2 = (float)(1.0 - a->beta2);

    (void)s;
    for (int64_t i = 0; i < a->n; i++) {
        float g = a->g[i] * (float)a->grad_scale;
        a->m[i] = b1 * a->m[i] + c1 * g;
        a->v[i] = b2 * a->v[i] + c2 * g * g;
        a->p[i] = a->p[i] * keep - rate * a->m[i] / (sqrtf(a->v[i]) * root + (float)a->eps);
    }
    return AXL_OK;
}
