// Rotation frequencies of every rope type. The hard part is agreement to the last bit of f32 with the
// reference: powers are taken in f32 where the reference does, the rest in f64 would differ visibly at
// positions of a few thousand.
#include "src/model/arch.h"

#include <math.h>

static const double two_pi = 6.283185307179586;

static void default_frequencies(const axl_rope *rope, double theta, float *inv_freq)
{
    for (int i = 0; i < rope->rotary_dim / 2; i++) {
        float exponent = (float)(2 * i) / (float)rope->rotary_dim;
        inv_freq[i] = 1.0f / powf((float)theta, exponent);
    }
}

static void llama3_frequencies(const axl_rope *rope, float *inv_freq)
{
    double old = (double)rope->original_max_position;
    double low_wavelength = old / rope->low_freq_factor;
    double high_wavelength = old / rope->high_freq_factor;

    for (int i = 0; i < rope->rotary_dim / 2; i++) {
        float f = inv_freq[i];
        double wavelength = two_pi / (double)f;
        double u = (old / wavelength - rope->low_freq_factor) /
                   (rope->high_freq_factor - rope->low_freq_factor);
        if (wavelength > low_wavelength)
            inv_freq[i] = (float)((double)f / rope->factor);
        else if (wavelength >= high_wavelength)
            inv_freq[i] = (float)((1.0 - u) * (double)f / rope->factor + u * (double)f);
    }
}

// The dimension whose wave turns b times over the original context.
static double yarn_dim(const axl_rope *rope, double b)
{
    return rope->rotary_dim * log((double)rope->original_max_position / (b * two_pi)) /
           (2.0 * log(rope->theta));
}

static double yarn_mscale(double factor, double m)
{
    return factor <= 1.0 ? 1.0 : 0.1 * m * log(factor) + 1.0;
}

static void yarn_frequencies(const axl_rope *rope, float *inv_freq, float *factor)
{
    double low = yarn_dim(rope, rope->beta_fast);
    double high = yarn_dim(rope, rope->beta_slow);

    if (rope->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0.0);
    high = fmin(high, rope->rotary_dim - 1);
    if (low == high)
        high += 0.001;
    for (int i = 0; i < rope->rotary_dim / 2; i++) {
        double ramp = fmin(fmax((i - low) / (high - low), 0.0), 1.0);
        double f = (double)inv_freq[i];
        inv_freq[i] = (float)(f / rope->factor * ramp + f * (1.0 - ramp));
    }
    if (rope->attention_factor > 0.0)
        *factor = (float)rope->attention_factor;
    else if (rope->mscale != 0.0 && rope->mscale_all_dim != 0.0)
        *factor = (float)(yarn_mscale(rope->factor, rope->mscale) /
                          yarn_mscale(rope->factor, rope->mscale_all_dim));
    else
        *factor = (float)yarn_mscale(rope->factor, 1.0);
}

void axl_rope_frequencies(const axl_rope *rope, int64_t length, float *inv_freq, float *factor)
{
    double theta = rope->theta;

    *factor = 1.0f;
    if (rope->type == AXL_ROPE_DYNAMIC && length > rope->max_position) {
        double r = rope->rotary_dim;
        double stretch =
            rope->factor * (double)length / (double)rope->max_position - (rope->factor - 1.0);
        theta *= pow(stretch, r / (r - 2.0));
    }
    default_frequencies(rope, theta, inv_freq);
    if (rope->type == AXL_ROPE_LINEAR)
        for (int i = 0; i < rope->rotary_dim / 2; i++)
            inv_freq[i] = (float)((double)inv_freq[i] / rope->factor);
    if (rope->type == AXL_ROPE_LLAMA3)
        llama3_frequencies(rope, inv_freq);
    if (rope->type == AXL_ROPE_YARN)
        yarn_frequencies(rope, inv_freq, factor);
}
