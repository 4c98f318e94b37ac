// Collectives between the emulated GPUs of several ranks, over the emulated NCCL: what arrives is to the bit what MPI brings
// to host memory, and only what the contract says is touched. The memory of sums is small, so that they go in many pieces.
#include "tests/check.h"

#include "comm/nccl.h"
#include "comm/watch_private.h" // what the watch would see
#include "kernels/kernels.h"
#include "src/base/philox.h"
#include "tests/cuda_emu/nccl_emulated.h"

#include <stdlib.h>
#include <string.h>

static axl_comm *world;
static axl_device *device;

enum { MOST = 70001, LANDING = 96 << 10, N_ROUNDS = 6 };

static const int64_t counts[] = {0, 1, 7, 1000, 4099, 40016};
enum { N_COUNTS = sizeof counts / sizeof *counts };

// ---- memory

static void *upload(const void *host, size_t bytes)
{
    void *p = NULL;

    CHECK_OK(device->ops->alloc(device, bytes + 64, "a test", &p));
    CHECK_OK(axl_device_write(device, p, host, bytes));
    return p;
}

static void drop(void *p, size_t bytes)
{
    device->ops->free(device, p, bytes + 64);
}

static void check_same(const char *what, const void *on_device, const void *host, size_t bytes)
{
    char *copy = malloc(bytes + 1);

    CHECK_OK(axl_device_read(device, copy, on_device, bytes));
    for (size_t i = 0; i < bytes; i++)
        if (copy[i] != ((const char *)host)[i])
            fail_msg("%s: byte %zu of %zu is %02x, MPI gives %02x", what, i, bytes,
                     (unsigned char)copy[i], ((const unsigned char *)host)[i]);
    free(copy);
}

static void fill(void *p, axl_dtype dtype, int64_t n, uint64_t salt)
{
    const uint64_t seed = (uint64_t)axl_comm_rank(world) * 1000 + salt;

    for (int64_t i = 0; i < n; i++) {
        const double x = axl_random_normal(seed, AXL_RANDOM_TEST, (uint64_t)i);
        if (dtype == AXL_F32)
            ((float *)p)[i] = (float)x;
        else if (dtype == AXL_BF16)
            ((axl_bf16 *)p)[i] = axl_f32_to_bf16((float)x);
        else if (dtype == AXL_F64)
            ((double *)p)[i] = x;
        else if (dtype == AXL_I64)
            ((int64_t *)p)[i] = (int64_t)(x * 1e18);
        else
            ((uint8_t *)p)[i] = (uint8_t)(x * 50.0);
    }
}

// s has done all that was queued before the collective on `compute`, as the caller sees to.
static void begin(axl_stream *s)
{
    axl_event made;

    CHECK_OK(device->ops->record(device->compute, &made));
    CHECK_OK(device->ops->wait(s, &made));
}

static void done(axl_stream *s)
{
    axl_event e;

    CHECK_OK(device->ops->record(s, &e));
    CHECK_OK(device->ops->wait(device->compute, &e));
}

// ---- each collective beside MPI

static void all_gather(int64_t count, axl_dtype dtype, bool in_place, axl_stream *s)
{
    const int n = axl_comm_size(world), rank = axl_comm_rank(world);
    const size_t elem = axl_dtype_size(dtype), bytes = (size_t)count * elem;
    char *full = calloc((size_t)n + 1, bytes + 8), *shard = calloc(1, bytes + 8);

    fill(shard, dtype, count, 1);
    memcpy(full + (size_t)rank * bytes, shard, bytes);
    char *d_full = upload(full, (size_t)n * bytes), *d_shard = upload(shard, bytes);
    begin(s);
    CHECK_OK(axl_comm_all_gather(world, in_place ? d_full + (size_t)rank * bytes : d_shard, d_full,
                                 count, dtype, s));
    done(s);
    CHECK_OK(axl_comm_all_gather(world, shard, full, count, dtype, NULL));
    check_same("all_gather", d_full, full, (size_t)n * bytes);
    drop(d_full, (size_t)n * bytes);
    drop(d_shard, bytes);
    free(full);
    free(shard);
}

