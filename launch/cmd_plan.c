// axl-dist plan: what a run will take and how long a step will last, from the YAML and the model's description alone.
#include "launch/commands.h"

#include "kernels/chip.h"
#include "kernels/kernels.h"
#include "launch/plan_report.h"
#include "src/io/file.h"
#include "src/io/gguf_import.h"
#include "src/train/settings.h"
#include "src/train/vocabulary.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: axl-dist plan CONFIG.yaml --ranks N [--nodes M] [--cluster NAME|FILE] [--search]\n"
    "                     [--json] [--document-tokens N] [--key value ...]\n"
    "\n"
    "Says what a run will take before it: memory of a rank by class (the trainer's own plan), "
    "bytes\n"
    "that travel on each axis of the mesh, arithmetic, and a prediction of the time of a step. "
    "Reads\n"
    "the YAML, the model's config.json (or the head of a .gguf file) and its tokenizer, when there "
    "is\n"
    "one, for the rows of the embedding; needs no weights, no data and no GPU. Rows are taken as "
    "full.\n"
    "When it does not fit, the cheapest mend is named; else what would be faster. Exit code 0; 2:\n"
    "bad input.\n"
    "\n"
    "  --ranks N            ranks of the run, up to 1000000\n"
    "  --nodes M            nodes that they fill evenly; else the cluster says how many ranks one "
    "has\n"
    "  --cluster NAME|FILE  a100, cpu, h100, h200, tcp, or a file: like those of configs/clusters, "
    "or\n"
    "                       what axl-dist doctor --json printed. Not given: cpu with device: cpu,\n"
    "                       else what this machine has, or h100\n"
    "  --search             rank all layouts for the same rows a step by predicted time\n"
    "  --json               print an object instead of tables\n"
    "  --document-tokens N  mean length of a document; else a document fills a row (sequence_len)\n"
    "  --key value          override a key, as for training\n"
    "\n"
    "example: axl-dist plan run.yaml --ranks 1024 --cluster h100 --search\n";

#define MAX_ARGUMENTS 256

typedef struct options {
    const char *path, *cluster;
    bool json, search, help;
    int64_t n_ranks, n_nodes, document; // 0: not given
    const char *overrides[MAX_ARGUMENTS];
    int n_overrides;
} options;

static axl_status parse_count(const char *name, const char *text, int64_t *out)
{
    axl_status status = AXL_OK;
    char *end = NULL;
    const long n = text == NULL ? 0 : strtol(text, &end, 10);

    AXL_REQUIRE(n >= 1 && n <= AXL_MAX_RANKS && *end == '\0', AXL_E_CONFIG,
                "%s: a number from 1 to %d was expected here, not %s", name, AXL_MAX_RANKS,
                text == NULL ? "nothing" : text);
    *out = n;
out:
    return status;
}

// Takes "--name value" or "--name=value" at argv[*i]; *value is NULL when it is another argument.
static bool takes(const char *name, int argc, char **argv, int *i, const char **value)
{
    const size_t n = strlen(name);

    if (strcmp(argv[*i], name) == 0) {
        *value = *i + 1 < argc ? argv[*i + 1] : NULL;
        (*i)++;
        return true;
    }
    if (strncmp(argv[*i], name, n) == 0 && argv[*i][n] == '=') {
        *value = argv[*i] + n + 1;
        return true;
    }
    return false;
}

