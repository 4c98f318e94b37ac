// The mains of the two programs that are one in a pack (packed.c); each is compiled with this in front.
#ifndef AXL_TESTS_GPU_PACKED_H
#define AXL_TESTS_GPU_PACKED_H

int axl_dist_main(int argc, char **argv);
int gpu_tool_main(int argc, char **argv);

#endif
