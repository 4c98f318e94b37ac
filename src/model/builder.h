// Emitting a program: one call a line of the model's definition; an instruction, its weight, the Hugging
// Face key and the tensor-parallel mark come from the same line.
//
// Errors (too many instructions, a width that does not fit) are remembered in the builder and returned by
// axl_builder_finish, so that a definition reads without checks.
//
// Sizes are given as of the whole model; under tensor parallelism the builder makes instructions and slots of
// this rank's part. All ranks of tp build the same program.
#ifndef AXL_MODEL_BUILDER_H
#define AXL_MODEL_BUILDER_H

#include "src/model/arch.h"
#include "src/model/program.h"

typedef struct axl_builder {
    axl_program *program; // borrowed, being filled
    axl_status status;    // the first failure
    int tp;               // ranks that split each matrix product
    int ep;               // ranks that share the experts of a mixture; 0 counts as 1
    bool fp8; // linear layers multiply in 8 bits, where inputs and outputs are multiples of 16
} axl_builder;

// Starts an empty program whose input carry has cols elements a token (0: no input, as the embedding).
void axl_builder_begin(axl_builder *b, axl_program *program, const char *name, int64_t cols,
                       int tp);
// The carry handed to the next unit. Returns the first failure of any call.
axl_status axl_builder_finish(axl_builder *b, axl_slot out);

axl_slot axl_b_input(axl_builder *b);                 // the program's input carry
int64_t axl_b_cols(const axl_builder *b, axl_slot s); // of this rank

// Stands before the column group that reads s: nothing forward; backward sums the gradient of s over tp.
void axl_b_tp_enter(axl_builder *b, axl_slot s);

// Token ids -> rows of weight "<name>.weight" [vocab, cols], times scale.
axl_slot axl_b_embed(axl_builder *b, const char *name, int64_t vocab, int64_t cols, float scale);
// x W^T (+ bias): weight "<name>.weight" [out, cols of x], bias "<name>.bias" [out]. COL: each tp rank makes some
// outputs; ROW: x holds some inputs, and the result is summed over tp.
typedef struct axl_linear_spec {
    int64_t out;
    bool bias;
    axl_tp tp;
    int tp_parts; // COL: at most so many parts (key heads); 0: any
} axl_linear_spec;
axl_slot axl_b_linear(axl_builder *b, axl_slot x, const char *name, const axl_linear_spec *spec);
// Normalises rows of cols elements (the slot's width, or head_dim) by weight "<name>.weight" [cols]. tp: NONE when
// x is the same on all tp ranks, PARTIAL when each has other rows (heads).
axl_slot axl_b_norm(axl_builder *b, axl_slot x, const char *name, const axl_norm *norm,
                    int64_t cols, axl_tp tp);
// Rotates every head of *q and *k by table `rope` of the run; the slots are replaced.
void axl_b_rope(axl_builder *b, axl_slot *q, axl_slot *k, const axl_arch *a, int rope);
// Causal attention over packed documents.
axl_slot axl_b_attention(axl_builder *b, axl_slot q, axl_slot k, axl_slot v, const axl_arch *a,
                         int32_t window);
axl_slot axl_b_add(axl_builder *b, axl_slot x, axl_slot y, const char *name);
// act(gate) * up.
axl_slot axl_b_glu(axl_builder *b, axl_slot gate, axl_slot up, axl_act act);
// The sum over a token's top_k experts of weight * expert(x), an expert being a gated mlp: a->moe says their number,
// width and names. Each rank of ep holds some experts; tp cuts each of them as it does an mlp.
axl_slot axl_b_moe(axl_builder *b, axl_slot x, const axl_arch *a);

// The three programs of a standard decoder (decoder.c).
axl_status axl_decoder_build_embedding(const axl_arch *a, int tp, axl_program *p);
axl_status axl_decoder_build_layer(const axl_arch *a, int tp, int ep, int layer, axl_program *p);
// The final norm; lm_head follows in head.c.
axl_status axl_decoder_build_head(const axl_arch *a, int tp, axl_program *p);
// Whether two layers run the same program.
bool axl_decoder_same_kind(const axl_arch *a, int layer_a, int layer_b);

#endif
