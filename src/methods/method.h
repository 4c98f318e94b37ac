// Training methods: from per-token log-probabilities to a loss and its gradient.
//
// A method sees the batch and logp of the positions with a label, nothing of families, ranks or backends. Sums
// are divided once by one number for the whole global step (global_weight), so the loss does not depend on how
// the batch is cut.
#ifndef AXL_METHODS_METHOD_H
#define AXL_METHODS_METHOD_H

#include "src/base/status.h"
#include "src/data/batch.h"

typedef struct axl_loss_in {
    const axl_batch *batch;
    const int32_t *position; // [n] token of each scored row
    int64_t n;               // scored rows
    const double *logp;      // [n]; NULL when the gradient is asked for beforehand
    double global_weight;    // over all ranks and micro-steps
} axl_loss_in;

typedef struct axl_method {
    const char *name; // `rl:` in the YAML; "sft" when absent
    bool
        gradient_first; // the gradient does not depend on logp: one pass over the logits does it all
    // grad [n]: d loss / d logp. Local.
    void (*gradient)(const axl_loss_in *in, double *grad);
    // This micro-batch's part of the loss. Local.
    double (*loss)(const axl_loss_in *in);
} axl_method;

// The row of a name, or NULL.
const axl_method *axl_method_find(const char *name);

#endif
