/* The end where storage hangs: what lies on other disks is made durable, and the process goes without taking anything apart. Closing a
 * disk waits for its requests, and those may never end. */
#include "cmd/vm_args.h"

#include "base/log.h"
#include "base/units.h"
#include "block/registry.h"
#include "cmd/daemon.h"
#include "dev/storage/front.h"
#include "host/clock.h"
#include "host/lock.h"
#include "host/loop.h"

#include <glib.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#define FLUSH_NS (10 * (int64_t)VIV_NS_PER_SEC)

struct flush {
    struct viv_drive *drive;
    bool done; /* atomic */
    pthread_t thread;
};

static void nothing(void *unused)
{
}

static void *flush_one(void *opaque)
{
    struct flush *f = opaque;
    int rc = viv_blk_flush(f->drive->blk);

    if (rc < 0)
        viv_error("cannot flush drive '%s': %s", f->drive->id, strerror(-rc));
    __atomic_store_n(&f->done, true, __ATOMIC_RELEASE);
    viv_loop_call(nothing, NULL); /* who waits looks again */
    return NULL;
}

static bool hangs(const struct viv_drive *d)
{
    for (struct viv_front *f = viv_front_next(NULL); f; f = viv_front_next(f)) {
        if (f->drive == d && f->in_flight)
            return true;
    }
    return false;
}

static bool all_done(void *opaque)
{
    GPtrArray *all = opaque;

    for (guint i = 0; i < all->len; i++) {
        if (!__atomic_load_n(&((struct flush *)all->pdata[i])->done, __ATOMIC_ACQUIRE))
            return false;
    }
    return true;
}

/* Each in a thread of its own: one that hangs after all holds up none. */
static void begin_flush(GPtrArray *all, struct viv_drive *d)
{
    struct flush *f = g_new0(struct flush, 1);

    f->drive = d;
    if (pthread_create(&f->thread, NULL, flush_one, f) == 0)
        g_ptr_array_add(all, f);
    else
        g_free(f);
}

void vm_leave_hung(void)
{
    GPtrArray *all = g_ptr_array_new(); /* threads may look at it to the end */

    VIV_ASSERT_DEV_LOCKED();
    for (struct viv_drive *d = viv_drive_next(NULL); d; d = viv_drive_next(d)) {
        if (hangs(d))
            viv_error("drive '%s': its requests do not end; what was written to it last may be lost", d->id);
        else if (d->blk && viv_blk_writable(d->blk))
            begin_flush(all, d);
    }
    viv_loop_wait_for(all_done, all, FLUSH_NS);
    for (guint i = 0; i < all->len; i++) {
        const struct flush *f = all->pdata[i];

        if (!__atomic_load_n(&f->done, __ATOMIC_ACQUIRE))
            viv_error("drive '%s' does not end its flush; what was written to it last may be lost", f->drive->id);
    }
    cmd_pidfile_remove();
    fflush(NULL);
    _exit(1);
}
