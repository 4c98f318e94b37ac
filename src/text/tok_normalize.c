// Normalizers: each rewrites w->norm. A row a kind.
#include "src/text/tokenizer_private.h"

axl_status axl_normalize(const axl_tokenizer *t, axl_tok_work *w)
{
    axl_status status = AXL_OK;

    for (size_t i = 0; i < t->normalizers.n && w->norm.n > 0; i++)
        AXL_TRY(t->normalizers.at[i].kind->normalize(&t->normalizers.at[i], w));
out:
    return status;
}

const axl_step_kind axl_normalizer_kinds[] = {
    {.name = "Nothing"},
};
const size_t axl_n_normalizer_kinds = 0;
