// Regular expressions as a configuration has them: Perl's, searched anywhere in a name, as re.search of Python does.
// For the patterns of tokenizers see tok_regex.c.
#ifndef AXL_TEXT_REGEX_H
#define AXL_TEXT_REGEX_H

#include "src/base/status.h"

#include <stdbool.h>

typedef struct axl_regex axl_regex;

// AXL_E_CONFIG says what is wrong with the pattern, and at which character. Local.
axl_status axl_regex_create(const char *pattern, axl_regex **out);
void axl_regex_destroy(axl_regex *r); // NULL-safe

// Whether the expression matches some part of text. AXL_E_CONFIG when the search takes too many steps.
axl_status axl_regex_search(const axl_regex *r, const char *text, bool *found);

#endif
