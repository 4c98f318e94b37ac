// RUN: np=1
// The attention op of every implementation in f64: no document reaches another, forward or backward, and shifted
// sparse attention is what its definition says.
#include "tests/grad/trial_program.h"

#include <stdlib.h>

enum { H = 4, HK = 2, DH = 4, WIDTH = 6 };

static axl_device *device;

static void make(trial_program *t, const axl_attn_choice *choice, uint64_t seed)
{
    axl_builder b;

    *t = (trial_program){.seed = seed};
    t->arch = (axl_arch){.n_heads = H,
                         .n_kv_heads = HK,
                         .head_dim = DH,
                         .attention_scale = 0.5f,
                         .attention = *choice};
    axl_builder_begin(&b, &t->program, "attention", WIDTH, 1);
    const axl_slot x = axl_b_input(&b);
    const axl_slot q = axl_b_linear(&b, x, "q", &(axl_linear_spec){.out = (int64_t)H * DH});
    const axl_slot k = axl_b_linear(&b, x, "k", &(axl_linear_spec){.out = (int64_t)HK * DH});
    const axl_slot v = axl_b_linear(&b, x, "v", &(axl_linear_spec){.out = (int64_t)HK * DH});
    const axl_slot o = axl_b_attention(&b, q, k, v, &t->arch, 0);
    CHECK_OK(axl_builder_finish(&b, axl_b_linear(&b, o, "o", &(axl_linear_spec){.out = WIDTH})));
    trial_prepare(t, device);
}

// Changes the last document of a row: what the others give and get stays, bit for bit.
static void check_leaks(const char *name, const axl_attn_choice *choice, uint64_t seed)
{
    trial_program t;

    make(&t, choice, seed);
    const int64_t kept = (int64_t)t.cu_seqlens[t.run.n_seqs - 1] * WIDTH;
    double *out = malloc((size_t)t.n_out * sizeof *out),
           *din = malloc((size_t)t.n_in * sizeof *din);
    (void)trial_pass(&t, AXL_CHECKPOINT_NONE, true);
    memcpy(out, t.out, (size_t)t.n_out * sizeof *out);
    memcpy(din, t.din, (size_t)t.n_in * sizeof *din);
    for (int64_t i = kept; i < t.n_in; i++) {
        t.in[i] = 100.0 * trial_uniform(&t);
        t.seed_grad[i] = trial_uniform(&t);
    }
    (void)trial_pass(&t, AXL_CHECKPOINT_NONE, true);
    if (memcmp(out, t.out, (size_t)kept * sizeof *out) != 0)
        fail_msg("%s: a document's output depends on another", name);
    if (memcmp(din, t.din, (size_t)kept * sizeof *din) != 0)
        fail_msg("%s: a document's gradient depends on another", name);
    assert_memory_not_equal(out + kept, t.out + kept, (size_t)(t.n_out - kept) * sizeof *out);
    free(out);
    free(din);
    trial_program_fini(&t);
}

static void no_implementation_leaks_across_documents(void **state)
{
    (void)state;
    for (int i = 0; axl_attn_impl_at(i) != NULL; i++) {
        const axl_attn_impl *impl = axl_attn_impl_at(i);
        for (int rule = 0; rule < (impl->rules ? 3 : 1); rule++)
            for (uint64_t seed = 1; seed <= 20; seed++)
                check_leaks(impl->name,
                            &(axl_attn_choice){.numerics = impl->numerics,
                                               .rule = (axl_attn_rule)rule,
                                               .max_keys = 5},
                            seed);
    }
}

static int group_of(int64_t position, int64_t length, bool shifted)
{
    const int64_t g = (length + 3) / 4;

    return (int)((shifted ? position + g - g / 2 : position) / g);
}

// x W^T for one row.
static void project(const trial_program *t, int weight, const double *x, double *y)
{
    const axl_param *p = &t->params[weight];

    for (int64_t r = 0; r < p->rows; r++) {
        y[r] = 0;
        for (int64_t c = 0; c < p->cols; c++)
            y[r] += x[c] * ((const double *)p->full)[r * p->cols + c];
    }
}

static void expected_row(const trial_program *t, int doc, int64_t row, double *out)
{
    const int64_t begin = t->cu_seqlens[doc], n = t->cu_seqlens[doc + 1] - begin;
    double q[H * DH], k[HK * DH], v[HK * DH], o[H * DH] = {0};

    project(t, 0, t->in + row * WIDTH, q);
    for (int h = 0; h < H; h++) {
        double total = 0;
        for (int64_t j = begin; j <= row; j++) {
            const int hk = h / (H / HK);
            double s = 0;
            if (group_of(j - begin, n, h >= H / 2) != group_of(row - begin, n, h >= H / 2))
                continue;
            project(t, 1, t->in + j * WIDTH, k);
            project(t, 2, t->in + j * WIDTH, v);
            for (int d = 0; d < DH; d++)
                s += q[h * DH + d] * k[hk * DH + d];
            total += exp(0.5 * s);
            for (int d = 0; d < DH; d++)
                o[h * DH + d] += exp(0.5 * s) * v[hk * DH + d];
        }
        for (int d = 0; d < DH; d++)
            o[h * DH + d] /= total;
    }
    project(t, 3, o, out);
}

static void shifted_attention_follows_its_definition(void **state)
{
    const axl_attn_choice choice = {.numerics = AXL_ATTN_SHIFTED};
    int longest = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        trial_program t;
        double want[WIDTH];
        make(&t, &choice, seed);
        (void)trial_pass(&t, AXL_CHECKPOINT_NONE, false);
        longest = t.run.max_seqlen > longest ? t.run.max_seqlen : longest;
        for (int doc = 0; doc < t.run.n_seqs; doc++)
            for (int64_t row = t.cu_seqlens[doc]; row < t.cu_seqlens[doc + 1]; row++) {
                expected_row(&t, doc, row, want);
                for (int c = 0; c < WIDTH; c++)
                    assert_true(fabs(t.out[row * WIDTH + c] - want[c]) < 1e-12);
            }
        trial_program_fini(&t);
    }
    assert_int_equal(longest, 5); // groups of two tokens were among them
}

static void groups_cover_each_document_once(void **state)
{
    static const int32_t cu[] = {0, 16, 16, 23, 24};
    static const int32_t whole[] = {0,  4,  8,  12, 16, 16, 16, 16, 16, 16, 16,
                                    18, 20, 22, 23, 23, 24, 24, 24, 24, 24};
    static const int32_t late[] = {0,  2,  6,  10, 14, 16, 16, 16, 16, 16, 16,
                                   17, 19, 21, 23, 23, 23, 24, 24, 24, 24};
    int32_t a[21], b[21];

    (void)state;
    axl_attn_groups(cu, 4, a, b);
    assert_memory_equal(a, whole, sizeof whole);
    assert_memory_equal(b, late, sizeof late);
}

int main(void)
{
    const axl_device_options o = {.backend = "ref"};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_implementation_leaks_across_documents),
        cmocka_unit_test(shifted_attention_follows_its_definition),
        cmocka_unit_test(groups_cover_each_document_once),
    };

    CHECK_OK(axl_device_create(&o, &device));
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    axl_device_destroy(device);
    return failed;
}
