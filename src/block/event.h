/* Points in a driver's work that faults and breakpoints hang on (filter/blkdebug). Names as blkdebug's users know them. */
#ifndef VIV_BLOCK_EVENT_H
#define VIV_BLOCK_EVENT_H

#include "block/node.h"

enum viv_event {
    VIV_EVENT_NONE, /* "none": the moment in which blkdebug is opened */
    VIV_EVENT_L1_UPDATE,
    VIV_EVENT_L2_LOAD,
    VIV_EVENT_L2_UPDATE,
    VIV_EVENT_READ_AIO,
    VIV_EVENT_READ_BACKING_AIO,
    VIV_EVENT_READ_COMPRESSED,
    VIV_EVENT_WRITE_AIO,
    VIV_EVENT_WRITE_COMPRESSED,
    VIV_EVENT_COW_READ,
    VIV_EVENT_COW_WRITE,
    VIV_EVENT_REFTABLE_LOAD,
    VIV_EVENT_REFTABLE_UPDATE,
    VIV_EVENT_REFBLOCK_LOAD,
    VIV_EVENT_REFBLOCK_UPDATE,
    VIV_EVENT_REFBLOCK_ALLOC,
    VIV_EVENT_CLUSTER_ALLOC,
    VIV_EVENT_CLUSTER_FREE,
    VIV_EVENT_FLUSH_TO_OS,
    VIV_EVENT_FLUSH_TO_DISK,
    VIV_EVENT_PWRITEV,
    VIV_EVENT_PWRITEV_DONE,
    VIV_EVENTS
};

extern const char *const viv_event_names[]; /* by event; NULL-terminated */
/* -1: there is no such event. */
int viv_event_find(const char *name);

/* A driver is there: told to whatever listens in `n` and below it. May block, at a breakpoint. */
static inline void viv_node_event(struct viv_node *n, enum viv_event e)
{
    for (; n; n = n->file)
        if (n->drv->event)
            n->drv->event(n, e);
}

/* Breakpoints: the next request that meets the event waits until it is resumed, or for limit_ms (0: for ever). Of the first listener in
 * `n` and below; -ENOTSUP: there is none, -ENOENT: no such event or tag. */
int viv_node_break(struct viv_node *n, const char *event, const char *tag, unsigned limit_ms);
int viv_node_break_remove(struct viv_node *n, const char *tag); /* resumes, too */
int viv_node_break_resume(struct viv_node *n, const char *tag);
/* Blocks until a request waits there; -ETIMEDOUT: none did in limit_ms (0: no limit). */
int viv_node_break_wait(struct viv_node *n, const char *tag, unsigned limit_ms);
/* All of them, before n is closed: it would wait for the requests that they hold. */
void viv_node_break_clear(struct viv_node *n);

#endif
