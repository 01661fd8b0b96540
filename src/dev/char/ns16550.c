/* 16550A UART. (National Semiconductor PC16550D, 1995.)
 *
 * Characters leave at once, as fast as the back end takes them: the baud rate matters only for the
 * receiver's time-out (four character times). While the back end is full THRE stays clear. Modem
 * control lines of a connected back end read CTS, DSR and DCD asserted. OUT2 gates the interrupt line,
 * as on a PC.
 *
 * Left out: overrun (the back end is not read when there is no room), DMA mode signals, parity and framing
 * errors other than a break. */
#include "base/log.h"
#include "base/units.h"
#include "bus/isa.h"
#include "chr/chr.h"
#include "dev/char/ports.h"
#include "host/clock.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define FIFO 16

enum {
    IER_RDA = 1,
    IER_THRE = 2,
    IER_LINE = 4,
    IER_MODEM = 8,
    IIR_NONE = 1,
    IIR_MODEM = 0,
    IIR_THRE = 2,
    IIR_RDA = 4,
    IIR_LINE = 6,
    IIR_TIMEOUT = 12,
    FCR_ENABLE = 1,
    FCR_CLEAR_RX = 2,
    FCR_CLEAR_TX = 4,
    LCR_DLAB = 0x80,
    MCR_DTR = 1,
    MCR_RTS = 2,
    MCR_OUT1 = 4,
    MCR_OUT2 = 8,
    MCR_LOOP = 16,
    LSR_DR = 1,
    LSR_OE = 2,
    LSR_BI = 16,
    LSR_THRE = 32,
    LSR_TEMT = 64,
    MSR_CTS = 16,
    MSR_DSR = 32,
    MSR_RI = 64,
    MSR_DCD = 128,
};

struct ns16550 {
    struct viv_dev dev;
    uint8_t ier, fcr, lcr, mcr, msr, scr;
    uint8_t lsr_errors; /* OE and BI, cleared by reading LSR */
    uint16_t divisor;
    uint8_t rx[FIFO], rx_head, rx_len;
    uint8_t tx[FIFO], tx_len; /* what the back end has not taken */
    bool thre_int;            /* THRE interrupt is due */
    bool timeout_int;
    bool irq_level;
    struct viv_timer *timeout;

    unsigned irq;
    struct viv_chr *chr; /* NULL: nobody */
    struct viv_region *region;
};

/* ---- interrupts ---- */

static unsigned trigger_level(const struct ns16550 *u)
{
    static const uint8_t levels[4] = {1, 4, 8, 14};

    return u->fcr & FCR_ENABLE ? levels[u->fcr >> 6] : 1;
}

/* The highest pending source (table 4). */
static uint8_t source(const struct ns16550 *u)
{
    if ((u->ier & IER_LINE) && u->lsr_errors)
        return IIR_LINE;
    if ((u->ier & IER_RDA) && u->rx_len >= trigger_level(u))
        return IIR_RDA;
    if ((u->ier & IER_RDA) && u->timeout_int)
        return IIR_TIMEOUT;
    if ((u->ier & IER_THRE) && u->thre_int)
        return IIR_THRE;
    if ((u->ier & IER_MODEM) && (u->msr & 0x0f))
        return IIR_MODEM;
    return IIR_NONE;
}

static void update_irq(struct ns16550 *u)
{
    bool level = source(u) != IIR_NONE && (u->mcr & MCR_OUT2) && !(u->mcr & MCR_LOOP);

    if (level == u->irq_level)
        return;
    u->irq_level = level;
    viv_isa_set_irq(&u->dev, u->irq, level);
}

/* ---- receiver ---- */

static unsigned rx_room(const struct ns16550 *u)
{
    unsigned size = u->fcr & FCR_ENABLE ? FIFO : 1;

    return u->rx_len < size ? size - u->rx_len : 0;
}

/* Start, data, parity and stop bits of four characters. */
static int64_t timeout_ns(const struct ns16550 *u)
{
    unsigned bits = 1 + 5 + (u->lcr & 3) + !!(u->lcr & 8) + (u->lcr & 4 ? 2 : 1);
    unsigned divisor = u->divisor ? u->divisor : 1;

    return (int64_t)(4 * bits * VIV_NS_PER_SEC / 115200 * divisor);
}

static void rearm_timeout(struct ns16550 *u)
{
    u->timeout_int = false;
    if (u->rx_len && (u->fcr & FCR_ENABLE))
        viv_timer_set(u->timeout, viv_clock_ns(VIV_CLOCK_GUEST) + timeout_ns(u));
    else
        viv_timer_cancel(u->timeout);
}

