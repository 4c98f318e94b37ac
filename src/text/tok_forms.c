// The four Unicode normalization forms with origins. utf8proc knows the mappings; the order of the
// steps and what each resulting character replaces is done here, because utf8proc keeps no origins.
//
// Most text is inert: nothing in it changes under the form. Only a region from the last inert
// character before a change to the next one after it is worked on.
#include "src/text/tokenizer_private.h"

#include "src/base/mem.h"

#include <stdlib.h>
#include <utf8proc.h>

#define IS_SECOND 0x8000u // utf8proc's mark of characters that may be the second of a composed pair

static const utf8proc_property_t *property(uint32_t cp)
{
    return utf8proc_get_property((utf8proc_int32_t)cp);
}

// Marks younger than the reference's tables are no marks there.
static int class_of(uint32_t cp)
{
    int class = property(cp)->combining_class;
    return class != 0 && axl_uni_flipped(AXL_UNI_MARK, cp) ? 0 : class;
}

static bool is_hangul_part(uint32_t cp)
{
    return (cp >= 0x1161 && cp <= 0x1175) || (cp >= 0x11a8 && cp <= 0x11c2);
}

static bool is_hangul(uint32_t cp)
{
    return cp >= 0xac00 && cp <= 0xd7a3;
}

static utf8proc_option_t form_options(const axl_step *s)
{
    return UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (s->compat ? UTF8PROC_COMPAT : 0);
}

// The pair composed, or 0.
static uint32_t compose(uint32_t a, uint32_t b)
{
    const utf8proc_property_t *p = property(b);
    utf8proc_int32_t pair[2] = {(utf8proc_int32_t)a, (utf8proc_int32_t)b};

    if (!is_hangul_part(b) && (p->comb_index == UINT16_MAX || p->comb_index < IS_SECOND))
        return 0;
    if (utf8proc_normalize_utf32(pair, 2, UTF8PROC_STABLE | UTF8PROC_COMPOSE) != 1)
        return 0;
    return (uint32_t)pair[0];
}

// Whether cp is a starter that the form leaves alone, whatever stands around it.
static bool is_inert(const axl_step *s, uint32_t cp)
{
    if (cp < 0xa0)
        return true;
    const utf8proc_property_t *p = property(cp);
    if (class_of(cp) != 0)
        return false;
    if (s->compose &&
        (is_hangul_part(cp) || (p->comb_index != UINT16_MAX && p->comb_index >= IS_SECOND)))
        return false;
    if (is_hangul(cp))
        return s->compose;
    if (p->decomp_seqindex == UINT16_MAX)
        return true;
    return p->decomp_type != 0 && !s->compat;
}

// Appends the decomposition of cp; only its first character replaces something.
static axl_status decompose(const axl_step *s, axl_tok_work *w, uint32_t cp, size_t *n)
{
    axl_status status = AXL_OK;
    utf8proc_int32_t parts[32];
    int boundary = 0;
    utf8proc_ssize_t k =
        utf8proc_decompose_char((utf8proc_int32_t)cp, parts, 32, form_options(s), &boundary);

    AXL_REQUIRE(k >= 0 && k <= 32, AXL_E_BUG, "U+%04X decomposes into %ld characters", cp, (long)k);
    AXL_TRY(axl_grow(&w->changes, &w->changes_capacity, *n + (size_t)k, sizeof *w->changes,
                     "a normalized text"));
    for (utf8proc_ssize_t i = 0; i < k; i++)
        w->changes[(*n)++] = (axl_change){(uint32_t)parts[i], i > 0};
out:
    return status;
}

// Canonical order: runs of marks sorted by class, equal ones as they came.
static void order_marks(axl_change *c, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        axl_change x = c[i];
        int class = class_of(x.cp);
        size_t k = i;
        if (class == 0)
            continue;
        while (k > 0 && class_of(c[k - 1].cp) > class) {
            c[k] = c[k - 1];
            k--;
        }
        c[k] = x;
    }
}

// Composes in place; a composed character replaces what its two parts replaced.
static size_t compose_all(axl_change *c, size_t n)
{
    size_t out = 0, starter = SIZE_MAX;
    int last = -1; // class of the last mark kept after the starter; -1: none

    for (size_t i = 0; i < n; i++) {
        int class = class_of(c[i].cp);
        bool free_to = starter != SIZE_MAX && (last < 0 || last < class);
        uint32_t joined = free_to ? compose(c[starter].cp, c[i].cp) : 0;
        if (joined != 0) {
            c[starter].cp = joined;
            c[starter].change += c[i].change - 1;
            continue;
        }
        if (class == 0) {
            starter = out;
            last = -1;
        } else {
            last = class;
        }
        c[out++] = c[i];
    }
    return out;
}

// Works on the text begin .. end, in which something may change.
static axl_status normalize_region(const axl_step *s, axl_tok_work *w, size_t begin, size_t end)
{
    axl_status status = AXL_OK;
    size_t n = 0;

    for (size_t i = begin, k; i < end; i += k)
        AXL_TRY(decompose(s, w, axl_utf8_decode(w->norm.s + i, &k), &n));
    order_marks(w->changes, n);
    if (s->compose)
        n = compose_all(w->changes, n);
    AXL_TRY(axl_text_apply(&w->norm, begin, w->changes, n));
out:
    return status;
}

axl_status axl_normalize_form(const axl_step *s, axl_tok_work *w)
{
    axl_status status = AXL_OK;
    axl_text *t = &w->norm;
    size_t kept = 0, last = 0, i = 0, k = 0;
    bool begun = false;

    // kept: written so far; last: the last inert character, where a region would begin.
    while (i < t->n) {
        if (is_inert(s, axl_utf8_decode(t->s + i, &k))) {
            last = i;
            i += k;
            continue;
        }
        size_t end = i + k;
        while (end < t->n && !is_inert(s, axl_utf8_decode(t->s + end, &k)))
            end += k;
        if (!begun)
            axl_text_begin(t);
        begun = true;
        last = last < kept ? kept : last;
        AXL_TRY(axl_text_keep(t, kept, last));
        AXL_TRY(normalize_region(s, w, last, end));
        kept = last = i = end;
    }
    if (begun) {
        AXL_TRY(axl_text_keep(t, kept, t->n));
        axl_text_end(t);
    }
out:
    return status;
}
