// A kernel's run: blocks, their fibers, barriers and shared memory. Streams and memory are emu_runtime.cc's.
#include "tests/cuda_emu/emu_run.h"
#include "tests/cuda_emu/mma.h"
#include "tests/cuda_emu/product.h"
#include "tests/cuda_emu/races.h"

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
#endif

// Together, so that the race check knows them: whoever runs has his own.
#define EMU_OWN __attribute__((section("emu_own")))
EMU_OWN uint3 threadIdx, blockIdx;
EMU_OWN dim3 blockDim, gridDim;

namespace emu
{

EMU_OWN int lane, warp;
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

// ---- fibers

// Stacks lie behind each other and begin at different places of a page: what threads keep at the same depth would else
// share a few lines of the caches.
constexpr size_t STACK_BYTES = (size_t)256 << 10, MOST_THREADS = 1024;
constexpr size_t STACK_SHIFT = 17 * 64, SHIFTS = 61;

enum fiber_state { READY, AT_BLOCK_BARRIER, AT_WARP_BARRIER, AT_NAMED_BARRIER, DONE };
constexpr int NAMED = 16;            // barriers of some threads of a block
constexpr int FOR_REGISTERS = NAMED; // in place of a barrier's number
constexpr size_t SHARED_ROOM =
    SHARED_BYTES + 1024; // what a block has does not begin at a multiple of 1,024

struct copy {
    void *dst;
    const void *src;
    int bytes, taken;
    void *where; // for the race check
};

// Registers of a thread that products are to have, or have.
struct lent {
    const void *at;
    bool given;                  // a fence came
    int products;                // that are under way with it
    std::vector<unsigned> holds; // what it held at the fence; then what the products work on
};

struct fiber {
    void *sp = nullptr;
    char *stack_end = nullptr;
    fiber *next = nullptr; // in the order in which threads run
    fiber_state state = DONE;
    uint3 thread;
    int lane, warp;
    std::deque<std::vector<copy>> groups; // asynchronous copies by commit, the last one open
    std::deque<std::vector<group_product>> products; // the same
    std::vector<void *> landed;                      // copies that are not published
    std::vector<lent> registers;                     // D and A
    int named = 0;                                   // the barrier of some threads that it waits at
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

struct packet {
    unsigned char bytes[64];
};

// Lanes that meet: those of one mask in one warp. A lane can be one meeting ahead of another, not two.
constexpr int MASKS = 8; // of one warp in one block
struct meeting {
    unsigned mask = 0, arrived = 0;
    unsigned generation = 0;
    packet packets[2][32]; // what each brings
    bool made = false;     // what a meeting makes together; whoever goes on first after it makes it
};

// A barrier of some warps of a block.
struct named_state {
    int arrived = 0, expected = 0; // threads
    unsigned generation = 1;
    unsigned waiting = 0;   // warps
    unsigned came[32] = {}; // the generation that a warp came to last
};

// The products of a warpgroup that not all of its warps have made yet.
struct same_product {
    unsigned long left, right;
    int n;
    unsigned kind;
    bool operator!=(const same_product &o) const
    {
        return left != o.left || right != o.right || n != o.n || kind != o.kind;
    }
};
struct group_state {
    std::deque<same_product> products;
    long made[4] = {}, gone = 0; // by its warps; how many are no longer in the list
    int registers[4] = {};       // of a thread of its warps
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
    char *dynamic = nullptr; // of it what the launch asked for, once it was seen
    size_t shared_used = 0;
    size_t array_bytes = 0; // of the arrays alone
    shared_bytes limit = {};
    std::vector<char> unpublished; // a piece of 16 bytes of shared memory each
    std::vector<std::pair<const void *, char *>> arrays; // key, place
    named_state named[NAMED];
    group_state groups[8];
    int free_registers = 0; // of the block, for the threads of one warp each
    char *stacks = nullptr;
    unsigned order = 0;     // of new streams
    size_t last_blocks = 0; // of a grid, that run alone; 0: all do
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
    if (to == &e.main)
        races_stop();
    else
        races_run(to->warp * 32 + to->lane);
    emu_switch(&from->sp, to->sp);
}

// The running thread waits, or has ended: the next one that can run does; none can: main goes on.
void give_way()
{
    fiber *self = e.running, *f = self->next;

    while (f->state != READY && f != self)
        f = f->next;
    go(f->state == READY ? f : &e.main);
}

void release_block()
{
    e.n_at_barrier = 0;
    e.barrier_generation++;
    e.count[e.barrier_generation & 1u] = 0;
    e.counts.block_barriers++;
    races_block_barrier();
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
    fiber *self = e.running;
    (*e.body)();
    if (self->products.size() != 1 || !self->products.front().empty())
        die("thread %d ends while its products are under way", self->warp * 32 + self->lane);
    self->state = DONE;
    races_leave(self->warp * 32 + self->lane);
    e.n_done++;
    check_block_barrier(); // a thread that has left counts no more
    give_way();
    die("a thread that had ended ran again");
}

void prepare(fiber *f)
{
#if defined(__SANITIZE_ADDRESS__)
    // The frames of fiber_main and go never returned, all others have.
    __asan_unpoison_memory_region(f->stack_end - 4096, 4096);
#endif
    void **top = (void **)f->stack_end;
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
    f->registers.clear();
}

void report_deadlock()
{
    int at_warp = 0, at_named = 0, last_named = 0;

    for (int i = 0; i < e.n_threads; i++) {
        const fiber *f = e.fibers[(size_t)i].get();
        at_warp += f->state == AT_WARP_BARRIER;
        at_named += f->state == AT_NAMED_BARRIER;
        last_named = f->state == AT_NAMED_BARRIER ? f->named : last_named;
    }
    die("block (%u, %u, %u): no thread can go on: %d of %d have ended, %d wait at __syncthreads, "
        "%d "
        "for lanes of their warp that do not come, %d at barriers of some threads (one at %d)",
        blockIdx.x, blockIdx.y, blockIdx.z, e.n_done, e.n_threads, e.n_at_barrier, at_warp,
        at_named, last_named);
}

// Makes the ring in which threads take turns.
void set_order(unsigned order)
{
    std::vector<int> turns((size_t)e.n_threads);

    for (int i = 0; i < e.n_threads; i++)
        turns[(size_t)i] = order == 1 ? e.n_threads - 1 - i : i;
    unsigned state = order * 2654435761u + 1;
    for (int i = e.n_threads - 1; order > 1 && i > 0; i--) {
        state = state * 1664525u + 1013904223u;
        std::swap(turns[(size_t)i], turns[(size_t)(state >> 8) % (size_t)(i + 1)]);
    }
    for (int i = 0; i < e.n_threads; i++)
        e.fibers[(size_t)turns[(size_t)i]]->next =
            e.fibers[(size_t)turns[(size_t)((i + 1) % e.n_threads)]].get();
    e.main.next = e.fibers[(size_t)turns[0]].get();
}

// Takes bytes of the block's shared memory. They hold NaN in every format: what was there before.
char *take_shared(size_t bytes, size_t after = 0)
{
    const size_t at = e.shared_used + after;

    if (at + bytes > SHARED_ROOM)
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
        e.shared = (char *)aligned_alloc(1024, SHARED_ROOM);
    races_shared(e.shared, SHARED_ROOM);
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(e.shared, SHARED_ROOM);
#endif
    memset(e.shared, 0xff, e.shared_used == 0 ? SHARED_ROOM : e.shared_used);
#if defined(__SANITIZE_ADDRESS__)
    __asan_poison_memory_region(e.shared, SHARED_ROOM);
#endif
    e.shared_used = e.array_bytes = 0;
    e.dynamic = nullptr;
    e.unpublished.assign(SHARED_ROOM / 16, 0);
    e.arrays.clear();
    e.arrays.reserve(64); // no thread of a block may allocate it
}

void begin_groups()
{
    for (group_state &g : e.groups) {
        g = {};
        std::fill_n(g.registers, 4, std::min(255, 65536 / e.n_threads) / 8 * 8); // at the launch
    }
    e.free_registers = 0;
}

// Warps of a warpgroup have done the same.
void end_groups()
{
    for (const group_state &g : e.groups)
        for (int i = 1; i < 4; i++)
            if (g.made[i] != g.made[0] || g.registers[i] != g.registers[0])
                die("warps of a warpgroup made %ld and %ld products and end with %d and %d "
                    "registers a thread",
                    g.made[0], g.made[i], g.registers[0], g.registers[i]);
}

void run_block(uint3 block, dim3 block_dim, dim3 grid_dim)
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
    begin_groups();
    for (int i = 0; i < n; i++) {
        fiber *f = e.fibers[(size_t)i].get();
        unsigned u = (unsigned)i;
        f->thread = {u % block_dim.x, u / block_dim.x % block_dim.y,
                     u / (block_dim.x * block_dim.y)};
        f->lane = i % 32;
        f->warp = i / 32;
        prepare(f);
    }
    races_block(n);
    e.running = &e.main;
    go(e.main.next);
    if (e.n_done < n)
        report_deadlock();
    for (int i = 0; i < NAMED; i++)
        if (e.named[i].arrived != 0)
            die("a block ends while %d threads of %d have come to barrier %d", e.named[i].arrived,
                e.named[i].expected, i);
    end_groups();
    e.counts.blocks++;
}

} // namespace

