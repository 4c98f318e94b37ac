// RUN: np=1
// Random programs in f64 on the reference kernels: the derivative that the plan and the ops give is that of
// finite differences, and the three save sets give it bit for bit.
#include "tests/grad/trial_program.h"

#include "src/model/ops.h"

#include <stdlib.h>

static axl_device *device;

typedef void make_program(trial_program *t, axl_device *d, uint64_t seed);

// d loss / d x[i] by differences of fourth order.
static double difference(trial_program *t, double *x)
{
    static const double steps[] = {-2.0, -1.0, 1.0, 2.0};
    static const double factors[] = {1.0 / 12.0, -8.0 / 12.0, 8.0 / 12.0, -1.0 / 12.0};
    const double h = 1e-3;
    double keep = *x;
    double sum = 0.0;

    for (int i = 0; i < 4; i++) {
        *x = keep + steps[i] * h;
        sum += factors[i] * trial_pass(t, AXL_CHECKPOINT_NONE, false);
    }
    *x = keep;
    return sum / h;
}

static void print_program(const trial_program *t)
{
    const axl_program *p = &t->program;

    for (int n = 0; n < p->n_insns; n++) {
        const axl_insn *i = &p->insns[n];
        print_message("  %2d %-9s %2d = %d %d %d  (%s)\n", n, axl_ops[i->op]->name, i->out[0],
                      i->in[0], i->in[1], i->in[2], i->name);
    }
}

static void check_array(trial_program *t, double *x, const double *grad, int64_t n,
                        const char *what)
{
    double square = 0.0;
    int64_t n_checked = n < 6 ? n : 6;

    for (int64_t i = 0; i < n; i++)
        square += grad[i] * grad[i];
    double size = sqrt(square / (double)n); // an entry near zero is no better known than the others
    for (int64_t c = 0; c < n_checked; c++) {
        int64_t i = n <= 6 ? c : trial_int(t, 0, n - 1);
        double want = difference(t, &x[i]);
        if (fabs(grad[i] - want) <= 5e-7 * (fabs(want) + size) + 1e-10)
            continue;
        print_program(t);
        fail_msg("seed %d: the gradient of %s[%d] is %.12g, differences give %.12g", (int)t->seed,
                 what, (int)i, grad[i], want);
    }
}

static void check_differences(trial_program *t)
{
    double *din = malloc((size_t)t->n_in * sizeof(double));

    assert_non_null(din);
    memcpy(din, t->din, (size_t)t->n_in * sizeof(double));
    for (int k = 0; k < t->program.n_weights; k++) {
        axl_param *p = &t->params[k];
        if (p->trainable)
            check_array(t, p->full, p->grad_full, p->rows * p->cols, t->program.weights[k].name);
    }
    check_array(t, t->in, din, t->n_in, "the input");
    free(din);
}

// Loss, output and all gradients, one after the other.
static double *results(trial_program *t, axl_checkpointing mode, int64_t *n)
{
    double *all;
    int64_t at = 1;

    *n = 1 + t->n_out + t->n_in;
    for (int k = 0; k < t->program.n_weights; k++)
        *n += t->params[k].rows * t->params[k].cols;
    all = calloc((size_t)*n, sizeof *all);
    assert_non_null(all);
    all[0] = trial_pass(t, mode, true);
    memcpy(all + at, t->out, (size_t)t->n_out * sizeof(double));
    at += t->n_out;
    memcpy(all + at, t->din, (size_t)t->n_in * sizeof(double));
    at += t->n_in;
    for (int k = 0; k < t->program.n_weights; k++) {
        int64_t count = t->params[k].rows * t->params[k].cols;
        if (t->params[k].trainable)
            memcpy(all + at, t->params[k].grad_full, (size_t)count * sizeof(double));
        at += count;
    }
    return all;
}

