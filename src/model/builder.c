// Emitting instructions. Names are copied into the program's own text, so that a program is one plain
// value that can be shared and needs no release.
#include "src/model/builder.h"

#include "src/model/ops.h"

#include <string.h>

static void fail(axl_builder *b, const char *what)
{
    const char *name = b->program->name != NULL ? b->program->name : "?";
    if (b->status == AXL_OK)
        b->status = axl_error_set(AXL_E_BUG, __FILE__, __LINE__, "program %s: %s", name, what);
}

static const char *keep(axl_builder *b, const char *name, const char *suffix)
{
    axl_program *p = b->program;
    size_t n = strlen(name);
    size_t m = strlen(suffix);

    if (p->text_used + n + m + 1 > sizeof p->text) {
        fail(b, "too many names");
        return "";
    }
    char *at = p->text + p->text_used;
    memcpy(at, name, n); // the program began as zeros: the text is terminated
    memcpy(at + n, suffix, m);
    p->text_used += n + m + 1;
    return at;
}

static axl_slot new_slot(axl_builder *b, const char *name, int64_t cols, bool stat)
{
    axl_program *p = b->program;

    if (p->n_slots >= AXL_MAX_SLOTS) {
        fail(b, "too many slots");
        return 0;
    }
    p->slots[p->n_slots] = (axl_slot_info){
        .name = name, .cols = cols, .stat = stat, .producer = (int16_t)(p->n_insns - 1)};
    return (axl_slot)p->n_slots++;
}

#define BACK AXL_SCRATCH_BACKWARD
#define BOTH AXL_SCRATCH_BOTH

static axl_slot new_scratch(axl_builder *b, axl_slot_info info)
{
    const axl_slot s = new_slot(b, info.name, info.cols, info.stat);

    info.producer = b->program->slots[s].producer;
    b->program->slots[s] = info;
    return s;
}

static int16_t new_weight(axl_builder *b, axl_weight w)
{
    axl_program *p = b->program;

    if (p->n_weights >= AXL_MAX_WEIGHTS) {
        fail(b, "too many weights");
        return 0;
    }
    p->weights[p->n_weights] = w;
    return (int16_t)p->n_weights++;
}

static axl_insn *new_insn(axl_builder *b, axl_op op, const char *name)
{
    axl_program *p = b->program;

    if (p->n_insns >= AXL_MAX_INSNS) {
        fail(b, "too many instructions");
        p->n_insns--;
    }
    axl_insn *i = &p->insns[p->n_insns++];
    *i = (axl_insn){.op = (uint16_t)op, .scratch = -1, .name = keep(b, name, "")};
    for (int k = 0; k < AXL_MAX_IN; k++)
        i->in[k] = -1;
    for (int k = 0; k < AXL_MAX_OUT; k++)
        i->out[k] = -1;
    for (int k = 0; k < AXL_MAX_W; k++)
        i->w[k] = -1;
    return i;
}

void axl_builder_begin(axl_builder *b, axl_program *program, const char *name, int64_t cols, int tp)
{
    *program = (axl_program){.in = -1, .out = -1};
    *b = (axl_builder){.program = program, .tp = tp};
    program->name = keep(b, name, "");
    if (cols > 0)
        program->in = new_slot(b, "input", cols, false);
}

// A value that nothing reads has no gradient; its producer's backward would read memory that nobody wrote.
static void check_all_read(axl_builder *b)
{
    const axl_program *p = b->program;
    bool read[AXL_MAX_SLOTS] = {false};

    read[p->out] = true;
    for (int n = 0; n < p->n_insns; n++)
        for (int k = 0; k < AXL_MAX_IN; k++)
            if (p->insns[n].in[k] >= 0)
                read[p->insns[n].in[k]] = true;
    for (int n = 0; n < p->n_insns; n++)
        if (p->insns[n].out[0] >= 0 && !read[p->insns[n].out[0]])
            fail(b, "it makes a value that nothing reads");
}

axl_status axl_builder_finish(axl_builder *b, axl_slot out)
{
    b->program->out = out;
    if (b->status == AXL_OK)
        check_all_read(b);
    return b->status;
}

axl_slot axl_b_input(axl_builder *b)
{
    return b->program->in;
}

int64_t axl_b_cols(const axl_builder *b, axl_slot s)
{
    return b->program->slots[s].cols;
}

axl_slot axl_b_embed(axl_builder *b, const char *name, int64_t vocab, int64_t cols, float scale)
{
    axl_insn *i = new_insn(b, AXL_OP_EMBED, name);

    i->arg.embed.scale = scale;
    i->arg.embed.partial = b->tp > 1;
    i->w[0] = new_weight(b, (axl_weight){.name = keep(b, name, ".weight"),
                                         .rows = vocab,
                                         .cols = cols,
                                         .n_dims = 2,
                                         .tp = AXL_TP_COL,
                                         .decay = true});
    return i->out[0] = new_slot(b, i->name, cols, false);
}

