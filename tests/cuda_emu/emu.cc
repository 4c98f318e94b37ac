// A kernel's run: blocks, their fibers, barriers and shared memory. Streams and memory are emu_runtime.cc's.
#include "tests/cuda_emu/emu_run.h"
#include "tests/cuda_emu/mma.h"
#include "tests/cuda_emu/product.h"

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <sys/mman.h>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(AXL_EMU_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace emu
{

int lane, warp;
bool in_device;

[[noreturn]] void die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fputs("cuda_emu: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    abort();
}

namespace
{

// ---- what the race check is told; nothing without it

#if defined(AXL_EMU_TSAN)
extern "C" void __tsan_write_range(void *at, unsigned long bytes);
extern "C" void __tsan_read_range(void *at, unsigned long bytes);
void note_copy(void *dst, const void *src, int bytes, int taken)
{
    __tsan_write_range(dst, (unsigned long)bytes);
    __tsan_read_range(const_cast<void *>(src), (unsigned long)taken);
}
void note_read(void *at, int bytes)
{
    __tsan_read_range(at, (unsigned long)bytes);
}
void release(void *at)
{
    __tsan_release(at);
}
void acquire(void *at)
{
    __tsan_acquire(at);
}
#else
void note_copy(void *, const void *, int, int) {}
void note_read(void *, int) {}
void release(void *) {}
void acquire(void *) {}
#endif

// Lanes hand packets over by the engine, not through memory: the sanitizers' memcpy must not see it.
void copy_unseen(void *dst, const void *src, size_t n)
{
    asm volatile("rep movsb" : "+D"(dst), "+S"(src), "+c"(n) : : "memory");
}

// ---- fibers

constexpr size_t STACK_BYTES = (size_t)256 << 10;

enum fiber_state { READY, AT_BLOCK_BARRIER, AT_WARP_BARRIER, DONE };

struct copy {
    void *dst;
    const void *src;
    int bytes, taken;
};

struct group_product { // of a warpgroup
    float *d;
    unsigned long a, b;
    bool mn_a, mn_b;
};

struct fiber {
    void *sp = nullptr;
    char *stack = nullptr;
    fiber_state state = DONE;
    uint3 thread;
    int lane, warp;
    std::deque<std::vector<copy>> groups; // asynchronous copies by commit, the last one open
    std::deque<std::vector<group_product>> products; // the same
    std::vector<void *> landed;                      // copies that are not published
    const float *given = nullptr;                    // D, from its begin to the end of its products
#if defined(__SANITIZE_ADDRESS__)
    void *fake_stack = nullptr;
    size_t stack_bytes = STACK_BYTES;
#endif
#if defined(AXL_EMU_TSAN)
    void *tsan = nullptr;
#endif
};

// Saves the callee-saved registers on the present stack, leaves its top in *from, and goes on at to.
extern "C" void emu_switch(void **from, void *to);
asm(R"(
    .text
    .globl emu_switch
    .type emu_switch, @function
emu_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size emu_switch, .-emu_switch
)");

// Lanes that meet: those of one mask in one warp. A lane can be one meeting ahead of another, not two.
constexpr int MASKS = 8; // of one warp in one block
struct meeting {
    unsigned mask = 0, arrived = 0;
    unsigned generation = 0;
    packet packets[2][32];
    bool made = false; // what a meeting makes together; whoever goes on first after it makes it
};

struct engine {
    std::vector<std::unique_ptr<fiber>> fibers;
    fiber main;
    fiber *running = nullptr;
    const std::function<void()> *body = nullptr;
    int n_threads = 0, n_done = 0, n_at_barrier = 0;
    int count[2] = {0, 0}; // predicates of the barrier that is met, and of the one before
    unsigned barrier_generation = 0;
    std::vector<std::unique_ptr<std::array<meeting, MASKS>>>
        meetings; // [warp]; a free one has mask 0
    char *shared =
        nullptr; // SHARED_BYTES: the dynamic part, then the arrays, as they are first asked for
    size_t shared_used = 0;
    std::vector<char> unpublished; // a piece of 16 bytes of shared memory each
    std::vector<std::pair<const void *, char *>> arrays; // key, place
    char start = 0, barrier = 0, finish = 0;             // addresses for the race check
    unsigned order = 0;
    emu_counts counts = {};
};

engine e;

void go(fiber *to)
{
    fiber *from = e.running;

    e.running = to;
    threadIdx = to->thread;
    lane = to->lane;
    warp = to->warp;
#if defined(AXL_EMU_TSAN)
    __tsan_switch_to_fiber(to->tsan, 1 /* orders nothing */);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(from->state == DONE && from != &e.main ? nullptr
                                                                          : &from->fake_stack,
                                   to->stack, to->stack_bytes);
#endif
    emu_switch(&from->sp, to->sp);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(from->fake_stack, nullptr, nullptr);
#endif
}

void release_block()
{
    e.n_at_barrier = 0;
    e.barrier_generation++;
    e.count[e.barrier_generation & 1u] = 0;
    e.counts.block_barriers++;
    for (int i = 0; i < e.n_threads; i++)
        if (e.fibers[(size_t)i]->state == AT_BLOCK_BARRIER)
            e.fibers[(size_t)i]->state = READY;
}

void check_block_barrier()
{
    if (e.n_at_barrier > 0 && e.n_at_barrier == e.n_threads - e.n_done)
        release_block();
}

void fiber_main()
{
#if defined(__SANITIZE_ADDRESS__)
    const void *bottom = nullptr;
    size_t bytes = 0;
    __sanitizer_finish_switch_fiber(nullptr, &bottom, &bytes);
    if (e.main.stack == nullptr) { // the first switch comes from the program's own stack
        e.main.stack = (char *)const_cast<void *>(bottom);
        e.main.stack_bytes = bytes;
    }
#endif
    fiber *self = e.running;
    acquire(&e.start);
    (*e.body)();
    release(&e.finish);
    self->state = DONE;
    e.n_done++;
    check_block_barrier(); // a thread that has left counts no more
    go(&e.main);
    die("a thread that had ended ran again");
}

void prepare(fiber *f)
{
    if (f->stack == nullptr) {
        f->stack = (char *)mmap(nullptr, STACK_BYTES, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (f->stack == MAP_FAILED)
            die("no memory for stacks");
    }
#if defined(__SANITIZE_ADDRESS__)
    // The frames of fiber_main and go never returned, all others have.
    __asan_unpoison_memory_region(f->stack + STACK_BYTES - 4096, 4096);
#endif
    void **top = (void **)(f->stack + STACK_BYTES);
    *--top = nullptr; // the return address of fiber_main; the stack is aligned as after a call
    *--top = (void *)&fiber_main; // where emu_switch returns to
    for (int i = 0; i < 6; i++)
        *--top = nullptr;
    f->sp = top;
    f->state = READY;
    if (f->groups.size() != 1 || !f->groups.front().empty())
        f->groups.assign(1, {});
    if (f->products.size() != 1 || !f->products.front().empty())
        f->products.assign(1, {});
    f->landed.clear();
    f->given = nullptr;
#if defined(AXL_EMU_TSAN)
    // kept from block to block: making one is slow, and blocks are ordered as a whole
    if (f->tsan == nullptr)
        f->tsan = __tsan_create_fiber(0);
#endif
}

void report_deadlock()
{
    int at_warp = 0;

    for (int i = 0; i < e.n_threads; i++)
        at_warp += e.fibers[(size_t)i]->state == AT_WARP_BARRIER;
    die("block (%u, %u, %u): no thread can go on: %d of %d have ended, %d wait at __syncthreads, "
        "%d for lanes "
        "of their warp that do not come",
        blockIdx.x, blockIdx.y, blockIdx.z, e.n_done, e.n_threads, e.n_at_barrier, at_warp);
}

void run_threads()
{
    std::vector<int> order((size_t)e.n_threads);

    for (int i = 0; i < e.n_threads; i++)
        order[(size_t)i] = e.order == 1 ? e.n_threads - 1 - i : i;
    unsigned state = e.order * 2654435761u + 1;
    for (int i = e.n_threads - 1; e.order > 1 && i > 0; i--) {
        state = state * 1664525u + 1013904223u;
        std::swap(order[(size_t)i], order[(size_t)(state >> 8) % (size_t)(i + 1)]);
    }
    while (e.n_done < e.n_threads) {
        bool ran = false;
        for (int i : order) {
            fiber *f = e.fibers[(size_t)i].get();
            if (f->state != READY)
                continue;
            ran = true;
            go(f);
        }
        if (!ran)
            report_deadlock();
    }
}

// Takes bytes of the block's shared memory. They hold NaN in every format: what was there before.
char *take_shared(size_t bytes)
{
    const size_t at = e.shared_used;

    if (at + bytes > SHARED_BYTES)
        die("a block uses more than %zu bytes of shared memory", SHARED_BYTES);
    e.shared_used = (at + bytes + 64 + 127) / 128 * 128; // a gap that an overrun hits
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(e.shared + at, bytes);
#endif
    return e.shared + at;
}

void reset_shared()
{
    if (e.shared == nullptr)
        e.shared = (char *)aligned_alloc(1024, SHARED_BYTES);
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(e.shared, SHARED_BYTES);
#endif
    memset(e.shared, 0xff, e.shared_used == 0 ? SHARED_BYTES : e.shared_used);
#if defined(__SANITIZE_ADDRESS__)
    __asan_poison_memory_region(e.shared, SHARED_BYTES);
#endif
    e.shared_used = 0;
    e.unpublished.assign(SHARED_BYTES / 16, 0);
    e.arrays.clear();
    e.arrays.reserve(64); // no thread of a block may allocate it
}

void run_block(uint3 block, dim3 block_dim, dim3 grid_dim, size_t shared_bytes)
{
    const int n = e.n_threads;

    blockIdx = block;
    blockDim = block_dim;
    gridDim = grid_dim;
    e.n_done = e.n_at_barrier = 0;
    e.count[0] = e.count[1] = 0;
    while (e.meetings.size() < (size_t)(n + 31) / 32)
        e.meetings.push_back(std::make_unique<std::array<meeting, MASKS>>());
    for (auto &warp_meetings : e.meetings)
        for (meeting &m : *warp_meetings)
            m.mask = m.arrived = 0;
    reset_shared();
    (void)take_shared(shared_bytes);
    for (int i = 0; i < n; i++) {
        fiber *f = e.fibers[(size_t)i].get();
        unsigned u = (unsigned)i;
        f->thread = {u % block_dim.x, u / block_dim.x % block_dim.y,
                     u / (block_dim.x * block_dim.y)};
        f->lane = i % 32;
        f->warp = i / 32;
        prepare(f);
    }
    release(&e.start);
    run_threads();
    acquire(&e.finish);
    e.counts.blocks++;
}

} // namespace

void run_grid(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()> &body)
{
    e.body = &body;
    e.n_threads = (int)(block.x * block.y * block.z);
    while ((int)e.fibers.size() < e.n_threads)
        e.fibers.push_back(std::make_unique<fiber>());
    e.running = &e.main;
#if defined(AXL_EMU_TSAN)
    e.main.tsan = __tsan_get_current_fiber();
#endif
    const size_t n_blocks = (size_t)grid.x * grid.y * grid.z;
    for (size_t i = 0; i < n_blocks; i++) {
        const size_t at = e.order == 0 ? i : n_blocks - 1 - i; // no block may rely on another
        run_block({(unsigned)(at % grid.x), (unsigned)(at / grid.x % grid.y),
                   (unsigned)(at / grid.x / grid.y)},
                  block, grid, shared_bytes);
    }
    e.counts.launches++;
}

namespace
{

// Lanes of mask wait for each other. Returns the generation that was met.
meeting *meet(unsigned mask, const void *bytes, int n, unsigned *generation)
{
    fiber *self = e.running;
    meeting *all = e.meetings[(size_t)warp]->data();
    meeting *m = nullptr;
    const int lanes = std::min(32, e.n_threads - warp * 32);

    if (lanes < 32)
        mask &= (1u << lanes) - 1u;
    if (!(mask >> lane & 1u))
        die("lane %d takes part in a warp operation whose mask %08x leaves it out", lane, mask);
    for (int i = 0; i < MASKS && m == nullptr; i++)
        if (all[i].mask == mask || all[i].mask == 0)
            m = &all[i];
    if (m == nullptr)
        die("more than %d masks in one warp", MASKS);
    m->mask = mask;
    *generation = m->generation;
    if (n > 0)
        copy_unseen(m->packets[*generation & 1u][lane].bytes, bytes, (size_t)n);
    m->arrived |= 1u << lane;
    if (m->arrived == mask) {
        m->arrived = 0;
        m->generation++;
        m->made = false;
        for (int i = 0; i < lanes; i++) {
            fiber *f = e.fibers[(size_t)(warp * 32 + i)].get();
            if ((mask >> i & 1u) && f != self)
                f->state = READY;
        }
        e.counts.warp_barriers++;
        return m;
    }
    self->state = AT_WARP_BARRIER;
    go(&e.main);
    return m;
}

} // namespace

void *dynamic_shared()
{
    return e.shared;
}

void *static_shared(const void *key, size_t bytes)
{
    for (auto &a : e.arrays)
        if (a.first == key)
            return a.second;
    e.arrays.emplace_back(key, take_shared(bytes));
    return e.arrays.back().second;
}

int block_barrier_count(int predicate)
{
    fiber *self = e.running;
    const unsigned generation = e.barrier_generation;

    release(&e.barrier);
    e.count[generation & 1u] += predicate != 0;
    self->state = AT_BLOCK_BARRIER;
    e.n_at_barrier++;
    check_block_barrier();
    if (self->state != READY)
        go(&e.main);
    acquire(&e.barrier);
    return e.count[generation & 1u];
}

void block_barrier()
{
    (void)block_barrier_count(0);
}

void warp_barrier(unsigned mask)
{
    unsigned generation = 0;

    release(e.meetings[(size_t)warp].get());
    (void)meet(mask, nullptr, 0, &generation);
    acquire(e.meetings[(size_t)warp].get());
}

const packet *warp_exchange(unsigned mask, const void *bytes, int n)
{
    unsigned generation = 0;
    meeting *m = meet(mask, bytes, n, &generation);

    return m->packets[generation & 1u];
}

#include "tests/cuda_emu/products.h"

} // namespace emu

extern "C" void emu_set_order(unsigned order)
{
    emu::e.order = order;
}

extern "C" long long emu_bank_conflicts(void)
{
    return emu::e.counts.bank_conflicts;
}

emu_counts emu_read_counts()
{
    return emu::e.counts;
}
