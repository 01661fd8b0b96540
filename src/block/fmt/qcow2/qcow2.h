/* qcow2, versions 2 and 3. */
#ifndef VIV_BLOCK_FMT_QCOW2_QCOW2_H
#define VIV_BLOCK_FMT_QCOW2_QCOW2_H

#include "block/node.h"

extern const struct viv_blk_driver viv_blk_qcow2;

/* What the header says of the backing file; both NULL without one. Borrowed from the node. */
void viv_qcow2_backing(struct viv_node *n, const char **name, const char **format);

#endif
