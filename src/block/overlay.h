/* Temporary layers: see overlay.c. */
#ifndef VIV_BLOCK_OVERLAY_H
#define VIV_BLOCK_OVERLAY_H

#include "block/node.h"

/* A writable node over `base_take` (read-only; taken, also on failure) whose contents die with the process.
 * discard and detect-zeroes come from o. */
int viv_node_overlay(struct viv_node *base_take, const struct viv_node_opts *o, struct viv_node **out,
                     struct viv_err *err);

#endif
