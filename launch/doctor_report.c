// The report of rank 0: tables for people, an object for machines.
#include "launch/doctor.h"

#include "kernels/chip.h"
#include "launch/same.h"
#include "src/base/mem.h"
#include "src/io/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GIB (1.0 / (1 << 30))

// Ranks of rank first's host as "0-3,8"; shortened when there are many.
static void name_ranks(const axl_doctor *d, int first, char *text, size_t size)
{
    const int n = d->n_ranks;
    size_t len = 0;

    text[0] = '\0';
    for (int i = first; i < n;) {
        if (!axl_doctor_same_host(&d->ranks[i], &d->ranks[first])) {
            i++;
            continue;
        }
        int end = i;
        while (end + 1 < n && axl_doctor_same_host(&d->ranks[end + 1], &d->ranks[first]))
            end++;
        if (len + 24 > size) {
            (void)snprintf(text + len, size - len, ",...");
            return;
        }
        if (len > 0)
            text[len++] = ',';
        int k = end > i ? snprintf(text + len, size - len, "%d-%d", i, end)
                        : snprintf(text + len, size - len, "%d", i);
        len += k > 0 ? (size_t)k : 0;
        i = end + 1;
    }
}

// Whether rank i is the first of its host.
static bool leads(const axl_doctor *d, int i)
{
    for (int k = 0; k < i; k++)
        if (axl_doctor_same_host(&d->ranks[k], &d->ranks[i]))
            return false;
    return true;
}

// "81" or "78-85", in GFLOP/s, over the ranks of a host.
static void name_rate(double low, double high, char *text, size_t size)
{
    char most[24];

    (void)snprintf(text, size, "%.0f", low * 1e-9);
    (void)snprintf(most, sizeof most, "%.0f", high * 1e-9);
    if (strcmp(text, most) != 0)
        (void)snprintf(text, size, "%.0f-%s", low * 1e-9, most);
}

static axl_status put_host(const axl_doctor *d, int first, axl_str *out)
{
    const axl_doctor_rank *a = &d->ranks[first];
    const int n = d->n_ranks;
    double f32[2] = {1e30, 0.0}, bf16[2] = {1e30, 0.0}, memory = 0.0;
    uint64_t cpus[16] = {0};
    char ranks[48], rate32[32], rate16[32], cores[32], room[32], clock[32];

    for (int i = first; i < n; i++) {
        const axl_doctor_rank *r = &d->ranks[i];
        if (!axl_doctor_same_host(r, a))
            continue;
        f32[0] = r->gemm_f32 < f32[0] ? r->gemm_f32 : f32[0];
        f32[1] = r->gemm_f32 > f32[1] ? r->gemm_f32 : f32[1];
        bf16[0] = r->gemm_bf16 < bf16[0] ? r->gemm_bf16 : bf16[0];
        bf16[1] = r->gemm_bf16 > bf16[1] ? r->gemm_bf16 : bf16[1];
        memory += r->memory_rate;
        for (int k = 0; k < 16; k++)
            cpus[k] |= r->cpus[k];
    }
    name_ranks(d, first, ranks, sizeof ranks);
    name_rate(f32[0], f32[1], rate32, sizeof rate32);
    name_rate(bf16[0], bf16[1], rate16, sizeof rate16);
    (void)snprintf(cores, sizeof cores, "%d of %d", axl_doctor_count_cpus(cpus), a->n_cpus);
    (void)snprintf(room, sizeof room, "%.1f of %.1f", (double)a->memory_available * GIB,
                   (double)a->memory * GIB);
    (void)snprintf(clock, sizeof clock, "%+.0f +-%.0f us", a->clock_offset * 1e6,
                   a->clock_error * 1e6);
    return axl_str_printf(out, "%-14s %-9s %-9s %7d %4d %14s %8.1f %10s %11s  %s\n", a->host, ranks,
                          cores, a->threads, a->n_numa, room, memory * 1e-9, rate32, rate16,
                          clock[1] == '0' ? "same" : clock);
}

