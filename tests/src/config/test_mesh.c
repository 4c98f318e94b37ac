// RUN: np=1
// The mesh: keys and a number of ranks give five sizes, or a message that says what does not fit and what would.
#include "src/config/config.h"
#include "tests/check.h"

#include <stdlib.h>

#define BASE                                                                                       \
    "base_model: m\nlearning_rate: 1e-4\ndatasets: [{path: d.jsonl, type: completion}]\n"          \
    "micro_batch_size: 3\ngradient_accumulation_steps: 4\n"

typedef struct row {
    int n_ranks;
    const char *yaml; // added to BASE
    int sizes[5];     // dp_replicate, dp_shard, ep, cp, tp
    const char *text; // of the error, with its key; NULL: none
} row;

static const row rows[] = {
    // dp_shard takes what the others leave
    {1, "", {1, 1, 1, 1, 1}, NULL},
    {8, "", {1, 8, 1, 1, 1}, NULL},
    {8, "dp_shard_size: 8\n", {1, 8, 1, 1, 1}, NULL},
    {8, "dp_replicate_size: 2\n", {2, 4, 1, 1, 1}, NULL},
    {16, "tensor_parallel_size: 4\n", {1, 4, 1, 1, 4}, NULL},
    {4, "tensor_parallel_size: 4\n", {1, 1, 1, 1, 4}, NULL},
    {6, "context_parallel_size: 3\n", {1, 2, 1, 3, 1}, NULL},
    {6, "sequence_parallel_degree: 3\n", {1, 2, 1, 3, 1}, NULL},
    {12, "expert_parallel_size: 3\ntensor_parallel_size: 2\n", {1, 2, 3, 1, 2}, NULL},
    {16, "dp_replicate_size: 2\ncontext_parallel_size: 2\n", {2, 4, 1, 2, 1}, NULL},
    {32,
     "dp_replicate_size: 2\nexpert_parallel_size: 2\ncontext_parallel_size: 2\n"
     "tensor_parallel_size: 2\n",
     {2, 2, 2, 2, 2},
     NULL},
    {3, "dp_shard_size: ~\ndp_replicate_size: ~\n", {1, 3, 1, 1, 1}, NULL},
    // and dp_replicate what dp_shard leaves
    {8, "dp_shard_size: 4\n", {2, 4, 1, 1, 1}, NULL},
    {8, "dp_shard_size: 1\n", {8, 1, 1, 1, 1}, NULL},
    {16, "dp_shard_size: 2\ntensor_parallel_size: 2\n", {4, 2, 1, 1, 2}, NULL},
    {12, "dp_replicate_size: 3\ndp_shard_size: 4\n", {3, 4, 1, 1, 1}, NULL},
    {4, "dp_replicate_size: 4\n", {4, 1, 1, 1, 1}, NULL},
    // without a number of ranks: the smallest mesh
    {0, "", {1, 1, 1, 1, 1}, NULL},
    {0, "tensor_parallel_size: 3\ndp_replicate_size: 2\n", {2, 1, 1, 1, 3}, NULL},
    // one size that does not divide the ranks
    {16,
     "tensor_parallel_size: 3\n",
     {0},
     "tensor_parallel_size: 3 does not divide 16 ranks; set tensor_parallel_size: 4, or "
     "tensor_parallel_size: 2, or tensor_parallel_size: 8, or run on 15 or 18 ranks"},
    {4,
     "dp_shard_size: 3\n",
     {0},
     "dp_shard_size: 3 does not divide 4 ranks; set dp_shard_size: 4, or dp_shard_size: 2, or "
     "dp_shard_size: 1, or run on 3 or 6 ranks"},
    {1,
     "context_parallel_size: 2\n",
     {0},
     "context_parallel_size: 2 does not divide 1 rank; set context_parallel_size: 1, or run on 2 "
     "or 4 ranks"},
    {4,
     "sequence_parallel_degree: 3\n",
     {0},
     "sequence_parallel_degree: 3 does not divide 4 ranks; set context_parallel_size: 4, or"},
    {6,
     "expert_parallel_size: 4\n",
     {0},
     "expert_parallel_size: 4 does not divide 6 ranks; set expert_parallel_size: 3, or "
     "expert_parallel_size: 6, or expert_parallel_size: 2, or run on 4 or 8 ranks"},
    {7,
     "dp_replicate_size: 2\n",
     {0},
     "dp_replicate_size: 2 does not divide 7 ranks; set dp_replicate_size: 1, or "
     "dp_replicate_size: 7, or run on 6 or 8 ranks"},
    {16,
     "tensor_parallel_size: 3\ncontext_parallel_size: 5\n",
     {0},
     "tensor_parallel_size: 3 does not divide 16 ranks; set context_parallel_size: 4 and "
     "tensor_parallel_size: 4, or"},
    // a product that does not
    {12,
     "dp_replicate_size: 2\ndp_shard_size: 4\ncontext_parallel_size: 2\n",
     {0},
     "dp_shard_size: dp_replicate 2 x dp_shard 4 x cp 2 = 16, but there are 12 ranks; set "
     "dp_shard_size: 3, or run on 16 ranks"},
    {16,
     "dp_replicate_size: 2\ndp_shard_size: 2\n",
     {0},
     "dp_shard_size: dp_replicate 2 x dp_shard 2 = 4, but there are 16 ranks; set "
     "dp_shard_size: 8, or dp_replicate_size: 8, or run on 4 ranks"},
    {24,
     "context_parallel_size: 4\ntensor_parallel_size: 4\n",
     {0},
     "tensor_parallel_size: cp 4 x tp 4 = 16 does not divide 24 ranks; set "
     "tensor_parallel_size: 3, or context_parallel_size: 3, or tensor_parallel_size: 6, or run on "
     "16 or 32 ranks"},
    {8,
     "dp_replicate_size: 4\ndp_shard_size: 1\n",
     {0},
     "dp_shard_size: dp_replicate 4 x dp_shard 1 = 4, but there are 8 ranks; set "
     "dp_shard_size: 2, or dp_replicate_size: 8, or run on 4 ranks"},
    {4,
     "tensor_parallel_size: 4\ncontext_parallel_size: 4\nexpert_parallel_size: 4\n",
     {0},
     "context_parallel_size: ep 4 x cp 4 x tp 4 = 64 does not divide 4 ranks; set "
     "context_parallel_size: 1 and tensor_parallel_size: 1, or"},
    {0,
     "tensor_parallel_size: 1000000\ncontext_parallel_size: 1000000\ndp_shard_size: 1000000\n",
     {0},
     "tensor_parallel_size: dp_shard 1000000 x cp 1000000 x tp 1000000 is more than 1000000 ranks"},
    // many divisors, and no size that divides
    {720720,
     "dp_replicate_size: 17\ndp_shard_size: 19\nexpert_parallel_size: 23\n"
     "context_parallel_size: 29\n",
     {0},
     "context_parallel_size: 29 does not divide 720720 ranks; set dp_replicate_size: "},
};

