/* South bridge of q35 (82801IB, ICH9), function 0: interrupt routing, power management, the chipset's registers in memory (RCBA),
 * reset through CF9h. (Intel 316972-004: chapters 10, 13.)
 *
 * PIRQA-H are pins 16 to 23 of the I/O APIC always, and ISA lines as the routing registers say. A pin of slots 25 to 31 goes to
 * PIRQA-D as it is (the reset values of D25IR to D31IR), of all others to PIRQE-H, swizzled by the slot.
 *
 * SMIs come from the APM port alone (SMI_EN, SMI_STS, GEN_PMCON_1's SMI_LOCK): to the CPU that writes, or to all of them when firmware has
 * chosen so by way of fw_cfg (etc/smi/..., as OVMF does it). On a board that cannot raise any APMC_EN reads set.
 *
 * Left out: other sources of SMIs, EOS, the TCO watchdog (its NO_REBOOT strap reads set, so drivers leave it alone), GPIO (its base register reads 0),
 * other routes in D25IR to D31IR, LPC decoding beyond keeping the registers. */
#include "dev/pci/ich9_lpc.h"

#include "base/bytes.h"
#include "bus/isa.h"
#include "dev/acpi/pm.h"
#include "dev/misc/fw_cfg.h"
#include "dev/pci/south.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

enum { /* 13.1 */
    PMBASE = 0x40,
    ACPI_CNTL = 0x44,
    GPIOBASE = 0x48,
    PIRQA_ROUT = 0x60,
    SERIRQ_CNTL = 0x64,
    PIRQE_ROUT = 0x68,
    LPC_DECODE = 0x80,
    LPC_DECODE_END = 0x94,
    GEN_PMCON = 0xa0,
    BIOS_CNTL = 0xdc,
    RCBA = 0xf0,

    ACPI_EN = 0x80,
    SCI_SELECT = 0x07,
    RCBA_EN = 1,
};

enum { /* 13.8.3: of the PM block, beside what ACPI names */
    GPE0 = 0x20,
    SMI_EN = 0x30,
    SMI_STS = 0x34,
    SMI_EN_GBL = 1 << 0,
    SMI_EN_APMC = 1 << 5, /* reads set: tells firmware that SMIs are in use already */
    SMI_STS_APM = 1 << 5,

    PMCON_SMI_LOCK = 1 << 4, /* 13.8.1.1: until reset, and GBL_SMI_EN stays */
};

#define SMI_BROADCAST 1ull /* of etc/smi/supported-features */

enum { /* chapter 10 */
    RCBA_SIZE = 0x4000,
    RCBA_FIRST = 0x3000, /* below: the DMI port's */
    D31IP = 0x3100,
    D31IR = 0x3140,
    OIC = 0x31fe,
    HPTC = 0x3404,
    GCS = 0x3410,
    FD = 0x3418,
    RCBA_KEPT = 0x500,
    GCS_NO_REBOOT = 1 << 5,
};

struct ich9 {
    struct viv_pci_dev pci;
    struct viv_acpi_pm pm;
    uint8_t pirq;   /* levels of the eight lines */
    bool sci;
    uint32_t lines; /* ISA lines and I/O APIC pins that we hold up */
    uint8_t rc;     /* CF9h */
    uint16_t smi_en[2], smi_sts[2];
    bool smm;              /* the board can raise SMIs */
    uint64_t smi_offered;  /* SMI_... */
    uint64_t smi_chosen;   /* of these, in force */
    uint64_t smi_wanted;   /* little-endian: the guest's file */
    uint8_t smi_settled;   /* the other one: smi_chosen stays until reset */
    uint8_t rcba[RCBA_KEPT];
    struct viv_region *rcba_region;
};

/* ---- interrupts ---- */

static unsigned route(unsigned slot, unsigned pin)
{
    return slot >= 25 ? pin & 3 : 4 + ((slot + pin) & 3);
}

