// RUN: np=1,2,4
// Mixtures of experts on any layout: experts over ep, their rows over dp_shard and cp, their matrices over tp; ranks
// without tokens, and so little memory for arriving rows that many rounds are needed: the same losses, gradients
// and parameters as the reference.
#include "tests/families/trial.h"

#include "src/model/ops.h"

static const char *const cases[] = {"mixtral", "qwen3_moe"};

static axl_comm *world;

// capacity: tokens that the plan is told, on which the room for arriving rows depends; 0: all there are.
static void check_case(const char *name, const trial_options *o, int64_t capacity)
{
    trial t;

    trial_begin(&t, name, world, o);
    if (capacity > 0)
        t.work.run.max_tokens = capacity;
    double want = trial_meta(&t, "loss");
    double loss = trial_run(&t);
    if (!(fabs(loss - want) <= 1e-5 * want))
        fail_msg("%s: loss is %.8f, expected %.8f", name, loss, want);
    trial_check_gradients(&t);
    if (t.mesh->size[AXL_EP] ==
        axl_comm_size(world)) // once: the optimizer knows nothing of the mesh
        trial_check_steps(&t);
    trial_end(&t);
}

// Every split of n ranks over the axes from `axis` on.
static void each_mesh(void (*check)(const int mesh[AXL_N_AXES]), int mesh[AXL_N_AXES], int axis,
                      int n)
{
    if (axis == AXL_N_AXES - 1) {
        mesh[axis] = n;
        check(mesh);
        return;
    }
    for (mesh[axis] = 1; mesh[axis] <= n; mesh[axis]++) {
        const int left = n / mesh[axis];
        if (left * mesh[axis] == n)
            each_mesh(check, mesh, axis + 1, left);
    }
}

static void check_mesh(const int mesh[AXL_N_AXES])
{
    const size_t n = mesh[AXL_EP] > 1 ? sizeof cases / sizeof *cases : 1;

    for (size_t i = 0; i < n; i++) {
        trial_options o = {.backend = "cpu", .reshard = true};
        memcpy(o.mesh, mesh, sizeof o.mesh);
        check_case(cases[i], &o, 0);
    }
}

static void every_layout_agrees_with_the_reference(void **state)
{
    int mesh[AXL_N_AXES];

    (void)state;
    each_mesh(check_mesh, mesh, 0, axl_comm_size(world));
}

// What a step sends between the experts' ranks is the formula of the counts that it recorded.
static void bytes_sent_equal_the_formula(void **state)
{
    axl_comm_counter c[AXL_COMM_N_OPS];
    const axl_insn *moe = NULL;
    trial_options o = {.backend = "cpu", .mode = AXL_CHECKPOINT_FULL, .mesh = {1, 1, 1, 1, 1}};
    trial t;

    (void)state;
    o.mesh[AXL_EP] = axl_comm_size(world);
    trial_begin(&t, "qwen3_moe", world, &o);
    axl_comm_counters_reset(t.mesh->axis[AXL_EP]);
    (void)trial_run(&t);
    axl_comm_counters_read(t.mesh->axis[AXL_EP], c);
    const axl_program *p = axl_model_program(t.model, &t.model->units[1]);
    for (int n = 0; n < p->n_insns; n++)
        if (p->insns[n].op == AXL_OP_MOE)
            moe = &p->insns[n];
    assert_non_null(moe);
    const axl_dispatch *d = t.work.dispatch;
    // two layers; the same rows go forward and backward, and their counts once
    assert_int_equal(d->n_exchanges, 2);
    assert_int_equal(
        c[AXL_COMM_ALL_TO_ALL].sent_bytes,
        axl_moe_sent_bytes(moe, false, d->sent_rows / 2, d->received_rows / 2, AXL_F32, AXL_F32) +
            axl_moe_sent_bytes(moe, true, d->sent_rows / 2, d->received_rows / 2, AXL_F32,
                               AXL_F32));
    assert_int_equal(c[AXL_COMM_ALL_GATHER].sent_bytes, 2 * axl_dispatch_count_bytes(d));
    trial_end(&t);
}

