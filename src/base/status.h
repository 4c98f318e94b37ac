// Status codes and the one error idiom of the project.
//
// Every function that can fail returns an axl_status, has one variable `status`, one label `out` and
// one exit. The message is composed where the fault is known (AXL_FAIL, AXL_REQUIRE) and may gain
// one line of context on its way up (AXL_TRY_CTX); only the top of the program prints it. A message
// says what is wrong, where, and how to mend it.
#ifndef AXL_BASE_STATUS_H
#define AXL_BASE_STATUS_H

#include <stdbool.h>

typedef enum axl_status {
    AXL_OK = 0,
    AXL_E_CONFIG,      // the YAML or the command line is wrong                        exit 2
    AXL_E_INPUT,       // a model, tokenizer, data or checkpoint file is wrong         exit 2
    AXL_E_UNSUPPORTED, // understood, but this build or machine cannot do it           exit 2
    AXL_E_MEMORY,      // an allocation failed                                         exit 1
    AXL_E_IO,          // writing or reading failed while running (disk full)          exit 1
    AXL_E_BUG,         // our own mistake                                              exit 1
    AXL_E_NUMERIC,     // NaN, Inf or the loss watchdog stopped the run                exit 3
    AXL_E_COMM,        // a rank or the network failed                                 exit 4
    AXL_E_DEVICE,      // an accelerator failed                                        exit 4
    AXL_E_SIGNAL,      // stopped by a signal after saving: start again                exit 75
    AXL_N_STATUS
} axl_status;

// Records a message for this thread and returns `code`. An earlier message is replaced.
axl_status axl_error_set(axl_status code, const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

// Puts "context: " before the message of this thread and returns `code` unchanged.
axl_status axl_error_context(axl_status code, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

// The message of the last failure on this thread; never NULL. Borrowed, valid until the next one.
const char *axl_error_message(void);

// "source.c:123" of the last failure, for debug.log. Borrowed.
const char *axl_error_origin(void);

// The word for a code, "config", "input", ...; never NULL.
const char *axl_status_name(axl_status status);

// The process exit code of product terms: 0, 1, 2, 3, 4 or 75.
int axl_status_exit_code(axl_status status);

// Prints the failed condition with its place and aborts. Never returns.
_Noreturn void axl_assert_failed(const char *cond, const char *file, int line);

#define AXL_FAIL(code, ...)                                                                        \
    do {                                                                                           \
        status = (code); /* set here, so that an analyser sees that it is not AXL_OK */            \
        (void)axl_error_set(status, __FILE__, __LINE__, __VA_ARGS__);                              \
        goto out;                                                                                  \
    } while (0)

#define AXL_REQUIRE(cond, code, ...)                                                               \
    do {                                                                                           \
        if (!(cond))                                                                               \
            AXL_FAIL((code), __VA_ARGS__);                                                         \
    } while (0)

#define AXL_TRY(call)                                                                              \
    do {                                                                                           \
        status = (call);                                                                           \
        if (status != AXL_OK)                                                                      \
            goto out;                                                                              \
    } while (0)

#define AXL_TRY_CTX(call, ...)                                                                     \
    do {                                                                                           \
        status = (call);                                                                           \
        if (status != AXL_OK) {                                                                    \
            (void)axl_error_context(status, __VA_ARGS__);                                          \
            goto out;                                                                              \
        }                                                                                          \
    } while (0)

// For our own mistakes only; stays on in release; never contains work.
#define AXL_ASSERT(cond) ((cond) ? (void)0 : axl_assert_failed(#cond, __FILE__, __LINE__))

#endif
