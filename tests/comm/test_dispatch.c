// RUN: np=1,2,4
// The dispatch of experts: every row reaches the rank of its expert once, in the group of its expert, and comes back
// to its place, for even and uneven counts, ranks without rows, and so little memory that it takes many rounds;
// what is sent equals the formula of the counts.
#include "comm/dispatch.h"
#include "tests/check.h"

#include "src/base/philox.h"

#include <stdlib.h>

enum { N_EXPERTS = 8, MOST = 40, COLS = 3 };

static axl_comm *ep; // all ranks
static axl_device *device;

typedef int32_t row[COLS]; // source rank, expert, index among the source's copies

// Copies of rank for expert in pattern `kind`.
static int32_t count_of(int kind, int rank, int expert)
{
    switch (kind) {
    case 0: // even
        return 2;
    case 1: // all to one expert
        return expert == 5 ? MOST : 0;
    case 2: // only the last rank has rows
        return rank == axl_comm_size(ep) - 1 ? expert : 0;
    case 3: // nobody has
        return 0;
    default:
        return (int32_t)(axl_random_uniform((uint64_t)kind, AXL_RANDOM_TEST,
                                            (uint64_t)(rank * N_EXPERTS + expert)) *
                         (MOST / N_EXPERTS + 0.99));
    }
}

// What arrived, group by group; each row is marked as answered.
static void check_arrived(const axl_dispatch *d, row *rows)
{
    assert_true(d->n_rows <= d->capacity);
    assert_int_equal(d->begin[0], 0);
    assert_int_equal(d->begin[d->n_groups], d->n_rows);
    for (int g = 0; g < d->n_groups; g++) {
        for (int64_t i = d->begin[g]; i < d->begin[g + 1]; i++) {
            assert_int_equal(rows[i][0], g / d->n_local);
            assert_int_equal(rows[i][1], axl_comm_rank(ep) * d->n_local + d->matrix[g]);
            rows[i][0] = -1 - rows[i][2];
        }
    }
}

static void check_exchange(axl_dispatch *d, int kind, int64_t capacity)
{
    const int rank = axl_comm_rank(ep), n_ranks = axl_comm_size(ep);
    const int64_t room = capacity < 4 * MOST ? capacity : 4 * MOST;
    int32_t counts[N_EXPERTS], all[4 * N_EXPERTS];
    row home[MOST], *rows = calloc((size_t)room, sizeof *rows);
    int32_t n = 0;
    int64_t arrived = 0, due = 0;

    assert_non_null(rows);
    for (int32_t e = 0; e < N_EXPERTS; e++) {
        counts[e] = count_of(kind, rank, e);
        for (int32_t i = 0; i < counts[e]; i++, n++)
            memcpy(home[n], (row){rank, e, n}, sizeof(row));
        for (int r = 0; r < n_ranks; r++)
            due += e / d->n_local == rank ? count_of(kind, r, e) : 0;
    }
    CHECK_OK(axl_dispatch_begin(d, 0, counts, all, capacity, device->compute));
    for (int64_t i = 0; i < d->n_rounds; i++) {
        axl_dispatch_round(d, i);
        CHECK_OK(axl_dispatch_send(d, home, rows, sizeof(row), device->compute));
        check_arrived(d, rows);
        CHECK_OK(axl_dispatch_return(d, rows, home, sizeof(row), device->compute));
        arrived += d->n_rows;
    }
    assert_int_equal(arrived, due);
    for (int32_t i = 0; i < n; i++)
        assert_int_equal(home[i][0], -1 - i);
    free(rows);
}

static void every_row_goes_to_its_expert_and_back(void **state)
{
    static const int64_t capacities[] = {1, 3, 7, MOST, 1000};
    axl_dispatch *d = NULL;

    (void)state;
    CHECK_OK(axl_dispatch_create(ep, device, N_EXPERTS, 2, &d));
    for (int kind = 0; kind < 8; kind++)
        for (size_t c = 0; c < sizeof capacities / sizeof *capacities; c++)
            check_exchange(d, kind, capacities[c]);
    axl_dispatch_destroy(d);
}

