/* Apple's disk images (UDIF), read only. */
#ifndef VIV_BLOCK_FMT_DMG_DMG_H
#define VIV_BLOCK_FMT_DMG_DMG_H

#include "block/node.h"

extern const struct viv_blk_driver viv_blk_dmg;

#endif
