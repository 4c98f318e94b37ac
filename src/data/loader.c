// One producer thread, one consumer, a ring of slots. The plan belongs to the producer while it runs; the
// consumer reads only slots, so whatever it needs about a step travels in the slot of the first micro-step.
#include "src/data/loader.h"

#include "src/base/mem.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define N_SLOTS 4

// What a batch points into.
typedef struct arrays {
    int32_t *ids, *labels, *positions; // [capacity], owned
    float *weight;                     // [capacity], owned
} arrays;

typedef struct slot {
    axl_batch batch;
    arrays whole;         // the micro-batch
    arrays part;          // this rank's tokens of it; not there when it holds all
    int32_t *cu;          // owned
    int64_t *sample;      // owned
    axl_cp_layout layout; // of part
    void *layout_memory;  // owned
    int64_t micro;        // micro-step in its step
    axl_step_info step;
    axl_loader_state after; // place behind the step
} slot;

struct axl_loader {
    axl_loader_options options;
    axl_plan *plan; // owned
    slot slots[N_SLOTS];
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    bool running, stop;
    int64_t produced, taken,
        released;           // slots so far; the one taken last is released by the next call
    axl_loader_state next;  // producer: place of the next step
    axl_loader_state state; // consumer: place behind the last whole step
    int64_t steps_left;     // at `state`
    int64_t micro_left;     // batches of the present step not yet taken
};

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

// Bins of a whole step over all ranks.
static int64_t step_bins(const axl_loader *l)
{
    return l->options.gradient_accumulation_steps * l->options.dp_size * l->plan->bins_per_micro;
}

static bool is_split(const axl_loader_options *o)
{
    return o->cp_size > 1;
}

static axl_status arrays_init(arrays *a, int64_t capacity)
{
    axl_status status = AXL_OK;
    size_t t = (size_t)capacity;

    AXL_TRY(axl_calloc(t, sizeof *a->ids, "batch", &a->ids));
    AXL_TRY(axl_calloc(t, sizeof *a->labels, "batch", &a->labels));
    AXL_TRY(axl_calloc(t, sizeof *a->positions, "batch", &a->positions));
    AXL_TRY(axl_calloc(t, sizeof *a->weight, "batch", &a->weight));

out:
    return status;
}

static void arrays_fini(arrays *a)
{
    free(a->ids);
    free(a->labels);
    free(a->positions);
    free(a->weight);
}

static axl_status slot_init(slot *s, const axl_loader_options *o, int64_t max_tokens,
                            int64_t max_seqs)
{
    axl_status status = AXL_OK;
    size_t n = (size_t)max_seqs;

    AXL_TRY(arrays_init(&s->whole, max_tokens));
    AXL_TRY(axl_calloc(n + 1, sizeof *s->cu, "batch", &s->cu));
    AXL_TRY(axl_calloc(n, sizeof *s->sample, "batch", &s->sample));
    if (!is_split(o))
        goto out;
    AXL_TRY(arrays_init(&s->part, axl_cp_most_rows(max_tokens, o->cp_size)));
    const size_t bytes = axl_cp_layout_bytes(o->cp_size, max_tokens, (int32_t)max_seqs);
    AXL_TRY(axl_calloc(bytes, 1, "batch", &s->layout_memory));
    axl_cp_layout_init(&s->layout, o->cp_kind, o->cp_size, max_tokens, (int32_t)max_seqs,
                       s->layout_memory);

out:
    return status;
}

static void slot_fini(slot *s)
{
    arrays_fini(&s->whole);
    arrays_fini(&s->part);
    free(s->cu);
    free(s->sample);
    free(s->layout_memory);
}