void axl_b_tp_enter(axl_builder *b, axl_slot s)
{
    if (b->tp > 1)
        new_insn(b, AXL_OP_TP_ENTER, "tp_enter")->in[0] = s;
}

// Parts that tp cuts the outputs of a column weight into.
static int64_t n_parts(const axl_builder *b, const axl_linear_spec *spec)
{
    if (spec->tp != AXL_TP_COL)
        return 1;
    return spec->tp_parts > 0 && spec->tp_parts < b->tp ? spec->tp_parts : b->tp;
}

// The e4m3 of x, and in the slot behind it the scales; made once for all that read it.
static axl_slot cast_fp8(axl_builder *b, axl_slot x)
{
    const axl_program *p = b->program;

    for (int n = 0; n < p->n_insns; n++)
        if (p->insns[n].op == AXL_OP_CAST_FP8 && p->insns[n].in[0] == x)
            return p->insns[n].out[0];
    axl_insn *i = new_insn(b, AXL_OP_CAST_FP8, "cast_fp8");
    i->in[0] = x;
    i->out[0] = new_slot(b, "e4m3", axl_b_cols(b, x), true);
    b->program->slots[i->out[0]].e4m3 = true;
    i->out[1] = new_slot(b, "scale", 1, true);
    return i->out[0];
}

static void linear_fp8(axl_builder *b, axl_insn *i, axl_slot cast)
{
    i->arg.linear.fp8 = true;
    i->in[1] = cast;
    i->in[2] = (axl_slot)(cast + 1);
    b->program->weights[i->w[0]].fp8 = true;
    i->scratch = new_scratch(b, (axl_slot_info){.name = "dy_e4m3",
                                                .cols = i->arg.linear.out,
                                                .stat = true,
                                                .e4m3 = true,
                                                .scratch = BACK});
    (void)new_scratch(
        b, (axl_slot_info){.name = "dy_scale", .cols = 1, .stat = true, .scratch = BACK});
}

axl_slot axl_b_linear(axl_builder *b, axl_slot x, const char *name, const axl_linear_spec *spec)
{
    const int64_t in = axl_b_cols(b, x), parts = n_parts(b, spec);
    const bool row = spec->tp == AXL_TP_ROW;
    const int64_t whole_in = row ? in * b->tp : in; // the layout does not decide
    const bool fp8 = b->fp8 && whole_in % 16 == 0 && spec->out % 16 == 0;
    const axl_slot cast = fp8 ? cast_fp8(b, x) : -1;
    axl_insn *i = new_insn(b, AXL_OP_LINEAR, name);

    if (spec->out % parts != 0)
        fail(b, "tp does not divide the outputs of a linear layer");
    i->in[0] = x;
    i->arg.linear.in = in;
    i->arg.linear.out = spec->out / parts;
    i->arg.linear.partial = row && b->tp > 1;
    i->w[0] = new_weight(b, (axl_weight){.name = keep(b, name, ".weight"),
                                         .rows = spec->out,
                                         .cols = whole_in,
                                         .n_dims = 2,
                                         .tp = spec->tp,
                                         .tp_parts = spec->tp_parts,
                                         .decay = true});
    if (spec->bias)
        i->w[1] = new_weight(b, (axl_weight){.name = keep(b, name, ".bias"),
                                             .rows = spec->out,
                                             .cols = 1,
                                             .n_dims = 1,
                                             .tp = row ? AXL_TP_NONE : spec->tp,
                                             .tp_parts = spec->tp_parts,
                                             .decay = false});
    i->out[0] = new_slot(b, i->name, spec->out / parts, false);
    if (fp8)
        linear_fp8(b, i, cast);
    return i->out[0];
}

axl_slot axl_b_norm(axl_builder *b, axl_slot x, const char *name, const axl_norm *norm,
                    int64_t cols, axl_tp tp)
{
    axl_insn *i = new_insn(b, AXL_OP_NORM, name);
    int64_t width = axl_b_cols(b, x);

    if (width % cols != 0)
        fail(b, "a norm does not divide its slot");
    i->in[0] = x;
    i->arg.norm.kind = norm->kind;
    i->arg.norm.eps = norm->eps;
    i->arg.norm.cols = cols;
    i->w[0] = new_weight(b, (axl_weight){.name = keep(b, name, ".weight"),
                                         .rows = cols,
                                         .cols = 1,
                                         .n_dims = 1,
                                         .tp = tp,
                                         .decay = false});
    i->out[0] = new_slot(b, i->name, width, false);
    i->out[1] = new_slot(b, "rstd", width / cols, true);
    return i->out[0];
}

