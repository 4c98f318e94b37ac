// RUN: np=1
// Linear layers in 8 bits against their definition, written out here: which numbers are rounded, by which scale, and which
// are not. Input, output and all gradients, in f64, under every save set.
#include "src/model/ops.h"
#include "tests/grad/trial_program.h"

#include <stdlib.h>

enum { D = 32, MOST = 16 }; // width of everything; tokens of a batch

// The nearest e4m3 number, by looking at all of them; even mantissas first in a tie.
static double nearest(double x)
{
    double best = 0.0, off = fabs(x);

    for (int odd = 0; odd < 2; odd++)
        for (int code = odd; code < 0x7f; code += 2) {
            const int e = code >> 3, m = code & 7;
            const double v = e == 0 ? ldexp(m, -9) : ldexp(8 + m, e - 10);
            if (fabs(fabs(x) - v) < off) {
                off = fabs(fabs(x) - v);
                best = v;
            }
        }
    return x < 0.0 ? -best : best;
}

// n numbers as e4m3 with one scale: a power of two, the least that leaves none above 448. q gets them scaled back.
static double round_all(const double *x, int64_t n, double *q)
{
    double most = 1e-12, scale = ldexp(1.0, -80);

    for (int64_t i = 0; i < n; i++)
        most = fmax(most, fabs((double)(float)x[i]));
    while (448.0 * scale < most)
        scale *= 2.0;
    for (int64_t i = 0; i < n; i++)
        q[i] = nearest((double)(float)x[i] / scale) * scale;
    return scale;
}

static void round_rows(const double *x, int64_t rows, double *q)
{
    for (int64_t r = 0; r < rows; r++)
        (void)round_all(x + r * D, D, q + r * D);
}

// y [n, D] = x W^T + b, or x W; b NULL: none. add: to y.
static void multiply(const double *x, const double *w, bool transposed, const double *b, bool add,
                     int64_t n, double *y)
{
    for (int64_t i = 0; i < n; i++)
        for (int j = 0; j < D; j++) {
            double sum = b != NULL ? b[j] : 0.0;
            for (int k = 0; k < D; k++)
                sum += x[i * D + k] * w[transposed ? j * D + k : k * D + j];
            y[i * D + j] = add ? y[i * D + j] + sum : sum;
        }
}

// The three layers: q and k read the input, o their sum.
typedef struct layers {
    double w[3][D * D], rounded[3][D * D]; // as they are; as compute sees them
    uint8_t e4m3[3][D * D];
    float scale[3];
    double bias[D]; // of k
} layers;

static void take_weights(trial_program *t, layers *l)
{
    int n = 0;

    for (int k = 0; k < t->program.n_weights; k++) {
        const double *full = t->params[k].full;
        t->params[k].trainable = true;
        if (!t->program.weights[k].fp8) {
            memcpy(l->bias, full, sizeof l->bias);
            continue;
        }
        memcpy(l->w[n], full, sizeof l->w[n]);
        const double scale = round_all(full, (int64_t)D * D, l->rounded[n]);
        l->scale[n] = (float)scale;
        for (int i = 0; i < D * D; i++) { // the bits, from the value
            int code = 0;
            while (code < 0x7f) {
                const int e = code >> 3, m = code & 7;
                if ((e == 0 ? ldexp(m, -9) : ldexp(8 + m, e - 10)) * scale ==
                    fabs(l->rounded[n][i]))
                    break;
                code++;
            }
            l->e4m3[n][i] = (uint8_t)(code | (signbit(l->rounded[n][i]) != 0 ? 0x80 : 0));
        }
        memcpy(t->params[k].full, l->e4m3[n], sizeof l->e4m3[n]);
        t->params[k].scale = &l->scale[n];
        n++;
    }
    assert_int_equal(n, 3);
}

static void check(const char *what, const double *got, const double *want, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(got[i] - want[i]) <= 1e-12 * (1.0 + fabs(want[i]))))
            fail_msg("%s[%lld] is %.15g, expected %.15g", what, (long long)i, got[i], want[i]);
}

// dW = dy^T x, of the numbers as they are.
static void check_weight(const char *what, const axl_param *p, const double *dy, const double *x,
                         int64_t n)
{
    double want[D * D] = {0};

    for (int64_t t = 0; t < n; t++)
        for (int i = 0; i < D; i++)
            for (int j = 0; j < D; j++)
                want[i * D + j] += dy[t * D + i] * x[t * D + j];
    check(what, p->grad_full, want, (int64_t)D * D);
}

