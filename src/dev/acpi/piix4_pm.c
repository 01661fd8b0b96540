/* PIIX4 power management (82371AB, function 3): ACPI's fixed hardware. (Intel 290562-001, chapter 7; ACPI 6.4, 4.8.3.)
 *
 * PM1a event and control, the 24-bit PM timer, general-purpose events, the APM ports B2h/B3h that firmware
 * names as SMI_CMD, and the SMBus host with no device behind it (every transaction ends in a device error). The
 * SCI is ISA line 9, level.
 *
 * Left out: SMIs (an ACPI-enable command sets SCI_EN at once, as the firmware's handler would), clock control,
 * sleep states other than S5. */
#include "dev/acpi/piix4_pm.h"

#include "base/bytes.h"
#include "base/log.h"
#include "base/units.h"
#include "bus/isa.h"
#include "bus/pci.h"
#include "bus/vmreq.h"
#include "host/clock.h"

#include <errno.h>

#define TIMER_HZ  3579545
#define SCI_LINE  9
#define PMBASE    0x40
#define PMREGMISC 0x80
#define SMBBASE   0x90
#define DEVACTB   0x58
#define DEVACTB_APMC_EN (1u << 25) /* a write to B2h raises an SMI */
#define SMBHSTCFG 0xd2

enum { /* offsets in the I/O block */
       PM1_STS = 0x00,
       PM1_EN = 0x02,
       PM1_CNT = 0x04,
       PM_TMR = 0x08,
       GPE_STS = 0x0c,
       GPE_EN = 0x0e,

       STS_TMR = 1 << 0,
       STS_GBL = 1 << 5,
       STS_PWRBTN = 1 << 8,
       STS_RTC = 1 << 10,
       STS_WAK = 1 << 15,
       STS_ALL = STS_TMR | STS_GBL | STS_PWRBTN | STS_RTC | STS_WAK,
       EN_ALL = STS_TMR | STS_GBL | STS_PWRBTN | STS_RTC,
       CNT_SCI_EN = 1 << 0,
       CNT_SLP_EN = 1 << 13,
       CNT_WRITABLE = 0x1c07,

       APM_ACPI_ENABLE = 0xf1,
       APM_ACPI_DISABLE = 0xf0,
       SMB_STS_DEV_ERR = 4,
       SMB_STS_W1C = 0x1e,
       SMB_CNT_START = 0x40,
};

struct piix4_pm {
    struct viv_pci_dev pci;
    uint16_t pm1_sts, pm1_en, pm1_cnt;
    uint16_t gpe_sts, gpe_en;
    uint8_t apm[2];  /* command, status */
    uint8_t smb[16]; /* SMBus host registers */
    bool timer_high; /* bit 23 of the timer when it was last looked at */
    bool sci;
    struct viv_timer *overflow; /* when bit 23 changes next, while someone wants to know */
    struct viv_region *block, *apm_ports, *smbus;
};

/* ---- the timer ---- */

static uint64_t timer_ticks(void)
{
    return (uint64_t)((unsigned __int128)viv_clock_ns(VIV_CLOCK_GUEST) * TIMER_HZ / VIV_NS_PER_SEC);
}

/* TMR_STS is set when bit 23 changes. */
static void sample_timer(struct piix4_pm *p)
{
    bool high = timer_ticks() >> 23 & 1;

    if (high != p->timer_high)
        p->pm1_sts |= STS_TMR;
    p->timer_high = high;
}

static void schedule(struct piix4_pm *p)
{
    uint64_t next = ((timer_ticks() >> 23) + 1) << 23;

    if (p->pm1_en & STS_TMR)
        viv_timer_set(
            p->overflow,
            (int64_t)(((unsigned __int128)next * VIV_NS_PER_SEC + TIMER_HZ - 1) / TIMER_HZ));
    else
        viv_timer_cancel(p->overflow);
}

static void update_sci(struct piix4_pm *p)
{
    bool level = (p->pm1_cnt & CNT_SCI_EN) &&
                 ((p->pm1_sts & p->pm1_en & EN_ALL) || (p->gpe_sts & p->gpe_en));

    if (level == p->sci)
        return;
    p->sci = level;
    viv_isa_set_irq(&p->pci.dev, SCI_LINE, level);
}

static void overflowed(void *opaque)
{
    struct piix4_pm *p = opaque;

    sample_timer(p);
    update_sci(p);
    schedule(p);
}

void viv_piix4_pm_power_button(struct viv_dev *d)
{
    struct piix4_pm *p = (struct piix4_pm *)d;

    p->pm1_sts |= STS_PWRBTN;
    update_sci(p);
}

/* ---- the I/O block ---- */

static uint64_t block_read(void *opaque, uint64_t off, unsigned size)
{
    struct piix4_pm *p = opaque;

    switch (off) {
    case PM1_STS:
        sample_timer(p);
        return p->pm1_sts;
    case PM1_EN:
        return p->pm1_en;
    case PM1_CNT:
        return p->pm1_cnt;
    case PM_TMR:
        return timer_ticks() & 0xffff;
    case PM_TMR + 2:
        return timer_ticks() >> 16 & 0xff;
    case GPE_STS:
        return p->gpe_sts;
    case GPE_EN:
        return p->gpe_en;
    default:
        return 0;
    }
}

