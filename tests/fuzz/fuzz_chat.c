// Conversations from outside: any bytes as a row of a data set, through templates and masks of several
// kinds. A label is the id itself or none.
#include "src/base/log.h"
#include "src/text/chat.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#define N_KINDS 6

// A byte-level tokenizer small enough to need no file.
static axl_status make_tokenizer(axl_tokenizer **out)
{
    axl_status status = AXL_OK;
    axl_str text = {0};

    AXL_TRY(axl_str_puts(&text, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,"
                                "\"added_tokens\":["));
    for (int i = 0; i < 3; i++) {
        static const char *const names[] = {"<|im_start|>", "<|im_end|>", "</s>"};

        AXL_TRY(axl_str_printf(&text,
                               "%s{\"id\":%d,\"content\":\"%s\",\"single_word\":false,\"lstrip\":"
                               "false,\"rstrip\":false,\"normalized\":false,\"special\":true}",
                               i > 0 ? "," : "", 256 + i, names[i]));
    }
    AXL_TRY(axl_str_puts(
        &text, "],\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\","
               "\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true},"
               "\"post_processor\":null,\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":"
               "\"BPE\",\"dropout\":null,\"unk_token\":null,\"continuing_subword_prefix\":null,"
               "\"end_of_word_suffix\":null,\"fuse_unk\":false,\"byte_fallback\":false,"
               "\"ignore_merges\":false,\"vocab\":{"));
    for (uint32_t b = 0, n = 256; b < 256; b++) { // the letters that stand for bytes
        uint32_t plain = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        char letter[8];
        axl_str one = {0};

        AXL_TRY(axl_str_put_utf8(&one, plain ? b : n++));
        (void)snprintf(letter, sizeof letter, "%s", one.data);
        axl_str_fini(&one);
        if (b > 0)
            AXL_TRY(axl_str_puts(&text, ","));
        AXL_TRY(axl_str_put_json(&text, letter, strlen(letter)));
        AXL_TRY(axl_str_printf(&text, ":%u", b));
    }
    AXL_TRY(axl_str_puts(&text, "},\"merges\":[]}}"));
    AXL_TRY(axl_tokenizer_parse(text.data, text.len, out));
    AXL_TRY(axl_tokenizer_set_special(*out, "eos_token", "<|im_end|>"));
out:
    axl_str_fini(&text);
    return status;
}

static axl_status make_encoders(const axl_tokenizer *t, axl_chat_encoder *encoders[N_KINDS])
{
    axl_status status = AXL_OK;
    static const char *const eot[] = {"<|im_end|>", "</s>"};
    const axl_chat_options kinds[N_KINDS] = {
        {.chat_template = "chatml",
         .field_training = "train",
         .field_training_detail = "detail",
         .split_thinking = true},
        {.chat_template = "qwen3", .train_on_eos = AXL_CHAT_TRAIN_ALL, .field_training = "train"},
        {.chat_template = "llama3", .train_on_inputs = true, .drop_system_message = true},
        {.chat_template = "gemma4", .train_on_eos = AXL_CHAT_TRAIN_LAST, .train_on_inputs = true},
        {.chat_template = "mistral_v7_tekken", .tokenizer_name = "mistral"},
        {.chat_template_jinja = "{% for m in messages %}<|im_start|>{{ m.content | trim }}"
                                "{{ m.reasoning_content }}<|im_end|></s>{{ m | tojson }}"
                                "{% endfor %}{{ tools | tojson if tools }}",
         .eot_tokens = eot,
         .n_eot_tokens = 2,
         .field_training_detail = "detail"},
    };

    for (int i = 0; i < N_KINDS; i++)
        AXL_TRY(axl_chat_encoder_create(&kinds[i], t, &encoders[i]));
out:
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static axl_tokenizer *tokenizer; // made once: they are only read
    static axl_chat_encoder *encoders[N_KINDS];
    static axl_chat_scratch *scratch;
    axl_json *row = NULL;
    axl_chat_sample s;

    if (tokenizer == NULL) {
        axl_log_set_terminal_level(AXL_LOG_ERROR);
        if (make_tokenizer(&tokenizer) != AXL_OK || make_encoders(tokenizer, encoders) != AXL_OK ||
            axl_chat_scratch_create(&scratch) != AXL_OK) {
            (void)fprintf(stderr, "%s\n", axl_error_message());
            abort();
        }
    }
    if (axl_json_parse((const char *)data, size, "row", &row) != AXL_OK)
        return 0;
    for (int i = 0; i < N_KINDS; i++) {
        if (axl_chat_encode(encoders[i], scratch, row, &s) != AXL_OK)
            continue;
        for (size_t k = 0; k < s.n; k++)
            if (s.labels[k] != AXL_CHAT_IGNORE && s.labels[k] != s.ids[k])
                abort();
    }
    axl_json_free(row);
    return 0;
}
