/* AHCI host bus adapter: six SATA ports with a drive each (AHCI 1.3.1; Intel 316972, chapter 15: ICH9's, in AHCI mode).
 *
 * Left out: the ports and registers of IDE mode, command completion coalescing, enclosure management, link power management, the
 * index-data pair. */
#include "dev/ide/ahci.h"

#include <glib.h>

enum { /* 3.1 */
    R_CAP = 0x00,
    R_GHC = 0x04,
    R_IS = 0x08,
    R_PI = 0x0c,
    R_VS = 0x10,
    R_PORTS = 0x100,
    PORT_SIZE = 0x80,
    BAR_SIZE = 4096,

    CAP_64BIT = 1u << 31,
    CAP_QUEUE = 1 << 30,
    CAP_SPEED = 1 << 20, /* 1.5 Gb/s */
    CAP_ONLY = 1 << 18,  /* no IDE mode */
    CAP_SLOTS = (AHCI_SLOTS - 1) << 8,
    VERSION = 0x00010300,

    GHC_RESET = 1 << 0,
    GHC_IRQ = 1 << 1,
    GHC_ENABLE = 1u << 31,

    MAP = 0x90, /* configuration space (15.1.29): AHCI mode */
    MAP_AHCI = 0x40,
};

/* A message for each bit of IS that rises, as 10.6.2.1 has it for one message; a line as long as there are any. */
void ahci_update_irq(struct ahci *a)
{
    uint32_t old = a->is;
    bool msi = viv_msi_enabled(&a->pci);

    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        if (a->port[i].is & a->port[i].ie)
            a->is |= 1u << i;
    }
    if (msi && (a->ghc & GHC_IRQ) && (a->is & ~old))
        viv_msi_notify(&a->pci, 0);
    viv_pci_set_intx(&a->pci, !msi && (a->ghc & GHC_IRQ) && a->is);
}

/* ---- reset of all ---- */

static void reset_registers(struct ahci *a)
{
    a->ghc = GHC_ENABLE;
    a->is = 0;
    a->resetting = false;
    for (unsigned i = 0; i < AHCI_PORTS; i++)
        ahci_port_reset(&a->port[i]);
    a->is = 0;
    ahci_update_irq(a);
}

void ahci_port_quiet(struct ahci *a)
{
    if (!a->resetting)
        return;
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        if (ahci_port_busy(&a->port[i]))
            return;
    }
    reset_registers(a);
}

/* GHC.HR reads 1 until no request is in flight. */
static void reset_hba(struct ahci *a)
{
    if (a->resetting)
        return;
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        a->port[i].cmd &= ~(uint32_t)(PORT_ST | PORT_FRE);
        ahci_port_stop(&a->port[i], AHCI_RESET_STOP);
    }
    a->resetting = true; /* only now: a port that is quiet at once must not speak for those not stopped yet */
    ahci_port_quiet(a);
}

/* ---- registers ---- */

static uint64_t ahci_read(void *opaque, uint64_t off, unsigned size)
{
    struct ahci *a = opaque;

    if (off >= R_PORTS && off < R_PORTS + AHCI_PORTS * PORT_SIZE)
        return ahci_port_read(&a->port[(off - R_PORTS) / PORT_SIZE], off % PORT_SIZE);
    switch (off) {
    case R_CAP:
        return CAP_64BIT | CAP_QUEUE | CAP_SPEED | CAP_ONLY | CAP_SLOTS | (AHCI_PORTS - 1);
    case R_GHC:
        return a->ghc | (a->resetting ? GHC_RESET : 0);
    case R_IS:
        return a->is;
    case R_PI:
        return (1u << AHCI_PORTS) - 1;
    case R_VS:
        return VERSION;
    default:
        return 0;
    }
}

static void write_ghc(struct ahci *a, uint32_t v)
{
    uint32_t pending = a->is;

    if (v & GHC_RESET) {
        reset_hba(a);
        return;
    }
    if (v & GHC_IRQ && !(a->ghc & GHC_IRQ))
        a->is = 0; /* so that what waits is told */
    a->ghc = GHC_ENABLE | (v & GHC_IRQ);
    ahci_update_irq(a);
    a->is |= pending;
    ahci_update_irq(a);
}

