/* BLOCK_STATUS: a chunk with extents for each context that was selected. */
#include "nbd/server_int.h"

#include "block/graph.h"
#include "block/bitmap.h"

#include "base/checked.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

enum { DIRTY = 1 }; /* qemu:dirty-bitmap */

struct extents {
    uint8_t *wire; /* length and flags of each */
    unsigned count, max;
    uint64_t last_len;
    uint32_t last_flags;
};

/* Goes on with the last extent where it can. */
static bool add(struct extents *x, uint64_t len, uint32_t flags)
{
    if (x->count && x->last_flags == flags) {
        x->last_len += len;
    } else if (x->count == x->max) {
        return false;
    } else {
        x->count++;
        x->last_len = len;
        x->last_flags = flags;
    }
    viv_st_be32(x->wire + 8 * (x->count - 1), x->last_len); /* inside a request of 32 bits */
    viv_st_be32(x->wire + 8 * (x->count - 1) + 4, flags);
    return true;
}

int viv_nbd_status(const struct viv_nbd_export *e, uint64_t at, uint64_t len, struct viv_extent *out, bool *raw)
{
    struct viv_node *n;
    int ret;

    viv_graph_enter(); /* the handle moves to another node, and this one may go, whenever nobody is in there */
    n = viv_blk_node(e->blk);
    *raw = n->granule == 1;
    ret = viv_node_status(n, at, len, out);
    viv_graph_leave();
    return ret;
}

static int allocation(const struct viv_nbd_export *e, uint64_t at, uint64_t len, struct extents *x)
{
    while (len) {
        struct viv_extent b;
        uint32_t flags;
        bool raw;
        int ret = viv_nbd_status(e, at, len, &b, &raw);

        if (ret)
            return ret;
        flags = b.kind == VIV_MAP_ZERO ? VIV_NBD_STATE_ZERO : 0;
        if (flags && (!b.allocated || b.hole || raw)) /* raw: zeroes are known from holes of the file */
            flags |= VIV_NBD_STATE_HOLE;
        else if (b.kind == VIV_MAP_DATA && b.hole)
            flags = VIV_NBD_STATE_HOLE;
        b.len = MIN(b.len, len);
        if (!b.len || !add(x, b.len, flags))
            break;
        at += b.len;
        len -= b.len;
    }
    return x->count ? 0 : -EIO;
}

/* In which layer of the chain: 1 is the top, 0 none at all. */
static int find_layer(struct viv_node *n, uint64_t at, uint64_t len, uint32_t *depth, uint64_t *out)
{
    for (*depth = 1;; ++*depth) {
        struct viv_extent b;
        int ret = viv_node_status_layer(n, at, len, &b);

        if (ret)
            return ret;
        *out = len = MIN(len, b.len);
        if (b.kind != VIV_MAP_BACKING)
            return 0;
        n = n->backing;
        if (!n || at >= viv_node_size(n)) {
            *depth = 0;
            return 0;
        }
        len = MIN(len, viv_node_size(n) - at);
    }
}

static int layer_of(const struct viv_nbd_export *e, uint64_t at, uint64_t len, uint32_t *depth, uint64_t *out)
{
    int ret;

    viv_graph_enter();
    ret = find_layer(viv_blk_node(e->blk), at, len, depth, out);
    viv_graph_leave();
    return ret;
}

static int depths(const struct viv_nbd_export *e, uint64_t at, uint64_t len, struct extents *x)
{
    while (len) {
        uint32_t depth;
        uint64_t step = 0;
        int ret = layer_of(e, at, len, &depth, &step);

        if (ret)
            return ret;
        if (!step || !add(x, step, depth))
            break;
        at += step;
        len -= step;
    }
    return x->count ? 0 : -EIO;
}

/* How many granules from `g` on, below `end`, have the same bit. */
static uint64_t run_of(const struct viv_nbd_bitmap *b, uint64_t g, uint64_t end, bool *dirty)
{
    uint64_t k = g;

    *dirty = g / 8 < b->bytes && (b->bits[g / 8] >> (g % 8) & 1);
    while (k < end) {
        uint8_t byte = k / 8 < b->bytes ? b->bits[k / 8] : 0;

        if (k % 8 == 0 && end - k >= 8 && byte == (*dirty ? 0xff : 0))
            k += 8;
        else if ((byte >> (k % 8) & 1) == *dirty)
            k++;
        else
            break;
    }
    return k - g;
}

static void live_bitmap(const struct viv_nbd_bitmap *b, uint64_t at, uint64_t len, struct extents *x)
{
    uint64_t end = at + len, from, dirty;

    while (at < end) {
        if (!viv_bitmap_next(b->live, at, &from, &dirty) || from >= end) {
            add(x, end - at, 0);
            return;
        }
        if (from > at && !add(x, from - at, 0))
            return;
        at = MAX(at, from);
        dirty -= at - from;
        if (!add(x, MIN(dirty, end - at), DIRTY))
            return;
        at += MIN(dirty, end - at);
    }
}

static void stored_bitmap(const struct viv_nbd_bitmap *b, uint64_t at, uint64_t len, struct extents *x)
{
    uint64_t end = at + len;

    while (at < end) {
        uint64_t g = at / b->granularity, last = (end - 1) / b->granularity + 1, stop;
        bool dirty;

        stop = MIN(end, (g + run_of(b, g, last, &dirty)) * b->granularity);
        if (!add(x, stop - at, dirty ? DIRTY : 0))
            break;
        at = stop;
    }
}

static int bitmap(const struct viv_nbd_bitmap *b, uint64_t at, uint64_t len, struct extents *x)
{
    if (b->live)
        live_bitmap(b, at, len, x);
    else
        stored_bitmap(b, at, len, x);
    return 0;
}

static int collect(const struct viv_nbd_export *e, unsigned context, uint64_t at, uint64_t len, struct extents *x)
{
    if (context == VIV_NBD_CONTEXT_ALLOCATION)
        return allocation(e, at, len, x);
    if (context == VIV_NBD_CONTEXT_DEPTH)
        return depths(e, at, len, x);
    return bitmap(&e->bitmap[context - VIV_NBD_CONTEXT_BITMAP], at, len, x);
}

int viv_nbd_block_status(struct viv_nbd_client *c, const struct viv_nbd_request *r)
{
    const struct viv_nbd_export *e = c->export;
    struct extents x = {.max = r->flags & VIV_NBD_CMD_FLAG_REQ_ONE ? 1 : VIV_NBD_EXTENTS_MAX};
    g_autofree uint8_t *wire = NULL;
    int ret = 0;

    if (!c->structured || !c->contexts || c->context_export != e || !r->len)
        return viv_nbd_reply_result(c, r, EINVAL);
    x.wire = wire = g_malloc(8 * x.max);
    for (uint32_t left = c->contexts; left && !ret; left &= left - 1) {
        unsigned context = __builtin_ctz(left);
        uint8_t head[4];
        int error;

        x.count = 0;
        error = -collect(e, context, e->offset + r->offset, r->len, &x);
        if (error)
            return viv_nbd_reply_result(c, r, error);
        viv_st_be32(head, context);
        ret = viv_nbd_reply_chunk(c, r, VIV_NBD_CHUNK_BLOCK_STATUS, !(left & (left - 1)), head, sizeof(head), wire, 8 * x.count);
    }
    return ret;
}
