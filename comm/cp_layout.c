// The layout of a packed micro-batch over the context-parallel axis.
//
// The hard part is balancing tokens and pairs at once with few cuts. All tokens are laid on a line, sorted
// by the length of their documents, that is by work. A window of T / C tokens somewhere on that line has
// exactly the mean work: sliding it from the light end to the heavy end passes the mean. The first rank
// takes that window; the rest of the line has the same mean, and the next rank's window lies around
// the hole, some tokens left of it and some right of it. So each rank cuts at most two documents anew,
// and where a small loss of balance lets an end meet the end of a document, it cuts only one.
#include "comm/cp_layout.h"

#include "src/base/mem.h"

#include <math.h>
#include <string.h>

// What a rank's work may be off its share so that one document less is cut.
#define SNAP 0.01

typedef struct line_scratch {
    int64_t *keys;   // [max_seqs] length << 32 | sequence, ascending
    int64_t *tokens; // [max_seqs + 1] tokens of the line before a document
    int64_t *work;   // [max_seqs + 1] twice the pairs of those tokens
    int64_t *ends;   // [2 * n_ranks] of the ranks' segments of the line
    int32_t *owner;  // [2 * n_ranks] whose they are
} line_scratch;

// ---- memory

static void *take(char *base, size_t *at, size_t count, size_t size)
{
    const size_t begin = *at;

    *at += axl_align_up(count * size);
    return base == NULL ? NULL : base + begin;
}

// Places everything from base on and gives its size; base NULL: only the size is wanted.
static size_t place(axl_cp_layout *l, char *base)
{
    const size_t seqs = (size_t)l->max_seqs + 1, ranks = (size_t)l->n_ranks;
    size_t at = 0;
    line_scratch s, *kept = take(base, &at, 1, sizeof *kept);

    l->cu_seqlens = take(base, &at, seqs, sizeof *l->cu_seqlens);
    l->local_cu = take(base, &at, ranks * seqs, sizeof *l->local_cu);
    l->row_begin = take(base, &at, ranks + 1, sizeof *l->row_begin);
    l->rows = take(base, &at, (size_t)l->max_tokens, sizeof *l->rows);
    s.keys = take(base, &at, seqs, sizeof *s.keys);
    s.tokens = take(base, &at, seqs, sizeof *s.tokens);
    s.work = take(base, &at, seqs, sizeof *s.work);
    s.ends = take(base, &at, 2 * ranks, sizeof *s.ends);
    s.owner = take(base, &at, 2 * ranks, sizeof *s.owner);
    l->scratch = kept;
    if (kept != NULL)
        *kept = s;
    return at;
}

size_t axl_cp_layout_bytes(int n_ranks, int64_t max_tokens, int32_t max_seqs)
{
    axl_cp_layout l = {.n_ranks = n_ranks, .max_tokens = max_tokens, .max_seqs = max_seqs};

    return place(&l, NULL);
}

void axl_cp_layout_init(axl_cp_layout *l, axl_cp_kind kind, int n_ranks, int64_t max_tokens,
                        int32_t max_seqs, void *memory)
{
    *l = (axl_cp_layout){
        .kind = kind, .n_ranks = n_ranks, .max_tokens = max_tokens, .max_seqs = max_seqs};
    (void)place(l, memory);
}

int64_t axl_cp_most_rows(int64_t n_tokens, int n_ranks)
{
    return (n_tokens + n_ranks - 1) / n_ranks;
}

// Where rank r's share of all tokens begins, when they are dealt in order.
static int64_t share_begin(const axl_cp_layout *l, int r)
{
    return l->n_tokens * r / l->n_ranks;
}

// ---- the line of tokens

static void sift_down(int64_t *keys, int64_t root, int64_t n)
{
    for (int64_t child = 2 * root + 1; child < n; child = 2 * root + 1) {
        if (child + 1 < n && keys[child + 1] > keys[child])
            child++;
        if (keys[root] >= keys[child])
            return;
        const int64_t x = keys[root];
        keys[root] = keys[child];
        keys[child] = x;
        root = child;
    }
}

