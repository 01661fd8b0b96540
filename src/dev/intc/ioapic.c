/* 82093AA I/O APIC: 24 pins at FEC00000h. (Intel 290566-001; the EOI register is the later one, version 20h.)
 *
 * Each redirection leaves as a message, like an MSI. Polarity is kept but not applied: a line is "asserted" or not
 * here, and the board says which (pins are wired the way firmware declares them). An edge on a masked pin
 * is lost (3.2.4). Left out: ExtINT delivery, which needs an 8259 behind pin 0; the PC has it on LINT0. */
#include "dev/intc/ioapic.h"

#include "base/log.h"

#include <glib.h>

#define VERSION 0x20

enum { /* redirection entry (3.2.4) */
       DEST_LOGICAL = 1 << 11,
       DELIVERY_STATUS = 1 << 12,
       REMOTE_IRR = 1 << 14,
       LEVEL = 1 << 15,
       MASKED = 1 << 16,
       LOW_WRITABLE = 0x1afff & ~(DELIVERY_STATUS | REMOTE_IRR),
};

struct ioapic {
    struct viv_dev dev;
    uint64_t entry[VIV_IOAPIC_PINS];
    uint32_t lines; /* pins as they are driven */
    uint8_t id;     /* 4 bits */
    uint8_t select; /* IOREGSEL */
    uint64_t raised[VIV_IOAPIC_PINS];
    struct viv_region *region;
};

static void send(struct ioapic *a, unsigned pin)
{
    uint64_t e = a->entry[pin];
    uint64_t addr = 0xfee00000u | (e >> 56) << 12 | (e & DEST_LOGICAL ? 4 : 0);
    uint32_t data = (uint32_t)e & 0x7ff; /* vector, delivery mode */

    if (e & LEVEL)
        data |= 1 << 15 | 1 << 14;
    viv_msi_send(a->dev.board->intc, addr, data);
}

/* A level pin sends when it is asserted, not masked and its last message was answered. */
static void service_level(struct ioapic *a, unsigned pin)
{
    uint64_t *e = &a->entry[pin];

    if (!(a->lines >> pin & 1) || (*e & (MASKED | REMOTE_IRR)) || !(*e & LEVEL))
        return;
    *e |= REMOTE_IRR;
    send(a, pin);
}

void viv_ioapic_set_irq(struct viv_dev *d, unsigned pin, int level)
{
    struct ioapic *a = (struct ioapic *)d;
    uint32_t bit;
    bool rise;

    if (pin >= VIV_IOAPIC_PINS)
        return;
    bit = 1u << pin;
    rise = level && !(a->lines & bit);
    a->raised[pin] += rise;
    a->lines = level ? a->lines | bit : a->lines & ~bit;
    if (a->entry[pin] & LEVEL)
        service_level(a, pin);
    else if (rise && !(a->entry[pin] & MASKED))
        send(a, pin);
}

static void eoi(void *opaque, uint8_t vector)
{
    struct ioapic *a = opaque;

    for (unsigned pin = 0; pin < VIV_IOAPIC_PINS; pin++) {
        uint64_t *e = &a->entry[pin];

        if ((uint8_t)*e != vector || !(*e & LEVEL) || !(*e & REMOTE_IRR))
            continue;
        *e &= ~(uint64_t)REMOTE_IRR;
        service_level(a, pin);
    }
}

/* ---- registers ---- */

static uint32_t window_read(const struct ioapic *a)
{
    unsigned pin = (a->select - 0x10) / 2;

    switch (a->select) {
    case 0:
    case 2: /* arbitration id: follows the id */
        return (uint32_t)a->id << 24;
    case 1:
        return (VIV_IOAPIC_PINS - 1) << 16 | VERSION;
    }
    if (a->select < 0x10 || pin >= VIV_IOAPIC_PINS)
        return 0;
    return (uint32_t)(a->entry[pin] >> (a->select & 1 ? 32 : 0));
}

