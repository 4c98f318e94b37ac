// Graphs of units. What is hard is knowing that a graph is still right: a launch carries its arguments, so everything
// that an argument comes from is part of the key - sizes of the batch, where the unit's weights and gradients lie,
// and which gradients are added to. A graph is made at the second time that a key comes; a shape that comes once costs
// nothing.
#include "src/model/graphs.h"

#include "src/base/hash.h"
#include "src/model/ops.h"

#include <stdlib.h>
#include <string.h>

enum {
    SHAPES = 16, // keys kept of one unit and direction
    STALE = 4096 // runs of all units after which a graph gives way to another
};

#define AUTO_ELEMENTS                                                                              \
    ((int64_t)4 << 20) // of a residual stream: above, a kernel outlasts its launch

typedef struct entry {
    uint64_t key;
    uint64_t used;    // when last; 0: never
    axl_graph *graph; // owned; NULL: not yet
    bool refused;     // it cannot be one
    uint32_t written; // weights whose gradient holds something afterwards, by use
} entry;

struct axl_graphs {
    axl_device *device; // borrowed
    int32_t most_seqs, most_seqlen;
    int n_units;
    entry *entries; // [n_units][2][SHAPES], owned
    uint64_t clock;
};

static axl_status run_now(axl_work *w, int u, bool backward)
{
    axl_unit *unit = &w->model->units[u];
    const axl_unit_plan *plan = &w->plans[unit->program];
    const void *in = u > 0 ? axl_work_carry(w, u) : NULL;
    axl_exec x = {.run = &w->run, .program = axl_model_program(w->model, unit), .w = unit->uses};

    w->run.layer = unit->layer;
    return backward
               ? axl_exec_backward(&x, plan, w->scratch, w->saved[u], in, w->grad)
               : axl_exec_forward(&x, plan, w->scratch, w->saved[u], in, axl_work_carry(w, u + 1));
}

static bool repeats(const axl_program *p)
{
    for (int i = 0; i < p->n_insns; i++)
        if (axl_ops[p->insns[i].op]->host_work)
            return false;
    return true;
}

static bool wanted(const axl_work *w)
{
    const axl_arch *a = &w->model->arch;
    const int64_t elements = w->options.n_tokens * a->hidden;
    bool any = false;

    for (int u = 0; u < w->model->n_units; u++)
        any = any || (w->model->units[u].layer >= 0 &&
                      repeats(axl_model_program(w->model, &w->model->units[u])));
    return any && (w->device == NULL || w->device->ops->begin_capture != NULL) &&
           w->options.train && w->model->mesh->size[AXL_TP] == 1 &&
           w->model->mesh->size[AXL_CP] == 1 &&
           (w->options.graphs == AXL_GRAPHS_ON ||
            (w->options.graphs == AXL_GRAPHS_AUTO && elements <= AUTO_ELEMENTS));
}

// Backward has about two for one of forward; products in 8 bits have a cast, a weight that is turned, and scales, too.
static int64_t n_kernels(const axl_program *p)
{
    int64_t n = 3 * (int64_t)p->n_insns;

    for (int i = 0; i < p->n_insns; i++)
        n += p->insns[i].op == AXL_OP_LINEAR && p->insns[i].arg.linear.fp8 ? 4 : 0;
    return n;
}

int64_t axl_graphs_most_kernels(const axl_work *w)
{
    int64_t n = 0;

    for (int u = 0; u < w->model->n_units - 1 && wanted(w); u++) {
        const axl_program *p = axl_model_program(w->model, &w->model->units[u]);
        n += repeats(p) ? n_kernels(p) * SHAPES : 0;
    }
    return n;
}

axl_status axl_graphs_create(const axl_work *w, axl_graphs **out)
{
    axl_status status = AXL_OK;
    const axl_attn_choice *attention = &w->model->arch.attention;
    // these masks have lists a document, and eager attention a row of probabilities a key
    const bool rounds = attention->rule != AXL_RULE_PREFIX &&
                        attention->numerics != AXL_ATTN_SHIFTED &&
                        attention->numerics != AXL_ATTN_EAGER;
    axl_graphs *g = NULL;

    *out = NULL;
    if (!wanted(w))
        goto out;
    AXL_TRY(axl_calloc(1, sizeof *g, "the graphs", &g));
    g->device = w->device;
    g->n_units = w->model->n_units;
    g->most_seqs = rounds ? (int32_t)w->options.n_seqs : 0;
    g->most_seqlen = rounds ? (int32_t)w->options.n_tokens : 0;
    AXL_TRY(
        axl_calloc((size_t)g->n_units * 2 * SHAPES, sizeof *g->entries, "the graphs", &g->entries));
    *out = g;
    g = NULL;

out:
    axl_graphs_destroy(g);
    return status;
}

