// Masks, packing and scores of attention tiles.
#include "kernels/cpu/attention_tile.h"

static void strip_range(const attn_rows *r, int64_t strip, attn_range *out)
{
    attn_range x = {INT32_MAX, 0, 0, INT32_MAX};

    for (int64_t i = strip * ATTN_LANES; i < (strip + 1) * ATTN_LANES; i++) {
        if (r->hi[i] >= r->lo[i]) {
            x.first = r->lo[i] < x.first ? r->lo[i] : x.first;
            x.last = r->hi[i] + 1 > x.last ? r->hi[i] + 1 : x.last;
        }
        x.all_first = r->lo[i] > x.all_first ? r->lo[i] : x.all_first;
        x.all_last = r->hi[i] + 1 < x.all_last ? r->hi[i] + 1 : x.all_last;
    }
    if (x.first > x.last)
        x.first = x.last = 0;
    *out = x;
}

// The first key of a sequence whose position is at least at.
static int64_t first_key(const axl_attn_args *a, int64_t seq, int64_t at, int64_t n_keys)
{
    const int32_t *positions = a->positions_k + a->cu_seqlens_k[seq];
    int64_t low = 0, high = n_keys;

    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (positions[middle] < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// The keys that row t of a sequence sees, as indices first <= j < last: positions ascend, so they are
// neighbours.
static attn_range token_range(const axl_attn_args *a, int64_t seq, int64_t t, int64_t n_keys)
{
    const int64_t row = a->cu_seqlens_q[seq] + t;
    int64_t at = t + (a->pos_q != NULL ? a->pos_q[seq] : 0);
    int64_t first = 0, last = n_keys;

    if (row >= a->cu_seqlens_q[seq + 1])
        return (attn_range){0}; // lanes beyond the block
    if (a->positions_q != NULL)
        at = a->positions_q[row];
    int64_t end = at + 1; // the position behind the last key that it sees
    if (a->mask == AXL_MASK_PREFIX)
        end = max64(end, a->prefix[seq]);
    if (a->positions_k != NULL) {
        first = a->window > 0 ? first_key(a, seq, at - a->window + 1, n_keys) : 0;
        last = a->mask != AXL_MASK_FULL ? first_key(a, seq, end, n_keys) : n_keys;
    } else {
        const int64_t key0 = a->pos_k != NULL ? a->pos_k[seq] : 0; // positions as indices of keys
        first = a->window > 0 ? min64(n_keys, max64(0, at - key0 - a->window + 1)) : 0;
        last = a->mask != AXL_MASK_FULL ? max64(0, min64(end - key0, n_keys)) : n_keys;
    }
    return (attn_range){.first = (int32_t)first, .last = (int32_t)last};
}

void AXL_CPU(attn_rows_init)(const axl_attn_args *a, const attn_dims *m, int64_t seq,
                             int64_t head_kv, int64_t block, attn_rows *r)
{
    const int64_t n_keys = attn_n_keys(a, seq);
    attn_range sees = {0};

    r->seq = seq;
    r->head_kv = head_kv;
    r->row0 = block * ATTN_ROWS;
    r->n = min64(ATTN_ROWS, attn_n_rows(a, m, seq) - r->row0);
    r->n_strips = (r->n + ATTN_LANES - 1) / ATTN_LANES;
    for (int64_t i = 0; i < r->n_strips * ATTN_LANES; i++) {
        if (i == 0 || (r->row0 + i) % m->group == 0) // the heads of a group see the same
            sees = token_range(a, seq, (r->row0 + i) / m->group, n_keys);
        const bool none = i >= r->n || sees.last <= sees.first;
        r->lo[i] = none ? 0 : sees.first;
        r->hi[i] = none ? -1 : sees.last - 1;
    }
    for (int64_t s = 0; s < r->n_strips; s++)
        strip_range(r, s, &r->strips[s]);
}

AXL_INLINE void pack_vectors(const void *src, int64_t at, int64_t width, bool bf16, float scale,
                             float *dst, int64_t padded)
{
    int64_t c = 0;

    for (; c + VF <= width; c += VF)
        vf_store_f32(dst + c, scale * vf_load(src, at + c, bf16));
    if (c < padded)
        vf_store_f32(dst + c, scale * vf_load_n(src, at + c, width - c, bf16));
}

AXL_INLINE void pack_row(const void *src, int64_t at, int64_t width, bool bf16, float scale,
                         float *dst, int64_t padded)
{
    if (bf16)
        pack_vectors(src, at, width, true, scale, dst, padded);
    else
        pack_vectors(src, at, width, false, scale, dst, padded);
}

attn_tile AXL_CPU(attn_tile_of)(const void *x, int64_t ld, int64_t token, int64_t n, int64_t head,
                                int64_t width, bool bf16, float *room)
{
    const int64_t at = token * ld + head * width, padded = (width + VF - 1) / VF * VF;

    if (!bf16 && padded == width)
        return (attn_tile){(const float *)x + at, ld};
    for (int64_t i = 0; i < n; i++)
        pack_row(x, at + i * ld, width, bf16, 1.0f, room + i * padded, padded);
    return (attn_tile){room, padded};
}

void AXL_CPU(attn_gather)(const axl_attn_args *a, const attn_dims *m, const attn_rows *r,
                          const void *x, int64_t ld, int64_t width, float scale, float *dst,
                          int64_t padded)
{
    const size_t rest = (size_t)((r->n_strips * ATTN_LANES - r->n) * padded) * sizeof *dst;

    for (int64_t i = 0; i < r->n; i++) {
        const int64_t at = attn_token(a, m, r, i) * ld + attn_head(m, r, i) * width;
        pack_row(x, at, width, m->bf16, scale, dst + i * padded, padded);
    }
    memset(dst + r->n * padded, 0, rest);
}

// A square of VF rows by exchanging ever larger halves of pairs of rows.
AXL_INLINE void transpose_square(const float *src, int64_t ld_src, float *dst, int64_t ld_dst)
{
    vf row[VF];

#pragma GCC unroll 16
    for (int i = 0; i < VF; i++)
        row[i] = vf_load_f32(src + i * ld_src);
#pragma GCC unroll 4
    for (int span = 1; span < VF; span *= 2) {
        const vi lane = vi_iota();
        const vi upper = (lane & span) != 0;
        const vi low = (upper & (lane + (int)VF - span)) | (~upper & lane);
        const vi high = (upper & (lane + (int)VF)) | (~upper & (lane + span));
#pragma GCC unroll 16
        for (int i = 0; i < VF; i++) {
            if ((i & span) != 0)
                continue;
            vf a = row[i], b = row[i + span];
            row[i] = vf_shuffle(a, b, low);
            row[i + span] = vf_shuffle(a, b, high);
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < VF; i++)
        vf_store_f32(dst + i * ld_dst, row[i]);
}

void AXL_CPU(attn_transpose)(const float *src, int64_t rows, int64_t width, float *dst)
{
    for (int64_t r = 0; r < rows; r += VF)
        for (int64_t c = 0; c < width; c += VF)
            transpose_square(src + r * width + c, width, dst + c * ATTN_ROWS + r, ATTN_ROWS);
}

static void mask_scores(const attn_score_args *g)
{
    for (int64_t v = 0; v < 2; v++) {
        const int64_t lane = g->strip * ATTN_LANES + v * VF;
        vi lo, hi;
        memcpy(&lo, g->rows->lo + lane, sizeof lo);
        memcpy(&hi, g->rows->hi + lane, sizeof hi);
        for (int64_t j = g->begin; j < g->end; j++) {
            float *s = g->s + j * g->ld + v * VF;
            const vi key = vi_set((int32_t)(g->key0 + j));
            vf_store_f32(s,
                         vf_select((lo <= key) & (key <= hi), vf_load_f32(s), vf_set(ATTN_MASKED)));
        }
    }
}

void AXL_CPU(attn_scores)(const attn_score_args *g)
{
    const attn_range *see = &g->rows->strips[g->strip];
    const float cap = g->attn->softcap;

    AXL_CPU(mm_rows)
    (&(mm_args){.m = g->end - g->begin,
                .n = ATTN_LANES,
                .k = g->dp,
                .a = g->k.p + g->begin * g->k.ld,
                .step_m = g->k.ld,
                .b = g->qt + g->strip * ATTN_LANES,
                .ldb = ATTN_ROWS,
                .c = g->s + g->begin * g->ld,
                .ldc = g->ld});
    if (cap > 0.0f)
        for (int64_t j = g->begin; j < g->end; j++)
            for (int64_t v = 0; v < 2; v++) {
                float *s = g->s + j * g->ld + v * VF;
                vf_store_f32(s, cap * ATTN_LOG2E * vf_tanh(vf_load_f32(s) / cap));
            }
    if (g->key0 + g->begin < see->all_first || g->key0 + g->end > see->all_last)
        mask_scores(g);
}

axl_status AXL_CPU(attn_plan_init)(axl_stream *s, const axl_attn_args *a, const attn_dims *m,
                                   bool by_keys, int64_t floats, attn_plan *out)
{
    axl_status status = AXL_OK;
    const axl_device *d = s->device;
    const int64_t room = (int64_t)(d->workspace_bytes / sizeof(float));
    const int64_t list = ((int64_t)(a->n_seqs + 1) * 2 + 15) / 16 * 16; // two floats an int64_t
    int64_t *before = d->workspace;
    int64_t fit = (room - list) / floats;

    AXL_REQUIRE(
        room > list && fit >= 1, AXL_E_UNSUPPORTED,
        "attention over %d sequences with head_dim %d needs a larger workspace than %zu bytes",
        a->n_seqs, a->head_dim, d->workspace_bytes);
    before[0] = 0;
    for (int64_t i = 0; i < a->n_seqs; i++) {
        const int64_t n = by_keys ? attn_n_keys(a, i) : attn_n_rows(a, m, i);
        const int64_t size = by_keys ? ATTN_KEYS : ATTN_ROWS;
        before[i + 1] = before[i] + (n + size - 1) / size;
    }
    *out = (attn_plan){.blocks_before = before, .n_seqs = a->n_seqs, .n_kv_heads = a->n_kv_heads};
    out->n_items = before[a->n_seqs] * a->n_kv_heads;
    out->n_threads = (int)max64(1, min64(min64(fit, d->n_threads), out->n_items));
    out->scratch = (float *)d->workspace + list;
    out->rest = out->scratch + out->n_threads * floats;
    out->rest_floats = room - list - out->n_threads * floats;

out:
    return status;
}

attn_item AXL_CPU(attn_plan_item)(const attn_plan *p, int64_t i)
{
    const int64_t column = i / p->n_kv_heads; // among all sequences' blocks
    int64_t low = 0, high = p->n_seqs;

    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (p->blocks_before[middle] <= column)
            low = middle;
        else
            high = middle;
    }
    return (attn_item){low, i % p->n_kv_heads, p->blocks_before[low + 1] - 1 - column};
}
