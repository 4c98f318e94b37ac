// The tiny models of tests/data/families on a GPU against transformers: loss, every gradient, the parameters after
// AdamW steps. DATA is the folder that holds families/; without names all cases run.
#include "tests/families/trial.h"
#include "tests/gpu/tool.h"

#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

#define MOST 64

static const char *backend = "cuda";
static axl_comm *world;

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

int gpu_goldens_main(int argc, char **argv)
{
    struct CMUnitTest tests[MOST];
    char *names[MOST];
    int first = 1;
    axl_device *d = NULL;

    if (argc > 2 && strcmp(argv[1], "--backend") == 0) {
        backend = argv[2];
        first = 3;
    }
    if (argc <= first || chdir(argv[first]) != 0) {
        (void)fputs("usage: gpu_tool goldens [--backend NAME] DATA [CASE...]\n", stderr);
        return 2;
    }
    if (axl_device_create(&(axl_device_options){.backend = backend}, &d) != AXL_OK) {
        (void)printf("skipped: %s\n", axl_error_message());
        return GPU_SKIPPED;
    }
    axl_device_destroy(d);
    int n = list_cases(names), n_tests = 0;
    for (int i = 0; i < n; i++) {
        bool wanted = argc == first + 1;
        for (int k = first + 1; k < argc; k++)
            wanted = wanted || strcmp(argv[k], names[i]) == 0;
        if (wanted)
            tests[n_tests++] = (struct CMUnitTest){
                .name = names[i], .test_func = agrees_with_transformers, .initial_state = names[i]};
    }
    if (n_tests == 0) {
        (void)fprintf(stderr, "%s: no family's golden of that name\n", argv[first]);
        return 2;
    }
    CHECK_OK(axl_comm_init(NULL, NULL, &world));
    const int failed = _cmocka_run_group_tests("goldens", tests, (size_t)n_tests, NULL, NULL);
    axl_comm_finalize(world);
    for (int i = 0; i < n; i++)
        free(names[i]);
    return failed > 0;
}
