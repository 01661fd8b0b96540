/* Changes of the graph under users who go on: another backing file, another node for the same handles, other rights.
 *
 * Between viv_graph_begin() and viv_graph_end() no request of any handle is under way, and nobody walks along the chains. Who walks them
 * without a handle (jobs, block status) does so between viv_graph_enter() and viv_graph_leave(); these nest. */
#ifndef VIV_BLOCK_GRAPH_H
#define VIV_BLOCK_GRAPH_H

#include "block/blk.h"

/* Any thread, without the device lock. */
void viv_graph_begin(void);
void viv_graph_end(void);
void viv_graph_enter(void);
void viv_graph_leave(void);

/* Inside: */

void viv_node_add_hook(struct viv_node *n, struct viv_node_hook *h);
void viv_node_remove_hook(struct viv_node *n, struct viv_node_hook *h);
/* Another image below (NULL: none); what was there is given back to be put when the change is over. The header says nothing of it. */
struct viv_node *viv_node_swap_backing(struct viv_node *n, struct viv_node *backing);
/* The handles on `from` go over to `to`. */
static inline int viv_graph_move_users(struct viv_node *from, struct viv_node *to, struct viv_err *err)
{
    return viv_blk_move_all(from, to, err);
}
/* For other rights than it was opened with, and the file below it too. On failure it is as it was. */
int viv_node_set_read_only(struct viv_node *n, bool read_only, struct viv_err *err);

#endif
