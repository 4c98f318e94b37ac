// The standard decoder: the definition of the model, one line an instruction.
#include "src/model/builder.h"

axl_status axl_decoder_build_embedding(const axl_arch *a, axl_program *p)
{
    axl_builder b;

    axl_builder_begin(&b, p, "embedding", 0);
    return axl_builder_finish(
        &b, axl_b_embed(&b, "model.embed_tokens", a->vocab, a->hidden, a->embed_scale));
}

static axl_slot self_attention(axl_builder *b, axl_slot n, const axl_arch *a,
                               const axl_layer *layer)
{
    int64_t d = a->head_dim;
    axl_slot q = axl_b_linear(b, n, "self_attn.q_proj", a->n_heads * d, a->q_bias, AXL_TP_COL);
    axl_slot k = axl_b_linear(b, n, "self_attn.k_proj", a->n_kv_heads * d, a->k_bias, AXL_TP_COL);
    axl_slot v = axl_b_linear(b, n, "self_attn.v_proj", a->n_kv_heads * d, a->v_bias, AXL_TP_COL);

    if (a->qk_norm == AXL_QK_NORM_HEAD) {
        q = axl_b_norm(b, q, "self_attn.q_norm", &a->norm, d);
        k = axl_b_norm(b, k, "self_attn.k_norm", &a->norm, d);
    }
    axl_b_rope(b, &q, &k, a, layer->rope);
    axl_slot o = axl_b_attention(b, q, k, v, a, layer->window);
    return axl_b_linear(b, o, "self_attn.o_proj", a->hidden, a->o_bias, AXL_TP_ROW);
}

static axl_slot mlp(axl_builder *b, axl_slot n, const axl_arch *a)
{
    axl_slot gate = axl_b_linear(b, n, "mlp.gate_proj", a->ffn, a->mlp_bias, AXL_TP_COL);
    axl_slot up = axl_b_linear(b, n, "mlp.up_proj", a->ffn, a->mlp_bias, AXL_TP_COL);
    axl_slot h = axl_b_glu(b, gate, up, a->act);

    return axl_b_linear(b, h, "mlp.down_proj", a->hidden, a->mlp_bias, AXL_TP_ROW);
}

axl_status axl_decoder_build_layer(const axl_arch *a, int layer, axl_program *p)
{
    axl_builder b;

    axl_builder_begin(&b, p, "layer", a->hidden);
    axl_slot x = axl_b_input(&b);
    axl_slot n = axl_b_norm(&b, x, "input_layernorm", &a->norm, a->hidden);
    axl_slot h =
        axl_b_add(&b, x, self_attention(&b, n, a, &a->layers[layer]), "self_attn.residual");
    n = axl_b_norm(&b, h, "post_attention_layernorm", &a->norm, a->hidden);
    return axl_builder_finish(&b, axl_b_add(&b, h, mlp(&b, n, a), "mlp.residual"));
}

axl_status axl_decoder_build_head(const axl_arch *a, axl_program *p)
{
    axl_builder b;

    axl_builder_begin(&b, p, "head", a->hidden);
    return axl_builder_finish(&b,
                              axl_b_norm(&b, axl_b_input(&b), "model.norm", &a->norm, a->hidden));
}

bool axl_decoder_same_kind(const axl_arch *a, int layer_a, int layer_b)
{
    const axl_layer *x = &a->layers[layer_a];
    const axl_layer *y = &a->layers[layer_b];

    return x->window == y->window && x->rope == y->rope;
}
