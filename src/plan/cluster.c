// Reading a cluster. One table says which key fills which field, in which unit and range; the rest is walking.
#include "src/plan/cluster.h"

#include "kernels/chip.h"
#include "src/io/file.h"
#include "src/io/yaml.h"
#include "src/plan/cluster_table.h"

#include <stdio.h>
#include <string.h>

#define MAX_CLUSTERS 32
#define GIB          1073741824.0
#define MIB          1048576.0

// A key of the file. Sections are told apart by the dots: "node.inside.latency_us".
typedef struct key_row {
    const char *path;
    size_t offset;    // of a double in axl_cluster
    double unit;      // value x unit is stored
    double low, high; // in the file's unit
    double otherwise; // in the file's unit, when it is optional
    bool needed;
} key_row;

#define NEEDED(path, field, unit, low, high)                                                       \
    {                                                                                              \
        path, offsetof(axl_cluster, field), unit, low, high, 0.0, true                             \
    }
#define OPTIONAL(path, field, unit, low, high, otherwise)                                          \
    {                                                                                              \
        path, offsetof(axl_cluster, field), unit, low, high, otherwise, false                      \
    }

static const key_row keys[] = {
    NEEDED("device.memory_gib", memory, GIB, 0.1, 1e6),
    NEEDED("device.process_gib", process, GIB, 0.0, 1e3),
    NEEDED("device.peak_tflops.fp32", peak_f32, 1e12, 1e-3, 1e6),
    NEEDED("device.peak_tflops.bf16", peak_bf16, 1e12, 1e-3, 1e6),
    OPTIONAL("device.peak_tflops.tf32", peak_tf32, 1e12, 0.0, 1e6, 0.0),
    OPTIONAL("device.peak_tflops.fp8", peak_fp8, 1e12, 0.0, 1e6, 0.0),
    OPTIONAL("device.clock", clock, 1.0, 0.1, 1.0, 1.0),
    NEEDED("device.achievable.gemm", gemm, 1.0, 0.01, 1.0),
    OPTIONAL("device.achievable.gemm_fp8", gemm_fp8, 1.0, 0.01, 1.0, 0.5),
    NEEDED("device.achievable.attention_forward", attention_forward, 1.0, 0.001, 1.0),
    NEEDED("device.achievable.attention_backward", attention_backward, 1.0, 0.001, 1.0),
    NEEDED("device.achievable.memory", memory_achievable, 1.0, 0.01, 1.0),
    NEEDED("device.memory_gb_per_s", memory_rate, 1e9, 0.1, 1e6),
    NEEDED("device.kernel_us", kernel_seconds, 1e-6, 0.0, 1e4),
    OPTIONAL("device.nccl_mib.communicator", nccl_communicator, MIB, 0.0, 1e5, 300.0),
    OPTIONAL("device.nccl_mib.peer", nccl_peer, MIB, 0.0, 1e5, 450.0),
    OPTIONAL("device.nccl_mib.between", nccl_between, MIB, 0.0, 1e5, 512.0),
    OPTIONAL("device.graph_kernel_kib", graph_kernel, 1024.0, 0.0, 1e5, 10.0),
    OPTIONAL("device.host_gb_per_s", host_link, 1e9, 0.1, 1e5, 25.0),
    OPTIONAL("node.host_memory_gb_per_s", host_rate, 1e9, 1.0, 1e6, 200.0),
    OPTIONAL("node.host_memory_gib", host_memory, GIB, 0.0, 1e6, 0.0),
    NEEDED("node.ranks", node_ranks, 1.0, 1.0, 1e5),
    NEEDED("node.inside.gb_per_s", inside.bytes_per_second, 1e9, 1e-3, 1e5),
    NEEDED("node.inside.achievable", inside.achievable, 1.0, 0.01, 1.0),
    NEEDED("node.inside.latency_us", inside.latency, 1e-6, 0.0, 1e6),
    NEEDED("node.between.gb_per_s", between.bytes_per_second, 1e9, 1e-3, 1e6),
    NEEDED("node.between.achievable", between.achievable, 1.0, 0.01, 1.0),
    NEEDED("node.between.latency_us", between.latency, 1e-6, 0.0, 1e6),
    OPTIONAL("software.overlap", overlap, 1.0, 0.0, 1.0, 1.0),
    OPTIONAL("software.elementwise_passes", elementwise_passes, 1.0, 0.5, 20.0, 1.0),
    OPTIONAL("software.rerun_products", rerun_products, 1.0, 0.0, 1.0, 0.0),
    OPTIONAL("software.fp8_products", fp8_products, 1.0, 0.0, 1.0, 0.0),
    OPTIONAL("software.sequence_parallel", sequence_parallel, 1.0, 0.0, 1.0, 0.0),
    OPTIONAL("software.whole_logits", whole_logits, 1.0, 0.0, 1.0, 0.0),
    OPTIONAL("software.async_tp", async_tp, 1.0, 0.0, 1.0, 0.0),
};
#define N_KEYS ((int)(sizeof keys / sizeof *keys))