static void timed_out(void *opaque)
{
    struct ns16550 *u = opaque;

    u->timeout_int = u->rx_len > 0;
    update_irq(u);
}

static void rx_put(struct ns16550 *u, uint8_t byte)
{
    if (!rx_room(u)) {
        u->lsr_errors |= LSR_OE; /* only in loopback: a back end is asked first */
        return;
    }
    u->rx[(u->rx_head + u->rx_len++) % FIFO] = byte;
    rearm_timeout(u);
}

static size_t chr_can_read(void *opaque)
{
    struct ns16550 *u = opaque;

    return u->mcr & MCR_LOOP ? 0 : rx_room(u);
}

static void chr_read(void *opaque, const uint8_t *buf, size_t len)
{
    struct ns16550 *u = opaque;

    for (size_t i = 0; i < len; i++)
        rx_put(u, buf[i]);
    update_irq(u);
}

static void chr_event(void *opaque, enum viv_chr_event ev)
{
    struct ns16550 *u = opaque;

    if (ev != VIV_CHR_BREAK || (u->mcr & MCR_LOOP))
        return;
    rx_put(u, 0);
    u->lsr_errors |= LSR_BI;
    update_irq(u);
}

static void chr_moved(void *opaque, struct viv_chr *to)
{
    ((struct ns16550 *)opaque)->chr = to;
}

static uint8_t rbr_read(struct ns16550 *u)
{
    uint8_t byte = 0;

    if (u->rx_len) {
        byte = u->rx[u->rx_head];
        u->rx_head = (u->rx_head + 1) % FIFO;
        u->rx_len--;
    }
    rearm_timeout(u);
    update_irq(u);
    if (u->chr)
        viv_chr_accept_input(u->chr);
    return byte;
}

static void rx_clear(struct ns16550 *u)
{
    u->rx_head = u->rx_len = 0;
    rearm_timeout(u);
    if (u->chr)
        viv_chr_accept_input(u->chr);
}

/* ---- transmitter ---- */

static void flush(void *opaque)
{
    struct ns16550 *u = opaque;
    size_t sent = u->chr ? viv_chr_write(u->chr, u->tx, u->tx_len) : u->tx_len;

    if (sent > u->tx_len)
        sent = u->tx_len;
    memmove(u->tx, u->tx + sent, u->tx_len - sent);
    u->tx_len -= (uint8_t)sent;
    if (u->tx_len)
        viv_chr_on_writable(u->chr, flush, u);
    else
        u->thre_int = true;
    update_irq(u);
}

static unsigned tx_size(const struct ns16550 *u)
{
    return u->fcr & FCR_ENABLE ? FIFO : 1;
}

static void thr_write(struct ns16550 *u, uint8_t byte)
{
    u->thre_int = false;
    if (u->mcr & MCR_LOOP) {
        rx_put(u, byte);
        u->thre_int = true;
        update_irq(u);
        return;
    }
    if (u->tx_len == tx_size(u))
        u->tx[tx_size(u) - 1] = byte; /* written without room: the last one is overwritten */
    else
        u->tx[u->tx_len++] = byte;
    if (u->tx_len == 1)
        flush(u);
    else
        update_irq(u);
}

/* ---- modem lines ---- */

static void set_modem_inputs(struct ns16550 *u, uint8_t lines)
{
    uint8_t changed = (u->msr ^ lines) & 0xf0;

    /* RI's delta bit is set by its trailing edge only. */
    if ((changed & MSR_RI) && (lines & MSR_RI))
        changed &= ~MSR_RI;
    u->msr = lines | (u->msr & 0x0f) | changed >> 4;
}

static uint8_t modem_inputs(const struct ns16550 *u)
{
    uint8_t m = u->mcr;

    if (!(m & MCR_LOOP))
        return u->chr ? MSR_CTS | MSR_DSR | MSR_DCD : 0;
    return (m & MCR_RTS ? MSR_CTS : 0) | (m & MCR_DTR ? MSR_DSR : 0) | (m & MCR_OUT1 ? MSR_RI : 0) |
           (m & MCR_OUT2 ? MSR_DCD : 0);
}

/* ---- registers ---- */

static uint8_t lsr(const struct ns16550 *u)
{
    return (u->rx_len ? LSR_DR : 0) | u->lsr_errors | (u->tx_len ? 0 : LSR_THRE | LSR_TEMT);
}

static uint8_t iir_read(struct ns16550 *u)
{
    uint8_t id = source(u);

    if (id == IIR_THRE) {
        u->thre_int = false;
        update_irq(u);
    }
    return id | (u->fcr & FCR_ENABLE ? 0xc0 : 0);
}

