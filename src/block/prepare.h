/* What disks that come later need, made before the process gives up its rights (host/sandbox.h). */
#ifndef VIV_BLOCK_PREPARE_H
#define VIV_BLOCK_PREPARE_H

/* Some io_urings, given out when no more can be made. Without, or after those, disks do with threads. */
void viv_ring_prepare(void);

#endif
