/* isa-debug-exit: a port whose write ends the process with (value << 1) | 1, so that a test can report its result and
 * 0 stays "the guest powered off". */
#include "bus/isa.h"
#include "bus/vmreq.h"

struct debug_exit {
    struct viv_dev dev;
    struct viv_region *region;
};

static uint64_t debug_exit_read(void *opaque, uint64_t off, unsigned size)
{
    return 0;
}

static void debug_exit_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    viv_vm_request(VIV_VM_QUIT, (int)((v << 1 | 1) & 0xff), "isa-debug-exit");
}

static int debug_exit_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_region_ops ops = {
        debug_exit_read, debug_exit_write, 1, 4, false, false};

    ((struct debug_exit *)d)->region =
        viv_isa_add_ports(d, "isa-debug-exit", (uint16_t)viv_opts_int(opts, "iobase"),
                          (unsigned)viv_opts_int(opts, "iosize"), &ops);
    return 0;
}

static void debug_exit_unrealize(struct viv_dev *d)
{
    viv_region_free(((struct debug_exit *)d)->region);
}

static const struct viv_state_table state = {
    .name = "isa-debug-exit",
    .ctype = "debug_exit",
    .version = 1,
    .min_version = 1,
    .fields = (const struct viv_field[]){VIV_F_CONFIG(debug_exit, dev),
                                         VIV_F_CONFIG(debug_exit, region), VIV_F_END},
};

static const struct viv_opt_def props[] = {
    {.name = "iobase",
     .type = VIV_OPT_INT,
     .def = "0x501",
     .help = "first port",
     .min = 0,
     .max = 0xffff},
    {.name = "iosize", .type = VIV_OPT_INT, .def = "2", .help = "how many", .min = 1, .max = 8},
    VIV_OPT_END,
};

const struct viv_dev_class viv_dev_isa_debug_exit = {
    .name = "isa-debug-exit",
    .desc = "port that ends the process",
    .bus = VIV_BUS_ISA,
    .size = sizeof(struct debug_exit),
    .props = props,
    .state = &state,
    .realize = debug_exit_realize,
    .unrealize = debug_exit_unrealize,
};
