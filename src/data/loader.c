// One producer thread, one consumer, a ring of slots. The feed belongs to the producer while it runs; the
// consumer reads only slots, so whatever it needs about a step travels in the slot of the first micro-step: also
// the failure of the feed, in a slot of its own, behind which nothing comes.
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
    int32_t *role;        // owned; seq_role
    axl_cp_layout layout; // of part
    void *layout_memory;  // owned
    int64_t micro;        // micro-step in its step
    axl_step_info step;
    axl_loader_state after; // place behind the step
    axl_status status;      // of the feed; the rest is empty when it failed
} slot;

// The bins of the step that is being put into slots.
typedef struct step_bins {
    struct {
        const axl_prepared *set;
        int64_t end; // in items
    } * bins;        // [bins_wanted], owned
    int64_t *items;  // [n_items] samples of the bins' sets, owned
    size_t capacity;
    int64_t n_bins, n_items;
} step_bins;

struct axl_loader {
    axl_loader_options options;
    axl_feed *feed; // owned
    step_bins step; // producer
    char *failure;  // owned; words of a failed slot
    slot slots[N_SLOTS];
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    bool running, stop;
    int64_t produced, taken,
        released;           // slots so far; the one taken last is released by the next call
    axl_loader_state state; // consumer: place behind the last whole step
    int64_t steps_left;     // at `state`
    int64_t *epoch_bins;    // [n_epochs] bins of each epoch, -1: not yet counted; owned
    int64_t n_epochs;
    int64_t late_epoch, late_bins; // of an epoch behind those; 0: none counted
    int64_t micro_left;            // batches of the present step not yet taken
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
static int64_t bins_wanted(const axl_loader *l)
{
    return l->options.gradient_accumulation_steps * l->options.dp_size * l->feed->bins_per_micro;
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
    AXL_TRY(axl_calloc(n, sizeof *s->role, "batch", &s->role));
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
    free(s->role);
    free(s->layout_memory);
}

// Appends tokens of the set to the open document of the slot; their positions go on from what is there.
static void put_tokens(slot *s, const axl_prepared *set, int64_t begin, int64_t length,
                       axl_seq_role role)
{
    const axl_batch *b = &s->batch;
    arrays *w = &s->whole;
    int32_t n = (int32_t)length, at = b->n_tokens, first = s->cu[b->n_seqs];
    int32_t shift = role != AXL_SEQ_STEPS;

    memcpy(w->ids + at, set->ids + begin, (size_t)n * sizeof *w->ids);
    // shifted here, once: the target of t is the label of t + 1, and the last token has none
    memcpy(w->labels + at, set->labels + begin + shift, (size_t)(n - shift) * sizeof *w->labels);
    if (shift)
        w->labels[at + n - 1] = AXL_IGNORE;
    for (int32_t t = 0; t < n; t++) {
        w->positions[at + t] = at + t - first;
        w->weight[at + t] = w->labels[at + t] != AXL_IGNORE ? 1.0f : 0.0f;
    }
    s->batch.n_tokens += n;
}

static void end_document(slot *s, int64_t sample, axl_seq_role role)
{
    axl_batch *b = &s->batch;
    int32_t n = b->n_tokens - s->cu[b->n_seqs];

    s->role[b->n_seqs] = (int32_t)role;
    s->sample[b->n_seqs++] = sample;
    s->cu[b->n_seqs] = b->n_tokens;
    b->max_seqlen = n > b->max_seqlen ? n : b->max_seqlen;
}

// Appends the one or two documents of a sample.
static void put_sample(slot *s, const axl_prepared *set, int64_t sample)
{
    static const axl_seq_role roles[] = {[AXL_SAMPLE_PLAIN] = AXL_SEQ_PLAIN,
                                         [AXL_SAMPLE_PAIR] = AXL_SEQ_CHOSEN,
                                         [AXL_SAMPLE_RANKED] = AXL_SEQ_CHOSEN,
                                         [AXL_SAMPLE_DESIRABLE] = AXL_SEQ_DESIRABLE,
                                         [AXL_SAMPLE_UNDESIRABLE] = AXL_SEQ_UNDESIRABLE,
                                         [AXL_SAMPLE_STEPS] = AXL_SEQ_STEPS};
    const axl_sample_info *info = &set->info[sample];
    const axl_seq_role role = roles[info->role];
    int64_t begin = axl_prepared_begin(set, sample), n = axl_prepared_length(set, sample);
    int64_t first = info->second > 0 ? info->second : n;

    put_tokens(s, set, begin, first, role);
    end_document(s, sample, role);
    if (first < n) {
        put_tokens(s, set, begin + first, n - first, AXL_SEQ_REJECTED);
        end_document(s, sample, AXL_SEQ_REJECTED);
    }
    if (info->role != AXL_SAMPLE_PLAIN)
        s->batch.seq_role = s->role;
}

// Appends the samples of a bin as one document, in which each sees those before it.
static void put_joined(slot *s, const axl_prepared *set, const int64_t *items, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        put_tokens(s, set, axl_prepared_begin(set, items[i]), axl_prepared_length(set, items[i]),
                   AXL_SEQ_PLAIN);
    if (n > 0)
        end_document(s, items[0], AXL_SEQ_PLAIN);
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

// Fills the slot with bins [from, to) of the step.
static void fill_slot(const axl_loader *l, slot *s, int64_t from, int64_t to)
{
    const step_bins *step = &l->step;

    s->batch = (axl_batch){.cu_seqlens = s->cu, .seq_sample = s->sample};
    point_batch(&s->batch, &s->whole);
    s->cu[0] = 0;
    for (int64_t b = from; b < to; b++) {
        const axl_prepared *set = step->bins[b].set;
        int64_t i = b > 0 ? step->bins[b - 1].end : 0;
        if (l->feed->joined)
            put_joined(s, set, step->items + i, step->bins[b].end - i);
        for (; !l->feed->joined && i < step->bins[b].end; i++)
            put_sample(s, set, step->items[i]);
    }
    if (is_split(&l->options))
        split_slot(s, l->options.cp_rank);
}

static axl_status append_bin(step_bins *step, const axl_bin *bin)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_grow(&step->items, &step->capacity, (size_t)(step->n_items + bin->n),
                     sizeof *step->items, "samples of a step"));
    memcpy(step->items + step->n_items, bin->items, (size_t)bin->n * sizeof *bin->items);
    step->n_items += bin->n;
    step->bins[step->n_bins].set = bin->set;
    step->bins[step->n_bins++].end = step->n_items;

out:
    return status;
}

