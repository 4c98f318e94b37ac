// Pre-tokenizers that cut words by kinds of characters, and Metaspace.
#include "src/text/tokenizer_private.h"

#include <string.h>

// ---- Punctuation, white space ----

axl_status axl_punctuation_parse(const axl_json *v, const char *what, axl_step *s)
{
    axl_status status = AXL_OK;

    s->pattern = (axl_pattern){.kind = AXL_PATTERN_CLASS, .test = axl_uni_is_punctuation};
    s->behavior = AXL_SPLIT_ISOLATED;
    if (axl_json_get(v, "behavior") != NULL)
        AXL_TRY(axl_behavior_parse(v, what, &s->behavior));
out:
    return status;
}

axl_status axl_space_split_parse(const axl_json *v, const char *what, axl_step *s)
{
    (void)v;
    (void)what;
    s->pattern = (axl_pattern){.kind = AXL_PATTERN_CLASS, .test = axl_uni_is_space};
    s->behavior = AXL_SPLIT_REMOVED;
    return AXL_OK;
}

// A string of exactly one character.
static axl_status parse_char(const axl_json *v, const char *key, const char *what, uint32_t *cp)
{
    axl_status status = AXL_OK;
    const axl_json *text = axl_json_get(v, key);
    size_t n = axl_json_string_length(text);

    AXL_REQUIRE(axl_json_is(text, AXL_JSON_STRING) && n > 0 &&
                    axl_utf8_next(axl_json_string(text, ""), n, cp) == n,
                AXL_E_INPUT, "%s.%s: must be a string of one character", what, key);
out:
    return status;
}

axl_status axl_char_split_parse(const axl_json *v, const char *what, axl_step *s)
{
    s->pattern = (axl_pattern){.kind = AXL_PATTERN_CLASS};
    s->behavior = AXL_SPLIT_REMOVED;
    return parse_char(v, "delimiter", what, &s->pattern.only);
}

// \w+|[^\w\s]+ : runs of word characters and runs of others; spaces are left out.
static int word_class(uint32_t cp)
{
    return axl_uni_is_space(cp) ? 0 : axl_uni_is_word(cp) ? 1 : 2;
}

axl_status axl_whitespace_run(const axl_step *s, axl_tok_work *w)
{
    axl_status status = AXL_OK;
    size_t k;

    (void)s;
    w->spare.n = 0;
    for (size_t i = 0; i < w->spans.n; i++) {
        axl_span span = w->spans.at[i];
        size_t begin = span.begin;
        int last = 0;
        for (size_t at = span.begin; at < span.end; at += k) {
            int class = word_class(axl_utf8_decode(w->pre.s + at, &k));
            if (class == last)
                continue;
            if (last != 0)
                AXL_TRY(axl_spans_put(&w->spare, begin, at));
            begin = at;
            last = class;
        }
        if (last != 0)
            AXL_TRY(axl_spans_put(&w->spare, begin, span.end));
    }
    axl_spans_swap(w);
out:
    return status;
}

axl_status axl_bert_split_run(const axl_step *s, axl_tok_work *w)
{
    axl_status status = AXL_OK;
    static const axl_step spaces = {
        .pattern = {.kind = AXL_PATTERN_CLASS, .test = axl_uni_is_space},
        .behavior = AXL_SPLIT_REMOVED};
    static const axl_step marks = {
        .pattern = {.kind = AXL_PATTERN_CLASS, .test = axl_uni_is_punctuation},
        .behavior = AXL_SPLIT_ISOLATED};

    (void)s;
    AXL_TRY(axl_split_run(&spaces, w));
    AXL_TRY(axl_split_run(&marks, w));
out:
    return status;
}

// ---- Scripts, fixed lengths ----

// A piece begins where the script changes; characters without one go with what stands before them,
// and are lost at the start.
axl_status axl_scripts_run(const axl_step *s, axl_tok_work *w)
{
    axl_status status = AXL_OK;
    size_t k;

    (void)s;
    w->spare.n = 0;
    for (size_t i = 0; i < w->spans.n; i++) {
        axl_span span = w->spans.at[i];
        size_t begin = span.begin;
        int last = -2; // before the first script
        for (size_t at = span.begin; at < span.end; at += k) {
            int script = axl_uni_script(axl_utf8_decode(w->pre.s + at, &k));
            if (script < 0 || script == last)
                continue;
            if (last != -2)
                AXL_TRY(axl_spans_put(&w->spare, begin, at));
            begin = at;
            last = script;
        }
        if (last != -2)
            AXL_TRY(axl_spans_put(&w->spare, begin, span.end));
    }
    axl_spans_swap(w);
out:
    return status;
}

