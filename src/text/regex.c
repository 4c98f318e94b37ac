// PCRE2 for the patterns of configurations. A search is bounded in steps: a pattern that blows up is an error.
#define PCRE2_CODE_UNIT_WIDTH 8
#include "src/text/regex.h"

#include "src/base/mem.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

struct axl_regex {
    pcre2_code *code;        // owned
    pcre2_match_data *match; // owned
    char *pattern;           // owned, for messages
};

axl_status axl_regex_create(const char *pattern, axl_regex **out)
{
    axl_status status = AXL_OK;
    axl_regex *r = NULL;
    int error = 0;
    PCRE2_SIZE at = 0;
    PCRE2_UCHAR why[120] = "";

    AXL_TRY(axl_calloc(1, sizeof *r, "a regular expression", &r));
    AXL_TRY(axl_strdup(pattern, &r->pattern));
    r->code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP,
                            &error, &at, NULL);
    if (r->code == NULL)
        (void)pcre2_get_error_message(error, why, sizeof why);
    AXL_REQUIRE(r->code != NULL, AXL_E_CONFIG,
                "'%s' is not a regular expression: %s, at character %zu", pattern,
                (const char *)why, at + 1);
    r->match = pcre2_match_data_create_from_pattern(r->code, NULL);
    AXL_REQUIRE(r->match != NULL, AXL_E_MEMORY, "no memory for a regular expression");
    *out = r;
    r = NULL; // handed to the caller
out:
    axl_regex_destroy(r);
    return status;
}

void axl_regex_destroy(axl_regex *r)
{
    if (r == NULL)
        return;
    pcre2_match_data_free(r->match);
    pcre2_code_free(r->code);
    free(r->pattern);
    free(r);
}

axl_status axl_regex_search(const axl_regex *r, const char *text, bool *found)
{
    axl_status status = AXL_OK;
    const int n = pcre2_match(r->code, (PCRE2_SPTR)text, strlen(text), 0, 0, r->match, NULL);

    AXL_REQUIRE(n >= 0 || n == PCRE2_ERROR_NOMATCH, AXL_E_CONFIG,
                "'%s' takes too many steps on %s; write it simpler", r->pattern, text);
    *found = n >= 0;
out:
    return status;
}
