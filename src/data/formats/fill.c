// One pass over the pattern.
#include "src/data/formats/fill.h"

#include <string.h>

static axl_status fill_place(axl_str *out, const char *name, size_t n, const axl_fill_value *places,
                             int n_places)
{
    axl_status status = AXL_OK;

    for (int i = 0; i < n_places; i++) {
        if (strlen(places[i].name) != n || memcmp(places[i].name, name, n) != 0)
            continue;
        if (places[i].n > 0)
            AXL_TRY(axl_str_append(out, places[i].text, places[i].n));
        goto out;
    }
    AXL_FAIL(AXL_E_CONFIG, "the format has {%.*s}; it knows {%s}%s%s%s", (int)n, name,
             places[0].name, n_places > 1 ? ", {" : "", n_places > 1 ? places[1].name : "",
             n_places > 1 ? "} and the like" : "");

out:
    return status;
}

axl_status axl_fill(axl_str *out, const char *pattern, const axl_fill_value *places, int n_places)
{
    axl_status status = AXL_OK;
    const char *p = pattern;

    while (*p != '\0') {
        size_t plain = strcspn(p, "{}");
        AXL_TRY(axl_str_append(out, p, plain));
        p += plain;
        if (*p == '\0')
            break;
        if (p[1] == p[0]) {
            AXL_TRY(axl_str_putc(out, *p));
            p += 2;
            continue;
        }
        const char *close = *p == '{' ? strchr(p, '}') : NULL;
        AXL_REQUIRE(close != NULL, AXL_E_CONFIG,
                    "the format \"%s\" has a brace without its partner; write {{ or }} for a brace",
                    pattern);
        AXL_TRY(fill_place(out, p + 1, (size_t)(close - p - 1), places, n_places));
        p = close + 1;
    }

out:
    return status;
}