// Heapsort: the C library's qsort may take memory.
static void sort_keys(int64_t *keys, int64_t n)
{
    for (int64_t i = n / 2; i-- > 0;)
        sift_down(keys, i, n);
    for (int64_t end = n; end-- > 1;) {
        const int64_t x = keys[0];
        keys[0] = keys[end];
        keys[end] = x;
        sift_down(keys, 0, end);
    }
}

static int64_t key_length(int64_t key)
{
    return key >> 32;
}

static int32_t key_seq(int64_t key)
{
    return (int32_t)(key & 0x7fffffff);
}

static void make_line(const axl_cp_layout *l, line_scratch *s)
{
    for (int32_t i = 0; i < l->n_seqs; i++)
        s->keys[i] = (int64_t)(l->cu_seqlens[i + 1] - l->cu_seqlens[i]) << 32 | i;
    sort_keys(s->keys, l->n_seqs);
    s->keys[l->n_seqs] = 0; // beyond the end, or of no documents at all
    s->tokens[0] = s->work[0] = 0;
    for (int32_t i = 0; i < l->n_seqs; i++) {
        const int64_t n = key_length(s->keys[i]);
        s->tokens[i + 1] = s->tokens[i] + n;
        s->work[i + 1] = s->work[i] + n * (n + 1);
    }
}

// The document (by its place on the line) that holds token at of the line; the last one at the end.
static int32_t document_at(const axl_cp_layout *l, const line_scratch *s, int64_t at)
{
    int32_t low = 0, high = l->n_seqs;

    while (high - low > 1) {
        const int32_t middle = low + (high - low) / 2;
        if (s->tokens[middle] <= at)
            low = middle;
        else
            high = middle;
    }
    return low;
}

// Twice the pairs of the first `at` tokens of the line.
static int64_t work_before(const axl_cp_layout *l, const line_scratch *s, int64_t at)
{
    const int32_t i = document_at(l, s, at);
    return s->work[i] + (at - s->tokens[i]) * (key_length(s->keys[i]) + 1);
}

// ---- dealing

// What has been dealt is the hole begin .. end; the next rank takes n tokens around it.
typedef struct deal {
    const axl_cp_layout *l;
    const line_scratch *s;
    int64_t begin, end, n;
    double target; // its work
} deal;

static double window_work(const deal *w, int64_t left)
{
    const int64_t begin = w->begin - left, end = w->end + w->n - left;
    return (double)(work_before(w->l, w->s, w->begin) - work_before(w->l, w->s, begin) +
                    work_before(w->l, w->s, end) - work_before(w->l, w->s, w->end));
}

// The length of the document that a cut at this place of the line cuts; 0 between documents.
static int64_t cut_length(const deal *w, int64_t at)
{
    const int32_t i = document_at(w->l, w->s, at);
    return at == w->s->tokens[i] || at == w->l->n_tokens ? 0 : key_length(w->s->keys[i]);
}

static int64_t cut_cost(const deal *w, int64_t left)
{
    return cut_length(w, w->begin - left) + cut_length(w, w->end + w->n - left);
}

static void consider(const deal *w, int64_t left, int64_t *best)
{
    const int64_t least = w->n - (w->l->n_tokens - w->end);
    const bool fits = left >= 0 && left >= least && left <= w->n && left <= w->begin;

    if (fits && fabs(window_work(w, left) - w->target) <= SNAP * w->target &&
        cut_cost(w, left) < cut_cost(w, *best))
        *best = left;
}

