// How evenly context parallelism deals out packed rows and how much it sends: bench_ring. How long attention
// then takes beside one rank: mpirun -np C bench_ring --time [pairs].
//
// Rows of 8,192 tokens are packed from log-normal lengths (sigma 1, mean 60 or 400, 50 seeds). Per layout:
// tokens max-min and pairs max/mean of the worst row, the mean of pairs max/mean, and the key rows sent as a
// share of those that an unpruned ring carries ((C - 1) T). With --time each schedule runs forward and
// backward of one layer on all ranks, beside the kernel on rank 0 over the whole row while the others wait
// at a barrier; medians of interleaved pairs, one thread a rank.
// Output: name,variant,metric,value,unit.
#include "comm/ring_attention.h"
#include "src/base/log.h"
#include "src/base/mem.h"
#include "src/base/philox.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROW = 8192, N_SEEDS = 50, MOST_PAIRS = 15, HEADS = 8, KV_HEADS = 2, HEAD_DIM = 64 };

static const char *const kind_names[] = {"zigzag", "contiguous"};

static int32_t pack_log_normal(int32_t *cu, double mean, uint64_t seed)
{
    int32_t n = 0;

    cu[0] = 0;
    for (uint64_t i = 0; cu[n] < ROW; i++, n++) {
        const double x = exp(log(mean) - 0.5 + axl_random_normal(seed, AXL_RANDOM_TEST, i)) + 0.5;
        const int32_t left = ROW - cu[n], length = x < 1.0 ? 1 : x > left ? left : (int32_t)x;
        cu[n + 1] = cu[n] + length;
    }
    return n;
}

typedef struct balance {
    double tokens_apart, pairs_worst, pairs_mean, sent;
} balance;

static void add_row(const axl_cp_layout *l, balance *b)
{
    const int n = l->n_ranks;
    int64_t least = ROW, most = 0, pairs_most = 0, pairs = 0, sent = 0;

    for (int r = 0; r < n; r++) {
        const int64_t tokens = axl_cp_n_rows(l, r), p = axl_cp_pairs(l, r, 0);
        least = tokens < least ? tokens : least;
        most = tokens > most ? tokens : most;
        pairs_most = p > pairs_most ? p : pairs_most;
        pairs += p;
        for (int to = 0; to < n; to++)
            sent += to == r ? 0 : axl_cp_needed(l, r, to, 0, NULL, NULL);
    }
    const double ratio = (double)pairs_most * n / (double)pairs;
    b->tokens_apart = fmax(b->tokens_apart, (double)(most - least));
    b->pairs_worst = fmax(b->pairs_worst, ratio);
    b->pairs_mean += ratio / N_SEEDS;
    b->sent += (double)sent / ((double)(n - 1) * ROW * N_SEEDS);
}

static axl_status layouts(double mean, int n_ranks, axl_cp_kind kind)
{
    axl_status status = AXL_OK;
    int32_t *cu = NULL;
    void *memory = NULL;
    axl_cp_layout l;
    balance b = {0};
    char name[64];

    AXL_TRY(axl_calloc(ROW + 1, sizeof *cu, "lengths", &cu));
    memory = aligned_alloc(AXL_ALIGN, axl_cp_layout_bytes(n_ranks, ROW, ROW));
    AXL_REQUIRE(memory != NULL, AXL_E_MEMORY, "no memory for a layout");
    axl_cp_layout_init(&l, kind, n_ranks, ROW, ROW, memory);
    for (uint64_t seed = 0; seed < N_SEEDS; seed++) {
        AXL_TRY(axl_cp_layout_set(&l, cu, pack_log_normal(cu, mean, seed)));
        add_row(&l, &b);
    }
    (void)snprintf(name, sizeof name, "mean%.0f_cp%d,%s", mean, n_ranks, kind_names[kind]);
    printf("%s,tokens_max_minus_min,%.0f,tokens\n", name, b.tokens_apart);
    printf("%s,pairs_max_over_mean_worst,%.4f,\n", name, b.pairs_worst);
    printf("%s,pairs_max_over_mean,%.4f,\n", name, b.pairs_mean);
    printf("%s,rows_sent_of_unpruned_ring,%.4f,\n", name, b.sent);

out:
    free(memory);
    free(cu);
    return status;
}

// ---- time

