// RUN: np=1
// Decoding with a cache gives the logits of one full forward pass however the sequence is read, and sampling draws
// from the distribution it names.
#include "src/generate/generate.h"

#include "src/base/philox.h"
#include "tests/check.h"

#include <stdlib.h>

static axl_comm *world;

// ---- a model of tests/data/families

typedef struct fixture {
    axl_device *device;
    axl_hfdir *hf;
    axl_mesh *mesh;
    axl_model *model;
    axl_sharder sharder;
    axl_generator g;
    axl_safetensors *golden;
} fixture;

enum { CAPACITY = 640 };

static void begin(fixture *f, const char *name, const char *backend)
{
    char path[600];
    axl_arch arch;
    const axl_device_options d = {.backend = backend, .n_threads = 1};
    const axl_sharder_options so = {.dtype = AXL_F32};

    *f = (fixture){0};
    (void)snprintf(path, sizeof path, "%s/families/%s/golden.safetensors", AXL_TEST_DATA, name);
    CHECK_OK(axl_safetensors_open(path, &f->golden));
    (void)snprintf(path, sizeof path, "%s/families/%s", AXL_TEST_DATA, name);
    CHECK_OK(axl_device_create(&d, &f->device));
    CHECK_OK(axl_hfdir_open(path, &f->hf));
    CHECK_OK(axl_arch_read(path, &arch));
    CHECK_OK(axl_mesh_create(world, (const int[AXL_N_AXES]){1, 1, 1, 1, 1}, &f->mesh));
    CHECK_OK(axl_model_create(&arch, f->mesh, &f->model));
    CHECK_OK(
        axl_sharder_init(&f->sharder, f->device, f->mesh, f->model->units, f->model->n_units, &so));
    CHECK_OK(axl_model_load(f->model, f->hf));
    CHECK_OK(axl_generator_init(&f->g, f->model, &f->sharder, f->device, AXL_F32, CAPACITY));
}

static void end(fixture *f)
{
    axl_generator_fini(&f->g);
    axl_sharder_fini(&f->sharder);
    axl_model_destroy(f->model);
    axl_mesh_destroy(f->mesh);
    axl_hfdir_close(f->hf);
    axl_device_destroy(f->device);
    axl_safetensors_close(f->golden);
}

static const void *array(const fixture *f, const char *name, int64_t *n)
{
    const axl_tensor_entry *e = axl_safetensors_find(f->golden, name);

    assert_non_null(e);
    *n = axl_tensor_count(&e->spec);
    return e->data;
}

// Reads ids in pieces of the given size and compares the logits behind each piece with want [n, V].
static void read_in_pieces(fixture *f, const int32_t *ids, int64_t n, int64_t piece,
                           const float *want)
{
    const axl_sampling greedy = {.top_p = 1.0};
    int64_t v = f->model->arch.vocab;

    axl_generator_reset(&f->g);
    for (int64_t at = 0; at < n; at += piece) {
        int64_t m = n - at < piece ? n - at : piece;
        int32_t token;
        CHECK_OK(axl_generator_read(&f->g, ids + at, m));
        CHECK_OK(axl_generator_next(&f->g, &greedy, &token));
        CHECK_CLOSE(f->g.logits, want + (at + m - 1) * v, v, 2e-5, 1e-4);
    }
}

static const char *const families[] = {"llama", "mistral", "qwen2", "qwen3", "smollm3"};

static void cached_logits_are_those_of_the_reference(void **state)
{
    static const int64_t pieces[] = {1, 2, 3, 7, 1000};

    (void)state;
    for (size_t c = 0; c < sizeof families / sizeof *families; c++) {
        fixture f;
        int64_t n;
        int64_t n_docs;
        begin(&f, families[c], c % 2 == 0 ? "cpu" : "ref");
        const int32_t *ids = array(&f, "input_ids", &n);
        const float *logits = array(&f, "logits", &n);
        const int32_t *cu = array(&f, "cu_seqlens", &n_docs);
        for (int64_t d = 0; d + 1 < n_docs; d++)
            for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++)
                read_in_pieces(&f, ids + cu[d], cu[d + 1] - cu[d], pieces[p],
                               logits + cu[d] * f.model->arch.vocab);
        end(&f);
    }
}

