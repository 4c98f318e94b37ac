// Bringing ranks up. This is the only place that reads environment variables.
#include "launch/bringup.h"

#include "comm/watch.h"
#include "kernels/kernels.h"
#include "launch/affinity.h"
#include "launch/same.h"
#include "src/base/log.h"
#include "src/io/file.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t caught;

static void on_signal(int number)
{
    if (caught != 0 && number == SIGINT)
        _exit(128 + number); // asked twice by hand: at once
    caught = number;
}

const volatile sig_atomic_t *axl_bringup_catch_signals(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGUSR1};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        (void)sigaction(numbers[i], &action, NULL);
    return &caught;
}

bool axl_bringup_mma(void)
{
    const char *wgmma = getenv("AXL_CUDA_WGMMA");

    return wgmma != NULL && strcmp(wgmma, "0") == 0;
}

int axl_bringup_threads(const axl_comm *world)
{
    const char *given = getenv("OMP_NUM_THREADS");
    cpu_set_t set;

    if (given != NULL && atoi(given) > 0)
        return atoi(given);
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    int mine = CPU_COUNT(&set);
    int all = (int)sysconf(_SC_NPROCESSORS_ONLN);
    // a launcher that bound this rank has divided the processors already
    int threads = mine < all ? mine : all / axl_comm_local_size(world);
    return threads > 1 ? threads : 1;
}

// Warnings and notes, once; errors are in the message of the failure.
static void print_findings(const axl_diagnostics *list)
{
    axl_str text = {0};
    char *rest = NULL;

    if (list->n_errors == 0 && axl_diagnostics_text(list, AXL_NOTE, &text) == AXL_OK &&
        text.len > 0)
        for (char *line = strtok_r(text.data, "\n", &rest); line != NULL;
             line = strtok_r(NULL, "\n", &rest))
            axl_info("%s", line);
    axl_str_fini(&text);
}

static axl_status load_config(axl_bringup *b, int n, char **args)
{
    axl_status status = AXL_OK;
    axl_diagnostics list = {0};
    const axl_config_options o = {.overrides = (const char *const *)args + 1,
                                  .n_overrides = n - 1,
                                  .has_bf16 = __builtin_cpu_supports("avx512bf16") != 0,
                                  .has_cuda = axl_kernels_take_gpu(),
                                  .n_ranks = axl_comm_size(b->world)};

    status = axl_config_load(args[0], &o, &list, &b->config);
    if (axl_comm_rank(b->world) == 0)
        print_findings(&list);
    axl_diagnostics_fini(&list);
    return status;
}

// Two ranks that run different programs, or read different files or arguments, would train different models and
// never notice, or wait for each other for ever.
static axl_status check_versions(axl_comm *world)
{
    static const axl_same_words words = {
        .where = "", .verb = {"runs with", "run with"}, .mend = "install the same on every host"};
    axl_status status = AXL_OK;
    axl_str lines = {0};

    AXL_TRY(axl_comm_agree(world, axl_same_versions(world, &lines)));
    AXL_TRY(axl_same_check(world, &lines, &words));

out:
    axl_str_fini(&lines);
    return status;
}

static axl_status check_config(const axl_bringup *b)
{
    axl_status status = AXL_OK;
    axl_str lines = {0}, where = {0};

    status = axl_same_config(b->config, &lines);
    if (status == AXL_OK)
        status = axl_str_printf(&where, "%s: ", b->config->path);
    AXL_TRY(axl_comm_agree(b->world, status));
    const axl_same_words words = {.where = where.data,
                                  .verb = {"reads", "read"},
                                  .mend = "give every host the same file and arguments"};
    AXL_TRY(axl_same_check(b->world, &lines, &words));

out:
    axl_str_fini(&lines);
    axl_str_fini(&where);
    return status;
}

// Different processors round differently, which changes the last digits of a result and nothing else.
static void note_kernels(const axl_bringup *b)
{
    static const axl_same_words words = {
        .where = "",
        .verb = {"runs", "run"},
        .mend = "sums are rounded differently, so the last digits depend on who computes what"};
    axl_str lines = {0};

    axl_status status = axl_str_printf(&lines, "kernels\t%s\n", b->device->kernels->name);
    if (axl_comm_agree(b->world, status) == AXL_OK &&
        axl_same_check(b->world, &lines, &words) == AXL_E_CONFIG)
        axl_warn("%s", axl_error_message());
    axl_str_fini(&lines);
}

axl_status axl_bringup_world(axl_bringup *b)
{
    axl_status status = AXL_OK;

    *b = (axl_bringup){.start = axl_now()};
    AXL_TRY(axl_comm_init(NULL, NULL, &b->world));
    axl_log_set_rank(axl_comm_rank(b->world), axl_comm_size(b->world));
out:
    return status;
}

