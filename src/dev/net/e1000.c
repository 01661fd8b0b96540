/* e1000: registers, interrupts, life. See e1000.h. */
#include "dev/net/e1000.h"

#include "base/log.h"
#include "host/clock.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

enum { BAR_REGS = 128 << 10, BAR_PORTS = 64, IO_ADDR = 0, IO_DATA = 4 };
#define ITR_UNIT_NS 256 /* 13.4.18 */

/* ---- interrupts (13.4.17 to 13.4.21) ---- */

static void update_line(struct e1000 *e)
{
    int64_t now;

    if (!(*e1000_reg(e, E_ICR) & *e1000_reg(e, E_IMS))) {
        viv_timer_cancel(e->itr_timer);
        viv_pci_set_intx(&e->pci, 0);
        return;
    }
    if (e->pci.intx_level)
        return;
    now = viv_clock_ns(VIV_CLOCK_GUEST);
    if (*e1000_reg(e, E_ITR) && now < e->itr_until) {
        viv_timer_set(e->itr_timer, e->itr_until);
        return;
    }
    e->itr_until = now + (int64_t)(*e1000_reg(e, E_ITR) & 0xffff) * ITR_UNIT_NS;
    viv_pci_set_intx(&e->pci, 1);
}

static void itr_over(void *opaque)
{
    update_line(opaque);
}

void e1000_interrupt(struct e1000 *e, uint32_t causes)
{
    *e1000_reg(e, E_ICR) |= causes & INT_ALL;
    update_line(e);
}

static uint32_t take_causes(struct e1000 *e)
{
    uint32_t v = *e1000_reg(e, E_ICR);

    *e1000_reg(e, E_ICR) = 0;
    update_line(e);
    return v;
}

/* ---- counters (13.7) ---- */

void e1000_count(struct e1000 *e, unsigned stat, uint32_t n)
{
    uint32_t *r = e1000_reg(e, stat);

    *r = *r + n < *r ? UINT32_MAX : *r + n;
}

void e1000_count64(struct e1000 *e, unsigned low, uint64_t n)
{
    uint64_t v = ((uint64_t)*e1000_reg(e, low + 4) << 32 | *e1000_reg(e, low)) + n;

    *e1000_reg(e, low) = (uint32_t)v;
    *e1000_reg(e, low + 4) = (uint32_t)(v >> 32);
}

void e1000_count_sizes(struct e1000 *e, unsigned sizes, size_t len)
{
    static const unsigned tops[] = {64, 127, 255, 511, 1023};
    unsigned i = 0;

    while (i < G_N_ELEMENTS(tops) && len > tops[i])
        i++;
    e1000_count(e, sizes + 4 * i, 1);
}

/* ---- link ---- */

bool e1000_link(struct e1000 *e)
{
    return e->link_up && *e1000_reg(e, E_CTRL) & CTRL_SLU;
}

static void link_changed(void *nic, bool up)
{
    struct e1000 *e = nic;

    if (e->link_up == up)
        return;
    e->link_up = up;
    e1000_phy_link(e);
    e1000_interrupt(e, INT_LSC);
}

static void can_receive_changed(struct e1000 *e)
{
    if (e->nic.netdev)
        viv_netdev_can_receive_changed(e->nic.netdev);
}

static void send_ready(void *nic)
{
    struct e1000 *e = nic;

    e->tx_blocked = false;
    e1000_transmit(e);
}

static void nic_info(void *nic, struct viv_nic_info *out)
{
    struct e1000 *e = nic;

    *out = (struct viv_nic_info){.id = e->pci.dev.id, .model = e->pci.dev.cls->name, .mac = e->nic.mac};
}

static void gone(void *nic)
{
    struct e1000 *e = nic;

    e->nic.netdev = NULL;
    send_ready(e);
}

