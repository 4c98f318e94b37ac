// The tokenizer's containers: vocabulary, pair map, trie. Open addressing with linear steps and at
// most half full; the hard thing is only that ids come from a file and are checked here.
#include "src/text/tokenizer_private.h"

#include "src/base/mem.h"

#include <stdlib.h>
#include <string.h>

#define HASH_K 0x9fb21c651e98df25u

uint64_t axl_tok_hash(const char *s, size_t n)
{
    uint64_t h = n * 0x9e3779b97f4a7c15u;
    uint64_t w;

    for (; n >= 8; n -= 8, s += 8) {
        memcpy(&w, s, 8);
        h = (h ^ w) * HASH_K;
        h ^= h >> 32;
    }
    w = 0;
    memcpy(&w, s, n);
    h = (h ^ w) * HASH_K;
    return h ^ (h >> 29);
}

void axl_vocab_fini(axl_vocab *v)
{
    free(v->pool);
    free(v->at);
    free(v->len);
    free(v->table);
    *v = (axl_vocab){0};
}

const char *axl_vocab_text(const axl_vocab *v, int64_t id, size_t *n)
{
    if (id < 0 || id >= v->size || v->at[id] == UINT32_MAX)
        return NULL;
    *n = v->len[id];
    return v->pool + v->at[id];
}

int32_t axl_vocab_find(const axl_vocab *v, const char *s, size_t n)
{
    return v->table == NULL ? -1 : axl_vocab_find_hashed(v, s, n, axl_tok_hash(s, n));
}

void axl_vocab_prefetch(const axl_vocab *v, uint64_t hash)
{
    uint64_t slot = v->table[hash & v->mask];
    if (slot == 0)
        return;
    uint32_t id = (uint32_t)slot - 1;
    __builtin_prefetch(&v->at[id]);
    __builtin_prefetch(&v->len[id]);
}

int32_t axl_vocab_find_hashed(const axl_vocab *v, const char *s, size_t n, uint64_t h)
{
    for (size_t i = h & v->mask; v->table[i] != 0; i = (i + 1) & v->mask) {
        if ((v->table[i] ^ h) >> 32 != 0)
            continue;
        uint32_t id = (uint32_t)v->table[i] - 1;
        if (v->len[id] == n && memcmp(v->pool + v->at[id], s, n) == 0)
            return (int32_t)id;
    }
    return -1;
}

static void vocab_link(axl_vocab *v, uint64_t h, uint32_t id)
{
    size_t i = h & v->mask;
    while (v->table[i] != 0)
        i = (i + 1) & v->mask;
    v->table[i] = (h >> 32 << 32) | (id + 1u);
}

static axl_status vocab_rehash(axl_vocab *v, size_t n)
{
    axl_status status = AXL_OK;
    uint64_t *table = NULL;

    AXL_TRY(axl_calloc(n, sizeof *table, "a vocabulary", &table));
    free(v->table);
    v->table = table;
    v->mask = n - 1;
    for (int64_t id = 0; id < v->size; id++)
        if (v->at[id] != UINT32_MAX)
            vocab_link(v, axl_tok_hash(v->pool + v->at[id], v->len[id]), (uint32_t)id);
out:
    return status;
}

axl_status axl_vocab_reserve(axl_vocab *v, size_t count)
{
    axl_status status = AXL_OK;
    size_t n = 1024;

    if (count > (size_t)AXL_TOK_MAX_ID)
        count = (size_t)AXL_TOK_MAX_ID;
    while (n < 2 * count + 2)
        n *= 2;
    if (v->table == NULL || n > v->mask + 1)
        AXL_TRY(vocab_rehash(v, n));
out:
    return status;
}