/* 13.1.4; values without a meaning: nowhere. */
static int sci_line(const struct ich9 *p)
{
    static const int8_t lines[8] = {9, 10, 11, -1, 20, 21, -1, -1};

    return p->pci.config[ACPI_CNTL] & ACPI_EN ? lines[p->pci.config[ACPI_CNTL] & SCI_SELECT] : -1;
}

/* Several can share a line: it is up while any of them is. */
static void update(struct ich9 *p)
{
    uint32_t want = 0, changed;
    int sci = sci_line(p);

    for (unsigned i = 0; i < VIV_PCI_PIRQS; i++) {
        int isa = viv_pirq_line(p->pci.config[i < 4 ? PIRQA_ROUT + i : PIRQE_ROUT + i - 4]);

        if (!(p->pirq >> i & 1))
            continue;
        want |= 1u << (16 + i);
        if (isa >= 0)
            want |= 1u << isa;
    }
    if (p->sci && sci >= 0)
        want |= 1u << sci;
    changed = want ^ p->lines;
    p->lines = want;
    for (unsigned n = 0; n < 24; n++) {
        if (!(changed >> n & 1))
            continue;
        if (n < 16)
            viv_isa_set_irq(&p->pci.dev, n, want >> n & 1);
        else
            viv_irq_set(&p->pci.dev.board->gsi_irq[n], want >> n & 1);
    }
}

static void set_pirq(void *opaque, int pirq, int level)
{
    struct ich9 *p = opaque;

    p->pirq = (uint8_t)((p->pirq & ~(1 << pirq)) | !!level << pirq);
    update(p);
}

static void set_sci(struct viv_dev *d, bool level)
{
    struct ich9 *p = (struct ich9 *)d;

    p->sci = level;
    update(p);
}

/* ---- the rest of the PM block ---- */

static uint16_t pm_read(struct viv_dev *d, unsigned reg)
{
    const struct ich9 *p = (struct ich9 *)d;

    switch (reg & ~3u) {
    case SMI_EN:
        return p->smi_en[(reg - SMI_EN) / 2];
    case SMI_STS:
        return p->smi_sts[(reg - SMI_STS) / 2];
    }
    return 0;
}

static void write_smi_en(struct ich9 *p, uint16_t v)
{
    if (p->pci.config[GEN_PMCON] & PMCON_SMI_LOCK)
        v = (v & ~SMI_EN_GBL) | (p->smi_en[0] & SMI_EN_GBL);
    p->smi_en[0] = p->smm ? v : v | SMI_EN_APMC;
}

static void pm_write(struct viv_dev *d, unsigned reg, uint16_t v)
{
    struct ich9 *p = (struct ich9 *)d;

    if (reg == SMI_EN)
        write_smi_en(p, v);
    else if (reg == SMI_EN + 2)
        p->smi_en[1] = v;
    else if (reg == SMI_STS || reg == SMI_STS + 2)
        p->smi_sts[(reg - SMI_STS) / 2] &= ~v;
}

static void apm_command(struct viv_dev *d)
{
    struct ich9 *p = (struct ich9 *)d;

    if (!p->smm || !(p->smi_en[0] & SMI_EN_APMC) || !(p->smi_en[0] & SMI_EN_GBL))
        return;
    p->smi_sts[0] |= SMI_STS_APM;
    viv_irq_pulse(p->smi_chosen & SMI_BROADCAST ? &d->board->smi_all : &d->board->smi);
}

/* ---- what firmware chooses about SMIs ---- */

static void wanted_written(void *opaque)
{
    struct ich9 *p = opaque;

    if (p->smi_settled)
        p->smi_wanted = GUINT64_TO_LE(p->smi_chosen);
}

/* features-ok is read: the choice is looked at, and is final if it can be had. */
static void settle(void *opaque)
{
    struct ich9 *p = opaque;
    uint64_t wanted = GUINT64_FROM_LE(p->smi_wanted);

    if (p->smi_settled || (wanted & ~p->smi_offered))
        return;
    p->smi_chosen = wanted;
    p->smi_settled = 1;
}

