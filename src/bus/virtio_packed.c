/* Packed virtqueues (virtio 1.2, 2.8).
 *
 *   descriptor ring: size * {le64 addr, le32 len, le16 id, le16 flags}
 *   driver area:     le16 off_wrap, le16 flags (what interrupts the driver wants)
 *   device area:     le16 off_wrap, le16 flags (what kicks the device wants)
 *
 * A descriptor is available when its AVAIL bit equals the wrap counter and its USED bit does not. */
#include "bus/virtio_int.h"

#include "base/bytes.h"

enum { EVENT_ENABLE = 0, EVENT_DISABLE = 1, EVENT_DESC = 2 };

static void advance(uint16_t *idx, bool *wrap, uint16_t size, uint16_t by)
{
    unsigned n = *idx + by;

    if (n >= size) {
        n -= size;
        *wrap = !*wrap;
    }
    *idx = n;
}

static bool is_available(const struct viv_virtq *q, uint16_t flags)
{
    bool avail = flags & VIV_DESC_AVAIL, used = flags & VIV_DESC_USED;

    return avail == q->avail_wrap && used != q->avail_wrap;
}

static int packed_available(struct viv_virtq *q)
{
    return is_available(q, viv_vring_ld16(q, &q->desc, 16 * (uint32_t)q->last_avail + 14));
}

/* `flags` was loaded (acquire) before the rest where it decides whether the rest is there. */
static void load_desc(struct viv_virtq *q, uint16_t i, struct viv_vring_desc *d)
{
    uint8_t raw[16];

    d->flags = viv_vring_ld16(q, &q->desc, 16 * (uint32_t)i + 14);
    viv_vring_read(q, &q->desc, 16 * (uint32_t)i, raw, sizeof(raw));
    d->addr = viv_ld_le64(raw);
    d->len = viv_ld_le32(raw + 8);
    d->next = viv_ld_le16(raw + 12);
}

/* The driver makes the first descriptor of a chain available last (2.8.6), so the others may be read
 * without looking at their AVAIL bits. */
static bool packed_take(struct viv_virtq *q, struct viv_virtq_gather *g, uint16_t *id,
                        uint16_t *ndescs)
{
    unsigned i = q->last_avail;

    for (unsigned steps = 1; steps <= q->size; steps++) {
        struct viv_vring_desc d;

        load_desc(q, i, &d);
        if (d.flags & VIV_DESC_INDIRECT) {
            if (steps > 1) {
                viv_virtio_set_broken(q->v, "queue %u: an indirect descriptor within a chain",
                                      q->index);
                return false;
            }
            if (!viv_virtq_gather_indirect(g, &d, false))
                return false;
        } else if (!viv_virtq_gather_add(g, &d)) {
            return false;
        }
        if (!(d.flags & VIV_DESC_NEXT)) {
            *id = d.next; /* the buffer id of the last descriptor names the chain */
            *ndescs = steps;
            advance(&q->last_avail, &q->avail_wrap, q->size, steps);
            return true;
        }
        if (++i == q->size)
            i = 0;
    }
    viv_virtio_set_broken(q->v, "queue %u: a descriptor chain longer than the ring", q->index);
    return false;
}

static void packed_untake(struct viv_virtq *q, uint16_t ndescs)
{
    if (q->last_avail < ndescs) {
        q->last_avail += q->size;
        q->avail_wrap = !q->avail_wrap;
    }
    q->last_avail -= ndescs;
}

static void packed_put(struct viv_virtq *q, struct viv_virtq_elem *const *e, const uint32_t *written, unsigned n)
{
    uint32_t first = 16 * (uint32_t)q->used_idx + 14;
    uint16_t first_flags = 0;
    uint8_t raw[6];

    for (unsigned i = 0; i < n; i++) {
        uint32_t off = 16 * (uint32_t)q->used_idx;
        uint16_t flags = (q->used_wrap ? VIV_DESC_AVAIL | VIV_DESC_USED : 0) | (written[i] ? VIV_DESC_WRITE : 0);

        viv_st_le32(raw, written[i]);
        viv_st_le16(raw + 4, e[i]->id);
        viv_vring_write(q, &q->desc, off + 8, raw, sizeof(raw));
        if (i)
            viv_vring_st16(q, &q->desc, off + 14, flags);
        else
            first_flags = flags;
        if (q->used_idx + e[i]->ndescs >= q->size)
            q->signalled -= q->size; /* keep "old" comparable across the wrap */
        advance(&q->used_idx, &q->used_wrap, q->size, e[i]->ndescs);
    }
    viv_vring_st16(q, &q->desc, first, first_flags); /* a driver that waits for the first finds them all */
}

static bool packed_wants_interrupt(struct viv_virtq *q)
{
    uint16_t old = q->signalled, flags, event;
    bool valid = q->signalled_valid;

    q->signalled = q->used_idx;
    q->signalled_valid = true;
    flags = viv_vring_ld16(q, &q->avail, 2) & 3;
    if (flags != EVENT_DESC)
        return flags != EVENT_DISABLE;
    if (!viv_virtio_has(q->v, VIV_VIRTIO_F_EVENT_IDX) || !valid)
        return true;
    event = viv_vring_ld16(q, &q->avail, 0);
    if ((event >> 15) != q->used_wrap)
        event = (event & 0x7fff) - q->size;
    else
        event &= 0x7fff;
    return viv_vring_need_event(event, q->used_idx, old);
}

static void packed_ask_kick(struct viv_virtq *q, bool want)
{
    if (!want) {
        viv_vring_st16(q, &q->used, 2, EVENT_DISABLE);
        return;
    }
    if (viv_virtio_has(q->v, VIV_VIRTIO_F_EVENT_IDX)) {
        viv_vring_st16(q, &q->used, 0, q->last_avail | (unsigned)q->avail_wrap << 15);
        viv_vring_st16(q, &q->used, 2, EVENT_DESC);
        return;
    }
    viv_vring_st16(q, &q->used, 2, EVENT_ENABLE);
}

const struct viv_vring_ops viv_vring_packed_ops = {
    .available = packed_available,
    .take = packed_take,
    .untake = packed_untake,
    .put = packed_put,
    .wants_interrupt = packed_wants_interrupt,
    .ask_kick = packed_ask_kick,
};
