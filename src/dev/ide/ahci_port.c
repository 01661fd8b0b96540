/* Registers of an AHCI port (AHCI 1.3.1, 3.3), its link and its stops. The link has the unit or nothing; it is always in full power. */
#include "dev/ide/ahci.h"

#include <errno.h>
#include <glib.h>

enum { R_CLB = 0x00, R_CLBU = 0x04, R_FB = 0x08, R_FBU = 0x0c, R_IS = 0x10, R_IE = 0x14, R_CMD = 0x18, R_TFD = 0x20, R_SIG = 0x24,
       R_SSTS = 0x28, R_SCTL = 0x2c, R_SERR = 0x30, R_SACT = 0x34, R_CI = 0x38 };

enum {
    CMD_ALWAYS = 0x06,          /* spun up, powered */
    CMD_KEPT = 0x0f000000,      /* ATAPI, LEDs, aggressive slumber: kept */
    CMD_STATES = 0xf0000000,    /* ICC: a request for a power state; all are refused, as CAP says */
    SSTS_UP = 0x113,            /* active, 1.5 Gb/s, device and link */
    SSTS_OFF = 0x004,
    SCTL_DET = 15,
    DET_RESET = 1,
    DET_OFF = 4,
    SERR_EXCHANGED = 1 << 26,
    SERR_ALL = 0x07ff0f03,
    TFD_NOTHING = 0x7f,
};

void ahci_port_raise(struct ahci_port *p, uint32_t bits)
{
    p->is |= bits;
    ahci_update_irq(p->hba);
}

bool ahci_port_busy(const struct ahci_port *p)
{
    return p->ch.unit[0] && p->ch.unit[0]->resetting;
}

/* ---- stops and resets ---- */

bool ahci_port_stop(struct ahci_port *p, enum ahci_reset why)
{
    struct ide_unit *u = p->ch.unit[0];
    bool active = p->slot != AHCI_SLOTS || p->queued || why == AHCI_RESET_LINK;

    p->ci = p->sact = 0;
    p->atapi = false;
    if (!u || (!active && !u->resetting))
        return true;
    p->slot = AHCI_SLOTS;
    p->reset = (uint8_t)MAX(p->reset, why);
    if (why == AHCI_RESET_LINK)
        p->ch.control = 0;
    if (u->resetting)
        return false;
    ide_unit_reset(u); /* reset_done() comes at once, or when the last request has ended */
    return !u->resetting;
}

void ahci_port_signature(struct ahci_port *p)
{
    const struct ide_unit *u = p->ch.unit[0];

    p->sig = u->count[0] | (uint32_t)u->low[0] << 8 | (uint32_t)u->mid[0] << 16 | (uint32_t)u->high[0] << 24;
    p->tfd = u->status | (uint32_t)u->error << 8;
}

/* COMRESET, and its answer. */
static void reset_link(struct ahci_port *p)
{
    p->sig = UINT32_MAX;
    p->tfd = TFD_NOTHING;
    if (!p->ch.unit[0])
        return;
    p->tfd = IDE_BSY;
    p->serr |= SERR_EXCHANGED;
    p->is |= PORT_IRQ_CONNECT;
    ahci_port_stop(p, AHCI_RESET_LINK);
    ahci_update_irq(p->hba);
}

void ahci_port_reset(struct ahci_port *p)
{
    p->clb = p->fb = 0;
    p->is = p->ie = p->sctl = p->serr = p->sact = p->ci = 0;
    p->cmd = CMD_ALWAYS;
    p->halted = false;
    p->last = AHCI_SLOTS - 1;
    reset_link(p);
}

/* ---- registers ---- */

static uint32_t status(const struct ahci_port *p)
{
    unsigned det = p->sctl & SCTL_DET;

    if (det == DET_OFF)
        return SSTS_OFF;
    return p->ch.unit[0] && det != DET_RESET ? SSTS_UP : 0;
}

static uint32_t command(const struct ahci_port *p)
{
    bool running = (p->cmd & PORT_ST) || (p->ch.unit[0] && p->ch.unit[0]->resetting && p->reset == AHCI_RESET_STOP);

    return p->cmd | (p->cmd & PORT_FRE ? PORT_FR : 0) | (running ? PORT_CR : 0) | (uint32_t)(p->last % AHCI_SLOTS) << 8;
}

uint32_t ahci_port_read(struct ahci_port *p, unsigned reg)
{
    switch (reg) {
    case R_CLB:
        return (uint32_t)p->clb;
    case R_CLBU:
        return (uint32_t)(p->clb >> 32);
    case R_FB:
        return (uint32_t)p->fb;
    case R_FBU:
        return (uint32_t)(p->fb >> 32);
    case R_IS:
        return p->is;
    case R_IE:
        return p->ie;
    case R_CMD:
        return command(p);
    case R_TFD:
        return p->tfd;
    case R_SIG:
        return p->sig;
    case R_SSTS:
        return status(p);
    case R_SCTL:
        return p->sctl;
    case R_SERR:
        return p->serr;
    case R_SACT:
        return p->sact;
    case R_CI:
        return p->ci;
    default:
        return 0;
    }
}

