// orpo: two conversations that differ in their last reply, through a chat template. As texts
// (chat_template.argilla, rl: orpo), or as tokens with labels (orpo.chat_template, without rl).
#include "src/data/formats/preference.h"
#include "src/data/formats/turns.h"
#include "src/text/chat.h"

#include <string.h>

static axl_status orpo_open(axl_encoder *e)
{
    axl_status status = AXL_OK;

    AXL_REQUIRE(e->spec->chat != NULL, AXL_E_BUG, "no chat template was set up for the entry");

out:
    return status;
}

static axl_status add_turn(axl_json *turns, const char *role, const axl_json *row,
                           const char *column, int i)
{
    axl_status status = AXL_OK;
    const axl_json *text = NULL;

    AXL_TRY(axl_turns_content(row, column, i, &text));
    AXL_TRY(axl_turns_add(turns, role, axl_json_string(text, ""), axl_json_string_length(text)));

out:
    return status;
}

// ---- texts

// All turns but the last, in pairs of user and assistant; the column `prompt` replaces the user's.
static axl_status read_prompt(const axl_json *row, axl_json *turns)
{
    axl_status status = AXL_OK;
    int n = (int)axl_json_count(axl_json_get(row, "chosen"));

    AXL_REQUIRE(
        n > 0 && n % 2 == 0, AXL_E_INPUT,
        "the column \"chosen\" must be a list of turns of user and assistant, an even number; "
        "it has %d",
        n);
    AXL_TRY(axl_turns_add_column(turns, "system", row, "system", true));
    for (int i = 0; i < n - 1; i++) {
        if (i % 2 == 0 && axl_json_get(row, "prompt") != NULL)
            AXL_TRY(axl_turns_add_column(turns, "user", row, "prompt", false));
        else
            AXL_TRY(add_turn(turns, i % 2 == 0 ? "user" : "assistant", row, "chosen", i));
    }

out:
    return status;
}

// Bytes of the first `chars` code points of the text.
static size_t skip_chars(const char *text, size_t n, size_t chars)
{
    size_t i = 0;

    for (; i < n; i++) {
        bool begins = ((unsigned char)text[i] & 0xc0) != 0x80;
        if (begins && chars-- == 0)
            break;
    }
    return i;
}

static size_t count_chars(const axl_str *s)
{
    size_t chars = 0;

    for (size_t i = 0; i < s->len; i++)
        chars += ((unsigned char)s->data[i] & 0xc0) != 0x80;
    return chars;
}

static axl_status put_reply(axl_encoder *e, const axl_json *row, const char *column, axl_str *out)
{
    axl_status status = AXL_OK;
    axl_json *turns = axl_json_new_array();

    AXL_REQUIRE(turns != NULL, AXL_E_MEMORY, "no memory for messages");
    AXL_TRY(read_prompt(row, turns));
    AXL_TRY(add_turn(turns, "assistant", row, column, -1));
    axl_str_clear(&e->text);
    AXL_TRY(axl_chat_render(e->spec->chat, turns, NULL, false, &e->text));
    size_t at = skip_chars(e->text.len > 0 ? e->text.data : "", e->text.len,
                           count_chars(&e->texts[AXL_TEXT_PROMPT]));
    if (e->text.len > at)
        AXL_TRY(axl_str_append(out, e->text.data + at, e->text.len - at));

out:
    axl_json_free(turns);
    return status;
}

static axl_status argilla_encode(axl_encoder *e, const axl_json *row, axl_samples *out)
{
    axl_status status = AXL_OK;
    axl_json *turns = axl_json_new_array();

    AXL_REQUIRE(turns != NULL, AXL_E_MEMORY, "no memory for messages");
    axl_preference_begin(e);
    AXL_TRY(read_prompt(row, turns));
    AXL_TRY(axl_chat_render(e->spec->chat, turns, NULL, true, &e->texts[AXL_TEXT_PROMPT]));
    AXL_TRY(put_reply(e, row, "chosen", &e->texts[AXL_TEXT_CHOSEN]));
    AXL_TRY(put_reply(e, row, "rejected", &e->texts[AXL_TEXT_REJECTED]));
    AXL_TRY(axl_preference_put_pair(e, out));

out:
    axl_json_free(turns);
    return status;
}

// ---- tokens

// Appends the tokens of the turns so far, those behind `from` of them that stand there already.
static axl_status put_turns(axl_encoder *e, const axl_json *turns, bool reply, int64_t from,
                            axl_samples *out)
{
    axl_status status = AXL_OK;
    int64_t done = out->n_tokens - from;
    axl_token_buffer *b = &e->tokens;

    axl_str_clear(&e->text);
    AXL_TRY(axl_chat_render(e->spec->chat, turns, NULL, !reply, &e->text));
    AXL_TRY(axl_tokenizer_encode(e->tokenizer, e->text.len > 0 ? e->text.data : "", e->text.len,
                                 false, b));
    if ((int64_t)b->n > done)
        AXL_TRY(axl_samples_put(out, b->ids + done, NULL, (int64_t)b->n - done, reply));

out:
    return status;
}

static axl_status put_conversation(axl_encoder *e, const axl_json *row, const char *column,
                                   axl_samples *out)
{
    axl_status status = AXL_OK;
    int64_t from = out->n_tokens;
    axl_json *turns = axl_json_new_array();

    AXL_REQUIRE(turns != NULL, AXL_E_MEMORY, "no memory for messages");
    AXL_TRY(axl_turns_add_column(turns, "system", row, "system", true));
    AXL_TRY(add_turn(turns, "user", row, column, 0));
    AXL_TRY(put_turns(e, turns, false, from, out));
    AXL_TRY(add_turn(turns, "assistant", row, column, 1));
    AXL_TRY(put_turns(e, turns, true, from, out));

out:
    axl_json_free(turns);
    return status;
}

static axl_status tokens_encode(axl_encoder *e, const axl_json *row, axl_samples *out)
{
    axl_status status = AXL_OK;

    AXL_TRY(put_conversation(e, row, "chosen", out));
    int64_t second = axl_samples_open_length(out);
    AXL_TRY(put_conversation(e, row, "rejected", out));
    AXL_TRY(axl_preference_end_pair(e, second, out));

out:
    return status;
}

static const char *const argilla_types[] = {"chat_template.argilla", NULL};
static const char *const token_types[] = {"orpo.chat_template", NULL};

const axl_format axl_format_orpo_chat = {.name = "orpo_chat",
                                         .types = argilla_types,
                                         .methods = AXL_FOR_ORPO,
                                         .needs_tokenizer = true,
                                         .open = orpo_open,
                                         .encode = argilla_encode};

const axl_format axl_format_orpo_tokens = {.name = "orpo_tokens",
                                           .types = token_types,
                                           .needs_tokenizer = true,
                                           .open = orpo_open,
                                           .encode = tokens_encode};
