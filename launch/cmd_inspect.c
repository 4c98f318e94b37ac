// axl-dist inspect: what is in a file of weights, and how two differ.
#include "launch/commands.h"

#include "launch/inspect.h"
#include "src/base/mem.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_ELEMENTS 65536 // read at a time

static const char usage[] = "usage: axl-dist inspect PATH [OTHER] [--no-stats]\n"
                            "\n"
                            "Prints what is in a .safetensors or .gguf file, a model directory, a "
                            "checkpoint or a tokenizer:\n"
                            "settings, and for each tensor its name, dtype, shape, minimum, "
                            "maximum, mean, standard deviation and\n"
                            "the number of NaN. With OTHER it prints where the two differ.\n"
                            "\n"
                            "  --no-stats   names, dtypes and shapes only; no tensor is read\n"
                            "\n"
                            "example: axl-dist inspect models/SmolLM2-135M outputs/devil\n";

typedef struct arguments {
    const char *path, *other;
    bool stats, help;
} arguments;

// Sums over the numbers of a tensor; NaN is counted apart. Sums are taken around the first number, so
// that a large mean does not swallow the deviation.
typedef struct statistics {
    int64_t n, n_nan;
    double min, max, first, sum, sum_squares;
} statistics;

static void add_numbers(statistics *s, const double *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (isnan(x[i])) {
            s->n_nan++;
            continue;
        }
        if (s->n++ == 0)
            s->min = s->max = s->first = x[i];
        double d = x[i] - s->first;
        s->min = fmin(s->min, x[i]);
        s->max = fmax(s->max, x[i]);
        s->sum += d;
        s->sum_squares += d * d;
    }
}

static double mean_of(const statistics *s)
{
    return s->n > 0 ? s->first + s->sum / (double)s->n : (double)NAN;
}

static double deviation_of(const statistics *s)
{
    double n = (double)s->n;
    return s->n > 0 ? sqrt(fmax(0.0, s->sum_squares / n - s->sum / n * (s->sum / n))) : (double)NAN;
}

// Rows that fit in one piece; a row longer than a piece is read whole.
static int64_t piece_rows(const axl_inspected_tensor *t)
{
    int64_t rows = t->cols > 0 ? PIECE_ELEMENTS / t->cols : 1;
    return rows > 0 ? rows : 1;
}

static size_t piece_elements(const axl_inspected *x)
{
    size_t largest = PIECE_ELEMENTS;

    for (int64_t i = 0; i < x->n; i++)
        if ((size_t)x->tensors[i].cols > largest)
            largest = (size_t)x->tensors[i].cols;
    return largest;
}

static axl_status take_statistics(const axl_inspected *x, const axl_inspected_tensor *t,
                                  double *piece, statistics *out)
{
    axl_status status = AXL_OK;
    int64_t step = piece_rows(t);

    *out = (statistics){0};
    for (int64_t row = 0; row < t->rows; row += step) {
        int64_t n = t->rows - row < step ? t->rows - row : step;
        AXL_TRY(x->kind->read(x, t, row, n, piece));
        add_numbers(out, piece, n * t->cols);
    }
out:
    return status;
}

static int name_width(const axl_inspected *x)
{
    size_t width = 4;

    for (int64_t i = 0; i < x->n; i++)
        if (strlen(x->tensors[i].name) > width)
            width = strlen(x->tensors[i].name);
    return width < 80 ? (int)width : 80;
}

