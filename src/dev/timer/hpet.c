/* High precision event timers: one block at FED00000h with a 64-bit counter of 100 MHz and three timers. (IA-PC HPET
 * specification 1.0a.)
 *
 * All three timers can be periodic and 64 bits wide, and can send their interrupt as a message (FSB). With legacy
 * replacement timer 0 takes ISA line 0 from the 8254 and timer 1 line 8 from the RTC: the block sits in
 * front of both lines (bus/dev.h). Other routes are the I/O APIC pins 16-23 as far as the board has
 * them.
 *
 * A one-shot whose comparator already lies behind waits for the counter to come round (2.3.9.2.2), which
 * for 64 bits is never. */
#include "base/log.h"
#include "base/units.h"
#include "bus/dev.h"
#include "host/clock.h"

#include <errno.h>
#include <glib.h>

#define BASE          0xfed00000u
#define PERIOD_FS     10000000u /* 10 ns */
#define TICK_NS       10
#define TIMERS        3
#define MIN_PERIOD_NS 10000 /* no guest makes us tick faster than 100 kHz */

enum {
    CAP_LOW = 0x8086a201, /* legacy capable, 64 bits, 3 timers, revision 1 */

    CONFIG_ENABLE = 1,
    CONFIG_LEGACY = 2,

    T_LEVEL = 1 << 1,
    T_ENABLE = 1 << 2,
    T_PERIODIC = 1 << 3,
    T_PERIODIC_CAP = 1 << 4,
    T_64_CAP = 1 << 5,
    T_SET_ACC = 1 << 6,
    T_32 = 1 << 8,
    T_ROUTE_SHIFT = 9,
    T_FSB = 1 << 14,
    T_FSB_CAP = 1 << 15,
    T_WRITABLE = T_LEVEL | T_ENABLE | T_PERIODIC | T_SET_ACC | T_32 | 0x1f << T_ROUTE_SHIFT | T_FSB,
};

struct hpet_timer {
    struct hpet *hpet;
    unsigned n;
    uint64_t config; /* writable bits */
    uint64_t comparator;
    uint64_t period;
    uint64_t fsb; /* data, address */
    struct viv_timer *timer;
};

struct hpet {
    struct viv_dev dev;
    uint64_t config;
    uint64_t status;   /* of level-triggered timers */
    uint64_t counter;  /* while halted; while running: at origin_ns */
    int64_t origin_ns; /* while running: the guest time of that */
    struct hpet_timer t[TIMERS];

    uint32_t routes;          /* I/O APIC pins to choose from */
    struct viv_irq legacy[2]; /* ISA lines 0 and 8 as they were before us */
    uint8_t legacy_in;        /* what the 8254 and the RTC drive */
    struct viv_region *region;
};

/* ---- the counter ---- */

static bool running(const struct hpet *h)
{
    return h->config & CONFIG_ENABLE;
}

static uint64_t counter(const struct hpet *h)
{
    if (!running(h))
        return h->counter;
    return h->counter + ((uint64_t)viv_clock_ns(VIV_CLOCK_GUEST) - (uint64_t)h->origin_ns) / TICK_NS;
}

static void set_counter(struct hpet *h, uint64_t v)
{
    h->counter = v;
    h->origin_ns = viv_clock_ns(VIV_CLOCK_GUEST);
}

/* ---- interrupts ---- */

static const struct viv_irq *route(const struct hpet_timer *t)
{
    struct hpet *h = t->hpet;
    unsigned pin = t->config >> T_ROUTE_SHIFT & 0x1f;

    if ((h->config & CONFIG_LEGACY) && t->n < 2)
        return &h->legacy[t->n];
    return h->routes >> pin & 1 ? &h->dev.board->gsi_irq[pin] : NULL;
}

static void lower(struct hpet_timer *t)
{
    const struct viv_irq *irq = route(t);

    if (irq)
        viv_irq_set(irq, 0);
}

