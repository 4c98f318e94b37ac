// RUN: np=1,2,3
// Schedules, AdamW and the gradient norm against numbers of the reference libraries, over any number of ranks.
#include "src/optim/optim.h"
#include "tests/check.h"

static axl_comm *world;

// ---- schedules; T = 100, warm-up 10

static void factors_are_those_of_the_reference(void **state)
{
    static const int64_t steps[8] = {0, 1, 5, 10, 11, 50, 80, 99};
    static const struct {
        const char *name;
        double min_ratio;
        double factors[8];
    } rows[] = {
        {"linear", 0.0, {0, .1, .5, 1, .988889, .555556, .222222, .0111111}},
        {"cosine", 0.0, {0, .1, .5, 1, .999695, .586824, .116978, 3.04586e-4}},
        {"cosine", 0.1, {0, .1, .5, 1, .999726, .628142, .20528, .100274}},
        {"constant", 0.0, {1, 1, 1, 1, 1, 1, 1, 1}},
        {"constant_with_warmup", 0.0, {0, .1, .5, 1, 1, 1, 1, 1}},
    };
    (void)state;
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        axl_schedule s;
        double got[8];
        assert_true(axl_schedule_find(rows[r].name, &s));
        s.warmup = 10;
        s.total = 100;
        s.min_ratio = rows[r].min_ratio;
        for (int k = 0; k < 8; k++)
            got[k] = axl_schedule_factor(&s, steps[k]);
        CHECK_CLOSE(got, rows[r].factors, 8, 1e-6, 0.0);
    }
}

static void schedules_end_well(void **state)
{
    static const char *const names[] = {"linear", "cosine", "constant", "constant_with_warmup"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        for (int64_t total = 0; total <= 4; total++) {
            for (int64_t warmup = 0; warmup <= total + 1; warmup++) {
                axl_schedule s;
                assert_true(axl_schedule_find(names[i], &s));
                s.warmup = warmup;
                s.total = total;
                for (int64_t k = 0; k <= total + 2; k++) {
                    double f = axl_schedule_factor(&s, k);
                    if (!(f >= 0.0 && f <= 1.0))
                        fail_msg("%s of %d with %d: %g at %d", names[i], (int)total, (int)warmup, f,
                                 (int)k);
                }
            }
        }
    }
    axl_schedule s;
    assert_false(axl_schedule_find("polynomials", &s));
}

static void warmup_follows_the_rules(void **state)
{
    (void)state;
    assert_int_equal(axl_warmup_steps(7, 0.5, 100), 7); // steps win
    assert_int_equal(axl_warmup_steps(0, 0.5, 100), 0);
    assert_int_equal(axl_warmup_steps(-1, 0.1, 105), 10); // int(10.5)
    assert_int_equal(axl_warmup_steps(-1, 0.0, 105), 0);
    assert_int_equal(axl_warmup_steps(-1, -1.0, 1000), 30); // neither: 3 percent
    assert_int_equal(axl_warmup_steps(-1, -1.0, 100000), 100);
    assert_int_equal(axl_warmup_steps(-1, -1.0, 20), 0);
    assert_int_equal(axl_warmup_steps(1, -1.0, 100), 2); // one step would be lost at rate zero
    assert_int_equal(axl_warmup_steps(-1, 0.01, 100), 2);
    assert_int_equal(axl_warmup_steps(-1, -1.0, 40), 2);
}

// ---- AdamW

typedef struct bench {
    axl_device *device;
    axl_param params[3];
    axl_param *uses[3];
    axl_unit unit;
    axl_mesh *mesh;
    axl_sharder sharder;
} bench;

// One unit of three weights: [2, 3] trained with decay, [5, 1] trained without, [4, 2] frozen.
static void bench_begin(bench *b, const char *backend)
{
    static char keys[3][8] = {"matrix", "norm", "frozen"};
    const axl_device_options d = {.backend = backend, .n_threads = 1};
    const axl_sharder_options o = {.dtype = AXL_F32, .train = true, .reshard_after_forward = true};

    *b = (bench){
        .params = {{.file_rows = 2, .file_cols = 3, .n_dims = 2, .trainable = true, .decay = true},
                   {.file_rows = 5, .file_cols = 1, .n_dims = 1, .trainable = true},
                   {.file_rows = 4, .file_cols = 2, .n_dims = 2, .decay = true}}};
    CHECK_OK(axl_mesh_create(world, (const int[AXL_N_AXES]){1, axl_comm_size(world), 1, 1, 1},
                             &b->mesh));
    for (int i = 0; i < 3; i++) {
        b->params[i].key = keys[i];
        b->params[i].n_file_mats = 1;
        CHECK_OK(axl_param_place(&b->params[i], b->mesh));
        b->uses[i] = &b->params[i];
    }
    b->unit = (axl_unit){
        .name = "unit", .params = b->params, .n_params = 3, .uses = b->uses, .n_uses = 3};
    CHECK_OK(axl_device_create(&d, &b->device));
    CHECK_OK(axl_sharder_init(&b->sharder, b->device, b->mesh, &b->unit, 1, &o));
}

static void bench_end(bench *b)
{
    axl_sharder_fini(&b->sharder);
    axl_mesh_destroy(b->mesh);
    axl_device_destroy(b->device);
}

// This rank's rows of a whole matrix, scaled.
static void set_rows(const axl_param *p, float *shard, const double *whole, double scale)
{
    const axl_param_rect r = axl_param_rect_of(p, 0);
    for (int64_t i = 0; i < r.block.n_rows * p->cols; i++)
        shard[i] = (float)(scale * whole[r.block.row0 * p->cols + i]);
}

