/* Loads and stores through a space: what a vCPU does when its access is not plain RAM.
 *
 * An access is cut into pieces, each inside one range; a piece to an I/O region is shaped to what the
 * handler implements (space.h says how). */
#include "mem/space_int.h"

#include "base/checked.h"
#include "host/lock.h"

#include <string.h>

static uint64_t low_bytes(uint64_t v, unsigned size)
{
    return size >= 8 ? v : v & ((1ull << (8 * size)) - 1);
}

/* ---- shaping for a handler ---- */

struct shape {
    const struct viv_region_ops *ops;
    void *opaque;
    unsigned min, max;
};

static struct shape shape_of(const struct viv_region_desc *d)
{
    struct shape s = {d->ops, d->opaque, d->ops->min_size ? d->ops->min_size : 1,
                      d->ops->max_size ? d->ops->max_size : 4};

    return s;
}

/* The largest power of two that fits in len, the handler's width and (unless it does without) alignment. */
static unsigned step_size(const struct shape *s, uint64_t off, unsigned len)
{
    unsigned n = s->max;

    while (n > len || (!s->ops->unaligned && !viv_is_aligned(off, n)))
        n /= 2;
    return n;
}

static uint64_t read_step(const struct shape *s, uint64_t off, unsigned n)
{
    uint64_t unit = viv_align_down(off, s->min);

    if (n >= s->min)
        return low_bytes(s->ops->read(s->opaque, off, n), n);
    /* An access at the end of an unaligned unit may reach into the next one: not with n < min. */
    if (off - unit + n > s->min)
        unit = off;
    return low_bytes(s->ops->read(s->opaque, unit, s->min) >> (8 * (off - unit)), n);
}

static void write_step(const struct shape *s, uint64_t off, uint64_t v, unsigned n)
{
    uint64_t unit = viv_align_down(off, s->min);

    v = low_bytes(v, n);
    if (n >= s->min) {
        s->ops->write(s->opaque, off, v, n);
        return;
    }
    if (off - unit + n > s->min)
        unit = off;
    s->ops->write(s->opaque, unit, v << (8 * (off - unit)), s->min);
}

static uint64_t io_read(const struct viv_region_desc *d, uint64_t off, unsigned len)
{
    struct shape s = shape_of(d);
    uint64_t v = 0;

    if (!s.ops->read)
        return low_bytes(UINT64_MAX, len);
    for (unsigned done = 0, n; done < len; done += n) {
        n = step_size(&s, off + done, len - done);
        v |= read_step(&s, off + done, n) << (8 * done);
    }
    return v;
}

static void io_write(const struct viv_region_desc *d, uint64_t off, uint64_t v, unsigned len)
{
    struct shape s = shape_of(d);

    if (!s.ops->write)
        return;
    for (unsigned done = 0, n; done < len; done += n) {
        n = step_size(&s, off + done, len - done);
        write_step(&s, off + done, v >> (8 * done), n);
    }
}

/* ---- one piece, inside one range ---- */

static uint64_t load_host(const uint8_t *p, unsigned len)
{
    uint64_t v = 0;

    /* One access of the guest's width where there is one: other vCPUs must not see halves. */
    switch (len) {
    case 1:
        return __atomic_load_n(p, __ATOMIC_RELAXED);
    case 2:
        return viv_is_aligned((uintptr_t)p, 2)
                   ? __atomic_load_n((const uint16_t *)p, __ATOMIC_RELAXED)
                   : (memcpy(&v, p, 2), v);
    case 4:
        return viv_is_aligned((uintptr_t)p, 4)
                   ? __atomic_load_n((const uint32_t *)p, __ATOMIC_RELAXED)
                   : (memcpy(&v, p, 4), v);
    case 8:
        if (viv_is_aligned((uintptr_t)p, 8))
            return __atomic_load_n((const uint64_t *)p, __ATOMIC_RELAXED);
    }
    memcpy(&v, p, len);
    return v;
}

