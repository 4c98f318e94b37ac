// RUN: np=1
// Tiny models of every switch against transformers: logits by loss, every gradient, and parameters after 1 and 5
// AdamW steps; on the reference kernels and on the best of this machine; the three save sets agree bit for bit.
#include "src/io/hfdir.h"
#include "src/io/json.h"
#include "src/model/pass.h"
#include "src/optim/optim.h"
#include "tests/check.h"

#include <stdlib.h>

static const char *const cases[] = {
    "llama",   "llama_llama3", "llama_bias_headdim", "llama_linear", "llama_dynamic", "llama_yarn",
    "mistral", "qwen2",        "qwen2_tied",         "qwen3",        "qwen3_bias",    "smollm3"};

typedef struct trial {
    char dir[512];
    axl_comm *comm;
    axl_device *device;
    axl_hfdir *hf;
    axl_model *model;
    axl_sharder sharder;
    axl_work work;
    axl_safetensors *golden;
    axl_json *meta;
    int32_t *labels;
    axl_batch batch;
} trial;

static const void *array(const trial *t, const char *name, int64_t *n)
{
    const axl_tensor_entry *e = axl_safetensors_find(t->golden, name);
    if (e == NULL)
        fail_msg("%s lacks %s", t->dir, name);
    if (n != NULL)
        *n = axl_tensor_count(&e->spec);
    return e->data;
}

static void set_batch(trial *t)
{
    int64_t n;
    int64_t docs;
    const int32_t *labels = array(t, "labels", &n);
    const int32_t *cu = array(t, "cu_seqlens", &docs);

    t->labels = calloc((size_t)n, sizeof *t->labels);
    for (int64_t i = 0; i < n; i++)
        t->labels[i] = i + 1 < n ? labels[i + 1] : AXL_IGNORE;
    t->batch = (axl_batch){.n_tokens = (int32_t)n,
                           .n_seqs = (int32_t)docs - 1,
                           .input_ids = array(t, "input_ids", NULL),
                           .position_ids = array(t, "position_ids", NULL),
                           .labels = t->labels,
                           .cu_seqlens = cu};
    for (int64_t i = 0; i + 1 < docs; i++)
        if (cu[i + 1] - cu[i] > t->batch.max_seqlen)
            t->batch.max_seqlen = cu[i + 1] - cu[i];
}

static void begin(trial *t, const char *name, const char *backend, axl_checkpointing mode)
{
    char path[700];
    axl_arch arch;
    const axl_device_options d = {.backend = backend, .n_threads = 1};

    *t = (trial){0};
    (void)snprintf(t->dir, sizeof t->dir, "%s/families/%s", AXL_TEST_DATA, name);
    (void)snprintf(path, sizeof path, "%s/golden.safetensors", t->dir);
    CHECK_OK(axl_safetensors_open(path, &t->golden));
    (void)snprintf(path, sizeof path, "%s/golden.json", t->dir);
    CHECK_OK(axl_json_read(path, &t->meta));
    CHECK_OK(axl_comm_init(NULL, NULL, &t->comm));
    CHECK_OK(axl_device_create(&d, &t->device));
    CHECK_OK(axl_hfdir_open(t->dir, &t->hf));
    CHECK_OK(axl_arch_read(t->dir, &arch));
    CHECK_OK(axl_model_create(&arch, t->comm, &t->model));
    const axl_sharder_options o = {.dtype = AXL_F32, .train = true};
    CHECK_OK(
        axl_sharder_init(&t->sharder, t->device, t->comm, t->model->units, t->model->n_units, &o));
    CHECK_OK(axl_model_load(t->model, t->hf));
    set_batch(t);
    const axl_work_options w = {.n_tokens = t->batch.n_tokens,
                                .n_seqs = t->batch.n_seqs,
                                .dtype = AXL_F32,
                                .checkpointing = mode,
                                .train = true};
    CHECK_OK(axl_work_init(&t->work, t->model, t->device, &w));
}

static void end(trial *t)
{
    axl_work_fini(&t->work);
    axl_sharder_fini(&t->sharder);
    axl_model_destroy(t->model);
    axl_hfdir_close(t->hf);
    axl_device_destroy(t->device);
    axl_comm_finalize(t->comm);
    axl_safetensors_close(t->golden);
    axl_json_free(t->meta);
    free(t->labels);
}

// One forward and backward; returns the mean loss.
static double run(trial *t)
{
    double *grad = calloc((size_t)t->batch.n_tokens, sizeof *grad);
    double *logp = calloc((size_t)t->batch.n_tokens, sizeof *logp);
    double loss = 0.0;

    axl_sharder_begin_step(&t->sharder);
    CHECK_OK(axl_work_set_batch(&t->work, &t->batch));
    for (int64_t i = 0; i < t->work.n_scored; i++)
        grad[i] = -1.0 / (double)t->work.n_scored;
    CHECK_OK(axl_pass_forward(&t->work, &t->sharder));
    CHECK_OK(axl_pass_head(&t->work, &t->sharder, grad, true));
    CHECK_OK(axl_pass_backward(&t->work, &t->sharder));
    CHECK_OK(axl_sharder_finish(&t->sharder));
    CHECK_OK(axl_head_logp(&t->work, logp));
    for (int64_t i = 0; i < t->work.n_scored; i++)
        loss -= logp[i] / (double)t->work.n_scored;
    free(grad);
    free(logp);
    return loss;
}