static void check_programs(make_program *make, int n_programs)
{
    for (int seed = 1; seed <= n_programs; seed++) {
        trial_program t;
        int64_t n;
        make(&t, device, (uint64_t)seed);
        double *want = results(&t, AXL_CHECKPOINT_NONE, &n);
        for (axl_checkpointing m = AXL_CHECKPOINT_SELECTIVE; m <= AXL_CHECKPOINT_FULL; m++) {
            double *got = results(&t, m, &n);
            assert_memory_equal(want, got, (size_t)n * sizeof(double));
            free(got);
        }
        check_differences(&t);
        free(want);
        trial_program_fini(&t);
    }
}

static void gradients_of_random_programs_equal_differences(void **state)
{
    (void)state;
    check_programs(trial_random_program, 300);
}

static void gradients_of_random_sums_equal_differences(void **state)
{
    (void)state;
    check_programs(trial_random_sums, 1500);
}

// ---- which sums share memory

// What a program does with its input x; the sums are named, all widths are 2.
static axl_slot line(axl_builder *b, axl_slot x, const char *name)
{
    return axl_b_linear(b, x, name, &(axl_linear_spec){.out = 2});
}

static axl_slot residual(axl_builder *b, axl_slot x)
{
    return axl_b_add(b, x, line(b, x, "f"), "sum");
}

static axl_slot residual_turned(axl_builder *b, axl_slot x)
{
    return axl_b_add(b, line(b, x, "f"), x, "sum");
}

static axl_slot two_residuals(axl_builder *b, axl_slot x)
{
    axl_slot h = axl_b_add(b, x, line(b, line(b, x, "f"), "g"), "sum");
    return axl_b_add(b, h, line(b, line(b, h, "i"), "j"), "sum");
}

static axl_slot two_branches(axl_builder *b, axl_slot x)
{
    axl_slot f = line(b, line(b, x, "f"), "g");
    axl_slot i = line(b, line(b, x, "i"), "j");
    return axl_b_add(b, f, i, "sum");
}

static axl_slot parallel_residual(axl_builder *b, axl_slot x)
{
    axl_slot f = line(b, line(b, x, "f"), "g");
    axl_slot i = line(b, line(b, x, "i"), "j");
    return axl_b_add(b, axl_b_add(b, x, f, "sum"), i, "sum");
}

static axl_slot doubled(axl_builder *b, axl_slot x)
{
    axl_slot f = line(b, x, "f");
    return axl_b_add(b, f, f, "sum");
}

static axl_slot three_times(axl_builder *b, axl_slot x)
{
    return axl_b_add(b, axl_b_add(b, x, x, "sum"), line(b, x, "f"), "sum");
}

static void sums_share_memory_where_that_is_right(void **state)
{
    static const struct {
        const char *name;
        axl_slot (*make)(axl_builder *b, axl_slot x);
        int n_shared;  // sums whose backward has nothing to do
        bool in_place; // the gradient of the input needs no copy
    } cases[] = {
        // "f" reads what it would add to in the same call
        {"residual", residual, 0, false},
        {"residual, turned", residual_turned, 0, false},
        {"two residuals", two_residuals, 2, true},
        {"two branches", two_branches, 1, false},
        // "i" adds to the gradient of x before "g" has read that of the inner sum
        {"parallel residual", parallel_residual, 1, false},
        {"doubled", doubled, 0, false},
        {"three times", three_times, 1, false},
    };
    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        trial_program t = {.seed = c, .arch = {.n_ropes = 0}};
        axl_unit_plan plan;
        axl_builder b;
        bool all[AXL_MAX_WEIGHTS];
        int n_shared = 0;
        memset(all, true, sizeof all);
        axl_builder_begin(&b, &t.program, cases[c].name, 2, 1);
        CHECK_OK(axl_builder_finish(&b, cases[c].make(&b, axl_b_input(&b))));
        CHECK_OK(
            axl_unit_plan_make(&t.program, all, AXL_CHECKPOINT_NONE, 4, AXL_F64, AXL_F64, &plan));
        for (int n = 0; n < t.program.n_insns; n++) {
            const axl_insn *i = &t.program.insns[n];
            if (i->op == AXL_OP_ADD && i->in[0] != i->in[1])
                n_shared += plan.grad_root[i->in[0]] == plan.grad_root[i->out[0]] &&
                            plan.grad_root[i->in[1]] == plan.grad_root[i->out[0]];
        }
        if (n_shared != cases[c].n_shared || plan.in_place != cases[c].in_place)
            fail_msg("%s: %d sums share, in place %d", cases[c].name, n_shared, plan.in_place);
        trial_prepare(&t, device);
        (void)trial_pass(&t, AXL_CHECKPOINT_NONE, true);
        check_differences(&t);
        trial_program_fini(&t);
    }
}

