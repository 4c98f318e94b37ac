// What is wrong, and how to mend it. One function a fault; rank 0 has the facts of all ranks.
#include "launch/doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPREAD       0.8 // of the fastest rank's rate: slower ones are named
#define CLOCK_LIMIT  0.1 // seconds: more confuses whoever compares logs and file times
#define MEMORY_LIMIT 0.9 // of the host's memory
#define FREE_LIMIT   ((int64_t)2 << 30)
#define GIB          (1.0 / (1 << 30))

#define WARN(d, key, ...)                                                                          \
    axl_diagnostics_add(&(d)->findings, AXL_WARNING, (axl_place){0}, (key), __VA_ARGS__)
#define FAULT(d, key, ...)                                                                         \
    axl_diagnostics_add(&(d)->findings, AXL_ERROR, (axl_place){0}, (key), __VA_ARGS__)

int axl_doctor_count_cpus(const uint64_t cpus[16])
{
    int n = 0;

    for (int i = 0; i < 16; i++)
        n += __builtin_popcountll((unsigned long long)cpus[i]);
    return n;
}

bool axl_doctor_same_host(const axl_doctor_rank *a, const axl_doctor_rank *b)
{
    return strcmp(a->host, b->host) == 0 && strcmp(a->boot, b->boot) == 0;
}

// What the ranks of a host have together.
typedef struct host {
    const axl_doctor_rank *first;
    int n_ranks, n_cpus, n_usable; // n_usable: of n_cpus, within the cgroup's quota
    int most_threads, n_threads;   // of a rank; of all
    uint64_t cpus[16];
    int n_single; // ranks that may use one processor only
} host;

static host look_at(const axl_doctor *d, int first, int n_ranks)
{
    host h = {.first = &d->ranks[first]};

    for (int i = first; i < n_ranks; i++) {
        const axl_doctor_rank *r = &d->ranks[i];
        if (!axl_doctor_same_host(r, h.first))
            continue;
        h.n_ranks++;
        h.n_threads += r->threads;
        h.most_threads = r->threads > h.most_threads ? r->threads : h.most_threads;
        h.n_single += axl_doctor_count_cpus(r->cpus) == 1;
        for (int k = 0; k < 16; k++)
            h.cpus[k] |= r->cpus[k];
    }
    h.n_cpus = axl_doctor_count_cpus(h.cpus);
    h.n_usable = h.first->n_cpus;
    if (h.first->cpu_quota > 0.0 && h.first->cpu_quota < h.n_usable)
        h.n_usable = h.first->cpu_quota > 1.0 ? (int)h.first->cpu_quota : 1;
    return h;
}

static void judge_cores(axl_doctor *d, const host *h)
{
    const char *name = h->first->host;
    const int all = h->first->n_cpus;

    if (h->n_usable < all)
        WARN(d, name,
             "the control group allows %.1f of %d processors; start with %d threads in all",
             h->first->cpu_quota, all, h->n_usable);
    if (h->n_ranks > h->n_usable) {
        WARN(d, name,
             "%d ranks share %d processors: right, but slow, and the rates above say little; start "
             "at most %d ranks here",
             h->n_ranks, h->n_usable, h->n_usable);
    } else if (h->n_cpus < h->n_ranks) {
        WARN(d, name, "%d ranks are bound to the same %d processor%s; give mpirun --bind-to none",
             h->n_ranks, h->n_cpus, h->n_cpus == 1 ? "" : "s");
    } else if (h->n_single == h->n_ranks && h->n_cpus < h->n_usable) {
        WARN(d, name,
             "every rank is bound to one processor and %d of %d stay idle; give mpirun --bind-to "
             "none or --map-by slot:PE=%d, srun --cpus-per-task=%d",
             h->n_usable - h->n_cpus, h->n_usable, h->n_usable / h->n_ranks,
             h->n_usable / h->n_ranks);
    } else if (h->n_threads > h->n_usable) {
        WARN(d, name, "%d threads run on %d processors; set OMP_NUM_THREADS=%d", h->n_threads,
             h->n_usable, h->n_usable / h->n_ranks);
    } else if (h->n_threads <= h->n_usable / 2) {
        WARN(d, name, "%d of %d processors stay idle; set OMP_NUM_THREADS=%d",
             h->n_usable - h->n_threads, h->n_usable, h->n_usable / h->n_ranks);
    }
}

