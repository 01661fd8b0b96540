/* Requests that need nothing but bytes at one place of one host file: what a ring does (ring.c), and what the thread that asks can do
 * itself when no disk is waited for. Everything else is for a handle's threads: allocations, zeroes, compressed and encrypted clusters,
 * backing files, writes that are to be durable, ranges that another request holds, memory that O_DIRECT does not take. */
#ifndef VIV_BLOCK_PLAIN_H
#define VIV_BLOCK_PLAIN_H

#include "block/node.h"

struct viv_plain {
    struct viv_node *file;
    uint64_t host;
    struct viv_range range; /* held, where the node has a map */
};

/* Where it goes, with its range held: the descriptor; -1: it is not such a request. `writable`: the handle. */
int viv_plain_find(struct viv_node *n, bool writable, const struct viv_blk_req *q, struct viv_plain *out);
void viv_plain_release(struct viv_node *n, struct viv_plain *p);
/* A write has ended; `whole`: all of it is there. Before the range is released. */
void viv_plain_wrote(struct viv_node *n, const struct viv_plain *p, const struct viv_blk_req *q, bool whole);
/* In this thread, from the page cache. -EAGAIN: not such a request, or it would wait; doing it again from the start does no harm. */
int viv_plain_try(struct viv_node *n, bool writable, const struct viv_blk_req *q);

#endif
