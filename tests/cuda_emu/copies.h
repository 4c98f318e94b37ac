// The part of emu.cc that makes asynchronous copies to shared memory; it is included there, in namespace emu, after the fibers.
#ifndef AXL_CUDA_EMU_COPIES_H
#define AXL_CUDA_EMU_COPIES_H

unsigned shared_address(const void *p)
{
    return (unsigned)((const char *)p - e.shared);
}

unsigned factor_address(const void *p)
{
    const unsigned at = shared_address(p);

    if (at % 16 != 0 || at >= SHARED_ROOM)
        die("a descriptor of %p, which is no multiple of 16 of shared memory", p);
    return at;
}

void async_publish()
{
    for (const void *p : e.running->landed)
        e.unpublished[shared_address(p) / 16] = 0;
    e.running->landed.clear();
    races_publish();
}

void async_copy(void *dst, const void *src, int bytes, int taken)
{
    if ((uintptr_t)dst % (uintptr_t)bytes != 0 ||
        (taken > 0 && (uintptr_t)src % (uintptr_t)bytes != 0))
        die("an asynchronous copy between %p and %p is not aligned", src, dst);
    races_write(dst, (size_t)bytes, EMU_HERE()); // it may land now, or when it is waited for
    memset(dst, 0xff, (size_t)bytes);            // what a reader finds who does not wait
    e.running->groups.back().push_back({dst, src, bytes, taken, EMU_HERE()});
}

void async_commit()
{
    e.running->groups.emplace_back();
}

void async_wait(int groups_left)
{
    auto &groups = e.running->groups;

    while ((int)groups.size() - 1 > groups_left) {
        for (const copy &c : groups.front()) {
            races_write(c.dst, (size_t)c.bytes, c.where);
            races_read(c.src, (size_t)c.taken, c.where);
            memset(c.dst, 0, (size_t)c.bytes);
            memcpy(c.dst, c.src, (size_t)c.taken);
            if (c.bytes == 16) {
                e.unpublished[shared_address(c.dst) / 16] = 1;
                e.running->landed.push_back(c.dst);
            }
        }
        groups.pop_front();
    }
}

#endif
