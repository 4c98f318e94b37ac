// Generating text with the trainer's own programs: a forward pass that remembers keys and values.
#ifndef AXL_GENERATE_GENERATE_H
#define AXL_GENERATE_GENERATE_H

#include "src/model/pass.h"

typedef struct axl_sampling {
    double temperature; // 0: greedy
    int64_t top_k;      // 0: all
    double top_p;       // 1: all
    uint64_t seed;
} axl_sampling;

// One token from logits [vocab] (changed): greedy takes the first of the largest; else softmax at the temperature,
// cut to the top_k largest, then to the smallest set whose probability reaches top_p, and drawn by Philox
// (seed, index). scratch [vocab] int32. Local; cannot fail.
int32_t axl_sample(const axl_sampling *s, float *logits, int64_t vocab, uint64_t index,
                   int32_t *scratch);

typedef struct axl_generator {
    axl_model *model;     // borrowed
    axl_sharder *sharder; // borrowed
    axl_work work;
    axl_kv_cache kv;
    int32_t *cu_seqlens_k; // [2] on the device: 0, keys held and new; owned
    int32_t *positions;    // [chunk], owned
    float *logits;         // [V], owned
    int32_t *scratch;      // [V], owned
    uint64_t n_drawn;
} axl_generator;

// Memory for capacity tokens of one sequence. AXL_E_MEMORY. For a model held by one rank.
axl_status axl_generator_init(axl_generator *g, axl_model *m, axl_sharder *s, axl_device *device,
                              axl_dtype dtype, int64_t capacity);
void axl_generator_fini(axl_generator *g);

// Forgets everything / reads n more tokens of the sequence. AXL_E_INPUT when the capacity is exceeded.
void axl_generator_reset(axl_generator *g);
axl_status axl_generator_read(axl_generator *g, const int32_t *ids, int64_t n);

// Draws the next token from what was read so far; it is not read yet.
axl_status axl_generator_next(axl_generator *g, const axl_sampling *s, int32_t *token);

#endif
