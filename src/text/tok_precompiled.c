// The normalizer of sentencepiece models: a map from short texts to texts, compiled into a double-array
// trie (Aoe 1989, as the darts-clone library lays it out) followed by the texts, each ended by a NUL.
#include "src/text/tok_source.h"

#include "src/base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

typedef struct charsmap {
    size_t n_units, n_text;
    uint32_t units[]; // then the texts
} charsmap;

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

axl_status axl_base64_decode(const char *s, size_t n, const char *what, axl_str *out)
{
    axl_status status = AXL_OK;
    uint32_t bits = 0;
    int n_bits = 0;

    while (n > 0 && s[n - 1] == '=')
        n--;
    for (size_t i = 0; i < n; i++) {
        int v = base64_value(s[i]);
        AXL_REQUIRE(v >= 0, AXL_E_INPUT, "%s: is not base64 at byte %zu", what, i);
        bits = bits << 6 | (uint32_t)v;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            AXL_TRY(axl_str_putc(out, (char)(bits >> n_bits & 0xff)));
        }
    }
out:
    return status;
}

axl_status axl_base64_encode(const char *s, size_t n, axl_str *out)
{
    axl_status status = AXL_OK;
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < n; i += 3) {
        uint32_t bits = 0;
        for (size_t k = 0; k < 3; k++)
            bits = bits << 8 | (i + k < n ? (unsigned char)s[i + k] : 0u);
        char four[4] = {digits[bits >> 18], digits[bits >> 12 & 63],
                        i + 1 < n ? digits[bits >> 6 & 63] : '=',
                        i + 2 < n ? digits[bits & 63] : '='};
        AXL_TRY(axl_str_append(out, four, 4));
    }
out:
    return status;
}

axl_status axl_precompiled_parse(const axl_json *v, const char *what, axl_step *s)
{
    axl_status status = AXL_OK;
    const axl_json *text = axl_json_get(v, "precompiled_charsmap");
    axl_str blob = {0};
    charsmap *map = NULL;
    uint32_t trie_bytes = 0;

    AXL_REQUIRE(axl_json_is(text, AXL_JSON_STRING), AXL_E_INPUT,
                "%s.precompiled_charsmap: must be a string", what);
    AXL_TRY_CTX(axl_base64_decode(axl_json_string(text, ""), axl_json_string_length(text),
                                  "precompiled_charsmap", &blob),
                "%s", what);
    if (blob.len > 0) {
        AXL_REQUIRE(blob.len >= 4, AXL_E_INPUT, "%s.precompiled_charsmap: is too short", what);
        memcpy(&trie_bytes, blob.data, 4); // little-endian, as every machine this runs on
        AXL_REQUIRE(trie_bytes <= blob.len - 4 && trie_bytes % 4 == 0, AXL_E_INPUT,
                    "%s.precompiled_charsmap: its trie of %u bytes is longer than the whole, %zu",
                    what, trie_bytes, blob.len);
    }
    map = calloc(1, sizeof *map + blob.len);
    AXL_REQUIRE(map != NULL, AXL_E_MEMORY, "no memory for %s", what);
    map->n_units = trie_bytes / 4;
    map->n_text = blob.len > 4 ? blob.len - 4 - trie_bytes : 0;
    if (blob.len > 4)
        memcpy(map->units, blob.data + 4, blob.len - 4);
    s->data = map;
    map = NULL;
out:
    free(map);
    axl_str_fini(&blob);
    return status;
}

static size_t unit_offset(uint32_t unit)
{
    return (size_t)(unit >> 10) << ((unit & (1u << 9)) >> 6);
}

// The text that the shortest known start of s[0 .. n) maps to, or NULL. That it is the shortest, though
// the whole of s is replaced, is how the reference reads the map.
static const char *map_text(const charsmap *m, const char *s, size_t n, size_t *len)
{
    size_t at = 0;

    if (m->n_units == 0)
        return NULL;
    at ^= unit_offset(m->units[0]);
    for (size_t i = 0; i < n && s[i] != '\0'; i++) {
        unsigned char c = (unsigned char)s[i];
        at ^= c;
        if (at >= m->n_units)
            return NULL;
        uint32_t unit = m->units[at];
        if ((unit & ((1u << 31) | 0xffu)) != c)
            return NULL;
        at ^= unit_offset(unit);
        if ((unit >> 8 & 1) == 0)
            continue;
        size_t value = at < m->n_units ? m->units[at] & 0x7fffffffu : SIZE_MAX;
        if (value > m->n_text)
            return NULL;
        const char *text = (const char *)(m->units + m->n_units) + value;
        *len = strnlen(text, m->n_text - value);
        return axl_utf8_invalid_at(text, *len) == *len ? text : NULL;
    }
    return NULL;
}

static axl_status put_change(axl_tok_work *w, size_t *n, uint32_t cp, int32_t change)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_grow(&w->changes, &w->changes_capacity, *n + 1, sizeof *w->changes,
                     "a normalized text"));
    w->changes[(*n)++] = (axl_change){cp, change};
out:
    return status;
}

// n_old characters become text[0 .. len): the last of the new ones are insertions, or the last of all
// takes the characters that are too many.
static axl_status replace(axl_tok_work *w, size_t *n, size_t n_old, const char *text, size_t len)
{
    axl_status status = AXL_OK;
    size_t n_new = 0;

    for (size_t i = 0, k; i < len; i += k, n_new++)
        AXL_TRY(put_change(w, n, axl_utf8_decode(text + i, &k), 0));
    for (size_t i = n_old; i < n_new; i++)
        w->changes[*n - 1 - (i - n_old)].change = 1;
    if (n_new<n_old && * n> 0)
        w->changes[*n - 1].change -= (int32_t)(n_old - n_new);
out:
    return status;
}

// The end of the grapheme cluster that begins at i; *count is its number of code points.
static size_t grapheme_end(const char *s, size_t n, size_t i, size_t *count)
{
    size_t k;
    utf8proc_int32_t state = 0;
    uint32_t cp = axl_utf8_decode(s + i, &k);

    *count = 1;
    for (i += k; i < n; i += k, ++*count) {
        uint32_t next = axl_utf8_decode(s + i, &k);
        if (utf8proc_grapheme_break_stateful((utf8proc_int32_t)cp, (utf8proc_int32_t)next, &state))
            break;
        cp = next;
    }
    return i;
}

axl_status axl_precompiled_run(const axl_step *s, axl_tok_work *w)
{
    axl_status status = AXL_OK;
    const charsmap *map = s->data;
    axl_text *t = &w->norm;
    size_t n = 0, end, k, len, count;
    bool changed = false;

    for (size_t i = 0; i < t->n; i = end) {
        end = grapheme_end(t->s, t->n, i, &count);
        const char *text = end - i < 6 ? map_text(map, t->s + i, end - i, &len) : NULL;
        if (text != NULL) {
            AXL_TRY(replace(w, &n, count, text, len));
            changed = true;
            continue;
        }
        for (size_t c = i; c < end; c += k) {
            uint32_t cp = axl_utf8_decode(t->s + c, &k);
            text = map_text(map, t->s + c, k, &len);
            changed = changed || text != NULL;
            if (text != NULL)
                AXL_TRY(replace(w, &n, 1, text, len));
            else
                AXL_TRY(put_change(w, &n, cp, 0));
        }
    }
    if (!changed)
        goto out;
    axl_text_begin(t);
    AXL_TRY(axl_text_apply(t, 0, w->changes, n));
    axl_text_end(t);
out:
    return status;
}
