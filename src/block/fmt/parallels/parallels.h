/* Parallels' expandable image: one table. */
#ifndef VIV_BLOCK_FMT_PARALLELS_PARALLELS_H
#define VIV_BLOCK_FMT_PARALLELS_PARALLELS_H

#include "block/node.h"

extern const struct viv_blk_driver viv_blk_parallels;

#endif