static void reduce_scatter(int64_t count, axl_dtype dtype, bool accumulate, bool in_place)
{
    const int n = axl_comm_size(world), rank = axl_comm_rank(world);
    const size_t elem = axl_dtype_size(dtype), bytes = (size_t)(n * count) * elem;
    const size_t out_bytes = (size_t)count * sizeof(float);
    axl_stream *s = device->reduce;
    char *full = calloc(1, bytes + 8);
    float *shard = calloc((size_t)count + 1, sizeof *shard);

    fill(full, dtype, n * count, 2);
    fill(shard, AXL_F32, count, 3);
    if (in_place)
        memcpy(shard, full + (size_t)rank * out_bytes, out_bytes);
    char *d_full = upload(full, bytes), *d_shard = upload(shard, out_bytes);
    char *to = in_place ? d_full + (size_t)rank * out_bytes : d_shard;
    begin(s);
    CHECK_OK(
        axl_comm_reduce_scatter(world, d_full, (float *)(void *)to, count, dtype, accumulate, s));
    if (accumulate &&
        axl_comm_size(world) > 1) // what is added has arrived, whichever stream is waited for
        CHECK_OK(device->ops->synchronize(axl_nccl_sums(device)));
    done(s);
    CHECK_OK(axl_comm_reduce_scatter(world, full, shard, count, dtype, accumulate, NULL));
    check_same("reduce_scatter", to, shard, out_bytes);
    if (!in_place)
        check_same("what was summed", d_full, full, bytes);
    drop(d_full, bytes);
    drop(d_shard, out_bytes);
    free(full);
    free(shard);
}

// Shards of several lengths, that divide nothing, as one collective: some added to what is there, some not.
static void reduce_scatter_list(axl_dtype dtype, int64_t gap)
{
    enum { N = 7 };
    static const int64_t lengths[N] = {4096, 0, 20011, 3, 1, 64, 999};
    const int n = axl_comm_size(world);
    const size_t elem = axl_dtype_size(dtype);
    axl_comm_shard on_device[N], on_host[N];
    int64_t count = 0;

    for (int k = 0; k < N; k++)
        count += lengths[k];
    const size_t bytes = (size_t)(n * (count + gap)) * elem;
    char *full = calloc(1, bytes), *d_full = NULL;
    fill(full, dtype, n * (count + gap), 12);
    d_full = upload(full, bytes);
    for (int k = 0; k < N; k++) {
        float *sum = calloc((size_t)lengths[k] + 1, sizeof *sum);
        fill(sum, AXL_F32, lengths[k], (uint64_t)(20 + k));
        on_host[k] = on_device[k] = (axl_comm_shard){sum, lengths[k], k % 2 == 0};
        on_device[k].sum = upload(sum, (size_t)lengths[k] * sizeof *sum);
    }
    begin(device->reduce);
    CHECK_OK(axl_comm_reduce_scatter_list(world, d_full, count + gap, on_device, N, dtype,
                                          device->reduce));
    done(device->reduce);
    CHECK_OK(axl_comm_reduce_scatter_list(world, full, count + gap, on_host, N, dtype, NULL));
    for (int k = 0; k < N; k++) {
        const size_t part = (size_t)lengths[k] * sizeof(float);
        check_same("reduce_scatter_list", on_device[k].sum, on_host[k].sum, part);
        drop(on_device[k].sum, part);
        free(on_host[k].sum);
    }
    drop(d_full, bytes);
    free(full);
}

static void all_reduce(int64_t count, axl_dtype dtype, axl_reduce_op op, axl_stream *s)
{
    const size_t bytes = (size_t)count * axl_dtype_size(dtype);
    char *buf = calloc(1, bytes + 8);

    fill(buf, dtype, count, 4);
    char *d_buf = upload(buf, bytes);
    begin(s);
    CHECK_OK(axl_comm_all_reduce(world, d_buf, count, dtype, op, s));
    done(s);
    CHECK_OK(axl_comm_all_reduce(world, buf, count, dtype, op, NULL));
    check_same("all_reduce", d_buf, buf, bytes);
    drop(d_buf, bytes);
    free(buf);
}