static void raise_irq(struct hpet_timer *t)
{
    const struct viv_irq *irq = route(t);

    if (t->config & T_LEVEL)
        t->hpet->status |= 1u << t->n;
    if (!(t->config & T_ENABLE))
        return;
    if (t->config & T_FSB)
        viv_msi_send(t->hpet->dev.board->intc, t->fsb >> 32, (uint32_t)t->fsb);
    else if (irq && (t->config & T_LEVEL))
        viv_irq_set(irq, 1);
    else if (irq)
        viv_irq_pulse(irq);
}

/* In legacy mode the lines of the 8254 and the RTC stop here. */
static void legacy_input(void *opaque, int n, int level)
{
    struct hpet *h = opaque;

    h->legacy_in = (uint8_t)((h->legacy_in & ~(1 << n)) | !!level << n);
    if (!(h->config & CONFIG_LEGACY))
        viv_irq_set(&h->legacy[n], level);
}

/* ---- timers ---- */

static uint64_t width_mask(const struct hpet_timer *t)
{
    return t->config & T_32 ? UINT32_MAX : UINT64_MAX;
}

/* Moves a periodic comparator past `now`. Periods that the loop was too late for are lost; a period that is too short runs as
 * fast as we let it. */
static void advance(struct hpet_timer *t, uint64_t now)
{
    uint64_t mask = width_mask(t), period = t->period & mask, behind = (now - t->comparator) & mask;
    uint64_t least = MIN_PERIOD_NS / TICK_NS;

    if (!period || behind > mask / 2)
        return; /* it lies ahead */
    t->comparator = (t->comparator + (behind / period + 1) * period) & mask;
    if (period < least)
        t->comparator = (now + least) & mask;
}

/* The counter is read once: a periodic comparator that it passed meanwhile would have to wait until it has come round. */
static void schedule(struct hpet_timer *t)
{
    uint64_t mask = width_mask(t), at = counter(t->hpet), left;
    int64_t now = viv_clock_ns(VIV_CLOCK_GUEST);

    if (t->config & T_PERIODIC)
        advance(t, at);
    left = (t->comparator - at) & mask;
    /* Further than 292 years away is a comparator that lies behind. */
    if (!running(t->hpet) || left > (uint64_t)(INT64_MAX - now) / TICK_NS) {
        viv_timer_cancel(t->timer);
        return;
    }
    if (!left && !(t->config & T_PERIODIC))
        left = mask == UINT32_MAX ? (uint64_t)UINT32_MAX + 1 : 0;
    if (!left)
        viv_timer_cancel(t->timer);
    else
        viv_timer_set(t->timer, now + (int64_t)left * TICK_NS);
}

static void fire(void *opaque)
{
    struct hpet_timer *t = opaque;

    raise_irq(t);
    if (t->config & T_PERIODIC ? t->period & width_mask(t) : t->config & T_32)
        schedule(t); /* the next period; or it comes round */
}

/* A comparator that was reached, when the loop has not looked yet. */
static void fire_if_due(struct hpet_timer *t)
{
    if (viv_timer_expiry_ns(t->timer) > viv_clock_ns(VIV_CLOCK_GUEST))
        return;
    viv_timer_cancel(t->timer);
    fire(t);
}

/* ---- registers, as 64-bit quantities ---- */

static uint64_t timer_caps(const struct hpet *h)
{
    return (uint64_t)h->routes << 32 | T_FSB_CAP | T_64_CAP | T_PERIODIC_CAP;
}

static uint64_t reg_read(struct hpet *h, unsigned reg)
{
    struct hpet_timer *t;

    switch (reg) {
    case 0x00:
        return (uint64_t)PERIOD_FS << 32 | CAP_LOW;
    case 0x10:
        return h->config;
    case 0x20:
        return h->status;
    case 0xf0:
        return counter(h);
    }
    if (reg < 0x100 || reg >= 0x100 + TIMERS * 0x20)
        return 0;
    t = &h->t[(reg - 0x100) / 0x20];
    switch (reg & 0x1f) {
    case 0x00:
        return t->config | timer_caps(h);
    case 0x08:
        return t->comparator & width_mask(t);
    case 0x10:
        return t->fsb;
    default:
        return 0;
    }
}