static void judge_machine(axl_doctor *d, const axl_doctor_rank *r)
{
    if (r->memory_limit > 0 && (double)r->memory_limit < MEMORY_LIMIT * (double)r->memory)
        WARN(d, r->host,
             "memory is limited to %.1f of %.1f GiB, and a rank that takes more is killed; raise "
             "the "
             "limit of the container, of Slurm (--mem) or of ulimit -v, or plan for it",
             (double)r->memory_limit * GIB, (double)r->memory * GIB);
    if (r->amx_bf16 && !r->amx_tiles)
        WARN(d, r->host,
             "the processor shows AMX but not its tiles (CPUID leaf 0x1d is zero): this program "
             "works, "
             "others that use oneDNN may die of an illegal instruction; give them "
             "ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16");
    if (strcmp(r->governor, "powersave") == 0)
        WARN(d, r->host,
             "the frequency governor is powersave; measure with cpupower frequency-set -g "
             "performance");
    if (r->clock_offset > CLOCK_LIMIT || r->clock_offset < -CLOCK_LIMIT)
        WARN(d, r->host, "the clock is %.3f s off that of rank 0; run NTP (chronyd) on all hosts",
             r->clock_offset);
}

// One answer a rank to compare with rank 0's.
static void judge_same(axl_doctor *d, int n)
{
    const axl_doctor_rank *a = &d->ranks[0];
    bool told_level = false, told_version = false;

    for (int i = 1; i < n; i++) {
        const axl_doctor_rank *b = &d->ranks[i];
        if (strcmp(a->kernels, b->kernels) != 0 && !told_level) {
            WARN(d, "kernels",
                 "rank %d (%s) runs %s, rank 0 (%s) %s: the last digits depend on who computes "
                 "what, and "
                 "the slower sets the pace; use hosts of one kind",
                 i, b->host, b->kernels, a->host, a->kernels);
            told_level = true;
        }
        if (strcmp(a->version, b->version) != 0 && !told_version) {
            FAULT(d, "version",
                  "rank %d (%s) is axl-dist %s, rank 0 (%s) %s; install one version on all hosts",
                  i, b->host, b->version, a->host, a->version);
            told_version = true;
        }
    }
}

static double rate_f32(const axl_doctor_rank *r)
{
    return r->gemm_f32;
}

static double rate_bf16(const axl_doctor_rank *r)
{
    return r->gemm_bf16;
}

// Where ranks wait for cores, a slow rank is chance. True when something was found.
static bool judge_spread(axl_doctor *d, int n, const char *what,
                         double (*rate)(const axl_doctor_rank *))
{
    int slow = 0, fast = 0, n_slow = 0;

    for (int i = 0; i < n; i++) {
        slow = rate(&d->ranks[i]) < rate(&d->ranks[slow]) ? i : slow;
        fast = rate(&d->ranks[i]) > rate(&d->ranks[fast]) ? i : fast;
        if (d->ranks[i].local_size > d->ranks[i].n_cpus)
            return false;
    }
    const double best = rate(&d->ranks[fast]);
    for (int i = 0; i < n; i++)
        n_slow += rate(&d->ranks[i]) < SPREAD * best;
    if (n_slow > 0)
        WARN(d, what,
             "rank %d (%s) computes %.0f GFLOP/s, rank %d (%s) %.0f; %d rank%s more than %.0f %% "
             "slower "
             "and hold%s up all; look for other programs, heat or a slower clock there",
             slow, d->ranks[slow].host, rate(&d->ranks[slow]) * 1e-9, fast, d->ranks[fast].host,
             best * 1e-9, n_slow, n_slow == 1 ? " is" : "s are", (1.0 - SPREAD) * 100.0,
             n_slow == 1 ? "s" : "");
    return n_slow > 0;
}

