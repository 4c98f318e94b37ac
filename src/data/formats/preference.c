// The care here is about where a prompt ends in tokens. dpo and kto tokenize the prompt alone and with its
// completion, and take what stands behind the prompt's number of tokens; orpo and simpo do it without special
// tokens, go back one token where the last of the prompt was merged, and put BOS and EOS themselves.
#include "src/data/formats/preference.h"

#include "src/base/mem.h"

#include <string.h>

void axl_preference_begin(axl_encoder *e)
{
    for (int i = 0; i < AXL_MAX_TEXTS; i++)
        axl_str_clear(&e->texts[i]);
}

static const char *data_of(const axl_str *s)
{
    return s->len > 0 ? s->data : "";
}

// Tokens of a text alone, without special ones: what the length rules count.
static axl_status count_tokens(axl_encoder *e, const axl_str *text, int64_t *n)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_tokenizer_encode(e->tokenizer, data_of(text), text->len, false, &e->tokens));
    *n = (int64_t)e->tokens.n;

out:
    return status;
}

// Cuts a completion to its first `room` tokens, as text.
static axl_status cut_text(axl_encoder *e, axl_str *text, int64_t room)
{
    axl_status status = AXL_OK;
    int64_t n = 0;

    AXL_TRY(count_tokens(e, text, &n));
    if (n <= room)
        goto out;
    axl_str_clear(text);
    AXL_TRY(axl_tokenizer_decode(e->tokenizer, e->tokens.ids, (size_t)room, false, text));

out:
    return status;
}

static axl_status measure(axl_encoder *e, int64_t *prompt, int64_t *longest)
{
    axl_status status = AXL_OK;
    int64_t n = 0;

    *longest = 0;
    AXL_TRY(count_tokens(e, &e->texts[AXL_TEXT_PROMPT], prompt));
    for (int i = AXL_TEXT_CHOSEN; i < e->n_texts; i++) {
        AXL_TRY(count_tokens(e, &e->texts[i], &n));
        *longest = n > *longest ? n : *longest;
    }

out:
    return status;
}

// The length rule: prompt and completion, each alone and without special tokens, within sequence_len.
//   *cut   a completion was shortened
static axl_status fit_texts(axl_encoder *e, bool *fits, bool *cut)
{
    axl_status status = AXL_OK;
    int64_t limit = e->options->sequence_len, prompt = 0, longest = 0;

    AXL_TRY(measure(e, &prompt, &longest));
    *fits = prompt + longest <= limit;
    if (*fits)
        goto out;
    AXL_REQUIRE(
        e->options->excess != AXL_EXCESS_RAISE, AXL_E_INPUT,
        "the prompt has %lld tokens and its completion up to %lld, sequence_len is %lld; raise "
        "it, or set excess_length_strategy to drop or truncate",
        (long long)prompt, (long long)longest, (long long)limit);
    if (e->options->excess == AXL_EXCESS_TRUNCATE && prompt < limit) {
        for (int i = AXL_TEXT_CHOSEN; i < e->n_texts; i++)
            AXL_TRY(cut_text(e, &e->texts[i], limit - prompt));
        AXL_TRY(measure(e, &prompt, &longest)); // a text that was cut may tokenize otherwise
        *cut = *fits = prompt + longest <= limit;
    }

out:
    return status;
}

// Cuts the one or two documents of the open sample to sequence_len; *second moves with the first.
static void cut_documents(const axl_encoder *e, int64_t *second, axl_samples *out)
{
    int64_t limit = e->options->sequence_len, begin = axl_samples_open_begin(out);
    int64_t first = *second, rest = axl_samples_open_length(out) - first;

    if (first > limit) {
        memmove(out->ids + begin + limit, out->ids + begin + first,
                (size_t)rest * sizeof *out->ids);
        memmove(out->labels + begin + limit, out->labels + begin + first,
                (size_t)rest * sizeof *out->labels);
        *second = limit;
    }
    out->n_tokens = begin + *second + (rest > limit ? limit : rest);
}