// A line for each kind of processor, with the first host that has it.
static axl_status put_processors(const axl_doctor *d, axl_str *out)
{
    axl_status status = AXL_OK;

    for (int i = 0; i < d->n_ranks; i++) {
        const axl_doctor_rank *r = &d->ranks[i];
        int k = 0;
        while (k < i && (strcmp(d->ranks[k].processor, r->processor) != 0 ||
                         strcmp(d->ranks[k].kernels, r->kernels) != 0))
            k++;
        if (k < i)
            continue;
        AXL_TRY(axl_str_printf(out, "processor   %s", r->processor[0] ? r->processor : "unknown"));
        if (r->mhz > 0.0)
            AXL_TRY(axl_str_printf(out, ", %.0f MHz now", r->mhz));
        AXL_TRY(axl_str_printf(out, ";%s%s%s%s kernels %s\n", r->avx2 ? " avx2" : "",
                               r->avx512 ? " avx512" : "", r->avx512_bf16 ? " avx512-bf16" : "",
                               r->amx_bf16 ? " amx-bf16;" : ";", r->kernels));
    }

out:
    return status;
}

// Takes the next "name<tab>value" of text apart, in place; false at its end.
static bool next_library(char **text, char **name, char **value)
{
    char *line = strsep(text, "\n");

    if (line == NULL || (*value = strchr(line, '\t')) == NULL)
        return false;
    *(*value)++ = '\0';
    *name = strncmp(line, "the ", 4) == 0 ? line + 4 : line;
    return true;
}

static axl_status put_libraries(const axl_doctor *d, axl_str *out)
{
    axl_status status = AXL_OK;
    axl_str lines = {0};
    char *name = NULL, *value = NULL;

    AXL_TRY(axl_same_versions(d->up.world, &lines));
    char *rest = lines.data;
    while (next_library(&rest, &name, &value))
        AXL_TRY(axl_str_printf(out, "%-27s %s\n", name, value));

out:
    axl_str_fini(&lines);
    return status;
}

// What its data sheet says; no line of processors.
static axl_status put_chip(const axl_doctor_rank *r, axl_str *out)
{
    axl_status status = AXL_OK;
    const axl_chip *chip = axl_chip_find(r->chip);

    if (chip != NULL)
        AXL_TRY(axl_str_printf(out,
                               "data sheet  of %s: %.5g TFLOP/s in bf16, %.5g in fp32, memory %.5g "
                               "GB/s\n",
                               chip->name, chip->bf16, chip->fp32, chip->gb_per_s));
    else if (r->chip[0] != '\0')
        AXL_TRY(axl_str_printf(out, "data sheet  of %s is not known: runs say no mfu\n", r->chip));

out:
    return status;
}

// What carries collectives between GPUs; no line without them.
static axl_status put_gpu_library(const axl_doctor *d, axl_str *out)
{
    axl_status status = AXL_OK;
    axl_str name = {0};

    AXL_TRY(axl_comm_gpu_library(d->up.world, &name));
    if (name.len > 0)
        AXL_TRY(axl_str_printf(out, "collectives %s\n", name.data));

out:
    axl_str_fini(&name);
    return status;
}

// What computes here, and why that.
static axl_status put_device(const axl_doctor *d, axl_str *out)
{
    const axl_config *c = d->up.config;
    const bool gpu = !d->up.device->host_memory;

    if (c != NULL && c->set.device != 0 && c->set.device != AXL_SET_DERIVED)
        return axl_str_printf(out, "device      the %s: device: %s asks for it\n",
                              gpu ? "GPU" : "processor", c->device);
    return axl_str_printf(out, "device      %s\n",
                          gpu ? "the GPU: device: auto takes one where there is one"
                              : "the processor: device: auto found no GPU that it could take");
}

