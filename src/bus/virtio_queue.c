/* A queue's life and its elements; the ring formats are virtio_split.c and virtio_packed.c. */
#include "bus/virtio_int.h"

#include "base/checked.h"
#include "host/lock.h"
#include "mem/dma.h"

#include <glib.h>
#include <string.h>

/* --- areas --- */

static void area_map(struct viv_virtq *q, struct viv_vring_area *a, uint64_t gpa, uint32_t len,
                     bool write)
{
    uint64_t got = len;

    a->gpa = gpa;
    a->len = len;
    a->hva = viv_dma_map(q->v->board->mem, gpa, &got, write);
    if (a->hva && got < len) {
        viv_dma_unmap(a->hva, got, 0);
        a->hva = NULL;
    }
}

/* Falls back to DMA calls when the area is RAM, but not in one piece. */
static bool area_usable(struct viv_virtq *q, const struct viv_vring_area *a)
{
    uint8_t byte;
    bool ok = a->hva || (!viv_dma_read(q->v->board->mem, a->gpa, &byte, 1) &&
                         !viv_dma_read(q->v->board->mem, a->gpa + a->len - 1, &byte, 1));

    if (!ok)
        viv_virtio_set_broken(q->v, "queue %u: ring at 0x%llx is not in RAM", q->index,
                              (unsigned long long)a->gpa);
    return ok;
}

static bool addresses_sane(struct viv_virtq *q, bool packed)
{
    uint64_t end;

    if (!q->size || q->size > q->max_size || (!packed && (q->size & (q->size - 1)))) {
        viv_virtio_set_broken(q->v, "queue %u: size %u", q->index, q->size);
        return false;
    }
    /* 2.7: alignment 16, 2, 4; 2.8: 16, 4, 4 */
    if (q->desc_gpa & 15 || q->avail_gpa & (packed ? 3 : 1) || q->used_gpa & 3 ||
        !viv_add_u64(q->desc_gpa, 1 << 20, &end) || !viv_add_u64(q->avail_gpa, 1 << 20, &end) ||
        !viv_add_u64(q->used_gpa, 1 << 20, &end)) {
        viv_virtio_set_broken(q->v, "queue %u: ring addresses 0x%llx 0x%llx 0x%llx", q->index,
                              (unsigned long long)q->desc_gpa, (unsigned long long)q->avail_gpa,
                              (unsigned long long)q->used_gpa);
        return false;
    }
    return true;
}

/* A split ring's indices run freely; those of a packed one are places in it. */
static bool are_places(const struct viv_virtq *q, bool packed)
{
    return !packed || (q->last_avail < q->size && q->used_idx < q->size);
}

/* The queue may have been enabled before it was settled which ring it has. */
static bool indices_sane(struct viv_virtq *q, bool packed)
{
    if (are_places(q, packed))
        return true;
    viv_virtio_set_broken(q->v, "queue %u: at %u and %u of a packed ring of %u", q->index, q->last_avail, q->used_idx, q->size);
    return false;
}

/* Maps the areas of an enabled queue (start, load). */
static bool queue_map(struct viv_virtq *q)
{
    bool packed = viv_virtio_has(q->v, VIV_VIRTIO_F_RING_PACKED);
    uint32_t tail = viv_virtio_has(q->v, VIV_VIRTIO_F_EVENT_IDX) ? 2 : 0;

    if (!addresses_sane(q, packed) || !indices_sane(q, packed))
        return false;
    area_map(q, &q->desc, q->desc_gpa, 16 * (uint32_t)q->size, packed);
    area_map(q, &q->avail, q->avail_gpa, packed ? 4 : 4 + 2 * (uint32_t)q->size + tail, false);
    area_map(q, &q->used, q->used_gpa, packed ? 4 : 4 + 8 * (uint32_t)q->size + tail, true);
    q->ready = area_usable(q, &q->desc) && area_usable(q, &q->avail) && area_usable(q, &q->used);
    return q->ready;
}

