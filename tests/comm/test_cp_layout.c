// RUN: np=1
// The layout of packed documents over ranks: every token once, equal shares of tokens and of work, few
// documents cut, and exactly the needed rows listed.
#include "tests/check.h"

#include "comm/cp_layout.h"
#include "src/base/philox.h"

#include <stdlib.h>

enum { ROW = 8192 };

typedef struct micro_batch {
    int32_t cu[ROW + 1], n_seqs;
} micro_batch;

// A row packed from log-normal lengths of this mean, sigma 1; the last document is cut to fit.
static void pack_log_normal(micro_batch *b, double mean, int64_t row, uint64_t seed)
{
    *b = (micro_batch){.n_seqs = 0};
    for (uint64_t i = 0; b->cu[b->n_seqs] < row; i++) {
        const double x = axl_random_normal(seed, AXL_RANDOM_TEST, i);
        const int64_t n = (int64_t)(exp(log(mean) - 0.5 + x) + 0.5), left = row - b->cu[b->n_seqs];
        const int64_t length = n < 1 ? 1 : n;
        b->cu[b->n_seqs + 1] = b->cu[b->n_seqs] + (int32_t)(length < left ? length : left);
        b->n_seqs++;
    }
}

static void layout_create(axl_cp_layout *l, axl_cp_kind kind, int n_ranks, const micro_batch *b)
{
    const size_t bytes = axl_cp_layout_bytes(n_ranks, ROW, ROW);
    void *memory = aligned_alloc(64, bytes); // exactly: a sanitizer sees a byte too many

    assert_non_null(memory);
    memset(memory, 0x55, bytes);
    axl_cp_layout_init(l, kind, n_ranks, ROW, ROW, memory);
    CHECK_OK(axl_cp_layout_set(l, b->cu, b->n_seqs));
}

static void layout_destroy(axl_cp_layout *l)
{
    free(l->scratch); // the first part of the memory
}

// Every token on one rank, in its document's range, positions ascending; shares differ by at most one.
static void check_partition(const axl_cp_layout *l, const micro_batch *b)
{
    uint8_t *seen = calloc(ROW + 1, 1);
    int64_t least = ROW, most = 0, all = 0;
    int32_t *positions = calloc(ROW + 1, sizeof *positions);

    for (int r = 0; r < l->n_ranks; r++) {
        const int32_t *cu = axl_cp_local_cu(l, r), *rows = axl_cp_rows(l, r);
        const int64_t n = axl_cp_n_rows(l, r);
        axl_cp_positions(l, r, positions);
        assert_int_equal(cu[0], 0);
        assert_int_equal(cu[b->n_seqs], n);
        for (int32_t i = 0; i < b->n_seqs; i++)
            for (int32_t k = cu[i]; k < cu[i + 1]; k++) {
                assert_in_range(rows[k], b->cu[i], b->cu[i + 1] - 1);
                assert_int_equal(positions[k], rows[k] - b->cu[i]);
                assert_true(k == cu[i] || rows[k] > rows[k - 1]);
                assert_int_equal(seen[rows[k]]++, 0);
            }
        least = n < least ? n : least;
        most = n > most ? n : most;
        all += n;
    }
    assert_int_equal(all, b->cu[b->n_seqs]);
    assert_true(most - least <= 1);
    assert_int_equal(most, axl_cp_most_rows(all, l->n_ranks));
    free(positions);
    free(seen);
}

static double pairs_max_over_mean(const axl_cp_layout *l)
{
    int64_t most = 0, all = 0;

    for (int r = 0; r < l->n_ranks; r++) {
        const int64_t pairs = axl_cp_pairs(l, r, 0);
        most = pairs > most ? pairs : most;
        all += pairs;
    }
    return (double)most * l->n_ranks / (double)all;
}

static int64_t rows_sent(const axl_cp_layout *l)
{
    int64_t n = 0;

    for (int src = 0; src < l->n_ranks; src++)
        for (int dst = 0; dst < l->n_ranks; dst++)
            if (src != dst)
                n += axl_cp_needed(l, src, dst, 0, NULL, NULL);
    return n;
}

