/* Copying the contents of one node to another, as convert does. */
#ifndef VIV_CMD_IMG_COPY_H
#define VIV_CMD_IMG_COPY_H

#include "block/node.h"

struct img_copy {
    struct viv_node *source, *target;
    bool target_zero; /* the target reads as zeroes before */
    uint64_t
        sparse; /* -S: zero runs of at least this many bytes are left out; 0: write everything */
    unsigned threads; /* 1..16 */
    bool any_order;   /* -W: write as chunks come, not in the order of the disk */
    bool progress;
};

/* All of the source to the start of the target, which is at least as large. With a backing file on the target only what
 * differs from it is written. Returns 0 or a negative errno, err naming side and offset. */
int img_copy(const struct img_copy *c, struct viv_err *err);

#endif
