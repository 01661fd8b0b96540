/* Disks that stand in for block/, and the device lock: nothing happens by itself, all in one thread, so that an input does the same
 * each time. */
#include "fuzz/device_rig.h"

#include "block/options.h"
#include "block/registry.h"
#include "block/throttle.h"
#include "dev/storage/front.h"
#include "host/lock.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

enum { DISKS = 8, DEPTH = 8192 };

/* --- the device lock: who waits waits for a disk --- */

static bool held;

void viv_dev_lock(void)
{
    g_assert(!held);
    held = true;
}

void viv_dev_unlock(void)
{
    g_assert(held);
    held = false;
}

bool viv_dev_locked(void)
{
    return held;
}

void viv_dev_wait(pthread_cond_t *cond)
{
    if (!fuzz_complete(UINT32_MAX, 0))
        fuzz_fail("it would wait for ever");
}

/* --- disks --- */

struct disk {
    char id[8];
    uint8_t *data;
    uint64_t room, size;
    bool dirty;
};

struct viv_blk {
    struct disk *disk;
    void (*resized)(void *opaque);
    void *resized_opaque;
};

static struct disk disks[DISKS];
static struct {
    struct viv_blk_req *req;
    struct viv_blk *blk;
} queue[DEPTH];
static unsigned queued;

static struct viv_blk *open_disk(const char *id)
{
    struct viv_blk *b = g_new0(struct viv_blk, 1);
    unsigned i = 0;

    while (i < DISKS - 1 && disks[i].data && strcmp(disks[i].id, id))
        i++;
    b->disk = &disks[i];
    if (!b->disk->data) {
        g_strlcpy(b->disk->id, id, sizeof(b->disk->id));
        b->disk->room = *id == 'f' ? 1474560 : *id == 'l' ? 65536 : 256 << 10;
        b->disk->data = g_malloc(b->disk->room);
        b->disk->dirty = true;
    }
    return b;
}

void fuzz_add_drive(const char *id)
{
    struct viv_blk *b = open_disk(id);
    struct viv_drive *d;
    struct viv_err err = VIV_ERR_INIT;

    if (viv_drive_add(id, b, &d, &err) < 0)
        fuzz_fail("%s", err.text);
    d->cd = *id == 'c';
}

/* Before an input: all as it was. */
void fuzz_disks_restore(void)
{
    for (unsigned i = 0; i < DISKS && disks[i].data; i++) {
        disks[i].size = disks[i].room;
        for (uint64_t k = 0; disks[i].dirty && k < disks[i].room; k++)
            disks[i].data[k] = (uint8_t)(k >> 9 | (k & 1));
        disks[i].dirty = false;
    }
}

uint64_t viv_blk_size(const struct viv_blk *b)
{
    return b->disk->size ? b->disk->size : b->disk->room;
}

bool viv_blk_writable(const struct viv_blk *b)
{
    return *b->disk->id != 'c';
}

bool viv_blk_writethrough(const struct viv_blk *b)
{
    return false;
}

void viv_blk_on_resize(struct viv_blk *b, uint32_t unit, void (*resized)(void *opaque), void *opaque)
{
    b->resized = resized;
    b->resized_opaque = opaque;
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
}

int viv_blk_close(struct viv_blk *b, struct viv_err *err)
{
    g_free(b);
    return 0;
}

int viv_blockdev_attach(const char *node_name, unsigned perms, unsigned shared, const char *user, struct viv_blk **out, struct viv_err *err)
{
    return -ENOENT;
}

int viv_blk_pread(struct viv_blk *b, uint64_t offset, void *buf, size_t len)
{
    if (offset > viv_blk_size(b) || len > viv_blk_size(b) - offset)
        return -EIO;
    memcpy(buf, b->disk->data + offset, len);
    return 0;
}

int viv_blk_pwrite(struct viv_blk *b, uint64_t offset, const void *buf, size_t len, unsigned flags)
{
    if (offset > viv_blk_size(b) || len > viv_blk_size(b) - offset)
        return -EIO;
    memcpy(b->disk->data + offset, buf, len);
    b->disk->dirty = true;
    return 0;
}

void viv_blk_submit(struct viv_blk *b, struct viv_blk_req *r)
{
    g_assert_cmpuint(queued, <, DEPTH);
    queue[queued].blk = b;
    queue[queued++].req = r;
}

static int perform(struct disk *d, struct viv_blk_req *r)
{
    uint64_t at = r->offset;

    if (r->op == VIV_BLK_FLUSH)
        return 0;
    if (at > d->size || r->len > d->size - at)
        return -EIO;
    d->dirty |= r->op != VIV_BLK_READ;
    if (r->op == VIV_BLK_WRITE_ZEROES)
        memset(d->data + at, 0, r->len);
    if (r->op == VIV_BLK_WRITE_ZEROES || r->op == VIV_BLK_DISCARD)
        return 0;
    for (int i = 0; i < r->iovcnt; at += r->iov[i++].iov_len) {
        g_assert_cmpuint(at + r->iov[i].iov_len, <=, r->offset + r->len);
        if (r->op == VIV_BLK_READ)
            memcpy(r->iov[i].iov_base, d->data + at, r->iov[i].iov_len);
        else
            memcpy(d->data + at, r->iov[i].iov_base, r->iov[i].iov_len);
    }
    g_assert_cmpuint(at, ==, r->offset + r->len);
    return 0;
}

unsigned fuzz_complete(unsigned count, int error)
{
    unsigned done = 0;

    for (; queued && done < count; done++) {
        struct viv_blk_req *r = queue[--queued].req;
        struct disk *d = queue[queued].blk->disk;

        viv_dev_unlock(); /* as from an I/O thread */
        r->done(r, error ? -error : perform(d, r));
        viv_dev_lock();
    }
    while (done < count && fuzz_share_serve())
        done++;
    return done;
}

void fuzz_disk_act(unsigned what)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_front *f = viv_front_next(NULL);

    for (unsigned n = what >> 4 & 3; n && f && viv_front_next(f); n--)
        f = viv_front_next(f);
    if (!f || !f->drive->blk)
        return;
    if (!f->removable) {
        struct viv_blk *b = f->drive->blk;

        if (!b->resized) /* block_resize would be refused */
            return;
        if (!viv_front_idle(f))
            fuzz_complete(UINT32_MAX, 0);
        b->disk->size = what & 1 ? b->disk->room : b->disk->room / 2;
        b->resized(b->resized_opaque);
        return;
    }
    switch (what & 3) {
    case 0:
        viv_front_open_tray(f, what & 4, &err);
        break;
    case 1:
        viv_front_close_tray(f, &err);
        break;
    default: /* another one of the same contents */
        if (!viv_front_eject(f, what & 4, &err) && !f->drive->blk) {
            if (viv_front_insert(f, open_disk(f->drive->id), &err) < 0)
                fuzz_fail("insert: %s", err.text);
            viv_front_close_tray(f, &err);
        }
    }
}
