// Weights of a GGUF file under their Hugging Face names, and the import as a whole. The hard part is the
// order of rows in q and k: the converter for Llama interleaves the two halves that rope pairs, so that
// row 2i + p of a head in the file is row p * half + i of the head in the model.
#include "src/io/gguf_import.h"

#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/io/file.h"
#include "src/io/gguf_parts.h"
#include "src/io/hfdir.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUFFER_BYTES ((size_t)1 << 20)
#define KEY_BYTES    128

// Names without their ending .weight or .bias; those of a layer stand behind blk.N. in the file and
// behind model.layers.N. in the model.
typedef struct rename {
    const char *gguf, *key;
} rename_row;

static const rename_row model_names[] = {
    {"token_embd", "model.embed_tokens"},
    {"output_norm", "model.norm"},
    {"output", "lm_head"},
};
static const rename_row layer_names[] = {
    {"attn_norm", "input_layernorm"},    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},      {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"}, {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"}, {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},       {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
};

// One tensor on its way.
typedef struct weight {
    const axl_gguf_tensor *tensor; // borrowed
    char key[KEY_BYTES];           // its Hugging Face name
    int64_t permuted_heads;        // 0: rows stay as they are
} weight;

static const char *find_rename(const rename_row *rows, size_t n_rows, const char *name, size_t n)
{
    for (size_t i = 0; i < n_rows; i++)
        if (strlen(rows[i].gguf) == n && memcmp(rows[i].gguf, name, n) == 0)
            return rows[i].key;
    return NULL;
}

// Fills the key of a weight; *known is false for a name that no row has.
static void rename_weight(const axl_gguf_model *m, weight *w, bool *known)
{
    const char *name = w->tensor->name;
    const char *ending = strrchr(name, '.');
    char *end;

    *known = false;
    if (ending == NULL || (strcmp(ending, ".weight") != 0 && strcmp(ending, ".bias") != 0))
        return;
    if (strncmp(name, "blk.", 4) != 0) {
        const char *key = find_rename(model_names, sizeof model_names / sizeof *model_names, name,
                                      (size_t)(ending - name));
        *known = key != NULL;
        if (*known)
            (void)snprintf(w->key, sizeof w->key, "%s%s", key, ending);
        return;
    }
    long layer = strtol(name + 4, &end, 10);
    if (*end != '.' || end + 1 > ending || layer < 0 || layer >= m->n_layers)
        return;
    const char *part = end + 1;
    const char *key = find_rename(layer_names, sizeof layer_names / sizeof *layer_names, part,
                                  (size_t)(ending - part));
    if (key == NULL)
        return;
    *known = true;
    (void)snprintf(w->key, sizeof w->key, "model.layers.%ld.%s%s", layer, key, ending);
    if (m->arch->permuted && strcmp(key, "self_attn.q_proj") == 0)
        w->permuted_heads = m->n_heads;
    if (m->arch->permuted && strcmp(key, "self_attn.k_proj") == 0)
        w->permuted_heads = m->n_kv_heads;
}

// Lists the weights in the order of the file.
static axl_status list_weights(const axl_gguf *g, const axl_gguf_model *m, weight *list,
                               int64_t *out_n)
{
    axl_status status = AXL_OK;
    int64_t n = 0;

    for (int64_t i = 0; i < axl_gguf_n_tensors(g); i++) {
        weight *w = &list[n];
        bool known;
        *w = (weight){.tensor = axl_gguf_tensor_at(g, i)};
        if (strcmp(w->tensor->name, "rope_freqs.weight") == 0)
            continue; // became rope_scaling in config.json
        rename_weight(m, w, &known);
        AXL_REQUIRE(known, AXL_E_UNSUPPORTED,
                    "%s: tensor %s has no place in a %s model and cannot be imported",
                    axl_gguf_path(g), w->tensor->name, m->arch->model_type);
        // a bias is one row in the file's terms, its elements are the rows that were interleaved
        int64_t rows = w->tensor->n_dims > 0 ? w->tensor->dims[0] : 1;
        AXL_REQUIRE(w->permuted_heads == 0 || rows == w->permuted_heads * m->head_dim, AXL_E_INPUT,
                    "%s: tensor %s has %lld rows, the metadata says %lld heads of %lld",
                    axl_gguf_path(g), w->tensor->name, (long long)rows,
                    (long long)w->permuted_heads, (long long)m->head_dim);
        n++;
    }
    *out_n = n;
out:
    return status;
}