// The logits behind the last of n tokens in one forward pass without a cache.
static void full_forward(fixture *f, const int32_t *ids, int32_t n, float *logits)
{
    axl_work w;
    int32_t positions[CAPACITY];
    const int32_t cu[2] = {0, n};
    const axl_work_options o = {.n_tokens = n, .n_seqs = 1, .dtype = AXL_F32};
    const axl_batch b = {.n_tokens = n,
                         .n_seqs = 1,
                         .max_seqlen = n,
                         .input_ids = ids,
                         .position_ids = positions,
                         .cu_seqlens = cu};
    axl_unit *head = &f->model->units[f->model->n_units - 1];

    for (int32_t i = 0; i < n; i++)
        positions[i] = i;
    CHECK_OK(axl_work_init(&w, f->model, f->device, &o));
    CHECK_OK(axl_work_set_batch(&w, &b));
    CHECK_OK(axl_pass_forward(&w, &f->sharder));
    CHECK_OK(axl_unit_acquire(&f->sharder, head));
    CHECK_OK(axl_head_last_logits(&w, logits));
    axl_unit_release(&f->sharder, head);
    axl_work_fini(&w);
}

// More tokens than the generator reads at a time, a window that has long passed the start, uneven pieces.
static void long_sequences_equal_one_forward(void **state)
{
    static const int64_t cuts[] = {0, 300, 301, 557, 558, 559, 600};
    static const axl_sampling greedy = {.top_p = 1.0};

    (void)state;
    for (size_t c = 0; c < sizeof families / sizeof *families; c++) {
        fixture f;
        int32_t ids[CAPACITY];
        begin(&f, families[c], "cpu");
        int64_t v = f.model->arch.vocab;
        float *want = calloc((size_t)v, sizeof *want);
        for (int i = 0; i < CAPACITY; i++)
            ids[i] = (int32_t)(axl_random_uniform(c, AXL_RANDOM_TEST, (uint64_t)i) * (double)v);
        for (size_t k = 1; k < sizeof cuts / sizeof *cuts; k++) {
            int32_t token;
            CHECK_OK(axl_generator_read(&f.g, ids + cuts[k - 1], cuts[k] - cuts[k - 1]));
            CHECK_OK(axl_generator_next(&f.g, &greedy, &token));
            full_forward(&f, ids, (int32_t)cuts[k], want);
            CHECK_CLOSE(f.g.logits, want, v, 2e-5, 1e-4);
        }
        free(want);
        end(&f);
    }
}

static void the_capacity_is_respected(void **state)
{
    fixture f;
    static const int32_t ids[CAPACITY + 1];

    (void)state;
    begin(&f, "llama", "cpu");
    CHECK_FAILS(axl_generator_read(&f.g, ids, CAPACITY + 1), AXL_E_INPUT, "do not fit");
    CHECK_FAILS(axl_generator_read(&f.g, ids, 0), AXL_E_INPUT, "do not fit");
    CHECK_OK(axl_generator_read(&f.g, ids, CAPACITY));
    CHECK_FAILS(axl_generator_read(&f.g, ids, 1), AXL_E_INPUT, "1 tokens do not fit behind 640");
    axl_generator_reset(&f.g);
    CHECK_OK(axl_generator_read(&f.g, ids, 1));
    end(&f);
}

// ---- sampling

enum { VOCAB = 12, N_DRAWS = 40000 };

static const float example[VOCAB] = {0.5f, 2.0f,  -1.0f, 2.0f,  0.0f,  1.5f,
                                     1.0f, -3.0f, 0.25f, 1.75f, -0.5f, 0.75f};

// Which ids fall how often.
static void draw(const axl_sampling *s, int64_t counts[VOCAB])
{
    int32_t scratch[VOCAB];
    float logits[VOCAB];

    memset(counts, 0, VOCAB * sizeof *counts);
    for (uint64_t i = 0; i < N_DRAWS; i++) {
        memcpy(logits, example, sizeof example);
        int32_t t = axl_sample(s, logits, VOCAB, i, scratch);
        assert_true(t >= 0 && t < VOCAB);
        counts[t]++;
    }
}

