// Post-processors: tokens put around the sequence, and offsets without the spaces that byte-level
// tokens carry.
#include "src/text/tokenizer_private.h"

#include "src/base/mem.h"

#include <stdlib.h>
#include <string.h>

#define BYTE_LEVEL_SPACE 0x120u // the stand-in of ' '

static bool is_blank(uint32_t cp)
{
    return cp == BYTE_LEVEL_SPACE || axl_uni_is_space(cp);
}

// Code points of blanks at both ends of a token's text.
static void count_blanks(const char *s, size_t n, int32_t *leading, int32_t *trailing)
{
    int32_t run = 0;
    bool only = true;

    *leading = 0;
    for (size_t i = 0, k; i < n; i += k) {
        bool blank = is_blank(axl_utf8_decode(s + i, &k));
        run = blank ? run + 1 : 0;
        only = only && blank;
        *leading += only;
    }
    *trailing = run;
}

static void trim_offsets(const axl_tok_work *w, bool prefix_space, axl_token_buffer *b)
{
    size_t k = 0;

    for (size_t i = 0; b->want_offsets && i < b->n; i++) {
        const char *s = axl_tokenizer_token(w->t, b->ids[i]);
        int32_t leading, trailing;
        if (s == NULL || b->begin[i] < 0)
            continue;
        count_blanks(s, strlen(s), &leading, &trailing);
        if (k < w->n_blanks && w->blanks[k].token == i) {
            leading = w->blanks[k].leading;
            trailing = w->blanks[k++].trailing;
        }
        // A single space at the start is the one that was added, and has no place in the text.
        if (leading == 1 && prefix_space && (i == 0 || b->begin[i] == 0))
            leading = 0;
        b->begin[i] = b->begin[i] + leading < b->end[i] ? b->begin[i] + leading : b->end[i];
        if (trailing > 0 && b->end[i] >= trailing)
            b->end[i] = b->end[i] - trailing > b->begin[i] ? b->end[i] - trailing : b->begin[i];
    }
}

// Puts ids at place `at` of the buffer.
static axl_status insert_ids(axl_token_buffer *b, size_t at, const int32_t *ids, size_t n)
{
    axl_status status = AXL_OK;

    if (n == 0)
        goto out;
    AXL_TRY(axl_tokens_reserve(b, n));
    memmove(b->ids + at + n, b->ids + at, (b->n - at) * sizeof *b->ids);
    memcpy(b->ids + at, ids, n * sizeof *ids);
    if (b->want_offsets) {
        memmove(b->begin + at + n, b->begin + at, (b->n - at) * sizeof *b->begin);
        memmove(b->end + at + n, b->end + at, (b->n - at) * sizeof *b->end);
        for (size_t i = at; i < at + n; i++)
            b->begin[i] = b->end[i] = -1;
    }
    b->n += n;
out:
    return status;
}

static axl_status parse_byte_level(const axl_json *v, const char *what, axl_step *s)
{
    (void)what;
    s->prefix_space = axl_json_bool(axl_json_get(v, "add_prefix_space"), true);
    s->trim = axl_json_bool(axl_json_get(v, "trim_offsets"), true);
    return AXL_OK;
}

static axl_status run_byte_level(const axl_step *s, const axl_tok_work *w, bool add_special,
                                 axl_token_buffer *b)
{
    (void)add_special;
    if (s->trim)
        trim_offsets(w, s->prefix_space, b);
    return AXL_OK;
}

// ---- Templates ----

static axl_status put_piece(axl_step *s, bool sequence, const int32_t *ids, size_t n)
{
    axl_status status = AXL_OK;
    axl_template_piece *p;

    size_t room = s->n_pieces;
    AXL_TRY(axl_grow(&s->pieces, &room, s->n_pieces + 1, sizeof *p, "a template"));
    p = &s->pieces[s->n_pieces];
    *p = (axl_template_piece){.sequence = sequence, .n_ids = n};
    s->n_pieces++;
    AXL_TRY(axl_calloc(n, sizeof *ids, "a template", &p->ids));
    if (n > 0)
        memcpy(p->ids, ids, n * sizeof *ids);
out:
    return status;
}

static axl_status special_piece(const axl_json *v, const axl_json *specials, axl_step *s)
{
    axl_status status = AXL_OK;
    const char *name = axl_json_string(axl_json_get(v, "id"), "");
    const axl_json *ids = axl_json_get(axl_json_get(specials, name), "ids");
    size_t n = axl_json_count(ids);
    int32_t *list = NULL;

    AXL_REQUIRE(axl_json_is(ids, AXL_JSON_ARRAY), AXL_E_INPUT,
                "the template's \"%.60s\" is not in special_tokens", name);
    AXL_TRY(axl_calloc(n, sizeof *list, "a template", &list));
    for (size_t i = 0; i < n; i++) {
        int64_t id = axl_json_int(axl_json_at(ids, i), -1);
        AXL_REQUIRE(id >= 0 && id < AXL_TOK_MAX_ID, AXL_E_INPUT,
                    "special_tokens.%.60s.ids[%zu]: is no token id", name, i);
        list[i] = (int32_t)id;
    }
    AXL_TRY(put_piece(s, false, list, n));
out:
    free(list);
    return status;
}