static void build(trial_program *t, axl_device *device, uint64_t seed)
{
    axl_builder b;
    const axl_linear_spec plain = {.out = D, .tp = AXL_TP_NONE};
    axl_linear_spec biased = plain;

    *t = (trial_program){.seed = seed};
    biased.bias = true;
    t->arch = (axl_arch){.n_heads = 1, .n_kv_heads = 1, .head_dim = 2, .n_ropes = 0};
    axl_builder_begin(&b, &t->program, "fp8", D, 1);
    b.fp8 = true;
    const axl_slot x = axl_b_input(&b), q = axl_b_linear(&b, x, "q", &plain),
                   k = axl_b_linear(&b, x, "k", &biased);
    CHECK_OK(axl_builder_finish(&b, axl_b_linear(&b, axl_b_add(&b, q, k, "sum"), "o", &plain)));
    trial_prepare(t, device);
}

static void check_pass(trial_program *t, const layers *l, axl_checkpointing mode)
{
    static double x8[MOST * D], sum[MOST * D], sum8[MOST * D], y[MOST * D], dy8[MOST * D],
        dsum[MOST * D], dsum8[MOST * D], dx[MOST * D];
    const int64_t n = t->run.n_tokens;
    double db[D] = {0};

    assert_true(n <= MOST);
    for (int k = 0; k < t->program.n_weights; k++)
        t->params[k].grad_written = false;
    (void)trial_pass(t, mode, true);
    round_rows(t->in, n, x8);
    multiply(x8, l->rounded[0], true, NULL, false, n, sum);
    multiply(x8, l->rounded[1], true, l->bias, true, n, sum);
    round_rows(sum, n, sum8);
    multiply(sum8, l->rounded[2], true, NULL, false, n, y);
    check("y", t->out, y, n * D);
    round_rows(t->seed_grad, n, dy8);
    multiply(dy8, l->rounded[2], false, NULL, false, n, dsum);
    round_rows(dsum, n, dsum8);
    multiply(dsum8, l->rounded[1], false, NULL, false, n, dx);
    multiply(dsum8, l->rounded[0], false, NULL, true, n, dx);
    check("dx", t->din, dx, n * D);
    check_weight("dW of q", t->w[0], dsum, t->in, n);
    check_weight("dW of k", t->w[1], dsum, t->in, n);
    check_weight("dW of o", t->w[3], t->seed_grad, sum, n);
    for (int64_t i = 0; i < n * D; i++)
        db[i % D] += dsum[i];
    check("db of k", t->w[2]->grad_full, db, D);
}

static void products_are_of_rounded_numbers_and_weight_gradients_are_not(void **state)
{
    static const axl_checkpointing modes[] = {AXL_CHECKPOINT_NONE, AXL_CHECKPOINT_SELECTIVE,
                                              AXL_CHECKPOINT_FULL};
    const axl_device_options o = {.backend = "ref", .n_threads = 1};
    axl_device *ref = NULL;
    layers *l = calloc(1, sizeof *l);

    (void)state;
    CHECK_OK(axl_device_create(&o, &ref));
    for (uint64_t seed = 1; seed < 6; seed++) {
        trial_program t;
        build(&t, ref, seed);
        take_weights(&t, l);
        for (int m = 0; m < 3; m++)
            check_pass(&t, l, modes[m]);
        trial_program_fini(&t);
    }
    axl_device_destroy(ref);
    free(l);
}

// The two layers that read one input share its e4m3; a layer with odd sizes stays as it was.
static void one_cast_serves_all_that_read_it(void **state)
{
    axl_program *p = malloc(sizeof *p);
    axl_builder b;
    const axl_linear_spec even = {.out = D, .tp = AXL_TP_COL},
                          odd = {.out = D + 8, .tp = AXL_TP_COL};
    int casts = 0, products = 0;

    (void)state;
    axl_builder_begin(&b, p, "shared", D, 1);
    b.fp8 = true;
    const axl_slot x = axl_b_input(&b), q = axl_b_linear(&b, x, "q", &even),
                   k = axl_b_linear(&b, x, "k", &even), v = axl_b_linear(&b, x, "v", &odd);
    const axl_slot back = axl_b_linear(&b, v, "back", &even);
    CHECK_OK(axl_builder_finish(&b, axl_b_add(&b, axl_b_add(&b, q, k, "s"), back, "t")));
    for (int i = 0; i < p->n_insns; i++) {
        casts += p->insns[i].op == AXL_OP_CAST_FP8;
        products += p->insns[i].op == AXL_OP_LINEAR && p->insns[i].arg.linear.fp8;
    }
    assert_int_equal(casts, 1);
    assert_int_equal(products, 2);
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_of_rounded_numbers_and_weight_gradients_are_not),
        cmocka_unit_test(one_cast_serves_all_that_read_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
