/* rtl8139: EEPROM, filter, the ring of C mode, the descriptors of C+ mode with checksums and large sends; hostile ones. */
#include "dev/net/rtl8139.h"

#include "base/bytes.h"
#include "dev/net/wire_test.h"
#include "net/csum.h"

#define IO     0xc000
#define RING   0x10000
#define RXD    0x30000
#define TXD    0x31000
#define BUFS   0x40000

extern const struct viv_dev_class viv_dev_rtl8139, viv_dev_i440fx;
const struct viv_dev_class *const rig_classes[] = {&viv_dev_i440fx, &viv_dev_rtl8139, NULL};

static const uint8_t own[6] = {0x52, 0x54, 0, 1, 2, 3}, other[6] = {0x52, 0x54, 0, 9, 9, 9},
                     multi[6] = {1, 0, 0x5e, 0, 0, 5}, broad[6] = {255, 255, 255, 255, 255, 255};

static struct rtl8139 *setup(void)
{
    struct rtl8139 *r;

    wire_setup("rtl8139", "netdev=n0,mac=52:54:00:01:02:03,addr=3");
    viv_dev_lock();
    viv_pci_config_write(rig.board.pci, 3 << 3, 0x10, IO, 4);
    viv_pci_config_write(rig.board.pci, 3 << 3, 4, 5, 2);
    r = (struct rtl8139 *)viv_pci_at(rig.board.pci, 3 << 3);
    viv_dev_unlock();
    return r;
}

static void make_frame(uint8_t *f, size_t len, const uint8_t *to)
{
    for (size_t i = 0; i < len; i++)
        f[i] = (uint8_t)(i * 3);
    memcpy(f, to, 6);
    viv_st_be16(f + 12, 0x88b5);
}

static void start_c(uint32_t rcr)
{
    out8(IO + R_CR, CR_RST);
    out32(IO + R_RBSTART, RING);
    out8(IO + R_CR, CR_RE | CR_TE);
    out32(IO + R_RCR, rcr);
}

static uint16_t eeprom(unsigned n)
{
    uint16_t v = 0;

    out8(IO + R_9346CR, 0x80);
    for (int i = 8; i >= 0; i--) {
        uint8_t bit = (0x180 | n) >> i & 1 ? 2 : 0;

        out8(IO + R_9346CR, 0x88 | bit);
        out8(IO + R_9346CR, 0x8c | bit);
    }
    for (int i = 0; i < 16; i++) {
        out8(IO + R_9346CR, 0x88);
        out8(IO + R_9346CR, 0x8c);
        v = (uint16_t)(v << 1 | (in8(IO + R_9346CR) & 1));
    }
    out8(IO + R_9346CR, 0);
    return v;
}

static void test_registers(void)
{
    struct rtl8139 *r = setup();

    g_assert_cmphex(eeprom(0), ==, 0x8129);
    g_assert_cmphex(eeprom(7), ==, 0x5452);
    g_assert_cmphex(eeprom(9), ==, 0x0302);
    for (unsigned i = 0; i < 6; i++)
        g_assert_cmphex(in8(IO + R_IDR0 + i), ==, own[i]);
    g_assert_cmphex(in32(IO + R_TCR) & 0x7cc00000, ==, 0x74800000);
    out32(IO + R_TCR, UINT32_MAX);
    g_assert_cmphex(in32(IO + R_TCR) & 0x7cc00000, ==, 0x74800000);
    g_assert_cmphex(in16(IO + R_BMSR) & 0x24, ==, 0x24);
    g_assert_cmphex(in8(IO + R_CR), ==, CR_BUFE);
    /* the timer: 1000 clocks of 30 ns */
    out16(IO + R_IMR, INT_TIMEOUT);
    out32(IO + R_TIMERINT, 1000);
    out32(IO + R_TCTR, 0);
    rig_step(29000);
    g_assert_false(r->pci.intx_level);
    rig_step(2000);
    g_assert_true(r->pci.intx_level);
    out16(IO + R_ISR, INT_TIMEOUT);
    g_assert_false(r->pci.intx_level);
    out16(IO + 0xda, 0x5f6); /* of the RTL8169 alone */
    g_assert_cmphex(in16(IO + 0xda), ==, 0);
    /* configuration takes its key */
    out8(IO + R_CONFIG1, 0x55);
    g_assert_cmphex(in8(IO + R_CONFIG1), !=, 0x55);
    out8(IO + R_9346CR, 0xc0);
    out8(IO + R_CONFIG1, 0x55);
    g_assert_cmphex(in8(IO + R_CONFIG1), ==, 0x55);
    wire_teardown();
}