static uint64_t uart_read(void *opaque, uint64_t off, unsigned size)
{
    struct ns16550 *u = opaque;
    uint8_t v;

    switch (off) {
    case 0:
        return u->lcr & LCR_DLAB ? u->divisor & 0xff : rbr_read(u);
    case 1:
        return u->lcr & LCR_DLAB ? u->divisor >> 8 : u->ier;
    case 2:
        return iir_read(u);
    case 3:
        return u->lcr;
    case 4:
        return u->mcr;
    case 5:
        v = lsr(u);
        u->lsr_errors = 0;
        update_irq(u);
        return v;
    case 6:
        v = u->msr;
        u->msr &= 0xf0;
        update_irq(u);
        return v;
    default:
        return u->scr;
    }
}

static void ier_write(struct ns16550 *u, uint8_t v)
{
    /* Enabling THRE while the register is empty raises it (any 16550, and what drivers probe for). */
    if ((v & IER_THRE) && !(u->ier & IER_THRE) && !u->tx_len)
        u->thre_int = true;
    u->ier = v & 0x0f;
    update_irq(u);
}

static void fcr_write(struct ns16550 *u, uint8_t v)
{
    bool toggled = (v ^ u->fcr) & FCR_ENABLE;

    u->fcr = v & FCR_ENABLE ? v & 0xc9 : 0;
    if (toggled || (v & FCR_CLEAR_RX))
        rx_clear(u);
    if (toggled || (v & FCR_CLEAR_TX)) {
        u->tx_len = 0;
        u->thre_int = true;
    }
    update_irq(u);
}

static void mcr_write(struct ns16550 *u, uint8_t v)
{
    bool leaves_loop = (u->mcr & MCR_LOOP) && !(v & MCR_LOOP);

    u->mcr = v & 0x1f;
    set_modem_inputs(u, modem_inputs(u));
    update_irq(u);
    if (leaves_loop && u->chr)
        viv_chr_accept_input(u->chr);
}

static void uart_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
    struct ns16550 *u = opaque;
    uint8_t v = (uint8_t)value;

    switch (off) {
    case 0:
        if (u->lcr & LCR_DLAB)
            u->divisor = (u->divisor & 0xff00) | v;
        else
            thr_write(u, v);
        break;
    case 1:
        if (u->lcr & LCR_DLAB)
            u->divisor = (uint16_t)((u->divisor & 0xff) | v << 8);
        else
            ier_write(u, v);
        break;
    case 2:
        fcr_write(u, v);
        break;
    case 3:
        u->lcr = v;
        break;
    case 4:
        mcr_write(u, v);
        break;
    case 7:
        u->scr = v;
        break;
    }
}

/* ---- class ---- */

static const uint16_t com_base[4] = {0x3f8, 0x2f8, 0x3e8, 0x2e8};
static const uint8_t com_irq[4] = {4, 3, 4, 3};

static bool base_taken(struct viv_dev *d, uint16_t base)
{
    struct viv_space_range r;

    return viv_space_find(d->board->io, base, &r);
}

/* index= picks one of the four usual places; without it the first that is free. */
static int place(struct viv_dev *d, struct viv_opts *opts, uint16_t *base, unsigned *irq,
                 struct viv_err *err)
{
    unsigned index = (unsigned)viv_opts_int(opts, "index");
    const char *what = viv_opts_what(opts);

    if (!viv_opts_given(opts, "index") && !viv_opts_given(opts, "iobase")) {
        for (index = 0; index < 4 && base_taken(d, com_base[index]); index++)
            ;
        if (index == 4)
            return viv_fail(err, EBUSY,
                            "%s: all four serial ports exist; give iobase= and irq=", what);
    }
    *base =
        viv_opts_given(opts, "iobase") ? (uint16_t)viv_opts_int(opts, "iobase") : com_base[index];
    *irq = viv_opts_given(opts, "irq") ? (unsigned)viv_opts_int(opts, "irq") : com_irq[index];
    if (base_taken(d, *base))
        return viv_fail(err, EBUSY, "%s: something else is at port 0x%x", what, *base);
    return 0;
}