static axl_status print_contents(const char *path, const axl_inspected *x, bool stats)
{
    axl_status status = AXL_OK;
    double *piece = NULL;
    axl_str shape = {0};
    statistics s;
    int64_t elements = 0;
    size_t bytes = 0;
    int width = name_width(x);

    AXL_TRY(axl_calloc(piece_elements(x), sizeof *piece, "rows", &piece));
    for (int64_t i = 0; i < x->n; i++) {
        elements += x->tensors[i].rows * x->tensors[i].cols;
        bytes += x->tensors[i].bytes;
    }
    (void)printf("%s: %s, %lld tensors, %lld elements, %zu bytes\n%s", path, x->kind->name,
                 (long long)x->n, (long long)elements, bytes,
                 x->about.len > 0 ? x->about.data : "");
    if (x->n > 0)
        (void)printf("\n%-*s %-7s %-18s%s\n", width, "name", "dtype", "shape",
                     stats ? "          min          max         mean          std  nan" : "");
    for (int64_t i = 0; i < x->n; i++) {
        const axl_inspected_tensor *t = &x->tensors[i];
        axl_str_clear(&shape);
        AXL_TRY(axl_tensor_put_dims(&shape, t->dims, t->n_dims));
        (void)printf("%-*s %-7s %-18s", width, t->name, t->dtype, shape.data);
        if (stats) {
            AXL_TRY(take_statistics(x, t, piece, &s));
            (void)printf(" %12.5g %12.5g %12.5g %12.5g %4lld", s.n > 0 ? s.min : (double)NAN,
                         s.n > 0 ? s.max : (double)NAN, mean_of(&s), deviation_of(&s),
                         (long long)s.n_nan);
        }
        (void)putchar('\n');
    }
out:
    free(piece);
    axl_str_fini(&shape);
    return status;
}

// How two tensors of one shape differ.
typedef struct difference {
    int64_t n_different;
    double largest, sum_squares, base_squares; // of b - a; of a
} difference;

static void add_difference(difference *d, const double *a, const double *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        bool both_nan = isnan(a[i]) && isnan(b[i]);
        if (!both_nan && !(a[i] == b[i])) {
            double delta = fabs(b[i] - a[i]);
            d->n_different++;
            d->largest = isnan(delta) ? delta : fmax(d->largest, delta);
            d->sum_squares += delta * delta;
        }
        if (!isnan(a[i]))
            d->base_squares += a[i] * a[i];
    }
}

static axl_status compare_values(const axl_inspected *a, const axl_inspected *b,
                                 const axl_inspected_tensor *ta, const axl_inspected_tensor *tb,
                                 double *piece[2], difference *out)
{
    axl_status status = AXL_OK;
    int64_t step = piece_rows(ta);

    *out = (difference){0};
    for (int64_t row = 0; row < ta->rows; row += step) {
        int64_t n = ta->rows - row < step ? ta->rows - row : step;
        AXL_TRY(a->kind->read(a, ta, row, n, piece[0]));
        AXL_TRY(b->kind->read(b, tb, row, n, piece[1]));
        add_difference(out, piece[0], piece[1], n * ta->cols);
    }
out:
    return status;
}

// One line for a tensor of both sides that differs; *equal tells whether none was printed.
static axl_status compare_tensors(const axl_inspected *a, const axl_inspected *b,
                                  const axl_inspected_tensor *ta, bool stats, double *piece[2],
                                  bool *equal)
{
    axl_status status = AXL_OK;
    const axl_inspected_tensor *tb = axl_inspected_find(b, ta->name);
    axl_str left = {0}, right = {0};
    difference d = {0};

    *equal = false;
    AXL_TRY(axl_tensor_put_dims(&left, ta->dims, ta->n_dims));
    AXL_TRY(axl_tensor_put_dims(&right, tb->dims, tb->n_dims));
    if (strcmp(left.data, right.data) != 0) {
        (void)printf("%s: shape %s, other %s\n", ta->name, left.data, right.data);
        goto out;
    }
    int64_t elements = ta->rows * ta->cols;
    bool same_dtype = strcmp(ta->dtype, tb->dtype) == 0;
    if (!same_dtype)
        (void)printf("%s: dtype %s, other %s\n", ta->name, ta->dtype, tb->dtype);
    if (stats)
        AXL_TRY(compare_values(a, b, ta, tb, piece, &d));
    if (d.n_different > 0)
        (void)printf("%s: %lld of %lld elements differ, at most by %.5g; norm of the difference "
                     "%.5g of %.5g\n",
                     ta->name, (long long)d.n_different, (long long)elements, d.largest,
                     sqrt(d.sum_squares), sqrt(d.base_squares));
    *equal = same_dtype && d.n_different == 0;
out:
    axl_str_fini(&left);
    axl_str_fini(&right);
    return status;
}

