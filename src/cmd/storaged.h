/* viv-storaged's parts. */
#ifndef VIV_CMD_STORAGED_H
#define VIV_CMD_STORAGED_H

#include "mon/command.h"

struct viv_node;

extern const struct viv_mon_cmd storaged_cmds[], storaged_bitmap_cmds[], storaged_job_cmds[];

/* storaged_nodes.c: query-named-block-nodes; what one node has to tell, as BlockDeviceInfo. `flat`: without the images below
 * it. */
json_t *storaged_node_json(struct viv_node *n, bool flat);

#endif
