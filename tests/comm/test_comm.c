// RUN: np=1,2,3,4
// Every collective against a plain computation that each rank does for itself; groups, order, uneven
// and zero counts, counters against the formulas, agreement on failures.
#include "tests/check.h"

#include "comm/transport.h" // to claim several hosts
#include "src/base/log.h"
#include "src/base/philox.h"

#include <stdlib.h>

static axl_comm *world;

static axl_device *device;

static void drain(void)
{
    CHECK_OK(device->ops->synchronize(device->gather));
    CHECK_OK(device->ops->synchronize(device->reduce));
}

// The value of element i of rank r's buffer: small multiples of 1/8, so that sums are exact in every
// order and in BF16 inputs.
static float value(int r, int64_t i)
{
    return (float)((i * 7 + r * 13) % 29 - 14) / 8.0F;
}

static const int64_t counts[] = {0, 1, 5, 513, 70001, 700001};
enum { N_COUNTS = sizeof counts / sizeof *counts };

static void all_gather_collects_shards_in_rank_order(void **state)
{
    const int n = axl_comm_size(world), rank = axl_comm_rank(world);

    (void)state;
    for (int k = 0; k < 2 * N_COUNTS; k++) {
        const int64_t count = counts[k / 2];
        const bool in_place = k % 2 == 1;
        float *full = calloc((size_t)(n * count + 1), sizeof *full);
        float *shard = in_place ? full + rank * count : calloc((size_t)count + 1, sizeof *shard);
        for (int64_t i = 0; i < count; i++)
            shard[i] = value(rank, i);
        CHECK_OK(axl_comm_all_gather(world, shard, full, count, AXL_F32, NULL));
        for (int r = 0; r < n; r++)
            for (int64_t i = 0; i < count; i++)
                assert_true(full[r * count + i] == value(r, i));
        if (!in_place)
            free(shard);
        free(full);
    }
}

static void check_reduce_scatter(int64_t count, axl_dtype dtype, bool accumulate, axl_stream *s)
{
    const int n = axl_comm_size(world), rank = axl_comm_rank(world);
    const size_t elem = axl_dtype_size(dtype);
    char *full = calloc((size_t)(n * count + 1), elem);
    float *shard = calloc((size_t)count + 1, sizeof *shard);

    for (int64_t i = 0; i < n * count; i++) {
        if (dtype == AXL_F32)
            ((float *)(void *)full)[i] = value(rank, i);
        else
            ((axl_bf16 *)(void *)full)[i] = axl_f32_to_bf16(value(rank, i));
    }
    for (int64_t i = 0; i < count; i++)
        shard[i] = 0.5F;
    CHECK_OK(axl_comm_reduce_scatter(world, full, shard, count, dtype, accumulate, s));
    if (s != NULL)
        drain();
    for (int64_t i = 0; i < count; i++) {
        float sum = accumulate ? 0.5F : 0.0F;
        for (int r = 0; r < n; r++)
            sum += value(r, rank * count + i);
        assert_true(shard[i] == sum);
    }
    free(shard);
    free(full);
}

// Arrays of all those lengths as one collective.
static void check_reduce_scatter_list(axl_dtype dtype, int64_t gap, axl_stream *s)
{
    const int n = axl_comm_size(world), rank = axl_comm_rank(world);
    axl_comm_shard shards[N_COUNTS];
    int64_t stride = gap, at = 0;

    for (int k = 0; k < N_COUNTS; k++) {
        shards[k] =
            (axl_comm_shard){calloc((size_t)counts[k] + 1, sizeof(float)), counts[k], k % 2 == 1};
        for (int64_t i = 0; i <= counts[k]; i++)
            shards[k].sum[i] = 0.5F;
        stride += counts[k];
    }
    char *full = calloc((size_t)(n * stride + 1), axl_dtype_size(dtype));
    for (int64_t i = 0; i < n * stride; i++) {
        if (dtype == AXL_F32)
            ((float *)(void *)full)[i] = value(rank, i);
        else
            ((axl_bf16 *)(void *)full)[i] = axl_f32_to_bf16(value(rank, i));
    }
    CHECK_OK(axl_comm_reduce_scatter_list(world, full, stride, shards, N_COUNTS, dtype, s));
    if (s != NULL)
        drain();
    for (int k = 0; k < N_COUNTS; k++) {
        for (int64_t i = 0; i < counts[k]; i++) {
            float sum = k % 2 == 1 ? 0.5F : 0.0F;
            for (int r = 0; r < n; r++)
                sum += value(r, rank * stride + at + i);
            assert_true(shards[k].sum[i] == sum);
        }
        assert_true(shards[k].sum[counts[k]] == 0.5F);
        at += counts[k];
        free(shards[k].sum);
    }
    free(full);
}