// The ids in e->tokens without the first of two BOS: a template may write one and the tokenizer another.
static const int32_t *skip_double_bos(const axl_encoder *e, int64_t *n)
{
    const axl_token_buffer *b = &e->tokens;
    bool two = e->bos >= 0 && b->n >= 2 && b->ids[0] == e->bos && b->ids[1] == e->bos;

    *n = (int64_t)b->n - two;
    return b->ids + two;
}

// Prompt and completion i as one text in e->text, the completion ended by EOS.
static axl_status join_texts(axl_encoder *e, int i, bool add_eos)
{
    axl_status status = AXL_OK;
    const axl_str *prompt = &e->texts[AXL_TEXT_PROMPT], *completion = &e->texts[i];
    const char *eos =
        e->eos >= 0 && add_eos ? axl_tokenizer_special(e->tokenizer, "eos_token") : NULL;
    size_t n = eos != NULL ? strlen(eos) : 0;
    bool ended = completion->len >= n &&
                 memcmp(data_of(completion) + completion->len - n, eos != NULL ? eos : "", n) == 0;

    axl_str_clear(&e->text);
    AXL_TRY(axl_str_append(&e->text, data_of(prompt), prompt->len));
    AXL_TRY(axl_str_append(&e->text, data_of(completion), completion->len));
    if (!ended)
        AXL_TRY(axl_str_append(&e->text, eos, n));

out:
    return status;
}

// dpo, kto: appends the document of completion i to the open sample.
static axl_status put_document(axl_encoder *e, int i, axl_samples *out)
{
    axl_status status = AXL_OK;
    const axl_str *prompt = &e->texts[AXL_TEXT_PROMPT];
    int64_t n_prompt = 0, n = 0;

    AXL_TRY(axl_tokenizer_encode(e->tokenizer, data_of(prompt), prompt->len, true, &e->tokens));
    const int32_t *ids = skip_double_bos(e, &n_prompt);
    AXL_TRY(axl_samples_put(out, ids, NULL, n_prompt, false));
    AXL_TRY(join_texts(e, i, true));
    AXL_TRY(axl_tokenizer_encode(e->tokenizer, data_of(&e->text), e->text.len, true, &e->tokens));
    ids = skip_double_bos(e, &n);
    if (n > n_prompt)
        AXL_TRY(axl_samples_put(out, ids + n_prompt, NULL, n - n_prompt, true));

out:
    return status;
}

// orpo, simpo: the same.
static axl_status put_bare_document(axl_encoder *e, int i, axl_samples *out)
{
    axl_status status = AXL_OK;
    const axl_str *prompt = &e->texts[AXL_TEXT_PROMPT];
    const axl_token_buffer *b = &e->tokens;
    int64_t at = axl_samples_open_length(out);

    AXL_TRY(axl_tokenizer_encode(e->tokenizer, data_of(prompt), prompt->len, false, &e->tokens));
    int64_t start = (int64_t)b->n;
    AXL_TRY(axl_samples_put(out, b->ids, NULL, start, false)); // kept to compare, then taken back
    const int32_t *alone = out->ids + axl_samples_open_begin(out) + at;
    AXL_TRY(join_texts(e, i, false));
    AXL_TRY(axl_tokenizer_encode(e->tokenizer, data_of(&e->text), e->text.len, false, &e->tokens));
    int64_t n = (int64_t)b->n;
    bool same = start <= n && memcmp(b->ids, alone, (size_t)start * sizeof *alone) == 0;
    start = same ? start : start - 1 < n ? start - 1 : n;
    out->n_tokens = axl_samples_open_begin(out) + at;
    if (e->bos >= 0 && (start == 0 || b->ids[0] != e->bos))
        AXL_TRY(axl_samples_put(out, &e->bos, NULL, 1, false));
    AXL_TRY(axl_samples_put(out, b->ids, NULL, start, false));
    AXL_TRY(axl_samples_put(out, b->ids + start, NULL, n - start, true));
    if (e->eos >= 0 && (n == start || b->ids[n - 1] != e->eos))
        AXL_TRY(axl_samples_put(out, &e->eos, NULL, 1, true));

out:
    return status;
}

