/* A disk in memory whose requests complete when the test says so. It stands in for the block layer (block/block.h), so that order,
 * failure and time are the test's. For one test program. */
#ifndef VIV_DEV_STORAGE_DISK_TEST_H
#define VIV_DEV_STORAGE_DISK_TEST_H

#include "block/throttle.h"
#include "block/options.h"
#include "block/registry.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define DISK_SIZE  (1u << 20)
#define DISK_DEPTH 8192

struct viv_blk {
    uint8_t data[DISK_SIZE];
    bool ro, writethrough;
    struct viv_blk_req *queue[DISK_DEPTH];
    unsigned n;
    int fail; /* errno for the next requests */
    unsigned flushes, discards, fua, lifted;
    uint64_t discard_at, discarded; /* the last discard; bytes of all */
    uint64_t cut; /* the disk is so much shorter than DISK_SIZE */
    void (*resized)(void *opaque);
    void *resized_opaque;
};

static struct viv_blk disk;

uint64_t viv_blk_size(const struct viv_blk *b)
{
    return DISK_SIZE - b->cut;
}

void viv_blk_on_resize(struct viv_blk *b, uint32_t unit, void (*resized)(void *opaque), void *opaque)
{
    b->resized = resized;
    b->resized_opaque = opaque;
}

/* As block_resize does it. Device lock held. */
static inline void disk_resize(uint64_t size)
{
    disk.cut = DISK_SIZE - size;
    disk.resized(disk.resized_opaque);
}

bool viv_blk_writethrough(const struct viv_blk *b)
{
    return b->writethrough;
}

bool viv_blk_writable(const struct viv_blk *b)
{
    return !b->ro;
}

int viv_blk_share(struct viv_blk *b, bool writes, struct viv_err *err)
{
    return 0;
}

void viv_blk_use_counters(struct viv_blk *b, struct viv_blk_counters *c)
{
}

void viv_blk_join_limits(struct viv_blk *b, struct viv_throttle *take)
{
}

struct viv_throttle *viv_blk_limits(const struct viv_blk *b)
{
    return NULL;
}

int viv_blk_set_limits(struct viv_blk *b, const char *group, const struct viv_limits *l, struct viv_err *err)
{
    return -ENOTSUP;
}

void viv_blk_lift_limits(struct viv_blk *b)
{
    b->lifted++;
}

int viv_blk_close(struct viv_blk *b, struct viv_err *err)
{
    return 0;
}

int viv_blockdev_attach(const char *node_name, unsigned perms, unsigned shared, const char *user, struct viv_blk **out,
                        struct viv_err *err)
{
    return -ENOENT; /* there are no nodes */
}

void viv_blk_submit(struct viv_blk *b, struct viv_blk_req *req)
{
    g_assert_cmpuint(b->n, <, DISK_DEPTH);
    b->queue[b->n++] = req;
}

static int perform(struct viv_blk *b, struct viv_blk_req *r)
{
    uint64_t at = r->offset;

    if (b->fail)
        return -b->fail;
    g_assert_cmpuint(r->offset + r->len, <=, DISK_SIZE);
    if (r->op != VIV_BLK_FLUSH && r->offset + r->len > viv_blk_size(b))
        return -EINVAL; /* what came before it was made smaller */
    b->fua += (r->flags & VIV_BLK_FUA) != 0;
    switch (r->op) {
    case VIV_BLK_FLUSH:
        b->flushes++;
        return 0;
    case VIV_BLK_DISCARD:
        b->discards++;
        b->discard_at = r->offset;
        b->discarded += r->len;
        return 0;
    case VIV_BLK_WRITE_ZEROES:
        memset(b->data + r->offset, 0, r->len);
        return 0;
    default:
        for (int i = 0; i < r->iovcnt; i++) {
            if (r->op == VIV_BLK_READ)
                memcpy(r->iov[i].iov_base, b->data + at, r->iov[i].iov_len);
            else
                memcpy(b->data + at, r->iov[i].iov_base, r->iov[i].iov_len);
            at += r->iov[i].iov_len;
        }
        g_assert_cmpuint(at - r->offset, ==, r->len);
        return 0;
    }
}

/* Without the device lock, as from an I/O thread; last first, so that order is not taken for granted. */
static void complete(void)
{
    while (disk.n) {
        struct viv_blk_req *r = disk.queue[--disk.n];

        r->done(r, perform(&disk, r));
    }
}

#endif