static void reduce_scatter_sums_each_part(void **state)
{
    (void)state;
    check_reduce_scatter_list(AXL_F32, 0, NULL);
    check_reduce_scatter_list(AXL_F32, 16, device->gather);
    check_reduce_scatter_list(AXL_BF16, 5, NULL);
    for (int k = 0; k < N_COUNTS; k++) {
        check_reduce_scatter(counts[k], AXL_F32, false, NULL);
        check_reduce_scatter(counts[k], AXL_F32, true, device->gather);
        check_reduce_scatter(counts[k], AXL_BF16, k % 2 == 0, NULL);
    }
}

// The tree over ranks first .. first + n of element i of rank r's buffer.
static float tree(int first, int n, int64_t i)
{
    int left = 1;

    if (n == 1)
        return (float)axl_random_normal((uint64_t)first, AXL_RANDOM_TEST, (uint64_t)i);
    while (left * 2 < n)
        left *= 2;
    return tree(first, left, i) + tree(first + left, n - left, i);
}

// Also where a ring would be chosen, once the order is fixed.
static void sums_are_trees_in_rank_order(void **state)
{
    const int n = axl_comm_size(world), rank = axl_comm_rank(world), n_hosts = world->n_hosts;
    enum { COUNT = 3000 };
    float *full = calloc((size_t)n * COUNT, sizeof *full), *shard = calloc(COUNT, sizeof *shard);
    double x = 0.1 * (rank + 1), sum = 0.0;

    (void)state;
    axl_comm_fix_order(world, true);
    for (int hosts = 1; hosts <= 2; hosts++) {
        world->n_hosts = hosts;
        for (int64_t i = 0; i < n * COUNT; i++)
            full[i] = (float)axl_random_normal((uint64_t)rank, AXL_RANDOM_TEST, (uint64_t)i);
        CHECK_OK(axl_comm_reduce_scatter(world, full, shard, COUNT, AXL_F32, false, NULL));
        for (int64_t i = 0; i < COUNT; i++)
            assert_true(shard[i] == tree(0, n, rank * COUNT + i));
        // In place: the sum replaces this rank's own part.
        CHECK_OK(
            axl_comm_reduce_scatter(world, full, full + rank * COUNT, COUNT, AXL_F32, false, NULL));
        assert_memory_equal(full + rank * COUNT, shard, COUNT * sizeof *shard);
        // Whole to everyone, and in slices.
        for (int64_t count = 500; count <= COUNT; count += COUNT - 500) {
            for (int64_t i = 0; i < count; i++)
                full[i] = (float)axl_random_normal((uint64_t)rank, AXL_RANDOM_TEST, (uint64_t)i);
            CHECK_OK(axl_comm_all_reduce(world, full, count, AXL_F32, AXL_REDUCE_SUM, NULL));
            for (int64_t i = 0; i < count; i++)
                assert_true(full[i] == tree(0, n, i));
        }
    }
    world->n_hosts = n_hosts;
    axl_comm_fix_order(world, false);
    CHECK_OK(axl_comm_all_reduce_f64(world, &x, 1, AXL_REDUCE_SUM));
    if (n == 4)
        sum = (0.1 * 1 + 0.1 * 2) + (0.1 * 3 + 0.1 * 4);
    for (int r = 0; n < 4 && r < n; r++)
        sum += 0.1 * (r + 1);
    assert_true(x == sum);
    free(shard);
    free(full);
}

static double expected(int n, int64_t i, axl_reduce_op op)
{
    double x = (double)value(0, i);

    for (int r = 1; r < n; r++) {
        const double y = (double)value(r, i);
        if (op == AXL_REDUCE_SUM)
            x += y;
        else if (op == AXL_REDUCE_MAX)
            x = y > x ? y : x;
        else
            x = y < x ? y : x;
    }
    return x;
}