static void check_gradients(const trial *t)
{
    for (int i = 0; i < axl_model_n_params(t->model); i++) {
        const axl_param *p = axl_model_param(t->model, i);
        char name[300];
        int64_t n;
        (void)snprintf(name, sizeof name, "grad/%s", p->key);
        const float *want = array(t, name, &n);
        double diff = 0.0;
        double norm = 0.0;
        assert_int_equal(n, p->rows * p->cols);
        for (int64_t k = 0; k < n; k++) {
            diff += pow((double)p->grad_shard[k] - (double)want[k], 2.0);
            norm += pow((double)want[k], 2.0);
        }
        // a key bias has no gradient in exact arithmetic: its noise is compared with that of the weights
        if (!(sqrt(diff) <= 1e-4 * sqrt(norm) + 1e-7))
            fail_msg("%s %s: gradient off by %.3g of its norm %.3g", t->dir, name,
                     sqrt(diff / (norm + 1e-300)), sqrt(norm));
    }
}

static void check_params(const trial *t, const char *what)
{
    for (int i = 0; i < axl_model_n_params(t->model); i++) {
        const axl_param *p = axl_model_param(t->model, i);
        char name[300];
        int64_t n;
        int64_t count = p->rows * p->cols;
        (void)snprintf(name, sizeof name, "%s/%s", what, p->key);
        const float *want = array(t, name, &n);
        double diff = 0.0;
        double norm = 0.0;
        for (int64_t k = 0; k < n; k++) {
            diff += pow((double)p->master[k * count / n] - (double)want[k], 2.0);
            norm += pow((double)want[k], 2.0);
        }
        if (!(sqrt(diff) <= 1e-4 * sqrt(norm)))
            fail_msg("%s %s: off by %.3g of its norm", t->dir, name, sqrt(diff / norm));
    }
}

static double meta_real(const trial *t, const char *key)
{
    const axl_json *v = axl_json_get(axl_json_get(t->meta, "adamw"), key);
    return axl_json_real(v != NULL ? v : axl_json_get(t->meta, key), NAN);
}

static void steps(trial *t)
{
    const axl_optimizer *opt = axl_optimizer_find("adamw_torch");
    const axl_json *betas = axl_json_get(axl_json_get(t->meta, "adamw"), "betas");
    axl_hyper h = {.lr = meta_real(t, "lr"),
                   .beta1 = axl_json_real(axl_json_at(betas, 0), NAN),
                   .beta2 = axl_json_real(axl_json_at(betas, 1), NAN),
                   .eps = meta_real(t, "eps"),
                   .weight_decay = meta_real(t, "weight_decay"),
                   .grad_scale = 1.0};

    for (h.t = 1; h.t <= 5; h.t++) {
        double loss = run(t);
        double want = axl_json_real(
            axl_json_at(axl_json_get(t->meta, "spared_step_losses"), (size_t)(h.t - 1)), NAN);
        if (!(fabs(loss - want) <= 1e-5 * want))
            fail_msg("%s: loss before step %d is %.8f, expected %.8f", t->dir, (int)h.t, loss,
                     want);
        for (int i = 0; i < axl_model_n_params(t->model); i++)
            CHECK_OK(opt->step(t->device, axl_model_param(t->model, i), &h));
        if (h.t == 1)
            check_params(t, "spared_step1");
    }
    check_params(t, "spared_step5");
}

static void check_case(const char *name, const char *backend)
{
    trial t;

    begin(&t, name, backend, AXL_CHECKPOINT_NONE);
    double want = meta_real(&t, "loss");
    double loss = run(&t);
    if (!(fabs(loss - want) <= 1e-5 * want))
        fail_msg("%s: loss is %.8f, expected %.8f", name, loss, want);
    check_gradients(&t);
    steps(&t);
    end(&t);
}

static void reference_kernels_agree_with_transformers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_case(cases[i], "ref");
}

static void best_kernels_agree_with_transformers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_case(cases[i], "cpu");
}

static void save_sets_agree_bit_for_bit(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        trial a;
        begin(&a, cases[i], "cpu", AXL_CHECKPOINT_NONE);
        double loss = run(&a);
        for (axl_checkpointing mode = AXL_CHECKPOINT_SELECTIVE; mode <= AXL_CHECKPOINT_FULL;
             mode++) {
            trial b;
            begin(&b, cases[i], "cpu", mode);
            assert_true(run(&b) == loss);
            assert_memory_equal(a.sharder.grads, b.sharder.grads, a.sharder.bytes.grads);
            assert_true(b.work.bytes.saved < a.work.bytes.saved);
            end(&b);
        }
        end(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_kernels_agree_with_transformers),
        cmocka_unit_test(best_kernels_agree_with_transformers),
        cmocka_unit_test(save_sets_agree_bit_for_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
