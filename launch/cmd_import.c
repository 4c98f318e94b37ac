// axl-dist import: a GGUF file as a Hugging Face directory.
#include "launch/commands.h"

#include "src/base/dtype.h"
#include "src/base/log.h"
#include "src/io/gguf_import.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const char usage[] =
    "usage: axl-dist import FILE.gguf -o DIR [--dtype TYPE]\n"
    "\n"
    "Writes the model of a GGUF file as a Hugging Face directory: config.json, safetensors,\n"
    "tokenizer.json and the chat template. Quantised weights become what they stand for.\n"
    "\n"
    "  -o, --output DIR   the directory to write; it must not hold a model yet\n"
    "  --dtype TYPE       keep (the default: fp32 if any weight is quantised, so that no value\n"
    "                     changes, else as each is stored), fp32, bf16 or fp16\n"
    "\n"
    "example: axl-dist import SmolLM2-135M-Instruct.Q4_1.gguf -o models/SmolLM2-135M --dtype "
    "bf16\n";

typedef struct arguments {
    const char *path, *output;
    axl_gguf_import_options options;
    bool help;
} arguments;

static axl_status read_dtype(const char *word, int *out)
{
    axl_status status = AXL_OK;
    static const struct {
        const char *word;
        int dtype;
    } words[] = {
        {"keep", AXL_GGUF_KEEP_DTYPE}, {"fp32", AXL_F32}, {"float32", AXL_F32}, {"bf16", AXL_BF16},
        {"bfloat16", AXL_BF16},        {"fp16", AXL_F16}, {"float16", AXL_F16}};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(word, words[i].word) != 0)
            continue;
        *out = words[i].dtype;
        goto out;
    }
    AXL_FAIL(AXL_E_CONFIG, "--dtype %s is not known; use keep, fp32, bf16 or fp16", word);
out:
    return status;
}

static axl_status read_arguments(int argc, char **argv, arguments *a)
{
    axl_status status = AXL_OK;
    static const struct option known[] = {{"output", required_argument, NULL, 'o'},
                                          {"dtype", required_argument, NULL, 't'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    int c;

    *a = (arguments){.options.dtype = AXL_GGUF_KEEP_DTYPE};
    optind = 0; // a command may run after main has used getopt
    opterr = 0;
    while ((c = getopt_long(argc, argv, "o:h", known, NULL)) != -1) {
        if (c == 'o')
            a->output = optarg;
        else if (c == 't')
            AXL_TRY(read_dtype(optarg, &a->options.dtype));
        else if (c == 'h')
            a->help = true;
        else
            AXL_FAIL(AXL_E_CONFIG, "%s is not known or lacks its value; see --help",
                     argv[optind - 1]);
    }
    if (a->help)
        goto out;
    AXL_REQUIRE(argc - optind == 1 && a->output != NULL, AXL_E_CONFIG,
                "one GGUF file and -o DIR are needed; see --help");
    a->path = argv[optind];
out:
    return status;
}

int axl_cmd_import(int argc, char **argv)
{
    axl_status status = AXL_OK;
    arguments a;

    AXL_TRY(read_arguments(argc, argv, &a));
    if (a.help) {
        (void)fputs(usage, stdout);
        goto out;
    }
    double start = axl_now();
    AXL_TRY(axl_gguf_import(a.path, a.output, &a.options));
    (void)printf("%s: imported into %s in %.1f s\n", a.path, a.output, axl_now() - start);
out:
    if (status != AXL_OK)
        (void)fprintf(stderr, "axl-dist import: %s\n", axl_error_message());
    return axl_status_exit_code(status);
}
