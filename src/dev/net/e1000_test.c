/* e1000: EEPROM, PHY, filters, rings, checksums, segmentation, interrupts; rings and contexts that are hostile. */
#include "dev/net/e1000.h"

#include "base/bytes.h"
#include "dev/net/wire_test.h"
#include "net/csum.h"

#define REGS   0xfeb00000u
#define TXRING 0x10000
#define RXRING 0x20000
#define BUFS   0x40000
#define RXN    8
#define TXN    64

extern const struct viv_dev_class viv_dev_e1000, viv_dev_i440fx;
const struct viv_dev_class *const rig_classes[] = {&viv_dev_i440fx, &viv_dev_e1000, NULL};

static const uint8_t own[6] = {0x52, 0x54, 0, 1, 2, 3}, other[6] = {0x52, 0x54, 0, 9, 9, 9},
                     multi[6] = {1, 0, 0x5e, 0, 0, 5}, broad[6] = {255, 255, 255, 255, 255, 255};

static unsigned tail; /* of the transmit ring */

static uint32_t rd(unsigned r)
{
    return mem32(REGS + r);
}

static void wr(unsigned r, uint32_t v)
{
    set_mem32(REGS + r, v);
}

static struct e1000 *setup(void)
{
    struct e1000 *e;

    wire_setup("e1000", "netdev=n0,mac=52:54:00:01:02:03,addr=3");
    viv_dev_lock();
    viv_pci_config_write(rig.board.pci, 3 << 3, 0x10, REGS, 4);
    viv_pci_config_write(rig.board.pci, 3 << 3, 0x14, 0xc000, 4);
    viv_pci_config_write(rig.board.pci, 3 << 3, 4, 7, 2);
    e = (struct e1000 *)viv_pci_at(rig.board.pci, 3 << 3);
    viv_dev_unlock();
    wr(E_RDBAL, RXRING);
    wr(E_RDLEN, RXN * 16);
    wr(E_TDBAL, TXRING);
    wr(E_TDLEN, TXN * 16);
    wr(E_RCTL, RCTL_EN | RCTL_BAM | RCTL_SECRC);
    wr(E_TCTL, TCTL_EN | 8);
    tail = 0;
    return e;
}

/* ---- EEPROM and PHY ---- */

static void test_eeprom(void)
{
    uint16_t sum = 0, word = 0;

    setup();
    for (unsigned i = 0; i < 64; i++) {
        wr(E_EERD, i << 8 | 1);
        g_assert_cmphex(rd(E_EERD) & 0x10, ==, 0x10);
        sum += rd(E_EERD) >> 16;
    }
    g_assert_cmphex(sum, ==, 0xbaba);
    wr(E_EERD, 1 << 8 | 1);
    g_assert_cmphex(rd(E_EERD) >> 16, ==, 0x0100);
    /* by hand: request, select, 1 10 000010, sixteen bits */
    wr(E_EECD, 0x40);
    g_assert_cmphex(rd(E_EECD) & 0x180, ==, 0x180);
    for (int i = 8; i >= 0; i--) {
        uint32_t bit = (0x182 >> i & 1) << 2;

        wr(E_EECD, 0x42 | bit);
        wr(E_EECD, 0x43 | bit);
        wr(E_EECD, 0x42 | bit);
    }
    g_assert_false(rd(E_EECD) & 8);
    for (int i = 0; i < 16; i++) {
        wr(E_EECD, 0x43);
        word = (uint16_t)(word << 1 | (rd(E_EECD) >> 3 & 1));
        wr(E_EECD, 0x42);
    }
    g_assert_cmphex(word, ==, 0x0302);
    wire_teardown();
}

static uint16_t phy(unsigned r)
{
    wr(E_MDIC, 2 << 26 | 1 << 21 | r << 16);
    g_assert_cmphex(rd(E_MDIC) >> 28, ==, 1);
    return (uint16_t)rd(E_MDIC);
}

