/* 8254 interval timer at 40h-43h and the ports around it: system control port B at 61h with the gate and output
 * of counter 2 (the speaker) and the refresh toggle. (Intel 231164-005; PIIX3, 4.4.)
 *
 * A counter is not stepped: what it holds follows from the guest clock and the tick at which it was
 * loaded. Only counter 0 has a timer, for its interrupt (ISA line 0): once a period in modes 2 and 3,
 * whose output falls and rises again at the period's end (the falling edge in mid-period, which nobody can
 * see in an edge-triggered line, is not made). A period that the loop was too late for is lost.
 *
 * Left out: reading back a count in the tick between writing and loading it. */
#include "base/log.h"
#include "base/units.h"
#include "bus/isa.h"
#include "host/clock.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define HZ            1193182
#define REFRESH_NS    15085 /* the refresh request toggles at this rate */
#define MIN_PERIOD_NS 20000 /* no guest makes us tick faster than 50 kHz */
#define ACCESS_LATCH  0
#define ACCESS_LOW    1
#define ACCESS_HIGH   2
#define ACCESS_BOTH   3

struct counter {
    uint16_t initial; /* as written; 0 stands for 65536 (BCD: 10000) */
    uint8_t mode;     /* 0-5 */
    uint8_t access;   /* 1 low, 2 high, 3 both */
    bool bcd;
    bool gate;
    bool loaded;                /* a count was written since the mode was set */
    bool triggered;             /* modes 1, 5: the gate has risen since */
    bool write_high, read_high; /* next byte of an access of both */
    uint8_t write_low;
    uint8_t latched; /* bytes of a latched count still to be read */
    uint16_t latch;
    bool status_latched;
    uint8_t status;
    int64_t start;   /* tick at which counting began; while the gate holds it: see held */
    bool held;       /* gate low in modes 0, 2, 3, 4 */
    int64_t elapsed; /* ticks done when it was held */
};

struct i8254 {
    struct viv_dev dev;
    struct counter counter[3];
    uint8_t port61; /* bits 0-3 */
    struct viv_timer *timer;
    struct viv_region *ports[2];
};

/* ---- time ---- */

static int64_t ticks_at(int64_t ns)
{
    return (int64_t)((__int128)ns * HZ / (int64_t)VIV_NS_PER_SEC);
}

static int64_t ticks_now(void)
{
    return ticks_at(viv_clock_ns(VIV_CLOCK_GUEST));
}

/* The first ns at which ticks_at() says `tick`. */
static int64_t ns_of(int64_t tick)
{
    return (int64_t)(((__int128)tick * (int64_t)VIV_NS_PER_SEC + HZ - 1) / HZ);
}

static uint32_t from_bcd(uint16_t v)
{
    return (v & 15) + (v >> 4 & 15) * 10 + (v >> 8 & 15) * 100 + (v >> 12) * 1000;
}

static uint16_t to_bcd(uint32_t v)
{
    return (uint16_t)(v % 10 | v / 10 % 10 << 4 | v / 100 % 10 << 8 | v / 1000 % 10 << 12);
}

static uint32_t modulus(const struct counter *c)
{
    return c->bcd ? 10000 : 0x10000;
}

static uint32_t reload(const struct counter *c)
{
    uint32_t v = c->bcd ? from_bcd(c->initial) : c->initial;

    if (!v)
        v = modulus(c);
    /* 1 is illegal in modes 2 and 3 (datasheet, mode 2); read as 2. */
    return v < 2 && (c->mode == 2 || c->mode == 3) ? 2 : v;
}

static bool running(const struct counter *c)
{
    return c->loaded && (c->triggered || (c->mode != 1 && c->mode != 5));
}

static int64_t elapsed(const struct counter *c)
{
    int64_t d = c->held ? c->elapsed : ticks_now() - c->start;

    return d < 0 ? 0 : d;
}

