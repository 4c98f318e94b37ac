// Stands in for kernels/table.c: every device but "ref" is the CUDA backend's own, over the emulated runtime, with the
// CPU's kernels as work of its streams. So whatever is linked with it runs on a device whose memory faults when the
// host touches it, and whose streams are late: a kernel, a copy or a fill happens when somebody waits for it and no
// sooner. What comes out must be what the CPU gives, to the bit.
//
// For the whole program (AXL_LATE_PROGRAM) only the CUDA device is this: kernels/table.c stays, and with it what
// device: auto, cuda and cpu mean.
//
// Arguments are looked through for pointers into host memory, which a GPU could not follow.
#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda_backend.h"
#include "tests/cuda_emu/emu_test.h"
#include "tests/cuda_emu/nccl_emulated.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static axl_device *cpu; // runs the kernels; made once, never destroyed

// Whether a word of an argument struct is an address of this process that no device knows. Programs and heaps lie at
// 0x55.. and 0x56.., stacks and maps at 0x7f..; no size or pair of sizes in tests comes near. A small lower half is a
// number whose padding holds what lay there, and a low byte of 0 or 1 may be a flag with such padding.
static bool is_host_pointer(uint64_t word)
{
    const uint64_t top = word >> 40;
    const void *p;

    if (word << 32 >> 52 == 0 || (word & 0xff) <= 1 ||
        (top != 0x55 && top != 0x56 && top != 0x7f && top != 0x7e))
        return false;
    memcpy(&p, &word, sizeof p);
    return !emu_is_device(p) && !emu_is_pinned(p);
}

static void look_for_host_pointers(const char *entry, const void *args, size_t bytes)
{
    for (size_t at = 0; at + sizeof(uint64_t) <= bytes; at += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, (const char *)args + at, sizeof word);
        if (is_host_pointer(word)) {
            (void)fprintf(stderr, "%s: the argument at byte %zu points into host memory\n", entry,
                          at);
            abort();
        }
    }
}

static void queue(axl_stream *s, void (*work)(void *), void (*release)(void *), const void *args,
                  size_t bytes)
{
    void *copy = malloc(bytes);

    if (copy == NULL)
        abort();
    emu_nccl_busy();
    memcpy(copy, args, bytes);
    emu_push_repeated(axl_cuda_stream(s), work, copy, release);
}

static void must(axl_status status, const char *entry)
{
    if (status != AXL_OK) {
        (void)fprintf(stderr, "%s: %s\n", entry, axl_error_message());
        abort();
    }
}