static void adamw_takes_the_steps_of_the_reference(void **state)
{
    static const double start[6] = {.5, -1, .25, 2, -.125, 1};
    static const double grad[6] = {.1, -.2, .3, -.4, .5, -.6};
    static const double scales[3] = {1.0, -0.5, 2.0};
    static const double want[6] = {.4792797, -.9777812, .2300289, 2.0132279, -.1438472, 1.0162249};
    static const char *const names[] = {"adamw_torch", "adamw_torch_fused"};
    static const char *const backends[] = {"ref", "cpu"};

    (void)state;
    for (int c = 0; c < 4; c++) {
        bench b;
        axl_hyper h = {.lr = .01,
                       .beta1 = .9,
                       .beta2 = .999,
                       .eps = 1e-8,
                       .weight_decay = .1,
                       .grad_scale = 1};
        const axl_optimizer *opt = axl_optimizer_find(names[c / 2]);
        assert_non_null(opt);
        assert_int_equal(opt->n_moments, 2);
        bench_begin(&b, backends[c % 2]);
        axl_param *p = &b.params[0];
        set_rows(p, p->master, start, 1.0);
        for (h.t = 1; h.t <= 3; h.t++) {
            // clipping multiplies gradients: twice the gradient at half the scale is the same step
            h.grad_scale = h.t == 2 ? 0.5 : 1.0;
            set_rows(p, p->grad_shard, grad, scales[h.t - 1] / h.grad_scale);
            CHECK_OK(axl_optimizer_update(opt, &b.sharder, &h));
        }
        const axl_param_rect r = axl_param_rect_of(p, 0);
        CHECK_CLOSE(p->master, want + r.block.row0 * p->cols, r.block.n_rows * p->cols, 1e-6, 0.0);
        bench_end(&b);
    }
    assert_null(axl_optimizer_find("adamw_touch"));
}

static void decay_spares_what_is_marked(void **state)
{
    static const double ones[6] = {1, 1, 1, 1, 1, 1};
    const axl_hyper h = {.lr = .5, .weight_decay = .5, .grad_scale = 1, .eps = 1, .t = 1};
    bench b;

    (void)state;
    bench_begin(&b, "cpu");
    for (int i = 0; i < 2; i++) { // gradients are zero: only decay moves
        axl_param *p = &b.params[i];
        set_rows(p, p->master, ones, 1.0);
        CHECK_OK(axl_optimizer_update(axl_optimizer_find("adamw_torch"), &b.sharder, &h));
        for (int64_t k = 0; k < axl_param_rect_of(p, 0).block.n_rows * p->cols; k++)
            assert_true(p->master[k] == (i == 0 ? 0.75f : 1.0f));
    }
    bench_end(&b);
}

// ---- the norm

static void the_norm_counts_each_trained_element_once(void **state)
{
    static const double matrix[6] = {1, -2, 3, -4, 5, -6};
    static const double norm[5] = {7, -8, 9, -10, 11};
    const double want = sqrt(91.0 + 415.0);
    bench b;
    double got = 0.0;

    (void)state;
    bench_begin(&b, "cpu");
    assert_null(b.params[2].grad_shard);
    assert_null(b.params[2].moment[0]);
    set_rows(&b.params[0], b.params[0].grad_shard, matrix, 1.0);
    set_rows(&b.params[1], b.params[1].grad_shard, norm, 1.0);
    CHECK_OK(axl_grad_norm(&b.sharder, &got));
    CHECK_CLOSE(&got, &want, 1, 0.0, 1e-12);
    // sums of squares beyond f32
    set_rows(&b.params[0], b.params[0].grad_shard, matrix, 1e25);
    set_rows(&b.params[1], b.params[1].grad_shard, norm, 0.0);
    CHECK_OK(axl_grad_norm(&b.sharder, &got));
    const double large = 1e25 * sqrt(91.0);
    CHECK_CLOSE(&got, &large, 1, 0.0, 1e-6);
    // one value that is not finite on one rank is seen by all
    if (axl_param_rect_of(&b.params[1], 0).block.n_rows > 0 && b.params[1].shard == 0)
        b.params[1].grad_shard[0] = NAN;
    CHECK_OK(axl_grad_norm(&b.sharder, &got));
    assert_true(isnan(got));
    bench_end(&b);
}

static void clipping_scales_only_long_gradients(void **state)
{
    (void)state;
    assert_true(axl_clip_scale(0.5, 1.0) == 1.0);
    assert_true(axl_clip_scale(1.0, 1.0) == 1.0 / (1.0 + 1e-6));
    assert_true(axl_clip_scale(4.0, 1.0) == 1.0 / (4.0 + 1e-6));
    assert_true(axl_clip_scale(100.0, 0.0) == 1.0); // 0: no clipping
    assert_true(axl_clip_scale(0.0, 1.0) == 1.0);
    assert_true(axl_clip_scale(INFINITY, 1.0) == 0.0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(factors_are_those_of_the_reference),
        cmocka_unit_test(schedules_end_well),
        cmocka_unit_test(warmup_follows_the_rules),
        cmocka_unit_test(adamw_takes_the_steps_of_the_reference),
        cmocka_unit_test(decay_spares_what_is_marked),
        cmocka_unit_test(the_norm_counts_each_trained_element_once),
        cmocka_unit_test(clipping_scales_only_long_gradients),
    };
    CHECK_OK(axl_comm_init(&argc, &argv, &world));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    axl_comm_finalize(world);
    return failed;
}
