/* null-co: a disk of a given size that forgets everything; for benchmarks. */
#ifndef VIV_BLOCK_PROTO_NULL_NULL_CO_H
#define VIV_BLOCK_PROTO_NULL_NULL_CO_H

#include "block/node.h"

extern const struct viv_blk_driver viv_blk_null_co;
struct viv_node *viv_null_co_new(uint64_t size);

#endif