// How many tokens of the window lie left of the hole. More of them is less work.
static int64_t choose_left(const deal *w)
{
    const int64_t least = w->n - (w->l->n_tokens - w->end);
    int64_t low = least > 0 ? least : 0, high = w->n < w->begin ? w->n : w->begin;

    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (window_work(w, middle) <= w->target)
            high = middle;
        else
            low = middle + 1;
    }
    int64_t best = low;
    const int32_t left = document_at(w->l, w->s, w->begin - low);
    const int32_t right = document_at(w->l, w->s, w->end + w->n - low);
    for (int32_t i = 0; i < 2 && w->l->n_seqs > 0; i++) { // both ends of the documents to be cut
        consider(w, w->begin - w->s->tokens[left + i], &best);
        consider(w, w->end + w->n - w->s->tokens[right + i], &best);
    }
    return best;
}

// Cuts the line into two segments a rank, in line order: those left of the first hole from the last rank
// to the first, then those right of it from the first to the last.
static void cut_line(const axl_cp_layout *l, line_scratch *s)
{
    const int n = l->n_ranks;
    const int64_t all = s->work[l->n_seqs];
    int32_t first = 0;

    // The hole begins, empty, where documents begin to be heavier than the mean.
    while (first < l->n_seqs &&
           (double)(key_length(s->keys[first]) + 1) * (double)l->n_tokens < (double)all)
        first++;
    deal w = {.l = l, .s = s, .begin = s->tokens[first], .end = s->tokens[first]};
    int64_t dealt = 0;
    for (int r = 0; r < n; r++) {
        w.n = share_begin(l, r + 1) - share_begin(l, r);
        const int64_t rest = l->n_tokens - share_begin(l, r);
        w.target = rest > 0 ? (double)(all - dealt) * (double)w.n / (double)rest : 0.0;
        const int64_t left = choose_left(&w);
        dealt += (int64_t)window_work(&w, left);
        s->ends[n - 1 - r] = w.begin;
        w.begin -= left;
        w.end += w.n - left;
        s->ends[n + r] = w.end;
        s->owner[n - 1 - r] = s->owner[n + r] = r;
    }
}

// ---- rows of each rank

static int32_t *cu_of(const axl_cp_layout *l, int r)
{
    return l->local_cu + (int64_t)r * (l->max_seqs + 1);
}

// Counts each rank's tokens of each document in its local_cu, one place further.
static void count_zigzag(axl_cp_layout *l)
{
    line_scratch *s = l->scratch;
    int segment = 0;

    make_line(l, s);
    cut_line(l, s);
    for (int32_t i = 0; i < l->n_seqs; i++)
        for (int64_t at = s->tokens[i]; at < s->tokens[i + 1];) {
            while (s->ends[segment] <= at)
                segment++;
            const int64_t end =
                s->ends[segment] < s->tokens[i + 1] ? s->ends[segment] : s->tokens[i + 1];
            cu_of(l, s->owner[segment])[key_seq(s->keys[i]) + 1] += (int32_t)(end - at);
            at = end;
        }
}

static void count_contiguous(axl_cp_layout *l)
{
    for (int r = 0; r < l->n_ranks; r++)
        for (int32_t i = 0; i < l->n_seqs; i++) {
            const int64_t a = share_begin(l, r), b = share_begin(l, r + 1);
            const int64_t begin = l->cu_seqlens[i] > a ? l->cu_seqlens[i] : a;
            const int64_t end = l->cu_seqlens[i + 1] < b ? l->cu_seqlens[i + 1] : b;
            cu_of(l, r)[i + 1] = end > begin ? (int32_t)(end - begin) : 0;
        }
}

static void fill(int32_t *rows, int64_t n, int64_t token)
{
    for (int64_t k = 0; k < n; k++)
        rows[k] = (int32_t)(token + k);
}

// The rows of one document: each rank's share as a low chunk and, mirrored, a high one.
static void fill_document(axl_cp_layout *l, int32_t seq)
{
    int64_t low = l->cu_seqlens[seq], high = l->cu_seqlens[seq + 1];
    bool up = true;

    for (int r = 0; r < l->n_ranks; r++) {
        const int32_t *cu = cu_of(l, r);
        const int64_t n = cu[seq + 1] - cu[seq];
        int32_t *rows = l->rows + l->row_begin[r] + cu[seq];
        int64_t n_low = n;
        if (l->kind == AXL_CP_ZIGZAG) {
            n_low = (n + (up ? 1 : 0)) / 2;
            up = n % 2 == 1 ? !up : up; // odd shares take turns in which chunk is longer
        }
        fill(rows, n_low, low);
        fill(rows + n_low, n - n_low, high - (n - n_low));
        low += n_low;
        high -= n - n_low;
    }
}