static void control_write(struct piix4_pm *p, uint16_t v)
{
    p->pm1_cnt = v & CNT_WRITABLE;
    update_sci(p);
    if (!(v & CNT_SLP_EN))
        return;
    if ((v >> 10 & 7) == VIV_PIIX4_S5)
        viv_vm_request(VIV_VM_SHUTDOWN, 0, "ACPI S5");
    else
        viv_guest_error("piix4-pm", "sleep type %u is not supported, the guest goes on",
                        v >> 10 & 7);
}

static void block_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
    struct piix4_pm *p = opaque;
    uint16_t v = (uint16_t)value;

    switch (off) {
    case PM1_STS:
        sample_timer(p);
        p->pm1_sts &= ~v;
        break;
    case PM1_EN:
        sample_timer(p);
        p->pm1_en = v & EN_ALL;
        schedule(p);
        break;
    case PM1_CNT:
        control_write(p, v);
        return;
    case GPE_STS:
        p->gpe_sts &= ~v;
        break;
    case GPE_EN:
        p->gpe_en = v;
        break;
    }
    update_sci(p);
}

/* The PM timer must be read whole: a dword read as two words could tear. */
static uint64_t wide_read(void *opaque, uint64_t off, unsigned size)
{
    uint64_t v;

    if (off == PM_TMR && size == 4)
        return timer_ticks() & 0xffffff;
    if (size == 4)
        return block_read(opaque, off, 2) | block_read(opaque, off + 2, 2) << 16;
    v = block_read(opaque, off & ~1ull, 2);
    return size == 1 ? v >> (off & 1 ? 8 : 0) & 0xff : v;
}

/* A byte write changes its half of a register; of a status register it clears only bits in that half. */
static void wide_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    uint64_t reg = off & ~1ull;
    uint16_t old;

    if (size == 4) {
        block_write(opaque, off, v & 0xffff, 2);
        block_write(opaque, off + 2, v >> 16, 2);
        return;
    }
    if (size == 1) {
        old = reg == PM1_STS || reg == GPE_STS ? 0 : (uint16_t)block_read(opaque, reg, 2);
        v = off & 1 ? (old & 0xff) | (v & 0xff) << 8 : (old & 0xff00) | (v & 0xff);
    }
    block_write(opaque, reg, v, 2);
}

/* ---- APM ports ---- */

static uint64_t apm_read(void *opaque, uint64_t off, unsigned size)
{
    return ((struct piix4_pm *)opaque)->apm[off];
}

static void apm_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    struct piix4_pm *p = opaque;

    p->apm[off] = (uint8_t)v;
    if (off)
        return;
    if (v == APM_ACPI_ENABLE)
        p->pm1_cnt |= CNT_SCI_EN;
    else if (v == APM_ACPI_DISABLE)
        p->pm1_cnt &= ~CNT_SCI_EN;
    update_sci(p);
}

/* ---- SMBus host: an empty bus ---- */

static uint64_t smb_read(void *opaque, uint64_t off, unsigned size)
{
    return ((struct piix4_pm *)opaque)->smb[off];
}

static void smb_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    struct piix4_pm *p = opaque;

    if (off == 0) {
        p->smb[0] &= ~((uint8_t)v & SMB_STS_W1C);
        return;
    }
    p->smb[off] = (uint8_t)v;
    if (off == 2 && (v & SMB_CNT_START)) {
        p->smb[2] &= ~SMB_CNT_START;
        p->smb[0] |= SMB_STS_DEV_ERR; /* nobody acknowledges the address */
    }
}

/* ---- mapping ---- */

static void map_block(struct viv_region *r, uint32_t base, bool enabled)
{
    if (enabled && base)
        viv_region_map(r, base, 1);
    else
        viv_region_unmap(r);
}

static void update_map(struct piix4_pm *p)
{
    const uint8_t *c = p->pci.config;

    map_block(p->block, viv_ld_le16(c + PMBASE) & 0xffc0, c[PMREGMISC] & 1);
    map_block(p->smbus, viv_ld_le16(c + SMBBASE) & 0xfff0, c[SMBHSTCFG] & 1);
}

static void config_written(struct viv_pci_dev *d, unsigned off, unsigned len)
{
    if (off >= PMBASE)
        update_map((struct piix4_pm *)d);
}

void viv_piix4_pm_setup(struct viv_dev *d, uint16_t base)
{
    struct piix4_pm *p = (struct piix4_pm *)d;

    viv_st_le16(p->pci.config + PMBASE, (base & 0xffc0) | 1);
    p->pci.config[PMREGMISC] = 1;
    update_map(p);
    viv_piix4_pm_acpi_mode(d);
}