typedef struct timing {
    axl_comm *world;
    axl_device *device;
    axl_ring *ring;
    axl_attn_bwd_args whole; // over ROW tokens; the ring uses the beginning of each array
} timing;

static axl_status run_ring(const timing *x)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_ring_forward(x->ring, &x->whole.fwd, NULL));
    AXL_TRY(axl_ring_backward(x->ring, &x->whole, NULL));

out:
    return status;
}

static axl_status run_whole(const timing *x)
{
    axl_status status = AXL_OK;

    if (axl_comm_rank(x->world) > 0)
        return AXL_OK;
    AXL_TRY(x->device->kernels->attn_fwd(x->device->compute, &x->whole.fwd));
    AXL_TRY(x->device->kernels->attn_bwd(x->device->compute, &x->whole));

out:
    return status;
}

// Seconds of the slowest rank.
static axl_status measure(const timing *x, axl_status (*run)(const timing *), double *seconds)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_comm_barrier(x->world));
    const double begin = axl_now();
    AXL_TRY(run(x));
    *seconds = axl_now() - begin;
    AXL_TRY(axl_comm_all_reduce_f64(x->world, seconds, 1, AXL_REDUCE_MAX));

out:
    return status;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x, int n)
{
    qsort(x, (size_t)n, sizeof *x, by_value);
    return x[n / 2];
}

static axl_status time_pairs(const timing *x, const char *name, int n_pairs)
{
    axl_status status = AXL_OK;
    double ring[MOST_PAIRS], whole[MOST_PAIRS], ratio[MOST_PAIRS];

    AXL_TRY(measure(x, run_ring, &ring[0])); // warms up
    for (int i = 0; i < n_pairs; i++) {
        AXL_TRY(measure(x, run_whole, &whole[i]));
        AXL_TRY(measure(x, run_ring, &ring[i]));
        ratio[i] = whole[i] / ring[i];
    }
    if (axl_comm_rank(x->world) == 0) {
        printf("%s,time,%.4f,s\n", name, median(ring, n_pairs));
        printf("%s,one_rank_time,%.4f,s\n", name, median(whole, n_pairs));
        printf("%s,speedup,%.3f,\n", name, median(ratio, n_pairs));
        (void)fflush(stdout);
    }

out:
    return status;
}

static axl_status take(int64_t elements, size_t size, void *out)
{
    axl_status status = AXL_OK;
    float *p = NULL;

    AXL_TRY(axl_calloc((size_t)elements, sizeof *p, "arrays", &p));
    for (int64_t i = 0; size == 2 && i < elements; i++)
        ((axl_bf16 *)(void *)p)[i] = axl_f32_to_bf16((float)(i * 7919 % 97 - 48) / 64.0F);
    memcpy(out, &p, sizeof p);

out:
    return status;
}

static axl_status time_schedule(timing *x, double mean, axl_ring_schedule schedule, int n_pairs)
{
    axl_status status = AXL_OK;
    const int32_t none = 0;
    const axl_ring_options o = {.schedule = schedule,
                                .n_ranks = axl_comm_size(x->world),
                                .heads_k_stride = 1,
                                .max_tokens = ROW,
                                .max_seqs = ROW,
                                .n_heads = HEADS,
                                .n_kv_heads = KV_HEADS,
                                .head_dim = HEAD_DIM,
                                .v_head_dim = HEAD_DIM,
                                .dtype = AXL_BF16,
                                .windows = &none,
                                .n_windows = 1};
    int32_t *cu = NULL;
    void *memory = NULL;
    axl_cp_layout l;
    char name[64];

    AXL_TRY(axl_calloc(ROW + 1, sizeof *cu, "lengths", &cu));
    memory = aligned_alloc(AXL_ALIGN, axl_cp_layout_bytes(o.n_ranks, ROW, ROW));
    AXL_REQUIRE(memory != NULL, AXL_E_MEMORY, "no memory for a layout");
    axl_cp_layout_init(&l, axl_ring_layout(schedule), o.n_ranks, ROW, ROW, memory);
    x->whole.fwd.n_seqs = pack_log_normal(cu, mean, 0);
    x->whole.fwd.cu_seqlens_q = x->whole.fwd.cu_seqlens_k = cu;
    AXL_TRY(axl_cp_layout_set(&l, cu, x->whole.fwd.n_seqs));
    AXL_TRY(axl_ring_create(&o, x->world, x->device, &x->ring));
    AXL_TRY(axl_ring_set_layout(x->ring, &l));
    (void)snprintf(name, sizeof name, "mean%.0f_cp%d,%s", mean, o.n_ranks,
                   axl_ring_schedule_name(schedule));
    AXL_TRY(time_pairs(x, name, n_pairs));

out:
    axl_ring_destroy(x->ring);
    x->ring = NULL;
    free(memory);
    free(cu);
    return status;
}