static void every_sum(void)
{
    static const axl_dtype dtypes[] = {AXL_F32, AXL_F64, AXL_I64, AXL_BF16};

    for (int k = 0; k < N_COUNTS; k++) {
        nccl_seen.eager = k % 2 == 1;
        for (int way = 0; way < 4; way++)
            reduce_scatter(counts[k], way % 2 == 0 ? AXL_F32 : AXL_BF16, way / 2 == 1, false);
        reduce_scatter(counts[k], AXL_F32, false, true);
        for (int way = 0; way < 6; way++)
            all_reduce(counts[k], dtypes[(way + k) % 4], (axl_reduce_op)(way / 2),
                       way % 2 == 0 ? device->reduce : device->compute);
    }
    nccl_seen.eager = false;
    reduce_scatter_list(AXL_F32, 16);
    reduce_scatter_list(AXL_BF16, 9);
}

static void gathers_bring_what_mpi_brings(void **state)
{
    (void)state;
    for (int k = 0; k < N_COUNTS; k++) {
        all_gather(counts[k], AXL_BF16, k % 2 == 0, device->gather);
        all_gather(counts[k], AXL_F32, k % 2 == 1, device->compute);
    }
}

static void sums_are_the_tree_of_mpi(void **state)
{
    (void)state;
    every_sum();
}

// As if each host had two ranks: within a host first, then between hosts, and the tree all the same.
static void sums_by_hosts_are_the_same_tree(void **state)
{
    const int block = world->nccl != NULL ? world->nccl->block : 0;
    const int64_t calls = nccl_seen.calls;

    (void)state;
    if (axl_comm_size(world) != 4)
        skip();
    assert_int_equal(block, 4); // one host
    world->nccl->block = 2;
    every_sum();
    world->nccl->block = block;
    assert_true(nccl_seen.calls > calls);
}

static void broadcasts_go_to_all(void **state)
{
    enum { BYTES = 9001 };
    uint8_t a[BYTES];

    (void)state;
    for (int root = 0; root < axl_comm_size(world); root++) {
        fill(a, AXL_U8, BYTES, 5);
        void *d = upload(a, BYTES);
        begin(device->gather);
        CHECK_OK(axl_comm_broadcast(world, d, BYTES, root, device->gather));
        CHECK_OK(axl_comm_broadcast(world, d, 0, root, device->gather));
        done(device->gather);
        CHECK_OK(axl_comm_broadcast(world, a, BYTES, root, NULL));
        check_same("broadcast", d, a, BYTES);
        drop(d, BYTES);
    }
}

// How many rows rank `from` sends to rank `to`: some none, some to itself.
static int64_t rows_of(int from, int to, int round)
{
    return (from * 7 + to * 5 + round) % 4 == 0 ? 0 : (from * 3 + to * 11 + round * 17) % 60;
}

enum { ROW = 24, MOST_ROWS = 4 * 60 };

typedef struct exchange {
    char send[MOST_ROWS * ROW], recv[MOST_ROWS * ROW];
    void *d_send, *d_recv;
    int64_t send_count[4], send_at[4], recv_count[4], recv_at[4];
} exchange;

static void exchange_begin(exchange *x, int round)
{
    const int n = axl_comm_size(world), rank = axl_comm_rank(world);
    int64_t out_at = 0, in_at = 0;

    fill(x->send, AXL_U8, sizeof x->send, (uint64_t)round);
    memset(x->recv, 0x11, sizeof x->recv);
    for (int r = n - 1; r >= 0; r--) { // places are no running sums
        x->send_count[r] = rows_of(rank, r, round);
        x->send_at[r] = out_at;
        out_at += x->send_count[r];
    }
    for (int r = 0; r < n; r++) {
        x->recv_count[r] = rows_of(r, rank, round);
        x->recv_at[r] = in_at;
        in_at += x->recv_count[r];
    }
    x->d_send = upload(x->send, sizeof x->send);
    x->d_recv = upload(x->recv, sizeof x->recv);
}

