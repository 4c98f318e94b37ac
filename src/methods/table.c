// Names to methods.
#include "src/methods/methods_private.h"

#include <string.h>

static const axl_method *const methods[] = {
#define AXL_METHOD(name) &axl_method_##name,
#include "src/methods/methods.def"
#undef AXL_METHOD
};

const axl_method *axl_method_find(const char *name)
{
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (strcmp(methods[i]->name, name) == 0)
            return methods[i];
    return NULL;
}
