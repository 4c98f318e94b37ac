// axl-dist and gpu_tool in one program: which of them it is says the name it was called by. The kernels are most of either, and a
// pack has to be small. Both have a main of their own, which has another name here.
#include "tests/gpu/packed.h"

#include <string.h>

int main(int argc, char **argv)
{
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    const char *name = slash != NULL ? slash + 1 : argc > 0 ? argv[0] : "";

    return strcmp(name, "gpu_tool") == 0 ? gpu_tool_main(argc, argv) : axl_dist_main(argc, argv);
}
