/* Two 8237A DMA controllers and their page registers. (Intel 231466-005; PIIX3, 4.3.1.)
 *
 * Devices move their data by viv_i8237_move(), any number of bytes at a time: single, demand and block mode differ in who waits
 * for the bus, which nobody sees here. Channels 0-3 move bytes within 64 KiB, 5-7 words within 128 KiB; channel 4 joins the two
 * chips. Left out: memory-to-memory (PIIX3 has none), and transfers that the guest requests itself (port 9) without a device. */
#include "dev/dma/i8237.h"

#include "base/units.h"
#include "bus/isa.h"
#include "mem/dma.h"

#include <errno.h>
#include <string.h>

enum { COMMAND_OFF = 0x04 };
enum { MODE_DIRECTION = 0x0c, MODE_TO_MEMORY = 0x04, MODE_FROM_MEMORY = 0x08, MODE_AUTO = 0x10, MODE_DOWN = 0x20, MODE_KIND = 0xc0,
       MODE_CASCADE = 0xc0 };

struct client {
    void (*ready)(void *opaque);
    void *opaque;
};

struct channel {
    uint16_t base_addr, base_count;
    uint16_t addr, count;
    uint8_t mode;
};

struct controller {
    struct channel ch[4];
    uint8_t command, mask, temporary;
    uint8_t dreq, asked, tc; /* a bit a channel: request line, request register, terminal count since the status was read */
    bool flip_flop;          /* next byte is the high one */
};

struct i8237 {
    struct viv_dev dev;
    struct controller c[2]; /* channels 0-3 at 00h, 4-7 at C0h */
    uint8_t page[16];       /* 80h-8Fh */
    uint8_t page_high[16];  /* 480h-48Fh */
    struct client client[8];
    struct viv_region *region[4];
};

/* ---- transfers ---- */

/* Page register of a channel (PIIX3, table 8). */
static const uint8_t page_of[8] = {0x7, 0x3, 0x1, 0x2, 0xf, 0xb, 0x9, 0xa};

static bool served(const struct controller *c, unsigned n)
{
    return !(c->command & COMMAND_OFF) && !(c->mask >> n & 1) && (c->ch[n].mode & MODE_KIND) != MODE_CASCADE;
}

/* Both chips: the the first one's requests pass through channel 4, which must let them. */
static bool channel_served(const struct i8237 *p, unsigned channel)
{
    if (!served(&p->c[channel >> 2], channel & 3))
        return false;
    return channel >= 4 || (!(p->c[1].command & COMMAND_OFF) && !(p->c[1].mask & 1));
}

static uint64_t address(const struct i8237 *p, unsigned channel)
{
    const struct channel *ch = &p->c[channel >> 2].ch[channel & 3];
    uint64_t page = p->page[page_of[channel]], high = (uint64_t)p->page_high[page_of[channel]] << 24;

    return channel < 4 ? high | page << 16 | ch->addr : high | (page & 0xfe) << 16 | (uint64_t)ch->addr << 1;
}

/* Units that lie one after the other in memory from here on: an address that counts down or wraps ends the run. */
static size_t run_length(const struct channel *ch, size_t units)
{
    size_t to_wrap = 0x10000 - (size_t)ch->addr;

    if (ch->mode & MODE_DOWN)
        return 1;
    return units < to_wrap ? units : to_wrap;
}

static void copy(const struct i8237 *p, unsigned channel, uint8_t *buf, size_t len, bool to_memory)
{
    struct viv_space *mem = p->dev.board->mem;
    uint8_t direction = p->c[channel >> 2].ch[channel & 3].mode & MODE_DIRECTION;
    uint64_t at = address(p, channel);

    /* What is no RAM takes nothing and gives ones. */
    if (to_memory && direction == MODE_TO_MEMORY)
        viv_dma_write(mem, at, buf, len);
    else if (!to_memory && (direction != MODE_FROM_MEMORY || viv_dma_read(mem, at, buf, len) < 0))
        memset(buf, 0xff, len);
}

static void terminal_count(struct controller *c, unsigned n)
{
    struct channel *ch = &c->ch[n];

    c->tc |= 1 << n;
    c->asked &= ~(1 << n);
    if (ch->mode & MODE_AUTO) {
        ch->addr = ch->base_addr;
        ch->count = ch->base_count;
    } else {
        c->mask |= 1 << n;
    }
}