void axl_graphs_destroy(axl_graphs *g)
{
    if (g == NULL)
        return;
    (void)g->device->ops->synchronize(g->device->compute);
    for (int i = 0; i < g->n_units * 2 * SHAPES && g->entries != NULL; i++)
        g->device->ops->graph_destroy(g->device, g->entries[i].graph);
    free(g->entries);
    free(g);
}

static void round_up(int32_t *n, int32_t most)
{
    int32_t power = 1;

    while (power < *n)
        power *= 2;
    if (*n < most)
        *n = power < most ? power : most;
}

void axl_graphs_round(const axl_graphs *g, int32_t *n_seqs, int32_t *max_seqlen)
{
    if (g == NULL)
        return;
    round_up(n_seqs, g->most_seqs);
    round_up(max_seqlen, g->most_seqlen);
}

static uint64_t key_of(const axl_work *w, const axl_unit *u)
{
    const int64_t batch[3] = {w->run.n_tokens, w->run.n_seqs, w->run.max_seqlen};
    axl_hash h;

    axl_hash_init(&h, 0);
    axl_hash_update(&h, batch, sizeof batch);
    for (int k = 0; k < u->n_uses; k++) {
        const axl_param *p = u->uses[k];
        axl_hash_update(&h, &p->full, sizeof p->full);
        axl_hash_update(&h, &p->grad_full, sizeof p->grad_full);
        axl_hash_update(&h, &p->grad_written, sizeof p->grad_written);
    }
    return axl_hash_value(&h);
}

static uint32_t written(const axl_unit *u)
{
    uint32_t bits = 0;

    for (int k = 0; k < u->n_uses; k++)
        bits |= (uint32_t)u->uses[k]->grad_written << k;
    return bits;
}

static void set_written(axl_unit *u, uint32_t bits)
{
    for (int k = 0; k < u->n_uses; k++)
        u->uses[k]->grad_written = bits >> k & 1;
}

// The entry of a key. A new one takes the place of the key without a graph that came longest ago, or of a graph that
// is stale: graphs that come in turn must not push each other out. *out is NULL when there is no place.
static axl_status find_entry(axl_graphs *g, int u, bool backward, uint64_t key, entry **out)
{
    axl_status status = AXL_OK;
    entry *all = &g->entries[(2 * u + backward) * SHAPES], *place = NULL;

    for (int i = 0; i < SHAPES; i++) {
        entry *e = &all[i];
        if (e->used > 0 && e->key == key) {
            *out = e;
            return AXL_OK;
        }
        if (e->graph != NULL && g->clock - e->used < STALE)
            continue;
        if (place == NULL || e->used < place->used)
            place = e;
    }
    *out = place;
    if (place == NULL)
        goto out;
    if (place->graph != NULL) { // a launch of it may be under way
        AXL_TRY(g->device->ops->synchronize(g->device->compute));
        g->device->ops->graph_destroy(g->device, place->graph);
    }
    *place = (entry){.key = key};

out:
    return status;
}

// Notes the unit's work as the entry's graph. Without a graph afterwards nothing was queued.
static axl_status capture(axl_work *w, int u, bool backward, entry *e)
{
    axl_status status = AXL_OK, ended = AXL_OK;
    const axl_device_ops *ops = w->device->ops;
    axl_unit *unit = &w->model->units[u];
    const uint32_t before = written(unit);

    AXL_TRY(ops->begin_capture(w->device->compute));
    status = run_now(w, u, backward);
    ended = ops->end_capture(w->device->compute,
                             backward ? "a layer's graph, backward" : "a layer's graph", &e->graph);
    e->written = written(unit);
    if (e->graph != NULL && status == AXL_OK)
        goto out;
    // a call that a capture forbids is not the unit's fault: its own come again when it is queued anew
    w->device->ops->graph_destroy(w->device, e->graph);
    e->graph = NULL;
    e->refused = true;
    set_written(unit, before);
    status = ended;

out:
    return status;
}

axl_status axl_graphs_run(axl_work *w, int u, bool backward)
{
    axl_status status = AXL_OK;
    axl_graphs *g = w->graphs;
    axl_unit *unit = &w->model->units[u];
    entry *e = NULL;

    // a traced layer tells of its ops one by one
    if (g == NULL || w->run.trace != NULL || unit->layer < 0 ||
        !repeats(axl_model_program(w->model, unit)))
        return run_now(w, u, backward);
    AXL_TRY(find_entry(g, u, backward, key_of(w, unit), &e));
    if (e == NULL)
        return run_now(w, u, backward);
    const bool again = e->used > 0;
    e->used = ++g->clock;
    if (again && e->graph == NULL && !e->refused)
        AXL_TRY(capture(w, u, backward, e));
    if (e->graph == NULL)
        return run_now(w, u, backward);
    set_written(unit, e->written);
    AXL_TRY(w->device->ops->launch(w->device->compute, e->graph));

out:
    return status;
}
