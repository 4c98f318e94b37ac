// What this backend calls of cuDNN, as one table of functions: found in the library when the program runs
// (cudnn_load.c), or given by a test that looks at every argument (tests/cuda_emu).
//
// Names and values are the library's, without its prefixes; they are part of its binary interface and the same in
// all of 9. cudnn_check.c compares them with the library's header. The graph interface has one kind of object, the
// descriptor: made of a kind, given attributes (name, type, count, values), and finalised.
#ifndef AXL_KERNELS_CUDA_CUDNN_H
#define AXL_KERNELS_CUDA_CUDNN_H

#include <cuda_runtime.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { AXL_DNN_OK = 0, AXL_DNN_NOT_SUPPORTED = 3000, AXL_DNN_INTERNAL = 4000 }; // cudnnStatus_t
enum {                                                                          // cudnnDataType_t
    AXL_DNN_FLOAT = 0,
    AXL_DNN_INT32 = 4,
    AXL_DNN_BFLOAT16 = 9,
    AXL_DNN_BOOLEAN = 11
};
enum { // cudnnPointwiseMode_t
    AXL_DNN_PW_ADD = 0,
    AXL_DNN_PW_MUL = 1,
    AXL_DNN_PW_DIV = 6,
    AXL_DNN_PW_SUB = 9,
    AXL_DNN_PW_EXP = 13,
    AXL_DNN_PW_LOG = 15,
    AXL_DNN_PW_CMP_GT = 302,
    AXL_DNN_PW_CMP_GE = 303,
    AXL_DNN_PW_CMP_LT = 304,
    AXL_DNN_PW_LOGICAL_AND = 400,
    AXL_DNN_PW_GEN_INDEX = 501,
    AXL_DNN_PW_BINARY_SELECT = 601
};
enum { AXL_DNN_REDUCE_ADD = 0, AXL_DNN_REDUCE_MAX = 3 }; // cudnnReduceTensorOp_t
enum { AXL_DNN_HEUR_MODE_A = 3 };                        // cudnnBackendHeurMode_t
enum { AXL_DNN_NOTE_NONDETERMINISTIC = 4 };              // cudnnBackendNumericalNote_t
enum {                                                   // cudnnBackendKnobType_t
    AXL_DNN_KNOB_STAGES = 14,
    AXL_DNN_KNOB_KERNEL_CFG = 24,
    AXL_DNN_KNOB_TILE_CGA_M = 27,
    AXL_DNN_KNOB_STREAM_K = 38,
    AXL_DNN_KNOB_TILE_M = 40,
    AXL_DNN_KNOB_TILE_N = 41
};
enum { // cudnnBackendDescriptorType_t
    AXL_DNN_POINTWISE = 0,
    AXL_DNN_ENGINE = 2,
    AXL_DNN_ENGINECFG = 3,
    AXL_DNN_ENGINEHEUR = 4,
    AXL_DNN_PLAN = 5,
    AXL_DNN_KNOB_CHOICE = 7,
    AXL_DNN_OP_POINTWISE = 13,
    AXL_DNN_GRAPH = 15,
    AXL_DNN_VARIANT_PACK = 16,
    AXL_DNN_TENSOR = 17,
    AXL_DNN_MATMUL = 18,
    AXL_DNN_OP_MATMUL = 19,
    AXL_DNN_REDUCTION = 21,
    AXL_DNN_OP_REDUCTION = 22,
    AXL_DNN_OP_RESHAPE = 31,
    AXL_DNN_DEVICEPROP = 38
};
enum { // cudnnBackendAttributeType_t
    AXL_DNN_TYPE_HANDLE = 0,
    AXL_DNN_TYPE_DATA_TYPE = 1,
    AXL_DNN_TYPE_BOOLEAN = 2,
    AXL_DNN_TYPE_INT64 = 3,
    AXL_DNN_TYPE_VOID_PTR = 6,
    AXL_DNN_TYPE_HEUR_MODE = 8,
    AXL_DNN_TYPE_KNOB_TYPE = 9,
    AXL_DNN_TYPE_NUMERICAL_NOTE = 11,
    AXL_DNN_TYPE_POINTWISE_MODE = 14,
    AXL_DNN_TYPE_DESCRIPTOR = 15,
    AXL_DNN_TYPE_REDUCTION = 18,
    AXL_DNN_TYPE_CHAR = 24
};
enum { // cudnnBackendAttributeName_t
    AXL_DNN_PW_MODE = 0,
    AXL_DNN_PW_MATH_PREC = 1,
    AXL_DNN_PW_AXIS = 9,
    AXL_DNN_HEUR_MODE = 200,
    AXL_DNN_HEUR_GRAPH = 201,
    AXL_DNN_HEUR_RESULTS = 202,
    AXL_DNN_HEUR_DEVICEPROP = 204,
    AXL_DNN_CFG_ENGINE = 300,
    AXL_DNN_CFG_KNOBS = 302,
    AXL_DNN_PLAN_HANDLE = 400,
    AXL_DNN_PLAN_CONFIG = 401,
    AXL_DNN_PLAN_WORKSPACE = 402,
    AXL_DNN_PLAN_DEVICEPROP = 407,
    AXL_DNN_CHOICE_KNOB = 600,
    AXL_DNN_CHOICE_VALUE = 601,
    AXL_DNN_OPPW_DESC = 750,
    AXL_DNN_OPPW_X = 751,
    AXL_DNN_OPPW_B = 752,
    AXL_DNN_OPPW_Y = 753,
    AXL_DNN_OPPW_T = 758,
    AXL_DNN_GRAPH_HANDLE = 800,
    AXL_DNN_GRAPH_OPS = 801,
    AXL_DNN_TENSOR_ALIGNMENT = 900,
    AXL_DNN_TENSOR_TYPE = 901,
    AXL_DNN_TENSOR_DIMS = 902,
    AXL_DNN_TENSOR_STRIDES = 903,
    AXL_DNN_TENSOR_UID = 906,
    AXL_DNN_TENSOR_VIRTUAL = 907,
    AXL_DNN_TENSOR_BY_VALUE = 908,
    AXL_DNN_TENSOR_RAGGED = 913,
    AXL_DNN_PACK_UIDS = 1000,
    AXL_DNN_PACK_POINTERS = 1001,
    AXL_DNN_PACK_WORKSPACE = 1003,
    AXL_DNN_ENGINE_GRAPH = 1300,
    AXL_DNN_ENGINE_INDEX = 1301,
    AXL_DNN_ENGINE_NOTES = 1303,
    AXL_DNN_ENGINE_DEVICEPROP = 1307,
    AXL_DNN_MATMUL_TYPE = 1500,
    AXL_DNN_OPMM_A = 1520,
    AXL_DNN_OPMM_B = 1521,
    AXL_DNN_OPMM_C = 1522,
    AXL_DNN_OPMM_DESC = 1523,
    AXL_DNN_OPMM_M = 1525, // how many rows of A, columns of B, and summands count
    AXL_DNN_OPMM_N = 1526,
    AXL_DNN_OPMM_K = 1527,
    AXL_DNN_REDUCTION_OP = 1600,
    AXL_DNN_REDUCTION_TYPE = 1601,
    AXL_DNN_OPRED_X = 1610,
    AXL_DNN_OPRED_Y = 1611,
    AXL_DNN_OPRED_DESC = 1612,
    AXL_DNN_OPRESHAPE_X = 2200,
    AXL_DNN_OPRESHAPE_Y = 2201,
    AXL_DNN_PROP_JSON = 2702
};

