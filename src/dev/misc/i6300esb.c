/* i6300esb: the watchdog timer of Intel's 6300ESB I/O controller hub (Intel 300641, chapter "Watchdog Timer"), which Linux, BSD and
 * Windows have drivers for. A function of its own on any slot (8086:25ab).
 *
 * A counter goes down from preload 1, then from preload 2; at its second end the pin WDT_TOUT# goes low, and what that does is the
 * user's choice (-action watchdog=). A guest that lives reloads it before. Free running it has the second stage alone, again and again. The preloads and the reload register take one write after
 * the sequence 80h, 86h.
 *
 * Left out: the interrupt at the end of the first stage, whose line is one of a second I/O APIC that our boards have not (status bit
 * 0 tells), and as an SMI. */
#include "base/bytes.h"
#include "bus/pci.h"
#include "bus/vmreq.h"
#include "host/clock.h"

#include <errno.h>
#include <glib.h>

/* Configuration space. */
enum { CONFIG = 0x60, LOCK = 0x68 };

#define CONFIG_INT_TYPE 0x03
#define CONFIG_FAST     0x04 /* preloads count 2^5 PCI clocks, otherwise 2^15 */
#define CONFIG_NO_PIN   0x20
#define LOCK_LOCKED     0x01
#define LOCK_ENABLED    0x02
#define LOCK_FREE_RUN   0x04

/* The memory BAR. */
enum { PRELOAD1 = 0x00, PRELOAD2 = 0x04, STATUS = 0x08, RELOAD = 0x0c, BAR_SIZE = 0x10 };

#define PRELOAD_MASK    0xfffff
#define STATUS_STAGE1   0x01
#define RELOAD_RELOAD   0x100
#define RELOAD_TIMEOUT  0x200
#define UNLOCK1         0x80
#define UNLOCK2         0x86

#define PCI_CLOCK_NS    30
#define SHORTEST_NS     100000 /* of a stage: a host's timer is no better */

struct i6300esb {
    struct viv_pci_dev pci;
    struct viv_timer *timer; /* the end of the stage; not armed: it does not count */
    uint32_t preload[2];
    uint8_t stage;    /* 0, 1 */
    uint8_t unlocked; /* how many of the two bytes were written */
    bool stage1_told;
    bool timed_out; /* kept over resets, so that the guest that comes up sees why (the bit is in the hub's battery well) */
};

static void begin_stage(struct i6300esb *w, unsigned stage)
{
    unsigned shift = w->pci.config[CONFIG] & CONFIG_FAST ? 5 : 15;
    int64_t ns = ((int64_t)w->preload[stage] << shift) * PCI_CLOCK_NS;

    w->stage = (uint8_t)stage;
    viv_timer_set(w->timer, viv_clock_ns(VIV_CLOCK_GUEST) + MAX(ns, SHORTEST_NS));
}

static void begin(struct i6300esb *w)
{
    begin_stage(w, w->pci.config[LOCK] & LOCK_FREE_RUN ? 1 : 0);
}

static void stage_ended(void *opaque)
{
    struct i6300esb *w = opaque;

    if (w->stage == 0) {
        w->stage1_told = true;
        begin_stage(w, 1);
        return;
    }
    w->timed_out = true;
    if (w->pci.config[LOCK] & LOCK_FREE_RUN)
        begin(w);
    if (!(w->pci.config[CONFIG] & CONFIG_NO_PIN))
        viv_vm_request(VIV_VM_WATCHDOG, 0, "i6300esb");
}

/* ---- registers ---- */

static uint32_t reg(const struct i6300esb *w, uint64_t off)
{
    switch (off & ~3ull) {
    case PRELOAD1: return w->preload[0];
    case PRELOAD2: return w->preload[1];
    case STATUS: return w->stage1_told ? STATUS_STAGE1 : 0;
    default: return w->timed_out ? RELOAD_TIMEOUT : 0;
    }
}

static uint64_t bar_read(void *opaque, uint64_t off, unsigned size)
{
    return reg(opaque, off) >> (off & 3) * 8;
}

static void reload(struct i6300esb *w, uint32_t v)
{
    if (v & RELOAD_TIMEOUT)
        w->timed_out = false;
    if ((v & RELOAD_RELOAD) && (w->pci.config[LOCK] & LOCK_ENABLED))
        begin(w);
}

