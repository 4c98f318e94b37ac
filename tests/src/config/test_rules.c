// RUN: np=1
// Every validation rule: one line of YAML on top of a good file (or a whole file) that it must find, with
// its number and a part of its message. A count makes sure that no row of the table is left out.
#include "src/config/config.h"
#include "tests/check.h"

#include <stdlib.h>

#define MODEL "base_model: m\nlearning_rate: 1e-4\n"
#define DATA  "datasets: [{path: d.jsonl, type: completion}]\n"
#define EVAL  "val_set_size: 0.1\n"
#define BATCH "micro_batch_size: 2\ngradient_accumulation_steps: 4\n"

#define ANY_RULE (-1)

typedef struct line {
    int rule;
    const char *yaml; // added to MODEL, DATA and BATCH
    const char *text;
    int n_ranks;      // 0: not known; -1: one rank with bf16 instructions
    const char *file; // instead of MODEL, DATA and BATCH
} line;

#define SAYS(number, added, part)                                                                  \
    {                                                                                              \
        .rule = (number), .yaml = (added), .text = (part)                                          \
    }
#define SAYS_ON(ranks, number, added, part)                                                        \
    {                                                                                              \
        .rule = (number), .yaml = (added), .text = (part), .n_ranks = (ranks)                      \
    }
#define SAYS_ALONE(number, whole, part)                                                            \
    {                                                                                              \
        .rule = (number), .yaml = "", .text = (part), .file = (whole)                              \
    }

