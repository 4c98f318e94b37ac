// RUN: np=1
// The global order of the data: the same steps at any rank count, a place that survives a change of it, labels
// that never cross documents, and step counts known before.
#include "src/base/philox.h"
#include "src/data/loader.h"
#include "tests/src/data/data_check.h"

#include <malloc.h>

enum { N = 211, LEN = 48 };

typedef struct fixture {
    folder *dir;
    axl_prepared *set;
    axl_sample_list all;
} fixture;

static int fixture_make(void **state)
{
    fixture *x = calloc(1, sizeof *x);
    void *dir = NULL;
    static int32_t lengths[N];
    char data[256], prepared[256];

    if (x == NULL || folder_make(&dir) != 0)
        return -1;
    x->dir = dir;
    for (uint64_t i = 0; i < N; i++)
        lengths[i] = 2 + (int32_t)(axl_random_uniform(5, AXL_RANDOM_TEST, i) * (LEN - 2));
    folder_write_rows(x->dir, "d.jsonl", lengths, N);
    const axl_dataset_spec spec = {.path = folder_file(x->dir, "d.jsonl", data),
                                   .place = "t.yaml:1"};
    const axl_data_options options = {.sequence_len = LEN,
                                      .min_sample_len = 2,
                                      .prepared_path = folder_file(x->dir, "p", prepared)};
    CHECK_OK(axl_prepare(&spec, 1, &options, NULL, false, NULL, &x->set));
    x->all = axl_sample_list_all(x->set);
    *state = x;
    return 0;
}

static int fixture_remove(void **state)
{
    fixture *x = *state;
    void *dir = x->dir;

    axl_sample_list_fini(&x->all);
    axl_prepared_close(x->set);
    (void)folder_remove(&dir);
    free(x);
    return 0;
}

