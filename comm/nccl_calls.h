// What comm/ calls of NCCL, as one table of functions: found in the library when the program runs (nccl_load.c), or given by a
// test that looks at every argument (tests/cuda_emu).
//
// Names and values are the library's, without its prefixes; they are part of its binary interface. nccl_check.c compares
// them with the library's header when the build finds one.
#ifndef AXL_COMM_NCCL_CALLS_H
#define AXL_COMM_NCCL_CALLS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { AXL_NCCL_OLDEST = 21800, AXL_NCCL_SHARES_GPUS = 23000 }; // versions: split; ranks on one GPU
enum { AXL_NCCL_OK = 0, AXL_NCCL_IN_PROGRESS = 7 };             // ncclResult_t
enum { AXL_NCCL_UINT8 = 1 };                                    // ncclDataType_t
enum { AXL_NCCL_NO_COLOR = -1 };

typedef struct ncclComm *axl_nccl_handle;        // a communicator
typedef struct CUstream_st *axl_nccl_stream;     // CUDA's
typedef unsigned axl_nccl_result, axl_nccl_type; // enums of the library

struct axl_nccl_id_ {
    char bytes[128];
};

// The fields of 2.18; a library of any later version takes them by size and version.
struct axl_nccl_config_ {
    size_t size;
    unsigned magic, version;
    int blocking, cluster_size, min_ctas, max_ctas;
    const char *net_name;
    int split_share;
};
#define AXL_NCCL_UNSET INT_MIN
#define AXL_NCCL_CONFIG                                                                            \
    {                                                                                              \
        sizeof(struct axl_nccl_config_), 0xcafebeef, 21800, AXL_NCCL_UNSET, AXL_NCCL_UNSET,        \
            AXL_NCCL_UNSET, AXL_NCCL_UNSET, NULL, AXL_NCCL_UNSET                                   \
    }

#ifndef AXL_NCCL_REAL_TYPES // nccl_check.c has the library's own
typedef struct axl_nccl_id_ axl_nccl_id;
typedef struct axl_nccl_config_ axl_nccl_config;
#endif

// X(field, function of the library, result, arguments). The last list may be missing.
#define AXL_NCCL_CALLS(X)                                                                          \
    X(get_version, ncclGetVersion, axl_nccl_result, (int *version))                                \
    X(get_id, ncclGetUniqueId, axl_nccl_result, (axl_nccl_id * id))                                \
    X(init, ncclCommInitRankConfig, axl_nccl_result,                                               \
      (axl_nccl_handle * c, int n_ranks, axl_nccl_id id, int rank, axl_nccl_config *config))       \
    X(split, ncclCommSplit, axl_nccl_result,                                                       \
      (axl_nccl_handle parent, int color, int key, axl_nccl_handle *c, axl_nccl_config *config))   \
    X(finalize, ncclCommFinalize, axl_nccl_result, (axl_nccl_handle c))                            \
    X(destroy, ncclCommDestroy, axl_nccl_result, (axl_nccl_handle c))                              \
    X(abort, ncclCommAbort, axl_nccl_result, (axl_nccl_handle c))                                  \
    X(state, ncclCommGetAsyncError, axl_nccl_result, (axl_nccl_handle c, axl_nccl_result * state)) \
    X(error_text, ncclGetErrorString, const char *, (axl_nccl_result r))                           \
    X(last_error, ncclGetLastError, const char *, (axl_nccl_handle c))                             \
    X(group_start, ncclGroupStart, axl_nccl_result, (void))                                        \
    X(group_end, ncclGroupEnd, axl_nccl_result, (void))                                            \
    X(all_gather, ncclAllGather, axl_nccl_result,                                                  \
      (const void *from, void *to, size_t n, axl_nccl_type type, axl_nccl_handle c,                \
       axl_nccl_stream s))                                                                         \
    X(broadcast, ncclBroadcast, axl_nccl_result,                                                   \
      (const void *from, void *to, size_t n, axl_nccl_type type, int root, axl_nccl_handle c,      \
       axl_nccl_stream s))                                                                         \
    X(send, ncclSend, axl_nccl_result,                                                             \
      (const void *from, size_t n, axl_nccl_type type, int to, axl_nccl_handle c,                  \
       axl_nccl_stream s))                                                                         \
    X(recv, ncclRecv, axl_nccl_result,                                                             \
      (void *to, size_t n, axl_nccl_type type, int from, axl_nccl_handle c, axl_nccl_stream s))
#define AXL_NCCL_CALLS_SINCE_219(X)                                                                \
    X(enrol, ncclCommRegister, axl_nccl_result,                                                    \
      (axl_nccl_handle c, void *memory, size_t bytes, void **handle))                              \
    X(release, ncclCommDeregister, axl_nccl_result, (axl_nccl_handle c, void *handle))             \
    X(mem_alloc, ncclMemAlloc, axl_nccl_result, (void **memory, size_t bytes))                     \
    X(mem_free, ncclMemFree, axl_nccl_result, (void *memory))

typedef struct axl_nccl_calls {
// NOLINTNEXTLINE(bugprone-macro-parentheses): result is a type
#define AXL_NCCL_FIELD(field, name, result, args) result(*field) args;
    AXL_NCCL_CALLS(AXL_NCCL_FIELD)
    AXL_NCCL_CALLS_SINCE_219(AXL_NCCL_FIELD) // NULL in an older library
#undef AXL_NCCL_FIELD
} axl_nccl_calls;

// The library's functions. false: it is not there or too old, and *why (borrowed) says so.
bool axl_nccl_load(axl_nccl_calls *out, const char **why);

#endif
