#include "export/vhost/mem.h"

#include "base/checked.h"
#include "base/log.h"
#include "export/vhost/guard.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define REGION_MAX (1ull << 46) /* bytes; address spaces are not larger */

void viv_vhost_mem_clear(struct viv_vhost_mem *m)
{
    for (unsigned i = 0; i < m->count; i++) {
        if (viv_guard_remove(m->region[i].map))
            viv_warn("vhost-user: the front end has cut its memory short: what was under way there is lost");
        munmap(m->region[i].map, m->region[i].map_len);
    }
    m->count = 0;
}

/* All of it must lie in the file; guard.h is for files that are cut short later. */
static int check_region(const struct vhost_region *r, int fd, struct viv_err *err)
{
    uint64_t end, unused;
    struct stat st;

    if (fstat(fd, &st) < 0)
        return viv_fail_os(err, errno, "vhost-user: a memory region's file");
    if (!r->size || r->size > REGION_MAX || !viv_add_u64(r->mmap_offset, r->size, &end) || end > REGION_MAX ||
        !viv_add_u64(r->guest_addr, r->size, &unused) || !viv_add_u64(r->user_addr, r->size, &unused))
        return viv_fail(err, EINVAL, "vhost-user: a memory region makes no sense");
    if (S_ISREG(st.st_mode) && end > (uint64_t)st.st_size)
        return viv_fail(err, EINVAL, "vhost-user: a memory region ends behind its file");
    return 0;
}

static int map_region(struct viv_vhost_region *out, const struct vhost_region *r, int fd, struct viv_err *err)
{
    int ret = check_region(r, fd, err);
    void *map;

    if (ret)
        return ret;
    /* From the file's start: offsets need not be whole pages, huge ones least of all. */
    map = mmap(NULL, r->mmap_offset + r->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (map == MAP_FAILED)
        return viv_fail_os(err, errno, "vhost-user: a memory region cannot be mapped");
    if (!viv_guard_add(map, r->mmap_offset + r->size)) {
        munmap(map, r->mmap_offset + r->size);
        return viv_fail(err, ENOSPC, "vhost-user: there are too many memory regions already");
    }
    *out = (struct viv_vhost_region){.guest_addr = r->guest_addr,
                                     .user_addr = r->user_addr,
                                     .size = r->size,
                                     .base = (uint8_t *)map + r->mmap_offset,
                                     .map = map,
                                     .map_len = r->mmap_offset + r->size};
    madvise(map, out->map_len, MADV_DONTDUMP);
    return 0;
}

int viv_vhost_mem_set(struct viv_vhost_mem *m, const struct vhost_mem_table *t, const int *fds, unsigned fd_count,
                      struct viv_err *err)
{
    int ret = 0;

    viv_vhost_mem_clear(m);
    if (t->count > VHOST_REGIONS_MAX || t->count != fd_count)
        return viv_fail(err, EINVAL, "vhost-user: %u memory regions with %u files", t->count, fd_count);
    for (unsigned i = 0; i < t->count && !ret; i++) {
        ret = map_region(&m->region[m->count], &t->region[i], fds[i], err);
        m->count += !ret;
    }
    if (ret)
        viv_vhost_mem_clear(m);
    return ret;
}

void *viv_vhost_mem_user(const struct viv_vhost_mem *m, uint64_t user_addr, uint64_t len, unsigned align)
{
    for (unsigned i = 0; i < m->count; i++) {
        const struct viv_vhost_region *r = &m->region[i];
        uint8_t *p;

        if (user_addr < r->user_addr || !viv_range_inside(user_addr - r->user_addr, len, r->size))
            continue;
        p = r->base + (user_addr - r->user_addr);
        return viv_is_aligned((uintptr_t)p, align) ? p : NULL;
    }
    return NULL;
}

static const struct viv_vhost_region *region_of(const struct viv_vhost_mem *m, uint64_t guest_addr)
{
    for (unsigned i = 0; i < m->count; i++)
        if (guest_addr >= m->region[i].guest_addr && guest_addr - m->region[i].guest_addr < m->region[i].size)
            return &m->region[i];
    return NULL;
}

int viv_vhost_mem_guest(const struct viv_vhost_mem *m, uint64_t guest_addr, uint64_t len, struct iovec *iov, unsigned *cnt,
                        unsigned max)
{
    while (len) {
        const struct viv_vhost_region *r = region_of(m, guest_addr);
        uint64_t at, part;

        if (!r)
            return -EFAULT;
        if (*cnt >= max)
            return -E2BIG;
        at = guest_addr - r->guest_addr;
        part = MIN(len, r->size - at);
        iov[(*cnt)++] = (struct iovec){r->base + at, part};
        len -= part;
        if (!viv_add_u64(guest_addr, part, &guest_addr))
            return len ? -EFAULT : 0;
    }
    return 0;
}
