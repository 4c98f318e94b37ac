// The standard decoder: the definition of the model, one line an instruction.
#include "src/model/builder.h"

axl_status axl_decoder_build_embedding(const axl_arch *a, int tp, axl_program *p)
{
    axl_builder b;

    axl_builder_begin(&b, p, "embedding", 0, tp);
    return axl_builder_finish(
        &b, axl_b_embed(&b, "model.embed_tokens", a->vocab, a->hidden, a->embed_scale));
}

static axl_slot self_attention(axl_builder *b, axl_slot n, const axl_arch *a,
                               const axl_layer *layer)
{
    const int64_t d = a->head_dim;
    const axl_linear_spec to_q = {.out = a->n_heads * d, .bias = a->q_bias, .tp = AXL_TP_COL};
    const axl_linear_spec to_k = {
        .out = a->n_kv_heads * d, .bias = a->k_bias, .tp = AXL_TP_COL, .tp_parts = a->n_kv_heads};
    axl_linear_spec to_v = to_k;
    const axl_linear_spec to_out = {.out = a->hidden, .bias = a->o_bias, .tp = AXL_TP_ROW};

    to_v.bias = a->v_bias;
    axl_b_tp_enter(b, n);
    axl_slot q = axl_b_linear(b, n, "self_attn.q_proj", &to_q);
    axl_slot k = axl_b_linear(b, n, "self_attn.k_proj", &to_k);
    axl_slot v = axl_b_linear(b, n, "self_attn.v_proj", &to_v);
    if (a->qk_norm == AXL_QK_NORM_HEAD) {
        q = axl_b_norm(b, q, "self_attn.q_norm", &a->norm, d, AXL_TP_PARTIAL);
        k = axl_b_norm(b, k, "self_attn.k_norm", &a->norm, d, AXL_TP_PARTIAL);
    }
    axl_b_rope(b, &q, &k, a, layer->rope);
    axl_slot o = axl_b_attention(b, q, k, v, a, layer->window);
    return axl_b_linear(b, o, "self_attn.o_proj", &to_out);
}

static axl_slot mlp(axl_builder *b, axl_slot n, const axl_arch *a)
{
    const axl_linear_spec up = {.out = a->ffn, .bias = a->mlp_bias, .tp = AXL_TP_COL};
    const axl_linear_spec down = {.out = a->hidden, .bias = a->mlp_bias, .tp = AXL_TP_ROW};

    axl_b_tp_enter(b, n);
    axl_slot gate = axl_b_linear(b, n, "mlp.gate_proj", &up);
    axl_slot value = axl_b_linear(b, n, "mlp.up_proj", &up);
    return axl_b_linear(b, axl_b_glu(b, gate, value, a->act), "mlp.down_proj", &down);
}

static axl_slot feed_forward(axl_builder *b, axl_slot n, const axl_arch *a, const axl_layer *layer)
{
    if (!layer->sparse)
        return mlp(b, n, a);
    axl_b_tp_enter(b, n);
    return axl_b_moe(b, n, a);
}

axl_status axl_decoder_build_layer(const axl_arch *a, int tp, int ep, int layer, axl_program *p)
{
    axl_builder b;

    axl_builder_begin(&b, p, "layer", a->hidden, tp);
    b.ep = ep;
    b.fp8 = a->fp8;
    axl_slot x = axl_b_input(&b);
    axl_slot n = axl_b_norm(&b, x, "input_layernorm", &a->norm, a->hidden, AXL_TP_NONE);
    axl_slot h =
        axl_b_add(&b, x, self_attention(&b, n, a, &a->layers[layer]), "self_attn.residual");
    n = axl_b_norm(&b, h, "post_attention_layernorm", &a->norm, a->hidden, AXL_TP_NONE);
    return axl_builder_finish(
        &b, axl_b_add(&b, h, feed_forward(&b, n, a, &a->layers[layer]), "mlp.residual"));
}

axl_status axl_decoder_build_head(const axl_arch *a, int tp, axl_program *p)
{
    axl_builder b;

    axl_builder_begin(&b, p, "head", a->hidden, tp);
    return axl_builder_finish(
        &b, axl_b_norm(&b, axl_b_input(&b), "model.norm", &a->norm, a->hidden, AXL_TP_NONE));
}

bool axl_decoder_same_kind(const axl_arch *a, int layer_a, int layer_b)
{
    const axl_layer *x = &a->layers[layer_a];
    const axl_layer *y = &a->layers[layer_b];

    return x->window == y->window && x->rope == y->rope && x->sparse == y->sparse;
}