static void bar_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    struct i6300esb *w = opaque;
    bool open = w->unlocked == 2;

    if (off == STATUS && (v & STATUS_STAGE1))
        w->stage1_told = false;
    if (off == STATUS)
        return;
    w->unlocked = 0;
    if (off == RELOAD && v == UNLOCK1)
        w->unlocked = 1;
    else if (off == RELOAD && v == UNLOCK2)
        w->unlocked = 2;
    else if (open && off == RELOAD)
        reload(w, (uint32_t)v);
    else if (open && (off == PRELOAD1 || off == PRELOAD2))
        w->preload[off == PRELOAD2] = v & PRELOAD_MASK;
}

/* The lock holds until a reset. */
static void set_writable(struct i6300esb *w)
{
    w->pci.wmask[LOCK] = w->pci.config[LOCK] & LOCK_LOCKED ? 0 : LOCK_LOCKED | LOCK_ENABLED | LOCK_FREE_RUN;
}

static void config_written(struct viv_pci_dev *d, unsigned off, unsigned len)
{
    struct i6300esb *w = (struct i6300esb *)d;
    bool on = d->config[LOCK] & LOCK_ENABLED;

    if (off > LOCK || off + len <= LOCK || !d->wmask[LOCK])
        return;
    set_writable(w);
    if (!on)
        viv_timer_cancel(w->timer);
    else if (viv_timer_expiry_ns(w->timer) == INT64_MAX)
        begin(w);
}

/* ---- making ---- */

static int esb_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_pci_ids ids = {0x8086, 0x25ab, 0, 0x088000, 0, 0};
    static const struct viv_region_ops ops = {bar_read, bar_write, 1, 4, false, false};
    struct i6300esb *w = (struct i6300esb *)d;
    struct viv_region_desc desc = {.name = "i6300esb", .kind = VIV_REGION_IO, .ops = &ops, .opaque = w, .size = BAR_SIZE};
    int rc = viv_pci_dev_init(&w->pci, &ids, opts, err);

    if (rc < 0)
        return rc;
    w->pci.config_written = config_written;
    w->pci.wmask[CONFIG] = CONFIG_INT_TYPE | CONFIG_FAST | CONFIG_NO_PIN;
    w->timer = viv_timer_new(VIV_CLOCK_GUEST, stage_ended, w);
    viv_pci_add_bar(&w->pci, 0, viv_region_new(d->board->mem, &desc), BAR_SIZE, false, false, false);
    return 0;
}

static void esb_unrealize(struct viv_dev *d)
{
    viv_timer_free(((struct i6300esb *)d)->timer);
    viv_pci_dev_fini((struct viv_pci_dev *)d);
}

static void esb_reset(struct viv_dev *d)
{
    struct i6300esb *w = (struct i6300esb *)d;

    viv_pci_dev_reset(&w->pci);
    viv_timer_cancel(w->timer);
    w->preload[0] = w->preload[1] = PRELOAD_MASK;
    w->stage = w->unlocked = 0;
    w->stage1_told = false;
    w->pci.config[CONFIG] = w->pci.config[LOCK] = 0;
    set_writable(w);
}

static int post_load(void *obj, int version, struct viv_err *err)
{
    struct i6300esb *w = obj;

    w->preload[0] &= PRELOAD_MASK;
    w->preload[1] &= PRELOAD_MASK;
    if (w->stage > 1 || w->unlocked > 2)
        return viv_fail(err, EINVAL, "i6300esb: no such stage (%u) or lock (%u)", w->stage, w->unlocked);
    set_writable(w);
    return 0;
}

static const struct viv_state_table state = {
    .name = "i6300esb",
    .ctype = "i6300esb",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_STRUCT(i6300esb, pci, viv_pci_dev_state),
            VIV_F_TIMER(i6300esb, timer),
            VIV_F_INTS(i6300esb, preload),
            VIV_F_INT(i6300esb, stage),
            VIV_F_INT(i6300esb, unlocked),
            VIV_F_INT(i6300esb, stage1_told),
            VIV_F_INT(i6300esb, timed_out),
            VIV_F_END,
        },
    .post_load = post_load,
};

static const struct viv_opt_def props[] = {VIV_PCI_PROPS, VIV_OPT_END};

const struct viv_dev_class viv_dev_i6300esb = {
    .name = "i6300esb",
    .desc = "watchdog (Intel 6300ESB); -action watchdog= says what it does",
    .bus = VIV_BUS_PCI,
    .size = sizeof(struct i6300esb),
    .props = props,
    .state = &state,
    .realize = esb_realize,
    .reset = esb_reset,
    .unrealize = esb_unrealize,
    .hotplug = &viv_pci_hotplug,
};