static int ns16550_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_region_ops ops = {uart_read, uart_write, 1, 1, false, false};
    static const struct viv_chr_front front = {.can_read = chr_can_read, .read = chr_read, .event = chr_event, .moved = chr_moved};
    struct ns16550 *u = (struct ns16550 *)d;
    const char *id = viv_opts_str(opts, "chardev");
    uint16_t base = 0;
    int r = place(d, opts, &base, &u->irq, err);

    if (r < 0)
        return r;
    if (id) {
        struct viv_chr *chr = viv_chr_find(id);

        if (!chr)
            return viv_fail(err, ENODEV, "%s: there is no -chardev with id '%s'",
                            viv_opts_what(opts), id);
        r = viv_chr_attach(chr, &front, u, err);
        if (r < 0)
            return r;
        u->chr = chr;
    }
    u->timeout = viv_timer_new(VIV_CLOCK_GUEST, timed_out, u);
    u->region = viv_isa_add_ports(d, "uart", base, 8, &ops);
    return 0;
}

int viv_ns16550_com(const struct viv_dev *d)
{
    const struct ns16550 *u = (const struct ns16550 *)d;

    for (int i = 0; d->cls->realize == ns16550_realize && i < 4; i++) {
        if (viv_region_addr(u->region) == com_base[i] && u->irq == com_irq[i])
            return i;
    }
    return -1;
}

static void ns16550_unrealize(struct viv_dev *d)
{
    struct ns16550 *u = (struct ns16550 *)d;

    if (u->chr)
        viv_chr_detach(u->chr, u);
    viv_timer_free(u->timeout);
    viv_region_free(u->region);
}

/* Table 3: IER, FCR, LCR, MCR are cleared; the divisor and scratch are not, but start the same here. */
static void ns16550_reset(struct viv_dev *d)
{
    struct ns16550 *u = (struct ns16550 *)d;

    if (u->chr)
        viv_chr_on_writable(u->chr, NULL, u);
    u->ier = u->fcr = u->lcr = u->scr = 0;
    u->mcr = 0;
    u->divisor = 12; /* 9600 baud */
    u->lsr_errors = 0;
    u->tx_len = 0;
    u->thre_int = false;
    u->msr = modem_inputs(u);
    rx_clear(u);
    update_irq(u);
}

static int ns16550_post_load(void *obj, int version, struct viv_err *err)
{
    struct ns16550 *u = obj;

    if (u->rx_head >= FIFO || u->rx_len > FIFO || u->tx_len > tx_size(u))
        return viv_fail(err, EINVAL, "UART FIFO out of bounds");
    u->ier &= 0x0f;
    u->mcr &= 0x1f;
    u->lsr_errors &= LSR_OE | LSR_BI;
    if (u->tx_len && u->chr)
        viv_chr_on_writable(u->chr, flush, u);
    if (u->chr)
        viv_chr_accept_input(u->chr);
    return 0;
}

static const struct viv_state_table ns16550_state = {
    .name = "ns16550",
    .ctype = "ns16550",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_CONFIG(ns16550, dev),    VIV_F_INT(ns16550, ier),
            VIV_F_INT(ns16550, fcr),       VIV_F_INT(ns16550, lcr),
            VIV_F_INT(ns16550, mcr),       VIV_F_INT(ns16550, msr),
            VIV_F_INT(ns16550, scr),       VIV_F_INT(ns16550, lsr_errors),
            VIV_F_INT(ns16550, divisor),   VIV_F_BYTES(ns16550, rx),
            VIV_F_INT(ns16550, rx_head),   VIV_F_INT(ns16550, rx_len),
            VIV_F_BYTES(ns16550, tx),      VIV_F_INT(ns16550, tx_len),
            VIV_F_INT(ns16550, thre_int),  VIV_F_INT(ns16550, timeout_int),
            VIV_F_INT(ns16550, irq_level), VIV_F_TIMER(ns16550, timeout),
            VIV_F_CONFIG(ns16550, irq),    VIV_F_CONFIG(ns16550, chr),
            VIV_F_CONFIG(ns16550, region), VIV_F_END,
        },
    .post_load = ns16550_post_load,
};

static const struct viv_opt_def props[] = {
    {.name = "chardev", .type = VIV_OPT_STR, .help = "id of the -chardev it talks to"},
    {.name = "index", .type = VIV_OPT_INT, .help = "0-3: COM1-COM4", .min = 0, .max = 3},
    {.name = "iobase", .type = VIV_OPT_INT, .help = "first port", .min = 1, .max = 0xfff8},
    {.name = "irq", .type = VIV_OPT_INT, .help = "ISA line", .min = 1, .max = 15},
    VIV_OPT_END,
};

const struct viv_dev_class viv_dev_ns16550 = {
    .name = "isa-serial",
    .desc = "serial port (16550A)",
    .bus = VIV_BUS_ISA,
    .size = sizeof(struct ns16550),
    .props = props,
    .state = &ns16550_state,
    .realize = ns16550_realize,
    .reset = ns16550_reset,
    .unrealize = ns16550_unrealize,
};