static const struct viv_nic_ops nic_ops = {
    .can_receive = e1000_can_receive,
    .receive = e1000_receive,
    .receive_done = e1000_receive_done,
    .link_changed = link_changed,
    .send_ready = send_ready,
    .info = nic_info,
    .gone = gone,
};

/* ---- registers ---- */

/* Those that hold what is written, as far as the mask goes. */
static const struct {
    uint16_t from, last;
    uint32_t mask;
} kept[] = {
    {E_CTRL_EXT, E_CTRL_EXT, UINT32_MAX},
    {0x0028, 0x0030, UINT32_MAX}, /* FCAL, FCAH, FCT */
    {E_VET, E_VET, 0xffff},
    {E_ITR, E_ITR, 0xffff},
    {0x0170, 0x0178, UINT32_MAX}, /* FCTTV, TXCW */
    {E_TIPG, E_TIPG, 0x3fffffff},
    {0x0458, 0x0458, 0xffff}, /* AIFS */
    {E_LEDCTL, E_LEDCTL, UINT32_MAX},
    {E_PBA, E_PBA, 0xffff},
    {0x2160, 0x2168, UINT32_MAX}, /* FCRTL, FCRTH */
    {E_RDBAL, E_RDBAL, 0xfffffff0},
    {E_RDBAH, E_RDBAH, UINT32_MAX},
    {E_RDLEN, E_RDLEN, 0xfff80},
    {E_RDH, E_RDH, 0xffff},
    {0x2820, 0x282c, 0xffffff}, /* RDTR, RXDCTL, RADV */
    {0x2c00, 0x2c00, 0xfff},    /* RSRPD */
    {E_TDBAL, E_TDBAL, 0xfffffff0},
    {E_TDBAH, E_TDBAH, UINT32_MAX},
    {E_TDLEN, E_TDLEN, 0xfff80},
    {E_TDH, E_TDH, 0xffff},
    {0x3820, 0x3830, UINT32_MAX}, /* TIDV, TXDCTL, TADV, TSPMT */
    {E_RXCSUM, E_RXCSUM, 0x3ff},
    {E_MTA, E_MTA + 127 * 4, UINT32_MAX},
    {E_RAL, E_RAL + 31 * 4, UINT32_MAX},
    {E_VFTA, E_VFTA + 127 * 4, UINT32_MAX},
    {0x5800, 0x5820, UINT32_MAX}, /* WUC, WUFC, WUS, MANC */
};

static void chip_reset(struct e1000 *e)
{
    memset(e->reg, 0, sizeof(e->reg));
    *e1000_reg(e, E_CTRL) = 0x00000261; /* full duplex, speed by the PHY, link up, 1000 Mb/s */
    *e1000_reg(e, E_VET) = NIC_VLAN;
    *e1000_reg(e, E_TIPG) = 0x00602008;
    *e1000_reg(e, E_LEDCTL) = 0x07061302;
    *e1000_reg(e, E_PBA) = 0x00000030; /* 48 KiB for receiving */
    *e1000_reg(e, E_RXDCTL) = 0x00010000;
    for (unsigned i = 0; i < 6; i++) /* 13.5.2: the first address comes from the EEPROM */
        *e1000_reg(e, E_RAL + 4 * (i / 4)) |= (uint32_t)e->nic.mac[i] << 8 * (i % 4);
    *e1000_reg(e, E_RAL + 4) |= 1u << 31;
    e->io_addr = 0;
    microwire_reset(&e->wire);
    e->itr_until = 0;
    e->rx_used = false;
    viv_timer_cancel(e->tx_timer);
    e1000_tx_reset(e);
    update_line(e);
}

static void write_ctrl(struct e1000 *e, uint32_t v)
{
    if (v & CTRL_RST) {
        chip_reset(e);
        return;
    }
    if (v & CTRL_PHY_RST)
        e1000_phy_reset(e);
    *e1000_reg(e, E_CTRL) = v & ~(uint32_t)CTRL_PHY_RST;
    can_receive_changed(e);
}

