// The attention implementations that users name: what each computes here, what it can do, and which entry of the
// kernel table it is. One row a name; validation messages and docs/attention.md come from the rows.
//
// No row ever lets a document see another: the flag supports_packing keeps the meaning that its users know from
// elsewhere, and decides nothing but which findings a configuration gets.
#ifndef AXL_KERNELS_ATTENTION_IMPL_H
#define AXL_KERNELS_ATTENTION_IMPL_H

#include "kernels/kernels.h"

typedef enum axl_attn_numerics {
    AXL_ATTN_EXACT, // attn_fwd and attn_bwd
    AXL_ATTN_HALF,  // attn_half_fwd, attn_bwd
    AXL_ATTN_SAGE, // attn_sage_fwd; backward is that of exact attention, whose forward it runs first
    AXL_ATTN_FP8,  // attn_fp8_fwd; likewise
    AXL_ATTN_EAGER,  // attn_eager_fwd, attn_eager_bwd: rows of probabilities are kept between them
    AXL_ATTN_SHIFTED // attn_fwd and attn_bwd on groups of documents (axl_attn_groups)
} axl_attn_numerics;

// Whether backward begins with the exact forward.
static inline bool axl_attn_repeats(axl_attn_numerics n)
{
    return n == AXL_ATTN_SAGE || n == AXL_ATTN_FP8;
}

typedef struct axl_attn_impl {
    const char *name; // as in attn_implementation
    // the three flags that follow from the name, as upstream has them
    bool supports_packing, uses_flash_lib, needs_dtype_cast;
    axl_attn_numerics numerics;
    bool library; // axl_attn_args' library
    bool packs;   // several documents may share a row here
    bool merges;  // gives (out, lse) of parts of the keys: context parallelism
    bool softcap, sinks, window;
    bool rules;                          // masks other than causal (flex_mask)
    bool full_training;                  // meant for training all weights
    const char *family;                  // the only model_type it is for; NULL: any
    const char *computes, *use, *limits; // for docs/attention.md
} axl_attn_impl;

// The rows in the order of the documentation; NULL behind the last.
const axl_attn_impl *axl_attn_impl_at(int i);
// NULL when no row has this name.
const axl_attn_impl *axl_attn_impl_named(const char *name);

// What a model asks of attention.
typedef struct axl_attn_needs {
    const char *family; // model_type
    int cp;             // ranks that share a document
    int32_t n_kv_heads; // of the model
    bool window, softcap, sinks, packed;
} axl_attn_needs;

// Whether a row serves a model. AXL_E_CONFIG names the row, what it lacks, and a row that has it.
axl_status axl_attn_impl_check(const axl_attn_impl *impl, const axl_attn_needs *needs);

// The table of docs/attention.md.
axl_status axl_attn_impl_markdown(axl_str *out);

// The forward of numerics that give (out, lse) from the same arguments: all but EAGER (which also keeps
// probabilities) and SHIFTED (which takes two calls). AXL_E_UNSUPPORTED when the backend has no entry.
axl_status axl_attn_forward(const axl_kernels *k, axl_stream *s, axl_attn_numerics numerics,
                            const axl_attn_args *a);

// The groups of shifted sparse attention (Chen et al. 2023, arXiv:2309.12307) as two lists of sequences, for the first
// and the second half of the heads: with g = ceil(n / 4) for a document of n tokens, groups of g; shifted, the first
// and the last are of g / 2 and g. AXL_S2_GROUPS groups a document, some may be empty.
//   cu, shifted [n_seqs * AXL_S2_GROUPS + 1]
#define AXL_S2_GROUPS 5
void axl_attn_groups(const int32_t *cu_seqlens, int32_t n_seqs, int32_t *cu, int32_t *shifted);

#endif
