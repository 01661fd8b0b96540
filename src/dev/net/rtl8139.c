/* rtl8139: registers, interrupts, life. See rtl8139.h. */
#include "dev/net/rtl8139.h"

#include "base/bytes.h"
#include "base/log.h"
#include "host/clock.h"
#include "mem/dma.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

enum { BAR_SIZE = 256, PCI_CLOCK_NS = 30 };
enum { EE_DO = 1, EE_DI = 2, EE_SK = 4, EE_CS = 8, EE_MODE = 0xc0, EE_PROGRAM = 0x80, EE_CONFIG = 0xc0 };
enum { MSR_LINKB = 4, BMSR_LINK = 4, BMSR_DONE = 0x20, BMCR_RESET = 1 << 15, BMCR_RESTART = 1 << 9 };
enum { TPPOLL_SW = 1, TPPOLL_NORMAL = 0x40, TPPOLL_HIGH = 0x80, DTCCR_DUMP = 8, DTCCR_RESET = 1 };
#define TCR_VERSION 0x74800000u /* RTL8139C+ */

/* ---- interrupts ---- */

static void update_line(struct rtl8139 *r)
{
    viv_pci_set_intx(&r->pci, (viv_ld_le16(r->reg + R_ISR) & viv_ld_le16(r->reg + R_IMR)) != 0);
}

void rtl8139_interrupt(struct rtl8139 *r, uint16_t causes)
{
    viv_st_le16(r->reg + R_ISR, viv_ld_le16(r->reg + R_ISR) | causes);
    update_line(r);
}

/* ---- the timer: TCTR counts the PCI clock, TIMERINT is the count that interrupts (0: none) ---- */

static uint32_t tctr(const struct rtl8139 *r)
{
    return (uint32_t)((viv_clock_ns(VIV_CLOCK_GUEST) - r->tctr_base) / PCI_CLOCK_NS);
}

static void set_timer(struct rtl8139 *r)
{
    uint32_t when = viv_ld_le32(r->reg + R_TIMERINT), left = when - tctr(r);

    if (when)
        viv_timer_set(r->timer, viv_clock_ns(VIV_CLOCK_GUEST) + ((int64_t)(left ? left : 1) * PCI_CLOCK_NS));
    else
        viv_timer_cancel(r->timer);
}

static void timer_over(void *opaque)
{
    rtl8139_interrupt(opaque, INT_TIMEOUT);
}

/* ---- link ---- */

bool rtl8139_link(const struct rtl8139 *r)
{
    return r->link_up;
}

static void can_receive_changed(struct rtl8139 *r)
{
    if (r->nic.netdev)
        viv_netdev_can_receive_changed(r->nic.netdev);
}

static void link_changed(void *nic, bool up)
{
    struct rtl8139 *r = nic;

    if (r->link_up == up)
        return;
    r->link_up = up;
    rtl8139_interrupt(r, INT_LINK);
}

static void send_ready(void *nic)
{
    struct rtl8139 *r = nic;

    r->tx_blocked = false;
    rtl8139_send_more(r);
}

static void nic_info(void *nic, struct viv_nic_info *out)
{
    struct rtl8139 *r = nic;

    *out = (struct viv_nic_info){.id = r->pci.dev.id, .model = r->pci.dev.cls->name, .mac = r->nic.mac};
}

static void gone(void *nic)
{
    struct rtl8139 *r = nic;

    r->nic.netdev = NULL;
    send_ready(r);
}

static const struct viv_nic_ops nic_ops = {
    .can_receive = rtl8139_can_receive,
    .receive = rtl8139_receive,
    .receive_done = rtl8139_receive_done,
    .link_changed = link_changed,
    .send_ready = send_ready,
    .info = nic_info,
    .gone = gone,
};

/* ---- reset ---- */

static void eeprom_fill(struct rtl8139 *r)
{
    static const uint16_t start[] = {0x8129, 0x10ec, 0x8139, 0x10ec, 0x8139, 0x4020, 0xe110};

    memset(r->eeprom, 0, sizeof(r->eeprom));
    memcpy(r->eeprom, start, sizeof(start));
    for (unsigned i = 0; i < 3; i++)
        r->eeprom[7 + i] = (uint16_t)(r->nic.mac[2 * i] | r->nic.mac[2 * i + 1] << 8);
}

