// RUN: np=1,2,3,4,6,8,16
// The same run on any layout: tiny models over meshes of every axis, against the reference's losses, gradients and
// parameters. Each rank count runs the rows of the table whose product it is.
#include "src/plan/forecast.h"
#include "tests/families/trial.h"

typedef struct layout {
    const char *model;
    int mesh[AXL_N_AXES]; // dp_replicate, dp_shard, ep, cp, tp
    bool keep;            // reshard_after_forward: false
    int micro_steps;
    axl_checkpointing mode;
    axl_ring_schedule ring;
} layout;

static const layout layouts[] = {
    // np 1
    {.model = "mixtral", .mesh = {1, 1, 1, 1, 1}},
    {.model = "qwen3_moe", .mesh = {1, 1, 1, 1, 1}, .micro_steps = 3},
    {.model = "llama", .mesh = {1, 1, 1, 1, 1}},
    {.model = "qwen3_bias", .mesh = {1, 1, 1, 1, 1}, .micro_steps = 2},
    // np 2
    {.model = "mixtral", .mesh = {1, 2, 1, 1, 1}},
    {.model = "mixtral", .mesh = {1, 1, 2, 1, 1}},
    {.model = "qwen3_moe", .mesh = {1, 1, 2, 1, 1}, .micro_steps = 3, .mode = AXL_CHECKPOINT_FULL},
    {.model = "mixtral", .mesh = {1, 1, 1, 1, 2}},
    {.model = "qwen3_moe", .mesh = {1, 1, 1, 2, 1}, .micro_steps = 2},
    {.model = "llama", .mesh = {1, 1, 1, 2, 1}},
    {.model = "mistral", .mesh = {1, 1, 1, 2, 1}, .mode = AXL_CHECKPOINT_FULL},
    {.model = "qwen2", .mesh = {1, 1, 1, 2, 1}, .micro_steps = 3},
    {.model = "llama_dynamic", .mesh = {1, 1, 1, 2, 1}},
    {.model = "qwen3_bias", .mesh = {1, 1, 1, 2, 1}, .ring = AXL_RING_VARLEN_LLAMA3},
    {.model = "mistral", .mesh = {1, 1, 1, 2, 1}, .ring = AXL_RING_BATCH_RING},
    {.model = "llama", .mesh = {2, 1, 1, 1, 1}},
    {.model = "qwen2_tied", .mesh = {2, 1, 1, 1, 1}, .micro_steps = 2},
    {.model = "llama", .mesh = {1, 1, 1, 1, 2}},
    {.model = "llama_bias_headdim", .mesh = {1, 1, 1, 1, 2}},
    {.model = "llama_llama3", .mesh = {1, 1, 1, 1, 2}, .mode = AXL_CHECKPOINT_FULL},
    {.model = "qwen2", .mesh = {1, 1, 1, 1, 2}, .micro_steps = 3},
    {.model = "qwen3", .mesh = {1, 1, 1, 1, 2}},
    {.model = "qwen3_bias", .mesh = {1, 1, 1, 1, 2}, .mode = AXL_CHECKPOINT_SELECTIVE},
    {.model = "smollm3", .mesh = {1, 1, 1, 1, 2}},
    // np 3
    {.model = "mixtral", .mesh = {1, 3, 1, 1, 1}, .micro_steps = 2},
    {.model = "qwen2", .mesh = {1, 1, 1, 3, 1}, .micro_steps = 2},
    {.model = "smollm3", .mesh = {1, 1, 1, 3, 1}},
    {.model = "qwen2_tied", .mesh = {1, 3, 1, 1, 1}, .keep = true, .micro_steps = 2},
    {.model = "llama", .mesh = {3, 1, 1, 1, 1}},
    // np 4
    {.model = "mixtral", .mesh = {1, 1, 4, 1, 1}, .micro_steps = 2},
    {.model = "qwen3_moe", .mesh = {1, 2, 2, 1, 1}},
    {.model = "mixtral", .mesh = {1, 1, 2, 2, 1}, .mode = AXL_CHECKPOINT_FULL},
    {.model = "qwen3_moe", .mesh = {1, 1, 2, 1, 2}},
    {.model = "mixtral", .mesh = {2, 1, 2, 1, 1}, .keep = true},
    {.model = "qwen3_moe", .mesh = {1, 1, 1, 2, 2}},
    {.model = "llama", .mesh = {1, 1, 1, 4, 1}},
    {.model = "qwen2", .mesh = {1, 2, 1, 2, 1}, .micro_steps = 2},
    {.model = "mistral", .mesh = {2, 1, 1, 2, 1}, .mode = AXL_CHECKPOINT_FULL},
    {.model = "qwen3_bias", .mesh = {1, 1, 1, 2, 2}},
    {.model = "llama_llama3", .mesh = {1, 1, 1, 4, 1}, .ring = AXL_RING_VARLEN_LLAMA3},
    {.model = "llama_dynamic", .mesh = {1, 1, 1, 4, 1}, .ring = AXL_RING_BATCH_RING},
    {.model = "llama", .mesh = {2, 2, 1, 1, 1}, .micro_steps = 2},
    {.model = "qwen2_tied", .mesh = {2, 2, 1, 1, 1}, .keep = true, .micro_steps = 2},
    {.model = "llama", .mesh = {1, 2, 1, 1, 2}},
    {.model = "qwen3_bias", .mesh = {1, 2, 1, 1, 2}, .micro_steps = 2},
    {.model = "qwen3_bias", .mesh = {1, 1, 1, 1, 4}}, // fewer key heads than ranks
    {.model = "llama_bias_headdim", .mesh = {1, 1, 1, 1, 4}},
    {.model = "qwen2_tied", .mesh = {2, 1, 1, 1, 2}},
    // np 6
    {.model = "mixtral", .mesh = {1, 3, 2, 1, 1}, .micro_steps = 2},
    {.model = "llama", .mesh = {1, 1, 1, 3, 2}},
    {.model = "qwen2", .mesh = {1, 3, 1, 2, 1}, .keep = true, .micro_steps = 2},
    {.model = "qwen2_tied", .mesh = {1, 1, 1, 6, 1}},
    {.model = "llama_llama3", .mesh = {1, 3, 1, 1, 2}},
    {.model = "qwen2", .mesh = {3, 1, 1, 1, 2}},
    // np 8
    {.model = "mixtral", .mesh = {1, 2, 2, 2, 1}, .micro_steps = 2},
    {.model = "qwen3_moe", .mesh = {1, 1, 2, 2, 2}},
    {.model = "qwen3_moe", .mesh = {1, 1, 8, 1, 1}},
    {.model = "qwen3_bias", .mesh = {1, 2, 1, 2, 2}, .micro_steps = 2},
    {.model = "mistral", .mesh = {2, 2, 1, 2, 1}, .micro_steps = 2},
    {.model = "llama", .mesh = {1, 1, 1, 8, 1}},
    {.model = "qwen3", .mesh = {2, 1, 1, 2, 2}, .mode = AXL_CHECKPOINT_SELECTIVE},
    {.model = "qwen3_bias", .mesh = {1, 2, 1, 1, 4}, .micro_steps = 2},
    {.model = "llama", .mesh = {2, 2, 1, 1, 2}, .mode = AXL_CHECKPOINT_FULL},
    // np 16
    {.model = "mixtral", .mesh = {2, 2, 2, 2, 1}, .micro_steps = 2},
    {.model = "qwen3_moe", .mesh = {1, 2, 2, 2, 2}},
    {.model = "qwen2", .mesh = {1, 1, 1, 16, 1}},
    {.model = "qwen3_bias", .mesh = {2, 2, 1, 2, 2}, .micro_steps = 2},
    {.model = "llama", .mesh = {1, 4, 1, 2, 2}},
    {.model = "qwen3_bias", .mesh = {2, 2, 1, 1, 4}},
};