static void config_write(struct hpet *h, uint64_t v)
{
    uint64_t old = h->config, now = counter(h);

    if ((old ^ v) & CONFIG_LEGACY) {
        for (unsigned n = 0; n < 2; n++)
            lower(&h->t[n]);
    }
    h->config = v & (CONFIG_ENABLE | CONFIG_LEGACY);
    if ((old ^ v) & CONFIG_LEGACY) {
        for (int n = 0; n < 2; n++)
            viv_irq_set(&h->legacy[n], v & CONFIG_LEGACY ? 0 : h->legacy_in >> n & 1);
    }
    if ((old ^ v) & CONFIG_ENABLE) {
        set_counter(h, now);
        for (unsigned n = 0; n < TIMERS; n++)
            schedule(&h->t[n]);
    }
}

static void status_write(struct hpet *h, uint64_t v)
{
    uint64_t cleared = h->status & v;

    h->status &= ~v;
    for (unsigned n = 0; n < TIMERS; n++) {
        if (cleared >> n & 1)
            lower(&h->t[n]);
    }
}

static void timer_config_write(struct hpet_timer *t, uint64_t v)
{
    bool was_level = t->config & T_LEVEL;

    if (was_level && (t->hpet->status >> t->n & 1))
        lower(t);
    t->config = v & T_WRITABLE;
    if (t->config & T_32) {
        t->comparator &= UINT32_MAX;
        t->period &= UINT32_MAX;
    }
    if (!(t->config & T_LEVEL))
        t->hpet->status &= ~(1ull << t->n);
    else if ((t->config & T_ENABLE) && (t->hpet->status >> t->n & 1) && !(t->config & T_FSB) &&
             route(t))
        viv_irq_set(route(t), 1);
    schedule(t);
}

/* `mask`: which bits of the comparator this write carries. */
static void comparator_write(struct hpet_timer *t, uint64_t v, uint64_t mask)
{
    mask &= width_mask(t);
    if (!(t->config & T_PERIODIC) || (t->config & T_SET_ACC))
        t->comparator = (t->comparator & ~mask) | (v & mask);
    if (t->config & T_PERIODIC)
        t->period = (t->period & ~mask) | (v & mask);
    t->config &=
        ~(uint64_t)T_SET_ACC; /* falls with each write: the other half needs it set again */
    schedule(t);
}

static void reg_write(struct hpet *h, unsigned reg, uint64_t v, uint64_t mask)
{
    uint64_t whole;
    struct hpet_timer *t;

    for (unsigned n = 0; n < TIMERS; n++)
        fire_if_due(&h->t[n]); /* before what is written changes it */
    whole = (reg_read(h, reg) & ~mask) | (v & mask);
    switch (reg) {
    case 0x10:
        config_write(h, whole);
        return;
    case 0x20:
        status_write(h, v & mask);
        return;
    case 0xf0:
        set_counter(h, whole);
        for (unsigned n = 0; n < TIMERS; n++)
            schedule(&h->t[n]);
        return;
    }
    if (reg < 0x100 || reg >= 0x100 + TIMERS * 0x20)
        return;
    t = &h->t[(reg - 0x100) / 0x20];
    switch (reg & 0x1f) {
    case 0x00:
        timer_config_write(t, whole);
        break;
    case 0x08:
        comparator_write(t, v, mask);
        break;
    case 0x10:
        t->fsb = whole;
        break;
    }
}

static uint64_t hpet_read(void *opaque, uint64_t off, unsigned size)
{
    uint64_t v = reg_read(opaque, off & ~7u);

    return size == 8 ? v : (uint32_t)(v >> (off & 4 ? 32 : 0));
}

static void hpet_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    unsigned shift = off & 4 ? 32 : 0;

    if (size == 8)
        reg_write(opaque, (unsigned)off, v, UINT64_MAX);
    else
        reg_write(opaque, off & ~7u, v << shift, (uint64_t)UINT32_MAX << shift);
}

/* ---- class ---- */

