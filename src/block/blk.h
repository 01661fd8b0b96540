/* Handles on nodes, for those inside the block layer and its tools that have a node already. */
#ifndef VIV_BLOCK_BLK_H
#define VIV_BLOCK_BLK_H

#include "block/block.h"
#include "block/node.h"

/* Takes the reference, also on failure. writethrough: each write is durable at completion. */
int viv_blk_new(struct viv_node *node_take, unsigned perms, unsigned shared, const char *user,
                bool writethrough, struct viv_blk **out, struct viv_err *err);
struct viv_node *viv_blk_node(struct viv_blk *b); /* borrowed */

#endif
