// RUN: np=1
// When a run evaluates, saves and logs, over many mixes of the keys, against a second telling of the rules: from the
// numbers that were drawn, step by step, without the program's own steps in between.
#include "src/base/philox.h"
#include "src/train/train.h"
#include "tests/check.h"

#include <math.h>

enum { MIXES = 4000 };

static const char *const strategies[] = {NULL, "no", "steps", "epoch", "best"};

// One draw of the keys; 0 and NULL: not there.
typedef struct mix {
    double epochs, save_steps, eval_steps, logging_steps;
    int64_t per_epoch, max_steps, saves, evals;
    const char *save, *eval;
    bool has_set, first, load_best;
} mix;

typedef struct dice {
    uint64_t seed, n;
} dice;

static int64_t below(dice *d, int64_t n)
{
    return (int64_t)(axl_random_uniform(d->seed, AXL_RANDOM_TEST, d->n++) * (double)n);
}

// Steps as users write them: none, a count, a fraction.
static double some_steps(dice *d)
{
    switch (below(d, 4)) {
    case 0:
        return (double)(1 + below(d, 12));
    case 1:
        return 1.0 / (double)(2 + below(d, 20));
    default:
        return 0.0;
    }
}

static mix draw(uint64_t seed)
{
    dice d = {.seed = seed};
    mix m = {.epochs = 0.5 * (double)(1 + below(&d, 8)), .per_epoch = 1 + below(&d, 13)};

    m.save_steps = some_steps(&d);
    m.eval_steps = some_steps(&d);
    m.logging_steps = some_steps(&d);
    m.max_steps = below(&d, 3) == 0 ? 1 + below(&d, 60) : 0;
    m.saves = below(&d, 4) == 0 ? 1 + below(&d, 4) : 0;
    m.evals = below(&d, 4) == 0 ? 1 + below(&d, 4) : 0;
    m.save = strategies[below(&d, 5)];
    m.eval = strategies[below(&d, 4)];
    m.has_set = below(&d, 4) > 0;
    m.first = below(&d, 5) == 0;
    m.load_best = below(&d, 4) == 0;
    return m;
}

static void write_keys(const mix *m, axl_str *text)
{
    CHECK_OK(axl_str_printf(text,
                            "base_model: m\nlearning_rate: 1e-4\ndatasets: [{path: d}]\n"
                            "micro_batch_size: 1\ngradient_accumulation_steps: 1\n"
                            "num_epochs: %.17g\nsave_first_step: %s\nload_best_model_at_end: %s\n",
                            m->epochs, m->first ? "true" : "false",
                            m->load_best ? "true" : "false"));
    if (m->save_steps > 0.0)
        CHECK_OK(axl_str_printf(text, "save_steps: %.17f\n", m->save_steps));
    if (m->eval_steps > 0.0)
        CHECK_OK(axl_str_printf(text, "eval_steps: %.17f\n", m->eval_steps));
    if (m->logging_steps > 0.0)
        CHECK_OK(axl_str_printf(text, "logging_steps: %.17f\n", m->logging_steps));
    if (m->max_steps > 0)
        CHECK_OK(axl_str_printf(text, "max_steps: %lld\n", (long long)m->max_steps));
    if (m->saves > 0)
        CHECK_OK(axl_str_printf(text, "saves_per_epoch: %lld\n", (long long)m->saves));
    if (m->evals > 0)
        CHECK_OK(axl_str_printf(text, "evals_per_epoch: %lld\n", (long long)m->evals));
    if (m->save != NULL)
        CHECK_OK(
            axl_str_printf(text, "save_strategy: \"%s\"\nmetric_for_best_model: loss\n", m->save));
    if (m->eval != NULL)
        CHECK_OK(axl_str_printf(text, "eval_strategy: \"%s\"\n", m->eval));
    if (m->has_set)
        CHECK_OK(axl_str_puts(text, "val_set_size: 0.1\n"));
}

// ---- the second telling

static bool is(const char *a, const char *b)
{
    return a != NULL && strcmp(a, b) == 0;
}

static int64_t total_of(const mix *m)
{
    const double whole = floor(m->epochs);
    const int64_t rest = (int64_t)ceil((m->epochs - whole) * (double)m->per_epoch);

    return m->max_steps > 0 ? m->max_steps : (int64_t)whole * m->per_epoch + rest;
}

// Every so many steps; a fraction is of the run, rounded up.
static int64_t count(double steps, int64_t total)
{
    const double n = steps < 1.0 ? ceil((double)total * steps) : steps;

    return n < 1.0 ? 1 : (int64_t)n;
}

typedef enum when { NEVER, COUNTED, EPOCHS, BEST } when;

