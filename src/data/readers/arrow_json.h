// A row of an Arrow record batch as JSON text.
#ifndef AXL_DATA_READERS_ARROW_JSON_H
#define AXL_DATA_READERS_ARROW_JSON_H

#include "src/base/str.h"
#include "src/data/arrow_module.h"

// Whether all columns can be written. AXL_E_UNSUPPORTED "path: column x: why".
axl_status axl_arrow_check(const struct ArrowSchema *schema, const char *path);

// Appends row i of a batch that the module has checked, as an object. Null members are left out. Timestamps,
// dates and times become ISO 8601 text, decimals and integers above 2^63 text, maps with text keys objects,
// NaN, infinities and bytes that are not UTF-8 null.
axl_status axl_arrow_put_row(const struct ArrowSchema *schema, const struct ArrowArray *batch,
                             int64_t i, axl_str *out);

#endif
