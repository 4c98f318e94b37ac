// The race check's memory of accesses, and the functions that -fsanitize=thread calls.
//
// Of every word of memory that a kernel touches, the last write and the reads since are kept: who, and when by the clocks
// of barriers. An access is ordered after one of them if a barrier that both threads took part in lies between, or, for
// barriers of some warps of a block, a chain of such barriers.
#include "tests/cuda_emu/races.h"

#include "tests/cuda_emu/emu_run.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <elf.h>
#include <memory>
#include <unistd.h>
#include <unordered_map>
#include <vector>

extern "C" const char __executable_start[], __start_emu_own[], __stop_emu_own[]; // the linker's

namespace emu
{

namespace
{

// ---- an access in 64 bits; 0: none

enum who { ONE, WARP, BLOCK, GRID }; // a thread, or several of these

constexpr int WHO_BIT = 10, ATOMIC_BIT = 12, WARP_BIT = 13, BLOCK_BIT = 36;
constexpr uint64_t ATOMIC = (uint64_t)1 << ATOMIC_BIT;
constexpr uint64_t SPLIT = ~(uint64_t)0; // in place of a word's write: see its bytes
constexpr uint64_t WARP_CLOCKS = (uint64_t)1 << (BLOCK_BIT - WARP_BIT),
                   BLOCK_CLOCKS = (uint64_t)1 << (64 - BLOCK_BIT);

int thread_of(uint64_t x) // the first of a warp, for all of it
{
    return (int)(x & 1023u);
}
who who_of(uint64_t x)
{
    return (who)(x >> WHO_BIT & 3u);
}
uint64_t warp_clock_of(uint64_t x)
{
    return x >> WARP_BIT & (WARP_CLOCKS - 1);
}
uint64_t block_clock_of(uint64_t x)
{
    return x >> BLOCK_BIT;
}

constexpr int WARPS = 32, BARRIERS = 16; // of a block

// Of each warp of a block the clock before which its accesses are ordered before something.
struct past {
    uint32_t of[WARPS];

