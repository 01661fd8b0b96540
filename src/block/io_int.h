/* What io.c, write.c and zero.c share: locked ranges, and data on its way to a child. */
#ifndef VIV_BLOCK_IO_INT_H
#define VIV_BLOCK_IO_INT_H

#include "block/crypt/crypt.h"
#include "block/node.h"

/* Locks whole granules; nodes without a map that changes (granule 1) need none. */
void viv_io_lock(struct viv_node *n, struct viv_range *r, uint64_t offset, uint64_t len, bool exclusive);
/* Shared, if that can be had at once. */
bool viv_io_trylock(struct viv_node *n, struct viv_range *r, uint64_t offset, uint64_t len);
void viv_io_unlock(struct viv_node *n, struct viv_range *r);
/* Data between a slice of the caller's buffers and `host` of a child (where NULL: file), encrypted where the node is: `offset` is
 * the guest's. Parts of a unit need the range held exclusively. */
int viv_io_transfer(struct viv_node *n, struct viv_node *where, bool write, uint64_t offset, uint64_t host,
                    const struct iovec *iov, int cnt, size_t skip, size_t len);
bool viv_io_partial_unit(const struct viv_node *n, uint64_t offset, uint64_t len);
/* The range is locked (for writing: exclusively) and inside the node. */
int viv_io_read_locked(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t skip, size_t len);
int viv_io_write_locked(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t skip, size_t len);

#endif
