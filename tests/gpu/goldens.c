// The tiny models of tests/data/families on a GPU against transformers: loss, every gradient, the parameters after
// AdamW steps. DATA is the folder that holds families/; without names all cases run.
#include "tests/families/trial.h"
#include "tests/gpu/isolate.h"
#include "tests/gpu/tool.h"

#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

#define MOST 64

static const char *backend = "cuda";
static axl_comm *world;

typedef struct goldens {
    const char *backend;
    char *names[MOST]; // borrowed
    int n;
} goldens;

static void agrees_with_transformers(void **state)
{
    const char *name = *state;
    trial t;

    trial_begin(&t, name, world, &(trial_options){.backend = backend});
    const double want = trial_meta(&t, "loss"), loss = trial_run(&t);
    if (!(fabs(loss - want) <= 1e-5 * want))
        fail_msg("%s: loss is %.8f, expected %.8f", name, loss, want);
    trial_check_gradients(&t);
    trial_check_steps(&t);
    trial_end(&t);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// The folders of families/ that have a golden; owned by the list.
static int list_cases(char *names[MOST])
{
    char path[600];
    int n = 0;
    const struct dirent *e;
    DIR *d = opendir("families");

    while (d != NULL && n < MOST && (e = readdir(d)) != NULL) {
        (void)snprintf(path, sizeof path, "families/%s/golden.json", e->d_name);
        if (access(path, R_OK) == 0)
            names[n++] = strdup(e->d_name);
    }
    if (d != NULL)
        (void)closedir(d);
    qsort(names, (size_t)n, sizeof *names, by_name);
    return n;
}

static void put_name(void *data, int i, const char **group, char *test, size_t bytes)
{
    const goldens *g = data;

    *group = g->names[i];
    (void)snprintf(test, bytes, "%s", g->backend);
}

static bool begin(void *data, int first)
{
    axl_device *d = NULL;

    (void)data;
    (void)first;
    if (axl_device_create(&(axl_device_options){.backend = backend}, &d) != AXL_OK) {
        (void)printf("skipped: %s\n", axl_error_message());
        return false;
    }
    axl_device_destroy(d);
    if (world == NULL && axl_comm_init(NULL, NULL, &world) != AXL_OK) {
        (void)printf("MPI: %s\n", axl_error_message());
        return false;
    }
    return true;
}

static gpu_verdict run(void *data, int i)
{
    char *name = ((goldens *)data)->names[i];

    return gpu_run_one(&(struct CMUnitTest){
        .name = name, .test_func = agrees_with_transformers, .initial_state = name});
}

// A device that works can be made and has memory.
static bool usable(void *data)
{
    axl_device *d = NULL;
    const bool works = axl_device_create(&(axl_device_options){.backend = backend}, &d) == AXL_OK;

    (void)data;
    axl_device_destroy(d);
    return works;
}

int gpu_goldens_main(int argc, char **argv)
{
    goldens g = {.backend = "cuda"};
    char *all[MOST];
    int first = 1;

    if (argc > 2 && strcmp(argv[1], "--backend") == 0) {
        backend = g.backend = argv[2];
        first = 3;
    }
    if (argc <= first || chdir(argv[first]) != 0) {
        (void)fputs("usage: gpu_tool goldens [--backend NAME] DATA [CASE...]\n", stderr);
        return 2;
    }
    const int n = list_cases(all);
    for (int i = 0; i < n; i++) {
        bool wanted = argc == first + 1;
        for (int k = first + 1; k < argc; k++)
            wanted = wanted || strcmp(argv[k], all[i]) == 0;
        if (wanted)
            g.names[g.n++] = all[i];
    }
    if (g.n == 0)
        (void)fprintf(stderr, "%s: no family's golden of that name\n", argv[first]);
    const int code = g.n == 0 ? 2
                              : gpu_isolate(&(gpu_tests){.what = "goldens",
                                                         .n = g.n,
                                                         .data = &g,
                                                         .name = put_name,
                                                         .begin = begin,
                                                         .run = run,
                                                         .usable = usable});
    for (int i = 0; i < n; i++)
        free(all[i]);
    return code;
}