// MPI counts a host by what shares memory; the id of the running kernel says what is one machine.
static void judge_hosts(axl_doctor *d, int n)
{
    int mpi_hosts = 0, machines = 0;
    const axl_doctor_rank *twin = NULL;

    for (int i = 0; i < n; i++) {
        int k = 0;
        while (k < i && strcmp(d->ranks[k].boot, d->ranks[i].boot) != 0) {
            if (strcmp(d->ranks[k].host, d->ranks[i].host) == 0)
                twin = &d->ranks[i];
            k++;
        }
        machines += k == i;
        mpi_hosts += d->ranks[i].local_rank == 0;
    }
    if (mpi_hosts > machines && d->ranks[0].boot[0] != '\0')
        WARN(
            d, "hosts",
            "%d hosts are on %d machine%s: ranks of one machine talk TCP instead of shared memory; "
            "start them in one container, or give containers one --ipc and one host name",
            mpi_hosts, machines, machines == 1 ? "" : "s");
    if (twin != NULL)
        FAULT(d, "hosts", "two machines are called %s, and Open MPI takes them for one; rename one",
              twin->host);
}

static void judge_folder(axl_doctor *d, int n)
{
    int blind = -1, locked = -1, without = -1;

    if (d->folder[0] == '\0')
        return;
    for (int i = n - 1; i >= 0; i--) {
        blind = d->ranks[i].folder_seen ? blind : i;
        locked = d->ranks[i].folder_writable ? locked : i;
        without = d->ranks[i].model_seen ? without : i;
    }
    if (d->folder_error[0] != '\0')
        FAULT(d, "output_dir", "rank 0 (%s) cannot write in %s: %s; choose another output_dir",
              d->ranks[0].host, d->folder, d->folder_error);
    else if (blind >= 0)
        FAULT(d, "output_dir",
              "rank %d (%s) does not see in %s what rank 0 (%s) wrote there; put output_dir on a "
              "file "
              "system that all hosts share",
              blind, d->ranks[blind].host, d->folder, d->ranks[0].host);
    else if (locked >= 0)
        FAULT(d, "output_dir", "rank %d (%s) may not write in %s; every rank writes its own part",
              locked, d->ranks[locked].host, d->folder);
    if (d->folder_error[0] == '\0' && d->folder_free < FREE_LIMIT)
        WARN(d, "output_dir", "%s has %.1f GiB free; a checkpoint takes 12 bytes a parameter",
             d->folder, (double)d->folder_free * GIB);
    if (without >= 0)
        FAULT(d, "base_model", "rank %d (%s) does not find %s; copy it there, or share it", without,
              d->ranks[without].host, d->up.config->base_model);
}

void axl_doctor_judge(axl_doctor *d)
{
    const int n = d->n_ranks;

    judge_hosts(d, n);
    judge_same(d, n);
    for (int i = 0; i < n; i++) {
        int k = 0;
        while (k < i && !axl_doctor_same_host(&d->ranks[k], &d->ranks[i]))
            k++;
        if (k < i)
            continue; // the host was looked at
        const host h = look_at(d, i, n);
        judge_cores(d, &h);
        judge_machine(d, h.first);
    }
    if (!judge_spread(d, n, "fp32", rate_f32))
        (void)judge_spread(d, n, "bf16", rate_bf16);
    judge_folder(d, n);
    if (d->n_unmeasured > 0)
        WARN(d, "axes", "%d more operations were not measured, time was up; give --seconds 30",
             d->n_unmeasured);
}