static void write_command(struct ahci_port *p, uint32_t v)
{
    uint32_t old = p->cmd;

    if (v & PORT_CLO && !(v & PORT_ST)) /* the bit itself reads 0 */
        p->tfd &= ~(uint32_t)(IDE_BSY | IDE_DRQ);
    p->cmd = CMD_ALWAYS | (v & (PORT_ST | PORT_FRE | CMD_KEPT));
    if (old & PORT_ST && !(v & PORT_ST)) {
        ahci_port_stop(p, AHCI_RESET_STOP);
        p->halted = false;
    }
    if (v & PORT_FRE && !(old & PORT_FRE) && p->ch.unit[0] && p->sig != UINT32_MAX && p->slot == AHCI_SLOTS)
        ahci_send_registers(p, false); /* the signature, which had no place to go */
    ahci_issue(p);
}

static void write_control(struct ahci_port *p, uint32_t v)
{
    unsigned was = p->sctl & SCTL_DET, det = v & SCTL_DET;

    p->sctl = v & 0xfff;
    if (det == DET_RESET && was != DET_RESET)
        p->tfd = p->ch.unit[0] ? IDE_BSY : TFD_NOTHING;
    if (det == 0 && was == DET_RESET)
        reset_link(p);
}

void ahci_port_write(struct ahci_port *p, unsigned reg, uint32_t v)
{
    switch (reg) {
    case R_CLB:
        p->clb = (p->clb & ~0xffffffffull) | (v & ~1023u);
        break;
    case R_CLBU:
        p->clb = (uint32_t)p->clb | (uint64_t)v << 32;
        break;
    case R_FB:
        p->fb = (p->fb & ~0xffffffffull) | (v & ~255u);
        break;
    case R_FBU:
        p->fb = (uint32_t)p->fb | (uint64_t)v << 32;
        break;
    case R_IS:
        p->is &= ~v | PORT_IRQ_CONNECT;
        ahci_update_irq(p->hba);
        break;
    case R_IE:
        p->ie = v & PORT_IRQ_ALL;
        ahci_update_irq(p->hba);
        break;
    case R_CMD:
        write_command(p, v);
        break;
    case R_SCTL:
        write_control(p, v);
        break;
    case R_SERR:
        p->serr &= ~v;
        if (!(p->serr & SERR_EXCHANGED))
            p->is &= ~(uint32_t)PORT_IRQ_CONNECT;
        ahci_update_irq(p->hba);
        break;
    case R_SACT:
        if (p->cmd & PORT_ST)
            p->sact |= v;
        break;
    case R_CI:
        if (p->cmd & PORT_ST) {
            p->ci |= v;
            ahci_issue(p);
        }
        break;
    }
}

/* ---- making, state ---- */

void ahci_port_init(struct ahci_port *p, struct ahci *a, unsigned n, const char *name)
{
    g_autofree char *at = viv_pci_fw_path(&a->pci, "*");

    p->hba = a;
    p->n = n;
    p->slot = AHCI_SLOTS;
    ide_channel_init_serial(&p->ch, a->pci.dev.board, name, n, &ahci_host_ops, p);
    p->ch.fw_path = g_strdup_printf("%s/drive@%u", at, n);
}

void ahci_port_fini(struct ahci_port *p)
{
    ide_channel_fini(&p->ch);
}

static int post_load(void *obj, int version, struct viv_err *err)
{
    struct ahci_port *p = obj;

    p->cmd = CMD_ALWAYS | (p->cmd & (PORT_ST | PORT_FRE | CMD_KEPT));
    p->clb &= ~1023ull;
    p->fb &= ~255ull;
    if (p->slot > AHCI_SLOTS || p->last >= AHCI_SLOTS || p->reset > AHCI_RESET_LINK)
        return viv_fail(err, EINVAL, "%s: no AHCI port works on slot %u", p->ch.name, p->slot);
    return ide_post_load(&p->ch, err);
}

const struct viv_state_table ahci_port_state = {
    .name = "ahci-port",
    .ctype = "ahci_port",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_CONFIG(ahci_port, hba),
            VIV_F_CONFIG(ahci_port, n),
            VIV_F_STRUCT(ahci_port, ch, ide_channel_state),
            VIV_F_INT(ahci_port, clb),
            VIV_F_INT(ahci_port, fb),
            VIV_F_INT(ahci_port, is),
            VIV_F_INT(ahci_port, ie),
            VIV_F_INT(ahci_port, cmd),
            VIV_F_INT(ahci_port, tfd),
            VIV_F_INT(ahci_port, sig),
            VIV_F_INT(ahci_port, sctl),
            VIV_F_INT(ahci_port, serr),
            VIV_F_INT(ahci_port, sact),
            VIV_F_INT(ahci_port, ci),
            VIV_F_INT(ahci_port, slot),
            VIV_F_INT(ahci_port, last),
            VIV_F_INT(ahci_port, reset),
            VIV_F_INT(ahci_port, halted),
            VIV_F_INT(ahci_port, atapi),
            VIV_F_BYTES(ahci_port, packet),
            VIV_F_INT(ahci_port, queued),
            VIV_F_DERIVED(ahci_port, issuing, "false: nothing is on the stack when it is saved"),
            VIV_F_DERIVED(ahci_port, moving, "false: nothing is on the stack when it is saved"),
            VIV_F_END,
        },
    .post_load = post_load,
};
