// What overlap hides: mpirun -np N overlap PAIRS CONFIG.yaml [--key value ...].
//
// Trains as the configuration says, steps of three kinds in turn: "points" moves the collectives on
// between kernels, "thread" by a thread too, "off" waits for each right after it was started. Prints the
// medians over PAIRS rounds of the step's seconds, of the seconds that the slowest rank waited for
// communication, and of the processor seconds of the busiest rank (its waits yield, but count), as name,variant,metric,value,unit, then a table. Nothing is saved.
#include "launch/bringup.h"
#include "src/base/log.h"
#include "src/train/train.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { POINTS, THREAD, OFF, N_KINDS, MAX_PAIRS = 99 };

static const char *const kind_names[N_KINDS] = {"points", "thread", "off"};

// The device's functions with a record that waits first: sharding/unit.c records once after each group of
// collectives that it starts. A device points at the first field, which finds the others.
typedef struct blocking {
    axl_device_ops ops;
    const axl_device_ops *real;
    const axl_mesh *mesh;
} blocking;

static axl_status record_when_done(axl_stream *s, axl_event *out)
{
    axl_status status = AXL_OK;
    const blocking *b = (const blocking *)(const void *)s->device->ops;
    const bool gather = s == s->device->gather;
    const double begin = axl_now();

    AXL_TRY(b->real->synchronize(s));
    axl_comm_count_exposed(b->mesh->dense, gather ? AXL_COMM_ALL_GATHER : AXL_COMM_REDUCE_SCATTER,
                           axl_now() - begin);
    AXL_TRY(b->real->record(s, out));

out:
    return status;
}

enum { STEP, EXPOSED, CPU, N_METRICS };

static const char *const metric_names[N_METRICS] = {"step", "exposed", "cpu"};

static double cpu_seconds(void)
{
    struct timespec t = {0};

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static axl_status one_step(axl_trainer *t, const blocking *off, int kind, double out[N_METRICS])
{
    axl_status status = AXL_OK;
    axl_device *d = t->env.device;
    axl_comm_progress *p = NULL;
    axl_step_report r;

    if (kind == THREAD && axl_comm_threads(t->env.world))
        AXL_TRY(axl_comm_progress_start(t->env.world, d, &p));
    d->ops = kind == OFF ? &off->ops : off->real;
    AXL_TRY(axl_comm_barrier(t->env.world));
    const double begin = cpu_seconds();
    AXL_TRY(axl_train_step(t, &r));
    out[STEP] = r.seconds;
    out[EXPOSED] = r.exposed;
    out[CPU] = cpu_seconds() - begin;
    AXL_TRY(axl_comm_all_reduce_f64(t->env.world, out, N_METRICS, AXL_REDUCE_MAX));

out:
    d->ops = off->real;
    axl_comm_progress_stop(p);
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
    return n % 2 == 1 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2.0;
}

static void print(int np, double value[N_KINDS][N_METRICS][MAX_PAIRS],
                  double ratio[N_KINDS][MAX_PAIRS], int n_pairs)
{
    for (int k = 0; k < N_KINDS; k++) {
        for (int m = 0; m < N_METRICS; m++)
            printf("overlap_np%d,%s,%s,%.4f,s\n", np, kind_names[k], metric_names[m],
                   median(value[k][m], n_pairs));
        printf("overlap_np%d,%s/off,step_ratio,%.3f,\n", np, kind_names[k],
               median(ratio[k], n_pairs));
    }
    printf("\n%-8s %10s %12s %10s %12s %12s\n", "overlap", "step, s", "exposed, s", "cpu, s",
           "step / off", "best step, s");
    for (int k = 0; k < N_KINDS; k++) // sorted by now
        printf("%-8s %10.4f %12.4f %10.4f %12.3f %12.4f\n", kind_names[k],
               median(value[k][STEP], n_pairs), median(value[k][EXPOSED], n_pairs),
               median(value[k][CPU], n_pairs), median(ratio[k], n_pairs), value[k][STEP][0]);
}

static axl_status measure(axl_trainer *t, const blocking *off, int n_pairs)
{
    axl_status status = AXL_OK;
    double value[N_KINDS][N_METRICS][MAX_PAIRS], ratio[N_KINDS][MAX_PAIRS];
    double step[N_METRICS];

    for (int i = -1; i < n_pairs; i++) { // the first warms up
        const int at = i < 0 ? 0 : i;
        for (int k = 0; k < N_KINDS; k++) {
            AXL_TRY(one_step(t, off, k, step));
            for (int m = 0; m < N_METRICS; m++)
                value[k][m][at] = step[m];
        }
        for (int k = 0; k < N_KINDS; k++)
            ratio[k][at] = value[k][STEP][at] / value[OFF][STEP][at];
    }
    if (axl_comm_rank(t->env.world) == 0)
        print(axl_comm_size(t->env.world), value, ratio, n_pairs);

out:
    return status;
}

int main(int argc, char **argv)
{
    axl_status status = AXL_OK;
    axl_bringup b = {0};
    axl_trainer *t = NULL;
    const long n_pairs = argc > 2 ? strtol(argv[1], NULL, 10) : 0;

    if (n_pairs < 1 || n_pairs > MAX_PAIRS) {
        (void)fputs("usage: mpirun -np N overlap PAIRS CONFIG.yaml [--key value ...]\n", stderr);
        return 2;
    }
    AXL_TRY(axl_bringup_start(&b, argc - 2, argv + 2));
    const axl_train_env env = {.world = b.world,
                               .device = b.device,
                               .config = b.config,
                               .signal = axl_bringup_catch_signals(),
                               .start_seconds = b.start};
    AXL_TRY(axl_trainer_create(&env, &t));
    axl_comm_progress_stop(t->progress); // the steps have their own
    t->progress = NULL;
    blocking off = {.ops = *b.device->ops, .real = b.device->ops, .mesh = t->mesh};
    off.ops.record = record_when_done;
    AXL_TRY(measure(t, &off, (int)n_pairs));

out:;
    const int code = axl_bringup_report(&b, "overlap", status);
    axl_trainer_destroy(t);
    axl_bringup_stop(&b);
    return code;
}