static const line lines[] = {
    SAYS_ALONE(0, "learning_rate: 1e-4\n" DATA BATCH, "base_model: missing"),
    SAYS_ALONE(0, "base_model: m\n" DATA BATCH, "learning_rate: missing"),
    SAYS_ALONE(1, MODEL BATCH, "datasets: missing"),
    SAYS_ALONE(0, MODEL BATCH "datasets: [{type: completion}]\n", "this entry has no path"),
    SAYS_ALONE(2, MODEL BATCH "datasets: [{path: a, type: 'sharegpt:chat'}]\n",
               "sharegpt was removed"),
    SAYS(4, "max_steps: 3\npretraining_dataset: {path: x}\n", "say so with streaming"),
    SAYS(5, "push_dataset_to_hub: a/b\n", "needs hf_use_auth_token"),
    SAYS(6, "test_datasets: [{path: t}]\nval_set_size: 0.1\n", "not together with val_set_size"),
    SAYS(7, "do_bench_eval: true\neval_steps: 3\n", "neither test_datasets nor val_set_size"),
    SAYS_ALONE(9, MODEL BATCH "datasets: []\n", "datasets: the list is empty"),
    SAYS(9, "test_datasets: []\n", "test_datasets: the list is empty"),
    SAYS(9, "pretraining_dataset: []\nmax_steps: 1\n", "pretraining_dataset: the list is empty"),
    SAYS_ALONE(10, MODEL BATCH "datasets: [{path: a, train_on_split: x}]\n", "write split"),
    SAYS(11, "dataset_exact_deduplication: true\nstreaming: true\nmax_steps: 3\n",
         "cannot be dedup"),
    SAYS(11, "dataset_exact_deduplication: true\nskip_prepare_dataset: true\n", "skip_prepare"),
    SAYS(13, "chat_template: jinja\n", "jinja needs chat_template_jinja"),
    SAYS_ALONE(13, MODEL BATCH "datasets: [{path: a, chat_template: jinja}]\n",
               "in the same entry"),
    SAYS(17, "tokenizer_use_mistral_common: true\ntokens: [a]\n", "does not work with tokens"),
    SAYS_ALONE(0, MODEL BATCH "datasets: [{path: a, shards: 2, shards_idx: 2}]\n",
               "shards_idx 2 is not below shards 2"),
    SAYS(18, "sample_packing: true\neval_table_size: 3\n", "needs eval_sample_packing: false"),
    SAYS(22, "sample_packing: true\nattn_implementation: org/flash-x\n", "does not isolate"),
    SAYS(24, "sample_packing: true\npad_to_sequence_len: false\n", "no token is padding"),
    SAYS(27, "sample_packing: true\nrl: dpo\n", "not together with rl"),
    SAYS(28, "sample_packing: true\nbatch_flattening: true\n", "not together with sample_packing"),
    SAYS_ALONE(28, MODEL DATA "micro_batch_size: 1\nbatch_size: 4\nbatch_flattening: true\n",
               "nothing to flatten"),
    SAYS(30, "batch_flattening: true\ntrl: {use_liger_loss: true}\n", "not meant for"),
    SAYS_ALONE(34, MODEL DATA "micro_batch_size: 2\n", "two of micro_batch_size"),
    SAYS(35, "batch_size: 8\n", "not together with gradient_accumulation_steps"),
    SAYS_ALONE(36, MODEL DATA "micro_batch_size: 2\nbatch_size: 8\n", "discouraged"),
    SAYS_ALONE(0, MODEL DATA "micro_batch_size: 2\nbatch_size: 7\n",
               "7 is no multiple of micro_batch_size 2; write 8"),
    SAYS(37, "eval_batch_size: 1\n", "differs from micro_batch_size"),
    SAYS(38, "warmup_steps: 3\nwarmup_ratio: 0.1\n", "not together with warmup_steps"),
    SAYS(39, "save_steps: 3\nsave_strategy: epoch\n", "needs save_strategy: steps"),
    SAYS(39, "save_steps: 3\nsaves_per_epoch: 1\n", "not together with save_steps"),
    SAYS(40, "save_strategy: best\n", "best needs metric_for_best_model"),
    SAYS(0, "save_strategy: best\nmetric_for_best_model: loss\nsaves_per_epoch: 2\n",
         "not together with saves_per_epoch"),
    SAYS(0, "save_strategy: best\nmetric_for_best_model: loss\nval_set_size: 0.1\n",
         "best: there are no evaluations"),
    SAYS(0, "load_best_model_at_end: true\nval_set_size: 0.1\nsave_steps: 4\n",
         "there are no evaluations to choose by"),
    SAYS(0, "load_best_model_at_end: true\n" EVAL "eval_steps: 4\nsave_strategy: \"no\"\n",
         "no checkpoint is saved"),
    SAYS(0, "load_best_model_at_end: true\n" EVAL "eval_steps: 4\nnum_epochs: 2\n",
         "one goes by steps and one by epochs"),
    SAYS(0, "load_best_model_at_end: true\n" EVAL "eval_strategy: epoch\nsave_steps: 2\n",
         "one goes by steps and one by epochs"),
    SAYS(0, "load_best_model_at_end: true\n" EVAL "eval_steps: 4\nsave_steps: 6\n",
         "every 6 and an evaluation every 4 do not match"),
    SAYS(0, "load_best_model_at_end: true\n" EVAL "eval_steps: 4\nsave_steps: 2\n", "do not match"),
    SAYS(0,
         "load_best_model_at_end: true\n" EVAL "evals_per_epoch: 2\nsaves_per_epoch: 4\n"
         "num_epochs: 3\n",
         "do not match"),
    SAYS(41, "hub_model_id: a/b\nsave_strategy: \"no\"\n", "would be pushed only"),
    SAYS(42, "eval_steps: 3\neval_strategy: epoch\n", "needs eval_strategy: steps"),
    SAYS(42, "eval_steps: 3\nevals_per_epoch: 2\n", "not together with eval_steps"),
    SAYS(42, "evals_per_epoch: 2\neval_strategy: epoch\n", "needs eval_strategy: steps"),
    SAYS(43, "val_set_size: 0\neval_steps: 3\n", "nothing to evaluate on"),
    SAYS(0, "val_set_size: 0.1\n", "not used while training"),
    SAYS(0, "eval_steps: 3\n", "neither test_datasets nor val_set_size to evaluate on"),
    SAYS(0, "val_set_size: 0.1\nevals_per_epoch: 1\n", "one evaluation or less"),
    SAYS(0, "save_steps: 2.5\n", "neither a whole number"),
    SAYS(0, "val_set_size: 0.1\neval_steps: 2.5\n", "neither a whole number"),
    SAYS(0, "saves_per_epoch: 1\nnum_epochs: 0.5\n", "less than one save"),
    SAYS(0, "logging_steps: 2.5\n", "neither a whole number"),
    SAYS(44, "do_bench_eval: true\nval_set_size: 0.1\n", "needs evals_per_epoch or eval_steps"),
    SAYS(45, "noisy_embedding_alpha: 5\nneftune_noise_alpha: 5\n", "not together with neftune"),
    SAYS_ON(2, 0, EVAL "eval_steps: 2\ngenerate_samples: true\ntensor_parallel_size: 2\n",
            "generate_samples: does not work with context_parallel_size and tensor_parallel_size"),
    SAYS(0, EVAL "eval_steps: 2\ngenerate_samples: true\nattn_implementation: s2\n",
         "generate_samples: does not work with attn_implementation: s2"),
    SAYS(0, "generate_samples: true\n", "nothing is generated: there are no evaluations"),
    SAYS(0, "eval_table_size: 2\n", "nothing is generated: there are no evaluations"),
    SAYS(47, "do_causal_lm_eval: true\neval_sample_packing: true\n",
         "not together with eval_sample"),
    SAYS(47, "eval_causal_lm_metrics: [bleu]\n", "\"bleu\" is none of its values"),
    SAYS(0, "do_causal_lm_eval: true\n" EVAL "eval_steps: 2\n",
         "write eval_causal_lm_metrics: [perp"),
    SAYS(0, "do_causal_lm_eval: true\neval_causal_lm_metrics: [perplexity, chrf]\n",
         "chrf needs generated answers"),
    SAYS(0, "eval_causal_lm_metrics: [perplexity]\n", "do_causal_lm_eval is not true"),
    SAYS(48, "pretrain_multipack_buffer_size: 5\nstreaming_multipack_buffer_size: 5\n",
         "its new name"),
    SAYS(49, "fp16: true\nbf16: false\nsample_packing: true\n", "unstable"),
    SAYS(51, "include_tokens_per_second: true\npretraining_dataset: [{path: x}]\n", "not together"),
    SAYS(52, "streaming: true\n", "a stream has no end"),
    SAYS(53, "streaming: true\nval_set_size: 0.1\n", "nothing can be held out"),
    SAYS(0, "max_steps: 3\npretraining_dataset: {path: x}\n", "is trained on"),
    SAYS(0, "test_datasets: [{path: x, skip: 3}]\n", "skip is for streams"),
    SAYS(0, "streaming: true\nmax_steps: 3\nrl: dpo\n", "preference data are prepared"),
    SAYS(0, "sample_packing_sequentially: true\nsample_packing_algorithm: best_fit\n",
         "keeps the order"),
    SAYS(54, "group_by_length: true\npretraining_dataset: [{path: x}]\n", "cannot be sorted"),
    SAYS_ALONE(
        56, MODEL BATCH "streaming: true\nsample_packing: true\ndatasets: [{path: a}, {path: b}]\n",
        "packs one data set only"),
    SAYS(57, "gpu_memory_limit: 20\nmax_memory: {0: 1}\n", "not together with max_memory"),
    SAYS(58, "torch_compile_options: {shape_padding: true}\n", "needs torch_compile"),
    SAYS(58, "torch_compile: true\ntorch_compile_options: {x: true}\n", "x is not among"),
    SAYS(58,
         "sample_packing: true\ntorch_compile: true\ntorch_compile_options: {triton.cudagraphs: "
         "1}\n",
         "does not fit packed rows"),
    SAYS(60, "load_in_8bit: true\n", "need an adapter"),
    SAYS(62, "adapter: qlora\nload_in_8bit: true\n", "which is 4-bit"),
    SAYS(62, "adapter: qlora\ngptq: true\n", "not together with adapter: qlora"),
    SAYS(62, "adapter: qlora\n", "needs load_in_4bit"),
    SAYS(62, "adapter: qlora\nmerge_lora: true\nload_in_4bit: true\n", "merging needs"),
    SAYS(63, "lora_target_parameters: [a]\nlora_dropout: 0.1\n", "must be 0"),
    SAYS(64, "adapter: lora\ntokens: [a]\nlora_modules_to_save: [lm_head]\n",
         "both embedding modules"),
    SAYS(65, "lora_target_modules: ['q_proj', '(a']\n",
         "\"(a\" is no regular expression: it lacks a )"),
    SAYS(66, "lr_groups: [{name: a, modules: [b], lr: 1}]\nloraplus_lr_ratio: 16\n",
         "not together"),
    SAYS(67, "adapter: lora\npeft_layers_to_transform: 1\nunfrozen_parameters: [a]\n",
         "not together"),
    SAYS(67, "peft_layers_pattern: layers\n", "needs peft_layers_to_transform"),
    SAYS(68, "adapter: lora\nflash_attn_fuse_mlp: true\n", "not together with LoRA"),
    SAYS(68, "adapter: lora\nuse_onebitllms: true\n", "not together with LoRA"),
    SAYS(69, "adapter: lora\nload_in_8bit: true\nlora_mlp_kernel: true\n", "do not take 8-bit"),
    SAYS(69, "adapter: lora\ntrust_remote_code: true\nlora_o_kernel: true\n", "fused LoRA kernels"),
    SAYS_ON(2, 69, "lora_o_kernel: true\nfsdp_config: {version: 1}\n", "need fsdp_version: 2"),
    SAYS(70,
         "adapter: qlora\ngradient_checkpointing_kwargs: {use_reentrant: false}\ndeepspeed: "
         "zero3.json\n",
         "zero3 with qlora"),
    SAYS(71, "quantize_moe_experts: true\nlora_target_linear: true\n",
         "not together with lora_target"),
    SAYS(71, "quantize_moe_experts: true\n", "needs adapter"),
    SAYS(71, "quantize_moe_experts: true\nadapter: lora\n", "needs load_in_4bit"),
    SAYS(72, "fix_untrained_tokens: [1, 2]\npeft_trainable_token_indices: [1]\n", "lacks"),
    SAYS(73, "gptq: true\nmodel_revision: a\n", "not together with model_revision"),
    SAYS(73, "model_quantization_config: Mxfp4Config\nload_in_4bit: true\n", "not together"),
    SAYS(73,
         "model_quantization_config: Mxfp4Config\nfsdp_config: {cpu_ram_efficient_loading: true}\n",
         "does not work with cpu_ram"),
    SAYS(74, "qat: {group_size: 32}\nload_in_4bit: true\n", "not together with load_in_4bit"),
    SAYS(74, "qat: {group_size: 32}\npeft: {loftq_config: {loftq_bits: 4}}\n",
         "not together with peft"),
    SAYS(75, "relora: true\n", "needs jagged_restart_steps"),
    SAYS(75, "relora: true\n", "needs adapter"),
    SAYS(75, "relora: true\nlr_scheduler: one_cycle\n", "one_cycle"),
    SAYS(75, "relora: true\nflash_attn_fuse_mlp: true\n", "flash_attn_fuse_mlp"),
    SAYS(75, "relora: true\ndeepspeed: z.json\n", "deepspeed"),
    SAYS(76, "rl: kto\nsample_packing: true\n", "kto cannot be packed"),
    SAYS(76, "rl: kto\n", "kto needs it to be false"),
    SAYS(77, "rl: grpo\ntrl: {use_liger_loss: true}\ncontext_parallel_size: 2\n", "use_liger_loss"),
    SAYS_ON(2, 78,
            "rl: dpo\nadapter: qlora\ngradient_checkpointing_kwargs: {use_reentrant: true}\n",
            "qlora on several ranks"),
    SAYS(79, "rl: gdpo\ntrl: {multi_objective_aggregation: sum_then_normalize}\n", "gdpo needs"),
    SAYS(80, "rl: dpo\ndpo_loss_weights: [1]\n", "needs dpo_loss_type"),
    SAYS(80, "rl: dpo\ndpo_loss_weights: [1]\ndpo_loss_type: [a, b]\n", "as long as"),
    SAYS(80, "dpo_loss_type: [a]\n", "needs rl: dpo"),
    SAYS(80, "rl: ipo\n", "deprecated; write rl: dpo"),
    SAYS(81, "rl: grpo\ntrl: {num_generations: 1}\n", "at least 2"),
    SAYS(81, "rl: grpo\ntrl: {num_generations: 3}\n", "no multiple of num_generations 3"),
    SAYS(82, "beta: 1\ntrl: {beta: 2}\n", "differs from trl.beta"),
    SAYS(83, "rl: simpo\nwarmup_ratio: 0.1\n", "write warmup_steps"),
    SAYS(85, "trl: {use_vllm: true}\n", "vllm_mode is missing"),
    SAYS(86, "early_stopping_patience: 3\n", "needs save_steps and eval_steps"),
    SAYS(0, "early_stopping_patience: 3\nsave_steps: 4\neval_steps: 4\n",
         "there is nothing to evaluate on"),
    SAYS(86, "early_stopping_patience: 3\nsave_steps: 10\neval_steps: 4\nval_set_size: 0.1\n",
         "multiple"),
    SAYS(87, "rl: ebft\n", "ebft needs an ebft block"),
    SAYS(87, "rl: ebft\nebft: {mode: strided}\ntorch_compile: true\ngradient_checkpointing: true\n",
         "together"),
    SAYS(87, "rl: ebft\nebft: {mode: strided}\ntorch_compile: true\n", "much memory"),
    SAYS(87,
         "rl: ebft\nebft: {mode: strided}\nattn_implementation: flex_attention\n"
         "activation_offloading: true\n",
         "strided ebft on flex"),
    SAYS(88, "optimizer: sgd\nadam_beta1: 0.8\n", "takes no adam_beta1"),
    SAYS(89, "optimizer: muon\ndeepspeed: a\n", "does not work with deepspeed"),
    SAYS(89, "optimizer: muon\nfsdp_config: {version: 1}\n", "needs fsdp_version: 2"),
    SAYS(89, "optimizer: q_galore_adamw8bit\nadapter: lora\n", "does not work with an adapter"),
    SAYS(89, "optimizer: q_galore_adamw8bit\nfsdp_version: 2\nfsdp_config: {version: 2}\n",
         "use_orig"),
    SAYS(89, "optimizer: q_galore_adamw8bit\nbf16: false\n", "half precision"),
    SAYS(92, "cut_cross_entropy: true\nchunked_cross_entropy: true\n", "only one of"),
    SAYS(92, "cut_cross_entropy: true\nbf16: false\n", "needs bf16 or fp16"),
    SAYS_ON(1, 93, "fp8: true\n", "no fp8 products"),
    SAYS(93, "device: cuda\nfp8: true\nbf16: false\nfsdp_config: {offload_params: true}\n",
         "needs bf16: true"),
    SAYS(93, "fp8_enable_fsdp_float8_all_gather: true\n", "needs fsdp_version: 2"),
    SAYS_ON(1, 94, "bf16: true\n", "no bf16 instructions"),
    SAYS_ON(-1, 94, "bf16: false\n", "are not used"),
    SAYS(96, "fp32_norms: true\n", "needs fsdp_config"),
    SAYS(96, "fp32_norms: true\nfsdp_config: {version: 1}\n", "needs fsdp_version: 2"),
    SAYS(96, "fp32_norm_classes: [RMSNorm]\n", "has no effect without"),
    SAYS(97, "activation_offloading: true\n", "needs gradient_checkpointing"),
    SAYS(0, "gradient_checkpointing: offload\n",
         "activations of CPU ranks are on the host already"),
    SAYS(0, "gradient_checkpointing: true\nactivation_offloading: hidden_states\n",
         "activation_offloading: activations of CPU ranks"),
    SAYS(98, "selective_checkpointing: true\n", "needs gradient_checkpointing: true"),
    SAYS(98,
         "selective_checkpointing: true\ngradient_checkpointing_kwargs: {use_reentrant: true}\n",
         "not together with use_reentrant"),
    SAYS(98, "selective_checkpointing: true\nactivation_offloading: true\n", "hidden_states"),
    SAYS(98, "adapter: lora\nselective_checkpointing: {save: [matmul]}\n", "matmul outputs"),
    SAYS(98, "torch_compile: true\nselective_checkpointing: true\n", "was not meant for"),
    SAYS(0, "selective_checkpointing: {save: [mlp]}\n",
         "\"mlp\" is none of its values; use attention"),
    SAYS(99,
         "activation_offloading: hidden_states\nunfrozen_parameters: [a]\n"
         "gradient_checkpointing_kwargs: {use_reentrant: true}\n",
         "does not work with unfrozen"),
    SAYS(99, "activation_offloading: hidden_states\nadapter: lora\n", "saves little"),
    SAYS(101, "flash_optimum: true\nbf16: true\n", "not together with bf16"),
    SAYS(0, "float32: true\nbf16: true\n", "not together with bf16"),
    SAYS(0, "lr_scheduler: linear\ncosine_min_lr_ratio: 0.1\n", "has no effect without"),
    SAYS(102, "attn_implementation: fa2\n", "\"fa2\" is a short form; write flash_attention_2"),
    SAYS(ANY_RULE, "attn_supports_packing: true\n", "computed from attn_implementation"),
    SAYS(ANY_RULE, "attn_uses_flash_lib: false\n", "computed from attn_implementation"),
    SAYS(ANY_RULE, "attn_needs_dtype_cast: true\n", "computed from attn_implementation"),
    SAYS(ANY_RULE, "s2_attention: true\n", "deprecated; write attn_implementation: s2"),
    SAYS(ANY_RULE, "sage_attention: true\n", "deprecated; write attn_implementation: sage"),
    SAYS(ANY_RULE, "xformers_attention: true\n", "deprecated; write attn_implementation: xformers"),
    SAYS(ANY_RULE, "flex_attention: true\n",
         "deprecated; write attn_implementation: flex_attention"),
    SAYS(ANY_RULE, "flash_attention: true\n",
         "deprecated; write attn_implementation: flash_attention_2"),
    SAYS(ANY_RULE, "sdp_attention: true\n", "deprecated; write attn_implementation: sdpa"),
    SAYS(ANY_RULE, "eager_attention: true\n", "deprecated; write attn_implementation: eager"),
    SAYS(ANY_RULE, "flash_attention: true\nxformers_attention: true\nsage_attention: true\n",
         "flash_attention: deprecated, and overruled by attn_implementation: sage"),
    SAYS(ANY_RULE, "flash_attention: true\nattn_implementation: sdpa\n",
         "flash_attention: not together with attn_implementation"),
    SAYS(102, "attn_implementation: flash\n", "\"flash\" is a short form; write flash_attention_2"),
    SAYS(102, "attn_implementation: flex\n", "\"flex\" is a short form; write flex_attention"),
    SAYS(102, "attn_implementation: sdp\n", "\"sdp\" is a short form; write sdpa"),
    SAYS(102, "attn_implementation: fa3\n", "\"fa3\" is a short form; write flash_attention_3"),
    SAYS(
        102, "attn_implementation: quick\n",
        "use eager, sdpa, flash_attention_2, flash_attention_3, flex_attention, xformers, sage, s2 "
        "or fp8"),
    SAYS(102, "attn_implementation: org/name\n", "nothing here is near to"),
    SAYS(0, "attn_implementation: kernels-community/flash-attn3\n",
         "not fetched: flash_attention_3 is the kernel here"),
    SAYS(0, "attn_implementation: kernels-community/flash-attn2\n", "flash_attention_2 is the"),
    SAYS(0, "attn_implementation: kernels-community/sage-attention\n", "sage is the kernel here"),
    SAYS(0, "attn_implementation: kernels-community/vllm-flash-attn3\n", "flash_attention_3 is"),
    SAYS(105, "attn_implementation: kernels-community/sage-attention\n", "loss go to 0"),
    SAYS(0, "attn_implementation: eager\ncontext_parallel_size: 2\n",
         "eager cannot join what the ranks of context_parallel_size 2 compute"),
    SAYS(0, "attn_implementation: s2\ncontext_parallel_size: 2\n", "s2 cannot join"),
    SAYS(0, "attn_implementation: flex_attention\nflex_mask: prefix\ncontext_parallel_size: 2\n",
         "flex_mask prefix does not work with context_parallel_size"),
    SAYS(0, "flex_mask: prefix\n", "needs attn_implementation: flex_attention"),
    SAYS(0, "attn_implementation: flex_attention\nflex_mask: sliding\n", "needs flex_window"),
    SAYS(0, "attn_implementation: flex_attention\nflex_window: 8\n", "needs flex_mask: sliding"),
    SAYS(0, "attn_implementation: flex_attention\nflex_mask: document\n", "it is to predict"),
    SAYS(0, "attn_implementation: s2\neval_sample_packing: true\n", "eval_sample_packing: false"),
    SAYS(103, "gemma4_hybrid_attn_impl: true\nattn_implementation: sdpa\n",
         "needs attn_implementation"),
    SAYS(104, "scaling_softmax: true\n", "needs attn_implementation: flex_attention"),
    SAYS(105, "attn_implementation: sage\n", "packed or padded"),
    SAYS(105, "attn_implementation: sage\n", "loss go to 0"),
    SAYS(108, "sdpa_varlen: true\n", "has no effect without sample_packing"),
    SAYS(109, "attn_implementation: s2\nsample_packing: true\n", "s2 cannot be packed"),
    SAYS(110, "deepspeed: a\nfsdp_config: {version: 2}\n", "not together with fsdp"),
    SAYS(111, "fsdp_config: {reshard_after_forward: true}\n", "FSDP1 is deprecated"),
    SAYS(111, "fsdp: [full_shard]\n", "fsdp: FSDP1 is deprecated"),
    SAYS(0,
         "base_model_config: " AXL_TEST_DATA "/plan/llama-3.1-8b\nfsdp_version: 2\n"
         "fsdp_config: {transformer_layer_cls_to_wrap: Qwen2DecoderLayer}\n",
         "fsdp_config.transformer_layer_cls_to_wrap: the layers of this model "
         "are LlamaDecoderLayer, not Qwen2DecoderLayer; a unit is one of them in any case, so "
         "write LlamaDecoderLayer"),
    SAYS_ON(2, 0, "deepspeed: {train_batch_size: 4}\n",
            "deepspeed.train_batch_size: 4, but 8 rows on 2 ranks with data of their own make 16"),
    SAYS(114, "fsdp_config: {cpu_offload_pin_memory: false}\n", "needs fsdp_version: 2"),
    SAYS(114, "fsdp_config: {cpu_offload_pin_memory: false}\n", "needs offload_params"),
    SAYS(0, "fsdp_version: 2\nfsdp_config: {offload_params: true, cpu_offload_pin_memory: false}\n",
         "fsdp_config: parameters, gradients and optimizer state of CPU ranks are on the host "
         "already, offload_params or not; there is nothing to pin"),
    SAYS(0, "fsdp: [full_shard, offload]\n", "fsdp: parameters, gradients and optimizer state"),
    SAYS(115, "fsdp_config: {auto_wrap_policy: SIZE_BASED_WRAP}\n", "needs min_num_params"),
    SAYS(0, "ring_attn_func: batch_ring\n", "no effect without context_parallel_size"),
    SAYS(0, "heads_k_stride: 2\ncontext_parallel_size: 2\n",
         "no effect without context_parallel_size and ring_attn_func: varlen_llama3"),
    SAYS(120, "tensor_parallel_size: 2\nliger_rms_norm: true\n",
         "not together with tensor_parallel"),
    SAYS(120, "tensor_parallel_size: 2\nliger_fused_linear_cross_entropy: true\n",
         "tensor_parallel"),
    SAYS(121, "deepcompile: true\n", "needs deepspeed"),
    SAYS_ON(4, 122, "dp_shard_size: 3\n", "3 does not divide 4 ranks; set dp_shard_size: 4, or"),
    SAYS_ON(4, 0, "", "here with dp_shard_size: 4"),
    SAYS_ON(4, 0, "fsdp_version: 2\nfsdp_config: {version: 2}\ndp_shard_size: 2\n",
            "dp_shard_size: with 4 ranks this means dp_replicate_size: 2"),
    SAYS(0, "world_invariant: true\ndeterministic: false\n", "contradicts world_invariant"),
    SAYS(126, "liger_swiglu: true\nliger_glu_activation: true\n", "its new name"),
    SAYS(126, "liger_glu_activation: true\ntiled_mlp: true\ntiled_mlp_use_original_mlp: false\n",
         "tiled"),
    SAYS(126, "liger_use_token_scaling: true\n", "needs liger_fused"),
    SAYS(127, "use_scattermoe: true\nuse_sonicmoe: true\n", "not together with use_scattermoe"),
    SAYS(127, "use_scattermoe: true\nexpert_backend: sonicmoe\n", "contradicts"),
    SAYS(128, "nvfp4_merge_aware: true\n", "needs use_sonicmoe"),
    SAYS(128, "nvfp4_merge_aware_start_step: 3\n", "needs nvfp4_merge_aware"),
    SAYS(129, "adapter: mora\n", "mora needs a mora block"),
    SAYS(129, "adapter: mora\nload_in_4bit: true\n", "full-precision"),
    SAYS(129, "use_swanlab: true\n", "needs swanlab_project"),
    SAYS(129, "spectrum_top_fraction: 0.4\nfsdp_config: {version: 2}\n", "use_orig_params"),
    SAYS(130, "diffusion: {min_mask_ratio: 0.95}\n", "above max_mask_ratio"),
    SAYS(0, "resume_from_checkpoint: c\nauto_resume_from_checkpoints: true\n", "that one counts"),
};