static void log_normal_rows_are_balanced(void **state)
{
    static const struct {
        double mean, most, most_sent;
    } sets[] = {{400.0, 1.02, 0.25}, {60.0, 1.02, 0.06}};

    (void)state;
    for (int k = 0; k < 2; k++)
        for (int n = 2; n <= 8; n *= 2) {
            double worst = 0.0, sent = 0.0;
            for (uint64_t seed = 0; seed < 40; seed++) {
                micro_batch b;
                axl_cp_layout l;
                pack_log_normal(&b, sets[k].mean, ROW, seed);
                layout_create(&l, AXL_CP_ZIGZAG, n, &b);
                check_partition(&l, &b);
                worst = fmax(worst, pairs_max_over_mean(&l));
                sent += (double)rows_sent(&l) / (40.0 * (n - 1) * ROW);
                layout_destroy(&l);
            }
            print_message("mean %.0f, %d ranks: pairs max/mean %.4f, rows sent %.3f of a ring's\n",
                          sets[k].mean, n, worst, sent);
            assert_true(worst <= sets[k].most);
            assert_true(sent <= sets[k].most_sent);
        }
}

// Lengths that are hard in different ways, terminated by -1.
static const int32_t hard[][12] = {
    {-1},
    {0, 0, -1},
    {1, -1},
    {1, 1, 1, -1},
    {8192, -1},
    {7, -1},
    {5, 0, 1, 0, 2, 1, -1},
    {1, 8000, 1, 1, -1},
    {4096, 4096, -1},
    {3000, 1, 1, 1, 5000, 1, 1, 9, -1},
    {16, 16, 16, 16, 16, 16, 16, 16, -1},
    {2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, -1},
};
enum { N_HARD = sizeof hard / sizeof hard[0] };

static void pack_hard(micro_batch *b, int k)
{
    *b = (micro_batch){.n_seqs = 0};
    for (; hard[k][b->n_seqs] >= 0; b->n_seqs++)
        b->cu[b->n_seqs + 1] = b->cu[b->n_seqs] + hard[k][b->n_seqs];
}

static void any_documents_are_dealt_out_once(void **state)
{
    micro_batch b;

    (void)state;
    for (int k = 0; k < N_HARD + 60; k++)
        for (int n = 1; n <= 9; n++)
            for (int kind = 0; kind < 2; kind++) {
                axl_cp_layout l;
                if (k < N_HARD)
                    pack_hard(&b, k);
                else
                    pack_log_normal(&b, k % 3 == 0 ? 3.0 : 90.0, k % 2 == 0 ? 100 : 731,
                                    (uint64_t)k);
                layout_create(&l, (axl_cp_kind)kind, n, &b);
                check_partition(&l, &b);
                layout_destroy(&l);
            }
}

static void one_token_documents_send_nothing(void **state)
{
    micro_batch b = {.n_seqs = 1000};
    axl_cp_layout l;

    (void)state;
    for (int32_t i = 0; i < b.n_seqs; i++)
        b.cu[i + 1] = i + 1;
    layout_create(&l, AXL_CP_ZIGZAG, 8, &b);
    check_partition(&l, &b);
    assert_int_equal(rows_sent(&l), 0);
    layout_destroy(&l);
}

// One document is cut in 2 C mirrored chunks: work is even, and three quarters of a ring's rows travel.
static void one_document_is_cut_in_mirrored_chunks(void **state)
{
    micro_batch b = {.cu = {0, ROW}, .n_seqs = 1};
    axl_cp_layout l;

    (void)state;
    layout_create(&l, AXL_CP_ZIGZAG, 4, &b);
    for (int r = 0; r < 4; r++) {
        const int32_t *rows = axl_cp_rows(&l, r);
        assert_int_equal(rows[0], r * ROW / 8);
        assert_int_equal(rows[ROW / 8 - 1], (r + 1) * ROW / 8 - 1);
        assert_int_equal(rows[ROW / 8], (7 - r) * ROW / 8);
        assert_int_equal(axl_cp_pairs(&l, r, 0), axl_cp_pairs(&l, 0, 0));
    }
    assert_int_equal(rows_sent(&l), 3 * ROW * 3 / 4);
    layout_destroy(&l);
    layout_create(&l, AXL_CP_CONTIGUOUS, 4, &b);
    for (int32_t i = 0; i < ROW; i++)
        assert_int_equal(l.rows[i], i);
    assert_int_equal(rows_sent(&l), 6 * ROW / 4);
    layout_destroy(&l);
}

// By definition: a key row is needed when some query of dst sees it.
static bool is_seen(const axl_cp_layout *l, int32_t key, int dst, int32_t seq, int32_t window)
{
    const int32_t *cu = axl_cp_local_cu(l, dst), *rows = axl_cp_rows(l, dst);

    for (int32_t q = cu[seq]; q < cu[seq + 1]; q++)
        if (rows[q] >= key && (window == 0 || rows[q] - key < window))
            return true;
    return false;
}

