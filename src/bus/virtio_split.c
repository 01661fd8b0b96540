/* Split virtqueues (virtio 1.2, 2.7).
 *
 *   descriptor table: size * {le64 addr, le32 len, le16 flags, le16 next}
 *   driver area:      le16 flags, le16 idx, le16 ring[size], le16 used_event
 *   device area:      le16 flags, le16 idx, {le32 id, le32 len} ring[size], le16 avail_event */
#include "bus/virtio_int.h"

#include "base/bytes.h"

enum { AVAIL_F_NO_INTERRUPT = 1, USED_F_NO_NOTIFY = 1 };

static uint32_t used_event_off(const struct viv_virtq *q)
{
    return 4 + 2 * (uint32_t)q->size;
}

static uint32_t avail_event_off(const struct viv_virtq *q)
{
    return 4 + 8 * (uint32_t)q->size;
}

static int split_available(struct viv_virtq *q)
{
    uint16_t n = viv_vring_ld16(q, &q->avail, 2) - q->last_avail;

    if (n > q->size) {
        viv_virtio_set_broken(q->v, "queue %u: available index jumped by %u, size is %u", q->index,
                              n, q->size);
        return -1;
    }
    return n != 0;
}

static void load_desc(struct viv_virtq *q, uint16_t i, struct viv_vring_desc *d)
{
    uint8_t raw[16];

    viv_vring_read(q, &q->desc, 16 * (uint32_t)i, raw, sizeof(raw));
    d->addr = viv_ld_le64(raw);
    d->len = viv_ld_le32(raw + 8);
    d->flags = viv_ld_le16(raw + 12);
    d->next = viv_ld_le16(raw + 14);
}

static bool split_take(struct viv_virtq *q, struct viv_virtq_gather *g, uint16_t *id,
                       uint16_t *ndescs)
{
    uint16_t i = viv_vring_ld16(q, &q->avail, 4 + 2 * (uint32_t)(q->last_avail % q->size));

    *id = i;
    *ndescs = 1;
    for (unsigned steps = 0; steps < q->size; steps++) {
        struct viv_vring_desc d;

        if (i >= q->size) {
            viv_virtio_set_broken(q->v, "queue %u: descriptor %u, size is %u", q->index, i, q->size);
            return false;
        }
        load_desc(q, i, &d);
        if (d.flags & VIV_DESC_INDIRECT) {
            if (!viv_virtq_gather_indirect(g, &d, true))
                return false;
        } else if (!viv_virtq_gather_add(g, &d)) {
            return false;
        }
        if (!(d.flags & VIV_DESC_NEXT)) {
            q->last_avail++;
            return true;
        }
        i = d.next;
    }
    viv_virtio_set_broken(q->v, "queue %u: a descriptor chain that loops", q->index);
    return false;
}

static void split_untake(struct viv_virtq *q, uint16_t ndescs)
{
    q->last_avail -= ndescs;
}

static void split_put(struct viv_virtq *q, struct viv_virtq_elem *const *e, const uint32_t *written, unsigned n)
{
    uint8_t raw[8];

    for (unsigned i = 0; i < n; i++) {
        viv_st_le32(raw, e[i]->id);
        viv_st_le32(raw + 4, written[i]);
        viv_vring_write(q, &q->used, 4 + 8 * (uint32_t)(q->used_idx % q->size), raw, sizeof(raw));
        q->used_idx++;
    }
    viv_vring_st16(q, &q->used, 2, q->used_idx);
}

static bool split_wants_interrupt(struct viv_virtq *q)
{
    uint16_t old = q->signalled;
    bool valid = q->signalled_valid;

    if (!viv_virtio_has(q->v, VIV_VIRTIO_F_EVENT_IDX))
        return !(viv_vring_ld16(q, &q->avail, 0) & AVAIL_F_NO_INTERRUPT);
    q->signalled = q->used_idx;
    q->signalled_valid = true;
    return !valid ||
           viv_vring_need_event(viv_vring_ld16(q, &q->avail, used_event_off(q)), q->used_idx, old);
}

static void split_ask_kick(struct viv_virtq *q, bool want)
{
    if (viv_virtio_has(q->v, VIV_VIRTIO_F_EVENT_IDX)) {
        /* A stale event index is how kicks are suppressed. */
        if (want)
            viv_vring_st16(q, &q->used, avail_event_off(q), q->last_avail);
        return;
    }
    viv_vring_st16(q, &q->used, 0, want ? 0 : USED_F_NO_NOTIFY);
}

const struct viv_vring_ops viv_vring_split_ops = {
    .available = split_available,
    .take = split_take,
    .untake = split_untake,
    .put = split_put,
    .wants_interrupt = split_wants_interrupt,
    .ask_kick = split_ask_kick,
};
