// Prompt strings with named places: "### Input:\n{input}\n".
#ifndef AXL_DATA_FORMATS_FILL_H
#define AXL_DATA_FORMATS_FILL_H

#include "src/base/str.h"

typedef struct axl_fill_value {
    const char *name;
    const char *text; // borrowed; NULL counts as empty
    size_t n;         // bytes
} axl_fill_value;

// Appends the pattern with each {name} replaced; "{{" and "}}" are literal braces. What is filled in is not
// looked at again. AXL_E_CONFIG for an unknown name or a brace that is not closed.
axl_status axl_fill(axl_str *out, const char *pattern, const axl_fill_value *places, int n_places);

#endif