// NOLINTBEGIN(bugprone-macro-parentheses): args is a type
#define ENTRY(entry, args)                                                                         \
    static void work_##entry(void *a)                                                              \
    {                                                                                              \
        must(cpu->kernels->entry(cpu->compute, a), #entry);                                        \
    }                                                                                              \
    static axl_status late_##entry(axl_stream *s, const args *a)                                   \
    {                                                                                              \
        if (strcmp(#entry, "gemm_grouped") != 0 && strcmp(#entry, "cast_list") != 0 &&             \
            strcmp(#entry, "sum_parts") != 0)                                                      \
            look_for_host_pointers(#entry, a, sizeof *a);                                          \
        axl_cuda_note_launch(s, #entry, 1, 1, 1, 1);                                               \
        queue(s, work_##entry, free, a, sizeof *a);                                                \
        return AXL_OK;                                                                             \
    }
AXL_KERNEL_LIST(ENTRY)
// NOLINTEND(bugprone-macro-parentheses)

// The lists of groups are host memory, and the caller's again after the call.
static void work_grouped(void *args)
{
    axl_gemm_grouped_args *a = args;

    must(cpu->kernels->gemm_grouped(cpu->compute, a), "gemm_grouped");
}

static void release_grouped(void *args)
{
    axl_gemm_grouped_args *a = args;

    free((void *)(uintptr_t)a->begin);
    free((void *)(uintptr_t)a->matrix);
    free(a);
}

static axl_status grouped(axl_stream *s, const axl_gemm_grouped_args *a)
{
    axl_gemm_grouped_args own = *a;
    const size_t n = (size_t)a->n_groups;
    int64_t *begin = malloc((n + 1) * sizeof *begin);
    int32_t *matrix = malloc((n + 1) * sizeof *matrix);

    if (begin == NULL || matrix == NULL)
        abort();
    memcpy(begin, a->begin, (n + 1) * sizeof *begin);
    memcpy(matrix, a->matrix, n * sizeof *matrix);
    own.begin = begin;
    own.matrix = matrix;
    queue(s, work_grouped, release_grouped, &own, sizeof own);
    return AXL_OK;
}

// The same of lists of arrays.
#define LIST_ENTRY(entry, args, item)                                                              \
    static void release_##entry(void *a)                                                           \
    {                                                                                              \
        free((void *)(uintptr_t)((args *)a)->items);                                               \
        free(a);                                                                                   \
    }                                                                                              \
    static axl_status listed_##entry(axl_stream *s, const args *a)                                 \
    {                                                                                              \
        args own = *a;                                                                             \
        item *items = malloc(((size_t)a->n_items + 1) * sizeof *items);                            \
        if (items == NULL)                                                                         \
            abort();                                                                               \
        memcpy(items, a->items, (size_t)a->n_items * sizeof *items);                               \
        for (int i = 0; i < a->n_items; i++)                                                       \
            look_for_host_pointers(#entry, &items[i], sizeof items[i]);                            \
        own.items = items;                                                                         \
        axl_cuda_note_launch(s, #entry, 1, 1, 1, 1);                                               \
        queue(s, work_##entry, release_##entry, &own, sizeof own);                                 \
        return AXL_OK;                                                                             \
    }
// NOLINTBEGIN(bugprone-macro-parentheses): args and item are types
LIST_ENTRY(cast_list, axl_cast_list_args, axl_cast_args)
LIST_ENTRY(sum_parts, axl_sum_parts_args, axl_sum_parts_item)
// NOLINTEND(bugprone-macro-parentheses)

#define FIELD(entry, args) .entry = late_##entry,
const axl_kernels axl_kernels_cuda = {.name = "emulated", AXL_KERNEL_LIST(FIELD)};

// Only for who waits for other ranks: they may wait for what this one has queued.
static axl_status progress(axl_device *d)
{
    (void)d;
    emu_nccl_idle();
    return AXL_OK;
}

static axl_status create_late(int n_threads, axl_device **out)
{
    axl_status status = AXL_OK;
    static axl_kernels all;
    static axl_device_ops ops;

    if (cpu == NULL)
        AXL_TRY(axl_cpu_device_create(axl_cpu_kernels(axl_cpu_best_level()), n_threads, &cpu));
    all = axl_kernels_cuda;
    all.gemm_grouped = grouped;
    all.cast_list = listed_cast_list;
    all.sum_parts = listed_sum_parts;
    AXL_TRY(axl_cuda_device_create(0, out));
    (*out)->kernels = &all;
    ops = *(*out)->ops;
    ops.progress = progress;
    (*out)->ops = &ops;

out:
    return status;
}

#ifdef AXL_LATE_PROGRAM
// What kernels/table.c, built for this, calls as axl_cuda_device_create.
axl_status axl_late_device_create(int local_rank, axl_device **out);
axl_status axl_late_device_create(int local_rank, axl_device **out)
{
    (void)local_rank;
    return create_late(0, out);
}

axl_status axl_cuda_describe_cudnn(axl_str *out)
{
    return axl_str_puts(out, "no cuDNN");
}
#else
axl_status axl_device_create(const axl_device_options *o, axl_device **out)
{
    if (o->backend != NULL && strcmp(o->backend, "ref") == 0)
        return axl_cpu_device_create(&axl_kernels_ref, o->n_threads, out);
    if (o->backend != NULL && strcmp(o->backend, "host") == 0)
        return axl_cpu_device_create(axl_cpu_kernels(axl_cpu_best_level()), o->n_threads, out);
    return create_late(o->n_threads, out);
}

axl_status axl_kernels_accelerators(axl_str *out)
{
    return axl_cuda_describe(0, out);
}

bool axl_kernels_take_gpu(void)
{
    return false; // `device: auto` gets the late device in any case
}

void axl_device_destroy(axl_device *d)
{
    if (d != NULL)
        d->ops->destroy(d);
}
#endif