static axl_status put_machine(const axl_doctor *d, axl_str *out)
{
    axl_status status = AXL_OK;
    const axl_doctor_rank *r = &d->ranks[0];
    char limit[48] = "none";

    if (r->memory_limit > 0)
        (void)snprintf(limit, sizeof limit, "%.1f GiB", (double)r->memory_limit * GIB);
    AXL_TRY(put_processors(d, out));
    AXL_TRY(axl_str_printf(out, "memory      limit %s, huge pages %s\n", limit,
                           r->huge_pages[0] ? r->huge_pages : "unknown"));
    AXL_TRY(
        axl_str_printf(out, "fabric      %s\n",
                       r->fabric[0] ? r->fabric : "no adapter: shared memory, TCP to other hosts"));
    AXL_TRY(
        axl_str_printf(out, "gpu         %s%s\n", r->gpus,
                       r->gpu && strncmp(r->gpus, "none", 4) == 0 ? "; a driver is present" : ""));
    for (const char *at = r->gpus_near, *end; *at != '\0'; at = *end != '\0' ? end + 1 : end) {
        end = at + strcspn(at, "\n");
        AXL_TRY(axl_str_printf(out, "            %.*s\n", (int)(end - at), at));
    }
    AXL_TRY(put_chip(r, out));
    AXL_TRY(put_gpu_library(d, out));
    AXL_TRY(put_device(d, out));
    AXL_TRY(put_libraries(d, out));
    if (d->folder[0] != '\0')
        AXL_TRY(axl_str_printf(out, "output_dir  %s: %.0f MB/s written by rank 0, %.1f GiB free\n",
                               d->folder, d->folder_rate * 1e-6, (double)d->folder_free * GIB));

out:
    return status;
}

static axl_status put_speeds(const axl_doctor *d, axl_str *out)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_str_printf(out, "\n%-13s %5s %6s  %-15s %10s %9s %9s %9s\n", "axis", "ranks",
                           "groups", "operation", "1 KiB, us", "large", "GB/s", "fastest"));
    for (int i = 0; i < d->n_speeds; i++) {
        const axl_doctor_speed *s = &d->speeds[i];
        AXL_TRY(axl_str_printf(out, "%-13s %5d %6d  %-15s %10.1f %5.2f MiB %9.3f %9.3f", s->axis,
                               s->n_ranks, s->n_groups, axl_comm_op_name(s->op), s->latency * 1e6,
                               (double)s->large_bytes / (1 << 20), s->slowest * 1e-9,
                               s->fastest * 1e-9));
        AXL_TRY(axl_str_printf(out, "%s%s\n", s->also[0] ? "  also " : "", s->also));
    }

out:
    return status;
}

axl_status axl_doctor_text(const axl_doctor *d, axl_str *out)
{
    axl_status status = AXL_OK;
    const int *size = d->mesh->size, n = d->n_ranks;

    AXL_TRY(axl_str_printf(out, "axl-dist %s: %d rank%s over %s, mesh", AXL_VERSION, n,
                           n == 1 ? "" : "s", axl_comm_transport(d->up.world)));
    for (int a = 0; a < AXL_N_AXES; a++)
        AXL_TRY(axl_str_printf(out, " %s %d%s", axl_axis_name((axl_axis)a), size[a],
                               a + 1 < AXL_N_AXES ? "," : "\n"));
    AXL_TRY(put_machine(d, out));
    AXL_TRY(axl_str_printf(out, "\n%-14s %-9s %-9s %7s %4s %14s %8s %10s %11s  %s\n", "host",
                           "ranks", "cores", "threads", "numa", "GiB free", "GB/s", "fp32 GF/s",
                           "bf16 GF/s", "clock"));
    for (int i = 0; i < n; i++)
        if (leads(d, i))
            AXL_TRY(put_host(d, i, out));
    if (d->n_speeds > 0)
        AXL_TRY(put_speeds(d, out));
    AXL_TRY(axl_str_puts(out, "\n"));
    AXL_TRY(axl_diagnostics_text(&d->findings, AXL_NOTE, out));
    const size_t n_warnings = d->findings.n - d->findings.n_errors;
    AXL_TRY(axl_str_printf(out, "%s after %.1f s: %zu error%s, %zu warning%s\n",
                           d->findings.n_errors > 0 ? "failed" : "ready", d->seconds,
                           d->findings.n_errors, d->findings.n_errors == 1 ? "" : "s", n_warnings,
                           n_warnings == 1 ? "" : "s"));

out:
    return status;
}

// ---- JSON. What is put is taken over, also on failure; jansson's NULL for no memory is refused by set.

static axl_status put_text(axl_json *o, const char *key, const char *text)
{
    axl_json *value = axl_json_new_string(text, strlen(text));

    // names of machines need not be UTF-8
    return axl_json_set(o, key, value != NULL ? value : axl_json_new_string("?", 1));
}

