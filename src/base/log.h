// Log lines: to the terminal from rank 0, to debug.log from every rank.
//
// Levels: debug goes to the file only; info to the file, and to stdout from rank 0; warnings to the
// file, and to stderr from rank 0, with the rank in front when it is another's. The state of this
// module (level, file, rank) is one of the few mutable globals allowed.
#ifndef AXL_BASE_LOG_H
#define AXL_BASE_LOG_H

#include "src/base/status.h"

#include <stdbool.h>

typedef enum axl_log_level {
    AXL_LOG_DEBUG,
    AXL_LOG_INFO,
    AXL_LOG_WARN,
    AXL_LOG_ERROR
} axl_log_level;

// Says who speaks. Before it is called the process is rank 0 of 1.
void axl_log_set_rank(int rank, int n_ranks);

// The lowest level shown on the terminal; AXL_LOG_INFO at start.
void axl_log_set_terminal_level(axl_log_level level);

// Also appends every line to path (debug.log), line-buffered. Fails with AXL_E_IO.
axl_status axl_log_open(const char *path);
void axl_log_close(void);

void axl_log(axl_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define axl_debug(...) axl_log(AXL_LOG_DEBUG, __VA_ARGS__)
#define axl_info(...)  axl_log(AXL_LOG_INFO, __VA_ARGS__)
#define axl_warn(...)  axl_log(AXL_LOG_WARN, __VA_ARGS__)

// Whether a person is likely to watch standard output: it is a terminal, its own or a launcher's, and the terminal's
// level lets axl_info through.
bool axl_log_on_terminal(void);

// On a terminal, a line that the next line of any kind takes the place of; else nothing. For progress.
void axl_log_passing(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

// Seconds on a clock that never goes back.
double axl_now(void);

#endif
