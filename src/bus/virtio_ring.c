/* What both ring formats share: the three areas in guest memory and the gathering of buffers.
 *
 * An area is mapped once when the queue starts. Guest RAM's host addresses never move or vanish (mem/ram.h), so
 * the mapping needs no upkeep. An area that is not contiguous on the host is reached by DMA calls; a guest that puts
 * a ring across two memory regions gets a slow ring, not a broken one. */
#include "bus/virtio_int.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "mem/dma.h"

uint16_t viv_vring_ld16(struct viv_virtq *q, const struct viv_vring_area *a, uint32_t off)
{
    uint8_t raw[2] = {0, 0};

    if (a->hva)
        return le16toh(__atomic_load_n((uint16_t *)(a->hva + off), __ATOMIC_ACQUIRE));
    viv_dma_read(q->v->board->mem, a->gpa + off, raw, sizeof(raw));
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return viv_ld_le16(raw);
}

void viv_vring_st16(struct viv_virtq *q, const struct viv_vring_area *a, uint32_t off, uint16_t v)
{
    uint8_t raw[2];

    if (a->hva) {
        __atomic_store_n((uint16_t *)(a->hva + off), htole16(v), __ATOMIC_RELEASE);
        viv_ram_written(a->hva + off, 2);
        return;
    }
    viv_st_le16(raw, v);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    viv_dma_write(q->v->board->mem, a->gpa + off, raw, sizeof(raw));
}

void viv_vring_read(struct viv_virtq *q, const struct viv_vring_area *a, uint32_t off, void *buf,
                    uint32_t len)
{
    if (a->hva) {
        memcpy(buf, a->hva + off, len);
        return;
    }
    memset(buf, 0, len);
    viv_dma_read(q->v->board->mem, a->gpa + off, buf, len);
}

void viv_vring_write(struct viv_virtq *q, const struct viv_vring_area *a, uint32_t off,
                     const void *buf, uint32_t len)
{
    if (a->hva) {
        memcpy(a->hva + off, buf, len);
        viv_ram_written(a->hva + off, len);
        return;
    }
    viv_dma_write(q->v->board->mem, a->gpa + off, buf, len);
}

static bool gather_piece(struct viv_virtq_gather *g, uint64_t gpa, uint64_t *len, bool write)
{
    uint64_t got = *len;
    void *hva;

    if (g->n >= VIV_VIRTQ_MAX_SEGS) {
        viv_virtio_set_broken(g->v, "a request has more than %d segments", VIV_VIRTQ_MAX_SEGS);
        return false;
    }
    hva = viv_dma_map(g->v->board->mem, gpa, &got, write);
    if (!hva || !got) {
        viv_virtio_set_broken(g->v, "a buffer at 0x%llx is not in RAM", (unsigned long long)gpa);
        return false;
    }
    g->iov[g->n].iov_base = hva;
    g->iov[g->n].iov_len = got;
    g->gpa[g->n++] = gpa;
    *len = got;
    return true;
}

bool viv_virtq_gather_add(struct viv_virtq_gather *g, const struct viv_vring_desc *d)
{
    bool write = d->flags & VIV_DESC_WRITE;
    uint64_t gpa = d->addr, left = d->len, end;

    if (!left || !viv_add_u64(gpa, left, &end)) {
        viv_virtio_set_broken(g->v, left ? "a buffer wraps around the address space"
                                         : "a buffer of no length");
        return false;
    }
    if (!write && g->n > g->out_num) {
        /* 2.7.4.2: device-writable descriptors come after all device-readable ones */
        viv_virtio_set_broken(g->v, "a buffer to read follows one to write");
        return false;
    }
    if (g->out_len + g->in_len + left > UINT32_MAX) {
        viv_virtio_set_broken(g->v, "a request of 4 GiB or more");
        return false;
    }
    *(write ? &g->in_len : &g->out_len) += left;
    while (left) {
        uint64_t part = left;

        if (!gather_piece(g, gpa, &part, write))
            return false;
        if (!write)
            g->out_num = g->n;
        gpa += part;
        left -= part;
    }
    return true;
}

/* One 16-byte entry of a table outside the ring. Split: {addr, len, flags, next} (2.7.5); packed:
 * {addr, len, id, flags} (2.8.5). */
static bool load_indirect(struct viv_virtq_gather *g, uint64_t gpa, bool chained,
                          struct viv_vring_desc *out)
{
    uint8_t raw[16];

    if (viv_dma_read(g->v->board->mem, gpa, raw, sizeof(raw)) < 0) {
        viv_virtio_set_broken(g->v, "an indirect table at 0x%llx is not in RAM",
                              (unsigned long long)gpa);
        return false;
    }
    out->addr = viv_ld_le64(raw);
    out->len = viv_ld_le32(raw + 8);
    out->flags = viv_ld_le16(raw + (chained ? 12 : 14));
    out->next = viv_ld_le16(raw + (chained ? 14 : 12));
    return true;
}

bool viv_virtq_gather_indirect(struct viv_virtq_gather *g, const struct viv_vring_desc *table,
                               bool chained)
{
    uint32_t count = table->len / 16, i = 0;
    uint64_t end;

    if (!viv_virtio_has(g->v, VIV_VIRTIO_F_INDIRECT) || (table->flags & VIV_DESC_NEXT)) {
        /* 2.7.5.3.1: not negotiated, or INDIRECT together with NEXT */
        viv_virtio_set_broken(g->v, "an indirect descriptor where none may be");
        return false;
    }
    if (!table->len || table->len % 16 || count > UINT16_MAX ||
        !viv_add_u64(table->addr, table->len, &end)) {
        viv_virtio_set_broken(g->v, "an indirect table of %u bytes", table->len);
        return false;
    }
    /* Each entry is visited at most once: a chain that is longer than its table is a loop. */
    for (uint32_t steps = 0; steps < count; steps++) {
        struct viv_vring_desc d;

        if (!load_indirect(g, table->addr + (uint64_t)i * 16, chained, &d))
            return false;
        if (d.flags & VIV_DESC_INDIRECT) {
            viv_virtio_set_broken(g->v, "an indirect table within an indirect table");
            return false;
        }
        if (!viv_virtq_gather_add(g, &d))
            return false;
        if (!chained) {
            i++; /* packed tables are whole requests, in order (2.8.7) */
            continue;
        }
        if (!(d.flags & VIV_DESC_NEXT))
            return true;
        i = d.next;
        if (i >= count) {
            viv_virtio_set_broken(g->v, "descriptor %u of an indirect table of %u", i, count);
            return false;
        }
    }
    if (chained)
        viv_virtio_set_broken(g->v, "a descriptor chain that loops");
    return !chained;
}