/* What CR.RST leaves alone besides: the address, filters, configuration. */
static void soft_reset(struct rtl8139 *r)
{
    static const uint8_t keep[][2] = {{R_IDR0, 6}, {R_MAR0, 8}, {R_CONFIG0, 2}, {R_CONFIG3, 2}, {R_BMCR, 10}, {R_CONFIG5, 1}};
    uint8_t old[R_END];

    memcpy(old, r->reg, sizeof(old));
    memset(r->reg, 0, sizeof(r->reg));
    for (size_t i = 0; i < G_N_ELEMENTS(keep); i++)
        memcpy(r->reg + keep[i][0], old + keep[i][0], keep[i][1]);
    for (unsigned i = 0; i < 4; i++)
        viv_st_le32(r->reg + R_TSD0 + 4 * i, TSD_OWN);
    viv_st_le16(r->reg + R_CAPR, 0xfff0);
    r->tnpds = r->rdsar = 0;
    r->rx_next = 0;
    r->rx_used = false;
    viv_timer_cancel(r->timer);
    viv_timer_cancel(r->tx_timer);
    viv_timer_cancel(r->rx_timer);
    rtl8139_tx_reset(r);
    update_line(r);
}

static void phy_reset(struct rtl8139 *r)
{
    viv_st_le16(r->reg + R_BMCR, 0x3100); /* 100 Mb/s, autonegotiation, full duplex */
    viv_st_le16(r->reg + R_ANAR, 0x05e1);
    viv_st_le16(r->reg + R_ANER, 0x0001);
}

static void rtl8139_reset(struct viv_dev *d)
{
    struct rtl8139 *r = (struct rtl8139 *)d;

    viv_pci_dev_reset(&r->pci);
    memset(r->reg, 0, sizeof(r->reg));
    soft_reset(r);
    phy_reset(r);
    memcpy(r->reg + R_IDR0, r->nic.mac, 6);
    r->reg[R_CONFIG1] = 0x0c;
    microwire_reset(&r->wire);
    memset(&r->tally, 0, sizeof(r->tally));
    r->tctr_base = viv_clock_ns(VIV_CLOCK_GUEST);
}

/* ---- the dump of counters ---- */

static void dump(struct rtl8139 *r)
{
    uint64_t to = viv_ld_le64(r->reg + R_TSD0) & ~63ull;
    uint8_t m[64] = {0};

    viv_st_le64(m, r->tally.tx_ok);
    viv_st_le64(m + 8, r->tally.rx_ok);
    viv_st_le16(m + 28, r->tally.missed);
    viv_st_le64(m + 40, r->tally.rx_phys);
    viv_st_le64(m + 48, r->tally.rx_broadcast);
    viv_st_le32(m + 56, r->tally.rx_multicast);
    if (viv_dma_write(r->pci.dev.board->mem, to, m, sizeof(m)) < 0)
        viv_guest_error("rtl8139", "counters outside memory");
    r->reg[R_TSD0] &= (uint8_t)~DTCCR_DUMP;
}

/* ---- registers ---- */

static uint8_t read8(struct rtl8139 *r, unsigned at)
{
    uint32_t t;

    switch (at) {
    case R_CR: return (uint8_t)((r->reg[R_CR] & (CR_TE | CR_RE)) | (rtl8139_ring_empty(r) ? CR_BUFE : 0));
    case R_TCR ... R_TCR + 3:
        return (uint8_t)((viv_ld_le32(r->reg + R_TCR) & ~0x7cc00000u) >> 8 * (at - R_TCR) | TCR_VERSION >> 8 * (at - R_TCR));
    case R_TCTR ... R_TCTR + 3:
        t = tctr(r);
        return (uint8_t)(t >> 8 * (at - R_TCTR));
    case R_9346CR:
        return (uint8_t)((r->reg[R_9346CR] & ~EE_DO) | (r->wire.data_out ? EE_DO : 0));
    case R_MSR: return r->link_up ? 0x10 : 0x10 | MSR_LINKB;
    case R_TSAD: /* summary of the four: OWN, then TABT, TUN, TOK */
        t = 0;
        for (unsigned i = 0; i < 4; i++)
            t |= viv_ld_le32(r->reg + R_TSD0 + 4 * i) & TSD_OWN ? 1u << i : 0;
        return (uint8_t)t;
    case R_TSAD + 1:
        t = 0;
        for (unsigned i = 0; i < 4; i++)
            t |= viv_ld_le32(r->reg + R_TSD0 + 4 * i) & TSD_TOK ? 1u << (4 + i) : 0;
        return (uint8_t)t;
    case R_BMSR: return (uint8_t)(0x09 | (r->link_up ? BMSR_LINK | BMSR_DONE : 0));
    case R_BMSR + 1: return 0x78;
    case R_ANLPAR: return r->link_up ? 0xe1 : 0;
    case R_ANLPAR + 1: return r->link_up ? 0x45 : 0;
    default: return r->reg[at];
    }
}