static void area_unmap(struct viv_vring_area *a)
{
    if (a->hva)
        viv_dma_unmap(a->hva, a->len, 0);
    memset(a, 0, sizeof(*a));
}

/* What was taken before belongs to no ring that the driver has now. */
static void end_life(struct viv_virtq *q)
{
    q->life++;
    q->orphans += q->in_flight;
    q->in_flight = 0;
}

void viv_virtq_enable(struct viv_virtq *q)
{
    if (q->enabled)
        return;
    end_life(q); /* a disabled queue may have been loaded with requests that are held */
    q->last_avail = q->used_idx = q->signalled = 0;
    q->signalled_valid = false;
    q->pending = 0;
    q->avail_wrap = q->used_wrap = true;
    q->kicks = true;
    q->enabled = true;
    queue_map(q);
}

/* The features are settled: they say how large the areas are. */
void viv_virtq_remap(struct viv_virtq *q)
{
    if (!q->enabled)
        return;
    area_unmap(&q->desc);
    area_unmap(&q->avail);
    area_unmap(&q->used);
    q->ready = false;
    queue_map(q);
}

void viv_virtq_disable(struct viv_virtq *q)
{
    struct viv_virtq_elem *e;

    area_unmap(&q->desc);
    area_unmap(&q->avail);
    area_unmap(&q->used);
    q->ready = q->enabled = false;
    end_life(q);
    while ((e = q->free)) {
        q->free = e->next;
        g_free(e);
    }
    q->free_count = 0;
}

void viv_virtq_set_pfn(struct viv_virtq *q, uint32_t pfn, uint32_t page_size)
{
    uint64_t base = (uint64_t)pfn * page_size;

    viv_virtq_disable(q);
    if (!pfn) {
        q->desc_gpa = q->avail_gpa = q->used_gpa = 0;
        return;
    }
    q->desc_gpa = base;
    q->avail_gpa = base + 16 * (uint64_t)q->size;
    q->used_gpa = viv_align_down(q->avail_gpa + 6 + 2 * (uint64_t)q->size + page_size - 1, page_size);
    viv_virtq_enable(q);
}

unsigned viv_virtq_size(const struct viv_virtio *v, unsigned queue)
{
    return v->queues[queue].size;
}

/* --- elements --- */

static struct viv_virtq_elem *elem_alloc(struct viv_virtq *q, unsigned segs)
{
    struct viv_virtq_elem *e = q->free;
    unsigned cap = segs < VIV_VIRTQ_ELEM_SEGS ? VIV_VIRTQ_ELEM_SEGS : segs;

    if (e && segs <= VIV_VIRTQ_ELEM_SEGS) {
        q->free = e->next;
        q->free_count--;
        return e;
    }
    e = g_try_malloc(sizeof(*e) + cap * (sizeof(struct iovec) + sizeof(uint64_t)));
    if (e)
        e->cap = cap;
    return e;
}

static void elem_free(struct viv_virtq *q, struct viv_virtq_elem *e)
{
    --*(e->life == q->life ? &q->in_flight : &q->orphans);
    if (e->cap != VIV_VIRTQ_ELEM_SEGS || q->free_count >= VIV_VIRTQ_FREE_MAX || !q->enabled) {
        g_free(e);
        return;
    }
    e->next = q->free;
    q->free = e;
    q->free_count++;
}

static struct viv_virtq_elem *elem_make(struct viv_virtq *q, const struct viv_virtq_gather *g)
{
    struct viv_virtq_elem *e = elem_alloc(q, g->n);

    if (!e)
        return NULL;
    e->v = q->v;
    e->queue = q->index;
    e->life = q->life;
    e->out_num = g->out_num;
    e->in_num = g->n - g->out_num;
    e->out_len = g->out_len;
    e->in_len = g->in_len;
    e->next = NULL;
    e->out = (struct iovec *)(e + 1);
    e->in = e->out + g->out_num;
    e->gpa = (uint64_t *)(e->out + e->cap);
    memcpy(e->out, g->iov, g->n * sizeof(g->iov[0]));
    memcpy(e->gpa, g->gpa, g->n * sizeof(g->gpa[0]));
    q->in_flight++;
    return e;
}

