/* Parallel printer port: data, status and control at 378h-37Ah, ISA line 7. (IBM PC AT Technical Reference; IEEE 1284, compatibility
 * mode, with the direction bit of PS/2 ports.)
 *
 * The printer is the back end: it takes a byte at each strobe, answers with the acknowledge pulse at once, and is busy while it takes
 * no more. It is always on line with paper. Left out: what a printer says (byte and nibble mode), EPP and ECP registers. */
#include "base/log.h"
#include "bus/isa.h"
#include "chr/chr.h"
#include "dev/char/ports.h"

#include <errno.h>

enum {
    STATUS_NOT_ERROR = 0x08,
    STATUS_SELECTED = 0x10,
    STATUS_NOT_ACK = 0x40,
    STATUS_NOT_BUSY = 0x80,

    CONTROL_STROBE = 0x01,
    CONTROL_NOT_INIT = 0x04,
    CONTROL_SELECT = 0x08,
    CONTROL_IRQ = 0x10,
    CONTROL_IN = 0x20,
    CONTROL_BITS = 0x3f,
};

struct parallel {
    struct viv_dev dev;
    uint8_t data, control;
    uint8_t waiting; /* what the printer has not taken */
    bool busy;

    unsigned irq;
    struct viv_chr *chr;
    struct viv_region *region;
};

static const uint16_t bases[] = {0x378, 0x278, 0x3bc};

static void send(void *opaque)
{
    struct parallel *p = opaque;

    p->busy = !viv_chr_write(p->chr, &p->waiting, 1);
    if (p->busy)
        viv_chr_on_writable(p->chr, send, p);
    else if (p->control & CONTROL_IRQ)
        viv_irq_pulse(&p->dev.board->isa_irq[p->irq]); /* the end of the acknowledge pulse */
}

static void control_write(struct parallel *p, uint8_t v)
{
    bool strobe = v & CONTROL_STROBE && !(p->control & CONTROL_STROBE);

    p->control = v & CONTROL_BITS;
    if (!(v & CONTROL_NOT_INIT) || !strobe)
        return; /* a printer that is being reset takes nothing */
    if (p->busy) {
        viv_guest_error("parallel port", "a strobe while the printer is busy: the byte is lost");
        return;
    }
    p->waiting = p->data;
    send(p);
}

static uint64_t port_read(void *opaque, uint64_t off, unsigned size)
{
    const struct parallel *p = opaque;

    switch (off) {
    case 0:
        return p->control & CONTROL_IN ? 0xff : p->data;
    case 1:
        return STATUS_NOT_ERROR | STATUS_SELECTED | STATUS_NOT_ACK | (p->busy ? 0 : STATUS_NOT_BUSY);
    default:
        return p->control | (uint8_t)~CONTROL_BITS;
    }
}

static void port_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    struct parallel *p = opaque;

    if (off == 0)
        p->data = (uint8_t)v;
    else if (off == 2)
        control_write(p, (uint8_t)v);
}

/* ---- class ---- */

static size_t chr_can_read(void *opaque)
{
    return 16;
}

/* A printer of this mode says nothing: what comes is dropped. */
static void chr_read(void *opaque, const uint8_t *buf, size_t len)
{
}

static void chr_moved(void *opaque, struct viv_chr *to)
{
    ((struct parallel *)opaque)->chr = to;
}

static int place(struct viv_dev *d, struct viv_opts *opts, uint16_t *base, struct viv_err *err)
{
    const char *what = viv_opts_what(opts);
    unsigned index = (unsigned)viv_opts_int(opts, "index");
    struct viv_space_range r;

    if (!viv_opts_given(opts, "index") && !viv_opts_given(opts, "iobase")) {
        for (index = 0; index < 3 && viv_space_find(d->board->io, bases[index], &r); index++)
            ;
        if (index == 3)
            return viv_fail(err, EBUSY, "%s: all three parallel ports exist; give iobase= and irq=", what);
    }
    *base = viv_opts_given(opts, "iobase") ? (uint16_t)viv_opts_int(opts, "iobase") : bases[index];
    if (viv_space_find(d->board->io, *base, &r))
        return viv_fail(err, EBUSY, "%s: something else is at port 0x%x", what, *base);
    return 0;
}

