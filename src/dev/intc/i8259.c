/* Two 8259A in cascade with the edge/level control registers of the PIIX3. (Intel 231468-003; 82371SB, 4.3.)
 *
 * Made once; connects itself to the accelerator: its INTR output is intc->ops->set_extint, the INTA cycle
 * is intc->ack_extint.
 *
 * An edge is remembered until it is acknowledged, even if the line falls before: the datasheet wants the
 * line held until INTA and answers with a spurious interrupt otherwise, but chipsets latch it and
 * pulses would be lost. Left out: MCS-80/85 mode, buffered mode and level triggering by ICW1.LTIM (the
 * PIIX3 ignores it too: the ELCR decides). */
#include "dev/intc/i8259.h"

#include "base/log.h"
#include "base/units.h"
#include "bus/isa.h"

#include <errno.h>
#include <glib.h>

#define CASCADE 2

struct chip {
    uint8_t irr; /* requests: latched edges and active levels */
    uint8_t imr;
    uint8_t isr;
    uint8_t lines;     /* inputs as they are */
    uint8_t elcr;      /* 1: level */
    uint8_t base;      /* ICW2 */
    uint8_t lowest;    /* line of lowest priority; 7 after ICW1 */
    uint8_t init_step; /* next of ICW2 (1), ICW3 (2), ICW4 (3); 0: operating */
    bool icw4_follows, single;
    bool auto_eoi, rotate_auto, special_mask, special_nested;
    bool read_isr, poll;
    bool master;
};

struct i8259 {
    struct viv_dev dev;
    struct chip chip[2]; /* master, slave */
    uint64_t raised[16];
    struct viv_region *ports[3];
};

/* ---- priorities ---- */

/* 0 is the highest. */
static unsigned rank(const struct chip *c, unsigned line)
{
    return (line - c->lowest - 1) & 7;
}

/* The line of the highest rank in the set, -1 for an empty one. */
static int best(const struct chip *c, uint8_t set)
{
    for (unsigned i = 1; set && i <= 8; i++) {
        unsigned line = (c->lowest + i) & 7;

        if (set & 1 << line)
            return (int)line;
    }
    return -1;
}

/* In special fully nested mode the master lets a slave in service interrupt again; lower lines wait for it as ever. */
static bool may_nest(const struct chip *c, unsigned serving, unsigned request)
{
    return rank(c, request) < rank(c, serving) || (request == serving && request == CASCADE && c->special_nested && c->master);
}

/* The request that INT stands for, or -1. */
static int pending(const struct chip *c)
{
    uint8_t blocking = c->special_mask ? c->isr & ~c->imr : c->isr;
    int request = best(c, c->irr & ~c->imr), serving = best(c, blocking);

    if (request < 0 || (serving >= 0 && !may_nest(c, (unsigned)serving, (unsigned)request)))
        return -1;
    return request;
}

static void set_line(struct chip *c, unsigned line, int level)
{
    uint8_t bit = 1 << line;

    if (!level) {
        c->lines &= ~bit;
        if (c->elcr & bit)
            c->irr &= ~bit;
        return;
    }
    if ((c->elcr & bit) || !(c->lines & bit))
        c->irr |= bit;
    c->lines |= bit;
}

static void update(struct i8259 *p)
{
    set_line(&p->chip[0], CASCADE, pending(&p->chip[1]) >= 0);
    p->dev.board->intc->ops->set_extint(p->dev.board->intc, pending(&p->chip[0]) >= 0);
}

/* What INTA (or a poll) does to the chip whose line is taken. */
static void serve(struct chip *c, unsigned line)
{
    uint8_t bit = 1 << line;

    if (!(c->elcr & bit))
        c->irr &= ~bit;
    if (!c->auto_eoi)
        c->isr |= bit;
    else if (c->rotate_auto)
        c->lowest = line;
}

static int ack(void *opaque)
{
    struct i8259 *p = opaque;
    struct chip *m = &p->chip[0], *s = &p->chip[1];
    int line = pending(m), vector;

    if (line < 0) {
        vector = m->base + 7; /* the request went away: default IR7, not in service */
    } else if (line == CASCADE) {
        int sub = pending(s);

        serve(m, CASCADE);
        if (sub >= 0)
            serve(s, (unsigned)sub);
        vector = s->base + (sub < 0 ? 7 : sub);
        /* The slave drops INT during the cycle, so that its next request is a new edge. */
        set_line(m, CASCADE, 0);
    } else {
        serve(m, (unsigned)line);
        vector = m->base + line;
    }
    update(p);
    return vector;
}