static bool passes(uint32_t rcr, const uint8_t *to)
{
    uint8_t f[64];

    start_c(rcr);
    make_frame(f, sizeof(f), to);
    g_assert_true(wire_give(f, sizeof(f)));
    return !(in8(IO + R_CR) & CR_BUFE);
}

static void test_filter(void)
{
    setup();
    g_assert_true(passes(RCR_APM, own));
    g_assert_false(passes(RCR_APM | RCR_AM | RCR_AB, other));
    g_assert_true(passes(RCR_AAP, other));
    g_assert_true(passes(RCR_AB, broad));
    g_assert_false(passes(RCR_APM, broad));
    g_assert_false(passes(RCR_AM, multi));
    out32(IO + R_MAR0, UINT32_MAX);
    out32(IO + R_MAR0 + 4, UINT32_MAX);
    g_assert_true(passes(RCR_AM, multi));
    /* one bit of the 64 is its own */
    for (unsigned i = 0, hits = 0; i < 64; i++) {
        out32(IO + R_MAR0, i < 32 ? 1u << i : 0);
        out32(IO + R_MAR0 + 4, i < 32 ? 0 : 1u << (i - 32));
        hits += passes(RCR_AM, multi);
        g_assert_cmpuint(hits, <=, 1);
        if (i == 63)
            g_assert_cmpuint(hits, ==, 1);
    }
    wire_teardown();
}

static void test_ring(void)
{
    uint8_t f[1500];
    unsigned n = 0;
    uint32_t at = 0;

    setup();
    out16(IO + R_IMR, INT_ROK);
    start_c(RCR_APM); /* 8 KiB */
    make_frame(f, sizeof(f), own);
    while (wire_give(f, sizeof(f)))
        n++;
    g_assert_cmpuint(n, ==, 5); /* of 1508 bytes each */
    g_assert_cmphex(viv_ld_le16((uint8_t *)ram->hva + RING) & 0x4001, ==, 0x4001);
    g_assert_cmpuint(viv_ld_le16((uint8_t *)ram->hva + RING + 2), ==, 1504);
    g_assert_cmpmem((uint8_t *)ram->hva + RING + 4, 1500, f, 1500);
    g_assert_cmphex(in16(IO + R_ISR), ==, INT_ROK);
    /* two were read; the next wraps */
    wire.changed = 0;
    out16(IO + R_CAPR, 2 * 1508 - 16);
    g_assert_cmpuint(wire.changed, >, 0);
    g_assert_true(wire_give(f, sizeof(f)));
    g_assert_cmpuint(in16(IO + R_CBR), ==, 6 * 1508 - 8192);
    at = 5 * 1508;
    g_assert_cmpmem((uint8_t *)ram->hva + RING + at + 4, 8192 - at - 4, f, 8192 - at - 4);
    g_assert_cmpmem((uint8_t *)ram->hva + RING, 1504 - (8192 - at), f + 8192 - at - 4, 1504 - (8192 - at));
    wire_teardown();
}

static void test_wrap(void)
{
    uint8_t f[1500];

    setup();
    start_c(RCR_APM | RCR_WRAP);
    make_frame(f, sizeof(f), own);
    for (unsigned i = 0; i < 5; i++)
        g_assert_true(wire_give(f, sizeof(f)));
    out16(IO + R_CAPR, 4 * 1508 - 16);
    g_assert_true(wire_give(f, sizeof(f)));
    g_assert_cmpmem((uint8_t *)ram->hva + RING + 5 * 1508 + 4, 1500, f, 1500); /* in one piece behind the end */
    g_assert_cmpuint(in16(IO + R_CBR), ==, 6 * 1508 - 8192);
    wire_teardown();
}

