// GGUF files as Hugging Face directories.
//
// Everything is rebuilt from the one file: config.json and generation_config.json from the metadata,
// the weights under their Hugging Face names (rows of q and k put back into their order where the GGUF
// converter changed it), tokenizer.json with its companions, and the chat template. Values are those of
// the file, dequantised, bit for bit. Tokenizers: byte-level BPE whose pre-tokenizer is known, and
// sentencepiece BPE, in the form that puts a space in front of every stretch of text (the file does not
// tell it from the newer form, which puts one only at the start).
#ifndef AXL_IO_GGUF_IMPORT_H
#define AXL_IO_GGUF_IMPORT_H

#include "src/base/status.h"
#include "src/base/str.h"

#define AXL_GGUF_KEEP_DTYPE (-1)

typedef struct axl_gguf_import_options {
    int dtype; // an axl_dtype for all weights (AXL_F32, AXL_BF16, AXL_F16); or AXL_GGUF_KEEP_DTYPE: F32
               // if any weight is quantised, so that no value changes, else as each is stored
} axl_gguf_import_options;

// Writes the model of a GGUF file as a Hugging Face directory. out_dir is made; one that holds a model
// already is refused. Weights are written row by row, never held as a whole. One rank only.
//   options   NULL: keep dtypes
// AXL_E_INPUT when the file is broken or lacks what a model needs; AXL_E_UNSUPPORTED, naming it, for an
// architecture, a tokenizer or a storage type that is not known; AXL_E_IO.
axl_status axl_gguf_import(const char *path, const char *out_dir,
                           const axl_gguf_import_options *options);

// Writes what an import would, without the weights: config.json, generation_config.json and the tokenizer, from the
// head of the file alone. dir is there. Errors as of axl_gguf_import.
axl_status axl_gguf_write_head(const char *path, const char *dir);

// Appends the folder below cache_root that an import of this file goes to. It is named by a hash of the
// whole file and by the dtype, so a changed file is another folder.
axl_status axl_gguf_cache_dir(const char *path, const char *cache_root,
                              const axl_gguf_import_options *options, axl_str *dir);

// Imports into that folder, unless that was done before, and appends its name to *dir. The folder
// appears whole or not at all. One rank only; the others use axl_gguf_cache_dir afterwards.
axl_status axl_gguf_import_cached(const char *path, const char *cache_root,
                                  const axl_gguf_import_options *options, axl_str *dir);

#endif
