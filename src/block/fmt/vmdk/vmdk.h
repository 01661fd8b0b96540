/* VMware disk images: a descriptor and its extents, sparse, flat, compressed. */
#ifndef VIV_BLOCK_FMT_VMDK_VMDK_H
#define VIV_BLOCK_FMT_VMDK_VMDK_H

#include "block/node.h"

extern const struct viv_blk_driver viv_blk_vmdk;

#endif
