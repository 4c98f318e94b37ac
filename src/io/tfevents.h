// TensorBoard event files: scalars over steps, as `tensorboard --logdir` reads them.
//
// A file is a run of records: the length (uint64), its checksum, the bytes, their checksum; a checksum is CRC-32C
// (Castagnoli), rotated and shifted so that checksums of checksummed data differ. The bytes are a protobuf message Event,
// of which a handful of fields are written here by hand. All numbers are little-endian. (The record format: TensorFlow,
// core/lib/io/record_writer.h; the fields: core/util/event.proto and core/framework/summary.proto.)
#ifndef AXL_IO_TFEVENTS_H
#define AXL_IO_TFEVENTS_H

#include "src/base/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct axl_tfevents axl_tfevents;

// Makes dir/events.out.tfevents.<seconds>.<host>.<pid> with its head. step: the first that will follow; TensorBoard
// drops what older files in dir say about steps from it on, as a run that goes on from a checkpoint wants.
// AXL_E_IO. Local.
axl_status axl_tfevents_open(const char *dir, int64_t step, axl_tfevents **out);
axl_status
axl_tfevents_close(axl_tfevents *e); // AXL_E_IO when events are missing in the end; NULL-safe

typedef struct axl_tfevents_scalar {
    const char *tag; // "train/loss": the part before the slash is a group of charts
    double value;    // written as float
} axl_tfevents_scalar;

// Appends n scalars of one step; src/io/append.h says what a full disk does. Local.
axl_status axl_tfevents_put(axl_tfevents *e, int64_t step, const axl_tfevents_scalar *scalars,
                            size_t n);

// CRC-32C, masked as records have it; for tests.
uint32_t axl_tfevents_checksum(const void *bytes, size_t n);

#endif
