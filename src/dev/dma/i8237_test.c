/* 8237 pair: registers, transfers in each direction, wrapping, terminal counts, requests that wait. */
#include "dev/dma/i8237.h"
#include "dev/test_rig.h"
#include "host/lock.h"
#include "mem/dma.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

extern const struct viv_dev_class viv_dev_i8237;
const struct viv_dev_class *const rig_classes[] = {&viv_dev_i8237, NULL};

static unsigned readies;

static void ready(void *opaque)
{
    g_assert_true(opaque == &readies);
    readies++;
}

static void test_registers(void)
{
    rig_init();
    rig_add("i8237", NULL);
    out8(0x0c, 0);
    out8(0x02, 0x34);
    out8(0x02, 0x12);
    g_assert_cmphex(in8(0x02), ==, 0x34);
    g_assert_cmphex(in8(0x02), ==, 0x12);
    out8(0xd8, 0); /* the second one's flip-flop */
    out8(0xc6, 0x78);
    out8(0xc6, 0x56);
    g_assert_cmphex(in8(0xc6), ==, 0x78);
    g_assert_cmphex(in8(0xc6), ==, 0x56);
    g_assert_cmphex(in8(0x0f), ==, 0xff);
    out8(0x0a, 2);
    g_assert_cmphex(in8(0x0f), ==, 0xfb);
    out8(0x0e, 0);
    g_assert_cmphex(in8(0x0f), ==, 0xf0);
    out8(0x0d, 0);
    g_assert_cmphex(in8(0x0f), ==, 0xff);
    out8(0x87, 0xaa);
    out8(0x487, 0xbb);
    g_assert_cmphex(in8(0x87), ==, 0xaa);
    g_assert_cmphex(in8(0x487), ==, 0xbb);
    g_assert_cmphex(in8(0x08), ==, 0);
    rig_fini();
}

static void make(void)
{
    rig_init();
    rig_add_ram(4u << 20);
    rig_add("i8237", NULL);
    readies = 0;
    out8(0xd6, 0xc0);
    out8(0xd4, 0);
}

/* Channel 2: page 81h. */
static void program(uint8_t mode, uint32_t at, uint16_t count)
{
    out8(0x0a, 6);
    out8(0x0c, 0);
    out8(0x0b, mode | 2);
    out8(0x04, (uint8_t)at);
    out8(0x04, (uint8_t)(at >> 8));
    out8(0x81, (uint8_t)(at >> 16));
    out8(0x05, (uint8_t)(count - 1));
    out8(0x05, (uint8_t)((count - 1) >> 8));
    out8(0x0a, 2);
}

static size_t move(unsigned channel, void *buf, size_t len, bool to_memory, bool *tc)
{
    size_t n;

    viv_dev_lock();
    n = viv_i8237_move(rig.board.isa_dma, channel, buf, len, to_memory, tc);
    viv_dev_unlock();
    return n;
}

static void test_transfer(void)
{
    uint8_t buf[1024], back[1024];
    bool tc;

    make();
    for (unsigned i = 0; i < sizeof(buf); i++)
        buf[i] = (uint8_t)(i * 3);
    program(0x44, 0x123400, 1000);
    g_assert_cmpuint(move(2, buf, 600, true, &tc), ==, 600);
    g_assert_false(tc);
    g_assert_cmphex(in8(0x04), ==, 0x58); /* 3400h + 600 */
    g_assert_cmphex(in8(0x04), ==, 0x36);
    g_assert_cmphex(in8(0x08), ==, 0);
    g_assert_cmpuint(move(2, buf + 600, 424, true, &tc), ==, 400);
    g_assert_true(tc);
    g_assert_cmphex(in8(0x08), ==, 0x04);
    g_assert_cmphex(in8(0x08), ==, 0); /* once */
    g_assert_cmphex(in8(0x0f), ==, 0xff); /* it has masked itself */
    g_assert_cmpuint(move(2, buf, 1, true, &tc), ==, 0);
    g_assert_cmpint(viv_dma_read(rig.board.mem, 0x123400, back, 1000), ==, 0);
    g_assert_cmpmem(buf, 1000, back, 1000);
    program(0x48, 0x123401, 16);
    g_assert_cmpuint(move(2, back, 1024, false, &tc), ==, 16);
    g_assert_cmpmem(buf + 1, 16, back, 16);
    rig_fini();
}