// The row of the file that becomes row `row` of the model.
static int64_t source_row(const weight *w, int64_t head_dim, int64_t row)
{
    int64_t half = head_dim / 2, in_head = row % head_dim;

    if (w->permuted_heads == 0)
        return row;
    return row - in_head + 2 * (in_head % half) + in_head / half;
}

// Writes one weight by pieces of the buffer. A bias is written whole: its elements are its rows.
static axl_status write_weight(const weight *w, int64_t i, int64_t head_dim, axl_hfdir_writer *out,
                               float *buffer, float *line)
{
    axl_status status = AXL_OK;
    const axl_gguf_tensor *t = w->tensor;
    int64_t rows = t->n_dims > 0 ? t->dims[0] : 1;
    int64_t cols = rows > 0 ? t->rows * t->cols / rows : 0;
    int64_t step = cols > 0 ? (int64_t)(BUFFER_BYTES / sizeof *buffer) / cols : 1;

    if (step < 1)
        step = 1;
    if (cols == 0)
        goto out;
    if (t->n_dims == 1)
        axl_gguf_read_rows(t, 0, 1, line);
    for (int64_t row = 0; row < rows; row += step) {
        int64_t n = rows - row < step ? rows - row : step;
        for (int64_t k = 0; k < n; k++) {
            int64_t from = source_row(w, head_dim, row + k);
            if (t->n_dims == 1)
                buffer[k] = line[from];
            else
                axl_gguf_read_rows(t, from * (t->rows / rows), t->rows / rows, buffer + k * cols);
        }
        AXL_TRY(
            axl_hfdir_write_block(out, i, &(axl_block){.row0 = row, .n_rows = n}, buffer, AXL_F32));
    }
out:
    return status;
}

// What a weight is stored as, and what the directory calls its dtype.
static void choose_dtypes(const weight *list, int64_t n, int option, axl_tensor_spec *specs,
                          axl_dtype *config)
{
    bool quantised = false, mixed = false;
    int matrices = -1;

    for (int64_t i = 0; i < n; i++) {
        const axl_gguf_quant *q = list[i].tensor->quant;
        quantised = quantised || axl_gguf_is_quantised(q);
        if (list[i].tensor->n_dims < 2)
            continue;
        mixed = mixed || (matrices >= 0 && matrices != (int)axl_gguf_dtype(q));
        matrices = (int)axl_gguf_dtype(q);
    }
    *config = quantised || mixed || matrices < 0 ? AXL_F32 : (axl_dtype)matrices;
    if (option >= 0)
        *config = (axl_dtype)option;
    for (int64_t i = 0; i < n; i++)
        specs[i].dtype = option >= 0 || quantised ? *config : axl_gguf_dtype(list[i].tensor->quant);
}

static axl_status write_weights(const axl_gguf *g, const axl_gguf_model *m, const char *dir,
                                int option, axl_dtype *config_dtype)
{
    axl_status status = AXL_OK;
    weight *list = NULL;
    axl_tensor_spec *specs = NULL;
    axl_hfdir_plan plan = {0};
    axl_hfdir_writer *w = NULL;
    float *buffer = NULL, *line = NULL;
    int64_t n = 0;
    size_t largest = BUFFER_BYTES / sizeof *buffer, longest = 1;

    AXL_TRY(axl_calloc((size_t)axl_gguf_n_tensors(g), sizeof *list, "weights", &list));
    AXL_TRY(axl_calloc((size_t)axl_gguf_n_tensors(g), sizeof *specs, "weights", &specs));
    AXL_TRY(list_weights(g, m, list, &n));
    for (int64_t i = 0; i < n; i++) {
        const axl_gguf_tensor *t = list[i].tensor;
        int64_t rows = t->n_dims > 0 && t->dims[0] > 0 ? t->dims[0] : 1;
        size_t row = (size_t)(t->rows * t->cols / rows);
        largest = row > largest ? row : largest;
        longest = t->n_dims == 1 && (size_t)t->cols > longest ? (size_t)t->cols : longest;
        specs[i] = (axl_tensor_spec){.name = list[i].key, .n_dims = t->n_dims};
        memcpy(specs[i].dims, t->dims, sizeof specs[i].dims);
    }
    choose_dtypes(list, n, option, specs, config_dtype);
    AXL_TRY(axl_hfdir_plan_make(specs, n, AXL_HFDIR_SHARD_BYTES, NULL, &plan));
    AXL_TRY(axl_calloc(largest, sizeof *buffer, "rows", &buffer));
    AXL_TRY(axl_calloc(longest, sizeof *line, "rows", &line));
    AXL_TRY(axl_hfdir_writer_open(dir, &plan, true, &w));
    for (int64_t i = 0; i < n; i++)
        AXL_TRY(write_weight(&list[i], i, m->head_dim, w, buffer, line));
    AXL_TRY(axl_hfdir_writer_flush(w));
    AXL_TRY(axl_hfdir_writer_publish(w));
out:
    free(list);
    free(specs);
    free(buffer);
    free(line);
    axl_hfdir_writer_destroy(w);
    axl_hfdir_plan_fini(&plan);
    return status;
}

