#include "bus/virtio_driver.h"

#include "base/bytes.h"
#include "mem/dma.h"

#include <glib.h>
#include <string.h>

void td_read(struct td *d, uint64_t gpa, void *buf, uint32_t len)
{
    g_assert_cmpint(viv_dma_read(d->mem, gpa, buf, len), ==, 0);
}

void td_write(struct td *d, uint64_t gpa, const void *buf, uint32_t len)
{
    g_assert_cmpint(viv_dma_write(d->mem, gpa, buf, len), ==, 0);
}

void td_write16(struct td *d, uint64_t gpa, uint16_t v)
{
    uint8_t raw[2];

    viv_st_le16(raw, v);
    td_write(d, gpa, raw, 2);
}

static uint16_t read16(struct td *d, uint64_t gpa)
{
    uint8_t raw[2];

    td_read(d, gpa, raw, 2);
    return viv_ld_le16(raw);
}

uint64_t td_alloc(struct td *d, uint32_t len)
{
    uint64_t at = (d->next + 15) & ~15ull;

    d->next = at + len;
    return at;
}

uint64_t td_put(struct td *d, const void *data, uint32_t len)
{
    uint64_t at = td_alloc(d, len);

    td_write(d, at, data, len);
    return at;
}

void td_start(struct td *d, struct viv_virtio *v, uint64_t features, uint64_t free_gpa)
{
    memset(d, 0, sizeof(*d));
    d->v = v;
    d->mem = v->board->mem;
    d->next = free_gpa;
    d->packed = features >> VIV_VIRTIO_F_RING_PACKED & 1;
    d->event_idx = features >> VIV_VIRTIO_F_EVENT_IDX & 1;
    viv_virtio_set_status(v, 0);
    viv_virtio_set_status(v, VIV_VIRTIO_S_ACKNOWLEDGE | VIV_VIRTIO_S_DRIVER);
    viv_virtio_set_guest_features(v, features | 1ull << VIV_VIRTIO_F_VERSION_1);
    viv_virtio_set_status(v, v->status | VIV_VIRTIO_S_FEATURES_OK);
}

void td_queue_start(struct td *d, unsigned queue, uint16_t size)
{
    struct td_queue *q = &d->q[queue];
    struct viv_virtq *vq = viv_virtio_queue(d->v, queue);
    uint32_t len[3] = {16u * size, 6u + 2 * size, 6u + 8 * size};
    uint64_t *area[3] = {&q->desc, &q->avail, &q->used};

    g_assert(vq && size <= TD_SIZE_MAX);
    memset(q, 0, sizeof(*q));
    q->size = size;
    q->avail_wrap = q->used_wrap = true;
    for (int i = 0; i < 3; i++) {
        g_autofree uint8_t *zero = g_malloc0(len[i]);

        *area[i] = td_put(d, zero, len[i]);
    }
    for (unsigned i = 0; i < size; i++)
        q->free[q->free_count++] = size - 1 - i;
    vq->size = size;
    vq->desc_gpa = q->desc;
    vq->avail_gpa = q->avail;
    vq->used_gpa = q->used;
    viv_virtq_enable(vq);
}

void td_go(struct td *d)
{
    viv_virtio_set_status(d->v, d->v->status | VIV_VIRTIO_S_DRIVER_OK);
}

void td_kick(struct td *d, unsigned queue)
{
    viv_virtio_kick(d->v, queue);
}

static void put_desc(struct td *d, uint64_t at, const struct td_seg *s, uint16_t flags, uint16_t next,
                     bool packed)
{
    uint8_t raw[16];

    viv_st_le64(raw, s->gpa);
    viv_st_le32(raw + 8, s->len);
    viv_st_le16(raw + (packed ? 14 : 12), flags | (s->write ? VIV_DESC_WRITE : 0));
    viv_st_le16(raw + (packed ? 12 : 14), next);
    td_write(d, at, raw, sizeof(raw));
}

static struct td_seg indirect_table(struct td *d, const struct td_seg *seg, unsigned n)
{
    uint64_t table = td_alloc(d, 16 * n);

    for (unsigned i = 0; i < n; i++)
        put_desc(d, table + 16 * i, &seg[i], !d->packed && i + 1 < n ? VIV_DESC_NEXT : 0, i + 1,
                 d->packed);
    return (struct td_seg){table, 16 * n, false};
}

