/* QCOW version 1: two levels of tables, no reference counts. */
#ifndef VIV_BLOCK_FMT_QCOW_QCOW_H
#define VIV_BLOCK_FMT_QCOW_QCOW_H

#include "block/node.h"

extern const struct viv_blk_driver viv_blk_qcow;

#endif