// Keys that are read by themselves.
static const char *const others[] = {"name", "device.name", "device.host", "device.chip"};
#define N_OTHERS ((int)(sizeof others / sizeof *others))

static const axl_yaml_node *find(const axl_yaml_node *root, const char *path)
{
    char part[64];
    const axl_yaml_node *node = root;

    while (node != NULL && *path != '\0') {
        size_t n = strcspn(path, ".");
        (void)snprintf(part, sizeof part, "%.*s", (int)n, path);
        node = axl_yaml_get(node, part);
        path += n + (path[n] == '.');
    }
    return node;
}

static void read_key(const axl_yaml_node *root, const key_row *k, axl_diagnostics *d,
                     axl_cluster *out)
{
    const axl_yaml_node *v = find(root, k->path);
    double x = k->otherwise, known;

    memcpy(&known, (char *)out + k->offset, sizeof known);
    if (v == NULL && known != 0.0) // of the chip
        return;
    if (v != NULL && v->kind == AXL_YAML_INT)
        x = (double)v->integer;
    else if (v != NULL && v->kind == AXL_YAML_REAL)
        x = v->real;
    else if (v != NULL)
        axl_diagnostics_add(d, AXL_ERROR, v->place, k->path, "a number was expected, not %s",
                            axl_yaml_kind_name(v->kind));
    else if (k->needed)
        axl_diagnostics_add(d, AXL_ERROR, root->place, k->path, "is missing");
    if (v != NULL && !(x >= k->low && x <= k->high))
        axl_diagnostics_add(d, AXL_ERROR, v->place, k->path, "%g is not between %g and %g", x,
                            k->low, k->high);
    x *= k->unit;
    memcpy((char *)out + k->offset, &x, sizeof x);
}

// Whether path is a key, or begins one (a section).
static bool is_known(const char *path)
{
    const size_t n = strlen(path);

    for (int i = 0; i < N_OTHERS; i++)
        if (strcmp(others[i], path) == 0)
            return true;
    for (int i = 0; i < N_KEYS; i++)
        if (strncmp(keys[i].path, path, n) == 0 &&
            (keys[i].path[n] == '\0' || keys[i].path[n] == '.'))
            return true;
    return false;
}

static void report_unknown(axl_place place, const char *path, axl_diagnostics *d)
{
    const char *names[N_KEYS + N_OTHERS];

    for (int i = 0; i < N_KEYS; i++)
        names[i] = keys[i].path;
    for (int i = 0; i < N_OTHERS; i++)
        names[N_KEYS + i] = others[i];
    const char *nearest = axl_nearest_name(path, names, sizeof names / sizeof *names);
    axl_diagnostics_add(d, AXL_ERROR, place, path, "unknown key%s%s%s",
                        nearest != NULL ? "; did you mean " : "", nearest != NULL ? nearest : "",
                        nearest != NULL ? "?" : "");
}

static void find_unknown(const axl_yaml_node *map, const char *prefix, axl_diagnostics *d)
{
    char path[160];

    for (size_t i = 0; i < map->n_entries; i++) {
        const axl_yaml_entry *e = &map->entries[i];
        if (e->key == NULL)
            continue;
        (void)snprintf(path, sizeof path, "%s%s%.60s", prefix, prefix[0] != '\0' ? "." : "",
                       e->key->text);
        if (!is_known(path))
            report_unknown(e->key->place, path, d);
        else if (e->value->kind == AXL_YAML_MAP && strlen(path) < 80)
            find_unknown(e->value, path, d);
    }
}