static void put(void *buf, axl_dtype dtype, int64_t i, float x)
{
    if (dtype == AXL_F32)
        ((float *)buf)[i] = x;
    else if (dtype == AXL_F64)
        ((double *)buf)[i] = (double)x;
    else if (dtype == AXL_I64)
        ((int64_t *)buf)[i] = (int64_t)(8.0F * x);
    else
        ((axl_bf16 *)buf)[i] = axl_f32_to_bf16(x);
}

static double get(const void *buf, axl_dtype dtype, int64_t i)
{
    if (dtype == AXL_F32)
        return (double)((const float *)buf)[i];
    if (dtype == AXL_F64)
        return ((const double *)buf)[i];
    if (dtype == AXL_I64)
        return (double)((const int64_t *)buf)[i] / 8.0;
    return (double)axl_bf16_to_f32(((const axl_bf16 *)buf)[i]);
}

// As if the ranks sat on two hosts: the ring algorithms.
static void rings_give_the_same(void **state)
{
    const int n_hosts = world->n_hosts;

    world->n_hosts = 2;
    all_gather_collects_shards_in_rank_order(state);
    reduce_scatter_sums_each_part(state);
    world->n_hosts = n_hosts;
}

static void all_reduce_knows_types_and_operations(void **state)
{
    static const axl_dtype dtypes[] = {AXL_F32, AXL_F64, AXL_I64, AXL_BF16};
    const int n = axl_comm_size(world), rank = axl_comm_rank(world);

    (void)state;
    for (int k = 0; k < 4 * 3 * N_COUNTS; k++) {
        const axl_dtype dtype = dtypes[k % 4];
        const axl_reduce_op op = (axl_reduce_op)(k / 4 % 3);
        const int64_t count = counts[k / 12];
        void *buf = calloc((size_t)count + 1, 8);
        for (int64_t i = 0; i < count; i++)
            put(buf, dtype, i, value(rank, i));
        CHECK_OK(axl_comm_all_reduce(world, buf, count, dtype, op, NULL));
        for (int64_t i = 0; i < count; i++)
            if (get(buf, dtype, i) != expected(n, i, op))
                fail_msg("%s op %d [%lld]: %g, expected %g", axl_dtype_name(dtype), (int)op,
                         (long long)i, get(buf, dtype, i), expected(n, i, op));
        free(buf);
    }
    CHECK_FAILS(axl_comm_all_reduce(world, NULL, 0, AXL_I8, AXL_REDUCE_SUM, NULL),
                AXL_E_UNSUPPORTED, "I8");
}

static void broadcast_moves_bytes(void **state)
{
    const int n = axl_comm_size(world), rank = axl_comm_rank(world);
    enum { BYTES = 9000001 };
    uint8_t *a = calloc(BYTES, 1);

    (void)state;
    for (int root = 0; root < n; root++) {
        for (int64_t i = 0; i < BYTES; i++)
            a[i] = (uint8_t)(rank == root ? i * 31 + root : 0);
        CHECK_OK(axl_comm_broadcast(world, a, BYTES, root, root % 2 == 0 ? NULL : device->gather));
        drain();
        for (int64_t i = 0; i < BYTES; i++)
            assert_true(a[i] == (uint8_t)(i * 31 + root));
    }
    free(a);
}

// How many rows rank `from` sends to rank `to`: some none, some to itself.
static int64_t rows_of(int from, int to, int round)
{
    return (from * 7 + to * 5 + round) % 4 == 0 ? 0 : (from * 3 + to * 11 + round * 17) % 60;
}

enum { ROW = 24, MOST_ROWS = 4 * 60 };

static uint8_t exchanged_byte(int from, int to, int64_t i)
{
    return (uint8_t)(from * 91 + to * 37 + i * 13 + 1);
}

typedef struct exchange_case {
    uint8_t send[MOST_ROWS * ROW], recv[MOST_ROWS * ROW];
    int64_t send_count[4], send_at[4], recv_count[4], recv_at[4];
} exchange_case;

