#include "dev/acpi/pm.h"

#include "base/err.h"
#include "base/log.h"
#include "base/units.h"
#include "bus/isa.h"
#include "bus/vmreq.h"
#include "host/clock.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define TIMER_HZ 3579545

enum { /* offsets in the I/O block */
    PM1_STS = 0x00,
    PM1_EN = 0x02,
    PM1_CNT = 0x04,
    PM_TMR = 0x08,

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
};

/* ---- the timer ---- */

static uint64_t timer_ticks(void)
{
    return (uint64_t)((unsigned __int128)viv_clock_ns(VIV_CLOCK_GUEST) * TIMER_HZ / VIV_NS_PER_SEC);
}

/* TMR_STS is set when bit 23 changes. */
static void sample_timer(struct viv_acpi_pm *p)
{
    bool high = timer_ticks() >> 23 & 1;

    if (high != p->timer_high)
        p->pm1_sts |= STS_TMR;
    p->timer_high = high;
}

static void schedule(struct viv_acpi_pm *p)
{
    uint64_t next = ((timer_ticks() >> 23) + 1) << 23;

    if (p->pm1_en & STS_TMR)
        viv_timer_set(p->overflow, (int64_t)(((unsigned __int128)next * VIV_NS_PER_SEC + TIMER_HZ - 1) / TIMER_HZ));
    else
        viv_timer_cancel(p->overflow);
}

static void update_sci(struct viv_acpi_pm *p)
{
    bool level = p->pm1_sts & p->pm1_en & EN_ALL;

    for (unsigned i = 0; i < p->gpe_bytes; i++)
        level |= (p->gpe_sts[i] & p->gpe_en[i]) != 0;
    level &= p->pm1_cnt & CNT_SCI_EN;
    if (level == p->sci)
        return;
    p->sci = level;
    p->set_sci(p->dev, level);
}

static void overflowed(void *opaque)
{
    struct viv_acpi_pm *p = opaque;

    sample_timer(p);
    update_sci(p);
    schedule(p);
}

void viv_acpi_pm_enable(struct viv_acpi_pm *p)
{
    p->pm1_cnt |= CNT_SCI_EN;
    update_sci(p);
}

void viv_acpi_pm_power_button(struct viv_acpi_pm *p)
{
    p->pm1_sts |= STS_PWRBTN;
    update_sci(p);
}

void viv_acpi_pm_event(struct viv_acpi_pm *p, unsigned bit)
{
    g_assert(bit < 8u * p->gpe_bytes);
    p->gpe_sts[bit / 8] |= (uint8_t)(1 << bit % 8);
    update_sci(p);
}

/* ---- the I/O block: 16 bits at even offsets ---- */

/* The byte of a GPE register at `reg`, NULL where there is none. */
static uint8_t *gpe_at(struct viv_acpi_pm *p, uint64_t reg)
{
    if (reg < p->gpe || reg >= p->gpe + 2u * p->gpe_bytes)
        return NULL;
    reg -= p->gpe;
    return reg < p->gpe_bytes ? &p->gpe_sts[reg] : &p->gpe_en[reg - p->gpe_bytes];
}

static uint16_t read_reg(struct viv_acpi_pm *p, unsigned reg)
{
    const uint8_t *gpe = gpe_at(p, reg);

    if (gpe)
        return (uint16_t)(gpe[0] | gpe[1] << 8);
    switch (reg) {
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
    default:
        return p->other_read ? p->other_read(p->dev, reg) : 0;
    }
}

static void control_write(struct viv_acpi_pm *p, uint16_t v)
{
    p->pm1_cnt = v & CNT_WRITABLE;
    update_sci(p);
    if (!(v & CNT_SLP_EN))
        return;
    if ((v >> 10 & 7) == VIV_ACPI_S5)
        viv_vm_request(VIV_VM_SHUTDOWN, 0, "ACPI S5");
    else
        viv_guest_error(p->name, "sleep type %u is not supported, the guest goes on", v >> 10 & 7);
}

