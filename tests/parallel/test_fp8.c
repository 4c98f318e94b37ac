// RUN: np=1,2,4
// Linear layers in 8 bits: losses near those of full precision, and the same ones on any layout, with the bytes and the
// memory that the plan says.
#include "src/plan/forecast.h"
#include "tests/families/trial.h"

// What 8 bits may change: of a loss, and of the norm of the gradient.
#define NEAR      0.01
#define NEAR_NORM 0.05
// What another layout may change: as without 8 bits, where sums are f32; nothing, where only the ranks of the batch are
// others; and in bf16 more, where parts of sums over tp are rounded (there 1e-3 without 8 bits).
#define SAME         1e-5
#define SAME_BF16    1e-12
#define SAME_BF16_TP 1e-2

typedef struct layout {
    const char *model;
    int mesh[AXL_N_AXES]; // dp_replicate, dp_shard, ep, cp, tp
    int micro_steps;
    axl_checkpointing mode;
    bool keep, bf16;
} layout;

static const layout layouts[] = {
    {"llama", {1, 1, 1, 1, 1}, 1, AXL_CHECKPOINT_NONE, false, false},
    {"qwen3_bias", {1, 1, 1, 1, 1}, 2, AXL_CHECKPOINT_FULL, false, true},
    {"mixtral", {1, 1, 1, 1, 1}, 1, AXL_CHECKPOINT_NONE, false, false},
    {"llama", {1, 2, 1, 1, 1}, 2, AXL_CHECKPOINT_NONE, false, false},
    {"llama", {1, 1, 1, 1, 2}, 1, AXL_CHECKPOINT_FULL, false, false},
    {"llama", {1, 1, 1, 2, 1}, 1, AXL_CHECKPOINT_SELECTIVE, true, true},
    {"qwen2_tied", {2, 1, 1, 1, 1}, 1, AXL_CHECKPOINT_NONE, false, false},
    {"llama", {1, 4, 1, 1, 1}, 1, AXL_CHECKPOINT_FULL, false, false},
    {"llama", {1, 2, 1, 1, 2}, 1, AXL_CHECKPOINT_NONE, false, true},
    {"qwen3_bias", {1, 1, 1, 1, 4}, 1, AXL_CHECKPOINT_NONE, false, false},
    {"mixtral", {1, 2, 2, 1, 1}, 1, AXL_CHECKPOINT_NONE, false, false},
    {"llama", {1, 1, 1, 2, 2}, 2, AXL_CHECKPOINT_FULL, false, false},
};

static axl_comm *world, *alone;

static int product(const int mesh[AXL_N_AXES])
{
    int n = 1;

    for (int i = 0; i < AXL_N_AXES; i++)
        n *= mesh[i];
    return n;
}

static trial_options options_of(const layout *l)
{
    trial_options o = {.backend = "cpu",
                       .mode = l->mode,
                       .reshard = !l->keep,
                       .micro_steps = l->micro_steps,
                       .bf16 = l->bf16,
                       .fp8 = true};

    memcpy(o.mesh, l->mesh, sizeof o.mesh);
    return o;
}

static void name(trial *t, const layout *l, const char *what)
{
    (void)snprintf(t->where, sizeof t->where, "%s on %d x %d x %d x %d x %d, %s", l->model,
                   l->mesh[0], l->mesh[1], l->mesh[2], l->mesh[3], l->mesh[4], what);
}

static void check_near(const char *where, const char *what, double got, double want, double most)
{
    if (!(fabs(got - want) <= most * fabs(want)))
        fail_msg("%s: %s is %.8f, expected %.8f, %.2g of it are allowed", where, what, got, want,
                 most);
}

static void check_reference(const layout *l)
{
    trial t;
    double norm = 0.0;
    const trial_options o = options_of(l);

    trial_begin(&t, l->model, world, &o);
    name(&t, l, "beside full precision");
    assert_true(axl_sharder_n_fp8(t.model->units, t.model->n_units) >= 4 * t.model->arch.n_layers);
    assert_false(t.model->lm_head->fp8);
    check_near(t.where, "the loss", trial_run(&t), trial_meta(&t, "loss"), NEAR);
    trial_check_traffic(&t);
    CHECK_OK(axl_grad_norm(&t.sharder, &norm));
    check_near(t.where, "the norm", norm, trial_meta(&t, "grad_norm"), NEAR_NORM);
    trial_end(&t);
}

