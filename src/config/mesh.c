// How many ranks each axis of the mesh gets, from the keys and the number of ranks.
//
// Solving is a division. The hard part is to help when it does not come out: of all layouts that the ranks
// could have along the axes that the file names, those are told that change the fewest keys, and of these
// the nearest.
#include "src/config/rules.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { REPLICATE, SHARD, EP, CP, TP, N_AXES }; // slow to fast, as in comm/mesh.h

static const struct {
    const char *name, *key;
} axes[N_AXES] = {
    {"dp_replicate", "dp_replicate_size"}, {"dp_shard", "dp_shard_size"},
    {"ep", "expert_parallel_size"},        {"cp", "context_parallel_size"},
    {"tp", "tensor_parallel_size"},
};

#define MAX_MENDS    3
#define MAX_DIVISORS 1536 // no number below 2^31 has more

typedef struct layout {
    int64_t size[N_AXES];
} layout;

typedef struct search {
    layout asked; // 0: the key is absent
    int free;     // the axis that takes the rest; N_AXES when there is none
    int n_changes;
    int64_t divisors[MAX_DIVISORS]; // of the number of ranks
    int n_divisors;
    layout mends[MAX_MENDS]; // [n_mends], the nearest first
    double distances[MAX_MENDS];
    int n_mends;
} search;

static int64_t asked_size(uint8_t origin, int64_t size)
{
    return origin != AXL_SET_DEFAULT && size >= 1 ? size : 0;
}

static layout asked_layout(const axl_config *c)
{
    return (layout){{asked_size(c->set.dp_replicate_size, c->dp_replicate_size),
                     asked_size(c->set.dp_shard_size, c->dp_shard_size),
                     asked_size(c->set.expert_parallel_size, c->expert_parallel_size),
                     asked_size(c->set.context_parallel_size, c->context_parallel_size),
                     asked_size(c->set.tensor_parallel_size, c->tensor_parallel_size)}};
}

// Of the axes that are named; stops above AXL_MAX_RANKS, before it could overflow.
static int64_t product_of(const layout *l)
{
    int64_t product = 1;

    for (int i = 0; i < N_AXES && product <= AXL_MAX_RANKS; i++)
        product *= l->size[i] > 0 ? l->size[i] : 1;
    return product;
}

// dp_shard takes the rest when it is not named, else dp_replicate.
static int free_axis(const layout *asked)
{
    if (asked->size[SHARD] == 0)
        return SHARD;
    return asked->size[REPLICATE] == 0 ? REPLICATE : N_AXES;
}

// ---- what would fit ----

static void find_divisors(search *s, int64_t n)
{
    for (int64_t d = 1; d * d <= n; d++) {
        if (n % d != 0)
            continue;
        s->divisors[s->n_divisors++] = d;
        if (d * d != n)
            s->divisors[s->n_divisors++] = n / d;
    }
}

static void keep(search *s, const layout *l)
{
    double distance = 0.0;
    int at = 0;

    for (int i = 0; i < N_AXES; i++)
        if (s->asked.size[i] > 0)
            distance += fabs(log2((double)l->size[i] / (double)s->asked.size[i]));
    while (at < s->n_mends && s->distances[at] <= distance)
        at++;
    if (at == MAX_MENDS)
        return;
    s->n_mends += s->n_mends < MAX_MENDS;
    for (int i = s->n_mends - 1; i > at; i--) {
        s->mends[i] = s->mends[i - 1];
        s->distances[i] = s->distances[i - 1];
    }
    s->mends[at] = *l;
    s->distances[at] = distance;
}

// Fills l from `axis` on, so that the sizes multiply to `rest`, with exactly n_changes more named axes of
// another size.
static void try_sizes(search *s, layout *l, int axis, int64_t rest, int n_changes)
{
    int64_t asked = axis < N_AXES ? s->asked.size[axis] : 0;

    if (axis == N_AXES) {
        if (s->free < N_AXES)
            l->size[s->free] = rest;
        if (n_changes == 0 && (rest == 1 || s->free < N_AXES))
            keep(s, l);
        return;
    }
    l->size[axis] = asked > 0 ? asked : 1;
    if (rest % l->size[axis] == 0)
        try_sizes(s, l, axis + 1, rest / l->size[axis], n_changes);
    for (int i = 0; n_changes > 0 && asked > 0 && i < s->n_divisors; i++) {
        l->size[axis] = s->divisors[i];
        if (l->size[axis] != asked && rest % l->size[axis] == 0)
            try_sizes(s, l, axis + 1, rest / l->size[axis], n_changes - 1);
    }
}

// ---- saying it ----

