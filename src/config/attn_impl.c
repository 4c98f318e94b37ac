// The attention implementations that users name, and what each could do upstream.
//
// All of them run on the one varlen kernel here, which never crosses documents; the flags keep the
// meaning users know, and drive the validation rules only.
#include "src/config/rules.h"

#include <string.h>

static const axl_attn_impl impls[] = {
    {"eager", false, false, false},
    {"sdpa", false, false, false},
    {"flash_attention_2", true, true, true},
    {"flash_attention_3", true, true, true},
    {"flex_attention", true, false, true},
    {"xformers", true, false, true},
    {"sage", true, false, true},
    {"s2", false, true, true},
    {"fp8", false, false, true},
    {"kernels-community/flash-attn3", true, true, true},
    {"kernels-community/flash-attn2", true, true, true},
    {"kernels-community/sage-attention", true, false, true},
};

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

#define N_IMPLS       (sizeof impls / sizeof impls[0])
#define N_SHORT_NAMES (sizeof short_names / sizeof short_names[0])

bool axl_attn_impl_find(const char *name, axl_attn_impl *out)
{
    for (size_t i = 0; i < N_IMPLS; i++) {
        if (strcmp(impls[i].name, name) == 0) {
            *out = impls[i];
            return true;
        }
    }
    if (strchr(name, '/') == NULL)
        return false;
    *out = (axl_attn_impl){name, false, false, true};
    return true;
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

    for (size_t i = 0; i < N_IMPLS; i++) {
        AXL_TRY(axl_str_puts(out, i == 0 ? "" : i + 1 == N_IMPLS ? " or " : ", "));
        AXL_TRY(axl_str_puts(out, impls[i].name));
    }
out:
    return status;
}
