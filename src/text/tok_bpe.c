// Byte-pair encoding: the pair of neighbours with the lowest rank is merged, the leftmost first, until
// none is left. Short words look for the lowest rank by walking them, long ones keep a heap; whole
// words are kept in a small cache, because text repeats its words.
#include "src/text/tokenizer_private.h"

#include "src/base/mem.h"

#include <stdlib.h>
#include <string.h>

#define SHORT_WORD 48 // symbols; up to here walking beats the heap

// ---- Merging ----

static inline uint64_t pair_of(const axl_bpe *b, int32_t left, int32_t right)
{
    return axl_pairmap_get(&b->merges, (uint64_t)(uint32_t)left << 32 | (uint32_t)right);
}

// Walks the word for the lowest pair again and again; ids and lens close up as pairs merge.
static size_t merge_short(const axl_bpe *b, axl_bpe_symbol *sym, size_t n)
{
    uint64_t pair[SHORT_WORD];

    for (size_t i = 0; i + 1 < n; i++)
        pair[i] = pair_of(b, sym[i].id, sym[i + 1].id);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (pair[i] < pair[best])
                best = i;
        if (pair[best] == UINT64_MAX)
            break;
        sym[best].id = (int32_t)(uint32_t)pair[best];
        sym[best].len += sym[best + 1].len;
        n--;
        for (size_t i = best + 1; i < n; i++) {
            sym[i] = sym[i + 1];
            pair[i - 1] = pair[i];
        }
        if (best > 0)
            pair[best - 1] = pair_of(b, sym[best - 1].id, sym[best].id);
        if (best + 1 < n)
            pair[best] = pair_of(b, sym[best].id, sym[best + 1].id);
    }
    return n;
}

// A binary heap of rank << 32 | position, lowest first.
static void heap_push(uint64_t *heap, size_t *n, uint64_t x)
{
    size_t i = (*n)++;
    while (i > 0 && heap[(i - 1) / 2] > x) {
        heap[i] = heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap[i] = x;
}

static uint64_t heap_pop(uint64_t *heap, size_t *n)
{
    uint64_t top = heap[0], x = heap[--*n];
    size_t i = 0;

    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= *n)
            break;
        if (child + 1 < *n && heap[child + 1] < heap[child])
            child++;
        if (heap[child] >= x)
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = x;
    return top;
}

static void push_pair(const axl_bpe *b, const axl_bpe_symbol *sym, int32_t at, uint64_t *heap,
                      size_t *n_heap)
{
    if (at < 0 || sym[at].next < 0)
        return;
    uint64_t pair = pair_of(b, sym[at].id, sym[sym[at].next].id);
    if (pair != UINT64_MAX)
        heap_push(heap, n_heap, (pair >> 32 << 32) | (uint32_t)at);
}

static axl_status merge_long(const axl_bpe *b, axl_tok_work *w, size_t *n)
{
    axl_status status = AXL_OK;
    axl_bpe_symbol *sym = w->symbols;
    size_t n_heap = 0, kept = 0;

    // Each merge takes one entry and adds at most two, and there are at most n merges.
    AXL_TRY(axl_grow(&w->heap, &w->heap_capacity, 3 * *n + 1, sizeof *w->heap, "merges"));
    for (size_t i = 0; i < *n; i++) {
        sym[i].prev = (int32_t)i - 1;
        sym[i].next = i + 1 < *n ? (int32_t)i + 1 : -1;
    }
    for (size_t i = 0; i + 1 < *n; i++)
        push_pair(b, sym, (int32_t)i, w->heap, &n_heap);
    while (n_heap > 0) {
        uint64_t top = heap_pop(w->heap, &n_heap);
        int32_t at = (int32_t)(uint32_t)top, right = sym[at].id < 0 ? -1 : sym[at].next;
        if (right < 0)
            continue;
        uint64_t pair = pair_of(b, sym[at].id, sym[right].id);
        if (pair >> 32 != top >> 32)
            continue; // the pair that this entry meant is gone
        sym[at].id = (int32_t)(uint32_t)pair;
        sym[at].len += sym[right].len;
        sym[at].next = sym[right].next;
        sym[right].id = -1;
        if (sym[at].next >= 0)
            sym[sym[at].next].prev = at;
        push_pair(b, sym, sym[at].prev, w->heap, &n_heap);
        push_pair(b, sym, at, w->heap, &n_heap);
    }
    for (size_t i = 0; i < *n; i++)
        if (sym[i].id >= 0)
            sym[kept++] = sym[i];
    *n = kept;
out:
    return status;
}

static axl_status merge_all(const axl_bpe *b, axl_tok_work *w, size_t *n)
{
    if (*n > SHORT_WORD)
        return merge_long(b, w, n);
    *n = merge_short(b, w->symbols, *n);
    return AXL_OK;
}

// ---- Words ----

