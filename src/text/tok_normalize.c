// Normalizers: each rewrites w->norm. A row a kind.
#include "src/text/tokenizer_private.h"

#include <string.h>

// ---- Parsing ----

static axl_status parse_nfc(const axl_json *v, const char *what, axl_step *s)
{
    (void)v;
    (void)what;
    s->compose = true;
    return AXL_OK;
}

static axl_status parse_nfkd(const axl_json *v, const char *what, axl_step *s)
{
    (void)v;
    (void)what;
    s->compat = true;
    return AXL_OK;
}

static axl_status parse_nfkc(const axl_json *v, const char *what, axl_step *s)
{
    (void)v;
    (void)what;
    s->compose = s->compat = true;
    return AXL_OK;
}

static axl_status parse_text(const axl_json *v, const char *key, const char *what, axl_str *out)
{
    axl_status status = AXL_OK;
    const axl_json *text = axl_json_get(v, key);

    AXL_REQUIRE(axl_json_is(text, AXL_JSON_STRING), AXL_E_INPUT, "%s.%s: must be a string", what,
                key);
    AXL_TRY(axl_str_append(out, axl_json_string(text, ""), axl_json_string_length(text)));
out:
    return status;
}

axl_status axl_replace_parse(const axl_json *v, const char *what, axl_step *s)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_pattern_parse(axl_json_get(v, "pattern"), what, false, &s->pattern));
    AXL_TRY(parse_text(v, "content", what, &s->content));
out:
    return status;
}

static axl_status parse_prepend(const axl_json *v, const char *what, axl_step *s)
{
    return parse_text(v, "prepend", what, &s->content);
}

static axl_status parse_strip(const axl_json *v, const char *what, axl_step *s)
{
    (void)what;
    s->left = axl_json_bool(axl_json_get(v, "strip_left"), true);
    s->right = axl_json_bool(axl_json_get(v, "strip_right"), true);
    return AXL_OK;
}

static axl_status parse_bert(const axl_json *v, const char *what, axl_step *s)
{
    (void)what;
    s->clean = axl_json_bool(axl_json_get(v, "clean_text"), true);
    s->chinese = axl_json_bool(axl_json_get(v, "handle_chinese_chars"), true);
    s->lower = axl_json_bool(axl_json_get(v, "lowercase"), true);
    s->accents = axl_json_bool(axl_json_get(v, "strip_accents"), s->lower);
    return AXL_OK;
}

// ---- Character by character ----

#define DROP 0xffffffffu

// Rewrites the text by a function of one character; DROP leaves it out. A character without a change
// is copied in bulk.
static axl_status map_chars(axl_tok_work *w, uint32_t (*map)(uint32_t cp))
{
    axl_status status = AXL_OK;
    axl_text *t = &w->norm;
    size_t kept = 0, k;
    bool begun = false;

    for (size_t i = 0; i < t->n; i += k) {
        uint32_t cp = axl_utf8_decode(t->s + i, &k), to = map(cp);
        if (to == cp)
            continue;
        if (!begun)
            axl_text_begin(t);
        begun = true;
        AXL_TRY(axl_text_keep(t, kept, i));
        if (to != DROP)
            AXL_TRY(axl_text_put_cp(t, to, (int64_t)i));
        kept = i + k;
    }
    if (begun) {
        AXL_TRY(axl_text_keep(t, kept, t->n));
        axl_text_end(t);
    }
out:
    return status;
}

static axl_status run_lowercase(const axl_step *s, axl_tok_work *w)
{
    axl_status status = AXL_OK;
    axl_text *t = &w->norm;
    size_t k;

    (void)s;
    axl_text_begin(t);
    for (size_t i = 0; i < t->n; i += k) {
        uint32_t cp = axl_utf8_decode(t->s + i, &k);
        if (cp == 0x130) // the one capital whose small form is two characters
            AXL_TRY(axl_text_put(t, "i\xcc\x87", 3, (int64_t)i));
        else
            AXL_TRY(axl_text_put_cp(t, axl_uni_lower(cp), (int64_t)i));
    }
    axl_text_end(t);
out:
    return status;
}

