// exp, tanh, the logistic function and erfc for vectors of floats, each within 2 units of the last place
// where its result is normal. The coefficients are our own least-maximum fits.
#ifndef AXL_KERNELS_CPU_VMATH_H
#define AXL_KERNELS_CPU_VMATH_H

#include "kernels/cpu/simd.h"

// 2^x; 0 for x far below -149. x must not be NaN or infinite.
AXL_INLINE vf vf_exp2(vf x)
{
    vf n = vf_round(x), f = x - n;
    vf p = vf_set(1.53458116e-04f);
    p = vf_fma(p, f, vf_set(1.33999312e-03f));
    p = vf_fma(p, f, vf_set(9.61848896e-03f));
    p = vf_fma(p, f, vf_set(5.55032878e-02f));
    p = vf_fma(p, f, vf_set(2.40226469e-01f));
    p = vf_fma(p, f, vf_set(6.93147206e-01f));
    p = vf_fma(p, f, vf_set(1.0f));
    return vf_scale2(p, n);
}

// e^x. ln 2 is taken away in two parts, so that the rest is exact to the last place. NaN stays NaN, and
// infinities give what they should: the bounds lie where the result is already 0 or infinite.
AXL_INLINE vf vf_exp(vf x)
{
    x = vf_max(vf_set(-120.0f), vf_min(vf_set(120.0f), x));
    vf n = vf_round(x * 1.44269504f);
    vf r = vf_fnma(n, vf_set(0.693145752f), x);
    r = vf_fnma(n, vf_set(1.42860677e-06f), r);
    vf p = vf_set(1.39504912e-03f);
    p = vf_fma(p, r, vf_set(8.36888936e-03f));
    p = vf_fma(p, r, vf_set(4.16662058e-02f));
    p = vf_fma(p, r, vf_set(1.66665188e-01f));
    p = vf_fma(p, r, vf_set(5.00000010e-01f));
    p = vf_fma(p * r, r, r) + 1.0f;
    return vf_scale2(p, n);
}

// 1 / (1 + e^-x)
AXL_INLINE vf vf_logistic(vf x)
{
    return 1.0f / (1.0f + vf_exp(-x));
}

AXL_INLINE vf vf_tanh(vf x)
{
    vf y = x * x;
    vf p = vf_set(-5.71704511e-03f);
    p = vf_fma(p, y, vf_set(2.06505874e-02f));
    p = vf_fma(p, y, vf_set(-5.37434981e-02f));
    p = vf_fma(p, y, vf_set(1.33314913e-01f));
    p = vf_fma(p, y, vf_set(-3.33332839e-01f));
    vf small = vf_fma(p * y, x, x); // e^2x - 1 would cancel
    vf big = 1.0f - 2.0f / (1.0f + vf_exp(2.0f * x));
    return vf_select(vf_abs(x) < 0.625f, small, big);
}

// 1 - erf(x): e^(-x^2) times a smooth function of 1 / (1 + |x| / 2), mirrored for x < 0.
AXL_INLINE vf vf_erfc(vf x)
{
    vf z = vf_min(vf_set(9.9f), vf_abs(x));
    vf t = 1.0f / (1.0f + 0.5f * z);
    vf p = vf_set(1.42193799e-01f);
    p = vf_fma(p, t, vf_set(-6.66060595e-01f));
    p = vf_fma(p, t, vf_set(1.12239500e+00f));
    p = vf_fma(p, t, vf_set(-6.51240402e-01f));
    p = vf_fma(p, t, vf_set(-1.16794278e-01f));
    p = vf_fma(p, t, vf_set(2.01996117e-02f));
    p = vf_fma(p, t, vf_set(2.83558655e-02f));
    p = vf_fma(p, t, vf_set(3.87899986e-01f));
    p = vf_fma(p, t, vf_set(9.98492487e-01f));
    p = vf_fma(p, t, vf_set(-1.26544144e+00f));
    vf tail = t * vf_exp(vf_fnma(z, z, p));
    return vf_select(x < 0.0f, 2.0f - tail, tail);
}

#endif