// Chi-square against the softmax of the ids in the set; ids outside must not fall at all.
static void check_draws(const axl_sampling *s, uint32_t set)
{
    // the 99.99th percentile for 0 .. 11 degrees of freedom
    static const double limit[VOCAB] = {1e-9, 15.2, 18.5, 21.2, 23.6, 25.8,
                                        27.9, 29.9, 31.9, 33.8, 35.6, 37.4};
    int64_t counts[VOCAB];
    double total = 0.0;
    double chi = 0.0;
    int n_set = 0;

    draw(s, counts);
    for (int v = 0; v < VOCAB; v++)
        total += (set >> v & 1) != 0 ? exp((double)example[v] / s->temperature) : 0.0;
    for (int v = 0; v < VOCAB; v++) {
        if ((set >> v & 1) == 0) {
            assert_int_equal(counts[v], 0);
            continue;
        }
        double want = N_DRAWS * exp((double)example[v] / s->temperature) / total;
        chi += ((double)counts[v] - want) * ((double)counts[v] - want) / want;
        n_set++;
    }
    if (!(chi <= limit[n_set - 1]))
        fail_msg("chi-square is %.1f with %d ids", chi, n_set);
}

static void draws_follow_the_softmax(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        check_draws(&(axl_sampling){.temperature = 1.0, .top_p = 1.0, .seed = seed}, 0xfff);
        check_draws(&(axl_sampling){.temperature = 0.6, .top_p = 1.0, .seed = seed}, 0xfff);
        check_draws(&(axl_sampling){.temperature = 3.0, .top_p = 1.0, .seed = seed}, 0xfff);
    }
}

static void top_k_keeps_the_largest(void **state)
{
    (void)state;
    // in falling order: 1 and 3 (equal), 9, 5, 6, ...
    check_draws(&(axl_sampling){.temperature = 1.0, .top_k = 4, .top_p = 1.0}, 0x22a);
    check_draws(&(axl_sampling){.temperature = 0.7, .top_k = 3, .top_p = 1.0}, 0x20a);
    check_draws(&(axl_sampling){.temperature = 1.0, .top_k = 1, .top_p = 1.0}, 0x002);
    check_draws(&(axl_sampling){.temperature = 1.0, .top_k = 99, .top_p = 1.0}, 0xfff);
}

static void top_p_keeps_the_smallest_set_that_reaches_it(void **state)
{
    double total = 0.0;
    double four = 0.0;
    static const int first[] = {1, 3, 9, 5};

    (void)state;
    for (int v = 0; v < VOCAB; v++)
        total += exp((double)example[v]);
    for (int i = 0; i < 4; i++)
        four += exp((double)example[first[i]]) / total;
    check_draws(&(axl_sampling){.temperature = 1.0, .top_p = four - 1e-6}, 0x22a);
    check_draws(&(axl_sampling){.temperature = 1.0, .top_p = four + 1e-6}, 0x26a); // and id 6
    check_draws(&(axl_sampling){.temperature = 1.0, .top_p = 0.0}, 0x002);         // always one
    // of the four that top_k leaves, two hold more than half
    check_draws(&(axl_sampling){.temperature = 1.0, .top_k = 4, .top_p = 0.5}, 0x00a);
}

