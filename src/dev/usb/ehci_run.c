/* EHCI's time: frames of the periodic list, the ring of asynchronous queues (EHCI 1.0, 4.6, 4.8).
 *
 * As with UHCI the lists change by plain stores: looked at each millisecond while there is progress, every 16 ms after 20 frames
 * without, at once when a device wakes up or the driver touches the command register. */
#include "dev/usb/ehci.h"

#include "host/clock.h"
#include "mem/dma.h"

#include <glib.h>
#include <string.h>

#define FRAME_NS    1000000ll
#define FRAME_BYTES 60000
#define MOST_STEPS  1024
#define MOST_LATE   32
#define QUIET       20
#define SLOW        16

enum { END = 1, TYPE = 6, TYPE_QH = 2 };

static bool on(const struct ehci *e)
{
    return e->cmd & EHCI_CMD_RUN && viv_pci_bus_master(&e->pci);
}

static uint64_t elapsed(const struct ehci *e)
{
    return (uint64_t)MAX(viv_clock_ns(VIV_CLOCK_GUEST) - e->began, 0) / FRAME_NS;
}

uint16_t ehci_index(const struct ehci *e)
{
    uint64_t micro = (uint64_t)MAX(viv_clock_ns(VIV_CLOCK_GUEST) - e->began, 0) / (FRAME_NS / 8);

    return (uint16_t)((e->index + (e->cmd & EHCI_CMD_RUN ? micro : 0)) & 0x3fff);
}

/* ---- schedules ---- */

static uint32_t list_size(const struct ehci *e)
{
    return 1024u >> (e->cmd >> 2 & 3);
}

static void run_periodic(struct ehci_walk *w, uint32_t frame)
{
    uint32_t size = list_size(w->e), link;
    uint8_t raw[4];

    if (viv_dma_read(ehci_mem(w->e), w->e->periodic + 4 * (frame & (size - 1)), raw, 4) < 0) {
        w->failed = true;
        return;
    }
    memcpy(&link, raw, 4);
    link = le32toh(link);
    while (!(link & END) && --w->steps >= 0 && w->left > 0 && !w->failed) {
        uint32_t at = link & ~31u;

        if ((link & TYPE) == TYPE_QH)
            ehci_queue(w, at, &link);
        else if (viv_dma_read(ehci_mem(w->e), at, &link, 4) < 0) /* isochronous and split: passed over */
            w->failed = true;
        else
            link = le32toh(link);
    }
}

/* Round the ring until a round was without progress. */
static void run_async(struct ehci_walk *w)
{
    uint32_t first = w->e->async, at = first, link;
    bool before = w->progress;

    w->progress = false;
    while (at && --w->steps >= 0 && w->left > 0 && !w->failed) {
        ehci_queue(w, at, &link);
        if (link & END)
            break;
        at = link & ~31u;
        if (at != first)
            continue;
        if (!w->progress)
            break;
        before = true;
        w->progress = false;
    }
    w->progress |= before;
}

static bool run(struct ehci *e, bool periodic, bool async, uint32_t frame)
{
    struct ehci_walk w = {.e = e, .left = FRAME_BYTES, .steps = MOST_STEPS};

    if (periodic && e->cmd & EHCI_CMD_PERIODIC)
        run_periodic(&w, frame);
    if (async && e->cmd & EHCI_CMD_ASYNC && !w.failed)
        run_async(&w);
    if (w.failed)
        ehci_halt(e);
    return w.progress;
}

/* ---- time ---- */

static void set_timer(struct ehci *e)
{
    uint64_t step = e->quiet < QUIET ? 1 : SLOW;

    if (e->cmd & (EHCI_CMD_PERIODIC | EHCI_CMD_ASYNC))
        viv_timer_set(e->timer, e->began + (int64_t)(e->done + step) * FRAME_NS);
    else
        viv_timer_cancel(e->timer);
}

void ehci_start(struct ehci *e)
{
    e->began = viv_clock_ns(VIV_CLOCK_GUEST);
    e->done = 0;
    e->quiet = 0;
    set_timer(e);
}

void ehci_stop(struct ehci *e)
{
    viv_timer_cancel(e->timer);
}

void ehci_soon(struct ehci *e)
{
    if (!(e->cmd & EHCI_CMD_RUN) || !(e->cmd & (EHCI_CMD_PERIODIC | EHCI_CMD_ASYNC)))
        return;
    e->quiet = 0;
    viv_timer_set(e->timer, viv_clock_ns(VIV_CLOCK_GUEST));
}

/* Frames that went by, each once for the periodic list; the ring once a frame as long as that brings something. */
void ehci_timer(void *opaque)
{
    struct ehci *e = opaque;
    uint64_t now = elapsed(e), first = (e->index >> 3) + e->done;
    bool async = true, any;

    /* 2.3.2: when the index goes from the list's last place to the first, in frames that are passed over, too. */
    if (((e->index >> 3) + now) / list_size(e) != first / list_size(e))
        e->sts |= EHCI_STS_ROLL;
    if (now - e->done > MOST_LATE)
        e->done = now - MOST_LATE;
    any = on(e) && run(e, false, true, 0);
    while (e->done < now && on(e)) {
        uint32_t frame = (e->index >> 3) + (uint32_t)++e->done;

        async = run(e, true, async, frame);
        any |= async;
        e->quiet = async ? 0 : MIN(e->quiet + 1, 1000000);
    }
    e->done = MAX(e->done, now);
    e->quiet = any ? 0 : e->quiet;
    ehci_update_irq(e);
    if (e->cmd & EHCI_CMD_RUN)
        set_timer(e);
}
