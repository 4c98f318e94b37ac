// What the names of attn_implementation mean: rows of kernels/attention_impl.h, short forms that are refused with the
// right spelling, and kernels of the hub, which are the nearest row here.
#include "src/config/rules.h"

#include "kernels/attention_impl.h"

#include <string.h>
#include <strings.h>

static const char *const short_names[][2] = {
    {"flash", "flash_attention_2"},
    {"flash_attention", "flash_attention_2"},
    {"fa2", "flash_attention_2"},
    {"fa3", "flash_attention_3"},
    {"flex", "flex_attention"},
    {"sdp", "sdpa"},
    {"sdp_attention", "sdpa"},
    {"eager_attention", "eager"},
    {"xformers_attention", "xformers"},
    {"sage_attention", "sage"},
    {"s2_attention", "s2"},
};
#define N_SHORT_NAMES (sizeof short_names / sizeof short_names[0])

// Words of org/name, the first that is in it decides. Those upstream knows by their whole name have the flags of their
// row, others the careful ones.
static const struct {
    const char *word, *name;
    bool known;
} hub_names[] = {
    {"kernels-community/flash-attn3", "flash_attention_3", true},
    {"kernels-community/flash-attn2", "flash_attention_2", true},
    {"kernels-community/sage-attention", "sage", true},
    {"sage", "sage", false},
    {"xformers", "xformers", false},
    {"flex", "flex_attention", false},
    {"flash-attn3", "flash_attention_3", false},
    {"flash-attention-3", "flash_attention_3", false},
    {"flash_attention_3", "flash_attention_3", false},
    {"flash", "flash_attention_2", false},
    {"sdpa", "sdpa", false},
    {"eager", "eager", false},
};
#define N_HUB_NAMES (sizeof hub_names / sizeof hub_names[0])

static axl_attn_named named(const char *name, const axl_attn_impl *row)
{
    return (axl_attn_named){.name = name,
                            .supports_packing = row->supports_packing,
                            .uses_flash_lib = row->uses_flash_lib,
                            .needs_dtype_cast = row->needs_dtype_cast,
                            .kernel = row};
}

bool axl_attn_impl_find(const char *name, axl_attn_named *out)
{
    const axl_attn_impl *row = axl_attn_impl_named(name);

    if (row != NULL) {
        *out = named(row->name, row);
        return true;
    }
    if (strchr(name, '/') == NULL)
        return false;
    for (size_t i = 0; i < N_HUB_NAMES; i++) {
        if (hub_names[i].known ? strcmp(name, hub_names[i].word) != 0
                               : strcasestr(name, hub_names[i].word) == NULL)
            continue;
        *out = named(name, axl_attn_impl_named(hub_names[i].name));
        if (!hub_names[i].known) {
            out->supports_packing = out->uses_flash_lib = false;
            out->needs_dtype_cast = true;
        }
        return true;
    }
    return false;
}

const char *axl_attn_impl_alias(const char *name)
{
    for (size_t i = 0; i < N_SHORT_NAMES; i++)
        if (strcmp(short_names[i][0], name) == 0)
            return short_names[i][1];
    return NULL;
}

axl_status axl_attn_impl_names(axl_str *out)
{
    axl_status status = AXL_OK;

    for (int i = 0; axl_attn_impl_at(i) != NULL; i++) {
        const bool last = axl_attn_impl_at(i + 1) == NULL;
        AXL_TRY(axl_str_puts(out, i == 0 ? "" : last ? " or " : ", "));
        AXL_TRY(axl_str_puts(out, axl_attn_impl_at(i)->name));
    }
out:
    return status;
}