static bool keep(struct e1000 *e, unsigned r, uint32_t v)
{
    for (size_t i = 0; i < G_N_ELEMENTS(kept); i++) {
        if (r >= kept[i].from && r <= kept[i].last) {
            *e1000_reg(e, r) = v & kept[i].mask;
            return true;
        }
    }
    return false;
}

static void reg_write(struct e1000 *e, uint64_t r, uint32_t v)
{
    switch (r) {
    case E_CTRL: write_ctrl(e, v); break;
    case E_EECD: e1000_eecd_write(e, v); break;
    case E_EERD: e1000_eerd_write(e, v); break;
    case E_MDIC: e1000_mdic_write(e, v); break;
    case E_ICR:
        *e1000_reg(e, E_ICR) &= ~v;
        update_line(e);
        break;
    case E_ICS: e1000_interrupt(e, v); break;
    case E_IMS:
        *e1000_reg(e, E_IMS) |= v & INT_ALL;
        update_line(e);
        break;
    case E_IMC:
        *e1000_reg(e, E_IMS) &= ~v;
        update_line(e);
        break;
    case E_RCTL:
    case E_RDT:
        *e1000_reg(e, (unsigned)r) = r == E_RDT ? v & 0xffff : v;
        can_receive_changed(e);
        break;
    case E_TCTL:
    case E_TDT:
        *e1000_reg(e, (unsigned)r) = r == E_TDT ? v & 0xffff : v;
        e1000_transmit(e);
        break;
    default:
        if (r >= E_REGS_END || !keep(e, (unsigned)r, v))
            viv_log(VIV_LOG_UNIMP, "e1000: write of %#x to register %#llx", v, (unsigned long long)r);
    }
}

static uint32_t reg_read(struct e1000 *e, uint64_t r)
{
    uint32_t v;

    switch (r) {
    case E_STATUS: return 0x0281 | (e1000_link(e) ? STATUS_LU : 0); /* full duplex, 1000 Mb/s */
    case E_EECD: return e1000_eecd_read(e);
    case E_ICR: return take_causes(e);
    case E_IMC:
    case E_ICS: return 0; /* write only */
    default:
        if (r >= E_REGS_END)
            return 0;
        v = *e1000_reg(e, (unsigned)r);
        if (r >= E_STATS && r < E_STATS_END)
            *e1000_reg(e, (unsigned)r) = 0;
        return v;
    }
}

static uint64_t mmio_read(void *opaque, uint64_t off, unsigned size)
{
    return reg_read(opaque, off);
}

static void mmio_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    reg_write(opaque, off, (uint32_t)v);
}

/* 13.2: a window of two ports. */
static uint64_t port_read(void *opaque, uint64_t off, unsigned size)
{
    struct e1000 *e = opaque;

    return off == IO_ADDR ? e->io_addr : off == IO_DATA ? reg_read(e, e->io_addr & ~3u) : 0;
}

static void port_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    struct e1000 *e = opaque;

    if (off == IO_ADDR)
        e->io_addr = (uint32_t)v & 0x1ffff;
    else if (off == IO_DATA)
        reg_write(e, e->io_addr & ~3u, (uint32_t)v);
}

/* ---- life ---- */

static void tx_again(void *opaque)
{
    e1000_transmit(opaque);
}

