// Lines of a log come after 5, 10, 20, 40 seconds and then each minute: enough to see that a long run lives, few enough
// that a short one stays silent.
#include "src/data/progress.h"

#include "src/base/log.h"

#include <stdio.h>

#define PASS_SECONDS  0.25
#define FIRST_SECONDS 5.0
#define MOST_SECONDS  60.0

void axl_progress_begin(axl_progress *p, const char *what, int64_t n_bytes)
{
    double now = axl_now();

    *p = (axl_progress){.what = what,
                        .n_bytes = n_bytes,
                        .begin = now,
                        .next_pass = now + PASS_SECONDS,
                        .next_line = now + FIRST_SECONDS};
}

static void compose(const axl_progress *p, double seconds, int64_t n_rows, int64_t bytes,
                    char text[256])
{
    double rate = seconds > 0.0 ? (double)bytes / seconds : 0.0;
    double share = p->n_bytes > 0 ? (double)bytes / (double)p->n_bytes : 1.0;
    long long left = rate > 0.0 ? (long long)((double)(p->n_bytes - bytes) / rate + 0.5) : 0;
    char rows[64] = "";

    share = share < 1.0 ? share : 1.0;
    if (n_rows >= 0)
        (void)snprintf(rows, sizeof rows, "%lld rows, ", (long long)n_rows);
    (void)snprintf(text, 256, "%s: %s%.1f of %.1f MB (%.0f %%), %.1f MB/s, left %lld:%02lld",
                   p->what, rows, (double)bytes * 1e-6, (double)p->n_bytes * 1e-6, 100.0 * share,
                   rate * 1e-6, left > 0 ? left / 60 : 0, left > 0 ? left % 60 : 0);
}

void axl_progress_show(axl_progress *p, int64_t n_rows, int64_t bytes)
{
    double now = axl_now(), seconds = now - p->begin;
    char text[256];

    if (now < p->next_pass)
        return;
    p->next_pass = now + PASS_SECONDS;
    compose(p, seconds, n_rows, bytes, text);
    axl_log_passing("%s", text);
    if (now < p->next_line || axl_log_on_terminal())
        return;
    axl_info("%s", text);
    p->next_line = now + (seconds < MOST_SECONDS ? seconds : MOST_SECONDS);
}

void axl_progress_end(const axl_progress *p, int64_t n_rows, int64_t bytes)
{
    double seconds = axl_now() - p->begin;
    char text[256];

    if (seconds < FIRST_SECONDS)
        return;
    compose(p, seconds, n_rows, bytes, text);
    axl_info("%s; took %.0f s", text, seconds);
}