// Appends one document to the slot.
static void put_document(slot *s, const axl_prepared *set, int64_t sample)
{
    axl_batch *b = &s->batch;
    arrays *w = &s->whole;
    int64_t begin = axl_prepared_begin(set, sample);
    int32_t n = (int32_t)axl_prepared_length(set, sample), at = b->n_tokens;

    memcpy(w->ids + at, set->ids + begin, (size_t)n * sizeof *w->ids);
    // shifted here, once: the target of t is the label of t + 1, and the last token has none
    memcpy(w->labels + at, set->labels + begin + 1, (size_t)(n - 1) * sizeof *w->labels);
    w->labels[at + n - 1] = AXL_IGNORE;
    for (int32_t t = 0; t < n; t++) {
        w->positions[at + t] = t;
        w->weight[at + t] = w->labels[at + t] != AXL_IGNORE ? 1.0f : 0.0f;
    }
    s->sample[b->n_seqs++] = sample;
    b->n_tokens += n;
    s->cu[b->n_seqs] = b->n_tokens;
    b->max_seqlen = n > b->max_seqlen ? n : b->max_seqlen;
}

static void point_batch(axl_batch *b, const arrays *a)
{
    b->input_ids = a->ids;
    b->labels = a->labels;
    b->position_ids = a->positions;
    b->weight = a->weight;
}

// Leaves this rank's tokens in the batch. The labels are shifted already, so no target is lost at a border.
static void split_slot(slot *s, int rank)
{
    axl_batch *b = &s->batch;
    // the capacities are the plan's, and the batch was made from it
    const axl_status status = axl_cp_layout_set(&s->layout, s->cu, b->n_seqs);
    AXL_ASSERT(status == AXL_OK);
    const int32_t *rows = axl_cp_rows(&s->layout, rank);

    b->cp = &s->layout;
    b->n_tokens = (int32_t)axl_cp_n_rows(&s->layout, rank);
    b->cu_seqlens = axl_cp_local_cu(&s->layout, rank);
    b->max_seqlen = 0;
    for (int32_t i = 0; i < b->n_seqs; i++)
        b->max_seqlen = (int32_t)max64(b->max_seqlen, b->cu_seqlens[i + 1] - b->cu_seqlens[i]);
    for (int32_t t = 0; t < b->n_tokens; t++) {
        s->part.ids[t] = s->whole.ids[rows[t]];
        s->part.labels[t] = s->whole.labels[rows[t]];
        s->part.positions[t] = s->whole.positions[rows[t]];
        s->part.weight[t] = s->whole.weight[rows[t]];
    }
    point_batch(b, &s->part);
}

// Fills the slot with bins [from, to) of the plan's epoch.
static void fill_slot(const axl_loader *l, slot *s, int64_t from, int64_t to)
{
    const axl_bins *bins = &l->plan->bins;

    s->batch = (axl_batch){.cu_seqlens = s->cu, .seq_sample = s->sample};
    point_batch(&s->batch, &s->whole);
    s->cu[0] = 0;
    for (int64_t i = from < to ? bins->start[from] : 0; from < to && i < bins->start[to]; i++)
        put_document(s, l->plan->list->set, bins->items[i]);
    if (is_split(&l->options))
        split_slot(s, l->options.cp_rank);
}

// Moves *at past an epoch that is over, and says how many bins the step that begins there takes.
static int64_t place_step(const axl_loader *l, axl_loader_state *at)
{
    int64_t want = step_bins(l);

    axl_plan_epoch(l->plan, at->epoch);
    int64_t left = l->plan->bins.n_bins - at->bin;
    if (left <= 0 || (l->options.drop_last && left < want && at->bin > 0)) {
        at->epoch++;
        at->bin = 0;
        axl_plan_epoch(l->plan, at->epoch);
        left = l->plan->bins.n_bins;
    }
    return min64(left, want);
}

static axl_step_info describe_step(const axl_loader *l, const axl_loader_state *at, int64_t n_bins)
{
    const axl_bins *bins = &l->plan->bins;
    const axl_prepared *set = l->plan->list->set;
    int64_t n_batches = ceil_div(n_bins, l->plan->bins_per_micro), trained = 0;
    axl_step_info info = {.epoch = at->epoch, .n_micro = ceil_div(n_batches, l->options.dp_size)};

    for (int64_t i = bins->start[at->bin]; i < bins->start[at->bin + n_bins]; i++) {
        trained += set->info[bins->items[i]].trained;
        info.n_tokens += axl_prepared_length(set, bins->items[i]);
    }
    info.weight = (double)trained;
    info.epoch_end = (double)at->epoch + (double)(at->bin + n_bins) / (double)l->plan->bins.n_bins;
    return info;
}

