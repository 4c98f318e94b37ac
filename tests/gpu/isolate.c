// The process beside this one gives its output through a pipe, with a mark behind each test. What is hard is that it may end
// or stop anywhere, also in the driver, where no signal reaches it: nothing here waits without a limit.
#include "tests/gpu/isolate.h"

#include "src/base/log.h"
#include "src/base/str.h"
#include "tests/check.h"
#include "tests/gpu/tool.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

// The first byte of a mark; the next says what it is.
enum { MARK = 1, READY = 'r', PASSED = 'p', FAILED = 'f', FAILED_FOR_GOOD = 'F', LEFT_OUT = 's' };
enum { NO_TIME = -1, STOPPED = -2, ENDED = 0 }; // instead of a mark

#define BEGIN_SECONDS 60.0 // a driver that was asleep takes some
#define TEST_SECONDS  30.0 // the first loads libraries
#define LATER_SECONDS 8.0  // once a test did not end; AXL_GPU_TEST_SECONDS instead of both
enum { MOST_HUNG = 2 };    // of a group; the rest of it is left

typedef struct group {
    const char *name;
    int tests, failed, left_out, hung;
    double begin;
    axl_str reasons; // the first ones
} group;

typedef struct runner {
    const gpu_tests *t;
    pid_t child; // 0: none
    int from;    // its output
    axl_str text;
    group g;
    int failed, groups, bad_groups, hung;
    axl_str bad; // names of groups that failed
} runner;

static volatile sig_atomic_t stopped; // the part's time is over

static void on_stop(int number)
{
    (void)number;
    stopped = 1;
}

// ---- in the other process

// For tests of this file: AXL_GPU_FAULT is "hang GROUP/TEST", or crash, or lost: the GPU with it.
static const char *fault_of(const char *name)
{
    const char *fault = getenv("AXL_GPU_FAULT"), *at = fault != NULL ? strchr(fault, ' ') : NULL;

    return at != NULL && strcmp(at + 1, name) == 0 ? fault : "";
}

static char serve_one(const gpu_tests *t, int i)
{
    const char *name = NULL;
    char test[200], all[300];

    t->name(t->data, i, &name, test, sizeof test);
    (void)snprintf(all, sizeof all, "%s/%s", name, test);
    const char *fault = fault_of(all);
    if (strncmp(fault, "hang", 4) == 0)
        for (;;)
            (void)pause();
    if (strncmp(fault, "crash", 5) == 0)
        abort();
    if (strncmp(fault, "lost", 4) == 0)
        return FAILED_FOR_GOOD;
    const gpu_verdict verdict = t->run(t->data, i);
    if (verdict != GPU_FAILED)
        return verdict == GPU_PASSED ? PASSED : LEFT_OUT;
    return t->usable(t->data) ? FAILED : FAILED_FOR_GOOD;
}

static void put_mark(char what)
{
    const char mark[2] = {MARK, what};

    (void)fflush(NULL);
    if (write(STDOUT_FILENO, mark, sizeof mark) != (ssize_t)sizeof mark)
        _exit(1); // nobody listens
}

static void serve(const gpu_tests *t, int first)
{
    if (!t->begin(t->data, first)) {
        (void)fflush(NULL);
        _exit(GPU_SKIPPED);
    }
    put_mark(READY);
    for (int i = first; i < t->n; i++) {
        const char what = serve_one(t, i);
        put_mark(what);
        if (what == FAILED_FOR_GOOD)
            break;
    }
    _exit(0); // no farewell to a GPU that may be gone
}

gpu_verdict gpu_run_one(const struct CMUnitTest *test)
{
    return _cmocka_run_group_tests(test->name, test, 1, NULL, NULL) == 0 ? GPU_PASSED : GPU_FAILED;
}

// ---- here

// The next mark; text before it is added to r->text. ENDED, NO_TIME or STOPPED: there is none.
static int next_mark(runner *r, double seconds)
{
    const double end = axl_now() + seconds;

    for (;;) {
        char c = 0;
        struct pollfd p = {.fd = r->from, .events = POLLIN};
        const double left = end - axl_now();
        const int ready = left > 0 ? poll(&p, 1, (int)(left * 1000.0) + 1) : 0;
        if (stopped)
            return STOPPED;
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            return NO_TIME;
        if (read(r->from, &c, 1) != 1)
            return ENDED;
        if (c == MARK)
            return read(r->from, &c, 1) == 1 ? c : ENDED;
        if (r->text.len < 1 << 20)
            (void)axl_str_putc(&r->text, c);
    }
}

