/* Inside node.c and users.c. */
#ifndef VIV_BLOCK_NODE_INT_H
#define VIV_BLOCK_NODE_INT_H

#include "block/node.h"

extern pthread_mutex_t viv_node_lock; /* references, users, names, overlays */

#endif