static void test_phy(void)
{
    struct e1000 *e = setup();

    g_assert_cmphex(phy(2), ==, 0x0141);
    g_assert_cmphex(phy(3), ==, 0x0c20);
    g_assert_cmphex(phy(1) & 0x24, ==, 0x24);
    wr(E_MDIC, 2 << 26 | 2 << 21); /* nobody there */
    g_assert_cmphex(rd(E_MDIC) >> 28, ==, 5);
    wr(E_MDIC, 1u << 26 | 1 << 21 | 3 << 16 | 0xffff); /* an identifier is not written */
    g_assert_cmphex(phy(3), ==, 0x0c20);
    g_assert_cmphex(rd(E_STATUS) & STATUS_LU, ==, STATUS_LU);
    rd(E_ICR);
    viv_dev_lock();
    wire.ops->link_changed(e, false);
    viv_dev_unlock();
    g_assert_cmphex(rd(E_STATUS) & STATUS_LU, ==, 0);
    g_assert_cmphex(phy(1) & 0x24, ==, 0);
    g_assert_cmphex(rd(E_ICR), ==, INT_LSC);
    wire_teardown();
}

/* ---- receiving ---- */

static void make_frame(uint8_t *f, size_t len, const uint8_t *to)
{
    for (size_t i = 0; i < len; i++)
        f[i] = (uint8_t)(i * 3);
    memcpy(f, to, 6);
    viv_st_be16(f + 12, 0x88b5);
}

static void rx_ring(unsigned buffers)
{
    for (unsigned i = 0; i < RXN; i++) {
        memset(at(RXRING + 16 * i), 0, 16);
        viv_st_le64(at(RXRING + 16 * i), BUFS + 4096 * i);
    }
    wr(E_RDH, 0);
    wr(E_RDT, buffers);
}

static bool passes(const uint8_t *to)
{
    uint8_t f[64];

    rx_ring(2);
    make_frame(f, sizeof(f), to);
    g_assert_true(wire_give(f, sizeof(f)));
    return rd(E_RDH) == 1;
}

static void test_filter(void)
{
    setup();
    g_assert_true(passes(own));
    g_assert_false(passes(other));
    g_assert_true(passes(broad));
    g_assert_false(passes(multi));
    wr(E_RCTL, RCTL_EN | RCTL_SECRC);
    g_assert_false(passes(broad));
    wr(E_RCTL, RCTL_EN | RCTL_UPE | RCTL_SECRC);
    g_assert_true(passes(other));
    g_assert_false(passes(multi));
    wr(E_RCTL, RCTL_EN | RCTL_MPE | RCTL_SECRC);
    g_assert_true(passes(multi));
    for (unsigned mo = 0; mo < 4; mo++) { /* 13.5.1: bits 47:36, 46:35, 45:34, 43:32 of 05:00:00:5e:00:01 */
        static const unsigned hash[] = {0x050, 0x0a0, 0x140, 0x500};

        wr(E_RCTL, RCTL_EN | RCTL_SECRC | mo << 12);
        g_assert_false(passes(multi));
        wr(E_MTA + (hash[mo] >> 5) * 4, 1u << (hash[mo] & 31));
        g_assert_true(passes(multi));
        wr(E_MTA + (hash[mo] >> 5) * 4, 0);
    }
    wr(E_RAL + 8, viv_ld_le32(other));
    wr(E_RAL + 12, 1u << 31 | viv_ld_le16(other + 4));
    g_assert_true(passes(other));
    wr(E_RAL + 12, viv_ld_le16(other + 4)); /* not valid */
    g_assert_false(passes(other));
    wire_teardown();
}