/* `written`: bytes stored at the beginning of the in segments. */
static void elem_unmap(struct viv_virtq_elem *e, uint64_t written)
{
    for (unsigned i = 0; i < e->out_num; i++)
        viv_dma_unmap(e->out[i].iov_base, e->out[i].iov_len, 0);
    for (unsigned i = 0; i < e->in_num; i++) {
        uint64_t part = written < e->in[i].iov_len ? written : e->in[i].iov_len;

        viv_dma_unmap(e->in[i].iov_base, e->in[i].iov_len, part);
        written -= part;
    }
}

static void gather_unmap(struct viv_virtq_gather *g)
{
    for (unsigned i = 0; i < g->n; i++)
        viv_dma_unmap(g->iov[i].iov_base, g->iov[i].iov_len, 0);
}

static struct viv_virtq *usable(struct viv_virtio *v, unsigned queue)
{
    struct viv_virtq *q = viv_virtio_queue(v, queue);

    return q && q->ready && !v->broken ? q : NULL;
}

/* True when something can be popped; else kicks are on and there really is nothing. */
static bool queue_ready_or_armed(struct viv_virtq *q)
{
    const struct viv_vring_ops *ops = viv_vring_ops_of(q->v);
    int r = ops->available(q);

    if (r || !q->kicks)
        return r > 0;
    ops->ask_kick(q, true);
    /* The request must be seen before the ring is looked at again (2.7.9.1). */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return ops->available(q) > 0;
}

struct viv_virtq_elem *viv_virtq_pop(struct viv_virtio *v, unsigned queue)
{
    struct viv_virtq *q = usable(v, queue);
    struct viv_virtq_gather g;
    struct viv_virtq_elem *e;
    uint16_t id, ndescs;

    VIV_ASSERT_DEV_LOCKED();
    if (!q || !queue_ready_or_armed(q))
        return NULL;
    if (q->in_kick && !q->left) {
        q->again = true;
        return NULL;
    }
    if (q->in_flight >= q->size || q->orphans > q->max_size) {
        /* A driver that has given all descriptors away cannot honestly give more, nor stop queues that are at work again and again. */
        viv_virtio_set_broken(v, "queue %u: more than %u requests outstanding", queue, q->size);
        return NULL;
    }
    g.v = v;
    g.n = g.out_num = 0;
    g.out_len = g.in_len = 0;
    if (!viv_vring_ops_of(v)->take(q, &g, &id, &ndescs)) {
        gather_unmap(&g);
        return NULL;
    }
    e = elem_make(q, &g);
    if (!e) {
        gather_unmap(&g);
        viv_virtio_set_broken(v, "queue %u: no memory for a request of %u segments", queue, g.n);
        return NULL;
    }
    e->id = id;
    e->ndescs = ndescs;
    q->left -= q->in_kick;
    return e;
}

void viv_virtq_push(struct viv_virtq_elem *e, uint32_t written)
{
    viv_virtq_push_all(&e, &written, 1);
}

void viv_virtq_push_all(struct viv_virtq_elem **e, uint32_t *written, unsigned n)
{
    struct viv_virtio *v = e[0]->v;
    struct viv_virtq *q = &v->queues[e[0]->queue];

    VIV_ASSERT_DEV_LOCKED();
    for (unsigned i = 0; i < n; i++) {
        written[i] = MIN(written[i], e[i]->in_len);
        elem_unmap(e[i], written[i]);
    }
    if (q->ready && !v->broken && e[0]->life == q->life) {
        viv_vring_ops_of(v)->put(q, e, written, n);
        q->pending += n;
    }
    for (unsigned i = 0; i < n; i++)
        elem_free(q, e[i]);
}

