// Pre-tokenizers: each turns the spans of w->pre into finer ones and may rewrite the text. A row a kind.
#include "src/text/tokenizer_private.h"

#include "src/base/mem.h"

#include <string.h>

// ---- Splitting ----

// Lists what the pattern gives for one span, matches and what lies between, in w->matches.
static axl_status find_matches(const axl_step *s, axl_tok_work *w, axl_span span)
{
    axl_status status = AXL_OK;
    const char *text = w->pre.s + span.begin;
    size_t n = span.end - span.begin, prev = 0;
    axl_match_state state = {0};
    axl_span match;
    bool found;

    w->matches.n = 0;
    for (;;) {
        AXL_TRY(axl_pattern_next(&s->pattern, w, text, n, &state, &match, &found));
        size_t until = found ? match.begin : n;
        AXL_TRY(axl_grow(&w->is_match, &w->is_match_capacity, w->matches.n + 2, sizeof *w->is_match,
                         "matches"));
        if (prev != until) {
            w->is_match[w->matches.n] = s->invert;
            AXL_TRY(axl_spans_put(&w->matches, span.begin + prev, span.begin + until));
        }
        if (!found)
            break;
        w->is_match[w->matches.n] = !s->invert;
        AXL_TRY(axl_spans_put(&w->matches, span.begin + match.begin, span.begin + match.end));
        prev = match.end;
    }
out:
    return status;
}

// Joins w->matches as the behavior says; the result is in w->matches too. Whether a piece is joined
// depends on the one before it: `previous` is that one's being a match.
static void join_matches(axl_behavior behavior, axl_tok_work *w)
{
    axl_span *m = w->matches.at;
    size_t n = w->matches.n, kept = 0;
    bool previous = false;

    if (behavior == AXL_SPLIT_NEXT) { // the same from the right
        size_t to = n;
        for (size_t i = n; i-- > 0;) {
            bool is = w->is_match[i];
            if (is && !previous && to < n)
                m[to].begin = m[i].begin;
            else
                m[--to] = m[i];
            previous = is;
        }
        memmove(m, m + to, (n - to) * sizeof *m);
        w->matches.n = n - to;
        return;
    }
    for (size_t i = 0; i < n; i++) {
        bool is = w->is_match[i], join = false;
        if (behavior == AXL_SPLIT_REMOVED && is)
            continue;
        if (behavior == AXL_SPLIT_CONTIGUOUS)
            join = is == previous;
        else if (behavior == AXL_SPLIT_PREVIOUS)
            join = is && !previous;
        if (join && kept > 0)
            m[kept - 1].end = m[i].end;
        else
            m[kept++] = m[i];
        previous = is;
    }
    w->matches.n = kept;
}

void axl_spans_swap(axl_tok_work *w)
{
    axl_spans old = w->spans;
    w->spans = w->spare;
    w->spare = old;
}

// The common case: every match and every gap is a piece.
static axl_status split_by_scanner(axl_scan_fn scan, axl_tok_work *w)
{
    axl_status status = AXL_OK;
    const uint8_t *classes = w->t->classes;

    w->spare.n = 0;
    for (size_t i = 0; i < w->spans.n; i++) {
        axl_span span = w->spans.at[i];
        const char *s = w->pre.s + span.begin;
        size_t n = span.end - span.begin;
        for (size_t at = 0, end; at < n; at = end) {
            end = scan(classes, s, n, at);
            AXL_TRY(axl_spans_put(&w->spare, span.begin + at, span.begin + end));
        }
    }
    axl_spans_swap(w);
out:
    return status;
}

axl_status axl_split_run(const axl_step *s, axl_tok_work *w)
{
    axl_status status = AXL_OK;

    if (s->pattern.kind == AXL_PATTERN_SCAN && !s->invert && s->behavior == AXL_SPLIT_ISOLATED) {
        AXL_TRY(split_by_scanner(s->pattern.scan, w));
        goto out;
    }
    w->spare.n = 0;
    for (size_t i = 0; i < w->spans.n; i++) {
        AXL_TRY(find_matches(s, w, w->spans.at[i]));
        if (s->behavior != AXL_SPLIT_ISOLATED)
            join_matches(s->behavior, w);
        for (size_t k = 0; k < w->matches.n; k++)
            if (w->matches.at[k].begin < w->matches.at[k].end)
                AXL_TRY(axl_spans_put(&w->spare, w->matches.at[k].begin, w->matches.at[k].end));
    }
    axl_spans_swap(w);
out:
    return status;
}

