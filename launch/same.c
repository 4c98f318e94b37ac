// Comparing ranks at the start. Usually all are the same and only a hash travels; when they are not, rank 0 gets
// everything and finds the difference that explains most: the first.
#include "launch/same.h"

#include "kernels/kernels.h"
#include "sharding/ckpt.h"
#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/io/file.h"
#include "src/io/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SHOWN_RANKS = 8, SHOWN_VALUE = 120 };

// What a rank sends when there is a difference: its host, a NUL, its lines, a NUL.
typedef struct rank_text {
    const char *host, *lines; // borrowed from the gathered bytes
} rank_text;

// ---- lines

static size_t line_length(const char *line)
{
    return strcspn(line, "\n");
}

static const char *next_line(const char *line)
{
    const size_t n = line_length(line);
    return line + n + (line[n] != '\0' ? 1 : 0);
}

// The line of the fact that line is about; NULL: there is none.
static const char *find_fact(const char *lines, const char *line)
{
    const size_t n = strcspn(line, "\t") + 1;

    for (; *lines != '\0'; lines = next_line(lines))
        if (strncmp(lines, line, n) == 0)
            return lines;
    return NULL;
}

static bool same_line(const char *a, const char *b)
{
    const size_t n = line_length(a);
    return n == line_length(b) && memcmp(a, b, n) == 0;
}

static const char *first_difference(const char *mine, const char *theirs)
{
    const char *other = NULL;

    for (const char *line = mine; *line != '\0'; line = next_line(line)) {
        other = find_fact(theirs, line);
        if (other == NULL || !same_line(line, other))
            return line;
    }
    for (const char *line = theirs; *line != '\0'; line = next_line(line))
        if (find_fact(mine, line) == NULL)
            return line;
    return NULL;
}

// ---- the message

static axl_status put_value(const char *line, axl_str *out)
{
    if (line == NULL)
        return axl_str_puts(out, "none");
    const size_t name = strcspn(line, "\t") + 1, n = line_length(line) - name;
    if (n > SHOWN_VALUE)
        return axl_str_printf(out, "%.*s...", (int)SHOWN_VALUE, line + name);
    return axl_str_printf(out, "%.*s", (int)n, line + name);
}

// "ranks 3, 5 (host b)": those that have the same line for the fact as rank `first`, on the same host.
static axl_status put_ranks(const rank_text *ranks, int size, int first, const char *fact,
                            axl_str *out, int *n_ranks)
{
    axl_status status = AXL_OK;
    const char *line = find_fact(ranks[first].lines, fact);
    axl_str list = {0};
    int n = 0;

    for (int r = first; r < size; r++) {
        const char *other = find_fact(ranks[r].lines, fact);
        const bool same = line == NULL || other == NULL ? line == other : same_line(line, other);
        if (!same || strcmp(ranks[r].host, ranks[first].host) != 0)
            continue;
        if (n < SHOWN_RANKS)
            AXL_TRY(axl_str_printf(&list, "%s%d", n > 0 ? ", " : "", r));
        n++;
    }
    AXL_TRY(axl_str_printf(out, "%s %s", n == 1 ? "rank" : "ranks", list.data));
    if (n > SHOWN_RANKS)
        AXL_TRY(axl_str_printf(out, " and %d more", n - SHOWN_RANKS));
    AXL_TRY(axl_str_printf(out, " (host %s)", ranks[first].host));
    *n_ranks = n;

out:
    axl_str_fini(&list);
    return status;
}

static axl_status compare(const rank_text *ranks, int size, const axl_same_words *words)
{
    axl_status status = AXL_OK;
    const char *fact = NULL;
    axl_str text = {0};
    int r = 1, n = 0;

    for (; r < size && fact == NULL; r++)
        fact = first_difference(ranks[0].lines, ranks[r].lines);
    if (fact == NULL)
        goto out;
    r--; // the rank that differs
    AXL_TRY(axl_str_puts(&text, words->where));
    AXL_TRY(put_ranks(ranks, size, r, fact, &text, &n));
    AXL_TRY(axl_str_printf(&text, " %s %.*s ", words->verb[n > 1], (int)strcspn(fact, "\t"), fact));
    AXL_TRY(put_value(find_fact(ranks[r].lines, fact), &text));
    AXL_TRY(axl_str_printf(&text, ", rank 0 (host %s) ", ranks[0].host));
    AXL_TRY(put_value(find_fact(ranks[0].lines, fact), &text));
    AXL_FAIL(AXL_E_CONFIG, "%s; %s", text.data, words->mend);

out:
    axl_str_fini(&text);
    return status;
}

// ---- all ranks

static axl_status gather_and_compare(axl_comm *world, const axl_str *lines,
                                     const axl_same_words *words)
{
    axl_status status = AXL_OK;
    const int size = axl_comm_size(world);
    char host[256] = "?";
    axl_str mine = {0}, all = {0};
    rank_text *ranks = NULL; // [size], rank 0
    int64_t *sizes = NULL;   // [size]

    (void)gethostname(host, sizeof host - 1);
    status = axl_str_append(&mine, host, strlen(host) + 1);
    if (status == AXL_OK)
        status = axl_str_append(&mine, lines->len > 0 ? lines->data : "", lines->len + 1);
    if (status == AXL_OK)
        status = axl_calloc((size_t)size, sizeof *sizes, "sizes", &sizes);
    if (status == AXL_OK)
        status = axl_calloc((size_t)size, sizeof *ranks, "the ranks' facts", &ranks);
    AXL_TRY(axl_comm_agree(world, status));
    AXL_TRY(axl_comm_gather_bytes(world, mine.data, (int64_t)mine.len, &all, sizes));
    if (axl_comm_rank(world) == 0) {
        const char *at = all.data;
        for (int r = 0; r < size; at += sizes[r++])
            ranks[r] = (rank_text){.host = at, .lines = at + strlen(at) + 1};
        status = compare(ranks, size, words);
    }

out:
    axl_str_fini(&mine);
    axl_str_fini(&all);
    free(ranks);
    free(sizes);
    return status;
}