static void bytes_sent_equal_the_formula(void **state)
{
    axl_comm_counter c[AXL_COMM_N_OPS];
    axl_dispatch *d = NULL;
    const int n_ranks = axl_comm_size(ep), rank = axl_comm_rank(ep);

    (void)state;
    CHECK_OK(axl_dispatch_create(ep, device, N_EXPERTS, 2, &d));
    for (int kind = 0; kind < 6; kind++) {
        int64_t away = 0, here = 0, all = 0;
        axl_comm_counters_reset(ep);
        axl_dispatch_reset(d);
        check_exchange(d, kind, 5);
        for (int e = 0; e < N_EXPERTS; e++) {
            all += count_of(kind, rank, e);
            away += e / d->n_local != rank ? count_of(kind, rank, e) : 0;
            for (int r = 0; r < n_ranks; r++)
                here += r != rank && e / d->n_local == rank ? count_of(kind, r, e) : 0;
        }
        assert_int_equal(d->sent_rows, away);
        assert_int_equal(d->received_rows, here);
        assert_true(away <= axl_dispatch_most_rows(all, n_ranks));
        assert_true(here <= axl_dispatch_most_received(MOST, n_ranks));
        if (kind == 0) // evenly chosen
            assert_int_equal(away, axl_dispatch_expected_rows(all, n_ranks));
        axl_comm_counters_read(ep, c);
        assert_int_equal(c[AXL_COMM_ALL_TO_ALL].sent_bytes, (away + here) * (int64_t)sizeof(row));
        assert_int_equal(c[AXL_COMM_ALL_GATHER].sent_bytes, axl_dispatch_count_bytes(d));
    }
    axl_dispatch_destroy(d);
}

static void backward_knows_the_counts_of_its_layer(void **state)
{
    axl_dispatch *d = NULL;
    const int n_ranks = axl_comm_size(ep), rank = axl_comm_rank(ep);
    const size_t n = (size_t)n_ranks * N_EXPERTS;
    int32_t counts[2][N_EXPERTS];
    int32_t *all = calloc(n, sizeof *all), *first = calloc(n, sizeof *first);

    (void)state;
    CHECK_OK(axl_dispatch_create(ep, device, N_EXPERTS, 2, &d));
    for (int32_t e = 0; e < N_EXPERTS; e++)
        for (int layer = 0; layer < 2; layer++)
            counts[layer][e] = count_of(3 * layer + 1, rank, e);
    CHECK_OK(axl_dispatch_begin(d, 0, counts[0], all, 2, device->compute));
    const int64_t n_rounds = d->n_rounds, sent = d->sent_rows, received = d->received_rows;
    memcpy(first, d->counts, n * sizeof *first);
    CHECK_OK(axl_dispatch_begin(d, 1, counts[1], all, 2, device->compute));
    axl_dispatch_reset(d);
    axl_dispatch_again(d, 0, 2);
    assert_memory_equal(d->counts, first, n * sizeof *first);
    assert_int_equal(d->n_rounds, n_rounds);
    assert_int_equal(d->sent_rows, sent);
    assert_int_equal(d->received_rows, received);
    assert_int_equal(d->n_exchanges, 0);
    axl_dispatch_destroy(d);
    free(all);
    free(first);
}

static void one_rank_moves_nothing(void **state)
{
    axl_dispatch *d = NULL;
    int32_t counts[N_EXPERTS] = {3}, all[N_EXPERTS];
    row rows[3];

    (void)state;
    if (axl_comm_size(ep) > 1)
        return;
    assert_int_equal(axl_dispatch_capacity(3, 1), 3);
    CHECK_OK(axl_dispatch_create(ep, device, N_EXPERTS, 2, &d));
    CHECK_OK(axl_dispatch_begin(d, 0, counts, all, 3, device->compute));
    assert_int_equal(d->n_rounds, 1);
    axl_dispatch_round(d, 0);
    assert_int_equal(d->n_rows, 3);
    axl_comm_counters_reset(ep);
    CHECK_OK(axl_dispatch_send(d, rows, rows, sizeof(row), device->compute));
    CHECK_OK(axl_dispatch_return(d, rows, rows, sizeof(row), device->compute));
    axl_comm_counter c[AXL_COMM_N_OPS];
    axl_comm_counters_read(ep, c);
    assert_int_equal(c[AXL_COMM_ALL_TO_ALL].calls, 0);
    axl_dispatch_destroy(d);
}

static void experts_that_ranks_cannot_share_are_refused(void **state)
{
    axl_dispatch *d = NULL;

    (void)state;
    if (axl_comm_size(ep) == 1)
        return;
    CHECK_FAILS(axl_dispatch_create(ep, device, 7, 2, &d), AXL_E_CONFIG,
                "does not divide 7 experts");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_goes_to_its_expert_and_back),
        cmocka_unit_test(bytes_sent_equal_the_formula),
        cmocka_unit_test(backward_knows_the_counts_of_its_layer),
        cmocka_unit_test(one_rank_moves_nothing),
        cmocka_unit_test(experts_that_ranks_cannot_share_are_refused),
    };
    axl_comm *world = NULL;

    CHECK_OK(axl_comm_init(&argc, &argv, &world));
    CHECK_OK(axl_comm_split(world, 0, axl_comm_rank(world), "ep", &ep));
    CHECK_OK(axl_device_create(&(axl_device_options){.backend = "ref", .n_threads = 1}, &device));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    axl_device_destroy(device);
    axl_comm_destroy(ep);
    axl_comm_finalize(world);
    return failed;
}