static uint16_t count_value(const struct counter *c)
{
    uint32_t n = reload(c), v;
    int64_t d = elapsed(c);

    if (!running(c))
        v = n % modulus(c);
    else if (c->mode == 2)
        v = n - (uint32_t)(d % n);
    else if (c->mode == 3) /* counts by two, reloads twice a period */
        v = (n & ~1u) - (uint32_t)(2 * (d % n) % (n & ~1u));
    else
        v = (uint32_t)(((int64_t)n - d) % modulus(c) + modulus(c)) % modulus(c);
    return c->bcd ? to_bcd(v) : (uint16_t)v;
}

static bool output(const struct counter *c)
{
    uint32_t n = reload(c);
    int64_t d = elapsed(c);

    if (!running(c))
        return c->mode != 0;
    switch (c->mode) {
    case 0:
    case 1:
        return d >= n;
    case 2:
        return c->held || d % n != n - 1;
    case 3:
        return c->held || d % n < (n + 1) / 2;
    default:
        return d != n;
    }
}

/* ---- counter 0's interrupt ---- */

/* The tick of the next rise of the output after tick d of counting, or -1. */
static int64_t next_rise(const struct counter *c, int64_t d)
{
    int64_t n = reload(c);

    if (!running(c) || c->held)
        return -1;
    switch (c->mode) {
    case 0:
    case 1:
        return d < n ? n : -1;
    case 2:
    case 3:
        return (d / n + 1) * n;
    default:
        return d <= n ? n + 1 : -1;
    }
}

static void schedule(struct i8254 *t)
{
    const struct counter *c = &t->counter[0];
    int64_t rise = next_rise(c, elapsed(c)), now = viv_clock_ns(VIV_CLOCK_GUEST), when;

    if (rise < 0) {
        viv_timer_cancel(t->timer);
        return;
    }
    when = ns_of(c->start + rise);
    viv_timer_set(t->timer, MAX(when, now + MIN_PERIOD_NS));
}

static void fire(void *opaque)
{
    struct i8254 *t = opaque;

    viv_isa_set_irq(&t->dev, 0, 0);
    viv_isa_set_irq(&t->dev, 0, 1);
    schedule(t);
}

/* After counter n was loaded, triggered or held. */
static void changed(struct i8254 *t, unsigned n)
{
    if (n)
        return;
    viv_isa_set_irq(&t->dev, 0, output(&t->counter[0]));
    schedule(t);
}

/* ---- the counters ---- */

static void start(struct counter *c)
{
    c->start = ticks_now() + 1; /* loaded by the next clock pulse */
    c->elapsed = 0;
    c->held = !c->gate && c->mode != 1 && c->mode != 5;
}

static void load(struct i8254 *t, unsigned n, uint16_t v)
{
    struct counter *c = &t->counter[n];
    bool first = !c->loaded;

    /* A new count takes effect at once in modes 0 and 4 and after the mode was set; in modes 2 and 3 it
     * should wait for the end of the (half) period, in 1 and 5 for a trigger. */
    c->initial = v;
    c->loaded = true;
    if (c->mode == 1 || c->mode == 5)
        return;
    if (first || c->mode == 0 || c->mode == 4) {
        start(c);
    } else {
        int64_t d = elapsed(c);

        if (!c->held && d >= reload(c)) /* keeps the phase of a period that was under way */
            c->start += d - d % reload(c);
    }
    changed(t, n);
}

static void set_gate(struct i8254 *t, unsigned n, bool gate)
{
    struct counter *c = &t->counter[n];
    bool rise = gate && !c->gate;

    if (gate == c->gate)
        return;
    if (c->mode == 1 || c->mode == 5) {
        c->gate = gate;
        if (rise && c->loaded) {
            c->triggered = true;
            start(c);
        }
    } else if (rise && (c->mode == 2 || c->mode == 3)) {
        c->gate = gate;
        start(c);
    } else if (rise) {
        c->start = ticks_now() - c->elapsed;
        c->held = false;
    } else {
        c->elapsed = elapsed(c);
        c->held = true;
    }
    c->gate = gate;
    changed(t, n);
}