axl_status axl_gguf_import(const char *path, const char *out_dir,
                           const axl_gguf_import_options *options)
{
    axl_status status = AXL_OK;
    axl_gguf *g = NULL;
    axl_gguf_model m;
    axl_dtype dtype = AXL_F32;
    bool begun = false;

    AXL_TRY(axl_gguf_open(path, &g));
    AXL_TRY(axl_gguf_read_model(g, &m));
    AXL_TRY(axl_hfdir_check_free(out_dir));
    begun = true;
    AXL_TRY(axl_dir_make(out_dir));
    AXL_TRY(axl_gguf_write_tokenizer(g, out_dir));
    AXL_TRY(write_weights(g, &m, out_dir, options != NULL ? options->dtype : AXL_GGUF_KEEP_DTYPE,
                          &dtype));
    AXL_TRY(axl_gguf_write_config(g, &m, dtype, out_dir)); // last: it says that all is there
out:
    if (begun && status != AXL_OK)
        axl_hfdir_discard(out_dir);
    axl_gguf_close(g);
    return status;
}

axl_status axl_gguf_write_head(const char *path, const char *dir)
{
    axl_status status = AXL_OK;
    axl_gguf *g = NULL;
    axl_gguf_model m;
    weight *list = NULL;
    axl_tensor_spec *specs = NULL;
    axl_dtype dtype = AXL_F32;
    int64_t n = 0;

    AXL_TRY(axl_gguf_open(path, &g));
    AXL_TRY(axl_gguf_read_model(g, &m));
    AXL_TRY(axl_calloc((size_t)axl_gguf_n_tensors(g), sizeof *list, "weights", &list));
    AXL_TRY(axl_calloc((size_t)axl_gguf_n_tensors(g), sizeof *specs, "weights", &specs));
    AXL_TRY(list_weights(g, &m, list, &n));
    choose_dtypes(list, n, AXL_GGUF_KEEP_DTYPE, specs, &dtype);
    AXL_TRY(axl_gguf_write_tokenizer(g, dir));
    AXL_TRY(axl_gguf_write_config(g, &m, dtype, dir));
out:
    free(list);
    free(specs);
    axl_gguf_close(g);
    return status;
}

axl_status axl_gguf_cache_dir(const char *path, const char *cache_root,
                              const axl_gguf_import_options *options, axl_str *dir)
{
    axl_status status = AXL_OK;
    axl_mapping map = {0};
    int dtype = options != NULL ? options->dtype : AXL_GGUF_KEEP_DTYPE;

    AXL_TRY(axl_file_map(path, &map));
    AXL_TRY(axl_str_printf(dir, "%s/gguf-%016llx-%s", cache_root,
                           (unsigned long long)axl_hash64(map.data, map.size, map.size),
                           dtype < 0 ? "KEEP" : axl_dtype_name((axl_dtype)dtype)));
out:
    axl_file_unmap(&map);
    return status;
}

axl_status axl_gguf_import_cached(const char *path, const char *cache_root,
                                  const axl_gguf_import_options *options, axl_str *dir)
{
    axl_status status = AXL_OK;
    axl_str target = {0}, temporary = {0};

    AXL_TRY(axl_gguf_cache_dir(path, cache_root, options, &target));
    if (!axl_path_is_dir(target.data)) {
        AXL_TRY(axl_temporary_name(target.data, &temporary));
        AXL_TRY(axl_path_remove(temporary.data)); // of a process that died with the same number
        AXL_TRY(axl_gguf_import(path, temporary.data, options));
        if (rename(temporary.data, target.data) != 0) // another process may have been faster
            AXL_REQUIRE(axl_path_is_dir(target.data), AXL_E_IO, "%s: cannot be made: %s",
                        target.data, strerror(errno));
    }
    AXL_TRY(axl_str_puts(dir, target.data));
out:
    if (temporary.data != NULL)
        (void)axl_path_remove(temporary.data);
    axl_str_fini(&target);
    axl_str_fini(&temporary);
    return status;
}
