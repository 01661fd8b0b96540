/* VirtualBox disk images: dynamic and static, version 1.1. */
#ifndef VIV_BLOCK_FMT_VDI_VDI_H
#define VIV_BLOCK_FMT_VDI_VDI_H

#include "block/node.h"

extern const struct viv_blk_driver viv_blk_vdi;

#endif