axl_status axl_cp_layout_set(axl_cp_layout *l, const int32_t *cu_seqlens, int32_t n_seqs)
{
    axl_status status = AXL_OK;

    AXL_REQUIRE(n_seqs >= 0 && n_seqs <= l->max_seqs && cu_seqlens[0] == 0 &&
                    cu_seqlens[n_seqs] <= l->max_tokens,
                AXL_E_BUG,
                "context parallelism: %d documents, the last ends at %d; at most %d, %lld", n_seqs,
                n_seqs >= 0 ? cu_seqlens[n_seqs] : 0, l->max_seqs, (long long)l->max_tokens);
    for (int32_t i = 0; i < n_seqs; i++)
        AXL_REQUIRE(cu_seqlens[i] <= cu_seqlens[i + 1], AXL_E_BUG,
                    "context parallelism: document %d ends before it begins", i);
    l->n_seqs = n_seqs;
    l->n_tokens = cu_seqlens[n_seqs];
    memcpy(l->cu_seqlens, cu_seqlens, ((size_t)n_seqs + 1) * sizeof *cu_seqlens);
    memset(l->local_cu, 0, (size_t)l->n_ranks * (size_t)(l->max_seqs + 1) * sizeof *l->local_cu);
    if (l->kind == AXL_CP_ZIGZAG)
        count_zigzag(l);
    else
        count_contiguous(l);
    l->row_begin[0] = 0;
    for (int r = 0; r < l->n_ranks; r++) {
        for (int32_t i = 0; i < n_seqs; i++)
            cu_of(l, r)[i + 1] += cu_of(l, r)[i];
        l->row_begin[r + 1] = l->row_begin[r] + cu_of(l, r)[n_seqs];
    }
    for (int32_t i = 0; i < n_seqs; i++)
        fill_document(l, i);

out:
    return status;
}

// ---- what others ask

const int32_t *axl_cp_local_cu(const axl_cp_layout *l, int r)
{
    return cu_of(l, r);
}

const int32_t *axl_cp_rows(const axl_cp_layout *l, int r)
{
    return l->rows + l->row_begin[r];
}

int64_t axl_cp_n_rows(const axl_cp_layout *l, int r)
{
    return l->row_begin[r + 1] - l->row_begin[r];
}

void axl_cp_positions(const axl_cp_layout *l, int r, int32_t *positions)
{
    const int32_t *cu = cu_of(l, r), *rows = axl_cp_rows(l, r);

    for (int32_t i = 0; i < l->n_seqs; i++)
        for (int32_t k = cu[i]; k < cu[i + 1]; k++)
            positions[k] = rows[k] - l->cu_seqlens[i];
}

// A rank's rows of one document are at most two runs of neighbours: [begin[0], end[0]) and [begin[1], end[1]),
// the second empty when there is one run.
typedef struct runs {
    int64_t begin[2], end[2];
} runs;

static runs runs_of(const int32_t *rows, int64_t n)
{
    int64_t low = 0, high = n; // rows[0 .. low] are neighbours, rows[high] is not of them

    if (rows[n - 1] - rows[0] == n - 1)
        return (runs){{rows[0], 0}, {rows[0] + n, 0}};
    while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        if (rows[middle] - rows[0] == middle)
            low = middle;
        else
            high = middle;
    }
    return (runs){{rows[0], rows[high]}, {rows[0] + high, rows[n - 1] + 1}};
}

// Keys that the first n tokens of a document see.
static int64_t pairs_of(int64_t n, int64_t window)
{
    if (window > 0 && n > window)
        return window * (window + 1) / 2 + (n - window) * window;
    return n * (n + 1) / 2;
}

