// axl-dist config-schema: the JSON Schema of the YAML, or the key pages, from the table that parses it.
#include "launch/commands.h"

#include "src/config/config.h"
#include "src/io/file.h"

#include <stdio.h>
#include <string.h>

static const char usage[] =
    "usage: axl-dist config-schema [--markdown | --field KEY]\n"
    "\n"
    "Prints the JSON Schema (2020-12) of a configuration file, for editors and checkers.\n"
    "\n"
    "  --markdown     print the key pages instead\n"
    "  --field KEY    print one key only: micro_batch_size, fsdp_config.offload_params\n"
    "\n"
    "example: axl-dist config-schema > axl-dist.schema.json\n"
    "         then, as the first line of run.yaml:\n"
    "         # yaml-language-server: $schema=axl-dist.schema.json\n";

int axl_cmd_config_schema(int argc, char **argv)
{
    axl_status status = AXL_OK;
    axl_str text = {0};
    bool markdown = argc > 1 && strcmp(argv[1], "--markdown") == 0;
    bool field = argc > 1 && strcmp(argv[1], "--field") == 0;

    if (argc > 1 && strcmp(argv[1], "--help") == 0) {
        (void)fputs(usage, stdout);
        goto out;
    }
    AXL_REQUIRE(argc == 1 || (argc == 2 && markdown) || (argc == 3 && field), AXL_E_CONFIG,
                "%s is not an argument of config-schema; see --help", argv[argc - 1]);
    AXL_TRY(field      ? axl_config_schema_field(argv[2], &text)
            : markdown ? axl_config_docs(&text)
                       : axl_config_schema(&text));
    AXL_TRY(axl_print(&text));
out:
    if (status != AXL_OK)
        (void)fprintf(stderr, "axl-dist config-schema: %s\n", axl_error_message());
    axl_str_fini(&text);
    return axl_status_exit_code(status);
}
