// What Linux says about this host and this rank. Nothing here can fail: what cannot be read stays empty.
#include "launch/doctor.h"

#include "kernels/cpu/features.h"
#include "kernels/kernels.h"
#include "launch/affinity.h"

#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define NO_LIMIT ((long long)1 << 60) // cgroup v1 writes a number near 2^63 for none

// The first line of a file without its newline; "" when there is none.
static void read_line(const char *path, char *line, size_t size)
{
    FILE *file = fopen(path, "r");

    line[0] = '\0';
    if (file == NULL)
        return;
    if (fgets(line, (int)size, file) == NULL)
        line[0] = '\0';
    line[strcspn(line, "\n")] = '\0';
    (void)fclose(file);
}

// The value behind "key   : value" of the first line with that key.
static void read_field(const char *path, const char *key, char *value, size_t size)
{
    char line[256];
    FILE *file = fopen(path, "r");

    value[0] = '\0';
    while (file != NULL && value[0] == '\0' && fgets(line, sizeof line, file) != NULL) {
        const char *colon = strchr(line, ':');
        if (colon == NULL || strncmp(line, key, strlen(key)) != 0)
            continue;
        line[strcspn(line, "\n")] = '\0';
        (void)snprintf(value, size, "%s", colon + 1 + strspn(colon + 1, " \t"));
    }
    if (file != NULL)
        (void)fclose(file);
}

static int64_t read_kib(const char *key)
{
    char value[64];

    read_field("/proc/meminfo", key, value, sizeof value);
    return (int64_t)strtoll(value, NULL, 10) * 1024;
}

// The path of this process below a cgroup hierarchy: of version 2 ("0::/path"), or of version 1's controller.
static bool cgroup_path(const char *controller, char *path, size_t size)
{
    char line[512];
    bool found = false;
    FILE *file = fopen("/proc/self/cgroup", "r");

    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL) {
        char *names = strchr(line, ':');
        char *at = names != NULL ? strchr(names + 1, ':') : NULL;
        if (at == NULL)
            continue;
        *at++ = '\0';
        at[strcspn(at, "\n")] = '\0';
        // a list such as "cpu,cpuacct"
        for (char *rest = NULL, *name = strtok_r(names + 1, ",", &rest); name != NULL && !found;
             name = strtok_r(NULL, ",", &rest))
            found = strcmp(name, controller) == 0;
        found = found || (controller[0] == '\0' && names[1] == '\0');
        if (found)
            (void)snprintf(path, size, "%s", strcmp(at, "/") == 0 ? "" : at);
    }
    if (file != NULL)
        (void)fclose(file);
    return found;
}

// The smallest of a file's first number over the process' cgroup and all above it; NO_LIMIT when none says one.
// per: a file, or the second number when "", that the first is divided by (microseconds a period); NULL: nothing.
static double cgroup_least(const char *mount, const char *controller, const char *name,
                           const char *per)
{
    char path[512], file[700], line[64];
    double least = (double)NO_LIMIT;

    if (!cgroup_path(controller, path, sizeof path))
        return least;
    for (;;) {
        (void)snprintf(file, sizeof file, "%s%s/%s", mount, path, name);
        read_line(file, line, sizeof line);
        char *end = line;
        double value = strtod(line, &end); // "max" and "" leave end == line, quota -1 is none
        if (end != line && value > 0.0 && per != NULL) {
            if (per[0] != '\0') {
                (void)snprintf(file, sizeof file, "%s%s/%s", mount, path, per);
                read_line(file, line, sizeof line);
                end = line;
            }
            double period = strtod(end, NULL);
            value = period > 0.0 ? value / period : (double)NO_LIMIT;
        }
        if (end != line || per != NULL)
            least = value > 0.0 && value < least ? value : least;
        char *up = strrchr(path, '/');
        if (up == NULL)
            return least;
        *up = '\0';
    }
}

static int64_t memory_limit(void)
{
    double least = cgroup_least("/sys/fs/cgroup", "", "memory.max", NULL);
    double old = cgroup_least("/sys/fs/cgroup/memory", "memory", "memory.limit_in_bytes", NULL);
    struct rlimit address_space;

    least = old < least ? old : least;
    if (getrlimit(RLIMIT_AS, &address_space) == 0 && (double)address_space.rlim_cur < least)
        least = (double)address_space.rlim_cur;
    return least < (double)NO_LIMIT ? (int64_t)least : 0;
}

static double cpu_quota(void)
{
    double least = cgroup_least("/sys/fs/cgroup", "", "cpu.max", "");
    double old = cgroup_least("/sys/fs/cgroup/cpu", "cpu", "cpu.cfs_quota_us", "cpu.cfs_period_us");

    least = old < least ? old : least;
    return least < (double)NO_LIMIT ? least : 0.0;
}