static void exchanges_reach_every_pair(void **state)
{
    exchange *x = calloc(N_ROUNDS, sizeof *x);
    axl_stream *s = device->exchange;

    (void)state;
    for (int round = 0; round < N_ROUNDS; round++)
        exchange_begin(&x[round], round);
    begin(s);
    for (int grouped = 0; grouped < 2; grouped++) {
        if (grouped == 1)
            CHECK_OK(axl_comm_group_begin(world));
        for (int round = grouped; round < N_ROUNDS; round += 2)
            CHECK_OK(axl_comm_all_to_all(world, x[round].d_send, x[round].send_count,
                                         x[round].send_at, x[round].d_recv, x[round].recv_count,
                                         x[round].recv_at, ROW, s));
        if (grouped == 1)
            CHECK_OK(axl_comm_group_end(world));
    }
    done(s);
    for (int round = 0; round < N_ROUNDS; round++) {
        CHECK_OK(axl_comm_all_to_all(world, x[round].send, x[round].send_count, x[round].send_at,
                                     x[round].recv, x[round].recv_count, x[round].recv_at, ROW,
                                     NULL));
        check_same("all_to_all", x[round].d_recv, x[round].recv, sizeof x[round].recv);
        drop(x[round].d_send, sizeof x[round].send);
        drop(x[round].d_recv, sizeof x[round].recv);
    }
    free(x);
}

static void a_ring_turns(void **state)
{
    const int n = axl_comm_size(world), rank = axl_comm_rank(world);
    enum { BYTES = 5000 };
    uint8_t a[BYTES], b[BYTES];

    (void)state;
    for (int k = 0; k < 2 * n; k++) {
        const int distance = k / 2, to = (rank + distance) % n, from = (rank + n - distance) % n;
        // a rank of odd number sends only half
        const int64_t out = rank % 2 == 1 ? BYTES / 2 : BYTES,
                      in = from % 2 == 1 ? BYTES / 2 : BYTES;
        fill(a, AXL_U8, BYTES, (uint64_t)k);
        memset(b, 0, BYTES);
        void *d_a = upload(a, BYTES), *d_b = upload(b, BYTES);
        begin(device->exchange);
        CHECK_OK(axl_comm_send_recv(world, d_a, out, to, d_b, in, from, device->exchange));
        done(device->exchange);
        CHECK_OK(axl_comm_send_recv(world, a, out, to, b, in, from, NULL));
        check_same("send_recv", d_b, b, BYTES);
        drop(d_a, BYTES);
        drop(d_b, BYTES);
    }
}

// Collectives of two streams and two communicators, in one order on all ranks, waited for in another on each: the
// device runs its streams at once.
static void streams_may_be_waited_for_in_any_order(void **state)
{
    const int n = axl_comm_size(world), rank = axl_comm_rank(world);
    enum { COUNT = 3000 };
    axl_comm *other = NULL;
    float *host = calloc((size_t)n * COUNT, sizeof *host);
    const size_t bytes = (size_t)n * COUNT * sizeof *host;

    (void)state;
    CHECK_OK(axl_comm_split(world, 0, rank, "other", &other));
    fill(host, AXL_F32, (int64_t)n * COUNT, 9);
    char *a = upload(host, bytes), *b = upload(host, bytes);
    const size_t own = (size_t)rank * COUNT * sizeof *host;
    begin(device->gather);
    begin(device->reduce);
    CHECK_OK(axl_comm_all_gather(world, a + own, a, COUNT, AXL_F32, device->gather));
    CHECK_OK(
        axl_comm_all_reduce(other, b, (int64_t)n * COUNT, AXL_F32, AXL_REDUCE_SUM, device->reduce));
    CHECK_OK(device->ops->synchronize(rank % 2 == 0 ? device->gather : device->reduce));
    CHECK_OK(device->ops->synchronize(rank % 2 == 1 ? device->gather : device->reduce));
    float *full = malloc(bytes);
    memcpy(full, host, bytes);
    CHECK_OK(axl_comm_all_gather(world, host + rank * COUNT, full, COUNT, AXL_F32, NULL));
    check_same("all_gather", a, full, bytes);
    CHECK_OK(axl_comm_all_reduce(world, host, (int64_t)n * COUNT, AXL_F32, AXL_REDUCE_SUM, NULL));
    check_same("all_reduce", b, host, bytes);
    drop(a, bytes);
    drop(b, bytes);
    free(full);
    free(host);
    axl_comm_destroy(other);
}

