// A step with many micro-steps repeats itself: the first, one from the middle and the last are run, and the middle
// one counts for all between.
#include "src/plan/pipeline.h"

typedef struct clock {
    const axl_pipeline *p;
    double now;     // kernels
    double wire;    // traffic
    double taken;   // seconds of traffic so far
    double wait[3]; // gather, reduce, replicate
    double free[3]; // when the gradient memory of root units, even and odd layers has been reduced
} clock;

static int region_of(const axl_pipeline *p, int u)
{
    return u == 0 || u == p->n_units - 1 ? 0 : 1 + (u - 1) % 2;
}

// Traffic that may begin at `from`. What does not overlap holds the kernels up. Returns when it is over.
static double travel(clock *c, double from, double seconds)
{
    if (seconds <= 0.0)
        return from;
    c->wire = (c->wire > from ? c->wire : from) + seconds;
    c->taken += seconds;
    c->now += (1.0 - c->p->overlap) * seconds;
    c->wait[0] += (1.0 - c->p->overlap) * seconds;
    return c->wire;
}

static void await(clock *c, double ready, int what)
{
    if (ready <= c->now)
        return;
    c->wait[what] += ready - c->now;
    c->now = ready;
}

static void forward(clock *c, bool gathers)
{
    const axl_unit_seconds *u = c->p->units;
    double ready = travel(c, c->now, gathers ? u[0].gather : 0.0);

    for (int i = 0; i < c->p->n_units; i++) {
        const double next =
            i + 1 < c->p->n_units ? travel(c, c->now, gathers ? u[i + 1].gather : 0.0) : 0.0;
        await(c, ready, 0);
        if (i == c->p->n_units - 1)
            await(c, c->free[0], 1); // the head writes gradients
        c->now += u[i].forward;
        ready = next;
    }
}

static void reduce(clock *c, int i, bool replicates)
{
    const axl_unit_seconds *u = &c->p->units[i];
    const double end = travel(c, c->now, u->reduce);

    c->free[region_of(c->p, i)] = end;
    if (replicates)
        (void)travel(c, end, u->replicate);
}

static void backward(clock *c, bool gathers, bool last)
{
    const axl_unit_seconds *u = c->p->units;
    const int head = c->p->n_units - 1;
    double ready = travel(c, c->now, gathers ? u[head - 1].gather_again : 0.0);

    reduce(c, head, last || c->p->invariant);
    for (int i = head - 1; i >= 0; i--) {
        const double next = i > 0 ? travel(c, c->now, gathers ? u[i - 1].gather_again : 0.0) : 0.0;
        await(c, ready, 0);
        await(c, c->free[region_of(c->p, i)], 1);
        c->now += u[i].backward;
        reduce(c, i, last || c->p->invariant);
        ready = next;
    }
}

static void micro_step(clock *c, bool first, bool last)
{
    const bool gathers = !c->p->kept;

    forward(c, gathers || first);
    backward(c, gathers, last);
}

// The end of the step: every reduction is over.
static void finish(clock *c)
{
    double reduced = 0.0;

    for (int i = 0; i < 3; i++)
        reduced = c->free[i] > reduced ? c->free[i] : reduced;
    await(c, reduced, 1);
    await(c, c->wire, 2);
}

double axl_pipeline_run(const axl_pipeline *p, axl_seconds *waits, double *hidden)
{
    clock c = {.p = p};
    const int64_t skipped = p->n_micro > 3 ? p->n_micro - 3 : 0;
    clock before = c, middle = c;

    for (int64_t m = 0; m < p->n_micro - skipped; m++) {
        before = m == 1 ? c : before;
        micro_step(&c, m == 0, m + 1 == p->n_micro - skipped);
        middle = m == 1 ? c : middle;
    }
    finish(&c);
    const double n = (double)skipped;
    double total = c.now + n * (middle.now - before.now), taken = c.taken, waited = 0.0;
    taken += n * (middle.taken - before.taken);
    for (int i = 0; i < 3; i++) {
        const double w = c.wait[i] + n * (middle.wait[i] - before.wait[i]);
        waits->s[AXL_TIME_GATHER + i] += w;
        waited += w;
    }
    *hidden += taken > waited ? taken - waited : 0.0;
    return total;
}
