// Operations of a model by themselves, as MFU counts them: what a step must do at least, whatever is run again, padded
// or cut up. One count for the forecast of a run and for the run's own `mfu`.
#ifndef AXL_PLAN_ARITHMETIC_H
#define AXL_PLAN_ARITHMETIC_H

#include "comm/comm.h"
#include "src/model/model.h"

typedef struct axl_arithmetic {
    int64_t n_params, n_active; // of the model; those that a token meets (experts)
    double
        weights; // FLOP of a token, forward and backward: 6 a parameter that it meets, the table of embeddings apart
    double
        attention; // the same of a (query, key) pair, all layers: every token with every one of its document
} axl_arithmetic;

axl_arithmetic axl_arithmetic_of(const axl_model *m);

// FLOP of so many tokens in documents whose lengths' squares add up to squares.
static inline double axl_arithmetic_flops(const axl_arithmetic *a, double n_tokens, double squares)
{
    return a->weights * n_tokens + a->attention * squares;
}

#define AXL_RATE_WIDTH 1024

// FLOP/s of a square product of this dtype on this rank while all ranks of world make one: AXL_RATE_WIDTH wide, or less
// where ranks are slow. m: three arrays of AXL_RATE_WIDTH^2 f32 of the device. Takes some two times `seconds` at
// most. Collective on world.
axl_status axl_products_rate(axl_device *d, axl_comm *world, void *const m[3], axl_dtype dtype,
                             double seconds, double *rate);

#endif