static axl_status time_all(axl_comm *world, int n_pairs)
{
    axl_status status = AXL_OK;
    enum { WIDE = HEADS * HEAD_DIM, NARROW = KV_HEADS * HEAD_DIM, N_ARRAYS = 10 };
    static const int64_t widths[N_ARRAYS] = {WIDE, NARROW, NARROW, WIDE,  WIDE,
                                             WIDE, NARROW, NARROW, HEADS, HEADS};
    void *p[N_ARRAYS] = {NULL};
    axl_comm_progress *progress = NULL;
    timing x = {.world = world};

    AXL_TRY(axl_device_create(&(axl_device_options){.backend = "cpu", .n_threads = 1}, &x.device));
    if (axl_comm_size(world) > 1 && axl_comm_threads(world))
        AXL_TRY(axl_comm_progress_start(world, x.device, &progress));
    for (int i = 0; i < N_ARRAYS; i++)
        AXL_TRY(take(ROW * widths[i], i < 8 ? 2 : 4, &p[i]));
    x.whole = (axl_attn_bwd_args){.fwd = {.q = p[0],
                                          .k = p[1],
                                          .v = p[2],
                                          .ldq = WIDE,
                                          .ldk = NARROW,
                                          .ldv = NARROW,
                                          .ldo = WIDE,
                                          .n_heads = HEADS,
                                          .n_kv_heads = KV_HEADS,
                                          .head_dim = HEAD_DIM,
                                          .v_head_dim = HEAD_DIM,
                                          .scale = 0.125F,
                                          .mask = AXL_MASK_CAUSAL,
                                          .dtype = AXL_BF16,
                                          .out = p[4],
                                          .lse = p[8]},
                                  .dout = p[3],
                                  .delta = p[9],
                                  .dq = p[5],
                                  .dk = p[6],
                                  .dv = p[7],
                                  .dtype_grad = AXL_BF16};
    for (int mean = 60; mean <= 400; mean += 340)
        for (int k = 0; k < AXL_RING_N_SCHEDULES; k++)
            AXL_TRY(time_schedule(&x, mean, (axl_ring_schedule)k, n_pairs));

out:
    axl_comm_progress_stop(progress);
    for (int i = 0; i < N_ARRAYS; i++)
        free(p[i]);
    axl_device_destroy(x.device);
    return status;
}

static axl_status layouts_all(void)
{
    axl_status status = AXL_OK;

    for (int mean = 60; mean <= 400; mean += 340)
        for (int n = 2; n <= 8; n *= 2)
            for (int kind = 0; kind < 2; kind++)
                AXL_TRY(layouts(mean, n, (axl_cp_kind)kind));

out:
    return status;
}

int main(int argc, char **argv)
{
    axl_status status = AXL_OK;
    axl_comm *world = NULL;
    const bool timed = argc > 1 && strcmp(argv[1], "--time") == 0;
    const int n_pairs = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 5;

    AXL_TRY(axl_comm_init(&argc, &argv, &world));
    AXL_REQUIRE(n_pairs > 0 && n_pairs <= MOST_PAIRS && (timed || argc == 1), AXL_E_CONFIG,
                "usage: bench_ring, or mpirun -np C bench_ring --time [pairs, at most %d]",
                MOST_PAIRS);
    if (axl_comm_rank(world) == 0)
        printf("name,variant,metric,value,unit\n");
    if (timed)
        AXL_TRY(time_all(world, n_pairs));
    else if (axl_comm_rank(world) == 0)
        AXL_TRY(layouts_all());

out:
    if (status != AXL_OK)
        (void)fprintf(stderr, "bench_ring: %s\n", axl_error_message());
    axl_comm_finalize(world);
    return axl_status_exit_code(status);
}