// Only the even ranks wait for their streams; the odd ones wait for them at the barrier.
static void the_host_side_does_not_stop_the_device(void **state)
{
    const int rank = axl_comm_rank(world);
    float x[64] = {(float)rank};
    void *d = upload(x, sizeof x);

    (void)state;
    begin(device->reduce);
    CHECK_OK(axl_comm_all_reduce(world, d, 64, AXL_F32, AXL_REDUCE_SUM, device->reduce));
    if (rank % 2 == 0)
        CHECK_OK(device->ops->synchronize(device->reduce));
    CHECK_OK(axl_comm_barrier(world));
    CHECK_OK(device->ops->synchronize(device->reduce));
    CHECK_OK(axl_comm_all_reduce(world, x, 64, AXL_F32, AXL_REDUCE_SUM, NULL));
    check_same("all_reduce", d, x, sizeof x);
    drop(d, sizeof x);
}

static int n_sums; // launches
static const axl_kernels *real_kernels;

static axl_status counting_sum(axl_stream *s, const axl_sum_parts_args *a)
{
    n_sums++;
    return real_kernels->sum_parts(s, a);
}

static void groups_are_few_calls(void **state)
{
    enum { N = 9, COUNT = 100 };
    const int n = axl_comm_size(world), rank = axl_comm_rank(world);
    float *full = calloc((size_t)n * COUNT, sizeof *full), shard[COUNT];
    const size_t bytes = (size_t)n * COUNT * sizeof *full;
    void *d_full[N], *d_shard[N];
    int64_t groups = nccl_seen.groups, calls = nccl_seen.calls;
    axl_kernels counting = *device->kernels;
    axl_comm_shard shards[N];

    (void)state;
    real_kernels = device->kernels;
    counting.sum_parts = counting_sum;
    device->kernels = &counting;
    n_sums = 0;
    for (int k = 0; k < N; k++) {
        fill(full, AXL_F32, n * COUNT, (uint64_t)k);
        d_full[k] = upload(full, bytes);
        d_shard[k] = upload(shard, sizeof shard);
    }
    begin(device->reduce);
    CHECK_OK(axl_comm_group_begin(world));
    for (int k = 0; k < N; k++)
        CHECK_OK(axl_comm_reduce_scatter(world, d_full[k], d_shard[k], COUNT, AXL_F32, false,
                                         device->reduce));
    CHECK_OK(axl_comm_group_end(world));
    assert_int_equal(nccl_seen.groups - groups, n > 1 ? 1 : 0);
    assert_int_equal(nccl_seen.calls - calls, n > 1 ? 2 * N * (n - 1) : 0);
    assert_int_equal(n_sums, n > 1 ? 1 : N);
    // as a list they are one message to each rank, too
    calls = nccl_seen.calls;
    n_sums = 0;
    for (int k = 0; k < N; k++)
        shards[k] = (axl_comm_shard){d_shard[k], COUNT / N, k % 2 == 0};
    CHECK_OK(
        axl_comm_reduce_scatter_list(world, d_full[0], COUNT, shards, N, AXL_F32, device->reduce));
    assert_int_equal(nccl_seen.calls - calls, 2 * (n - 1));
    assert_int_equal(n_sums, n > 1 ? 1 : N);
    device->kernels = real_kernels;
    begin(device->gather);
    groups = nccl_seen.groups;
    CHECK_OK(axl_comm_group_begin(world));
    for (int k = 0; k < N; k++)
        CHECK_OK(axl_comm_all_gather(world, (char *)d_full[k] + rank * COUNT * 4, d_full[k], COUNT,
                                     AXL_F32, device->gather));
    CHECK_OK(axl_comm_group_end(world));
    assert_int_equal(nccl_seen.groups - groups, n > 1 ? 1 : 0);
    CHECK_OK(device->ops->synchronize(device->gather));
    CHECK_OK(device->ops->synchronize(device->reduce));
    for (int k = 0; k < N; k++) {
        drop(d_full[k], bytes);
        drop(d_shard[k], sizeof shard);
    }
    free(full);
}

