/* Two 8237A DMA controllers and their page registers. (Intel 231466-005; PIIX3, 4.3.1.)
 *
 * Only the registers: no device here uses ISA DMA, so no transfer ever starts. Drivers that probe the chip (and BIOSes
 * that test the page registers) find what they write. The request register is kept as status "no request". */
#include "base/units.h"
#include "bus/isa.h"

#include <string.h>

struct channel {
    uint16_t base_addr, base_count;
    uint16_t addr, count;
    uint8_t mode;
};

struct controller {
    struct channel ch[4];
    uint8_t command, mask, temporary;
    bool flip_flop; /* next byte is the high one */
};

struct i8237 {
    struct viv_dev dev;
    struct controller c[2]; /* channels 0-3 at 00h, 4-7 at C0h */
    uint8_t page[16];       /* 80h-8Fh */
    uint8_t page_high[16];  /* 480h-48Fh */
    struct viv_region *region[4];
};

static uint8_t reg_read(struct controller *c, unsigned reg)
{
    if (reg < 8) {
        struct channel *ch = &c->ch[reg / 2];
        uint16_t v = reg & 1 ? ch->count : ch->addr;

        c->flip_flop = !c->flip_flop;
        return (uint8_t)(c->flip_flop ? v : v >> 8);
    }
    switch (reg) {
    case 0x8: /* status: no requests, no terminal counts */
        return 0;
    case 0xd:
        return c->temporary;
    case 0xf:
        return c->mask | 0xf0;
    default:
        return 0xff;
    }
}

static void half_write(uint16_t *base, uint16_t *current, bool high, uint8_t v)
{
    *base = (uint16_t)(high ? (*base & 0x00ff) | v << 8 : (*base & 0xff00) | v);
    *current = *base;
}

static void master_clear(struct controller *c)
{
    c->command = c->temporary = 0;
    c->mask = 0x0f;
    c->flip_flop = false;
}

static void reg_write(struct controller *c, unsigned reg, uint8_t v)
{
    if (reg < 8) {
        struct channel *ch = &c->ch[reg / 2];

        if (reg & 1)
            half_write(&ch->base_count, &ch->count, c->flip_flop, v);
        else
            half_write(&ch->base_addr, &ch->addr, c->flip_flop, v);
        c->flip_flop = !c->flip_flop;
        return;
    }
    switch (reg) {
    case 0x8:
        c->command = v;
        break;
    case 0xa: /* single mask bit */
        c->mask = v & 4 ? c->mask | 1 << (v & 3) : c->mask & ~(1 << (v & 3));
        break;
    case 0xb:
        c->ch[v & 3].mode = v;
        break;
    case 0xc:
        c->flip_flop = false;
        break;
    case 0xd:
        master_clear(c);
        break;
    case 0xe:
        c->mask = 0;
        break;
    case 0xf:
        c->mask = v & 0x0f;
        break;
    }
}

static uint64_t low_read(void *opaque, uint64_t off, unsigned size)
{
    return reg_read(&((struct i8237 *)opaque)->c[0], (unsigned)off);
}

static void low_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    reg_write(&((struct i8237 *)opaque)->c[0], (unsigned)off, (uint8_t)v);
}

/* The second controller is wired to the address bus one bit up: every other port. */
static uint64_t high_read(void *opaque, uint64_t off, unsigned size)
{
    return reg_read(&((struct i8237 *)opaque)->c[1], (unsigned)off / 2);
}

static void high_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    if (!(off & 1))
        reg_write(&((struct i8237 *)opaque)->c[1], (unsigned)off / 2, (uint8_t)v);
}

static uint64_t page_read(void *opaque, uint64_t off, unsigned size)
{
    return ((struct i8237 *)opaque)->page[off];
}

static void page_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    ((struct i8237 *)opaque)->page[off] = (uint8_t)v;
}

static uint64_t page_high_read(void *opaque, uint64_t off, unsigned size)
{
    return ((struct i8237 *)opaque)->page_high[off];
}

static void page_high_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    ((struct i8237 *)opaque)->page_high[off] = (uint8_t)v;
}

static int i8237_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_region_ops low = {low_read, low_write, 1, 1, false, false};
    static const struct viv_region_ops high = {high_read, high_write, 1, 1, false, false};
    static const struct viv_region_ops page = {page_read, page_write, 1, 1, false, false};
    static const struct viv_region_ops page2 = {page_high_read, page_high_write, 1, 1, false,
                                                false};
    struct i8237 *p = (struct i8237 *)d;

    p->region[0] = viv_isa_add_ports(d, "dma-low", 0x00, 16, &low);
    p->region[1] = viv_isa_add_ports(d, "dma-high", 0xc0, 32, &high);
    p->region[2] = viv_isa_add_ports(d, "dma-page", 0x80, 16, &page);
    p->region[3] = viv_isa_add_ports(d, "dma-page-high", 0x480, 16, &page2);
    return 0;
}

static void i8237_unrealize(struct viv_dev *d)
{
    for (unsigned i = 0; i < 4; i++)
        viv_region_free(((struct i8237 *)d)->region[i]);
}

static void i8237_reset(struct viv_dev *d)
{
    struct i8237 *p = (struct i8237 *)d;

    memset(p->c, 0, sizeof(p->c));
    memset(p->page, 0, sizeof(p->page));
    memset(p->page_high, 0, sizeof(p->page_high));
    master_clear(&p->c[0]);
    master_clear(&p->c[1]);
}

static const struct viv_state_table channel_state = {
    .name = "8237-channel",
    .ctype = "channel",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){VIV_F_INT(channel, base_addr), VIV_F_INT(channel, base_count),
                                   VIV_F_INT(channel, addr), VIV_F_INT(channel, count),
                                   VIV_F_INT(channel, mode), VIV_F_END},
};

static const struct viv_state_table controller_state = {
    .name = "8237",
    .ctype = "controller",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){VIV_F_STRUCTS(controller, ch, channel_state),
                                   VIV_F_INT(controller, command), VIV_F_INT(controller, mask),
                                   VIV_F_INT(controller, temporary),
                                   VIV_F_INT(controller, flip_flop), VIV_F_END},
};

static const struct viv_state_table i8237_state = {
    .name = "i8237",
    .ctype = "i8237",
    .version = 1,
    .min_version = 1,
    .fields = (const struct viv_field[]){VIV_F_CONFIG(i8237, dev),
                                         VIV_F_STRUCTS(i8237, c, controller_state),
                                         VIV_F_BYTES(i8237, page), VIV_F_BYTES(i8237, page_high),
                                         VIV_F_CONFIG(i8237, region), VIV_F_END},
};

const struct viv_dev_class viv_dev_i8237 = {
    .name = "i8237",
    .desc = "DMA controllers (pair of 8237A), registers only",
    .bus = VIV_BUS_ISA,
    .internal = true,
    .size = sizeof(struct i8237),
    .state = &i8237_state,
    .realize = i8237_realize,
    .reset = i8237_reset,
    .unrealize = i8237_unrealize,
};
