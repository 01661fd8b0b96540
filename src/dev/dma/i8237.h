/* ISA DMA as devices see it: a channel, its request line, bytes moved with its terminal count. Device lock held. */
#ifndef VIV_DEV_DMA_I8237_H
#define VIV_DEV_DMA_I8237_H

#include "bus/dev.h"

/* `d` is board->isa_dma. `ready` is called when the channel of a device that holds its request comes to be served: it was masked
 * until then. -EINVAL: there is no such channel (0-3 move bytes, 5-7 words; 4 joins the two chips); -EBUSY: somebody has it. */
int viv_i8237_claim(struct viv_dev *d, unsigned channel, void (*ready)(void *opaque), void *opaque);
void viv_i8237_release(struct viv_dev *d, unsigned channel);

/* The request line (DREQ). The device then looks itself whether it is served. */
void viv_i8237_request(struct viv_dev *d, unsigned channel, bool on);
bool viv_i8237_served(struct viv_dev *d, unsigned channel);

/* Moves up to len bytes (of a word channel: an even number) between buf and where the channel points, and returns how many;
 * 0 when it is not served. *tc: its count has run out with the last of them. A channel that was told the other direction, or to
 * verify, moves nothing but counts; what a device takes then is FFh. */
size_t viv_i8237_move(struct viv_dev *d, unsigned channel, void *buf, size_t len, bool to_memory, bool *tc);

#endif
