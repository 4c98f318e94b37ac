// Text that remembers where its bytes came from. While nothing was rewritten the text is a slice of
// the original and origins are read off the UTF-8 itself; only rewriting stores them, and only when
// asked to.
#include "src/text/tokenizer_private.h"

#include "src/base/mem.h"

#include <stdlib.h>
#include <string.h>

void axl_text_fini(axl_text *t)
{
    for (int i = 0; i < 2; i++) {
        free(t->own[i].s);
        free(t->own[i].from);
        free(t->own[i].to);
    }
    *t = (axl_text){0};
}

void axl_text_view(axl_text *t, const char *s, size_t n, const uint32_t *from, const uint32_t *to,
                   size_t base, bool track)
{
    t->s = s;
    t->n = n;
    t->from = from;
    t->to = to;
    t->base = base;
    t->track = track;
    t->current = -1;
}

void axl_text_slice(axl_text *t, const axl_text *of, size_t begin, size_t end)
{
    const uint32_t *from = of->from == NULL ? NULL : of->from + begin;
    const uint32_t *to = of->to == NULL ? NULL : of->to + begin;
    size_t base = from == NULL ? of->base + begin : begin < of->n ? *from : of->base;
    axl_text_view(t, of->s + begin, end - begin, from, to, base, of->track);
}

axl_span axl_text_origin(const axl_text *t, size_t i)
{
    if (t->from != NULL)
        return (axl_span){t->from[i], t->to[i]};
    size_t begin = i, end = i + 1;
    while (begin > 0 && axl_utf8_is_tail(t->s[begin]))
        begin--;
    while (end < t->n && axl_utf8_is_tail(t->s[end]))
        end++;
    return (axl_span){(uint32_t)(t->base + begin), (uint32_t)(t->base + end)};
}

static axl_text_buffer *target(axl_text *t)
{
    return &t->own[t->current == 0 ? 1 : 0];
}

void axl_text_begin(axl_text *t)
{
    t->n_new = 0;
}

static axl_status make_room(axl_text *t, size_t n)
{
    axl_status status = AXL_OK;
    axl_text_buffer *b = target(t);

    AXL_REQUIRE(t->n_new + n <= 4 * AXL_TOK_MAX_TEXT - 8, AXL_E_INPUT,
                "a normalized text is longer than 4 GiB");
    AXL_TRY(axl_grow(&b->s, &b->s_capacity, t->n_new + n, 1, "text"));
    if (t->track) {
        AXL_TRY(axl_grow(&b->from, &b->from_capacity, t->n_new + n, sizeof *b->from, "offsets"));
        AXL_TRY(axl_grow(&b->to, &b->to_capacity, t->n_new + n, sizeof *b->to, "offsets"));
    }
out:
    return status;
}

axl_status axl_text_keep(axl_text *t, size_t begin, size_t end)
{
    axl_status status = AXL_OK;
    axl_text_buffer *b = target(t);

    if (begin == end)
        goto out;
    AXL_TRY(make_room(t, end - begin));
    memcpy(b->s + t->n_new, t->s + begin, end - begin);
    if (t->track) {
        for (size_t i = begin, k = t->n_new; i < end; i++, k++) {
            axl_span o = axl_text_origin(t, i);
            b->from[k] = o.begin;
            b->to[k] = o.end;
        }
    }
    t->n_new += end - begin;
out:
    return status;
}

axl_status axl_text_put(axl_text *t, const char *bytes, size_t n, int64_t like)
{
    axl_status status = AXL_OK;
    axl_text_buffer *b = target(t);

    if (n == 0)
        goto out;
    AXL_TRY(make_room(t, n));
    memcpy(b->s + t->n_new, bytes, n);
    if (t->track) {
        axl_span o = {(uint32_t)t->base, (uint32_t)t->base};
        if (like >= 0 && (size_t)like < t->n)
            o = axl_text_origin(t, (size_t)like);
        for (size_t k = t->n_new; k < t->n_new + n; k++) {
            b->from[k] = o.begin;
            b->to[k] = o.end;
        }
    }
    t->n_new += n;
out:
    return status;
}

axl_status axl_text_put_cp(axl_text *t, uint32_t cp, int64_t like)
{
    char utf8[4];
    size_t n = axl_utf8_encode(cp, utf8);
    return axl_text_put(t, utf8, n, like);
}

axl_status axl_text_apply(axl_text *t, size_t begin, const axl_change *changes, size_t n)
{
    axl_status status = AXL_OK;
    size_t at = begin;

    for (size_t i = 0; i < n; i++) {
        int64_t like = changes[i].change > 0 ? (int64_t)at - 1 : (int64_t)at;
        AXL_TRY(axl_text_put_cp(t, changes[i].cp, like));
        for (int32_t take = changes[i].change; take <= 0 && at < t->n; take++) {
            do
                at++;
            while (at < t->n && axl_utf8_is_tail(t->s[at]));
        }
    }
out:
    return status;
}

void axl_text_end(axl_text *t)
{
    int to = t->current == 0 ? 1 : 0;
    t->current = to;
    t->s = t->own[to].s == NULL ? "" : t->own[to].s;
    t->n = t->n_new;
    t->from = t->track ? t->own[to].from : NULL;
    t->to = t->track ? t->own[to].to : NULL;
}