static axl_comm *world;

static int product(const int mesh[AXL_N_AXES])
{
    int n = 1;

    for (int i = 0; i < AXL_N_AXES; i++)
        n *= mesh[i];
    return n;
}

// What is said before any token is known: nothing is sent beyond the worst case, nor expected beyond it, and what
// follows from the weights alone is exact.
static void check_outlook(const trial *t)
{
    axl_traffic expected = {0};
    axl_traffic worst = {0};

    CHECK_OK(axl_traffic_outlook(&t->work, &t->sharder.options, t->options.micro_steps, t->n_tokens,
                                 t->n_docs, false, &expected, &worst));
    for (int g = 0; g < AXL_N_GROUPS; g++) {
        for (int op = 0; op < AXL_COMM_N_OPS; op++) {
            assert_true(t->traffic.sent[g][op] <= worst.sent[g][op]);
            assert_true(expected.sent[g][op] <= worst.sent[g][op]);
            if (g == AXL_GROUP_DENSE || g == AXL_GROUP_EXPERT || g == AXL_GROUP_TP_SHARE)
                assert_int_equal(expected.sent[g][op], t->traffic.sent[g][op]);
        }
    }
}

static void check_layout(const layout *l)
{
    trial t;
    trial_options o = {.backend = "cpu",
                       .mode = l->mode,
                       .reshard = !l->keep,
                       .micro_steps = l->micro_steps,
                       .ring = l->ring};

    memcpy(o.mesh, l->mesh, sizeof o.mesh);
    trial_begin(&t, l->model, world, &o);
    (void)snprintf(t.where, sizeof t.where, "%s on %d x %d x %d x %d x %d", l->model, l->mesh[0],
                   l->mesh[1], l->mesh[2], l->mesh[3], l->mesh[4]);
    double want = trial_meta(&t, "loss");
    double loss = trial_run(&t);
    if (!(fabs(loss - want) <= 1e-5 * want))
        fail_msg("%s: loss is %.8f, expected %.8f", t.where, loss, want);
    trial_check_traffic(&t);
    check_outlook(&t);
    trial_check_gradients(&t);
    double norm = 0.0;
    CHECK_OK(axl_grad_norm(&t.sharder, &norm));
    if (!(fabs(norm - trial_meta(&t, "grad_norm")) <= 1e-4 * norm))
        fail_msg("%s: gradient norm is %.8f, expected %.8f", t.where, norm,
                 trial_meta(&t, "grad_norm"));
    trial_check_steps(&t);
    trial_end(&t);
}