// Appends the document of each completion. *second: where the last begins; 0 for one alone.
static axl_status put_documents(axl_encoder *e, axl_samples *out, int64_t *second)
{
    axl_status status = AXL_OK;
    const char *rl = e->spec->rl;
    bool bare = rl != NULL && (strcmp(rl, "orpo") == 0 || strcmp(rl, "simpo") == 0);

    for (int i = AXL_TEXT_CHOSEN; i < e->n_texts; i++) {
        *second = axl_samples_open_length(out);
        AXL_TRY(bare ? put_bare_document(e, i, out) : put_document(e, i, out));
    }

out:
    return status;
}

// Whether a token of its completion is left in the document that ends behind token t.
static bool has_completion(const axl_samples *s, int64_t t)
{
    return t > axl_samples_open_begin(s) && s->labels[t - 1] != AXL_IGNORE;
}

static axl_status put_all(axl_encoder *e, axl_sample_role role, axl_samples *out)
{
    axl_status status = AXL_OK;
    static const char *const names[] = {"prompt", "chosen text", "rejected text"};
    int64_t second = 0, limit = e->options->sequence_len;
    bool fits = true, cut = false;

    for (int i = 0; i < e->n_texts; i++)
        AXL_REQUIRE(e->texts[i].len > 0, AXL_E_INPUT,
                    "the %s is empty; give it a text, or leave the row out",
                    i == AXL_TEXT_CHOSEN && e->n_texts == 2 ? "completion" : names[i]);
    AXL_TRY(put_documents(e, out, &second));
    // the texts alone have nearly as many tokens as together: most rows need not be counted again
    int64_t rest = axl_samples_open_length(out) - second;
    if (2 * (second > rest ? second : rest) > limit)
        AXL_TRY(fit_texts(e, &fits, &cut));
    if (cut) {
        axl_samples_drop_open(out);
        AXL_TRY(put_documents(e, out, &second));
    }
    cut_documents(e, &second, out); // BOS and EOS are not in the measure; trainers cut them off
    fits = fits && has_completion(out, out->n_tokens) &&
           (second == 0 || has_completion(out, axl_samples_open_begin(out) + second));
    e->n_truncated += fits && cut;
    e->n_too_long += !fits;
    if (fits)
        AXL_TRY(axl_samples_end_as(out, role, second, 0, 0));
    else
        axl_samples_drop_open(out);

out:
    return status;
}

axl_status axl_preference_put_pair(axl_encoder *e, axl_samples *out)
{
    e->n_texts = 3;
    return put_all(e, AXL_SAMPLE_PAIR, out);
}

axl_status axl_preference_put_single(axl_encoder *e, bool desirable, axl_samples *out)
{
    e->n_texts = 2;
    return put_all(e, desirable ? AXL_SAMPLE_DESIRABLE : AXL_SAMPLE_UNDESIRABLE, out);
}

axl_status axl_preference_end_pair(axl_encoder *e, int64_t second, axl_samples *out)
{
    axl_status status = AXL_OK;
    int64_t limit = e->options->sequence_len;
    int64_t n[2] = {second, axl_samples_open_length(out) - second};

    AXL_REQUIRE(n[0] > 0 && n[1] > 0, AXL_E_INPUT, "a conversation of the pair has no tokens");
    bool excess = n[0] > limit || n[1] > limit;
    AXL_REQUIRE(
        !excess || e->options->excess != AXL_EXCESS_RAISE, AXL_E_INPUT,
        "the conversations have %lld and %lld tokens, sequence_len is %lld; raise it, or set "
        "excess_length_strategy to drop or truncate",
        (long long)n[0], (long long)n[1], (long long)limit);
    if (excess && e->options->excess == AXL_EXCESS_DROP) {
        axl_samples_drop_open(out);
        e->n_too_long++;
        goto out;
    }
    cut_documents(e, &second, out);
    AXL_TRY(axl_samples_end_as(out, AXL_SAMPLE_PAIR, second, 0, 0));
    e->n_truncated += excess;

out:
    return status;
}

axl_status axl_preference_label(const axl_json *row, const char *column, bool *out)
{
    axl_status status = AXL_OK;

    AXL_REQUIRE(axl_json_truth(axl_json_get(row, column), out), AXL_E_INPUT,
                "the column \"%s\" must be true or false (or 1, 0; text of these too): whether the "
                "completion is a good one",
                column);

out:
    return status;
}