static uint64_t io_read(void *opaque, uint64_t off, unsigned size)
{
    struct rtl8139 *r = opaque;
    uint32_t v = 0;

    for (unsigned i = 0; i < size && off + i < R_END; i++)
        v |= (uint32_t)read8(r, (unsigned)off + i) << 8 * i;
    return v;
}

/* Bits of each byte that hold what is written; the others are read only or handled apart. Where the chip has no register there is
 * none: iPXE tells it from its successor RTL8169 by that. */
static uint8_t writable(const struct rtl8139 *r, unsigned at)
{
    switch (at) {
    case R_IDR0 ... R_IDR0 + 5:
    case R_MAR0 ... R_MAR0 + 7:
    case R_TSD0 ... R_RBSTART + 3:
    case R_CAPR ... R_CAPR + 1:
    case R_IMR ... R_IMR + 1:
    case R_TCR ... R_RCR + 3:
    case R_9346CR:
    case R_TIMERINT ... R_TIMERINT + 3:
    case R_MULINT ... R_MULINT + 1:
    case R_BMCR ... R_BMCR + 1:
    case R_ANAR ... R_ANAR + 1:
    case R_CSCR ... 0x7f: /* and PHY parameters */
    case R_CONFIG5:
    case R_RDSAR ... R_RDSAR + 7:
    case R_ETTHR:
        return 0xff;
    case R_CONFIG1: case R_CONFIG3: case R_CONFIG4: /* only while the EEPROM's command register says so */
        return (r->reg[R_9346CR] & EE_MODE) == EE_CONFIG ? 0xff : 0;
    case R_CPCR: return 0x7b;
    case R_CPCR + 1: return 0x80;
    default: return 0;
    }
}

static void write_cr(struct rtl8139 *r, uint8_t v)
{
    uint8_t was = r->reg[R_CR];

    if (v & CR_RST) {
        soft_reset(r);
        return;
    }
    r->reg[R_CR] = v & (CR_TE | CR_RE);
    if (r->reg[R_CR] & ~was & CR_RE) { /* the ring begins anew */
        viv_st_le16(r->reg + R_CBR, 0);
        r->rx_next = 0;
    }
    if (r->reg[R_CR] & ~was & CR_TE)
        r->tsd_next = 0;
    if (r->reg[R_CR] & ~was)
        can_receive_changed(r);
}

/* What a write to [at, at + size) sets off, once its bytes are in place. */
static void written(struct rtl8139 *r, unsigned at, unsigned size)
{
    unsigned end = at + size;

    if (at < R_TSD0 + 16 && end > R_TSD0) {
        if (rtl8139_cplus_tx(r) || rtl8139_cplus_rx(r)) {
            if (at == R_TSD0 && r->reg[R_TSD0] & DTCCR_DUMP)
                dump(r);
            if (at == R_TSD0 && r->reg[R_TSD0] & DTCCR_RESET)
                memset(&r->tally, 0, sizeof(r->tally));
        } else {
            rtl8139_send_c(r);
        }
    }
    if (at < R_TSAD0 + 8 && end > R_TSAD0) {
        r->tnpds = viv_ld_le64(r->reg + R_TSAD0) & ~255ull;
        r->tx_next = 0;
    }
    if (at < R_RDSAR + 8 && end > R_RDSAR) {
        r->rdsar = viv_ld_le64(r->reg + R_RDSAR) & ~255ull;
        r->rx_next = 0;
    }
    if (at < R_IMR + 2 && end > R_IMR)
        update_line(r);
    if (at < R_TIMERINT + 4 && end > R_TIMERINT)
        set_timer(r);
    if ((at < R_CAPR + 2 && end > R_CAPR) || (at < R_RCR + 4 && end > R_RCR) || (at < R_CPCR + 2 && end > R_CPCR) ||
        (at < R_IMR + 2 && end > R_IMR)) /* a driver that is through with the ring for now */
        can_receive_changed(r);
}