// What is counted is what the library is asked to send; of all_reduce where it goes in slices that divide.
static void counters_are_what_was_sent(void **state)
{
    const int64_t n = axl_comm_size(world), rank = axl_comm_rank(world);
    const int64_t next = (rank + 1) % n, before = (rank + n - 1) % n;
    const int64_t count[4] = {rank, rank, rank, rank}, came[4] = {0, 1, 2, 3},
                  at[4] = {0, 4, 8, 12};
    axl_comm_counter c[AXL_COMM_N_OPS];
    float *host = calloc(48 * MOST / 10, sizeof *host);
    void *a = upload(host, 48 * MOST / 10 * 4), *b = upload(host, 48 * MOST / 10 * 4);
    const int64_t begun = nccl_seen.sent_bytes;
    int64_t sent = 0;

    (void)state;
    axl_comm_counters_reset(world);
    begin(device->gather);
    CHECK_OK(axl_comm_all_gather(world, b, a, 1003, AXL_BF16, device->gather));
    CHECK_OK(axl_comm_reduce_scatter(world, a, b, 40001, AXL_F32, true, device->gather));
    CHECK_OK(axl_comm_reduce_scatter(world, a, b, 1001, AXL_BF16, true, device->gather));
    CHECK_OK(axl_comm_all_reduce(world, a, 48 * 1000, AXL_F32, AXL_REDUCE_SUM, device->gather));
    CHECK_OK(axl_comm_broadcast(world, a, 77, 0, device->gather));
    CHECK_OK(axl_comm_send_recv(world, a, 55, (int)next, b, 55, (int)before, device->gather));
    CHECK_OK(axl_comm_all_to_all(world, a, count, at, b, came, at, 12, device->gather));
    axl_comm_counters_read(world, c);
    for (int op = 0; op < AXL_COMM_N_OPS; op++)
        sent += c[op].sent_bytes;
    assert_int_equal(nccl_seen.sent_bytes - begun, sent);
    CHECK_OK(device->ops->synchronize(device->gather));
    drop(a, 48 * MOST / 10 * 4);
    drop(b, 48 * MOST / 10 * 4);
    free(host);
}