static axl_status parse_arguments(int argc, char **argv, options *o)
{
    axl_status status = AXL_OK;
    const char *value = NULL;

    AXL_REQUIRE(argc <= MAX_ARGUMENTS, AXL_E_CONFIG, "more than %d arguments", MAX_ARGUMENTS);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            o->json = true;
        else if (strcmp(argv[i], "--search") == 0)
            o->search = true;
        else if (strcmp(argv[i], "--help") == 0)
            o->help = true;
        else if (takes("--ranks", argc, argv, &i, &value))
            AXL_TRY(parse_count("--ranks", value, &o->n_ranks));
        else if (takes("--nodes", argc, argv, &i, &value))
            AXL_TRY(parse_count("--nodes", value, &o->n_nodes));
        else if (takes("--document-tokens", argc, argv, &i, &value))
            AXL_TRY(parse_count("--document-tokens", value, &o->document));
        else if (takes("--cluster", argc, argv, &i, &o->cluster))
            AXL_REQUIRE(o->cluster != NULL, AXL_E_CONFIG, "--cluster: a name or a file is missing");
        else if (o->path == NULL && argv[i][0] != '-')
            o->path = argv[i];
        else
            o->overrides[o->n_overrides++] = argv[i];
    }
    if (o->help)
        goto out;
    AXL_REQUIRE(o->path != NULL, AXL_E_CONFIG,
                "no configuration file given; see axl-dist plan --help");
    AXL_REQUIRE(o->n_ranks > 0, AXL_E_CONFIG,
                "--ranks is missing: for how many ranks shall be planned?");
    AXL_REQUIRE(o->n_nodes == 0 || o->n_ranks % o->n_nodes == 0, AXL_E_CONFIG,
                "--nodes: %lld nodes cannot share %lld ranks evenly", (long long)o->n_nodes,
                (long long)o->n_ranks);
out:
    return status;
}

// The file's findings; errors are the result of the command.
static axl_status load(const options *o, bool gpus, axl_config **out)
{
    axl_status status = AXL_OK;
    axl_diagnostics findings = {0};
    axl_str text = {0};
    const axl_config_options machine = {.overrides = o->overrides,
                                        .n_overrides = o->n_overrides,
                                        .has_bf16 = true,
                                        .has_cuda = gpus,
                                        .n_ranks = (int)o->n_ranks,
                                        .elsewhere = true};

    status = axl_config_load(o->path, &machine, &findings, out);
    if (status == AXL_OK && axl_diagnostics_text(&findings, AXL_WARNING, &text) == AXL_OK &&
        text.len > 0)
        (void)fputs(text.data, stderr);
    axl_str_fini(&text);
    axl_diagnostics_fini(&findings);
    return status;
}

static bool is_gguf(const char *path)
{
    const size_t n = strlen(path);

    return n > 5 && strcmp(path + n - 5, ".gguf") == 0;
}

// The rows of the embedding and the longest position of the run, as the trainer has them. Without a tokenizer the
// rows are those of config.json.
static axl_status apply_vocabulary(const axl_config *c, const char *dir, axl_arch *arch)
{
    axl_status status = AXL_OK;
    axl_vocabulary v = {0};
    axl_tokenizer *tokenizer = NULL;

    if (!axl_vocabulary_has_tokenizer(c, dir)) {
        if (axl_vocabulary_changes(c) != NULL)
            (void)fprintf(stderr,
                          "note: %s: there is no tokenizer in %s, so the %lld rows of config.json "
                          "are planned; put tokenizer.json beside it to count the new tokens\n",
                          axl_vocabulary_changes(c), dir, (long long)arch->vocab);
        goto out;
    }
    AXL_TRY(axl_vocabulary_load(c, dir, false, &v, &tokenizer));
    arch->vocab = v.rows > 0 ? v.rows : arch->vocab;
    arch->max_position = v.max_position > arch->max_position ? v.max_position : arch->max_position;
out:
    axl_tokenizer_destroy(tokenizer);
    axl_vocabulary_fini(&v);
    return status;
}

static axl_status read_dir(const axl_config *c, const char *dir, axl_arch *out)
{
    axl_status status = AXL_OK;
    axl_arch arch = {0};

    AXL_TRY(axl_arch_read(dir, &arch));
    AXL_TRY(apply_vocabulary(c, dir, &arch));
    *out = arch;
    arch = (axl_arch){0}; // handed to the caller
out:
    axl_arch_fini(&arch);
    return status;
}

