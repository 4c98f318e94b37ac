// Where bins come from, one after another: a prepared set in an order (plan.h) or a stream of records
// (data_stream.h). The loader asks for the next bin and for the place behind it; it knows nothing else.
//
// Every rank has a feed of its own, and all feeds give the same bins in the same order.
#ifndef AXL_DATA_FEED_H
#define AXL_DATA_FEED_H

#include "src/data/prepared.h"

// Where in the data the next bin stands; a place of its own fields alone, the same on any rank count. {0}: the start.
typedef struct axl_data_place {
    int64_t epoch; // from 0
    int64_t
        group; // of samples packed together, in the epoch; a stream: chunk, counted from its start
    int64_t bin;    // of the group; not packed in groups: place in the order
    int64_t n_done; // bins of the epoch before this one; a stream: of all before
    // a stream: where its chunk begins
    int64_t file;      // index of the file
    int64_t row;       // records of the file before it
    int64_t entry_row; // records of the file's entry before it
    int64_t offset;    // bytes of the text before it
    int64_t line;      // from 1; 0 at the start of a file
} axl_data_place;

typedef struct axl_bin {
    const axl_prepared *set; // valid until axl_feed_release
    const int64_t *items;    // [n] samples of the set; valid until the next call
    int64_t n;
} axl_bin;

typedef struct axl_feed axl_feed;

typedef struct axl_feed_ops {
    axl_status (*go)(axl_feed *f, const axl_data_place *place);
    axl_status (*next)(axl_feed *f, axl_bin *out, bool *more);
    void (*release)(axl_feed *f);                                // may be NULL
    axl_status (*count)(axl_feed *f, int64_t epoch, int64_t *n); // NULL: nobody knows
    void (*destroy)(axl_feed *f);
} axl_feed_ops;

// The first member of every kind.
struct axl_feed {
    const axl_feed_ops *ops;
    int64_t bins_per_micro; // bins of a micro-batch
    int64_t max_tokens;     // of a micro-batch
    int64_t max_seqs;       // documents of a micro-batch
    bool joined;            // the samples of a bin are one document
    bool same_epochs;       // each epoch has the bins of the first
    uint64_t hash;          // of all that decides the bins
    axl_data_place place;   // of the next bin
    double progress;        // the part of the epoch that lies before it
};

// Goes to a place. AXL_E_INPUT when there is none like it.
static inline axl_status axl_feed_go(axl_feed *f, const axl_data_place *place)
{
    return f->ops->go(f, place);
}

// The next bin of the epoch; *more is false at its end. A stream has no end: it begins anew. May take long
// when a group is begun. Fails as reading and tokenizing do.
static inline axl_status axl_feed_next(axl_feed *f, axl_bin *out, bool *more)
{
    return f->ops->next(f, out, more);
}

// The sets of all bins so far are no longer looked at.
static inline void axl_feed_release(axl_feed *f)
{
    if (f->ops->release != NULL)
        f->ops->release(f);
}

// Whether axl_feed_count can tell the bins of an epoch.
static inline bool axl_feed_ends(const axl_feed *f)
{
    return f->ops->count != NULL;
}

// Bins of an epoch; packs it, keeping nothing. The place stays.
static inline axl_status axl_feed_count(axl_feed *f, int64_t epoch, int64_t *n)
{
    return f->ops->count(f, epoch, n);
}

static inline void axl_feed_destroy(axl_feed *f) // NULL-safe
{
    if (f != NULL)
        f->ops->destroy(f);
}

#endif