// NUMA nodes of the host, and those that hold a processor of this rank.
static void find_numa(axl_doctor_rank *r)
{
    char path[128];

    for (int node = 0; node < 1024; node++) {
        (void)snprintf(path, sizeof path, "/sys/devices/system/node/node%d", node);
        if (access(path, F_OK) != 0)
            continue;
        bool used = false;
        for (int cpu = 0; cpu < 1024 && !used; cpu++) {
            if ((r->cpus[cpu / 64] >> (cpu % 64) & 1) == 0)
                continue;
            (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/node%d", cpu, node);
            used = access(path, F_OK) == 0;
        }
        r->n_numa++;
        r->n_numa_used += used;
    }
}

static void find_cpus(axl_doctor_rank *r)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    r->n_cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return;
    for (int cpu = 0; cpu < CPU_SETSIZE && cpu < 1024; cpu++)
        if (CPU_ISSET(cpu, &set))
            r->cpus[cpu / 64] |= (uint64_t)1 << (cpu % 64);
}

// Names of the adapters for remote memory access; without one, hosts talk TCP.
static void find_fabric(axl_doctor_rank *r)
{
    DIR *dir = opendir("/sys/class/infiniband");

    for (struct dirent *e = NULL; dir != NULL && (e = readdir(dir)) != NULL;) {
        size_t n = strlen(r->fabric);
        if (e->d_name[0] != '.')
            (void)snprintf(r->fabric + n, sizeof r->fabric - n, "%s%s", n > 0 ? " " : "",
                           e->d_name);
    }
    if (dir != NULL)
        (void)closedir(dir);
}

// The word in brackets: "always [madvise] never".
static void find_huge_pages(axl_doctor_rank *r)
{
    char line[64];

    read_line("/sys/kernel/mm/transparent_hugepage/enabled", line, sizeof line);
    const char *word = strchr(line, '[');
    if (word != NULL)
        (void)snprintf(r->huge_pages, sizeof r->huge_pages, "%.*s", (int)strcspn(word + 1, "]"),
                       word + 1);
}

// GPUs on the bus, with or without a driver.
static void find_near(axl_doctor_rank *r)
{
    axl_affinity list[16];
    const int n = axl_affinity_gpus(list, 16);
    axl_str text = {0};

    for (int i = 0; i < n && i < 16; i++) {
        if (i > 0 && axl_str_puts(&text, "\n") != AXL_OK)
            break;
        if (axl_affinity_text(&list[i], &text) != AXL_OK)
            break;
    }
    (void)snprintf(r->gpus_near, sizeof r->gpus_near, "%s", text.len > 0 ? text.data : "");
    axl_str_fini(&text);
}

static void find_gpus(axl_doctor_rank *r)
{
    axl_str text = {0};

    r->gpu = access("/dev/nvidiactl", F_OK) == 0;
    if (axl_kernels_accelerators(&text) == AXL_OK)
        (void)snprintf(r->gpus, sizeof r->gpus, "%s", text.data);
    axl_str_fini(&text);
    find_near(r);
}

void axl_doctor_host(const axl_bringup *b, axl_doctor_rank *r)
{
    const axl_cpu_features *f = axl_cpu_features_get();
    char text[64];

    *r = (axl_doctor_rank){.local_rank = axl_comm_local_rank(b->world),
                           .local_size = axl_comm_local_size(b->world),
                           .threads = b->device->n_threads,
                           .avx2 = f->avx2,
                           .avx512 = f->avx512,
                           .avx512_bf16 = f->avx512_bf16,
                           .amx_bf16 = f->amx_bf16,
                           .amx_tiles = f->amx_tiles};
    (void)gethostname(r->host, sizeof r->host - 1);
    read_line("/proc/sys/kernel/random/boot_id", r->boot, sizeof r->boot);
    read_field("/proc/cpuinfo", "model name", r->processor, sizeof r->processor);
    read_field("/proc/cpuinfo", "cpu MHz", text, sizeof text);
    r->mhz = strtod(text, NULL);
    read_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", r->governor,
              sizeof r->governor);
    (void)snprintf(r->kernels, sizeof r->kernels, "%s", b->device->kernels->name);
    (void)snprintf(r->chip, sizeof r->chip, "%s", b->device->chip);
    (void)snprintf(r->version, sizeof r->version, "%s", AXL_VERSION);
    find_cpus(r);
    find_numa(r);
    find_fabric(r);
    find_huge_pages(r);
    find_gpus(r);
    r->memory = read_kib("MemTotal");
    r->memory_available = read_kib("MemAvailable");
    r->memory_limit = memory_limit();
    r->cpu_quota = cpu_quota();
}