static axl_status put_int(axl_json *o, const char *key, int64_t value)
{
    return axl_json_set(o, key, axl_json_new_int(value));
}

static axl_status put_real(axl_json *o, const char *key, double value)
{
    return axl_json_set(o, key, axl_json_new_real(value));
}

static axl_status put_bool(axl_json *o, const char *key, bool value)
{
    return axl_json_set(o, key, axl_json_new_bool(value));
}

static axl_status fill_rank(const axl_doctor *d, const axl_doctor_rank *r, axl_json *o)
{
    axl_status status = AXL_OK;

    AXL_TRY(put_text(o, "host", r->host));
    AXL_TRY(put_text(o, "boot_id", r->boot));
    AXL_TRY(put_text(o, "version", r->version));
    AXL_TRY(put_text(o, "processor", r->processor));
    AXL_TRY(put_text(o, "kernels", r->kernels));
    AXL_TRY(put_bool(o, "avx2", r->avx2));
    AXL_TRY(put_bool(o, "avx512", r->avx512));
    AXL_TRY(put_bool(o, "avx512_bf16", r->avx512_bf16));
    AXL_TRY(put_bool(o, "amx_bf16", r->amx_bf16));
    AXL_TRY(put_bool(o, "amx_tiles", r->amx_tiles));
    AXL_TRY(put_bool(o, "gpu_driver", r->gpu));
    AXL_TRY(put_text(o, "gpus", r->gpus));
    AXL_TRY(put_text(o, "chip", r->chip));
    AXL_TRY(put_text(o, "gpus_near", r->gpus_near));
    AXL_TRY(put_real(o, "mhz", r->mhz));
    AXL_TRY(put_text(o, "governor", r->governor));
    AXL_TRY(put_text(o, "fabric", r->fabric));
    AXL_TRY(put_int(o, "ranks_on_host", r->local_size));
    AXL_TRY(put_int(o, "threads", r->threads));
    AXL_TRY(put_int(o, "cores", axl_doctor_count_cpus(r->cpus)));
    AXL_TRY(put_int(o, "cores_of_host", r->n_cpus));
    AXL_TRY(put_real(o, "cpu_quota", r->cpu_quota));
    AXL_TRY(put_int(o, "numa_nodes", r->n_numa_used));
    AXL_TRY(put_int(o, "numa_nodes_of_host", r->n_numa));
    AXL_TRY(put_int(o, "memory_bytes", r->memory));
    AXL_TRY(put_int(o, "memory_available_bytes", r->memory_available));
    AXL_TRY(put_int(o, "memory_limit_bytes", r->memory_limit));
    AXL_TRY(put_text(o, "huge_pages", r->huge_pages));
    AXL_TRY(put_real(o, "fp32_gflops", r->gemm_f32 * 1e-9));
    AXL_TRY(put_real(o, "bf16_gflops", r->gemm_bf16 * 1e-9));
    AXL_TRY(put_real(o, "memory_gb_per_s", r->memory_rate * 1e-9));
    AXL_TRY(put_real(o, "clock_offset_us", r->clock_offset * 1e6));
    AXL_TRY(put_real(o, "clock_error_us", r->clock_error * 1e6));
    if (d->folder[0] == '\0')
        goto out;
    AXL_TRY(put_bool(o, "output_dir_seen", r->folder_seen));
    AXL_TRY(put_bool(o, "output_dir_writable", r->folder_writable));
    AXL_TRY(put_int(o, "output_dir_inode", (int64_t)r->folder_inode));
    AXL_TRY(put_bool(o, "base_model_seen", r->model_seen));

out:
    return status;
}

static axl_status fill_speed(const axl_doctor_speed *s, axl_json *o)
{
    axl_status status = AXL_OK;

    AXL_TRY(put_text(o, "axis", s->axis));
    AXL_TRY(put_text(o, "also", s->also));
    AXL_TRY(put_int(o, "ranks", s->n_ranks));
    AXL_TRY(put_int(o, "groups", s->n_groups));
    AXL_TRY(put_text(o, "operation", axl_comm_op_name(s->op)));
    AXL_TRY(put_real(o, "latency_us", s->latency * 1e6));
    AXL_TRY(put_int(o, "large_bytes", s->large_bytes));
    AXL_TRY(put_real(o, "busbw_gb_per_s", s->slowest * 1e-9));
    AXL_TRY(put_real(o, "busbw_fastest_gb_per_s", s->fastest * 1e-9));

out:
    return status;
}