static void test_send_c(void)
{
    const uint8_t *got;
    uint8_t f[100];
    size_t len;

    setup();
    start_c(RCR_APM);
    make_frame(f, sizeof(f), other);
    memcpy(at(BUFS), f, sizeof(f));
    for (unsigned i = 0; i < 6; i++) {
        out32(IO + R_TSAD0 + 4 * (i & 3), BUFS);
        out32(IO + R_TSD0 + 4 * (i & 3), 100);
        g_assert_cmphex(in32(IO + R_TSD0 + 4 * (i & 3)) & 0xffff, ==, (TSD_OWN | TSD_TOK | 100));
        g_assert_cmpuint(wire.sent->len, ==, i + 1);
    }
    got = wire_sent(5, &len);
    g_assert_cmpmem(got, len, f, 100);
    g_assert_cmphex(in16(IO + R_ISR), ==, INT_TOK);
    /* the back end is full: the driver keeps waiting */
    wire_set_full(true);
    out32(IO + R_TSD0 + 8, 100);
    g_assert_cmphex(in32(IO + R_TSD0 + 8) & TSD_OWN, ==, 0);
    wire_set_full(false);
    g_assert_cmphex(in32(IO + R_TSD0 + 8) & TSD_OWN, ==, TSD_OWN);
    g_assert_cmpuint(wire.sent->len, ==, 7);
    wire_teardown();
}

/* ---- C+ ---- */

static unsigned tail;

static void start_cplus(void)
{
    out8(IO + R_CR, CR_RST);
    out16(IO + R_CPCR, CPCR_TX | CPCR_RX | CPCR_CHECKSUM | CPCR_VLAN);
    out32(IO + R_TSAD0, TXD);
    out32(IO + R_TSAD0 + 4, 0);
    out32(IO + R_RDSAR, RXD);
    out32(IO + R_RDSAR + 4, 0);
    out8(IO + R_CR, CR_RE | CR_TE);
    out32(IO + R_RCR, RCR_APM);
    tail = 0;
}

static void tx(uint64_t addr, uint32_t word, uint32_t vlan)
{
    uint8_t *d = at(TXD + 16 * tail++);

    viv_st_le32(d, word | CP_OWN);
    viv_st_le32(d + 4, vlan);
    viv_st_le64(d + 8, addr);
}

static void rx(unsigned n, uint32_t size, bool last)
{
    uint8_t *d = at(RXD + 16 * n);

    viv_st_le32(d, CP_OWN | (last ? CP_EOR : 0) | size);
    viv_st_le32(d + 4, 0);
    viv_st_le64(d + 8, BUFS + 0x10000 + 2048 * n);
}

static void make_tcp(uint8_t *f, size_t payload)
{
    make_frame(f, 54 + payload, own);
    viv_st_be16(f + 12, 0x0800);
    memset(f + 14, 0, 40);
    f[14] = 0x45;
    viv_st_be16(f + 16, (uint16_t)(40 + payload));
    viv_st_be16(f + 18, 0xfffe);
    f[23] = 6;
    viv_st_be32(f + 26, 0x0a000001);
    viv_st_be32(f + 30, 0x0a000002);
    viv_st_be32(f + 38, 0xfffffff0);
    f[46] = 0x50;
    f[47] = 0x19;
}

static bool sums_good(const uint8_t *f, size_t len)
{
    return viv_net_fold(viv_net_sum(f + 14, 20)) == 0xffff &&
           viv_net_fold(viv_net_sum(f + 26, 8) + f[23] + (uint32_t)(len - 34) + viv_net_sum(f + 34, len - 34)) == 0xffff;
}