static void gpe_write(struct viv_acpi_pm *p, unsigned reg, uint8_t *gpe, uint16_t v)
{
    for (unsigned i = 0; i < 2; i++) {
        uint8_t byte = (uint8_t)(v >> (8 * i));

        gpe[i] = reg < p->gpe + (unsigned)p->gpe_bytes ? gpe[i] & ~byte : byte;
    }
}

static void write_reg(struct viv_acpi_pm *p, unsigned reg, uint16_t v)
{
    uint8_t *gpe = gpe_at(p, reg);

    if (gpe) {
        gpe_write(p, reg, gpe, v);
        update_sci(p);
        return;
    }
    switch (reg) {
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
    default:
        if (p->other_write)
            p->other_write(p->dev, reg, v);
        return;
    }
    update_sci(p);
}

/* The PM timer must be read whole: a dword read as two words could tear. */
static uint64_t block_read(void *opaque, uint64_t off, unsigned size)
{
    struct viv_acpi_pm *p = opaque;
    uint64_t v;

    if (off == PM_TMR && size == 4)
        return timer_ticks() & 0xffffff;
    if (size == 4)
        return read_reg(p, (unsigned)off) | (uint32_t)read_reg(p, (unsigned)off + 2) << 16;
    v = read_reg(p, (unsigned)off & ~1u);
    return size == 1 ? v >> (off & 1 ? 8 : 0) & 0xff : v;
}

/* Where written ones clear. */
static bool is_status(const struct viv_acpi_pm *p, unsigned reg)
{
    return reg == PM1_STS || (reg >= p->gpe && reg < p->gpe + (unsigned)p->gpe_bytes) ||
           (reg >= p->other_sts && reg < p->other_sts + (unsigned)p->other_sts_bytes);
}

/* A byte write changes its half of a register; of a status register it clears only bits in that half. */
static void block_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    struct viv_acpi_pm *p = opaque;
    unsigned reg = (unsigned)off & ~1u;
    uint16_t old;

    if (size == 4) {
        write_reg(p, reg, v & 0xffff);
        write_reg(p, reg + 2, (uint16_t)(v >> 16));
        return;
    }
    if (size == 1) {
        old = is_status(p, reg) ? 0 : read_reg(p, reg);
        v = off & 1 ? (old & 0xff) | (v & 0xff) << 8 : (old & 0xff00) | (v & 0xff);
    }
    write_reg(p, reg, (uint16_t)v);
}

/* ---- APM ports ---- */

static uint64_t apm_read(void *opaque, uint64_t off, unsigned size)
{
    return ((struct viv_acpi_pm *)opaque)->apm[off];
}

static void apm_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    struct viv_acpi_pm *p = opaque;

    p->apm[off] = (uint8_t)v;
    if (off)
        return;
    if (v == APM_ACPI_ENABLE)
        p->pm1_cnt |= CNT_SCI_EN;
    else if (v == APM_ACPI_DISABLE)
        p->pm1_cnt &= ~CNT_SCI_EN;
    update_sci(p);
    if (p->apm_command)
        p->apm_command(p->dev);
}

/* ---- making ---- */

int viv_acpi_pm_other_smm(const char *name, bool saved, struct viv_err *err)
{
    return viv_fail(err, EINVAL, "%s: the saved machine had system management mode %s; this one needs -machine smm=%s, too", name,
                    saved ? "on" : "off", saved ? "on" : "off");
}

int viv_acpi_pm_check(struct viv_opts *opts, const char *name, struct viv_err *err)
{
    static const char *const keys[] = {"disable_s3", "disable_s4"};

    for (unsigned i = 0; opts && i < VIV_ARRAY_SIZE(keys); i++) {
        if (!viv_opts_int(opts, keys[i]))
            return viv_fail(err, ENOTSUP, "%s.%s=0: the machine cannot be suspended; leave it out", name, keys[i]);
    }
    return 0;
}

