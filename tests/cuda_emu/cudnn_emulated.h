// What the emulated cuDNN saw, and how it is to behave.
#ifndef AXL_CUDA_EMU_CUDNN_H
#define AXL_CUDA_EMU_CUDNN_H

#include "kernels/cuda/cudnn.h"

typedef struct dnn_counts {
    int64_t objects; // that live
    int64_t plans, executions;
    size_t version; // 0: 9.19
    bool absent;    // the library is not there
    bool refuse;    // no plan is supported
    bool fails;     // execution does
    int chip;       // compute capability * 10
} dnn_counts;

extern dnn_counts dnn_seen;

// A graph as the interpreter takes it (cudnn_interpreted.c) ---------------------------------------

typedef struct dnn_tensor {
    int64_t uid, dims[4], strides[4];
    int32_t type;
    bool is_virtual, by_value;
    int64_t ragged_uid;        // 0: none
    int64_t ragged_multiplier; // of the offsets
    float *v;                  // its values, by vs; NULL: not made yet
    int64_t vs[4];
    bool made;     // an operation makes it
    int32_t alias; // the tensor whose memory it shows, -1: none
    void *pointer; // of the variant pack
    float value;   // by value
} dnn_tensor;

typedef struct dnn_op {
    int kind; // AXL_DNN_OP_*
    int32_t mode, precision;
    int64_t axis;
    int32_t x, b, t, y; // tensors, -1: none; matmul: x b = y
    int32_t m, n, k;    // its overrides
} dnn_op;

enum { DNN_MOST_TENSORS = 128, DNN_MOST_OPS = 64 };

typedef struct dnn_graph {
    dnn_tensor tensors[DNN_MOST_TENSORS];
    dnn_op ops[DNN_MOST_OPS];
    int n_tensors, n_ops;
    void *workspace;
    int64_t workspace_bytes;
} dnn_graph;

void dnn_must(bool right, const char *what);
int dnn_find(const dnn_graph *g, int64_t uid); // a tensor; -1: none of that uid

// Computes the graph, operation by operation, from the tensors' pointers alone: late work of a stream, g is freed.
void dnn_interpret(void *g);

#endif
