// What the files of the GGUF import share. Not for use outside of src/io.
#ifndef AXL_IO_GGUF_PARTS_H
#define AXL_IO_GGUF_PARTS_H

#include "src/io/gguf.h"

typedef struct axl_gguf_arch {
    const char *name;       // general.architecture
    const char *model_type; // of config.json
    const char *class_name; // of config.json, "architectures"
    bool permuted;          // the converter interleaved the two halves of each head of q and k
} axl_gguf_arch;

typedef struct axl_gguf_rope {
    const char *type; // "linear", "yarn", "llama3"; NULL: no scaling
    double factor;
    int64_t original_context; // 0: not given
} axl_gguf_rope;

// The shape of the model, as the metadata tells it.
typedef struct axl_gguf_model {
    const axl_gguf_arch *arch;
    int64_t n_layers, context, width, hidden, n_heads, n_kv_heads, head_dim, vocab;
    double norm_eps, rope_theta, partial_rotary;
    bool tied, attention_bias;
    axl_gguf_rope rope;
} axl_gguf_model;

// Reads and checks the shape. AXL_E_UNSUPPORTED for an unknown architecture.
axl_status axl_gguf_read_model(const axl_gguf *g, axl_gguf_model *model);

// Writes config.json and generation_config.json into dir; dtype is what config.json names.
axl_status axl_gguf_write_config(const axl_gguf *g, const axl_gguf_model *model, axl_dtype dtype,
                                 const char *dir);

typedef struct axl_gguf_text {
    const char *text; // mapped, without terminator
    size_t n;         // bytes
} axl_gguf_text;

// Appends the merges of a sentencepiece vocabulary, one a line, as members of a JSON array. Such a
// vocabulary has scores in place of merges; its merges are all splits of a piece into two others.
//   tokens   [n]
//   types    tokenizer.ggml.token_type, or NULL: all are normal
//   scores   [n]; the best is merged first
axl_status axl_gguf_put_spm_merges(const axl_gguf_text *tokens, int64_t n,
                                   const axl_gguf_value *types, const axl_gguf_value *scores,
                                   axl_str *out);

// Writes tokenizer.json, tokenizer_config.json, special_tokens_map.json and chat_template.jinja.
axl_status axl_gguf_write_tokenizer(const axl_gguf *g, const char *dir);

// Appends the shortest decimal that reads back as the float x, with ".0" where it would look whole.
axl_status axl_put_float(axl_str *out, double x);

// Writes text to dir/name.
axl_status axl_write_into(const char *dir, const char *name, const axl_str *text);

#endif
