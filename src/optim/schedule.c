// Learning-rate schedules as factors on the base rate. Formulas as in the trainer of transformers.
#include "src/optim/optim.h"

#include <math.h>
#include <string.h>

static const double pi = 3.141592653589793;

bool axl_schedule_find(const char *name, axl_schedule *out)
{
    static const struct {
        const char *name;
        axl_schedule schedule;
    } schedules[] = {
        {"linear", {.kind = AXL_SCHEDULE_LINEAR}},
        {"cosine", {.kind = AXL_SCHEDULE_COSINE, .cycles = 0.5}},
        {"constant", {.kind = AXL_SCHEDULE_CONSTANT, .no_warmup = true}},
        {"constant_with_warmup", {.kind = AXL_SCHEDULE_CONSTANT}},
    };

    for (size_t i = 0; i < sizeof schedules / sizeof *schedules; i++) {
        if (strcmp(schedules[i].name, name) == 0) {
            *out = schedules[i].schedule;
            return true;
        }
    }
    return false;
}

int64_t axl_warmup_steps(int64_t steps, double ratio, int64_t total)
{
    int64_t w = steps;

    if (w < 0 && ratio >= 0.0)
        w = (int64_t)(ratio * (double)total);
    if (w < 0) {
        w = (int64_t)(0.03 * (double)total);
        w = w < 100 ? w : 100;
    }
    return w == 1 ? 2 : w; // one step of warm-up would be a step at rate zero and nothing else
}

double axl_schedule_factor(const axl_schedule *s, int64_t k)
{
    double after = (double)(k - s->warmup);
    double span = fmax(1.0, (double)(s->total - s->warmup));

    if (!s->no_warmup && k < s->warmup)
        return (double)k / fmax(1.0, (double)s->warmup);
    switch (s->kind) {
    case AXL_SCHEDULE_LINEAR:
        return fmax(0.0, (double)(s->total - k) / span);
    case AXL_SCHEDULE_COSINE: {
        double f = fmax(0.0, 0.5 * (1.0 + cos(2.0 * pi * s->cycles * after / span)));
        return s->min_ratio + (1.0 - s->min_ratio) * f;
    }
    default:
        return 1.0;
    }
}
