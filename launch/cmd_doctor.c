// axl-dist doctor: what this machine and this set of ranks can do, measured in seconds.
#include "launch/commands.h"
#include "launch/doctor.h"

#include "src/base/log.h"
#include "src/base/mem.h"
#include "src/io/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: axl-dist doctor [CONFIG.yaml] [--json] [--mesh RxNxExCxT] [--seconds S] [--key value "
    "...]\n"
    "\n"
    "In less than 10 seconds, alone or under mpirun: processors, memory, clocks and host names of "
    "all ranks,\n"
    "the rate of arithmetic and of memory, latency and bandwidth along each axis of the mesh, and "
    "what is\n"
    "wrong with them and how to mend it. Exit code 0, also with warnings; 1 when something cannot "
    "work.\n"
    "\n"
    "  CONFIG.yaml    its mesh is measured, and its output_dir must be seen by all ranks\n"
    "  --mesh         dp_replicate x dp_shard x ep x cp x tp instead, as 1x2x1x1x2\n"
    "  --key value    one axis: --dp_replicate_size, --dp_shard_size (what the others leave, when "
    "absent),\n"
    "                 --expert_parallel_size, --context_parallel_size, --tensor_parallel_size;\n"
    "                 with CONFIG.yaml any key, as for training\n"
    "  --seconds S    measuring ends S seconds after the start, 6 when absent\n"
    "  --json         one object instead of tables\n"
    "\n"
    "example: mpirun -np 4 axl-dist doctor --tensor_parallel_size 2\n";

#define MAX_ARGUMENTS 256

static const char *const size_keys[AXL_N_AXES] = {
    [AXL_DP_REPLICATE] = "--dp_replicate_size", [AXL_DP_SHARD] = "--dp_shard_size",
    [AXL_EP] = "--expert_parallel_size",        [AXL_CP] = "--context_parallel_size",
    [AXL_TP] = "--tensor_parallel_size",
};

typedef struct options {
    const char *mesh; // borrowed from argv
    double seconds;
    bool json, help;
    char *words[MAX_ARGUMENTS]; // the configuration, if given, then overrides
    int n_words;
    bool has_config;
} options;

// The value of option name at argv[*i], as "--name value" or "--name=value"; NULL when argv[*i] is another.
static const char *option_value(int argc, char **argv, int *i, const char *name)
{
    const size_t len = strlen(name);

    if (strncmp(argv[*i], name, len) != 0)
        return NULL;
    if (argv[*i][len] == '=')
        return argv[*i] + len + 1;
    if (argv[*i][len] != '\0')
        return NULL;
    return *i + 1 < argc ? argv[++*i] : "";
}

static axl_status parse_arguments(int argc, char **argv, options *o)
{
    axl_status status = AXL_OK;
    char **overrides = o->words + 1;
    const char *value = NULL;
    int n = 0;

    AXL_REQUIRE(argc < MAX_ARGUMENTS, AXL_E_CONFIG, "more than %d arguments", MAX_ARGUMENTS);
    o->seconds = AXL_DOCTOR_SECONDS;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            o->json = true;
        } else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            o->help = true;
        } else if ((value = option_value(argc, argv, &i, "--mesh")) != NULL) {
            o->mesh = value;
        } else if ((value = option_value(argc, argv, &i, "--seconds")) != NULL) {
            char *end = NULL;
            o->seconds = strtod(value, &end);
            AXL_REQUIRE(end != value && *end == '\0' && o->seconds >= 1.0 && o->seconds <= 600.0,
                        AXL_E_CONFIG, "--seconds %s: write a number from 1 to 600", value);
        } else if (argv[i][0] != '-' && !o->has_config) {
            o->words[0] = argv[i];
            o->has_config = true;
        } else {
            overrides[n++] = argv[i];
            if (strchr(argv[i], '=') == NULL && i + 1 < argc) // its value is no configuration
                overrides[n++] = argv[++i];
        }
    }
    o->n_words = n + 1;

out:
    return status;
}