    void join(const past &other)
    {
        for (int i = 0; i < WARPS; i++)
            of[i] = of[i] > other.of[i] ? of[i] : other.of[i];
    }
};

// ---- memory

struct cell {
    uint64_t write, read;
    uint32_t write_at, read_at; // where in the program
};

struct page {
    cell words[1024];
    std::unique_ptr<cell[]> bytes; // [4096], once some word is split
};

constexpr size_t CACHE = 1024;   // pages found last
constexpr size_t MOST = 1 << 14; // pages; more are forgotten when a launch begins

// Who wrote to a piece of 16 bytes of shared memory last, and how many fences of his came before.
struct writer {
    uint64_t block;
    uint32_t thread, fences;
};

struct state {
    uint64_t now; // the running thread's accesses; 0: no kernel runs
    uintptr_t ignored, ignored_bytes, shared, shared_bytes;
    uint64_t clock = 1, launch = 1, block = 1; // of barriers; when the launch, and the block, began
    uint64_t warp_clock[WARPS];
    past known[WARPS];       // by a warp
    past barriers[BARRIERS]; // by those that have come to it
    bool named;              // the launch has barriers of some warps: then sets are kept
    std::vector<past> sets; // of the present clock: since when what a set of warps has done is past
    std::unordered_map<uint64_t, uint32_t>
        larger;          // a set, a warp and its clock: which set all these are
    uint64_t left[1024]; // the clock when a thread ended; 0: it has not
    int n_threads;
    struct {
        uintptr_t number;
        page *at;
    } cache[CACHE];
    std::unordered_map<uintptr_t, std::unique_ptr<page>> pages;
    std::vector<writer> writers;        // of shared memory
    std::vector<uint64_t> fences[1024]; // of each thread of the block: when it published
};
state r;

page *find_page(uintptr_t number)
{
    std::unique_ptr<page> &p = r.pages[number];

    if (p == nullptr)
        p.reset(new page());
    r.cache[number % CACHE].number = number;
    r.cache[number % CACHE].at = p.get();
    return p.get();
}

inline page *page_of(uintptr_t number)
{
    const auto &slot = r.cache[number % CACHE];

    return slot.number == number && slot.at != nullptr ? slot.at : find_page(number);
}

// ---- order

// Several warps of the block, in the place of a warp's clock: the set's number, or 0 where sets are not kept.
bool set_is_past(uint64_t set, const past &known)
{
    if (set == 0)
        return false;
    for (int i = 0; i < WARPS; i++)
        if (r.sets[set].of[i] > known.of[i])
            return false;
    return true;
}

// The set with what warp did at its clock.
uint64_t larger_set(uint64_t set, int warp, uint64_t clock)
{
    if (r.sets.empty())
        r.sets.push_back({}); // number 0
    if (r.sets[set].of[warp] > clock)
        return set;
    uint32_t &next = r.larger[set << 32 | (uint64_t)warp << 24 | clock];
    if (next == 0) {
        past more = r.sets[set];
        more.of[warp] = (uint32_t)clock + 1;
        next = (uint32_t)r.sets.size();
        if (next >= WARP_CLOCKS)
            die("the race check has run out of sets of warps");
        r.sets.push_back(more);
    }
    return next;
}

// Whether x happened before what runs now (as `now` says: a thread, or a warp).
bool ordered(uint64_t x, uint64_t now, bool shared)
{
    const uint64_t clock = block_clock_of(x);
    const past &known = r.known[thread_of(now) / 32];

    if (clock < r.launch)
        return true;
    if (clock < r.block || who_of(x) == GRID)
        return shared;
    if (clock < r.clock) // a thread that has ended takes part in no barrier
        return who_of(x) != ONE || r.left[thread_of(x)] != clock;
    if (who_of(x) == BLOCK)
        return set_is_past(warp_clock_of(x), known);
    if (warp_clock_of(x) < known.of[thread_of(x) / 32])
        return true;
    return who_of(x) == ONE && who_of(now) == ONE && thread_of(x) == thread_of(now);
}

// Lanes of the warp of `now`, or more.
uint64_t several(uint64_t now, who all)
{
    return (now & ~((uint64_t)31u | (uint64_t)3u << WHO_BIT)) | (uint64_t)all << WHO_BIT;
}

// x and now, which are not ordered, in one.
uint64_t join(uint64_t x, uint64_t now)
{
    const who both = block_clock_of(x) < r.block || who_of(x) == GRID ? GRID
                     : who_of(x) == BLOCK                             ? BLOCK
                     : thread_of(x) / 32 == thread_of(now) / 32       ? WARP
                                                                      : BLOCK;

    if (both != BLOCK)
        return several(now, both);
    uint64_t set = 0;
    if (r.named && !(who_of(x) == BLOCK && warp_clock_of(x) == 0)) {
        // what a thread did that has ended is never past
        const uint64_t clock = block_clock_of(x) == r.clock ? warp_clock_of(x) : WARP_CLOCKS - 1;
        set = who_of(x) == BLOCK ? warp_clock_of(x) : larger_set(0, thread_of(x) / 32, clock);
        set = larger_set(set, thread_of(now) / 32, warp_clock_of(now));
    }
    return (several(now, BLOCK) & ~((WARP_CLOCKS - 1) << WARP_BIT)) | set << WARP_BIT;
}

uint64_t add(uint64_t x, uint64_t now, bool shared)
{
    return x == 0 || ordered(x, now, shared) ? now : join(x, now);
}

// ---- messages

// A place of the program as file and line, if there is addr2line.
void print_place(uint32_t at)
{
    const char *base = __executable_start;
    const bool moved = ((const Elf64_Ehdr *)base)->e_type == ET_DYN;
    char command[160];

    if (at == 0)
        return;
    snprintf(command, sizeof command, "addr2line -Cipse /proc/%d/exe 0x%llx >&2", (int)getpid(),
             (unsigned long long)(at - 1 + (moved ? 0 : (uintptr_t)base)));
    fflush(stderr);
    if (system(command) != 0)
        fprintf(stderr, "program + 0x%x\n", at);
}

void print_access(const char *how, uint64_t x, uint32_t at)
{
    static const char *const of[] = {"thread", "lanes of the warp of thread",
                                     "threads of the block of thread",
                                     "blocks of the grid, the last by thread"};

    fprintf(stderr, "%s by %s %d%s, at ", how, of[who_of(x)], thread_of(x),
            block_clock_of(x) < r.block ? " of another block" : "");
    print_place(at);
}

[[noreturn]] void report(const char *was, uint64_t x, uint32_t x_at, const char *is, uint64_t now,
                         uint32_t now_at, uintptr_t at)
{
    r.now = 0;
    fprintf(stderr, "cuda_emu: a race: no barrier orders two accesses of %s %p\n",
            at - r.shared < r.shared_bytes ? "shared memory," : "memory,", (void *)at);
    print_access(is, now, now_at);
    print_access(was, x, x_at);
    die("block (%u, %u, %u): a race", blockIdx.x, blockIdx.y, blockIdx.z);
}

// ---- accesses

enum kind { READ, WRITE, ATOMIC_READ, ATOMIC_WRITE };

// An access of the thread or warp in `now` to what a cell stands for.
template <kind k> inline void touch(cell &c, uint64_t now, uint32_t where, uintptr_t at)
{
    const bool shared = at - r.shared < r.shared_bytes;
    constexpr bool atomic = k == ATOMIC_READ || k == ATOMIC_WRITE;
    const char *is = k == READ || k == ATOMIC_READ ? "a read" : "a write";

    // Whoever has read since the last write was after it; where two were that no barrier of theirs orders, so are the others
    // of their warp, or block.
    if (k == READ &&
        (c.read == now || c.read == several(now, WARP) ||
         (!r.named && c.read >> BLOCK_BIT == now >> BLOCK_BIT && who_of(c.read) == BLOCK)))
        return;
    if (k == WRITE && c.write == now && c.read == 0)
        return;
    if (c.write != 0 && !(atomic && (c.write & ATOMIC)) && !ordered(c.write, now, shared))
        report("a write", c.write, c.write_at, is, now, where, at);
    if (k == ATOMIC_READ)
        return; // part of a change
    if (k == READ) {
        c.read = add(c.read, now, shared);
        c.read_at = where;
        return;
    }
    if (c.read != 0 && !ordered(c.read, now, shared))
        report("a read", c.read, c.read_at, is, now, where, at);
    c.write = k == ATOMIC_WRITE && (c.write & ATOMIC) ? add(c.write, now | ATOMIC, shared)
              : k == ATOMIC_WRITE                     ? now | ATOMIC
                                                      : now;
    c.write_at = where;
    c.read = 0;
}

// Bytes first .. last of a word that has been touched, or is now, by parts.
template <kind k>
void touch_bytes(page *p, size_t word, int first, int last, uint64_t now, uint32_t where,
                 uintptr_t at)
{
    if (p->bytes == nullptr)
        p->bytes.reset(new cell[4096]());
    cell *bytes = p->bytes.get() + word * 4, &whole = p->words[word];
    if (whole.write != SPLIT) {
        for (int i = 0; i < 4; i++)
            bytes[i] = whole;
        whole.write = SPLIT;
    }
    for (int i = first; i <= last; i++)
        touch<k>(bytes[i], now, where, at + (uintptr_t)i);
    if (k == WRITE && last - first == 3)
        whole = bytes[0];
}

void note_writer(uintptr_t at, size_t n, uint64_t now)
{
    const uint32_t thread = (uint32_t)thread_of(now);

    for (uintptr_t i = (at - r.shared) / 16; i <= (at - r.shared + n - 1) / 16; i++)
        if (i < r.writers.size())
            r.writers[i] = {r.block, thread, (uint32_t)r.fences[thread].size()};
}

template <kind k> inline void access(uintptr_t at, size_t n, uint64_t now, const void *pc)
{
    const uint32_t where = (uint32_t)((uintptr_t)pc - (uintptr_t)__executable_start);

    if (now == 0 || at - r.ignored < r.ignored_bytes ||
        at - (uintptr_t)__start_emu_own < (uintptr_t)(__stop_emu_own - __start_emu_own))
        return;
    if ((k == WRITE || k == ATOMIC_WRITE) && at - r.shared < r.shared_bytes)
        note_writer(at, n, now);
    for (uintptr_t end = at + n; at < end;) {
        page *p = page_of(at / 4096);
        const size_t word = at % 4096 / 4;
        const int first = (int)(at % 4);
        const uintptr_t left = end - at;
        const int last = first + (int)left > 4 ? 3 : first + (int)left - 1;

        if (first == 0 && last == 3 && p->words[word].write != SPLIT)
            touch<k>(p->words[word], now, where, at);
        else
            touch_bytes<k>(p, word, first, last, now, where, at - (uintptr_t)first);
        at += (uintptr_t)(last - first + 1);
    }
}

void tick()
{
    if (++r.clock >= BLOCK_CLOCKS)
        die("the race check has run out of clock");
    memset(r.warp_clock, 0, sizeof r.warp_clock);
    memset(r.known, 0, sizeof r.known);
    memset(r.barriers, 0, sizeof r.barriers);
    r.sets.clear();
    r.larger.clear();
}

void set_now(int thread)
{
    r.now = r.clock << BLOCK_BIT | r.warp_clock[thread / 32] << WARP_BIT | (uint64_t)thread;
}

void next_of_warp(int warp)
{
    if (++r.warp_clock[warp] >= WARP_CLOCKS - 1)
        die("the race check has run out of a warp's clock");
    set_now(thread_of(r.now));
}

} // namespace

void races_ignore(const void *begin, size_t bytes)
{
    r.ignored = (uintptr_t)begin;
    r.ignored_bytes = bytes;
}

void races_shared(const void *begin, size_t bytes)
{
    r.shared = (uintptr_t)begin;
    r.shared_bytes = bytes;
    r.writers.resize((bytes + 15) / 16);
}

void races_launch()
{
    tick();
    r.launch = r.clock;
    r.named = false;
    if (r.pages.size() > MOST) {
        r.pages.clear();
        memset(r.cache, 0, sizeof r.cache);
    }
}

void races_block(int n_threads)
{
    tick();
    r.block = r.clock;
    r.n_threads = n_threads;
    memset(r.left, 0, sizeof r.left[0] * (size_t)n_threads);
    for (int i = 0; i < n_threads; i++)
        r.fences[i].clear();
}

void races_run(int thread)
{
    set_now(thread);
}

void races_stop()
{
    r.now = 0;
}

void races_leave(int thread)
{
    r.left[thread] = r.clock;
}

void races_block_barrier()
{
    const int thread = thread_of(r.now);

    tick();
    if (r.now != 0)
        set_now(thread);
}

void races_warp_barrier(int warp, bool whole)
{
    if (!whole)
        die("the race check does not know barriers of some lanes of a warp");
    next_of_warp(warp);
    r.known[warp].of[warp] = (uint32_t)r.warp_clock[warp];
}

void races_named_come(int barrier, int warp)
{
    r.named = true;
    next_of_warp(warp);
    r.barriers[barrier].join(r.known[warp]);
    r.barriers[barrier].of[warp] = (uint32_t)r.warp_clock[warp];
}

void races_named_met(int barrier, unsigned waiting)
{
    for (int i = 0; i < WARPS; i++)
        if (waiting >> i & 1u)
            r.known[i].join(r.barriers[barrier]);
    r.barriers[barrier] = {};
}

void races_write(const void *at, size_t n, void *where)
{
    access<WRITE>((uintptr_t)at, n, r.now, where);
}

void races_read(const void *at, size_t n, void *where)
{
    access<READ>((uintptr_t)at, n, r.now, where);
}

void races_warp_read(const void *at, size_t n, void *where)
{
    if (r.now != 0)
        access<READ>((uintptr_t)at, n, several(r.now, WARP), where);
}

void races_publish()
{
    if (r.now != 0)
        r.fences[thread_of(r.now)].push_back(r.now);
}

// Beside the order of accesses: the writer's own fence between its write and the barrier.
void races_product_read(const void *at, void *where)
{
    if (r.now == 0)
        return;
    races_warp_read(at, 16, where);
    const writer &w = r.writers[((uintptr_t)at - r.shared) / 16];
    if (w.block != r.block)
        return;
    if (r.fences[w.thread].size() > w.fences &&
        ordered(r.fences[w.thread][w.fences], several(r.now, WARP), true))
        return;
    r.now = 0;
    fprintf(stderr,
            "cuda_emu: a race: no fence and barrier order a product after thread %u wrote %p: ",
            w.thread, at);
    print_place((uint32_t)((uintptr_t)where - (uintptr_t)__executable_start));
    die("block (%u, %u, %u): a race", blockIdx.x, blockIdx.y, blockIdx.z);
}

} // namespace emu