void viv_virtq_unpop(struct viv_virtq_elem *e)
{
    struct viv_virtq *q = &e->v->queues[e->queue];

    VIV_ASSERT_DEV_LOCKED();
    elem_unmap(e, 0);
    if (q->ready && e->life == q->life)
        viv_vring_ops_of(e->v)->untake(q, e->ndescs);
    elem_free(q, e);
}

void viv_virtq_drop(struct viv_virtq_elem *e)
{
    struct viv_virtq *q = &e->v->queues[e->queue];

    VIV_ASSERT_DEV_LOCKED();
    /* A back end may have stored anywhere before it was told to stop. */
    elem_unmap(e, e->in_len);
    elem_free(q, e);
}

void viv_virtq_notify(struct viv_virtio *v, unsigned queue)
{
    struct viv_virtq *q = usable(v, queue);

    VIV_ASSERT_DEV_LOCKED();
    if (!q || !q->pending)
        return;
    q->pending = 0;
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* used index before the driver's wish (2.7.7.2) */
    if (viv_vring_ops_of(v)->wants_interrupt(q))
        v->transport.notify_queue(v->transport.opaque, queue);
}

bool viv_virtq_set_kick(struct viv_virtio *v, unsigned queue, bool want)
{
    struct viv_virtq *q = usable(v, queue);

    if (!q)
        return false;
    q->kicks = want;
    viv_vring_ops_of(v)->ask_kick(q, want);
    if (!want)
        return false;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return viv_vring_ops_of(v)->available(q) > 0;
}

void viv_virtq_yield(struct viv_virtio *v, unsigned queue)
{
    v->queues[queue].left = 0;
}

bool viv_virtq_ready(struct viv_virtio *v, unsigned queue)
{
    return usable(v, queue) != NULL;
}

bool viv_virtq_empty(struct viv_virtio *v, unsigned queue)
{
    struct viv_virtq *q = usable(v, queue);

    return !q || viv_vring_ops_of(v)->available(q) <= 0;
}

/* --- saved state --- */

static int queue_post_load(void *obj, int version, struct viv_err *err)
{
    struct viv_virtq *q = obj;
    bool packed = viv_virtio_has(q->v, VIV_VIRTIO_F_RING_PACKED);

    /* A queue that does not run may hold any size: it is checked when it starts. */
    if (q->enabled && !q->v->broken && (q->size > q->max_size || !are_places(q, packed)))
        return viv_fail(err, EINVAL, "virtio queue %u: size %u, indices %u and %u", q->index,
                        q->size, q->last_avail, q->used_idx);
    if (q->enabled && !q->v->broken && !queue_map(q))
        return viv_fail(err, EINVAL, "virtio queue %u: the ring cannot be mapped", q->index);
    return 0;
}

static const struct viv_field queue_fields[] = {
    VIV_F_CONFIG(viv_virtq, v),
    VIV_F_CONFIG(viv_virtq, index),
    VIV_F_CONFIG(viv_virtq, max_size),
    VIV_F_INT(viv_virtq, size),
    VIV_F_INT(viv_virtq, vector),
    VIV_F_INT(viv_virtq, enabled),
    VIV_F_INT(viv_virtq, kicks),
    VIV_F_INT(viv_virtq, desc_gpa),
    VIV_F_INT(viv_virtq, avail_gpa),
    VIV_F_INT(viv_virtq, used_gpa),
    VIV_F_INT(viv_virtq, last_avail),
    VIV_F_INT(viv_virtq, used_idx),
    VIV_F_INT(viv_virtq, signalled),
    VIV_F_INT(viv_virtq, signalled_valid),
    VIV_F_INT(viv_virtq, pending),
    VIV_F_INT(viv_virtq, avail_wrap),
    VIV_F_INT(viv_virtq, used_wrap),
    VIV_F_DERIVED(viv_virtq, life, "any number: held elements are taken again"),
    VIV_F_DERIVED(viv_virtq, ready, "queue_map in post_load"),
    VIV_F_DERIVED(viv_virtq, desc, "queue_map in post_load"),
    VIV_F_DERIVED(viv_virtq, avail, "queue_map in post_load"),
    VIV_F_DERIVED(viv_virtq, used, "queue_map in post_load"),
    VIV_F_DERIVED(viv_virtq, in_flight, "held elements are saved by their function, which takes them again"),
    VIV_F_DERIVED(viv_virtq, orphans, "none: they are in a back end, and that is idle"),
    VIV_F_DERIVED(viv_virtq, free, "a cache of memory"),
    VIV_F_DERIVED(viv_virtq, free_count, "a cache of memory"),
    VIV_F_DERIVED(viv_virtq, in_kick, "only while a kick is served"),
    VIV_F_DERIVED(viv_virtq, left, "only while a kick is served"),
    VIV_F_DERIVED(viv_virtq, again, "queues are kicked when the VM goes on"),
    VIV_F_CONFIG(viv_virtq, job),
    VIV_F_END,
};

