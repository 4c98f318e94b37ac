// Conversations rendered by a chat template (datasets.md 5). The work is done by src/text/chat.h; the encoder
// comes with the entry, because its template is chosen by keys that this layer does not see.
#include "src/data/format.h"
#include "src/text/chat.h"

#include <string.h>

static axl_status chat_open(axl_encoder *e)
{
    axl_status status = AXL_OK;
    axl_chat_scratch *scratch = NULL;

    AXL_REQUIRE(e->spec->chat != NULL, AXL_E_BUG, "no chat template was set up for the entry");
    AXL_TRY(axl_chat_scratch_create(&scratch));
    e->state = scratch;

out:
    return status;
}

static void chat_close(axl_encoder *e)
{
    axl_chat_scratch_destroy(e->state);
}

static axl_status chat_encode(axl_encoder *e, const axl_json *row, axl_samples *out)
{
    axl_status status = AXL_OK;
    axl_chat_sample sample = {0};

    AXL_TRY(axl_chat_encode(e->spec->chat, e->state, row, &sample));
    AXL_TRY(axl_samples_put(out, sample.ids, sample.labels, (int64_t)sample.n, false));
    AXL_TRY(axl_encoder_end(out));
    e->n_lost += sample.n_lost;

out:
    return status;
}

static const char *const type_names[] = {"chat_template", NULL};

const axl_format axl_format_chat_template = {.name = "chat_template",
                                             .types = type_names,
                                             .needs_tokenizer = true,
                                             .open = chat_open,
                                             .encode = chat_encode,
                                             .close = chat_close};
