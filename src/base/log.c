// Log lines. Each line is composed in one buffer and written with one call, so that lines of ranks
// that share a terminal or a file do not mix.
#include "src/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int log_file = -1;
static bool log_failed; // that was said
static int log_rank;
static int log_n_ranks = 1;
static axl_log_level terminal_level = AXL_LOG_INFO;
static bool passing; // a passing line stands on the terminal

static const char *const prefixes[] = {"debug: ", "", "warning: ", "error: "};

void axl_log_set_rank(int rank, int n_ranks)
{
    log_rank = rank;
    log_n_ranks = n_ranks;
}

void axl_log_set_terminal_level(axl_log_level level)
{
    terminal_level = level;
}

axl_status axl_log_open(const char *path)
{
    axl_status status = AXL_OK;
    int file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);

    AXL_REQUIRE(file >= 0, AXL_E_IO, "%s: cannot be opened for writing: %s", path, strerror(errno));
    axl_log_close();
    log_file = file;
out:
    return status;
}

void axl_log_close(void)
{
    if (log_file >= 0)
        (void)close(log_file);
    log_file = -1;
    log_failed = false;
}

static void wipe_passing(void)
{
    if (passing)
        (void)fputs("\r\033[K", stdout);
    passing = false;
    (void)fflush(stdout);
}

static void show(axl_log_level level, const char *text)
{
    FILE *terminal = level >= AXL_LOG_WARN ? stderr : stdout;

    if (level < terminal_level || (log_rank != 0 && level < AXL_LOG_ERROR))
        return;
    wipe_passing();
    if (log_rank != 0)
        (void)fprintf(terminal, "[rank %d] %s%s\n", log_rank, prefixes[level], text);
    else
        (void)fprintf(terminal, "%s%s\n", prefixes[level], text);
    (void)fflush(terminal);
}

// A log is no reason to end a run: where it cannot be written, lines are missing from it, which is said once.
static void record(axl_log_level level, const char *text)
{
    char line[4352], reason[160];
    char stamp[32];
    time_t now = time(NULL);
    struct tm tm;

    if (log_file < 0 || localtime_r(&now, &tm) == NULL ||
        strftime(stamp, sizeof stamp, "%Y-%m-%d %H:%M:%S", &tm) == 0)
        return;
    const int n = snprintf(line, sizeof line, "%s [%d/%d] %s%s\n", stamp, log_rank, log_n_ranks,
                           prefixes[level], text);
    if (n < 0 || write(log_file, line, (size_t)n) == n || log_failed)
        return;
    log_failed = true;
    (void)snprintf(reason, sizeof reason,
                   "debug.log: cannot be written: %s; lines are missing from it", strerror(errno));
    show(AXL_LOG_WARN, reason);
}

void axl_log(axl_log_level level, const char *fmt, ...)
{
    char text[4096];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    record(level, text);
    show(level, text);
}

// mpirun gives ranks a pseudo-terminal even when its own output goes to a file, so then the parent's output decides.
bool axl_log_on_terminal(void)
{
    char link[64];
    char target[64] = "";

    if (isatty(STDOUT_FILENO) == 0 || terminal_level > AXL_LOG_INFO)
        return false;
    if (isatty(STDERR_FILENO) != 0)
        return true;
    (void)snprintf(link, sizeof link, "/proc/%d/fd/1", (int)getppid());
    return readlink(link, target, sizeof target - 1) > 0 &&
           (strncmp(target, "/dev/pts/", 9) == 0 || strncmp(target, "/dev/tty", 8) == 0);
}

void axl_log_passing(const char *fmt, ...)
{
    char text[4096];
    va_list args;

    if (log_rank != 0 || !axl_log_on_terminal())
        return;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    (void)printf("\r\033[K%s", text);
    (void)fflush(stdout);
    passing = true;
}

double axl_now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}