static void test_receive(void)
{
    uint8_t f[3000];
    const uint8_t *d = at(RXRING);

    setup();
    make_frame(f, sizeof(f), own);
    wr(E_IMS, INT_RXT0);
    rx_ring(0);
    g_assert_false(wire_give(f, 100)); /* no descriptor */
    wr(E_RDT, 4);
    g_assert_true(wire_give(f, 100));
    g_assert_cmphex(viv_ld_le16(d + 8), ==, 100);
    g_assert_cmphex(d[12], ==, 1 | 2 | 4); /* done, whole, checksums not looked at */
    g_assert_cmpmem(at(BUFS), 100, f, 100);
    g_assert_cmpuint(rd(E_RDH), ==, 1);
    g_assert_cmphex(rd(E_ICR) & INT_RXT0, ==, INT_RXT0);
    /* 1514 at most, until long ones are wanted; then over two buffers */
    g_assert_true(wire_give(f, 1515));
    g_assert_cmpuint(rd(E_RDH), ==, 1);
    g_assert_cmpuint(rd(E_ROC), ==, 1);
    g_assert_cmpuint(rd(E_ROC), ==, 0);
    wr(E_RCTL, RCTL_EN | RCTL_LPE | RCTL_SECRC);
    g_assert_true(wire_give(f, 3000));
    g_assert_cmpuint(rd(E_RDH), ==, 3);
    g_assert_cmphex(d[16 + 12], ==, 1);
    g_assert_cmphex(viv_ld_le16(d + 16 + 8), ==, 2048);
    g_assert_cmphex(d[32 + 12] & 3, ==, 3);
    g_assert_cmpmem(at(BUFS + 4096), 2048, f, 2048);
    g_assert_cmpmem(at(BUFS + 8192), 952, f + 2048, 952);
    g_assert_false(wire_give(f, 3000)); /* one descriptor left */
    g_assert_cmpuint(rd(E_RDH), ==, 3);
    /* a short one is filled up, and four bytes of FCS follow when they are not stripped */
    wr(E_RCTL, RCTL_EN);
    g_assert_true(wire_give(f, 20));
    g_assert_cmphex(viv_ld_le16(d + 48 + 8), ==, 64);
    g_assert_cmpuint(at(BUFS + 3 * 4096)[20], ==, 0);
    wire_teardown();
}

static void test_vlan(void)
{
    uint8_t f[100];
    const uint8_t *d = at(RXRING);

    setup();
    make_frame(f, sizeof(f), own);
    viv_st_be16(f + 12, 0x8100);
    viv_st_be16(f + 14, 0x2005);
    viv_st_be16(f + 16, 0x88b5);
    wr(E_RCTL, RCTL_EN | RCTL_SECRC | RCTL_VFE);
    rx_ring(4);
    g_assert_true(wire_give(f, sizeof(f)));
    g_assert_cmpuint(rd(E_RDH), ==, 0);
    wr(E_VFTA, 1 << 5);
    wr(E_CTRL, rd(E_CTRL) | CTRL_VME);
    g_assert_true(wire_give(f, sizeof(f)));
    g_assert_cmpuint(rd(E_RDH), ==, 1);
    g_assert_cmphex(d[12] & 8, ==, 8);
    g_assert_cmphex(viv_ld_le16(d + 14), ==, 0x2005);
    g_assert_cmpuint(viv_ld_le16(d + 8), ==, 96);
    g_assert_cmpmem(at(BUFS), 12, f, 12);
    g_assert_cmpmem(at(BUFS + 12), 84, f + 16, 84);
    wire_teardown();
}

/* ---- sending ---- */

static void tx(uint64_t addr, uint32_t word2, uint32_t word3)
{
    uint8_t *d = at(TXRING + 16 * tail);

    viv_st_le64(d, addr);
    viv_st_le32(d + 8, word2);
    viv_st_le32(d + 12, word3);
    tail = (tail + 1) % TXN;
}

enum { EOP = 1 << 24, IC = 4 << 24, TSE = 4 << 24, RS = 8 << 24, DEXT = 0x20 << 24, VLE = 0x40 << 24, DATA = DEXT | 1 << 20 };

/* An Ethernet, IPv4 and TCP header and `payload` bytes. Checksums as drivers leave them for segmentation. */
static void make_tcp(uint8_t *f, size_t payload)
{
    make_frame(f, 54 + payload, other);
    viv_st_be16(f + 12, 0x0800);
    memset(f + 14, 0, 40);
    f[14] = 0x45;
    viv_st_be16(f + 18, 0xfffe); /* identification */
    f[23] = 6;
    viv_st_be32(f + 26, 0x0a000001);
    viv_st_be32(f + 30, 0x0a000002);
    viv_st_be32(f + 38, 0xfffffff0); /* sequence */
    f[46] = 0x50;
    f[47] = 0x19; /* ACK PSH FIN */
    viv_st_be16(f + 50, viv_net_fold(viv_net_sum(f + 26, 8) + 6));
}

