// Log lines. Each line is composed in one buffer and written with one call, so that lines of ranks
// that share a terminal or a file do not mix.
#include "src/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static FILE *log_file;
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
    FILE *file = fopen(path, "a");

    AXL_REQUIRE(file != NULL, AXL_E_IO, "%s: cannot be opened for writing: %s", path,
                strerror(errno));
    (void)setvbuf(file, NULL, _IOLBF, 0);
    axl_log_close();
    log_file = file;
out:
    return status;
}

void axl_log_close(void)
{
    if (log_file != NULL)
        (void)fclose(log_file);
    log_file = NULL;
}

static void wipe_passing(void)
{
    if (passing)
        (void)fputs("\r\033[K", stdout);
    passing = false;
    (void)fflush(stdout);
}

void axl_log(axl_log_level level, const char *fmt, ...)
{
    char text[4096];
    char stamp[32];
    va_list args;
    time_t now = time(NULL);
    struct tm tm;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (log_file != NULL && localtime_r(&now, &tm) != NULL &&
        strftime(stamp, sizeof stamp, "%Y-%m-%d %H:%M:%S", &tm) > 0)
        (void)fprintf(log_file, "%s [%d/%d] %s%s\n", stamp, log_rank, log_n_ranks, prefixes[level],
                      text);
    if (level < terminal_level || (log_rank != 0 && level < AXL_LOG_ERROR))
        return;
    wipe_passing();
    FILE *terminal = level >= AXL_LOG_WARN ? stderr : stdout;
    if (log_rank != 0)
        (void)fprintf(terminal, "[rank %d] %s%s\n", log_rank, prefixes[level], text);
    else
        (void)fprintf(terminal, "%s%s\n", prefixes[level], text);
    (void)fflush(terminal);
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