static uint32_t drop_marks(uint32_t cp)
{
    return cp >= 0x300 && axl_uni_is_mark(cp) ? DROP : cp;
}

static axl_status run_strip_accents(const axl_step *s, axl_tok_work *w)
{
    (void)s;
    return map_chars(w, drop_marks);
}

static uint32_t map_nmt(uint32_t cp)
{
    if ((cp >= 1 && cp <= 8) || cp == 0xb || (cp >= 0xe && cp <= 0x1f) || cp == 0x7f ||
        cp == 0x8f || cp == 0x9f)
        return DROP;
    if (cp == 9 || cp == 0xa || cp == 0xc || cp == 0xd || cp == 0x1680 ||
        (cp >= 0x200b && cp <= 0x200f) || cp == 0x2028 || cp == 0x2029 || cp == 0x2581 ||
        cp == 0xfeff || cp == 0xfffd)
        return ' ';
    return cp;
}

static axl_status run_nmt(const axl_step *s, axl_tok_work *w)
{
    (void)s;
    return map_chars(w, map_nmt);
}

// ---- Whole text ----

static axl_status run_replace(const axl_step *s, axl_tok_work *w)
{
    axl_status status = AXL_OK;
    axl_text *t = &w->norm;
    axl_match_state state = {0};
    axl_span match;
    size_t kept = 0;
    bool found, begun = false;

    for (;;) {
        AXL_TRY(axl_pattern_next(&s->pattern, w, t->s, t->n, &state, &match, &found));
        if (!found)
            break;
        if (!begun)
            axl_text_begin(t);
        begun = true;
        AXL_TRY(axl_text_keep(t, kept, match.begin));
        AXL_TRY(axl_text_put(t, s->content.data, s->content.len, (int64_t)match.end - 1));
        kept = match.end;
    }
    if (begun) {
        AXL_TRY(axl_text_keep(t, kept, t->n));
        axl_text_end(t);
    }
out:
    return status;
}

static axl_status run_prepend(const axl_step *s, axl_tok_work *w)
{
    axl_status status = AXL_OK;

    axl_text_begin(&w->norm);
    AXL_TRY(axl_text_put(&w->norm, s->content.data, s->content.len, 0));
    AXL_TRY(axl_text_keep(&w->norm, 0, w->norm.n));
    axl_text_end(&w->norm);
out:
    return status;
}

static axl_status run_strip(const axl_step *s, axl_tok_work *w)
{
    axl_status status = AXL_OK;
    axl_text *t = &w->norm;
    size_t begin = 0, end = t->n, k;

    while (s->left && begin < t->n && axl_uni_is_space(axl_utf8_decode(t->s + begin, &k)))
        begin += k;
    while (s->right && end > begin) {
        size_t i = end - 1;
        while (i > begin && axl_utf8_is_tail(t->s[i]))
            i--;
        if (!axl_uni_is_space(axl_utf8_decode(t->s + i, &k)))
            break;
        end = i;
    }
    if (begin == 0 && end == t->n)
        goto out;
    axl_text_begin(t);
    AXL_TRY(axl_text_keep(t, begin, end));
    axl_text_end(t);
out:
    return status;
}

static axl_status run_byte_level(const axl_step *s, axl_tok_work *w)
{
    axl_status status = AXL_OK;
    axl_text *t = &w->norm;

    (void)s;
    axl_text_begin(t);
    for (size_t i = 0; i < t->n; i++)
        AXL_TRY(axl_text_put_cp(t, axl_byte_level_char((unsigned char)t->s[i]), (int64_t)i));
    axl_text_end(t);
out:
    return status;
}

// ---- BERT ----