// A GGUF file is read by its head, through a folder that is gone afterwards.
static axl_status read_gguf(const axl_config *c, axl_arch *out)
{
    axl_status status = AXL_OK;
    const char *root = getenv("TMPDIR");
    axl_str dir = {0};
    bool made = false;

    AXL_TRY(
        axl_str_printf(&dir, "%s/axl-plan-XXXXXX", root != NULL && *root != '\0' ? root : "/tmp"));
    made = mkdtemp(dir.data) != NULL;
    AXL_REQUIRE(made, AXL_E_IO, "%s: cannot be made: %s; TMPDIR names the folder for it", dir.data,
                strerror(errno));
    AXL_TRY(axl_gguf_write_head(c->base_model, dir.data));
    AXL_TRY(read_dir(c, dir.data, out));
out:
    if (made)
        (void)axl_path_remove(dir.data);
    axl_str_fini(&dir);
    return status;
}

static axl_status read_arch(const axl_config *c, axl_arch *out)
{
    axl_status status = AXL_OK;
    const char *path = c->base_model;
    axl_str place = {0}, hint = {0};

    if (is_gguf(path)) {
        AXL_TRY(read_gguf(c, out));
        goto out;
    }
    if (!axl_path_is_dir(path)) {
        AXL_TRY(axl_config_where(c, "base_model", &place));
        if (axl_path_is_hub_name(path))
            AXL_TRY(
                axl_str_printf(&hint, ": hf download %s config.json --local-dir %s", path, path));
        AXL_FAIL(AXL_E_INPUT,
                 "%s: base_model %s is not a folder; put the model's config.json into one (weights "
                 "are not needed%s) and give its path",
                 place.data, path, hint.len > 0 ? hint.data : "");
    }
    AXL_TRY(read_dir(c, path, out));
out:
    axl_str_fini(&place);
    axl_str_fini(&hint);
    return status;
}

static int64_t row_docs(bool packing, bool sequential, int64_t bin_size)
{
    return packing && !sequential ? bin_size : 0;
}

// Data that fill their rows: what the loader would size its batches for.
static axl_forecast_data data_of(const axl_config *c, int64_t document)
{
    const bool evaluates = c->test_datasets.n > 0 || c->val_set_size > 0.0;
    const int64_t eval_len =
        c->test_datasets.n > 0 && c->set.eval_sequence_len ? c->eval_sequence_len : c->sequence_len;
    axl_forecast_data d = {.sequence_len = c->sequence_len,
                           .micro_batch_size = c->micro_batch_size,
                           .accumulation = c->gradient_accumulation_steps,
                           .packing = c->sample_packing,
                           .real_batches = c->multipack_real_batches,
                           .row_docs = row_docs(c->sample_packing, c->sample_packing_sequentially,
                                                c->sample_packing_bin_size),
                           .document_len = document > 0 ? document : c->sequence_len};

    if (!evaluates)
        return d;
    const axl_forecast_data e = {.sequence_len = eval_len,
                                 .micro_batch_size = c->eval_batch_size,
                                 .packing = c->eval_sample_packing,
                                 .real_batches = c->multipack_real_batches,
                                 .row_docs = row_docs(c->eval_sample_packing,
                                                      c->sample_packing_sequentially,
                                                      c->sample_packing_bin_size)};
    axl_forecast_job job = {.mesh = {1, 1, 1, 1, 1}};
    axl_forecast_fill(&e, &job);
    d.eval_tokens = job.work.whole_tokens;
    d.eval_docs = job.work.n_seqs;
    return d;
}

// Where the run will be, when nobody says it: on processors when the file asks for them, on GPUs as those of this
// machine, else on the commonest. *why: said to the reader.
static axl_status choose_cluster(const axl_config *c, const char **name, const char **why)
{
    axl_status status = AXL_OK;
    const axl_chip *chip = NULL;
    axl_str gpus = {0};

    if (strcmp(c->device, "cpu") == 0) {
        *name = "cpu";
        *why = "device: cpu asks for processors; --cluster names others";
        goto out;
    }
    if (axl_kernels_take_gpu()) {
        AXL_TRY(axl_kernels_accelerators(&gpus));
        chip = axl_chip_find(gpus.data);
    }
    if (chip != NULL && chip->cluster != NULL) {
        *name = chip->cluster;
        *why = "the GPUs of this machine; --cluster names others";
        goto out;
    }
    *name = "h100";
    *why = axl_kernels_take_gpu()
               ? "assumed, no cluster is ready-made for the GPUs of this machine; --cluster names "
                 "others"
               : "assumed, for this machine has no GPU; --cluster h200, a100, a file, or cpu for "
                 "processors";
out:
    axl_str_fini(&gpus);
    return status;
}

