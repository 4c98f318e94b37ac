// One program for all that is compiled for a GPU's tests: the kernels are most of its size, and a pack has to be small.
#include "tests/gpu/tool.h"

#include "kernels/kernels.h"

#include <stdio.h>
#include <string.h>

// The GPUs that there are, or why none: doctor's line, without its measurements.
static int device_main(int argc, char **argv)
{
    axl_str text = {0};
    const bool ok = axl_kernels_accelerators(&text) == AXL_OK && puts(text.data) >= 0;

    (void)argc;
    (void)argv;
    axl_str_fini(&text);
    return ok ? 0 : 1;
}

static const struct {
    const char *name;
    int (*main)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"bench", gpu_bench_main, "bench [--backend NAME] [--tokens N] [--serve] [NAME...]"},
    {"cases", gpu_cases_main, "cases [--alone] [--backend NAME] [LIST...]"},
    {"device", device_main, "device"},
    {"goldens", gpu_goldens_main, "goldens [--backend NAME] DATA [CASE...]"},
    {"inputs", gpu_inputs_main, "inputs model DIR [SEED] | inputs rows FILE IDS SEED LENGTH..."},
};
#define N_COMMANDS (sizeof commands / sizeof *commands)

int main(int argc, char **argv)
{
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (argc > 1 && strcmp(argv[1], commands[i].name) == 0)
            return commands[i].main(argc - 1, argv + 1);
    (void)fputs("usage: gpu_tool COMMAND ...\n", stderr);
    for (size_t i = 0; i < N_COMMANDS; i++)
        (void)fprintf(stderr, "  %s\n", commands[i].help);
    return 2;
}
