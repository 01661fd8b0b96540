/* memory: a disk in memory that is gone when it is closed; for tests and scratch disks. */
#ifndef VIV_BLOCK_PROTO_MEMORY_MEMORY_H
#define VIV_BLOCK_PROTO_MEMORY_MEMORY_H

#include "block/node.h"

extern const struct viv_blk_driver viv_blk_memory;

#endif