static uint32_t map_clean(uint32_t cp)
{
    if (cp == '\t' || cp == '\n' || cp == '\r')
        return ' ';
    if (cp == 0 || cp == 0xfffd || axl_uni_is_control(cp))
        return DROP;
    return axl_uni_is_space(cp) ? ' ' : cp;
}

static bool is_chinese(uint32_t cp)
{
    return (cp >= 0x4e00 && cp <= 0x9fff) || (cp >= 0x3400 && cp <= 0x4dbf) ||
           (cp >= 0x20000 && cp <= 0x2a6df) || (cp >= 0x2a700 && cp <= 0x2b73f) ||
           (cp >= 0x2b740 && cp <= 0x2b81f) || (cp >= 0x2b920 && cp <= 0x2ceaf) ||
           (cp >= 0xf900 && cp <= 0xfaff) || (cp >= 0x2f800 && cp <= 0x2fa1f);
}

static axl_status space_chinese(axl_tok_work *w)
{
    axl_status status = AXL_OK;
    axl_text *t = &w->norm;
    size_t kept = 0, k;

    axl_text_begin(t);
    for (size_t i = 0; i < t->n; i += k) {
        if (!is_chinese(axl_utf8_decode(t->s + i, &k)))
            continue;
        AXL_TRY(axl_text_keep(t, kept, i));
        AXL_TRY(axl_text_put(t, " ", 1, (int64_t)i));
        AXL_TRY(axl_text_keep(t, i, i + k));
        AXL_TRY(axl_text_put(t, " ", 1, (int64_t)i));
        kept = i + k;
    }
    AXL_TRY(axl_text_keep(t, kept, t->n));
    axl_text_end(t);
out:
    return status;
}

static uint32_t drop_nonspacing(uint32_t cp)
{
    return cp >= 0x300 && axl_uni_is_nonspacing(cp) ? DROP : cp;
}

static axl_status run_bert(const axl_step *s, axl_tok_work *w)
{
    axl_status status = AXL_OK;
    static const axl_step nfd = {.kind = NULL};

    if (s->clean)
        AXL_TRY(map_chars(w, map_clean));
    if (s->chinese)
        AXL_TRY(space_chinese(w));
    if (s->accents) {
        AXL_TRY(axl_normalize_form(&nfd, w));
        AXL_TRY(map_chars(w, drop_nonspacing));
    }
    if (s->lower)
        AXL_TRY(run_lowercase(s, w));
out:
    return status;
}

const axl_step_kind axl_normalizer_kinds[] = {
    {.name = "NFC", .parse = parse_nfc, .normalize = axl_normalize_form},
    {.name = "NFD", .normalize = axl_normalize_form},
    {.name = "NFKC", .parse = parse_nfkc, .normalize = axl_normalize_form},
    {.name = "NFKD", .parse = parse_nfkd, .normalize = axl_normalize_form},
    {.name = "Lowercase", .normalize = run_lowercase},
    {.name = "StripAccents", .normalize = run_strip_accents},
    {.name = "Replace", .parse = axl_replace_parse, .normalize = run_replace},
    {.name = "Prepend", .parse = parse_prepend, .normalize = run_prepend},
    {.name = "Strip", .parse = parse_strip, .normalize = run_strip},
    {.name = "Precompiled", .parse = axl_precompiled_parse, .normalize = axl_precompiled_run},
    {.name = "Nmt", .normalize = run_nmt},
    {.name = "ByteLevel", .normalize = run_byte_level},
    {.name = "BertNormalizer", .parse = parse_bert, .normalize = run_bert},
};
const size_t axl_n_normalizer_kinds = sizeof axl_normalizer_kinds / sizeof *axl_normalizer_kinds;

axl_status axl_normalize(const axl_tokenizer *t, axl_tok_work *w)
{
    axl_status status = AXL_OK;

    for (size_t i = 0; i < t->normalizers.n && w->norm.n > 0; i++)
        AXL_TRY(t->normalizers.at[i].kind->normalize(&t->normalizers.at[i], w));
out:
    return status;
}
