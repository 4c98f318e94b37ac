// The small files of a model directory, and copies of whole ones. The hard part is config.json: when
// only the dtype changes, every other byte of it has to stay as its author wrote it.
#include "src/io/hfdir.h"

#include "src/base/mem.h"
#include "src/io/file.h"

#include <stdlib.h>
#include <string.h>

#define COPY_BYTES ((size_t)1 << 22)

// What lies beside the weights and belongs to the model.
static const char *const side_files[] = {
    "generation_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "chat_template.jinja",
    "chat_template.json",
    "preprocessor_config.json",
    "processor_config.json",
};

// Appends text with the value of every key "dtype" or "torch_dtype" replaced by dtype.
static axl_status put_with_dtype(const axl_str *text, const char *dtype, axl_str *out)
{
    axl_status status = AXL_OK;
    static const char *const keys[] = {"\"dtype\"", "\"torch_dtype\""};
    const char *from = text->data, *end = text->data + text->len;

    for (const char *p = from; p < end; p++) {
        for (size_t k = 0; k < 2; k++) {
            size_t n = strlen(keys[k]);
            if ((size_t)(end - p) < n || memcmp(p, keys[k], n) != 0)
                continue;
            const char *q = p + n + strspn(p + n, " \t\r\n");
            if (*q != ':')
                continue;
            q++;
            q += strspn(q, " \t\r\n");
            const char *close = *q == '"' ? strchr(q + 1, '"') : NULL;
            if (close == NULL) // null, or a table of dtypes
                continue;
            AXL_TRY(axl_str_append(out, from, (size_t)(q + 1 - from)));
            AXL_TRY(axl_str_puts(out, dtype));
            from = p = close;
        }
    }
    AXL_TRY(axl_str_append(out, from, (size_t)(end - from)));
out:
    return status;
}

static axl_status copy_file(const char *from, const char *to, const char *name, const char *dtype)
{
    axl_status status = AXL_OK;
    axl_str source = {0}, target = {0}, text = {0}, changed = {0};
    axl_str *write = &text;

    AXL_TRY(axl_str_printf(&source, "%s/%s", from, name));
    AXL_TRY(axl_str_printf(&target, "%s/%s", to, name));
    if (!axl_path_exists(source.data))
        goto out;
    AXL_TRY(axl_file_read(source.data, &text));
    if (dtype != NULL) {
        AXL_TRY(put_with_dtype(&text, dtype, &changed));
        write = &changed;
    }
    AXL_TRY(axl_file_write(target.data, write->data, write->len));
out:
    axl_str_fini(&source);
    axl_str_fini(&target);
    axl_str_fini(&text);
    axl_str_fini(&changed);
    return status;
}

axl_status axl_hfdir_copy_side_files(const char *from, const char *to, const char *dtype)
{
    axl_status status = AXL_OK;

    for (size_t i = 0; i < sizeof side_files / sizeof *side_files; i++)
        AXL_TRY(copy_file(from, to, side_files[i], NULL));
    AXL_TRY(copy_file(from, to, "config.json", dtype));
out:
    return status;
}

static axl_status copy_weights(const axl_hfdir *from, axl_hfdir_writer *w)
{
    axl_status status = AXL_OK;

    for (int64_t i = 0; i < axl_hfdir_count(from); i++) {
        const axl_tensor_entry *e = axl_hfdir_at(from, i);
        int64_t rows = e->spec.n_dims > 0 ? e->spec.dims[0] : 1;
        if (e->bytes == 0)
            continue;
        size_t row_bytes = e->bytes / (size_t)rows;
        int64_t step = row_bytes < COPY_BYTES ? (int64_t)(COPY_BYTES / row_bytes) : 1;
        for (int64_t row = 0; row < rows; row += step) {
            int64_t k = rows - row < step ? rows - row : step;
            const axl_block block = {.row0 = row, .n_rows = k};
            AXL_TRY(axl_hfdir_write_block(w, i, &block, e->data + (size_t)row * row_bytes,
                                          e->spec.dtype));
        }
    }
    AXL_TRY(axl_hfdir_writer_flush(w));
out:
    return status;
}

axl_status axl_hfdir_copy(const axl_hfdir *from, const char *to)
{
    axl_status status = AXL_OK;
    axl_hfdir_plan plan = {0};
    axl_hfdir_writer *w = NULL;
    axl_tensor_spec *specs = NULL;
    int64_t n = axl_hfdir_count(from);

    AXL_TRY(axl_dir_make(to));
    AXL_TRY(axl_calloc((size_t)n, sizeof *specs, "a tensor list", &specs));
    for (int64_t i = 0; i < n; i++)
        specs[i] = axl_hfdir_at(from, i)->spec;
    AXL_TRY(axl_hfdir_plan_make(specs, n, AXL_HFDIR_SHARD_BYTES, from, &plan));
    AXL_TRY(axl_hfdir_writer_open(to, &plan, true, &w));
    AXL_TRY(copy_weights(from, w));
    AXL_TRY(axl_hfdir_writer_publish(w));
    AXL_TRY(axl_hfdir_copy_side_files(axl_hfdir_path(from), to, NULL));
out:
    free(specs);
    axl_hfdir_writer_destroy(w);
    axl_hfdir_plan_fini(&plan);
    return status;
}
