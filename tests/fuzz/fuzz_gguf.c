// GGUF: metadata, rows of every tensor, and the import of whatever looks like a model.
#include "src/io/file.h"
#include "src/io/gguf.h"
#include "src/io/gguf_import.h"
#include "tests/fuzz/fuzz.h"

#define MOST_ELEMENTS (1 << 16) // of a row; enough for every code path

static void read_all(const axl_gguf *g)
{
    const char *text;
    size_t n;

    for (int64_t i = 0; i < axl_gguf_n_values(g); i++) {
        const axl_gguf_value *v = axl_gguf_value_at(g, i);
        for (size_t at = 0; axl_gguf_next_string(v, &at, &text, &n);)
            (void)axl_utf8_invalid_at(text, n);
        for (uint64_t k = 0; k < v->count && k < 64; k++)
            (void)axl_gguf_real(v, k, 0.0);
        (void)axl_gguf_bool(v, false);
    }
    for (int64_t i = 0; i < axl_gguf_n_tensors(g); i++) {
        const axl_gguf_tensor *t = axl_gguf_tensor_at(g, i);
        if (t->rows == 0 || t->cols == 0 || t->cols > MOST_ELEMENTS)
            continue;
        float *row = malloc((size_t)t->cols * sizeof *row);
        axl_gguf_read_rows(t, 0, 1, row);
        axl_gguf_read_rows(t, t->rows - 1, 1, row);
        free(row);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64], dir[64];
    axl_gguf *g = NULL;
    int fd = fuzz_file(data, size, path);

    if (axl_gguf_open(path, &g) == AXL_OK) {
        read_all(g);
        axl_gguf_close(g);
        (void)snprintf(dir, sizeof dir, "/dev/shm/axl-fuzz-%ld", (long)getpid());
        (void)axl_gguf_import(path, dir, NULL);
        if (axl_path_remove(dir) != AXL_OK)
            abort();
    }
    (void)close(fd);
    return 0;
}
