// Merges of a sentencepiece vocabulary. The hard part is ties: many splits have one score, and the order
// among them decides ids. It is that of the files that transformers converts: by score, then by the
// lengths of the two parts in characters, longest first, then by the ids of the whole and of the parts.
#include "src/io/gguf_parts.h"

#include "src/base/mem.h"

#include <stdlib.h>
#include <string.h>

#define TOKEN_NORMAL 1

typedef struct merge {
    float score;
    int32_t left_length, right_length; // in characters
    int64_t whole, left, right;        // ids
} merge;

typedef struct merge_list {
    merge *items; // owned
    size_t n, capacity;
} merge_list;

static int compare_text(const axl_gguf_text *a, const axl_gguf_text *b)
{
    int order = memcmp(a->text, b->text, a->n < b->n ? a->n : b->n);
    return order != 0 ? order : (a->n > b->n) - (a->n < b->n);
}

static int compare_ids(const void *a, const void *b, void *context)
{
    const axl_gguf_text *tokens = context;
    return compare_text(&tokens[*(const int64_t *)a], &tokens[*(const int64_t *)b]);
}

// The id of a text, or -1; sorted holds all ids by their texts.
static int64_t find_token(const axl_gguf_text *tokens, const int64_t *sorted, int64_t n,
                          const char *text, size_t length)
{
    const axl_gguf_text probe = {text, length};
    int64_t low = 0, high = n;

    while (low < high) {
        int64_t mid = low + (high - low) / 2;
        int order = compare_text(&probe, &tokens[sorted[mid]]);
        if (order == 0)
            return sorted[mid];
        if (order < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return -1;
}

static int compare_merges(const void *a, const void *b)
{
    const merge *x = a, *y = b;

    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    if (x->left_length != y->left_length)
        return x->left_length > y->left_length ? -1 : 1;
    if (x->right_length != y->right_length)
        return x->right_length > y->right_length ? -1 : 1;
    if (x->whole != y->whole)
        return x->whole < y->whole ? -1 : 1;
    if (x->left != y->left)
        return x->left < y->left ? -1 : 1;
    return (x->right > y->right) - (x->right < y->right);
}

// Adds every split of token `id` into two known ones.
static axl_status add_splits(const axl_gguf_text *tokens, const int64_t *sorted, int64_t n,
                             int64_t id, float score, merge_list *list)
{
    axl_status status = AXL_OK;
    const axl_gguf_text *t = &tokens[id];
    int32_t characters = 0, before = 0;
    uint32_t code;

    for (size_t i = 0; i < t->n; characters++)
        i += axl_utf8_next(t->text + i, t->n - i, &code); // all tokens were checked to be UTF-8
    for (size_t cut = 0; cut < t->n;) {
        cut += axl_utf8_next(t->text + cut, t->n - cut, &code);
        before++;
        if (cut == t->n)
            break;
        int64_t left = find_token(tokens, sorted, n, t->text, cut);
        int64_t right = find_token(tokens, sorted, n, t->text + cut, t->n - cut);
        if (left < 0 || right < 0)
            continue;
        AXL_TRY(axl_grow(&list->items, &list->capacity, list->n + 1, sizeof *list->items,
                         "tokenizer merges"));
        list->items[list->n++] = (merge){.score = score,
                                         .left_length = before,
                                         .right_length = characters - before,
                                         .whole = id,
                                         .left = left,
                                         .right = right};
    }
out:
    return status;
}

axl_status axl_gguf_put_spm_merges(const axl_gguf_text *tokens, int64_t n,
                                   const axl_gguf_value *types, const axl_gguf_value *scores,
                                   axl_str *out)
{
    axl_status status = AXL_OK;
    merge_list list = {0};
    int64_t *sorted = NULL;
    union {
        const axl_gguf_text *in;
        void *out;
    } context = {.in = tokens}; // qsort_r wants a pointer without const

    AXL_TRY(axl_calloc((size_t)n, sizeof *sorted, "a vocabulary", &sorted));
    for (int64_t id = 0; id < n; id++)
        sorted[id] = id;
    qsort_r(sorted, (size_t)n, sizeof *sorted, compare_ids, context.out);
    for (int64_t id = 0; id < n; id++) {
        float score = (float)axl_gguf_real(scores, (uint64_t)id, 0.0);
        if (axl_gguf_int(types, (uint64_t)id, TOKEN_NORMAL) != TOKEN_NORMAL || score != score)
            continue;
        AXL_TRY(add_splits(tokens, sorted, n, id, score, &list));
    }
    if (list.n > 0)
        qsort(list.items, list.n, sizeof *list.items, compare_merges);
    for (size_t i = 0; i < list.n; i++) {
        const axl_gguf_text *left = &tokens[list.items[i].left];
        const axl_gguf_text *right = &tokens[list.items[i].right];
        AXL_TRY(axl_str_puts(out, i > 0 ? ",\n      [" : "\n      ["));
        AXL_TRY(axl_str_put_json(out, left->text, left->n));
        AXL_TRY(axl_str_puts(out, ", "));
        AXL_TRY(axl_str_put_json(out, right->text, right->n));
        AXL_TRY(axl_str_putc(out, ']'));
    }
out:
    free(sorted);
    free(list.items);
    return status;
}
