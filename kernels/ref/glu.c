// Activations, alone or gating another input.
#ifdef AXL_REF

static real AXL_REF(act)(axl_act act, real x)
{
    switch (act) {
    case AXL_ACT_SILU:
        return x / (1 + R(exp)(-x));
    case AXL_ACT_GELU:
        return x * (real)0.5 * (1 + R(erf)(x * (real)M_SQRT1_2));
    case AXL_ACT_GELU_TANH: {
        real u = (real)(M_2_SQRTPI * M_SQRT1_2) * (x + (real)0.044715 * x * x * x);
        return (real)0.5 * x * (1 + R(tanh)(u));
    }
    default:
        return x > 0 ? x * x : (real)0;
    }
}

static real AXL_REF(act_grad)(axl_act act, real x)
{
    switch (act) {
    case AXL_ACT_SILU: {
        real s = 1 / (1 + R(exp)(-x));
        return s * (1 + x * (1 - s));
    }
    case AXL_ACT_GELU: {
        real density = R(exp)(-(real)0.5 * x * x) * (real)(0.5 * M_2_SQRTPI * M_SQRT1_2);
        return (real)0.5 * (1 + R(erf)(x * (real)M_SQRT1_2)) + x * density;
    }
    case AXL_ACT_GELU_TANH: {
        const real k = (real)(M_2_SQRTPI * M_SQRT1_2);
        real t = R(tanh)(k * (x + (real)0.044715 * x * x * x));
        real du = k * (1 + 3 * (real)0.044715 * x * x);
        return (real)0.5 * (1 + t) + (real)0.5 * x * (1 - t * t) * du;
    }
    default:
        return x > 0 ? 2 * x : (real)0;
    }
}

static void AXL_REF(glu_fwd)(const axl_glu_args *a)
{
    const elem *gate = a->gate, *up = a->up;
    elem *out = a->out;

    for (int64_t i = 0; i < a->n; i++) {
        elem y = store(AXL_REF(act)(a->act, load(gate[i])));
        out[i] = up == NULL ? y : store(load(y) * load(up[i]));
    }
}

static void AXL_REF(glu_bwd)(const axl_glu_bwd_args *a)
{
    const elem *gate = a->gate, *up = a->up, *dout = a->dout;
    elem *dgate = a->dgate, *dup = a->dup;

    for (int64_t i = 0; i < a->n; i++) {
        real x = load(gate[i]), g = load(dout[i]), u = up != NULL ? load(up[i]) : 1;
        dgate[i] = store(g * u * AXL_REF(act_grad)(a->act, x));
        if (up != NULL)
            dup[i] = store(g * load(store(AXL_REF(act)(a->act, x))));
    }
}

#else

#include "kernels/ref/ref.h"

#define AXL_REF_FILE "kernels/ref/glu.c"
#include "kernels/ref/each_dtype.h"

axl_status axl_ref_glu_fwd(axl_stream *s, const axl_glu_args *a)
{
    AXL_REF_DISPATCH(glu_fwd, a->dtype);
}

axl_status axl_ref_glu_bwd(axl_stream *s, const axl_glu_bwd_args *a)
{
    AXL_REF_DISPATCH(glu_bwd, a->dtype);
}

#endif