static void write_special(struct rtl8139 *r, unsigned at, uint8_t v)
{
    switch (at) {
    case R_CR: write_cr(r, v); break;
    case R_ISR:
    case R_ISR + 1:
        r->reg[at] &= (uint8_t)~v;
        update_line(r);
        can_receive_changed(r);
        break;
    case R_9346CR:
        if ((v & EE_MODE) == EE_PROGRAM)
            microwire_drive(&r->wire, r->eeprom, v & EE_CS, v & EE_SK, v & EE_DI);
        else
            microwire_reset(&r->wire);
        break;
    case R_TCTR:
        r->tctr_base = viv_clock_ns(VIV_CLOCK_GUEST);
        set_timer(r);
        break;
    case R_BMCR + 1:
        if (v << 8 & BMCR_RESET)
            phy_reset(r);
        r->reg[at] &= (uint8_t)~((BMCR_RESET | BMCR_RESTART) >> 8); /* done at once */
        break;
    case R_TPPOLL:
        if (v & (TPPOLL_NORMAL | TPPOLL_HIGH))
            rtl8139_send_cplus(r);
        if (v & TPPOLL_SW)
            rtl8139_interrupt(r, INT_SW);
        break;
    default:
        break;
    }
}

static void io_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    struct rtl8139 *r = opaque;
    unsigned at = (unsigned)off;

    for (unsigned i = 0; i < size && at + i < R_END; i++) {
        uint8_t b = (uint8_t)(v >> 8 * i), mask = writable(r, at + i);

        if (at + i != R_CR)
            r->reg[at + i] = (uint8_t)((r->reg[at + i] & ~mask) | (b & mask));
        write_special(r, at + i, b);
    }
    written(r, at, size);
}

/* ---- life ---- */

static void tx_again(void *opaque)
{
    rtl8139_send_more(opaque);
}

static void rx_again(void *opaque)
{
    can_receive_changed(opaque);
}

static int rtl8139_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_pci_ids ids = {0x10ec, 0x8139, 0x20, 0x020000, 0x10ec, 0x8139, "efi-rtl8139.rom"};
    static const struct viv_region_ops ops = {io_read, io_write, 1, 4, false, false};
    struct rtl8139 *r = (struct rtl8139 *)d;
    struct viv_region_desc desc = {.name = "rtl8139", .kind = VIV_REGION_IO, .size = BAR_SIZE, .ops = &ops, .opaque = r};
    int rc = viv_pci_dev_init(&r->pci, &ids, opts, err);

    if (rc < 0)
        return rc;
    rc = nic_init(&r->nic, &r->pci, opts, &nic_ops, err);
    if (rc < 0) {
        viv_pci_dev_fini(&r->pci);
        return rc;
    }
    r->pci.config[0x3d] = 1; /* INTA# */
    viv_pci_add_bar(&r->pci, 0, viv_region_new(d->board->io, &desc), BAR_SIZE, true, false, false);
    viv_pci_add_bar(&r->pci, 1, viv_region_new(d->board->mem, &desc), BAR_SIZE, false, false, false);
    r->timer = viv_timer_new(VIV_CLOCK_GUEST, timer_over, r);
    r->tx_timer = viv_timer_new(VIV_CLOCK_GUEST, tx_again, r);
    r->rx_timer = viv_timer_new(VIV_CLOCK_GUEST, rx_again, r);
    r->tx.buf = g_malloc(RTL_FRAME_MAX);
    r->link_up = r->nic.netdev && viv_netdev_link_up(r->nic.netdev);
    eeprom_fill(r);
    return 0;
}

static void rtl8139_unrealize(struct viv_dev *d)
{
    struct rtl8139 *r = (struct rtl8139 *)d;

    nic_fini(&r->nic, &r->pci);
    viv_timer_free(r->timer);
    viv_timer_free(r->tx_timer);
    viv_timer_free(r->rx_timer);
    g_free(r->tx.buf);
    viv_pci_dev_fini(&r->pci);
}

static void rtl8139_vm_running(struct viv_dev *d, bool running)
{
    struct rtl8139 *r = (struct rtl8139 *)d;

    r->running = running;
    if (!running)
        return;
    rtl8139_send_more(r);
    can_receive_changed(r);
}

/* ---- saved state ---- */

static void save_buf(struct viv_state_writer *w, const void *obj)
{
    const struct rtl8139_tx *t = obj;

    viv_state_put(w, t->buf, t->len);
}

static int load_buf(struct viv_state_reader *s, void *obj, int version, struct viv_err *err)
{
    struct rtl8139_tx *t = obj;

    if (t->len > RTL_FRAME_MAX)
        return viv_fail(err, EINVAL, "a packet of %u bytes", t->len);
    return viv_state_get(s, t->buf, t->len, err);
}

