// The rows, and what is checked and chosen by them.
#include "kernels/attention_impl.h"

#include <string.h>

#define EVERYTHING                                                                                 \
    .packs = true, .merges = true, .softcap = true, .sinks = true, .window = true,                 \
    .full_training = true

static const axl_attn_impl rows[] = {
    {.name = "eager",
     .numerics = AXL_ATTN_EAGER,
     .packs = true,
     .softcap = true,
     .window = true,
     .full_training = true,
     .computes =
         "all scores of a document in memory; in bf16 scores, their scaling and the softmax "
         "are rounded as transformers' eager does",
     .use = "to compare with eager runs elsewhere, digit by digit",
     .limits = "memory of heads x tokens x longest document floats a layer (`plan` counts it as "
               "saved); no context parallelism, no sinks"},
    {.name = "sdpa",
     .numerics = AXL_ATTN_EXACT,
     EVERYTHING,
     .computes = "exact softmax over tiles of keys; scores, probabilities and sums in f32",
     .use = "the default",
     .limits = "none"},
    {.name = "flash_attention_2",
     .supports_packing = true,
     .uses_flash_lib = true,
     .needs_dtype_cast = true,
     .numerics = AXL_ATTN_EXACT,
     EVERYTHING,
     .computes = "as sdpa: on CPU one tiled variable-length kernel serves both",
     .use = "YAMLs that name it",
     .limits = "none"},
    {.name = "flash_attention_3",
     .supports_packing = true,
     .uses_flash_lib = true,
     .needs_dtype_cast = true,
     .numerics = AXL_ATTN_EXACT,
     .library = true,
     EVERYTHING,
     .computes = "as flash_attention_2; on GPUs from Hopper on by cuDNN, where it is installed and "
                 "has the shape",
     .use = "YAMLs that name it",
     .limits = "none"},
    {.name = "flex_attention",
     .supports_packing = true,
     .needs_dtype_cast = true,
     .numerics = AXL_ATTN_EXACT,
     EVERYTHING,
     .rules = true,
     .computes = "as sdpa under the mask that `flex_mask` names: causal, document, sliding, prefix",
     .use = "prefix language models, windows in models without them",
     .limits = "context parallelism with causal and sliding only"},
    {.name = "xformers",
     .supports_packing = true,
     .needs_dtype_cast = true,
     .numerics = AXL_ATTN_HALF,
     EVERYTHING,
     .computes = "as sdpa, but in 16-bit runs q, k, v and the probabilities before V are fp16; f32 "
                 "runs are exactly sdpa",
     .use = "to follow runs on cards without bf16",
     .limits = "values beyond 65504 become 65504"},
    {.name = "sage",
     .supports_packing = true,
     .needs_dtype_cast = true,
     .numerics = AXL_ATTN_SAGE,
     .packs = true,
     .merges = true,
     .window = true,
     .sinks = true,
     .computes = "q and k, less its mean over the document, as 8-bit integers with a scale for "
                 "every 128 queries and 64 keys; probabilities in the activations' type; backward "
                 "is that of exact attention, made again",
     .use = "adapters, where the base is to be met as sage will serve it",
     .limits = "no softcap; training all weights warns"},
    {.name = "s2",
     .uses_flash_lib = true,
     .needs_dtype_cast = true,
     .numerics = AXL_ATTN_SHIFTED,
     .full_training = true,
     .family = "llama",
     .computes = "every document in four groups that do not see each other; for the second half of "
                 "the heads they are shifted by half a group",
     .use = "to extend the context of Llama models (LongLoRA); `inference` attends in full",
     .limits = "Llama only, not packed, no window, no context parallelism; an even number of "
               "key-value heads"},
    {.name = "fp8",
     .needs_dtype_cast = true,
     .numerics = AXL_ATTN_FP8,
     .packs = true,
     .merges = true,
     .softcap = true,
     .window = true,
     .sinks = true,
     .full_training = true,
     .computes = "q, k and v as e4m3 with a scale a document and tensor (of this rank's heads); "
                 "sums in f32; backward is that of exact attention, made again",
     .use = "to see what fp8 attention costs in quality",
     .limits = "none"},
};
#define N_ROWS ((int)(sizeof rows / sizeof rows[0]))

