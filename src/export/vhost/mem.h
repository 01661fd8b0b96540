/* The front end's memory, mapped here. Regions change only while no ring runs. */
#ifndef VIV_EXPORT_VHOST_MEM_H
#define VIV_EXPORT_VHOST_MEM_H

#include "base/err.h"
#include "export/vhost/wire.h"

#include <sys/uio.h>

struct viv_vhost_region {
    uint64_t guest_addr, user_addr, size;
    uint8_t *base;   /* of the region */
    void *map;       /* of the mapping */
    uint64_t map_len;
};

struct viv_vhost_mem {
    struct viv_vhost_region region[VHOST_REGIONS_MAX];
    unsigned count;
};

/* In place of what is there. The descriptors stay the caller's. */
int viv_vhost_mem_set(struct viv_vhost_mem *m, const struct vhost_mem_table *t, const int *fds, unsigned fd_count,
                      struct viv_err *err);
void viv_vhost_mem_clear(struct viv_vhost_mem *m);
/* A range by the front end's own addresses, whole in one region; NULL: it is not, or not aligned. */
void *viv_vhost_mem_user(const struct viv_vhost_mem *m, uint64_t user_addr, uint64_t len, unsigned align);
/* A range of guest addresses as pieces, *cnt of iov[max] more. -EFAULT: not all of it is memory; -E2BIG: too many pieces. */
int viv_vhost_mem_guest(const struct viv_vhost_mem *m, uint64_t guest_addr, uint64_t len, struct iovec *iov, unsigned *cnt,
                        unsigned max);

#endif
