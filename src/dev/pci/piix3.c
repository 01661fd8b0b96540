/* PIIX3 south bridge (82371SB), function 0: routes the four PCI interrupt lines to ISA lines, and resets the
 * machine through CF9h. (Intel 290550-002; 4.1.10 PIRQRC, 4.4.4 RC.)
 *
 * The 8259s, 8254 and so on that the chip holds are devices of their own here. */
#include "bus/isa.h"
#include "bus/pci.h"
#include "dev/pci/south.h"

#define PIRQRC 0x60

struct piix3 {
    struct viv_pci_dev pci;
    uint8_t pirq; /* levels of the four lines */
    uint16_t isa; /* ISA lines we hold up */
    uint8_t rc;   /* CF9h */
};

/* PIRQs may share a line: it is up while any of them is. */
static void update(struct piix3 *p)
{
    uint16_t want = 0, changed;

    for (unsigned i = 0; i < 4; i++) {
        int line = viv_pirq_line(p->pci.config[PIRQRC + i]);

        if (line >= 0 && (p->pirq >> i & 1))
            want |= 1u << line;
    }
    changed = want ^ p->isa;
    p->isa = want;
    for (unsigned line = 0; line < 16; line++) {
        if (changed >> line & 1)
            viv_isa_set_irq(&p->pci.dev, line, want >> line & 1);
    }
}

static void set_pirq(void *opaque, int pirq, int level)
{
    struct piix3 *p = opaque;

    p->pirq = (uint8_t)((p->pirq & ~(1 << pirq)) | !!level << pirq);
    update(p);
}

static void config_written(struct viv_pci_dev *d, unsigned off, unsigned len)
{
    if (off < PIRQRC + 4 && off + len > PIRQRC)
        update((struct piix3 *)d);
}

/* ---- class ---- */

static int piix3_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_pci_ids ids = {0x8086, 0x7000, 0, 0x060100, 0x1af4, 0x1100};
    struct piix3 *p = (struct piix3 *)d;
    int r = viv_pci_dev_init(&p->pci, &ids, opts, err);

    if (r < 0)
        return r;
    for (unsigned i = 0; i < 4; i++)
        p->pci.wmask[PIRQRC + i] = 0x8f;
    p->pci.wmask[0x4c] = 0xff; /* ISA recovery times */
    p->pci.wmask[0x4e] = 0xff; /* X-bus chip selects */
    p->pci.wmask[0x4f] = 0x01;
    p->pci.wmask[0x69] = 0xfe; /* top of memory */
    p->pci.wmask[0x82] = 0x0f;
    p->pci.config_written = config_written;
    viv_pci_bus_set_pirq(d->board->pci, set_pirq, p);
    viv_pci_bus_set_reset_port(d->board->pci, &viv_reset_control_ops, &p->rc);
    return 0;
}

static void piix3_unrealize(struct viv_dev *d)
{
    struct piix3 *p = (struct piix3 *)d;

    viv_pci_bus_set_pirq(d->board->pci, NULL, NULL);
    viv_pci_bus_set_reset_port(d->board->pci, NULL, NULL);
    viv_pci_dev_fini(&p->pci);
}

static void piix3_reset(struct viv_dev *d)
{
    struct piix3 *p = (struct piix3 *)d;

    viv_pci_dev_reset(&p->pci);
    p->pci.config[0x4] = 7; /* always decodes, always master (4.1.3) */
    p->pci.config[0x4c] = 0x4d;
    p->pci.config[0x4e] = 0x03;
    for (unsigned i = 0; i < 4; i++)
        p->pci.config[PIRQRC + i] = VIV_PIRQ_OFF;
    p->rc = 0;
    update(p);
}

static int piix3_post_load(void *obj, int version, struct viv_err *err)
{
    struct piix3 *p = obj;

    p->pirq &= 0x0f;
    p->rc &= VIV_RESET_TYPE;
    return 0;
}

static const struct viv_state_table piix3_state = {
    .name = "piix3",
    .ctype = "piix3",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_STRUCT(piix3, pci, viv_pci_dev_state),
            VIV_F_INT(piix3, pirq),
            VIV_F_INT(piix3, isa),
            VIV_F_INT(piix3, rc),
            VIV_F_END,
        },
    .post_load = piix3_post_load,
};

static const struct viv_opt_def props[] = {VIV_PCI_PROPS, VIV_OPT_END};

const struct viv_dev_class viv_dev_piix3 = {
    .name = "PIIX3",
    .desc = "PCI to ISA bridge (82371SB)",
    .bus = VIV_BUS_PCI,
    .internal = true,
    .size = sizeof(struct piix3),
    .props = props,
    .state = &piix3_state,
    .realize = piix3_realize,
    .reset = piix3_reset,
    .unrealize = piix3_unrealize,
};