// Ten steps on documents of nasty lengths: many of one token, shorter than the axis, and one that is half of all.
static const int32_t nasty[] = {1, 1, 7, 2, 64, 1, 3, 16, 1, 29, 5, 1};

static void check_beside_one_rank(const layout *l, axl_comm *alone)
{
    enum { STEPS = 10 };
    trial t, solo;
    double losses[STEPS], want[STEPS];
    const int n_nasty = (int)(sizeof nasty / sizeof *nasty);
    trial_options o = {.backend = "cpu",
                       .mode = l->mode,
                       .reshard = !l->keep,
                       .micro_steps = l->micro_steps,
                       .ring = l->ring,
                       .lengths = nasty,
                       .n_lengths = n_nasty};

    trial_begin(&solo, l->model, alone,
                &(trial_options){.backend = "cpu", .lengths = nasty, .n_lengths = n_nasty});
    trial_train(&solo, STEPS, want);
    memcpy(o.mesh, l->mesh, sizeof o.mesh);
    trial_begin(&t, l->model, world, &o);
    (void)snprintf(t.where, sizeof t.where, "%s on %d x %d x %d x %d x %d, ten steps", l->model,
                   l->mesh[0], l->mesh[1], l->mesh[2], l->mesh[3], l->mesh[4]);
    trial_train(&t, STEPS, losses);
    for (int i = 0; i < STEPS; i++)
        if (!(fabs(losses[i] - want[i]) <= 1e-5 * want[i]))
            fail_msg("%s: loss of step %d is %.8f, on one rank %.8f", t.where, i, losses[i],
                     want[i]);
    assert_true(want[STEPS - 1] < 0.9 * want[0]); // it learns
    trial_check_same(&t, &solo);
    trial_check_traffic(&t);
    trial_end(&t);
    trial_end(&solo);
}

static void ten_steps_on_nasty_lengths_equal_one_rank(void **state)
{
    axl_comm *alone = NULL;

    (void)state;
    CHECK_OK(axl_comm_split(world, axl_comm_rank(world), 0, "alone", &alone));
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        if (product(layouts[i].mesh) == axl_comm_size(world))
            check_beside_one_rank(&layouts[i], alone);
    axl_comm_destroy(alone);
}

// Bytes of every operation: those that the run counted. What goes to experts depends on the routing: at most the worst.
static void check_bytes(const trial *t, const axl_forecast *f)
{
    axl_comm_counter c[AXL_COMM_N_OPS] = {{0}};

    for (int g = 0; g < AXL_N_GROUPS; g++) {
        if (t->mesh->comms[g] == NULL)
            continue;
        axl_comm_counters_read(t->mesh->comms[g], c);
        for (int op = 0; op < AXL_COMM_N_OPS; op++) {
            if (g == AXL_GROUP_AXIS + AXL_EP)
                assert_true(c[op].sent_bytes <= f->worst.sent[g][op]);
            else if (c[op].sent_bytes != f->expected.sent[g][op])
                fail_msg("%s: %s on %s sent %lld bytes, the plan says %lld", t->where,
                         axl_comm_op_name((axl_comm_op)op), axl_comm_name(t->mesh->comms[g]),
                         (long long)c[op].sent_bytes, (long long)f->expected.sent[g][op]);
        }
    }
}

