// XXH64: content hashes of data sets and checksums of files. Not cryptographic.
// Source of the algorithm: Y. Collet, the xxHash specification (public).
#ifndef AXL_BASE_HASH_H
#define AXL_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

typedef struct axl_hash {
    uint64_t lane[4];
    uint64_t total; // bytes so far
    uint64_t seed;
    uint8_t tail[32];
    size_t n_tail;
} axl_hash;

void axl_hash_init(axl_hash *h, uint64_t seed);
void axl_hash_update(axl_hash *h, const void *bytes, size_t n);
uint64_t axl_hash_value(const axl_hash *h); // may be asked at any time; does not change h

// The hash of one buffer.
uint64_t axl_hash64(const void *bytes, size_t n, uint64_t seed);

#endif
