/* After a stop that somebody asked for: what was under way at disks ends, and what the guest has written is made durable, so that who is
 * told that the machine stands can copy its images. A disk that hangs does not keep the monitor for ever. */
#include "machine/vm.h"

#include "base/log.h"
#include "base/units.h"
#include "dev/storage/front.h"
#include "host/clock.h"
#include "host/loop.h"

#include <glib.h>
#include <string.h>

#define SETTLE_NS (30 * (int64_t)VIV_NS_PER_SEC)
#define LOOK_NS   (2 * 1000 * 1000) /* the end of a request does not wake the loop */

/* Kept until both the last flush and who waits for it are done with it. */
struct settling {
    unsigned refs;
};

struct flush {
    struct viv_front_req fr;
    struct settling *s;
};

static void put(struct settling *s)
{
    if (!--s->refs)
        g_free(s);
}

static void nothing(void *unused)
{
}

static void flushed(struct viv_front_req *fr, int result)
{
    struct flush *f = (struct flush *)fr;

    if (result < 0)
        viv_error("stop: cannot flush drive '%s': %s", fr->front->drive->id, strerror(-result));
    put(f->s);
    g_free(f);
    viv_loop_call(nothing, NULL); /* who waits looks again */
}

/* Somebody else may have let the machine go on meanwhile. */
static bool idle_or_runs(void *opaque)
{
    struct viv_timer *look = opaque;

    viv_timer_set(look, viv_clock_ns(VIV_CLOCK_HOST) + LOOK_NS);
    return viv_front_idle_all() || viv_vm_state() == VIV_RUN_RUNNING;
}

static bool wait_idle(void)
{
    struct viv_timer *look = viv_timer_new(VIV_CLOCK_HOST, nothing, NULL);
    bool idle = viv_loop_wait_for(idle_or_runs, look, SETTLE_NS);

    viv_timer_free(look);
    return idle;
}

static void flush_all(struct settling *s)
{
    for (struct viv_front *f = viv_front_next(NULL); f; f = viv_front_next(f)) {
        struct flush *r;

        if (!f->drive->blk || !viv_blk_writable(f->drive->blk))
            continue;
        r = g_new0(struct flush, 1);
        *r = (struct flush){.fr = {.done = flushed, .br.op = VIV_BLK_FLUSH}, .s = s};
        s->refs++;
        viv_front_submit(f, &r->fr);
    }
}

static bool only_ours(void *opaque)
{
    const struct settling *s = opaque;

    return s->refs == 1;
}

void viv_vm_settle(void)
{
    struct settling *s = g_new0(struct settling, 1);

    s->refs = 1;
    if (!wait_idle())
        viv_warn("stop: a disk request did not end within 30 seconds: images are not to be copied yet");
    else if (viv_vm_state() != VIV_RUN_RUNNING)
        flush_all(s);
    if (!viv_loop_wait_for(only_ours, s, SETTLE_NS))
        viv_warn("stop: disks were not flushed within 30 seconds: images are not to be copied yet");
    put(s);
}