static const struct viv_field tx_fields[] = {
    VIV_F_INT(rtl8139_tx, len),
    VIV_F_CUSTOM(rtl8139_tx, buf, save_buf, load_buf),
    VIV_F_INT(rtl8139_tx, first),
    VIV_F_INT(rtl8139_tx, vlan),
    VIV_F_INT(rtl8139_tx, has_vlan),
    VIV_F_INT(rtl8139_tx, open),
    VIV_F_INT(rtl8139_tx, skip),
    VIV_F_INT(rtl8139_tx, ready),
    VIV_F_INT(rtl8139_tx, segment),
    VIV_F_END,
};

static const struct viv_state_table tx_state = {
    .name = "rtl8139-tx",
    .ctype = "rtl8139_tx",
    .version = 1,
    .min_version = 1,
    .fields = tx_fields,
};

static const struct viv_field tally_fields[] = {
    VIV_F_INT(rtl8139_tally, tx_ok),        VIV_F_INT(rtl8139_tally, rx_ok),        VIV_F_INT(rtl8139_tally, rx_phys),
    VIV_F_INT(rtl8139_tally, rx_broadcast), VIV_F_INT(rtl8139_tally, rx_multicast), VIV_F_INT(rtl8139_tally, missed),
    VIV_F_END,
};

static const struct viv_state_table tally_state = {
    .name = "rtl8139-tally",
    .ctype = "rtl8139_tally",
    .version = 1,
    .min_version = 1,
    .fields = tally_fields,
};

static int post_load(void *obj, int version, struct viv_err *err)
{
    struct rtl8139 *r = obj;

    if (r->tx_next >= CP_RING || r->rx_next >= CP_RING || r->tsd_next > 3)
        return viv_fail(err, EINVAL, "descriptors %u, %u and %u", r->tx_next, r->rx_next, r->tsd_next);
    r->tx_blocked = false;
    viv_netdev_restore_link(r->nic.netdev, r->link_up);
    return 0;
}

static const struct viv_field rtl8139_fields[] = {
    VIV_F_STRUCT(rtl8139, pci, viv_pci_dev_state),
    VIV_F_STRUCT(rtl8139, nic, nic_state),
    VIV_F_TIMER(rtl8139, timer),
    VIV_F_TIMER(rtl8139, tx_timer),
    VIV_F_DERIVED(rtl8139, rx_timer, "frames are tried again when the VM goes on"),
    VIV_F_BYTES(rtl8139, reg),
    VIV_F_CONFIG(rtl8139, eeprom),
    VIV_F_STRUCT(rtl8139, wire, microwire_state),
    VIV_F_STRUCT(rtl8139, tally, tally_state),
    VIV_F_INT(rtl8139, tnpds),
    VIV_F_INT(rtl8139, rdsar),
    VIV_F_INT(rtl8139, tx_next),
    VIV_F_INT(rtl8139, rx_next),
    VIV_F_INT(rtl8139, tsd_next),
    VIV_F_INT(rtl8139, tctr_base),
    VIV_F_INT(rtl8139, link_up),
    VIV_F_DERIVED(rtl8139, running, "told when the VM goes on"),
    VIV_F_DERIVED(rtl8139, rx_used, "false between batches"),
    VIV_F_DERIVED(rtl8139, tx_blocked, "tried again when the VM goes on"),
    VIV_F_STRUCT(rtl8139, tx, tx_state),
    VIV_F_END,
};

static const struct viv_state_table rtl8139_state = {
    .name = "rtl8139",
    .ctype = "rtl8139",
    .version = 1,
    .min_version = 1,
    .fields = rtl8139_fields,
    .post_load = post_load,
};

static const struct viv_opt_def rtl8139_props[] = {NIC_PROPS, VIV_PCI_PROPS, VIV_OPT_END};

const struct viv_dev_class viv_dev_rtl8139 = {
    .name = "rtl8139",
    .desc = "Realtek RTL8139C+ network card",
    .bus = VIV_BUS_PCI,
    .size = sizeof(struct rtl8139),
    .props = rtl8139_props,
    .state = &rtl8139_state,
    .realize = rtl8139_realize,
    .reset = rtl8139_reset,
    .unrealize = rtl8139_unrealize,
    .vm_running = rtl8139_vm_running,
    .hotplug = &viv_pci_hotplug,
};