// Waits for a free slot; NULL: stop.
static slot *wait_free(axl_loader *l)
{
    slot *s = NULL;

    (void)pthread_mutex_lock(&l->lock);
    while (!l->stop && l->produced - l->released >= N_SLOTS)
        (void)pthread_cond_wait(&l->changed, &l->lock);
    if (!l->stop)
        s = &l->slots[l->produced % N_SLOTS];
    (void)pthread_mutex_unlock(&l->lock);
    return s;
}

static void publish(axl_loader *l)
{
    (void)pthread_mutex_lock(&l->lock);
    l->produced++;
    (void)pthread_cond_broadcast(&l->changed);
    (void)pthread_mutex_unlock(&l->lock);
}

static void *produce(void *arg)
{
    axl_loader *l = arg;
    int64_t per = l->plan->bins_per_micro;

    while (true) {
        int64_t n_bins = place_step(l, &l->next), end = l->next.bin + n_bins;
        axl_step_info info = describe_step(l, &l->next, n_bins);
        for (int64_t a = 0; a < info.n_micro; a++) {
            slot *s = wait_free(l);
            if (s == NULL)
                return NULL;
            int64_t from = l->next.bin + (a * l->options.dp_size + l->options.dp_rank) * per;
            fill_slot(l, s, from, min64(from + per, end));
            s->micro = a;
            s->step = info;
            s->after = l->next;
            s->after.bin = end;
            publish(l);
        }
        l->next.bin = end;
    }
}

static axl_status start(axl_loader *l)
{
    axl_status status = AXL_OK;
    sigset_t all, before;

    l->stop = false;
    l->produced = l->taken = l->released = l->micro_left = 0;
    l->next = l->state;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); // signals belong to the main thread
    int failed = pthread_create(&l->thread, NULL, produce, l);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    AXL_REQUIRE(failed == 0, AXL_E_MEMORY, "the loader thread cannot be started");
    l->running = true;

out:
    return status;
}

static void stop(axl_loader *l)
{
    if (!l->running)
        return;
    (void)pthread_mutex_lock(&l->lock);
    l->stop = true;
    (void)pthread_cond_broadcast(&l->changed);
    (void)pthread_mutex_unlock(&l->lock);
    (void)pthread_join(l->thread, NULL);
    l->running = false;
}

static int64_t steps_of_epoch(axl_loader *l, int64_t epoch, int64_t from_bin)
{
    int64_t want = step_bins(l);

    axl_plan_epoch(l->plan, epoch);
    int64_t left = l->plan->bins.n_bins - min64(from_bin, l->plan->bins.n_bins);
    if (!l->options.drop_last)
        return ceil_div(left, want);
    return left / want > 0 || from_bin > 0 ? left / want : 1;
}

static int64_t count_steps(axl_loader *l)
{
    int64_t whole = (int64_t)floor(l->options.num_epochs), steps = 0;
    double part = l->options.num_epochs - (double)whole;
    int64_t bin = l->state.bin;

    for (int64_t e = l->state.epoch; e < whole; e++, bin = 0)
        steps += steps_of_epoch(l, e, bin);
    if (part > 0.0 && l->state.epoch <= whole) {
        int64_t all = (int64_t)ceil(part * (double)steps_of_epoch(l, whole, 0));
        int64_t done = l->state.epoch == whole ? ceil_div(bin, step_bins(l)) : 0;
        steps += all > done ? all - done : 0;
    }
    return steps;
}