int viv_ich9_add_smi_files(struct viv_dev *d, struct viv_dev *fw_cfg, struct viv_err *err)
{
    struct ich9 *p = (struct ich9 *)d;
    uint64_t offered = GUINT64_TO_LE(p->smi_offered);
    int rc = p->smi_offered ? viv_fw_cfg_add_file(fw_cfg, "etc/smi/supported-features", &offered, sizeof(offered), NULL, err) : 0;

    if (!p->smi_offered || rc < 0)
        return rc;
    rc = viv_fw_cfg_add_writable(fw_cfg, "etc/smi/requested-features", &p->smi_wanted, sizeof(p->smi_wanted), wanted_written, p, err);
    return rc < 0 ? rc : viv_fw_cfg_add_asked(fw_cfg, "etc/smi/features-ok", &p->smi_settled, 1, settle, p, err);
}

/* ---- RCBA ---- */

static uint64_t rcba_read(void *opaque, uint64_t off, unsigned size)
{
    const struct ich9 *p = opaque;
    uint64_t v = 0;

    if (off >= RCBA_FIRST && off + size <= RCBA_FIRST + RCBA_KEPT)
        memcpy(&v, p->rcba + (off - RCBA_FIRST), size);
    return v;
}

/* What is kept: I/O APIC and HPET enables, function disables, status of the strap. */
static bool writable(uint64_t off)
{
    return off == OIC || off == OIC + 1 || (off >= HPTC && off < HPTC + 4) || (off >= FD && off < FD + 4);
}

static void rcba_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    struct ich9 *p = opaque;

    for (unsigned i = 0; i < size; i++, v >>= 8) {
        if (writable(off + i))
            p->rcba[off + i - RCBA_FIRST] = (uint8_t)v;
    }
}

static void reset_rcba(struct ich9 *p)
{
    memset(p->rcba, 0, sizeof(p->rcba));
    viv_st_le32(p->rcba + (D31IP - RCBA_FIRST), 0x03243200); /* 10.1.20, and so on: pins of functions, routes of pins */
    for (unsigned i = 0; i < 7; i++)
        viv_st_le16(p->rcba + (D31IR - RCBA_FIRST) + 2 * i, 0x3210);
    p->rcba[GCS - RCBA_FIRST] = GCS_NO_REBOOT;
}

/* ---- configuration ---- */

uint16_t viv_ich9_pm_base(struct viv_dev *d)
{
    const uint8_t *c = ((struct ich9 *)d)->pci.config;

    return c[ACPI_CNTL] & ACPI_EN ? viv_ld_le16(c + PMBASE) & 0xff80 : 0;
}

static void update_map(struct ich9 *p)
{
    const uint8_t *c = p->pci.config;
    uint32_t rcba = viv_ld_le32(c + RCBA);

    viv_acpi_pm_map(&p->pm, viv_ich9_pm_base(&p->pci.dev));
    if ((rcba & RCBA_EN) && (rcba & ~(RCBA_SIZE - 1u)))
        viv_region_map(p->rcba_region, rcba & ~(RCBA_SIZE - 1u), 1);
    else
        viv_region_unmap(p->rcba_region);
}

static void config_written(struct viv_pci_dev *d, unsigned off, unsigned len)
{
    d->wmask[GEN_PMCON] = d->config[GEN_PMCON] & PMCON_SMI_LOCK ? (uint8_t)~PMCON_SMI_LOCK : 0xff;
    update_map((struct ich9 *)d);
    update((struct ich9 *)d);
}

void viv_ich9_acpi_mode(struct viv_dev *d)
{
    viv_acpi_pm_enable(&((struct ich9 *)d)->pm);
}

void viv_ich9_power_button(struct viv_dev *d)
{
    viv_acpi_pm_power_button(&((struct ich9 *)d)->pm);
}

