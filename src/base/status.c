// The thread-local error record. The hard part is only that a message may quote the previous one as
// its context, so text is composed in a second buffer before it replaces the first.
#include "src/base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE_BYTES 4096

static _Thread_local char message[MESSAGE_BYTES];
static _Thread_local char origin[256];

static const struct {
    const char *name;
    int exit_code;
} codes[AXL_N_STATUS] = {
    [AXL_OK] = {"ok", 0},
    [AXL_E_CONFIG] = {"config", 2},
    [AXL_E_INPUT] = {"input", 2},
    [AXL_E_UNSUPPORTED] = {"unsupported", 2},
    [AXL_E_MEMORY] = {"memory", 1},
    [AXL_E_IO] = {"io", 1},
    [AXL_E_BUG] = {"bug", 1},
    [AXL_E_NUMERIC] = {"numeric", 3},
    [AXL_E_COMM] = {"comm", 4},
    [AXL_E_DEVICE] = {"device", 4},
    [AXL_E_SIGNAL] = {"signal", 75},
};

axl_status axl_error_set(axl_status code, const char *file, int line, const char *fmt, ...)
{
    char text[MESSAGE_BYTES];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    memcpy(message, text, sizeof message);
    (void)snprintf(origin, sizeof origin, "%s:%d", file, line);
    return code;
}

axl_status axl_error_context(axl_status code, const char *fmt, ...)
{
    char text[MESSAGE_BYTES];
    va_list args;

    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (n >= 0 && n < (int)sizeof text)
        (void)snprintf(text + n, sizeof text - (size_t)n, ": %.*s", MESSAGE_BYTES - n - 3, message);
    memcpy(message, text, sizeof message);
    return code;
}

const char *axl_error_message(void)
{
    return message[0] != '\0' ? message : "no message";
}

const char *axl_error_origin(void)
{
    return origin;
}

const char *axl_status_name(axl_status status)
{
    return (unsigned)status < AXL_N_STATUS ? codes[status].name : "unknown";
}

int axl_status_exit_code(axl_status status)
{
    return (unsigned)status < AXL_N_STATUS ? codes[status].exit_code : 1;
}

_Noreturn void axl_assert_failed(const char *cond, const char *file, int line)
{
    (void)fprintf(stderr, "axl-dist: internal error: %s does not hold at %s:%d\n", cond, file,
                  line);
    abort();
}
