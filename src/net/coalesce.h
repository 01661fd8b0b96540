/* Consecutive TCP segments of one connection made into one large frame, for NICs that take such frames: a guest that
 * runs in software spends its time per packet, not per byte.
 *
 * Only what is surely the same as the segments apart is merged: IPv4 without options or fragments, equal headers but for
 * identification, checksums, window and PSH, bytes in sequence. */
#ifndef VIV_NET_COALESCE_H
#define VIV_NET_COALESCE_H

#include "net/net.h"

struct viv_coalesce {
    uint8_t *buf; /* room for VIV_NET_MAX_FRAME; made on first use, freed by the owner */
    size_t len;   /* 0: nothing is held */
    uint32_t next_seq;
    uint16_t header, payload; /* bytes of header, and of data in each segment */
    unsigned segments;
    bool closed; /* a short or pushed segment ends the run */
};

/* Takes the first segment; false: this frame is of another kind and goes its own way. Nothing may be held. */
bool viv_coalesce_start(struct viv_coalesce *c, const uint8_t *frame, size_t len);
/* Takes one more; false: it does not follow. */
bool viv_coalesce_add(struct viv_coalesce *c, const uint8_t *frame, size_t len);
/* Makes the headers right. gso->gso_size is 0 when only one segment came: then it is as it was. */
void viv_coalesce_finish(struct viv_coalesce *c, struct viv_net_hdr *gso);

#endif
