// A block as data: a unit's computation is a short straight-line program over named slots.
//
// A program is made once per kind of unit (builder.h) and shared by all layers of that kind. Every part of
// the system walks the same list: the plan finds lifetimes and memory in it, exec.c runs it forward, and its
// derivative is the same list walked in reverse. Each slot is written once.
#ifndef AXL_MODEL_PROGRAM_H
#define AXL_MODEL_PROGRAM_H

#include "kernels/attention_impl.h"
#include "sharding/param.h"

#include <stdbool.h>
#include <stdint.h>

#define AXL_MAX_INSNS   48
#define AXL_MAX_SLOTS   80
#define AXL_MAX_WEIGHTS 32
#define AXL_MAX_IN      6
#define AXL_MAX_OUT     4
#define AXL_MAX_W       4

typedef int16_t axl_slot; // index into the slots of a program; -1: none

// What the rows of a slot are.
typedef enum axl_rows {
    AXL_ROWS_TOKENS,
    AXL_ROWS_ROUTED, // token copies that experts of this rank take in one round: routed copies a token
    AXL_ROWS_ONE
} axl_rows;

// A scratch slot belongs to one instruction and lives while that runs.
typedef enum axl_scratch { AXL_NO_SCRATCH, AXL_SCRATCH_BACKWARD, AXL_SCRATCH_BOTH } axl_scratch;

typedef struct axl_slot_info {
    const char *name; // borrowed from the program's text
    int64_t cols;     // elements of a row
    axl_rows rows;
    int32_t routed, n_ranks; // ROUTED: copies of a token, and ranks that share the experts
    bool stat;               // statistics dtype instead of the activations'
    bool ints;               // int32, whatever the dtypes; stat is set too: it has no gradient
    bool e4m3;               // 8-bit floats, likewise
    axl_scratch scratch;
    int16_t producer; // index of the instruction that writes it; -1: the program's input
} axl_slot_info;

// Rows of a slot for n_tokens tokens.
int64_t axl_slot_rows(const axl_slot_info *s, int64_t n_tokens);

// The dtype of its elements where activations are dtype and statistics stat.
axl_dtype axl_slot_dtype(const axl_slot_info *s, axl_dtype dtype, axl_dtype stat);

typedef struct axl_weight {
    const char *name;   // key without the unit's prefix: "self_attn.q_proj.weight"
    int n_mats;         // above 1: a stack of experts, and the name has a %d; 0 counts as 1
    int64_t rows, cols; // of one matrix, whole; vectors: [rows, 1]
    int n_dims;         // as on disk
    axl_tp tp;
    int tp_parts; // most parts that tp may cut its rows into; 0: any
    bool decay;   // weight decay applies
    bool fp8;     // what compute reads are e4m3 with one scale
} axl_weight;

// The argument of an instruction; which member counts follows from the op.
typedef union axl_op_arg {
    struct {
        axl_norm_kind kind;
        float eps;
        int64_t cols; // of one normalised row; the slot holds cols_of_slot / cols rows a token
    } norm;
    struct {
        int64_t in, out; // of this rank's part
        bool partial;    // the product is a part of a sum over tp
        bool fp8;        // of e4m3: in[1], in[2] are what AXL_OP_CAST_FP8 made of in[0]
    } linear;
    struct {
        int rope; // index of the rotation tables
        int32_t n_heads, head_dim, half;
        axl_rope_pairing pairing;
    } rope;
    struct {
        int32_t n_heads, n_kv_heads, head_dim, v_head_dim, window;
        float scale, softcap;
        axl_attn_numerics numerics;
        bool library; // axl_attn_args' library
        axl_mask mask;
        int64_t ld_probs; // EAGER: of a row of out[2]
    } attention;
    struct {
        axl_act act;
    } glu;
    struct {
        int32_t n_experts, top_k;
        int64_t hidden, width; // of an expert; width: this tp rank's part
        axl_act act;
        bool renormalize;
        bool partial; // the outputs are parts of a sum over tp
    } moe;
    struct {
        float scale;
        bool partial; // words of other tp ranks come out as zeros, and are summed
    } embed;
} axl_op_arg;

typedef struct axl_insn {
    uint16_t op;             // index into axl_ops[]
    axl_slot in[AXL_MAX_IN]; // -1: none
    axl_slot out[AXL_MAX_OUT];
    axl_slot scratch;     // the first of its scratch slots, which follow each other; -1: none
    int16_t w[AXL_MAX_W]; // weights of the program; -1: none
    axl_op_arg arg;
    const char *name; // "self_attn.q_proj": traces, errors
} axl_insn;

typedef struct axl_program {
    const char *name;
    axl_insn insns[AXL_MAX_INSNS];
    int n_insns;
    axl_slot_info slots[AXL_MAX_SLOTS];
    int n_slots;
    axl_weight weights[AXL_MAX_WEIGHTS];
    int n_weights;
    axl_slot in, out; // the carry between units: the residual stream; in is -1 for the embedding
    char text[4096];  // owns the names
    size_t text_used;
} axl_program;

#endif
