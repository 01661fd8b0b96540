#include "export/vhost/ring.h"

#include "base/bytes.h"

#include <errno.h>

enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4 }; /* 2.7.5 */
enum { DESC_SIZE = 16, AVAIL_NO_INTERRUPT = 1, USED_NO_NOTIFY = 1 };

struct desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next;
};

static struct desc get_desc(const uint8_t *table, unsigned i)
{
    uint8_t copy[DESC_SIZE];

    memcpy(copy, table + (size_t)i * DESC_SIZE, sizeof(copy));
    return (struct desc){viv_ld_le64(copy), viv_ld_le32(copy + 8), viv_ld_le16(copy + 12), viv_ld_le16(copy + 14)};
}

static uint16_t load16(const uint8_t *p)
{
    return le16toh(__atomic_load_n((const uint16_t *)p, __ATOMIC_ACQUIRE));
}

static void store16(uint8_t *p, uint16_t v)
{
    __atomic_store_n((uint16_t *)p, htole16(v), __ATOMIC_RELEASE);
}

/* 2.7.10: behind the rings. */
static uint8_t *used_event(const struct viv_vhost_ring *r)
{
    return r->avail + 4 + 2 * r->num;
}

static uint8_t *avail_event(const struct viv_vhost_ring *r)
{
    return r->used + 4 + 8 * r->num;
}

int viv_vhost_ring_start(struct viv_vhost_ring *r, const struct viv_vhost_mem *mem, bool event_idx)
{
    if (!r->num || r->num > VIV_VHOST_RING_MAX || (r->num & (r->num - 1)) || !r->has_addr)
        return -EINVAL;
    r->mem = mem;
    r->event_idx = event_idx;
    r->desc = viv_vhost_mem_user(mem, r->addr.desc, (uint64_t)DESC_SIZE * r->num, 16);
    r->avail = viv_vhost_mem_user(mem, r->addr.avail, 6 + 2 * (uint64_t)r->num, 2);
    r->used = viv_vhost_mem_user(mem, r->addr.used, 6 + 8 * (uint64_t)r->num, 4);
    if (!r->desc || !r->avail || !r->used)
        return -EINVAL;
    r->next_used = load16(r->used + 2);
    r->signalled_once = false;
    return 0;
}

/* --- requests --- */

static int add_buffer(struct viv_vhost_ring *r, struct viv_vhost_chain *c, const struct desc *d)
{
    unsigned cnt = c->out + c->in, before = cnt;
    int ret;

    if (!(d->flags & DESC_WRITE) && c->in)
        return -EINVAL; /* 2.7.4.2: readable ones come first */
    ret = viv_vhost_mem_guest(r->mem, d->addr, d->len, c->iov, &cnt, VIV_VHOST_PIECES_MAX);
    if (d->flags & DESC_WRITE)
        c->in += cnt - before;
    else
        c->out += cnt - before;
    return ret;
}

/* A table of its own. It may lie across regions: each entry is copied out of its pieces. */
static int walk_indirect(struct viv_vhost_ring *r, struct viv_vhost_chain *c, const struct desc *d)
{
    unsigned count = d->len / DESC_SIZE, i = 0;

    if (d->len % DESC_SIZE || !count || count > VIV_VHOST_RING_MAX || (d->flags & DESC_NEXT))
        return -EINVAL;
    for (unsigned steps = 0; steps < count; steps++) {
        struct iovec piece[2];
        uint8_t copy[DESC_SIZE];
        unsigned pieces = 0;
        struct desc e;
        int ret = viv_vhost_mem_guest(r->mem, d->addr + (uint64_t)i * DESC_SIZE, DESC_SIZE, piece, &pieces, 2);

        if (ret)
            return ret;
        memcpy(copy, piece[0].iov_base, piece[0].iov_len);
        if (pieces > 1)
            memcpy(copy + piece[0].iov_len, piece[1].iov_base, piece[1].iov_len);
        e = get_desc(copy, 0);
        if (e.flags & DESC_INDIRECT)
            return -EINVAL; /* 2.7.5.3.1 */
        ret = add_buffer(r, c, &e);
        if (ret || !(e.flags & DESC_NEXT))
            return ret;
        i = e.next;
        if (i >= count)
            return -EINVAL;
    }
    return -ELOOP;
}

