// Reads a sentencepiece model: the wire format of protocol buffers, and the few fields of
// sentencepiece_model.proto that decide ids. Nothing here trusts a length: every step is checked against
// the end of the message it lies in.
#include "src/text/tok_source.h"

#include "src/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static axl_status read_varint(axl_wire *w, uint64_t *out)
{
    axl_status status = AXL_OK;
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        AXL_REQUIRE(w->at < w->end, AXL_E_INPUT, "ends within a number");
        unsigned char byte = *w->at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *out = value;
            goto out;
        }
    }
    AXL_FAIL(AXL_E_INPUT, "a number is longer than 64 bits");
out:
    return status;
}

static axl_status read_fixed(axl_wire *w, size_t n, uint64_t *out)
{
    axl_status status = AXL_OK;

    AXL_REQUIRE((size_t)(w->end - w->at) >= n, AXL_E_INPUT, "ends within a number");
    *out = 0;
    for (size_t i = 0; i < n; i++)
        *out |= (uint64_t)w->at[i] << (8 * i);
    w->at += n;
out:
    return status;
}

axl_status axl_wire_next(axl_wire *w, axl_wire_field *f, bool *more)
{
    axl_status status = AXL_OK;
    uint64_t key = 0;

    *more = w->at < w->end;
    if (!*more)
        goto out;
    *f = (axl_wire_field){0};
    AXL_TRY(read_varint(w, &key));
    AXL_REQUIRE(key >> 3 > 0 && key >> 3 < 1u << 29, AXL_E_INPUT, "a field number is out of range");
    f->number = (uint32_t)(key >> 3);
    f->kind = (int)(key & 7);
    switch (f->kind) {
    case 0:
        AXL_TRY(read_varint(w, &f->value));
        break;
    case 1:
        AXL_TRY(read_fixed(w, 8, &f->value));
        break;
    case 2:
        AXL_TRY(read_varint(w, &f->value));
        AXL_REQUIRE(f->value <= (uint64_t)(w->end - w->at), AXL_E_INPUT,
                    "a field is longer than the message around it");
        f->bytes = w->at;
        f->n = (size_t)f->value;
        w->at += f->n;
        break;
    case 5:
        AXL_TRY(read_fixed(w, 4, &f->value));
        break;
    default:
        AXL_FAIL(AXL_E_INPUT, "a field has kind %d, which is not known", f->kind);
    }
out:
    return status;
}

static axl_status read_piece(axl_wire w, axl_spm *m)
{
    axl_status status = AXL_OK;
    axl_spm_piece p = {.text = "", .type = AXL_SPM_NORMAL};
    axl_wire_field f;
    bool more;

    for (;;) {
        AXL_TRY(axl_wire_next(&w, &f, &more));
        if (!more)
            break;
        if (f.number == 1 && f.kind == 2) {
            p.text = (const char *)f.bytes;
            p.n = f.n;
        } else if (f.number == 2 && f.kind == 5) {
            uint32_t bits = (uint32_t)f.value;
            memcpy(&p.score, &bits, sizeof p.score);
        } else if (f.number == 3 && f.kind == 0) {
            p.type = f.value >= 1 && f.value <= 6 ? (int)f.value : AXL_SPM_NORMAL;
        }
    }
    AXL_REQUIRE(p.n > 0 && axl_utf8_invalid_at(p.text, p.n) == p.n &&
                    memchr(p.text, 0, p.n) == NULL,
                AXL_E_INPUT, "its text is empty or not UTF-8");
    AXL_REQUIRE(isfinite(p.score), AXL_E_INPUT, "its score is no number");
    AXL_TRY(axl_grow(&m->pieces, &m->capacity, m->n_pieces + 1, sizeof p, "a vocabulary"));
    m->pieces[m->n_pieces++] = p;
out:
    return status;
}

static axl_status read_trainer(axl_wire w, axl_spm *m)
{
    axl_status status = AXL_OK;
    axl_wire_field f;
    bool more;

    for (;;) {
        AXL_TRY(axl_wire_next(&w, &f, &more));
        if (!more)
            break;
        int64_t value = (int32_t)(uint32_t)f.value; // negative ones are sign-extended
        if (f.kind != 0)
            continue;
        if (f.number == 3)
            m->model_type = value;
        else if (f.number == 24)
            m->suffix_spaces = value != 0;
        else if (f.number == 35)
            m->byte_fallback = value != 0;
        else if (f.number == 40)
            m->unk_id = value;
        else if (f.number == 41)
            m->bos_id = value;
        else if (f.number == 42)
            m->eos_id = value;
        else if (f.number == 43)
            m->pad_id = value;
    }
out:
    return status;
}

static axl_status read_normalizer(axl_wire w, axl_spm *m)
{
    axl_status status = AXL_OK;
    axl_wire_field f;
    bool more;

    for (;;) {
        AXL_TRY(axl_wire_next(&w, &f, &more));
        if (!more)
            break;
        if (f.number == 2 && f.kind == 2) {
            m->charsmap = (const char *)f.bytes;
            m->n_charsmap = f.n;
        } else if (f.number == 3 && f.kind == 0) {
            m->dummy_prefix = f.value != 0;
        } else if (f.number == 4 && f.kind == 0) {
            m->remove_spaces = f.value != 0;
        } else if (f.number == 5 && f.kind == 0) {
            m->escape_spaces = f.value != 0;
        }
    }
out:
    return status;
}

axl_status axl_spm_parse(const char *bytes, size_t n, axl_spm *out)
{
    axl_status status = AXL_OK;
    const unsigned char *at = (const unsigned char *)bytes;
    axl_spm m = {.model_type = 1,
                 .bos_id = 1,
                 .eos_id = 2,
                 .pad_id = -1,
                 .dummy_prefix = true,
                 .remove_spaces = true,
                 .escape_spaces = true};
    axl_wire w = {at, at + n};
    axl_wire_field f;
    bool more;

    for (;;) {
        AXL_TRY_CTX(axl_wire_next(&w, &f, &more), "no sentencepiece model");
        if (!more)
            break;
        if (f.kind != 2)
            continue;
        axl_wire inner = {f.bytes, f.bytes + f.n};
        if (f.number == 1)
            AXL_TRY_CTX(read_piece(inner, &m), "piece %zu of the sentencepiece model", m.n_pieces);
        else if (f.number == 2)
            AXL_TRY_CTX(read_trainer(inner, &m), "the sentencepiece model's trainer_spec");
        else if (f.number == 3)
            AXL_TRY_CTX(read_normalizer(inner, &m), "the sentencepiece model's normalizer_spec");
    }
    AXL_REQUIRE(m.n_pieces > 0, AXL_E_INPUT, "the sentencepiece model has no pieces");
    *out = m;
    m = (axl_spm){0};
out:
    axl_spm_fini(&m);
    return status;
}

void axl_spm_fini(axl_spm *m)
{
    free(m->pieces);
    *m = (axl_spm){0};
}