static int parallel_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_region_ops ops = {port_read, port_write, 1, 1, false, false};
    static const struct viv_chr_front front = {.can_read = chr_can_read, .read = chr_read, .moved = chr_moved};
    struct parallel *p = (struct parallel *)d;
    const char *id = viv_opts_str(opts, "chardev"), *what = viv_opts_what(opts);
    uint16_t base = 0;
    int rc = place(d, opts, &base, err);

    if (rc < 0)
        return rc;
    p->irq = (unsigned)viv_opts_int(opts, "irq");
    p->chr = viv_chr_find(id);
    if (!p->chr)
        return viv_fail(err, ENODEV, "%s: there is no -chardev with id '%s'", what, id);
    rc = viv_chr_attach(p->chr, &front, p, err);
    if (rc < 0)
        return rc;
    p->region = viv_isa_add_ports(d, "parallel", base, 3, &ops);
    return 0;
}

int viv_parallel_lpt(const struct viv_dev *d)
{
    const struct parallel *p = (const struct parallel *)d;

    for (int i = 0; d->cls->realize == parallel_realize && i < 3; i++) {
        if (viv_region_addr(p->region) == bases[i] && p->irq == 7)
            return i;
    }
    return -1;
}

static void parallel_unrealize(struct viv_dev *d)
{
    struct parallel *p = (struct parallel *)d;

    viv_chr_on_writable(p->chr, NULL, p);
    viv_chr_detach(p->chr, p);
    viv_region_free(p->region);
}

static void parallel_reset(struct viv_dev *d)
{
    struct parallel *p = (struct parallel *)d;

    viv_chr_on_writable(p->chr, NULL, p);
    p->data = p->waiting = 0;
    p->control = CONTROL_NOT_INIT | CONTROL_SELECT;
    p->busy = false;
}

static int post_load(void *obj, int version, struct viv_err *err)
{
    struct parallel *p = obj;

    p->control &= CONTROL_BITS;
    if (p->busy)
        viv_chr_on_writable(p->chr, send, p);
    return 0;
}

static const struct viv_state_table state = {
    .name = "isa-parallel",
    .ctype = "parallel",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_CONFIG(parallel, dev),
            VIV_F_INT(parallel, data),
            VIV_F_INT(parallel, control),
            VIV_F_INT(parallel, waiting),
            VIV_F_INT(parallel, busy),
            VIV_F_CONFIG(parallel, irq),
            VIV_F_CONFIG(parallel, chr),
            VIV_F_CONFIG(parallel, region),
            VIV_F_END,
        },
    .post_load = post_load,
};

static const struct viv_opt_def props[] = {
    {.name = "chardev", .type = VIV_OPT_STR, .required = true, .help = "id of the -chardev that prints"},
    {.name = "index", .type = VIV_OPT_INT, .help = "0-2: LPT1-LPT3", .min = 0, .max = 2},
    {.name = "iobase", .type = VIV_OPT_INT, .help = "first port", .min = 1, .max = 0xfffc},
    {.name = "irq", .type = VIV_OPT_INT, .def = "7", .help = "ISA line", .min = 1, .max = 15},
    VIV_OPT_END,
};

const struct viv_dev_class viv_dev_parallel = {
    .name = "isa-parallel",
    .desc = "parallel (printer) port",
    .bus = VIV_BUS_ISA,
    .size = sizeof(struct parallel),
    .props = props,
    .state = &state,
    .realize = parallel_realize,
    .reset = parallel_reset,
    .unrealize = parallel_unrealize,
};