axl_status axl_fixed_length_parse(const axl_json *v, const char *what, axl_step *s)
{
    axl_status status = AXL_OK;

    s->start = axl_json_int(axl_json_get(v, "length"), 5);
    AXL_REQUIRE(s->start > 0, AXL_E_INPUT, "%s.length: must be positive", what);
out:
    return status;
}

axl_status axl_fixed_length_run(const axl_step *s, axl_tok_work *w)
{
    axl_status status = AXL_OK;

    w->spare.n = 0;
    for (size_t i = 0; i < w->spans.n; i++) {
        axl_span span = w->spans.at[i];
        for (size_t at = span.begin, begin = at, k; at < span.end; begin = at) {
            for (int64_t n = 0; n < s->start && at < span.end; n++, at += k)
                (void)axl_utf8_decode(w->pre.s + at, &k);
            AXL_TRY(axl_spans_put(&w->spare, begin, at));
        }
    }
    axl_spans_swap(w);
out:
    return status;
}

// ---- Metaspace ----

// Also the decoder's. `add_prefix_space` is the key of old files.
axl_status axl_metaspace_parse(const axl_json *v, const char *what, axl_step *s)
{
    axl_status status = AXL_OK;
    static const char *const schemes[] = {"always", "first", "never"};
    const char *scheme = axl_json_string(axl_json_get(v, "prepend_scheme"), NULL);
    char utf8[4];

    AXL_TRY(parse_char(v, "replacement", what, &s->cp));
    AXL_TRY(axl_str_append(&s->content, utf8, axl_utf8_encode(s->cp, utf8)));
    s->split = axl_json_bool(axl_json_get(v, "split"), true);
    s->prepend = axl_json_bool(axl_json_get(v, "add_prefix_space"), true) ? AXL_PREPEND_ALWAYS
                                                                          : AXL_PREPEND_NEVER;
    for (int i = 0; scheme != NULL && i < 3; i++) {
        if (strcmp(scheme, schemes[i]) == 0) {
            s->prepend = (axl_prepend)i;
            scheme = NULL;
        }
    }
    AXL_REQUIRE(scheme == NULL, AXL_E_INPUT,
                "%s.prepend_scheme: \"%.40s\" is not one of always, first, never", what, scheme);
    s->pattern = (axl_pattern){.kind = AXL_PATTERN_CLASS, .only = s->cp};
    s->behavior = AXL_SPLIT_NEXT;
out:
    return status;
}

static bool wants_prefix(const axl_step *s, const axl_text *t, axl_span span)
{
    const char *text = t->s + span.begin;
    size_t n = span.end - span.begin;
    bool has =
        *text == ' ' || (n >= s->content.len && memcmp(text, s->content.data, s->content.len) == 0);

    if (has || s->prepend == AXL_PREPEND_NEVER)
        return false;
    return s->prepend == AXL_PREPEND_ALWAYS || axl_text_origin(t, span.begin).begin == 0;
}

axl_status axl_metaspace_run(const axl_step *s, axl_tok_work *w)
{
    axl_status status = AXL_OK;
    axl_text *t = &w->pre;

    axl_text_begin(t);
    for (size_t i = 0; i < w->spans.n; i++) {
        axl_span *span = &w->spans.at[i];
        size_t begin = t->n_new, kept = span->begin;
        if (wants_prefix(s, t, *span))
            AXL_TRY(axl_text_put(t, s->content.data, s->content.len, span->begin));
        for (;;) {
            const char *space = memchr(t->s + kept, ' ', span->end - kept);
            size_t at = space == NULL ? span->end : (size_t)(space - t->s);
            AXL_TRY(axl_text_keep(t, kept, at));
            if (space == NULL)
                break;
            AXL_TRY(axl_text_put(t, s->content.data, s->content.len, (int64_t)at));
            kept = at + 1;
        }
        *span = (axl_span){(uint32_t)begin, (uint32_t)t->n_new};
    }
    axl_text_end(t);
    if (s->split)
        AXL_TRY(axl_split_run(s, w));
out:
    return status;
}