static axl_config *load(const char *yaml, int n_ranks, axl_diagnostics *d)
{
    const axl_config_options options = {.n_ranks = n_ranks, .has_bf16 = true, .elsewhere = true};
    axl_config *c = NULL;
    axl_str text = {0};

    CHECK_OK(axl_str_printf(&text, BASE "%s", yaml));
    (void)axl_config_parse(text.data, text.len, "run.yaml", &options, d, &c);
    axl_str_fini(&text);
    return c;
}

static void check_refused(const row *r, const axl_diagnostics *d)
{
    char found[1024] = "";

    for (size_t i = 0; i < d->n; i++)
        if (d->items[i].severity == AXL_ERROR)
            (void)snprintf(found, sizeof found, "%s: %s", d->items[i].key, d->items[i].text);
    if (d->n_errors != 1 || strstr(found, r->text) == NULL)
        fail_msg("%d ranks,\n%s%zu errors, the last \"%s\" instead of \"%s\"", r->n_ranks, r->yaml,
                 d->n_errors, found, r->text);
}

static void check_sizes(const row *r, const axl_config *c)
{
    const axl_mesh_sizes *m = &c->derived.mesh;
    const int sizes[5] = {m->dp_replicate, m->dp_shard, m->ep, m->cp, m->tp};
    int n_batches = r->sizes[0] * r->sizes[1] * r->sizes[2];

    for (int i = 0; i < 5; i++)
        if (sizes[i] != r->sizes[i])
            fail_msg("%d ranks,\n%saxis %d has %d instead of %d", r->n_ranks, r->yaml, i, sizes[i],
                     r->sizes[i]);
    assert_int_equal(c->derived.n_batches, n_batches);
    assert_int_equal(c->batch_size, 12);
    assert_int_equal(c->derived.global_batch_size, 12 * n_batches);
}

