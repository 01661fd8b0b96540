/* Changes of the graph under users who go on: another backing file, another node for the same handles, other rights.
 *
 * Between viv_graph_begin() and viv_graph_end() no request of any handle is under way, and nobody walks along the chains. Who walks them
 * without a handle (jobs, block status) does so between viv_graph_enter() and viv_graph_leave(); these nest.
 *
 * Order: the graph, then ranges (range.h). Who waits for the graph may wait for somebody who waits for a range; so nobody enters it, the
 * first time in its thread, with a range held. */
#ifndef VIV_BLOCK_GRAPH_H
#define VIV_BLOCK_GRAPH_H

#include "block/blk.h"

/* Any thread, without the device lock. They nest. */
void viv_graph_begin(void);
void viv_graph_end(void);
void viv_graph_enter(void);
void viv_graph_leave(void);

/* The change `fn`, in a thread of its own between begin and end, while the loop is served. Loop thread, device lock held; fn has it not. */
int viv_graph_run(int (*fn)(void *opaque, struct viv_err *err), void *opaque, struct viv_err *err);

/* -EBUSY while one is under way: what else would change nodes, or look into them, comes later. Loop thread. */
int viv_graph_check_quiet(struct viv_err *err);

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
/* The header's name and format of the backing file (NULL: none), durably. What is below stays. */
int viv_node_write_backing(struct viv_node *n, const char *name, const char *format, struct viv_err *err);
/* For other rights than it was opened with, and the file below it too. On failure it is as it was. */
int viv_node_set_read_only(struct viv_node *n, bool read_only, struct viv_err *err);
/* Outside too: somebody is going to write. A file that nobody uses and that is only read because nobody has wanted more
 * (auto-read-only) is opened to be written; all else stays as it is. */
int viv_node_wake_writable(struct viv_node *n, struct viv_err *err);

/* What can be another one of an open node. References of its own. */
struct viv_node_change {
    struct viv_node *n;
    bool read_only, stays_read_only, direct, no_flush, unmap;
    bool keep_right; /* auto-read-only: read_only stays what it is when it cannot be changed */
    int detect_zeroes;
    struct viv_node *file, *backing; /* NULL: none */
    struct viv_raw_opts *given;      /* the driver's own options; NULL: none */
    bool undoes;         /* it was done: once more undoes it, */
    bool file_read_only; /* and the file gets its right back too */
};
/* As the node is now. */
void viv_node_change_init(struct viv_node_change *c, struct viv_node *n);
void viv_node_change_fini(struct viv_node_change *c);
/* Do several of them go together? */
int viv_reopen_check(const struct viv_node_change *c, size_t count, struct viv_err *err);
/* The node becomes what `c` says, and `c` what the node was, so that the same once more undoes it. On failure it is as it was. */
int viv_node_exchange(struct viv_node_change *c, struct viv_err *err);

#endif