size_t viv_i8237_move(struct viv_dev *d, unsigned channel, void *buf, size_t len, bool to_memory, bool *tc)
{
    struct i8237 *p = (struct i8237 *)d;
    struct controller *c = &p->c[channel >> 2];
    struct channel *ch = &c->ch[channel & 3];
    unsigned unit = channel < 4 ? 1 : 2;
    size_t done = 0;

    *tc = false;
    while (!*tc && len - done >= unit && channel_served(p, channel)) {
        size_t left = (size_t)ch->count + 1, n = (len - done) / unit;

        n = run_length(ch, n < left ? n : left);
        copy(p, channel, (uint8_t *)buf + done, n * unit, to_memory);
        done += n * unit;
        ch->addr = (uint16_t)(ch->mode & MODE_DOWN ? ch->addr - n : ch->addr + n);
        ch->count = (uint16_t)(ch->count - n);
        *tc = n == left;
        if (*tc)
            terminal_count(c, channel & 3);
    }
    return done;
}

bool viv_i8237_served(struct viv_dev *d, unsigned channel)
{
    return channel_served((struct i8237 *)d, channel);
}

void viv_i8237_request(struct viv_dev *d, unsigned channel, bool on)
{
    struct controller *c = &((struct i8237 *)d)->c[channel >> 2];

    c->dreq = on ? c->dreq | 1 << (channel & 3) : c->dreq & ~(1 << (channel & 3));
}

int viv_i8237_claim(struct viv_dev *d, unsigned channel, void (*ready)(void *opaque), void *opaque)
{
    struct i8237 *p = (struct i8237 *)d;

    if (channel > 7 || channel == 4)
        return -EINVAL;
    if (p->client[channel].ready)
        return -EBUSY;
    p->client[channel] = (struct client){ready, opaque};
    return 0;
}

void viv_i8237_release(struct viv_dev *d, unsigned channel)
{
    viv_i8237_request(d, channel, false);
    ((struct i8237 *)d)->client[channel] = (struct client){0};
}

/* After a register that may let waiting requests through. */
static void serve(struct i8237 *p)
{
    for (unsigned channel = 0; channel < 8; channel++) {
        if (p->client[channel].ready && (p->c[channel >> 2].dreq >> (channel & 3) & 1) && channel_served(p, channel))
            p->client[channel].ready(p->client[channel].opaque);
    }
}

/* ---- registers ---- */

static uint8_t status_read(struct controller *c)
{
    uint8_t v = (uint8_t)((c->dreq | c->asked) << 4 | c->tc);

    c->tc = 0;
    return v;
}

static uint8_t reg_read(struct controller *c, unsigned reg)
{
    if (reg < 8) {
        struct channel *ch = &c->ch[reg / 2];
        uint16_t v = reg & 1 ? ch->count : ch->addr;

        c->flip_flop = !c->flip_flop;
        return (uint8_t)(c->flip_flop ? v : v >> 8);
    }
    switch (reg) {
    case 0x8:
        return status_read(c);
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
    c->command = c->temporary = c->asked = c->tc = 0;
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
    case 0x9:
        c->asked = v & 4 ? c->asked | 1 << (v & 3) : c->asked & ~(1 << (v & 3));
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
    struct i8237 *p = opaque;

    reg_write(&p->c[0], (unsigned)off, (uint8_t)v);
    serve(p);
}

/* The second controller is wired to the address bus one bit up: every other port. */
static uint64_t high_read(void *opaque, uint64_t off, unsigned size)
{
    return reg_read(&((struct i8237 *)opaque)->c[1], (unsigned)off / 2);
}

static void high_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    struct i8237 *p = opaque;

    if (off & 1)
        return;
    reg_write(&p->c[1], (unsigned)off / 2, (uint8_t)v);
    serve(p);
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
    d->board->isa_dma = d;
    return 0;
}

static void i8237_unrealize(struct viv_dev *d)
{
    for (unsigned i = 0; i < 4; i++)
        viv_region_free(((struct i8237 *)d)->region[i]);
    d->board->isa_dma = NULL;
}

static void i8237_reset(struct viv_dev *d)
{
    struct i8237 *p = (struct i8237 *)d;

    memset(p->c, 0, sizeof(p->c));
    /* Request lines are the devices', which reset after us. */
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
                                   VIV_F_INT(controller, temporary), VIV_F_INT(controller, dreq),
                                   VIV_F_INT(controller, asked), VIV_F_INT(controller, tc),
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
                                         VIV_F_CONFIG(i8237, client),
                                         VIV_F_CONFIG(i8237, region), VIV_F_END},
};

const struct viv_dev_class viv_dev_i8237 = {
    .name = "i8237",
    .desc = "DMA controllers (pair of 8237A)",
    .bus = VIV_BUS_ISA,
    .internal = true,
    .size = sizeof(struct i8237),
    .state = &i8237_state,
    .realize = i8237_realize,
    .reset = i8237_reset,
    .unrealize = i8237_unrealize,
};
