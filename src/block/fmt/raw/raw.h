/* The raw format: bytes as they are. */
#ifndef VIV_BLOCK_FMT_RAW_RAW_H
#define VIV_BLOCK_FMT_RAW_RAW_H

#include "block/node.h"

extern const struct viv_blk_driver viv_blk_raw;

#endif
