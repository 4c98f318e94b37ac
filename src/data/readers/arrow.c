// Parquet and arrow files through the module of arrow.cpp. The module stays loaded once it was needed:
// libraries that start threads are not unloaded.
#include "src/data/readers/arrow_json.h"
#include "src/data/readers/reader.h"

#include "src/base/mem.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct arrow_state {
    void *library; // owned
    const axl_arrow_module *module;
    axl_arrow_file *file;
    struct ArrowSchema schema; // owned
    struct ArrowArray batch;   // owned
    int64_t row;               // of the batch
} arrow_state;

// Beside the program, else where it was built.
static axl_status open_module(const axl_rows *r, arrow_state *a)
{
    axl_status status = AXL_OK;
    char self[PATH_MAX];
    axl_str beside = {0};
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

    self[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(self, '/');
    if (slash != NULL)
        *slash = '\0';
    AXL_TRY(axl_str_printf(&beside, "%s/axl_arrow.so", self));
    a->library = dlopen(beside.data, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (a->library == NULL)
        a->library = dlopen(AXL_ARROW_MODULE, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    AXL_REQUIRE(
        a->library != NULL, AXL_E_UNSUPPORTED,
        "%s: parquet and arrow files are read through the libraries of the pyarrow wheel, which "
        "this build lacks (%s): in the source folder run bash -c '. launch/deps.sh; "
        "deps_arrow' and build again, or write the data as .jsonl",
        r->path, dlerror());
    a->module = dlsym(a->library, AXL_ARROW_SYMBOL);
    AXL_REQUIRE(a->module != NULL && a->module->version == AXL_ARROW_VERSION, AXL_E_UNSUPPORTED,
                "%s: axl_arrow.so belongs to another version of the program; build it again",
                r->path);

out:
    axl_str_fini(&beside);
    return status;
}

static axl_status open_arrow(axl_rows *r)
{
    axl_status status = AXL_OK;
    arrow_state *a = NULL;
    char error[512] = "";

    AXL_TRY(axl_calloc(1, sizeof *a, "rows", &a));
    r->state = a;
    AXL_REQUIRE(access(r->path, R_OK) == 0, AXL_E_INPUT, "%s: cannot be read", r->path);
    AXL_TRY(open_module(r, a));
    AXL_REQUIRE(a->module->open(r->path, &a->file, error, sizeof error) == 0, AXL_E_INPUT,
                "%s: it is no %s file, or damaged: %s", r->path, r->kind->name, error);
    AXL_REQUIRE(a->module->schema(a->file, &a->schema, error, sizeof error) == 0, AXL_E_INPUT,
                "%s: %s", r->path, error);
    AXL_TRY(axl_arrow_check(&a->schema, r->path));

out:
    return status;
}

static void close_arrow(axl_rows *r)
{
    arrow_state *a = r->state;

    if (a == NULL)
        return;
    if (a->batch.release != NULL)
        a->batch.release(&a->batch);
    if (a->schema.release != NULL)
        a->schema.release(&a->schema);
    if (a->file != NULL)
        a->module->close(a->file);
    if (a->library != NULL)
        (void)dlclose(a->library);
    free(a);
}

static axl_status next_arrow(axl_rows *r, axl_row_text *out, bool *more)
{
    axl_status status = AXL_OK;
    arrow_state *a = r->state;
    char error[512] = "";

    while (a->batch.release == NULL || a->row == a->batch.length) {
        if (a->batch.release != NULL)
            a->batch.release(&a->batch);
        a->batch.release = NULL;
        a->row = 0;
        AXL_REQUIRE(a->module->next(a->file, &a->batch, error, sizeof error) == 0, AXL_E_INPUT,
                    "%s:%lld: the file is damaged from this record on: %s", r->path,
                    (long long)r->line, error);
        *more = a->batch.release != NULL;
        if (!*more)
            goto out;
    }
    *more = true;
    axl_str_clear(&r->text);
    AXL_TRY(axl_arrow_put_row(&a->schema, &a->batch, a->row++, &r->text));
    *out = (axl_row_text){.text = r->text.data, .n = r->text.len, .line = r->line++};

out:
    return status;
}

static const char *const parquet[] = {".parquet", NULL};
static const char *const arrow[] = {".arrow", NULL};

const struct axl_row_kind axl_rows_kind_parquet = {.name = "parquet",
                                                   .suffixes = parquet,
                                                   .made = true,
                                                   .binary = true,
                                                   .open = open_arrow,
                                                   .next = next_arrow,
                                                   .close = close_arrow};
const struct axl_row_kind axl_rows_kind_arrow = {.name = "arrow",
                                                 .suffixes = arrow,
                                                 .made = true,
                                                 .binary = true,
                                                 .open = open_arrow,
                                                 .next = next_arrow,
                                                 .close = close_arrow};
