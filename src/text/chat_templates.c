// Looks up the built-in chat templates.
#include "src/text/chat_templates.h"

#include "src/base/str.h"
#include "src/text/chat_templates_table.h"

#include <string.h>

#define MAX_NAMES 64 // more are not listed in a message

axl_status axl_chat_template_find(const char *name, const char **out)
{
    axl_status status = AXL_OK;
    const char *names[MAX_NAMES] = {NULL};
    const char *near;
    axl_str known = {0};
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
    for (size_t i = 0; i < n; i++)
        AXL_TRY(axl_str_printf(&known, "%s%s", i > 0 ? ", " : "", names[i]));
    AXL_FAIL(AXL_E_CONFIG,
             "%s: no such file, and no built-in chat template has this name%s%s; there are %s",
             name, near != NULL ? "; did you mean " : "", near != NULL ? near : "", known.data);
out:
    axl_str_fini(&known);
    return status;
}