static axl_slot rotate(axl_builder *b, axl_slot x, const axl_arch *a, int rope, const char *name)
{
    axl_insn *i = new_insn(b, AXL_OP_ROPE, name);

    i->in[0] = x;
    i->arg.rope.rope = rope;
    i->arg.rope.head_dim = a->head_dim;
    i->arg.rope.n_heads = (int32_t)(axl_b_cols(b, x) / a->head_dim);
    i->arg.rope.half = a->ropes[rope].rotary_dim / 2;
    i->arg.rope.pairing = a->ropes[rope].pairing;
    return i->out[0] = new_slot(b, i->name, axl_b_cols(b, x), false);
}

void axl_b_rope(axl_builder *b, axl_slot *q, axl_slot *k, const axl_arch *a, int rope)
{
    if (rope < 0)
        return;
    *q = rotate(b, *q, a, rope, "self_attn.rope_q");
    *k = rotate(b, *k, a, rope, "self_attn.rope_k");
}

static axl_mask mask_of(axl_attn_rule rule)
{
    return rule == AXL_RULE_DOCUMENT ? AXL_MASK_FULL
           : rule == AXL_RULE_PREFIX ? AXL_MASK_PREFIX
                                     : AXL_MASK_CAUSAL;
}

axl_slot axl_b_attention(axl_builder *b, axl_slot q, axl_slot k, axl_slot v, const axl_arch *a,
                         int32_t window)
{
    axl_insn *i = new_insn(b, AXL_OP_ATTENTION, "self_attn");

    i->in[0] = q;
    i->in[1] = k;
    i->in[2] = v;
    i->arg.attention.n_heads = (int32_t)(axl_b_cols(b, q) / a->head_dim);
    i->arg.attention.n_kv_heads = (int32_t)(axl_b_cols(b, k) / a->head_dim);
    i->arg.attention.head_dim = a->head_dim;
    i->arg.attention.v_head_dim = (int32_t)(axl_b_cols(b, v) / i->arg.attention.n_kv_heads);
    i->arg.attention.window = window;
    i->arg.attention.scale = a->attention_scale;
    i->arg.attention.numerics = a->attention.numerics;
    i->arg.attention.library = a->attention.library;
    i->arg.attention.mask = mask_of(a->attention.rule);
    const int64_t heads = i->arg.attention.n_heads;
    i->out[0] = new_slot(b, i->name, heads * i->arg.attention.v_head_dim, false);
    i->out[1] = new_slot(b, "lse", heads, true);
    if (a->attention.numerics == AXL_ATTN_EAGER) {
        if (a->attention.max_keys < 1)
            fail(b, "eager attention does not know the longest document");
        i->arg.attention.ld_probs =
            (a->attention.max_keys + AXL_PROBS_ALIGN - 1) / AXL_PROBS_ALIGN * AXL_PROBS_ALIGN;
        i->out[2] = new_slot(b, "probs", heads * i->arg.attention.ld_probs, true);
    }
    i->scratch = new_scratch(
        b, (axl_slot_info){.name = "delta", .cols = heads, .stat = true, .scratch = BACK});
    if (axl_attn_repeats(a->attention.numerics)) { // what backward's own forward gives
        (void)new_scratch(b, (axl_slot_info){.name = "exact_out",
                                             .cols = heads * i->arg.attention.v_head_dim,
                                             .scratch = BACK});
        (void)new_scratch(
            b, (axl_slot_info){.name = "exact_lse", .cols = heads, .stat = true, .scratch = BACK});
    }
    return i->out[0];
}

axl_slot axl_b_add(axl_builder *b, axl_slot x, axl_slot y, const char *name)
{
    axl_insn *i = new_insn(b, AXL_OP_ADD, name);

    if (axl_b_cols(b, x) != axl_b_cols(b, y))
        fail(b, "an addition of slots of different width");
    i->in[0] = x;
    i->in[1] = y;
    return i->out[0] = new_slot(b, i->name, axl_b_cols(b, x), false);
}

axl_slot axl_b_glu(axl_builder *b, axl_slot gate, axl_slot up, axl_act act)
{
    axl_insn *i = new_insn(b, AXL_OP_GLU, "mlp.act_fn");

    i->in[0] = gate;
    i->in[1] = up;
    i->arg.glu.act = act;
    return i->out[0] = new_slot(b, i->name, axl_b_cols(b, gate), false);
}