static int e1000_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_pci_ids ids = {0x8086, 0x100e, 3, 0x020000, 0x8086, 0x001e, "efi-e1000.rom"};
    static const struct viv_region_ops regs = {mmio_read, mmio_write, 4, 4, false, false};
    static const struct viv_region_ops ports = {port_read, port_write, 4, 4, false, false};
    struct e1000 *e = (struct e1000 *)d;
    struct viv_region_desc desc = {.kind = VIV_REGION_IO, .opaque = e};
    int rc = viv_pci_dev_init(&e->pci, &ids, opts, err);

    if (rc < 0)
        return rc;
    rc = nic_init(&e->nic, &e->pci, opts, &nic_ops, err);
    if (rc < 0) {
        viv_pci_dev_fini(&e->pci);
        return rc;
    }
    e->pci.config[0x3d] = 1; /* INTA# */
    desc.name = "e1000", desc.size = BAR_REGS, desc.ops = &regs;
    viv_pci_add_bar(&e->pci, 0, viv_region_new(d->board->mem, &desc), BAR_REGS, false, false, false);
    desc.name = "e1000-ports", desc.size = BAR_PORTS, desc.ops = &ports;
    viv_pci_add_bar(&e->pci, 1, viv_region_new(d->board->io, &desc), BAR_PORTS, true, false, false);
    e->itr_timer = viv_timer_new(VIV_CLOCK_GUEST, itr_over, e);
    e->tx_timer = viv_timer_new(VIV_CLOCK_GUEST, tx_again, e);
    e->tx.buf = g_malloc(TX_FRAME_MAX);
    e->link_up = e->nic.netdev && viv_netdev_link_up(e->nic.netdev);
    e1000_eeprom_fill(e);
    return 0;
}

static void e1000_unrealize(struct viv_dev *d)
{
    struct e1000 *e = (struct e1000 *)d;

    nic_fini(&e->nic, &e->pci);
    viv_timer_free(e->itr_timer);
    viv_timer_free(e->tx_timer);
    g_free(e->tx.buf);
    viv_pci_dev_fini(&e->pci);
}

static void e1000_reset(struct viv_dev *d)
{
    struct e1000 *e = (struct e1000 *)d;

    viv_pci_dev_reset(&e->pci);
    e1000_phy_reset(e);
    chip_reset(e);
}

static void e1000_vm_running(struct viv_dev *d, bool running)
{
    struct e1000 *e = (struct e1000 *)d;

    e->running = running;
    if (!running)
        return;
    e1000_transmit(e);
    can_receive_changed(e);
}

/* ---- saved state ---- */

static const struct viv_field context_fields[] = {
    VIV_F_INT(e1000_context, ipcss),  VIV_F_INT(e1000_context, ipcso), VIV_F_INT(e1000_context, tucss),
    VIV_F_INT(e1000_context, tucso),  VIV_F_INT(e1000_context, hdrlen), VIV_F_INT(e1000_context, ipcse),
    VIV_F_INT(e1000_context, tucse),  VIV_F_INT(e1000_context, mss),   VIV_F_INT(e1000_context, paylen),
    VIV_F_INT(e1000_context, tcp),    VIV_F_INT(e1000_context, ip4),   VIV_F_END,
};

static const struct viv_state_table context_state = {
    .name = "e1000-context",
    .ctype = "e1000_context",
    .version = 1,
    .min_version = 1,
    .fields = context_fields,
};

static void save_buf(struct viv_state_writer *w, const void *obj)
{
    const struct e1000_tx *t = obj;

    viv_state_put(w, t->buf, t->len);
}

static int load_buf(struct viv_state_reader *r, void *obj, int version, struct viv_err *err)
{
    struct e1000_tx *t = obj;

    if (t->len > TX_FRAME_MAX)
        return viv_fail(err, EINVAL, "a frame of %u bytes", t->len);
    return viv_state_get(r, t->buf, t->len, err);
}

static int tx_post_load(void *obj, int version, struct viv_err *err)
{
    struct e1000_tx *t = obj;
    bool any = t->len || t->segments || t->cut || t->whole || t->skip || t->ready || t->insert_vlan;

    if (t->cut && t->skip && !e1000_context_good(&t->ctx[1]))
        t->cut = false; /* as start_packet() leaves it now */
    if (t->taken > 1 << 20 || (any && !t->started) || (t->cut && !e1000_context_good(&t->ctx[1])) || (t->whole && !t->cut) ||
        (t->ready && t->len < 14) || (!t->ready && t->len > TX_FRAME_MAX - 4)) /* a tag may still go in */
        return viv_fail(err, EINVAL, "a frame that cannot be");
    return 0;
}