static int hpet_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_region_ops ops = {hpet_read, hpet_write, 4, 8, false, false};
    static const unsigned lines[2] = {0, 8};
    struct hpet *h = (struct hpet *)d;
    struct viv_region_desc desc = {
        .name = "hpet", .kind = VIV_REGION_IO, .size = 0x400, .ops = &ops, .opaque = h};

    for (unsigned n = 0; n < TIMERS; n++) {
        h->t[n].hpet = h;
        h->t[n].n = n;
        h->t[n].timer = viv_timer_new(VIV_CLOCK_GUEST, fire, &h->t[n]);
    }
    for (int n = 0; n < 2; n++) {
        h->legacy[n] = d->board->isa_irq[lines[n]];
        d->board->isa_irq[lines[n]] = (struct viv_irq){legacy_input, h, n};
    }
    for (unsigned pin = 16; pin < VIV_ARRAY_SIZE(d->board->gsi_irq); pin++) {
        if (d->board->gsi_irq[pin].fn)
            h->routes |= 1u << pin;
    }
    h->region = viv_region_new(d->board->mem, &desc);
    viv_region_map(h->region, BASE, 1);
    return 0;
}

static void hpet_unrealize(struct viv_dev *d)
{
    struct hpet *h = (struct hpet *)d;

    d->board->isa_irq[0] = h->legacy[0];
    d->board->isa_irq[8] = h->legacy[1];
    for (unsigned n = 0; n < TIMERS; n++)
        viv_timer_free(h->t[n].timer);
    viv_region_free(h->region);
}

static void hpet_reset(struct viv_dev *d)
{
    struct hpet *h = (struct hpet *)d;

    status_write(h, UINT64_MAX);
    config_write(h, 0);
    set_counter(h, 0);
    for (unsigned n = 0; n < TIMERS; n++) {
        struct hpet_timer *t = &h->t[n];

        t->config = t->period = t->fsb = 0;
        t->comparator = UINT64_MAX;
        viv_timer_cancel(t->timer);
    }
}

static int timer_post_load(void *obj, int version, struct viv_err *err)
{
    ((struct hpet_timer *)obj)->config &= T_WRITABLE;
    return 0;
}

static int hpet_post_load(void *obj, int version, struct viv_err *err)
{
    struct hpet *h = obj;

    h->config &= CONFIG_ENABLE | CONFIG_LEGACY;
    h->status &= (1 << TIMERS) - 1;
    h->legacy_in &= 3;
    if (version < 2 && running(h))
        h->counter = 0; /* as it was at origin_ns then */
    return 0;
}

static const struct viv_state_table timer_state = {
    .name = "hpet-timer",
    .ctype = "hpet_timer",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_CONFIG(hpet_timer, hpet),
            VIV_F_CONFIG(hpet_timer, n),
            VIV_F_INT(hpet_timer, config),
            VIV_F_INT(hpet_timer, comparator),
            VIV_F_INT(hpet_timer, period),
            VIV_F_INT(hpet_timer, fsb),
            VIV_F_TIMER(hpet_timer, timer),
            VIV_F_END,
        },
    .post_load = timer_post_load,
};

static const struct viv_state_table hpet_state = {
    .name = "hpet",
    .ctype = "hpet",
    .version = 2,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_CONFIG(hpet, dev),
            VIV_F_INT(hpet, config),
            VIV_F_INT(hpet, status),
            VIV_F_INT(hpet, counter),
            VIV_F_INT(hpet, origin_ns),
            VIV_F_STRUCTS(hpet, t, timer_state),
            VIV_F_CONFIG(hpet, routes),
            VIV_F_CONFIG(hpet, legacy),
            VIV_F_INT(hpet, legacy_in),
            VIV_F_CONFIG(hpet, region),
            VIV_F_END,
        },
    .post_load = hpet_post_load,
};

const struct viv_dev_class viv_dev_hpet = {
    .name = "hpet",
    .desc = "high precision event timers",
    .internal = true,
    .size = sizeof(struct hpet),
    .state = &hpet_state,
    .realize = hpet_realize,
    .reset = hpet_reset,
    .unrealize = hpet_unrealize,
};