// What its data sheet says; keys of the file that say otherwise win.
static void read_chip(const axl_yaml_node *node, axl_diagnostics *d, axl_cluster *out)
{
    if (node == NULL)
        return;
    const axl_chip *chip = node->kind == AXL_YAML_STRING ? axl_chip_find(node->text) : NULL;
    if (chip == NULL) {
        axl_diagnostics_add(d, AXL_ERROR, node->place, "device.chip",
                            "no data sheet of it is known; give peak_tflops and memory_gb_per_s");
        return;
    }
    out->peak_f32 = axl_chip_peak(chip, AXL_F32, false);
    out->peak_tf32 = axl_chip_peak(chip, AXL_F32, true);
    out->peak_bf16 = axl_chip_peak(chip, AXL_BF16, false);
    out->peak_fp8 = chip->fp8 * 1e12;
    out->memory_rate = chip->gb_per_s * 1e9;
    out->library_attention_grads = chip->library_attention_grads;
    out->library_fp8 = chip->library_fp8;
}

static void read_all(const axl_yaml_node *root, axl_diagnostics *d, axl_cluster *out)
{
    const axl_yaml_node *name = axl_yaml_get(root, "name"), *host = find(root, "device.host");

    if (root->kind != AXL_YAML_MAP) {
        axl_diagnostics_add(d, AXL_ERROR, root->place, NULL, "a cluster is a map, not %s",
                            axl_yaml_kind_name(root->kind));
        return;
    }
    find_unknown(root, "", d);
    read_chip(find(root, "device.chip"), d, out);
    for (int i = 0; i < N_KEYS; i++)
        read_key(root, &keys[i], d, out);
    if (host != NULL && host->kind != AXL_YAML_BOOL)
        axl_diagnostics_add(d, AXL_ERROR, host->place, "device.host", "true or false was expected");
    out->is_host = host != NULL && host->kind == AXL_YAML_BOOL && host->boolean;
    (void)snprintf(out->name, sizeof out->name, "%s", name != NULL ? name->text : "unnamed");
}

double axl_cluster_peak(const axl_cluster *c, axl_dtype dtype, bool tf32)
{
    if (dtype == AXL_BF16)
        return c->peak_bf16;
    return tf32 && c->peak_tf32 > 0.0 ? c->peak_tf32 : c->peak_f32;
}

axl_status axl_cluster_parse(const char *text, size_t n, const char *name, axl_cluster *out)
{
    axl_status status = AXL_OK;
    axl_diagnostics d = {0};
    axl_yaml *yaml = NULL;
    axl_cluster c = {0};

    if (axl_yaml_parse(text, n, name, &d, &yaml) == AXL_OK)
        read_all(axl_yaml_root(yaml), &d, &c);
    AXL_TRY(axl_diagnostics_status(&d, AXL_E_CONFIG));
    *out = c;
out:
    axl_yaml_destroy(yaml);
    axl_diagnostics_fini(&d);
    return status;
}

static axl_status fail_unknown(const char *name)
{
    axl_status status = AXL_OK;
    const char *names[MAX_CLUSTERS];
    axl_str list = {0};
    size_t n = 0;

    for (; n < MAX_CLUSTERS && axl_cluster_rows[n].name != NULL; n++) {
        names[n] = axl_cluster_rows[n].name;
        AXL_TRY(axl_str_printf(&list, "%s%s", n > 0 ? ", " : "", names[n]));
    }
    const char *nearest = axl_nearest_name(name, names, n);
    AXL_FAIL(AXL_E_CONFIG,
             "--cluster: %s is neither a file nor a ready-made cluster%s%s%s; there are %s", name,
             nearest != NULL ? "; did you mean " : "", nearest != NULL ? nearest : "",
             nearest != NULL ? "?" : "", list.data);
out:
    axl_str_fini(&list);
    return status;
}

axl_status axl_cluster_read(const char *name, axl_cluster *out)
{
    axl_status status = AXL_OK;
    axl_str text = {0};

    for (const axl_cluster_row *r = axl_cluster_rows; r->name != NULL; r++) {
        if (strcmp(r->name, name) == 0) {
            AXL_TRY(
                axl_cluster_parse((const char *)r->text, strlen((const char *)r->text), name, out));
            goto out;
        }
    }
    if (!axl_path_exists(name))
        AXL_TRY(fail_unknown(name));
    AXL_TRY(axl_file_read(name, &text));
    if (text.len > 0 && text.data[0] == '{')
        AXL_TRY(axl_cluster_from_doctor(text.data, text.len, name, out));
    else
        AXL_TRY(axl_cluster_parse(text.data, text.len, name, out));
out:
    axl_str_fini(&text);
    return status;
}