/* Addresses wrap within the page; count down; begin anew. */
static void test_addresses(void)
{
    uint8_t buf[8] = {1, 2, 3, 4, 5, 6, 7, 8}, back[8];
    bool tc;

    make();
    program(0x54, 0x1fffc, 8); /* auto-initialize */
    g_assert_cmpuint(move(2, buf, 8, true, &tc), ==, 8);
    g_assert_true(tc);
    g_assert_cmphex(mem32(0x1fffc), ==, 0x04030201);
    g_assert_cmphex(mem32(0x10000), ==, 0x08070605);
    g_assert_cmphex(in8(0x0f) & 4, ==, 0);
    g_assert_cmpuint(move(2, buf + 4, 4, true, &tc), ==, 4);
    g_assert_cmphex(mem32(0x1fffc), ==, 0x08070605);
    program(0x64, 0x20003, 4);
    g_assert_cmpuint(move(2, buf, 4, true, &tc), ==, 4);
    g_assert_cmphex(mem32(0x20000), ==, 0x01020304);
    program(0x44, 0xff0000, 8); /* no RAM: what is written is lost, what is read is ones */
    g_assert_cmpuint(move(2, buf, 8, true, &tc), ==, 8);
    program(0x48, 0xff0000, 8);
    g_assert_cmpuint(move(2, back, 8, false, &tc), ==, 8);
    g_assert_cmphex(back[3], ==, 0xff);
    program(0x40, 0x20000, 4); /* verify */
    g_assert_cmpuint(move(2, buf + 4, 4, true, &tc), ==, 4);
    g_assert_true(tc);
    g_assert_cmphex(mem32(0x20000), ==, 0x01020304);
    rig_fini();
}

/* Channel 5 moves words within 128 KiB. */
static void test_words(void)
{
    uint8_t buf[6] = {1, 2, 3, 4, 5, 6};
    bool tc;

    make();
    out8(0xd8, 0);
    out8(0xd6, 0x45);
    out8(0xc4, 0xff);
    out8(0xc4, 0xff);
    out8(0x8b, 3);
    out8(0xc6, 1);
    out8(0xc6, 0);
    out8(0xd4, 1);
    g_assert_cmpuint(move(5, buf, 5, true, &tc), ==, 4);
    g_assert_true(tc);
    g_assert_cmphex(mem32(0x3fffc) >> 16, ==, 0x0201);
    g_assert_cmphex(mem32(0x20000) & 0xffff, ==, 0x0403);
    rig_fini();
}

static void test_requests(void)
{
    uint8_t buf[4] = {0};
    bool tc;

    make();
    viv_dev_lock();
    g_assert_cmpint(viv_i8237_claim(rig.board.isa_dma, 4, ready, &readies), ==, -EINVAL);
    g_assert_cmpint(viv_i8237_claim(rig.board.isa_dma, 2, ready, &readies), ==, 0);
    g_assert_cmpint(viv_i8237_claim(rig.board.isa_dma, 2, ready, &readies), ==, -EBUSY);
    viv_i8237_request(rig.board.isa_dma, 2, true);
    g_assert_false(viv_i8237_served(rig.board.isa_dma, 2));
    viv_dev_unlock();
    g_assert_cmphex(in8(0x08), ==, 0x40);
    program(0x44, 0x1000, 4); /* masked first: one call, when the mask falls */
    g_assert_cmpuint(readies, ==, 1);
    out8(0x08, 4); /* controller off */
    g_assert_cmpuint(move(2, buf, 4, true, &tc), ==, 0);
    out8(0x08, 0);
    g_assert_cmpuint(readies, ==, 2);
    out8(0xd4, 4); /* channel 4 joins the two */
    g_assert_cmpuint(move(2, buf, 4, true, &tc), ==, 0);
    out8(0xd4, 0);
    g_assert_cmpuint(move(2, buf, 4, true, &tc), ==, 4);
    viv_dev_lock();
    viv_i8237_release(rig.board.isa_dma, 2);
    viv_dev_unlock();
    g_assert_cmphex(in8(0x08), ==, 0x04);
    out8(0x09, 5);
    g_assert_cmphex(in8(0x08), ==, 0x20);
    rig_fini();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/i8237/registers", test_registers);
    g_test_add_func("/i8237/transfer", test_transfer);
    g_test_add_func("/i8237/addresses", test_addresses);
    g_test_add_func("/i8237/words", test_words);
    g_test_add_func("/i8237/requests", test_requests);
    return g_test_run();
}