static axl_status read_size(const char *text, const char *what, int *size)
{
    axl_status status = AXL_OK;
    char *end = NULL;
    long value = strtol(text, &end, 10);

    AXL_REQUIRE(end != text && *end == '\0' && value >= 1 && value <= 1000000, AXL_E_CONFIG,
                "%s: %s is no size of an axis; write a number from 1 to 1000000", what, text);
    *size = (int)value;

out:
    return status;
}

static axl_status read_mesh(const char *text, int size[AXL_N_AXES])
{
    axl_status status = AXL_OK;
    int n = 0;

    for (const char *at = text; n <= AXL_N_AXES;) {
        char word[16];
        const size_t len = strcspn(at, "x");
        (void)snprintf(word, sizeof word, "%.*s", (int)len, at);
        if (n < AXL_N_AXES)
            AXL_TRY(read_size(word, "--mesh", &size[n]));
        n++;
        if (at[len] == '\0')
            break;
        at += len + 1;
    }
    AXL_REQUIRE(
        n == AXL_N_AXES, AXL_E_CONFIG,
        "--mesh %s has not five sizes; write dp_replicate x dp_shard x ep x cp x tp as 1x4x1x1x2",
        text);

out:
    return status;
}

// "--tensor_parallel_size 2" or with '='.
static axl_status read_sizes(const options *o, int size[AXL_N_AXES])
{
    axl_status status = AXL_OK;

    for (int i = 1; i < o->n_words; i++) {
        const char *word = o->words[i];
        const size_t len = strcspn(word, "=");
        int axis = 0;
        while (axis < AXL_N_AXES &&
               (strlen(size_keys[axis]) != len || strncmp(size_keys[axis], word, len) != 0))
            axis++;
        if (axis == AXL_N_AXES) {
            const char *nearest = axl_nearest_name(word, size_keys, AXL_N_AXES);
            AXL_FAIL(AXL_E_CONFIG, "%s is not known without a configuration%s%s%s; see --help",
                     word, nearest != NULL ? "; did you mean " : "", nearest != NULL ? nearest : "",
                     nearest != NULL ? "?" : "");
        }
        const char *value = word[len] == '=' ? word + len + 1 : NULL;
        if (value == NULL && i + 1 < o->n_words)
            value = o->words[++i];
        AXL_REQUIRE(value != NULL, AXL_E_CONFIG, "%s needs a value", word);
        AXL_TRY(read_size(value, size_keys[axis], &size[axis]));
    }

out:
    return status;
}

// The sizes of the axes: --mesh, else the configuration's, else the options'.
static axl_status choose_mesh(const options *o, const axl_config *c, int n_ranks,
                              int size[AXL_N_AXES])
{
    axl_status status = AXL_OK;
    int64_t others = 1;

    for (int a = 0; a < AXL_N_AXES; a++)
        size[a] = a == AXL_DP_SHARD ? 0 : 1; // 0: what the others leave
    if (o->mesh != NULL) {
        AXL_TRY(read_mesh(o->mesh, size));
    } else if (c != NULL) { // which has checked the ranges of its keys
        const int64_t keys[AXL_N_AXES] = {c->dp_replicate_size, c->dp_shard_size,
                                          c->expert_parallel_size, c->context_parallel_size,
                                          c->tensor_parallel_size};
        for (int a = 0; a < AXL_N_AXES; a++)
            size[a] = (int)keys[a];
    } else {
        AXL_TRY(read_sizes(o, size));
    }
    if (size[AXL_DP_SHARD] > 0)
        goto out;
    for (int a = 0; a < AXL_N_AXES && others <= n_ranks; a++)
        others *= a == AXL_DP_SHARD ? 1 : size[a];
    AXL_REQUIRE(n_ranks % others == 0, AXL_E_CONFIG,
                "the sizes of the axes multiply to %lld, which does not divide %d rank%s",
                (long long)others, n_ranks, n_ranks == 1 ? "" : "s");
    size[AXL_DP_SHARD] = (int)(n_ranks / others);

out:
    return status;
}