static void context(unsigned hdrlen, unsigned mss, unsigned payload, uint32_t cmd)
{
    uint64_t low = 14 | 24 << 8 | 33 << 16, high = 34 | 50 << 8;

    tx(low | high << 32, DEXT | cmd | payload, hdrlen << 8 | mss << 16);
}

static void check_segment(const uint8_t *f, size_t len, unsigned n, bool last)
{
    const uint8_t *ip = f + 14, *tcp = f + 34;

    g_assert_cmpuint(viv_ld_be16(ip + 2), ==, len - 14);
    g_assert_cmphex(viv_ld_be16(ip + 4), ==, (0xfffe + n) & 0xffff);
    g_assert_cmphex(viv_net_fold(viv_net_sum(ip, 20)), ==, 0xffff);
    g_assert_cmphex(viv_ld_be32(tcp + 4), ==, 0xfffffff0u + n * 1000);
    g_assert_cmphex(tcp[13], ==, last ? 0x19 : 0x10);
    g_assert_cmphex(viv_net_fold(viv_net_sum(ip + 12, 8) + 6 + (uint32_t)(len - 34) + viv_net_sum(tcp, len - 34)), ==, 0xffff);
}

static void test_send(void)
{
    const uint8_t *d = at(TXRING), *got;
    uint8_t f[300];
    size_t len;

    setup();
    make_frame(f, sizeof(f), other);
    memcpy(at(BUFS), f, sizeof(f));
    tx(BUFS, 100, 0);
    tx(BUFS + 100, 200 | EOP | RS, 0);
    tx(BUFS, 20 | EOP, 0);
    wr(E_TDT, tail);
    g_assert_cmpuint(wire.sent->len, ==, 2);
    got = wire_sent(0, &len);
    g_assert_cmpmem(got, len, f, 300);
    wire_sent(1, &len);
    g_assert_cmpuint(len, ==, 60);
    g_assert_cmpuint(rd(E_TDH), ==, 3);
    g_assert_cmphex(d[12], ==, 0); /* only where it was asked for */
    g_assert_cmphex(d[16 + 12], ==, 1);
    g_assert_cmphex(rd(E_ICR), ==, INT_TXDW | INT_TXQE);
    /* a checksum the old way, and a tag */
    wr(E_CTRL, rd(E_CTRL) | CTRL_VME);
    tx(BUFS, 300 | EOP | IC | VLE | 16 << 16, 34 << 8 | 0x2005 << 16);
    wr(E_TDT, tail);
    got = wire_sent(2, &len);
    g_assert_cmpuint(len, ==, 304);
    g_assert_cmphex(viv_ld_be32(got + 12), ==, 0x81002005);
    g_assert_cmphex(viv_ld_be16(got + 20), ==, (uint16_t)~viv_net_fold(viv_net_sum(f + 34, 266)));
    g_assert_cmpuint(rd(E_GPTC), ==, 3);
    wire_teardown();
}

static void tso(unsigned payload)
{
    make_tcp(at(BUFS), payload);
    context(54, 1000, payload, TSE | 3 << 24 | RS);
    tx(BUFS, 54 | DATA | TSE, 3 << 8);
    tx(BUFS + 54, (payload - 10) | DATA | TSE, 0);
    tx(BUFS + 54 + payload - 10, 10 | DATA | TSE | EOP | RS, 0);
    wr(E_TDT, tail);
}

static void test_segments(void)
{
    unsigned payloads[] = {3500, 3000, 999, 1000};
    uint8_t f[5000];

    setup();
    for (unsigned k = 0; k < G_N_ELEMENTS(payloads); k++) {
        unsigned payload = payloads[k], n = (payload + 999) / 1000, before = wire.sent->len, seen = 0;

        tso(payload);
        make_tcp(f, payload);
        g_assert_cmpuint(wire.sent->len - before, ==, n);
        for (unsigned i = 0; i < n; i++) {
            size_t len;
            const uint8_t *got = wire_sent(before + i, &len);

            check_segment(got, len, i, i == n - 1);
            g_assert_cmpmem(got + 54, len - 54, f + 54 + seen, MIN(1000, payload - seen));
            seen += (unsigned)len - 54;
        }
        g_assert_cmpuint(seen, ==, payload);
    }
    g_assert_cmpuint(rd(E_TSCTC), ==, 4);
    wire_teardown();
}