axl_status axl_vocab_add(axl_vocab *v, const char *s, size_t n, int64_t id)
{
    axl_status status = AXL_OK;
    int32_t there = axl_vocab_find(v, s, n);
    int shown = n < 60 ? (int)n : 60; // of s, which no NUL need end

    AXL_REQUIRE(id >= 0 && id < AXL_TOK_MAX_ID, AXL_E_INPUT, "id %lld is not in 0 .. %lld",
                (long long)id, (long long)AXL_TOK_MAX_ID - 1);
    AXL_REQUIRE(there < 0, AXL_E_INPUT, "the token \"%.*s\" is there twice, as %d and %lld", shown,
                s, there, (long long)id);
    AXL_REQUIRE(id >= v->size || v->at[id] == UINT32_MAX, AXL_E_INPUT,
                "id %lld belongs to \"%.60s\" and to \"%.*s\"", (long long)id, v->pool + v->at[id],
                shown, s);
    AXL_REQUIRE(v->pool_len + n + 1 < UINT32_MAX, AXL_E_INPUT, "the vocabulary is too large");
    AXL_TRY(axl_grow(&v->pool, &v->pool_capacity, v->pool_len + n + 1, 1, "a vocabulary"));
    AXL_TRY(axl_grow(&v->at, &v->at_capacity, (size_t)id + 1, sizeof *v->at, "a vocabulary"));
    AXL_TRY(axl_grow(&v->len, &v->len_capacity, (size_t)id + 1, sizeof *v->len, "a vocabulary"));
    for (; v->size <= id; v->size++) {
        v->at[v->size] = UINT32_MAX;
        v->len[v->size] = 0;
    }
    if (v->table == NULL || (size_t)v->count * 2 >= v->mask)
        AXL_TRY(vocab_rehash(v, v->table == NULL ? 1024 : (v->mask + 1) * 4));
    v->at[id] = (uint32_t)v->pool_len;
    v->len[id] = (uint32_t)n;
    if (n > 0)
        memcpy(v->pool + v->pool_len, s, n);
    v->pool[v->pool_len + n] = '\0';
    v->pool_len += n + 1;
    v->count++;
    vocab_link(v, axl_tok_hash(s, n), (uint32_t)id);
out:
    return status;
}

void axl_pairmap_fini(axl_pairmap *m)
{
    free(m->slot);
    *m = (axl_pairmap){0};
}

axl_status axl_pairmap_reserve(axl_pairmap *m, size_t count)
{
    axl_status status = AXL_OK;
    axl_pairmap_slot *slot = NULL;
    size_t n = 64;

    while (n < count * 2)
        n *= 2;
    if (m->slot != NULL && n <= m->mask + 1)
        goto out;
    AXL_TRY(axl_calloc(n, sizeof *slot, "a hash map", &slot));
    memset(slot, 0xff, n * sizeof *slot);
    for (size_t i = 0; m->slot != NULL && i <= m->mask; i++) {
        if (m->slot[i].key == UINT64_MAX)
            continue;
        size_t k = axl_pairmap_home(m->slot[i].key) & (n - 1);
        while (slot[k].key != UINT64_MAX)
            k = (k + 1) & (n - 1);
        slot[k] = m->slot[i];
    }
    free(m->slot);
    m->slot = slot;
    m->mask = n - 1;
out:
    return status;
}

axl_status axl_pairmap_put(axl_pairmap *m, uint64_t key, uint64_t value)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_pairmap_reserve(m, m->count + 1));
    size_t i = axl_pairmap_home(key) & m->mask;
    while (m->slot[i].key != UINT64_MAX && m->slot[i].key != key)
        i = (i + 1) & m->mask;
    m->count += m->slot[i].key != key;
    m->slot[i] = (axl_pairmap_slot){key, value};
out:
    return status;
}

void axl_trie_fini(axl_trie *t)
{
    axl_pairmap_fini(&t->edges);
    free(t->value);
    *t = (axl_trie){0};
}

static axl_status trie_node(axl_trie *t)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_grow(&t->value, &t->capacity, t->n_nodes + 1, sizeof *t->value, "a trie"));
    t->value[t->n_nodes++] = -1;
out:
    return status;
}

axl_status axl_trie_add(axl_trie *t, const char *s, size_t n, int32_t value)
{
    axl_status status = AXL_OK;
    int64_t node = 0;

    if (t->n_nodes == 0)
        AXL_TRY(trie_node(t));
    for (size_t i = 0; i < n; i++) {
        int64_t next = axl_trie_step(t, node, (unsigned char)s[i]);
        if (next < 0) {
            next = (int64_t)t->n_nodes;
            AXL_TRY(trie_node(t));
            AXL_TRY(axl_pairmap_put(&t->edges, ((uint64_t)node << 8) | (unsigned char)s[i],
                                    (uint64_t)next));
        }
        node = next;
    }
    if (t->value[node] < 0)
        t->value[node] = value;
out:
    return status;
}

axl_status axl_spans_put(axl_spans *s, size_t begin, size_t end)
{
    axl_status status = AXL_OK;

    if (s->n == s->capacity)
        AXL_TRY(axl_grow(&s->at, &s->capacity, s->n + 1, sizeof *s->at, "pieces of a text"));
    s->at[s->n++] = (axl_span){(uint32_t)begin, (uint32_t)end};
out:
    return status;
}