static void warn_of_device(const options *o, const axl_config *c, const axl_cluster *cluster)
{
    const bool cpu = strcmp(c->device, "cpu") == 0, gpu = strcmp(c->device, "cuda") == 0;

    if ((cpu && !cluster->is_host) || (gpu && cluster->is_host))
        (void)fprintf(stderr, "note: %s says device: %s, but %s has %s; planned for %s\n", o->path,
                      c->device, cluster->name, cluster->is_host ? "processors" : "GPUs",
                      cluster->name);
}

static axl_status make(const options *o, const axl_config *c, axl_plan_report *r)
{
    axl_status status = AXL_OK;
    const axl_mesh_sizes *m = &c->derived.mesh;
    const int mesh[AXL_N_AXES] = {m->dp_replicate, m->dp_shard, m->ep, m->cp, m->tp};
    axl_arch arch = {0};
    const char *cluster = NULL;

    if (o->cluster == NULL) {
        AXL_TRY(choose_cluster(c, &cluster, &r->why_cluster));
        AXL_TRY(axl_cluster_read(cluster, &r->cluster));
    }
    warn_of_device(o, c, &r->cluster);
    if (o->n_nodes > 0)
        r->cluster.node_ranks = (double)(o->n_ranks / o->n_nodes);
    r->n_ranks = o->n_ranks;
    r->n_nodes = (o->n_ranks + (int64_t)r->cluster.node_ranks - 1) / (int64_t)r->cluster.node_ranks;
    AXL_TRY(read_arch(c, &arch));
    AXL_TRY(axl_settings_check(c, &arch, m->cp, m->tp));
    AXL_TRY(axl_settings_attention(c, m->cp, &arch));
    r->family = arch.family;
    r->data = data_of(c, o->document);
    r->job = (axl_forecast_job){.rank = -1,
                                .sharder = axl_settings_sharder(c, true),
                                .work = axl_settings_work(c, true),
                                .tf32 = strcmp(c->tf32, "false") != 0};
    memcpy(r->job.mesh, mesh, sizeof mesh);
    if (r->cluster.is_host) {
        r->job.work.offload = AXL_OFFLOAD_NONE;
        r->job.sharder.offload = false;
    }
    axl_forecast_fill(&r->data, &r->job);
    AXL_REQUIRE(r->job.work.whole_tokens <= INT32_MAX, AXL_E_CONFIG,
                "a micro-batch may have %lld tokens, more than 2^31 - 1; lower sequence_len or "
                "micro_batch_size",
                (long long)r->job.work.whole_tokens);
    AXL_TRY(axl_forecast_make(&arch, &r->cluster, &r->job, &r->forecast));
    r->searched = o->search;
    AXL_TRY(axl_search_run(&arch, &r->cluster, &r->data, &r->job, &r->search));
out:
    axl_arch_fini(&arch);
    return status;
}

int axl_cmd_plan(int argc, char **argv)
{
    axl_status status = AXL_OK;
    options o = {0};
    axl_config *config = NULL;
    axl_plan_report report = {0};
    axl_str text = {0};

    AXL_TRY(parse_arguments(argc, argv, &o));
    if (o.help) {
        (void)fputs(usage, stdout);
        goto out;
    }
    if (o.cluster != NULL)
        AXL_TRY(axl_cluster_read(o.cluster, &report.cluster));
    AXL_TRY(load(&o, !report.cluster.is_host,
                 &config)); // device: auto means GPUs unless the cluster has none
    AXL_TRY(make(&o, config, &report));
    AXL_TRY(o.json ? axl_plan_json(&report, &text) : axl_plan_text(&report, &text));
    AXL_TRY(axl_print(&text));
out:
    if (status != AXL_OK)
        (void)fprintf(stderr, "axl-dist plan: %s\n", axl_error_message());
    axl_str_fini(&text);
    axl_config_destroy(config);
    return axl_status_exit_code(status);
}