// ---- what cannot be planned

static void programs_that_cannot_be_run_are_refused(void **state)
{
    const axl_norm norm = {.kind = AXL_NORM_RMS, .eps = 1.0f};
    const axl_arch arch = {.n_heads = 1, .n_kv_heads = 1, .head_dim = 2};
    bool all[AXL_MAX_WEIGHTS];
    axl_program p;
    axl_builder b;
    axl_unit_plan plan;

    (void)state;
    memset(all, true, sizeof all);
    axl_builder_begin(&b, &p, "unread", 2, 1);
    (void)line(&b, axl_b_input(&b), "f");
    CHECK_FAILS(axl_builder_finish(&b, line(&b, axl_b_input(&b), "g")), AXL_E_BUG, "nothing reads");

    axl_builder_begin(&b, &p, "widths", 2, 1);
    axl_slot f = axl_b_linear(&b, axl_b_input(&b), "f", &(axl_linear_spec){.out = 3});
    CHECK_FAILS(axl_builder_finish(&b, axl_b_add(&b, axl_b_input(&b), f, "sum")), AXL_E_BUG,
                "different width");

    axl_builder_begin(&b, &p, "norm", 3, 1);
    CHECK_FAILS(axl_builder_finish(&b, axl_b_norm(&b, axl_b_input(&b), "n", &norm, 2, AXL_TP_NONE)),
                AXL_E_BUG, "does not divide");

    axl_builder_begin(&b, &p, "long", 2, 1);
    axl_slot x = axl_b_input(&b);
    for (int i = 0; i <= AXL_MAX_INSNS; i++)
        x = line(&b, x, "f");
    CHECK_FAILS(axl_builder_finish(&b, x), AXL_E_BUG, "too many");

    axl_builder_begin(&b, &p, "reads its output", 2, 1);
    x = line(&b, axl_b_input(&b), "f");
    CHECK_OK(axl_builder_finish(&b, axl_b_attention(&b, x, x, x, &arch, 0)));
    CHECK_FAILS(axl_unit_plan_make(&p, all, AXL_CHECKPOINT_NONE, 4, AXL_F64, AXL_F64, &plan),
                AXL_E_BUG, "its own output");

    axl_builder_begin(&b, &p, "adds", 2, 1);
    x = line(&b, axl_b_input(&b), "f");
    axl_slot h = axl_b_glu(&b, x, line(&b, axl_b_input(&b), "g"), AXL_ACT_SILU);
    CHECK_OK(axl_builder_finish(&b, axl_b_add(&b, line(&b, x, "i"), line(&b, h, "j"), "sum")));
    CHECK_FAILS(axl_unit_plan_make(&p, all, AXL_CHECKPOINT_NONE, 4, AXL_F64, AXL_F64, &plan),
                AXL_E_BUG, "cannot add");
}

static int make_device(void **state)
{
    (void)state;
    return axl_device_create(&(axl_device_options){.backend = "ref", .n_threads = 1}, &device) !=
           AXL_OK;
}

static int drop_device(void **state)
{
    (void)state;
    axl_device_destroy(device);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_share_memory_where_that_is_right),
        cmocka_unit_test(programs_that_cannot_be_run_are_refused),
        cmocka_unit_test(gradients_of_random_sums_equal_differences),
        cmocka_unit_test(gradients_of_random_programs_equal_differences),
    };
    return cmocka_run_group_tests(tests, make_device, drop_device);
}