// Takes the bins of the next step from the feed; *epoch is that of the first.
static axl_status collect_step(axl_loader *l, int64_t *epoch)
{
    axl_status status = AXL_OK;
    const int64_t want = bins_wanted(l);
    step_bins *step = &l->step;
    axl_bin bin;

    axl_feed_release(l->feed);
    for (bool done = false; !done;) {
        const bool first = l->feed->place.n_done == 0;
        bool more = true;
        *epoch = l->feed->place.epoch;
        step->n_bins = step->n_items = 0;
        while (step->n_bins < want) {
            AXL_TRY(axl_feed_next(l->feed, &bin, &more));
            if (!more)
                break;
            AXL_TRY(append_bin(step, &bin));
        }
        // an incomplete last step may be left out, unless it is the only one of its epoch
        done = step->n_bins == want || (step->n_bins > 0 && (first || !l->options.drop_last));
        if (!done)
            AXL_TRY(axl_feed_go(l->feed, &(axl_data_place){.epoch = l->feed->place.epoch + 1}));
    }

out:
    return status;
}

// Bins of an epoch, counted when they are first asked for.
static axl_status count_bins(axl_loader *l, int64_t epoch, int64_t *n)
{
    axl_status status = AXL_OK;
    const int64_t i = l->feed->same_epochs ? 0 : epoch;
    const bool late = i >= l->n_epochs; // max_steps goes on behind num_epochs
    int64_t *known = late ? &l->late_bins : &l->epoch_bins[i];

    if (late && l->late_epoch != epoch)
        l->late_bins = -1;
    if (*known < 0)
        AXL_TRY(axl_feed_count(l->feed, epoch, known));
    if (late)
        l->late_epoch = epoch;
    *n = *known;

out:
    return status;
}

