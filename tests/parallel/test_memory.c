// RUN: np=1,2,3,4
// What is planned is what is taken, and what travels is what the formulas of docs/internals/sharding.md say:
// bytes of memory and of communication as integers.
#include "src/base/mem.h"
#include "tests/families/trial.h"

static axl_comm *world;

static const char *const cases[] = {"llama", "llama_llama3", "qwen2", "qwen3_bias", "smollm3"};

// ---- memory

// A device that also counts what it is asked for, to the byte.
static size_t asked;
static const axl_device_ops *device_ops;

static axl_status counting_alloc(axl_device *d, size_t bytes, const char *what, void **out)
{
    asked += bytes;
    return device_ops->alloc(d, bytes, what, out);
}

// Elements of a weight as n ranks hold it: every rank the same number of rows, the last ones padded.
static int64_t padded(const axl_param *p, int n)
{
    return (p->file_rows + n - 1) / n * n * p->file_cols;
}

static size_t rounded(int64_t elements, size_t size)
{
    return axl_align_up((size_t)elements * size);
}

// Bytes of the copy of its own vectors' gradients that a unit sends: every rank's begin at a whole cache line.
static size_t vector_bytes(const axl_unit *u, int n, size_t element)
{
    int64_t part = 0;

    for (int k = 0; k < u->n_params; k++)
        part += u->params[k].n_dims == 1 ? padded(&u->params[k], n) / n : 0;
    return rounded(n * ((part + 15) / 16 * 16), element);
}

// Bytes of everything that a unit uses, gathered.
static size_t unit_bytes(const axl_unit *u, int n, size_t element)
{
    size_t sum = 0;

    for (int k = 0; k < u->n_uses; k++)
        sum += rounded(padded(u->uses[k], n), element);
    return sum;
}

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

// The root units share one region, two layers are there at a time.
static size_t over_regions(const axl_model *m, int n, size_t element,
                           size_t (*bytes)(const axl_unit *u, int n, size_t element))
{
    const axl_unit *last = &m->units[m->n_units - 1];
    size_t root = max_size(bytes(&m->units[0], n, element), bytes(last, n, element));
    size_t layer[2] = {0, 0};

    for (int u = 1; u < m->n_units - 1; u++)
        layer[(u - 1) % 2] = max_size(layer[(u - 1) % 2], bytes(&m->units[u], n, element));
    return root + layer[0] + layer[1];
}

static size_t working_set(const axl_model *m, int n, size_t element)
{
    return over_regions(m, n, element, unit_bytes);
}

// Full gradients in f32, and what is sent of them as a copy.
static size_t grads_in_flight(const axl_model *m, int n)
{
    return working_set(m, n, sizeof(float)) + over_regions(m, n, sizeof(float), vector_bytes);
}

static size_t shard_bytes(const axl_model *m, int n)
{
    size_t sum = 0;

    for (int i = 0; i < axl_model_n_params(m); i++)
        sum += rounded(padded(axl_model_param(m, i), n) / n, sizeof(float));
    return sum;
}

static size_t kept_bytes(const axl_model *m, int n)
{
    size_t sum = 0;

    for (int i = 0; i < axl_model_n_params(m); i++)
        sum += rounded(padded(axl_model_param(m, i), n), sizeof(float));
    return sum;
}

static void check_plan(const axl_model *m, int n, bool reshard, const axl_sharder_bytes *b)
{
    assert_int_equal(b->master, shard_bytes(m, n));
    assert_int_equal(b->grads, b->master);
    assert_int_equal(b->moments, 2 * b->master);
    if (n > 1) {
        assert_int_equal(b->gathered,
                         reshard ? working_set(m, n, sizeof(float)) : kept_bytes(m, n));
        assert_int_equal(b->grad_buffers, grads_in_flight(m, n));
    } else { // f32 on one rank: the master is what computes, its gradient is written in place
        assert_int_equal(b->gathered + b->grad_buffers, 0);
    }
}

