// Runs tests of a GPU in a process beside this one. A kernel that reads where it must not, or never ends, takes its process's
// GPU with it: then that process is ended, the test has failed, and a new process goes on behind it. This process never
// calls CUDA.
//
// Tests come in groups, one behind the other; a group is a line of JSON on stdout when its last test is done:
//   {"name": ..., "outcome": "passed" | "failed" | "skipped", "tests": N, "failed": N, "seconds": S, "text": ...}
// What failing tests say stands before it, each line with the test's name in front.
#ifndef AXL_TESTS_GPU_ISOLATE_H
#define AXL_TESTS_GPU_ISOLATE_H

#include <stdbool.h>
#include <stddef.h>

typedef enum gpu_verdict { GPU_PASSED, GPU_FAILED, GPU_LEFT_OUT } gpu_verdict;

typedef struct gpu_tests {
    const char *what; // they are called, "cases"
    int n;
    double seconds; // most of a test; 0: what a GPU needs
    void *data;
    void (*name)(void *data, int i, const char **group, char *test, size_t bytes);
    // In the other process, before its first test. False, with a line on stdout, when there is nothing to run on.
    bool (*begin)(void *data, int first);
    gpu_verdict (*run)(void *data, int i); // what it prints is the text of a failure
    bool (*usable)(void *data);            // whether further tests may follow a failed one
    bool prints;                           // what passing tests print is wanted, too
} gpu_tests;

// 0; 1: a test failed; GPU_SKIPPED: begin said no at once.
int gpu_isolate(const gpu_tests *t);

// What cmocka says of a test that runs by itself, without the lines around it.
struct CMUnitTest;
gpu_verdict gpu_run_one(const struct CMUnitTest *test);

#endif
