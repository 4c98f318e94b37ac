// Reward models: two whole texts of a row, the better one first (datasets.md 7). Each is cut to sequence_len.
#include "src/data/format.h"
#include "src/data/formats/turns.h"
#include "src/text/chat.h"

#include <string.h>

static axl_status reward_open(axl_encoder *e)
{
    axl_status status = AXL_OK;

    AXL_REQUIRE(e->spec->chat != NULL || strstr(e->base, "llama3") != NULL, AXL_E_BUG,
                "no chat template was set up for the entry");

out:
    return status;
}

static axl_status render_template(axl_encoder *e, const axl_json *row, const char *column)
{
    axl_status status = AXL_OK;
    axl_json *turns = axl_json_new_array();

    AXL_REQUIRE(turns != NULL, AXL_E_MEMORY, "no memory for messages");
    if (axl_json_get(row, "system") != NULL) // also when it is empty, as for conversations
        AXL_TRY(axl_turns_add_column(turns, "system", row, "system", false));
    AXL_TRY(axl_turns_add_column(turns, "user", row, "input", false));
    AXL_TRY(axl_turns_add_column(turns, "assistant", row, column, false));
    AXL_TRY(axl_chat_render(e->spec->chat, turns, NULL, false, &e->text));

out:
    axl_json_free(turns);
    return status;
}

static axl_status render_llama3(axl_encoder *e, const axl_json *row, const char *column)
{
    axl_status status = AXL_OK;
    static const char head[] = "<|start_header_id|>", tail[] = "<|end_header_id|>\n\n";
    static const struct {
        const char *role, *column;
    } turns[] = {{"system", "system"}, {"user", "input"}, {"assistant", NULL}};

    for (int i = 0; i < 3; i++) {
        axl_str_clear(&e->text2);
        AXL_TRY(axl_row_column(row, i < 2 ? turns[i].column : column, i == 0, &e->text2));
        if (i == 0 && e->text2.len == 0)
            continue;
        AXL_TRY(axl_str_printf(&e->text, "%s%s%s", head, turns[i].role, tail));
        AXL_TRY(axl_str_append(&e->text, e->text2.len > 0 ? e->text2.data : "", e->text2.len));
        AXL_TRY(axl_str_puts(&e->text, "<|eot_id|>"));
    }

out:
    return status;
}

static axl_status put_text(axl_encoder *e, const axl_json *row, const char *column,
                           axl_samples *out)
{
    axl_status status = AXL_OK;
    bool chat = e->spec->chat != NULL;
    int64_t limit = e->options->sequence_len;

    axl_str_clear(&e->text);
    AXL_TRY(chat ? render_template(e, row, column) : render_llama3(e, row, column));
    AXL_TRY(axl_tokenizer_encode(e->tokenizer, e->text.len > 0 ? e->text.data : "", e->text.len,
                                 !chat, &e->tokens)); // a template writes BOS itself
    int64_t n = (int64_t)e->tokens.n;
    AXL_REQUIRE(n > 0, AXL_E_INPUT, "the text of the column \"%s\" has no tokens", column);
    AXL_TRY(axl_samples_put(out, e->tokens.ids, NULL, n < limit ? n : limit, false));

out:
    return status;
}

static axl_status reward_encode(axl_encoder *e, const axl_json *row, axl_samples *out)
{
    axl_status status = AXL_OK;

    AXL_TRY(put_text(e, row, "chosen", out));
    int64_t second = axl_samples_open_length(out);
    AXL_TRY(put_text(e, row, "rejected", out));
    AXL_TRY(axl_samples_end_as(out, AXL_SAMPLE_RANKED, second, 0, 0));

out:
    return status;
}

static const char *const type_names[] = {"bradley_terry.chat_template", "bradley_terry.llama3",
                                         "bradley_terry.llama3.icr", NULL};

const axl_format axl_format_reward = {.name = "reward",
                                      .types = type_names,
                                      .needs_tokenizer = true,
                                      .open = reward_open,
                                      .encode = reward_encode};
