// All that differs between model families, as plain fields.
//
// A family reads config.json into an axl_arch (families/*.c); everything after that - the builder, the
// plan, the loader - sees only this struct. Letters: D hidden, H heads, Hk key/value heads, Dh head_dim,
// F feed-forward width, V vocabulary, L layers.
#ifndef AXL_MODEL_ARCH_H
#define AXL_MODEL_ARCH_H

#include "kernels/attention_impl.h"
#include "src/io/json.h"

#define AXL_MAX_ROPES      2
#define AXL_MAX_ROPE_PAIRS 256 // half the largest head_dim

typedef enum axl_rope_type {
    AXL_ROPE_DEFAULT,
    AXL_ROPE_LINEAR,
    AXL_ROPE_DYNAMIC,
    AXL_ROPE_LLAMA3,
    AXL_ROPE_YARN
} axl_rope_type;

// Section 3 of the model facts: how rotation frequencies follow from the configuration.
typedef struct axl_rope {
    axl_rope_type type;
    axl_rope_pairing pairing;
    int rotary_dim; // r: rotated entries of a head
    double theta, factor;
    double low_freq_factor, high_freq_factor;        // llama3
    double beta_fast, beta_slow;                     // yarn
    double mscale, mscale_all_dim, attention_factor; // yarn; 0: not given
    bool truncate;                                   // yarn
    int64_t original_max_position;                   // llama3, yarn
    int64_t max_position;                            // dynamic
} axl_rope;

typedef enum axl_qk_norm { AXL_QK_NORM_NONE, AXL_QK_NORM_HEAD } axl_qk_norm;

// Keys of a mixture's weights without the layer's prefix; %d is the expert.
typedef struct axl_moe_names {
    const char *gate, *gate_proj, *up_proj, *down_proj;
} axl_moe_names;

// A mixture of experts: softmax of the router's logits, the top_k largest, each expert a gated mlp.
typedef struct axl_moe {
    int32_t n_experts, top_k;   // n_experts 0: the model has none
    int64_t width;              // of an expert
    bool renormalize;           // weights are divided by their sum
    double aux_coef;            // of the auxiliary loss; 0: none
    const axl_moe_names *names; // borrowed from the family's row
} axl_moe;

// What differs between the layers of one model.
typedef struct axl_layer {
    int32_t window; // sliding window; 0: none
    int rope;       // index into axl_arch.ropes; -1: no rotation
    bool sparse;    // a mixture of experts instead of one mlp
} axl_layer;

typedef struct axl_norm {
    axl_norm_kind kind;
    float eps;
} axl_norm;

// Which tokens of its document a token sees, beyond the windows of layers.
typedef enum axl_attn_rule {
    AXL_RULE_CAUSAL,
    AXL_RULE_DOCUMENT, // all
    AXL_RULE_PREFIX // those before it, and the prompt: all up to the first that is to be predicted
} axl_attn_rule;

// How attention is computed: a choice of the run, not of the model. Zeros: exact, causal.
typedef struct axl_attn_choice {
    axl_attn_numerics numerics;
    bool library; // axl_attn_args' library
    axl_attn_rule rule;
    int64_t max_keys; // EAGER: the longest document
} axl_attn_choice;

// Whether the ranks of a cp group can share a document.
static inline bool axl_attention_splits(const axl_attn_choice *a)
{
    return a->numerics != AXL_ATTN_EAGER && a->numerics != AXL_ATTN_SHIFTED &&
           a->rule == AXL_RULE_CAUSAL;
}

typedef struct axl_arch {
    const char *family; // model_type of config.json, borrowed from the family's row
    int64_t hidden, ffn, vocab;
    int64_t file_vocab; // rows of the vocabulary on disk; a run may have made vocab another number
    int32_t n_layers, n_heads, n_kv_heads, head_dim;
    int64_t max_position;
    axl_norm norm;
    axl_qk_norm qk_norm;
    axl_act act;
    bool q_bias, k_bias, v_bias, o_bias, mlp_bias;
    axl_moe moe;
    bool tied; // the head uses the embedding matrix
    float attention_scale, embed_scale;
    axl_attn_choice attention; // zeros when read
    bool fp8; // linear layers multiply in 8 bits (fp8.md): a choice of the run, false when read
    int n_ropes;
    axl_rope ropes[AXL_MAX_ROPES];
    axl_layer *layers;    // [n_layers], owned
    axl_dtype file_dtype; // dtype / torch_dtype of config.json: what the weights are saved as
    int32_t bos_id, eos_id[8], n_eos; // generation ends at any of eos_id; bos_id -1: none
} axl_arch;

// One row of the family table.
typedef struct axl_family {
    const char *model_type; // as in config.json
    // Reads what differs from the common keys, which are already in *arch. AXL_E_INPUT.
    axl_status (*read_config)(const axl_json *config, axl_arch *arch);
} axl_family;

// Reads <dir>/config.json. AXL_E_INPUT names the key; AXL_E_UNSUPPORTED an unknown family with the list
// of known ones. Release with axl_arch_fini.
axl_status axl_arch_read(const char *dir, axl_arch *arch);
axl_status axl_arch_from_json(const axl_json *config, const char *name, axl_arch *arch);
void axl_arch_fini(axl_arch *arch);

// The rotation frequencies [rotary_dim / 2] of a document of length tokens, and the factor on cos and sin.
// Only `dynamic` depends on the length. Formulas: as computed by transformers (f32 steps included).
void axl_rope_frequencies(const axl_rope *rope, int64_t length, float *inv_freq, float *factor);

#endif
