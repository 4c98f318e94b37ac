// See turns.h.
#include "src/data/formats/turns.h"

#include <string.h>

axl_status axl_turns_add(axl_json *turns, const char *role, const char *content, size_t n)
{
    axl_status status = AXL_OK;
    axl_json *turn = axl_json_new_object();

    AXL_REQUIRE(turn != NULL, AXL_E_MEMORY, "no memory for a message");
    AXL_TRY(axl_json_set(turn, "role", axl_json_new_string(role, strlen(role))));
    AXL_TRY(axl_json_set(turn, "content", axl_json_new_string(n > 0 ? content : "", n)));
    AXL_TRY(axl_json_append(turns, axl_json_ref(turn)));

out:
    axl_json_free(turn);
    return status;
}

axl_status axl_turns_add_column(axl_json *turns, const char *role, const axl_json *row,
                                const char *column, bool optional)
{
    axl_status status = AXL_OK;
    const axl_json *v = axl_json_get(row, column);

    if (optional && axl_json_string_length(v) == 0)
        goto out;
    AXL_REQUIRE(axl_json_is(v, AXL_JSON_STRING), AXL_E_INPUT,
                "the column \"%s\" is %s; a string is needed", column,
                v == NULL ? "missing" : axl_json_kind_name(axl_json_type(v)));
    AXL_TRY(axl_turns_add(turns, role, axl_json_string(v, ""), axl_json_string_length(v)));

out:
    return status;
}

axl_status axl_turns_content(const axl_json *row, const char *column, int i, const axl_json **out)
{
    axl_status status = AXL_OK;
    const axl_json *list = axl_json_get(row, column);
    size_t n = axl_json_count(list);

    AXL_REQUIRE(axl_json_is(list, AXL_JSON_ARRAY) && n > 0, AXL_E_INPUT,
                "the column \"%s\" must be a list of {\"role\", \"content\"}", column);
    const axl_json *text = axl_json_get(axl_json_at(list, i < 0 ? n - 1 : (size_t)i), "content");
    AXL_REQUIRE(axl_json_is(text, AXL_JSON_STRING), AXL_E_INPUT,
                "the column \"%s\": turn %zu has no content", column, i < 0 ? n - 1 : (size_t)i);
    *out = text;

out:
    return status;
}
