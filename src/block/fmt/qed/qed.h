/* QED: two levels of tables, no reference counts. */
#ifndef VIV_BLOCK_FMT_QED_QED_H
#define VIV_BLOCK_FMT_QED_QED_H

#include "block/node.h"

extern const struct viv_blk_driver viv_blk_qed;

#endif
