// Looks up the built-in chat templates.
#include "src/text/chat_templates.h"

#include "src/base/str.h"
#include "src/text/chat_templates_table.h"

#include <string.h>

#define MAX_NAMES 64

axl_status axl_chat_template_find(const char *name, const char **out)
{
    axl_status status = AXL_OK;
    const char *names[MAX_NAMES];
    const char *near;
    size_t n = 0;

    for (const axl_chat_template_row *r = axl_chat_template_rows; r->name != NULL; r++) {
        if (strcmp(r->name, name) == 0) {
            *out = (const char *)r->source;
            goto out;
        }
        if (n < MAX_NAMES)
            names[n++] = r->name;
    }
    near = axl_nearest_name(name, names, n);
    AXL_FAIL(AXL_E_CONFIG, "%s: no such file, and no built-in chat template has this name%s%s",
             name, near != NULL ? "; did you mean " : "", near != NULL ? near : "");
out:
    return status;
}