static uint16_t add_split(struct td *d, struct td_queue *q, const struct td_seg *seg, unsigned n,
                          uint16_t extra)
{
    uint16_t head = 0, prev = 0;

    g_assert_cmpuint(q->free_count, >=, n);
    for (unsigned i = 0; i < n; i++) {
        uint16_t at = q->free[--q->free_count];

        if (i)
            q->chain[prev] = at;
        else
            head = at;
        prev = at;
    }
    prev = head;
    for (unsigned i = 0; i < n; i++) {
        put_desc(d, q->desc + 16 * prev, &seg[i], extra | (i + 1 < n ? VIV_DESC_NEXT : 0),
                 q->chain[prev], false);
        prev = q->chain[prev];
    }
    q->slots[head] = n;
    td_write16(d, q->avail + 4 + 2 * (q->next_avail % q->size), head);
    td_write16(d, q->avail + 2, ++q->next_avail);
    return head;
}

static uint16_t add_packed(struct td *d, struct td_queue *q, const struct td_seg *seg, unsigned n,
                           uint16_t extra)
{
    uint16_t id = q->free[--q->free_count], first = q->next_avail, first_flags = 0;

    q->slots[id] = n;
    for (unsigned i = 0; i < n; i++) {
        uint16_t flags = extra | (i + 1 < n ? VIV_DESC_NEXT : 0) |
                         (q->avail_wrap ? VIV_DESC_AVAIL : VIV_DESC_USED);
        uint64_t at = q->desc + 16 * q->next_avail;

        if (!i)
            first_flags = flags | (seg[i].write ? VIV_DESC_WRITE : 0);
        put_desc(d, at, &seg[i], i ? flags : q->avail_wrap ? 0 : VIV_DESC_AVAIL, id, true);
        if (++q->next_avail == q->size) {
            q->next_avail = 0;
            q->avail_wrap = !q->avail_wrap;
        }
    }
    td_write16(d, q->desc + 16 * first + 14, first_flags); /* last: makes the chain available */
    return id;
}

uint16_t td_add(struct td *d, unsigned queue, const struct td_seg *seg, unsigned n, bool indirect)
{
    struct td_queue *q = &d->q[queue];
    struct td_seg table;

    if (indirect) {
        table = indirect_table(d, seg, n);
        seg = &table;
        n = 1;
    }
    return (d->packed ? add_packed : add_split)(d, q, seg, n, indirect ? VIV_DESC_INDIRECT : 0);
}

static bool used_split(struct td *d, struct td_queue *q, uint16_t *id, uint32_t *len)
{
    uint8_t raw[8];
    uint16_t at;

    if (read16(d, q->used + 2) == q->next_used)
        return false;
    td_read(d, q->used + 4 + 8 * (q->next_used++ % q->size), raw, 8);
    *id = at = viv_ld_le32(raw);
    *len = viv_ld_le32(raw + 4);
    for (unsigned i = 0; i < q->slots[*id]; i++) {
        q->free[q->free_count++] = at;
        at = q->chain[at];
    }
    return true;
}

static bool used_packed(struct td *d, struct td_queue *q, uint16_t *id, uint32_t *len)
{
    uint64_t at = q->desc + 16 * q->next_used;
    uint16_t flags = read16(d, at + 14);
    uint8_t raw[6];

    if (!!(flags & VIV_DESC_AVAIL) != q->used_wrap || !!(flags & VIV_DESC_USED) != q->used_wrap)
        return false;
    td_read(d, at + 8, raw, sizeof(raw));
    *len = viv_ld_le32(raw);
    *id = viv_ld_le16(raw + 4);
    q->next_used += q->slots[*id];
    if (q->next_used >= q->size) {
        q->next_used -= q->size;
        q->used_wrap = !q->used_wrap;
    }
    q->free[q->free_count++] = *id;
    return true;
}

bool td_used(struct td *d, unsigned queue, uint16_t *id, uint32_t *len)
{
    struct td_queue *q = &d->q[queue];

    return (d->packed ? used_packed : used_split)(d, q, id, len);
}

void td_interrupts(struct td *d, unsigned queue, bool on)
{
    struct td_queue *q = &d->q[queue];

    td_write16(d, d->packed ? q->avail + 2 : q->avail, !on);
}

void td_interrupt_after(struct td *d, unsigned queue, uint16_t after)
{
    struct td_queue *q = &d->q[queue];
    unsigned at = q->next_used + after;
    bool wrap = q->used_wrap;

    if (!d->packed) {
        td_write16(d, q->avail + 4 + 2 * q->size, at);
        return;
    }
    if (at >= q->size) {
        at -= q->size;
        wrap = !wrap;
    }
    td_write16(d, q->avail, at | wrap << 15);
    td_write16(d, q->avail + 2, 2);
}
