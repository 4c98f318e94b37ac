// Keys to structs; nothing here computes.
#include "src/train/settings.h"

#include "src/train/data_setup.h"

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
        .reduce_bf16 = c->derived.reduce_dtype == AXL_BF16,
        .invariant = c->world_invariant ? c->gradient_accumulation_steps : 0,
        .reshard_after_forward =
            !c->fsdp_config.set.reshard_after_forward || c->fsdp_config.reshard_after_forward};
}

axl_work_options axl_settings_work(const axl_config *c, bool train)
{
    return (axl_work_options){.dtype = c->derived.compute_dtype,
                              .checkpointing = checkpointing_of(c),
                              .train = train,
                              .ring = axl_data_setup_ring(c),
                              .heads_k_stride = (int32_t)c->heads_k_stride};
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
