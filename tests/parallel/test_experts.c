// RUN: np=1,2,4
// Mixtures of experts on any layout: experts over ep, their rows over dp_shard and cp, their matrices over tp; ranks
// without tokens, and so little memory for arriving rows that many rounds are needed: the same losses, gradients
// and parameters as the reference.
#include "tests/families/trial.h"

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
    trial_check_steps(&t);
    trial_end(&t);
}

// Every split of the ranks over dp_replicate, dp_shard, ep and tp.
static void each_mesh(void (*check)(const int mesh[AXL_N_AXES]))
{
    const int n = axl_comm_size(world);

    for (int r = 1; r <= n; r++)
        for (int s = 1; r * s <= n; s++)
            for (int e = 1; r * s * e <= n; e++) {
                const int mesh[AXL_N_AXES] = {r, s, e, 1, n / (r * s * e)};
                if (r * s * e * mesh[AXL_TP] == n)
                    check(mesh);
            }
}

static void check_mesh(const int mesh[AXL_N_AXES])
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        trial_options o = {.backend = "cpu", .reshard = true};
        memcpy(o.mesh, mesh, sizeof o.mesh);
        check_case(cases[i], &o, 0);
    }
}

static void every_layout_agrees_with_the_reference(void **state)
{
    (void)state;
    each_mesh(check_mesh);
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
    };
    CHECK_OK(axl_comm_init(&argc, &argv, &world));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    axl_comm_finalize(world);
    return failed;
}
