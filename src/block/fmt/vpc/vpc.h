/* Virtual PC's disk images (VHD): dynamic and fixed, as Microsoft's "Virtual Hard Disk Image Format Specification" 1.0 has them. */
#ifndef VIV_BLOCK_FMT_VPC_VPC_H
#define VIV_BLOCK_FMT_VPC_VPC_H

#include "block/node.h"

extern const struct viv_blk_driver viv_blk_vpc;

#endif
