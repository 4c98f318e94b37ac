// A cluster from what `axl-dist doctor --json` measured under mpirun: the slowest rank and the widest group stand for
// all. What it does not measure (fractions that attention reaches, overlap) is that of the ready-made CPU cluster. Of
// GPUs only nodes and links are taken: the products that doctor has time for are too small for their rates.
#include "src/plan/cluster.h"

#include "kernels/chip.h"
#include "src/io/json.h"

#include <stdio.h>
#include <string.h>

static double real_of(const axl_json *o, const char *key)
{
    return axl_json_real(axl_json_get(o, key), 0.0);
}

static double lower(double a, double b)
{
    return a < b ? a : b;
}

static int count_hosts(const axl_json *ranks)
{
    int n = 0;

    for (size_t i = 0; i < axl_json_count(ranks); i++) {
        const char *host = axl_json_string(axl_json_get(axl_json_at(ranks, i), "host"), "");
        size_t k = 0;
        while (k < i &&
               strcmp(axl_json_string(axl_json_get(axl_json_at(ranks, k), "host"), ""), host) != 0)
            k++;
        n += k == i;
    }
    return n;
}

// The slowest rank's rates, in the units of the file.
static void take_ranks(const axl_json *ranks, axl_cluster *c)
{
    double f32 = 1e30, bf16 = 1e30, memory = 1e30, room = 1e30, most = 1.0;

    for (size_t i = 0; i < axl_json_count(ranks); i++) {
        const axl_json *r = axl_json_at(ranks, i);
        const double local = real_of(r, "ranks_on_host") > 1.0 ? real_of(r, "ranks_on_host") : 1.0;
        const double limit = real_of(r, "memory_limit_bytes"), all = real_of(r, "memory_bytes");
        f32 = lower(f32, real_of(r, "fp32_gflops"));
        bf16 = lower(bf16, real_of(r, "bf16_gflops"));
        memory = lower(memory, real_of(r, "memory_gb_per_s"));
        room = lower(room, (limit > 0.0 && limit < all ? limit : all) / local);
        most = local > most ? local : most;
    }
    c->node_ranks = most;
    if (!c->is_host)
        return;
    c->peak_f32 = f32 * 1e9 / c->gemm; // what was measured is what products reach
    c->peak_bf16 = bf16 * 1e9 / c->gemm;
    c->memory_rate = memory * 1e9 / c->memory_achievable;
    c->memory = room;
}

// Gathers along the axis that has most ranks.
static void take_links(const axl_json *axes, int n_hosts, axl_cluster *c)
{
    const axl_json *widest = NULL;

    for (size_t i = 0; i < axl_json_count(axes); i++) {
        const axl_json *a = axl_json_at(axes, i);
        if (strcmp(axl_json_string(axl_json_get(a, "operation"), ""), "all_gather") == 0 &&
            real_of(a, "ranks") > real_of(widest, "ranks"))
            widest = a;
    }
    axl_link *link = n_hosts > 1 ? &c->between : &c->inside;
    if (widest == NULL || real_of(widest, "busbw_gb_per_s") <= 0.0)
        return;
    // between hosts all ranks of a host had their part of its adapters at once
    link->bytes_per_second = real_of(widest, "busbw_gb_per_s") * 1e9 / link->achievable *
                             (n_hosts > 1 ? c->node_ranks : 1.0);
    link->latency = real_of(widest, "latency_us") * 1e-6 / (real_of(widest, "ranks") - 1.0);
}

axl_status axl_cluster_from_doctor(const char *text, size_t n, const char *name, axl_cluster *out)
{
    axl_status status = AXL_OK;
    axl_json *report = NULL;
    axl_cluster c;

    AXL_TRY(axl_json_parse(text, n, name, &report));
    const axl_json *ranks = axl_json_get(report, "ranks");
    const char *chip = axl_json_string(axl_json_get(axl_json_at(ranks, 0), "chip"), "");
    const axl_chip *row = axl_chip_find(chip);
    AXL_REQUIRE(
        chip[0] == '\0' || (row != NULL && row->cluster != NULL), AXL_E_INPUT,
        "%s: no cluster is ready-made for %s; copy the nearest of configs/clusters and put in "
        "its numbers",
        name, chip);
    AXL_TRY(axl_cluster_read(row != NULL ? row->cluster : "cpu", &c));
    take_ranks(ranks, &c);
    AXL_REQUIRE(axl_json_count(ranks) > 0 && c.peak_f32 > 0.0 && c.peak_bf16 > 0.0 &&
                    c.memory_rate > 0.0 && c.memory > 0.0,
                AXL_E_INPUT, "%s: this is no report of axl-dist doctor --json with all its rates",
                name);
    take_links(axl_json_get(report, "axes"), count_hosts(ranks), &c);
    const char *slash = strrchr(name, '/');
    (void)snprintf(c.name, sizeof c.name, "%.60s", slash != NULL ? slash + 1 : name);
    *out = c;
out:
    axl_json_free(report);
    return status;
}
