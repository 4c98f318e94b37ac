// RUN: np=2,3,4
// Gradients on their way into the shards, weight by weight: every one is the tree of what the ranks have, to the bit, whatever
// travels together; and how many collectives that takes.
#include "comm/transport.h" // the tree
#include "src/base/philox.h"
#include "tests/families/trial.h"

#include <stdlib.h>

enum { N_MICRO = 2 };

static const char *const cases[] = {"llama", "qwen2", "qwen3_bias", "smollm3", "mixtral"};

static axl_comm *world;

// Element i of the gradient that `rank` computes.
static float value(int rank, int micro, const axl_param *p, int64_t i)
{
    uint64_t key = (uint64_t)(rank * N_MICRO + micro);

    for (const char *c = p->key; *c != '\0'; c++)
        key = key * 31 + (uint64_t)*c;
    return (float)axl_random_normal(key, AXL_RANDOM_TEST, (uint64_t)i);
}

static void write_gradient(const trial *t, axl_param *p, int micro)
{
    const int64_t n = p->rows * p->cols;
    float *host = calloc((size_t)n, sizeof *host);

    for (int64_t i = 0; i < n; i++)
        host[i] = value(axl_comm_rank(world), micro, p, i);
    CHECK_OK(axl_device_write(t->device, p->grad_full, host, (size_t)n * sizeof *host));
    p->grad_written = true;
    free(host);
}

static void reduce_all(trial *t)
{
    axl_sharder *s = &t->sharder;

    axl_mesh_counters_reset(t->mesh);
    axl_sharder_begin_step(s);
    for (int micro = 0; micro < N_MICRO; micro++) {
        axl_sharder_begin_micro(s, micro == N_MICRO - 1);
        for (int u = t->model->n_units - 1; u >= 0; u--) {
            axl_unit *unit = &t->model->units[u];
            CHECK_OK(axl_unit_begin_grads(s, unit));
            for (int k = 0; k < unit->n_uses; k++)
                if (unit->uses[k]->trainable)
                    write_gradient(t, unit->uses[k], micro);
            CHECK_OK(axl_unit_reduce(s, unit));
        }
        CHECK_OK(axl_sharder_end_micro(s));
    }
    CHECK_OK(axl_sharder_finish(s));
    CHECK_OK(t->device->ops->synchronize(t->device->compute));
}

static void check_param(const trial *t, const axl_param *p)
{
    const int n_ranks = axl_comm_size(world);
    const int64_t count = axl_param_shard_count(p), first = p->shard * count;
    const axl_dtype dtype = t->options.reduce_bf16 ? AXL_BF16 : AXL_F32;
    const size_t bytes = (size_t)count * axl_dtype_size(dtype);
    char *parts = calloc((size_t)n_ranks, bytes);
    const void *src[4];
    float *want = calloc((size_t)count, sizeof *want), *got = calloc((size_t)count, sizeof *got);

    for (int micro = 0; micro < N_MICRO; micro++) {
        memset(parts, 0, (size_t)n_ranks * bytes); // padding
        for (int r = 0; r < n_ranks; r++) {
            src[r] = parts + (size_t)r * bytes;
            for (int64_t i = 0; i < count && first + i < p->rows * p->cols; i++) {
                const float x = value(r, micro, p, first + i);
                if (dtype == AXL_F32)
                    ((float *)(void *)parts)[r * count + i] = x;
                else
                    ((axl_bf16 *)(void *)parts)[r * count + i] = axl_f32_to_bf16(x);
            }
        }
        axl_reduce_sum(src, n_ranks, dtype, count, want, micro > 0);
    }
    CHECK_OK(axl_device_read(t->device, got, p->grad_shard, (size_t)count * sizeof *got));
    for (int64_t i = 0; i < count; i++)
        if (memcmp(&got[i], &want[i], sizeof *got) != 0)
            fail_msg("%s: %s: element %lld of %lld is %.9g, not %.9g", t->where, p->key,
                     (long long)i, (long long)count, (double)got[i], (double)want[i]);
    free(got);
    free(want);
    free(parts);
}

// Collectives of a unit's own weights on one communicator.
static int64_t n_collectives(const axl_unit *u, bool experts, bool narrow)
{
    int64_t n = 0, together = 0;

    for (int k = 0; k < u->n_params; k++) {
        const bool alone = !narrow && u->params[k].n_dims > 1;
        if (u->params[k].is_expert == experts) {
            n += alone;
            together += !alone;
        }
    }
    return n + (together > 0 ? 1 : 0);
}

static void check_case(const char *name, bool narrow)
{
    trial t;
    axl_comm_counter c[AXL_COMM_N_OPS];
    int64_t calls = 0, elements = 0, counted = 0, bytes = 0;

    trial_begin(&t, name, world,
                &(trial_options){.backend = "cpu", .reshard = true, .reduce_bf16 = narrow});
    reduce_all(&t);
    for (int i = 0; i < axl_model_n_params(t.model); i++) {
        check_param(&t, axl_model_param(t.model, i));
        elements += axl_param_full_count(axl_model_param(t.model, i));
    }
    for (int u = 0; u < t.model->n_units; u++)
        for (int experts = 0; experts < 2; experts++)
            calls += n_collectives(&t.model->units[u], experts != 0, narrow);
    for (int experts = 0; experts < 2; experts++) {
        axl_comm_counters_read(experts ? t.mesh->expert : t.mesh->dense, c);
        counted += c[AXL_COMM_REDUCE_SCATTER].calls;
        bytes += c[AXL_COMM_REDUCE_SCATTER].payload_bytes;
    }
    assert_int_equal(counted, N_MICRO * calls);
    assert_int_equal(bytes, N_MICRO * elements * (narrow ? 2 : 4)); // nothing between parts travels
    trial_end(&t);
}

static void every_shard_is_the_tree_over_ranks(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_case(cases[i], false);
}

static void in_bf16_a_unit_is_one_message(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_case(cases[i], true);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shard_is_the_tree_over_ranks),
        cmocka_unit_test(in_bf16_a_unit_is_one_message),
    };
    CHECK_OK(axl_comm_init(&argc, &argv, &world));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    axl_comm_finalize(world);
    return failed;
}