static int walk(struct viv_vhost_ring *r, struct viv_vhost_chain *c)
{
    unsigned i = c->head;

    for (unsigned steps = 0; steps < r->num; steps++) {
        struct desc d = get_desc(r->desc, i);
        int ret;

        if (d.flags & DESC_INDIRECT)
            return walk_indirect(r, c, &d);
        ret = add_buffer(r, c, &d);
        if (ret || !(d.flags & DESC_NEXT))
            return ret;
        i = d.next;
        if (i >= r->num)
            return -EINVAL;
    }
    return -ELOOP;
}

/* What was taken and not given back lies in front of what nobody has taken; a driver that goes on from the used ring does not know. */
void viv_vhost_ring_resume(struct viv_vhost_ring *r, struct viv_vhost_log *log)
{
    int count = -ENOENT;

    r->log = log;
    r->again_at = r->again_count = 0;
    if (log)
        count = viv_vhost_log_resume(log, r->num, r->next_used, load16(r->avail + 2) - r->next_used, r->again, &r->counter);
    if (count < 0)
        return;
    r->again_count = (unsigned)count;
    r->next_avail = r->next_used + r->again_count;
}

static int pop_again(struct viv_vhost_ring *r, struct viv_vhost_chain *c)
{
    int ret;

    c->head = r->again[r->again_at++];
    c->out = c->in = 0;
    ret = walk(r, c);
    return ret ? ret : 1;
}

int viv_vhost_ring_pop(struct viv_vhost_ring *r, struct viv_vhost_chain *c)
{
    uint16_t waiting = load16(r->avail + 2) - r->next_avail;
    int ret;

    if (r->again_at < r->again_count)
        return pop_again(r, c);
    if (!waiting)
        return 0;
    if (waiting > r->num)
        return -EINVAL;
    c->head = load16(r->avail + 4 + 2 * (r->next_avail & (r->num - 1)));
    c->out = c->in = 0;
    if (c->head >= r->num)
        return -EINVAL;
    r->next_avail++;
    ret = walk(r, c);
    if (!ret && r->log) {
        pthread_mutex_lock(&r->lock); /* whoever gives back an earlier one of the same head has cleared its mark */
        viv_vhost_log_take(r->log, c->head, r->counter++);
        pthread_mutex_unlock(&r->lock);
    }
    return ret ? ret : 1;
}

bool viv_vhost_ring_rest(struct viv_vhost_ring *r)
{
    if (r->event_idx)
        store16(avail_event(r), r->next_avail);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* what is asked for before what is there */
    return load16(r->avail + 2) != r->next_avail;
}

/* --- answers --- */

/* Lock held. 2.7.7.1, 2.7.10.1 */
static bool wants_call(struct viv_vhost_ring *r, uint16_t now)
{
    uint16_t event, before = r->signalled;
    bool first = !r->signalled_once;

    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* what was pushed before what is asked for */
    if (!r->event_idx)
        return !(load16(r->avail) & AVAIL_NO_INTERRUPT);
    event = load16(used_event(r));
    r->signalled = now;
    r->signalled_once = true;
    return first || (uint16_t)(now - event - 1) < (uint16_t)(now - before);
}

bool viv_vhost_ring_push(struct viv_vhost_ring *r, uint16_t head, uint32_t written)
{
    uint8_t *e;
    bool call;

    pthread_mutex_lock(&r->lock);
    if (r->log)
        viv_vhost_log_ending(r->log, head);
    e = r->used + 4 + 8 * (r->next_used & (r->num - 1));
    viv_st_le32(e, head);
    viv_st_le32(e + 4, written);
    store16(r->used + 2, ++r->next_used);
    if (r->log)
        viv_vhost_log_ended(r->log, head, r->next_used);
    call = wants_call(r, r->next_used);
    pthread_mutex_unlock(&r->lock);
    return call;
}
