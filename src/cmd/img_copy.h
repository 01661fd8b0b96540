/* Copying the contents of one node to another: convert, dd, commit and rebase. */
#ifndef VIV_CMD_IMG_COPY_H
#define VIV_CMD_IMG_COPY_H

#include "block/node.h"
#include "cmd/img_progress.h"

enum img_offload {
    IMG_OFFLOAD_NO,
    IMG_OFFLOAD_SHARE, /* by blocks that source and target share, where their file system can: takes no room and no time */
    IMG_OFFLOAD_COPY,  /* also by a copy in the kernel, which finds no zeroes */
};

struct img_copy {
    struct viv_node *source, *target;
    uint64_t source_offset, target_offset;
    uint64_t len;     /* bytes; both have them */
    bool target_zero; /* the target reads as zeroes before */
    uint64_t sparse;  /* -S: zero runs of at least this many bytes are left out; 0: write everything */
    unsigned threads; /* 1..16 */
    bool any_order;   /* -W: room is given out as chunks come, not in the order of the disk */
    enum img_offload offload; /* what the host may do itself; not with compression, `compare`, `salvage` or a backing file */
    bool compressed;  /* whole clusters of data are compressed (img_pack.h) */
    bool salvage;     /* sectors that cannot be read become zeroes, with a warning */
    bool quiet;       /* no such warnings */
    bool writethrough; /* each piece is durable before the next one of its thread */
    /* What the source has at an offset of its own: DATA, ZERO, or BACKING for what is not to be copied. NULL:
     * viv_node_status(), and chunks of data may take in zeroes that follow. */
    int (*look)(const struct img_copy *c, uint64_t offset, uint64_t len, struct viv_extent *out);
    void *opaque;          /* for look */
    bool compare;          /* only what differs from `like` (NULL: from zeroes) is written; else: from the target's backing file */
    struct viv_node *like;
    struct img_progress *progress;
    struct img_rate *rate;
};

/* With a backing file on the target only what differs from it is written. Returns 0 or a negative errno, err naming side
 * and offset. */
int img_copy(const struct img_copy *c, struct viv_err *err);
/* Dies of the signal that a copy was interrupted by (-EINTR), if any. */
void img_copy_raise(void);

#endif
