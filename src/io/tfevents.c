// Records of protobuf messages. Nothing here is hard once the field numbers are known; they stand beside each field.
#include "src/io/tfevents.h"

#include "src/base/mem.h"
#include "src/base/str.h"
#include "src/io/append.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct axl_tfevents {
    axl_append *file; // owned
    axl_str event;    // the message being made
    axl_str part;     // a message inside it
    axl_str value;    // one inside that
};

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 }; // wire types

// ---- checksums

uint32_t axl_tfevents_checksum(const void *bytes, size_t n)
{
    static const uint32_t table[16] = {0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1,
                                       0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
                                       0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
                                       0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75};
    const uint8_t *p = bytes;
    uint32_t crc = ~0u;

    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    crc = ~crc;
    return (crc >> 15 | crc << 17) + 0xa282ead8;
}

// ---- protobuf

static axl_status put_little(axl_str *s, uint64_t value, int n_bytes)
{
    axl_status status = AXL_OK;

    for (int i = 0; i < n_bytes; i++)
        AXL_TRY(axl_str_putc(s, (char)((value >> (8 * i)) & 255)));
out:
    return status;
}

static axl_status put_varint(axl_str *s, uint64_t value)
{
    axl_status status = AXL_OK;

    for (; value > 127; value >>= 7)
        AXL_TRY(axl_str_putc(s, (char)((value & 127) | 128)));
    AXL_TRY(axl_str_putc(s, (char)value));
out:
    return status;
}

static axl_status put_field(axl_str *s, unsigned field, unsigned wire)
{
    return put_varint(s, field << 3 | wire);
}

static axl_status put_integer(axl_str *s, unsigned field, uint64_t value)
{
    axl_status status = AXL_OK;

    AXL_TRY(put_field(s, field, VARINT));
    AXL_TRY(put_varint(s, value));
out:
    return status;
}

static axl_status put_bytes(axl_str *s, unsigned field, const char *bytes, size_t n)
{
    axl_status status = AXL_OK;

    AXL_TRY(put_field(s, field, BYTES));
    AXL_TRY(put_varint(s, n));
    AXL_TRY(axl_str_append(s, bytes, n));
out:
    return status;
}

static axl_status put_real(axl_str *s, unsigned field, double value)
{
    axl_status status = AXL_OK;
    uint64_t bits = 0;

    memcpy(&bits, &value, sizeof bits);
    AXL_TRY(put_field(s, field, FIXED64));
    AXL_TRY(put_little(s, bits, 8));
out:
    return status;
}

static axl_status put_float(axl_str *s, unsigned field, float value)
{
    axl_status status = AXL_OK;
    uint32_t bits = 0;

    memcpy(&bits, &value, sizeof bits);
    AXL_TRY(put_field(s, field, FIXED32));
    AXL_TRY(put_little(s, bits, 4));
out:
    return status;
}

// ---- events

// Begins an Event: 1 wall_time, 2 step.
static axl_status begin_event(axl_tfevents *e, int64_t step)
{
    axl_status status = AXL_OK;
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    axl_str_clear(&e->event);
    AXL_TRY(put_real(&e->event, 1, (double)now.tv_sec + 1e-9 * (double)now.tv_nsec));
    if (step != 0)
        AXL_TRY(put_integer(&e->event, 2, (uint64_t)step));
out:
    return status;
}

static axl_status write_event(axl_tfevents *e)
{
    axl_status status = AXL_OK;
    axl_str *record = &e->part;

    axl_str_clear(record);
    AXL_TRY(put_little(record, e->event.len, 8));
    AXL_TRY(put_little(record, axl_tfevents_checksum(record->data, 8), 4));
    AXL_TRY(axl_str_append(record, e->event.data, e->event.len));
    AXL_TRY(put_little(record, axl_tfevents_checksum(e->event.data, e->event.len), 4));
    axl_append_put(e->file, record->data, record->len);
out:
    return status;
}

// The head: 3 file_version; then 7 session_log {1 status: START}.
static axl_status write_head(axl_tfevents *e, int64_t step)
{
    axl_status status = AXL_OK;
    static const char version[] = "brain.Event:2";

    AXL_TRY(begin_event(e, 0));
    AXL_TRY(put_bytes(&e->event, 3, version, sizeof version - 1));
    AXL_TRY(write_event(e));
    AXL_TRY(begin_event(e, step));
    axl_str_clear(&e->part);
    AXL_TRY(put_integer(&e->part, 1, 1));
    AXL_TRY(put_bytes(&e->event, 7, e->part.data, e->part.len));
    AXL_TRY(write_event(e));
out:
    return status;
}

axl_status axl_tfevents_open(const char *dir, int64_t step, axl_tfevents **out)
{
    axl_status status = AXL_OK;
    axl_tfevents *e = NULL;
    axl_str path = {0};
    char host[64] = "";

    AXL_TRY(axl_calloc(1, sizeof *e, "the event file", &e));
    (void)gethostname(host, sizeof host - 1);
    AXL_TRY(axl_str_printf(&path, "%s/events.out.tfevents.%010lld.%s.%d", dir,
                           (long long)time(NULL), host, (int)getpid()));
    AXL_TRY(axl_append_open(path.data, &e->file));
    AXL_TRY(write_head(e, step));
    *out = e;
    e = NULL; // handed to the caller
out:
    (void)axl_tfevents_close(e);
    axl_str_fini(&path);
    return status;
}

axl_status axl_tfevents_close(axl_tfevents *e)
{
    axl_status status = AXL_OK;

    if (e == NULL)
        return AXL_OK;
    status = axl_append_close(e->file);
    axl_str_fini(&e->event);
    axl_str_fini(&e->part);
    axl_str_fini(&e->value);
    free(e);
    return status;
}

// 5 summary {1 value {1 tag, 2 simple_value}}, a value for each scalar.
axl_status axl_tfevents_put(axl_tfevents *e, int64_t step, const axl_tfevents_scalar *scalars,
                            size_t n)
{
    axl_status status = AXL_OK;

    AXL_TRY(begin_event(e, step));
    axl_str_clear(&e->part);
    for (size_t i = 0; i < n; i++) {
        axl_str_clear(&e->value);
        AXL_TRY(put_bytes(&e->value, 1, scalars[i].tag, strlen(scalars[i].tag)));
        AXL_TRY(put_float(&e->value, 2, (float)scalars[i].value));
        AXL_TRY(put_bytes(&e->part, 1, e->value.data, e->value.len));
    }
    AXL_TRY(put_bytes(&e->event, 5, e->part.data, e->part.len));
    AXL_TRY(write_event(e));
out:
    return status;
}