// One packed row: its parts on cp and tp ranks are pooled, and what micro-batches there are does not matter.
static void check_auxiliary(const int mesh[AXL_N_AXES])
{
    static const char *const with_aux[] = {"mixtral_aux", "qwen3_moe_dense"};

    for (size_t i = 0; i < sizeof with_aux / sizeof *with_aux; i++) {
        trial_options o = {.backend = "cpu", .mode = AXL_CHECKPOINT_FULL};
        memcpy(o.mesh, mesh, sizeof o.mesh);
        check_case(with_aux[i], &o, 0);
    }
}

static void the_auxiliary_loss_agrees_with_the_reference(void **state)
{
    int mesh[AXL_N_AXES] = {1, 1, 1, 1, 1};

    (void)state;
    each_mesh(check_auxiliary, mesh, AXL_CP, axl_comm_size(world));
}

static void run_with_auxiliary(const char *name, const trial_options *o, double *loss, double *norm)
{
    trial t;

    trial_begin(&t, name, world, o);
    *loss = trial_run(&t);
    CHECK_OK(axl_grad_norm(&t.sharder, norm));
    trial_end(&t);
}

// The same micro-batches one after the other, split over cp or tp, or at once on ranks of ep or dp_shard.
static void the_auxiliary_loss_does_not_depend_on_the_layout(void **state)
{
    const int n = axl_comm_size(world);

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double want[2] = {0.0, 0.0}, plain[2];
        trial_options o = {.backend = "cpu", .micro_steps = n, .mesh = {1, 1, 1, n, 1}};
        run_with_auxiliary(cases[i], &o, &plain[0], &plain[1]);
        for (int axis = AXL_TP; axis >= 0; axis--) {
            const bool splits_data = axis < AXL_CP;
            double got[2];
            o = (trial_options){.backend = "cpu",
                                .aux_coef = 0.5,
                                .micro_steps = splits_data ? 1 : n,
                                .mesh = {1, 1, 1, 1, 1}};
            o.mesh[axis] = n;
            run_with_auxiliary(cases[i], &o, &got[0], &got[1]);
            if (axis == AXL_TP)
                memcpy(want, got, sizeof want);
            assert_true(got[0] > plain[0] + 0.5); // aux is near top_k = 2
            for (int k = 0; k < 2; k++)
                if (!(fabs(got[k] - want[k]) <= 1e-5 * want[k]))
                    fail_msg("%s, axis %d: %s is %.8f, expected %.8f", cases[i], axis,
                             k == 0 ? "loss" : "gradient norm", got[k], want[k]);
        }
    }
}

// The last ranks get no document.
static void ranks_without_tokens_take_part(void **state)
{
    trial_options o = {.backend = "cpu", .micro_steps = 4, .mesh = {1, 1, 1, 1, 1}};

    (void)state;
    o.mesh[AXL_EP] = axl_comm_size(world);
    check_case("mixtral", &o, 0);
    o.mode = AXL_CHECKPOINT_FULL;
    check_case("qwen3_moe", &o, 0);
}

static void many_rounds_equal_one(void **state)
{
    trial_options o = {.backend = "cpu", .reshard = true, .mesh = {1, 1, 1, 1, 1}};

    (void)state;
    o.mesh[AXL_EP] = axl_comm_size(world);
    if (axl_comm_size(world) == 1)
        return;                   // a rank has memory for its own copies
    check_case("mixtral", &o, 1); // 3 rows
    check_case("qwen3_moe", &o, 7);
    o.mode = AXL_CHECKPOINT_SELECTIVE;
    check_case("qwen3_moe", &o, 3);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_layout_agrees_with_the_reference),
        cmocka_unit_test(ranks_without_tokens_take_part),
        cmocka_unit_test(many_rounds_equal_one),
        cmocka_unit_test(bytes_sent_equal_the_formula),
        cmocka_unit_test(the_auxiliary_loss_agrees_with_the_reference),
        cmocka_unit_test(the_auxiliary_loss_does_not_depend_on_the_layout),
    };
    CHECK_OK(axl_comm_init(&argc, &argv, &world));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    axl_comm_finalize(world);
    return failed;
}
