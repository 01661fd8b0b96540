#include "base/bytes.h"
#include "base/units.h"
#include "dev/test_rig.h"
#include "host/clock.h"

#include <glib.h>
#include <string.h>

extern const struct viv_dev_class viv_dev_hpet, viv_dev_i8254;
const struct viv_dev_class *const rig_classes[] = {&viv_dev_hpet, &viv_dev_i8254, NULL};

#define H 0xfed00000ull

static void test_counter(void)
{
    rig_init();
    rig_add("hpet", NULL);
    g_assert_cmphex(mem64(H), ==, 0x009896808086a201);
    rig_step(1000);
    g_assert_cmpuint(mem64(H + 0xf0), ==, 0);
    set_mem32(H + 0x10, 1);
    rig_step(12345);
    g_assert_cmpuint(mem64(H + 0xf0), ==, 1234);
    g_assert_cmpuint(mem32(H + 0xf0), ==, 1234);
    set_mem32(H + 0x10, 0);
    rig_step(1000);
    g_assert_cmpuint(mem64(H + 0xf0), ==, 1234);
    set_mem64(H + 0xf0, 0xffffffff);
    set_mem32(H + 0x10, 1);
    rig_step(20);
    g_assert_cmphex(mem64(H + 0xf0), ==, 0x100000001);
    g_assert_cmphex(mem32(H + 0xf4), ==, 1);
    /* All 64 bits count. */
    for (unsigned i = 0; i < 64; i += 7) {
        set_mem32(H + 0x10, 0);
        set_mem64(H + 0xf0, 1ull << 63 >> i);
        set_mem32(H + 0x10, 1);
        rig_step(100);
        g_assert_cmphex(mem64(H + 0xf0), ==, (1ull << 63 >> i) + 10);
        set_mem64(H + 0xf0, UINT64_MAX - i);
        rig_step(1000);
        g_assert_cmphex(mem64(H + 0xf0), ==, 99 - i);
    }
    rig_fini();
}

static void test_one_shot(void)
{
    rig_init();
    rig_add("hpet", NULL);
    g_assert_cmphex(mem64(H + 0x100), ==, 0x00ff000000008030);
    set_mem32(H + 0x10, 1);
    set_mem32(H + 0x100, 20 << 9 | 4); /* pin 20, edge */
    set_mem64(H + 0x108, 1000);
    rig_step(9990);
    g_assert_cmpuint(rig.rises[20], ==, 0);
    rig_step(10);
    g_assert_cmpuint(rig.rises[20], ==, 1);
    rig_step(VIV_NS_PER_SEC);
    g_assert_cmpuint(rig.rises[20], ==, 1);
    /* Level: stays until the status bit is cleared. */
    set_mem32(H + 0x100, 20 << 9 | 6);
    set_mem64(H + 0x108, mem64(H + 0xf0) + 10);
    rig_step(1000);
    g_assert_cmpint(rig.line[20], ==, 1);
    g_assert_cmphex(mem32(H + 0x20), ==, 1);
    set_mem32(H + 0x20, 1);
    g_assert_cmpint(rig.line[20], ==, 0);
    /* As a message. */
    set_mem32(H + 0x120, 1 << 14 | 4);
    set_mem64(H + 0x130, 0xfee0100000000041);
    set_mem64(H + 0x128, mem64(H + 0xf0) + 10);
    rig_step(1000);
    g_assert_cmpuint(rig.msis, ==, 1);
    g_assert_cmphex(rig.msi_addr, ==, 0xfee01000);
    g_assert_cmphex(rig.msi_data, ==, 0x41);
    rig_fini();
}

static void test_periodic(void)
{
    rig_init();
    rig_add("hpet", NULL);
    set_mem32(H + 0x10, 1);
    set_mem32(H + 0x100, 16 << 9 | 0x4c); /* periodic, accumulator may be set */
    set_mem64(H + 0x108, 5000);
    set_mem64(H + 0x108, 100000); /* 1 ms */
    rig_step(50000);
    g_assert_cmpuint(rig.rises[16], ==, 1);
    rig_step(10 * VIV_NS_PER_MS);
    g_assert_cmpuint(rig.rises[16], ==, 11);
    /* 32 bits, period too short: no storm. */
    set_mem32(H + 0x100, 16 << 9 | 0x14c);
    set_mem32(H + 0x108, (uint32_t)mem64(H + 0xf0) + 10);
    set_mem32(H + 0x108, 1);
    rig.rises[16] = 0;
    rig_step(10 * VIV_NS_PER_MS);
    g_assert_cmpuint(rig.rises[16], >, 0);
    g_assert_cmpuint(rig.rises[16], <=, 1001);
    rig_fini();
}

static int64_t irq_takes; /* guest time that passes while the next interrupt is raised */

static void slow_irq(void *opaque, int n, int level)
{
    rig.rises[n] += level;
    if (level && irq_takes)
        viv_guest_clock_set_ns(viv_clock_ns(VIV_CLOCK_GUEST) + irq_takes);
    irq_takes = 0;
}