// The parts to send lie in reversed order of ranks, so that places are no running sums.
static void exchange_begin(exchange_case *x, int round, axl_stream *s)
{
    const int n = axl_comm_size(world), rank = axl_comm_rank(world);
    int64_t at = 0;

    for (int r = n - 1; r >= 0; r--) {
        x->send_count[r] = rows_of(rank, r, round);
        x->send_at[r] = at;
        for (int64_t i = 0; i < x->send_count[r] * ROW; i++)
            x->send[at * ROW + i] = exchanged_byte(rank, r, i);
        at += x->send_count[r];
    }
    at = 0;
    for (int r = 0; r < n; r++) {
        x->recv_count[r] = rows_of(r, rank, round);
        x->recv_at[r] = at;
        at += x->recv_count[r];
    }
    memset(x->recv, 0, sizeof x->recv);
    CHECK_OK(axl_comm_all_to_all(world, x->send, x->send_count, x->send_at, x->recv, x->recv_count,
                                 x->recv_at, ROW, s));
    memset(x->send_count, 0x55, sizeof x->send_count); // the call has copied them
    memset(x->recv_at, 0x55, sizeof x->recv_at);
}

static void exchange_check(const exchange_case *x, int round)
{
    const int n = axl_comm_size(world), rank = axl_comm_rank(world);
    int64_t at = 0;

    for (int r = 0; r < n; r++)
        for (int64_t i = 0; i < rows_of(r, rank, round) * ROW; i++)
            assert_int_equal(x->recv[at++], exchanged_byte(r, rank, i));
    for (; at < MOST_ROWS * ROW; at++)
        assert_int_equal(x->recv[at], 0);
}

static void all_to_all_moves_each_pairs_rows(void **state)
{
    enum { N_ROUNDS = 8 };
    exchange_case *x = calloc(N_ROUNDS, sizeof *x);
    const int64_t none[4] = {0};

    (void)state;
    for (int round = 0; round < N_ROUNDS; round++) {
        exchange_begin(x, round, NULL);
        exchange_check(x, round);
    }
    for (int grouped = 0; grouped < 2; grouped++) {
        if (grouped == 1)
            CHECK_OK(axl_comm_group_begin(world));
        for (int round = 0; round < N_ROUNDS; round++)
            exchange_begin(&x[round], round, device->gather);
        if (grouped == 1)
            CHECK_OK(axl_comm_group_end(world));
        drain();
        for (int round = 0; round < N_ROUNDS; round++)
            exchange_check(&x[round], round);
    }
    CHECK_OK(axl_comm_all_to_all(world, NULL, none, none, NULL, none, none, ROW, NULL));
    x->send_count[axl_comm_rank(world)] = 2;
    CHECK_FAILS(
        axl_comm_all_to_all(world, x->send, x->send_count, none, x->recv, none, none, ROW, NULL),
        AXL_E_BUG, "sends itself");
    free(x);
}

// Turns of a ring in both directions, with a message of each size, and with ranks that send or receive
// nothing.
static void send_recv_turns_a_ring(void **state)
{
    const int n = axl_comm_size(world), rank = axl_comm_rank(world);
    static const int64_t sizes[] = {0, 1, 5000, 9000001};
    uint8_t *a = calloc(9000001, 1), *b = calloc(9000001, 1);

    (void)state;
    for (int k = 0; k < 4 * n; k++) {
        const int distance = k / 4, to = (rank + distance) % n, from = (rank + n - distance) % n;
        const int64_t size = sizes[k % 4];
        // a rank of odd number sends only half
        const int64_t out = rank % 2 == 1 ? size / 2 : size, in = from % 2 == 1 ? size / 2 : size;
        memset(a, rank + 1, (size_t)out);
        memset(b, 0, (size_t)size);
        CHECK_OK(
            axl_comm_send_recv(world, a, out, out > 0 ? to : -1, b, in, in > 0 ? from : n, NULL));
        for (int64_t i = 0; i < size; i++)
            assert_int_equal(b[i], i < in ? from + 1 : 0);
    }
    CHECK_FAILS(axl_comm_send_recv(world, a, 1, n, b, 0, 0, NULL), AXL_E_BUG, "to rank");
    free(a);
    free(b);
}

// What is longer than a message travels in pieces; collectives around it keep their tags.
static void long_messages_are_cut(void **state)
{
    const int64_t message_bytes = world->root->message_bytes;

    world->root->message_bytes = 100;
    all_to_all_moves_each_pairs_rows(state);
    world->root->message_bytes = 1000000;
    send_recv_turns_a_ring(state);
    all_gather_collects_shards_in_rank_order(state);
    world->root->message_bytes = message_bytes;
}

