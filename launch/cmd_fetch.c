// axl-dist fetch examples: the example configurations that came with the program, as files to edit.
#include "launch/commands.h"
#include "launch/example_table.h"

#include "src/base/str.h"
#include "src/io/file.h"

#include <stdio.h>
#include <string.h>

static const char usage[] =
    "usage: axl-dist fetch examples [DIR] [--force]\n"
    "\n"
    "Writes the example configurations into DIR (examples when absent): one for each family of\n"
    "models and each way to train, to copy and edit. A file that is there and differs is not\n"
    "written over, and then nothing is written at all.\n"
    "\n"
    "  --force        write over files that differ\n"
    "  --list         print the names and what each is about; write nothing\n"
    "\n"
    "example: axl-dist fetch examples my-runs\n";

typedef struct options {
    const char *dir;
    bool force, list, help;
} options;

static axl_status parse_arguments(int argc, char **argv, options *o)
{
    axl_status status = AXL_OK;
    const char *what = NULL;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0)
            o->help = true;
        else if (strcmp(argv[i], "--force") == 0)
            o->force = true;
        else if (strcmp(argv[i], "--list") == 0)
            o->list = true;
        else if (argv[i][0] == '-')
            AXL_FAIL(AXL_E_CONFIG, "%s is not an argument of fetch; see --help", argv[i]);
        else if (what == NULL)
            what = argv[i];
        else if (o->dir == NULL)
            o->dir = argv[i];
        else
            AXL_FAIL(AXL_E_CONFIG, "one folder is enough; %s is too much", argv[i]);
    }
    AXL_REQUIRE(o->help || what != NULL, AXL_E_CONFIG,
                "say what is to be fetched: axl-dist fetch examples");
    AXL_REQUIRE(o->help || strcmp(what, "examples") == 0, AXL_E_CONFIG,
                "%s cannot be fetched, only examples can", what);
    o->dir = o->dir != NULL ? o->dir : "examples";
out:
    return status;
}

// What an example is about: its first sentence, which may take several comment lines.
static axl_status put_title(const char *text, axl_str *out)
{
    axl_status status = AXL_OK;

    while (*text == '#') {
        const char *end = strchr(text, '\n');
        for (text += strspn(text, "# "); text < end; text++) {
            AXL_TRY(axl_str_putc(out, *text));
            if (*text == '.' && (text[1] == ' ' || text[1] == '\n'))
                goto out;
        }
        AXL_TRY(axl_str_putc(out, ' '));
        text = end + 1;
    }
out:
    return status;
}

static axl_status list(void)
{
    axl_status status = AXL_OK;
    axl_str line = {0};

    for (const axl_example_row *row = axl_example_rows; row->name != NULL; row++) {
        axl_str_clear(&line);
        AXL_TRY(axl_str_printf(&line, "%s.yaml: ", row->name));
        AXL_TRY(put_title((const char *)row->text, &line));
        (void)puts(line.data); // main looks whether that went well
    }
out:
    axl_str_fini(&line);
    return status;
}

// *there: the file is as it would be written. Fails when it differs.
static axl_status compare(const char *path, const char *text, bool force, bool *there)
{
    axl_status status = AXL_OK;
    axl_str old = {0};

    *there = false;
    if (!axl_path_exists(path))
        goto out;
    AXL_TRY(axl_file_read(path, &old));
    *there = old.len == strlen(text) && memcmp(old.data, text, old.len) == 0;
    AXL_REQUIRE(*there || force, AXL_E_CONFIG,
                "%s is there and differs, so nothing was written; choose another folder, or write "
                "over it with --force",
                path);
out:
    axl_str_fini(&old);
    return status;
}

// Looks at every file before the first is written.
static axl_status fetch(const options *o)
{
    axl_status status = AXL_OK;
    axl_str path = {0};
    int n = 0, n_written = 0;

    for (int pass = 0; pass < 2; pass++) {
        for (const axl_example_row *row = axl_example_rows; row->name != NULL; row++) {
            const char *text = (const char *)row->text;
            bool there;
            axl_str_clear(&path);
            AXL_TRY(axl_str_printf(&path, "%s/%s.yaml", o->dir, row->name));
            AXL_TRY(compare(path.data, text, o->force, &there));
            if (pass == 0 || there)
                continue;
            AXL_TRY(axl_file_write(path.data, text, strlen(text)));
            n_written++;
        }
        if (pass == 0)
            AXL_TRY(axl_dir_make(o->dir));
    }
    for (const axl_example_row *row = axl_example_rows; row->name != NULL; row++)
        n++;
    (void)printf("%s: %d examples, %d written; axl-dist fetch examples --list says what each is "
                 "about\n",
                 o->dir, n, n_written);
out:
    axl_str_fini(&path);
    return status;
}

int axl_cmd_fetch(int argc, char **argv)
{
    axl_status status = AXL_OK;
    options o = {0};

    AXL_TRY(parse_arguments(argc, argv, &o));
    if (o.help)
        (void)fputs(usage, stdout);
    else
        AXL_TRY(o.list ? list() : fetch(&o));
out:
    if (status != AXL_OK)
        (void)fprintf(stderr, "axl-dist fetch: %s\n", axl_error_message());
    return axl_status_exit_code(status);
}