static void parts_of_the_world_carry_themselves(void **state)
{
    const int n = axl_comm_size(world), rank = axl_comm_rank(world);
    axl_comm *pair = NULL, *rest = NULL, *reversed = NULL;
    float x[8] = {(float)rank};
    const int64_t before = nccl_seen.communicators;

    (void)state;
    CHECK_OK(axl_comm_split(world, rank / 2, rank, "pair", &pair));
    CHECK_OK(axl_comm_split(world, rank == 0 ? -1 : 0, 0, "rest", &rest));
    CHECK_OK(axl_comm_split(world, 0, -rank, "reversed", &reversed));
    assert_string_equal(axl_comm_transport(pair), axl_comm_size(pair) > 1 ? "nccl" : "self");
    for (int k = 0; k < 2; k++) { // destroyed and made again
        void *d = upload(x, sizeof x);
        CHECK_OK(axl_comm_all_reduce(pair, d, 8, AXL_F32, AXL_REDUCE_SUM, device->compute));
        if (rest != NULL)
            CHECK_OK(axl_comm_all_reduce(rest, d, 8, AXL_F32, AXL_REDUCE_SUM, device->compute));
        CHECK_OK(axl_comm_broadcast(reversed, d, 4, 0, device->compute));
        float y[8];
        CHECK_OK(axl_device_read(device, y, d, sizeof y));
        // rank n - 1 is the first of the reversed
        const float last = n == 4 ? 2.0F + 3.0F + 5.0F + 1.0F : -1.0F;
        if (n == 4)
            assert_true(y[0] == last); // ranks 1 (1), 2 and 3 (5 each)
        drop(d, sizeof x);
    }
    axl_comm_destroy(reversed);
    axl_comm_destroy(rest);
    axl_comm_destroy(pair);
    assert_int_equal(nccl_seen.communicators, before);
}

static void memory_is_registered_until_it_goes(void **state)
{
    void *p = NULL, *other = NULL;
    size_t before = 0, after = 0;
    axl_comm *part = NULL;
    const int64_t one = axl_comm_size(world) > 1 ? 1 : 0;

    (void)state;
    CHECK_OK(device->ops->alloc(device, 4096, "a test", &other));
    CHECK_OK(axl_comm_register(world, other, 4096)); // not memory of axl_comm_alloc
    assert_int_equal(nccl_seen.registered, 0);
    device->ops->free(device, other, 4096);
    device->ops->mem_info(device, &before, NULL);
    CHECK_OK(axl_comm_alloc(world, device, 4096, "a test", &p));
    device->ops->mem_info(device, &after, NULL);
    assert_int_equal(after - before, 4096);
    assert_int_equal(nccl_seen.linked, 2 * one); // sums have the other
    CHECK_OK(axl_comm_split(world, 0, 0, "part", &part));
    CHECK_OK(axl_comm_register(world, p, 4096));
    CHECK_OK(axl_comm_register(part, p, 4096));
    CHECK_OK(axl_comm_register(NULL, p, 4096));
    assert_int_equal(nccl_seen.registered, 2 * one);
    axl_comm_unregister(world, p);
    axl_comm_unregister(world, p); // once is enough
    assert_int_equal(nccl_seen.registered, one);
    axl_comm_destroy(part); // takes the other back
    assert_int_equal(nccl_seen.registered, 0);
    axl_comm_free(world, device, p, 4096);
    axl_comm_free(world, device, NULL, 4096);
    device->ops->mem_info(device, &after, NULL);
    assert_int_equal(after, before);
    assert_int_equal(nccl_seen.linked, one);
}

// What is sent and where it lands, in memory that the library knows: no message has one of them alone (the emulation
// looks).
static void sums_and_gathers_of_registered_memory_are_direct(void **state)
{
    enum { N = 640 };
    const int n = axl_comm_size(world), rank = axl_comm_rank(world);
    const size_t bytes = (size_t)n * N * sizeof(float);
    float part[N], all[4 * N];
    void *p = NULL;

    (void)state;
    if (n == 1)
        skip();
    CHECK_OK(axl_comm_alloc(world, device, 2 * bytes, "a test", &p));
    CHECK_OK(axl_comm_register(world, p, 2 * bytes));
    CHECK_OK(axl_comm_register_sums(world, device));
    for (int i = 0; i < n * N; i++)
        all[i] = (float)(rank + 1);
    CHECK_OK(axl_device_write(device, p, all, bytes));
    void *sum = upload(all, sizeof part);
    const int64_t before = nccl_seen.direct;
    CHECK_OK(axl_comm_reduce_scatter(world, p, sum, N, AXL_F32, false, device->compute));
    CHECK_OK(axl_device_read(device, part, sum, sizeof part));
    for (int i = 0; i < N; i++)
        assert_true(part[i] == (float)(n * (n + 1) / 2));
    assert_true(nccl_seen.direct > before);
    const int64_t summed = nccl_seen.direct;
    char *full = (char *)p + bytes, *own = full + (size_t)rank * sizeof part;
    CHECK_OK(device->ops->copy(device->compute, own, sum, sizeof part));
    CHECK_OK(axl_comm_all_gather(world, own, full, N, AXL_F32, device->compute));
    CHECK_OK(axl_device_read(device, all, full, bytes));
    for (int i = 0; i < n * N; i++)
        assert_true(all[i] == part[0]);
    assert_int_equal(nccl_seen.direct, summed + n - 1);
    axl_comm_unregister_sums(world, device);
    axl_comm_unregister(world, p);
    drop(sum, sizeof part);
    axl_comm_free(world, device, p, 2 * bytes);
}