static void groups_and_queues_keep_order(void **state)
{
    const int n = axl_comm_size(world), rank = axl_comm_rank(world);
    enum { N = 9, LARGEST = 40000 };
    float *full[N];
    float sum[N][4];

    (void)state;
    CHECK_OK(axl_comm_group_begin(world));
    for (int k = 0; k < N; k++) {
        const int64_t count = k == 3 ? 0 : (int64_t)k * k * 500 + 1;
        full[k] = calloc((size_t)n * LARGEST, sizeof(float));
        for (int64_t i = 0; i < count; i++)
            full[k][rank * count + i] = value(rank + k, i);
        CHECK_OK(axl_comm_all_gather(world, full[k] + rank * count, full[k], count, AXL_F32,
                                     device->gather));
    }
    CHECK_OK(axl_comm_group_end(world));
    // A blocking call behind a queue must move the queue, or ranks wait for each other.
    if (rank % 2 == 0)
        drain();
    CHECK_OK(axl_comm_barrier(world));
    for (int k = 0; k < N; k++) {
        for (int i = 0; i < 4; i++)
            sum[k][i] = (float)(rank + k + i);
        CHECK_OK(axl_comm_all_reduce(world, sum[k], 4, AXL_F32, AXL_REDUCE_SUM, device->reduce));
    }
    drain();
    for (int k = 0; k < N; k++) {
        const int64_t count = k == 3 ? 0 : (int64_t)k * k * 500 + 1;
        for (int r = 0; r < n; r++)
            for (int64_t i = 0; i < count; i++)
                assert_true(full[k][r * count + i] == value(r + k, i));
        for (int i = 0; i < 4; i++)
            assert_true(sum[k][i] == (float)(n * (k + i) + n * (n - 1) / 2));
        free(full[k]);
    }
    CHECK_OK(axl_comm_group_begin(world));
    CHECK_OK(axl_comm_group_end(world));
    CHECK_FAILS(axl_comm_group_end(world), AXL_E_BUG, "world");
}

// The same with a thread that moves the streams on: two threads are in MPI at once.
static void a_progress_thread_changes_nothing(void **state)
{
    axl_comm_progress *p = NULL;

    if (axl_comm_size(world) > 1 && !axl_comm_threads(world))
        skip();
    CHECK_OK(axl_comm_progress_start(world, device, &p));
    for (int k = 0; k < 3; k++)
        groups_and_queues_keep_order(state);
    reduce_scatter_sums_each_part(state);
    axl_comm_progress_stop(p);
}

static void a_progress_thread_wants_a_core_of_its_own(void **state)
{
    axl_device d = *device;

    (void)state;
    d.n_threads = 1 << 20;
    assert_false(axl_comm_progress_pays(world, &d));
    d.n_threads = 0; // as if nobody computed
    assert_int_equal(axl_comm_progress_pays(world, &d),
                     axl_comm_size(world) > 1 && axl_comm_threads(world));
}

// A wait that is over at once counts next to nothing, and a late rank is waited for by the others once.
static void waits_are_counted_once(void **state)
{
    const int n = axl_comm_size(world), rank = axl_comm_rank(world);
    axl_comm_counter c[AXL_COMM_N_OPS];
    double x = 1.0, total = 0.0;

    (void)state;
    CHECK_OK(axl_comm_barrier(world));
    axl_comm_counters_reset(world);
    const double begin = axl_now();
    if (rank == 0)
        while (axl_now() - begin < 0.05)
            ;
    CHECK_OK(axl_comm_all_reduce_f64(world, &x, 1, AXL_REDUCE_SUM));
    const double all = axl_now() - begin;
    axl_comm_counters_read(world, c);
    for (int op = 0; op < AXL_COMM_N_OPS; op++)
        total += c[op].exposed_seconds;
    assert_true(total <= all);
    if (rank == 0)
        assert_true(total <= all - 0.05);
    if (n == 1)
        assert_true(total == 0.0);
}