// ---- what the compiler calls

extern "C" {

#define EMU_TSAN(size)                                                                             \
    void __tsan_read##size(void *at)                                                               \
    {                                                                                              \
        emu::access<emu::READ>((uintptr_t)at, size, emu::r.now, EMU_HERE());                       \
    }                                                                                              \
    void __tsan_write##size(void *at)                                                              \
    {                                                                                              \
        emu::access<emu::WRITE>((uintptr_t)at, size, emu::r.now, EMU_HERE());                      \
    }                                                                                              \
    void __tsan_unaligned_read##size(void *at)                                                     \
    {                                                                                              \
        emu::access<emu::READ>((uintptr_t)at, size, emu::r.now, EMU_HERE());                       \
    }                                                                                              \
    void __tsan_unaligned_write##size(void *at)                                                    \
    {                                                                                              \
        emu::access<emu::WRITE>((uintptr_t)at, size, emu::r.now, EMU_HERE());                      \
    }
EMU_TSAN(1)
EMU_TSAN(2)
EMU_TSAN(4)
EMU_TSAN(8)
EMU_TSAN(16)

void __tsan_read_range(void *at, unsigned long n)
{
    emu::access<emu::READ>((uintptr_t)at, n, emu::r.now, EMU_HERE());
}

void __tsan_write_range(void *at, unsigned long n)
{
    emu::access<emu::WRITE>((uintptr_t)at, n, emu::r.now, EMU_HERE());
}

// Atomics of 32 and 64 bits: a load, then attempts to exchange, which succeed since one CPU thread runs.
#define EMU_ATOMIC(bits, type)                                                                     \
    type __tsan_atomic##bits##_load(const volatile type *at, int)                                  \
    {                                                                                              \
        emu::access<emu::ATOMIC_READ>((uintptr_t)at, sizeof(type), emu::r.now, EMU_HERE());        \
        return *at;                                                                                \
    }                                                                                              \
    int __tsan_atomic##bits##_compare_exchange_strong(volatile type *at, type *old, type next,     \
                                                      int, int)                                    \
    {                                                                                              \
        emu::access<emu::ATOMIC_WRITE>((uintptr_t)at, sizeof(type), emu::r.now, EMU_HERE());       \
        if (*at != *old) {                                                                         \
            *old = *at;                                                                            \
            return 0;                                                                              \
        }                                                                                          \
        *at = next;                                                                                \
        return 1;                                                                                  \
    }
EMU_ATOMIC(32, uint32_t)
EMU_ATOMIC(64, uint64_t)

void __tsan_init(void) {}
void __tsan_func_entry(void *) {}
void __tsan_func_exit(void) {}
void __tsan_vptr_update(void **, void *) {}
void __tsan_vptr_read(void **) {}

} // extern "C"
