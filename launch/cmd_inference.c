// axl-dist inference DIR or CONFIG: answers a prompt, or chats in the terminal.
#include "launch/bringup.h"
#include "launch/commands.h"
#include "src/base/log.h"
#include "src/base/mem.h"
#include "src/generate/generate.h"
#include "src/io/file.h"
#include "src/io/gguf_import.h"
#include "src/text/chat.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
    "axl-dist inference DIR|CONFIG.yaml|FILE.gguf [--prompt TEXT] [--chat] [options]\n"
    "  Continues TEXT; with --chat TEXT is a user's turn in the model's chat template. Without "
    "--prompt\n"
    "  it reads lines from the terminal. For a CONFIG the model in its output_dir answers, else "
    "base_model.\n"
    "    --max-new-tokens N   256 when absent\n"
    "    --temperature T      0, the default, takes the likeliest token\n"
    "    --top-k K, --top-p P, --seed S\n"
    "    --dtype fp32|bf16    fp32 when absent\n"
    "    axl-dist inference ./model-out --chat --prompt \"Define love.\"\n";

typedef struct session {
    const char *prompt;
    bool chat;
    int64_t max_new_tokens;
    axl_sampling sampling;
    axl_dtype dtype;
    axl_bringup up;
    axl_str dir;
    axl_hfdir *source;
    axl_tokenizer *tokenizer;
    axl_chat_encoder *encoder; // with --chat
    axl_json *messages;        // of the chat so far
    axl_mesh *mesh;
    axl_model *model;
    axl_sharder sharder;
    axl_generator generator;
    axl_token_buffer ids;  // of the whole text so far
    int64_t n_read;        // of them in the generator
    axl_str text, written; // scratch; what of the answer was printed
} session;

static axl_status read_number(const char *text, double *out)
{
    axl_status status = AXL_OK;
    char *end = NULL;

    *out = strtod(text, &end);
    AXL_REQUIRE(end != text && *end == '\0', AXL_E_CONFIG, "%s is not a number", text);
out:
    return status;
}

// One option; letter is that of the table in parse_options.
static axl_status set_option(session *s, int letter, const char *value)
{
    axl_status status = AXL_OK;
    double number = 0.0;

    if (letter == 'p') {
        s->prompt = value;
        goto out;
    }
    if (letter == 'c') {
        s->chat = true;
        goto out;
    }
    if (letter == 'd') {
        AXL_REQUIRE(strcmp(value, "fp32") == 0 || strcmp(value, "bf16") == 0, AXL_E_CONFIG,
                    "--dtype %s: fp32 or bf16 is needed", value);
        s->dtype = value[0] == 'b' ? AXL_BF16 : AXL_F32;
        goto out;
    }
    AXL_REQUIRE(strchr("ntkqs", letter) != NULL, AXL_E_CONFIG,
                "axl-dist inference --help lists the options");
    AXL_TRY(read_number(value, &number));
    if (letter == 't')
        s->sampling.temperature = number;
    else if (letter == 'q')
        s->sampling.top_p = number;
    else if (letter == 'n')
        s->max_new_tokens = (int64_t)number;
    else if (letter == 'k')
        s->sampling.top_k = (int64_t)number;
    else
        s->sampling.seed = (uint64_t)number;
out:
    return status;
}

static axl_status parse_options(session *s, int argc, char **argv)
{
    static const struct option options[] = {{"prompt", required_argument, NULL, 'p'},
                                            {"chat", no_argument, NULL, 'c'},
                                            {"max-new-tokens", required_argument, NULL, 'n'},
                                            {"temperature", required_argument, NULL, 't'},
                                            {"top-k", required_argument, NULL, 'k'},
                                            {"top-p", required_argument, NULL, 'q'},
                                            {"seed", required_argument, NULL, 's'},
                                            {"dtype", required_argument, NULL, 'd'},
                                            {NULL, 0, NULL, 0}};
    axl_status status = AXL_OK;
    int letter;

    s->max_new_tokens = 256;
    s->sampling.top_p = 1.0;
    s->dtype = AXL_F32;
    while ((letter = getopt_long(argc, argv, "", options, NULL)) != -1)
        AXL_TRY(set_option(s, letter, optarg));
    AXL_REQUIRE(optind == argc - 1, AXL_E_CONFIG, "one model directory or configuration is needed");
    AXL_REQUIRE(s->max_new_tokens > 0 && s->sampling.temperature >= 0.0 && s->sampling.top_k >= 0 &&
                    s->sampling.top_p > 0.0 && s->sampling.top_p <= 1.0,
                AXL_E_CONFIG,
                "--max-new-tokens must be positive, --temperature and --top-k not negative, "
                "--top-p in (0, 1]");
out:
    return status;
}

