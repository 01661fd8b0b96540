/* The only way for a device to reach guest RAM.
 *
 * Guest memory is hostile and changes under our hands: copy once with viv_dma_read, check the copy, use
 * the copy. Any thread, with or without the device lock; ranges that are not plain RAM: reads and writes
 * reach ROM (read only) and fail with -EFAULT on MMIO and holes. */
#ifndef VIV_MEM_DMA_H
#define VIV_MEM_DMA_H

#include "mem/space.h"

int viv_dma_read(struct viv_space *s, uint64_t gpa, void *buf, uint64_t len);
int viv_dma_write(struct viv_space *s, uint64_t gpa, const void *buf, uint64_t len);

/* Maps up to *len bytes for I/O straight into guest RAM; *len shrinks to what is contiguous on the
 * host. NULL when gpa is not RAM. The pointer stays valid (RAM is never freed), even if the guest
 * remaps memory meanwhile. Every mapping is ended by viv_dma_unmap; after a write mapping the
 * unmap, once the data has arrived, marks pages dirty and invalidates decoded code: `written` is
 * how many bytes the device stored (0 for reads). */
void *viv_dma_map(struct viv_space *s, uint64_t gpa, uint64_t *len, bool for_write);
void viv_dma_unmap(void *hva, uint64_t len, uint64_t written);

#endif