__attribute__((format(printf, 2, 3))) static void add(axl_mesh_fault *f, const char *fmt, ...)
{
    size_t n = strlen(f->text);
    va_list args;

    va_start(args, fmt);
    // NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): va_start stands in the line before
    (void)vsnprintf(f->text + n, sizeof f->text - n, fmt, args);
    va_end(args);
}

static void add_product(axl_mesh_fault *f, const layout *asked)
{
    const char *times = "";

    for (int i = 0; i < N_AXES; i++) {
        if (asked->size[i] == 0 || (asked->size[i] == 1 && i != SHARD))
            continue; // a given dp_shard of 1 is worth saying: it makes dp_replicate take the rest
        add(f, "%s%s %lld", times, axes[i].name, (long long)asked->size[i]);
        times = " x ";
    }
}

static void add_mends(axl_mesh_fault *f, const search *s)
{
    for (int m = 0; m < s->n_mends; m++) {
        const char *before = m == 0 ? "set " : "or ";
        for (int i = 0; i < N_AXES; i++) {
            if (s->asked.size[i] == 0 || s->mends[m].size[i] == s->asked.size[i])
                continue;
            add(f, "%s%s: %lld", before, axes[i].key, (long long)s->mends[m].size[i]);
            before = " and ";
        }
        add(f, ", ");
    }
}

static void add_rank_counts(axl_mesh_fault *f, bool has_free, int64_t product, int64_t ranks)
{
    int64_t k = ranks > product ? ranks / product : 1;

    if (has_free)
        add(f, "or run on %lld or %lld ranks", (long long)(k * product),
            (long long)((k + 1) * product));
    else
        add(f, "or run on %lld rank%s", (long long)product, product == 1 ? "" : "s");
}

// The key under which the user wrote an axis.
static const char *key_of(const axl_config *c, int axis)
{
    return axis == CP && c->set.context_parallel_size == AXL_SET_DERIVED
               ? "sequence_parallel_degree"
               : axes[axis].key;
}

static void explain(const axl_config *c, int64_t product, int64_t ranks, axl_mesh_fault *f)
{
    search s = {.asked = asked_layout(c)};
    layout l = {{0}};
    int alone = N_AXES; // an axis that does not divide the ranks by itself
    int at = N_AXES;    // the axis that the finding is about

    s.free = free_axis(&s.asked);
    find_divisors(&s, ranks);
    for (int n = 1; n <= N_AXES && s.n_mends == 0; n++)
        try_sizes(&s, &l, 0, ranks, n);
    for (int i = 0; i < N_AXES; i++)
        if (s.asked.size[i] > 0 && ranks % s.asked.size[i] != 0)
            alone = at = i;
    for (int i = 0; i < N_AXES && at == N_AXES; i++)
        if (s.asked.size[i] > 0 && s.mends[0].size[i] != s.asked.size[i])
            at = i;
    f->key = key_of(c, at);
    if (alone < N_AXES) {
        add(f, "%lld does not divide %lld rank%s", (long long)s.asked.size[alone], (long long)ranks,
            ranks == 1 ? "" : "s");
    } else {
        add_product(f, &s.asked);
        add(f,
            s.free < N_AXES ? " = %lld does not divide %lld ranks"
                            : " = %lld, but there are %lld ranks",
            (long long)product, (long long)ranks);
    }
    add(f, "; ");
    add_mends(f, &s);
    add_rank_counts(f, s.free < N_AXES, product, ranks);
}

// ---- solving ----

bool axl_config_mesh(const axl_config *c, int n_ranks, axl_mesh_sizes *out, axl_mesh_fault *fault)
{
    layout l = asked_layout(c);
    int64_t product = product_of(&l);
    int free = free_axis(&l);

    *fault = (axl_mesh_fault){0};
    if (product > AXL_MAX_RANKS) {
        for (int i = 0; i < N_AXES; i++)
            fault->key = l.size[i] > 1 ? key_of(c, i) : fault->key;
        add_product(fault, &l);
        add(fault, " is more than %d ranks; make them smaller", AXL_MAX_RANKS);
        return false;
    }
    int64_t rest = n_ranks > 0 ? n_ranks / product : 1;
    if (n_ranks > 0 && (rest * product != n_ranks || (rest > 1 && free == N_AXES))) {
        explain(c, product, n_ranks, fault);
        return false;
    }
    for (int i = 0; i < N_AXES; i++)
        l.size[i] = i == free ? rest : l.size[i] > 0 ? l.size[i] : 1;
    *out = (axl_mesh_sizes){.dp_replicate = (int)l.size[REPLICATE],
                            .dp_shard = (int)l.size[SHARD],
                            .ep = (int)l.size[EP],
                            .cp = (int)l.size[CP],
                            .tp = (int)l.size[TP]};
    return true;
}