namespace
{

void make_fibers()
{
    if (e.stacks == nullptr) {
        e.stacks = (char *)mmap(nullptr, MOST_THREADS * STACK_BYTES, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (e.stacks == MAP_FAILED)
            die("no memory for stacks");
        races_ignore(e.stacks, MOST_THREADS * STACK_BYTES);
    }
    while ((int)e.fibers.size() < e.n_threads) {
        const size_t i = e.fibers.size();
        e.fibers.push_back(std::make_unique<fiber>());
        e.fibers.back()->stack_end = e.stacks + (i + 1) * STACK_BYTES - i % SHIFTS * STACK_SHIFT;
    }
}

} // namespace

void run_grid(dim3 grid, dim3 block, shared_bytes bytes, unsigned order,
              const std::function<void()> &body)
{
    e.body = &body;
    e.limit = bytes;
    e.n_threads = (int)(block.x * block.y * block.z);
    make_fibers();
    set_order(order);
    races_launch();
    const size_t n_blocks = (size_t)grid.x * grid.y * grid.z;
    const size_t none =
        e.last_blocks > 0 && e.last_blocks < n_blocks ? n_blocks - e.last_blocks : 0;
    for (size_t i = none; i < n_blocks; i++) {
        // no block may rely on another
        const size_t at = order == 0 ? i : n_blocks - 1 - (i - none);
        run_block({(unsigned)(at % grid.x), (unsigned)(at / grid.x % grid.y),
                   (unsigned)(at / grid.x / grid.y)},
                  block, grid);
    }
    e.counts.launches++;
}

namespace
{

// Where the lanes of mask meet; the running lane is one of them.
meeting *meeting_of(unsigned *mask)
{
    meeting *all = e.meetings[(size_t)warp]->data();
    const int lanes = std::min(32, e.n_threads - warp * 32);

    if (lanes < 32)
        *mask &= (1u << lanes) - 1u;
    if (!(*mask >> lane & 1u))
        die("lane %d takes part in a warp operation whose mask %08x leaves it out", lane, *mask);
    for (int i = 0; i < MASKS; i++)
        if (all[i].mask == *mask || all[i].mask == 0) {
            all[i].mask = *mask;
            return &all[i];
        }
    die("more than %d masks in one warp", MASKS);
}

// The running lane waits for the others of the meeting; its packet is there. orders: memory, too.
void meet(meeting *m, bool orders)
{
    fiber *self = e.running;

    m->arrived |= 1u << lane;
    if (m->arrived != m->mask) {
        self->state = AT_WARP_BARRIER;
        give_way();
        return;
    }
    m->arrived = 0;
    m->generation++;
    m->made = false;
    const int lanes = std::min(32, e.n_threads - warp * 32);
    for (int i = 0; i < lanes; i++)
        if (m->mask >> i & 1u)
            e.fibers[(size_t)(warp * 32 + i)]->state = READY;
    e.counts.warp_barriers++;
    if (orders)
        races_warp_barrier(warp, m->mask == (lanes < 32 ? (1u << lanes) - 1u : 0xffffffffu));
}

// Gives every lane of mask what each brought.
template <class T> packet *exchange(unsigned mask, const T &mine, meeting **at = nullptr)
{
    meeting *m = meeting_of(&mask);
    packet *all = m->packets[m->generation & 1u];

    static_assert(sizeof mine <= sizeof all->bytes);
    memcpy(all[lane].bytes, &mine, sizeof mine);
    meet(m, false);
    if (at != nullptr)
        *at = m;
    return all;
}

// The value of lane `from`.
template <class T> void take_from(unsigned mask, void *value, int from)
{
    T mine;

    memcpy(&mine, value, sizeof mine);
    memcpy(value, exchange(mask, mine)[from].bytes, sizeof mine);
}

} // namespace

void *dynamic_shared(size_t alignment)
{
    if (e.dynamic == nullptr) {
        const size_t beyond = e.shared_used % 1024;
        const size_t after = alignment > 128 ? (1024 - beyond) % 1024 : beyond == 0 ? 128 : 0;
        e.dynamic = take_shared(e.limit.dynamic, after);
    }
    if ((uintptr_t)e.dynamic % alignment != 0)
        die("the launch's shared memory begins at multiples of 128 and of %zu", alignment);
    return e.dynamic;
}

void *static_shared(const void *key, size_t bytes)
{
    for (auto &a : e.arrays)
        if (a.first == key)
            return a.second;
    // Arrays lie before what the launch asks for, which begins at a multiple of 128.
    e.array_bytes = (e.array_bytes + 15) / 16 * 16 + bytes;
    const size_t before = e.limit.dynamic > 0 ? (e.array_bytes + 127) / 128 * 128 : e.array_bytes;
    if (before + e.limit.dynamic > e.limit.most)
        die("%zu bytes of shared memory in arrays and %zu of the launch; a block gets %zu here",
            e.array_bytes, e.limit.dynamic, e.limit.most);
    e.arrays.emplace_back(key, take_shared(bytes, 16)); // aligned as far as is asked for
    return e.arrays.back().second;
}

int block_barrier_count(int predicate)
{
    fiber *self = e.running;
    const unsigned generation = e.barrier_generation;

    e.count[generation & 1u] += predicate != 0;
    self->state = AT_BLOCK_BARRIER;
    e.n_at_barrier++;
    check_block_barrier();
    if (self->state != READY)
        give_way();
    return e.count[generation & 1u];
}

void block_barrier()
{
    (void)block_barrier_count(0);
}

namespace
{

// The running lane's warp comes to a barrier.
void come(int id, int n, bool wait)
{
    named_state &b = e.named[id];

    if (b.arrived > 0 && b.expected != n)
        die("barrier %d is of %d threads and of %d", id, b.expected, n);
    if (b.came[warp] == b.generation)
        die("a warp comes to barrier %d twice before others have come", id);
    b.came[warp] = b.generation;
    b.expected = n;
    b.arrived += 32;
    b.waiting |= wait ? 1u << warp : 0u;
    races_named_come(id, warp);
    if (b.arrived < n)
        return;
    races_named_met(id, b.waiting);
    b.arrived = 0;
    b.waiting = 0;
    b.generation++;
    for (int i = 0; i < e.n_threads; i++) {
        fiber *f = e.fibers[(size_t)i].get();
        if (f->state == AT_NAMED_BARRIER && f->named == id)
            f->state = READY;
    }
}

} // namespace

void named_barrier(int id, int n, bool wait)
{
    fiber *self = e.running;
    unsigned mask = 0xffffffffu;

    if (id < 1 || id >= NAMED || n % 32 != 0 || n > e.n_threads || e.n_threads % 32 != 0)
        die("barrier %d of %d threads cannot be", id, n);
    meeting *m = meeting_of(&mask);
    meet(m,
         false); // a warp comes as a whole (PTX ISA, "bar"), which orders nothing among its lanes
    if (!m->made) {
        m->made = true;
        come(id, n, wait);
    }
    const named_state &b = e.named[id];
    while (wait && b.generation == b.came[warp]) {
        self->named = id;
        self->state = AT_NAMED_BARRIER;
        give_way();
    }
}

namespace
{

// The running lane's warp changes its registers; false: there are not so many yet.
bool change_registers(int n, bool take)
{
    int &present = e.groups[warp / 4].registers[warp % 4];

    if (take ? n < present : n > present)
        die("setmaxnreg from %d to %d registers", present, n);
    if (n - present > e.free_registers)
        return false;
    e.free_registers -= n - present;
    present = n;
    for (int i = 0; i < e.n_threads && !take; i++) {
        fiber *f = e.fibers[(size_t)i].get();
        if (f->state == AT_NAMED_BARRIER && f->named == FOR_REGISTERS)
            f->state = READY;
    }
    return true;
}

} // namespace

void set_registers(int n, bool take)
{
    fiber *self = e.running;
    unsigned mask = 0xffffffffu;

    if (e.n_threads % 128 != 0 || e.n_threads > 1024)
        die("setmaxnreg in a block of %d threads", e.n_threads);
    meeting *m = meeting_of(&mask);
    meet(m, false);
    while (!m->made) {
        m->made = change_registers(n, take);
        if (m->made)
            break;
        self->named = FOR_REGISTERS;
        self->state = AT_NAMED_BARRIER;
        give_way();
    }
}

void warp_barrier(unsigned mask)
{
    meet(meeting_of(&mask), true);
}

void shuffle(unsigned mask, void *value, size_t bytes, int from)
{
    switch (bytes) {
    case 4:
        return take_from<unsigned>(mask, value, from);
    case 8:
        return take_from<unsigned long>(mask, value, from);
    default:
        die("a shuffle of %zu bytes is not emulated", bytes);
    }
}

unsigned lanes_with(unsigned mask, unsigned long value, bool all_equal)
{
    const unsigned long mine = value;
    const packet *all = exchange(mask, mine);
    unsigned out = 0;

    for (int i = 0; i < 32; i++)
        if (mask >> i & 1u) {
            unsigned long other = 0;
            memcpy(&other, all[i].bytes, sizeof other);
            out |= (all_equal ? other == mine : other != 0) ? 1u << i : 0u;
        }
    return out;
}

#include "tests/cuda_emu/copies.h"
#include "tests/cuda_emu/products.h"
// uses both
#include "tests/cuda_emu/group_products.h"

} // namespace emu

extern "C" void emu_set_order(unsigned order)
{
    emu::e.order = order;
}

unsigned emu::present_order()
{
    return e.order;
}

extern "C" void emu_run_last_blocks(int n)
{
    emu::e.last_blocks = (size_t)n;
}

extern "C" long long emu_bank_conflicts(void)
{
    return emu::e.counts.bank_conflicts;
}

extern "C" long long emu_launches(void)
{
    return emu::e.counts.launches;
}

emu_counts emu_read_counts()
{
    return emu::e.counts;
}