void viv_ich9_setup(struct viv_dev *d, const uint8_t pirq_line[VIV_PCI_PIRQS])
{
    struct ich9 *p = (struct ich9 *)d;
    uint8_t *c = p->pci.config;

    viv_st_le16(c + PMBASE, VIV_ICH9_PM_BASE | 1);
    c[ACPI_CNTL] = ACPI_EN;
    viv_st_le32(c + RCBA, VIV_ICH9_RCBA | RCBA_EN);
    for (unsigned i = 0; i < VIV_PCI_PIRQS; i++)
        c[i < 4 ? PIRQA_ROUT + i : PIRQE_ROUT + i - 4] = pirq_line[i];
    update_map(p);
    update(p);
    viv_ich9_acpi_mode(d);
}

/* ---- class ---- */

static void init_masks(struct viv_pci_dev *d)
{
    d->config[PMBASE] = 1;
    d->config[GPIOBASE] = 1;
    viv_st_le16(d->wmask + PMBASE, 0xff80);
    d->wmask[ACPI_CNTL] = ACPI_EN | SCI_SELECT;
    for (unsigned i = 0; i < 4; i++)
        d->wmask[PIRQA_ROUT + i] = d->wmask[PIRQE_ROUT + i] = 0x8f;
    d->wmask[SERIRQ_CNTL] = 0xc3;
    memset(d->wmask + LPC_DECODE, 0xff, LPC_DECODE_END - LPC_DECODE);
    memset(d->wmask + GEN_PMCON, 0xff, 4);
    d->wmask[BIOS_CNTL] = 0x01;
    viv_st_le32(d->wmask + RCBA, ~(RCBA_SIZE - 1u) | RCBA_EN);
}

static int ich9_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_pci_ids ids = {0x8086, 0x2918, 2, 0x060100, 0x1af4, 0x1100};
    static const struct viv_region_ops rcba = {rcba_read, rcba_write, 1, 4, false, false};
    struct ich9 *p = (struct ich9 *)d;
    struct viv_region_desc desc = {.name = "ich9-rcba", .kind = VIV_REGION_IO, .size = RCBA_SIZE, .ops = &rcba, .opaque = p};
    int rc = viv_acpi_pm_check(opts, "ICH9-LPC", err);

    if (!rc && viv_opts_bool(opts, "acpi-pci-hotplug-with-bridge-support"))
        rc = viv_fail(err, ENOTSUP, "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=on: root ports tell the guest themselves, by the "
                                    "registers of their slots; leave it out");
    if (!rc)
        rc = viv_pci_dev_init(&p->pci, &ids, opts, err);
    if (rc < 0)
        return rc;
    p->smm = d->board->smm;
    p->smi_offered = p->smm && viv_opts_bool(opts, "x-smi-broadcast") ? SMI_BROADCAST : 0;
    p->pm = (struct viv_acpi_pm){.dev = d, .name = "ich9-pm", .gpe = GPE0, .gpe_bytes = 8, .set_sci = set_sci,
                                 .other_sts = SMI_STS, .other_sts_bytes = 4, .other_read = pm_read, .other_write = pm_write, .apm_command = apm_command};
    viv_acpi_pm_init(&p->pm, VIV_ICH9_PM_SIZE);
    p->rcba_region = viv_region_new(d->board->mem, &desc);
    init_masks(&p->pci);
    p->pci.config_written = config_written;
    viv_pci_bus_set_pirq(d->board->pci, set_pirq, p);
    viv_pci_bus_set_route(d->board->pci, route);
    viv_pci_bus_set_reset_port(d->board->pci, &viv_reset_control_ops, &p->rc);
    return 0;
}

static void ich9_unrealize(struct viv_dev *d)
{
    struct ich9 *p = (struct ich9 *)d;

    viv_pci_bus_set_pirq(d->board->pci, NULL, NULL);
    viv_pci_bus_set_route(d->board->pci, NULL);
    viv_pci_bus_set_reset_port(d->board->pci, NULL, NULL);
    viv_acpi_pm_fini(&p->pm);
    viv_region_free(p->rcba_region);
    viv_pci_dev_fini(&p->pci);
}

