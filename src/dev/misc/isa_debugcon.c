/* isa-debugcon: each byte written to the port goes to a chardev; reads give a byte that tells the guest the port
 * is there. */
#include "bus/isa.h"
#include "chr/chr.h"

#include <errno.h>

struct debugcon {
    struct viv_dev dev;
    uint8_t readback;
    struct viv_chr *chr;
    struct viv_region *region;
};

static uint64_t debugcon_read(void *opaque, uint64_t off, unsigned size)
{
    return ((struct debugcon *)opaque)->readback;
}

static void debugcon_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    struct debugcon *c = opaque;
    uint8_t byte = (uint8_t)v;

    if (c->chr)
        viv_chr_write(c->chr, &byte, 1); /* a full back end loses it: there is no flow control */
}

static size_t no_room(void *front)
{
    return 0;
}

static void no_read(void *front, const uint8_t *buf, size_t len)
{
}

static void moved(void *front, struct viv_chr *to)
{
    ((struct debugcon *)front)->chr = to;
}

static int debugcon_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_region_ops ops = {debugcon_read, debugcon_write, 1, 1, false, false};
    static const struct viv_chr_front front = {.can_read = no_room, .read = no_read, .moved = moved};
    struct debugcon *c = (struct debugcon *)d;
    const char *id = viv_opts_str(opts, "chardev");
    struct viv_chr *chr = id ? viv_chr_find(id) : NULL;
    int r;

    if (id && !chr)
        return viv_fail(err, ENODEV, "%s: there is no -chardev with id '%s'", viv_opts_what(opts),
                        id);
    r = chr ? viv_chr_attach(chr, &front, c, err) : 0;
    if (r < 0)
        return r;
    c->chr = chr;
    c->readback = (uint8_t)viv_opts_int(opts, "readback");
    c->region =
        viv_isa_add_ports(d, "isa-debugcon", (uint16_t)viv_opts_int(opts, "iobase"), 1, &ops);
    return 0;
}

static void debugcon_unrealize(struct viv_dev *d)
{
    struct debugcon *c = (struct debugcon *)d;

    if (c->chr)
        viv_chr_detach(c->chr, c);
    viv_region_free(c->region);
}

static const struct viv_state_table state = {
    .name = "isa-debugcon",
    .ctype = "debugcon",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){VIV_F_CONFIG(debugcon, dev), VIV_F_CONFIG(debugcon, readback),
                                   VIV_F_CONFIG(debugcon, chr), VIV_F_CONFIG(debugcon, region),
                                   VIV_F_END},
};

static const struct viv_opt_def props[] = {
    {.name = "chardev", .type = VIV_OPT_STR, .help = "id of the -chardev it writes to"},
    {.name = "iobase", .type = VIV_OPT_INT, .def = "0xe9", .help = "port", .min = 0, .max = 0xffff},
    {.name = "readback",
     .type = VIV_OPT_INT,
     .def = "0xe9",
     .help = "what the port reads as",
     .min = 0,
     .max = 0xff},
    VIV_OPT_END,
};

const struct viv_dev_class viv_dev_isa_debugcon = {
    .name = "isa-debugcon",
    .desc = "port that writes to a chardev",
    .bus = VIV_BUS_ISA,
    .size = sizeof(struct debugcon),
    .props = props,
    .state = &state,
    .realize = debugcon_realize,
    .unrealize = debugcon_unrealize,
};