static bool ends_with(const char *text, const char *suffix)
{
    size_t n = strlen(text);
    size_t m = strlen(suffix);
    return n >= m && strcmp(text + n - m, suffix) == 0;
}

// The model directory that the argument means.
static axl_status find_model(session *s, const char *argument)
{
    axl_status status = AXL_OK;
    axl_str config = {0};
    axl_diagnostics findings = {0};
    const axl_config_options o = {0}; // one process reads what any number of ranks trained

    if (ends_with(argument, ".gguf")) {
        AXL_TRY(axl_gguf_import_cached(argument, "last_run_prepared", NULL, &s->dir));
    } else if (ends_with(argument, ".yaml") || ends_with(argument, ".yml")) {
        AXL_TRY(axl_config_load(argument, &o, &findings, &s->up.config));
        AXL_TRY(axl_str_printf(&config, "%s/config.json", s->up.config->output_dir));
        AXL_TRY(axl_str_puts(&s->dir, axl_path_exists(config.data) ? s->up.config->output_dir
                                                                   : s->up.config->base_model));
    } else {
        AXL_TRY(axl_str_puts(&s->dir, argument));
    }
out:
    axl_diagnostics_fini(&findings);
    axl_str_fini(&config);
    return status;
}

static axl_status open_model(session *s)
{
    axl_status status = AXL_OK;
    axl_arch arch = {0};
    const axl_device_options d = {.n_threads = axl_bringup_threads(s->up.world),
                                  .mma = axl_bringup_mma()};
    const axl_sharder_options o = {.dtype = s->dtype};

    AXL_TRY(axl_hfdir_open(s->dir.data, &s->source));
    AXL_TRY(axl_arch_read(s->dir.data, &arch));
    AXL_TRY(axl_tokenizer_load(s->dir.data, &s->tokenizer));
    if (s->chat) {
        const axl_chat_options c = {.tokenizer_name = s->dir.data};
        AXL_TRY(axl_chat_encoder_create(&c, s->tokenizer, &s->encoder));
    }
    int64_t capacity = arch.max_position;
    AXL_TRY(axl_device_create(&d, &s->up.device));
    AXL_TRY(axl_mesh_create(s->up.world, (const int[AXL_N_AXES]){1, 1, 1, 1, 1}, &s->mesh));
    AXL_TRY(axl_model_create(&arch, s->mesh, &s->model));
    AXL_TRY(axl_sharder_init(&s->sharder, s->up.device, s->mesh, s->model->units, s->model->n_units,
                             &o));
    AXL_TRY(axl_model_load(s->model, s->source));
    AXL_TRY(
        axl_generator_init(&s->generator, s->model, &s->sharder, s->up.device, s->dtype, capacity));
out:
    axl_arch_fini(&arch);
    return status;
}

static axl_status add_message(session *s, const char *role, const char *content, size_t n)
{
    axl_status status = AXL_OK;
    axl_json *message = axl_json_new_object();

    if (s->messages == NULL)
        s->messages = axl_json_new_array();
    AXL_TRY(axl_json_set(message, "role", axl_json_new_string(role, strlen(role))));
    AXL_TRY(axl_json_set(message, "content", axl_json_new_string(content, n)));
    AXL_TRY(axl_json_append(s->messages, axl_json_ref(message)));
out:
    axl_json_free(message);
    return status;
}

// Text or turn -> the ids of everything so far; what the generator has read of them stays read.
static axl_status encode(session *s, const char *prompt)
{
    axl_status status = AXL_OK;
    axl_token_buffer before = s->ids;

    s->ids = (axl_token_buffer){0};
    axl_str_clear(&s->text);
    if (s->chat) {
        AXL_TRY(add_message(s, "user", prompt, strlen(prompt)));
        AXL_TRY(axl_chat_render(s->encoder, s->messages, NULL, true, &s->text));
    } else {
        AXL_TRY(axl_str_puts(&s->text, prompt));
    }
    AXL_TRY(axl_tokenizer_encode(s->tokenizer, s->text.data, s->text.len, !s->chat, &s->ids));
    AXL_REQUIRE(s->ids.n > 0, AXL_E_INPUT, "the prompt is empty");
    size_t same = 0;
    while (same < (size_t)s->n_read && same < s->ids.n && s->ids.ids[same] == before.ids[same])
        same++;
    s->n_read =
        (int64_t)(same < s->ids.n ? same : s->ids.n - 1); // the last one is read for its logits
    s->generator.kv.length = s->n_read;
out:
    axl_token_buffer_fini(&before);
    return status;
}