// The symbols of a byte-level word that was left as bytes. Their lengths are in bytes of the word,
// but for a word with dropped bytes, whose lengths run on as the reference's do: see emit_word.
static size_t split_raw(const axl_bpe *b, axl_bpe_symbol *sym, const char *s, size_t n)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        int32_t id = b->byte_id[(unsigned char)s[i]];
        if (id >= 0)
            sym[k++] = (axl_bpe_symbol){.id = id, .len = 1};
    }
    return k;
}

typedef struct symbol_list {
    axl_bpe_symbol *sym;
    size_t n;
    size_t unk_len; // of an unknown token not yet put; 0: none
} symbol_list;

static void put_symbol(symbol_list *l, int32_t id, size_t len)
{
    l->sym[l->n++] = (axl_bpe_symbol){.id = id, .len = (uint32_t)len};
}

// One character that is no token: bytes, or unknown. Bytes do not end a run of unknown ones.
static void put_unknown(const axl_bpe *b, symbol_list *l, const char *s, size_t n, size_t len)
{
    bool bytes = b->byte_fallback;

    for (size_t i = 0; bytes && i < n; i++)
        bytes = b->fallback_id[(unsigned char)s[i]] >= 0;
    if (bytes) {
        for (size_t i = 0; i < n; i++)
            put_symbol(l, b->fallback_id[(unsigned char)s[i]], 1);
        return;
    }
    if (b->unk_id < 0)
        return;
    if (l->unk_len > 0 && b->fuse_unk) {
        l->unk_len += len;
        return;
    }
    if (l->unk_len > 0)
        put_symbol(l, b->unk_id, l->unk_len);
    l->unk_len = len;
}

// The symbols of a word of characters.
static axl_status split_chars(const axl_tokenizer *t, axl_tok_work *w, const char *s, size_t n,
                              size_t *n_symbols)
{
    axl_status status = AXL_OK;
    const axl_bpe *b = &t->bpe;
    symbol_list l = {w->symbols, 0, 0};
    size_t len;

    for (size_t i = 0; i < n; i += len) {
        const char *c = s + i;
        size_t n_c;
        (void)axl_utf8_decode(c, &len);
        n_c = len;
        if ((i > 0 && b->prefix.len > 0) || (i + len == n && b->suffix.len > 0)) {
            axl_str_clear(&w->scratch);
            if (i > 0)
                AXL_TRY(axl_str_append(&w->scratch, b->prefix.data, b->prefix.len));
            AXL_TRY(axl_str_append(&w->scratch, c, len));
            if (i + len == n)
                AXL_TRY(axl_str_append(&w->scratch, b->suffix.data, b->suffix.len));
            c = w->scratch.data;
            n_c = w->scratch.len;
        }
        int32_t id = axl_vocab_find(&t->vocab, c, n_c);
        if (id < 0) {
            // A byte of a prefix or suffix makes a symbol too, hence the room for them.
            AXL_TRY(axl_grow(&w->symbols, &w->symbols_capacity, l.n + n_c + (n - i) + 2,
                             sizeof *w->symbols, "symbols"));
            l.sym = w->symbols;
            put_unknown(b, &l, c, n_c, len);
            continue;
        }
        if (l.unk_len > 0) {
            put_symbol(&l, b->unk_id, l.unk_len);
            l.unk_len = 0;
        }
        put_symbol(&l, id, len);
    }
    if (l.unk_len > 0)
        put_symbol(&l, b->unk_id, l.unk_len);
    *n_symbols = l.n;
out:
    return status;
}

// Where byte `at` of the spelled-out word lies in the word left as bytes.
static size_t raw_offset(const char *s, size_t n, size_t at)
{
    size_t i = 0;
    for (size_t spelled = 0; i < n; i++) {
        spelled += axl_byte_level_char((unsigned char)s[i]) < 0x80 ? 1 : 2;
        if (spelled > at)
            break;
    }
    return i;
}

// Emits the tokens of a byte-level word of which some bytes are no tokens. The reference counts the
// lengths of the rest from the word's start, in the spelled-out form; so do the offsets here.
static axl_status emit_with_holes(const axl_bpe *b, const axl_tok_work *w, size_t n_symbols,
                                  axl_span span, axl_token_buffer *out)
{
    axl_status status = AXL_OK;
    const char *s = w->pre.s + span.begin;
    size_t n = span.end - span.begin, at = 0, byte = 0;

    for (size_t i = 0; i < n_symbols; i++) {
        size_t len = 0;
        for (uint32_t k = 0; k < w->symbols[i].len; byte++) {
            if (b->byte_id[(unsigned char)s[byte]] < 0)
                continue;
            len += axl_byte_level_char((unsigned char)s[byte]) < 0x80 ? 1 : 2;
            k++;
        }
        AXL_TRY(axl_tokens_emit(out, w->symbols[i].id, &w->pre, span.begin + raw_offset(s, n, at),
                                span.begin + raw_offset(s, n, at + len - 1) + 1));
        at += len;
    }
out:
    return status;
}