void viv_i8259_set_irq(struct viv_dev *d, unsigned irq, int level)
{
    struct i8259 *p = (struct i8259 *)d;

    if (irq == CASCADE || irq > 15)
        return;
    p->raised[irq] += level && !(p->chip[irq >> 3].lines >> (irq & 7) & 1);
    set_line(&p->chip[irq >> 3], irq & 7, level);
    update(p);
}

/* ---- registers ---- */

static void icw1(struct chip *c, uint8_t v)
{
    c->irr &= c->lines & c->elcr; /* edge sense circuits are reset */
    c->imr = c->isr = 0;
    c->lowest = 7;
    c->auto_eoi = c->rotate_auto = c->special_mask = c->special_nested = false;
    c->read_isr = c->poll = false;
    c->single = v & 2;
    c->icw4_follows = v & 1;
    c->init_step = 1;
}

static void icw_next(struct chip *c, uint8_t v)
{
    switch (c->init_step) {
    case 1:
        c->base = v & 0xf8;
        c->init_step = c->single ? (c->icw4_follows ? 3 : 0) : 2;
        break;
    case 2: /* which line is the slave, or its number: wired */
        c->init_step = c->icw4_follows ? 3 : 0;
        break;
    default:
        c->special_nested = v & 0x10;
        c->auto_eoi = v & 2;
        if (!(v & 1))
            viv_guest_error("i8259", "MCS-80/85 mode is not a PC's");
        c->init_step = 0;
    }
}

static void eoi(struct chip *c, int line, bool rotate)
{
    if (line < 0)
        return;
    c->isr &= ~(1 << line);
    if (rotate)
        c->lowest = line;
}

static void ocw2(struct chip *c, uint8_t v)
{
    uint8_t in_service = c->special_mask ? c->isr & ~c->imr : c->isr;
    int line = v & 7;

    switch (v >> 5) {
    case 0: /* rotate in automatic EOI mode: clear */
    case 4: /* set */
        c->rotate_auto = v >> 5 == 4;
        break;
    case 1: /* non-specific EOI */
    case 5:
        eoi(c, best(c, in_service), v >> 5 == 5);
        break;
    case 3: /* specific EOI */
    case 7:
        eoi(c, line, v >> 5 == 7);
        break;
    case 6: /* set priority */
        c->lowest = line;
        break;
    }
}

static void ocw3(struct chip *c, uint8_t v)
{
    if (v & 4)
        c->poll = true;
    if (v & 2)
        c->read_isr = v & 1;
    if (v & 0x40)
        c->special_mask = v & 0x20;
}

static void chip_write(struct i8259 *p, struct chip *c, unsigned a0, uint8_t v)
{
    if (a0 && c->init_step)
        icw_next(c, v);
    else if (a0)
        c->imr = v;
    else if (v & 0x10)
        icw1(c, v);
    else if (v & 8)
        ocw3(c, v);
    else
        ocw2(c, v);
    update(p);
}

static uint8_t poll(struct i8259 *p, struct chip *c)
{
    int line = pending(c);

    c->poll = false;
    if (line < 0)
        return 0;
    serve(c, (unsigned)line);
    if (!c->master)
        set_line(&p->chip[0], CASCADE, 0);
    update(p);
    return 0x80 | line;
}

static uint8_t chip_read(struct i8259 *p, struct chip *c, unsigned a0)
{
    if (c->poll)
        return poll(p, c);
    if (a0)
        return c->imr;
    return c->read_isr ? c->isr : c->irr;
}

static uint64_t master_read(void *opaque, uint64_t off, unsigned size)
{
    struct i8259 *p = opaque;

    return chip_read(p, &p->chip[0], off & 1);
}

static void master_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    struct i8259 *p = opaque;

    chip_write(p, &p->chip[0], off & 1, (uint8_t)v);
}

static uint64_t slave_read(void *opaque, uint64_t off, unsigned size)
{
    struct i8259 *p = opaque;

    return chip_read(p, &p->chip[1], off & 1);
}

static void slave_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    struct i8259 *p = opaque;

    chip_write(p, &p->chip[1], off & 1, (uint8_t)v);
}

static uint64_t elcr_read(void *opaque, uint64_t off, unsigned size)
{
    return ((struct i8259 *)opaque)->chip[off & 1].elcr;
}

