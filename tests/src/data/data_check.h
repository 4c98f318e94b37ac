// A folder that goes away with the test, and prepared sets made from pretokenized rows.
#ifndef AXL_TESTS_DATA_CHECK_H
#define AXL_TESTS_DATA_CHECK_H

#include "src/data/prepare.h"
#include "src/io/file.h"
#include "tests/check.h"

#include <stdlib.h>
#include <unistd.h>

typedef struct folder {
    char path[64];
} folder;

static inline int folder_make(void **state)
{
    folder *f = calloc(1, sizeof *f);

    (void)snprintf(f->path, sizeof f->path, "/tmp/axl_data_XXXXXX");
    if (f == NULL || mkdtemp(f->path) == NULL)
        return -1;
    *state = f;
    return 0;
}

static inline int folder_remove(void **state)
{
    folder *f = *state;

    (void)axl_path_remove(f->path);
    free(f);
    return 0;
}

// The path of a file in the folder, in a buffer of the caller's.
static inline const char *folder_file(const folder *f, const char *name, char path[256])
{
    (void)snprintf(path, 256, "%s/%s", f->path, name);
    return path;
}

static inline void folder_write(const folder *f, const char *name, const char *text)
{
    char path[256];

    CHECK_OK(axl_file_write(folder_file(f, name, path), text, strlen(text)));
}

// n rows; row i has lengths[i] tokens, all of them i + 1; every second token is trained.
static inline void folder_write_rows(const folder *f, const char *name, const int32_t *lengths,
                                     int64_t n)
{
    axl_str text = {0};

    for (int64_t i = 0; i < n; i++) {
        CHECK_OK(axl_str_puts(&text, "{\"input_ids\": ["));
        for (int32_t t = 0; t < lengths[i]; t++)
            CHECK_OK(axl_str_printf(&text, "%s%lld", t > 0 ? ", " : "", (long long)i + 1));
        CHECK_OK(axl_str_puts(&text, "], \"labels\": ["));
        for (int32_t t = 0; t < lengths[i]; t++)
            CHECK_OK(axl_str_printf(&text, "%s%lld", t > 0 ? ", " : "",
                                    t % 2 ? (long long)i + 1 : -100));
        CHECK_OK(axl_str_puts(&text, "]}\n"));
    }
    folder_write(f, name, text.data);
    axl_str_fini(&text);
}

#endif
