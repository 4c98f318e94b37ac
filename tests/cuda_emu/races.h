// The race check: accesses of the threads of a launch that no barrier orders, at least one of them a write.
//
// The kernels are compiled by -fsanitize=thread and linked to the functions of races.cc instead of the sanitizer's library.
// That knows any program with any locks; here is one CPU thread, and what orders accesses is known beforehand: barriers of a
// block, of some of its warps, of a whole warp, the end of a launch. So a few comparisons do for an access, nothing is forgotten for want
// of room, and a race between blocks is seen even though blocks run one after another.
#ifndef AXL_CUDA_EMU_RACES_H
#define AXL_CUDA_EMU_RACES_H

#include <cstddef>

namespace emu
{

#if defined(AXL_EMU_RACES)

// Where it was done, for a message: the address that this function returns to.
#define EMU_HERE() __builtin_return_address(0)

void races_ignore(const void *begin, size_t bytes);  // stacks of threads: nobody else's
void races_shared(const void *begin, size_t bytes);  // each block has its own
void races_launch();                                 // what ran before is ordered before it
void races_block(int n_threads);                     // a block begins
void races_run(int thread);                          // who runs from here on
void races_stop();                                   // no thread of a kernel does
void races_leave(int thread);                        // it has ended
void races_block_barrier();                          // all that have not ended have met
void races_warp_barrier(int warp, bool whole);       // lanes have met; whole: all of them
void races_named_come(int barrier, int warp);        // a whole warp has come to a barrier of some
void races_named_met(int barrier, unsigned waiting); // all have, and these warps go on after it
void races_write(const void *at, size_t n, void *where);     // by the thread that runs
void races_read(const void *at, size_t n, void *where);      // the same
void races_warp_read(const void *at, size_t n, void *where); // by all lanes of its warp
void races_publish(); // what the thread wrote to shared memory may be read by products after a barrier
void races_product_read(const void *at, void *where); // 16 bytes by a product of its warp

#else

#define EMU_HERE() nullptr
static inline void races_ignore(const void *, size_t) {}
static inline void races_shared(const void *, size_t) {}
static inline void races_launch() {}
static inline void races_block(int) {}
static inline void races_run(int) {}
static inline void races_stop() {}
static inline void races_leave(int) {}
static inline void races_block_barrier() {}
static inline void races_warp_barrier(int, bool) {}
static inline void races_named_come(int, int) {}
static inline void races_named_met(int, unsigned) {}
static inline void races_write(const void *, size_t, void *) {}
static inline void races_read(const void *, size_t, void *) {}
static inline void races_warp_read(const void *, size_t, void *) {}
static inline void races_publish() {}
static inline void races_product_read(const void *, void *) {}

#endif

} // namespace emu

#endif