static void counters_equal_the_formulas(void **state)
{
    const int64_t n = axl_comm_size(world), rank = axl_comm_rank(world);
    const int64_t next = (rank + 1) % n, last = (rank + n - 1) % n;
    const int64_t send_count[4] = {rank, rank, rank, rank}, recv_count[4] = {0, 1, 2, 3};
    const int64_t at[4] = {0, 10, 20, 30};
    axl_comm_counter c[AXL_COMM_N_OPS];
    float *full = calloc((size_t)n * 1003, sizeof *full), *shard = calloc(1003, sizeof *shard);

    (void)state;
    axl_comm_counters_reset(world);
    for (int k = 0; k < 3; k++) {
        CHECK_OK(axl_comm_all_gather(world, shard, full, 1003, AXL_BF16, NULL));
        CHECK_OK(axl_comm_reduce_scatter(world, full, shard, 1001, AXL_F32, true, NULL));
    }
    CHECK_OK(axl_comm_all_reduce(world, shard, 1001, AXL_F32, AXL_REDUCE_SUM, NULL));
    CHECK_OK(axl_comm_broadcast(world, shard, 77, 0, NULL));
    CHECK_OK(
        axl_comm_send_recv(world, shard, 55 + rank, (int)next, full, 55 + last, (int)last, NULL));
    CHECK_OK(axl_comm_all_to_all(world, shard, send_count, at, full, recv_count, at, 12, NULL));
    axl_comm_counters_read(world, c);
    assert_int_equal(c[AXL_COMM_ALL_GATHER].calls, 3);
    assert_int_equal(c[AXL_COMM_ALL_GATHER].payload_bytes, 3 * n * 1003 * 2);
    assert_int_equal(c[AXL_COMM_ALL_GATHER].sent_bytes, 3 * (n - 1) * 1003 * 2);
    assert_int_equal(c[AXL_COMM_REDUCE_SCATTER].payload_bytes, 3 * n * 1001 * 4);
    assert_int_equal(c[AXL_COMM_REDUCE_SCATTER].sent_bytes, 3 * (n - 1) * 1001 * 4);
    assert_int_equal(c[AXL_COMM_ALL_REDUCE].payload_bytes, 1001 * 4);
    assert_int_equal(c[AXL_COMM_ALL_REDUCE].sent_bytes, 2 * (n - 1) * 1001 * 4 / n);
    assert_int_equal(c[AXL_COMM_BROADCAST].sent_bytes, axl_comm_rank(world) == n - 1 ? 0 : 77);
    assert_int_equal(c[AXL_COMM_SEND_RECV].payload_bytes, 55 + rank);
    assert_int_equal(c[AXL_COMM_SEND_RECV].sent_bytes, n == 1 ? 0 : 55 + rank);
    assert_int_equal(c[AXL_COMM_ALL_TO_ALL].payload_bytes, n * rank * 12);
    assert_int_equal(c[AXL_COMM_ALL_TO_ALL].sent_bytes, (n - 1) * rank * 12);
    assert_true(c[AXL_COMM_ALL_GATHER].exposed_seconds >= 0.0);
    axl_comm_count_exposed(world, AXL_COMM_SEND_RECV, 2.0);
    axl_comm_counters_read(world, c);
    assert_true(c[AXL_COMM_SEND_RECV].exposed_seconds >= 2.0);
    axl_comm_counters_reset(world);
    axl_comm_counters_read(world, c);
    assert_int_equal(c[AXL_COMM_ALL_GATHER].calls, 0);
    free(shard);
    free(full);
}

static void split_makes_axes(void **state)
{
    const int n = axl_comm_size(world), rank = axl_comm_rank(world);
    axl_comm *pair = NULL, *none = NULL, *all = NULL;
    int64_t sum = rank;

    (void)state;
    CHECK_OK(axl_comm_split(world, rank / 2, rank, "pair", &pair));
    assert_string_equal(axl_comm_name(pair), "pair");
    assert_int_equal(axl_comm_rank(pair), rank % 2);
    assert_int_equal(axl_comm_size(pair), rank / 2 * 2 + 1 < n ? 2 : 1);
    CHECK_OK(axl_comm_all_reduce_i64(pair, &sum, 1, AXL_REDUCE_SUM));
    assert_int_equal(sum, axl_comm_size(pair) == 2 ? rank / 2 * 4 + 1 : rank);
    CHECK_OK(axl_comm_split(world, rank == 0 ? -1 : 0, 0, "rest", &none));
    assert_true((none == NULL) == (rank == 0));
    CHECK_OK(axl_comm_split(world, 0, -rank, "reversed", &all));
    assert_int_equal(axl_comm_rank(all), n - 1 - rank);
    assert_int_equal(axl_comm_local_size(all), n);
    axl_comm_destroy(all);
    axl_comm_destroy(none);
    axl_comm_destroy(pair);
}