// Whether the feed has come to the end of an epoch, but for bins that are left out.
static axl_status find_end(axl_loader *l, int64_t epoch, bool *ends)
{
    axl_status status = AXL_OK;
    const axl_data_place *at = &l->feed->place;
    int64_t n_bins = 0;

    *ends = at->epoch > epoch || l->feed->progress >= 1.0;
    if (*ends || !l->options.drop_last || !axl_feed_ends(l->feed))
        goto out;
    AXL_TRY(count_bins(l, epoch, &n_bins));
    *ends = n_bins - at->n_done < bins_wanted(l);
out:
    return status;
}

static axl_status describe_step(axl_loader *l, int64_t epoch, axl_step_info *out)
{
    axl_status status = AXL_OK;
    const step_bins *step = &l->step;
    int64_t n_batches = ceil_div(step->n_bins, l->feed->bins_per_micro), trained = 0, i = 0;
    axl_step_info info = {.epoch = epoch, .n_micro = ceil_div(n_batches, l->options.dp_size)};

    for (int64_t b = 0; b < step->n_bins; b++) {
        const axl_prepared *set = step->bins[b].set;
        for (; i < step->bins[b].end; i++) {
            trained += set->info[step->items[i]].trained;
            info.n_tokens += axl_prepared_length(set, step->items[i]);
        }
    }
    info.weight = (double)trained;
    info.epoch_end = (double)l->feed->place.epoch + l->feed->progress;
    AXL_TRY(find_end(l, epoch, &info.ends_epoch));
    *out = info;
out:
    return status;
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

// Hands the failure of this thread to the consumer.
static void publish_failure(axl_loader *l, axl_status failed)
{
    slot *s = wait_free(l);

    if (s == NULL)
        return;
    free(l->failure);
    if (axl_strdup(axl_error_message(), &l->failure) != AXL_OK)
        l->failure = NULL;
    s->status = failed;
    s->micro = 0;
    publish(l);
}

static void *produce(void *arg)
{
    axl_loader *l = arg;
    int64_t per = l->feed->bins_per_micro, epoch = 0;

    while (true) {
        axl_step_info info = {0};
        axl_status status = collect_step(l, &epoch);
        if (status == AXL_OK)
            status = describe_step(l, epoch, &info);
        if (status != AXL_OK) {
            publish_failure(l, status);
            return NULL;
        }
        for (int64_t a = 0; a < info.n_micro; a++) {
            slot *s = wait_free(l);
            if (s == NULL)
                return NULL;
            int64_t from = (a * l->options.dp_size + l->options.dp_rank) * per;
            fill_slot(l, s, min64(from, l->step.n_bins), min64(from + per, l->step.n_bins));
            s->status = AXL_OK;
            s->micro = a;
            s->step = info;
            s->after = (axl_loader_state){l->feed->place, l->feed->hash};
            publish(l);
        }
    }
}

static axl_status start(axl_loader *l)
{
    axl_status status = AXL_OK;
    sigset_t all, before;

    l->stop = false;
    l->produced = l->taken = l->released = l->micro_left = 0;
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

static axl_status steps_of_epoch(axl_loader *l, int64_t epoch, int64_t n_done, int64_t *n)
{
    axl_status status = AXL_OK;
    int64_t want = bins_wanted(l), n_bins = 0;

    AXL_TRY(count_bins(l, epoch, &n_bins));
    int64_t left = max64(n_bins - n_done, 0);
    if (!l->options.drop_last)
        *n = ceil_div(left, want);
    else
        *n = left / want > 0 || n_done > 0 ? left / want : 1;

out:
    return status;
}

static axl_status count_steps(axl_loader *l)
{
    axl_status status = AXL_OK;
    int64_t whole = (int64_t)floor(l->options.num_epochs), steps = 0, n = 0;
    double part = l->options.num_epochs - (double)whole;
    const axl_data_place *at = &l->state.place;
    int64_t n_done = at->n_done;

    if (!axl_feed_ends(l->feed)) {
        l->steps_left = AXL_ENDLESS;
        goto out;
    }
    for (int64_t e = at->epoch; e < whole; e++, n_done = 0) {
        AXL_TRY(steps_of_epoch(l, e, n_done, &n));
        steps += n;
    }
    if (part > 0.0 && at->epoch <= whole) {
        AXL_TRY(steps_of_epoch(l, whole, 0, &n));
        int64_t all = (int64_t)ceil(part * (double)n);
        int64_t done = at->epoch == whole ? ceil_div(n_done, bins_wanted(l)) : 0;
        steps += all > done ? all - done : 0;
    }
    l->steps_left = steps;

out:
    return status;
}

static axl_status take_memory(axl_loader *l)
{
    axl_status status = AXL_OK;
    const axl_loader_options *o = &l->options;

    AXL_REQUIRE(o->num_epochs >= 0.0 && o->num_epochs < 1e6, AXL_E_CONFIG,
                "num_epochs %g must be from 0 to 1000000", o->num_epochs);
    l->n_epochs = (int64_t)ceil(o->num_epochs) + 1;
    AXL_TRY(
        axl_calloc((size_t)l->n_epochs, sizeof *l->epoch_bins, "bins of epochs", &l->epoch_bins));
    for (int64_t e = 0; e < l->n_epochs; e++)
        l->epoch_bins[e] = -1;
    AXL_TRY(
        axl_calloc((size_t)bins_wanted(l), sizeof *l->step.bins, "bins of a step", &l->step.bins));
    for (int i = 0; i < N_SLOTS; i++)
        AXL_TRY(slot_init(&l->slots[i], o, l->feed->max_tokens, l->feed->max_seqs));

out:
    return status;
}

axl_status axl_loader_create_from(axl_feed *feed, const axl_loader_options *options,
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
    l->feed = feed;
    feed = NULL;
    AXL_TRY(take_memory(l));
    AXL_TRY(axl_loader_rewind(l));
    *out = l;
    l = NULL;

out:
    axl_feed_destroy(feed);
    axl_loader_destroy(l);
    return status;
}

axl_status axl_loader_create(const axl_sample_list *list, const axl_loader_options *options,
                             axl_loader **out)
{
    axl_status status = AXL_OK;
    axl_feed *plan = NULL;

    AXL_TRY(axl_plan_create(list, &options->plan, &plan));
    AXL_TRY(axl_loader_create_from(plan, options, out));

out:
    return status;
}

void axl_loader_destroy(axl_loader *l)
{
    if (l == NULL)
        return;
    stop(l);
    for (int i = 0; i < N_SLOTS; i++)
        slot_fini(&l->slots[i]);
    axl_feed_destroy(l->feed);
    free(l->step.bins);
    free(l->step.items);
    free(l->epoch_bins);
    free(l->failure);
    free(l);
}

int64_t axl_loader_steps_left(const axl_loader *l)
{
    return l->steps_left;
}

int64_t axl_loader_max_tokens(const axl_loader *l)
{
    return is_split(&l->options) ? axl_cp_most_rows(l->feed->max_tokens, l->options.cp_size)
                                 : l->feed->max_tokens;
}

int64_t axl_loader_whole_tokens(const axl_loader *l)
{
    return l->feed->max_tokens;
}

int64_t axl_loader_max_seqs(const axl_loader *l)
{
    return l->feed->max_seqs;
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
    AXL_REQUIRE(s->status == AXL_OK, s->status, "%s",
                l->failure != NULL ? l->failure : "no memory for the data");
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
        l->steps_left -= l->steps_left > 0 && l->steps_left != AXL_ENDLESS;
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
        state->plan_hash == l->feed->hash, AXL_E_INPUT,
        "the checkpoint was made with other data, another order or another packing; restore "
        "the data and the keys datasets, val_set_size, seed, sequence_len and sample_packing, "
        "or start without resuming");
    stop(l); // the feed is the thread's while it runs
    AXL_TRY(axl_feed_go(l->feed, &state->place));
    l->state = *state;
    AXL_TRY(count_steps(l));
    AXL_TRY(start(l));

out:
    return status;
}

axl_status axl_loader_rewind(axl_loader *l)
{
    return axl_loader_set_state(l, &(axl_loader_state){.plan_hash = l->feed->hash});
}