// A batch script that names the program without srun or mpirun runs it on one of its tasks.
static void warn_alone(const axl_bringup *b)
{
    const char *tasks = getenv("SLURM_NTASKS");

    if (axl_comm_size(b->world) == 1 && tasks != NULL && strtol(tasks, NULL, 10) > 1 &&
        getenv("SLURM_STEP_NUM_TASKS") == NULL)
        axl_warn("the Slurm job has %s tasks, but this run is one rank; to use them, start it with "
                 "srun --mpi=pmix or mpirun",
                 tasks);
}

// Who has a GPU and has not asked for the processor is told why he waits.
static void warn_unused_gpu(const axl_bringup *b)
{
    axl_str text = {0};

    if (axl_comm_rank(b->world) != 0 || b->config->set.device ||
        strcmp(b->config->device, "cpu") != 0 || access("/dev/nvidiactl", F_OK) != 0)
        return;
    if (axl_kernels_accelerators(&text) == AXL_OK)
        axl_warn("this host has a GPU, which is not used; GPUs that this program can take: %s",
                 text.data);
    axl_str_fini(&text);
}

// Queuing and loading run on the node that the rank's GPU hangs on, unless the launcher has chosen.
static void bind_near_device(const axl_bringup *b)
{
    axl_device *d = b->device;
    axl_affinity a;
    axl_str text = {0};

    if (d->card[0] == '\0')
        return;
    const axl_affinity_done done = axl_affinity_bind(d->card, &a);
    if (axl_affinity_text(&a, &text) == AXL_OK)
        axl_debug("GPU %s: %s", text.data,
                  done == AXL_AFFINITY_BOUND   ? "this rank runs there"
                  : done == AXL_AFFINITY_GIVEN ? "this rank stays where the launcher put it"
                                               : "this rank is not bound");
    if (done == AXL_AFFINITY_REFUSED)
        axl_warn("the system does not let this rank run on processors %s, near its GPU", a.cpus);
    axl_str_fini(&text);
}

axl_status axl_bringup_start(axl_bringup *b, int n, char **args)
{
    axl_status status = AXL_OK;
    axl_device_options d = {0};

    AXL_TRY(axl_bringup_world(b));
    warn_alone(b);
    AXL_TRY(check_versions(b->world));
    AXL_TRY(axl_comm_agree(b->world, load_config(b, n, args)));
    AXL_TRY(check_config(b));
    warn_unused_gpu(b);
    const axl_watch_options w = {.heartbeat_timeout = (double)b->config->heartbeat_timeout,
                                 .collective_timeout = (double)b->config->ddp_timeout,
                                 .signal = &caught};
    AXL_TRY(axl_watch_start(b->world, &w));
    d.backend = b->config->device;
    d.n_threads = axl_bringup_threads(b->world);
    d.local_rank = axl_comm_local_rank(b->world);
    d.tf32 = strcmp(b->config->tf32, "false") != 0; // auto: every GPU that we take has it
    d.mma = axl_bringup_mma();
    AXL_TRY(axl_comm_agree(b->world, axl_device_create(&d, &b->device)));
    bind_near_device(b);
    AXL_TRY(axl_comm_use_device(b->world, b->device));
    note_kernels(b);
out:
    return status;
}

void axl_bringup_stop(axl_bringup *b)
{
    axl_watch_stop(b->world); // it looks at the device
    axl_config_destroy(b->config);
    axl_device_destroy(b->device);
    axl_comm_finalize(b->world);
    *b = (axl_bringup){0};
}

// Findings about a configuration are lines that say "error" themselves.
static void report_message(const char *message)
{
    if (strstr(message, ": error: ") != NULL)
        (void)fprintf(stderr, "%s\n", message);
    else
        axl_log(AXL_LOG_ERROR, "%s", message);
}

// Tasks that srun started without --mpi=pmix do not know of each other, and all find the same fault.
static bool is_another_task(const axl_bringup *b, axl_status status)
{
    const char *task = getenv("SLURM_PROCID");

    return b->world == NULL && status == AXL_E_CONFIG && task != NULL && strcmp(task, "0") != 0;
}

int axl_bringup_report(const axl_bringup *b, const char *command, axl_status status)
{
    if (status == AXL_OK)
        return 0;
    axl_debug("%s failed at %s", command, axl_error_origin());
    if (status == AXL_E_COMM && b->world != NULL && axl_comm_size(b->world) > 1)
        axl_comm_abort(b->world, axl_status_exit_code(status), axl_error_message());
    if (b->world == NULL ? !is_another_task(b, status) : axl_comm_rank(b->world) == 0)
        report_message(axl_error_message());
    return axl_status_exit_code(status);
}