static void test_send_cplus(void)
{
    const uint8_t *got;
    uint8_t f[4000];
    size_t len;

    setup();
    start_cplus();
    make_tcp(f, 200);
    memcpy(at(BUFS), f, 254);
    tx(BUFS, CP_FS | 100, 0);
    tx(BUFS + 100, CP_LS | 154, 0);
    tx(BUFS, CP_FS | CP_LS | 254 | 7 << 16, 1 << 17 | 0x0520);
    out8(IO + R_TPPOLL, 0x40);
    g_assert_cmpuint(wire.sent->len, ==, 2);
    got = wire_sent(0, &len);
    g_assert_cmpmem(got, len, f, 254);
    got = wire_sent(1, &len);
    g_assert_cmpuint(len, ==, 258);
    g_assert_cmphex(viv_ld_be32(got + 12), ==, 0x81002005);
    g_assert_cmphex(viv_ld_le32(at(TXD + 32)) & CP_OWN, ==, 0);
    g_assert_cmphex(in16(IO + R_ISR), ==, INT_TOK | INT_TDU);
    /* a large one, over a back end that is full in between */
    make_tcp(f, 3500);
    memcpy(at(BUFS), f, 3554);
    wire_set_full(true);
    tx(BUFS, CP_FS | CP_LS | 1 << 27 | 1000 << 16 | 3554, 0);
    out8(IO + R_TPPOLL, 0x40);
    g_assert_cmpuint(wire.sent->len, ==, 2);
    wire_set_full(false);
    g_assert_cmpuint(wire.sent->len, ==, 6);
    for (unsigned i = 0; i < 4; i++) {
        got = wire_sent(2 + i, &len);
        g_assert_cmpuint(len, ==, i < 3 ? 1054 : 554);
        g_assert_true(sums_good(got, len));
        g_assert_cmphex(viv_ld_be16(got + 18), ==, (0xfffe + i) & 0xffff);
        g_assert_cmphex(viv_ld_be32(got + 38), ==, 0xfffffff0u + 1000 * i);
        g_assert_cmphex(got[47], ==, i < 3 ? 0x10 : 0x19);
        g_assert_cmpmem(got + 54, len - 54, f + 54 + 1000 * i, len - 54);
    }
    g_assert_cmphex(viv_ld_le32(at(TXD + 48)), ==, (CP_FS | CP_LS | 3554)); /* no error: the size of segments is gone */
    /* counters */
    out32(IO + R_TSD0 + 4, 0);
    out32(IO + R_TSD0, BUFS | 8);
    g_assert_cmphex(in32(IO + R_TSD0) & 8, ==, 0);
    g_assert_cmpuint(viv_ld_le64(at(BUFS)), ==, 6);
    wire_teardown();
}

static void test_receive_cplus(void)
{
    uint8_t f[1514];
    const uint8_t *d = at(RXD);

    setup();
    start_cplus();
    make_tcp(f, 1460);
    g_assert_false(wire_give(f, sizeof(f)));
    rx(0, 1024, false);
    g_assert_false(wire_give(f, sizeof(f))); /* not enough */
    g_assert_cmphex(viv_ld_le32(d) & CP_OWN, ==, CP_OWN);
    rx(1, 1024, true);
    g_assert_true(wire_give(f, sizeof(f)));
    g_assert_cmphex(viv_ld_le32(d) & ~0x1fffu, ==, CP_FS);
    /* done, for us, TCP over IP, whose header's checksum is wrong */
    g_assert_cmphex(viv_ld_le32(d + 16), ==, CP_EOR | CP_LS | 1 << 25 | 3 << 16 | 1 << 15 | 1518);
    g_assert_cmpmem(at(BUFS + 0x10000), 1024, f, 1024);
    g_assert_cmpmem(at(BUFS + 0x10000 + 2048), 490, f + 1024, 490);
    /* right ones, and a tag */
    viv_st_be16(f + 24, ~viv_net_fold(viv_net_sum(f + 14, 20)));
    rx(0, 2048, false);
    g_assert_true(wire_give(f, sizeof(f)));
    g_assert_cmphex(viv_ld_le32(d) >> 13 & 0x1f, ==, 1 << 3 | 1); /* TCP, its checksum is wrong */
    memmove(f + 16, f + 12, 100);
    viv_st_be32(f + 12, 0x81002005);
    rx(0, 2048, false);
    rx(1, 2048, true);
    g_assert_true(wire_give(f, 1000));
    g_assert_cmphex(viv_ld_le32(d + 16 + 4), ==, 1 << 16 | 0x0520);
    g_assert_cmpuint(viv_ld_le32(d + 16) & 0x1fff, ==, 1000);
    wire_teardown();
}