// The watch sees what the host waits for when it waits for the device, also after it has waited for something else.
static void a_wait_for_the_device_has_a_name(void **state)
{
    const axl_flight *f = &world->root->flight;
    float x[64] = {0};
    void *d = upload(x, sizeof x);

    (void)state;
    if (axl_comm_size(world) == 1)
        skip();
    begin(device->reduce);
    CHECK_OK(axl_comm_all_reduce(world, d, 64, AXL_F32, AXL_REDUCE_SUM, device->reduce));
    for (int k = 0; k < 2; k++) {
        assert_int_equal(f->n_waits % 2, 1);
        assert_string_equal(f->op, "all_reduce");
        assert_string_equal(f->axis, "world");
        assert_int_equal(f->bytes, 256);
        assert_ptr_equal(f->waits_on, &device->waits_on);
        CHECK_OK(axl_comm_barrier(world));
    }
    assert_null(device->waits_on);
    CHECK_OK(device->ops->synchronize(device->reduce));
    drop(d, sizeof x);
}

static void it_is_named(void **state)
{
    axl_str text = {0};

    (void)state;
    CHECK_OK(axl_comm_gpu_library(world, &text));
    assert_string_equal(text.data, "NCCL 2.28.9");
    // one rank alone needs none, but mpirun has started MPI
    assert_string_equal(axl_comm_transport(world), axl_comm_size(world) > 1 ? "nccl" : "mpi");
    axl_str_fini(&text);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_named),
        cmocka_unit_test(gathers_bring_what_mpi_brings),
        cmocka_unit_test(sums_are_the_tree_of_mpi),
        cmocka_unit_test(sums_by_hosts_are_the_same_tree),
        cmocka_unit_test(broadcasts_go_to_all),
        cmocka_unit_test(exchanges_reach_every_pair),
        cmocka_unit_test(a_ring_turns),
        cmocka_unit_test(streams_may_be_waited_for_in_any_order),
        cmocka_unit_test(the_host_side_does_not_stop_the_device),
        cmocka_unit_test(groups_are_few_calls),
        cmocka_unit_test(counters_are_what_was_sent),
        cmocka_unit_test(parts_of_the_world_carry_themselves),
        cmocka_unit_test(memory_is_registered_until_it_goes),
        cmocka_unit_test(sums_and_gathers_of_registered_memory_are_direct),
        cmocka_unit_test(a_wait_for_the_device_has_a_name),
    };

    (void)setenv("AXL_EMU_NCCL", "1", 1);
    bool ready = axl_comm_init(&argc, &argv, &world) == AXL_OK &&
                 axl_device_create(&(axl_device_options){.n_threads = 1}, &device) == AXL_OK;
    if (ready) {
        world->root->landing_bytes = LANDING;
        ready = axl_comm_use_device(world, device) == AXL_OK;
    }
    if (!ready) {
        (void)fprintf(stderr, "%s\n", axl_error_message());
        return 1;
    }
    const int n_failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (n_failed > 0)
        axl_comm_abort(world, 1, "a test failed");
    axl_device_destroy(device);
    axl_comm_finalize(world);
    return nccl_seen.communicators == 0 ? 0 : 1;
}
