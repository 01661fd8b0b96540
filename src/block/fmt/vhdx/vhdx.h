/* Hyper-V's disk images (VHDX): dynamic and fixed, as Microsoft's [MS-VHDX] has them. */
#ifndef VIV_BLOCK_FMT_VHDX_VHDX_H
#define VIV_BLOCK_FMT_VHDX_VHDX_H

#include "block/node.h"

extern const struct viv_blk_driver viv_blk_vhdx;

#endif
