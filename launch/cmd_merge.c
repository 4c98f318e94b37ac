// axl-dist merge: an HDF5 checkpoint as a Hugging Face directory. Under mpirun the ranks share the work.
#include "launch/commands.h"

#include "comm/comm.h"
#include "sharding/ckpt.h"
#include "src/base/log.h"
#include "src/io/file.h"
#include "src/io/hfdir.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: axl-dist merge CHECKPOINT -o DIR [--dtype TYPE]\n"
    "\n"
    "Writes the weights of a step checkpoint as a Hugging Face directory, with the config.json "
    "and\n"
    "the tokenizer that are kept in it. CHECKPOINT is a folder checkpoint-N, or an output_dir, "
    "whose\n"
    "newest complete checkpoint is taken. Nothing is held in memory; any rank count reads any "
    "other.\n"
    "\n"
    "  -o, --output DIR   the directory to write; it must not hold a model yet\n"
    "  --dtype TYPE       float32, bfloat16 or float16; default: that of config.json\n"
    "\n"
    "example: axl-dist merge outputs/devil/checkpoint-50 -o models/devil\n";

typedef struct arguments {
    const char *path, *output;
    axl_ckpt_merge_options options;
    bool help;
} arguments;

static axl_status read_arguments(int argc, char **argv, arguments *a)
{
    axl_status status = AXL_OK;
    static const struct option known[] = {{"output", required_argument, NULL, 'o'},
                                          {"dtype", required_argument, NULL, 't'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    int c;

    *a = (arguments){0};
    optind = 0; // a command may run after main has used getopt
    opterr = 0;
    while ((c = getopt_long(argc, argv, "o:h", known, NULL)) != -1) {
        if (c == 'o')
            a->output = optarg;
        else if (c == 't')
            a->options.dtype = optarg;
        else if (c == 'h')
            a->help = true;
        else
            AXL_FAIL(AXL_E_CONFIG, "%s is not known or lacks its value; see --help",
                     argv[optind - 1]);
    }
    if (a->help)
        goto out;
    AXL_REQUIRE(argc - optind == 1 && a->output != NULL, AXL_E_CONFIG,
                "one checkpoint and -o DIR are needed; see --help");
    a->path = argv[optind];

out:
    return status;
}

// The checkpoint itself, or the newest one of an output_dir. *out is owned by the caller.
static axl_status find_checkpoint(const char *path, axl_str *out)
{
    axl_status status = AXL_OK;
    char *latest = NULL;
    axl_str index = {0};

    AXL_TRY(axl_str_printf(&index, "%s/index.h5", path));
    if (!axl_path_exists(index.data))
        AXL_TRY(axl_ckpt_latest(path, &latest));
    AXL_TRY(axl_str_puts(out, latest != NULL ? latest : path));

out:
    free(latest);
    axl_str_fini(&index);
    return status;
}

static axl_status run(axl_comm *world, const arguments *a)
{
    axl_status status = AXL_OK;
    axl_str path = {0};
    const double start = axl_now();

    AXL_TRY(axl_comm_agree(world, axl_hfdir_check_free(a->output)));
    AXL_TRY(axl_comm_agree(world, find_checkpoint(a->path, &path)));
    status = axl_ckpt_merge(world, path.data, a->output, &a->options);
    if (status != AXL_OK && axl_comm_rank(world) == 0)
        axl_hfdir_discard(a->output);
    AXL_TRY(status);
    if (axl_comm_rank(world) == 0)
        (void)printf("%s: merged into %s in %.1f s\n", path.data, a->output, axl_now() - start);

out:
    axl_str_fini(&path);
    return status;
}

int axl_cmd_merge(int argc, char **argv)
{
    axl_status status = AXL_OK;
    axl_comm *world = NULL;
    arguments a;

    AXL_TRY(read_arguments(argc, argv, &a));
    if (a.help) {
        (void)fputs(usage, stdout);
        goto out;
    }
    AXL_TRY(axl_comm_init(NULL, NULL, &world));
    axl_log_set_rank(axl_comm_rank(world), axl_comm_size(world));
    AXL_TRY(run(world, &a));

out:
    if (status != AXL_OK && (world == NULL || axl_comm_rank(world) == 0))
        (void)fprintf(stderr, "axl-dist merge: %s\n", axl_error_message());
    axl_comm_finalize(world);
    return axl_status_exit_code(status);
}
