/* Inside node.c and users.c. */
#ifndef VIV_BLOCK_NODE_INT_H
#define VIV_BLOCK_NODE_INT_H

#include "block/node.h"

extern pthread_mutex_t viv_node_lock; /* references, users, names, overlays */

/* users.c: raw, and filters: nothing of their own lies between what stands on them and what is below. */
bool viv_node_is_window(const struct viv_node *n);

#endif