/* The counter passes the next comparator while the last one is served, or before somebody writes a register. */
static void test_late(unsigned width)
{
    rig_init();
    rig.board.gsi_irq[16] = (struct viv_irq){slow_irq, NULL, 16};
    rig_add("hpet", NULL);
    set_mem32(H + 0x10, 1);
    set_mem32(H + 0x100, 16 << 9 | 0x4c | width);
    set_mem64(H + 0x108, 100000);
    set_mem64(H + 0x108, 100000); /* 1 ms */
    rig_step(VIV_NS_PER_MS - 1);
    irq_takes = 3 * VIV_NS_PER_MS / 2;
    rig_step(10 * VIV_NS_PER_MS);
    g_assert_cmpuint(rig.rises[16], ==, 9); /* one is lost */
    /* It is due, the loop has not looked, and the guest masks another timer, then writes this one's registers. */
    viv_guest_clock_set_ns(viv_clock_ns(VIV_CLOCK_GUEST) + 3 * VIV_NS_PER_MS / 2);
    set_mem32(H + 0x120, 0);
    g_assert_cmpuint(rig.rises[16], ==, 10);
    viv_guest_clock_set_ns(viv_clock_ns(VIV_CLOCK_GUEST) + 3 * VIV_NS_PER_MS / 2);
    set_mem32(H + 0x100, 16 << 9 | 0x0c | width);
    g_assert_cmpuint(rig.rises[16], ==, 11);
    rig_step(10 * VIV_NS_PER_MS);
    g_assert_cmpuint(rig.rises[16], ==, 21);
    /* A one-shot timer, too. */
    set_mem32(H + 0x100, 16 << 9 | 4 | width);
    set_mem64(H + 0x108, mem64(H + 0xf0) + 100);
    viv_guest_clock_set_ns(viv_clock_ns(VIV_CLOCK_GUEST) + 2000);
    set_mem32(H + 0x100, 16 << 9 | 4 | width);
    rig_step(VIV_NS_PER_MS);
    g_assert_cmpuint(rig.rises[16], ==, 22);
    rig_fini();
}

static void test_late_32(void)
{
    test_late(0x100);
}

static void test_late_64(void)
{
    test_late(0);
}

static void test_legacy(void)
{
    rig_init();
    rig_add("i8254", NULL);
    rig_add("hpet", NULL);
    out8(0x43, 0x34);
    out8(0x40, 0xa9);
    out8(0x40, 0x04);
    rig.rises[0] = 0;
    rig_step(VIV_NS_PER_SEC / 10);
    g_assert_cmpuint(rig.rises[0], >=, 99); /* the 8254's, passed on */
    set_mem32(H + 0x10, 3);
    rig.rises[0] = 0;
    rig_step(VIV_NS_PER_SEC / 10);
    g_assert_cmpuint(rig.rises[0], ==, 0);
    set_mem32(H + 0x100, 4);
    set_mem64(H + 0x108, mem64(H + 0xf0) + 100);
    rig_step(1000);
    g_assert_cmpuint(rig.rises[0], ==, 1);
    set_mem32(H + 0x120, 4);
    set_mem64(H + 0x128, mem64(H + 0xf0) + 100);
    rig_step(1000);
    g_assert_cmpuint(rig.rises[8], ==, 1);
    set_mem32(H + 0x10, 1);
    rig.rises[0] = 0;
    rig_step(VIV_NS_PER_SEC / 10);
    g_assert_cmpuint(rig.rises[0], >, 90);
    rig_fini();
}

static void test_state(void)
{
    size_t len, len2;
    uint8_t *a, *b;

    rig_init();
    rig_add("hpet", NULL);
    set_mem32(H + 0x10, 1);
    set_mem32(H + 0x100, 16 << 9 | 0x4c);
    set_mem64(H + 0x108, 5000);
    set_mem64(H + 0x108, 100000);
    rig_step(123456);
    a = rig_save(&len);
    rig_fini();
    rig_init();
    rig_step(123456);
    rig_add("hpet", NULL);
    rig_load(a, len);
    b = rig_save(&len2);
    g_assert_cmpmem(a, len, b, len2);
    g_assert_cmpuint(mem64(H + 0xf0), ==, 12345);
    rig_step(10 * VIV_NS_PER_MS);
    g_assert_cmpuint(rig.rises[16], ==, 10);
    rig_fini();
    g_free(a);
    g_free(b);
}

/* Version 1 had the time at which the counter was 0, and in `counter` what was written last. */
static void test_old_state(void)
{
    uint8_t *a, *at;
    size_t len;

    rig_init();
    rig_add("hpet", NULL);
    rig_step(20000);
    set_mem64(H + 0xf0, 1000);
    set_mem32(H + 0x10, 1);
    rig_step(500);
    a = rig_save(&len);
    at = memmem(a, len, "hpet\2", 5);
    g_assert_nonnull(at);
    at[4] = 1;
    g_assert_cmpuint(viv_ld_le64(at + 6 + 16), ==, 1000);
    viv_st_le64(at + 6 + 24, viv_ld_le64(at + 6 + 24) - 10000);
    rig_fini();
    rig_init();
    rig_step(20500);
    rig_add("hpet", NULL);
    rig_load(a, len);
    g_assert_cmpuint(mem64(H + 0xf0), ==, 1050);
    rig_fini();
    g_free(a);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hpet/counter", test_counter);
    g_test_add_func("/hpet/one-shot", test_one_shot);
    g_test_add_func("/hpet/periodic", test_periodic);
    g_test_add_func("/hpet/late-32", test_late_32);
    g_test_add_func("/hpet/late-64", test_late_64);
    g_test_add_func("/hpet/legacy", test_legacy);
    g_test_add_func("/hpet/state", test_state);
    g_test_add_func("/hpet/old-state", test_old_state);
    return g_test_run();
}