static axl_loader_options options_of(int dp_rank, int dp_size, int64_t accumulation, bool packing)
{
    return (axl_loader_options){.plan = {.sequence_len = LEN,
                                         .micro_batch_size = 2,
                                         .packing = packing,
                                         .group_size = 100000,
                                         .bin_size = 200,
                                         .seed = 42,
                                         .shuffle = true},
                                .dp_rank = dp_rank,
                                .dp_size = dp_size,
                                .gradient_accumulation_steps = accumulation,
                                .num_epochs = 2.0};
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

// The samples of steps [0, n_steps) of all ranks together, a sorted list a step, written one behind another.
// Ends each step with -1. Returns the number of entries; *end is the place behind the last step.
static int64_t gather(const axl_sample_list *list, axl_loader_options o,
                      const axl_loader_state *from, int64_t n_steps, int64_t *out,
                      axl_loader_state *end)
{
    axl_loader *ranks[8] = {NULL};
    const axl_batch *b = NULL;
    axl_step_info info;
    int64_t n = 0;

    for (int r = 0; r < o.dp_size; r++) {
        o.dp_rank = r;
        CHECK_OK(axl_loader_create(list, &o, &ranks[r]));
        if (from != NULL)
            CHECK_OK(axl_loader_set_state(ranks[r], from));
    }
    for (int64_t s = 0; s < n_steps; s++) {
        int64_t first = n, tokens = 0;
        double weight = 0.0;
        for (int r = 0; r < o.dp_size; r++) {
            CHECK_OK(axl_loader_begin_step(ranks[r], &info));
            for (int64_t m = 0; m < info.n_micro; m++) {
                CHECK_OK(axl_loader_next(ranks[r], &b));
                tokens += b->n_tokens;
                for (int32_t i = 0; i < b->n_seqs; i++)
                    out[n++] = b->seq_sample[i];
                for (int32_t t = 0; t < b->n_tokens; t++)
                    weight += (double)b->weight[t];
            }
        }
        assert_true(weight == info.weight);
        assert_int_equal(tokens, info.n_tokens);
        qsort(out + first, (size_t)(n - first), sizeof *out, by_value);
        out[n++] = -1;
    }
    if (end != NULL)
        *end = axl_loader_get_state(ranks[0]);
    for (int r = 0; r < o.dp_size; r++)
        axl_loader_destroy(ranks[r]);
    return n;
}

static void steps_hold_the_same_samples_at_any_rank_count(void **state)
{
    const fixture *x = *state;
    static int64_t want[4 * N], got[4 * N];

    for (int packing = 0; packing < 2; packing++) {
        axl_loader *l = NULL;
        axl_loader_options one = options_of(0, 1, 12, packing);
        CHECK_OK(axl_loader_create(&x->all, &one, &l));
        int64_t n_steps = axl_loader_steps_left(l);
        axl_loader_destroy(l);
        int64_t n = gather(&x->all, one, NULL, n_steps, want, NULL);
        assert_int_equal(n, 2 * N + n_steps); // two epochs: each sample twice
        for (int d = 2; d <= 6; d++) {
            if (12 % d != 0)
                continue;
            assert_int_equal(
                gather(&x->all, options_of(0, d, 12 / d, packing), NULL, n_steps, got, NULL), n);
            assert_memory_equal(want, got, (size_t)n * sizeof *got);
        }
    }
}

static void each_epoch_has_each_sample_once_in_another_order(void **state)
{
    const fixture *x = *state;
    axl_loader_options o = options_of(0, 3, 5, true);
    static int64_t got[4 * N];
    int seen[2][N] = {{0}};
    axl_loader *l = NULL;
    axl_loader_state end;

    o.num_epochs = 1.0;
    CHECK_OK(axl_loader_create(&x->all, &o, &l));
    int64_t n_steps = axl_loader_steps_left(l);
    axl_loader_destroy(l);
    int64_t n = gather(&x->all, o, NULL, n_steps, got, &end);
    for (int64_t i = 0; i < n; i++) {
        if (got[i] >= 0)
            seen[0][got[i]]++;
    }
    n = gather(&x->all, o, &end, 1, got, NULL);
    for (int64_t i = 0; i < n; i++) {
        if (got[i] >= 0)
            seen[1][got[i]]++;
    }
    for (int i = 0; i < N; i++) {
        assert_int_equal(seen[0][i], 1);
        assert_true(seen[1][i] <= 1);
    }
}

static void a_resumed_run_goes_on_where_it_stopped_on_another_rank_count(void **state)
{
    const fixture *x = *state;
    static int64_t want[4 * N], head[4 * N], tail[4 * N];
    axl_loader_state at;

    for (int packing = 0; packing < 2; packing++) {
        int64_t n = gather(&x->all, options_of(0, 4, 2, packing), NULL, 14, want, NULL);
        for (int64_t stop = 1; stop < 14; stop += 4) {
            int64_t a = gather(&x->all, options_of(0, 4, 2, packing), NULL, stop, head, &at);
            int64_t b = gather(&x->all, options_of(0, 2, 4, packing), &at, 14 - stop, tail, NULL);
            assert_int_equal(a + b, n);
            assert_memory_equal(want, head, (size_t)a * sizeof *head);
            assert_memory_equal(want + a, tail, (size_t)b * sizeof *tail);
        }
    }
}

static void a_place_in_other_data_is_refused(void **state)
{
    const fixture *x = *state;
    axl_loader_options o = options_of(0, 1, 1, true);
    axl_loader *l = NULL;

    CHECK_OK(axl_loader_create(&x->all, &o, &l));
    axl_loader_state at = axl_loader_get_state(l);
    axl_loader_destroy(l);
    o.plan.seed = 43;
    CHECK_OK(axl_loader_create(&x->all, &o, &l));
    CHECK_FAILS(axl_loader_set_state(l, &at), AXL_E_INPUT, "other data");
    axl_loader_destroy(l);
    // without packing the micro-batch size does not change the order
    o = options_of(0, 1, 1, false);
    CHECK_OK(axl_loader_create(&x->all, &o, &l));
    at = axl_loader_get_state(l);
    axl_loader_destroy(l);
    o.plan.micro_batch_size = 5;
    CHECK_OK(axl_loader_create(&x->all, &o, &l));
    CHECK_OK(axl_loader_set_state(l, &at));
    at.place.bin = N + 1;
    CHECK_FAILS(axl_loader_set_state(l, &at), AXL_E_INPUT, "bin");
    axl_loader_destroy(l);
}

static void check_batch(const axl_batch *b, const axl_prepared *set)
{
    assert_int_equal(b->cu_seqlens[0], 0);
    assert_int_equal(b->cu_seqlens[b->n_seqs], b->n_tokens);
    for (int32_t s = 0; s < b->n_seqs; s++) {
        int32_t first = b->cu_seqlens[s], end = b->cu_seqlens[s + 1];
        int64_t begin = axl_prepared_begin(set, b->seq_sample[s]);
        assert_int_equal(end - first, axl_prepared_length(set, b->seq_sample[s]));
        assert_true(end - first <= b->max_seqlen);
        assert_int_equal(b->labels[end - 1], AXL_IGNORE);
        for (int32_t t = first; t < end; t++) {
            assert_int_equal(b->position_ids[t], t - first);
            assert_int_equal(b->input_ids[t], set->ids[begin + t - first]);
            if (t + 1 < end)
                assert_int_equal(b->labels[t], set->labels[begin + t - first + 1]);
            assert_true(b->weight[t] == (b->labels[t] == AXL_IGNORE ? 0.0f : 1.0f));
        }
    }
}

static void labels_are_shifted_inside_each_document(void **state)
{
    const fixture *x = *state;
    axl_loader_options o = options_of(0, 1, 3, true);
    const axl_batch *b = NULL;
    axl_step_info info;
    axl_loader *l = NULL;

    CHECK_OK(axl_loader_create(&x->all, &o, &l));
    for (int64_t s = axl_loader_steps_left(l); s > 0; s--) {
        CHECK_OK(axl_loader_begin_step(l, &info));
        for (int64_t m = 0; m < info.n_micro; m++) {
            CHECK_OK(axl_loader_next(l, &b));
            assert_true(b->n_tokens <= axl_loader_max_tokens(l) && b->n_tokens <= 2 * LEN);
            assert_true(b->n_seqs <= axl_loader_max_seqs(l));
            check_batch(b, x->set);
        }
        assert_int_equal(axl_loader_steps_left(l), s - 1);
    }
    assert_true(info.epoch_end == 2.0);
    axl_loader_destroy(l);
}

static void ranks_without_a_share_in_the_tail_get_an_empty_batch(void **state)
{
    const fixture *x = *state;
    axl_loader_options o =
        options_of(6, 7, 1, false); // 106 micro-batches: 15 steps of 7 and 1 left
    const axl_batch *b = NULL;
    axl_step_info info;
    axl_loader *l = NULL;

    o.num_epochs = 1.0;
    CHECK_OK(axl_loader_create(&x->all, &o, &l));
    assert_int_equal(axl_loader_steps_left(l), 16);
    for (int s = 0; s < 16; s++) {
        CHECK_OK(axl_loader_begin_step(l, &info));
        assert_int_equal(info.n_micro, 1);
        CHECK_OK(axl_loader_next(l, &b));
        assert_int_equal(b->n_tokens == 0, s == 15);
        assert_true(info.weight > 0);
    }
    CHECK_OK(axl_loader_begin_step(l, &info)); // the next epoch begins with a whole step
    assert_int_equal(info.epoch, 1);
    CHECK_OK(axl_loader_next(l, &b));
    assert_true(b->n_tokens > 0);
    CHECK_FAILS(axl_loader_next(l, &b), AXL_E_BUG, "outside a step");
    axl_loader_destroy(l);
    o.drop_last = true;
    CHECK_OK(axl_loader_create(&x->all, &o, &l));
    assert_int_equal(axl_loader_steps_left(l), 15);
    axl_loader_destroy(l);
    o.num_epochs = 2.5;
    o.drop_last = false;
    CHECK_OK(axl_loader_create(&x->all, &o, &l));
    assert_int_equal(axl_loader_steps_left(l), 40);
    axl_loader_destroy(l);
}

// With and without groups, with and without the incomplete step of an epoch, and after going to a place within.
static void the_last_step_of_an_epoch_says_so(void **state)
{
    const fixture *x = *state;
    const axl_batch *b = NULL;
    axl_step_info info;
    axl_loader *l = NULL;

    for (int k = 0; k < 4; k++) {
        axl_loader_options o = options_of(0, 1, 7, k % 2 == 0);
        o.drop_last = k >= 2;
        axl_loader_state middle = {0};
        CHECK_OK(axl_loader_create(&x->all, &o, &l));
        const int64_t n = axl_loader_steps_left(l);
        int n_ends = 0;
        for (int64_t s = 0; s < n + 5; s++) {
            CHECK_OK(axl_loader_begin_step(l, &info));
            for (int64_t m = 0; m < info.n_micro; m++)
                CHECK_OK(axl_loader_next(l, &b));
            if (s < n) // an epoch begins where the one before it ended
                assert_true(info.epoch == n_ends);
            n_ends += info.ends_epoch;
            if (s == n - 1)
                assert_true(n_ends == 2 && info.ends_epoch);
            if (s == 1)
                middle = axl_loader_get_state(l);
        }
        assert_int_equal(n_ends, 2);
        CHECK_OK(axl_loader_set_state(l, &middle));
        n_ends = 0;
        for (int64_t s = 2; s < n; s++) {
            CHECK_OK(axl_loader_begin_step(l, &info));
            for (int64_t m = 0; m < info.n_micro; m++)
                CHECK_OK(axl_loader_next(l, &b));
            n_ends += info.ends_epoch;
        }
        assert_true(n_ends == 2 && info.ends_epoch);
        axl_loader_destroy(l);
    }
}

// By the definition: a step is the last of its epoch when the next one belongs to another. Also behind num_epochs, where
// max_steps may lead.
static void epochs_end_where_the_next_begins(void **state)
{
    const fixture *x = *state;
    const axl_batch *b = NULL;
    axl_loader *l = NULL;

    for (int k = 0; k < 24; k++) {
        axl_loader_options o = options_of(0, 1, 1 + k % 5, k % 2 == 0);
        o.drop_last = k % 4 >= 2;
        o.num_epochs = k % 3 == 0 ? 0.4 : k % 3;
        o.dp_size = 1 + k % 3;
        o.plan.packing = k % 7 != 0;
        CHECK_OK(axl_loader_create(&x->all, &o, &l));
        axl_step_info last = {0}, info;
        for (int n = 0; n == 0 || info.epoch < 5; n++) {
            CHECK_OK(axl_loader_begin_step(l, &info));
            for (int64_t m = 0; m < info.n_micro; m++)
                CHECK_OK(axl_loader_next(l, &b));
            if (n > 0 && last.ends_epoch != (info.epoch != last.epoch))
                fail_msg("case %d, step %d, epoch %lld: %s", k, n, (long long)last.epoch,
                         last.ends_epoch ? "ends too early" : "its end is missed");
            last = info;
        }
        axl_loader_destroy(l);
    }
}

static void evaluation_reads_the_list_in_order_and_again(void **state)
{
    const fixture *x = *state;
    axl_loader_options o = options_of(1, 2, 1, true);
    const axl_batch *b = NULL;
    axl_step_info info;
    axl_loader *l = NULL;
    axl_sample_list few = x->all;

    few.n = 1; // less than a bin, two ranks
    o.plan.shuffle = false;
    o.num_epochs = 1.0;
    CHECK_OK(axl_loader_create(&few, &o, &l));
    for (int pass = 0; pass < 2; pass++) {
        assert_int_equal(axl_loader_steps_left(l), 1);
        CHECK_OK(axl_loader_begin_step(l, &info));
        assert_int_equal(info.n_micro, 1);
        assert_true(info.weight == (double)x->set->info[0].trained);
        CHECK_OK(axl_loader_next(l, &b));
        assert_int_equal(b->n_tokens, 0);
        CHECK_OK(axl_loader_rewind(l));
    }
    axl_loader_destroy(l);
}

static void rows_of_a_micro_batch_may_be_bins_of_their_own(void **state)
{
    const fixture *x = *state;
    static int64_t want[4 * N], got[4 * N];
    axl_loader_options a = options_of(0, 1, 4, true), b = options_of(0, 2, 1, true);

    // then micro_batch_size and accumulation are interchangeable
    a.plan.real_batches = b.plan.real_batches = true;
    a.plan.micro_batch_size = 1;
    b.plan.micro_batch_size = 2;
    int64_t n = gather(&x->all, a, NULL, 12, want, NULL);
    assert_int_equal(gather(&x->all, b, NULL, 12, got, NULL), n);
    assert_memory_equal(want, got, (size_t)n * sizeof *got);
}

static void validation_is_the_tail_of_the_shuffled_data(void **state)
{
    const fixture *x = *state;
    axl_sample_list train = {0}, val = {0}, again = {0};
    axl_split_options o = {.seed = 7, .shuffle = true, .val_set_size = 0.05};
    int seen[N] = {0};

    CHECK_OK(axl_split_make(x->set, &o, &train, &val));
    assert_int_equal(val.n, 11); // ceil(0.05 * 211)
    assert_int_equal(train.n, N - 11);
    for (int64_t i = 0; i < N; i++)
        seen[i < train.n ? axl_sample_list_at(&train, i) : axl_sample_list_at(&val, i - train.n)]++;
    for (int i = 0; i < N; i++)
        assert_int_equal(seen[i], 1);
    axl_sample_list_fini(&val);
    o.val_set_size = 30;
    CHECK_OK(axl_split_make(x->set, &o, &again, &val));
    assert_int_equal(val.n, 30);
    for (int64_t i = 0; i < again.n; i++)
        assert_int_equal(axl_sample_list_at(&train, i), axl_sample_list_at(&again, i));
    axl_sample_list_fini(&again);
    axl_sample_list_fini(&val);
    axl_sample_list_fini(&train);
    o.val_set_size = 1.0;
    CHECK_FAILS(axl_split_make(x->set, &o, &train, &val), AXL_E_CONFIG, "val_set_size 1");
    o.val_set_size = N;
    CHECK_FAILS(axl_split_make(x->set, &o, &train, &val), AXL_E_CONFIG, "none is left");
}

static void shards_and_shuffles_keep_each_sample_once(void **state)
{
    const fixture *x = *state;
    axl_split_options o = {.seed = 3, .shuffle_each = true, .n_shards = 4};
    int seen[N] = {0}, moved = 0;

    for (o.shard = 0; o.shard < 4; o.shard++) {
        axl_sample_list part = {0};
        CHECK_OK(axl_split_make(x->set, &o, &part, NULL));
        assert_true(part.n == N / 4 || part.n == N / 4 + 1);
        for (int64_t i = 0; i < part.n; i++)
            seen[axl_sample_list_at(&part, i)]++;
        moved += axl_sample_list_at(&part, 0) != 0;
        axl_sample_list_fini(&part);
    }
    for (int i = 0; i < N; i++)
        assert_int_equal(seen[i], 1);
    assert_true(moved > 0);
}

// ---- groups

// A set of n samples of random lengths that exist only as infos.
static axl_sample_info *imagine_set(int64_t n, axl_prepared *set)
{
    static axl_prepared_file file = {"x", 0};
    axl_sample_info *info = calloc((size_t)n, sizeof *info);
    int64_t end = 0;

    *set = (axl_prepared){.n = n, .info = info, .files = &file, .n_files = 1};
    for (int64_t i = 0; i < n; i++) {
        int64_t len = 2 + (int64_t)(axl_random_uniform(6, AXL_RANDOM_TEST, (uint64_t)i) * 60);
        end += len;
        info[i].end = end;
        set->max_length = len > set->max_length ? len : set->max_length;
    }
    set->n_tokens = end;
    return info;
}

static void steps_cross_groups_and_a_resumed_run_finds_its_group(void **state)
{
    const fixture *x = *state;
    static int64_t want[4 * N], head[4 * N], tail[4 * N];
    axl_loader_state at;

    for (int kind = 0; kind < 3; kind++) {
        axl_loader_options o = options_of(0, 1, 4, true), two = options_of(0, 2, 2, true);
        axl_loader *l = NULL;
        o.plan.kind = two.plan.kind = (axl_pack_kind)kind;
        o.plan.group_size = two.plan.group_size = 10; // some 3 bins a group, 4 a step
        CHECK_OK(axl_loader_create(&x->all, &o, &l));
        int64_t n_steps = axl_loader_steps_left(l);
        axl_loader_destroy(l);
        int64_t n = gather(&x->all, o, NULL, n_steps, want, NULL);
        assert_int_equal(n, 2 * N + n_steps); // exactly two epochs
        for (int64_t stop = 1; stop < n_steps; stop += 3) {
            int64_t a = gather(&x->all, o, NULL, stop, head, &at);
            CHECK_OK(axl_loader_create(&x->all, &o, &l));
            CHECK_OK(axl_loader_set_state(l, &at));
            assert_int_equal(axl_loader_steps_left(l), n_steps - stop);
            axl_loader_destroy(l);
            int64_t b = gather(&x->all, two, &at, n_steps - stop, tail, NULL);
            assert_int_equal(a + b, n);
            assert_memory_equal(want + a, tail, (size_t)b * sizeof *tail);
        }
    }
}

static void sequential_bins_are_those_of_the_packer(void **state)
{
    const fixture *x = *state;
    axl_loader_options o = options_of(0, 1, 1, true);
    const axl_pack_options pack = {2 * LEN, 1, AXL_PACK_SEQUENTIAL};
    static int32_t lengths[N];
    axl_packer *packer = NULL;
    axl_feed *plan = NULL;
    axl_bin bin;
    bool more = true;
    int64_t n_bins = 0;

    o.plan.kind = AXL_PACK_SEQUENTIAL;
    o.plan.shuffle = false;
    o.plan.group_size = 7; // without meaning
    for (int64_t i = 0; i < N; i++)
        lengths[i] = (int32_t)axl_prepared_length(x->set, i);
    CHECK_OK(axl_packer_create(N, &pack, &packer));
    axl_bins want = axl_packer_run(packer, lengths, N);
    CHECK_OK(axl_plan_create(&x->all, &o.plan, &plan));
    CHECK_OK(axl_feed_count(plan, 0, &n_bins));
    assert_int_equal(n_bins, want.n_bins);
    for (int64_t b = 0; b < n_bins; b++) {
        CHECK_OK(axl_feed_next(plan, &bin, &more));
        assert_true(more);
        assert_int_equal(bin.n, want.start[b + 1] - want.start[b]);
        assert_memory_equal(bin.items, want.items + want.start[b],
                            (size_t)bin.n * sizeof *bin.items);
    }
    CHECK_OK(axl_feed_next(plan, &bin, &more));
    assert_false(more);
    axl_feed_destroy(plan);
    axl_packer_destroy(packer);
}

// Best fit makes the bins of long samples first; training must not see them first.
static void best_bins_come_in_no_order_of_length(void **state)
{
    (void)state;
    enum { MANY = 30000 };
    axl_prepared set;
    axl_sample_info *info = imagine_set(MANY, &set);
    const axl_sample_list list = axl_sample_list_all(&set);
    const axl_plan_options o = {.sequence_len = 64,
                                .micro_batch_size = 2,
                                .packing = true,
                                .kind = AXL_PACK_BEST_FIT,
                                .group_size = 10000,
                                .bin_size = 200,
                                .seed = 1,
                                .shuffle = true};
    axl_feed *plan = NULL;
    axl_bin bin;
    bool more = true;
    int64_t n_bins = 0;
    double count[2] = {0.0}, longest[2] = {0.0};

    CHECK_OK(axl_plan_create(&list, &o, &plan));
    CHECK_OK(axl_feed_count(plan, 0, &n_bins));
    assert_true((double)set.n_tokens > 0.99 * 128.0 * (double)n_bins);
    for (int64_t b = 0; b < n_bins; b++) {
        int64_t half = 6 * b / n_bins % 2; // of each of the three groups
        int64_t most = 0;
        CHECK_OK(axl_feed_next(plan, &bin, &more));
        for (int64_t i = 0; i < bin.n; i++) {
            int64_t len = axl_prepared_length(&set, bin.items[i]);
            most = len > most ? len : most;
        }
        count[half] += (double)bin.n;
        longest[half] += (double)most;
    }
    // in the order they are made the halves differ by half; by chance, by less than 2 %
    CHECK_CLOSE(count, count + 1, 1, 0.0, 0.05);
    CHECK_CLOSE(longest, longest + 1, 1, 0.0, 0.05);
    axl_feed_destroy(plan);
    free(info);
}

static void memory_is_that_of_a_group(void **state)
{
    (void)state;
    enum { MANY = 400000 };
    axl_prepared set;
    axl_sample_info *info = imagine_set(MANY, &set);
    const axl_split_options so = {
        .seed = 1, .shuffle = true, .shuffle_each = true, .val_set_size = 0.1};
    axl_sample_list train, val;

    for (int packing = 0; packing < 2; packing++) {
        const size_t before = mallinfo2().uordblks;
        const axl_plan_options o = {.sequence_len = 64,
                                    .micro_batch_size = 2,
                                    .packing = packing,
                                    .group_size = 1000,
                                    .bin_size = 200,
                                    .seed = 1,
                                    .shuffle = true};
        axl_feed *plan = NULL;
        int64_t n_bins = 0;
        CHECK_OK(axl_split_make(&set, &so, &train, &val));
        CHECK_OK(axl_plan_create(&train, &o, &plan));
        CHECK_OK(axl_feed_count(plan, 0, &n_bins));
        assert_true(n_bins > 0 && n_bins <= train.n);
        const size_t used = mallinfo2().uordblks - before;
        assert_true(used < (packing ? 200000 : 2000));
        axl_feed_destroy(plan);
        axl_sample_list_fini(&train);
        axl_sample_list_fini(&val);
    }
    free(info);
}

// ---- small sets

static void evaluation_of_less_than_a_sample_a_rank_sees_each_once(void **state)
{
    const fixture *x = *state;
    static int64_t got[64];

    for (int n_samples = 1; n_samples <= 5; n_samples++) {
        for (int packing = 0; packing < 2; packing++) {
            for (int kind = 0; kind < 3; kind++) {
                axl_loader_options o = options_of(0, 4, 1, packing);
                axl_sample_list few = x->all;
                axl_loader *l = NULL;
                int seen[5] = {0};
                few.n = n_samples;
                o.plan.shuffle = false;
                o.plan.kind = (axl_pack_kind)kind;
                o.num_epochs = 1.0;
                o.drop_last = packing; // the only step is never left out
                CHECK_OK(axl_loader_create(&few, &o, &l));
                int64_t n_steps = axl_loader_steps_left(l);
                axl_loader_destroy(l);
                assert_int_equal(n_steps, 1);
                int64_t n = gather(&few, o, NULL, n_steps, got, NULL);
                assert_int_equal(n, n_samples + 1);
                for (int64_t i = 0; i < n_samples; i++)
                    seen[got[i]]++;
                for (int i = 0; i < n_samples; i++)
                    assert_int_equal(seen[i], 1);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_hold_the_same_samples_at_any_rank_count),
        cmocka_unit_test(each_epoch_has_each_sample_once_in_another_order),
        cmocka_unit_test(a_resumed_run_goes_on_where_it_stopped_on_another_rank_count),
        cmocka_unit_test(a_place_in_other_data_is_refused),
        cmocka_unit_test(labels_are_shifted_inside_each_document),
        cmocka_unit_test(ranks_without_a_share_in_the_tail_get_an_empty_batch),
        cmocka_unit_test(the_last_step_of_an_epoch_says_so),
        cmocka_unit_test(epochs_end_where_the_next_begins),
        cmocka_unit_test(evaluation_reads_the_list_in_order_and_again),
        cmocka_unit_test(rows_of_a_micro_batch_may_be_bins_of_their_own),
        cmocka_unit_test(shards_and_shuffles_keep_each_sample_once),
        cmocka_unit_test(validation_is_the_tail_of_the_shuffled_data),
        cmocka_unit_test(steps_cross_groups_and_a_resumed_run_finds_its_group),
        cmocka_unit_test(sequential_bins_are_those_of_the_packer),
        cmocka_unit_test(best_bins_come_in_no_order_of_length),
        cmocka_unit_test(memory_is_that_of_a_group),
        cmocka_unit_test(evaluation_of_less_than_a_sample_a_rank_sees_each_once),
    };
    return cmocka_run_group_tests(tests, fixture_make, fixture_remove);
}