/* A back end that cuts gets it whole. */
static void test_whole(void)
{
    const uint8_t *got;
    size_t len;

    setup();
    wire.tx_offloads = VIV_NET_CSUM | VIV_NET_TSO4;
    tso(3500);
    g_assert_cmpuint(wire.sent->len, ==, 1);
    got = wire_sent(0, &len);
    g_assert_cmpuint(len, ==, 3554);
    g_assert_cmpuint(wire.hdr.gso_type, ==, VIV_NET_GSO_TCPV4);
    g_assert_cmpuint(wire.hdr.gso_size, ==, 1000);
    g_assert_cmpuint(wire.hdr.csum_start, ==, 34);
    g_assert_cmpuint(wire.hdr.csum_offset, ==, 16);
    g_assert_cmphex(viv_net_fold(viv_net_sum(got + 14, 20)), ==, 0xffff);
    g_assert_cmpuint(viv_ld_be16(got + 16), ==, 3540);
    g_assert_cmphex(viv_ld_be16(got + 50), ==, viv_net_fold(viv_net_sum(got + 26, 8) + 6 + 3520));
    wire_teardown();
}

/* The back end is full in the middle of a packet, and the machine is saved there. */
static void test_full(void)
{
    g_autofree uint8_t *state = NULL;
    size_t size, len;

    setup();
    wire_set_full(true);
    tso(3500);
    g_assert_cmpuint(wire.sent->len, ==, 0);
    state = rig_save(&size);
    wire_teardown();
    setup();
    make_tcp(at(BUFS), 3500);
    tail = 0;
    context(54, 1000, 3500, TSE | 3 << 24 | RS);
    tx(BUFS, 54 | DATA | TSE, 3 << 8);
    tx(BUFS + 54, 3490 | DATA | TSE, 0);
    tx(BUFS + 3544, 10 | DATA | TSE | EOP | RS, 0);
    viv_dev_lock();
    viv_dev_set_running_all(false);
    viv_dev_unlock();
    rig_load(state, size);
    viv_dev_lock();
    viv_dev_set_running_all(true);
    viv_dev_unlock();
    g_assert_cmpuint(wire.sent->len, ==, 4);
    for (unsigned i = 0; i < 4; i++) {
        const uint8_t *got = wire_sent(i, &len);

        check_segment(got, len, i, i == 3);
    }
    wire_teardown();
}

/* A saved packet that has begun to be cut and has not begun: its flags are the last bytes. */
static void test_damaged(void)
{
    g_autofree uint8_t *state = NULL;
    size_t len;

    setup();
    viv_dev_lock();
    viv_dev_set_running_all(false);
    viv_dev_unlock();
    state = rig_save(&len);
    rig_load(state, len);
    for (size_t i = 1; i <= 3; i++) { /* skip, whole, cut */
        state[len - i] ^= 1;
        rig_load_refused(state, len, "a frame that cannot be");
        state[len - i] ^= 1;
    }
    wire_teardown();
}

