// Looks for cuDNN when it is first wanted; the program itself does not depend on it.
#include "kernels/cuda/cudnn.h"

#include <dlfcn.h>
#include <string.h>

bool axl_dnn_load(axl_dnn_calls *out, const char **why)
{
    void *library = dlopen("libcudnn.so.9", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    void *f = NULL;
    bool all = true;

    *why = "libcudnn.so.9 is not found";
    if (library == NULL)
        return false;
// A function's address does not fit a void * in standard C, but does in POSIX.
#define AXL_DNN_FIND(field, result, name, args)                                                    \
    f = dlsym(library, #name);                                                                     \
    all = all && f != NULL;                                                                        \
    memcpy(&out->field, &f, sizeof f);
    AXL_DNN_CALLS(AXL_DNN_FIND)
#undef AXL_DNN_FIND
    *why = "libcudnn.so.9 is older than 9.11";
    (void)dlclose(library); // it stays: RTLD_NODELETE
    return all && out->version() >= AXL_DNN_OLDEST;
}