static void latch_count(struct counter *c)
{
    if (c->latched)
        return;
    c->latch = count_value(c);
    c->latched = c->access == ACCESS_BOTH ? 2 : 1;
}

static void latch_status(struct counter *c)
{
    if (c->status_latched)
        return;
    c->status = output(c) << 7 | !c->loaded << 6 | c->access << 4 | c->mode << 1 | c->bcd;
    c->status_latched = true;
}

static void control_write(struct i8254 *t, uint8_t v)
{
    unsigned n = v >> 6;
    struct counter *c;

    if (n == 3) { /* read-back */
        for (unsigned i = 0; i < 3; i++) {
            if (!(v & 2 << i))
                continue;
            if (!(v & 0x20))
                latch_count(&t->counter[i]);
            if (!(v & 0x10))
                latch_status(&t->counter[i]);
        }
        return;
    }
    c = &t->counter[n];
    if ((v >> 4 & 3) == ACCESS_LATCH) {
        latch_count(c);
        return;
    }
    *c = (struct counter){.access = v >> 4 & 3, .mode = v >> 1 & 7, .bcd = v & 1, .gate = c->gate};
    if (c->mode > 5)
        c->mode -= 4; /* 6 and 7 are 2 and 3 */
    changed(t, n);
}

static void counter_write(struct i8254 *t, unsigned n, uint8_t v)
{
    struct counter *c = &t->counter[n];

    switch (c->access) {
    case ACCESS_LOW:
        load(t, n, v);
        break;
    case ACCESS_HIGH:
        load(t, n, (uint16_t)(v << 8));
        break;
    default:
        if (c->write_high) {
            load(t, n, (uint16_t)(v << 8 | c->write_low));
        } else {
            c->write_low = v;
            if (c->mode == 0) { /* the first byte stops counting */
                c->loaded = false;
                changed(t, n);
            }
        }
        c->write_high = !c->write_high;
    }
}

static uint8_t counter_read(struct counter *c)
{
    uint16_t v;
    bool high;

    if (c->status_latched) {
        c->status_latched = false;
        return c->status;
    }
    v = c->latched ? c->latch : count_value(c);
    high = c->access == ACCESS_HIGH || (c->access == ACCESS_BOTH && c->read_high);
    if (c->access == ACCESS_BOTH)
        c->read_high = !c->read_high;
    if (c->latched)
        c->latched--;
    return (uint8_t)(high ? v >> 8 : v);
}

/* ---- ports ---- */

static uint64_t pit_read(void *opaque, uint64_t off, unsigned size)
{
    struct i8254 *t = opaque;

    return off == 3 ? 0xff : counter_read(&t->counter[off]); /* the control word cannot be read */
}

static void pit_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    struct i8254 *t = opaque;

    if (off == 3)
        control_write(t, (uint8_t)v);
    else
        counter_write(t, (unsigned)off, (uint8_t)v);
}

static uint64_t port61_read(void *opaque, uint64_t off, unsigned size)
{
    struct i8254 *t = opaque;
    int64_t now = viv_clock_ns(VIV_CLOCK_GUEST);

    return t->port61 | (now / REFRESH_NS & 1) << 4 | output(&t->counter[2]) << 5;
}

static void port61_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    struct i8254 *t = opaque;

    t->port61 = v & 0x0f;
    set_gate(t, 2, v & 1);
}

/* ---- class ---- */

/* "delay" is what QEMU's own way of saying so, -global kvm-pit.lost_tick_policy=delay, asks for; managers write it into every
 * machine. Few guests count these ticks once they run. */
static const char *const lost_tick_policies[] = {"discard", "delay", NULL};
static const struct viv_opt_def props[] = {
    {.name = "lost_tick_policy", .type = VIV_OPT_ENUM, .values = lost_tick_policies, .def = "discard",
     .help = "what becomes of ticks that came too late: they are discarded"},
    VIV_OPT_END,
};

