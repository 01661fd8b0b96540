/* Bochs' growing disk images, read only. */
#ifndef VIV_BLOCK_FMT_BOCHS_BOCHS_H
#define VIV_BLOCK_FMT_BOCHS_BOCHS_H

#include "block/node.h"

extern const struct viv_blk_driver viv_blk_bochs;

#endif