axl_status axl_behavior_parse(const axl_json *v, const char *what, axl_behavior *out)
{
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious",
                                        "MergedWithNext", "Contiguous"};
    axl_status status = AXL_OK;
    const char *name = axl_json_string(axl_json_get(v, "behavior"), "");

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = (axl_behavior)i;
            goto out;
        }
    }
    AXL_FAIL(AXL_E_INPUT,
             "%s.behavior: \"%.40s\" is not one of Removed, Isolated, MergedWithPrevious, "
             "MergedWithNext, Contiguous",
             what, name);
out:
    return status;
}

static axl_status parse_split(const axl_json *v, const char *what, axl_step *s)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_pattern_parse(axl_json_get(v, "pattern"), what, true, &s->pattern));
    AXL_TRY(axl_behavior_parse(v, what, &s->behavior));
    s->invert = axl_json_bool(axl_json_get(v, "invert"), false);
out:
    return status;
}

static axl_status parse_digits(const axl_json *v, const char *what, axl_step *s)
{
    (void)what;
    bool single = axl_json_bool(axl_json_get(v, "individual_digits"), false);
    s->pattern = (axl_pattern){.kind = AXL_PATTERN_CLASS, .test = axl_uni_is_numeric};
    s->behavior = single ? AXL_SPLIT_ISOLATED : AXL_SPLIT_CONTIGUOUS;
    return AXL_OK;
}

// ---- Byte level ----

static axl_status parse_byte_level(const axl_json *v, const char *what, axl_step *s)
{
    (void)what;
    s->prefix_space = axl_json_bool(axl_json_get(v, "add_prefix_space"), true);
    s->use_regex = axl_json_bool(axl_json_get(v, "use_regex"), true);
    s->trim = axl_json_bool(axl_json_get(v, "trim_offsets"), true);
    return AXL_OK;
}

// Puts a space before every span that does not begin with one.
static axl_status add_prefix_spaces(axl_tok_work *w)
{
    axl_status status = AXL_OK;
    axl_text *t = &w->pre;

    axl_text_begin(t);
    for (size_t i = 0; i < w->spans.n; i++) {
        axl_span *span = &w->spans.at[i];
        size_t begin = t->n_new;
        if (t->s[span->begin] != ' ')
            AXL_TRY(axl_text_put(t, " ", 1, span->begin));
        AXL_TRY(axl_text_keep(t, span->begin, span->end));
        *span = (axl_span){(uint32_t)begin, (uint32_t)t->n_new};
    }
    axl_text_end(t);
out:
    return status;
}

// Replaces every byte by its stand-in.
static axl_status spell_bytes(axl_tok_work *w)
{
    axl_status status = AXL_OK;
    axl_text *t = &w->pre;

    axl_text_begin(t);
    for (size_t i = 0; i < w->spans.n; i++) {
        axl_span *span = &w->spans.at[i];
        size_t begin = t->n_new;
        for (size_t k = span->begin; k < span->end; k++)
            AXL_TRY(axl_text_put_cp(t, axl_byte_level_char((unsigned char)t->s[k]), (int64_t)k));
        *span = (axl_span){(uint32_t)begin, (uint32_t)t->n_new};
    }
    axl_text_end(t);
out:
    return status;
}

static axl_status run_byte_level(const axl_step *s, axl_tok_work *w)
{
    axl_status status = AXL_OK;

    if (s->prefix_space)
        AXL_TRY(add_prefix_spaces(w));
    if (s->use_regex)
        AXL_TRY(split_by_scanner(axl_scan_gpt2, w));
    if (!s->raw)
        AXL_TRY(spell_bytes(w));
out:
    return status;
}

const axl_step_kind axl_pre_kinds[] = {
    {.name = "ByteLevel", .parse = parse_byte_level, .split = run_byte_level},
    {.name = "Split", .parse = parse_split, .split = axl_split_run},
    {.name = "Digits", .parse = parse_digits, .split = axl_split_run},
    {.name = "Metaspace", .parse = axl_metaspace_parse, .split = axl_metaspace_run},
    {.name = "Punctuation", .parse = axl_punctuation_parse, .split = axl_split_run},
    {.name = "Whitespace", .split = axl_whitespace_run},
    {.name = "WhitespaceSplit", .parse = axl_space_split_parse, .split = axl_split_run},
    {.name = "CharDelimiterSplit", .parse = axl_char_split_parse, .split = axl_split_run},
    {.name = "BertPreTokenizer", .split = axl_bert_split_run},
    {.name = "UnicodeScripts", .split = axl_scripts_run},
    {.name = "FixedLength", .parse = axl_fixed_length_parse, .split = axl_fixed_length_run},
};
const size_t axl_n_pre_kinds = sizeof axl_pre_kinds / sizeof *axl_pre_kinds;
