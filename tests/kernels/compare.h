// Runs cases of the kernels on devices and compares what they give. A difference fails the running test.
#ifndef AXL_TESTS_KERNELS_COMPARE_H
#define AXL_TESTS_KERNELS_COMPARE_H

#include "tests/check.h"
#include "tests/kernels/harness.h"

// NULL, with a message, when this machine has no such backend.
axl_device *kt_open_device(const char *backend, int n_threads);

const kt_head *kt_case_at(const kt_kernel *k, int i);

// Runs the case; a failing kernel fails the test.
void kt_run_case(kt_run *r, const kt_kernel *k, const kt_head *c, axl_device *d, axl_dtype dtype,
                 axl_dtype grid);

// Each output of b is that of a within its tolerance; what lies between the rows was not touched.
void kt_compare_runs(const kt_kernel *k, const kt_head *c, const kt_run *a, const kt_run *b);

// Runs the test cases of one kernel, or of all, on a in dtype_a, on others in dtype, and compares each with a. NULL
// devices are skipped.
void kt_compare_kernel(const kt_kernel *k, axl_device *a, axl_dtype dtype_a,
                       axl_device *const *others, int n_others, axl_dtype dtype);
void kt_compare_devices(axl_device *a, axl_dtype dtype_a, axl_device *const *others, int n_others,
                        axl_dtype dtype);

// Over the finite elements.
double kt_root_mean_square(const kt_buffer *b);

#endif