static void ahci_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
    struct ahci *a = opaque;
    uint32_t v = (uint32_t)value;

    if (a->resetting)
        return;
    if (off >= R_PORTS && off < R_PORTS + AHCI_PORTS * PORT_SIZE) {
        ahci_port_write(&a->port[(off - R_PORTS) / PORT_SIZE], off % PORT_SIZE, v);
    } else if (off == R_GHC) {
        write_ghc(a, v);
    } else if (off == R_IS) {
        a->is &= ~v;
        ahci_update_irq(a);
    }
}

static void config_written(struct viv_pci_dev *d, unsigned off, unsigned len)
{
    struct ahci *a = (struct ahci *)d;

    ahci_update_irq(a); /* MSI, or no longer */
    for (unsigned i = 0; i < AHCI_PORTS; i++) /* now a master? */
        ahci_issue(&a->port[i]);
}

/* ---- class ---- */

/* Buses are "ID.0" to "ID.5"; without an id "ide.N", after those there are. */
static void make_ports(struct ahci *a)
{
    const char *id = a->pci.dev.id;
    unsigned first = id ? 0 : ide_channel_free_number();

    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        g_autofree char *name = g_strdup_printf("%s.%u", id ? id : "ide", first + i);

        ahci_port_init(&a->port[i], a, i, name);
    }
}

static int ahci_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_pci_ids ids = {0x8086, 0x2922, 2, 0x010601, 0x1af4, 0x1100};
    static const struct viv_region_ops ops = {ahci_read, ahci_write, 4, 4, false, false};
    struct ahci *a = (struct ahci *)d;
    struct viv_region_desc desc = {.name = "ahci", .kind = VIV_REGION_IO, .size = BAR_SIZE, .ops = &ops, .opaque = a};
    int rc = viv_pci_dev_init(&a->pci, &ids, opts, err);

    if (rc < 0)
        return rc;
    a->pci.config[0x3d] = 1;
    a->pci.config[MAP] = MAP_AHCI;
    viv_pci_add_bar(&a->pci, 5, viv_region_new(d->board->mem, &desc), BAR_SIZE, false, false, false);
    rc = viv_msi_init(&a->pci, 1, err);
    if (rc < 0) {
        viv_pci_dev_fini(&a->pci);
        return rc;
    }
    make_ports(a);
    a->pci.config_written = config_written;
    return 0;
}

static void ahci_unrealize(struct viv_dev *d)
{
    struct ahci *a = (struct ahci *)d;

    for (unsigned i = 0; i < AHCI_PORTS; i++)
        ahci_port_fini(&a->port[i]);
    viv_pci_dev_fini(&a->pci);
}

static void ahci_reset(struct viv_dev *d)
{
    struct ahci *a = (struct ahci *)d;

    viv_pci_dev_reset(&a->pci);
    for (unsigned i = 0; i < AHCI_PORTS; i++)
        ide_channel_reset(&a->port[i].ch);
    reset_registers(a);
}

static int ahci_post_load(void *obj, int version, struct viv_err *err)
{
    struct ahci *a = obj;

    a->ghc = GHC_ENABLE | (a->ghc & GHC_IRQ);
    a->is &= (1u << AHCI_PORTS) - 1;
    return 0;
}

static const struct viv_state_table ahci_state = {
    .name = "ahci",
    .ctype = "ahci",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_STRUCT(ahci, pci, viv_pci_dev_state),
            VIV_F_INT(ahci, ghc),
            VIV_F_INT(ahci, is),
            VIV_F_DERIVED(ahci, resetting, "false: no request is in flight when it is saved"),
            VIV_F_STRUCTS(ahci, port, ahci_port_state),
            VIV_F_END,
        },
    .post_load = ahci_post_load,
};

static const struct viv_opt_def props[] = {VIV_PCI_PROPS, VIV_OPT_END};

#define AHCI(sym, typed)                                                \
    const struct viv_dev_class sym = {                                  \
        .name = (typed),                                                \
        .desc = "SATA controller (AHCI, as in the 82801IB), six ports", \
        .bus = VIV_BUS_PCI,                                             \
        .size = sizeof(struct ahci),                                    \
        .props = props,                                                 \
        .state = &ahci_state,                                           \
        .realize = ahci_realize,                                        \
        .reset = ahci_reset,                                            \
        .unrealize = ahci_unrealize,                                    \
    }

AHCI(viv_dev_ich9_ahci, "ich9-ahci");
AHCI(viv_dev_ahci, "ahci");