#define N_LINES (sizeof lines / sizeof lines[0])

static bool finds(const line *l)
{
    axl_diagnostics d = {0};
    axl_config *c = NULL;
    axl_str text = {0};
    char found[2048];
    bool good = false;
    axl_config_options options = {.n_ranks = l->n_ranks < 0 ? 1 : l->n_ranks,
                                  .has_bf16 = l->n_ranks < 0};

    CHECK_OK(axl_str_puts(&text, l->file != NULL ? l->file : MODEL DATA BATCH));
    CHECK_OK(axl_str_puts(&text, l->yaml));
    (void)axl_config_parse(text.data, text.len, "run.yaml", &options, &d, &c);
    for (size_t i = 0; i < d.n && !good; i++) {
        (void)snprintf(found, sizeof found, "%s: %s", d.items[i].key == NULL ? "" : d.items[i].key,
                       d.items[i].text);
        good =
            (l->rule == ANY_RULE || d.items[i].rule == l->rule) && strstr(found, l->text) != NULL;
    }
    axl_config_destroy(c);
    axl_diagnostics_fini(&d);
    axl_str_fini(&text);
    return good;
}

static bool warns(const line *l)
{
    axl_diagnostics d = {0};
    axl_config *c = NULL;
    axl_str text = {0};
    bool found = false;
    axl_config_options options = {0};

    CHECK_OK(axl_str_puts(&text, l->file != NULL ? l->file : MODEL DATA BATCH));
    CHECK_OK(axl_str_puts(&text, l->yaml));
    (void)axl_config_parse(text.data, text.len, "run.yaml", &options, &d, &c);
    for (size_t i = 0; i < d.n; i++)
        found = found || d.items[i].severity != AXL_NOTE;
    axl_config_destroy(c);
    axl_diagnostics_fini(&d);
    axl_str_fini(&text);
    return found;
}

