// What this backend calls of cuBLASLt, as one table of functions: found in the library when the program runs
// (cublaslt_load.c), or given by a test that looks at every argument (tests/cuda_emu).
//
// Names and values are the library's, without its prefixes; they are part of its binary interface and the same in 12
// and 13. cublaslt_check.c compares them with the toolkit's header.
#ifndef AXL_KERNELS_CUDA_CUBLASLT_H
#define AXL_KERNELS_CUDA_CUBLASLT_H

#include <cuda_runtime.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { AXL_LT_OK = 0 };                                               // cublasStatus_t
enum { AXL_LT_R_32F = 0, AXL_LT_R_16BF = 14, AXL_LT_R_8F_E4M3 = 28 }; // cudaDataType
enum { AXL_LT_COMPUTE_32F = 68, AXL_LT_COMPUTE_32F_FAST_TF32 = 77 };  // cublasComputeType_t
enum { AXL_LT_OP_N = 0, AXL_LT_OP_T = 1 };                            // cublasOperation_t
enum { AXL_LT_EPILOGUE_NONE = 1, AXL_LT_EPILOGUE_BIAS = 4 };          // cublasLtEpilogue_t
enum { // cublasLtMatmulDescAttributes_t
    AXL_LT_DESC_TRANSA = 3,
    AXL_LT_DESC_TRANSB = 4,
    AXL_LT_DESC_EPILOGUE = 7,
    AXL_LT_DESC_BIAS_POINTER = 8,
    AXL_LT_DESC_A_SCALE_POINTER = 17,
    AXL_LT_DESC_B_SCALE_POINTER = 18,
    AXL_LT_DESC_BIAS_DATA_TYPE = 26,
    AXL_LT_DESC_A_SCALE_MODE = 31, // from 12.8 on
    AXL_LT_DESC_B_SCALE_MODE = 32
};
enum {
    AXL_LT_SCALE_OUTER_VEC_32F = 3
};     // cublasLtMatmulMatrixScale_t: one a row of A, a column of B; from 12.9 on
enum { // cublasLtMatmulPreferenceAttributes_t
    AXL_LT_PREF_MAX_WORKSPACE_BYTES = 1,
    AXL_LT_PREF_REDUCTION_SCHEME_MASK = 3,
    AXL_LT_PREF_MIN_ALIGNMENT_A_BYTES = 5,
    AXL_LT_PREF_MIN_ALIGNMENT_B_BYTES = 6,
    AXL_LT_PREF_MIN_ALIGNMENT_C_BYTES = 7,
    AXL_LT_PREF_MIN_ALIGNMENT_D_BYTES = 8
};
enum { AXL_LT_REDUCTION_COMPUTE_TYPE = 2 }; // cublasLtReductionScheme_t

typedef struct axl_lt_algo {
    uint64_t data[8];
} axl_lt_algo;

typedef struct axl_lt_heuristic {
    axl_lt_algo algo;
    size_t workspace_bytes;
    int state; // AXL_LT_OK: the rest means something
    float waves;
    int reserved[4];
} axl_lt_heuristic;

typedef struct axl_lt_desc_ *axl_lt_desc;     // what to compute
typedef struct axl_lt_layout_ *axl_lt_layout; // a matrix, by columns
typedef struct axl_lt_pref_ *axl_lt_pref;

// X(field, function of the library, arguments); all return a cublasStatus_t.
#define AXL_LT_CALLS(X)                                                                            \
    X(create, cublasLtCreate, (void **handle))                                                     \
    X(destroy, cublasLtDestroy, (void *handle))                                                    \
    X(desc_create, cublasLtMatmulDescCreate, (axl_lt_desc * out, int compute, int scale_type))     \
    X(desc_destroy, cublasLtMatmulDescDestroy, (axl_lt_desc d))                                    \
    X(desc_set, cublasLtMatmulDescSetAttribute,                                                    \
      (axl_lt_desc d, int attribute, const void *value, size_t bytes))                             \
    X(layout_create, cublasLtMatrixLayoutCreate,                                                   \
      (axl_lt_layout * out, int type, uint64_t rows, uint64_t cols, int64_t ld))                   \
    X(layout_destroy, cublasLtMatrixLayoutDestroy, (axl_lt_layout l))                              \
    X(pref_create, cublasLtMatmulPreferenceCreate, (axl_lt_pref * out))                            \
    X(pref_destroy, cublasLtMatmulPreferenceDestroy, (axl_lt_pref p))                              \
    X(pref_set, cublasLtMatmulPreferenceSetAttribute,                                              \
      (axl_lt_pref p, int attribute, const void *value, size_t bytes))                             \
    X(find, cublasLtMatmulAlgoGetHeuristic,                                                        \
      (void *handle, axl_lt_desc d, axl_lt_layout a, axl_lt_layout b, axl_lt_layout c,             \
       axl_lt_layout out, axl_lt_pref p, int n_wanted, axl_lt_heuristic *found, int *n_found))     \
    X(matmul, cublasLtMatmul,                                                                      \
      (void *handle, axl_lt_desc d, const void *alpha, const void *a, axl_lt_layout a_layout,      \
       const void *b, axl_lt_layout b_layout, const void *beta, const void *c,                     \
       axl_lt_layout c_layout, void *out, axl_lt_layout out_layout, const axl_lt_algo *algo,       \
       void *workspace, size_t workspace_bytes, cudaStream_t stream))

typedef struct axl_lt_calls {
#define AXL_LT_FIELD(field, name, args) int(*field) args;
    AXL_LT_CALLS(AXL_LT_FIELD)
#undef AXL_LT_FIELD
} axl_lt_calls;

// The library's functions. false: it is not there, and *why (borrowed) says so.
bool axl_lt_load(axl_lt_calls *out, const char **why);

#endif