// Ends the other process. Its wait status, or -1: it hangs in the driver and is left there.
static int end_child(runner *r, bool kill_it)
{
    int status = -1;

    if (r->child == 0)
        return 0;
    for (int i = 0; i < 500; i++) { // 5 s
        if (kill_it || i == 200)
            (void)kill(r->child, SIGKILL);
        if (waitpid(r->child, &status, WNOHANG) != 0)
            break;
        (void)usleep(10000);
        status = -1;
    }
    (void)close(r->from);
    r->child = 0;
    return status;
}

static bool start_child(runner *r, int first)
{
    int pipe_ends[2];

    (void)fflush(NULL);
    if (pipe(pipe_ends) != 0)
        return false;
    r->child = fork();
    if (r->child == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)signal(SIGTERM, SIG_DFL);
        (void)close(pipe_ends[0]);
        (void)dup2(pipe_ends[1], STDOUT_FILENO);
        (void)dup2(pipe_ends[1], STDERR_FILENO);
        (void)close(pipe_ends[1]);
        serve(r->t, first);
    }
    (void)close(pipe_ends[1]);
    r->from = pipe_ends[0];
    if (r->child < 0) {
        r->child = 0;
        (void)close(r->from);
        return false;
    }
    return true;
}

static bool is_frame(const char *line)
{
    static const char *const frames[] = {"[==",        "[ RUN",     "[       OK",
                                         "[  PASSED",  "[  FAILED", "[   LINE",
                                         "[  SKIPPED", " 1 FAILED", "\n"};

    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++)
        if (strncmp(line, frames[i], strlen(frames[i])) == 0)
            return true;
    return false;
}

// The lines of r->text that say something, each with the test's name: warnings, and of a failed test, or of one that was left
// out, its reason, which its group's line has, too.
static bool tell(runner *r, const char *name, const char *test, bool passed)
{
    static const char *const errors[] = {"[  ERROR   ] --- ", "ERROR: "};
    bool any = false;

    for (char *line = r->text.data, *end; line != NULL && *line != '\0'; line = end) {
        end = strchr(line, '\n');
        end = end != NULL ? end + 1 : line + strlen(line);
        for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
            line += strncmp(line, errors[i], strlen(errors[i])) == 0 ? strlen(errors[i]) : 0;
        if (is_frame(line))
            continue;
        const int n = (int)strcspn(line, "\n");
        printf("%s/%s: %.*s\n", name, test, n, line);
        if (!passed && r->g.reasons.len < 1000)
            (void)axl_str_printf(&r->g.reasons, "%s%s: %.*s", r->g.reasons.len > 0 ? "; " : "",
                                 test, n < 300 ? n : 300, line);
        any = true;
    }
    return any;
}

// The line of a group whose tests are over.
static void close_group(runner *r, const char *why)
{
    group *g = &r->g;
    const bool bad = g->failed > 0 || why[0] != '\0';
    axl_str text = {0};

    if (g->name == NULL)
        return;
    if (why[0] != '\0')
        (void)axl_str_printf(&g->reasons, "%s%s", g->reasons.len > 0 ? "; " : "", why);
    (void)axl_str_put_json(&text, g->reasons.len > 0 ? g->reasons.data : "", g->reasons.len);
    printf("{\"name\": \"%s\", \"outcome\": \"%s\", \"tests\": %d, \"failed\": %d, \"seconds\": "
           "%.2f, \"text\": %s}\n",
           g->name,
           bad                       ? "failed"
           : g->left_out == g->tests ? "skipped"
                                     : "passed",
           g->tests, g->failed, axl_now() - g->begin, text.data);
    (void)fflush(stdout);
    r->groups++;
    if (bad) {
        r->bad_groups++;
        (void)axl_str_printf(&r->bad, "%s%s (%d of %d)", r->bad.len > 0 ? ", " : "", g->name,
                             g->failed, g->tests);
    }
    axl_str_fini(&text);
    axl_str_fini(&g->reasons);
    *g = (group){.name = NULL};
}