static void every_line_is_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_LINES; i++)
        if (!finds(&lines[i]))
            fail_msg("rule %d does not say \"%s\" about:\n%s%s", lines[i].rule, lines[i].text,
                     lines[i].file == NULL ? "" : lines[i].file, lines[i].yaml);
}

static void good_files_have_no_findings(void **state)
{
    static const line good[] = {
        SAYS(ANY_RULE, "", ""),
        // what upstream refuses and this does not
        SAYS(ANY_RULE,
             "context_parallel_size: 2\nsample_packing: true\nattn_implementation: sdpa\n", ""),
        SAYS(ANY_RULE,
             "context_parallel_size: 2\nexpert_parallel_size: 2\ntensor_parallel_size: 2\n", ""),
        SAYS(ANY_RULE,
             "context_parallel_size: 2\nring_attn_func: varlen_llama3\nheads_k_stride: 2\n", ""),
        SAYS(ANY_RULE, "dp_replicate_size: 2\ndp_shard_size: 1\ntensor_parallel_size: 2\n", ""),
        SAYS(ANY_RULE, "attn_implementation: eager\n", ""),
        SAYS(ANY_RULE, "attn_implementation: sdpa\nflash_attention: false\n", ""),
        SAYS(ANY_RULE, "attn_implementation: flex_attention\nflex_mask: sliding\nflex_window: 64\n",
             ""),
        SAYS(ANY_RULE, "attn_implementation: xformers\ncontext_parallel_size: 2\n", ""),
        SAYS(ANY_RULE, "attn_implementation: fp8\ncontext_parallel_size: 2\n", ""),
        SAYS(ANY_RULE, EVAL "eval_steps: 5\nsave_steps: 10\nload_best_model_at_end: true\n", ""),
        SAYS(ANY_RULE, EVAL "eval_steps: 0.05\nsave_steps: 0.15\nload_best_model_at_end: true\n",
             ""),
        SAYS(ANY_RULE,
             EVAL "evals_per_epoch: 4\nsaves_per_epoch: 2\nnum_epochs: 3\n"
                  "load_best_model_at_end: true\n",
             ""),
        SAYS(ANY_RULE, EVAL "evals_per_epoch: 4\nload_best_model_at_end: true\n", ""),
        SAYS(ANY_RULE, EVAL "eval_strategy: epoch\nnum_epochs: 3\nload_best_model_at_end: true\n",
             ""),
        SAYS(ANY_RULE,
             EVAL "eval_steps: 5\nsave_strategy: best\nmetric_for_best_model: eval_loss\n"
                  "load_best_model_at_end: true\n",
             ""),
        SAYS(ANY_RULE,
             EVAL "eval_steps: 5\nsave_steps: 5\nearly_stopping_patience: 2\n"
                  "greater_is_better: false\nmetric_for_best_model: ppl\n",
             ""),
        SAYS(ANY_RULE,
             EVAL "eval_steps: 5\ndo_causal_lm_eval: true\neval_causal_lm_metrics: [perplexity]\n",
             ""),
        SAYS(ANY_RULE, "reduce_dtype: bf16\nworld_invariant: true\n", ""),
        SAYS_ON(2, ANY_RULE,
                "fsdp_version: 2\nfsdp_config: {version: 2}\ncontext_parallel_size: 2\n", ""),
    };
    (void)state;

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        if (finds(&good[i]))
            fail_msg("there is a finding about:\n%s", good[i].yaml);
}