// Adds an empty object to a list, borrowed.
static axl_status add_object(axl_json *list, axl_json **out)
{
    axl_status status = AXL_OK;
    axl_json *o = axl_json_new_object();

    AXL_TRY(axl_json_append(list, o));
    *out = o;

out:
    return status;
}

// The members of the report before its findings, which are text already.
static axl_status fill_libraries(const axl_doctor *d, axl_json *root)
{
    axl_status status = AXL_OK;
    axl_str lines = {0}, gpus = {0};
    axl_json *libraries = axl_json_new_object();
    char *name = NULL, *value = NULL;

    AXL_REQUIRE(libraries != NULL, AXL_E_MEMORY, "no memory for the report");
    AXL_TRY(axl_same_versions(d->up.world, &lines));
    char *rest = lines.data;
    while (next_library(&rest, &name, &value))
        AXL_TRY(put_text(libraries, name, value));
    AXL_TRY(axl_comm_gpu_library(d->up.world, &gpus));
    if (gpus.len > 0)
        AXL_TRY(put_text(libraries, "gpu_collectives", gpus.data));
    axl_json *handed = libraries;
    libraries = NULL; // the root takes it over, also on failure
    AXL_TRY(axl_json_set(root, "libraries", handed));

out:
    axl_json_free(libraries);
    axl_str_fini(&lines);
    axl_str_fini(&gpus);
    return status;
}

static axl_status fill_report(const axl_doctor *d, axl_json *root)
{
    axl_status status = AXL_OK;
    const int n = d->n_ranks;
    axl_json *mesh = axl_json_new_object(), *ranks = axl_json_new_array();
    axl_json *speeds = axl_json_new_array(), *o = NULL;

    status = axl_json_set(root, "mesh", mesh);
    axl_status second = axl_json_set(root, "ranks", ranks);
    axl_status third = axl_json_set(root, "axes", speeds);
    AXL_TRY(status);
    AXL_TRY(second);
    AXL_TRY(third);
    for (int a = 0; a < AXL_N_AXES; a++)
        AXL_TRY(put_int(mesh, axl_axis_name((axl_axis)a), d->mesh->size[a]));
    for (int i = 0; i < n; i++) {
        AXL_TRY(add_object(ranks, &o));
        AXL_TRY(fill_rank(d, &d->ranks[i], o));
    }
    for (int i = 0; i < d->n_speeds; i++) {
        AXL_TRY(add_object(speeds, &o));
        AXL_TRY(fill_speed(&d->speeds[i], o));
    }
    AXL_TRY(put_text(root, "transport", axl_comm_transport(d->up.world)));
    AXL_TRY(put_text(root, "version", AXL_VERSION));
    AXL_TRY(fill_libraries(d, root));
    AXL_TRY(put_real(root, "seconds", d->seconds));
    if (d->folder[0] == '\0')
        goto out;
    AXL_TRY(put_text(root, "output_dir", d->folder));
    AXL_TRY(put_real(root, "output_dir_mb_per_s", d->folder_rate * 1e-6));
    AXL_TRY(put_int(root, "output_dir_free_bytes", d->folder_free));

out:
    return status;
}

axl_status axl_doctor_json(const axl_doctor *d, axl_str *out)
{
    axl_status status = AXL_OK;
    axl_json *root = axl_json_new_object(), *findings = NULL;
    axl_str list = {0};

    AXL_REQUIRE(root != NULL, AXL_E_MEMORY, "no memory for the report");
    AXL_TRY(put_bool(root, "ok", d->findings.n_errors == 0));
    AXL_TRY(fill_report(d, root));
    AXL_TRY(axl_diagnostics_json(&d->findings, &list));
    AXL_TRY(axl_json_parse(list.data, list.len, "findings", &findings));
    AXL_TRY(axl_json_set(root, "findings", findings));
    AXL_TRY(axl_json_dump(root, 2, out));
    AXL_TRY(axl_str_puts(out, "\n"));

out:
    axl_str_fini(&list);
    axl_json_free(root);
    return status;
}