// Takes the memory of one case again and compares with what was planned.
static void check_taken(const char *model, const trial_options *o)
{
    trial t;
    axl_sharder s;
    axl_work w;
    axl_work_bytes planned;
    size_t before;
    size_t after;
    size_t total;

    trial_begin(&t, model, world, o);
    axl_device_ops counting = *t.device->ops;
    device_ops = t.device->ops;
    counting.alloc = counting_alloc;
    t.device->ops = &counting;
    const axl_sharder_options so = {.dtype = AXL_F32,
                                    .train = true,
                                    .reshard_after_forward = o->mode != AXL_CHECKPOINT_NONE,
                                    .reduce_bf16 = o->reduce_bf16,
                                    .invariant = o->invariant};
    const axl_sharder_bytes plan = axl_sharder_plan(t.model->units, t.model->n_units, &so);
    if (o->mesh[0] == 0)
        check_plan(t.model, axl_comm_size(world), so.reshard_after_forward, &plan);
    axl_sharder_fini(&t.sharder);

    counting.mem_info(t.device, &before, &total);
    asked = 0;
    CHECK_OK(axl_sharder_init(&s, t.device, t.mesh, t.model->units, t.model->n_units, &so));
    assert_int_equal(asked, axl_sharder_total(&plan));

    CHECK_OK(axl_work_plan(t.model, &t.work.options, NULL, &planned));
    CHECK_OK(axl_work_init(&w, t.model, t.device, &t.work.options));
    size_t all = axl_sharder_total(&plan) + axl_work_total(&planned);
    assert_int_equal(asked, all);
    counting.mem_info(t.device, &after, &total);
    assert_int_equal(after - before, all);
    axl_work_fini(&w);
    axl_sharder_fini(&s);
    counting.mem_info(t.device, &after, &total);
    assert_int_equal(after, before);
    t.device->ops = device_ops;
    trial_end(&t);
}

static void planned_memory_is_what_is_taken(void **state)
{
    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (axl_checkpointing mode = AXL_CHECKPOINT_NONE; mode <= AXL_CHECKPOINT_FULL; mode++)
            check_taken(cases[c], &(trial_options){.backend = "cpu", .mode = mode});
}

// Each axis alone, with what else takes memory: turns of the ring, levels of the tree, gradients in bf16.
static void planned_memory_is_what_is_taken_on_every_axis(void **state)
{
    const int n = axl_comm_size(world);

    (void)state;
    for (int axis = 0; axis < AXL_N_AXES; axis++) {
        trial_options o = {.backend = "cpu",
                           .mesh = {1, 1, 1, 1, 1},
                           .invariant = axis == AXL_DP_SHARD ? 5 : 0,
                           .reduce_bf16 = axis == AXL_DP_SHARD};
        o.mesh[axis] = n;
        if (n == 3 && (axis == AXL_TP || axis == AXL_EP))
            continue; // four heads, eight experts
        for (axl_ring_schedule r = AXL_RING_VARLEN_ZIGZAG; r < AXL_RING_N_SCHEDULES; r++) {
            o.ring = r;
            check_taken("mixtral", &o);
            if (axis != AXL_CP)
                break;
        }
    }
}

// The sizes of Llama 3.1 8B; no memory is taken.
static const char large[] =
    "{\"model_type\": \"llama\", \"vocab_size\": 128256, \"hidden_size\": 4096,"
    " \"intermediate_size\": 14336, \"num_hidden_layers\": 32, \"num_attention_heads\": 32,"
    " \"num_key_value_heads\": 8, \"rope_theta\": 500000.0}";

