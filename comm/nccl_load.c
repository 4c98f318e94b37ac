// Looks for NCCL when there is a GPU to use it with; the program itself does not depend on it.
#include "comm/nccl_calls.h"

#include <dlfcn.h>
#include <string.h>

bool axl_nccl_load(axl_nccl_calls *out, const char **why)
{
    void *library = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    void *f = NULL;
    bool all = true;
    int version = 0;

    *out = (axl_nccl_calls){0};
    *why = "libnccl.so.2 is not found";
    if (library == NULL)
        return false;
// A function's address does not fit a void * in standard C, but does in POSIX.
#define AXL_NCCL_FIND(field, name, result, args)                                                   \
    f = dlsym(library, #name);                                                                     \
    memcpy(&out->field, &f, sizeof f);
#define AXL_NCCL_DEMAND(field, name, result, args)                                                 \
    AXL_NCCL_FIND(field, name, result, args)                                                       \
    all = all && f != NULL;
    AXL_NCCL_CALLS(AXL_NCCL_DEMAND)
    AXL_NCCL_CALLS_SINCE_219(AXL_NCCL_FIND)
#undef AXL_NCCL_DEMAND
#undef AXL_NCCL_FIND
    *why = "libnccl.so.2 is too old; 2.18 is needed";
    (void)dlclose(library); // it stays: RTLD_NODELETE
    return all && out->get_version(&version) == AXL_NCCL_OK && version >= AXL_NCCL_OLDEST;
}