static void losses_are_near_those_of_full_precision(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        if (product(layouts[i].mesh) == axl_comm_size(world))
            check_reference(&layouts[i]);
}

static void check_beside_one_rank(const layout *l)
{
    enum { STEPS = 6 };
    trial t, solo;
    double losses[STEPS], want[STEPS];
    const trial_options o = options_of(l);
    const double most = !l->bf16 ? SAME : l->mesh[AXL_TP] > 1 ? SAME_BF16_TP : SAME_BF16;

    trial_begin(&solo, l->model, alone,
                &(trial_options){.backend = "cpu", .bf16 = l->bf16, .fp8 = true});
    trial_train(&solo, STEPS, want);
    trial_begin(&t, l->model, world, &o);
    name(&t, l, "beside one rank");
    trial_train(&t, STEPS, losses);
    for (int i = 0; i < STEPS; i++)
        check_near(t.where, "the loss", losses[i], want[i], most);
    assert_true(want[STEPS - 1] < want[0]); // it learns
    trial_end(&t);
    trial_end(&solo);
}

static void every_layout_gives_the_losses_of_one_rank(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        if (product(layouts[i].mesh) == axl_comm_size(world))
            check_beside_one_rank(&layouts[i]);
}

// Bit for bit, where sums have one order: over ranks that share the batches.
static void sums_in_one_order_give_one_loss(void **state)
{
    enum { STEPS = 4, MICRO = 4 };
    trial t, solo;
    double losses[STEPS], want[STEPS];
    trial_options o = {
        .backend = "cpu", .micro_steps = MICRO, .invariant = MICRO, .bf16 = true, .fp8 = true};

    (void)state;
    trial_begin(&solo, "llama", alone, &o);
    trial_train(&solo, STEPS, want);
    o.micro_steps = MICRO / axl_comm_size(world);
    o.invariant = o.micro_steps;
    o.reshard = true;
    trial_begin(&t, "llama", world, &o);
    trial_train(&t, STEPS, losses);
    for (int i = 0; i < STEPS; i++)
        if (fabs(losses[i] - want[i]) > 1e-14) // ranks add up their losses in another order
            fail_msg("loss of step %d is %.17g, on one rank %.17g", i, losses[i], want[i]);
    trial_end(&t);
    trial_end(&solo);
}

// What is kept, and where the weights wait, is not seen in the numbers.
static void save_sets_and_the_place_of_the_weights_agree_bit_for_bit(void **state)
{
    enum { STEPS = 3 };
    double want[STEPS], got[STEPS];
    trial t;
    trial_options o = {.backend = "cpu", .reshard = true, .bf16 = true, .fp8 = true};

    (void)state;
    trial_begin(&t, "llama", world, &o);
    trial_train(&t, STEPS, want);
    trial_end(&t);
    for (int k = 0; k < 4; k++) {
        o.mode = k == 1   ? AXL_CHECKPOINT_SELECTIVE
                 : k == 2 ? AXL_CHECKPOINT_FULL
                          : AXL_CHECKPOINT_NONE;
        o.reshard = k != 0;
        o.offload_state = k == 3;
        trial_begin(&t, "llama", world, &o);
        trial_train(&t, STEPS, got);
        trial_end(&t);
        assert_memory_equal(got, want, sizeof want);
    }
}