static bool is_end(const session *s, int32_t token)
{
    const axl_arch *a = &s->model->arch;

    for (int i = 0; i < a->n_eos; i++)
        if (a->eos_id[i] == token)
            return true;
    return token == axl_tokenizer_special_id(s->tokenizer, "eos_token") ||
           (s->encoder != NULL && axl_chat_is_end(s->encoder, token));
}

// Prints what the new ids add to the text; a character that is cut waits for its rest.
static axl_status print_new(session *s, const int32_t *ids, size_t n, bool last)
{
    axl_status status = AXL_OK;

    axl_str_clear(&s->text);
    AXL_TRY(axl_tokenizer_decode(s->tokenizer, ids, n, true, &s->text));
    if (s->text.len <= s->written.len || (!last && ends_with(s->text.data, "\xef\xbf\xbd")))
        goto out;
    (void)fputs(s->text.data + s->written.len, stdout);
    (void)fflush(stdout);
    axl_str_clear(&s->written);
    AXL_TRY(axl_str_append(&s->written, s->text.data, s->text.len));
out:
    return status;
}

static axl_status answer(session *s, const char *prompt)
{
    axl_status status = AXL_OK;
    int32_t *reply = NULL;
    size_t n = 0;
    int32_t token = 0;

    AXL_TRY(axl_calloc((size_t)s->max_new_tokens, sizeof *reply, "the answer", &reply));
    AXL_TRY(encode(s, prompt));
    axl_str_clear(&s->written);
    AXL_TRY(
        axl_generator_read(&s->generator, s->ids.ids + s->n_read, (int64_t)s->ids.n - s->n_read));
    s->n_read = (int64_t)s->ids.n;
    while (n < (size_t)s->max_new_tokens && s->generator.kv.length < s->generator.kv.capacity) {
        AXL_TRY(axl_generator_next(&s->generator, &s->sampling, &token));
        if (is_end(s, token))
            break;
        reply[n++] = token;
        AXL_TRY(print_new(s, reply, n, false));
        AXL_TRY(axl_generator_read(&s->generator, &token, 1));
    }
    AXL_TRY(print_new(s, reply, n, true));
    (void)putchar('\n');
    if (s->chat)
        AXL_TRY(add_message(s, "assistant", s->written.data != NULL ? s->written.data : "",
                            s->written.len));
out:
    free(reply);
    return status;
}

static axl_status converse(session *s)
{
    axl_status status = AXL_OK;
    char *line = NULL;
    size_t capacity = 0;
    bool terminal = isatty(STDIN_FILENO) != 0;

    for (;;) {
        if (terminal)
            (void)fputs("> ", stdout);
        (void)fflush(stdout);
        ssize_t n = getline(&line, &capacity, stdin);
        if (n < 0)
            break;
        if (n > 0 && line[n - 1] == '\n')
            line[--n] = '\0';
        if (n > 0)
            AXL_TRY(answer(s, line));
        if (!s->chat)
            s->n_read = 0; // each line stands alone
    }
out:
    free(line);
    return status;
}

static void session_fini(session *s)
{
    axl_generator_fini(&s->generator);
    axl_sharder_fini(&s->sharder);
    axl_model_destroy(s->model);
    axl_mesh_destroy(s->mesh);
    axl_chat_encoder_destroy(s->encoder);
    axl_tokenizer_destroy(s->tokenizer);
    axl_hfdir_close(s->source);
    axl_json_free(s->messages);
    axl_token_buffer_fini(&s->ids);
    axl_str_fini(&s->dir);
    axl_str_fini(&s->text);
    axl_str_fini(&s->written);
    axl_bringup_stop(&s->up);
}

int axl_cmd_inference(int argc, char **argv)
{
    axl_status status = AXL_OK;
    session s = {0};

    if (argc < 2 || strcmp(argv[1], "--help") == 0) {
        (void)fputs(help, argc < 2 ? stderr : stdout);
        return argc < 2 ? 2 : 0;
    }
    AXL_TRY(parse_options(&s, argc, argv));
    AXL_TRY(axl_bringup_world(&s.up));
    AXL_REQUIRE(axl_comm_size(s.up.world) == 1, AXL_E_CONFIG,
                "inference runs on one rank; start it without mpirun");
    AXL_TRY(find_model(&s, argv[optind]));
    AXL_TRY(open_model(&s));
    status = s.prompt != NULL ? answer(&s, s.prompt) : converse(&s);
out:;
    int code = axl_bringup_report(&s.up, "inference", status);
    session_fini(&s);
    return code;
}