static void host_helpers_gather_and_reduce(void **state)
{
    const int n = axl_comm_size(world), rank = axl_comm_rank(world);
    char mine[16], text[8] = "";
    axl_str all = {0};
    int64_t sizes[64], at = 0;
    double x[2] = {0.1 * rank, -rank};

    (void)state;
    memset(mine, 'a' + rank, sizeof mine);
    CHECK_OK(axl_comm_gather_bytes(world, mine, rank % 2 == 1 ? 0 : rank + 1, &all, sizes));
    for (int r = 0; r < n && rank == 0; r++) {
        assert_int_equal(sizes[r], r % 2 == 1 ? 0 : r + 1);
        for (int64_t i = 0; i < sizes[r]; i++)
            assert_int_equal(all.data[at++], 'a' + r);
    }
    assert_int_equal(all.len, rank == 0 ? (size_t)at : 0);
    axl_str_fini(&all);
    CHECK_OK(axl_comm_all_reduce_f64(world, x, 2, AXL_REDUCE_MAX));
    assert_true(x[0] == 0.1 * (n - 1) && x[1] == 0.0);
    if (rank == n - 1)
        (void)snprintf(text, sizeof text, "hello");
    CHECK_OK(axl_comm_bcast_bytes(world, text, sizeof text, n - 1));
    assert_string_equal(text, "hello");
}

static void agree_spreads_the_first_failure(void **state)
{
    const int n = axl_comm_size(world), rank = axl_comm_rank(world);
    axl_status mine = AXL_OK;

    (void)state;
    CHECK_OK(axl_comm_agree(world, AXL_OK));
    if (n == 1) {
        assert_int_equal(axl_comm_agree(world, AXL_E_INPUT), AXL_E_INPUT);
        return;
    }
    if (rank == 1)
        mine = axl_error_set(AXL_E_INPUT, __FILE__, __LINE__, "a file is broken");
    if (rank == 2)
        mine = axl_error_set(AXL_E_IO, __FILE__, __LINE__, "another thing");
    CHECK_FAILS(axl_comm_agree(world, mine), AXL_E_INPUT, "rank 1: a file is broken");
    CHECK_OK(axl_comm_agree(world, AXL_OK));
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_gather_collects_shards_in_rank_order),
        cmocka_unit_test(reduce_scatter_sums_each_part),
        cmocka_unit_test(sums_are_trees_in_rank_order),
        cmocka_unit_test(rings_give_the_same),
        cmocka_unit_test(all_reduce_knows_types_and_operations),
        cmocka_unit_test(broadcast_moves_bytes),
        cmocka_unit_test(all_to_all_moves_each_pairs_rows),
        cmocka_unit_test(send_recv_turns_a_ring),
        cmocka_unit_test(long_messages_are_cut),
        cmocka_unit_test(groups_and_queues_keep_order),
        cmocka_unit_test(a_progress_thread_changes_nothing),
        cmocka_unit_test(a_progress_thread_wants_a_core_of_its_own),
        cmocka_unit_test(waits_are_counted_once),
        cmocka_unit_test(counters_equal_the_formulas),
        cmocka_unit_test(split_makes_axes),
        cmocka_unit_test(host_helpers_gather_and_reduce),
        cmocka_unit_test(agree_spreads_the_first_failure),
    };

    if (axl_comm_init(&argc, &argv, &world) != AXL_OK ||
        axl_device_create(&(axl_device_options){.backend = "cpu"}, &device) != AXL_OK) {
        (void)fprintf(stderr, "%s\n", axl_error_message());
        return 1;
    }
    const int n_failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (n_failed > 0)
        axl_comm_abort(world, 1, "a test failed");
    axl_comm_finalize(world);
    axl_device_destroy(device);
    return 0;
}
