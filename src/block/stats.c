#include "block/stats.h"

#include <errno.h>
#include <glib.h>
#include <time.h>

struct viv_blk_counters *viv_blk_stats_new(void)
{
    struct viv_blk_counters *c = g_new0(struct viv_blk_counters, 1);

    atomic_init(&c->refs, 1);
    c->latency = viv_latency_new();
    return c;
}

struct viv_blk_counters *viv_blk_stats_ref(struct viv_blk_counters *c)
{
    atomic_fetch_add(&c->refs, 1);
    return c;
}

void viv_blk_stats_put(struct viv_blk_counters *c)
{
    if (atomic_fetch_sub(&c->refs, 1) != 1)
        return;
    viv_latency_free(c->latency);
    g_free(c);
}

int64_t viv_blk_stats_clock(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static unsigned kind_of(enum viv_blk_op op)
{
    switch (op) {
    case VIV_BLK_READ:
        return VIV_STAT_READ;
    case VIV_BLK_FLUSH:
        return VIV_STAT_FLUSH;
    case VIV_BLK_DISCARD:
        return VIV_STAT_UNMAP;
    default:
        return VIV_STAT_WRITE;
    }
}

static void add(atomic_uint_least64_t *to, uint64_t n)
{
    atomic_fetch_add_explicit(to, n, memory_order_relaxed);
}

/* -EINVAL is a range that the disk does not have: the request was never more than words. */
void viv_blk_stats_count(struct viv_blk_counters *c, const struct viv_blk_req *r, int64_t start, int result)
{
    unsigned k = kind_of(r->op);
    int64_t now = viv_blk_stats_clock();
    uint64_t end = r->offset + r->len, was = atomic_load_explicit(&c->written_end, memory_order_relaxed);
    bool invalid = result == -EINVAL, skip = result < 0 && atomic_load_explicit(invalid ? &c->skip_invalid : &c->skip_failed, memory_order_relaxed);

    if (!skip)
        atomic_store_explicit(&c->last, now, memory_order_relaxed);
    if (invalid) {
        add(&c->invalid[k], 1);
        return;
    }
    if (!skip)
        add(&c->ns[k], (uint64_t)(now - start));
    if (k < VIV_LATENCIES)
        viv_latency_add(c->latency, k, (uint64_t)(now - start), now, !skip);
    if (result < 0) {
        add(&c->failed[k], 1);
        return;
    }
    add(&c->ops[k], 1);
    add(&c->bytes[k], r->len);
    while (k == VIV_STAT_WRITE && end > was &&
           !atomic_compare_exchange_weak_explicit(&c->written_end, &was, end, memory_order_relaxed, memory_order_relaxed))
        ;
}
