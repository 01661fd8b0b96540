/* System control port A at 92h: bit 0 pulses the CPUs' reset line, bit 1 is the fast A20 gate. (PS/2; PIIX3 leaves it to the
 * board.)
 *
 * Here is also what both gates drive, this one and the keyboard controller's: the one that moved last has its way, so each works for
 * programs that know only one. (On a real board one of both being on is enough.) Bit 1 reads as address line 20 is. */
#include "bus/isa.h"
#include "bus/vmreq.h"

enum { RESET = 1, A20 = 2 };

struct port92 {
    struct viv_dev dev;
    uint8_t value; /* bit 1: address line 20 */
    struct viv_region *region;
};

static uint64_t port92_read(void *opaque, uint64_t off, unsigned size)
{
    return ((struct port92 *)opaque)->value;
}

static void set_a20(void *opaque, int n, int level)
{
    struct port92 *p = opaque;

    p->value = (uint8_t)(level ? p->value | A20 : p->value & ~A20);
    viv_space_set_a20(p->dev.board->mem, level);
}

static void port92_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    struct port92 *p = opaque;

    p->value = (uint8_t)v & ~RESET; /* that bit falls again as the CPUs reset */
    set_a20(p, 0, v & A20);
    if (v & RESET)
        viv_vm_request(VIV_VM_RESET, VIV_VM_RESET_CPUS, "port 92h");
}

static int port92_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_region_ops ops = {port92_read, port92_write, 1, 1, false, false};

    ((struct port92 *)d)->region = viv_isa_add_ports(d, "port92", 0x92, 1, &ops);
    d->board->a20 = (struct viv_irq){set_a20, d, 0};
    return 0;
}

static void port92_unrealize(struct viv_dev *d)
{
    viv_region_free(((struct port92 *)d)->region);
    d->board->a20 = (struct viv_irq){0};
}

static void port92_reset(struct viv_dev *d)
{
    ((struct port92 *)d)->value = 0;
    set_a20(d, 0, 1);
}

static int post_load(void *obj, int version, struct viv_err *err)
{
    struct port92 *p = obj;

    set_a20(p, 0, p->value & A20);
    return 0;
}

static const struct viv_state_table state = {
    .name = "port92",
    .ctype = "port92",
    .version = 1,
    .min_version = 1,
    .fields = (const struct viv_field[]){VIV_F_CONFIG(port92, dev), VIV_F_INT(port92, value),
                                         VIV_F_CONFIG(port92, region), VIV_F_END},
    .post_load = post_load,
};

const struct viv_dev_class viv_dev_port92 = {
    .name = "port92",
    .desc = "system control port A",
    .bus = VIV_BUS_ISA,
    .internal = true,
    .size = sizeof(struct port92),
    .state = &state,
    .realize = port92_realize,
    .reset = port92_reset,
    .unrealize = port92_unrealize,
};