static void test_hostile(void)
{
    struct e1000 *e = setup();
    uint8_t f[64];

    /* contexts without a segment size, with fields outside the header, in the middle of a packet */
    context(54, 0, 100, TSE | 3 << 24);
    tx(BUFS, 200 | DATA | TSE | EOP | RS, 3 << 8);
    context(40, 1000, 100, TSE | 3 << 24);
    tx(BUFS, 200 | DATA | TSE | EOP | RS, 3 << 8);
    context(255, 0xffff, 100, TSE | 3 << 24);
    tx(BUFS, 0xfffff | DATA | TSE, 3 << 8);
    context(54, 1, 100, TSE | 3 << 24);
    tx(BUFS, 0xfffff | DATA | TSE | EOP, 3 << 8);
    tx(BUFS, 0xfffff | DATA, 0); /* longer than any frame */
    tx(RAM_SIZE - 10, 100 | EOP | RS, 0); /* not in memory */
    tx(BUFS, 5 | EOP | RS, 0); /* no frame at all */
    wr(E_TDT, tail);
    rig_step(1000000);
    g_assert_cmpuint(rd(E_TDH), ==, tail);
    g_assert_cmpuint(wire.sent->len, <, 40);
    /* a million segments of one byte: not in one call */
    g_ptr_array_set_size(wire.sent, 0);
    context(54, 1, 0xfffff, TSE | 3 << 24);
    make_tcp(at(BUFS), 100);
    tx(BUFS, 0xfffff | DATA | TSE | EOP | RS, 3 << 8);
    wr(E_TDT, tail);
    g_assert_cmpuint(wire.sent->len, >, 10);
    g_assert_cmpuint(wire.sent->len, <=, 600);
    wr(E_CTRL, CTRL_RST);
    g_assert_cmpuint(e->tx.len, ==, 0);
    /* rings outside memory, heads and tails outside rings */
    wr(E_TCTL, TCTL_EN);
    wr(E_RCTL, RCTL_EN | RCTL_UPE);
    wr(E_TDBAH, 0xffffffff);
    wr(E_RDBAH, 0xffffffff);
    wr(E_TDLEN, UINT32_MAX);
    wr(E_RDLEN, UINT32_MAX);
    wr(E_TDT, 5);
    wr(E_RDT, 5);
    make_frame(f, sizeof(f), own);
    g_assert_true(wire_give(f, sizeof(f)));
    wr(E_TDLEN, 128);
    wr(E_RDLEN, 128);
    wr(E_RDH, 0xffff);
    wr(E_TDH, 0xffff);
    wr(E_TDT, 0xffff);
    g_assert_false(wire_give(f, sizeof(f)));
    wr(E_RDLEN, 0);
    wr(E_TDLEN, 0);
    wr(E_RDH, 0);
    wr(E_TDT, 1);
    g_assert_false(wire_give(f, sizeof(f)));
    wire_teardown();
}

/* ---- interrupts ---- */

static void test_interrupts(void)
{
    struct e1000 *e = setup();

    wr(E_IMS, INT_LSC);
    wr(E_ICS, INT_TXDW);
    g_assert_false(e->pci.intx_level);
    wr(E_ICS, INT_LSC);
    g_assert_true(e->pci.intx_level);
    g_assert_cmphex(rd(E_ICR), ==, INT_LSC | INT_TXDW);
    g_assert_false(e->pci.intx_level);
    wr(E_ITR, 1000); /* 256 us apart */
    wr(E_ICS, INT_LSC);
    g_assert_true(e->pci.intx_level);
    rd(E_ICR);
    wr(E_ICS, INT_LSC);
    g_assert_false(e->pci.intx_level);
    rig_step(250000);
    g_assert_false(e->pci.intx_level);
    rig_step(7000);
    g_assert_true(e->pci.intx_level);
    wr(E_IMC, INT_LSC);
    g_assert_false(e->pci.intx_level);
    out32(0xc000, E_STATUS); /* through the ports */
    g_assert_cmphex(in32(0xc004), ==, rd(E_STATUS));
    wire_teardown();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/e1000/eeprom", test_eeprom);
    g_test_add_func("/e1000/phy", test_phy);
    g_test_add_func("/e1000/filter", test_filter);
    g_test_add_func("/e1000/receive", test_receive);
    g_test_add_func("/e1000/vlan", test_vlan);
    g_test_add_func("/e1000/send", test_send);
    g_test_add_func("/e1000/segments", test_segments);
    g_test_add_func("/e1000/whole", test_whole);
    g_test_add_func("/e1000/full", test_full);
    g_test_add_func("/e1000/hostile", test_hostile);
    g_test_add_func("/e1000/damaged", test_damaged);
    g_test_add_func("/e1000/interrupts", test_interrupts);
    return g_test_run();
}