static int i8254_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_region_ops pit = {pit_read, pit_write, 1, 1, false, false};
    static const struct viv_region_ops b = {port61_read, port61_write, 1, 1, false, false};
    struct i8254 *t = (struct i8254 *)d;

    if (strcmp(viv_opts_str(opts, "lost_tick_policy"), "discard"))
        viv_warn("%s: lost_tick_policy=delay has no effect: ticks of the 8254 that come too late are discarded", viv_opts_what(opts));
    t->timer = viv_timer_new(VIV_CLOCK_GUEST, fire, t);
    t->ports[0] = viv_isa_add_ports(d, "pit", 0x40, 4, &pit);
    t->ports[1] = viv_isa_add_ports(d, "port61", 0x61, 1, &b);
    return 0;
}

static void i8254_unrealize(struct viv_dev *d)
{
    struct i8254 *t = (struct i8254 *)d;

    viv_timer_free(t->timer);
    viv_region_free(t->ports[0]);
    viv_region_free(t->ports[1]);
}

/* The chip has no reset: its power-on state is undefined. Ours is what a BIOS leaves, 18.2 Hz in mode 3. */
static void i8254_reset(struct viv_dev *d)
{
    struct i8254 *t = (struct i8254 *)d;

    t->port61 = 0;
    for (unsigned n = 0; n < 3; n++) {
        struct counter *c = &t->counter[n];

        *c = (struct counter){.access = ACCESS_BOTH, .mode = 3, .gate = n != 2, .loaded = true};
        start(c);
    }
    changed(t, 0);
}

static int counter_post_load(void *obj, int version, struct viv_err *err)
{
    struct counter *c = obj;

    if (c->mode > 5 || c->access < 1 || c->access > 3 || c->latched > 2)
        return viv_fail(err, EINVAL, "8254 counter with mode %u, access %u", c->mode, c->access);
    if (c->start < -INT64_MAX / 4 || c->start > INT64_MAX / 4 || c->elapsed < 0 ||
        c->elapsed > INT64_MAX / 4)
        return viv_fail(err, EINVAL, "8254 counter started at an impossible time");
    return 0;
}

static const struct viv_state_table counter_state = {
    .name = "8254-counter",
    .ctype = "counter",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_INT(counter, initial),
            VIV_F_INT(counter, mode),
            VIV_F_INT(counter, access),
            VIV_F_INT(counter, bcd),
            VIV_F_INT(counter, gate),
            VIV_F_INT(counter, loaded),
            VIV_F_INT(counter, triggered),
            VIV_F_INT(counter, write_high),
            VIV_F_INT(counter, read_high),
            VIV_F_INT(counter, write_low),
            VIV_F_INT(counter, latched),
            VIV_F_INT(counter, latch),
            VIV_F_INT(counter, status_latched),
            VIV_F_INT(counter, status),
            VIV_F_INT(counter, start),
            VIV_F_INT(counter, held),
            VIV_F_INT(counter, elapsed),
            VIV_F_END,
        },
    .post_load = counter_post_load,
};

static const struct viv_state_table i8254_state = {
    .name = "i8254",
    .ctype = "i8254",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_CONFIG(i8254, dev),
            VIV_F_STRUCTS(i8254, counter, counter_state),
            VIV_F_INT(i8254, port61),
            VIV_F_TIMER(i8254, timer),
            VIV_F_CONFIG(i8254, ports),
            VIV_F_END,
        },
};

const struct viv_dev_class viv_dev_i8254 = {
    .name = "i8254",
    .desc = "interval timer and speaker port (8254)",
    .bus = VIV_BUS_ISA,
    .internal = true,
    .size = sizeof(struct i8254),
    .props = props,
    .state = &i8254_state,
    .realize = i8254_realize,
    .reset = i8254_reset,
    .unrealize = i8254_unrealize,
};