static axl_status emit_symbols(const axl_tok_work *w, size_t n_symbols, axl_span span,
                               axl_token_buffer *out)
{
    axl_status status = AXL_OK;
    size_t at = span.begin;

    for (size_t i = 0; i < n_symbols; i++) {
        size_t end = at + w->symbols[i].len;
        AXL_TRY(axl_tokens_emit(out, w->symbols[i].id, &w->pre, at < span.end ? at : span.end,
                                end < span.end ? end : span.end));
        at = end;
    }
out:
    return status;
}

static axl_cache_slot *cache_slot(axl_tok_work *w, const char *s, size_t n)
{
    return &w->cache[axl_tok_hash(s, n) & (AXL_CACHE_SLOTS - 1)];
}

// A byte-level word not in the cache.
static axl_status run_raw_word(const axl_tokenizer *t, axl_tok_work *w, axl_span span,
                               axl_cache_slot *slot, axl_token_buffer *out)
{
    axl_status status = AXL_OK;
    const axl_bpe *b = &t->bpe;
    const char *s = w->pre.s + span.begin;
    size_t n = span.end - span.begin, n_symbols = 0;
    bool holes;

    AXL_TRY(axl_grow(&w->symbols, &w->symbols_capacity, n + 1, sizeof *w->symbols, "symbols"));
    if (b->ignore_merges) {
        axl_str_clear(&w->scratch);
        for (size_t i = 0; i < n; i++)
            AXL_TRY(axl_str_put_utf8(&w->scratch, axl_byte_level_char((unsigned char)s[i])));
        int32_t whole = axl_vocab_find(&t->vocab, w->scratch.data, w->scratch.len);
        if (whole >= 0) {
            w->symbols[0] = (axl_bpe_symbol){.id = whole, .len = (uint32_t)n};
            n_symbols = 1;
        }
    }
    if (n_symbols == 0) {
        n_symbols = split_raw(b, w->symbols, s, n);
        holes = n_symbols < n;
        AXL_TRY(merge_all(b, w, &n_symbols));
        if (holes) {
            AXL_TRY(emit_with_holes(b, w, n_symbols, span, out));
            goto out;
        }
    }
    AXL_TRY(emit_symbols(w, n_symbols, span, out));
    if (n <= AXL_CACHE_KEY && n_symbols <= AXL_CACHE_IDS) {
        slot->n_key = (uint8_t)n;
        slot->n_ids = (uint8_t)n_symbols;
        memcpy(slot->key, s, n);
        for (size_t i = 0; i < n_symbols; i++)
            slot->ids[i] = w->symbols[i].id;
    }
out:
    return status;
}

static axl_status run_raw(const axl_tokenizer *t, axl_tok_work *w, axl_token_buffer *out)
{
    axl_status status = AXL_OK;

    for (size_t i = 0; i < w->spans.n; i++) {
        axl_span span = w->spans.at[i];
        const char *s = w->pre.s + span.begin;
        size_t n = span.end - span.begin;
        axl_cache_slot *slot = cache_slot(w, s, n);
        if (slot->n_ids == 0 || slot->n_key != n || memcmp(slot->key, s, n) != 0) {
            AXL_TRY(run_raw_word(t, w, span, slot, out));
            continue;
        }
        AXL_TRY(axl_tokens_reserve(out, slot->n_ids));
        if (!out->want_offsets) {
            for (size_t k = 0; k < slot->n_ids; k++)
                out->ids[out->n++] = slot->ids[k];
            continue;
        }
        for (size_t k = 0, at = span.begin; k < slot->n_ids; k++) {
            size_t end = at + t->bpe.chars[slot->ids[k]];
            AXL_TRY(axl_tokens_emit(out, slot->ids[k], &w->pre, at, end));
            at = end;
        }
    }
out:
    return status;
}

axl_status axl_bpe_run(const axl_tokenizer *t, axl_tok_work *w, axl_token_buffer *out)
{
    axl_status status = AXL_OK;

    if (t->bpe.raw) {
        AXL_TRY(run_raw(t, w, out));
        goto out;
    }
    for (size_t i = 0; i < w->spans.n; i++) {
        axl_span span = w->spans.at[i];
        const char *s = w->pre.s + span.begin;
        size_t n = span.end - span.begin, n_symbols = 0;
        int32_t whole = t->bpe.ignore_merges ? axl_vocab_find(&t->vocab, s, n) : -1;
        AXL_TRY(axl_grow(&w->symbols, &w->symbols_capacity, n + 1, sizeof *w->symbols, "symbols"));
        if (whole >= 0) {
            AXL_TRY(axl_tokens_emit(out, whole, &w->pre, span.begin, span.end));
            continue;
        }
        AXL_TRY(split_chars(t, w, s, n, &n_symbols));
        AXL_TRY(merge_all(&t->bpe, w, &n_symbols));
        AXL_TRY(emit_symbols(w, n_symbols, span, out));
    }
out:
    return status;
}