static axl_status print_differences(const axl_inspected *a, const axl_inspected *b, bool stats)
{
    axl_status status = AXL_OK;
    double *piece[2] = {0};
    int64_t n_equal = 0, n_different = 0, n_alone = 0;

    for (int i = 0; i < 2; i++)
        AXL_TRY(axl_calloc(piece_elements(a), sizeof **piece, "rows", &piece[i]));
    for (int64_t i = 0; i < a->n; i++) {
        bool equal;
        if (axl_inspected_find(b, a->tensors[i].name) == NULL) {
            (void)printf("%s: only in the first\n", a->tensors[i].name);
            n_alone++;
            continue;
        }
        AXL_TRY(compare_tensors(a, b, &a->tensors[i], stats, piece, &equal));
        n_equal += equal;
        n_different += !equal;
    }
    for (int64_t i = 0; i < b->n; i++) {
        if (axl_inspected_find(a, b->tensors[i].name) != NULL)
            continue;
        (void)printf("%s: only in the second\n", b->tensors[i].name);
        n_alone++;
    }
    if (a->about.len != b->about.len ||
        (a->about.len > 0 && memcmp(a->about.data, b->about.data, a->about.len) != 0))
        (void)printf("settings of the first:\n%ssettings of the second:\n%s",
                     a->about.len > 0 ? a->about.data : "", b->about.len > 0 ? b->about.data : "");
    (void)printf("%lld tensors %s, %lld differ, %lld are in one only\n", (long long)n_equal,
                 stats ? "are equal" : "have equal shapes and dtypes", (long long)n_different,
                 (long long)n_alone);
out:
    free(piece[0]);
    free(piece[1]);
    return status;
}

static axl_status read_arguments(int argc, char **argv, arguments *a)
{
    axl_status status = AXL_OK;
    static const struct option known[] = {
        {"no-stats", no_argument, NULL, 'n'}, {"help", no_argument, NULL, 'h'}, {0}};
    int c;

    *a = (arguments){.stats = true};
    optind = 0; // a command may run after main has used getopt
    opterr = 0;
    while ((c = getopt_long(argc, argv, "h", known, NULL)) != -1) {
        if (c == 'n')
            a->stats = false;
        else if (c == 'h')
            a->help = true;
        else
            AXL_FAIL(AXL_E_CONFIG, "%s is not an argument of inspect; see --help",
                     argv[optind - 1]);
    }
    if (a->help)
        goto out;
    AXL_REQUIRE(argc - optind == 1 || argc - optind == 2, AXL_E_CONFIG,
                "one path or two are needed; see --help");
    a->path = argv[optind];
    a->other = argc - optind == 2 ? argv[optind + 1] : NULL;
out:
    return status;
}

int axl_cmd_inspect(int argc, char **argv)
{
    axl_status status = AXL_OK;
    arguments a;
    axl_inspected x = {0}, y = {0};

    AXL_TRY(read_arguments(argc, argv, &a));
    if (a.help) {
        (void)fputs(usage, stdout);
        goto out;
    }
    AXL_TRY(axl_inspected_open(a.path, &x));
    if (a.other == NULL) {
        AXL_TRY(print_contents(a.path, &x, a.stats));
        goto out;
    }
    AXL_TRY(axl_inspected_open(a.other, &y));
    AXL_TRY(print_differences(&x, &y, a.stats));
out:
    axl_inspected_close(&x);
    axl_inspected_close(&y);
    if (status != AXL_OK)
        (void)fprintf(stderr, "axl-dist inspect: %s\n", axl_error_message());
    return axl_status_exit_code(status);
}
