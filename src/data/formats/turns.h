// Lists of messages as the templates want them, for formats that make their own.
#ifndef AXL_DATA_FORMATS_TURNS_H
#define AXL_DATA_FORMATS_TURNS_H

#include "src/io/json.h"

// Appends {"role": role, "content": content} to the array.
axl_status axl_turns_add(axl_json *turns, const char *role, const char *content, size_t n);

// The same with a column of the row; nothing is added when it is missing or empty and optional.
axl_status axl_turns_add_column(axl_json *turns, const char *role, const axl_json *row,
                                const char *column, bool optional);

// The content of turn i of a column that holds a conversation; i -1: of the last. Borrowed; NULL: there is none,
// which is AXL_E_INPUT with the column's name.
axl_status axl_turns_content(const axl_json *row, const char *column, int i, const axl_json **out);

#endif
