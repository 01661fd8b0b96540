/* cloop: a compressed loop device's image, read only. */
#ifndef VIV_BLOCK_FMT_CLOOP_CLOOP_H
#define VIV_BLOCK_FMT_CLOOP_CLOOP_H

#include "block/node.h"

extern const struct viv_blk_driver viv_blk_cloop;

#endif