/* Lines 0, 1, 2, 8 and 13 are edge for ever. A line that changes its mode keeps what was latched. */
static void elcr_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    struct i8259 *p = opaque;
    struct chip *c = &p->chip[off & 1];

    c->elcr = (uint8_t)v & (off & 1 ? 0xde : 0xf8);
    c->irr = (c->irr & ~c->elcr) | (c->lines & c->elcr);
    update(p);
}

/* ---- class ---- */

static int i8259_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_region_ops master = {master_read, master_write, 1, 1, false, false};
    static const struct viv_region_ops slave = {slave_read, slave_write, 1, 1, false, false};
    static const struct viv_region_ops elcr = {elcr_read, elcr_write, 1, 1, false, false};
    struct i8259 *p = (struct i8259 *)d;

    if (!d->board->intc->ops->set_extint)
        return viv_fail(err, EINVAL,
                        "i8259: the accelerator has an interrupt controller of its own");
    p->chip[0].master = true;
    p->ports[0] = viv_isa_add_ports(d, "pic-master", 0x20, 2, &master);
    p->ports[1] = viv_isa_add_ports(d, "pic-slave", 0xa0, 2, &slave);
    p->ports[2] = viv_isa_add_ports(d, "pic-elcr", 0x4d0, 2, &elcr);
    d->board->intc->ack_extint = ack;
    d->board->intc->ack_opaque = p;
    return 0;
}

static void i8259_unrealize(struct viv_dev *d)
{
    struct i8259 *p = (struct i8259 *)d;

    d->board->intc->ack_extint = NULL;
    for (unsigned i = 0; i < VIV_ARRAY_SIZE(p->ports); i++)
        viv_region_free(p->ports[i]);
}

/* Inputs are the state of those that drive them. */
static void i8259_reset(struct viv_dev *d)
{
    struct i8259 *p = (struct i8259 *)d;

    for (unsigned i = 0; i < 2; i++) {
        struct chip *c = &p->chip[i];

        *c = (struct chip){.lowest = 7, .lines = c->lines, .master = c->master, .imr = 0xff};
    }
    update(p);
}

static int chip_post_load(void *obj, int version, struct viv_err *err)
{
    struct chip *c = obj;

    if (c->lowest > 7 || c->init_step > 3)
        return viv_fail(err, EINVAL, "8259 with lowest line %u, initialization step %u", c->lowest,
                        c->init_step);
    return 0;
}

static const struct viv_state_table chip_state = {
    .name = "8259a",
    .ctype = "chip",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_INT(chip, irr),
            VIV_F_INT(chip, imr),
            VIV_F_INT(chip, isr),
            VIV_F_INT(chip, lines),
            VIV_F_INT(chip, elcr),
            VIV_F_INT(chip, base),
            VIV_F_INT(chip, lowest),
            VIV_F_INT(chip, init_step),
            VIV_F_INT(chip, icw4_follows),
            VIV_F_INT(chip, single),
            VIV_F_INT(chip, auto_eoi),
            VIV_F_INT(chip, rotate_auto),
            VIV_F_INT(chip, special_mask),
            VIV_F_INT(chip, special_nested),
            VIV_F_INT(chip, read_isr),
            VIV_F_INT(chip, poll),
            VIV_F_CONFIG(chip, master),
            VIV_F_END,
        },
    .post_load = chip_post_load,
};

/* The level of INTR stands nowhere but in the accelerator. */
static int i8259_post_load(void *obj, int version, struct viv_err *err)
{
    struct i8259 *p = obj;

    p->dev.board->intc->ops->set_extint(p->dev.board->intc, pending(&p->chip[0]) >= 0);
    return 0;
}

static const struct viv_state_table i8259_state = {
    .name = "i8259",
    .ctype = "i8259",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_CONFIG(i8259, dev),
            VIV_F_STRUCTS(i8259, chip, chip_state),
            VIV_F_DERIVED(i8259, raised, "counts what this process has seen"),
            VIV_F_CONFIG(i8259, ports),
            VIV_F_END,
        },
    .post_load = i8259_post_load,
};

static const uint64_t *i8259_counts(const struct viv_dev *d, unsigned *inputs)
{
    *inputs = 16;
    return ((const struct i8259 *)d)->raised;
}

const struct viv_dev_class viv_dev_i8259 = {
    .name = "i8259",
    .desc = "interrupt controllers of the PC (pair of 8259A)",
    .bus = VIV_BUS_ISA,
    .internal = true,
    .size = sizeof(struct i8259),
    .state = &i8259_state,
    .realize = i8259_realize,
    .reset = i8259_reset,
    .unrealize = i8259_unrealize,
    .irq_counts = i8259_counts,
};
