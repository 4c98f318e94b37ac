// Tests of elements that are far from the beginning of their array (far.c).
#ifndef AXL_TESTS_CUDA_EMU_FAR_H
#define AXL_TESTS_CUDA_EMU_FAR_H

// Each takes no state.
void far_elements_are_reached(void **state);
void far_rows_are_reached(void **state);
void far_strides_are_kept(void **state);
void far_groups_are_reached(void **state);
void far_tokens_attend(void **state);
void far_bytes_are_reached(void **state);

#endif