// Rules that no row of the table enforces: what happens instead, seen from outside. "" says that nothing is said:
// the limit was one of another program, or is lifted.
static const line elsewhere_lines[] = {
    SAYS(3, "unsloth_rope: true\n", "unsloth_rope: not accepted: removed upstream"),
    SAYS(8, "seed: null\n", ""),
    SAYS(12, "dataset_processes: 2\n", "deprecated; write dataset_num_proc"),
    SAYS(14, "chat_template_jinja: x\n", ""),
    SAYS_ALONE(15, MODEL BATCH "datasets: [{path: d, type: chat_template}]\n", ""),
    SAYS_ALONE(16,
               MODEL BATCH "datasets: [{path: d, type: chat_template, message_field_role: r}]\n",
               "deprecated; write message_property_mappings: {role: r}"),
    SAYS(19, "sample_packing: true\neval_sample_packing: false\n", ""),
    SAYS(20, "sample_packing: true\n", ""),
    SAYS(21, "remove_unused_columns: false\n", ""),
    SAYS(23, "sample_packing: true\nattn_implementation: sdpa\nbf16: true\n", ""),
    SAYS(25, "sample_packing: true\n", ""),
    SAYS(26, "reward_model: true\n", ""),
    SAYS(29, "batch_flattening: auto\n", "has no effect here"),
    SAYS(31, "sample_packing: true\nval_set_size: 1\neval_steps: 1\n", ""),
    SAYS(32, "reward_model: true\n", ""),
    SAYS(33, "process_reward_model: true\n", ""),
    SAYS(46, "evaluation_strategy: \"no\"\n", "deprecated; write eval_strategy"),
    SAYS(50, "gradient_checkpointing_kwargs: {use_reentrant: true}\n", "has no effect here"),
    SAYS(55, "accelerator_config: {split_batches: true}\n", "has no effect here"),
    SAYS(59, "torch_compile: auto\n", "has no effect here"),
    SAYS(61, "adapter: loora\n", "loora is none of its values"),
    SAYS(84, "fsdp_version: 2\nrl: orpo\n", ""),
    SAYS(90, "fsdp_version: 2\nfsdp_config: {offload_params: true}\noptimizer: adamw_8bit\n",
         "adamw_8bit is understood, but this version does not support it"),
    SAYS(91, "tensor_parallel_size: 2\n", ""),
    SAYS(95, "dataloader_num_workers: 2\n", "has no effect here"),
    SAYS(100, "gc_steps: 3\n", "deprecated; write gc_collect_steps"),
    SAYS(106, "attn_implementation: fp8\n", ""),
    SAYS(107, "attn_implementation: flex_attention\n", ""),
    SAYS(112, "fsdp_version: 2\nfsdp_config: {fsdp_offload_params: false}\n",
         "the prefix fsdp_ is deprecated inside fsdp_config; write offload_params"),
    SAYS(113, "fsdp_config: {fsdp_version: 2}\n", ""),
    SAYS(116, "sequence_parallel_degree: 2\n", "deprecated; write context_parallel_size"),
    SAYS(117, "context_parallel_size: 2\nattn_implementation: sdpa\n", ""),
    SAYS(118, "context_parallel_size: 2\nsample_packing: true\n", ""),
    SAYS(119, "context_parallel_size: 2\nring_attn_func: zigzag\n",
         "use varlen_zigzag, varlen_llama3 or batch_ring"),
    SAYS(123, "fsdp_version: 2\n", ""),
    SAYS(124, "base_model_config: falcon-7b\nfsdp_version: 2\nfsdp_config: {version: 2}\n", ""),
    SAYS(125, "expert_parallel_size: 2\ntensor_parallel_size: 2\n", ""),
};