// How often, of one of the two; *every in steps.
static when say_when(const mix *m, bool saves, int64_t *every)
{
    const double steps = saves ? m->save_steps : m->eval_steps;
    const int64_t times = saves ? m->saves : m->evals;
    const char *strategy = saves ? m->save : m->eval;
    const double share = times > 0 ? 1.0 / ((double)times * m->epochs) : 0.0;

    *every = 500;
    if (!saves && !m->has_set)
        return NEVER;
    if (steps > 0.0 || (times > 0 && share < 1.0)) {
        *every = count(steps > 0.0 ? steps : share, total_of(m));
        return COUNTED;
    }
    if (times >
        0) // one in the run is that of its last epoch, less is none; evaluations have no such default
        return saves && share == 1.0 ? is(strategy, "no")      ? NEVER
                                       : is(strategy, "steps") ? COUNTED
                                                               : EPOCHS
                                     : NEVER;
    if (strategy == NULL)
        return saves ? EPOCHS : NEVER;
    return is(strategy, "no")      ? NEVER
           : is(strategy, "steps") ? COUNTED
           : is(strategy, "epoch") ? EPOCHS
                                   : BEST;
}

static bool falls_due(when w, int64_t every, int64_t step, bool ends_epoch, bool last)
{
    return (w == COUNTED && (last || step % every == 0)) || (w == EPOCHS && (last || ends_epoch));
}

// ---- both

typedef struct tally {
    int64_t runs, refused, evals, saves;
} tally;

static void compare(const mix *m, axl_trainer *t, tally *n)
{
    int64_t save_every = 0, eval_every = 0;
    const when save = say_when(m, true, &save_every), eval = say_when(m, false, &eval_every);
    axl_eval_report r = {0};
    double best = INFINITY;
    dice d = {.seed = (uint64_t)t->total_steps};

    if (m->load_best && save == COUNTED && eval == COUNTED && m->save_steps < 1.0 &&
        m->eval_steps < 1.0) {
        assert_int_equal(t->steer.save_every % t->steer.eval_every,
                         0); // a checkpoint for each best
        save_every = t->steer.save_every;
    }
    for (t->step = 1; t->step <= t->total_steps; t->step++) {
        const bool ends = t->step % m->per_epoch == 0, last = t->step == t->total_steps;
        const bool evaluated = falls_due(eval, eval_every, t->step, ends, last);
        bool better = false;
        if (axl_steer_evaluates(t, ends, last) != evaluated)
            fail_msg("step %lld of %lld: evaluation wanted: %d", (long long)t->step,
                     (long long)t->total_steps, evaluated);
        if (evaluated) {
            r.loss = (double)below(&d, 1000);
            better = r.loss < best;
            best = better ? r.loss : best;
            axl_steer_evaluated(t, &r);
        }
        const bool saved = falls_due(save, save_every, t->step, ends, last) ||
                           (save == BEST && better) || (m->first && t->step == 1);
        if (axl_steer_saves(t, ends, last) != saved)
            fail_msg("step %lld of %lld: save wanted: %d", (long long)t->step,
                     (long long)t->total_steps, saved);
        n->evals += evaluated;
        n->saves += saved;
    }
    if (m->logging_steps > 0.0)
        assert_int_equal(axl_config_logging_steps(t->env.config, t->total_steps),
                         count(m->logging_steps, t->total_steps));
}

static void every_mix_does_what_its_keys_say(void **state)
{
    tally n = {0};
    (void)state;

    for (uint64_t seed = 0; seed < MIXES; seed++) {
        const mix m = draw(seed);
        const axl_config_options options = {.n_ranks = 1};
        axl_diagnostics found = {0};
        axl_config *c = NULL;
        axl_str text = {0};
        char nothing = 0;
        write_keys(&m, &text);
        const bool good =
            axl_config_parse(text.data, text.len, "run.yaml", &options, &found, &c) == AXL_OK;
        if (good) {
            axl_trainer t = {.env = {.config = c},
                             .total_steps = total_of(&m),
                             .eval_loader = m.has_set ? (axl_loader *)(void *)&nothing : NULL};
            if (axl_steer_init(&t) == AXL_OK) {
                compare(&m, &t, &n);
                n.runs++;
            }
            axl_steer_fini(&t.steer);
        }
        n.refused += !good;
        axl_config_destroy(c);
        axl_diagnostics_fini(&found);
        axl_str_fini(&text);
    }
    print_message("%lld mixes run, %lld refused; %lld evaluations, %lld saves\n", (long long)n.runs,
                  (long long)n.refused, (long long)n.evals, (long long)n.saves);
    assert_true(n.runs > MIXES / 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_mix_does_what_its_keys_say)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