static void sizes_are_solved_or_what_would_fit_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        axl_diagnostics d = {0};
        axl_config *c = load(rows[i].yaml, rows[i].n_ranks, &d);
        if (rows[i].text != NULL)
            check_refused(&rows[i], &d);
        else if (c == NULL)
            fail_msg("%d ranks,\n%sis refused: %s", rows[i].n_ranks, rows[i].yaml, d.items[0].text);
        else
            check_sizes(&rows[i], c);
        axl_config_destroy(c);
        axl_diagnostics_fini(&d);
    }
}

// What an error proposes is taken when it is done.
static void the_first_proposal_fits(void **state)
{
    int n_tried = 0;
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const row *r = &rows[i];
        const char *set = r->text == NULL ? NULL : strstr(r->text, "; set ");
        axl_diagnostics d = {0};
        axl_str yaml = {0};
        char line[64];
        if (set == NULL || strchr(set, ',') == NULL)
            continue;
        CHECK_OK(axl_str_puts(&yaml, r->yaml));
        for (const char *p = set + 2, *end = strchr(set, ','); p < end;) {
            p += strcspn(p, " ") + 1; // behind "set " or "and "
            size_t n = strcspn(p, ":") + 2;
            n += strspn(p + n, "0123456789");
            (void)snprintf(line, sizeof line, "%.*s", (int)n, p);
            p += n + strspn(p + n, " ");
            *strchr(line, ':') = '\0';
            char *old = strstr(yaml.data, line);
            if (old != NULL) // commented out, and written anew
                *old = '#';
            CHECK_OK(axl_str_printf(&yaml, "%s: %s\n", line, line + strlen(line) + 2));
        }
        axl_config *c = load(yaml.data, r->n_ranks, &d);
        if (c == NULL)
            fail_msg("%d ranks,\n%sis refused: %s", r->n_ranks, yaml.data, d.items[0].text);
        n_tried++;
        axl_config_destroy(c);
        axl_diagnostics_fini(&d);
        axl_str_fini(&yaml);
    }
    assert_true(n_tried >= 10);
}

static void what_follows_is_marked(void **state)
{
    axl_diagnostics d = {0};
    axl_str text = {0};
    (void)state;

    axl_config *c = load("dp_shard_size: 2\nworld_invariant: true\nreduce_dtype: bf16\n"
                         "context_parallel_size: 2\n",
                         8, &d);
    assert_non_null(c);
    assert_int_equal(c->dp_replicate_size, 2);
    assert_true(c->set.dp_replicate_size == AXL_SET_DERIVED);
    assert_true(c->deterministic && c->set.deterministic == AXL_SET_DERIVED);
    assert_true(c->derived.reduce_dtype == AXL_BF16);
    assert_string_equal(c->ring_attn_func, "varlen_zigzag");
    assert_int_equal(c->heads_k_stride, 1);
    CHECK_OK(axl_config_resolved(c, &text));
    assert_non_null(strstr(text.data, "\"mesh\": {\"dp_replicate\": 2, \"dp_shard\": 2, \"ep\": 1, "
                                      "\"cp\": 2, \"tp\": 1}"));
    assert_non_null(strstr(text.data, "\"global_batch_size\": 48"));
    axl_str_fini(&text);
    axl_config_destroy(c);
    axl_diagnostics_fini(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_solved_or_what_would_fit_is_named),
        cmocka_unit_test(the_first_proposal_fits),
        cmocka_unit_test(what_follows_is_marked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