static void memory_falls_with_ranks(void **state)
{
    const axl_sharder_options o = {.dtype = AXL_BF16, .train = true, .reshard_after_forward = true};
    axl_json *json;

    (void)state;
    CHECK_OK(axl_json_parse(large, strlen(large), "large", &json));
    if (axl_comm_rank(world) == 0)
        print_message("8B, GB a rank: ranks   16 P/N   master+grads+moments   gathered   grads in "
                      "flight\n");
    for (int n = 1; n <= 256; n *= 2) {
        axl_arch arch;
        axl_model *m;
        axl_mesh mesh;
        axl_mesh_imagine((const int[AXL_N_AXES]){1, n, 1, 1, 1}, 0, &mesh);
        CHECK_OK(axl_arch_from_json(json, "large", &arch));
        CHECK_OK(axl_model_create(&arch, &mesh, &m));
        assert_int_equal(m->n_elements, 8030261248);
        const axl_sharder_bytes b = axl_sharder_plan(m->units, m->n_units, &o);
        double ideal = 16.0 * (double)m->n_elements / n;
        double state_bytes = (double)(b.master + b.grads + b.moments);
        if (axl_comm_rank(world) == 0)
            print_message("%20d %8.3f %22.3f %10.3f %17.3f\n", n, ideal / 1e9, state_bytes / 1e9,
                          (double)b.gathered / 1e9, (double)b.grad_buffers / 1e9);
        // the sizes divide: only the rounding of small vectors is added
        assert_true(state_bytes >= ideal);
        assert_true(state_bytes <= ideal + 16.0 * 64.0 * axl_model_n_params(m));
        if (n > 1) { // two layers and the head in bf16; their gradients in f32
            assert_int_equal(b.gathered, working_set(m, n, 2));
            assert_int_equal(b.grad_buffers, grads_in_flight(m, n));
        }
        axl_model_destroy(m);
    }
    axl_json_free(json);
}

// ---- what travels

static int64_t use_elements(const axl_unit *u, int n, bool trainable_only)
{
    int64_t sum = 0;

    for (int k = 0; k < u->n_uses; k++)
        if (!trainable_only || u->uses[k]->trainable)
            sum += padded(u->uses[k], n);
    return sum;
}

static void expect_traffic(const trial *t, int n, int64_t *gathered, int64_t *reduced)
{
    const axl_model *m = t->model;
    int64_t all = 0; // a tied matrix once
    int64_t layers = 0;
    int g = t->options.micro_steps;

    for (int u = 0; u < m->n_units; u++)
        layers += m->units[u].layer >= 0 ? use_elements(&m->units[u], n, false) : 0;
    for (int i = 0; i < axl_model_n_params(m); i++)
        all += padded(axl_model_param(m, i), n);
    *gathered = 4 * (t->options.reshard ? g * (all + layers) : all);
    *reduced = 4 * g * all;
}

static void check_traffic(const char *name, bool reshard, int micro_steps)
{
    trial t;
    axl_comm_counter c[AXL_COMM_N_OPS];
    int64_t gathered;
    int64_t reduced;
    int n = axl_comm_size(world);

    trial_begin(&t, name, world,
                &(trial_options){.backend = "cpu", .reshard = reshard, .micro_steps = micro_steps});
    expect_traffic(&t, n, &gathered, &reduced);
    for (int step = 0; step < 2;
         step++) { // nothing of the first step spares the second one anything
        axl_mesh_counters_reset(t.mesh);
        (void)trial_run(&t);
        axl_comm_counters_read(t.mesh->dense, c);
        if (n == 1)
            gathered = reduced = 0;
        assert_int_equal(c[AXL_COMM_ALL_GATHER].payload_bytes, gathered);
        assert_int_equal(c[AXL_COMM_ALL_GATHER].sent_bytes, gathered / n * (n - 1));
        assert_int_equal(c[AXL_COMM_REDUCE_SCATTER].payload_bytes, reduced);
        assert_int_equal(c[AXL_COMM_REDUCE_SCATTER].sent_bytes, reduced / n * (n - 1));
        assert_int_equal(c[AXL_COMM_BROADCAST].calls + c[AXL_COMM_SEND_RECV].calls, 0);
        assert_int_equal(c[AXL_COMM_ALL_REDUCE].calls, 0);
    }
    trial_end(&t);
}

static void traffic_is_that_of_the_formulas(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int g = 1; g <= 3; g += 2) {
            check_traffic(cases[i], true, g);
            check_traffic(cases[i], false, g);
        }
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(planned_memory_is_what_is_taken),
        cmocka_unit_test(planned_memory_is_what_is_taken_on_every_axis),
        cmocka_unit_test(memory_falls_with_ranks),
        cmocka_unit_test(traffic_is_that_of_the_formulas),
    };
    CHECK_OK(axl_comm_init(&argc, &argv, &world));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    axl_comm_finalize(world);
    return failed;
}
