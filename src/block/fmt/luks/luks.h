/* LUKS version 1 images: a header with key slots, then the encrypted disk. */
#ifndef VIV_BLOCK_FMT_LUKS_LUKS_H
#define VIV_BLOCK_FMT_LUKS_LUKS_H

#include "block/node.h"

extern const struct viv_blk_driver viv_blk_luks;

#endif