// What became of test i; mark is the last one.
static void judge(runner *r, int i, int mark, double seconds)
{
    const char *name = NULL;
    char test[200];
    int status = 0;

    r->t->name(r->t->data, i, &name, test, sizeof test);
    r->g.tests++;
    if (mark == NO_TIME) {
        r->g.hung++;
        r->hung++;
        status = end_child(r, true);
        (void)axl_str_printf(&r->text, "\ndid not end in %.0f s%s\n", seconds,
                             status == -1 ? ", and cannot be killed: it hangs in the driver" : "");
    } else if (mark == ENDED) {
        status = end_child(r, false);
        if (status != -1 && WIFSIGNALED(status))
            (void)axl_str_printf(&r->text, "\nits process died of signal %d (%s)\n",
                                 WTERMSIG(status), strsignal(WTERMSIG(status)));
        else
            (void)axl_str_puts(&r->text, "\nits process ended\n");
    } else if (mark == FAILED_FOR_GOOD) {
        (void)end_child(r, false);
        (void)axl_str_puts(&r->text, "\nthe GPU was lost with it; a new process goes on\n");
    }
    if (mark == LEFT_OUT)
        r->g.left_out++;
    if (mark == PASSED && r->t->prints && r->text.len > 0) {
        (void)fputs(r->text.data, stdout);
    } else if (mark == PASSED || mark == LEFT_OUT) {
        (void)tell(r, name, test, mark == PASSED);
    } else {
        r->g.failed++;
        r->failed++;
        if (!tell(r, name, test, false))
            printf("%s/%s: failed without a word\n", name, test);
    }
    axl_str_clear(&r->text);
    (void)fflush(stdout);
}

// Makes the process that begins with test i. False: it cannot; *skipped when it said so.
static bool begin_at(runner *r, int i, bool *skipped)
{
    *skipped = false;
    if (!start_child(r, i))
        return false;
    const int mark = next_mark(r, BEGIN_SECONDS);
    if (mark == READY) {
        if (r->t->prints && i == 0 && r->text.len > 0)
            (void)fputs(r->text.data, stdout);
        axl_str_clear(&r->text);
        return true;
    }
    const int status = end_child(r, mark != ENDED);
    *skipped =
        mark == ENDED && status != -1 && WIFEXITED(status) && WEXITSTATUS(status) == GPU_SKIPPED;
    (void)fputs(r->text.len > 0 ? r->text.data : "the process on the GPU cannot begin\n", stdout);
    if (mark == NO_TIME)
        printf("the GPU does not answer in %.0f s\n", BEGIN_SECONDS);
    axl_str_clear(&r->text);
    return false;
}

static double most_seconds(const runner *r)
{
    const char *given = getenv("AXL_GPU_TEST_SECONDS");

    if (given != NULL)
        return strtod(given, NULL);
    if (r->t->seconds > 0)
        return r->t->seconds;
    return r->hung > 0 ? LATER_SECONDS : TEST_SECONDS;
}

// All tests; gives the first that was not run.
static int run_all(runner *r, const char **why, bool *skipped)
{
    const gpu_tests *t = r->t;

    for (int i = 0; i < t->n; i++) {
        const char *name = NULL;
        char test[200];
        t->name(t->data, i, &name, test, sizeof test);
        if (r->g.name == NULL || strcmp(r->g.name, name) != 0) {
            close_group(r, "");
            r->g = (group){.name = name, .begin = axl_now()};
        }
        if (r->g.hung >= MOST_HUNG) {
            r->g.tests++;
            r->g.failed++;
            r->failed++;
            continue;
        }
        *why = "the GPU does not come back";
        if (r->child == 0 && !begin_at(r, i, skipped))
            return i;
        const double seconds = most_seconds(r);
        const int mark = next_mark(r, seconds);
        *why = "out of time";
        if (mark == STOPPED)
            return i;
        judge(r, i, mark, seconds);
    }
    return t->n;
}

int gpu_isolate(const gpu_tests *t)
{
    runner r = {.t = t};
    const char *why = "";
    bool skipped = false;

    (void)signal(SIGTERM, on_stop);
    (void)signal(SIGPIPE, SIG_IGN);
    const int done = run_all(&r, &why, &skipped);
    (void)end_child(&r, done < t->n);
    if (done == 0 && skipped)
        return GPU_SKIPPED;
    close_group(&r, done < t->n ? why : "");
    if (done < t->n)
        (void)fprintf(stderr, "%d of %d %s were not run: %s\n", t->n - done, t->n, t->what, why);
    (void)fprintf(stderr, "%d of %d %s failed, in %d of %d groups%s%s\n", r.failed, done, t->what,
                  r.bad_groups, r.groups, r.bad.len > 0 ? ": " : "",
                  r.bad.len > 0 ? r.bad.data : "");
    axl_str_fini(&r.text);
    axl_str_fini(&r.bad);
    return r.failed > 0 || done < t->n;
}
