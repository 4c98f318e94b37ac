// Lifetimes and offsets. Time runs over two walks: forward 0 .. n - 1; backward first the re-run
// instructions 0 .. r - 1, then the list in reverse, r .. r + n - 1. The hard part is the residual stream: the
// gradient of a sum is the gradient of both its inputs, and giving all three the same memory saves a copy
// of [T, D] at every addition (share_sum says when that is right).
#include "src/model/plan.h"

#include "comm/dispatch.h"
#include "src/base/mem.h"
#include "src/model/ops.h"

#include <stdlib.h>
#include <string.h>

typedef struct planner {
    const axl_program *p;
    const bool *trainable;
    axl_unit_plan *plan;
    size_t bytes[AXL_MAX_SLOTS]; // of each slot
    bool needed[AXL_MAX_SLOTS];  // backward reads it
    bool saved[AXL_MAX_SLOTS];
    bool rebuilt[AXL_MAX_SLOTS];
    axl_slot sum_of[AXL_MAX_SLOTS]; // the sum whose gradient's memory the slot's shares; -1: none
} planner;

// One buffer that wants a place: alive in [begin, end] of its walk.
typedef struct interval {
    int begin, end;
    size_t bytes;
    int64_t *offset; // where the answer goes
} interval;

static int larger_first(const void *a, const void *b)
{
    const interval *x = a;
    const interval *y = b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x->begin - y->begin;
}

// First fit, large buffers first. Returns the bytes that all of them need.
static size_t place(interval *list, int n)
{
    size_t total = 0;

    qsort(list, (size_t)n, sizeof *list, larger_first);
    for (int i = 0; i < n; i++) {
        size_t at = 0;
        for (int j = 0; j < i; j++) { // restart after every move: n is below a hundred
            size_t other = (size_t)*list[j].offset;
            bool meet = list[i].begin <= list[j].end && list[j].begin <= list[i].end &&
                        at < other + list[j].bytes && other < at + list[i].bytes;
            if (meet) {
                at = other + list[j].bytes;
                j = -1;
            }
        }
        *list[i].offset = (int64_t)at;
        if (at + list[i].bytes > total)
            total = at + list[i].bytes;
    }
    return total;
}

int64_t axl_slot_rows(const axl_slot_info *s, int64_t n_tokens)
{
    switch (s->rows) {
    case AXL_ROWS_ROUTED:
        return axl_dispatch_capacity(n_tokens * s->routed, s->n_ranks);
    case AXL_ROWS_ONE:
        return 1;
    default:
        return n_tokens;
    }
}

axl_dtype axl_slot_dtype(const axl_slot_info *s, axl_dtype dtype, axl_dtype stat)
{
    return s->e4m3 ? AXL_F8_E4M3 : s->ints ? AXL_I32 : s->stat ? stat : dtype;
}

static size_t slot_bytes(const axl_slot_info *s, int64_t n_tokens, axl_dtype dtype, axl_dtype stat)
{
    const size_t element = axl_dtype_size(axl_slot_dtype(s, dtype, stat));

    return axl_align_up((size_t)(axl_slot_rows(s, n_tokens) * s->cols) * element);
}

static void find_needed(planner *x)
{
    for (int n = 0; n < x->p->n_insns; n++) {
        const axl_insn *i = &x->p->insns[n];
        const axl_op_def *op = axl_ops[i->op];
        uint32_t in = op->needs_in;
        if (i->w[0] >= 0 && x->trainable[i->w[0]])
            in |= op->needs_in_if_trainable;
        for (int k = 0; k < AXL_MAX_IN; k++)
            if (i->in[k] >= 0 && (in >> k & 1) != 0)
                x->needed[i->in[k]] = true;
        for (int k = 0; k < AXL_MAX_OUT; k++)
            if (i->out[k] >= 0 && (op->needs_out >> k & 1) != 0)
                x->needed[i->out[k]] = true;
    }
}

// Whether the op wants this output kept under every save set.
static bool is_kept(const axl_insn *i, axl_slot s)
{
    for (int k = 0; k < AXL_MAX_OUT; k++)
        if (i->out[k] == s && (axl_ops[i->op]->keeps >> k & 1) != 0)
            return true;
    return false;
}

// Marks slot s as available in backward: kept, or rebuilt from inputs that are made available in turn.
static void make_available(planner *x, axl_slot s, axl_checkpointing mode)
{
    if (s == x->p->in || x->saved[s] || x->rebuilt[s])
        return;
    const axl_insn *i = &x->p->insns[x->p->slots[s].producer];
    bool rebuild =
        mode == AXL_CHECKPOINT_FULL || (mode == AXL_CHECKPOINT_SELECTIVE && axl_ops[i->op]->cheap);
    if (!rebuild || is_kept(i, s)) {
        x->saved[s] = true;
        return;
    }
    x->rebuilt[s] = true;
    for (int k = 0; k < AXL_MAX_IN; k++)
        if (i->in[k] >= 0)
            make_available(x, i->in[k], mode);
}

