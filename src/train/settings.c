// Keys to structs; nothing here computes.
#include "src/train/settings.h"

#include "src/train/data_setup.h"

#include <string.h>

static axl_checkpointing checkpointing_of(const axl_config *c)
{
    static const axl_checkpointing modes[] = {[AXL_RECOMPUTE_NONE] = AXL_CHECKPOINT_NONE,
                                              [AXL_RECOMPUTE_SELECTIVE] = AXL_CHECKPOINT_SELECTIVE,
                                              [AXL_RECOMPUTE_FULL] = AXL_CHECKPOINT_FULL};

    return modes[c->derived.recompute];
}

axl_sharder_options axl_settings_sharder(const axl_config *c, bool train)
{
    return (axl_sharder_options){
        .dtype = c->derived.compute_dtype,
        .train = train,
        .offload = c->fsdp_config.offload_params,
        .reduce_bf16 = c->derived.reduce_dtype == AXL_BF16,
        .invariant = c->world_invariant ? c->gradient_accumulation_steps : 0,
        .reshard_after_forward =
            !c->fsdp_config.set.reshard_after_forward || c->fsdp_config.reshard_after_forward};
}

static axl_graph_use graphs_of(const axl_config *c)
{
    return strcmp(c->cuda_graphs, "auto") == 0   ? AXL_GRAPHS_AUTO
           : strcmp(c->cuda_graphs, "true") == 0 ? AXL_GRAPHS_ON
                                                 : AXL_GRAPHS_OFF;
}

static axl_offload_what offload_of(const axl_config *c)
{
    const char *what = c->activation_offloading;

    if (strcmp(what, "hidden_states") == 0)
        return AXL_OFFLOAD_INPUTS;
    return strcmp(what, "false") != 0 || strcmp(c->gradient_checkpointing, "offload") == 0
               ? AXL_OFFLOAD_ALL
               : AXL_OFFLOAD_NONE;
}

axl_work_options axl_settings_work(const axl_config *c, bool train)
{
    return (axl_work_options){.dtype = c->derived.compute_dtype,
                              .checkpointing = checkpointing_of(c),
                              .train = train,
                              .graphs = graphs_of(c),
                              .offload = offload_of(c),
                              .ring = axl_data_setup_ring(c),
                              .heads_k_stride = (int32_t)c->heads_k_stride};
}

// Tokens of the longest document that the data give.
static int64_t longest_document(const axl_config *c)
{
    int64_t n = c->sequence_len;

    if (c->set.eval_sequence_len && c->eval_sequence_len > n)
        n = c->eval_sequence_len;
    // the samples of a bin are one document, and a bin may be the whole micro-batch
    const bool joined = c->pretraining_dataset.n > 0 && !c->pretrain_multipack_attn;
    return joined ? n * c->micro_batch_size : n;
}

axl_status axl_settings_attention(const axl_config *c, int n_cp, axl_arch *arch)
{
    axl_status status = AXL_OK;
    const axl_attn_impl *impl = c->derived.attn.kernel;
    axl_attn_needs needs = {.family = arch->family,
                            .cp = n_cp,
                            .n_kv_heads = arch->n_kv_heads,
                            .packed = c->sample_packing};

    for (int l = 0; l < arch->n_layers; l++)
        needs.window = needs.window || arch->layers[l].window > 0;
    AXL_TRY(axl_attn_impl_check(impl, &needs));
    arch->attention = (axl_attn_choice){
        .numerics = impl->numerics, .library = impl->library, .max_keys = longest_document(c)};
    arch->fp8 = c->fp8;
    if (!impl->rules)
        goto out;
    if (strcmp(c->flex_mask, "document") == 0)
        arch->attention.rule = AXL_RULE_DOCUMENT;
    else if (strcmp(c->flex_mask, "prefix") == 0)
        arch->attention.rule = AXL_RULE_PREFIX;
    for (int l = 0; l < arch->n_layers && strcmp(c->flex_mask, "sliding") == 0; l++) {
        int32_t *window = &arch->layers[l].window;
        if (*window == 0 || *window > c->flex_window)
            *window = (int32_t)c->flex_window;
    }
out:
    return status;
}

axl_status axl_settings_check(const axl_config *c, const axl_arch *arch, int n_cp, int n_tp)
{
    axl_status status = AXL_OK;
    const int32_t kv_heads = arch->n_kv_heads > n_tp ? arch->n_kv_heads / n_tp : 1;

    AXL_REQUIRE(n_cp == 1 || axl_data_setup_ring(c) != AXL_RING_VARLEN_LLAMA3 ||
                    kv_heads % c->heads_k_stride == 0,
                AXL_E_CONFIG,
                "heads_k_stride %lld does not divide the %d key-value heads of a rank; use 1 or %d",
                (long long)c->heads_k_stride, kv_heads, kv_heads);
out:
    return status;
}
