// Activations, alone or gating another input.
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/vmath.h"

#include <math.h>

#define BLOCK 2048

#define TANH_SCALE 0.7978845608f // sqrt(2 / pi)
#define TANH_CUBE  0.044715f

AXL_INLINE vf act_value(axl_act act, vf x)
{
    switch (act) {
    case AXL_ACT_SILU:
        return x * vf_logistic(x);
    case AXL_ACT_GELU:
        return 0.5f * x * vf_erfc(x * -0.7071067812f);
    case AXL_ACT_GELU_TANH: // (1 + tanh u) / 2 is the logistic function of 2 u
        return x * vf_logistic(2.0f * TANH_SCALE * vf_fma(TANH_CUBE * x * x, x, x));
    default: {
        vf positive = vf_max(x, vf_set(0.0f));
        return positive * positive;
    }
    }
}

AXL_INLINE vf act_grad(axl_act act, vf x)
{
    switch (act) {
    case AXL_ACT_SILU: {
        vf p = vf_logistic(x);
        return p * vf_fma(x, 1.0f - p, vf_set(1.0f));
    }
    case AXL_ACT_GELU: {
        vf density = vf_exp(-0.5f * x * x) * 0.3989422804f;
        return vf_fma(x, density, 0.5f * vf_erfc(x * -0.7071067812f));
    }
    case AXL_ACT_GELU_TANH: {
        vf p = vf_logistic(2.0f * TANH_SCALE * vf_fma(TANH_CUBE * x * x, x, x));
        vf du = 2.0f * TANH_SCALE * vf_fma(3.0f * TANH_CUBE * x, x, vf_set(1.0f));
        return vf_fma(x * p * (1.0f - p), du, p);
    }
    default:
        return 2.0f * vf_max(x, vf_set(0.0f));
    }
}

AXL_INLINE void fwd_block(const axl_glu_args *a, axl_act act, int64_t begin, int64_t end, bool bf16)
{
    for (int64_t i = begin; i < end; i += VF) {
        int64_t n = end - i < VF ? end - i : VF;
        vf y = act_value(act, vf_load_n(a->gate, i, n, bf16));
        if (a->up != NULL)
            y = vf_rounded(y, bf16) * vf_load_n(a->up, i, n, bf16);
        vf_store_n(a->out, i, y, n, bf16);
    }
}

AXL_INLINE void bwd_block(const axl_glu_bwd_args *a, axl_act act, int64_t begin, int64_t end,
                          bool bf16)
{
    for (int64_t i = begin; i < end; i += VF) {
        int64_t n = end - i < VF ? end - i : VF;
        vf x = vf_load_n(a->gate, i, n, bf16), g = vf_load_n(a->dout, i, n, bf16);
        if (a->up == NULL) {
            vf_store_n(a->dgate, i, g * act_grad(act, x), n, bf16);
            continue;
        }
        vf up = vf_load_n(a->up, i, n, bf16); // before dup, which may be up
        vf_store_n(a->dgate, i, g * up * act_grad(act, x), n, bf16);
        vf_store_n(a->dup, i, g * vf_rounded(act_value(act, x), bf16), n, bf16);
    }
}

// Calls block(a, act, begin, end, bf16) with act and bf16 as constants.
#define BY_ACT(block, bf16)                                                                        \
    do {                                                                                           \
        switch (a->act) {                                                                          \
        case AXL_ACT_SILU:                                                                         \
            block(a, AXL_ACT_SILU, begin, end, bf16);                                              \
            break;                                                                                 \
        case AXL_ACT_GELU:                                                                         \
            block(a, AXL_ACT_GELU, begin, end, bf16);                                              \
            break;                                                                                 \
        case AXL_ACT_GELU_TANH:                                                                    \
            block(a, AXL_ACT_GELU_TANH, begin, end, bf16);                                         \
            break;                                                                                 \
        default:                                                                                   \
            block(a, AXL_ACT_RELU2, begin, end, bf16);                                             \
        }                                                                                          \
    } while (0)

static void fwd_range(const axl_glu_args *a, int64_t begin, int64_t end)
{
    if (a->dtype == AXL_BF16)
        BY_ACT(fwd_block, true);
    else
        BY_ACT(fwd_block, false);
}

static void bwd_range(const axl_glu_bwd_args *a, int64_t begin, int64_t end)
{
    if (a->dtype == AXL_BF16)
        BY_ACT(bwd_block, true);
    else
        BY_ACT(bwd_block, false);
}

axl_status AXL_CPU(glu_fwd)(axl_stream *s, const axl_glu_args *a)
{
    if (a->dtype != AXL_F32 && a->dtype != AXL_BF16)
        return axl_kernels_ref.glu_fwd(s, a);
    AXL_PARALLEL_FOR(s, a->n)
    for (int64_t i = 0; i < a->n; i += BLOCK)
        fwd_range(a, i, i + BLOCK < a->n ? i + BLOCK : a->n);
    return AXL_OK;
}

axl_status AXL_CPU(glu_bwd)(axl_stream *s, const axl_glu_bwd_args *a)
{
    if (a->dtype != AXL_F32 && a->dtype != AXL_BF16)
        return axl_kernels_ref.glu_bwd(s, a);
    AXL_PARALLEL_FOR(s, a->n)
    for (int64_t i = 0; i < a->n; i += BLOCK)
        bwd_range(a, i, i + BLOCK < a->n ? i + BLOCK : a->n);
    return AXL_OK;
}