static void find_reruns(planner *x)
{
    for (int n = 0; n < x->p->n_insns; n++) {
        const axl_insn *i = &x->p->insns[n];
        bool again = false;
        for (int k = 0; k < AXL_MAX_OUT; k++)
            again |= i->out[k] >= 0 && x->rebuilt[i->out[k]];
        if (!again)
            continue;
        x->plan->rerun[x->plan->n_rerun++] = (int16_t)n;
        for (int k = 0; k < AXL_MAX_OUT; k++) // the other outputs are written too and need a place
            if (i->out[k] >= 0 && !x->saved[i->out[k]])
                x->rebuilt[i->out[k]] = true;
    }
}

static void place_saved(planner *x)
{
    for (int s = 0; s < x->p->n_slots; s++) {
        if (!x->saved[s])
            continue;
        x->plan->saved[s] = (int64_t)x->plan->saved_bytes;
        x->plan->saved_bytes += x->bytes[s];
    }
}

static void place_forward(planner *x)
{
    interval list[AXL_MAX_SLOTS];
    int n_list = 0;

    for (int s = 0; s < x->p->n_slots; s++) {
        int begin = x->p->slots[s].producer;
        int end = begin;
        if (s == x->p->in || s == x->p->out || x->saved[s])
            continue;
        for (int n = 0; n < x->p->n_insns; n++)
            for (int k = 0; k < AXL_MAX_IN; k++)
                if (x->p->insns[n].in[k] == s)
                    end = n;
        if (x->p->slots[s].scratch == AXL_SCRATCH_BACKWARD)
            continue;
        list[n_list++] = (interval){begin, end, x->bytes[s], &x->plan->forward[s]};
    }
    x->plan->forward_bytes = place(list, n_list);
}

// Whether s is an addend, at any depth of sums that share memory, of slot sum.
static bool is_part_of(const planner *x, axl_slot s, axl_slot sum)
{
    while (s >= 0 && s != sum)
        s = x->sum_of[s];
    return s == sum;
}

// Whether one memory may hold the gradients of all slots of this root. Where something other than their sum reads
// slot s, it adds to the memory what belongs to s and to its addends only; all others must have been taken from
// it by then, that is, their producers must come later in the list.
static bool may_share(const planner *x, int16_t root)
{
    const int16_t *root_of = x->plan->grad_root;

    for (int n = 0; n < x->p->n_insns; n++) {
        const axl_insn *i = &x->p->insns[n];
        for (int k = 0; k < AXL_MAX_IN; k++) {
            axl_slot s = i->in[k];
            if (s < 0 || root_of[s] != root || x->sum_of[s] == i->out[0])
                continue;
            for (int t = 0; t < x->p->n_slots; t++)
                if (root_of[t] == root && x->p->slots[t].producer <= n &&
                    !is_part_of(x, (axl_slot)t, s))
                    return false;
        }
    }
    return true;
}

// Lets the gradients of a sum's inputs lie where that of its output lies, if it is safe.
static void share_sum(planner *x, int n)
{
    const axl_insn *i = &x->p->insns[n];
    axl_slot a = i->in[0];
    axl_slot b = i->in[1];
    int16_t *root = x->plan->grad_root;

    // x + x has twice the gradient of the sum; a slot shares with one sum only, the last that reads it
    if (a == b || x->sum_of[a] >= 0 || x->sum_of[b] >= 0)
        return;
    root[a] = root[b] = root[i->out[0]];
    x->sum_of[a] = x->sum_of[b] = i->out[0];
    if (may_share(x, root[a]))
        return;
    root[a] = a;
    root[b] = b;
    x->sum_of[a] = x->sum_of[b] = -1;
}

static void find_roots(planner *x)
{
    for (int s = 0; s < x->p->n_slots; s++) {
        x->plan->grad_root[s] = (int16_t)s;
        x->sum_of[s] = -1;
    }
    for (int n = x->p->n_insns - 1; n >= 0; n--)
        if (x->p->insns[n].op == AXL_OP_ADD)
            share_sum(x, n);
}

// First contributions set, later ones add; in reverse order of the list.
static axl_status find_contributions(planner *x)
{
    axl_status status = AXL_OK;
    bool have[AXL_MAX_SLOTS] = {false};

    have[x->plan->grad_root[x->p->out]] = true;
    for (int n = x->p->n_insns - 1; n >= 0; n--) {
        const axl_insn *i = &x->p->insns[n];
        for (int k = 0; k < AXL_MAX_IN; k++) {
            if (i->in[k] < 0 || axl_ops[i->op]->in_place)
                continue;
            int16_t root = x->plan->grad_root[i->in[k]];
            x->plan->acc[n][k] = have[root];
            have[root] = true;
            AXL_REQUIRE(!x->plan->acc[n][k] || (axl_ops[i->op]->sets_only >> k & 1) == 0, AXL_E_BUG,
                        "program %s: something after %s reads its input too, and its backward "
                        "cannot add",
                        x->p->name, i->name);
        }
    }
out:
    return status;
}