/* All descriptors are the driver's, and it gives them back: frames that wait are tried again, with a write to a register or none. */
static void test_starved(void)
{
    uint8_t f[200];

    setup();
    start_cplus();
    make_tcp(f, 146);
    rx(0, 2048, true);
    g_assert_true(wire_give(f, sizeof(f)));
    g_assert_false(wire_give(f, sizeof(f)));
    wire.changed = 0;
    rx(0, 2048, true);
    out16(IO + R_IMR, INT_ROK);
    g_assert_cmpuint(wire.changed, ==, 1);
    g_assert_true(wire_give(f, sizeof(f)));
    g_assert_false(wire_give(f, sizeof(f)));
    rx(0, 104, true); /* not enough for a frame, though it is all there is */
    g_assert_false(wire_give(f, sizeof(f)));
    rx(0, 104, false);
    g_assert_false(wire_give(f, sizeof(f)));
    wire.changed = 0;
    rx(1, 104, true);
    rig_step(20000000);
    g_assert_cmpuint(wire.changed, ==, 1);
    g_assert_true(wire_give(f, sizeof(f)));
    g_assert_false(wire_give(f, sizeof(f)));
    out8(IO + R_CR, CR_RST);
    wire.changed = 0;
    rig_step(20000000);
    g_assert_cmpuint(wire.changed, ==, 0);
    wire_teardown();
}

static void test_hostile(void)
{
    uint8_t f[1514];
    struct rtl8139 *r = setup();

    start_cplus();
    make_tcp(at(BUFS), 100);
    /* segments of one byte, 64 KiB of them: not in one call; packets that never end; parts of none */
    tx(BUFS, CP_FS | CP_LS | 1 << 27 | 1 << 16 | 0xffff, 0);
    out8(IO + R_TPPOLL, 0x40);
    g_assert_cmpuint(wire.sent->len, >, 100);
    g_assert_cmpuint(wire.sent->len, <=, 300);
    out8(IO + R_CR, CR_RST);
    g_assert_cmpuint(r->tx.len, ==, 0);
    start_cplus();
    g_ptr_array_set_size(wire.sent, 0);
    for (unsigned i = 0; i < 64; i++)
        tx(BUFS, (i ? 0 : CP_FS) | 0xffff, 0);
    out8(IO + R_TPPOLL, 0x40);
    rig_step(1000000);
    start_cplus();
    for (unsigned i = 0; i < 64; i++)
        tx(i & 1 ? RAM_SIZE - 4 : BUFS, (i & 2 ? CP_LS : 0) | 0xffff, 0);
    out8(IO + R_TPPOLL, 0x40);
    rig_step(1000000);
    g_assert_cmpuint(wire.sent->len, ==, 0);
    /* rings outside memory; buffers of no size */
    out32(IO + R_TSAD0 + 4, UINT32_MAX);
    out32(IO + R_RDSAR + 4, UINT32_MAX);
    out8(IO + R_TPPOLL, 0x40);
    make_frame(f, sizeof(f), own);
    g_assert_false(wire_give(f, sizeof(f)));
    start_cplus();
    for (unsigned i = 0; i < 64; i++)
        rx(i, 0, false);
    g_assert_false(wire_give(f, sizeof(f)));
    start_c(RCR_APM);
    out32(IO + R_RBSTART, UINT32_MAX - 100);
    g_assert_true(wire_give(f, sizeof(f)));
    wire_teardown();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rtl8139/registers", test_registers);
    g_test_add_func("/rtl8139/filter", test_filter);
    g_test_add_func("/rtl8139/ring", test_ring);
    g_test_add_func("/rtl8139/wrap", test_wrap);
    g_test_add_func("/rtl8139/send-c", test_send_c);
    g_test_add_func("/rtl8139/send-cplus", test_send_cplus);
    g_test_add_func("/rtl8139/receive-cplus", test_receive_cplus);
    g_test_add_func("/rtl8139/starved", test_starved);
    g_test_add_func("/rtl8139/hostile", test_hostile);
    return g_test_run();
}
