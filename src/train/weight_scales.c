// The rules of normalize_weight_scales. What a rule sees are the names of the tensors on disk, a tied matrix once; a
// rule sees what those before it have scaled.
#include "src/train/weight_scales.h"

#include "src/base/log.h"
#include "src/base/mem.h"
#include "src/model/scales.h"
#include "src/text/regex.h"

#include <stdlib.h>
#include <string.h>

typedef struct matches {
    int *chosen;    // [n_tensors], owned; n in use: tensors whose names match
    double *std;    // [n_tensors], owned; n in use
    double *sorted; // [n_tensors], owned; n in use
    bool *outlier;  // [n_tensors], owned; n in use
    int n, n_outliers;
    double median;
} matches;

static void matches_fini(matches *a)
{
    free(a->chosen);
    free(a->std);
    free(a->sorted);
    free(a->outlier);
}

axl_status axl_weight_scales_check(const axl_config *c, const axl_yaml_node **node)
{
    axl_status status = AXL_OK;
    const axl_weight_scale_list *rules = &c->normalize_weight_scales;

    for (int64_t i = 0; i < rules->n; i++) {
        const char *pattern = rules->items[i].name_pattern;
        axl_regex *regex = NULL;
        if (pattern == NULL)
            continue;
        status = axl_regex_create(pattern, &regex);
        axl_regex_destroy(regex);
        if (node != NULL)
            *node = axl_yaml_get(rules->items[i].node, "name_pattern");
        AXL_TRY_CTX(status, "normalize_weight_scales: name_pattern");
    }
out:
    return status;
}

// Takes all memory of the rule, too: what follows is the same on all ranks.
static axl_status find_names(const axl_model *m, const char *pattern, matches *a)
{
    axl_status status = AXL_OK;
    const size_t n = (size_t)m->n_tensors;
    axl_regex *regex = NULL;
    bool found;

    AXL_TRY(axl_calloc(n, sizeof *a->chosen, "names", &a->chosen));
    AXL_TRY(axl_calloc(n, sizeof *a->std, "deviations", &a->std));
    AXL_TRY(axl_calloc(n, sizeof *a->sorted, "deviations", &a->sorted));
    AXL_TRY(axl_calloc(n, sizeof *a->outlier, "outliers", &a->outlier));
    AXL_TRY(axl_regex_create(pattern, &regex));
    for (int i = 0; i < m->n_tensors; i++) {
        AXL_TRY(axl_regex_search(regex, m->tensors[i].key, &found));
        if (found)
            a->chosen[a->n++] = i;
    }
out:
    axl_regex_destroy(regex);
    return status;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static axl_status measure(const axl_model *m, double threshold, matches *a)
{
    axl_status status = AXL_OK;
    const size_t n = (size_t)a->n;

    AXL_TRY_CTX(axl_model_stds(m, a->chosen, a->n, a->std), "normalize_weight_scales");
    memcpy(a->sorted, a->std, n * sizeof *a->sorted);
    qsort(a->sorted, n, sizeof *a->sorted, by_size);
    a->median = a->sorted[n / 2];
    for (size_t i = 0; a->median >= 1e-10 && i < n; i++) {
        const double ratio = a->std[i] / a->median;
        a->outlier[i] = ratio > threshold || ratio < 1.0 / threshold;
        a->n_outliers += a->outlier[i];
    }
out:
    return status;
}

static void say(const axl_model *m, const axl_weight_scale_config *rule, const matches *a)
{
    if (a->n_outliers == 0) {
        axl_info("normalize_weight_scales: pattern '%s': %d tensors, all within %.1fx threshold",
                 rule->name_pattern, a->n, rule->threshold);
        return;
    }
    axl_info("normalize_weight_scales [%s]: pattern '%s', %d/%d tensors outside %.1fx threshold "
             "(median std=%.6f)",
             rule->dry_run ? "DRY RUN" : "FIXED", rule->name_pattern, a->n_outliers, a->n,
             rule->threshold, a->median);
    for (int i = 0; i < a->n; i++) {
        if (a->outlier[i])
            axl_info("  %s: std=%.6f (%.2fx median)%s", m->tensors[a->chosen[i]].key, a->std[i],
                     a->std[i] / a->median,
                     a->std[i] == 0.0 && !rule->dry_run ? ", left: all its numbers are equal" : "");
    }
}

static axl_status apply_rule(const axl_weight_scale_config *rule, axl_model *m)
{
    axl_status status = AXL_OK;
    matches a = {0};

    if (rule->name_pattern == NULL) {
        axl_warn("normalize_weight_scales: a rule without name_pattern is skipped");
        goto out;
    }
    AXL_TRY(axl_comm_agree(m->mesh->world, find_names(m, rule->name_pattern, &a)));
    if (a.n < 3) {
        axl_info("normalize_weight_scales: pattern '%s': %d tensor%s, skipped: a median needs 3",
                 rule->name_pattern, a.n, a.n == 1 ? "" : "s");
        goto out;
    }
    AXL_TRY(measure(m, rule->threshold, &a));
    if (a.median < 1e-10)
        goto out;
    say(m, rule, &a);
    for (int i = 0; !rule->dry_run && i < a.n && status == AXL_OK; i++)
        if (a.outlier[i] && a.std[i] > 0.0) // nothing makes equal numbers spread
            status = axl_model_scale(m, a.chosen[i], (float)(a.median / a.std[i]));
    AXL_TRY(axl_comm_agree(m->mesh->world, status));
out:
    matches_fini(&a);
    return status;
}

axl_status axl_weight_scales_apply(const axl_config *c, axl_model *m)
{
    axl_status status = AXL_OK;

    for (int64_t i = 0; i < c->normalize_weight_scales.n; i++)
        AXL_TRY(apply_rule(&c->normalize_weight_scales.items[i], m));
out:
    return status;
}