static int rerun_turn(const planner *x, int insn)
{
    int turn = 0;

    while (turn < x->plan->n_rerun && x->plan->rerun[turn] != insn)
        turn++;
    return turn;
}

// Scratch of each instruction at its turn, and from its re-run on if it has one and needs scratch there.
static int list_scratch(const planner *x, int last, interval *list)
{
    int n = 0;

    for (int s = 0; s < x->p->n_slots; s++) {
        const axl_slot_info *slot = &x->p->slots[s];
        const int turn = last - slot->producer, again = rerun_turn(x, slot->producer);
        if (slot->scratch == AXL_NO_SCRATCH)
            continue;
        const bool early = slot->scratch == AXL_SCRATCH_BOTH && again < x->plan->n_rerun;
        list[n++] = (interval){early ? again : turn, turn, x->bytes[s], &x->plan->backward[s]};
    }
    return n;
}

static void place_backward(planner *x)
{
    interval list[3 * AXL_MAX_SLOTS];
    int n_list = 0;
    int r = x->plan->n_rerun;
    int last = r + x->p->n_insns - 1;
    int begin_of[AXL_MAX_SLOTS];
    int end_of[AXL_MAX_SLOTS];

    for (int s = 0; s < x->p->n_slots; s++) {
        begin_of[s] = last + 1;
        end_of[s] = -1;
    }
    for (int n = 0; n < x->p->n_insns;
         n++) { // gradients: from the last reader's turn to the producer's
        const axl_insn *i = &x->p->insns[n];
        int turn = last - n;
        for (int k = 0; k < AXL_MAX_IN + AXL_MAX_OUT; k++) {
            int s = k < AXL_MAX_IN ? i->in[k] : i->out[k - AXL_MAX_IN];
            if (s < 0 || x->p->slots[s].stat)
                continue;
            int16_t root = x->plan->grad_root[s];
            begin_of[root] = turn < begin_of[root] ? turn : begin_of[root];
            end_of[root] = turn > end_of[root] ? turn : end_of[root];
        }
    }
    for (int s = 0; s < x->p->n_slots; s++)
        if (end_of[s] >= 0 && x->plan->grad_root[s] == s && s != x->plan->grad_root[x->p->out])
            list[n_list++] = (interval){begin_of[s], end_of[s], x->bytes[s], &x->plan->grad[s]};
    for (int s = 0; s < x->p->n_slots;
         s++) { // rebuilt: from their re-run to the producer's turn at most
        if (!x->rebuilt[s])
            continue;
        list[n_list++] =
            (interval){rerun_turn(x, x->p->slots[s].producer), last - x->p->slots[s].producer,
                       x->bytes[s], &x->plan->backward[s]};
    }
    n_list += list_scratch(x, last, list + n_list);
    x->plan->backward_bytes = place(list, n_list);
}

axl_status axl_unit_plan_make(const axl_program *p, const bool *trainable, axl_checkpointing mode,
                              int64_t n_tokens, axl_dtype dtype, axl_dtype stat, axl_unit_plan *out)
{
    axl_status status = AXL_OK;
    planner x = {.p = p, .trainable = trainable, .plan = out};

    memset(out, 0, sizeof *out);
    for (int s = 0; s < p->n_slots; s++) {
        x.bytes[s] = slot_bytes(&p->slots[s], n_tokens, dtype, stat);
        out->saved[s] = out->forward[s] = out->backward[s] = out->grad[s] = -1;
    }
    find_needed(&x);
    AXL_REQUIRE(p->out >= 0 && !x.needed[p->out], AXL_E_BUG,
                "program %s: its own output is read by its backward", p->name);
    for (int s = 0; s < p->n_slots; s++)
        if (x.needed[s])
            make_available(&x, (axl_slot)s, mode);
    find_reruns(&x);
    place_saved(&x);
    place_forward(&x);
    find_roots(&x);
    AXL_TRY(find_contributions(&x));
    place_backward(&x);
    out->in_place = p->in >= 0 && out->grad_root[p->in] == out->grad_root[p->out];
out:
    return status;
}

double axl_program_flops(const axl_program *p, double n, double pairs)
{
    double total = 0.0;

    for (int k = 0; k < p->n_insns; k++) {
        const axl_insn *i = &p->insns[k];
        if (axl_ops[i->op]->flops != NULL)
            total += axl_ops[i->op]->flops(i, n, pairs);
    }
    return total;
}