axl_status axl_loader_create(const axl_sample_list *list, const axl_loader_options *options,
                             axl_loader **out)
{
    axl_status status = AXL_OK;
    axl_loader *l = NULL;

    AXL_REQUIRE(options->gradient_accumulation_steps >= 1 && options->dp_size >= 1 &&
                    options->dp_rank >= 0 && options->dp_rank < options->dp_size,
                AXL_E_CONFIG, "gradient_accumulation_steps must be at least 1");
    AXL_TRY(axl_calloc(1, sizeof *l, "loader", &l));
    l->options = *options;
    l->lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    l->changed = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
    AXL_TRY(axl_plan_create(list, &options->plan, &l->plan));
    for (int i = 0; i < N_SLOTS; i++)
        AXL_TRY(slot_init(&l->slots[i], options, l->plan->max_tokens, l->plan->max_seqs));
    AXL_TRY(axl_loader_rewind(l));
    *out = l;
    l = NULL;

out:
    axl_loader_destroy(l);
    return status;
}

void axl_loader_destroy(axl_loader *l)
{
    if (l == NULL)
        return;
    stop(l);
    for (int i = 0; i < N_SLOTS; i++)
        slot_fini(&l->slots[i]);
    axl_plan_destroy(l->plan);
    free(l);
}

int64_t axl_loader_steps_left(const axl_loader *l)
{
    return l->steps_left;
}

int64_t axl_loader_max_tokens(const axl_loader *l)
{
    return is_split(&l->options) ? axl_cp_most_rows(l->plan->max_tokens, l->options.cp_size)
                                 : l->plan->max_tokens;
}

int64_t axl_loader_whole_tokens(const axl_loader *l)
{
    return l->plan->max_tokens;
}

int64_t axl_loader_max_seqs(const axl_loader *l)
{
    return l->plan->max_seqs;
}

// Gives the slot taken last back and waits for the next; it stays the loader's.
static slot *wait_next(axl_loader *l)
{
    (void)pthread_mutex_lock(&l->lock);
    if (l->released < l->taken) {
        l->released = l->taken;
        (void)pthread_cond_broadcast(&l->changed);
    }
    while (l->produced == l->taken)
        (void)pthread_cond_wait(&l->changed, &l->lock);
    (void)pthread_mutex_unlock(&l->lock);
    return &l->slots[l->taken % N_SLOTS];
}

axl_status axl_loader_begin_step(axl_loader *l, axl_step_info *info)
{
    axl_status status = AXL_OK;

    AXL_REQUIRE(l->micro_left == 0, AXL_E_BUG, "%lld batches of the step were not taken",
                (long long)l->micro_left);
    const slot *s = wait_next(l);
    AXL_ASSERT(s->micro == 0);
    l->micro_left = s->step.n_micro;
    *info = s->step;

out:
    return status;
}

axl_status axl_loader_next(axl_loader *l, const axl_batch **out)
{
    axl_status status = AXL_OK;

    AXL_REQUIRE(l->micro_left > 0, AXL_E_BUG, "a batch is asked for outside a step");
    const slot *s = wait_next(l);
    l->taken++;
    l->micro_left--;
    if (l->micro_left == 0) {
        l->state = s->after;
        l->steps_left -= l->steps_left > 0;
    }
    *out = &s->batch;

out:
    return status;
}

axl_loader_state axl_loader_get_state(const axl_loader *l)
{
    return l->state;
}

axl_status axl_loader_set_state(axl_loader *l, const axl_loader_state *state)
{
    axl_status status = AXL_OK;

    AXL_REQUIRE(
        state->plan_hash == l->plan->hash, AXL_E_INPUT,
        "the checkpoint was made with other data, another order or another packing; restore "
        "the data and the keys datasets, val_set_size, seed, sequence_len and sample_packing, "
        "or start without resuming");
    AXL_REQUIRE(state->epoch >= 0 && state->bin >= 0 && state->bin <= l->plan->list->n, AXL_E_INPUT,
                "the checkpoint holds no valid place in the data: epoch %lld, bin %lld",
                (long long)state->epoch, (long long)state->bin);
    stop(l); // the plan is the thread's while it runs
    l->state = *state;
    l->steps_left = count_steps(l);
    AXL_TRY(start(l));

out:
    return status;
}

axl_status axl_loader_rewind(axl_loader *l)
{
    return axl_loader_set_state(l, &(axl_loader_state){.plan_hash = l->plan->hash});
}
