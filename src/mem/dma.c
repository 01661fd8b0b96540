/* DMA: copies and mappings of guest RAM, a range of the flat view at a time. */
#include "mem/dma.h"

#include <errno.h>
#include <string.h>

/* Host address of gpa and how many bytes from there on lie in the same range; NULL for MMIO, holes and,
 * to write, ROM. */
static uint8_t *host_at(struct viv_space *s, uint64_t gpa, bool for_write, uint64_t *len)
{
    struct viv_space_range r;

    if (!viv_space_find(s, gpa, &r) || !r.hva || (for_write && r.kind != VIV_REGION_RAM))
        return NULL;
    /* last - gpa + 1 is 0 for a range that is the whole of a 64-bit space: no RAM is that large. */
    if (r.last - gpa < *len)
        *len = r.last - gpa + 1;
    return r.hva + (gpa - r.start);
}

int viv_dma_read(struct viv_space *s, uint64_t gpa, void *buf, uint64_t len)
{
    uint8_t *out = buf;

    while (len) {
        uint64_t n = len;
        const uint8_t *p = host_at(s, gpa, false, &n);

        if (!p)
            return -EFAULT;
        memcpy(out, p, n);
        out += n;
        gpa += n;
        len -= n;
    }
    return 0;
}

int viv_dma_write(struct viv_space *s, uint64_t gpa, const void *buf, uint64_t len)
{
    const uint8_t *in = buf;

    while (len) {
        uint64_t n = len;
        uint8_t *p = host_at(s, gpa, true, &n);

        if (!p)
            return -EFAULT;
        memcpy(p, in, n);
        viv_ram_written(p, n);
        in += n;
        gpa += n;
        len -= n;
    }
    return 0;
}

void *viv_dma_map(struct viv_space *s, uint64_t gpa, uint64_t *len, bool for_write)
{
    uint64_t total = *len;
    uint8_t *base = host_at(s, gpa, for_write, &total);

    if (!base)
        return NULL;
    /* Ranges may be neighbours in the host as well (RAM with its overlays switched off again). */
    while (total < *len) {
        uint64_t n = *len - total;
        uint8_t *next = host_at(s, gpa + total, for_write, &n);

        if (next != base + total)
            break;
        total += n;
    }
    *len = total;
    return base;
}

void viv_dma_unmap(void *hva, uint64_t len, uint64_t written)
{
    viv_ram_written(hva, written < len ? written : len);
}
