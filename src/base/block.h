// A rectangle of a tensor: what one rank holds of it, and how that lies in the rank's memory.
//
// A tensor of any shape is seen as a matrix [dims[0], product of the other dims]; one of no dims as
// [1, 1]. Files are read and written by such rectangles, so that a rank touches only what is its own.
#ifndef AXL_BASE_BLOCK_H
#define AXL_BASE_BLOCK_H

#include <stdbool.h>
#include <stdint.h>

typedef struct axl_block {
    int64_t row0, n_rows; // n_rows 0: nothing
    int64_t col0, n_cols; // n_cols 0: all columns (never: none)
    int64_t ld;           // elements from one row to the next in memory; 0: n_cols
} axl_block;

// b of a tensor with that many columns, with n_cols and ld filled in.
static inline axl_block axl_block_in(const axl_block *b, int64_t cols)
{
    axl_block full = *b;

    full.n_cols = b->n_cols == 0 ? cols : b->n_cols;
    full.ld = b->ld == 0 ? full.n_cols : b->ld;
    return full;
}

// Whether a filled-in block lies inside [rows, cols].
static inline bool axl_block_fits(const axl_block *b, int64_t rows, int64_t cols)
{
    return b->row0 >= 0 && b->n_rows >= 0 && b->row0 <= rows && b->n_rows <= rows - b->row0 &&
           b->col0 >= 0 && b->n_cols >= 0 && b->col0 <= cols && b->n_cols <= cols - b->col0 &&
           b->ld >= b->n_cols;
}

// Whether its elements follow each other without gap, in a file of that many columns and in memory.
static inline bool axl_block_is_dense(const axl_block *b, int64_t cols)
{
    return b->n_cols == cols && b->ld == cols;
}

#endif
