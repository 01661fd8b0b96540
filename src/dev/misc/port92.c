/* System control port A at 92h: bit 0 resets the machine, bit 1 is the fast A20 gate. (PS/2; PIIX3 leaves it to the
 * board.)
 *
 * The gate is kept and reads back, but address line 20 is never masked: no guest of the last decades wants it
 * masked, and each one checks that it is not. */
#include "base/log.h"
#include "bus/isa.h"
#include "bus/vmreq.h"

struct port92 {
    struct viv_dev dev;
    uint8_t value;
    struct viv_region *region;
};

static uint64_t port92_read(void *opaque, uint64_t off, unsigned size)
{
    return ((struct port92 *)opaque)->value;
}

static void port92_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    struct port92 *p = opaque;
    bool rise = (v & 1) && !(p->value & 1);

    if (!(v & 2) && (p->value & 2))
        viv_log(VIV_LOG_UNIMP, "port92: A20 is off for the guest, but not masked");
    p->value = (uint8_t)v & 0xfe;
    if (rise)
        viv_vm_request(VIV_VM_RESET, 0, "port 92h");
}

static int port92_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_region_ops ops = {port92_read, port92_write, 1, 1, false, false};

    ((struct port92 *)d)->region = viv_isa_add_ports(d, "port92", 0x92, 1, &ops);
    return 0;
}

static void port92_unrealize(struct viv_dev *d)
{
    viv_region_free(((struct port92 *)d)->region);
}

static void port92_reset(struct viv_dev *d)
{
    ((struct port92 *)d)->value = 2;
}

static const struct viv_state_table state = {
    .name = "port92",
    .ctype = "port92",
    .version = 1,
    .min_version = 1,
    .fields = (const struct viv_field[]){VIV_F_CONFIG(port92, dev), VIV_F_INT(port92, value),
                                         VIV_F_CONFIG(port92, region), VIV_F_END},
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