const axl_attn_impl *axl_attn_impl_at(int i)
{
    return i >= 0 && i < N_ROWS ? &rows[i] : NULL;
}

const axl_attn_impl *axl_attn_impl_named(const char *name)
{
    for (int i = 0; i < N_ROWS; i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}

axl_status axl_attn_impl_check(const axl_attn_impl *impl, const axl_attn_needs *needs)
{
    axl_status status = AXL_OK;
    const char *name = impl->name;

    AXL_REQUIRE(impl->family == NULL || strcmp(impl->family, needs->family) == 0, AXL_E_CONFIG,
                "attn_implementation %s is for %s models, not %s; use sdpa", name, impl->family,
                needs->family);
    AXL_REQUIRE(impl->packs || !needs->packed, AXL_E_CONFIG,
                "attn_implementation %s cannot be packed; use sdpa, or sample_packing: false",
                name);
    AXL_REQUIRE(impl->merges || needs->cp <= 1, AXL_E_CONFIG,
                "attn_implementation %s cannot join what %d ranks of a document compute "
                "(context_parallel_size); use sdpa",
                name, needs->cp);
    AXL_REQUIRE(impl->window || !needs->window, AXL_E_CONFIG,
                "attn_implementation %s has no sliding window, and %s has; use sdpa", name,
                needs->family);
    AXL_REQUIRE(impl->softcap || !needs->softcap, AXL_E_CONFIG,
                "attn_implementation %s has no softcap of scores, and %s has; use sdpa", name,
                needs->family);
    AXL_REQUIRE(impl->sinks || !needs->sinks, AXL_E_CONFIG,
                "attn_implementation %s has no attention sinks, and %s has; use sdpa", name,
                needs->family);
    AXL_REQUIRE(impl->numerics != AXL_ATTN_SHIFTED || needs->n_kv_heads % 2 == 0, AXL_E_CONFIG,
                "attn_implementation %s needs an even number of key-value heads, not %d; use sdpa",
                name, needs->n_kv_heads);
out:
    return status;
}

axl_status axl_attn_impl_markdown(axl_str *out)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_str_puts(out, "| attn_implementation | what it computes | when to use it | limits "
                              "|\n| --- | --- | --- | --- |\n"));
    for (int i = 0; i < N_ROWS; i++)
        AXL_TRY(axl_str_printf(out, "| `%s` | %s | %s | %s |\n", rows[i].name, rows[i].computes,
                               rows[i].use, rows[i].limits));
out:
    return status;
}

axl_status axl_attn_forward(const axl_kernels *k, axl_stream *s, axl_attn_numerics numerics,
                            const axl_attn_args *a)
{
    axl_status status = AXL_OK;
    axl_status (*entry)(axl_stream *, const axl_attn_args *) = k->attn_fwd;

    if (numerics == AXL_ATTN_HALF)
        entry = k->attn_half_fwd;
    else if (numerics == AXL_ATTN_SAGE)
        entry = k->attn_sage_fwd;
    else if (numerics == AXL_ATTN_FP8)
        entry = k->attn_fp8_fwd;
    AXL_REQUIRE(entry != NULL, AXL_E_UNSUPPORTED,
                "backend %s has no kernel for this attn_implementation; use sdpa", k->name);
    AXL_TRY(entry(s, a));
out:
    return status;
}

static int32_t least(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

void axl_attn_groups(const int32_t *cu_seqlens, int32_t n_seqs, int32_t *cu, int32_t *shifted)
{
    cu[0] = shifted[0] = cu_seqlens[0];
    for (int32_t i = 0; i < n_seqs; i++) {
        const int32_t begin = cu_seqlens[i], end = cu_seqlens[i + 1], g = (end - begin + 3) / 4;
        int32_t *to = cu + (int64_t)i * AXL_S2_GROUPS, *late = shifted + (int64_t)i * AXL_S2_GROUPS;
        for (int32_t b = 1; b <= AXL_S2_GROUPS; b++) {
            to[b] = least(end, begin + b * g);
            late[b] = least(end, begin + g / 2 + (b - 1) * g);
        }
    }
}