static void check_plan(const layout *l)
{
    enum { LENGTH = 24, EACH = 2, MOST = 64 };
    int32_t lengths[MOST];
    trial t;
    trial_options o = options_of(l);
    axl_cluster cluster;
    axl_forecast f;
    axl_arch arch;
    axl_comm_counter c[AXL_COMM_N_OPS] = {{0}};

    o.lengths = lengths;
    o.all_trained = true;
    o.n_lengths = EACH * o.micro_steps * l->mesh[0] * l->mesh[1] * l->mesh[2];
    assert_true(o.n_lengths <= MOST);
    for (int i = 0; i < o.n_lengths; i++)
        lengths[i] = LENGTH;
    trial_begin(&t, l->model, world, &o);
    name(&t, l, "planned");
    (void)trial_run(&t);
    axl_forecast_job job = {.rank = axl_comm_rank(world),
                            .sharder = t.sharder.options,
                            .work = t.work.options,
                            .n_micro = o.micro_steps,
                            .n_tokens = EACH * LENGTH,
                            .n_docs = EACH};
    memcpy(job.mesh, l->mesh, sizeof job.mesh);
    CHECK_OK(axl_cluster_read("cpu", &cluster));
    CHECK_OK(axl_arch_read(t.dir, &arch));
    arch.fp8 = true;
    CHECK_OK(axl_forecast_make(&arch, &cluster, &job, &f));
    assert_memory_equal(&f.sharder, &t.sharder.bytes, sizeof f.sharder);
    assert_memory_equal(&f.work, &t.work.bytes, sizeof f.work);
    for (int g = 0; g < AXL_N_GROUPS; g++) {
        if (t.mesh->comms[g] == NULL || g == AXL_GROUP_AXIS + AXL_EP) // the routing decides
            continue;
        axl_comm_counters_read(t.mesh->comms[g], c);
        for (int op = 0; op < AXL_COMM_N_OPS; op++)
            if (c[op].sent_bytes != f.expected.sent[g][op])
                fail_msg("%s: %s on %s sent %lld bytes, the plan says %lld", t.where,
                         axl_comm_op_name((axl_comm_op)op), axl_comm_name(t.mesh->comms[g]),
                         (long long)c[op].sent_bytes, (long long)f.expected.sent[g][op]);
    }
    axl_arch_fini(&arch);
    trial_end(&t);
}

static void the_plan_is_what_the_run_counts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        if (product(layouts[i].mesh) == axl_comm_size(world))
            check_plan(&layouts[i]);
}

// A weight of a linear layer is gathered as one byte an element, everything else as it was.
static void weights_travel_as_bytes(void **state)
{
    trial t[2];
    int64_t saved = 0;

    (void)state;
    for (int k = 0; k < 2; k++)
        trial_begin(
            &t[k], "llama", world,
            &(trial_options){.backend = "cpu", .reshard = true, .bf16 = true, .fp8 = k == 1});
    for (int k = 0; k < 2; k++)
        (void)trial_run(&t[k]);
    for (int i = 0; i < t[1].model->n_params; i++) // twice: for forward, and for backward
        if (t[1].model->params[i]->fp8)
            saved += 2 * axl_comm_sent_bytes(AXL_COMM_ALL_GATHER, axl_comm_size(world),
                                             axl_param_full_count(t[1].model->params[i]));
    assert_int_equal(t[0].traffic.sent[AXL_GROUP_DENSE][AXL_COMM_ALL_GATHER] -
                         t[1].traffic.sent[AXL_GROUP_DENSE][AXL_COMM_ALL_GATHER],
                     saved);
    trial_check_traffic(&t[1]);
    for (int k = 0; k < 2; k++)
        trial_end(&t[k]);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_are_near_those_of_full_precision),
        cmocka_unit_test(every_layout_gives_the_losses_of_one_rank),
        cmocka_unit_test(sums_in_one_order_give_one_loss),
        cmocka_unit_test(save_sets_and_the_place_of_the_weights_agree_bit_for_bit),
        cmocka_unit_test(the_plan_is_what_the_run_counts),
        cmocka_unit_test(weights_travel_as_bytes),
    };
    CHECK_OK(axl_comm_init(&argc, &argv, &world));
    CHECK_OK(axl_comm_split(world, axl_comm_rank(world), 0, "alone", &alone));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    axl_comm_destroy(alone);
    axl_comm_finalize(world);
    return failed;
}