axl_status axl_same_check(axl_comm *world, const axl_str *lines, const axl_same_words *words)
{
    axl_status status = AXL_OK;
    const int64_t hash = (int64_t)(axl_hash64(lines->data, lines->len, 0) >> 1);
    int64_t ends[2] = {hash, -hash}; // the least, and minus the greatest

    AXL_TRY(axl_comm_all_reduce_i64(world, ends, 2, AXL_REDUCE_MIN));
    if (ends[0] == -ends[1])
        goto out;
    // of the ranks only the first finds the difference, and its message goes to all without "rank 0: "
    status = gather_and_compare(world, lines, words);
    int64_t failed = status != AXL_OK;
    char text[2048] = "";
    if (failed)
        (void)strncpy(text, axl_error_message(), sizeof text - 1);
    AXL_TRY(axl_comm_bcast_bytes(world, &failed, sizeof failed, 0));
    AXL_TRY(axl_comm_bcast_bytes(world, text, sizeof text, 0));
    AXL_REQUIRE(failed == 0, AXL_E_CONFIG, "%s", text);

out:
    return status;
}

// ---- the facts

// The executable itself is hashed: a version number does not change with every build.
static axl_status put_build(axl_str *out)
{
    axl_status status = AXL_OK;
    axl_mapping exe = {0};

    AXL_TRY(axl_file_map("/proc/self/exe", &exe));
    AXL_TRY(axl_str_printf(out, "the axl-dist build\t%016llx\n",
                           (unsigned long long)axl_hash64(exe.data, exe.size, 0)));

out:
    axl_file_unmap(&exe);
    return status;
}

axl_status axl_same_versions(axl_comm *world, axl_str *out)
{
    axl_status status = AXL_OK;

    AXL_TRY(put_build(out));
    AXL_TRY(axl_str_puts(out, "the MPI library\t"));
    AXL_TRY(axl_comm_library(world, out));
    AXL_TRY(axl_str_putc(out, '\n'));
    AXL_TRY(axl_ckpt_libraries(out));
    AXL_TRY(axl_str_puts(out, "the gemm library\t"));
    AXL_TRY(axl_kernels_library(out));
    AXL_TRY(axl_str_putc(out, '\n'));

out:
    return status;
}

// The shortest of 15 and 17 digits that means the same number.
static axl_status put_leaf(const axl_json *v, axl_str *out)
{
    char text[40];
    const double x = axl_json_real(v, 0.0);

    if (!axl_json_is(v, AXL_JSON_REAL))
        return axl_json_dump(v, 0, out);
    (void)snprintf(text, sizeof text, "%.15g", x);
    if (strtod(text, NULL) != x)
        (void)snprintf(text, sizeof text, "%.17g", x);
    return axl_str_puts(out, text);
}

// Every leaf with its path: datasets[0].path. The members "value" are no part of the path, "from" is no value.
static axl_status put_leaves(axl_json *v, const char *path, axl_str *out)
{
    axl_status status = AXL_OK;
    axl_str deeper = {0};
    const char *key = NULL;
    axl_json *child = NULL;
    void *it = NULL;

    if (axl_json_is(v, AXL_JSON_OBJECT)) {
        while (axl_json_next(v, &it, &key, &child)) {
            if (strcmp(key, "from") == 0)
                continue;
            axl_str_clear(&deeper);
            if (strcmp(key, "value") == 0)
                AXL_TRY(axl_str_puts(&deeper, path));
            else
                AXL_TRY(axl_str_printf(&deeper, "%s%s%s", path, path[0] != '\0' ? "." : "", key));
            AXL_TRY(put_leaves(child, deeper.data, out));
        }
    } else if (axl_json_is(v, AXL_JSON_ARRAY)) {
        for (size_t i = 0; i < axl_json_count(v); i++) {
            axl_str_clear(&deeper);
            AXL_TRY(axl_str_printf(&deeper, "%s[%zu]", path, i));
            AXL_TRY(put_leaves(axl_json_at(v, i), deeper.data, out));
        }
    } else {
        AXL_TRY(axl_str_printf(out, "%s\t", path));
        AXL_TRY(put_leaf(v, out));
        AXL_TRY(axl_str_putc(out, '\n'));
    }

out:
    axl_str_fini(&deeper);
    return status;
}

axl_status axl_same_config(const axl_config *c, axl_str *out)
{
    axl_status status = AXL_OK;
    axl_str text = {0};
    axl_json *resolved = NULL;

    AXL_TRY(axl_config_resolved(c, &text));
    AXL_TRY(axl_json_parse(text.data, text.len, "the resolved configuration", &resolved));
    AXL_TRY(put_leaves(axl_json_get(resolved, "keys"), "", out));
    AXL_TRY(put_leaves(axl_json_get(resolved, "derived"), "derived", out));

out:
    axl_json_free(resolved);
    axl_str_fini(&text);
    return status;
}
