// The list of files that differ from those of the directory. It is short, so it is searched from its beginning.
#include "src/text/tok_extend.h"

#include "src/base/mem.h"

#include <stdlib.h>
#include <string.h>

void axl_tok_files_fini(axl_tok_files *f)
{
    for (size_t i = 0; i < f->n; i++) {
        free(f->at[i].name);
        axl_str_fini(&f->at[i].text);
    }
    free(f->at);
    *f = (axl_tok_files){0};
}

const axl_tok_file *axl_tok_files_find(const axl_tok_files *f, const char *name)
{
    for (size_t i = 0; i < f->n; i++)
        if (strcmp(f->at[i].name, name) == 0)
            return &f->at[i];
    return NULL;
}

axl_status axl_tok_files_put(axl_tok_files *f, const char *name, axl_str *text)
{
    axl_status status = AXL_OK;
    size_t i = 0;

    while (i < f->n && strcmp(f->at[i].name, name) != 0)
        i++;
    if (i == f->n) {
        AXL_TRY(axl_grow(&f->at, &f->capacity, f->n + 1, sizeof *f->at, "tokenizer files"));
        f->at[i] = (axl_tok_file){0};
        AXL_TRY(axl_strdup(name, &f->at[i].name));
        f->n++;
    }
    axl_str_fini(&f->at[i].text);
    f->at[i].absent = text == NULL;
    if (text != NULL) {
        f->at[i].text = *text;
        *text = (axl_str){0}; // taken over
    }
out:
    return status;
}