static void check_needed(const axl_cp_layout *l, int src, int dst, int32_t window)
{
    const int32_t *cu_src = axl_cp_local_cu(l, src), *keys = axl_cp_rows(l, src);
    int32_t *rows = calloc(ROW, sizeof *rows), *cu = calloc(ROW + 1, sizeof *cu);
    const int64_t n = axl_cp_needed(l, src, dst, window, rows, cu);
    int64_t at = 0;

    assert_int_equal(n, axl_cp_needed(l, src, dst, window, NULL, NULL));
    for (int32_t i = 0; i < l->n_seqs; i++) {
        assert_int_equal(cu[i], at);
        for (int32_t k = cu_src[i]; k < cu_src[i + 1]; k++)
            if (is_seen(l, keys[k], dst, i, window))
                assert_int_equal(rows[at++], k);
    }
    assert_int_equal(at, n);
    assert_int_equal(cu[l->n_seqs], n);
    free(cu);
    free(rows);
}

static void check_pairs(const axl_cp_layout *l, int r, int32_t window)
{
    const int32_t *cu = axl_cp_local_cu(l, r), *rows = axl_cp_rows(l, r);
    int64_t pairs = 0;

    for (int32_t i = 0; i < l->n_seqs; i++)
        for (int32_t k = cu[i]; k < cu[i + 1]; k++)
            for (int32_t key = l->cu_seqlens[i]; key <= rows[k]; key++)
                pairs += window == 0 || rows[k] - key < window;
    assert_int_equal(pairs, axl_cp_pairs(l, r, window));
}

static void needed_rows_are_those_some_query_sees(void **state)
{
    static const int32_t windows[] = {0, 1, 5, 60};

    (void)state;
    for (int k = 0; k < 16; k++) {
        micro_batch b;
        axl_cp_layout l;
        pack_log_normal(&b, k % 4 == 0 ? 400.0 : 40.0, 500, (uint64_t)k);
        layout_create(&l, (axl_cp_kind)(k % 2), 2 + k % 5, &b);
        for (int src = 0; src < l.n_ranks; src++) {
            check_pairs(&l, src, windows[(k + src) % 4]);
            for (int dst = 0; dst < l.n_ranks; dst++)
                if (dst != src)
                    check_needed(&l, src, dst, windows[(k + src) % 4]);
        }
        layout_destroy(&l);
    }
}

static void a_window_bounds_the_pairs(void **state)
{
    micro_batch b = {.cu = {0, 10, 13}, .n_seqs = 2};
    axl_cp_layout l;

    (void)state;
    layout_create(&l, AXL_CP_ZIGZAG, 1, &b);
    assert_int_equal(axl_cp_pairs(&l, 0, 0), 55 + 6);
    assert_int_equal(axl_cp_pairs(&l, 0, 4), 1 + 2 + 3 + 7 * 4 + 6);
    layout_destroy(&l);
}

static void the_same_documents_give_the_same_layout(void **state)
{
    micro_batch b, other = {.cu = {0, 5, 9}, .n_seqs = 2};
    axl_cp_layout x, y;

    (void)state;
    pack_log_normal(&b, 60.0, ROW, 7);
    layout_create(&x, AXL_CP_ZIGZAG, 8, &b);
    layout_create(&y, AXL_CP_ZIGZAG, 8, &other);
    CHECK_OK(axl_cp_layout_set(&y, b.cu, b.n_seqs));
    assert_memory_equal(x.rows, y.rows, ROW * sizeof *x.rows);
    assert_memory_equal(x.row_begin, y.row_begin, 9 * sizeof *x.row_begin);
    layout_destroy(&y);
    layout_destroy(&x);
}

static void what_does_not_fit_is_refused(void **state)
{
    micro_batch b = {.cu = {0, 5, 9}, .n_seqs = 2};
    const int32_t falling[] = {0, 5, 4}, late[] = {1, 5};
    const int32_t long_one[] = {0, ROW + 1};
    axl_cp_layout l;

    (void)state;
    layout_create(&l, AXL_CP_ZIGZAG, 2, &b);
    CHECK_FAILS(axl_cp_layout_set(&l, long_one, 1), AXL_E_BUG, "at most");
    CHECK_FAILS(axl_cp_layout_set(&l, late, 1), AXL_E_BUG, "documents");
    CHECK_FAILS(axl_cp_layout_set(&l, falling, 2), AXL_E_BUG, "document 1 ends before");
    layout_destroy(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log_normal_rows_are_balanced),
        cmocka_unit_test(any_documents_are_dealt_out_once),
        cmocka_unit_test(one_token_documents_send_nothing),
        cmocka_unit_test(one_document_is_cut_in_mirrored_chunks),
        cmocka_unit_test(needed_rows_are_those_some_query_sees),
        cmocka_unit_test(a_window_bounds_the_pairs),
        cmocka_unit_test(the_same_documents_give_the_same_layout),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