int64_t axl_cp_pairs(const axl_cp_layout *l, int r, int32_t window)
{
    const int32_t *cu = cu_of(l, r), *rows = axl_cp_rows(l, r);
    int64_t pairs = 0;

    for (int32_t i = 0; i < l->n_seqs; i++) {
        const int64_t first = l->cu_seqlens[i];
        if (cu[i] == cu[i + 1])
            continue;
        const runs q = runs_of(rows + cu[i], cu[i + 1] - cu[i]);
        for (int k = 0; k < 2; k++)
            if (q.end[k] > q.begin[k])
                pairs += pairs_of(q.end[k] - first, window) - pairs_of(q.begin[k] - first, window);
    }
    return pairs;
}

static int64_t overlap(int64_t a, int64_t b, int64_t c, int64_t d)
{
    const int64_t begin = a > c ? a : c, end = b < d ? b : d;

    return end > begin ? end - begin : 0;
}

// How many keys of the runs k one of the queries of the runs q sees. Queries [c, d) see the keys c - window + 1 to
// d - 1; where the second run sees what the first does, it counts once.
static int64_t seen(const runs *k, const runs *q, int32_t window)
{
    const bool two = q->end[1] > q->begin[1];
    const int64_t back = window > 0 ? window - 1 : INT32_MAX;
    const int64_t end = two ? q->end[1] : q->end[0];
    const int64_t from = q->begin[0] - back;
    int64_t gap[2] = {0, 0}, n = 0; // keys between the runs that nobody sees

    if (two && q->begin[1] - back > q->end[0]) {
        gap[0] = q->end[0];
        gap[1] = q->begin[1] - back;
    }
    for (int i = 0; i < 2; i++)
        n += overlap(k->begin[i], k->end[i], from, end) -
             overlap(k->begin[i], k->end[i], gap[0], gap[1]);
    return n;
}

// Without lists the number follows from the ends of the runs.
static int64_t count_needed(const axl_cp_layout *l, int src, int dst, int32_t window)
{
    const int32_t *cu_k = cu_of(l, src), *cu_q = cu_of(l, dst);
    const int32_t *keys = axl_cp_rows(l, src), *queries = axl_cp_rows(l, dst);
    int64_t n = 0;

    for (int32_t i = 0; i < l->n_seqs; i++) {
        if (cu_k[i] == cu_k[i + 1] || cu_q[i] == cu_q[i + 1])
            continue;
        const runs k = runs_of(keys + cu_k[i], cu_k[i + 1] - cu_k[i]);
        const runs q = runs_of(queries + cu_q[i], cu_q[i + 1] - cu_q[i]);
        n += seen(&k, &q, window);
    }
    return n;
}

int64_t axl_cp_needed(const axl_cp_layout *l, int src, int dst, int32_t window, int32_t *rows,
                      int32_t *cu)
{
    const int32_t *cu_k = cu_of(l, src), *cu_q = cu_of(l, dst);
    const int32_t *keys = axl_cp_rows(l, src), *queries = axl_cp_rows(l, dst);
    int64_t n = 0;

    if (rows == NULL && cu == NULL)
        return count_needed(l, src, dst, window);
    for (int32_t i = 0; i < l->n_seqs; i++) {
        if (cu != NULL)
            cu[i] = (int32_t)n;
        // The next query after a key is the one that sees it best.
        for (int32_t k = cu_k[i], q = cu_q[i]; k < cu_k[i + 1]; k++) {
            while (q < cu_q[i + 1] && queries[q] < keys[k])
                q++;
            if (q == cu_q[i + 1])
                break;
            if (window > 0 && queries[q] - keys[k] >= window)
                continue;
            if (rows != NULL)
                rows[n] = k;
            n++;
        }
    }
    if (cu != NULL)
        cu[l->n_seqs] = (int32_t)n;
    return n;
}