static void rules_elsewhere_are_seen_from_outside(void **state)
{
    int lines_of[131] = {0};
    static const int elsewhere[] = {
#define AXL_RULE(number, severity, key, condition, message)
#define AXL_RULE_ELSEWHERE(number, reason) number,
// clang-format off
#include "src/config/rules.def"
// clang-format on
#undef AXL_RULE
#undef AXL_RULE_ELSEWHERE
    };
    (void)state;

    for (size_t i = 0; i < sizeof elsewhere_lines / sizeof elsewhere_lines[0]; i++) {
        line l = elsewhere_lines[i];
        lines_of[l.rule]++;
        bool silent = l.text[0] == '\0';
        l.rule = ANY_RULE;
        if (silent ? warns(&l) : !finds(&l))
            fail_msg("rule %d: %s\"%s\" about:\n%s", elsewhere_lines[i].rule,
                     silent ? "a warning or error " : "not said: ", l.text, l.yaml);
    }
    for (size_t i = 0; i < sizeof elsewhere / sizeof elsewhere[0]; i++)
        if (lines_of[elsewhere[i]] == 0)
            fail_msg("rule %d is enforced elsewhere and has no line here", elsewhere[i]);
}

// Every entry of a list is reported, not only the first.
static void every_data_set_is_reported(void **state)
{
    static const char text[] =
        MODEL BATCH "datasets: [{path: a, type: sharegpt}, {path: b}, {path: c, type: sharegpt}]\n"
                    "tokenizer_use_mistral_common: true\ntokens: [a]\nchat_template: chatml\n";
    axl_diagnostics d = {0};
    axl_config *c = NULL;
    axl_config_options options = {0};
    size_t n_sets = 0, n_keys = 0;
    (void)state;

    (void)axl_config_parse(text, strlen(text), "run.yaml", &options, &d, &c);
    for (size_t i = 0; i < d.n; i++) {
        n_sets += d.items[i].rule == 2;
        n_keys += d.items[i].rule == 17;
    }
    assert_int_equal(n_sets, 2);
    assert_int_equal(n_keys, 2);
    axl_config_destroy(c);
    axl_diagnostics_fini(&d);
}

