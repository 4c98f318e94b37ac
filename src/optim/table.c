// Names of the YAML to optimizers.
#include "src/optim/optim_private.h"

#include <string.h>

static const struct {
    const char *name;
    const axl_optimizer *row;
} optimizers[] = {
#define AXL_OPTIMIZER(row, name) {name, &axl_optimizer_##row},
#include "src/optim/optim.def"
#undef AXL_OPTIMIZER
};

const axl_optimizer *axl_optimizer_find(const char *name)
{
    for (size_t i = 0; i < sizeof optimizers / sizeof *optimizers; i++)
        if (strcmp(optimizers[i].name, name) == 0)
            return optimizers[i].row;
    return NULL;
}