// X(field, result, function of the library, arguments); an int result is a cudnnStatus_t.
#define AXL_DNN_CALLS(X)                                                                           \
    X(version, size_t, cudnnGetVersion, (void))                                                    \
    X(text, const char *, cudnnGetErrorString, (int status))                                       \
    X(create, int, cudnnCreate, (void **handle))                                                   \
    X(destroy, int, cudnnDestroy, (void *handle))                                                  \
    X(set_stream, int, cudnnSetStream, (void *handle, cudaStream_t stream))                        \
    X(desc_create, int, cudnnBackendCreateDescriptor, (int kind, void **out))                      \
    X(desc_destroy, int, cudnnBackendDestroyDescriptor, (void *desc))                              \
    X(desc_set, int, cudnnBackendSetAttribute,                                                     \
      (void *desc, int name, int type, int64_t n, const void *values))                             \
    X(desc_get, int, cudnnBackendGetAttribute,                                                     \
      (void *desc, int name, int type, int64_t most, int64_t *n, void *values))                    \
    X(finalize, int, cudnnBackendFinalize, (void *desc))                                           \
    X(execute, int, cudnnBackendExecute, (void *handle, void *plan, void *variant_pack))

typedef struct axl_dnn_calls {
#define AXL_DNN_FIELD(field, result, name, args) result(*field) args;
    AXL_DNN_CALLS(AXL_DNN_FIELD)
#undef AXL_DNN_FIELD
} axl_dnn_calls;

// The oldest cuDNN that is used, as its version function says it: 9.11. Before it, masks wanted another value than
// -inf, and 9.10 computed wrong gradients.
#define AXL_DNN_OLDEST 91100

// The library's functions. false: it is not there or too old, and *why (borrowed) says so.
bool axl_dnn_load(axl_dnn_calls *out, const char **why);

#endif
