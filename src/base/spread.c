// Exact sums. Numbers are first sorted into one bin an exponent, which costs two additions each; a bin holds 2^14 of
// them before it could overflow, and is then added to the digits. The hard part is the end: count times the sum of
// squares and the square of the sum may agree in almost all digits, so both are multiplied out in full.
#include "src/base/spread.h"

#include <math.h>
#include <string.h>

// x = m 2^(e - 149) with m below 2^24 and e from 0 to 253; x^2 in units of 2^-298.
#define N_EXPONENTS 256
#define BLOCK       (1 << 14) // numbers between two emptyings: a bin of squares stays below 2^62
#define SUM_DIGITS  11        // 277 bits of one number, 62 of their count, a sign
#define SQR_DIGITS  20        // 554 bits of one square, 62
#define SUM_AT      2
#define SQR_AT      (SUM_AT + SUM_DIGITS)
#define LONG_DIGITS (2 * SUM_DIGITS)
#define DIGIT       UINT64_C(0xffffffff)

_Static_assert(SQR_AT + SQR_DIGITS == AXL_SPREAD_WORDS, "the words");
_Static_assert(LONG_DIGITS >= SQR_DIGITS + 2, "room for count times the sum of squares");

typedef struct bins {
    int64_t sum[N_EXPONENTS];
    int64_t square[N_EXPONENTS];
} bins;

// Adds value 2^shift; value below 2^62 in size. Digits are left unnormalised: below 2^34 more each.
static void put(int64_t *digits, int64_t value, int shift)
{
    const uint64_t size = (uint64_t)(value < 0 ? -value : value);
    const int64_t sign = value < 0 ? -1 : 1;
    const uint64_t low = (size & DIGIT) << (shift % 32), high = (size >> 32) << (shift % 32);
    int64_t *d = digits + shift / 32;

    d[0] += sign * (int64_t)(low & DIGIT);
    d[1] += sign * (int64_t)(low >> 32);
    d[1] += sign * (int64_t)(high & DIGIT);
    d[2] += sign * (int64_t)(high >> 32);
}

// Every digit but the last becomes one of 32 bits; the last keeps the sign.
static void carry(int64_t *digits, int n)
{
    for (int i = 0; i + 1 < n; i++) {
        const int64_t low = digits[i] & (int64_t)DIGIT;
        digits[i + 1] += (digits[i] - low) / ((int64_t)1 << 32);
        digits[i] = low;
    }
}

static void empty(bins *b, axl_spread *s)
{
    for (int e = 0; e < N_EXPONENTS - 1; e++) {
        const int shift = e > 0 ? e - 1 : 0; // exponent 0: numbers below 2^-126, in the same units
        if (b->square[e] == 0)
            continue;
        put(s->words + SUM_AT, b->sum[e], shift);
        put(s->words + SQR_AT, b->square[e], 2 * shift);
    }
    carry(s->words + SUM_AT, SUM_DIGITS);
    carry(s->words + SQR_AT, SQR_DIGITS);
    memset(b, 0, sizeof *b);
}

void axl_spread_add(axl_spread *s, const float *x, int64_t n)
{
    bins b = {0};

    for (int64_t i0 = 0; i0 < n; i0 += BLOCK) {
        const int64_t end = i0 + BLOCK < n ? i0 + BLOCK : n;
        for (int64_t i = i0; i < end; i++) {
            uint32_t bits;
            memcpy(&bits, &x[i], sizeof bits);
            const uint32_t e = bits >> 23 & 0xff;
            const int64_t m = (int64_t)(bits & 0x7fffff) + (e > 0 ? 0x800000 : 0);
            b.sum[e] += (int32_t)bits < 0 ? -m : m;
            b.square[e] += m * m;
        }
        for (int64_t i = i0; b.square[N_EXPONENTS - 1] != 0 && i < end; i++)
            s->words[1] += !isfinite(x[i]);
        empty(&b, s);
    }
    s->words[0] += n;
}

// ---- the end

// out [LONG_DIGITS] = a [n_a] x b [n_b], all digits of 32 bits; n_a + n_b <= LONG_DIGITS.
static void multiply(const uint64_t *a, int n_a, const uint64_t *b, int n_b, uint64_t *out)
{
    memset(out, 0, LONG_DIGITS * sizeof *out);
    for (int i = 0; i < n_a; i++) {
        uint64_t over = 0;
        for (int k = 0; k < n_b; k++) {
            const uint64_t t = a[i] * b[k] + out[i + k] + over; // at most 2^64 - 1
            out[i + k] = t & DIGIT;
            over = t >> 32;
        }
        out[i + n_b] = over;
    }
}

// The digits of a sum over ranks, without its sign.
static void magnitude(const int64_t *words, int n, uint64_t *out)
{
    int64_t d[SQR_DIGITS];

    memcpy(d, words, (size_t)n * sizeof *d);
    carry(d, n);
    const bool negative = d[n - 1] < 0;
    for (int i = 0; i < n; i++)
        d[i] = negative ? -d[i] : d[i];
    carry(d, n);
    for (int i = 0; i < n; i++)
        out[i] = (uint64_t)d[i];
}

// a - b as a number; a is the larger.
static double difference(const uint64_t *a, const uint64_t *b)
{
    int64_t d[LONG_DIGITS];
    double value = 0.0;

    for (int i = 0; i < LONG_DIGITS; i++)
        d[i] = (int64_t)a[i] - (int64_t)b[i];
    carry(d, LONG_DIGITS);
    for (int i = LONG_DIGITS - 1; i >= 0; i--)
        value = value * 0x1p32 + (double)d[i];
    return value;
}

double axl_spread_std(const axl_spread *s)
{
    const int64_t n = s->words[0];
    const uint64_t count[2] = {(uint64_t)n & DIGIT, (uint64_t)n >> 32};
    uint64_t sum[SUM_DIGITS], square[SQR_DIGITS], left[LONG_DIGITS], right[LONG_DIGITS];

    if (!axl_spread_finite(s))
        return (double)NAN;
    if (n < 2)
        return 0.0;
    magnitude(s->words + SUM_AT, SUM_DIGITS, sum);
    magnitude(s->words + SQR_AT, SQR_DIGITS, square);
    multiply(square, SQR_DIGITS, count, 2, left);
    multiply(sum, SUM_DIGITS, sum, SUM_DIGITS, right);
    // (count sum(x^2) - sum(x)^2) / (count (count - 1)), the root of the unit taken apart
    return sqrt(difference(left, right) / (double)n / (double)(n - 1)) * 0x1p-149;
}