static void every_rule_has_a_line(void **state)
{
    static const int rows[] = {
#define AXL_RULE(number, severity, key, condition, message) number,
#define AXL_RULE_ELSEWHERE(number, reason)
// clang-format off
#include "src/config/rules.def"
// clang-format on
#undef AXL_RULE
#undef AXL_RULE_ELSEWHERE
    };
    static const int elsewhere[] = {
#define AXL_RULE(number, severity, key, condition, message)
#define AXL_RULE_ELSEWHERE(number, reason) number,
// clang-format off
#include "src/config/rules.def"
// clang-format on
#undef AXL_RULE
#undef AXL_RULE_ELSEWHERE
    };
    int n_rows[131] = {0}, n_lines[131] = {0}, n_elsewhere[131] = {0};
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        n_rows[rows[i]]++;
    for (size_t i = 0; i < sizeof elsewhere / sizeof elsewhere[0]; i++)
        n_elsewhere[elsewhere[i]]++;
    for (size_t i = 0; i < N_LINES; i++)
        if (lines[i].rule != ANY_RULE)
            n_lines[lines[i].rule]++;
    for (int k = 0; k <= 130; k++) {
        if (k > 0 && (n_rows[k] > 0) + n_elsewhere[k] != 1)
            fail_msg("rule %d has %d rows and %d reasons", k, n_rows[k], n_elsewhere[k]);
        if (n_lines[k] < n_rows[k])
            fail_msg("rule %d has %d rows but %d lines here", k, n_rows[k], n_lines[k]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_line_is_found),
        cmocka_unit_test(good_files_have_no_findings),
        cmocka_unit_test(rules_elsewhere_are_seen_from_outside),
        cmocka_unit_test(every_data_set_is_reported),
        cmocka_unit_test(every_rule_has_a_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