static void entry_write(struct ioapic *a, unsigned pin, bool high, uint32_t v)
{
    uint64_t *e = &a->entry[pin];

    if (high) {
        *e = (uint32_t)*e | (uint64_t)(v & 0xff000000) << 32;
        return;
    }
    *e = (*e & ~(uint64_t)LOW_WRITABLE) | (v & LOW_WRITABLE);
    /* Turning a pin to edge and back is how systems answer for a local APIC that could not. */
    if (!(*e & LEVEL))
        *e &= ~(uint64_t)REMOTE_IRR;
    service_level(a, pin);
}

static void window_write(struct ioapic *a, uint32_t v)
{
    unsigned pin = (a->select - 0x10) / 2;

    if (a->select == 0)
        a->id = v >> 24 & 0xf;
    else if (a->select >= 0x10 && pin < VIV_IOAPIC_PINS)
        entry_write(a, pin, a->select & 1, v);
}

static uint64_t ioapic_read(void *opaque, uint64_t off, unsigned size)
{
    struct ioapic *a = opaque;

    switch (off) {
    case 0x00:
        return a->select;
    case 0x10:
        return window_read(a);
    default:
        return 0;
    }
}

static void ioapic_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    struct ioapic *a = opaque;

    switch (off) {
    case 0x00:
        a->select = (uint8_t)v;
        break;
    case 0x10:
        window_write(a, (uint32_t)v);
        break;
    case 0x40:
        eoi(a, (uint8_t)v);
        break;
    default:
        viv_guest_error("ioapic", "write of %x at offset %x", (unsigned)v, (unsigned)off);
    }
}

/* ---- class ---- */

static int ioapic_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_region_ops ops = {ioapic_read, ioapic_write, 4, 4, false, false};
    struct ioapic *a = (struct ioapic *)d;
    struct viv_region_desc desc = {
        .name = "ioapic", .kind = VIV_REGION_IO, .size = 0x1000, .ops = &ops, .opaque = a};

    a->region = viv_region_new(d->board->mem, &desc);
    viv_region_map(a->region, VIV_IOAPIC_BASE, 1);
    d->board->intc->eoi = eoi;
    d->board->intc->eoi_opaque = a;
    return 0;
}

static void ioapic_unrealize(struct viv_dev *d)
{
    d->board->intc->eoi = NULL;
    viv_region_free(((struct ioapic *)d)->region);
}

static void ioapic_reset(struct viv_dev *d)
{
    struct ioapic *a = (struct ioapic *)d;

    a->id = a->select = 0;
    for (unsigned pin = 0; pin < VIV_IOAPIC_PINS; pin++)
        a->entry[pin] = MASKED;
}

static int ioapic_post_load(void *obj, int version, struct viv_err *err)
{
    struct ioapic *a = obj;

    a->id &= 0xf;
    a->lines &= (1u << VIV_IOAPIC_PINS) - 1;
    for (unsigned pin = 0; pin < VIV_IOAPIC_PINS; pin++)
        a->entry[pin] &= 0xff00000000000000ull | LOW_WRITABLE | REMOTE_IRR;
    return 0;
}

static const struct viv_state_table ioapic_state = {
    .name = "ioapic",
    .ctype = "ioapic",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_CONFIG(ioapic, dev),
            VIV_F_INTS(ioapic, entry),
            VIV_F_INT(ioapic, lines),
            VIV_F_INT(ioapic, id),
            VIV_F_INT(ioapic, select),
            VIV_F_DERIVED(ioapic, raised, "counts what this process has seen"),
            VIV_F_CONFIG(ioapic, region),
            VIV_F_END,
        },
    .post_load = ioapic_post_load,
};

static const uint64_t *ioapic_counts(const struct viv_dev *d, unsigned *inputs)
{
    *inputs = VIV_IOAPIC_PINS;
    return ((const struct ioapic *)d)->raised;
}

const struct viv_dev_class viv_dev_ioapic = {
    .name = "ioapic",
    .desc = "I/O APIC with 24 pins (82093AA)",
    .internal = true,
    .size = sizeof(struct ioapic),
    .state = &ioapic_state,
    .realize = ioapic_realize,
    .reset = ioapic_reset,
    .unrealize = ioapic_unrealize,
    .irq_counts = ioapic_counts,
};
