// The quick way through JSON text that has nothing unusual in it, for rows of data sets. Internal to src/io.
#ifndef AXL_IO_JSON_FAST_H
#define AXL_IO_JSON_FAST_H

#include "src/io/json.h"

// Parses text[0 .. n) as jansson would, or gives NULL when it holds anything that is rare: an error, a number that is no
// short integer, a key with an escape, deep nesting. The caller then asks jansson, which also says what is wrong.
//   text   valid UTF-8
axl_json *axl_json_parse_fast(const char *text, size_t n);

#endif
