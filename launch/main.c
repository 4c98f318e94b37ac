// The program: a table of subcommands. A first argument that is no command is a configuration to train.
#include "launch/commands.h"
#include "src/base/status.h"
#include "src/base/str.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *what;
} commands[] = {
    {"train", axl_cmd_train, "train as CONFIG.yaml says; also without the word train"},
    {"evaluate", axl_cmd_evaluate, "loss and perplexity of a model on test_datasets"},
    {"inference", axl_cmd_inference, "answer a prompt, or chat in the terminal"},
    {"doctor", axl_cmd_doctor, "what this machine and its ranks can do, measured"},
    {"preprocess", axl_cmd_preprocess, "tokenize, mask and pack the data of a configuration"},
    {"explain", axl_cmd_explain, "one sample token by token"},
    {"validate", axl_cmd_validate, "check a configuration; needs no model and no data"},
    {"plan", axl_cmd_plan, "memory, traffic and time of a run before it, and the best layouts"},
    {"import", axl_cmd_import, "GGUF file to Hugging Face directory"},
    {"merge", axl_cmd_merge, "a checkpoint to a Hugging Face directory"},
    {"inspect", axl_cmd_inspect, "what is in a model, a checkpoint or a GGUF file"},
    {"render", axl_cmd_render, "a chat template with messages to text"},
    {"fetch", axl_cmd_fetch, "the example configurations, as files to edit"},
    {"config-schema", axl_cmd_config_schema, "JSON Schema of the configuration"},
    {"tokenize", axl_cmd_tokenize, "text to ids, one JSON string a line"},
};
#define N_COMMANDS (sizeof commands / sizeof *commands)

static void usage(FILE *to)
{
    (void)fputs("axl-dist CONFIG.yaml [--key value ...]   trains; or one of\n", to);
    for (size_t i = 0; i < N_COMMANDS; i++)
        (void)fprintf(to, "  axl-dist %-14s %s\n", commands[i].name, commands[i].what);
    (void)fputs("Every command has --help.\n", to);
}

static bool looks_like_config(const char *word)
{
    return strchr(word, '.') != NULL || strchr(word, '/') != NULL;
}

// What a command prints is its result, but for training: there it is for whoever looks on.
static int printed(int code)
{
    if ((fflush(stdout) == 0 && ferror(stdout) == 0) || code != 0)
        return code;
    (void)fputs("error: standard output cannot be written\n", stderr);
    return axl_status_exit_code(AXL_E_IO);
}

int main(int argc, char **argv)
{
    const char *names[N_COMMANDS];

    (void)signal(SIGXFSZ, SIG_IGN); // a file that must not grow is an error with a message
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        usage(argc < 2 ? stderr : stdout);
        return printed(argc < 2 ? 2 : 0);
    }
    for (size_t i = 0; i < N_COMMANDS; i++) {
        names[i] = commands[i].name;
        if (strcmp(argv[1], commands[i].name) != 0)
            continue;
        const int code = commands[i].run(argc - 1, argv + 1);
        return commands[i].run == axl_cmd_train ? code : printed(code);
    }
    if (looks_like_config(argv[1]))
        return axl_cmd_train(argc, argv);
    const char *nearest = axl_nearest_name(argv[1], names, N_COMMANDS);
    (void)fprintf(stderr, "error: %s is neither a command nor a configuration file%s%s%s\n",
                  argv[1], nearest != NULL ? "; did you mean " : "", nearest != NULL ? nearest : "",
                  nearest != NULL ? "?" : "");
    return 2;
}