static axl_status parse_template(const axl_json *v, const char *what, axl_step *s)
{
    axl_status status = AXL_OK;
    const axl_json *single = axl_json_get(v, "single");
    const axl_json *specials = axl_json_get(v, "special_tokens");

    AXL_REQUIRE(axl_json_is(single, AXL_JSON_ARRAY), AXL_E_INPUT,
                "%s.single: must be an array of pieces", what);
    for (size_t i = 0; i < axl_json_count(single); i++) {
        const axl_json *piece = axl_json_at(single, i);
        const axl_json *sequence = axl_json_get(piece, "Sequence");
        const axl_json *special = axl_json_get(piece, "SpecialToken");
        AXL_REQUIRE(sequence != NULL || special != NULL, AXL_E_INPUT,
                    "%s.single[%zu]: must be a Sequence or a SpecialToken", what, i);
        if (special != NULL)
            AXL_TRY_CTX(special_piece(special, specials, s), "%s.single[%zu]", what, i);
        else if (strcmp(axl_json_string(axl_json_get(sequence, "id"), "A"), "A") == 0)
            AXL_TRY(put_piece(s, true, NULL, 0));
    }
out:
    return status;
}

// Every piece but the sequence is put in; a template that names the sequence more than once keeps the
// first. Without a sequence nothing of the text is left.
static axl_status run_template(const axl_step *s, const axl_tok_work *w, bool add_special,
                               axl_token_buffer *b)
{
    axl_status status = AXL_OK;
    size_t at = 0, body = b->n;
    bool seen = false;

    (void)w;
    for (size_t i = 0; i < s->n_pieces; i++) {
        if (s->pieces[i].sequence) {
            at += seen ? 0 : body;
            seen = true;
        } else if (add_special) {
            AXL_TRY(insert_ids(b, at, s->pieces[i].ids, s->pieces[i].n_ids));
            at += s->pieces[i].n_ids;
        }
    }
    if (!seen)
        b->n -= body;
out:
    return status;
}

// ---- BERT and RoBERTa: cls, the sequence, sep ----

// v[key] is [token, id].
static axl_status pair_id(const axl_json *v, const char *key, const char *what, int32_t *id)
{
    axl_status status = AXL_OK;
    int64_t value = axl_json_int(axl_json_at(axl_json_get(v, key), 1), -1);

    AXL_REQUIRE(value >= 0 && value < AXL_TOK_MAX_ID, AXL_E_INPUT, "%s.%s: must be [token, id]",
                what, key);
    *id = (int32_t)value;
out:
    return status;
}

static axl_status parse_bert(const axl_json *v, const char *what, axl_step *s)
{
    axl_status status = AXL_OK;
    int32_t cls = -1, sep = -1;

    AXL_TRY(pair_id(v, "cls", what, &cls));
    AXL_TRY(pair_id(v, "sep", what, &sep));
    AXL_TRY(put_piece(s, false, &cls, 1));
    AXL_TRY(put_piece(s, true, NULL, 0));
    AXL_TRY(put_piece(s, false, &sep, 1));
    s->prefix_space = axl_json_bool(axl_json_get(v, "add_prefix_space"), true);
    s->trim = axl_json_bool(axl_json_get(v, "trim_offsets"), true);
out:
    return status;
}

static axl_status run_roberta(const axl_step *s, const axl_tok_work *w, bool add_special,
                              axl_token_buffer *b)
{
    if (s->trim)
        trim_offsets(w, s->prefix_space, b);
    return run_template(s, w, add_special, b);
}

const axl_step_kind axl_post_kinds[] = {
    {.name = "ByteLevel", .parse = parse_byte_level, .post = run_byte_level},
    {.name = "TemplateProcessing", .parse = parse_template, .post = run_template},
    {.name = "BertProcessing", .parse = parse_bert, .post = run_template},
    {.name = "RobertaProcessing", .parse = parse_bert, .post = run_roberta},
};
const size_t axl_n_post_kinds = sizeof axl_post_kinds / sizeof *axl_post_kinds;

axl_status axl_post_process(const axl_tokenizer *t, const axl_tok_work *w, bool add_special,
                            axl_token_buffer *b)
{
    axl_status status = AXL_OK;

    for (size_t i = 0; i < t->post.n; i++)
        AXL_TRY(t->post.at[i].kind->post(&t->post.at[i], w, add_special, b));
out:
    return status;
}
