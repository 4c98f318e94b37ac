// pygmalion: turns of a persona, the user and the model, each tokenized alone (datasets.md 4.2). Only what the
// model says behind its prefix is trained.
#include "src/data/format.h"

#include <string.h>

static const struct {
    const char *role, *prefix, *between;
    bool first; // keeps a leading BOS
    bool reply; // trained, ended by EOS
} turn_kinds[] = {{"system", "<|system|>", "Persona: ", true, false},
                  {"human", "<|user|>", " ", false, false},
                  {"bot", "<|model|>", " ", false, true}};

#define START "\n<START>"

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r') || (c >= '\x1c' && c <= '\x1f');
}

static axl_status put_turn(axl_encoder *e, const axl_json *turn, size_t index, axl_samples *out)
{
    axl_status status = AXL_OK;
    const char *role = axl_json_string(axl_json_get(turn, "role"), "");
    const axl_json *value = axl_json_get(turn, "value");
    const char *text = axl_json_string(value, "");
    size_t n = axl_json_string_length(value), k = 0;
    int64_t prefix = 0;

    while (k < 3 && strcmp(turn_kinds[k].role, role) != 0)
        k++;
    AXL_REQUIRE(k < 3 && axl_json_is(value, AXL_JSON_STRING), AXL_E_INPUT,
                "the column \"conversations\": turn %zu must be {\"role\": system, human or bot, "
                "\"value\": string}",
                index);
    if (k == 0 && n >= sizeof START - 1 &&
        memcmp(text + n - (sizeof START - 1), START, sizeof START - 1) == 0)
        n -= sizeof START - 1;
    for (; n > 0 && is_blank(text[n - 1]); n--)
        ;
    for (; n > 0 && is_blank(*text); n--)
        text++;
    if (turn_kinds[k].reply) {
        AXL_TRY(
            axl_encoder_text(e, turn_kinds[k].prefix, strlen(turn_kinds[k].prefix), false, true));
        prefix = (int64_t)e->tokens.n;
    }
    axl_str_clear(&e->text);
    AXL_TRY(axl_str_printf(&e->text, "%s%s", turn_kinds[k].prefix, turn_kinds[k].between));
    AXL_TRY(axl_str_append(&e->text, text, n));
    AXL_TRY(
        axl_encoder_text(e, e->text.data, e->text.len, turn_kinds[k].reply, !turn_kinds[k].first));
    int64_t all = (int64_t)e->tokens.n, masked = turn_kinds[k].reply && prefix < all ? prefix : all;
    AXL_TRY(axl_samples_put(out, e->tokens.ids, NULL, masked, false));
    AXL_TRY(axl_samples_put(out, e->tokens.ids + masked, NULL, all - masked, true));

out:
    return status;
}

static axl_status pygmalion_encode(axl_encoder *e, const axl_json *row, axl_samples *out)
{
    axl_status status = AXL_OK;
    const axl_json *turns = axl_json_get(row, "conversations");

    AXL_REQUIRE(axl_json_is(turns, AXL_JSON_ARRAY), AXL_E_INPUT,
                "the column \"conversations\" must be a list of {\"role\", \"value\"}");
    for (size_t i = 0; i < axl_json_count(turns); i++)
        AXL_TRY(put_turn(e, axl_json_at(turns, i), i, out));
    AXL_TRY(axl_encoder_end(out));

out:
    return status;
}

static const char *const type_names[] = {"pygmalion", NULL};

const axl_format axl_format_pygmalion = {
    .name = "pygmalion", .types = type_names, .needs_tokenizer = true, .encode = pygmalion_encode};
