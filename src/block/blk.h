/* Handles on nodes, for those inside the block layer and its tools that have a node already. */
#ifndef VIV_BLOCK_BLK_H
#define VIV_BLOCK_BLK_H

#include "block/block.h"
#include "block/node.h"

/* Takes the reference, also on failure. writethrough: each write is durable at completion. */
int viv_blk_new(struct viv_node *node_take, unsigned perms, unsigned shared, const char *user,
                bool writethrough, struct viv_blk **out, struct viv_err *err);
/* One more for the user of `b`, which it does not mind, with rights of its own: on the same node, counted and limited together with it. It may
 * outlive it. Device lock held. */
int viv_blk_new_beside(struct viv_blk *b, unsigned perms, const char *user, struct viv_blk **out, struct viv_err *err);
/* Its io_uring, borrowed; NULL: threads do all. */
struct viv_ring *viv_blk_ring(struct viv_blk *b);
/* Borrowed. Who has not the device lock looks at it between viv_graph_enter() and viv_graph_leave(): it may be another one afterwards. */
struct viv_node *viv_blk_node(struct viv_blk *b);

/* Device lock held. May the users of `n`, all but one (NULL: all), find another size? -EBUSY and who could not be told. */
int viv_blk_check_resize(struct viv_node *n, uint64_t size, const struct viv_blk *but, struct viv_err *err);
void viv_blk_tell_resized(struct viv_node *n, const struct viv_blk *but);

/* For graph.c: no request of any handle is under way, and none begins, until the release. Not with the device lock held. */
void viv_blk_hold_all(void);
void viv_blk_release_all(void);
/* Between the two: the handles on `from` have `to` in its place, with the same rights. On failure some may have it already. */
int viv_blk_move_all(struct viv_node *from, struct viv_node *to, struct viv_err *err);

#endif