// All memory of a device of its own, and who is connected with whom there: those that sent anything.
static void check_device(const trial *t, const axl_arch *arch, const axl_forecast_job *job)
{
    axl_cluster gpus;
    axl_forecast f;
    size_t used = 0, all = 0;
    int n_used = 0;
    double sent[AXL_N_GROUPS] = {0.0}; // by any rank
    axl_comm_counter c[AXL_COMM_N_OPS] = {{0}};

    CHECK_OK(axl_cluster_read("h100", &gpus));
    CHECK_OK(axl_forecast_make(arch, &gpus, job, &f));
    for (int g = AXL_GROUP_WORLD + 1; g < AXL_N_GROUPS; g++) {
        if (t->mesh->comms[g] == NULL || g == AXL_GROUP_LOSS)
            continue; // small sums of the host
        axl_comm_counters_read(t->mesh->comms[g], c);
        for (int op = 0; op < AXL_COMM_N_OPS; op++)
            sent[g] += (double)c[op].sent_bytes;
    }
    CHECK_OK(axl_comm_all_reduce_f64(world, sent, AXL_N_GROUPS, AXL_REDUCE_MAX));
    for (int g = 0; g < AXL_N_GROUPS; g++)
        n_used += sent[g] > 0.0;
    // documents that lie whole on the ranks of cp need nobody's keys
    n_used += t->mesh->size[AXL_CP] > 1 && sent[AXL_GROUP_AXIS + AXL_CP] == 0.0;
    if (f.beside.n_communicators != n_used)
        fail_msg("%s: %d communicators sent, the plan says %d", t->where, n_used,
                 f.beside.n_communicators);
    if (t->device->host_memory)
        return;
    t->device->ops->mem_info(t->device, &used, &all);
    const bool nccl = axl_comm_device_bytes(t->device) > 0;
    assert_int_equal(used, f.tensors + f.beside.bytes[AXL_BESIDE_WORKSPACE] +
                               (nccl ? f.beside.bytes[AXL_BESIDE_SUMS] : 0));
}

// The plan knows only config.json, the mesh and the sizes of the batch; the run knows all.
static void check_plan(const layout *l)
{
    enum { LENGTH = 24, EACH = 2, MOST = 256 }; // tokens of a document, documents of a micro-batch
    int32_t lengths[MOST];
    trial t;
    trial_options o = {.backend = "cpu",
                       .mode = l->mode,
                       .reshard = !l->keep,
                       .micro_steps = l->micro_steps > 0 ? l->micro_steps : 1,
                       .ring = l->ring,
                       .lengths = lengths,
                       .all_trained = true};
    axl_cluster cluster;
    axl_forecast f;
    axl_arch arch;

    memcpy(o.mesh, l->mesh, sizeof o.mesh);
    o.n_lengths = EACH * o.micro_steps * l->mesh[0] * l->mesh[1] * l->mesh[2];
    assert_true(o.n_lengths <= MOST);
    for (int i = 0; i < o.n_lengths; i++)
        lengths[i] = LENGTH;
    trial_begin(&t, l->model, world, &o);
    (void)snprintf(t.where, sizeof t.where, "%s on %d x %d x %d x %d x %d, planned", l->model,
                   l->mesh[0], l->mesh[1], l->mesh[2], l->mesh[3], l->mesh[4]);
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
    CHECK_OK(axl_forecast_make(&arch, &cluster, &job, &f));
    assert_memory_equal(&f.sharder, &t.sharder.bytes, sizeof f.sharder);
    assert_memory_equal(&f.work, &t.work.bytes, sizeof f.work);
    assert_int_equal(f.n_params, t.model->n_elements);
    check_bytes(&t, &f);
    assert_true(f.step > 0.0);
    check_device(&t, &arch, &job);
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

static void every_layout_gives_the_reference_run(void **state)
{
    int n = 0;

    (void)state;
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
        if (product(layouts[i].mesh) != axl_comm_size(world))
            continue;
        check_layout(&layouts[i]);
        n++;
    }
    assert_true(n > 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_layout_gives_the_reference_run),
        cmocka_unit_test(ten_steps_on_nasty_lengths_equal_one_rank),
        cmocka_unit_test(the_plan_is_what_the_run_counts),
    };
    CHECK_OK(axl_comm_init(&argc, &argv, &world));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    axl_comm_finalize(world);
    return failed;
}
