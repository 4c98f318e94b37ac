// gpu_tool bench on the emulated device, with the emulated libraries: bench_emulated CHIP [arguments of gpu_tool bench].
// CHIP is a compute capability times 10. Its times say nothing; which way makes a call, and that each can be called, does.
#include "tests/cuda_emu/emu_test.h"
#include "tests/gpu/tool.h"

#include <stdlib.h>

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    emu_set_arch(atoi(argv[1]));
    emu_set_multiprocessors(2);
    return gpu_bench_main(argc - 1, argv + 1);
}