static void store_host(uint8_t *p, uint64_t v, unsigned len)
{
    if (len == 1)
        __atomic_store_n(p, (uint8_t)v, __ATOMIC_RELAXED);
    else if (len == 2 && viv_is_aligned((uintptr_t)p, 2))
        __atomic_store_n((uint16_t *)p, (uint16_t)v, __ATOMIC_RELAXED);
    else if (len == 4 && viv_is_aligned((uintptr_t)p, 4))
        __atomic_store_n((uint32_t *)p, (uint32_t)v, __ATOMIC_RELAXED);
    else if (len == 8 && viv_is_aligned((uintptr_t)p, 8))
        __atomic_store_n((uint64_t *)p, v, __ATOMIC_RELAXED);
    else
        memcpy(p, &v, len);
    viv_ram_written(p, len);
}

/* Bytes from addr on that lie in one range (f filled, true) or in a hole. */
static bool piece_at(struct viv_space *s, uint64_t addr, unsigned want, struct viv_flat *f,
                     unsigned *len)
{
    bool hit = viv_space_find_flat(s, addr, f);
    uint64_t room = hit ? f->r.last - addr : f->r.last ? f->r.start - addr - 1 : UINT64_MAX;

    *len = room >= want - 1 ? want : (unsigned)room + 1;
    return hit;
}

static uint64_t read_piece(const struct viv_flat *f, uint64_t addr, unsigned len)
{
    uint64_t delta = addr - f->r.start;

    if (f->r.hva)
        return load_host(f->r.hva + delta, len);
    return io_read(viv_region_desc_of(f->r.region), f->r.region_offset + delta, len);
}

static void write_piece(const struct viv_flat *f, uint64_t addr, uint64_t v, unsigned len)
{
    uint64_t delta = addr - f->r.start;

    if (f->r.kind == VIV_REGION_RAM) {
        store_host(f->r.hva + delta, v, len);
        return;
    }
    if (viv_region_desc_of(f->r.region)->ops)
        io_write(viv_region_desc_of(f->r.region), f->r.region_offset + delta, v, len);
}

uint64_t viv_space_read_locked(struct viv_space *s, uint64_t addr, unsigned size)
{
    uint64_t v = 0;

    for (unsigned done = 0, len; done < size; done += len) {
        struct viv_flat f;
        uint64_t part;

        /* Past the top of the space (addr wraps) nothing answers. */
        if (!piece_at(s, addr + done, size - done, &f, &len))
            part = low_bytes(UINT64_MAX, len);
        else
            part = read_piece(&f, addr + done, len);
        v |= part << (8 * done);
    }
    return v;
}

void viv_space_write_locked(struct viv_space *s, uint64_t addr, uint64_t value, unsigned size)
{
    for (unsigned done = 0, len; done < size; done += len) {
        struct viv_flat f;

        if (piece_at(s, addr + done, size - done, &f, &len))
            write_piece(&f, addr + done, value >> (8 * done), len);
    }
}

/* ---- for vCPUs: the device lock only where a handler wants it ---- */

static bool without_lock(struct viv_space *s, uint64_t addr, unsigned size, bool write,
                         struct viv_flat *f)
{
    unsigned len;

    if (!piece_at(s, addr, size, f, &len))
        return false;
    return len == size &&
           (f->lockless || f->r.kind == VIV_REGION_RAM || (f->r.kind == VIV_REGION_ROM && !write));
}

uint64_t viv_space_read(struct viv_space *s, uint64_t addr, unsigned size)
{
    struct viv_flat f;
    uint64_t v;

    if (without_lock(s, addr, size, false, &f))
        return read_piece(&f, addr, size);
    viv_dev_lock();
    v = viv_space_read_locked(s, addr, size);
    viv_dev_unlock();
    return v;
}

void viv_space_write(struct viv_space *s, uint64_t addr, uint64_t value, unsigned size)
{
    struct viv_flat f;

    if (without_lock(s, addr, size, true, &f)) {
        write_piece(&f, addr, value, size);
        return;
    }
    viv_dev_lock();
    viv_space_write_locked(s, addr, value, size);
    viv_dev_unlock();
}