// The stacks of experts, cut as the matrices of an mlp are; the router's gradient comes through outputs that are
// parts of a sum.
static void moe_weights(axl_builder *b, axl_insn *i, int64_t hidden, const axl_moe *moe)
{
    const axl_weight stack = {.n_mats = moe->n_experts, .n_dims = 2, .decay = true};
    const char *const names[] = {moe->names->gate, moe->names->gate_proj, moe->names->up_proj,
                                 moe->names->down_proj};

    for (int k = 0; k < 4; k++) {
        axl_weight w = stack;
        w.n_mats = k == 0 ? 1 : moe->n_experts;
        w.name = keep(b, names[k], ".weight");
        w.rows = k == 0 ? moe->n_experts : k == 3 ? hidden : moe->width;
        w.cols = k == 3 ? moe->width : hidden;
        w.tp = k == 0 ? AXL_TP_PARTIAL : k == 3 ? AXL_TP_ROW : AXL_TP_COL;
        i->w[k] = new_weight(b, w);
    }
}

static void moe_scratch(axl_builder *b, axl_insn *i, int64_t hidden, const axl_moe *moe)
{
    const int32_t k = moe->top_k, n = b->ep > 1 ? b->ep : 1;
    const int64_t e = moe->n_experts, d = hidden, j = i->arg.moe.width, spread = n > 1;
    const axl_slot_info kinds[] = {
        {.scratch = BOTH, .ints = true, .stat = true},
        {.scratch = BOTH, .ints = true, .stat = true, .rows = AXL_ROWS_ONE},
        {.scratch = BOTH},
        {.scratch = BOTH, .rows = AXL_ROWS_ROUTED, .routed = k, .n_ranks = n},
        {.scratch = BACK, .rows = AXL_ROWS_ROUTED, .routed = k, .n_ranks = n},
        {.scratch = BACK, .stat = true},
        {.scratch = BACK, .stat = true, .rows = AXL_ROWS_ROUTED, .routed = k, .n_ranks = n},
    };
    const struct {
        const char *name;
        int64_t cols;
        int kind;
    } list[AXL_MOE_N_SCRATCH] = {[AXL_MOE_COPIES] = {"copies", k, 0},
                                 [AXL_MOE_TOKENS] = {"tokens", k, 0},
                                 [AXL_MOE_PLACES] = {"places", k, 0},
                                 [AXL_MOE_COUNTS] = {"counts", e, 1},
                                 [AXL_MOE_ALL_COUNTS] = {"all_counts", e * n, 1},
                                 [AXL_MOE_LOGITS] = {"logits", e, 2},
                                 [AXL_MOE_HOME] = {"home", d * k * spread, 2},
                                 [AXL_MOE_ROWS] = {"rows", d, 3},
                                 [AXL_MOE_GATE] = {"gate", j, 3},
                                 [AXL_MOE_UP] = {"up", j, 3},
                                 [AXL_MOE_ACT] = {"act", j, 3},
                                 [AXL_MOE_DROWS] = {"drows", d, 4},
                                 [AXL_MOE_DACT] = {"dact", j, 4},
                                 [AXL_MOE_HOME_WEIGHT] = {"home_weight", k, 5},
                                 [AXL_MOE_HOME_DWEIGHT] = {"home_dweight", k, 5},
                                 [AXL_MOE_WEIGHT] = {"weight", spread, 6},
                                 [AXL_MOE_DWEIGHT] = {"dweight", spread, 6},
                                 [AXL_MOE_DWEIGHTS] = {"dweights", k, 5}};

    for (int s = 0; s < AXL_MOE_N_SCRATCH; s++) {
        axl_slot_info info = kinds[list[s].kind];
        info.name = list[s].name;
        info.cols = list[s].cols;
        const axl_slot slot = new_scratch(b, info);
        if (s == 0)
            i->scratch = slot;
    }
}

axl_slot axl_b_moe(axl_builder *b, axl_slot x, const axl_arch *a)
{
    const axl_moe *moe = &a->moe;
    axl_insn *i = new_insn(b, AXL_OP_MOE, moe->names->gate);
    const int64_t hidden = axl_b_cols(b, x);

    if (moe->width % b->tp != 0)
        fail(b, "tp does not divide the width of an expert");
    i->in[0] = x;
    i->arg.moe.n_experts = moe->n_experts;
    i->arg.moe.top_k = moe->top_k;
    i->arg.moe.hidden = hidden;
    i->arg.moe.width = moe->width / b->tp;
    i->arg.moe.act = a->act;
    i->arg.moe.renormalize = moe->renormalize;
    i->arg.moe.partial = b->tp > 1;
    moe_weights(b, i, hidden, moe);
    i->out[0] = new_slot(b, i->name, hidden, false);
    i->out[1] = new_slot(b, "ids", moe->top_k, true);
    i->out[2] = new_slot(b, "weights", moe->top_k, true);
    i->out[3] = new_slot(b, "lse", 1, true);
    b->program->slots[i->out[1]].ints = true;
    moe_scratch(b, i, hidden, moe);
    return i->out[0];
}