// Real sizes: what is drawn lies among the k largest, or in the nucleus, as a plain sort finds them.
static void large_vocabularies_are_cut_right(void **state)
{
    enum { LARGE = 50000, K = 40 };
    static float logits[LARGE];
    static int32_t scratch[LARGE];
    const axl_sampling by_k = {.temperature = 1.0, .top_k = K, .top_p = 1.0};
    const axl_sampling by_p = {.temperature = 0.8, .top_p = 0.9};

    (void)state;
    for (uint64_t draw_index = 0; draw_index < 40; draw_index++) {
        double total = 0.0;
        double above = 0.0;
        int n_above = 0;
        for (int v = 0; v < LARGE; v++) { // many equal ones
            logits[v] = (float)round(
                            8.0 * axl_random_normal(draw_index % 4, AXL_RANDOM_TEST, (uint64_t)v)) /
                        4.0f;
            total += exp((double)logits[v] / 0.8);
        }
        int32_t t = axl_sample(&by_k, logits, LARGE, draw_index, scratch);
        for (int v = 0; v < LARGE; v++)
            n_above += logits[v] > logits[t] || (logits[v] == logits[t] && v < t);
        assert_true(n_above < K);
        t = axl_sample(&by_p, logits, LARGE, draw_index, scratch);
        for (int v = 0; v < LARGE; v++)
            if (logits[v] > logits[t] || (logits[v] == logits[t] && v < t))
                above += exp((double)logits[v] / 0.8);
        assert_true(above < 0.9 * total);
    }
}

static void greedy_takes_the_first_of_the_largest(void **state)
{
    const axl_sampling greedy = {.temperature = 0.0, .top_p = 1.0};
    float logits[VOCAB];
    int32_t scratch[VOCAB];

    (void)state;
    memcpy(logits, example, sizeof example);
    assert_int_equal(axl_sample(&greedy, logits, VOCAB, 0, scratch), 1);
    logits[11] = 7.0f;
    assert_int_equal(axl_sample(&greedy, logits, VOCAB, 0, scratch), 11);
    memset(logits, 0, sizeof logits);
    assert_int_equal(axl_sample(&greedy, logits, VOCAB, 0, scratch), 0);
}

static void draws_repeat_by_seed_and_index(void **state)
{
    int64_t same = 0;
    int32_t scratch[VOCAB];
    float logits[VOCAB];

    (void)state;
    for (uint64_t i = 0; i < 1000; i++) {
        int32_t t[3];
        for (uint64_t k = 0; k < 3; k++) {
            const axl_sampling s = {.temperature = 1.0, .top_p = 1.0, .seed = 5 + k / 2};
            memcpy(logits, example, sizeof example);
            t[k] = axl_sample(&s, logits, VOCAB, i, scratch);
        }
        assert_int_equal(t[0], t[1]);
        same += t[0] == t[2];
    }
    assert_true(same < 300); // another seed is another sequence
}

// What a broken model may give: an id, never a read out of bounds.
static void logits_that_are_no_numbers_still_give_an_id(void **state)
{
    static const float odd[] = {NAN, INFINITY, -INFINITY};

    (void)state;
    for (size_t o = 0; o < sizeof odd / sizeof *odd; o++) {
        for (int all = 0; all < 2; all++) {
            for (int mode = 0; mode < 3; mode++) {
                float logits[VOCAB];
                int32_t scratch[VOCAB];
                const axl_sampling s = {.temperature = mode == 0 ? 0.0 : 1.0,
                                        .top_p = mode == 1 ? 0.9 : 1.0,
                                        .top_k = mode == 2 ? 3 : 0};
                for (int v = 0; v < VOCAB; v++)
                    logits[v] = all == 1 || v % 3 == 0 ? odd[o] : example[v];
                int32_t t = axl_sample(&s, logits, VOCAB, 1, scratch);
                assert_true(t >= 0 && t < VOCAB);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cached_logits_are_those_of_the_reference),
        cmocka_unit_test(long_sequences_equal_one_forward),
        cmocka_unit_test(the_capacity_is_respected),
        cmocka_unit_test(draws_follow_the_softmax),
        cmocka_unit_test(top_k_keeps_the_largest),
        cmocka_unit_test(top_p_keeps_the_smallest_set_that_reaches_it),
        cmocka_unit_test(large_vocabularies_are_cut_right),
        cmocka_unit_test(greedy_takes_the_first_of_the_largest),
        cmocka_unit_test(draws_repeat_by_seed_and_index),
        cmocka_unit_test(logits_that_are_no_numbers_still_give_an_id),
    };
    CHECK_OK(axl_comm_init(NULL, NULL, &world));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    axl_comm_finalize(world);
    return failed;
}
