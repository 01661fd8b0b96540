/* null-co, null-aio: disks of a given size that forget everything; for benchmarks. */
#ifndef VIV_BLOCK_PROTO_NULL_NULL_CO_H
#define VIV_BLOCK_PROTO_NULL_NULL_CO_H

#include "block/node.h"

extern const struct viv_blk_driver viv_blk_null_co, viv_blk_null_aio;

#endif