void viv_acpi_pm_init(struct viv_acpi_pm *p, unsigned size)
{
    static const struct viv_region_ops block = {block_read, block_write, 1, 4, false, false};
    static const struct viv_region_ops apm = {apm_read, apm_write, 1, 1, false, false};
    struct viv_region_desc desc = {.name = p->name, .kind = VIV_REGION_IO, .size = size, .ops = &block, .opaque = p};

    g_assert(p->gpe_bytes <= VIV_ACPI_GPE_MOST && p->gpe_bytes % 2 == 0);
    p->block = viv_region_new(p->dev->board->io, &desc);
    desc = (struct viv_region_desc){.name = "apm", .kind = VIV_REGION_IO, .size = 2, .ops = &apm, .opaque = p};
    p->apm_ports = viv_region_new(p->dev->board->io, &desc);
    viv_region_map(p->apm_ports, 0xb2, 0);
    p->overflow = viv_timer_new(VIV_CLOCK_GUEST, overflowed, p);
}

void viv_acpi_pm_fini(struct viv_acpi_pm *p)
{
    viv_timer_free(p->overflow);
    viv_region_free(p->block);
    viv_region_free(p->apm_ports);
}

void viv_acpi_pm_reset(struct viv_acpi_pm *p)
{
    p->pm1_sts = p->pm1_en = p->pm1_cnt = 0;
    memset(p->gpe_sts, 0, sizeof(p->gpe_sts));
    memset(p->gpe_en, 0, sizeof(p->gpe_en));
    p->apm[0] = p->apm[1] = 0;
    p->timer_high = timer_ticks() >> 23 & 1;
    schedule(p);
    update_sci(p);
}

void viv_acpi_pm_map(struct viv_acpi_pm *p, uint32_t base)
{
    if (base)
        viv_region_map(p->block, base, 1);
    else
        viv_region_unmap(p->block);
}

/* ---- state ---- */

static int post_load(void *obj, int version, struct viv_err *err)
{
    struct viv_acpi_pm *p = obj;

    p->pm1_sts &= STS_ALL;
    p->pm1_en &= EN_ALL;
    p->pm1_cnt &= CNT_WRITABLE;
    return 0;
}

const struct viv_state_table viv_acpi_pm_state = {
    .name = "acpi-pm",
    .ctype = "viv_acpi_pm",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_CONFIG(viv_acpi_pm, dev),
            VIV_F_CONFIG(viv_acpi_pm, name),
            VIV_F_CONFIG(viv_acpi_pm, gpe),
            VIV_F_CONFIG(viv_acpi_pm, gpe_bytes),
            VIV_F_CONFIG(viv_acpi_pm, other_sts),
            VIV_F_CONFIG(viv_acpi_pm, other_sts_bytes),
            VIV_F_CONFIG(viv_acpi_pm, set_sci),
            VIV_F_CONFIG(viv_acpi_pm, other_read),
            VIV_F_CONFIG(viv_acpi_pm, other_write),
            VIV_F_CONFIG(viv_acpi_pm, apm_command),
            VIV_F_INT(viv_acpi_pm, pm1_sts),
            VIV_F_INT(viv_acpi_pm, pm1_en),
            VIV_F_INT(viv_acpi_pm, pm1_cnt),
            VIV_F_BYTES(viv_acpi_pm, gpe_sts),
            VIV_F_BYTES(viv_acpi_pm, gpe_en),
            VIV_F_BYTES(viv_acpi_pm, apm),
            VIV_F_INT(viv_acpi_pm, timer_high),
            VIV_F_INT(viv_acpi_pm, sci),
            VIV_F_TIMER(viv_acpi_pm, overflow),
            VIV_F_CONFIG(viv_acpi_pm, block),
            VIV_F_CONFIG(viv_acpi_pm, apm_ports),
            VIV_F_END,
        },
    .post_load = post_load,
};
