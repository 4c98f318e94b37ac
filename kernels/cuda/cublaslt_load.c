// Looks for cuBLASLt when it is first wanted; the program itself does not depend on it.
#include "kernels/cuda/cublaslt.h"

#include <dlfcn.h>
#include <string.h>

bool axl_lt_load(axl_lt_calls *out, const char **why)
{
    static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12"};
    void *library = NULL;
    void *f = NULL;
    bool all = true;

    for (size_t i = 0; i < sizeof names / sizeof *names && library == NULL; i++)
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    *why = "libcublasLt.so.13 (or .12) is not found";
    if (library == NULL)
        return false;
// A function's address does not fit a void * in standard C, but does in POSIX.
#define AXL_LT_FIND(field, name, args)                                                             \
    f = dlsym(library, #name);                                                                     \
    all = all && f != NULL;                                                                        \
    memcpy(&out->field, &f, sizeof f);
    AXL_LT_CALLS(AXL_LT_FIND)
#undef AXL_LT_FIND
    *why = "libcublasLt lacks a function; 12 or 13 is needed";
    (void)dlclose(library); // it stays: RTLD_NODELETE
    return all;
}