void viv_piix4_pm_acpi_mode(struct viv_dev *d)
{
    struct piix4_pm *p = (struct piix4_pm *)d;

    p->pm1_cnt |= CNT_SCI_EN;
    update_sci(p);
}

/* ---- class ---- */

static int piix4_pm_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_pci_ids ids = {0x8086, 0x7113, 3, 0x068000, 0x1af4, 0x1100};
    static const struct viv_region_ops block = {wide_read, wide_write, 1, 4, false, false};
    static const struct viv_region_ops apm = {apm_read, apm_write, 1, 1, false, false};
    static const struct viv_region_ops smb = {smb_read, smb_write, 1, 1, false, false};
    struct piix4_pm *p = (struct piix4_pm *)d;
    struct viv_region_desc desc = {
        .name = "piix4-pm", .kind = VIV_REGION_IO, .size = 64, .ops = &block, .opaque = p};
    int r = viv_pci_dev_init(&p->pci, &ids, opts, err);

    if (r < 0)
        return r;
    p->block = viv_region_new(d->board->io, &desc);
    desc.name = "piix4-smbus";
    desc.size = sizeof(p->smb);
    desc.ops = &smb;
    p->smbus = viv_region_new(d->board->io, &desc);
    p->apm_ports = viv_isa_add_ports(d, "apm", 0xb2, 2, &apm);
    p->overflow = viv_timer_new(VIV_CLOCK_GUEST, overflowed, p);

    p->pci.config[0x3d] = 1; /* pin A; the chip raises line 9 by itself */
    p->pci.config[PMBASE] = 1;
    p->pci.config[SMBBASE] = 1;
    viv_st_le16(p->pci.wmask + PMBASE, 0xffc0);
    viv_st_le16(p->pci.wmask + SMBBASE, 0xfff0);
    p->pci.wmask[PMREGMISC] = 1;
    p->pci.wmask[SMBHSTCFG] = 0x0f;
    viv_st_le32(p->pci.wmask + DEVACTB, ~DEVACTB_APMC_EN);
    viv_st_le32(p->pci.config + DEVACTB, DEVACTB_APMC_EN); /* no SMIs: tells firmware that they are in use already */
    p->pci.config_written = config_written;
    return 0;
}

static void piix4_pm_unrealize(struct viv_dev *d)
{
    struct piix4_pm *p = (struct piix4_pm *)d;

    viv_timer_free(p->overflow);
    viv_region_free(p->block);
    viv_region_free(p->smbus);
    viv_region_free(p->apm_ports);
    viv_pci_dev_fini(&p->pci);
}

static void piix4_pm_reset(struct viv_dev *d)
{
    struct piix4_pm *p = (struct piix4_pm *)d;

    viv_pci_dev_reset(&p->pci);
    p->pm1_sts = p->pm1_en = p->pm1_cnt = 0;
    p->gpe_sts = p->gpe_en = 0;
    p->apm[0] = p->apm[1] = 0;
    for (unsigned i = 0; i < sizeof(p->smb); i++)
        p->smb[i] = 0;
    p->timer_high = timer_ticks() >> 23 & 1;
    schedule(p);
    update_map(p);
    update_sci(p);
}

static int piix4_pm_post_load(void *obj, int version, struct viv_err *err)
{
    struct piix4_pm *p = obj;

    p->pm1_sts &= STS_ALL;
    p->pm1_en &= EN_ALL;
    p->pm1_cnt &= CNT_WRITABLE;
    update_map(p);
    return 0;
}

static const struct viv_state_table piix4_pm_state = {
    .name = "piix4-pm",
    .ctype = "piix4_pm",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_STRUCT(piix4_pm, pci, viv_pci_dev_state),
            VIV_F_INT(piix4_pm, pm1_sts),
            VIV_F_INT(piix4_pm, pm1_en),
            VIV_F_INT(piix4_pm, pm1_cnt),
            VIV_F_INT(piix4_pm, gpe_sts),
            VIV_F_INT(piix4_pm, gpe_en),
            VIV_F_BYTES(piix4_pm, apm),
            VIV_F_BYTES(piix4_pm, smb),
            VIV_F_INT(piix4_pm, timer_high),
            VIV_F_INT(piix4_pm, sci),
            VIV_F_TIMER(piix4_pm, overflow),
            VIV_F_CONFIG(piix4_pm, block),
            VIV_F_CONFIG(piix4_pm, apm_ports),
            VIV_F_CONFIG(piix4_pm, smbus),
            VIV_F_END,
        },
    .post_load = piix4_pm_post_load,
};

static const struct viv_opt_def props[] = {VIV_PCI_PROPS, VIV_OPT_END};

const struct viv_dev_class viv_dev_piix4_pm = {
    .name = "PIIX4_PM",
    .desc = "ACPI power management (82371AB)",
    .bus = VIV_BUS_PCI,
    .internal = true,
    .size = sizeof(struct piix4_pm),
    .props = props,
    .state = &piix4_pm_state,
    .realize = piix4_pm_realize,
    .reset = piix4_pm_reset,
    .unrealize = piix4_pm_unrealize,
};