static const struct viv_field tx_fields[] = {
    VIV_F_BYTES(e1000_tx, desc),
    VIV_F_INT(e1000_tx, in_desc),
    VIV_F_INT(e1000_tx, taken),
    VIV_F_STRUCTS(e1000_tx, ctx, context_state),
    VIV_F_INT(e1000_tx, len),
    VIV_F_CUSTOM(e1000_tx, buf, save_buf, load_buf),
    VIV_F_BYTES(e1000_tx, header),
    VIV_F_INT(e1000_tx, segments),
    VIV_F_INT(e1000_tx, ready),
    VIV_F_INT(e1000_tx, last),
    VIV_F_INT(e1000_tx, insert_vlan),
    VIV_F_INT(e1000_tx, options),
    VIV_F_INT(e1000_tx, vlan),
    VIV_F_INT(e1000_tx, started),
    VIV_F_INT(e1000_tx, cut),
    VIV_F_INT(e1000_tx, whole),
    VIV_F_INT(e1000_tx, skip),
    VIV_F_END,
};

static const struct viv_state_table tx_state = {
    .name = "e1000-tx",
    .ctype = "e1000_tx",
    .version = 1,
    .min_version = 1,
    .fields = tx_fields,
    .post_load = tx_post_load,
};

static int post_load(void *obj, int version, struct viv_err *err)
{
    struct e1000 *e = obj;

    e->tx_blocked = false;
    viv_netdev_restore_link(e->nic.netdev, e->link_up);
    /* A back end that cuts frames may have become one that does not. */
    if (e->tx.whole && !(e->nic.netdev && viv_netdev_tx_offloads(e->nic.netdev) & VIV_NET_CSUM))
        e1000_tx_drop(e);
    return 0;
}

static const struct viv_field e1000_fields[] = {
    VIV_F_STRUCT(e1000, pci, viv_pci_dev_state),
    VIV_F_STRUCT(e1000, nic, nic_state),
    VIV_F_TIMER(e1000, itr_timer),
    VIV_F_TIMER(e1000, tx_timer),
    VIV_F_INT(e1000, itr_until),
    VIV_F_INTS(e1000, reg),
    VIV_F_INT(e1000, io_addr),
    VIV_F_CONFIG(e1000, eeprom),
    VIV_F_INTS(e1000, phy),
    VIV_F_STRUCT(e1000, wire, microwire_state),
    VIV_F_INT(e1000, link_up),
    VIV_F_DERIVED(e1000, running, "told when the VM goes on"),
    VIV_F_DERIVED(e1000, rx_used, "false between batches"),
    VIV_F_DERIVED(e1000, tx_blocked, "tried again when the VM goes on"),
    VIV_F_STRUCT(e1000, tx, tx_state),
    VIV_F_END,
};

static const struct viv_state_table e1000_state = {
    .name = "e1000",
    .ctype = "e1000",
    .version = 1,
    .min_version = 1,
    .fields = e1000_fields,
    .post_load = post_load,
};

static const struct viv_opt_def e1000_props[] = {NIC_PROPS, VIV_PCI_PROPS, VIV_OPT_END};

const struct viv_dev_class viv_dev_e1000 = {
    .name = "e1000",
    .desc = "Intel PRO/1000 (82540EM) network card",
    .bus = VIV_BUS_PCI,
    .size = sizeof(struct e1000),
    .props = e1000_props,
    .state = &e1000_state,
    .realize = e1000_realize,
    .reset = e1000_reset,
    .unrealize = e1000_unrealize,
    .vm_running = e1000_vm_running,
    .hotplug = &viv_pci_hotplug,
};
