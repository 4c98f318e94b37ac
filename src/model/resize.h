// Rows of the vocabulary that the weights on disk do not have, and rows that were never trained.
//
// A run whose tokenizer is larger than the model on disk has arch.vocab > arch.file_vocab. axl_model_load reads the
// rows that are there; the others are filled here, in the embedding and in an untied head. Each rank fills the rows
// that it owns from the files alone, in a fixed order of sums, so any layout has the same bits.
#ifndef AXL_MODEL_RESIZE_H
#define AXL_MODEL_RESIZE_H

#include "src/model/model.h"

typedef struct axl_resize {
    bool mean;          // new rows are drawn around the mean of the old ones; else normal(0, std)
    double std;         // initializer_range
    uint64_t seed;      // of the draws; each row, column and matrix has its own numbers
    bool untrained;     // rows of the embedding that are zero on disk become the mean of the others
    const int64_t *fix; // [n_fix] further rows that do; borrowed
    int64_t n_fix;
    int64_t keep; // a row that may be zero (the pad token); -1: none
} axl_resize;

// Fills rows after axl_model_load from the same directory.
// mean: a sample of the normal distribution with the mean and 1e-9 times the covariance of the rows on disk, as
// transformers draws it (Hewitt 2021, "Initializing new word embeddings for pretrained language models"). It is
// mean + sqrt(1e-9 / n) * sum over the n rows of g_i (row_i - mean), g_i standard normal, which has that covariance
// exactly and needs no matrix of it.
// fix: the row becomes the mean of the rows on disk that are not fixed, in both matrices.
// Local. AXL_E_CONFIG when a row of fix is beyond the vocabulary.
axl_status axl_model_resize(axl_model *m, const axl_hfdir *dir, const axl_resize *r);

// Random weights in place of loaded ones: matrices normal(0, std), vectors of norms 1, biases 0. Every tensor has its
// own numbers, by its key. Local. AXL_E_MEMORY, AXL_E_DEVICE.
axl_status axl_model_reinit(axl_model *m, double std, uint64_t seed);

#endif