const struct viv_state_table viv_virtq_state = {
    .name = "virtqueue",
    .ctype = "viv_virtq",
    .version = 1,
    .min_version = 1,
    .fields = queue_fields,
    .post_load = queue_post_load,
};

void viv_virtq_elem_save(struct viv_state_writer *w, const struct viv_virtq_elem *e)
{
    viv_state_put_u32(w, e->queue);
    viv_state_put_u32(w, e->id);
    viv_state_put_u32(w, e->ndescs);
    viv_state_put_u32(w, e->out_num);
    viv_state_put_u32(w, e->in_num);
    for (unsigned i = 0; i < e->out_num + e->in_num; i++) {
        viv_state_put_u64(w, e->gpa[i]);
        viv_state_put_u32(w, e->out[i].iov_len);
    }
}

static int load_segments(struct viv_state_reader *r, struct viv_virtq_gather *g, uint32_t out,
                         uint32_t in, struct viv_err *err)
{
    for (uint32_t i = 0; i < out + in; i++) {
        struct viv_vring_desc d = {.flags = i < out ? 0 : VIV_DESC_WRITE};
        int rc = viv_state_get_u64(r, &d.addr, err);

        if (!rc)
            rc = viv_state_get_u32(r, &d.len, err);
        if (rc)
            return rc;
        if (!viv_virtq_gather_add(g, &d))
            return viv_fail(err, EINVAL, "a held request's buffer cannot be mapped");
    }
    return 0;
}

/* How many descriptors a held request of queue `i` may have, 0: none more. It may be of a life before: then the size was another, and
 * as many again are there. */
static unsigned most_descs(const struct viv_virtio *v, uint32_t i)
{
    const struct viv_virtq *q = i < v->queue_count ? &v->queues[i] : NULL;

    if (!q || q->in_flight >= 2 * (unsigned)q->max_size)
        return 0;
    return q->enabled ? q->size : q->max_size;
}

int viv_virtq_elem_load(struct viv_state_reader *r, struct viv_virtio *v,
                        struct viv_virtq_elem **out, struct viv_err *err)
{
    struct viv_virtq_gather g = {.v = v};
    uint32_t head[5];
    int rc = 0;

    *out = NULL;
    for (unsigned i = 0; i < 5 && !rc; i++)
        rc = viv_state_get_u32(r, &head[i], err);
    if (rc)
        return rc;
    if (head[1] > UINT16_MAX || !head[2] || head[2] > most_descs(v, head[0]) || head[3] > VIV_VIRTQ_MAX_SEGS ||
        head[4] > VIV_VIRTQ_MAX_SEGS)
        return viv_fail(err, EINVAL, "a held request names queue %u, %u descriptors", head[0],
                        head[2]);
    rc = load_segments(r, &g, head[3], head[4], err);
    if (!rc)
        *out = elem_make(&v->queues[head[0]], &g);
    if (!*out) {
        gather_unmap(&g);
        return rc ? rc : viv_fail(err, ENOMEM, "no memory for a held request");
    }
    (*out)->id = head[1];
    (*out)->ndescs = head[2];
    return 0;
}
