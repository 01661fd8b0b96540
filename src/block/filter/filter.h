/* Filters: nodes that pass requests on to the node below and do something about it. What they have in common. */
#ifndef VIV_BLOCK_FILTER_FILTER_H
#define VIV_BLOCK_FILTER_FILTER_H

#include "block/node.h"

extern const struct viv_blk_driver viv_blk_debug, viv_blk_verify, viv_blk_copy_on_read, viv_blk_throttle;

/* As the node below; `state` is the filter's. */
void viv_filter_init(struct viv_node *n, void *state);
int viv_filter_preadv(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len);
int viv_filter_pwritev(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len);
int viv_filter_status(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out);
int viv_filter_write_zeroes(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags);
int viv_filter_discard(struct viv_node *n, uint64_t offset, uint64_t len);
int viv_filter_truncate(struct viv_node *n, uint64_t size, enum viv_prealloc prealloc, struct viv_err *err);
int viv_filter_close(struct viv_node *n); /* g_free()s the state */

#endif