static void ich9_reset(struct viv_dev *d)
{
    struct ich9 *p = (struct ich9 *)d;
    uint8_t *c = p->pci.config;

    p->pci.wmask[GEN_PMCON] = 0xff;
    viv_pci_dev_reset(&p->pci);
    c[0x4] = 7; /* always decodes, always master (13.1.3) */
    for (unsigned i = 0; i < 4; i++)
        c[PIRQA_ROUT + i] = c[PIRQE_ROUT + i] = VIV_PIRQ_OFF;
    c[SERIRQ_CNTL] = 0x10;
    p->rc = 0;
    p->smi_en[0] = p->smm ? 0 : SMI_EN_APMC;
    p->smi_en[1] = p->smi_sts[0] = p->smi_sts[1] = 0;
    p->smi_chosen = p->smi_wanted = 0;
    p->smi_settled = 0;
    reset_rcba(p);
    viv_acpi_pm_reset(&p->pm);
    update_map(p);
    update(p);
}

static int ich9_post_load(void *obj, int version, struct viv_err *err)
{
    struct ich9 *p = obj;

    p->rc &= VIV_RESET_TYPE;
    p->lines &= 0xffffff;
    if (p->smm != !!p->pci.dev.board->smm)
        return viv_acpi_pm_other_smm("ICH9-LPC", p->smm, err);
    if (!p->smm)
        p->smi_en[0] |= SMI_EN_APMC;
    if ((p->smi_chosen & ~p->smi_offered) || p->smi_settled > 1)
        return viv_fail(err, EINVAL, "ICH9-LPC: the saved machine's firmware uses SMIs in a way that this one does not offer");
    if (p->pci.config[GEN_PMCON] & PMCON_SMI_LOCK)
        p->pci.wmask[GEN_PMCON] = (uint8_t)~PMCON_SMI_LOCK;
    update_map(p);
    return 0;
}

static const struct viv_state_table ich9_state = {
    .name = "ich9-lpc",
    .ctype = "ich9",
    .version = 2, /* SMIs */
    .min_version = 2,
    .fields =
        (const struct viv_field[]){
            VIV_F_STRUCT(ich9, pci, viv_pci_dev_state),
            VIV_F_STRUCT(ich9, pm, viv_acpi_pm_state),
            VIV_F_INT(ich9, pirq),
            VIV_F_INT(ich9, sci),
            VIV_F_INT(ich9, lines),
            VIV_F_INT(ich9, rc),
            VIV_F_INTS(ich9, smi_en),
            VIV_F_INTS(ich9, smi_sts),
            VIV_F_INT(ich9, smm),
            VIV_F_CONFIG(ich9, smi_offered),
            VIV_F_INT(ich9, smi_chosen),
            VIV_F_INT(ich9, smi_wanted),
            VIV_F_INT(ich9, smi_settled),
            VIV_F_BYTES(ich9, rcba),
            VIV_F_CONFIG(ich9, rcba_region),
            VIV_F_END,
        },
    .post_load = ich9_post_load,
};

static const struct viv_opt_def props[] = {
    VIV_PCI_PROPS,
    VIV_ACPI_PM_PROPS,
    {.name = "acpi-pci-hotplug-with-bridge-support", .type = VIV_OPT_BOOL, .def = "off", .help = "off: root ports tell the guest themselves"},
    {.name = "x-smi-broadcast", .type = VIV_OPT_BOOL, .def = "on", .help = "firmware may have SMIs sent to all CPUs"},
    VIV_OPT_END,
};

const struct viv_dev_class viv_dev_ich9_lpc = {
    .name = "ICH9-LPC",
    .desc = "LPC bridge of q35 (82801IB)",
    .bus = VIV_BUS_PCI,
    .internal = true,
    .size = sizeof(struct ich9),
    .props = props,
    .state = &ich9_state,
    .realize = ich9_realize,
    .reset = ich9_reset,
    .unrealize = ich9_unrealize,
};