static axl_status start(const options *o, axl_doctor *d)
{
    axl_status status = AXL_OK;
    int size[AXL_N_AXES];
    axl_device_options device = {0};

    if (o->has_config) {
        AXL_TRY(axl_bringup_start(&d->up, o->n_words, (char **)(uintptr_t)o->words));
    } else {
        AXL_TRY(axl_bringup_world(&d->up));
        device.n_threads = axl_bringup_threads(d->up.world);
        device.local_rank = axl_comm_local_rank(d->up.world);
        AXL_TRY(axl_comm_agree(d->up.world, axl_device_create(&device, &d->up.device)));
        AXL_TRY(axl_comm_use_device(d->up.world, d->up.device));
    }
    // every rank comes to the same, as arguments and configuration are the same
    AXL_TRY(choose_mesh(o, d->up.config, axl_comm_size(d->up.world), size));
    AXL_TRY(axl_mesh_create(d->up.world, size, &d->mesh));

out:
    return status;
}

// Clocks are compared between hosts: by one rank of each.
static axl_status compare_clocks(const axl_doctor *d, axl_doctor_rank *mine)
{
    axl_status status = AXL_OK;
    axl_comm *leaders = NULL;
    const int color = mine->local_rank == 0 ? 0 : -1;

    AXL_TRY(axl_comm_split(d->up.world, color, axl_comm_rank(d->up.world), "hosts", &leaders));
    if (leaders != NULL)
        AXL_TRY(axl_doctor_clock(leaders, &mine->clock_offset, &mine->clock_error));

out:
    axl_comm_destroy(leaders);
    return status;
}

static axl_status examine(axl_doctor *d, double seconds)
{
    axl_status status = AXL_OK;
    axl_comm *world = d->up.world;
    axl_doctor_rank mine;
    axl_str all = {0};

    axl_doctor_host(&d->up, &mine);
    AXL_TRY(axl_doctor_rates(&d->up, &mine));
    AXL_TRY(compare_clocks(d, &mine));
    if (d->up.config != NULL)
        AXL_TRY(axl_doctor_folder(d, &mine));
    // an eighth of what is free, over the ranks of this host
    AXL_TRY(axl_doctor_speeds(d, mine.memory_available / 8 / mine.local_size, seconds));
    AXL_TRY(axl_comm_gather_bytes(world, &mine, (int64_t)sizeof mine, &all, NULL));
    d->n_ranks = axl_comm_size(world);
    d->seconds = axl_now() - d->up.start;
    if (axl_comm_rank(world) == 0) {
        AXL_TRY(axl_calloc((size_t)d->n_ranks, sizeof *d->ranks, "the report", &d->ranks));
        memcpy(d->ranks, all.data, all.len);
        axl_doctor_judge(d);
    }

out:
    axl_str_fini(&all);
    return status;
}

static axl_status print_report(const axl_doctor *d, bool json)
{
    axl_status status = AXL_OK;
    axl_str text = {0};

    AXL_TRY(json ? axl_doctor_json(d, &text) : axl_doctor_text(d, &text));
    AXL_TRY(axl_print(&text));

out:
    axl_str_fini(&text);
    return status;
}

int axl_cmd_doctor(int argc, char **argv)
{
    axl_status status = AXL_OK;
    axl_doctor d = {0};
    options o = {0};
    int64_t n_errors = 0;

    const axl_status parsed = parse_arguments(argc, argv, &o);
    if (parsed != AXL_OK && axl_comm_init(NULL, NULL, &d.up.world) != AXL_OK)
        d.up.world = NULL; // else only rank 0 says what is wrong
    AXL_TRY(parsed);
    if (o.help) {
        (void)fputs(usage, stdout);
        goto out;
    }
    axl_log_set_terminal_level(AXL_LOG_WARN);
    AXL_TRY(start(&o, &d));
    AXL_TRY(examine(&d, o.seconds));
    if (axl_comm_rank(d.up.world) == 0)
        status = print_report(&d, o.json);
    AXL_TRY(axl_comm_agree(d.up.world, status));
    n_errors = (int64_t)d.findings.n_errors; // zero where no report was made
    AXL_TRY(axl_comm_all_reduce_i64(d.up.world, &n_errors, 1, AXL_REDUCE_MAX));

out:;
    const int code = axl_bringup_report(&d.up, "doctor", status);
    axl_mesh_destroy(d.mesh);
    axl_diagnostics_fini(&d.findings);
    free(d.ranks);
    axl_bringup_stop(&d.up);
    return code != 0 ? code : n_errors > 0 ? 1 : 0;
}
